"""Compute paired differences, their tests, and power: pure functions on floats.

Units and clusters are those of `intervals`. All randomness comes from the seed, so the same
arguments give the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from plugin.compare.intervals import (
    LEVEL,
    MIN_CLUSTERS,
    Interval,
    Units,
    bca_interval,
    betting_interval,
    check_values,
    few_vary,
    group_units,
    no_interval,
    spread_of,
    too_few,
)
from plugin.compare.sign_flips import can_invert, flip_harm_p, flip_p_value, invert_flips
from plugin.results import GuardOutcome, IntervalKind, Outcome

ALPHA = 0.05
"""An adjusted p below this counts as a difference."""

_LARGE = 1_000_000
"""From this many pairs on the normal approximation of the t test is good enough."""


@dataclass(frozen=True, slots=True)
class PairedEstimate:
    """The mean of paired gains with its interval, test and spread.

    Attributes:
        n: number of gains.
        n_clusters: number of clusters; None if the cases are independent.
        effective_clusters: number of equal-sized clusters with the same information; None without
            clusters.
        largest_cluster_share: share of the gains in the largest cluster; None without clusters.
        skewness: skewness of the clusters' mean gains; None without clusters.
        n_nonzero: number of gains that are not zero.
        mean: mean gain; None without data.
        sd: spread per case: sd / sqrt(n) is the standard error of the mean, and takes clusters into
            account; None with fewer than two units.
        ci_low: lower end of the 95% interval of the mean; None if there is no interval.
        ci_high: upper end of that interval.
        p_value: two-sided p of "no difference"; None without data.
        interval_kind: how the interval was computed, for decisions.
        why_no_interval: why there is no interval, in words; "" if there is one.
        method: how interval and p were computed, in words.
    """

    n: int
    n_clusters: int | None
    effective_clusters: float | None
    largest_cluster_share: float | None
    skewness: float | None
    n_nonzero: int
    mean: float | None
    sd: float | None
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    interval_kind: IntervalKind
    why_no_interval: str
    method: str


class _Resampling(NamedTuple):
    """How to resample, and the level of the interval."""

    seed: int
    n_resamples: int
    level: float = LEVEL


@dataclass(frozen=True, slots=True)
class MeanEstimate:
    """A mean with its 95% interval; the attributes are those of `PairedEstimate`."""

    n: int
    n_clusters: int | None
    mean: float | None
    ci_low: float | None
    ci_high: float | None
    method: str


def paired_estimate(
    gains: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None = None,
    low: float = -math.inf,
    high: float = math.inf,
    seed: int,
    n_resamples: int = 10_000,
    binary: bool = False,
    level: float = LEVEL,
) -> PairedEstimate:
    """Return the mean gain, its 95% interval, and a two-sided p of "no difference".

    The interval is BCa (see `bca_interval`); with clusters it comes from the sign-flip test (see
    `invert_flips`). If too few units differ from the most common one (see `few_vary`), it is the
    betting interval (see `betting_interval`), which is valid for any sample size. So gains that are
    all zero give an interval around zero that narrows as 1/n, and never [0, 0]: n equal pairs do
    not prove that the next pair is equal. In this case p is 1.

    Args:
        gains: the gain of each case (more is better).
        clusters: a label per gain; gains with the same label are resampled and flipped together.
        low: smallest possible gain; infinite if the metric has no bounds.
        high: largest possible gain.
        seed: seed of all resampling.
        n_resamples: number of bootstrap resamples; the permutation test draws one fewer and also
            counts the data themselves.
        binary: whether all scores were 0 or 1: then p is McNemar's mid-p test, unless there are
            clusters.
        level: of the interval.

    Raises:
        ValueError: for a gain that is not finite or out of bounds, a wrong number of labels, or
            `binary` with gains other than -1, 0 and 1.
    """
    values = check_values(gains, low, high, "gain")
    if binary and not np.isin(values, (-1.0, 0.0, 1.0)).all():
        raise ValueError("binary gains must be -1, 0 or 1; leave binary out for other scores")
    units = group_units(values, clusters)
    how = _Resampling(seed, n_resamples, level)
    interval, p_value, test = _interval_and_p(units, (low, high), binary, how)
    return PairedEstimate(
        n=len(values),
        n_clusters=units.n_clusters,
        effective_clusters=units.effective_clusters,
        largest_cluster_share=units.largest_cluster_share,
        skewness=units.skewness,
        n_nonzero=int(np.count_nonzero(values)),
        mean=float(values.mean()) if len(values) else None,
        sd=spread_of(units),
        ci_low=interval.low,
        ci_high=interval.high,
        p_value=p_value,
        interval_kind=interval.kind,
        why_no_interval=interval.why_none,
        method=f"{interval.method}; {test}" if test else interval.method,
    )


def mean_interval(
    scores: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None = None,
    low: float = -math.inf,
    high: float = math.inf,
    seed: int,
    n_resamples: int = 10_000,
    level: float = LEVEL,
) -> MeanEstimate:
    """Return a mean score with its interval, by the same rules as `paired_estimate`.

    Raises:
        ValueError: as `paired_estimate`.
    """
    values = check_values(scores, low, high, "score")
    units = group_units(values, clusters)
    interval = _interval_of(units, (low, high), _Resampling(seed, n_resamples, level))
    mean = float(values.mean()) if len(values) else None
    ends = interval.low, interval.high
    return MeanEstimate(len(values), units.n_clusters, mean, *ends, interval.method)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values by Holm's step-down method (Holm 1979), in the order given.

    Raises:
        ValueError: for a p outside 0 to 1.
    """
    check_values(p_values, 0.0, 1.0, "p-value")
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = running
    return adjusted


def sign_test_p(wins: int, losses: int) -> float:
    """Return the two-sided p of the exact sign test for these counts (without ties); 1 for zero.

    For scores of 0 or 1 this is McNemar's exact test (McNemar 1947).
    """
    from scipy.stats import binomtest

    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def mid_p(wins: int, losses: int) -> float:
    """Return the two-sided mid-p for these counts (without ties); 1 for zero.

    The mid-p is the exact p minus half the probability of the observed counts. For scores of 0 or 1
    this is McNemar's mid-p test. It has more power than the exact test and hardly ever exceeds its
    level (Fagerland, Lydersen & Laake 2013).
    """
    from scipy.stats import binom

    n, fewer = wins + losses, min(wins, losses)
    if not n:
        return 1.0
    return min(1.0, 2 * float(binom.cdf(fewer, n, 0.5)) - float(binom.pmf(fewer, n, 0.5)))


def harm_p(
    gains: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None = None,
    seed: int,
    n_resamples: int = 10_000,
    binary: bool = False,
) -> float | None:
    """Return the one-sided p of "nothing was lost"; None without data.

    The p is the share of sign flips whose mean is at most that of the data; for `binary` scores
    without clusters it is the one-sided mid-p. The arguments are those of `paired_estimate`.
    """
    from scipy.stats import binom

    values = check_values(gains, -math.inf, math.inf, "gain")
    units = group_units(values, clusters)
    if not len(values):
        return None
    if binary and units.n_clusters is None:
        wins, losses = int((values > 0).sum()), int((values < 0).sum())
        n = wins + losses
        return float(binom.cdf(wins, n, 0.5) - binom.pmf(wins, n, 0.5) / 2) if n else 1.0
    return flip_harm_p(units.sums, seed, n_resamples)


def decide_guard(
    interval: tuple[float | None, float | None],
    gain: float | None,
    p_adjusted: float | None,
    margin: float,
) -> GuardOutcome:
    """Decide a guard's outcome from its gain, its interval and the adjusted p of harm.

    A guard is lost if the mean loss is larger than the margin and also significant. It is kept if
    the interval excludes every loss larger than the margin (non-inferiority).
    """
    if gain is not None and p_adjusted is not None and p_adjusted < ALPHA and gain < -margin:
        return "lost"
    return "kept" if interval[0] is not None and interval[0] >= -margin else "unclear"


def decide_outcome(
    interval: tuple[float | None, float | None], p_adjusted: float | None, margin: float
) -> Outcome:
    """Decide the outcome of a comparison from the gain's interval and adjusted p.

    A significant difference comes first, even a small one. Otherwise an interval within plus or
    minus the margin shows equivalence (confidence interval inclusion, Westlake 1972). Otherwise the
    outcome is "can't tell".
    """
    low, high = interval
    if low is None or high is None or p_adjusted is None:
        return "can't tell"
    if p_adjusted < ALPHA and (low > 0 or high < 0):
        return "better" if low > 0 else "worse"
    return "equivalent" if -margin <= low and high <= margin else "can't tell"


def n_to_detect(sd: float, effect: float, power: float = 0.8, alpha: float = ALPHA) -> int | None:
    """Return how many pairs a two-sided paired t test needs to detect a true mean gain.

    Args:
        sd: standard deviation of the gains, in the unit of `effect`.
        effect: the true mean gain; its sign does not matter.
        power: probability of detecting it, in its true direction.
        alpha: level of the test.

    Returns:
        The number of pairs; None if `sd` is zero or unknown (NaN), or the effect is zero.
    """
    from scipy.special import ndtri

    if not (sd > 0 and effect):
        return None
    by_normal = float((ndtri(1 - alpha / 2) + ndtri(power)) * sd / effect) ** 2
    n = max(2, math.ceil(by_normal))
    if n > _LARGE:
        return n
    # The t test never needs fewer pairs than the normal approximation, and only a few more.
    while _power_t(abs(effect) / sd, n, alpha) < power:
        n += 1
    return n


def smallest_detectable(
    sd: float, n: float, power: float = 0.8, alpha: float = ALPHA
) -> float | None:
    """Return the mean gain that n pairs detect with this power: the inverse of `n_to_detect`.

    `n` can be fractional: clusters of unequal sizes count with their effective number.

    Returns:
        The gain; None with fewer than two pairs, or if `sd` is zero or unknown (NaN).
    """
    from scipy.optimize import brentq

    if not (sd > 0 and n >= 2):
        return None
    top = 1.0
    while _power_t(top, n, alpha) < power:
        top *= 2
    return sd * float(brentq(lambda effect: _power_t(effect, n, alpha) - power, 0.0, top))


def needed_for_equivalence(found: PairedEstimate, margin: float) -> int | None:
    """Return how many pairs or clusters are needed to show equivalence within the margin.

    The power is 80% if the true gain is zero: each end of the interval stays within the margin with
    a probability of 90%.
    """
    return needed_to_detect(found, margin, power=0.9)


def needed_to_detect(
    found: PairedEstimate, effect: float, power: float = 0.8, alpha: float = ALPHA
) -> int | None:
    """Return how many pairs (or clusters like these) are needed to detect a true mean gain.

    Clusters of unequal sizes count with their effective number, in the spread and in the degrees
    of freedom. Further clusters are assumed to be just as unequal.

    Returns:
        The number; None as `n_to_detect`, or if the spread is unknown.
    """
    if found.sd is None or found.n_clusters is None or found.effective_clusters is None:
        return n_to_detect(found.sd or 0.0, effect, power, alpha)
    spread = _spread_of_clusters(found.sd, found.n, found.effective_clusters)
    n = n_to_detect(spread, effect, power, alpha)
    if n is None:
        return None
    return max(MIN_CLUSTERS, math.ceil(n * found.n_clusters / found.effective_clusters - 1e-9))


def detectable_gain(found: PairedEstimate, alpha: float = ALPHA) -> float | None:
    """Return the mean gain that these pairs or clusters detect: the inverse of `needed_to_detect`.

    Returns:
        The gain; None as `smallest_detectable`, or if there are too few clusters to show any gain.
    """
    if found.sd is None or found.n_clusters is None or found.effective_clusters is None:
        return smallest_detectable(found.sd or 0.0, found.n, alpha=alpha)
    if found.n_clusters < MIN_CLUSTERS:
        return None
    n = found.effective_clusters
    return smallest_detectable(_spread_of_clusters(found.sd, found.n, n), n, alpha=alpha)


def _spread_of_clusters(sd: float, n: int, n_clusters: float) -> float:
    """Return the spread per cluster that gives the same standard error as `sd` per case."""
    return sd * math.sqrt(n_clusters / n)


def _power_t(effect: float, n: float, alpha: float) -> float:
    """Return the power of a paired t test, from the noncentral t distribution.

    Only the tail in the true direction counts (Cohen 1988, chapter 2).
    """
    from scipy.stats import nct, t

    return float(nct.sf(t.isf(alpha / 2, n - 1), n - 1, effect * math.sqrt(n)))


def _interval_and_p(
    units: Units, bounds: tuple[float, float], binary: bool, how: _Resampling
) -> tuple[Interval, float | None, str]:
    """Return the interval, the two-sided p of "no difference", and the name of the test.

    Without data the p is None and the name is "".
    """
    if can_invert(units):
        return invert_flips(units, bounds, *how)
    interval = _interval_of(units, bounds, how)
    if not len(units.sums):
        return interval, None, ""
    if binary and units.n_clusters is None:
        wins, losses = int((units.sums > 0).sum()), int((units.sums < 0).sum())
        return interval, mid_p(wins, losses), "McNemar's mid-p test"
    return interval, *flip_p_value(units.sums, how.seed, how.n_resamples)


def _interval_of(units: Units, bounds: tuple[float, float], how: _Resampling) -> Interval:
    """Return the interval of the mean over all cases, by the method that suits the data."""
    if why := too_few(units):
        return no_interval(why)
    if can_invert(units):
        return invert_flips(units, bounds, *how).interval
    if few_vary(units):
        return betting_interval(units, bounds, 1 - how.level)
    return bca_interval(units, *how)
