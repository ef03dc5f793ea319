"""Tell what the cases could show at all: how many would settle a comparison, and where none can.

The number of cases for a given power comes from the spread of the gains (see `stats`). Where too
few of them vary, the spread says nothing; but what more cases like these would give is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from plugin.compare import stats
from plugin.compare.intervals import (
    LEVEL,
    MIN_CLUSTERS,
    Units,
    betting_interval,
    check_values,
    group_units,
)
from plugin.compare.pairs import Pairs, clusters_of
from plugin.records import MetricSpec
from plugin.results import Comparison, IntervalKind

MOST_NEEDED = 1_000_000
"""A larger number of cases is not worth naming."""

_AT_THE_END = 0.01
"""Two means so near to an end of the scale, as a share of it, leave no room for a difference."""


def with_numbers_needed(row: Comparison, found: stats.PairedEstimate, pairs: Pairs) -> Comparison:
    """Return an open comparison with how many pairs or clusters would tell, where that is known."""
    margin = row.margin
    if found.sd is None:
        return row
    if found.interval_kind is IntervalKind.BETTING or not found.sd:
        row = replace(row, n_if_alike=needed_if_alike(pairs, settles(row)))
    if row.role == "guard":
        return replace(row, n_to_detect=stats.needed_to_detect(found, margin))
    alpha = stats.ALPHA / row.n_family
    return replace(
        row,
        n_to_detect=stats.needed_to_detect(found, margin, alpha=alpha),
        n_for_equivalence=stats.needed_for_equivalence(found, margin),
    )


def settles(row: Comparison) -> Callable[[float, float], bool]:
    """Return what says whether an interval with these ends would settle the comparison."""

    def is_settled(low: float, high: float) -> bool:
        if row.role == "guard":
            return low >= -row.margin or (high < 0 and (row.gain or 0.0) < -row.margin)
        return low > 0 or high < 0 or (-row.margin <= low and high <= row.margin)

    return is_settled


def needed_if_alike(pairs: Pairs, is_settled: Callable[[float, float], bool]) -> int | None:
    """Return how many pairs or clusters would tell, if further ones are like these.

    Returns:
        The number of all of them, these included; None with fewer than two units, for a metric
        without bounds, or if `MOST_NEEDED` would not be enough.
    """
    extent = pairs.spec.largest_gain
    clusters = clusters_of([case for case, _, _ in pairs.whole])
    units = group_units(check_values(pairs.gains, -extent, extent, "gain"), clusters)
    return needed_units(units, (-extent, extent), is_settled)


def needed_units(
    units: Units, bounds: tuple[float, float], is_settled: Callable[[float, float], bool]
) -> int | None:
    """Return how many units would settle a mean, if further ones are like these.

    Args:
        units: those that there are.
        bounds: smallest and largest possible value of a case.
        is_settled: whether an interval with these ends would be enough.

    Returns:
        The number of all of them; None as `needed_if_alike`.
    """
    n = len(units.sums)
    if n < 2 or not all(map(math.isfinite, bounds)):
        return None

    def would_tell(wanted: int) -> bool:
        found = betting_interval(units, bounds, 1 - LEVEL, times=wanted / n)
        low, high = found.low, found.high
        return low is not None and high is not None and is_settled(low, high)

    return _next_true(would_tell, max(n, 2 if units.n_clusters is None else MIN_CLUSTERS))


def _next_true(holds: Callable[[int], bool], first: int) -> int | None:
    """Return the smallest number for which it holds, if it then goes on to hold.

    Steps double until it holds, and then the gap is halved. None beyond `MOST_NEEDED`.
    """
    fails, step = first - 1, 1
    while not holds(fails + step):
        fails, step = fails + step, 2 * step
        if fails >= MOST_NEEDED:
            return None
    above = fails + step
    while above - fails > 1:
        middle = (fails + above) // 2
        fails, above = (fails, middle) if holds(middle) else (middle, above)
    return above


def possible_gain(gain: float | None, spec: MetricSpec) -> float | None:
    """Return the gain, or None if no two scores differ by so much."""
    return None if gain is None or gain > spec.largest_gain else gain


def stuck_at(pairs: Pairs) -> Literal["", "worst", "best"]:
    """Return which end of the scale both variants stand at on nearly every case; "" for neither."""
    spec, n = pairs.spec, len(pairs.whole)
    if not (n and math.isfinite(spec.high - spec.low)):
        return ""
    room = _AT_THE_END * (spec.high - spec.low)
    means = [math.fsum(scores) / n for scores in list(zip(*pairs.whole, strict=True))[1:]]
    ends: tuple[tuple[Literal["worst", "best"], float], ...] = (
        ("worst", spec.worst),
        ("best", spec.best),
    )
    return next((name for name, end in ends if all(abs(m - end) <= room for m in means)), "")
