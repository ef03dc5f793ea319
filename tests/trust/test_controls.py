"""Right answers before the judge, and what its reasons show."""

from __future__ import annotations

import pytest

from plugin import metrics
from plugin.records import MetricSpec
from plugin.trust.controls import (
    EXPECTED,
    FRAMED,
    check_reasons,
    control_text,
    controls_for,
    grade_controls,
    quotes_prompt,
)
from tests.samples import case

(CORRECTNESS,) = (metric.spec for metric in metrics.load(["Correctness"]))
OWN = MetricSpec("politeness", "Politeness", higher_is_better=True)


def test_right_answers_are_right_on_correctness_rubric_and_relevancy_alone() -> None:
    specs = [metric.spec for metric in metrics.load(metrics.names())]
    assert {spec.name: controls_for(spec) for spec in specs if controls_for(spec)} == {
        "Answer Relevancy": (EXPECTED,),
        "Correctness": (EXPECTED, FRAMED),
        "Rubric": (EXPECTED, FRAMED),
        "Turn Rating": (EXPECTED, FRAMED),
    }
    assert controls_for(OWN) == ()


def test_the_right_answer_is_the_expected_output_as_it_is_and_in_a_frame() -> None:
    known = case(expected_output=" Paris. {x}")
    assert control_text(EXPECTED, known) == "Paris. {x}"
    assert control_text(FRAMED, known) == "The answer is: Paris. {x}"
    for nothing in (None, " "):
        assert control_text(FRAMED, case(expected_output=nothing)) == ""


@pytest.mark.parametrize(
    ("right", "wrong", "is_high", "told_apart"),
    [
        (0.9, 0.1, True, True),
        (0.5, 0.4, True, True),  # on both limits
        (0.49, 0.1, False, True),
        (0.0, 0.0, False, False),
        (1.0, 1.0, True, False),
        (0.52, 0.48, True, False),
        (0.9, None, True, None),  # nothing to tell it from
    ],
)
def test_the_thresholds(
    right: float, wrong: float | None, is_high: bool, told_apart: bool | None
) -> None:
    rows = grade_controls(
        CORRECTNESS,
        {EXPECTED: [right] * 5, FRAMED: [right] * 5},
        {},
        [] if wrong is None else [wrong] * 20,
    )
    assert [(row.name, row.is_high, row.told_apart) for row in rows] == [
        (EXPECTED, is_high, told_apart),
        (FRAMED, is_high, told_apart),
    ]
    assert all(row.passed is (is_high and told_apart is not False) for row in rows)


def test_right_answers_that_could_not_be_judged_prove_nothing() -> None:
    (row,) = grade_controls(CORRECTNESS, {}, {EXPECTED: 5}, [0.1])
    assert (row.mean, row.n, row.n_failed, row.passed) == (None, 0, 5, None)
    assert grade_controls(CORRECTNESS, {}, {}, [0.1]) == ()


def test_reasons_that_are_nearly_all_one_text_repeat() -> None:
    same = ["The score is as it is."] * 36
    found = check_reasons("m", [*same, "a", "b", "c", "d"], n_quotes=0, n_others=20)
    assert found is not None and (found.n, found.n_same, found.repeats) == (40, 36, True)
    found = check_reasons("m", [*same[:35], *"abcde"], n_quotes=0, n_others=20)
    assert found is not None and not found.repeats
    # The wrong answers alone may well have one reason, and a few reasons prove nothing.
    assert check_reasons("m", same[:20], n_quotes=0, n_others=0) is None
    assert check_reasons("m", same[:9], n_quotes=0, n_others=9) is None


def test_reasons_of_which_half_quote_the_prompt() -> None:
    reasons = [f"reason {number}" for number in range(20)]
    for n_quotes, quotes in ((9, False), (10, True)):
        found = check_reasons("m", reasons, n_quotes, n_others=10)
        assert found is not None and found.quotes_prompt is quotes


PROMPT = """Check whether the actual output states each fact of the expected output.
Input:
Who wrote the long book about the white whale?
Actual Output:
It was written by Herman Melville in New York
Return only valid JSON with your concise and informative reason here."""
OWN_TEXTS = (
    "Who wrote the long book about the white whale?",
    "It was written by Herman Melville in New York",
    "",
)


@pytest.mark.parametrize(
    ("reason", "quotes"),
    [
        ("your concise and informative reason here", True),
        ("So: check whether the ACTUAL output states each fact of the expected output!", True),
        ("It was written by Herman Melville in New York", False),  # the answer's own words
        ("The actual output states each fact, for it names Melville and the place.", False),
        ("reason here", False),
        ("", False),
    ],
)
def test_what_is_a_quotation_of_the_prompt(reason: str, quotes: bool) -> None:
    assert quotes_prompt(reason, [PROMPT], OWN_TEXTS) is quotes
