"""The interval over clusters that inverts the sign-flip test: by hand, on a grid, by simulation."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from plugin.compare import stats
from plugin.compare.intervals import group_units
from plugin.compare.stats import PairedEstimate
from plugin.results import IntervalKind


def over_clusters(means: Any, sizes: Any, **options: Any) -> PairedEstimate:
    """Estimate gains that are equal within each cluster, so that its sum is mean x size."""
    labels = np.repeat(np.arange(len(sizes)), sizes).tolist()
    chosen = {"low": -1.0, "high": 1.0, "seed": 5, **options}
    return stats.paired_estimate(np.repeat(means, sizes).tolist(), clusters=labels, **chosen)


def p_of(mean: float, means: Any, sizes: Any) -> float:
    """The p of "the true mean is this" over all sign patterns, one by one."""
    residuals = [size * (own - mean) for own, size in zip(means, sizes, strict=True)]
    observed = abs(sum(residuals))
    hits = [
        abs(sum(sign * r for sign, r in zip(signs, residuals, strict=True))) >= observed - 1e-12
        for signs in itertools.product((1, -1), repeat=len(residuals))
    ]
    return sum(hits) / len(hits)


# Few clusters: all sign patterns.


def test_six_clusters_of_two_by_hand() -> None:
    # 64 patterns, so that p >= 0.05 takes 4: the data, all turned, and one more with its opposite.
    # With cluster k alone turned the roots are its own mean and the mean of the other five. The
    # smallest of these is the lower end, 0.1; the largest the upper one, 0.6.
    found = over_clusters([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [2] * 6)
    assert (found.ci_low, found.ci_high) == pytest.approx((0.1, 0.6))
    assert found.mean == pytest.approx(0.35)
    assert found.p_value == 2 / 64
    assert found.interval_kind is IntervalKind.SIGN_FLIP
    assert found.method == (
        "inverted sign-flip test over 6 clusters, all 64 sign flips; exact sign-flip permutation "
        "test"
    )


@pytest.mark.parametrize(
    ("means", "sizes"),
    [
        ([0.3, -0.1, 0.2, 0.25, 0.1, 0.4, 0.05], [1, 2, 3, 1, 5, 2, 1]),
        ([0.3, 0.1, 0.2, 0.25, 0.1, 0.4], [9, 2, 1, 1, 1, 1]),
        ([-0.3, -0.2, -0.25, -0.1, -0.45, 0.05, 0.0, -0.2], [4, 4, 1, 2, 2, 7, 3, 1]),
        ([0.5, -0.5, 0.25, -0.25, 0.1, -0.1, 0.0], [2] * 7),
    ],
)
def test_the_interval_holds_the_means_that_are_not_rejected(means: Any, sizes: Any) -> None:
    found = over_clusters(means, sizes)
    low, high = found.ci_low, found.ci_high
    assert low is not None and high is not None
    for mean in np.linspace(-0.6, 0.6, 241) + 1e-4:
        assert (p_of(mean, means, sizes) >= 0.05) == (low <= mean <= high), mean
    # The ends belong to it, and just beyond them p drops.
    assert min(p_of(end, means, sizes) for end in (low, high)) >= 0.05
    assert max(p_of(end, means, sizes) for end in (low - 1e-6, high + 1e-6)) < 0.05
    assert found.p_value == p_of(0.0, means, sizes)


def test_zero_at_an_end_is_held_just_as_p_says() -> None:
    # Tenths are not exact as floats: a cluster at 0.0 puts a root exactly on zero.
    found = over_clusters([0.1, 0.2, 0.3, 0.4, 0.7, 0.0], [3] * 6)
    assert (found.ci_low, found.p_value) == (0.0, 4 / 64)


@pytest.mark.parametrize("n_clusters", [6, 7, 11, 16, 17, 30, 60])
def test_interval_and_p_agree(n_clusters: int) -> None:
    excluded = 0
    for run in range(60):
        rng = np.random.default_rng((run, n_clusters))
        sizes = 1 + rng.geometric(0.2, n_clusters)
        # Tenths, so that ties and gains of zero abound.
        means = np.round(rng.normal(0.4, 1.2, n_clusters) / math.sqrt(n_clusters), 1)
        found = over_clusters(np.clip(means, -1, 1), sizes, seed=run, n_resamples=500)
        if found.interval_kind is not IntervalKind.SIGN_FLIP:
            continue
        assert found.ci_low is not None and found.ci_high is not None
        assert found.ci_low <= found.mean <= found.ci_high
        assert found.p_value is not None
        without_zero = found.ci_low > 0 or found.ci_high < 0
        assert without_zero == (found.p_value < 0.05)
        excluded += without_zero
    assert 0 < excluded < 60


def test_more_clusters_are_flipped_at_random_and_agree_with_all_flips() -> None:
    rng = np.random.default_rng(4)
    means, sizes = rng.normal(0.15, 0.2, 17), rng.integers(1, 6, 17)
    found = over_clusters(means, sizes, n_resamples=40_000)
    assert "39999 random sign flips" in found.method
    assert found.p_value is not None and found.ci_low is not None and found.ci_high is not None
    # Four standard errors of a share out of 40,000.
    exact = p_of_all(means, sizes)
    assert found.p_value == pytest.approx(exact(0.0), abs=4 * math.sqrt(0.05 * 0.95 / 40_000))
    assert [exact(found.ci_low), exact(found.ci_high)] == pytest.approx([0.05, 0.05], abs=0.005)
    again = over_clusters(means, sizes, n_resamples=40_000)
    other = over_clusters(means, sizes, n_resamples=40_000, seed=6)
    assert again == found
    assert other.ci_low != found.ci_low


def p_of_all(means: Any, sizes: Any) -> Any:
    """The same as `p_of`, for many clusters."""
    turned = (np.arange(2 ** len(sizes))[:, None] >> np.arange(len(sizes))) & 1
    signs = 1.0 - 2.0 * turned

    def p_value(mean: float) -> float:
        residuals = sizes * (means - mean)
        return float((np.abs(signs @ residuals) >= abs(residuals.sum()) - 1e-12).mean())

    return p_value


def test_flips_that_turn_nothing_or_all_reject_no_mean() -> None:
    # The data themselves are one of the flips, and have no root.
    found = over_clusters([0.1 * k for k in range(6)], [1, 1, 1, 1, 1, 2], low=-math.inf)
    assert found.ci_low is not None and math.isfinite(found.ci_low)
    few = over_clusters([0.01 * k for k in range(40)], [2] * 40, n_resamples=10, low=-math.inf)
    assert (few.ci_low, few.why_no_interval) == (None, "no interval: 10 resamples are too few")
    # Within bounds, all that is possible is not rejected.
    bounded = over_clusters([0.01 * k for k in range(40)], [2] * 40, n_resamples=10)
    assert (bounded.ci_low, bounded.ci_high) == (-1.0, 1.0)


def test_the_interval_stays_within_what_is_possible() -> None:
    # One huge cluster: the mean of the others says nothing about it.
    means = [1.0, 0.9, 0.8, 1.0, 0.7, 0.6]
    found = over_clusters(means, [60, 1, 1, 1, 1, 1])
    assert (found.ci_low, found.ci_high) == pytest.approx((0.6, 1.0))
    single = stats.mean_interval(
        np.repeat(means, 2).tolist(),
        clusters=[k // 2 for k in range(12)],
        low=0.0,
        high=1.0,
        seed=1,
    )
    assert (single.ci_low, single.ci_high) == pytest.approx((0.6, 1.0))


def test_below_six_clusters_there_is_no_interval() -> None:
    found = over_clusters([0.5, 0.6, 0.7, 0.8, 0.9], [4] * 5)
    assert (found.ci_low, found.ci_high, found.n_clusters) == (None, None, 5)
    # All five gain, and p is as small as it can be.
    assert found.p_value == 2 / 32
    assert found.why_no_interval == (
        "no interval with fewer than 6 clusters (here 5): so few can never reach p < 0.05"
    )
    assert over_clusters([0.4, 0.5, 0.6, 0.7, 0.8, 0.9], [4] * 6).ci_low == pytest.approx(0.4)


@pytest.mark.parametrize("mean", [0.0, 0.2])
def test_equal_gains_have_an_interval_that_narrows_and_is_no_point(mean: float) -> None:
    widths = []
    for n_clusters in (6, 30, 300):
        found = over_clusters([mean] * n_clusters, [3] * n_clusters)
        assert found.interval_kind is IntervalKind.BETTING
        assert found.ci_low is not None and found.ci_high is not None
        assert found.ci_low < mean < found.ci_high
        widths.append(found.ci_high - found.ci_low)
    assert widths[1] < widths[0] / 2 and widths[2] < widths[1] / 5


def test_where_most_clusters_are_equal_few_others_are_not_flipped() -> None:
    few = over_clusters([0.1 * k for k in range(10)] + [0.0] * 30, [2] * 40)
    assert few.interval_kind is IntervalKind.BETTING
    # Eight clusters that all differ are few, yet none is like another.
    assert over_clusters([0.1 * k for k in range(8)], [2] * 8).interval_kind is (
        IntervalKind.SIGN_FLIP
    )


# What clusters tell.


def test_effective_clusters_by_hand() -> None:
    # 12 cases: 12**2 / (6**2 + 6 * 1) = 144 / 42.
    found = over_clusters([0.1, 0.2, 0.0, 0.3, 0.1, 0.2, 0.4], [6, 1, 1, 1, 1, 1, 1])
    assert found.effective_clusters == pytest.approx(144 / 42)
    assert found.largest_cluster_share == pytest.approx(0.5)
    assert over_clusters([0.1, 0.2, 0.3], [4, 4, 4]).effective_clusters == pytest.approx(3.0)
    alone = stats.paired_estimate([0.1, 0.2], seed=1)
    assert (alone.effective_clusters, alone.largest_cluster_share, alone.skewness) == (None,) * 3


def test_skewness_is_that_of_the_clusters_means() -> None:
    from scipy.stats import skew

    means = np.random.default_rng(1).exponential(0.1, 30)
    found = over_clusters(means, np.tile([1, 2, 7], 10))
    assert found.skewness == pytest.approx(skew(means))
    assert over_clusters([0.2] * 30, [2] * 30).skewness == 0.0
    assert group_units(np.zeros(0), []).effective_clusters is None


def test_more_clusters_are_asked_for_not_more_cases() -> None:
    # 40 clusters of 5 equal gains, spread 0.2 from cluster to cluster: as 40 cases of that spread.
    means = np.random.default_rng(2).normal(0.0, 0.2, 40)
    equal = over_clusters(means, [5] * 40)
    spread = float(np.std(means, ddof=1))
    assert stats.needed_to_detect(equal, 0.05) == stats.n_to_detect(spread, 0.05)
    assert stats.detectable_gain(equal) == pytest.approx(stats.smallest_detectable(spread, 40))
    assert stats.needed_to_detect(equal, 10.0) == 6  # fewer show nothing
    # Cases that stand for themselves count as before.
    alone = stats.paired_estimate(means.tolist(), seed=1)
    assert stats.needed_to_detect(alone, 0.05) == stats.n_to_detect(spread, 0.05)
    assert stats.detectable_gain(alone) == stats.smallest_detectable(spread, 40)


def test_unequal_clusters_count_with_their_effective_number() -> None:
    from scipy.stats import nct, t

    sizes = [20, 10, 5, 2, 1, 1, 1, 1, 1, 1] * 3
    found = over_clusters(np.random.default_rng(2).normal(0.1, 0.2, 30), sizes)
    assert found.sd is not None and found.effective_clusters is not None
    error = found.sd / math.sqrt(found.n)
    gain, freedom = stats.detectable_gain(found), found.effective_clusters - 1
    assert gain is not None and freedom < 12
    power = nct.sf(t.isf(0.025, freedom), freedom, gain / error)
    assert power == pytest.approx(0.8, abs=1e-6)
    # Clusters like these that find just that gain: as many as there are, but for whole numbers.
    assert stats.needed_to_detect(found, gain) == pytest.approx(30, abs=3)
    assert stats.detectable_gain(over_clusters([0.1, 0.5, 0.2, 0.3, 0.4], [2] * 5)) is None


# Coverage.


def cluster_sizes(shape: str, n_clusters: int) -> Any:
    place = (np.arange(n_clusters) + 0.5) / n_clusters
    if shape == "equal":
        return np.full(n_clusters, 5)
    if shape == "geometric":
        return np.ceil(60 * 0.055**place).astype(int)
    return np.ceil((1 - place) ** (-1 / 1.2)).astype(int)  # Pareto's distribution, shape 1.2


def shares(shape: str, n_clusters: int, skewed: bool, n_runs: int) -> tuple[float, float]:
    """Shares of runs whose interval holds the true mean, 0.05, and whose gains look skewed."""
    sizes, held, strong = cluster_sizes(shape, n_clusters), 0, 0
    labels = np.repeat(np.arange(n_clusters), sizes)
    for run in range(n_runs):
        rng = np.random.default_rng((run, n_clusters, skewed))
        drawn = rng.exponential(1.0, n_clusters) - 1.0 if skewed else rng.normal(size=n_clusters)
        gains = (0.05 + 0.1 * drawn)[labels] + rng.normal(0, 0.05, len(labels))
        found = stats.paired_estimate(gains, clusters=labels.tolist(), seed=run, n_resamples=1_000)
        assert found.ci_low is not None and found.ci_high is not None and found.skewness is not None
        held += found.ci_low <= 0.05 <= found.ci_high
        strong += abs(found.skewness) > 1.0
    return held / n_runs, strong / n_runs


SHAPES = ("equal", "geometric", "pareto")
SLOW = pytest.mark.slow


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("n_clusters", "n_runs"),
    [(12, 400), (40, 400), *(pytest.param(k, 3_000, marks=SLOW) for k in (12, 40, 80, 160))],
)
def test_covers_symmetric_gains_of_clusters_of_any_size(
    shape: str, n_clusters: int, n_runs: int
) -> None:
    share, strong = shares(shape, n_clusters, False, n_runs)
    assert share == pytest.approx(0.95, abs=3.3 * math.sqrt(0.05 * 0.95 / n_runs))
    assert strong < (0.15 if n_clusters < 40 else 0.06)


@SLOW
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n_clusters", [40, 80, 160])
def test_skewed_gains_are_covered_less_and_mostly_noticed(shape: str, n_clusters: int) -> None:
    share, strong = shares(shape, n_clusters, True, 2_000)
    assert 0.90 <= share <= 0.96
    assert strong > 0.65
