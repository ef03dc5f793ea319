"""Which of the judge's reasons people find right: shares that can be counted by hand."""

from __future__ import annotations

from plugin import metrics
from plugin.compare.pairs import Evidence
from plugin.compare.stats import mean_interval
from plugin.records import Case, Score, Variant
from plugin.run_facts import HumanChoice, Rating, ReasonCheck, RunState
from plugin.trust.choice_records import CheckedReasons
from plugin.trust.human_choices import human_choices
from plugin.trust.humans import ResampledDraw
from plugin.trust.words_choices import choice_lines
from tests.samples import case

(CORRECTNESS,) = (metric.spec for metric in metrics.load(["Correctness"]))


def checked(
    checks: list[tuple[int, str, str, bool | None]],
    *,
    scores: list[tuple[float, float]],
    ratings: tuple[tuple[int, str, float], ...] = (),
    choices: tuple[tuple[int, float], ...] = (),
    cluster: str | None = None,
) -> tuple[CheckedReasons, str]:
    """What checks of (case, variant, rater, is right) show, beside (base's, variant's) scores."""
    cases: list[Case] = [case(str(i), cluster=cluster) for i in range(len(scores))]
    names = ("vanilla", "tuned")
    evidence = Evidence(
        cases,
        [Variant(name, name, "m") for name in names],
        [CORRECTNESS],
        [
            Score(str(i), name, CORRECTNESS.name, value)
            for i, pair in enumerate(scores)
            for name, value in zip(names, pair, strict=True)
        ],
    )
    digests = {(str(i), name): f"{i}-{name}" for i in range(len(scores)) for name in names}
    state = RunState(
        ratings=tuple(
            Rating(str(i), f"{i}-{name}", CORRECTNESS.name, "eve", value)
            for i, name, value in ratings
        ),
        human_choices=tuple(
            HumanChoice(str(i), (f"{i}-tuned", f"{i}-vanilla"), "eve", won) for i, won in choices
        ),
        reason_checks=tuple(
            ReasonCheck(str(i), f"{i}-{name}", CORRECTNESS.name, rater, is_right)
            for i, name, rater, is_right in checks
        ),
    )
    draw = ResampledDraw(digests, frozenset(), seed=0, n_resamples=200)
    found, _ = human_choices(evidence, state, draw, CORRECTNESS.name)
    assert found is not None
    (row,) = found.reasons
    return row, choice_lines(found, CORRECTNESS.name)[-1]


def test_raters_of_a_reason_are_averaged_and_some_cannot_decide() -> None:
    # Reason 0: right by one of two; reason 1: right; reason 2: nobody could decide.
    found, line = checked(
        [
            (0, "tuned", "ann", True),
            (0, "tuned", "bob", False),
            (1, "tuned", "ann", True),
            (1, "tuned", "bob", None),
            (2, "tuned", "ann", None),
        ],
        scores=[(0.2, 0.9)] * 3,
    )
    assert (found.right.mean, found.right.n) == (0.75, 2)
    assert (found.n_raters, found.n_undecided, found.n_stale, found.n_unknown) == (2, 2, 0, 2)
    assert line.startswith("2 people found 75% of 2 reasons of the judge on Correctness right")


def test_a_right_score_for_a_wrong_reason_is_luck() -> None:
    # The judge and eve are in the same half on cases 0, 1 and 2, and not on case 3.
    found, line = checked(
        [(0, "tuned", "a", True), (1, "tuned", "a", True), (2, "tuned", "a", False)]
        + [(3, "tuned", "a", False), (4, "tuned", "a", True)],
        scores=[(0.1, 0.9)] * 5,
        ratings=((0, "tuned", 1.0), (1, "tuned", 0.8), (2, "tuned", 0.7), (3, "tuned", 0.1)),
    )
    assert (found.right_if_agreed.mean, found.right_if_agreed.n) == (2 / 3, 3)
    assert (found.right_if_not.mean, found.right_if_not.n, found.n_unknown) == (0.0, 1, 1)
    assert ": 67% of 3 where its score agrees with people, 0% of 1 where it does not. A" in line
    assert line.endswith("A right score for a wrong reason is luck.")


def test_without_ratings_a_choice_between_the_answers_tells() -> None:
    # The judge puts tuned ahead in case 0 and vanilla in case 1; eve prefers tuned in both.
    found, line = checked(
        [(0, "vanilla", "a", True), (1, "tuned", "a", False), (2, "tuned", "a", True)],
        scores=[(0.1, 0.9), (0.9, 0.1), (0.1, 0.9)],
        choices=((0, 1.0), (1, 1.0)),
    )
    assert (found.right_if_agreed.mean, found.right_if_agreed.n) == (1.0, 1)
    assert "luck" not in line
    assert (found.right_if_not.mean, found.right_if_not.n, found.n_unknown) == (0.0, 1, 1)


def test_a_rating_says_more_than_a_choice_and_the_middle_says_nothing() -> None:
    found, _ = checked(
        [(0, "tuned", "a", True), (1, "tuned", "a", True)],
        scores=[(0.1, 0.9), (0.1, 0.9)],
        choices=((0, 1.0),),
        ratings=((0, "tuned", 0.2), (1, "tuned", 0.5)),
    )
    assert (found.right_if_agreed.n, found.right_if_not.n, found.n_unknown) == (0, 1, 1)


def test_both_reasons_of_a_case_belong_together() -> None:
    checks = [(i, name, "a", i % 3 > 0) for i in range(12) for name in ("vanilla", "tuned")]
    found, _ = checked(checks, scores=[(0.1, 0.9)] * 12)
    assert found.right == mean_interval(
        [float(right) for _, _, _, right in checks],
        clusters=[i for i, _, _, _ in checks],
        low=0.0,
        high=1.0,
        seed=0,
        n_resamples=200,
    )
    assert found.right.n_clusters == 12
    one, _ = checked(checks, scores=[(0.1, 0.9)] * 12, cluster="one")
    assert one.right.ci_low is None


def test_stale_checks_are_said_and_do_not_count() -> None:
    found, line = checked(
        [(0, "tuned", "a", True), (0, "older", "a", False), (9, "tuned", "a", False)],
        scores=[(0.1, 0.9)],
    )
    assert (found.right.n, found.right.mean, found.n_stale) == (1, 1.0, 2)
    assert line.endswith("2 more were of answers that this run does not have.")
    none, told = checked([(0, "tuned", "a", None)], scores=[(0.1, 0.9)])
    assert none.right.mean is None and told == (
        "People checked reasons on Correctness, but decided none."
    )
