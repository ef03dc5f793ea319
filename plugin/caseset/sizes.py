"""Say how many cases find which gain, before anyone labels them.

A set finds a gain if a run on it would call it "better" four times out of five, at the 5% level:
the same rule by which a report says how many cases it needs (`plugin.compare.stats`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

from plugin.caseset.records import Assumed, PoolRow, Power
from plugin.compare.intervals import MIN_CLUSTERS
from plugin.compare.stats import n_to_detect, smallest_detectable
from plugin.errors import OptionError

USUAL = (
    Assumed(0.3, "scores that move by about 0.3"),
    Assumed(0.5, "0/1 scores that differ on a quarter of the cases"),
    Assumed(0.15, "scores that move by about 0.15"),
)
"""What is assumed where nothing is known; the first one counts."""

_LARGEST = 1.0
"""The largest gain of a score from 0 to 1."""


def assume(disagreement: float | None, spread: float | None) -> tuple[Assumed, ...]:
    """Return the spreads to reckon with, the one that counts first.

    Args:
        disagreement: share of the cases on which the 0/1 scores of two models differ.
        spread: standard deviation of the gains.

    Raises:
        OptionError: when both are given, or one is impossible.
    """
    if disagreement is not None and spread is not None:
        raise OptionError("--disagreement and --spread say the same thing; give one of them")
    if disagreement is not None:
        if not 0 < disagreement <= 1:
            raise OptionError(f"--disagreement {disagreement} must be above 0 and at most 1")
        sd = math.sqrt(disagreement)
        return (Assumed(sd, f"0/1 scores that differ on {disagreement:.0%} of the cases"),)
    if spread is not None:
        if not 0 < spread <= 1:
            raise OptionError(f"--spread {spread} must be above 0 and at most 1")
        return (Assumed(spread, f"scores that move by about {spread:g}"),)
    return USUAL


def needed_for(margin: float, assumed: Assumed) -> int:
    """Return how many independent cases find a gain of the margin."""
    return n_to_detect(assumed.sd, margin) or 2


def effective_number(rows: Sequence[PoolRow]) -> float:
    """Return for how many independent cases these count: the cases of a cluster as one (Kish)."""
    sizes = Counter(row.case.cluster or f"alone {row.key}" for row in rows)
    squares = sum(size * size for size in sizes.values())
    return sum(sizes.values()) ** 2 / squares if squares else 0.0


def power_of(rows: Sequence[PoolRow], assumed: Assumed, margin: float) -> Power:
    """Return what these cases find, if the gains vary as assumed."""
    effective = effective_number(rows)
    gain = smallest_detectable(assumed.sd, effective)
    n_clusters = len({row.case.cluster for row in rows if row.case.cluster})
    alone = sum(row.case.cluster is None for row in rows)
    too_few = n_clusters > 0 and n_clusters + alone < MIN_CLUSTERS
    if gain is not None and (gain > _LARGEST or too_few):
        gain = None
    return Power(len(rows), effective, assumed, gain, margin, needed_for(margin, assumed))


def enough(
    draw: Callable[[int], Sequence[PoolRow]], n_pool: int, wanted: int, first_share: float
) -> int:
    """Return how many cases to draw so that the first side counts for `wanted` independent ones.

    Args:
        draw: returns the cases of the first side, if so many are drawn.
        n_pool: the most that can be drawn.
        wanted: independent cases of the first side.
        first_share: the share of the cases that should fall on it.

    Returns:
        The number; that of the whole pool if even that is not enough.
    """
    n = min(n_pool, math.ceil(wanted / first_share))
    while n < n_pool:
        found = effective_number(draw(n))
        if found >= wanted:
            return n
        grown = math.ceil(n * wanted / max(found, 1.0))
        n = min(n_pool, max(n + 1, min(grown, 2 * n)))
    return n
