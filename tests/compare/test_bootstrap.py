"""The bootstrap of a mean: scipy's numbers, in linear time and memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy.stats import bootstrap

from plugin.compare.bootstrap import bca_ends, resampled_means
from plugin.compare.intervals import bca_interval, group_units


@pytest.mark.parametrize("n", [30, 61, 400])
@pytest.mark.parametrize("kind", ["uniform", "skewed", "binary"])
def test_the_ends_are_those_of_scipy(n: int, kind: str) -> None:
    rng = np.random.default_rng(n)
    values = {
        "uniform": rng.uniform(-1, 1, n),
        "skewed": rng.exponential(size=n) ** 2,
        "binary": (rng.uniform(size=n) < 0.4).astype(float),
    }[kind]
    found = bootstrap(
        *((values,), np.mean),
        n_resamples=2_000,
        batch=500,
        confidence_level=0.956,
        method="BCa",
        rng=np.random.default_rng(7),
    )
    assert (resampled_means(values, 7, 2_000) == found.bootstrap_distribution).all()
    assert bca_ends(values, 0.956, 7, 2_000) == pytest.approx(found.confidence_interval, rel=1e-9)


def test_memory_does_not_grow_with_the_square_of_the_cases() -> None:
    values = np.random.default_rng(1).uniform(size=40_000)
    units = group_units(values, None)
    tracemalloc.start()
    bca_interval(units, 7, 200)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20e6  # every jackknife sample in full: 160 MB for 500 of them at a time
