"""Intervals at other levels than 95%, each against another implementation or a fact by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from plugin.compare import stats
from plugin.compare.intervals import betting_interval, group_units


def test_a_bootstrap_interval_is_scipys_at_the_widened_level() -> None:
    gains = np.random.default_rng(4).normal(0.1, 0.3, 60).clip(-1, 1).round(2)
    found = stats.paired_estimate(gains.tolist(), low=-1, high=1, seed=3, level=0.99)
    # As for 95%: the t quantile, widened by sqrt(n / (n - 1)), read as one of the normal.
    reach = math.sqrt(60 / 59) * scipy.stats.t.ppf(0.995, 59)
    theirs = scipy.stats.bootstrap(
        (gains,),
        np.mean,
        method="BCa",
        n_resamples=10_000,
        confidence_level=2 * scipy.stats.norm.cdf(reach) - 1,
        rng=3,
    ).confidence_interval
    assert (found.ci_low, found.ci_high) == pytest.approx(tuple(theirs), abs=0.01)
    usual = stats.paired_estimate(gains.tolist(), low=-1, high=1, seed=3)
    assert found.ci_low < usual.ci_low and usual.ci_high < found.ci_high  # type: ignore[operator]


def test_flips_of_clusters_leave_out_what_the_test_rejects_at_the_level() -> None:
    rng = np.random.default_rng(5)
    clusters = np.repeat(np.arange(12), 3).tolist()
    gains = rng.normal(0.2, 0.2, 36).clip(-1, 1)
    for level in (0.9, 0.95, 0.99):
        found = stats.paired_estimate(
            gains.tolist(), clusters=clusters, low=-1, high=1, seed=1, level=level
        )
        assert found.ci_low is not None
        for end, is_rejected in ((found.ci_low - 1e-6, True), (found.ci_low + 1e-6, False)):
            moved = (gains - end).clip(-1, 1).tolist()
            p_value = stats.paired_estimate(moved, clusters=clusters, seed=1).p_value
            assert p_value is not None
            assert (p_value <= 1 - level + 1e-9) == is_rejected


def test_too_few_clusters_say_nothing_at_a_high_level() -> None:
    gains, clusters = [0.3, 0.2, 0.25, 0.4, 0.1, 0.35] * 2, list(range(6)) * 2
    usual = stats.paired_estimate(gains, clusters=clusters, low=-1, high=1, seed=1)
    wide = stats.paired_estimate(gains, clusters=clusters, low=-1, high=1, seed=1, level=0.99)
    # The least p of six clusters is 2 of 64 flips, 0.031.
    assert usual.ci_low is not None and usual.ci_low > 0
    assert (wide.ci_low, wide.ci_high) == (-1, 1)


def test_few_varying_gains_get_the_betting_interval_of_the_level() -> None:
    values = np.array([0.0] * 40 + [0.5, -0.5])
    found = stats.mean_interval(values.tolist(), low=-1, high=1, seed=1, level=0.99)
    theirs = betting_interval(group_units(values, None), (-1, 1), 0.01)
    assert (found.ci_low, found.ci_high) == pytest.approx((theirs.low, theirs.high))
