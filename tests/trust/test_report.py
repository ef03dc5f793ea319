from __future__ import annotations

from dataclasses import replace

import pytest

from plugin import metrics
from plugin.compare.pairs import Evidence
from plugin.records import Score, Variant
from plugin.trust.controls import EXPECTED
from plugin.trust.exam import EMPTY_PRAISE, NULL, OPENING, ORDER, RETEST, ProbeResult
from plugin.trust.lengths import length_line
from plugin.trust.records import Canary, Control, Family, LengthSlope, Retest, Trust
from plugin.trust.report import (
    family_of,
    label_with_caveats,
    make_trust_report,
    retest_line,
    trust_first_lines,
    trust_last_lines,
)
from tests.samples import case, completion

(SPEC,) = (metric.spec for metric in metrics.load(["Correctness"]))
VARIANTS = (Variant("vanilla", "a", "m"), Variant("tuned", "b", "m"))
CASES = [case(str(i)) for i in range(30)]
FAMILY = family_of("custom:qwen", "qwen3")


def evidence() -> Evidence:
    """Tuned gains 0.2 wherever its answer is longer, which is every other case."""
    scores = [Score(each.id, "vanilla", SPEC.name, 0.5) for each in CASES]
    scores += [
        Score(each.id, "tuned", SPEC.name, 0.7 if i % 2 else 0.5) for i, each in enumerate(CASES)
    ]
    return Evidence(CASES, VARIANTS, [SPEC], scores)


def texts() -> dict[tuple[str, str], object]:
    made = {}
    for i, each in enumerate(CASES):
        made[each.id, "vanilla"] = completion("x" * 50, each.id, "vanilla")
        made[each.id, "tuned"] = completion("x" * (60 if i % 2 else 40), each.id, "tuned")
    return made


def found(kind: str, case_id: str, value: float | None, variant: str = "") -> ProbeResult:
    return ProbeResult(
        kind, case_id, variant, SPEC.name, value, "" if value is not None else "no answer"
    )


def made(*all_found: ProbeResult) -> Trust:
    return make_trust_report(all_found, evidence(), texts(), FAMILY)  # type: ignore[arg-type]


def test_a_retest_is_held_against_the_score() -> None:
    (row,) = made(
        found(RETEST, "0", 0.5, "vanilla"),
        found(RETEST, "1", 0.4, "tuned"),  # was 0.7
        found(RETEST, "2", 0.6, "vanilla"),  # was 0.5
        found(RETEST, "3", None, "tuned"),
    ).retests
    assert (row.metric, row.n, row.n_failed, row.n_moved) == ("Correctness", 3, 1, 2)
    assert row.mean_change == pytest.approx(0.4 / 3)
    assert row.largest_change == pytest.approx(0.3)


def test_canaries_stand_beside_the_real_mean() -> None:
    rows = made(found(NULL, "0", 0.0), found(NULL, "1", 0.4), found(ORDER, "0", None)).canaries
    assert [(row.name, row.mean, row.n, row.n_failed, row.passed) for row in rows] == [
        (NULL, pytest.approx(0.2), 2, 0, True),
        (ORDER, None, 0, 1, None),
    ]
    assert rows[0].real_mean == pytest.approx((30 * 0.5 + 15 * 0.7 + 15 * 0.5) / 60)


def test_longer_answers_that_gain_are_seen() -> None:
    (row,) = made().lengths
    assert (row.n, row.spread) == (30, 10)
    assert row.slope == pytest.approx(0.1)
    assert row.at_equal_length is None  # without groups
    assert row.judge_free == ()


def canary(name: str, mean: float | None, passed: bool | None, n_failed: int = 0) -> Canary:
    return Canary(name, "Correctness", mean, 5, n_failed, 0.6, passed)


GOOD = (canary(NULL, 0.0, True), canary(EMPTY_PRAISE, 0.12, True), canary(OPENING, None, None, 5))
BAD = (*GOOD, canary(ORDER, 0.93, False))


def test_a_failed_judge_says_so_in_the_label_and_in_the_first_line() -> None:
    judge = "custom:m"
    assert label_with_caveats(judge, "", Trust(canaries=BAD)) == (
        "judge custom:m failed the wrong-answer test"
    )
    assert label_with_caveats(judge, "", Trust(canaries=GOOD)) == ""
    assert label_with_caveats(judge, "smoke test", None) == "smoke test"
    (line,) = trust_first_lines(judge, Trust(canaries=BAD))
    assert line.startswith("The judge custom:m gave wrong answers too high scores.")
    assert 'on Correctness "order to the judge" 0.93 (n=5). ' in line
    assert "below 0.5" in line and "Choose another judge" in line
    assert trust_first_lines(judge, Trust(canaries=GOOD)) == []


def test_a_judge_that_passed_and_stood_still_says_so() -> None:
    told = Trust(retests=(Retest("Correctness", 10, 1, 0, 0.0, 0.0),), canaries=GOOD, family=FAMILY)
    passed, no_right_answers, repeated, family = trust_last_lines(told, "Correctness")
    assert passed.startswith("The judge passed the wrong-answer test")
    assert "all 2 kinds" in passed and "0.12 (empty praise on Correctness, 5 failed)" in passed
    assert "no right answers" in no_right_answers and "expected outputs" in no_right_answers
    assert "10 scores" in repeated and "changed none (1 more failed)" in repeated
    assert "same family (qwen)" in family and "a judge of another family" in family


def control(mean: float, wrong: float, is_high: bool, told_apart: bool) -> Control:
    return Control(EXPECTED, "Correctness", mean, 5, 0, wrong, is_high, told_apart)


def test_a_judge_that_gives_right_answers_low_scores_did_not_pass() -> None:
    trust = Trust(canaries=GOOD, controls=(control(0.0, 0.0, False, False),), family=None)
    assert label_with_caveats("custom:m", "", trust) == (
        "judge custom:m gave right answers low scores"
    )
    (line,) = trust_first_lines("custom:m", trust)
    assert line.startswith("The judge custom:m gave right answers low scores.")
    assert 'on Correctness "expected output" 0.00 (n=5). ' in line
    assert "at least 0.5" in line and "check the expected outputs" in line
    assert trust_last_lines(trust, "Correctness") == []  # no test is called passed


def test_a_judge_that_does_not_tell_right_from_wrong() -> None:
    trust = Trust(canaries=BAD, controls=(control(0.93, 0.9, True, False),))
    assert label_with_caveats("custom:m", "", trust) == (
        "judge custom:m failed the wrong-answer test and did not tell right answers from wrong ones"
    )
    line = trust_first_lines("custom:m", trust)[1]
    assert '"expected output" 0.93 (n=5), wrong answers 0.90. ' in line


def test_a_judge_that_knows_right_answers_passes_though_its_scores_are_constant() -> None:
    right = [found(EXPECTED, str(number), 0.9) for number in range(5)]
    trust = made(*right, *(found(NULL, str(number), 0.1) for number in range(5)))
    assert label_with_caveats("custom:m", "", trust) == ""
    line = trust_last_lines(trust, "Correctness")[1]
    assert line.startswith("The judge passed the right-answer test") and "mean is 0.90" in line


def test_reasons_that_repeat_or_quote_stand_in_the_first_lines() -> None:
    kinds = [NULL] * 5 + [RETEST] * 5 + [EXPECTED] * 5
    same = [replace(found(kind, str(i), 0.5), reason="as said") for i, kind in enumerate(kinds)]
    trust = made(*(replace(each, quotes_prompt=True) for each in same))
    assert "gave different answers the same reason and repeated its prompt as the reason" in (
        label_with_caveats("custom:m", "", trust)
    )
    lines = trust_first_lines("custom:m", trust)
    assert any("gave the same reason for 15 of 15 different answers" in line for line in lines)
    assert any("its prompt as the reason for 15 of 15 answers" in line for line in lines)


def test_how_much_it_moved() -> None:
    rows = (Retest("A", 10, 0, 3, 0.1, 0.3), Retest("B", 10, 0, 1, 0.01, 0.1))
    line = retest_line(rows)
    assert "20 scores" in line and line.endswith("changed 4, by up to 0.30.")
    lost = (Retest("A", 0, 10, 0, None, None),)
    assert retest_line(lost).endswith("(10 failed).")


@pytest.mark.parametrize(
    ("slope", "low", "high", "begins"),
    [
        (
            0.1,
            0.04,
            0.16,
            "Longer answers gained more on Correctness: where the answer of tuned is 84 ",
        ),
        (
            -0.1,
            -0.16,
            -0.04,
            "Shorter answers gained more on Correctness: where the answer of tuned is ",
        ),
        (0.1, -0.01, 0.21, "No sign that answer length affects Correctness: "),
    ],
)
def test_length_in_words(slope: float, low: float, high: float, begins: str) -> None:
    row = LengthSlope("Correctness", "tuned", 60, 84.2, slope, low, high, 0.02, "least squares")
    assert length_line(row).startswith(begins)
    assert ("at equal length the gain would be +0.02" in length_line(row)) == (low * high > 0)


def test_groups_and_metrics_without_a_judge_reach_the_length_slope() -> None:
    plain = evidence()
    specs = [SPEC, *(metric.spec for metric in metrics.load(["Token F1", "Exact Match"]))]
    cases = [replace(each, group="ab"[i // 15]) for i, each in enumerate(CASES)]
    more = [
        Score(each.id, variant, metric, value)
        for each in cases
        for metric, variant, value in (
            *(("Token F1", "vanilla", 0.5), ("Token F1", "tuned", 0.6)),
            *(("Exact Match", "vanilla", 1.0), ("Exact Match", "tuned", 0.0)),
        )
    ]
    whole = Evidence(cases, VARIANTS, specs, [*plain.scores, *more])
    (row,) = make_trust_report([], whole, texts(), FAMILY).lengths  # type: ignore[arg-type]
    assert row.n_groups == 2 and row.at_equal_length == pytest.approx(0.1, abs=0.01)
    assert [(one.metric, one.agrees) for one in row.judge_free] == [
        ("Token F1", True),
        ("Exact Match", False),
    ]


def test_no_slope_says_why() -> None:
    row = LengthSlope("Correctness", "tuned", 6, *(None,) * 5, "not estimated: needs 20, got 6")
    line = length_line(row)
    assert "Correctness for tuned" in line and line.endswith(": not estimated: needs 20, got 6.")


def test_another_family_is_no_news() -> None:
    assert trust_last_lines(Trust(family=Family(("gpt",), ("qwen",), ())), "m") == []


def test_length_is_held_against_the_base_alone() -> None:
    names = ("vanilla", "prompted", "tuned")
    both = evidence()
    more = [Score(each.id, "prompted", SPEC.name, 0.6) for each in CASES]
    scores = [*both.scores, *more]
    three = Evidence(CASES, [Variant(name, name, "m") for name in names], [SPEC], scores)
    told = {**texts(), **{(c.id, "prompted"): completion("x", c.id, "prompted") for c in CASES}}
    rows = make_trust_report([], three, told, FAMILY).lengths  # type: ignore[arg-type]
    assert [row.variant for row in rows] == ["tuned", "prompted"]
    assert rows[0] == made().lengths[0]
