"""The promises of a sweep, by a simulation: small here, in full in `benchmarks/sweep.py`."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.sweep import (
    AIM_COVER,
    AIM_REGRET,
    AIM_SHARE,
    N_CASES,
    N_SWEEPS,
    SHAPES,
    drawn_scores,
    made_cases,
    tallies,
)

FEW = 25


def test_a_few_sweeps_choose_well_and_cheaply() -> None:
    found = tallies(N_CASES, FEW, ("single peak", "overfits late"))
    for tally in found.values():
        assert max(tally.share) <= AIM_SHARE
        assert tally.excess <= AIM_REGRET + 0.004  # a few sweeps show it roughly
        assert np.mean(tally.last) > 0.08  # the last checkpoint is no good choice here
    assert np.mean([ok for tally in found.values() for ok in tally.covers]) >= 0.85


def test_the_true_means_are_those_of_the_scores() -> None:
    rng = np.random.default_rng(0)
    for name in ("single peak", "ties (3 levels)", "0 or 1, very noisy"):
        true, scores = drawn_scores(SHAPES[name], made_cases(20_000, rng, False), rng)
        assert scores.mean(axis=1) == pytest.approx(true, abs=0.015)


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_sweeps_hold_their_promises(shape: str) -> None:
    tally = tallies(N_CASES, N_SWEEPS, [shape])[shape]
    assert tally.excess <= AIM_REGRET
    assert np.mean(tally.share) <= AIM_SHARE and max(tally.share) <= AIM_SHARE
    if tally.covers:
        assert AIM_COVER[0] <= np.mean(tally.covers) <= AIM_COVER[1]
