"""Quantiles of waiting times with intervals, and how many times as long one variant takes.

A quantile is the smallest time that at least this share of the requests does not exceed. Its
interval lies between two of the sorted times and makes no assumption on their distribution: the
number of requests below the true quantile is binomial. Cases of one cluster count for less, as much
as the spread between the clusters says (Woodruff 1952, with the effective number of Korn and
Graubard 1998). The ratio of two quantiles is resampled over cases, both variants together, because
both answered the same ones.

The intervals say what other cases would change. What another hour on the same server would change
they cannot know; base and variants are asked in turns, so most of it cancels in the ratio.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plugin.compare.intervals import LEVEL, group_units, spread_of
from plugin.latency.asked import share_name

Floats = NDArray[np.float64]

N_RESAMPLES = 2_000
_AT_ONCE = 1 << 21
"""Weights that are drawn at once."""


class Ends(NamedTuple):
    """Both ends of an interval; None for one that the data cannot give."""

    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile of some times.

    Attributes:
        share: of the times that do not exceed it.
        value: None without times, and where there are too few for it.
        low: lower end of its interval; None where there is none.
        high: its upper end.
        n: how many times there are.
        why_none: why value or interval are missing, with the number needed; "" where they are
            there.
    """

    share: float
    value: float | None
    low: float | None
    high: float | None
    n: int
    why_none: str = ""

    @property
    def name(self) -> str:
        """Return it as users write it, such as "p95"."""
        return share_name(self.share)


def needed_for(share: float, level: float = LEVEL) -> int:
    """Return how many independent times a two-sided interval of this quantile needs."""
    tail = (1 - level) / 2
    return math.ceil(math.log(tail) / math.log(max(share, 1 - share)))


def quantile_of(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)]


def find_quantile(
    values: Sequence[float],
    share: float,
    clusters: Sequence[Hashable] | None = None,
    level: float = LEVEL,
) -> Quantile:
    """Return a quantile with its interval; without a value where too few can show it.

    Args:
        values: one per request; infinity for one that never ended.
        share: of the values that do not exceed it.
        clusters: a label per value; values with the same label belong together.
        level: of the interval.
    """
    n = len(values)
    if not n:
        return Quantile(share, None, None, None, 0, "no request was answered")
    found = quantile_of(values, share)
    why = _too_few_clusters(clusters, n, share)
    low, high = Ends() if why else quantile_interval(values, share, clusters, level)
    if not why and (low is None or high is None):
        why = f"too few for {share_name(share)}: {n:,} requests, at least {needed_for(share):,}"
        if _effective_n(np.asarray(values), found, share, clusters) < n:
            why += " independent ones"
    is_seen = n * min(share, 1 - share) >= 1  # else it is no more than the largest value
    return Quantile(share, found if is_seen and math.isfinite(found) else None, low, high, n, why)


def _too_few_clusters(clusters: Sequence[Hashable] | None, n: int, share: float) -> str:
    """Say why there are too few clusters; with so few the effective number is itself too rough."""
    n_units = n if clusters is None else len(set(clusters))
    if n_units == n or n_units >= needed_for(share):
        return ""
    return (
        f"too few for {share_name(share)}: {n:,} requests in {n_units:,} clusters, at least "
        f"{needed_for(share):,} clusters"
    )


def quantile_interval(
    values: Sequence[float],
    share: float,
    clusters: Sequence[Hashable] | None = None,
    level: float = LEVEL,
) -> Ends:
    """Return the interval of a quantile between two of the sorted values."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ordered)
    n_effective = _effective_n(np.asarray(values), quantile_of(values, share), share, clusters)
    if n_effective >= n:
        below, above = _ranks(n, share, level)
    else:
        own = max(1, math.floor(n_effective))
        below, above = (
            None if rank is None else round_to(rank * n / own)
            for rank, round_to in zip(
                _ranks(own, share, level), (math.floor, math.ceil), strict=True
            )
        )
    low = None if below is None else float(ordered[max(0, below - 1)])
    high = None if above is None or above > n else float(ordered[above - 1])
    return Ends(low, None if high is None or math.isinf(high) else high)


def _ranks(n: int, share: float, level: float) -> tuple[int | None, int | None]:
    """Return the ranks, from 1, of the values between which the quantile lies; None for none.

    The number of values below the quantile is binomial (n, share): the value of rank r is above the
    quantile if that number is below r.
    """
    from scipy.special import bdtr

    tail = (1 - level) / 2
    at_most = bdtr(np.arange(n + 1, dtype=np.float64), n, share)  # P(number <= k)
    below = int(np.searchsorted(at_most, tail, side="right"))  # the largest r with P(< r) <= tail
    above = int(np.searchsorted(at_most, 1 - tail, side="left")) + 1  # P(>= r) <= tail
    return below or None, above if above <= n else None


def _effective_n(
    values: Floats, at: float, share: float, clusters: Sequence[Hashable] | None
) -> float:
    """Return how many independent values say as much on the share below a quantile."""
    n = len(values)
    if clusters is None or len(set(clusters)) == n:
        return float(n)
    units = group_units((values <= at).astype(np.float64), clusters)
    spread = spread_of(units)
    n_units = len(units.sums)
    if not spread:
        return float(n_units)
    return min(float(n), max(float(n_units) / 2, n * share * (1 - share) / spread**2))


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as large a quantile of one variant is as that of another.

    Attributes:
        value: None where there is none.
        low: lower end of its interval; None where there is none.
        high: its upper end.
        n: cases that both answered.
        n_clusters: clusters of these; None where each case stands for itself.
        why_none: why ratio or interval are missing; "" where they are there.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    n_clusters: int | None = None
    why_none: str = ""


def ratio_of_quantiles(
    own: Sequence[float],
    base: Sequence[float],
    share: float,
    clusters: Sequence[Hashable] | None = None,
    *,
    level: float = LEVEL,
    seed: int = 0,
    n_resamples: int = N_RESAMPLES,
) -> Ratio:
    """Divide a quantile of the variant by that of the base, with the ratio's interval.

    Args:
        own: the variant's time per case.
        base: the base's time on the same cases, in the same order.
        share: the quantile.
        clusters: a label per case.
        level: of the interval.
        seed: of the resampling.
        n_resamples: how often cases, or clusters, are drawn anew.
    """
    n = len(own)
    n_clusters = None if clusters is None or len(set(clusters)) == n else len(set(clusters))
    if not n:
        return Ratio(None, None, None, 0, n_clusters, "no case was answered by both")
    below = quantile_of(base, share)
    if below <= 0:
        return Ratio(None, None, None, n, n_clusters, "no ratio: the base's is zero")
    value = quantile_of(own, share) / below
    n_units = n_clusters or n
    if n_units < needed_for(share):
        what = "clusters" if n_clusters else "cases"
        why = f"too few for {share_name(share)}: {n_units:,} {what}, at least {needed_for(share):,}"
        is_seen = n * min(share, 1 - share) >= 1
        return Ratio(value if is_seen else None, None, None, n, n_clusters, why)
    counts = _drawn_counts(n, clusters, seed, n_resamples)
    above, under = (_weighted_quantiles(values, counts, share) for values in (own, base))
    tail = (1 - level) / 2
    drawn = above / under
    low = float(np.quantile(drawn, tail, method="lower"))  # no mean of two: one may be infinite
    high = float(np.quantile(drawn, 1 - tail, method="higher"))
    shown, low_end, high_end = (None if math.isinf(end) else end for end in (value, low, high))
    return Ratio(shown, low_end, high_end, n, n_clusters)


def _drawn_counts(
    n: int, clusters: Sequence[Hashable] | None, seed: int, n_resamples: int
) -> Floats:
    """Return how often each case stands in each resample, shape (n_resamples, n)."""
    rng = np.random.default_rng(seed)
    if clusters is None:
        return rng.multinomial(n, np.full(n, 1 / n), size=n_resamples).astype(np.float64)
    numbers = {label: place for place, label in enumerate(dict.fromkeys(clusters))}
    of_case = np.array([numbers[label] for label in clusters])
    n_units = len(numbers)
    drawn = rng.multinomial(n_units, np.full(n_units, 1 / n_units), size=n_resamples)
    counts: Floats = drawn.astype(np.float64)[:, of_case]
    return counts


def _weighted_quantiles(values: Sequence[float], counts: Floats, share: float) -> Floats:
    """Return the quantile of each resample, shape (n_resamples,)."""
    order = np.argsort(values, kind="stable")
    ordered = np.asarray(values, dtype=np.float64)[order]
    totals = np.cumsum(counts[:, order], axis=1)
    reached = totals >= share * totals[:, -1:] - 1e-9
    found: Floats = ordered[np.argmax(reached, axis=1)]
    return found
