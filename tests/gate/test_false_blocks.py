"""The promise of a gate: a model that keeps to its rules is blocked in at most 5% of the gates."""

from __future__ import annotations

import pytest

from benchmarks.gate import SHAPES, better_blocks, false_blocks, found_losses

N_GATES = 200


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["10 clusters", "ties, n=100", "seconds, n=100", "0/1, n=60"])
def test_five_rules_at_their_limits_seldom_block(shape: str) -> None:
    found = false_blocks(SHAPES[shape], N_GATES, seed=11)
    assert found.own <= 0.05
    assert found.own < found.one_by_one < found.on_mean


@pytest.mark.slow
def test_better_with_a_guard_seldom_blocks_an_unchanged_model() -> None:
    assert better_blocks(200, 1, N_GATES) <= 0.05


@pytest.mark.slow
def test_a_planted_loss_is_found() -> None:
    blocked, passed = found_losses(0.15, 200, 0.05, 60)
    assert blocked >= 0.9 and passed == 0
