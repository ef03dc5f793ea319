"""Paired differences, their tests, and power: pure functions on floats.

Units and clusters are those of `intervals`. Randomness comes from the seed alone, so the same
arguments give the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from plugin.compare.intervals import (
    BATCH,
    Floats,
    Units,
    check_values,
    group_units,
    interval_of,
    spread_of,
)
from plugin.records import IntervalKind, Outcome

ALPHA = 0.05
"""An adjusted p below this counts as a difference."""

_MAX_ENUMERATED = 16
"""Up to this many non-zero units every sign pattern is tried: 2**15 sums."""

_LARGE = 1_000_000
"""From this many pairs on the t test and its normal approximation need the same number."""


@dataclass(frozen=True, slots=True)
class PairedEstimate:
    """What paired gains say.

    Attributes:
        n: number of gains.
        n_clusters: number of clusters, None when every case stands for itself.
        n_nonzero: gains other than zero.
        mean: mean gain; None without data.
        sd: the spread per case: sd / sqrt(n) is the mean's standard error, clusters counted as
            such; None below two units.
        ci_low: lower end of the 95% interval of the mean; None where none can be given.
        ci_high: its upper end.
        p_value: two-sided, of "no difference"; None without data.
        interval_kind: how the interval was computed, for decisions.
        why_no_interval: why there is none, in words; "" where there is one.
        method: how interval and p were computed, in words.
    """

    n: int
    n_clusters: int | None
    n_nonzero: int
    mean: float | None
    sd: float | None
    ci_low: float | None
    ci_high: float | None
    p_value: float | None
    interval_kind: IntervalKind
    why_no_interval: str
    method: str


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
) -> PairedEstimate:
    """Return the mean gain, its 95% interval, and a two-sided p of "no difference".

    The interval is BCa (see `_bca`); where fewer than 10 units differ from the most common one,
    it is the betting interval (see `betting`), which holds at any sample size. So gains that are
    all zero give an interval around zero that narrows as 1/n, never [0, 0]: n equal pairs do not
    prove that the next one is equal. The p is 1 then.

    Args:
        gains: variant minus baseline per case, turned so that more is better.
        clusters: a label per gain; gains with one label are resampled and flipped together.
        low: smallest possible gain; infinite where the metric has no bounds.
        high: largest possible gain.
        seed: of all resampling.
        n_resamples: of the bootstrap; the permutation test draws one less and counts the data
            themselves.
        binary: all scores were 0 or 1: p is McNemar's exact test (McNemar 1947), unless there
            are clusters.

    Raises:
        ValueError: for a gain that is not finite or out of bounds, labels that do not match the
            gains in number, or `binary` with other gains than -1, 0 and 1.
    """
    values = check_values(gains, low, high, "gain")
    if binary and not np.isin(values, (-1.0, 0.0, 1.0)).all():
        raise ValueError("binary gains must be -1, 0 or 1; leave binary out for other scores")
    units = group_units(values, clusters)
    interval = interval_of(units, (low, high), seed, n_resamples)
    p_value, test = _p_value(units, binary, seed, n_resamples)
    return PairedEstimate(
        n=len(values),
        n_clusters=units.n_clusters,
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
) -> MeanEstimate:
    """Return a mean score with its 95% interval, by the same rules as `paired_estimate`.

    Raises:
        ValueError: as `paired_estimate`.
    """
    values = check_values(scores, low, high, "score")
    units = group_units(values, clusters)
    interval = interval_of(units, (low, high), seed, n_resamples)
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


def decide_outcome(
    interval: tuple[float | None, float | None], p_adjusted: float | None, margin: float
) -> Outcome:
    """Return what follows from a gain's interval and adjusted p: the deciding rule.

    A difference comes first, however small; then the interval within plus or minus the margin
    shows equivalence (confidence interval inclusion, Westlake 1972); else nothing is shown.
    """
    low, high = interval
    if low is None or high is None or p_adjusted is None:
        return "can't tell"
    if p_adjusted < ALPHA and (low > 0 or high < 0):
        return "better" if low > 0 else "worse"
    return "equivalent" if -margin <= low and high <= margin else "can't tell"


def n_to_detect(sd: float, effect: float, power: float = 0.8, alpha: float = ALPHA) -> int | None:
    """Return how many pairs a two-sided paired t test needs to find a true mean gain.

    Args:
        sd: spread of the gains, in the unit of `effect`.
        effect: the true mean gain; its sign does not matter.
        power: probability of finding it, in its true direction.
        alpha: level of the test.

    Returns:
        None where the spread is zero or unknown (NaN), or the effect is zero.
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
    sd: float, n: int, power: float = 0.8, alpha: float = ALPHA
) -> float | None:
    """Return the mean gain that n pairs find with this power: the inverse of `n_to_detect`.

    Returns:
        None below two pairs, or where the spread is zero or unknown (NaN).
    """
    from scipy.optimize import brentq

    if not (sd > 0 and n >= 2):
        return None
    top = 1.0
    while _power_t(top, n, alpha) < power:
        top *= 2
    return sd * float(brentq(lambda effect: _power_t(effect, n, alpha) - power, 0.0, top))


def _power_t(effect: float, n: int, alpha: float) -> float:
    """Return the power of a paired t test, by the noncentral t distribution.

    Only the tail in the true direction counts (Cohen 1988, chapter 2).
    """
    from scipy.stats import nct, t

    return float(nct.sf(t.isf(alpha / 2, n - 1), n - 1, effect * math.sqrt(n)))


def _p_value(units: Units, binary: bool, seed: int, n_resamples: int) -> tuple[float | None, str]:
    """Return the two-sided p of "no difference" and its name; None and "" without data."""
    nonzero = units.sums[units.sums != 0]
    if not len(units.sums):
        return None, ""
    if binary and units.n_clusters is None:
        from scipy.stats import binomtest

        wins = int((nonzero > 0).sum())
        p_value = float(binomtest(wins, len(nonzero)).pvalue) if len(nonzero) else 1.0
        return p_value, "McNemar's exact test"
    if len(nonzero) <= _MAX_ENUMERATED:
        return _all_flips(nonzero), "exact sign-flip permutation test"
    p_value = _random_flips(nonzero, seed, n_resamples - 1)
    return p_value, f"sign-flip permutation test, {n_resamples - 1} resamples"


def _all_flips(nonzero: Floats) -> float:
    """Return the p over all sign patterns of the non-zero sums (Fisher 1935); 1 without any."""
    if not len(nonzero):
        return 1.0
    # A pattern and its opposite are equally far out, so the first sign can stay as it is.
    totals = nonzero[:1]
    for value in nonzero[1:]:
        totals = np.concatenate((totals + value, totals - value))
    return float((np.abs(totals) >= _share_as_extreme(nonzero)).mean())


def _random_flips(nonzero: Floats, seed: int, n_flips: int) -> float:
    """Return the p over random sign patterns, the data counted as one (Phipson & Smyth 2010)."""
    rng = np.random.default_rng((seed, 1))
    least, hits = _share_as_extreme(nonzero), 1
    for start in range(0, n_flips, BATCH):
        shape = (min(BATCH, n_flips - start), -(-len(nonzero) // 8))
        packed = rng.integers(0, 256, size=shape, dtype=np.uint8)
        flipped = np.unpackbits(packed, axis=1, count=len(nonzero)).astype(np.float64)
        hits += int((np.abs(nonzero.sum() - 2 * flipped @ nonzero) >= least).sum())
    return hits / (n_flips + 1)


def _share_as_extreme(nonzero: Floats) -> float:
    """Return the observed |sum|, less what rounding may take from an equal one."""
    return float(abs(nonzero.sum()) - 1e-12 * np.abs(nonzero).sum())
