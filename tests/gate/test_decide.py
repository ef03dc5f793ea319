"""Every rule decides on the interval, all rules together, and failures count at their worst."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from plugin.capability.paired import Flips
from plugin.compare.intervals import LEVEL
from plugin.gate.checks import Check, Fact
from plugin.gate.decide import GateResult, decide
from plugin.gate.quantities import AbilityGain, Growth, Mean, Sample
from plugin.gate.words import reason_text
from plugin.plan.gate_rules import AskedRule
from plugin.records import Failure
from tests.gate.made_runs import (
    BETTER,
    CORRECTNESS,
    EVEN,
    F1,
    HALLUCINATION,
    SLIGHTLY_WORSE,
    WORSE,
    decision,
    gate,
    write_run,
)

RULE = AskedRule("max_loss", 0.0, "Token F1")


def mean_of(values: tuple[float, ...], times: int = 1, **changed: object) -> Mean:
    return Mean(Sample(values * times, None, -1.0, 1.0), n_resamples=2_000, **changed)  # type: ignore[arg-type]


def check(quantity: object, limit: float = 0.0, **changed: object) -> Check:
    return Check(RULE, "gain", limit, limit, quantity=quantity, **changed)  # type: ignore[arg-type]


def result(*checks: Check) -> list[str]:
    return [one.result for one in decide(checks)]


def test_the_mean_alone_neither_passes_nor_fails() -> None:
    # Means of -0.03 and -0.035; only the second one's interval leaves out limits on both sides.
    assert sum(SLIGHTLY_WORSE) / 10 == pytest.approx(-0.03)
    noisy, steady = mean_of(SLIGHTLY_WORSE, 3), mean_of((-0.03, -0.05, -0.04, -0.02), 15)
    assert result(check(noisy, -0.01)) == ["can't tell"]
    assert result(check(noisy, -0.05)) == ["can't tell"]
    assert result(check(steady, -0.02)) == ["fail"]
    assert result(check(steady, -0.05)) == ["pass"]


def test_at_most_is_decided_at_the_other_end() -> None:
    cut = Mean(Sample((0.0,) * 380 + (1.0,) * 20, None, 0.0, 1.0), n_resamples=2_000)
    low, high = cut.ends(LEVEL)
    assert low is not None and high is not None and low < 0.05 < high
    for limit, told in ((high + 0.001, "pass"), (low - 0.001, "fail"), (0.05, "can't tell")):
        assert result(check(cut, limit, at_least=False)) == [told]


def test_the_limit_itself_is_enough_but_not_for_better() -> None:
    sure = mean_of((0.2,), 5)  # five equal gains: the betting interval
    low = sure.ends(LEVEL).low
    assert low is not None
    assert result(check(sure, low)) == ["pass"]
    assert result(check(sure, low, is_strict=True)) == ["can't tell"]


def test_several_rules_need_wider_intervals_to_fail_and_the_same_to_pass() -> None:
    bad = mean_of((-0.4, 0.25, -0.45, 0.3, -0.2), 12)
    high = [bad.ends(level).high for level in (LEVEL, 0.99)]
    assert high[0] is not None and high[1] is not None and high[0] < 0 < high[1]
    assert result(check(bad)) == ["fail"]
    good = mean_of(BETTER, 6)
    found = decide([check(bad), *(check(good) for _ in range(4))])
    assert [one.result for one in found] == ["can't tell", "pass", "pass", "pass", "pass"]
    assert found[0].fail_level == 0.99 and found[1].level == 0.95
    assert "To fail one of several rules, a wider interval must be beyond" in reason_text(found[0])


def test_what_fails_leaves_the_others_at_the_level_for_fewer() -> None:
    # With three rules only the clear loss fails; it leaves two, for which 97.5% is enough.
    bad = mean_of((-0.4, 0.25, -0.45, 0.3, -0.2), 12)
    two, three = bad.ends(1 - 0.05 / 2).high, bad.ends(1 - 0.05 / 3).high
    assert two is not None and three is not None and two < 0 < three
    clear, even = mean_of(WORSE, 6), mean_of(EVEN, 6)
    assert result(check(bad), check(even), check(even)) == ["can't tell"] * 3
    assert result(check(bad), check(clear), check(even)) == ["fail", "fail", "can't tell"]


def test_a_loss_must_also_be_shown_by_the_test() -> None:
    # Of ten cases that differ eight lose: one-sided p = (1 + 10 + 45) / 1024 = 0.0547.
    few = mean_of((-1.0,) * 8 + (1.0,) * 2 + (0.0,) * 50)
    assert few.loss_p == pytest.approx(56 / 1024)
    high = few.ends(LEVEL).high
    assert high is not None and high < 0
    (found,) = decide([check(few)])
    assert found.result == "can't tell"
    assert reason_text(found).startswith(
        "The interval is beyond 0, but too few cases differ: p=0.055."
    )
    # Where a gain is demanded, no loss is needed to fail.
    assert result(check(few, 0.1)) == ["fail"]


def test_rules_that_count_do_not_widen_the_others() -> None:
    counted = Check(AskedRule("max_failed", 0.1), "failed", fact=Fact("pass", "none"))
    assert [one.fail_level for one in decide([check(mean_of(EVEN, 3)), *[counted] * 9])] == [
        0.95
    ] * 10


def test_of_several_variants_each_gets_its_share_of_the_five_percent() -> None:
    good = mean_of(BETTER, 6)
    assert decide([check(good)], n_rivals=5)[0].level == 0.99
    assert decide([check(good)], n_rivals=1)[0].level == 0.95


def test_an_outcome_must_hold_with_failures_at_their_worst() -> None:
    values = BETTER * 6
    low, high = (Sample(values + (end,) * 20, None, -1.0, 1.0) for end in (-1.0, 1.0))
    open_ = Mean(Sample(values, None, -1, 1), 20, low, high, n_resamples=2_000)
    (found,) = decide([check(open_)])
    assert found.result == "can't tell" and found.is_upset
    assert reason_text(found).startswith("20 failed scores could change the outcome")
    assert result(check(mean_of(values))) == ["pass"]
    # A loss so clear that the failures cannot undo it stays a fail.
    one = Sample(WORSE * 6 + (1.0,), None, -1.0, 1.0)
    still = Mean(Sample(WORSE * 6, None, -1, 1), 1, one, one, n_resamples=2_000)
    assert result(check(still)) == ["fail"]
    # Without bounds a failed case could have had any value.
    free = Mean(Sample(WORSE * 6, None), 1, one, one, n_resamples=2_000)
    assert result(check(free)) == ["can't tell"]


def test_a_run_that_may_stop_early_is_decided_by_its_confidence_sequence() -> None:
    fixed, anytime = mean_of(WORSE, 6), mean_of(WORSE, 6, is_anytime=True)
    wide, narrow = anytime.ends(LEVEL), fixed.ends(LEVEL)
    assert wide.low is not None and narrow.low is not None and wide.low < narrow.low
    assert result(check(anytime)) == ["fail"]
    clusters = tuple(range(30)) * 2
    has_none = Mean(Sample(WORSE * 6, clusters, -1.0, 1.0), is_anytime=True)
    (found,) = decide([check(has_none)])
    assert found.result == "can't tell"
    assert "a run that may stop early gives it no interval" in reason_text(found)


def test_growth_is_a_ratio_of_means() -> None:
    base = tuple(1.0 + i % 5 for i in range(60))
    own = tuple(1.5 * b + 0.1 * (i % 3 - 1) for i, b in enumerate(base))
    found = Growth(own, base, None)
    assert found.value == pytest.approx(0.5)
    assert result(check(found, 0.4, at_least=False), check(found, 0.6, at_least=False)) == [
        "fail",
        "pass",
    ]
    assert result(check(Growth((1.0,) * 60, (0.0,) * 60, None), 0.4, at_least=False)) == [
        "can't tell"
    ]


def test_ability_is_decided_with_failed_items_at_their_worst() -> None:
    found = AbilityGain((Flips(0, 30, 200), Flips(1, 40, 200)))
    assert found.value == pytest.approx(-69 / 400)
    assert result(check(found, -0.1)) == ["fail"]
    assert result(check(found, -0.3)) == ["pass"]
    assert result(check(AbilityGain(found.strata, n_failed=80), -0.3)) == ["can't tell"]
    assert result(check(AbilityGain(()), -0.3)) == ["can't tell"]


@pytest.mark.parametrize(
    ("results", "is_strict", "outcome", "code"),
    [
        (("pass", "pass"), True, "pass", 0),
        (("pass", "can't tell"), False, "can't tell", 0),
        (("pass", "can't tell"), True, "can't tell", 5),
        (("can't tell", "fail"), False, "fail", 4),
        (("can't tell", "fail"), True, "fail", 4),
    ],
)
def test_the_worst_rule_is_the_outcome(
    results: tuple[str, ...], is_strict: bool, outcome: str, code: int
) -> None:
    facts = [Fact(one, "") for one in results]  # type: ignore[arg-type]
    found = GateResult(decide([Check(RULE, "", fact=one) for one in facts]), is_strict)
    assert (found.result, found.exit_code) == (outcome, code)


def test_how_many_cases_would_settle_it() -> None:
    (open_,) = decide([check(mean_of(SLIGHTLY_WORSE, 3), -0.1)])
    # The mean lies 0.07 above the limit, the spread is 0.3282: (2.8016 * 0.3282 / 0.07)**2 = 172.5
    # by the normal approximation, and two more by the t test.
    assert open_.result == "can't tell" and open_.n_needed == 175
    even = mean_of((0.0,), 20)
    (found,) = decide([check(even, -0.05)])
    assert found.result == "can't tell" and found.n_needed is not None
    low = mean_of((0.0,), found.n_needed).ends(LEVEL).low
    assert low is not None and low >= -0.05
    assert "would settle it, if the number stays the same" in reason_text(found)
    (stuck,) = decide([check(mean_of(EVEN, 6))])
    assert stuck.n_needed is None and "too near to the limit" in reason_text(stuck)


def test_better_fails_where_the_run_lost_a_guard(tmp_path: Path) -> None:
    gains = {"tuned": {CORRECTNESS: BETTER, HALLUCINATION: WORSE}}
    found = decision(write_run(tmp_path, gains), require="better")
    assert found.result == "fail"
    assert reason_text(found) == "It lost what must not get worse: Hallucination (-0.27)."
    assert decision(tmp_path, require="not_worse").result == "pass"
    harmless = {"tuned": {CORRECTNESS: BETTER, HALLUCINATION: EVEN}}
    assert decision(write_run(tmp_path / "b", harmless), require="better").result == "pass"


def test_a_harm_of_another_variant_does_not_count(tmp_path: Path) -> None:
    gains = {
        "careless": {CORRECTNESS: BETTER, HALLUCINATION: WORSE},
        "careful": {CORRECTNESS: BETTER, HALLUCINATION: EVEN},
    }
    write_run(tmp_path, gains)
    assert decision(tmp_path, require="better", variant="careful").result == "pass"
    assert decision(tmp_path, require="better", variant="careless").result == "fail"


@pytest.mark.parametrize(
    ("gains", "rule", "told"),
    [
        (BETTER, "better", "pass"),
        (BETTER, "not_worse", "pass"),
        (WORSE, "better", "fail"),
        (WORSE, "not_worse", "fail"),
        (EVEN, "better", "can't tell"),
        ((0.0,) * 10, "better", "can't tell"),
        (SLIGHTLY_WORSE, "not_worse", "can't tell"),
    ],
)
def test_the_primary_metric(tmp_path: Path, gains: tuple[float, ...], rule: str, told: str) -> None:
    write_run(tmp_path, {"tuned": {CORRECTNESS: gains}})
    assert decision(tmp_path, require=rule).result == told


def test_an_equivalent_model_is_told_what_would_block_it(tmp_path: Path) -> None:
    write_run(tmp_path, {"tuned": {CORRECTNESS: tuple(g / 10 for g in EVEN)}})
    found = decision(tmp_path, require="better")
    assert found.result == "can't tell"
    assert "There is no gain beyond 0.05; --min_gain 0.05 would block such a model." in reason_text(
        found
    )
    assert decision(tmp_path, min_gain=0.05).result == "fail"


def test_failed_scores_of_a_run_count_at_their_worst(tmp_path: Path) -> None:
    failures = [Failure(str(i), "judge", "no answer", "tuned", "Correctness") for i in range(25)]
    write_run(tmp_path, {"tuned": {CORRECTNESS: BETTER, F1: BETTER}}, failures=failures)
    upset = decision(tmp_path, min_gain=0.15)
    assert upset.result == "can't tell" and upset.is_upset
    better = decision(tmp_path, require="better")
    assert better.result == "can't tell" and better.is_upset
    assert decision(tmp_path, max_loss=["Token F1=0"]).result == "pass"


def test_every_lower_level_is_narrower_and_none_is_a_point(tmp_path: Path) -> None:
    write_run(tmp_path, {"tuned": {CORRECTNESS: (0.0,) * 10}})
    _, found = gate(tmp_path, require="not_worse", min_gain=0.0, max_loss=["Correctness=0"])
    for one in found.decisions:
        assert one.ends.low is not None and one.fail_ends.low is not None
        assert one.fail_ends.low < one.ends.low < 0
        assert math.isfinite(one.fail_ends.low)
