"""Put into words what a comparison leaves open, why, and what would settle it."""

from __future__ import annotations

from plugin.compare.needed import MOST_NEEDED
from plugin.compare.numbers import format_count, format_named_p, format_number
from plugin.compare.stats import decide_guard, decide_outcome
from plugin.results import Comparison


def open_reason(row: Comparison) -> list[str]:
    """Say why the primary metric cannot tell, and what would help; empty when it can tell."""
    if row.outcome != "can't tell":
        return []
    if not row.holds_at_worst:
        return [
            f"The cases with scores say {would_be(row)}, but {failed_text(row)} missing, and "
            f"could change that. {_way_to_complete(row)}"
        ]
    if not row.n:
        return ["No case has a score of both."]
    lines = []
    low, high = row.ci_low, row.ci_high
    if low is None or high is None:
        lines.append(f"There is {row.why_no_interval or 'no interval'}.")
    elif is_left_open(row):
        lines.append(
            f"The interval leaves out zero, yet chance could still explain it ({adjusted_p(row)})."
        )
    return [*lines, _needed_text(row)]


def _way_to_complete(row: Comparison) -> str:
    """Say how to get the scores that are missing: some can be asked again, some cannot."""
    n_failed, n_again = row.n_failed_variant + row.n_failed_baseline, row.n_retryable
    if n_again == n_failed:
        return "Resume the run: only what failed is asked again."
    rest = "04_failures.csv says why: give what is missing, or leave these cases out, in a new run."
    if not n_again:
        return f"Another try cannot bring them. {rest}"
    return (
        f"Resume the run: {format_count(n_again)} of them can be asked again, the others cannot. "
        f"{rest}"
    )


def _needed_text(row: Comparison) -> str:
    """Say how many cases would tell, or how many clusters where cases belong together."""
    margin = format_number(row.margin)
    noun, n = ("cases", row.n) if row.n_clusters is None else ("clusters", row.n_clusters)
    if row.n_if_alike is not None and row.n_if_alike > n:
        return f"If further {noun} are like these, {_roughly(row.n_if_alike)} in all would tell."
    if row.n_to_detect is None:
        if row.margin and row.smallest_detectable is not None:
            return f"How many {noun} would tell was not computed for this run."
        why = f"one {noun[:-1]} shows" if n < 2 else "these scores show"
        why = f"{why} no spread" if row.margin else "with a margin of 0 no number is enough"
        return f"How many {noun} would tell cannot be known: {why}."
    if row.n_to_detect <= n:
        return (
            f"{_upper(_roughly(row.n_to_detect))} {noun} find a gain of {margin} (your margin) "
            f"with 80% chance, and there are {format_count(n)}: the true gain may well be "
            f"smaller. More {noun} narrow the interval."
        )
    now = ""
    if row.smallest_detectable is not None:
        least = format_number(row.smallest_detectable)
        now = f"{format_count(n)} {noun} reliably find only gains of {least} or more. "
    elif row.ci_low is not None:
        now = f"{format_count(n)} {noun} reliably find no gain, not even the largest possible. "
    equivalence = ""
    if row.n_for_equivalence is not None:
        n_equal = _roughly(row.n_for_equivalence)
        equivalence = f", {n_equal} would show that the difference is smaller"
    return (
        f"{now}{_upper(_roughly(row.n_to_detect))} {noun} would find a gain of {margin} (your "
        f"margin){equivalence} (80% chance)."
    )


def to_tell(row: Comparison) -> str:
    """Say how many cases would tell whether a guard is kept; "" for all else."""
    if row.outcome != "unclear" or not row.holds_at_worst:
        return ""
    noun, n = ("cases", row.n) if row.n_clusters is None else ("clusters", row.n_clusters)
    if row.n_if_alike is not None and row.n_if_alike > n:
        return f"; if further {noun} are like these, {_roughly(row.n_if_alike)} in all would tell"
    if row.n_to_detect is None:
        return ""
    if row.n_to_detect <= n:
        return ""
    return (
        f"; {_roughly(row.n_to_detect)} {noun} would show that a loss, if any, is below "
        f"{format_number(row.margin)} (80% chance)"
    )


def stuck_text(row: Comparison) -> str:
    """Say that both are at one end of the scale, where hardly any difference can show; else ""."""
    is_settled = row.outcome in ("better", "worse", "lost")
    if is_settled or not row.stuck_at or (row.role == "guard" and row.stuck_at == "best"):
        return ""
    return f"both have the {row.stuck_at} possible score on nearly every case"


def stuck_note(row: Comparison) -> list[str]:
    """Caution that the primary metric had hardly any room for a difference."""
    text = stuck_text(row)
    if not text:
        return []
    way_out = (
        "The cases may be too hard for both, or the metric too strict for these answers: look at a "
        "few, then try a metric that gives part marks"
        if row.stuck_at == "worst"
        else "The cases are too easy to tell the two apart: try harder ones"
    )
    return [f"Caution: {text}, so {row.metric} leaves hardly any room for a difference. {way_out}."]


def _roughly(n: int) -> str:
    """Return about how many are needed; a number without any use is not given."""
    if n > MOST_NEEDED:
        return f"more than {format_count(MOST_NEEDED)}"
    return f"about {format_count(n)}"


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]


def is_left_open(row: Comparison) -> bool:
    """Return whether the interval leaves out zero, and chance remains after adjustment."""
    if row.outcome != "can't tell" or row.ci_low is None or row.ci_high is None:
        return False
    return row.holds_at_worst and (row.ci_low > 0 or row.ci_high < 0)


def adjusted_p(row: Comparison) -> str:
    """Return the p, with the number of tests that it is adjusted for where there are several."""
    text = format_named_p(row.p_adjusted)
    return text if row.n_family == 1 else f"{text}, adjusted for {format_count(row.n_family)} tests"


def would_be(row: Comparison) -> str:
    """Return what the outcome would be without the failures."""
    interval = (row.ci_low, row.ci_high)
    if row.role == "guard":
        return decide_guard(interval, row.gain, row.p_adjusted, row.margin)
    return decide_outcome(interval, row.p_adjusted, row.margin)


def failed_text(row: Comparison) -> str:
    """Return how many scores failed, with its verb."""
    n_failed = row.n_failed_variant + row.n_failed_baseline
    return format_count(n_failed, "failed score is", "failed scores are")
