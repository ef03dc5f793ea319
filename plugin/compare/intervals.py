"""Compute intervals for mean gains over cases: pure functions on floats.

Resampling draws *units*: clusters of cases if clusters are given, else single cases. Cases get a
bootstrap interval, clusters the interval of `sign_flips`, and both the betting interval if too few
units vary. `ratio_of_means` and `simultaneous_intervals` handle several gains on the same cases.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plugin.compare.bootstrap import bca_ends
from plugin.results import IntervalKind

Floats = NDArray[np.float64]

LEVEL = 0.95
"""Level of every interval, unless said otherwise."""

MIN_CLUSTERS = 6
"""With fewer clusters no sign-flip test reaches p < 0.05: 2 of 2**5 patterns are 0.06."""

_MIN_JOINT_CLUSTERS = 20
"""With fewer clusters there is no interval of a ratio, and there are no simultaneous intervals."""

MIN_VARYING = 10
"""With fewer units that differ from the most common one, a bootstrap interval is far too narrow."""

BATCH = 500
"""Number of resamples at once; limits memory and fits the processor's cache."""

_TINY = 1e-9
"""A smaller mean gain is a rounding error."""

# The share of the capital at risk in each bet, and how the capital is split between the bets. Any
# split that is fixed before seeing the data is valid. The boldest bet gets the most, because it
# wins most on data with few varying units.
_BETS = np.array([1.0, 0.95, 0.85, 0.7, 0.5, 0.3, 0.15])
_CAPITAL = np.array([0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])


class Units(NamedTuple):
    """The units to resample: sum and number of cases of each unit, shapes (n_units,)."""

    sums: Floats
    sizes: Floats
    n_clusters: int | None

    @property
    def noun(self) -> str:
        """Return the name of the units: "cases" or "clusters"."""
        return "cases" if self.n_clusters is None else "clusters"

    @property
    def effective_clusters(self) -> float | None:
        """Return how many equal-sized clusters carry as much information; None without clusters."""
        if self.n_clusters is None:
            return None
        return float(self.sizes.sum() ** 2 / np.square(self.sizes).sum())  # Kish 1965

    @property
    def largest_cluster_share(self) -> float | None:
        """Return the largest cluster's share of all cases; None without clusters."""
        return None if self.n_clusters is None else float(self.sizes.max() / self.sizes.sum())

    @property
    def skewness(self) -> float | None:
        """Return the skewness of the clusters' means, 0 if all are equal; None without clusters."""
        if self.n_clusters is None:
            return None
        means = self.sums / self.sizes
        off = means - means.mean()
        spread = float(np.sqrt(np.square(off).mean()))
        return float((off**3).mean()) / spread**3 if spread > _TINY else 0.0


class Interval(NamedTuple):
    """A 95% interval.

    Attributes:
        low: lower end; None if there is no interval.
        high: upper end; None if there is no interval.
        method: how it was computed, or why there is none, in words.
        kind: how it was computed, for decisions.
    """

    low: float | None
    high: float | None
    method: str
    kind: IntervalKind

    @property
    def why_none(self) -> str:
        """Return why there is no interval, in words; "" if there is one."""
        return self.method if self.kind is IntervalKind.NONE else ""


def no_interval(why: str) -> Interval:
    """Return an empty interval with the reason for it."""
    return Interval(None, None, why, IntervalKind.NONE)


def group_units(values: Floats, clusters: Sequence[Hashable] | None) -> Units:
    """Group values into units; clusters of one case each are the same as no clusters."""
    if clusters is not None and len(clusters) != len(values):
        raise ValueError(f"{len(values)} values but {len(clusters)} cluster labels")
    labels = {label: place for place, label in enumerate(dict.fromkeys(clusters or ()))}
    if clusters is None or len(labels) == len(values):
        return Units(values, np.ones(len(values)), None)
    places = [labels[label] for label in clusters]
    sums = np.asarray(np.bincount(places, weights=values), dtype=np.float64)
    sizes = np.bincount(places).astype(np.float64)
    return Units(sums, sizes, len(labels))


def spread_of(units: Units) -> float | None:
    """Return sqrt(n) times the mean's clustered standard error (Miller 2024, 2411.00640)."""
    n_units, n = len(units.sums), units.sizes.sum()
    if n_units < 2:
        return None
    residuals = units.sums - units.sizes * (units.sums.sum() / n)
    return float(np.sqrt(n_units / (n_units - 1) * np.square(residuals).sum() / n))


def too_few(units: Units, least_clusters: int = MIN_CLUSTERS) -> str:
    """Say why there are too few units for any interval; "" if there are enough."""
    n_units = len(units.sums)
    if units.n_clusters is not None and n_units < least_clusters:
        never = ": so few can never reach p < 0.05" if n_units < MIN_CLUSTERS else ""
        return f"no interval with fewer than {least_clusters} clusters (here {n_units}){never}"
    return "no interval with fewer than 2 cases" if n_units < 2 else ""


def few_vary(units: Units) -> bool:
    """Return whether so few units vary that only the betting interval has enough coverage.

    Fewer than `MIN_VARYING` varying cases are too few. A few clusters that all differ are enough:
    for clusters, more than half must also be equal to count as too few.
    """
    n = n_varying(units)
    return n < MIN_VARYING and (units.n_clusters is None or 2 * n < units.n_clusters)


def n_varying(units: Units) -> int:
    """Count the units whose mean differs from the most common one."""
    _, counts = np.unique(np.round(units.sums / units.sizes, 12), return_counts=True)
    return len(units.sums) - int(counts.max(initial=0))


def t_quantile(df: float, level: float = LEVEL) -> float:
    """Return the quantile of Student's t distribution for the two-sided level."""
    from scipy.special import stdtrit

    return float(stdtrit(df, (1 + level) / 2))


def bca_interval(units: Units, seed: int, n_resamples: int, level: float = LEVEL) -> Interval:
    """Return the BCa bootstrap interval of the mean over cases without clusters (Efron 1987).

    A bootstrap's spread is too small by sqrt(1 - 1/n), and its quantiles follow the normal and not
    the t distribution. The level is raised to correct for both (Hesterberg 2015, "What teachers
    should know about the bootstrap", expanded percentile interval): to 95.6% for 60 units and to
    95.2% for 200.
    """
    from scipy.special import ndtr

    n_units = len(units.sums)
    quantile = math.sqrt(n_units / (n_units - 1)) * t_quantile(n_units - 1, level)
    ends = bca_ends(units.sums, float(2 * ndtr(quantile) - 1), seed, n_resamples)
    method = f"BCa bootstrap over {n_units} cases, {n_resamples} resamples"
    return Interval(*ends, method, IntervalKind.BOOTSTRAP)


def betting_interval(
    units: Units, bounds: tuple[float, float], alpha: float, times: float = 1.0
) -> Interval:
    """Return a betting interval of a bounded mean, valid for every sample size and distribution.

    The interval excludes a mean m if bets that the true mean is higher (or lower) would have
    multiplied the capital by 2 / alpha. If m is true, this happens with probability at most
    alpha / 2 (Waudby-Smith & Ramdas 2024, "Estimating means of bounded random variables by
    betting"). The bets are a fixed mixture of constant bets, so the order of the cases does not
    matter and there is no randomness. A cluster's stake is its size relative to the largest
    cluster, so that the interval is about the mean over all cases; sizes count as fixed.

    Args:
        units: two or more units.
        bounds: smallest and largest possible value of a case; if one is infinite, there is no
            interval.
        alpha: error probability of the two-sided interval.
        times: how often each unit counts, to see what more units like these would give.
    """
    low, high = bounds
    if not (math.isfinite(low) and math.isfinite(high)):
        return no_interval(f"no interval: too few {units.noun} vary, and the metric has no bounds")
    sizes = units.sizes / units.sizes.max()
    means = np.clip((units.sums / units.sizes - low) / (high - low), 0.0, 1.0)
    lower = lower_mean(means, sizes, alpha, times=times)
    upper = 1.0 - lower_mean(1.0 - means, sizes, alpha, times=times)
    method = f"betting interval over {len(means)} {units.noun} (too few vary for a bootstrap)"
    ends = low + (high - low) * lower, low + (high - low) * upper
    return Interval(*ends, method, IntervalKind.BETTING)


def log_bets(means: Floats, mean: float | Floats, stakes: float | Floats = 1.0) -> Floats:
    """Return the log of the factor by which each bet on a mean above `mean` changes its capital.

    Args:
        means: means of units, within 0..1, of any shape.
        mean: the mean to bet against, above 0; broadcasts with `means`.
        stakes: the share of the bet that each unit plays for, within 0..1; broadcasts with `means`.

    Returns:
        Shape (*means.shape, number of bets); -inf for a bet that lost everything.
    """
    with np.errstate(divide="ignore"):
        logs: Floats = np.log1p(_BETS * (stakes * (means / mean - 1.0))[..., None])
    return logs


def log_capital(logs: Floats) -> Floats:
    """Return the log of the total capital; `logs` are sums per bet, shape (..., bets)."""
    # A bold bet may have lost everything, which is -inf; the most cautious bet never has.
    most = logs.max(axis=-1, keepdims=True)
    total: Floats = np.log(np.exp(logs - most) @ _CAPITAL) + most[..., 0]
    return total


def lower_mean(
    means: Floats, stakes: Floats, alpha: float, *, anytime: bool = False, times: float = 1.0
) -> float:
    """Return the largest mean in 0..1 that bets on a higher mean reject at alpha / 2.

    Args:
        means: means of units, shape (n_units,), within 0..1.
        stakes: stakes of units, shape (n_units,), within 0..1.
        alpha: error probability of the two-sided interval.
        anytime: whether a rejection after any of the units, in their order, counts, and not only
            one after the last unit.
        times: how often each unit counts; with `anytime` once.
    """
    from scipy.optimize import brentq

    goal = math.log(2 / alpha)

    def shortfall(mean: float) -> float:
        logs = log_bets(means, mean, stakes)
        if anytime:
            return goal - float(log_capital(logs.cumsum(axis=0)).max())
        return goal - float(log_capital(times * logs.sum(axis=0)))

    # The capital falls as the mean rises, and is at most 1 at the observed mean.
    so_far = np.cumsum(means * stakes) / np.cumsum(stakes)
    least, observed = 1e-12, float(so_far.max() if anytime else so_far[-1])
    if observed <= least or shortfall(least) > 0:
        return 0.0
    return float(brentq(shortfall, least, observed))


@dataclass(frozen=True, slots=True)
class RatioEstimate:
    """One mean divided by another, over the same cases.

    Attributes:
        ratio: the ratio; None if the divisor may be zero.
        ci_low: lower end of the ratio's 95% interval; None if there is no interval.
        ci_high: upper end of that interval.
        n: number of cases.
        n_clusters: number of clusters; None if the cases are independent.
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
    level: float = LEVEL,
) -> RatioEstimate:
    """Divide the mean of the parts by the mean of the wholes, and give the ratio's 95% interval.

    The interval is Fieller's (Fieller 1954, "Some problems in interval estimation"): it contains
    all ratios r for which a t test does not reject that the mean of part - r * whole is zero. It
    has two ends only if the t test shows that the mean of the wholes is not zero; otherwise there
    is no ratio. Clusters enter with their sums; their ratio is that of the means over all cases.

    Args:
        parts: a gain per case.
        wholes: another gain per case, in the same order.
        clusters: a label per case; cases with the same label belong together.
        level: of the interval.

    Raises:
        ValueError: for a gain that is not finite, or sequences of different length.
    """
    if len(parts) != len(wholes):
        raise ValueError(f"{len(parts)} parts but {len(wholes)} wholes")
    above, below = (
        group_units(check_values(values, -math.inf, math.inf, "gain"), clusters)
        for values in (parts, wholes)
    )
    n, n_units = len(parts), len(below.sums)

    def estimate(
        ratio: float | None, low: float | None, high: float | None, method: str
    ) -> RatioEstimate:
        return RatioEstimate(ratio, low, high, n, below.n_clusters, method)

    if not n or abs(below.sums.sum()) <= _TINY * n:
        return estimate(None, None, None, "no ratio: the divisor is zero")
    ratio = float(above.sums.sum() / below.sums.sum())
    if why := too_few(below, _MIN_JOINT_CLUSTERS):
        return estimate(ratio, None, None, why)
    if min(n_varying(above), n_varying(below)) < MIN_VARYING:
        return estimate(ratio, None, None, f"no interval: too few {below.noun} vary")
    ends = _fieller(above.sums, below.sums, level)
    if ends is None:
        return estimate(None, None, None, "no ratio: the divisor may be zero")
    return estimate(ratio, *ends, f"Fieller's interval over {n_units} {below.noun}")


def _fieller(above: Floats, below: Floats, level: float) -> tuple[float, float] | None:
    """Return both ends of Fieller's interval; None if it is not bounded."""
    n_units = len(below)
    top, bottom = float(above.mean()), float(below.mean())
    reach = t_quantile(n_units - 1, level) ** 2
    (var_top, both), (_, var_bottom) = np.cov(above, below) * (reach / n_units)
    # The ends solve (top - r * bottom)**2 = reach * variance of the mean of part - r * whole.
    square, half, rest = bottom**2 - var_bottom, top * bottom - both, top**2 - var_top
    if square <= 0:
        return None
    root = math.sqrt(max(0.0, half**2 - square * rest))
    return float((half - root) / square), float((half + root) / square)


def simultaneous_intervals(
    gains: Sequence[Sequence[float]],
    *,
    clusters: Sequence[Hashable] | None = None,
    low: float = -math.inf,
    high: float = math.inf,
    seed: int,
    n_resamples: int = 10_000,
) -> tuple[Interval, ...]:
    """Return simultaneous 95% intervals of several mean gains.

    With a probability of 95% all intervals contain their mean gain at once. So they stay valid if
    one looks only at the best gain. Every interval is mean +- q standard errors, where q is the 95%
    quantile of the largest studentised deviation over all the gains when units are resampled
    (max-t: Westfall & Young 1993, "Resampling-based multiple testing"; Romano & Wolf 2005, "Exact
    and approximate stepdown methods for multiple hypothesis testing"). The gains of one case are
    resampled together, to keep what they have in common, such as the base's scores.

    If fewer than 10 units of a gain vary, max-t does not work: this gain gets a betting interval at
    its equal share of the 5%, and the other gains share the rest.

    Args:
        gains: the variants' gains, each over the same cases in the same order, shape (k, n).
        clusters: a label per case; cases with the same label are resampled together.
        low: smallest possible gain; infinite if the metric has no bounds.
        high: largest possible gain.
        seed: seed of the resampling.
        n_resamples: number of bootstrap resamples.

    Raises:
        ValueError: for a gain that is not finite or out of bounds, or sequences of unequal length.
    """
    if len({len(own) for own in gains}) > 1:
        raise ValueError(f"gains must be over the same cases, got {[len(own) for own in gains]}")
    units = [group_units(check_values(own, low, high, "gain"), clusters) for own in gains]
    why = too_few(units[0], _MIN_JOINT_CLUSTERS) if units else ""
    if why:
        return tuple(no_interval(why) for _ in units)
    alpha = 1 - LEVEL
    varying = [own for own in units if n_varying(own) >= MIN_VARYING]
    share = alpha * len(varying) / max(1, len(units))
    reach = _largest_deviation(varying, share, seed, n_resamples) if varying else 0.0
    return tuple(
        _max_t(own, reach, (low, high), n_resamples)
        if n_varying(own) >= MIN_VARYING
        else betting_interval(own, (low, high), alpha / len(units))
        for own in units
    )


def _max_t(units: Units, reach: float, bounds: tuple[float, float], n_resamples: int) -> Interval:
    """Return the interval mean +- reach standard errors, cut at the bounds."""
    n = float(units.sizes.sum())
    mean, half = float(units.sums.sum()) / n, reach * (spread_of(units) or 0.0) / math.sqrt(n)
    method = f"max-t bootstrap over {len(units.sums)} {units.noun}, {n_resamples} resamples"
    ends = max(bounds[0], mean - half), min(bounds[1], mean + half)
    return Interval(*ends, method, IntervalKind.MAX_T)


def _largest_deviation(units: Sequence[Units], alpha: float, seed: int, n_resamples: int) -> float:
    """Return the 1 - alpha quantile of the largest |t| among the resampled means."""
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
        # A resample whose units are all equal has no spread: its deviation counts as very large.
        errors = np.sqrt(n_units / (n_units - 1) * np.maximum(left, 1e-12 * squares.sum(axis=0)))
        largest[start : start + n_rows] = np.abs(total / errors).max(axis=1)
    return float(np.quantile(largest, 1 - alpha, method="higher"))


def check_values(values: Sequence[float], low: float, high: float, noun: str) -> Floats:
    """Return the values as a flat array; move values just outside the bounds onto them.

    Raises:
        ValueError: naming the values that are not finite or clearly outside the bounds.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{noun}s must be a flat sequence, not of shape {array.shape}")
    slack = 1e-9 * (high - low) if math.isfinite(high - low) else 0.0
    bad = ~np.isfinite(array) | (array < low - slack) | (array > high + slack)
    if bad.any():
        named = ", ".join(f"{array[i]} at index {i}" for i in np.flatnonzero(bad)[:5])
        raise ValueError(f"every {noun} must be finite and within {low} to {high}; got {named}")
    return np.clip(array, low, high)
