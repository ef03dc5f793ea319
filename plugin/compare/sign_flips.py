"""Test by sign flips whether the mean gain is zero, and derive an interval from the test.

If there is no difference, a unit's gain is as likely as its negative. So the test flips signs at
random, and p is the share of flips whose mean is at least as extreme as that of the data. With
clusters the flips also give the interval: it contains every mean that the test does not reject.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from plugin.compare.intervals import (
    BATCH,
    LEVEL,
    MIN_CLUSTERS,
    Floats,
    Interval,
    Units,
    few_vary,
    no_interval,
)
from plugin.results import IntervalKind

_MAX_ENUMERATED = 16
"""With at most this many units every sign pattern is tried: 2**15 sums."""

_ROUNDING = 1e-12
"""Largest rounding error of a sum, as a share of the sum of absolute values."""


class FlipTest(NamedTuple):
    """The result of flipping whole clusters.

    Attributes:
        interval: all means that the test does not reject at 5%.
        p_value: p-value of a mean of zero. It is below 0.05 exactly if the interval excludes zero,
            except where the metric's range or too few resamples limit the interval.
        name: name of the test, in words.
    """

    interval: Interval
    p_value: float
    name: str


def can_invert(units: Units) -> bool:
    """Return whether the interval of these units comes from flipping whole clusters."""
    n_clusters = units.n_clusters
    return n_clusters is not None and n_clusters >= MIN_CLUSTERS and not few_vary(units)


def invert_flips(
    units: Units,
    bounds: tuple[float, float],
    seed: int,
    n_resamples: int,
    level: float = LEVEL,
) -> FlipTest:
    """Return p and the interval of the mean over all cases, by flipping whole clusters.

    Let clusters have sums S and sizes n, with N cases in total. If the true mean is m, residuals
    are r = S - m n, and the statistic is |sum of r|. A flip negates S and n of some clusters; let A
    and N_b be the sums of S and n after it. The flip is at least as extreme as the data if
    |A - m N_b| >= |sum of S - m N|. This holds for every m between the roots
    (sum of S - A) / (N - N_b) and (sum of S + A) / (N + N_b). So p(m) is the share of flips with m
    between their roots, and the ends of the interval are order statistics of the roots (test
    inversion: Lehmann & Romano 2005, section 3.5; signs of clusters: Canay, Romano & Shaikh 2017,
    "Randomization tests under an approximate symmetry assumption"). The test is exact if residuals
    are symmetric around zero, even with very unequal sizes.

    Args:
        units: clusters, at least `MIN_CLUSTERS`.
        bounds: smallest and largest possible mean; infinite for no limit.
        seed: seed of the random flips, used when there are too many flips to try all.
        n_resamples: number of random flips, including the data themselves.
        level: of the interval.
    """
    n_clusters = len(units.sums)
    if n_clusters <= _MAX_ENUMERATED:
        flipped, n = _all_flips(np.column_stack(units[:2])), 2 ** (n_clusters - 1)
        name, flips = "exact sign-flip permutation test", f"all {2 * n:,} sign flips"
    else:
        flipped, n = _random_cluster_flips(units, seed, n_resamples), n_resamples
        name = f"sign-flip permutation test, {n - 1} resamples"
        flips = f"{n - 1} random sign flips"
    lower, upper = _roots(units, flipped)
    p_value = float(((lower <= 0) & (upper >= 0)).mean())
    # For every mean inside the interval, at least this many flips are as extreme as the data.
    least = max(1, math.ceil(round((1 - level) * n, 9)))
    low = max(bounds[0], float(np.partition(lower, least - 1)[least - 1]))
    high = min(bounds[1], -float(np.partition(-upper, least - 1)[least - 1]))
    if not (math.isfinite(low) and math.isfinite(high)):
        return FlipTest(no_interval(f"no interval: {n} resamples are too few"), p_value, name)
    method = f"inverted sign-flip test over {n_clusters} clusters, {flips}"
    return FlipTest(Interval(low, high, method, IntervalKind.SIGN_FLIP), p_value, name)


def _roots(units: Units, flipped: Floats) -> tuple[Floats, Floats]:
    """Return the lower and upper root of every flip; infinite for the data themselves.

    Args:
        units: the clusters.
        flipped: total sum and total size after each flip, shape (n_flips, 2).
    """
    total, n = units.sums.sum(), units.sizes.sum()
    roots = []
    for sign in (-1.0, 1.0):
        sums, sizes = (total + sign * flipped[:, 0], n + sign * flipped[:, 1])
        # Make a root at zero exactly zero, so that p and interval agree about zero.
        sums[np.abs(sums) <= _ROUNDING * np.abs(units.sums).sum()] = 0.0
        roots.append(np.divide(sums, sizes, out=np.full(len(sums), np.nan), where=sizes != 0))
    # A flip of no cluster or of all clusters is as extreme as the data for every mean.
    same = np.isnan(roots[0]) | np.isnan(roots[1])
    lower, upper = np.minimum(*roots), np.maximum(*roots)
    lower[same], upper[same] = -math.inf, math.inf
    return lower, upper


def flip_p_value(sums: Floats, seed: int, n_resamples: int) -> tuple[float, str]:
    """Return the two-sided p of "no difference" for units with these sums, and the test's name."""
    nonzero = sums[sums != 0]
    if len(nonzero) <= _MAX_ENUMERATED:
        return _exact_p(nonzero), "exact sign-flip permutation test"
    p_value = _random_p(nonzero, seed, n_resamples - 1)
    return p_value, f"sign-flip permutation test, {n_resamples - 1} resamples"


def flip_harm_p(sums: Floats, seed: int, n_resamples: int) -> float:
    """Return the one-sided p of "nothing was lost" for units with these sums."""
    nonzero = sums[sums != 0]
    if not len(nonzero):
        return 1.0
    most = float(nonzero.sum() + _ROUNDING * np.abs(nonzero).sum())
    if len(nonzero) <= _MAX_ENUMERATED:
        flipped = _all_flips(nonzero)
        return float((np.concatenate((flipped, -flipped)) <= most).mean())
    hits = 1
    for turned in _random_patterns(len(nonzero), seed, n_resamples - 1):
        hits += int((nonzero.sum() - 2 * turned @ nonzero <= most).sum())
    return hits / n_resamples


def _all_flips(values: Floats) -> Floats:
    """Return the sum of the values, shape (n, ...), under every sign pattern (Fisher 1935).

    A pattern and its opposite are equally extreme, so the first sign is never flipped.
    """
    totals = values[:1]
    for value in values[1:]:
        totals = np.concatenate((totals + value, totals - value))
    return totals


def _exact_p(nonzero: Floats) -> float:
    """Return the p over all sign patterns of the non-zero sums; 1 without any."""
    if not len(nonzero):
        return 1.0
    return float((np.abs(_all_flips(nonzero)) >= _share_as_extreme(nonzero)).mean())


def _random_p(nonzero: Floats, seed: int, n_flips: int) -> float:
    """Return the p over random sign patterns, including the data (Phipson & Smyth 2010)."""
    least, hits = _share_as_extreme(nonzero), 1
    for turned in _random_patterns(len(nonzero), seed, n_flips):
        hits += int((np.abs(nonzero.sum() - 2 * turned @ nonzero) >= least).sum())
    return hits / (n_flips + 1)


def _random_cluster_flips(units: Units, seed: int, n_resamples: int) -> Floats:
    """Return total sum and total size after random flips; the first row is the data themselves."""
    values = np.column_stack(units[:2])
    total = values.sum(axis=0)
    rows = [total[None, :]]
    for turned in _random_patterns(len(values), seed, n_resamples - 1):
        rows.append(total - 2 * turned @ values)
    return np.concatenate(rows)


def _random_patterns(n_units: int, seed: int, n_flips: int) -> Iterator[Floats]:
    """Yield which units are flipped (1) or not (0), in batches of shape (n, n_units)."""
    rng = np.random.default_rng((seed, 1))
    for start in range(0, n_flips, BATCH):
        shape = (min(BATCH, n_flips - start), -(-n_units // 8))
        packed = rng.integers(0, 256, size=shape, dtype=np.uint8)
        yield np.unpackbits(packed, axis=1, count=n_units).astype(np.float64)


def _share_as_extreme(nonzero: Floats) -> float:
    """Return the observed |sum|, minus a tolerance so that equal sums count despite rounding."""
    return float(abs(nonzero.sum()) - _ROUNDING * np.abs(nonzero).sum())
