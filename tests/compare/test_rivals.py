"""Several variants against each other: which is best, whether that is shown, and which to take."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from plugin.compare.early_stop import early_plan
from plugin.compare.pairs import Contrast, column_of, pair_up
from plugin.compare.rivals import rival_gaps
from plugin.compare.words_rivals import rival_lines
from plugin.records import ALL, VANILLA, Variant
from plugin.results import RivalGap
from tests.compare.test_verdict import (
    CORRECTNESS,
    FAILED,
    HALLUCINATION,
    SETTINGS,
    ask,
    case,
    found,
    spread,
)

Columns = dict[str, list[Any]]


def close(gap: float, n: int = 100) -> Columns:
    """Return a base, and two variants that are better: b is ahead of a by this gap."""
    rng = np.random.default_rng(5)
    own = np.array(spread(0.5, n, seed=3))
    ahead = own + gap + rng.uniform(-0.02, 0.02, n)
    return {VANILLA: spread(0.3, n, seed=2), "a": own.tolist(), "b": ahead.tolist()}


def only_gap(verdict: Any) -> RivalGap:
    (gap,) = verdict.rivals
    return gap


def test_what_cannot_be_told_apart_is_not_called_the_best() -> None:
    rng = np.random.default_rng(1)
    scores_of = {name: rng.uniform(0.3, 0.9, 60).tolist() for name in "ab"}
    first, last = sorted("ab", key=lambda name: sum(scores_of[name]))
    columns = {VANILLA: spread(0.2, seed=2), "a": scores_of[first], "b": scores_of[last]}
    verdict, rows = ask({CORRECTNESS: columns})
    assert verdict.variant == "b" and verdict.outcome == "better"
    assert verdict.sentence.startswith("b (highest mean of 2 adapters) is better than vanilla")
    gap = only_gap(verdict)
    assert (gap.best, gap.other, gap.outcome, gap.n, gap.n_pairs) == ("b", "a", "can't tell", 60, 1)
    evidence = found({CORRECTNESS: columns})
    scores = {name: column_of(evidence, CORRECTNESS, name) for name in "ab"}
    pairs = pair_up(CORRECTNESS, Contrast("b", "a"), scores, (ALL, evidence.cases))
    by_pair = pairs.estimate(SETTINGS)
    assert (gap.gain, gap.ci_low, gap.ci_high) == (by_pair.mean, by_pair.ci_low, by_pair.ci_high)
    assert verdict.details[0] == (
        f"Best against runner-up: b and a cannot be told apart on Correctness: "
        f"{gap.best_mean:.2f} against {gap.other_mean:.2f}, gain {gap.gain:+.2f} "
        f"(95% interval {gap.ci_low:+.2f} to {gap.ci_high:+.2f}, n=60)."
    )


def test_an_earlier_one_that_is_equivalent_is_recommended() -> None:
    # Small random differences on every case, of which the mean is near zero.
    columns = close(0.0)
    best = max("ab", key=lambda name: sum(columns[name]))
    columns = {VANILLA: columns[VANILLA], "early": columns["a" if best == "b" else "b"]} | {
        "late": columns[best]
    }
    verdict, rows = ask({CORRECTNESS: columns})
    assert (verdict.variant, only_gap(verdict).best) == ("early", "late")
    assert verdict.sentence.startswith(
        "early (as good as the best of 2 adapters, and earlier) is better than vanilla on Correct"
    )
    assert verdict.details[0].startswith(
        "Recommended: early. late has the highest mean, but the two are equivalent on Correctness "
        "(any difference is below your margin of 0.05): 0."
    )
    assert verdict.details[0].endswith(", n=100). early comes earlier.")
    assert not any(line.startswith("Best against") for line in verdict.details)
    # The other way round the best one is the earlier one, too.
    turned = {VANILLA: columns[VANILLA], "late": columns["late"], "early": columns["early"]}
    verdict, _ = ask({CORRECTNESS: turned})
    assert verdict.variant == "late"
    assert verdict.sentence.startswith("late (highest mean of 2 adapters) is better than vanilla")
    assert "late and early are equivalent on Correctness" in verdict.details[0]


def test_an_earlier_one_must_show_the_same_and_lose_no_more() -> None:
    n = 100
    base = spread(0.5, n, seed=2)
    rng = np.random.default_rng(10)
    # Both within the margin of each other; only b is shown to be better than the base.
    columns = {
        VANILLA: base,
        "a": [x + 0.005 + 0.05 * d for x, d in zip(base, rng.uniform(-1, 1, n), strict=True)],
        "b": [x + 0.01 + 0.05 * d for x, d in zip(base, rng.uniform(-1, 1, n), strict=True)],
    }
    verdict, rows = ask({CORRECTNESS: columns})
    outcomes = {row.variant: row.outcome for row in rows}
    assert (outcomes["a"], outcomes["b"]) == ("equivalent", "better")
    assert (verdict.variant, only_gap(verdict).outcome) == ("b", "equivalent")
    # As good on the primary metric, but it lost a guard that the best one kept.
    good = close(0.0, n)
    harm = {VANILLA: [0.1] * n, "a": spread(0.5, n), "b": [0.1] * n}
    verdict, _ = ask({CORRECTNESS: good, HALLUCINATION: harm})
    lost_by_best, _ = ask({CORRECTNESS: good, HALLUCINATION: harm | {"b": spread(0.5, n)}})
    assert only_gap(verdict) == only_gap(lost_by_best)
    assert (only_gap(verdict).best, only_gap(verdict).outcome) == ("b", "equivalent")
    assert (verdict.variant, lost_by_best.variant) == ("b", "a")


def test_with_three_the_intervals_hold_for_all_pairs_at_once() -> None:
    names = {"a": spread(0.5, seed=3), "b": spread(0.7, seed=4), "c": spread(0.52, seed=5)}
    verdict, _ = ask({CORRECTNESS: {VANILLA: spread(0.4, seed=2)} | names})
    assert verdict.sentence.startswith("b (best of 3 adapters) is better than vanilla")
    assert [(gap.best, gap.other, gap.outcome) for gap in verdict.rivals] == [
        ("b", "a", "better"),
        ("b", "c", "better"),
    ]
    assert all(gap.n_pairs == 3 for gap in verdict.rivals)
    assert verdict.details[0].startswith("Best against runner-up: b is better than c on Correct")
    assert "which holds for all 3 pairs of variants at once, n=60)" in verdict.details[0]
    alone, _ = ask({CORRECTNESS: {VANILLA: spread(0.4, seed=2), "b": names["b"], "c": names["c"]}})
    wide, narrow = verdict.rivals[1], only_gap(alone)
    assert wide.ci_low is not None and narrow.ci_low is not None
    assert wide.ci_low < narrow.ci_low


def test_the_best_must_be_better_than_every_other_one() -> None:
    columns = close(0.0)
    best = max("ab", key=lambda name: sum(columns[name]))
    names = {"best": columns[best], "near": columns["a" if best == "b" else "b"]}
    verdict, _ = ask({CORRECTNESS: {VANILLA: columns[VANILLA], **names, "far": [0.1] * 100}})
    outcomes = [(gap.best, gap.other, gap.outcome) for gap in verdict.rivals]
    assert outcomes == [("best", "near", "equivalent"), ("best", "far", "better")]
    assert verdict.sentence.startswith("best (highest mean of 3 adapters) is better than vanilla")


def test_a_lead_that_is_too_small_to_matter_says_so() -> None:
    verdict, _ = ask({CORRECTNESS: close(0.01)})
    assert (verdict.variant, only_gap(verdict).outcome) == ("b", "better")
    assert verdict.details[0].startswith(
        "Best against runner-up: b is better than a on Correctness, but by less than your margin "
        "of 0.05: 0.51 against 0.50, gain +0.01 (95% interval +0.0"
    )


def test_clusters_are_respected() -> None:
    columns = close(0.2, n=60)
    in_ten = [case(n, cluster=str(n % 10)) for n in range(60)]
    gap = only_gap(ask({CORRECTNESS: columns}, in_ten)[0])
    assert (gap.n_clusters, gap.outcome) == (10, "better")
    in_five = [case(n, cluster=str(n % 5)) for n in range(60)]
    verdict, _ = ask({CORRECTNESS: columns}, in_five)
    gap = only_gap(verdict)
    assert (gap.ci_low, gap.outcome) == (None, "can't tell")
    assert "(no interval, n=60 in 5 clusters)" in verdict.details[0]


def test_failures_at_their_worst_must_not_change_it() -> None:
    columns = close(0.1)
    few = columns | {"a": [FAILED, *columns["a"][1:]]}
    assert only_gap(ask({CORRECTNESS: few})[0]).outcome == "better"
    many = columns | {"a": [FAILED] * 20 + columns["a"][20:]}
    verdict, _ = ask({CORRECTNESS: many})
    gap = only_gap(verdict)
    assert (gap.outcome, gap.n, gap.n_failed) == ("can't tell", 80, 20)
    assert gap.ci_low is not None and gap.ci_low > 0
    assert ", n=80, 20 failed)" in verdict.details[0]


def test_nothing_is_recommended_where_nothing_may_be_concluded() -> None:
    verdict, _ = ask({CORRECTNESS: close(0.0)}, is_withheld=True)
    assert verdict.rivals == ()
    assert not any(line.startswith(("Recommended", "Best against")) for line in verdict.details)
    alone, _ = ask({CORRECTNESS: {VANILLA: spread(0.4), "a": spread(0.6)}})
    assert alone.rivals == () and alone.sentence.startswith("a is better than vanilla")


def test_many_variants_have_no_interval_and_no_endless_wait() -> None:
    names = {f"v{n}": spread(0.5, n=12, seed=n) for n in range(22)}
    verdict, _ = ask({CORRECTNESS: {VANILLA: spread(0.4, n=12)} | names})
    assert {gap.outcome for gap in verdict.rivals} == {"can't tell"}
    assert verdict.rivals[0].method == "no interval with more than 20 variants"
    assert "(highest mean of 22 adapters)" in verdict.sentence


def test_in_a_run_that_may_stop_early_the_interval_is_a_sequence() -> None:
    scores = {VANILLA: spread(0.2, seed=2), "a": spread(0.4, seed=3), "b": spread(0.9, seed=4)}
    cases = [case(n) for n in range(60)]
    variants = [Variant(name, name, "model") for name in scores]
    plan = early_plan(cases, [CORRECTNESS], "Correctness", variants, seed=7)
    verdict, _ = ask({CORRECTNESS: scores}, cases, early=plan)
    gap = only_gap(verdict)
    assert (gap.outcome, gap.method) == ("better", "confidence sequence (betting)")
    fixed = only_gap(ask({CORRECTNESS: scores}, cases)[0])
    assert gap.gain == fixed.gain
    assert gap.ci_low is not None and fixed.ci_low is not None and gap.ci_low < fixed.ci_low


def test_sequences_of_several_pairs_share_the_five_percent() -> None:
    scores = {VANILLA: spread(0.2, seed=2), "a": spread(0.4, seed=3), "b": spread(0.42, seed=4)}
    cases = [case(n) for n in range(60)]
    widths = []
    for more in ({}, {"c": spread(0.3, seed=6), "d": spread(0.3, seed=7)}):
        variants = [Variant(name, name, "model") for name in scores | more]
        plan = early_plan(cases, [CORRECTNESS], "Correctness", variants, seed=7)
        verdict, _ = ask({CORRECTNESS: scores | more}, cases, early=plan)
        (gap,) = (gap for gap in verdict.rivals if gap.other == "a")
        assert gap.best == "b" and gap.ci_low is not None and gap.ci_high is not None
        widths.append(gap.ci_high - gap.ci_low)
    assert widths[0] < widths[1]


@pytest.mark.parametrize("n_variants", [2, 5])
def test_equal_variants_are_rarely_called_the_best(n_variants: int) -> None:
    """Of runs without any true difference the best is falsely told apart in 5% at most."""
    rng, wrong, n_runs = np.random.default_rng(n_variants), 0, 120
    quick = dataclasses.replace(SETTINGS, n_resamples=300)
    for _ in range(n_runs):
        hardness = rng.uniform(0.2, 0.8, 60)
        columns = {
            name: np.clip(hardness + rng.normal(0, 0.2, 60), 0, 1).tolist()
            for name in (VANILLA, *(f"v{n}" for n in range(n_variants)))
        }
        evidence = found({CORRECTNESS: columns})
        best = max((n for n in columns if n != VANILLA), key=lambda name: sum(columns[name]))
        gaps = rival_gaps(evidence, CORRECTNESS, best, quick)
        wrong += any(gap.outcome in ("better", "worse") for gap in gaps)
    assert wrong / n_runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / n_runs)


def test_two_that_were_compared_with_each_other_have_a_win_rate() -> None:
    gap = RivalGap(
        best="a",
        other="b",
        metric="Preference",
        n=60,
        n_clusters=None,
        n_failed=1,
        best_mean=0.7,
        other_mean=0.5,
        gain=0.2,
        ci_low=0.1,
        ci_high=0.3,
        margin=0.05,
        outcome="better",
        n_pairs=3,
        method="bootstrap",
        is_relative=True,
    )
    assert rival_lines([gap], "a", "b") == [
        "Best against runner-up: a is better than b on Preference: asked about these two, a wins "
        "70% (95% interval 60% to 80%, which holds for all 3 pairs of variants at once, n=60, "
        "1 failed), ties count half."
    ]
