"""Judge and humans: every number here can be followed by hand, or comes from another function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from plugin import metrics
from plugin.compare.comparisons import VerdictSettings, compare
from plugin.compare.pairs import Evidence
from plugin.records import Case, MetricSpec, Score, Variant
from plugin.trust.corrected_gain import correct_gain
from plugin.trust.humans import Rating, ResampledDraw, human_views
from plugin.trust.records import HumanView
from plugin.trust.report import agreement_line, correction_line
from tests.samples import case

CORRECTNESS, HALLUCINATION = (
    metric.spec for metric in metrics.load(["Correctness", "Hallucination"])
)
VARIANTS = (Variant("vanilla", "a", "m"), Variant("tuned", "b", "m"))


def view(
    judged: list[tuple[float, float]],
    given: list[tuple[int, str, str, float]],
    *,
    spec: MetricSpec = CORRECTNESS,
    drawn: int | None = None,
    same_text: frozenset[int] = frozenset(),
    **fields: Any,
) -> HumanView:
    """The view on (vanilla, tuned) scores per case and (case, variant, rater, rating) given."""
    cases: list[Case] = [case(str(i), **fields) for i in range(len(judged))]
    scores = [
        Score(str(i), name, spec.name, value)
        for i, pair in enumerate(judged)
        for name, value in zip(("vanilla", "tuned"), pair, strict=True)
    ]
    evidence = Evidence(cases, VARIANTS, [spec], scores)
    digests = {
        (str(i), name): f"out-{i}" if i in same_text else f"out-{i}-{name}"
        for i in range(len(judged))
        for name in ("vanilla", "tuned")
    }
    comparisons = compare(evidence, VerdictSettings(spec.name, seed=0, n_resamples=200))
    ratings = [
        Rating(str(i), digests[str(i), name], spec.name, rater, value)
        for i, name, rater, value in given
    ]
    known = frozenset(str(i) for i in range(len(judged) if drawn is None else drawn))
    (found,) = human_views(evidence, comparisons, ratings, ResampledDraw(digests, known, 0, 200))
    return found


def test_agreement_and_kappa_by_hand() -> None:
    # Sides of 0.5: judge 1 1 0 0, human 1 0 0 0: 3 of 4 agree; by chance 1/2 x 1/4 + 1/2 x 3/4.
    judged = [(0.9, 0.6), (0.1, 0.4)]
    given = [
        *((0, "vanilla", "ann", 1.0), (0, "tuned", "ann", 0.2)),
        *((1, "vanilla", "ann", 0.0), (1, "tuned", "ann", 0.4)),
    ]
    found = view(judged, given)
    assert (found.n_raters, found.n_rated, found.agreement) == (1, 4, 0.75)
    assert found.kappa == pytest.approx((0.75 - 0.5) / (1 - 0.5))
    assert found.alpha_humans is None


def test_a_tie_between_raters_is_no_disagreement() -> None:
    # Ten completions; on two of them ann and bob are split, and on all others both agree with the
    # judge. Their mean on the split ones, 0.5, would count as the upper half, against the judge.
    judged = [(0.1, 0.9)] * 5
    given = []
    for i in range(5):
        for name, value in (("vanilla", 0.0), ("tuned", 1.0)):
            split = i < 2 and name == "vanilla"
            given += [(i, name, "ann", value), (i, name, "bob", 1.0 if split else value)]
    found = view(judged, given)
    assert (found.n_rated, found.n_undecided, found.agreement, found.kappa) == (10, 2, 1.0, 1.0)
    told = agreement_line(found)
    assert "For 100% of the 8 where both take a side, the scores of humans and judge are" in told
    assert "For 2 of them humans are split evenly, or a score is in the very middle" in told
    # A third rater breaks the tie: two of three are in the upper half.
    third = view(judged, [*given, (0, "vanilla", "eve", 1.0), (1, "vanilla", "eve", 1.0)])
    assert (third.n_undecided, third.agreement) == (0, 0.8)


def test_a_score_in_the_very_middle_takes_no_side() -> None:
    given = [(0, "vanilla", "ann", 0.5), (0, "tuned", "ann", 1.0), (1, "vanilla", "ann", 0.2)]
    found = view([(0.3, 0.8), (0.5, 0.5)], given)
    assert (found.n_rated, found.n_undecided, found.agreement) == (3, 2, 1.0)
    (row,) = [view([(0.3, 0.8)] * 2, given[:1])]
    assert row.agreement is None
    assert "For all of them humans are split evenly, or a score is" in agreement_line(row)


def test_alpha_is_of_the_scores_and_humans_are_held_against_each_other() -> None:
    judged = [(0.0, 1.0)] * 2
    given = [
        (i, name, rater, value)
        for i in range(2)
        for name, value in (("vanilla", 0.0), ("tuned", 1.0))
        for rater in ("ann", "bob")
    ]
    found = view(judged, given)
    assert (found.n_raters, found.n_rated) == (2, 4)
    assert found.alpha == found.alpha_humans == 1
    upside_down = view([(1.0, 0.0)] * 2, given)
    # Ratings of 8 in 4 pairs, all differ by 1: 1 - 7 x (4 x 2 x 1) / (2 x 16) = 1 - 56 / 32.
    assert upside_down.alpha == pytest.approx(1 - 56 / 32)
    assert upside_down.alpha_humans == 1


def test_the_same_text_of_two_variants_is_one_completion_and_no_gain() -> None:
    found = view([(0.5, 0.5), (0.2, 0.9)], [(0, "vanilla", "ann", 0.7)], same_text=frozenset({0}))
    assert found.n_rated == 1
    (row,) = found.corrections
    assert (row.n_labelled, row.gain) == (1, 0)


def sample(
    n: int, n_rated: int
) -> tuple[list[tuple[float, float]], list[tuple[int, str, str, float]]]:
    """A judge who sees 0.2 too much in every tuned answer, and a human who does not."""
    rng = np.random.default_rng(5)
    truth = rng.uniform(0.1, 0.6, (n, 2))
    judged = [(a, min(1.0, b + 0.2 + rng.normal(0, 0.02))) for a, b in truth.tolist()]
    given = [
        (i, name, "ann", float(value))
        for i in range(n_rated)
        for name, value in zip(("vanilla", "tuned"), truth[i], strict=True)
    ]
    return judged, given


def test_the_corrected_gain_is_that_of_ppi() -> None:
    judged, given = sample(200, 50)
    (row,) = view(judged, given, drawn=50).corrections
    gains = [b - a for a, b in judged]
    human = [given[2 * i + 1][3] - given[2 * i][3] if i < 50 else None for i in range(200)]
    expected = correct_gain(gains, human, seed=0)
    assert expected.used_judge
    assert (row.gain, row.ci_low, row.ci_high) == pytest.approx(
        (expected.estimate, expected.ci_low, expected.ci_high)
    )
    assert (row.n_labelled, row.n_unrated, row.n_all) == (50, 0, 200)
    assert row.judge_gain == pytest.approx(np.mean(gains))
    # The judge alone is sure of a gain that is not there.
    assert row.judge_ci_low is not None and row.judge_ci_low > 0.1
    assert row.ci_low is not None and row.ci_high is not None
    assert row.ci_low < 0.05 and row.ci_high < row.judge_ci_low


def test_only_drawn_cases_count_and_the_unrated_are_counted() -> None:
    judged, given = sample(100, 50)
    (row,) = view(judged, given, drawn=40).corrections
    assert (row.n_labelled, row.n_unrated) == (40, 0)
    (row,) = view(judged, given[:-20], drawn=50).corrections
    assert (row.n_labelled, row.n_unrated) == (40, 10)
    (row,) = view(judged, given, drawn=0).corrections
    assert (row.gain, row.n_labelled) == (None, 0)
    assert row.method.startswith("no correction: the rated cases were not drawn at random")


def test_a_rater_who_saw_one_side_only_makes_no_gain() -> None:
    judged = [(0.4, 0.6)] * 3
    given = [(0, "vanilla", "ann", 0.2), (0, "tuned", "bob", 0.9)]
    found = view(judged, given)
    assert found.n_rated == 2
    assert found.corrections[0].method.startswith("no correction: no drawn case has ratings")


def test_where_less_is_better_less_is_a_gain() -> None:
    given = [(0, "vanilla", "ann", 0.9), (0, "tuned", "ann", 0.2)]
    (row,) = view([(0.8, 0.3)] * 2, given, spec=HALLUCINATION).corrections
    assert row.gain == pytest.approx(0.7)
    assert row.judge_gain == pytest.approx(0.5)


def test_the_corrected_gain_respects_clusters() -> None:
    judged, given = sample(100, 50)
    (row,) = view(judged, given, drawn=50, cluster="one").corrections
    assert row.ci_low is None and "are worth only 1.0 clusters, needs 10" in row.method


def test_both_numbers_stand_side_by_side_in_words() -> None:
    judged, given = sample(200, 40)
    found = view(judged, given, drawn=50)
    line = correction_line(found.metric, found.corrections[0])
    assert line.startswith("tuned on Correctness, corrected by human ratings: gain ")
    assert "40 of 200 cases rated); by the judge alone gain +0." not in line
    assert "40 of 200 cases rated); by the judge alone +0." in line
    assert "Another 10 drawn cases" in line and line.endswith("this estimate is biased.")
    told = agreement_line(found)
    assert told.startswith("1 human rated 80 completions on Correctness.")
    assert "Cohen's kappa" in told and "Krippendorff's alpha of the scores is" in told


def test_beside_a_prompted_base_the_corrected_gains_are_those_over_the_base() -> None:
    names = {"vanilla": 0.2, "prompted": 0.5, "tuned": 0.9}
    cases: list[Case] = [case(str(i)) for i in range(30)]
    variants = [Variant(name, name, "m") for name in names]
    scores = [Score(c.id, name, CORRECTNESS.name, v) for name, v in names.items() for c in cases]
    evidence = Evidence(cases, variants, [CORRECTNESS], scores)
    digests = {(c.id, name): f"{c.id}-{name}" for c in cases for name in names}
    ratings = [
        Rating(c.id, f"{c.id}-{name}", CORRECTNESS.name, "ann", value)
        for c in cases
        for name, value in names.items()
    ]
    comparisons = compare(evidence, VerdictSettings(CORRECTNESS.name, seed=0, n_resamples=200))
    draw = ResampledDraw(digests, frozenset(c.id for c in cases), 0, 200)
    (found,) = human_views(evidence, comparisons, ratings, draw)
    assert [(row.variant, row.judge_gain, row.gain) for row in found.corrections] == [
        ("tuned", pytest.approx(0.7), pytest.approx(0.7)),
        ("prompted", pytest.approx(0.3), pytest.approx(0.3)),
    ]
