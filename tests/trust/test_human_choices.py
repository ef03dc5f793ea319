"""What people prefer: every number can be followed by hand, or comes from another function."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa as statsmodels_kappa
from statsmodels.stats.inter_rater import fleiss_kappa

from plugin import metrics
from plugin.compare.pairs import Evidence
from plugin.compare.stats import MeanEstimate, mean_interval, sign_test_p
from plugin.records import Case, MetricSpec, Score, Variant
from plugin.run_facts import HumanChoice, PageItem, RunState
from plugin.trust.accepted_choices import accept_choices, commonest
from plugin.trust.choice_records import ChoiceView, HumanChoices
from plugin.trust.corrected_gain import correct_gain
from plugin.trust.human_choices import human_choices, scaled
from plugin.trust.humans import ResampledDraw
from plugin.trust.rater_stats import krippendorff_alpha
from plugin.trust.words_choices import choice_faults, choice_lines, contradiction_lines
from tests.samples import case

PREFERENCE, CORRECTNESS, HALLUCINATION = (
    metric.spec for metric in metrics.load(["Preference", "Correctness", "Hallucination"])
)

Told = tuple[int, str, float | None]
"""Case, rater, and what the variant won by them."""


def digest(number: int, name: str, equal: frozenset[int] = frozenset()) -> str:
    return f"out-{number}" if number in equal else f"out-{number}-{name}"


def chosen(
    told: list[Told], name: str = "tuned", first: frozenset[int] | None = None
) -> tuple[HumanChoice, ...]:
    """Choices of pairs in which the variant is shown first in these cases, else in even ones."""
    found = []
    for number, rater, won in told:
        pair = (digest(number, name), digest(number, "vanilla"))
        if number in first if first is not None else number % 2 == 0:
            found.append(HumanChoice(str(number), pair, rater, won))
        else:
            other = None if won is None else 1 - won
            found.append(HumanChoice(str(number), (pair[1], pair[0]), rater, other))
    return tuple(found)


def run(
    told: list[Told] | tuple[HumanChoice, ...],
    judged: list[float] | None = None,
    *,
    n: int = 10,
    drawn: frozenset[int] | None = None,
    spec: MetricSpec = PREFERENCE,
    equal: frozenset[int] = frozenset(),
    clusters: list[str] | None = None,
    items: tuple[PageItem, ...] = (),
    names: tuple[str, ...] = ("vanilla", "tuned"),
    primary: str | None = None,
) -> HumanChoices:
    """What people say, beside what the variant wins by the judge (or scores, the base has 0.5)."""
    n = n if judged is None else len(judged)
    cases: list[Case] = [
        case(str(i), **({"cluster": clusters[i]} if clusters else {})) for i in range(n)
    ]
    scores = [
        Score(str(i), name, spec.name, 0.5 if name == "vanilla" else value)
        for i, value in enumerate(judged or [])
        for name in names
    ]
    variants = [Variant(name, name, "m") for name in names]
    evidence = Evidence(cases, variants, [spec], scores)
    if spec.is_relative:
        evidence = with_preferences(evidence, judged or [])
    digests = {(str(i), name): digest(i, name, equal) for i in range(n) for name in names}
    known = frozenset(map(str, range(n) if drawn is None else drawn))
    choices = chosen(told) if isinstance(told, list) else told
    state = RunState(human_choices=choices, page_items=items)
    draw = ResampledDraw(digests, known, seed=0, n_resamples=400)
    found, _ = human_choices(evidence, state, draw, primary or spec.name)
    assert found is not None
    return found


def with_preferences(evidence: Evidence, values: list[float]) -> Evidence:
    from plugin.compare.relative import win_scores
    from plugin.records import Preference

    rows = [
        Preference(str(i), name, "vanilla", PREFERENCE.name, None, None, value)
        for name in evidence.names[1:]
        for i, value in enumerate(values)
    ]
    return replace(evidence, scores=win_scores(rows, "vanilla"), preferences=rows)


def one(told: list[Told], judged: list[float] | None = None, **options: object) -> ChoiceView:
    (view,) = run(told, judged, **options).views  # type: ignore[arg-type]
    return view


def words(found: HumanChoices, primary: str = "Preference") -> str:
    return "\n".join(choice_lines(found, primary))


# The win rate.


def test_several_raters_of_a_case_are_averaged_and_the_case_is_the_unit() -> None:
    # Case 0 won by both raters, case 1 lost and tied (0.25), case 2 lost: (1 + 0.25 + 0) / 3.
    told = [(0, "ann", 1.0), (0, "bob", 1.0), (1, "ann", 0.0), (1, "bob", 0.5), (2, "ann", 0.0)]
    found = one(told)
    assert found.win_rate.mean == pytest.approx(1.25 / 3)
    assert (found.n_raters, found.n_choices, found.win_rate.n) == (2, 5, 3)
    assert (found.wins, found.ties, found.losses) == (1, 0, 2)


def test_the_interval_is_that_of_the_mean_over_cases() -> None:
    rng = np.random.default_rng(1)
    values = rng.choice([0.0, 0.5, 1.0], 60, p=[0.2, 0.2, 0.6]).tolist()
    told = [(i, "ann", value) for i, value in enumerate(values)]
    options = {"low": 0.0, "high": 1.0, "seed": 0, "n_resamples": 400}
    assert one(told, n=60).win_rate == mean_interval(values, **options)
    # In clusters: by flipping whole clusters, as everywhere.
    labels = [f"c{i // 4}" for i in range(60)]
    clustered = one(told, n=60, clusters=labels).win_rate
    assert clustered == mean_interval(values, clusters=labels, **options)
    assert clustered.n_clusters == 15 and "sign-flip" in clustered.method


def test_which_side_was_shown_first_does_not_matter_for_the_win_rate() -> None:
    told: list[Told] = [(0, "ann", 1.0), (1, "ann", 1.0), (2, "ann", 0.0), (3, "ann", 0.5)]
    rates = {
        run(chosen(told, first=frozenset(first))).views[0].win_rate.mean
        for first in ((), (0, 1, 2, 3), (1, 2))
    }
    assert rates == {2.5 / 4}


def test_who_cannot_decide_is_counted_and_left_out() -> None:
    found = one([(0, "ann", 1.0), (0, "bob", None), (1, "ann", None), (2, "ann", 0.0)])
    assert (found.win_rate.mean, found.win_rate.n) == (0.5, 2)
    assert (found.n_undecided, found.n_open, found.n_raters) == (2, 1, 1)


def test_only_drawn_cases_count_for_the_rate_and_all_for_agreement() -> None:
    told: list[Told] = [(i, rater, float(i < 4)) for i in range(8) for rater in ("ann", "bob")]
    found = one(told, [1.0] * 8, drawn=frozenset(range(4)))
    assert (found.win_rate.mean, found.win_rate.n, found.n_not_drawn) == (1.0, 4, 4)
    assert found.is_random and found.beside[0].n == 8 and found.alpha is not None
    assert found.alpha.n_units == 8 and found.beside[0].agreement.mean == 0.5
    none = one(told, [1.0] * 8, drawn=frozenset())
    assert (none.win_rate.mean, none.win_rate.n, none.is_random) == (0.5, 8, False)
    assert none.beside[0].correction is None
    assert "not drawn at random, so the rate says nothing about the others" in words(
        run(told, [1.0] * 8, drawn=frozenset())
    )


def test_half_rated_pages_are_said() -> None:
    pair = ("out-{}-tuned", "out-{}-vanilla")
    items = tuple(
        PageItem(f"i{i}", "p", "pair", str(i), "", tuple(each.format(i) for each in pair))
        for i in range(8)
    )
    items += (PageItem("r9", "p", "reason", "9", "Preference", ("out-9-tuned", "out-9-vanilla")),)
    told: list[Told] = [(i, "ann", 1.0) for i in range(3)]
    found = one(told, [1.0] * 10, items=items)
    assert (found.n_shown, found.win_rate.n) == (8, 3)
    assert found.beside[0].correction and found.beside[0].correction.n_missing == 5
    told_text = words(run(told, [1.0] * 10, items=items))
    assert "5 of the 8 cases to rate have no choice" in told_text


# What does not count.


def test_what_does_not_count_is_counted_by_its_reason() -> None:
    good = HumanChoice("0", ("out-0-tuned", "out-0-vanilla"), "ann", 1.0)
    choices = (
        replace(good, won=0.0),  # replaced by the last one
        replace(good, digests=("out-0-tuned", "out-0-tuned")),
        replace(good, digests=("out-0-tuned", "out-0-older")),
        replace(good, case_id="999"),
        replace(good, digests=("out-0-tuned", "out-0-other")),
        replace(good, won=0.7),
        replace(good, won=math.nan),
        good,
    )
    found = run(choices, names=("vanilla", "tuned", "other"))
    (view,) = found.views
    assert (view.variant, view.win_rate.mean, view.n_choices) == ("tuned", 1.0, 1)
    left = found.left_out
    assert (left.stale, left.equal, left.elsewhere, left.repeated, left.impossible) == (
        *(2, 1, 1, 1),
        2,
    )
    assert (
        "Choices of people that do not count: 2 of answers that this run does not have, 1 between "
        "two equal answers, 1 between two variants of which none is the base, 1 that the same "
        "rater replaced by a later one, 2 with an impossible value." in words(found)
    )


def test_only_stale_choices_are_said_and_give_no_rate() -> None:
    found = run((HumanChoice("0", ("out-old", "out-older"), "ann", 1.0),))
    assert found.views == () and found.habits == ()
    assert words(found) == (
        "Choices of people that do not count: 1 of answers that this run does not have."
    )


def test_variants_with_the_same_answer_share_a_choice() -> None:
    digests = {("0", "vanilla"): "v", ("0", "a"): "x", ("0", "b"): "x"}
    found = accept_choices(
        [HumanChoice("0", ("v", "x"), "ann", 0.0, "good")], digests, ("vanilla", "a", "b")
    )
    assert [(row.variant, row.won, row.was_first) for row in found.of_variants] == [
        ("a", 1.0, False),
        ("b", 1.0, False),
    ]
    assert len(found.choices) == 1


def test_several_adapters_are_each_held_against_the_base() -> None:
    told = (
        *chosen([(0, "ann", 1.0), (1, "ann", 1.0)], "a"),
        *chosen([(0, "ann", 0.0), (2, "ann", 0.5)], "b"),
    )
    found = run(told, names=("vanilla", "a", "b"))
    assert [(v.variant, v.win_rate.mean) for v in found.views] == [("a", 1.0), ("b", 0.25)]
    assert found.habits[0].n_first + found.habits[0].n_second == 3


@pytest.mark.parametrize(
    ("told", "rate", "says"),
    [
        ([(3, "ann", 1.0)], 1.0, "One person preferred tuned over vanilla in 100% of 1 case (no"),
        (
            [(i, "ann", 0.5) for i in range(9)],
            0.5,
            "preferred tuned over vanilla in 50% of 9 cases (95%",
        ),
        ([(i, r, None) for i in range(9) for r in "ab"], None, "could not decide any case"),
    ],
    ids=["one case", "all ties", "nobody can decide"],
)
def test_what_cannot_tell_anything_breaks_nothing(
    told: list[Told], rate: float | None, says: str
) -> None:
    found = run(told, [1.0] * 10)
    assert found.views[0].win_rate.mean == rate and says in words(found)
    assert found.contradictions == ()


def test_where_nothing_was_said_there_is_nothing() -> None:
    evidence = Evidence([case("1")], [Variant("vanilla", "v", "m")], [CORRECTNESS], [])
    draw = ResampledDraw({}, frozenset(), 0, 100)
    found, accepted = human_choices(evidence, RunState(), draw, "Correctness")
    assert found is None and accepted.choices == () and choice_lines(None, "Correctness") == []


# Raters among themselves.


def test_agreement_among_raters_by_hand_and_by_other_functions() -> None:
    rng = np.random.default_rng(8)
    truth = rng.choice([0.0, 0.5, 1.0], 70)
    table = [
        [float(t) if rng.random() < 0.7 else float(rng.choice([0.0, 0.5, 1.0])) for _ in range(3)]
        for t in truth
    ]
    told: list[Told] = [
        (i, rater, value)
        for i, row in enumerate(table)
        for rater, value in zip(("ann", "bob", "eve"), row, strict=True)
    ]
    found = one(told, n=70)
    assert found.alpha == krippendorff_alpha(table, seed=0, n_resamples=400)
    assert found.alpha is not None and found.alpha.ci_low is not None
    # The observed agreement of Fleiss: the mean share of agreeing pairs of raters.
    counts = np.array([[row.count(v) for v in (0.0, 0.5, 1.0)] for row in table])
    by_chance = (counts.sum(axis=0) / counts.sum()) ** 2
    kappa = fleiss_kappa(counts)
    observed = kappa * (1 - by_chance.sum()) + by_chance.sum()
    assert found.same_choice.mean == pytest.approx(observed)


def test_agreement_among_raters_respects_clusters() -> None:
    told: list[Told] = [
        (i, r, float((i + (r == "b") * (i % 7 == 0)) % 2)) for i in range(120) for r in "ab"
    ]
    labels = [f"c{i % 60}" for i in range(120)]
    found = one(told, n=120, clusters=labels).alpha
    assert found is not None and "over 60 clusters" in found.method


def test_a_tie_is_half_way_between_a_win_and_a_loss() -> None:
    # Pairs (1, .5), (0, 0): values 1 .5 0 0. Within: 2 x .25 / 1; all ordered pairs:
    # 2 x (.25 + 1 + 1 + .25 + .25 + 0) = 5.5; alpha = 1 - 3 x .5 / 5.5.
    found = one([(0, "ann", 1.0), (0, "bob", 0.5), (1, "ann", 0.0), (1, "bob", 0.0)])
    assert found.alpha is not None and found.alpha.alpha == pytest.approx(1 - 3 * 0.5 / 5.5)
    assert found.same_choice.mean == 0.5


def test_one_rater_has_nobody_to_agree_with() -> None:
    found = run([(0, "ann", 1.0), (1, "ann", 0.0)])
    assert found.views[0].alpha is None and "alpha" not in words(found)
    apart = run([(0, "ann", 1.0), (1, "bob", 0.0)])
    assert "No two people rated the same case" in words(apart)
    alike = run([(0, "ann", 1.0), (0, "bob", 1.0)])
    assert "alpha is undefined, because all choices are the same" in words(alike)


# Judge and people.


def test_the_choice_of_most_raters() -> None:
    assert commonest([1.0, 1.0, 0.0]) == 1
    assert commonest([0.5, 0.5, 0.0]) == 0
    assert commonest([0.0]) == -1
    assert commonest([1.0, 0.0]) is None and commonest([1.0, 0.5, 0.0]) is None


def test_agreement_with_the_judge_by_hand_and_kappa_by_statsmodels() -> None:
    people = [1.0, 1.0, 1.0, 0.0, 0.0, 0.5, 1.0, 0.0]
    judged = [1.0, 1.0, 0.5, 0.0, 1.0, 0.5, 0.5, 0.0]
    told: list[Told] = [(i, "ann", value) for i, value in enumerate(people)]
    # Case 8: two raters are split, so it takes no part.
    told += [(8, "ann", 1.0), (8, "bob", 0.0)]
    (row,) = one(told, [*judged, 1.0]).beside
    assert (row.metric, row.n, row.n_split, row.agreement.n) == ("Preference", 9, 1, 8)
    assert row.agreement.mean == 5 / 8  # cases 0 1 3 5 7
    assert (row.same_winner.mean, row.same_winner.n) == (4 / 5, 5)  # cases 0 1 3 4 7
    table = np.zeros((3, 3))
    for own, other in zip(judged, people, strict=True):
        table[round(2 * own), round(2 * other)] += 1
    assert row.kappa == pytest.approx(float(statsmodels_kappa(table, return_results=False)))
    assert row.judge_rate == pytest.approx(5.5 / 9) and row.people_rate == pytest.approx(5 / 9)
    assert row.difference.mean == pytest.approx(0.5 / 9)


def test_without_preference_the_sign_of_the_gain_is_held_against_people() -> None:
    told: list[Told] = [(0, "ann", 1.0), (1, "ann", 1.0), (2, "ann", 0.0), (3, "ann", 0.5)]
    (row,) = one(told, [0.9, 0.2, 0.3, 0.5], spec=CORRECTNESS).beside
    assert (row.metric, row.is_relative) == ("Correctness", False)
    assert row.agreement.mean == 3 / 4 and row.judge_rate == pytest.approx(1.5 / 4)
    # Where less is better, a lower score is a win.
    (row,) = one(told, [0.1, 0.8, 0.7, 0.5], spec=HALLUCINATION).beside
    assert row.agreement.mean == 3 / 4
    found = run(told, [0.9, 0.2, 0.3, 0.5], spec=CORRECTNESS)
    assert "; Correctness puts it ahead in 38% of the same cases." in words(found, "Correctness")
    assert "Correctness and most people agree (win, tie or loss) in 75%" in words(
        found, "Correctness"
    )


def test_where_answers_were_compared_no_other_metric_stands_beside_people() -> None:
    told: list[Told] = [(0, "ann", 1.0), (1, "ann", 0.0)]
    cases = [case("0"), case("1")]
    evidence = Evidence(
        cases, [Variant(name, name, "m") for name in ("vanilla", "tuned")], [PREFERENCE], []
    )
    preferred = with_preferences(evidence, [1.0, 1.0])
    scores = [
        Score(one.id, name, spec.name, value)
        for spec in (CORRECTNESS, HALLUCINATION)
        for one in cases
        for name, value in (("vanilla", 0.2), ("tuned", 0.7))
    ]
    digests = {(str(i), name): digest(i, name) for i in (0, 1) for name in ("vanilla", "tuned")}
    draw = ResampledDraw(digests, frozenset(), seed=0, n_resamples=100)
    state = RunState(human_choices=chosen(told))

    def beside(specs: list[MetricSpec], primary: str) -> tuple[list[str], str]:
        own = replace(preferred, metrics=specs, scores=[*preferred.scores, *scores])
        found, _ = human_choices(own, state, draw, primary)
        assert found is not None
        (view,) = found.views
        return [row.metric for row in view.beside], choice_lines(found, primary)[0]

    assert beside([CORRECTNESS, PREFERENCE], "Correctness")[0] == ["Preference"]
    # Without it all metrics that decide do, and the primary one in words.
    named, line = beside([HALLUCINATION, CORRECTNESS], "Correctness")
    assert named == ["Hallucination", "Correctness"] and "; Correctness puts it ahead in" in line


def people_and_judge(
    n: int = 200, n_rated: int = 60, push: float = 0.4, seed: int = 2
) -> tuple[list[Told], list[float], list[float]]:
    """A judge who likes the variant more than people do, and what people would say of all."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(0.1, 1, n)
    people = np.where(latent > 0.3, 1.0, np.where(latent < -0.3, 0.0, 0.5))
    seen = latent + push + rng.normal(0, 0.4, n)
    judged = np.where(seen > 0.3, 1.0, np.where(seen < -0.3, 0.0, 0.5)).tolist()
    told: list[Told] = [(i, "ann", float(people[i])) for i in range(n_rated)]
    return told, judged, people.tolist()


def test_the_corrected_rate_is_that_of_ppi() -> None:
    told, judged, _ = people_and_judge()
    (row,) = one(told, judged, drawn=frozenset(range(60))).beside
    human = [value - 0.5 for _, _, value in told if value is not None]
    expected = correct_gain(
        [value - 0.5 for value in judged], [*human, *[None] * 140], low=-0.5, high=0.5, seed=0
    )
    assert expected.used_judge and expected.estimate and expected.ci_low and row.correction
    assert row.correction.rate == pytest.approx(0.5 + expected.estimate)
    assert row.correction.ci_low == pytest.approx(0.5 + expected.ci_low)
    assert row.correction.judge_rate == pytest.approx(np.mean(judged))
    assert (row.correction.n_labelled, row.correction.n_all) == (60, 200)
    text = words(run(told, judged, drawn=frozenset(range(60))))
    assert "Corrected by people, tuned wins " in text
    assert "60 are rated); by the judge alone 66%." in text
    assert "The judge likes tuned more than people do: its win rate on the same cases" in text


def test_the_corrected_rate_rests_on_drawn_cases_and_respects_clusters() -> None:
    told, judged, _ = people_and_judge()
    (row,) = one(told, judged, drawn=frozenset(range(40))).beside
    assert row.correction and (row.correction.n_labelled, row.correction.n_missing) == (40, 0)
    labels = [f"c{i % 25}" for i in range(200)]
    human = [value - 0.5 for _, _, value in told if value is not None]
    expected = correct_gain(
        [value - 0.5 for value in judged],
        [*human, *[None] * 140],
        clusters=labels,
        low=-0.5,
        high=0.5,
        seed=0,
    )
    (row,) = one(told, judged, drawn=frozenset(range(60)), clusters=labels).beside
    assert row.correction and row.correction.ci_low is not None and expected.ci_low is not None
    assert row.correction.ci_low == pytest.approx(0.5 + expected.ci_low)
    assert row.correction.method == expected.method and "25 clusters" in expected.method


def test_a_useless_judge_leaves_people_alone() -> None:
    told, judged, _ = people_and_judge()
    shuffled = np.random.default_rng(3).permutation(judged).tolist()
    (row,) = one(told, shuffled, drawn=frozenset(range(60))).beside
    found = row.correction
    assert found is not None and not found.used_judge and found.lambda_ == 0
    alone = one(told, shuffled, drawn=frozenset(range(60))).win_rate
    assert found.rate == pytest.approx(alone.mean)
    assert "; the judge adds nothing to them); by the judge alone" in words(
        run(told, shuffled, drawn=frozenset(range(60)))
    )


def test_few_rated_cases_have_no_corrected_interval() -> None:
    told, judged, _ = people_and_judge(n_rated=12)
    found = run(told, judged, drawn=frozenset(range(12)))
    assert "(no interval: it needs 30 rated cases; 12 are rated); by the judge alone" in words(
        found
    )


def test_equal_answers_are_ties_that_nobody_rates() -> None:
    told, judged, _ = people_and_judge()
    equal = frozenset(range(160, 200))
    values = [0.5 if i in equal else value for i, value in enumerate(judged)]
    (row,) = one(told, values, drawn=frozenset(range(60)), equal=equal).beside
    (alone,) = one(told, values[:160], drawn=frozenset(range(60))).beside
    assert row.correction and alone.correction and row.correction.rate and alone.correction.rate
    assert (row.correction.n_all, row.correction.n_equal) == (200, 40)
    assert row.correction.rate - 0.5 == pytest.approx(0.8 * (alone.correction.rate - 0.5))
    assert ", 40 have equal answers); by" in words(
        run(told, values, drawn=frozenset(range(60)), equal=equal)
    )
    # Drawn cases with equal answers are not missing: there is nothing to rate.
    view = one(told, values, drawn=frozenset((*range(60), 170, 180)), equal=equal)
    assert view.n_shown == 60 and view.beside[0].correction
    assert view.beside[0].correction.n_missing == 0


def test_a_share_of_a_mean_has_an_interval_of_both() -> None:
    share = MeanEstimate(100, None, 0.8, 0.7, 0.9, "")
    product, low, high = scaled(share, 0.2, 0.1, 0.3)
    # Distances of 0.8 x 0.1 and 0.2 x 0.1, in squares.
    assert product == pytest.approx(0.16)
    assert (low, high) == pytest.approx(
        (0.16 - math.hypot(0.08, 0.02), 0.16 + math.hypot(0.08, 0.02))
    )
    skewed = replace(share, ci_low=0.5)
    assert scaled(skewed, -0.2, -0.3, -0.1)[2] == pytest.approx(-0.16 + math.hypot(0.08, 0.06))
    assert scaled(share, 0.2, None, None) == (pytest.approx(0.16), None, None)
    assert scaled(share, None, None, None) == (None, None, None)


def covers(n_runs: int, equal_share: float, n_rated: int, push: float, seed: int) -> float:
    """How many corrected intervals hold the win rate over all cases that could be."""
    truth = rate_of_all(push=0.0) * (1 - equal_share) + 0.5 * equal_share
    rng, inside = np.random.default_rng(seed), []
    for number in range(n_runs):
        told, judged, people = people_and_judge(n=200, push=push, seed=seed + 7 * number)
        equal = frozenset(np.flatnonzero(rng.random(200) < equal_share).tolist())
        drawn = [int(i) for i in rng.permutation(200) if i not in equal][:n_rated]
        told = [(i, "ann", people[i]) for i in drawn]
        values = [0.5 if i in equal else value for i, value in enumerate(judged)]
        (row,) = one(told, values, drawn=frozenset(drawn), equal=equal).beside
        assert row.correction and row.correction.ci_low is not None
        assert row.correction.ci_high is not None
        inside.append(row.correction.ci_low <= truth <= row.correction.ci_high)
    return float(np.mean(inside))


def rate_of_all(push: float) -> float:
    from scipy.stats import norm

    return float(norm.sf(0.2 - push) + (norm.cdf(0.2 - push) - norm.cdf(-0.4 - push)) / 2)


def test_the_corrected_rate_covers_with_equal_answers() -> None:
    # Three standard errors of a share of 100 near 95% are 6.5%.
    assert covers(100, equal_share=0.3, n_rated=50, push=0.4, seed=11) >= 0.885


@pytest.mark.slow
@pytest.mark.parametrize("equal_share", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("n_rated", [30, 60])
def test_the_corrected_rate_covers_with_any_share_of_equal_answers(
    equal_share: float, n_rated: int
) -> None:
    # Three standard errors of a share of 400 near 95% are 3.3%.
    assert covers(400, equal_share, n_rated, 0.6, seed=n_rated) >= 0.917


# People against the judge.


def test_people_and_judge_contradict_each_other() -> None:
    told: list[Told] = [(i, "ann", float(i % 5 == 0)) for i in range(50)]
    judged = [float(i % 4 > 0) for i in range(100)]
    found = run(told, judged, drawn=frozenset(range(50)))
    assert [row.metric for _, row in found.contradictions] == ["Preference"]
    assert choice_faults(found) == ["is contradicted by people"]
    (line,) = contradiction_lines("openai:x", found)
    assert line.startswith(
        "People and the judge openai:x (on Preference) contradict each other: people prefer "
        "vanilla (tuned wins 20% of 50 cases (95% interval "
    )
    assert ") by one person), and the judge prefers tuned. Read some of" in line


def test_people_may_also_prefer_what_the_judge_does_not() -> None:
    told: list[Told] = [(i, "ann", float(i % 5 > 0)) for i in range(50)]
    found = run(told, [float(i % 4 == 0) for i in range(100)], drawn=frozenset(range(50)))
    (line,) = contradiction_lines("j", found)
    assert "people prefer tuned (tuned wins 80% of" in line and "judge prefers vanilla." in line


@pytest.mark.parametrize(
    "change",
    [
        {"drawn": frozenset()},  # chosen by a person, so they may be the judge's worst
        {"judged": [float(i % 2) for i in range(100)]},  # the judge claims nothing
        {"told": [(i, "ann", float(i % 2)) for i in range(50)]},  # people claim nothing
        {"told": [(i, "ann", float(i % 5 > 0)) for i in range(50)]},  # both say the same
    ],
    ids=["not drawn", "judge open", "people open", "same side"],
)
def test_only_what_chance_does_not_explain_contradicts(change: dict[str, object]) -> None:
    usual: dict[str, object] = {
        "told": [(i, "ann", float(i % 5 == 0)) for i in range(50)],
        "judged": [float(i % 4 > 0) for i in range(100)],
        "drawn": frozenset(range(50)),
    }
    found = run(**(usual | change))  # type: ignore[arg-type]
    assert found.contradictions == () and choice_faults(found) == []
    assert contradiction_lines("j", found) == []


def test_of_metrics_that_score_single_answers_only_the_primary_one_can_contradict() -> None:
    told: list[Told] = [(i, "ann", float(i % 5 == 0)) for i in range(50)]
    scores = [0.9 if i % 4 else 0.1 for i in range(100)]
    (exact,) = (metric.spec for metric in metrics.load(["Exact Match"]))
    for spec, fault in ((CORRECTNESS, ["is contradicted by people"]), (exact, [])):
        found = run(told, scores, spec=spec, drawn=frozenset(range(50)))
        assert len(found.contradictions) == 1 and choice_faults(found) == fault
        other = run(told, scores, spec=spec, drawn=frozenset(range(50)), primary="Rubric")
        assert other.contradictions == ()
    # No judge stands behind it, so none is distrusted.
    (line,) = contradiction_lines("no judge", found)
    assert line.startswith("People and Exact Match contradict each other: people prefer vanilla")
    assert "and Exact Match prefers tuned." in line


# Habits of raters.


def test_a_rater_who_always_takes_one_side_is_pointed_out() -> None:
    # Ann takes what is shown first (the variant in even cases), Bob reads.
    told: list[Told] = [(i, "ann", float(i % 2 == 0)) for i in range(12)]
    told += [(i, "bob", 1.0) for i in range(12)]
    found = run(told, n=12)
    ann, bob = found.habits
    assert (ann.n_first, ann.n_second, bob.n_first, bob.n_second) == (12, 0, 6, 6)
    assert ann.fault == "chose the answer shown first in 12 of 12 choices" and bob.fault == ""
    assert (found.n_first, found.n_second) == (18, 6)
    text = words(found)
    assert "Caution: ann chose the answer shown first in 12 of 12 choices. Such" in text


@pytest.mark.parametrize(
    ("won", "n", "fault"),
    [
        (lambda i: 0.5, 8, "called 8 of 8 pairs a tie"),
        (lambda i: None, 9, "could not decide 9 of 9 pairs"),
        (lambda i: float(i % 2), 10, "chose the answer shown second in 10 of 10 choices"),
        (lambda i: float(i % 2 == 0), 7, ""),  # too few
        (lambda i: float(i % 2 == 0) if i < 15 else 0.5, 20, "chose the answer shown first in 15"),
        (lambda i: float((i % 2 == 0) == (i < 14)), 20, ""),  # 14 of 20 happens by chance
    ],
)
def test_habits_of_one_rater(won, n: int, fault: str) -> None:  # type: ignore[no-untyped-def]
    (habit,) = run([(i, "ann", won(i)) for i in range(n)], n=n).habits
    assert habit.fault.startswith(fault) and bool(habit.fault) == bool(fault)


def test_raters_who_together_favour_a_place_are_warned_of() -> None:
    # 36 of 48 choose the first: p of the sign test is 0.0007.
    told: list[Told] = [
        (i, rater, float((i % 2 == 0) == (i < 9))) for i in range(12) for rater in "abcd"
    ]
    found = run(told, n=12)
    assert (found.n_first, found.n_second) == (36, 12) and sign_test_p(36, 12) < 0.01
    assert found.favours_place
    assert "people chose the answer shown first in 75% of 48 choices with a winner" in words(found)
    fair = run([(i, r, 1.0) for i in range(12) for r in "abcd"], n=12)
    assert not fair.favours_place and "Caution" not in words(fair)
