"""Put into words which of two variants is preferred, and how often it wins."""

from __future__ import annotations

from plugin.compare.numbers import MISSING, format_number, format_percent
from plugin.records import EVEN
from plugin.results import Comparison


def format_rate(rate: float | None) -> str:
    """Return a win rate as a percentage; with a decimal where whole ones would say "50%"."""
    if rate is None:
        return MISSING
    whole = format_percent(rate)
    return whole if whole != "50%" or rate == EVEN else f"{100 * rate:.1f}%"


def format_rate_interval(low: float | None, high: float | None) -> str:
    """Return the 95% interval of a win rate in words; "no interval" if there is none."""
    if low is None or high is None:
        return "no interval"
    return f"95% interval {format_rate(low)} to {format_rate(high)}"


def preference_head(row: Comparison, subject: str, why_open: str, small: str) -> str:
    """Return which variant is preferred; the win rate of the variant follows.

    Args:
        row: the comparison of completions, over all cases.
        subject: names the variant.
        why_open: why it cannot be told, where failures are the reason; "" for no such reason.
        small: that the difference is below the margin; "" where it is not.
    """
    if row.outcome == "better":
        return f"{subject} is preferred over {row.baseline}{small}: it"
    if row.outcome == "worse":
        return f"{row.baseline} is preferred over {subject}{small}: {row.variant}"
    if row.outcome == "equivalent":
        return (
            f"{subject} and {row.baseline} are preferred equally often (any difference in the win "
            f"rate is below your margin of {format_number(row.margin)}): {row.variant}"
        )
    return f"Can't tell whether {subject} is preferred over {row.baseline}{why_open}: {row.variant}"


def wins_text(row: Comparison, n_text: str) -> str:
    """Return the win rate with its interval.

    Args:
        row: the comparison.
        n_text: what it rests on, in words.
    """
    ends = [None if end is None else end + EVEN for end in (row.ci_low, row.ci_high)]
    return (
        f"wins {format_rate(row.variant_mean)} ({format_rate_interval(*ends)}, {n_text}), ties "
        "count half"
    )
