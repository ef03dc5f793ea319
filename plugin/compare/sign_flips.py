"""Sign-flip tests of "the mean gain is zero", and the interval that follows from one.

If there is no difference, a unit's gain is as likely as the same gain turned round. So the signs
are flipped at random, and p is the share of flips that are at least as far out as the data. With
clusters the same flips give the interval, too: it holds every mean that they do not reject.
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
"""Up to this many units every sign pattern is tried: 2**15 sums."""

_ROUNDING = 1e-12
"""What rounding may take from a sum, as a share of the sum of sizes."""


class FlipTest(NamedTuple):
    """What the flips of whole clusters say.

    Attributes:
        interval: all means that the test does not reject at 5%.
        p_value: of a mean of zero; below 0.05 just when the interval leaves out zero, unless the
            range of the metric or too few resamples end the interval.
        name: of the test, in words.
    """

    interval: Interval
    p_value: float
    name: str


def can_invert(units: Units) -> bool:
    """Return whether the interval of these units comes from the flips of whole clusters."""
    n_clusters = units.n_clusters
    return n_clusters is not None and n_clusters >= MIN_CLUSTERS and not few_vary(units)


def invert_flips(
    units: Units, bounds: tuple[float, float], seed: int, n_resamples: int
) -> FlipTest:
    """Return p and the 95% interval of the mean over all cases, by flipping whole clusters.

    If the true mean is m, the residuals are r = S - m n, for clusters with sums S and sizes n, and
    the statistic is |sum of r|. A flip turns S and n of some clusters; with A and N_b their sums
    after that, it is at least as far out as the data if |A - m N_b| >= |sum of S - m N|, which is
    so for every m between the roots (sum of S - A) / (N - N_b) and (sum of S + A) / (N + N_b).
    So p(m) is the share of flips whose roots have m between them, and the ends of the interval
    are order statistics of the roots (test inversion: Lehmann & Romano 2005, section 3.5; signs
    of clusters: Canay, Romano & Shaikh 2017, "Randomization tests under an approximate symmetry
    assumption"). It is exact where residuals are symmetric around zero, however unequal the sizes.

    Args:
        units: clusters, at least `MIN_CLUSTERS`.
        bounds: smallest and largest possible mean; infinite where there is none.
        seed: of the flips, where there are too many to try all.
        n_resamples: random flips, the data counted as one of them.
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
    # Every mean between the ends has at least this many flips that are as far out as the data.
    least = max(1, math.ceil(round((1 - LEVEL) * n, 9)))
    low = max(bounds[0], float(np.partition(lower, least - 1)[least - 1]))
    high = min(bounds[1], -float(np.partition(-upper, least - 1)[least - 1]))
    if not (math.isfinite(low) and math.isfinite(high)):
        return FlipTest(no_interval(f"no interval: {n} resamples are too few"), p_value, name)
    method = f"inverted sign-flip test over {n_clusters} clusters, {flips}"
    return FlipTest(Interval(low, high, method, IntervalKind.SIGN_FLIP), p_value, name)


def _roots(units: Units, flipped: Floats) -> tuple[Floats, Floats]:
    """Return the lower and the upper root of every flip; infinite for the data themselves.

    Args:
        units: the clusters.
        flipped: sums and sizes after each flip, added up, shape (n_flips, 2).
    """
    total, n = units.sums.sum(), units.sizes.sum()
    roots = []
    for sign in (-1.0, 1.0):
        sums, sizes = (total + sign * flipped[:, 0], n + sign * flipped[:, 1])
        # A root at zero is exactly zero, so that p and interval agree on whether it is held.
        sums[np.abs(sums) <= _ROUNDING * np.abs(units.sums).sum()] = 0.0
        roots.append(np.divide(sums, sizes, out=np.full(len(sums), np.nan), where=sizes != 0))
    # No cluster turned, or all of them: as far out as the data whatever the mean is.
    same = np.isnan(roots[0]) | np.isnan(roots[1])
    lower, upper = np.minimum(*roots), np.maximum(*roots)
    lower[same], upper[same] = -math.inf, math.inf
    return lower, upper


def flip_p_value(sums: Floats, seed: int, n_resamples: int) -> tuple[float, str]:
    """Return the two-sided p of "no difference" of units with these sums, and the test's name."""
    nonzero = sums[sums != 0]
    if len(nonzero) <= _MAX_ENUMERATED:
        return _exact_p(nonzero), "exact sign-flip permutation test"
    p_value = _random_p(nonzero, seed, n_resamples - 1)
    return p_value, f"sign-flip permutation test, {n_resamples - 1} resamples"


def flip_harm_p(sums: Floats, seed: int, n_resamples: int) -> float:
    """Return the one-sided p of "nothing was lost" of units with these sums."""
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

    A pattern and its opposite are equally far out, so the first sign stays as it is.
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
    """Return the p over random sign patterns, the data counted as one (Phipson & Smyth 2010)."""
    least, hits = _share_as_extreme(nonzero), 1
    for turned in _random_patterns(len(nonzero), seed, n_flips):
        hits += int((np.abs(nonzero.sum() - 2 * turned @ nonzero) >= least).sum())
    return hits / (n_flips + 1)


def _random_cluster_flips(units: Units, seed: int, n_resamples: int) -> Floats:
    """Return sums and sizes added up after random flips, the first being the data themselves."""
    values = np.column_stack(units[:2])
    total = values.sum(axis=0)
    rows = [total[None, :]]
    for turned in _random_patterns(len(values), seed, n_resamples - 1):
        rows.append(total - 2 * turned @ values)
    return np.concatenate(rows)


def _random_patterns(n_units: int, seed: int, n_flips: int) -> Iterator[Floats]:
    """Yield which units are turned, 1 or 0, in batches of shape (n, n_units)."""
    rng = np.random.default_rng((seed, 1))
    for start in range(0, n_flips, BATCH):
        shape = (min(BATCH, n_flips - start), -(-n_units // 8))
        packed = rng.integers(0, 256, size=shape, dtype=np.uint8)
        yield np.unpackbits(packed, axis=1, count=n_units).astype(np.float64)


def _share_as_extreme(nonzero: Floats) -> float:
    """Return the observed |sum|, less what rounding may take from an equal one."""
    return float(abs(nonzero.sum()) - _ROUNDING * np.abs(nonzero).sum())
