"""Compute intervals of paired differences of scores: pure functions on counts and floats.

An item is lost where the base solves it and the variant does not, and won where it is the other
way round. The difference of the two models is (won - lost) / n. Items that both solve, or both
fail, count in n alone.

`paired_interval` is for one ability. It inverts Tango's score test (Tango 1998, "Equivalence test
and confidence interval for the difference in proportions for the paired-sample design"), with exact
tails: far out, where adjusted intervals end, the normal approximation is many times too bold for a
few dozen items. `stratified_interval` is for all items together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_REACH = 9.0
"""Standard deviations around the expected counts within which tails are summed."""

_SLACK = 1e-9
"""A smaller difference of two test statistics is a rounding error."""

_STEPS = 30
"""Halvings of the range in which an end is searched: to 2e-9."""


class Flips(NamedTuple):
    """What changed among n items: how many the variant won, and how many it lost."""

    won: float
    lost: float
    n: int

    @property
    def difference(self) -> float:
        """Return the mean difference, variant minus base."""
        return (self.won - self.lost) / self.n

    @property
    def mirrored(self) -> Flips:
        """Return the same with base and variant exchanged."""
        return Flips(self.lost, self.won, self.n)


def restricted_loss(flips: Flips, difference: float) -> float:
    """Return the likeliest chance of a loss, given the true difference (Tango 1998)."""
    won, lost, n = flips
    a = 2.0 * n
    b = -won - lost + (2.0 * n - won + lost) * difference
    c = -lost * difference * (1.0 - difference)
    root = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    # Neither chance is below zero, and both together are at most 1.
    return min(max(root, 0.0, -difference), (1.0 - difference) / 2)


def tango_z(flips: Flips, difference: float) -> float:
    """Return Tango's score statistic of "the true difference is this one"."""
    return float(_z_of_sums([flips], difference))


def _z_of_sums(strata: Sequence[Flips], difference: float) -> float:
    """Return the score statistic over strata that all have the same true difference."""
    above = sum(one.won - one.lost - one.n * difference for one in strata)
    spread = sum(one.n * _variance(restricted_loss(one, difference), difference) for one in strata)
    if spread <= 0:
        return 0.0 if abs(above) < _SLACK else math.copysign(math.inf, above)
    return above / math.sqrt(spread)


def _variance(loss: float, difference: float) -> float:
    return 2 * loss + difference * (1.0 - difference)


def tango_interval(flips: Flips, level: float) -> tuple[float, float]:
    """Return Tango's score interval of the difference, by the normal approximation."""
    return stratified_interval([flips], level)


def stratified_interval(strata: Sequence[Flips], level: float) -> tuple[float, float]:
    """Return the score interval of the mean difference over all items of several strata.

    The variance is summed over the strata, so that differences between them do not widen it. It
    is the variance under the difference that is tested, as in Tango's test of one stratum.

    Args:
        strata: at least one of them has items.
        level: of the two-sided interval.
    """
    from scipy.special import ndtri

    goal = float(ndtri((1 + level) / 2))
    own = [one for one in strata if one.n]
    best = sum(one.won - one.lost for one in own) / sum(one.n for one in own)
    low = _crossing(lambda d: _z_of_sums(own, d) <= goal, best, -1.0)
    high = _crossing(lambda d: _z_of_sums(own, d) >= -goal, best, 1.0)
    return low, high


def paired_interval(flips: Flips, level: float) -> tuple[float, float]:
    """Return the interval of the difference for counts, by Tango's test with exact tails.

    Each end is the difference at which the chance of a result like this one, or further away, is
    (1 - level) / 2. The chance is summed over all possible counts, with the likeliest share of
    changed items for that difference.
    """
    tail = (1 - level) / 2
    high = _crossing(lambda d: low_tail(flips, d) > tail, flips.difference, 1.0)
    low = -_crossing(lambda d: low_tail(flips.mirrored, d) > tail, flips.mirrored.difference, 1.0)
    return low, high


def low_tail(flips: Flips, difference: float) -> float:
    """Return the chance of a result this far below the difference, if that is the true one."""
    loss = restricted_loss(flips, difference)
    win = min(max(loss + difference, 0.0), 1.0 - loss)
    n = flips.n
    lost = _window(n, loss)[:, None]
    won = _window(n, win)[None, :]
    same = n - lost - won
    possible = same >= 0
    same = np.where(possible, same, 0)
    logs = _log_factorials(n)
    share = max(0.0, 1.0 - loss - win)
    log_chance = (
        logs[n]
        - logs[lost]
        - logs[won]
        - logs[same]
        + _times_log(lost, loss)
        + _times_log(won, win)
        + _times_log(same, share)
    )
    z = _z_grid(won.astype(np.float64), lost.astype(np.float64), n, difference)
    as_far = possible & (z <= tango_z(flips, difference) + _SLACK)
    return float(np.exp(log_chance[as_far]).sum())


def _z_grid(won: Floats, lost: Floats, n: int, difference: float) -> Floats:
    """Return Tango's statistic of every pair of counts; as `tango_z`."""
    a = 2.0 * n
    b = -won - lost + (2.0 * n - won + lost) * difference
    c = -lost * difference * (1.0 - difference)
    loss = (np.sqrt(np.maximum(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    loss = np.clip(loss, max(0.0, -difference), (1.0 - difference) / 2)
    spread = n * (2 * loss + difference * (1.0 - difference))
    above = won - lost - n * difference
    with np.errstate(divide="ignore", invalid="ignore"):
        z: Floats = np.where(
            spread > 0,
            above / np.sqrt(spread),
            np.where(np.abs(above) < _SLACK, 0.0, np.copysign(np.inf, above)),
        )
    return z


def _window(n: int, chance: float) -> NDArray[np.int64]:
    """Return the counts out of n that have any chance worth counting."""
    middle, reach = n * chance, _REACH * math.sqrt(n * chance * (1 - chance)) + 12
    return np.arange(max(0, math.floor(middle - reach)), min(n, math.ceil(middle + reach)) + 1)


def _times_log(counts: NDArray[np.int64], chance: float) -> Floats:
    """Return counts * log(chance), with 0 * log(0) = 0."""
    if chance > 0:
        return (counts * math.log(chance)).astype(np.float64)
    return np.where(counts > 0, -math.inf, 0.0).astype(np.float64)


@lru_cache(maxsize=32)
def _log_factorials(n: int) -> Floats:
    from scipy.special import gammaln

    found: Floats = gammaln(np.arange(n + 1, dtype=np.float64) + 1)
    return found


def _crossing(holds: Callable[[float], bool], inside: float, outside: float) -> float:
    """Return where a condition that holds inside stops holding on the way outside."""
    if holds(outside):
        return outside
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        if holds(middle):
            inside = middle
        else:
            outside = middle
    return inside
