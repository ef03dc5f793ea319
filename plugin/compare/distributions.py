"""Give the few distributions and the root that tests and power need, from `scipy.special` alone.

`scipy.stats` and `scipy.optimize` take half a second to import, which is most of what a report of a
small run takes. The numbers are the same to the last digit or two.
"""

from __future__ import annotations

import math
from collections.abc import Callable

_STEPS = 200
"""Far more than a root needs: bisection alone halves the bracket until it is one number wide."""


def coin_tail(k: int, n: int) -> float:
    """Return the probability of at most k heads in n tosses of a fair coin."""
    from scipy.special import bdtr

    return float(bdtr(k, n, 0.5))


def coin_probability(k: int, n: int) -> float:
    """Return the probability of exactly k heads in n tosses of a fair coin."""
    return math.comb(n, k) / (1 << n)


def power_of_t(effect: float, n: float, alpha: float) -> float:
    """Return the power of a paired t test, from the noncentral t distribution.

    Only the tail in the true direction counts (Cohen 1988, chapter 2).

    Args:
        effect: true mean gain in standard deviations.
        n: number of pairs, which may be fractional.
        alpha: level of the two-sided test.
    """
    from scipy.special import nctdtr, stdtrit

    return 1.0 - float(nctdtr(n - 1, effect * math.sqrt(n), -stdtrit(n - 1, alpha / 2)))


def find_root(function: Callable[[float], float], low: float, high: float) -> float:
    """Return where a continuous function is zero, by Chandrupatla's method (1997).

    It interpolates like Brent's method where that is safe, and else halves the bracket.

    Args:
        function: has values of different signs at both ends, or a zero at one of them.
        low: one end of the bracket.
        high: the other end.

    Raises:
        ValueError: when both ends have the same sign.
    """
    a, b = high, low
    at_a, at_b = function(a), function(b)
    if at_a == 0 or at_b == 0:
        return a if at_a == 0 else b
    if (at_a > 0) == (at_b > 0):
        raise ValueError(f"no change of sign between {low} ({at_b}) and {high} ({at_a})")
    share, best = 0.5, b
    for _ in range(_STEPS):
        x = a + share * (b - a)
        at_x = function(x)
        if (at_x > 0) == (at_a > 0):
            c, at_c = a, at_a
        else:
            c, at_c, b, at_b = b, at_b, a, at_a
        a, at_a = x, at_x
        best = a if abs(at_a) < abs(at_b) else b
        least = 2 * 2.2e-16 * abs(best) + 1e-13  # two neighbouring numbers
        if at_a == 0 or at_b == 0 or abs(b - a) <= 2 * least:
            return best
        share = _next_share((a, at_a), (b, at_b), (c, at_c))
        share = min(max(share, least / abs(b - a)), 1 - least / abs(b - a))
    return best


def _next_share(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    """Return where between a and b to look next, as a share of the way from a.

    Args:
        a: the newest point and its value.
        b: the point on the other side of the root, and its value.
        c: the point before the newest one, and its value.
    """
    xi = (a[0] - b[0]) / (c[0] - b[0])
    phi = (a[1] - b[1]) / (c[1] - b[1]) if c[1] != b[1] else math.inf
    if not (phi**2 < xi and (1 - phi) ** 2 < 1 - xi):
        return 0.5
    by_b = a[1] / (b[1] - a[1]) * c[1] / (b[1] - c[1])
    by_c = a[1] / (c[1] - a[1]) * b[1] / (c[1] - b[1])
    return by_b + (c[0] - a[0]) / (b[0] - a[0]) * by_c
