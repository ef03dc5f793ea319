"""What a variant lost: outcomes on small made-up results, and error rates by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from plugin.capability.paired import Flips, stratified_interval
from plugin.capability.records import ItemResult
from plugin.capability.stats import (
    KEPT_LEVEL,
    MARGIN,
    Pairs,
    ability_scores,
    gain_interval,
    holm_levels,
    items_for_kept,
    judge_abilities,
    judge_overall,
    pair_results,
)


def rows(ability, variant, scores, outputs=None, source="probe"):
    """A result per score, numbered; the output is the score unless given."""
    texts = outputs or [str(score) for score in scores]
    return [
        ItemResult(source, ability, f"{ability}-{i}", variant, score, text)
        for i, (score, text) in enumerate(zip(scores, texts, strict=True))
    ]


def findings(base, own):
    """Findings by ability; base and own are ability -> scores."""
    results = [
        row
        for variant, scores in (("vanilla", base), ("tuned", own))
        for ability, values in scores.items()
        for row in rows(ability, variant, values)
    ]
    pairs = pair_results(results, "vanilla", "tuned")
    found = {one.ability: one for one in judge_abilities(pairs, "tuned")}
    return found, judge_overall(pairs, "probe", "tuned")


def test_a_broken_ability_is_lost_and_the_others_are_not():
    half = [1.0, 0.0] * 20
    base = {name: half for name in ("arithmetic", "facts", "formats")}
    own = {**base, "arithmetic": [0.0] * 40, "facts": [1.0, 0.0] * 19 + [0.0, 0.0]}
    found, overall = findings(base, own)
    assert found["arithmetic"].outcome == "lost" and found["arithmetic"].is_large
    assert (found["arithmetic"].n_lost, found["arithmetic"].n_won) == (20, 0)
    assert found["arithmetic"].gain == -0.5 and found["arithmetic"].ci_high < -0.05
    assert found["facts"].outcome == "no loss found"
    assert found["formats"].outcome == "unchanged"
    assert overall.outcome == "lower"


def test_a_sure_but_small_loss_is_slightly_lower_and_a_gain_is_higher():
    base, own = [1.0] * 500 + [0.0] * 500, [1.0] * 480 + [0.0] * 520
    found, overall = findings({"a": base, "b": own}, {"a": own, "b": base})
    assert found["a"].outcome == "slightly lower" and -MARGIN < found["a"].ci_high < 0
    assert found["b"].outcome == "higher" and found["b"].ci_low > 0
    assert overall.outcome == "kept"


def test_holms_step_is_wider_before_another_ability_is_lost():
    half, none = [1.0, 0.0] * 20, [0.0] * 40
    one, _ = findings({"a": half, "b": half, "c": half}, {"a": none, "b": half, "c": half[::-1]})
    assert one["a"].level == pytest.approx(1 - 0.05 / 3)
    assert one["c"].level == pytest.approx(1 - 0.05 / 2)


def test_floor_and_ceiling_are_not_called_kept():
    base = {"hard": [0.0] * 40, "easy": [1.0] * 40}
    results = [
        *(row for name, scores in base.items() for row in rows(name, "vanilla", scores)),
        *rows("hard", "tuned", [0.0] * 40, ["other"] * 40),
        *rows("easy", "tuned", [1.0] * 40, ["other"] * 40),
    ]
    pairs = pair_results(results, "vanilla", "tuned")
    assert [one.outcome for one in judge_abilities(pairs, "tuned")] == ["floor", "ceiling"]
    overall = judge_overall(pairs, "probe", "tuned")
    assert overall.outcome == "floor" and overall.gain is None and overall.n == 0
    assert (overall.floors, overall.ceilings) == (("hard",), ("easy",))
    easy = {key: one for key, one in pairs.items() if key[1] == "easy"}
    assert judge_overall(easy, "probe", "tuned").outcome == "ceiling"


def test_one_solved_item_of_130_is_still_the_floor():
    """A base that solves 1 of 130 cannot lose more than the margin."""
    found, _ = findings({"a": [1.0] + [0.0] * 129}, {"a": [0.0] * 130})
    assert found["a"].outcome == "floor"


def test_no_floor_where_the_variant_gained():
    found, _ = findings({"a": [0.0] * 40}, {"a": [1.0] * 40})
    assert found["a"].outcome == "higher"


def test_equal_completions_are_unchanged():
    found, overall = findings({"a": [1.0, 0.0]}, {"a": [1.0, 0.0]})
    assert found["a"].outcome == "unchanged" and overall.outcome == "unchanged"


def test_equal_scores_of_other_completions_are_not_unchanged():
    results = [*rows("a", "vanilla", [1.0, 0.0]), *rows("a", "tuned", [1.0, 0.0], ["x", "y"])]
    pairs = pair_results(results, "vanilla", "tuned")
    assert judge_abilities(pairs, "tuned")[0].outcome == "no loss found"
    assert judge_overall(pairs, "probe", "tuned").outcome == "unclear"


def test_failures_at_their_worst_can_overturn_an_outcome():
    base, own = [1.0] * 40, [0.0] * 6 + [1.0] * 34
    found, _ = findings({"a": base}, {"a": own})
    assert found["a"].outcome == "lost"
    found, overall = findings({"a": base}, {"a": [0.0] * 6 + [1.0] * 22 + [None] * 12})
    assert found["a"].outcome == "unclear" and found["a"].n_failed == 12
    assert overall.outcome == "unclear"


def test_kept_must_hold_if_all_failures_are_losses():
    base = [1.0, 0.0] * 500
    assert findings({"a": base}, {"a": [*base[:-2], 0.0, 0.0]})[1].outcome == "kept"
    own = [*base[:-60], *[None] * 60]
    assert findings({"a": base}, {"a": own})[1].outcome == "unclear"


def test_an_item_that_neither_could_answer_counts_nowhere():
    results = [*rows("a", "vanilla", [1.0, None]), *rows("a", "tuned", [1.0, None])]
    pairs = pair_results(results, "vanilla", "tuned")
    assert pairs["probe", "a"] == Pairs((1.0,), (1.0,), 0, 0)
    assert ability_scores(results)[0].n_failed == 1


def test_scores_between_0_and_1_get_an_interval_too():
    rng = np.random.default_rng(3)
    gains = list(rng.uniform(-0.2, 0.1, 200))
    low, high = gain_interval(gains, 0.95)
    assert low < np.mean(gains) < high < 0 and high - low < 0.05
    low, high = gain_interval([0.0] * 199 + [0.5], 0.95)
    assert low < 0 < high


def test_how_many_items_would_do():
    """10% changed: 0.1 * ((1.645 + 0.842) / 0.03)**2 = 687."""
    assert items_for_kept([Flips(10, 10, 200)]) == 687


def _strata(rng, sizes, win, loss):
    for n in sizes:
        lost, won, _ = rng.multinomial(n, [loss, win, 1 - loss - win])
        yield Flips(int(won), int(lost), n)


def _share_kept(sizes, win, loss, n_runs, seed=0):
    rng = np.random.default_rng(seed)
    kept = 0
    for _ in range(n_runs):
        strata = list(_strata(rng, sizes, win, loss))
        kept += stratified_interval(strata, KEPT_LEVEL)[0] > -MARGIN
    return kept / n_runs


FULL, THIRD = [130, 150, 140, 130, 120, 140, 130, 130, 130], [44] * 8 + [48]


@pytest.mark.parametrize("n_runs", [300, pytest.param(4_000, marks=pytest.mark.slow)])
def test_power_to_show_that_nothing_is_lost(n_runs):
    """1,200 items of which 10% change show it in 95% of runs; 400 items in 59%."""
    slack = 3 * (0.25 / n_runs) ** 0.5
    assert _share_kept(FULL, 0.05, 0.05, n_runs) == pytest.approx(0.95, abs=max(0.012, slack / 2))
    assert _share_kept(THIRD, 0.05, 0.05, n_runs) == pytest.approx(0.59, abs=slack)


@pytest.mark.parametrize("n_runs", [300, pytest.param(4_000, marks=pytest.mark.slow)])
def test_a_loss_of_the_margin_is_called_kept_in_5_percent_of_runs(n_runs):
    allowed = 0.05 + 3 * (0.05 * 0.95 / n_runs) ** 0.5
    assert _share_kept(FULL, 0.035, 0.065, n_runs) <= allowed
    assert _share_kept([22] * 9, 0.035, 0.065, n_runs) <= allowed
    assert _share_kept(FULL, 0.0, 0.03, n_runs) <= allowed


def _false_lost(rng, sizes, win, loss):
    """Whether any ability, or all together, is called lost in one made-up run."""
    pairs = {
        ("probe", str(i)): Pairs(
            (0.0,) * one.won + (1.0,) * one.lost + (1.0, 0.0) * ((n - one.won - one.lost) // 2),
            (1.0,) * one.won + (0.0,) * one.lost + (1.0, 0.0) * ((n - one.won - one.lost) // 2),
            0,
            one.won + one.lost,
        )
        for i, (n, one) in enumerate(zip(sizes, _strata(rng, sizes, win, loss), strict=True))
    }
    is_any_lost = any(is_lost for is_lost, _ in holm_levels(pairs).values())
    return is_any_lost or judge_overall(pairs, "probe", "tuned").outcome == "lower"


SIZES = [20, 30, 40, 60, 80, 100, 120, 140, 150]


@pytest.mark.parametrize("n_runs", [100, pytest.param(1_500, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("win", "loss", "most"),
    [
        (0.05, 0.05, 0.005),  # unchanged, 10% of the answers differ
        (0.035, 0.065, 0.05),  # every ability lost exactly the margin: the worst place
        (0.0, 0.03, 0.05),
        (0.01, 0.04, 0.05),
    ],
)
def test_any_false_lost_over_all_abilities(n_runs, win, loss, most):
    rng = np.random.default_rng(7)
    n = sum(_false_lost(rng, SIZES, win, loss) for _ in range(n_runs))
    assert n / n_runs <= most + 3 * (most * (1 - most) / n_runs) ** 0.5
