"""Shares of a gain and intervals that hold at once, against other implementations, simulations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import scipy.stats

from plugin.compare import stats
from plugin.compare.intervals import (
    RatioEstimate,
    no_interval,
    ratio_of_means,
    simultaneous_intervals,
)
from plugin.results import IntervalKind
from tests.compare.test_stats import gains_like_scores

Draw = Callable[[np.random.Generator], tuple[list[Any], Sequence[int] | None]]


def simultaneous(gains: Sequence[Any], clusters: Sequence[int] | None = None, seed: int = 5) -> Any:
    listed = [list(own) for own in gains]
    return simultaneous_intervals(
        listed, clusters=clusters, low=-1.0, high=1.0, seed=seed, n_resamples=500
    )


# A ratio.


def test_the_share_by_hand() -> None:
    found = ratio_of_means([0.1, 0.3, 0.2], [0.4, 0.2, 0.6])
    assert found.ratio == pytest.approx(0.5)
    assert (found.n, found.n_clusters, found.ci_low) == (3, None, None)
    assert found.method == "no interval: too few cases vary"


def test_the_interval_holds_the_ratios_that_a_t_test_does_not_reject() -> None:
    rng = np.random.default_rng(1)
    wholes = gains_like_scores(rng, 80)
    parts = 0.6 * wholes + rng.normal(0, 0.1, 80)
    found = ratio_of_means(parts.tolist(), wholes.tolist())
    assert found.method == "Fieller's interval over 80 cases"
    for end in (found.ci_low, found.ci_high):
        p_value = scipy.stats.ttest_1samp(parts - end * wholes, 0.0).pvalue
        assert p_value == pytest.approx(0.05, abs=1e-9)
    middle = scipy.stats.ttest_1samp(parts - found.ratio * wholes, 0.0).pvalue
    assert middle == pytest.approx(1.0)
    wide = ratio_of_means(parts.tolist(), wholes.tolist(), level=0.99)
    p_value = scipy.stats.ttest_1samp(parts - wide.ci_low * wholes, 0.0).pvalue
    assert p_value == pytest.approx(0.01, abs=1e-9)


def test_a_cluster_counts_with_its_sums() -> None:
    rng, sizes = np.random.default_rng(2), np.tile([1, 2, 5], 20)
    clusters = np.repeat(np.arange(60), sizes)
    wholes = np.repeat(rng.uniform(0.0, 0.5, 60), sizes)
    parts = wholes * 0.5 + rng.normal(0, 0.05, len(wholes))
    found = ratio_of_means(parts.tolist(), wholes.tolist(), clusters=clusters.tolist())
    assert found.n_clusters == 60
    assert found.ratio == pytest.approx(parts.mean() / wholes.mean())
    residuals = np.bincount(clusters, parts - found.ci_low * wholes)
    assert scipy.stats.ttest_1samp(residuals, 0.0).pvalue == pytest.approx(0.05, abs=1e-9)
    few = ratio_of_means([0.2] * 30, [0.4] * 30, clusters=[n % 10 for n in range(30)])
    assert (few.ratio, few.ci_low) == (0.5, None)
    assert few.method == "no interval with fewer than 20 clusters (here 10)"


@pytest.mark.parametrize(
    ("parts", "wholes", "method"),
    [
        ([], [], "no ratio: the divisor is zero"),
        ([0.2] * 60, [0.0] * 60, "no ratio: the divisor is zero"),
        ([0.1, 0.3] * 30, [0.1, -0.1] * 30, "no ratio: the divisor is zero"),
        ([0.1, 0.3] * 30, [0.13, -0.1] * 30, "no ratio: the divisor may be zero"),
        ([0.1] * 30, [5e-17] * 30, "no ratio: the divisor is zero"),
    ],
)
def test_nothing_is_divided_by_what_may_be_zero(
    parts: list[float], wholes: list[float], method: str
) -> None:
    found = ratio_of_means(parts, wholes)
    assert found == RatioEstimate(None, None, None, len(parts), None, method)


def test_without_spread_there_is_no_interval_of_no_width() -> None:
    wholes = np.linspace(0.1, 0.5, 60).tolist()
    nothing = ratio_of_means([0.0] * 60, wholes)
    same = ratio_of_means([0.2] * 60, [0.4] * 60)
    assert (nothing.ratio, nothing.ci_low, same.ratio, same.ci_low) == (0.0, None, 0.5, None)
    assert ratio_of_means([0.2], [0.4]).method == "no interval with fewer than 2 cases"


def test_bad_gains_are_refused() -> None:
    with pytest.raises(ValueError, match="2 parts but 1 wholes"):
        ratio_of_means([0.1, 0.2], [0.1])
    with pytest.raises(ValueError, match="must be finite"):
        ratio_of_means([math.nan], [0.1])
    with pytest.raises(ValueError, match=r"the same cases, got \[2, 1\]"):
        simultaneous([[0.1, 0.2], [0.1]])


def zero_one(rng: np.random.Generator, n: int) -> tuple[Any, Any, float]:
    """0/1 scores: (gains of the prompt, of the adapter, the true share)."""
    base = rng.random(n) < 0.4
    prompted = (rng.random(n) < 0.3) | base & ~(rng.random(n) < 0.1)
    tuned = (rng.random(n) < 0.5) | base & ~(rng.random(n) < 0.05)
    means = [add + (1 - add) * 0.4 * (1 - lose) for add, lose in ((0.3, 0.1), (0.5, 0.05))]
    share = (means[0] - 0.4) / (means[1] - 0.4)
    return prompted * 1.0 - base, tuned * 1.0 - base, share


def graded(rng: np.random.Generator, n: int) -> tuple[Any, Any, float]:
    """Skewed gains with many zeros, of which the prompt reaches a part."""
    tuned = gains_like_scores(rng, n)
    prompted = np.where(rng.random(n) < 0.6, tuned, 0.0)
    return prompted, tuned, 0.6


@pytest.mark.parametrize("draw", [zero_one, graded])
@pytest.mark.parametrize("n", [60, 200])
def test_the_shares_interval_covers(
    draw: Callable[[np.random.Generator, int], tuple[Any, Any, float]], n: int
) -> None:
    """Over the runs in which a share is stated at all."""
    n_stated = n_right = 0
    for run in range(2_000):
        parts, wholes, share = draw(np.random.default_rng((run, n)), n)
        found = ratio_of_means(parts.tolist(), wholes.tolist())
        if found.ci_low is not None and found.ci_high is not None:
            n_stated += 1
            n_right += found.ci_low <= share <= found.ci_high
    assert n_stated > 1_000
    assert 0.93 <= n_right / n_stated <= 0.97


# Several intervals at once.


def test_the_reach_is_that_of_the_multivariate_t() -> None:
    """Equicorrelated normals: the equal-coordinate quantile that scipy's distribution gives."""
    n, k, rho = 400, 5, 0.5
    rng = np.random.default_rng(8)
    noise = rng.normal(size=(n, k))
    noise -= noise.mean(axis=0)
    white = noise @ np.linalg.inv(np.linalg.cholesky(np.cov(noise.T))).T
    wanted = np.full((k, k), rho) + (1 - rho) * np.eye(k)
    gains = 0.1 * white @ np.linalg.cholesky(wanted).T + 0.02 * np.arange(k)
    found = simultaneous_intervals(gains.T.tolist(), seed=3, n_resamples=20_000)
    t = scipy.stats.multivariate_t(shape=wanted, df=n - 1, seed=1)
    for own, interval in zip(gains.T, found, strict=True):
        middle, error = own.mean(), own.std(ddof=1) / math.sqrt(n)
        assert interval.low + interval.high == pytest.approx(2 * middle)
        reach = (interval.high - middle) / error
        inside = t.cdf(np.full(k, reach), lower_limit=np.full(k, -reach))
        assert inside == pytest.approx(0.95, abs=0.006)


def test_one_gain_alone_has_its_own_interval() -> None:
    gains = gains_like_scores(np.random.default_rng(4), 200)
    (alone,) = simultaneous([gains])
    usual = stats.paired_estimate(gains.tolist(), low=-1, high=1, seed=5)
    assert (alone.low, alone.high) == pytest.approx((usual.ci_low, usual.ci_high), abs=0.006)
    twice = simultaneous([gains, gains])
    for again in twice:  # the same gain once more is no other chance
        assert again[:2] == pytest.approx(alone[:2])
    assert alone.method == "max-t bootstrap over 200 cases, 500 resamples"


def test_the_same_seed_gives_the_same_intervals() -> None:
    gains = np.random.default_rng(3).uniform(-1, 1, (3, 50))
    assert simultaneous(gains) == simultaneous(gains) != simultaneous(gains, seed=6)


def test_gains_without_spread_have_an_interval_that_holds_at_its_share() -> None:
    varied = np.random.default_rng(3).uniform(-0.2, 0.4, 120)
    changing, still = simultaneous([varied, np.zeros(120)])
    assert (changing.kind, still.kind) == (IntervalKind.MAX_T, IntervalKind.BETTING)
    assert changing.why_none == still.why_none == ""
    assert still.low < 0 < still.high
    usual = stats.paired_estimate([0.0] * 120, low=-1, high=1, seed=5)
    assert still.high > usual.ci_high
    unbounded = simultaneous_intervals([varied.tolist(), [0.0] * 120], seed=1, n_resamples=500)
    assert unbounded[1].low is None and unbounded[0].low is not None


@pytest.mark.parametrize(
    ("n", "clusters", "why"),
    [
        (0, None, "no interval with fewer than 2 cases"),
        (1, None, "no interval with fewer than 2 cases"),
        (38, [n % 19 for n in range(38)], "no interval with fewer than 20 clusters (here 19)"),
    ],
)
def test_too_little_gives_no_interval_and_says_why(
    n: int, clusters: list[int] | None, why: str
) -> None:
    gains = np.random.default_rng(3).uniform(-1, 1, (2, n))
    assert simultaneous(gains, clusters) == (no_interval(why),) * 2
    assert no_interval(why).why_none == why
    assert simultaneous([]) == ()


def best_of(draw: Draw, n_runs: int) -> tuple[float, float, float, float]:
    """Over runs of variants that truly gain nothing: how often the chosen one's own interval,
    its interval among all, and all of those hold zero; and its mean gain.
    """
    alone = its = whole = 0
    gains = []
    for run in range(n_runs):
        drawn, clusters = draw(np.random.default_rng((run, 5)))
        means = [own.mean() for own in drawn]
        best = int(np.argmax(means))
        found = simultaneous(drawn, clusters, seed=run)
        own = stats.mean_interval(
            drawn[best].tolist(), clusters=clusters, low=-1, high=1, seed=run, n_resamples=300
        )
        alone += own.ci_low <= 0 <= own.ci_high
        its += found[best].low <= 0 <= found[best].high
        whole += all(each.low <= 0 <= each.high for each in found)
        gains.append(means[best])
    return alone / n_runs, its / n_runs, whole / n_runs, float(np.mean(gains))


@pytest.mark.slow
def test_the_best_of_thirty_equal_variants_looks_better_and_is_seen_through() -> None:
    def draw(rng: np.random.Generator) -> tuple[list[Any], None]:
        base = rng.random(200) < 0.5
        return [(rng.random(200) < 0.5) * 1.0 - base for _ in range(30)], None

    alone, its, whole, gain = best_of(draw, 200)
    assert 0.06 < gain < 0.09
    assert alone < 0.85
    assert its >= whole >= 0.91
    assert whole <= 0.99


def test_the_best_of_five_over_forty_clusters() -> None:
    sizes = np.tile([1, 3, 5, 7], 10)
    clusters = np.repeat(np.arange(40), sizes).tolist()

    def draw(rng: np.random.Generator) -> tuple[list[Any], list[int]]:
        shared = rng.uniform(-0.15, 0.15, 40)
        own = [np.repeat(shared + rng.uniform(-0.3, 0.3, 40), sizes) for _ in range(5)]
        return [each + rng.normal(0, 0.05, len(clusters)) for each in own], clusters

    _, its, whole, _ = best_of(draw, 400)
    assert its >= whole
    assert 0.91 <= whole <= 0.98


def test_gains_that_rarely_differ_are_covered_all_the_same() -> None:
    def draw(rng: np.random.Generator) -> tuple[list[Any], None]:
        coins = rng.random((4, 100))
        return [np.where(own < 0.06, 1.0, np.where(own > 0.94, -1.0, 0.0)) for own in coins], None

    _, its, whole, _ = best_of(draw, 200)
    assert its >= whole >= 0.92
