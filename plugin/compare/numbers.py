"""Format numbers in the same way for verdict, page, charts, tables and hosts.

A number looks the same everywhere, so readers can compare the verdict with the page without
wondering about different roundings.
"""

from __future__ import annotations

import math

MISSING = "–"
"""Text for a missing number."""

_PLACES, _MOST_PLACES, _PUBLISHED_PLACES = 2, 6, 4
_SMALLEST_P = 0.001


def format_number(value: float | None, *, signed: bool = False, missing: str = MISSING) -> str:
    """Return the number with two decimals, or with up to six if it would otherwise show as zero.

    Args:
        value: a score, a gain or an end of an interval.
        signed: whether a number above zero gets a plus sign; zero never gets a sign.
        missing: the text for None, infinity and NaN.
    """
    if value is None or not math.isfinite(value):
        return missing
    for places in range(_PLACES, _MOST_PLACES + 1):
        rounded = round(value, places)
        if rounded:
            return f"{rounded:+.{places}f}" if signed else f"{rounded:.{places}f}"
    return f"{0:.{_PLACES}f}"


def format_range(low: float | None, high: float | None, *, signed: bool = False) -> str:
    """Return both ends of an interval; "" if there is none."""
    if low is None or high is None:
        return ""
    return f"{format_number(low, signed=signed)} to {format_number(high, signed=signed)}"


def format_interval(low: float | None, high: float | None, *, signed: bool = False) -> str:
    """Return a 95% interval in words; "no interval" if there is none."""
    ends = format_range(low, high, signed=signed)
    return f"95% interval {ends}" if ends else "no interval"


def format_p(value: float | None) -> str:
    """Return a p-value with three decimals, and "< 0.001" for a smaller one."""
    if value is None:
        return MISSING
    return f"< {_SMALLEST_P}" if value < _SMALLEST_P else f"{value:.3f}"


def format_named_p(value: float | None) -> str:
    """Return a p-value for use in a sentence, such as "p=0.041" or "p<0.001"."""
    if value is None:
        return "p unknown"
    return f"p<{_SMALLEST_P}" if value < _SMALLEST_P else f"p={format_p(value)}"


def format_percent(share: float | None) -> str:
    """Return a share as a whole percentage, of the same digits as `format_number` gives it.

    Zero never gets a sign.
    """
    return MISSING if share is None else f"{round(100 * round(share, _PLACES))}%"


def format_count(count: int, singular: str = "", plural: str = "") -> str:
    """Return a count with commas between thousands, followed by its noun if one is given."""
    noun = singular if count == 1 else plural
    return f"{count:,} {noun}" if noun else f"{count:,}"


def failed_suffix(n_failed: int) -> str:
    """Return how many failed, as a suffix for a count; "" for none."""
    return f", {format_count(n_failed)} failed" if n_failed else ""


def format_rough(value: float | None, digits: int = 2) -> str:
    """Return a rough number with the given number of significant digits."""
    return MISSING if value is None else f"{value:.{digits}g}"


def format_direction(higher_is_better: bool) -> str:
    """Return a metric's direction in words."""
    return "higher is better" if higher_is_better else "lower is better"


def round_published(value: float | None) -> float | None:
    """Return the number for tables and hosts, with four decimals; None if it is not finite."""
    if value is None or not math.isfinite(value):
        return None
    return round(value, _PUBLISHED_PLACES) + 0.0  # adding zero turns -0.0 into 0.0
