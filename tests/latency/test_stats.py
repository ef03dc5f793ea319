"""Quantiles of waiting times: against scipy and numpy, numbers by hand, and simulated coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from benchmarks.latency import KINDS, coverage
from plugin.latency.stats import (
    Quantile,
    Ratio,
    find_quantile,
    needed_for,
    quantile_interval,
    quantile_of,
    ratio_of_quantiles,
)


def three(found: Quantile | Ratio) -> tuple[float | None, float | None, float | None]:
    return found.value, found.low, found.high


ONE_TO_100 = [float(i) for i in range(1, 101)]


@pytest.mark.parametrize("n", [6, 50, 73, 100, 400])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95, 0.99])
def test_it_is_the_interval_that_scipy_gives(n: int, share: float) -> None:
    values = np.random.default_rng(n).lognormal(size=n).tolist()
    found = scipy_stats.quantile_test(np.array(values), p=share)
    peer = found.confidence_interval(0.95)
    own = quantile_interval(values, share)
    assert own.low == (None if math.isnan(peer.low) else peer.low)
    assert own.high == (None if math.isnan(peer.high) else peer.high)


def test_it_is_the_quantile_that_numpy_gives() -> None:
    rng = np.random.default_rng(1)
    for n in (1, 2, 3, 10, 99, 100, 101):
        values = rng.normal(size=n)
        for share in (0.05, 0.5, 0.95, 0.99, 1.0):
            peer = np.quantile(values, share, method="inverted_cdf")
            assert quantile_of(values.tolist(), share) == peer


def test_numbers_by_hand() -> None:
    """Of 100 values 40 to 60 lie below the median with 96.5%, 90 to 99 below p95 with 98.3%."""
    assert three(find_quantile(ONE_TO_100, 0.5)) == (50, 40, 61)
    assert three(find_quantile(ONE_TO_100, 0.95)) == (95, 90, 100)
    assert [needed_for(share) for share in (0.5, 0.95, 0.99)] == [6, 72, 368]


def test_too_few_requests_are_said_and_show_nothing_wrong() -> None:
    found = find_quantile(ONE_TO_100, 0.99)
    assert (found.value, found.low, found.high) == (99, 97, None)
    assert found.why_none == "too few for p99: 100 requests, at least 368"
    assert find_quantile(ONE_TO_100[:99], 0.99).value is None
    assert find_quantile([], 0.5).why_none == "no request was answered"
    assert find_quantile([2.0], 0.5).why_none == "too few for p50: 1 requests, at least 6"


def test_requests_that_never_ended_count_as_the_longest() -> None:
    values = [*ONE_TO_100[:90], *[math.inf] * 10]
    found = find_quantile(values, 0.5)
    assert three(found) == (50, 40, 61)
    late = find_quantile(values, 0.95)
    assert late.value is None and late.high is None


def test_clusters_that_take_alike_widen_the_interval_and_others_do_not() -> None:
    alike = [float(i // 10) for i in range(400)]
    labels = [i // 10 for i in range(400)]
    alone, together = (find_quantile(alike, 0.5, own) for own in (None, labels))
    assert together.low is not None and together.high is not None
    assert alone.low is not None and alone.high is not None
    assert together.high - together.low > 2 * (alone.high - alone.low)
    mixed = np.random.default_rng(0).permutation(400).astype(float).tolist()
    wide = find_quantile(mixed, 0.5, labels)
    bare = find_quantile(mixed, 0.5)
    assert wide.high and wide.low and bare.high and bare.low
    assert wide.high - wide.low < 1.6 * (bare.high - bare.low)
    few = find_quantile(mixed, 0.5, [0, 1] * 200)
    assert few.why_none == "too few for p50: 400 requests in 2 clusters, at least 6 clusters"
    assert (few.value, few.low, few.high) == (199, None, None)


def test_a_ratio_of_the_same_times_is_one_and_of_twice_the_times_two() -> None:
    for share in (0.5, 0.95):
        same = ratio_of_quantiles(ONE_TO_100, ONE_TO_100, share)
        assert three(same) == (1, 1, 1)
        twice = ratio_of_quantiles([2 * x for x in ONE_TO_100], ONE_TO_100, share)
        assert three(twice) == (2, 2, 2)  # pairs leave nothing to chance
    none = ratio_of_quantiles(ONE_TO_100, ONE_TO_100, 0.99)
    assert none.why_none == "too few for p99: 100 cases, at least 368"
    assert none.value == 1 and none.low is None
    assert ratio_of_quantiles([1.0] * 10, [0.0] * 10, 0.5).why_none == (
        "no ratio: the base's is zero"
    )


def test_a_ratio_resamples_whole_clusters() -> None:
    rng = np.random.default_rng(3)
    shared = np.repeat(rng.lognormal(size=20), 10)
    own, base = (shared ** rng.choice([1.0, 1.2])).tolist(), np.roll(shared, 40).tolist()
    labels = [i // 10 for i in range(200)]
    alone = ratio_of_quantiles(own, base, 0.5)
    together = ratio_of_quantiles(own, base, 0.5, labels)
    assert (alone.n_clusters, together.n_clusters) == (None, 20)
    assert alone.low and alone.high and together.low and together.high
    assert math.log(together.high / together.low) > 1.5 * math.log(alone.high / alone.low)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("share", "n"), [(0.5, 52), (0.5, 100), (0.95, 100), (0.99, 400)])
def test_intervals_contain_the_truth_as_often_as_they_say(kind: str, share: float, n: int) -> None:
    """300 runs: 95% is seen as 92% or more, but once in a hundred tests."""
    found = coverage(kind, share, n, n_runs=300)
    for one in found:
        assert one is None or one >= 0.92, found
