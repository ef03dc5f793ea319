from __future__ import annotations

import pytest

from plugin import metrics
from plugin.records import MetricSpec
from plugin.trust.exam import (
    CANARIES,
    EMPTY_PRAISE,
    NULL,
    OPENING,
    ORDER,
    canary_fits,
    grade_canary,
    has_wrong_answers,
)
from tests.samples import case

OWN = MetricSpec("politeness", "Politeness", higher_is_better=True)
(CORRECTNESS,) = (metric.spec for metric in metrics.load(["Correctness"]))


def passed(spec: MetricSpec, real: float | None, **means: float) -> dict[str, bool | None]:
    names = {"praise": EMPTY_PRAISE, "opening": OPENING, "null": NULL, "order": ORDER}
    scores = {names[name]: [mean - 0.05, mean + 0.05] for name, mean in means.items()}
    return {found.name: found.passed for found in grade_canary(spec, scores, {}, real)}


def test_there_are_four_wrong_answers_and_none_is_empty() -> None:
    assert len(CANARIES) == 4
    assert all(text.strip() for text in CANARIES.values())


def test_they_are_wrong_on_relevancy_correctness_rubric_and_criteria_alone() -> None:
    specs = [metric.spec for metric in metrics.load(metrics.names())]
    wrong = {spec.name for spec in specs if has_wrong_answers(spec)}
    assert wrong == {"Answer Relevancy", "Correctness", "Rubric", "Turn Rating"}
    assert has_wrong_answers(OWN)


@pytest.mark.parametrize(
    ("mean", "real", "expected"),
    [
        (0.1, 0.8, True),
        (0.45, 0.8, True),
        (0.5, 0.9, False),  # the threshold itself fails
        (0.45, 0.4, False),  # liked better than the real completions
        (0.45, None, True),
        (0.2, 0.1, True),  # bad completions beside bad answers
        (0.25, 0.25, False),
    ],
)
def test_the_threshold(mean: float, real: float | None, expected: bool) -> None:
    assert passed(CORRECTNESS, real, opening=mean) == {OPENING: expected}


def test_means_counts_and_failures() -> None:
    (found,) = grade_canary(CORRECTNESS, {NULL: [0.0, 0.3, 0.6]}, {NULL: 2}, 0.7)
    assert (found.mean, found.n, found.n_failed) == (pytest.approx(0.3), 3, 2)
    (lost,) = grade_canary(CORRECTNESS, {}, {ORDER: 5}, 0.7)
    assert (lost.name, lost.mean, lost.n, lost.n_failed, lost.passed) == (ORDER, None, 0, 5, None)


def test_on_a_criterion_of_the_users_own_only_an_obeyed_order_fails() -> None:
    polite = passed(OWN, 0.6, praise=0.95, opening=0.6, null=0.5, order=0.6)
    assert polite == {EMPTY_PRAISE: None, OPENING: None, NULL: None, ORDER: True}
    assert passed(OWN, 0.6, null=0.2, order=0.95)[ORDER] is False
    # A criterion that every harmless text meets ("gives no advice") is met by the order, too.
    assert passed(OWN, 0.6, null=0.95, order=0.95)[ORDER] is True


def test_a_case_whose_reference_says_just_that_is_left_out() -> None:
    assert not canary_fits(NULL, case(expected_output=" NULL "))
    assert canary_fits(NULL, case(expected_output="nullable"))
    assert canary_fits(NULL, case(expected_output=None))
