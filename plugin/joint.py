"""Several gains on the same cases: one mean as a share of another, and intervals that all hold.

Pure functions on floats, like `stats`, whose words (unit, cluster) are used here.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from plugin.intervals import (
    BATCH,
    LEVEL,
    MIN_VARYING,
    Floats,
    Interval,
    Units,
    betting,
    grouped,
    n_varying,
    spread,
    too_few,
)
from plugin.stats import checked

_TINY = 1e-9
"""A mean gain below this is rounding."""


@dataclass(frozen=True, slots=True)
class RatioEstimate:
    """One mean divided by another, over the same cases.

    Attributes:
        ratio: None where the divisor cannot be told from zero.
        ci_low: lower end of the ratio's 95% interval; None where none can be given.
        ci_high: its upper end.
        n: cases.
        n_clusters: number of clusters, None when every case stands for itself.
        method: how the interval was computed, or why there is none, in words.
    """

    ratio: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    n_clusters: int | None
    method: str


def ratio_of_means(
    parts: Sequence[float],
    wholes: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None = None,
) -> RatioEstimate:
    """The mean of the parts divided by the mean of the wholes, with its 95% interval.

    The interval is Fieller's (Fieller 1954, "Some problems in interval estimation"): all ratios r
    for which a t test does not reject that the mean of part - r * whole is zero. It has two ends
    just when the t test tells the mean of the wholes from zero; else no ratio is given. A cluster
    counts with its sums, whose ratio is that of the means over all cases.

    Args:
        parts: a gain per case.
        wholes: another gain of the same cases, in the same order.
        clusters: a label per case; cases with one label belong together.

    Raises:
        ValueError: for a gain that is not finite, or sequences that do not match in number.
    """
    if len(parts) != len(wholes):
        raise ValueError(f"{len(parts)} parts but {len(wholes)} wholes")
    above, below = (
        grouped(checked(values, -math.inf, math.inf, "gain"), clusters)
        for values in (parts, wholes)
    )
    n, n_units = len(parts), len(below.sums)

    def found(
        ratio: float | None, low: float | None, high: float | None, method: str
    ) -> RatioEstimate:
        return RatioEstimate(ratio, low, high, n, below.n_clusters, method)

    if not n or abs(below.sums.sum()) <= _TINY * n:
        return found(None, None, None, "no ratio: the divisor is zero")
    ratio = float(above.sums.sum() / below.sums.sum())
    if why := too_few(below):
        return found(ratio, None, None, why)
    if min(n_varying(above), n_varying(below)) < MIN_VARYING:
        return found(ratio, None, None, f"no interval: too few {below.noun} vary")
    ends = _fieller(above.sums, below.sums)
    if ends is None:
        return found(None, None, None, "no ratio: the divisor cannot be told from zero")
    return found(ratio, *ends, f"Fieller's interval over {n_units} {below.noun}")


def _fieller(above: Floats, below: Floats) -> tuple[float, float] | None:
    """Both ends of Fieller's interval; None where it is not bounded."""
    from scipy.special import stdtrit

    n_units = len(below)
    top, bottom = float(above.mean()), float(below.mean())
    reach = float(stdtrit(n_units - 1, (1 + LEVEL) / 2)) ** 2
    (var_top, both), (_, var_bottom) = np.cov(above, below) * (reach / n_units)
    # The ends solve (top - r * bottom)**2 = reach * variance of the mean of part - r * whole.
    square, half, rest = bottom**2 - var_bottom, top * bottom - both, top**2 - var_top
    if square <= 0:
        return None
    root = math.sqrt(max(0.0, half**2 - square * rest))
    return float((half - root) / square), float((half + root) / square)


def simultaneous(
    gains: Sequence[Sequence[float]],
    *,
    clusters: Sequence[Hashable] | None = None,
    low: float = -math.inf,
    high: float = math.inf,
    seed: int,
    n_resamples: int = 10_000,
) -> tuple[Interval, ...]:
    """95% intervals of several mean gains that all hold at once, whichever is looked at.

    Every interval is mean +- q standard errors, where q is the 95% quantile of the largest
    studentised deviation over all the gains when units are resampled (max-t: Westfall & Young 1993,
    "Resampling-based multiple testing"; Romano & Wolf 2005, "Exact and approximate stepdown methods
    for multiple hypothesis testing"). The gains of one case are resampled together, so that what
    they have in common, such as the base's scores, is counted once.

    A gain of which fewer than 10 units vary has no such deviation to speak of: it gets a betting
    interval at its equal share of the 5%, and the others share what remains.

    Args:
        gains: the variants' gains, each over the same cases in the same order, shape (k, n).
        clusters: a label per case; cases with one label are resampled together.
        low: smallest possible gain; infinite where the metric has no bounds.
        high: largest possible gain.
        seed: of the resampling.
        n_resamples: of the bootstrap.

    Raises:
        ValueError: for a gain that is not finite or out of bounds, or sequences that do not match
            in number.
    """
    if len({len(own) for own in gains}) > 1:
        raise ValueError(f"gains must be over the same cases, got {[len(own) for own in gains]}")
    units = [grouped(checked(own, low, high, "gain"), clusters) for own in gains]
    why = too_few(units[0]) if units else ""
    if why:
        return tuple(Interval(None, None, why) for _ in units)
    alpha = 1 - LEVEL
    varying = [own for own in units if n_varying(own) >= MIN_VARYING]
    share = alpha * len(varying) / max(1, len(units))
    reach = _largest_deviation(varying, share, seed, n_resamples) if varying else 0.0
    return tuple(
        _max_t(own, reach, (low, high), n_resamples)
        if n_varying(own) >= MIN_VARYING
        else betting(own, (low, high), alpha / len(units))
        for own in units
    )


def _max_t(units: Units, reach: float, bounds: tuple[float, float], n_resamples: int) -> Interval:
    """The mean +- reach standard errors, kept within the bounds."""
    n = float(units.sizes.sum())
    mean, half = float(units.sums.sum()) / n, reach * (spread(units) or 0.0) / math.sqrt(n)
    method = f"max-t bootstrap over {len(units.sums)} {units.noun}, {n_resamples} resamples"
    return Interval(max(bounds[0], mean - half), min(bounds[1], mean + half), method)


def _largest_deviation(units: Sequence[Units], alpha: float, seed: int, n_resamples: int) -> float:
    """The 1 - alpha quantile of the largest |t| among the resampled means."""
    rng, sizes, n_units = np.random.default_rng((seed, 2)), units[0].sizes, len(units[0].sums)
    sums = np.column_stack([own.sums for own in units])
    off = sums - np.outer(sizes, sums.sum(axis=0) / sizes.sum())
    squares, crossed = np.square(off), off * sizes[:, None]
    largest = np.empty(n_resamples)
    for start in range(0, n_resamples, BATCH):
        n_rows = min(BATCH, n_resamples - start)
        drawn = rng.integers(0, n_units, size=(n_rows, n_units))
        drawn += np.arange(n_rows)[:, None] * n_units
        counts = np.bincount(drawn.ravel(), minlength=n_rows * n_units).reshape(n_rows, n_units)
        weights = counts.astype(np.float64)
        total = weights @ off
        shift = total / (weights @ sizes)[:, None]
        # The squared residuals around each resample's own mean.
        left = weights @ squares - 2 * shift * (weights @ crossed)
        left += shift**2 * (weights @ np.square(sizes))[:, None]
        # A resample of equal units alone has no spread: its deviation counts as the largest.
        errors = np.sqrt(n_units / (n_units - 1) * np.maximum(left, 1e-12 * squares.sum(axis=0)))
        largest[start : start + n_rows] = np.abs(total / errors).max(axis=1)
    return float(np.quantile(largest, 1 - alpha, method="higher"))
