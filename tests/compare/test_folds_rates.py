"""How often the test of folds errs, and how far the interval over cases carries to new adapters."""

from __future__ import annotations

import numpy as np
import pytest

from plugin.compare.folds import homogeneity
from plugin.compare.intervals import Units, group_units
from plugin.compare.stats import paired_estimate

N_SAMPLES, N_PERMUTATIONS = 1_000, 400


def draw(rng: np.random.Generator, k: int, n: int, kind: str, shift: float) -> list[Units]:
    """K folds of n cases; the gain of each fold's adapter is off by a draw of this size."""
    folds = []
    for off in rng.normal(0, shift, k):
        if kind == "right or wrong":  # gains of -1, 0 and 1
            gains = rng.choice([-1.0, 0.0, 1.0], n, p=[0.1 - off / 2, 0.6, 0.3 + off / 2])
        elif kind == "clusters":  # four cases of a cluster share half of their variance
            shared = np.repeat(rng.normal(0, 0.3, n // 4), 4)
            gains = 0.1 + off + shared + rng.normal(0, 0.3, n)
            folds.append(group_units(gains, list(np.repeat(np.arange(n // 4), 4))))
            continue
        else:
            gains = 0.1 + off + rng.exponential(0.4, n) - 0.4
        folds.append(group_units(np.asarray(gains, np.float64), None))
    return folds


@pytest.mark.slow
@pytest.mark.parametrize(("k", "n"), [(3, 12), (5, 20), (5, 60)])
@pytest.mark.parametrize("kind", ["right or wrong", "clusters", "skewed"])
def test_folds_that_do_not_differ_are_said_to_in_five_per_cent(k: int, n: int, kind: str) -> None:
    rng = np.random.default_rng(1)
    found = [
        homogeneity(draw(rng, k, n, kind, 0.0), seed, N_PERMUTATIONS) for seed in range(N_SAMPLES)
    ]
    rate = np.mean([one is not None and one.differ for one in found])
    print(f"{kind}, {k} folds of {n}: {rate:.3f}")
    assert 0.03 <= rate <= 0.07


@pytest.mark.slow
def test_what_the_interval_over_cases_covers() -> None:
    """200 cases, five folds: the mean gain of the recipe, where adapters differ by a spread."""
    rng = np.random.default_rng(2)
    covered, seen, by_fold = {}, {}, {}
    for spread in (0.0, 0.05, 0.1, 0.2):
        hits = found = by_t = 0
        for seed in range(N_SAMPLES):
            folds = draw(rng, 5, 40, "skewed", spread)
            gains = np.concatenate([one.sums for one in folds])
            whole = paired_estimate(list(gains), seed=seed, n_resamples=400)
            assert whole.ci_low is not None and whole.ci_high is not None
            hits += whole.ci_low <= 0.1 <= whole.ci_high
            told = homogeneity(folds, seed, N_PERMUTATIONS)
            assert told is not None
            found, by_t = found + told.differ, by_t + (told.ci_low <= 0.1 <= told.ci_high)
        covered[spread], seen[spread] = hits / N_SAMPLES, found / N_SAMPLES
        by_fold[spread] = by_t / N_SAMPLES
    print(covered, seen, by_fold)
    assert all(0.92 <= share <= 0.98 for share in by_fold.values())
    assert 0.92 <= covered[0.0] <= 0.97 and covered[0.05] > 0.85
    assert covered[0.2] < 0.75 and seen[0.2] > 0.6  # then the test says so, more often than not
