"""The table and the page's part on latency under load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from plugin.compare.numbers import format_range
from plugin.latency.asked import SHARES, share_name
from plugin.latency.report import ANSWER, FIRST, RATE, TOTAL, Latency, Measured, VariantLoad
from plugin.latency.stats import Quantile, Ratio, needed_for
from plugin.latency.words import (
    guard_line,
    latency_notes,
    seconds_range,
    seconds_text,
    times_text,
)

LATENCY_COLUMNS = (
    "label at_once variant measure quantile value ci_low ci_high n failed refused ratio_to_base "
    "ratio_low ratio_high mean_tokens".split()
)

Cell = str | float | bool | None

_MEASURES = {
    FIRST: "seconds to first token",
    ANSWER: "seconds to first token of answer",
    RATE: "tokens per second",
    TOTAL: "seconds in all",
}
"""What a measure is called in the table; a host reads these for ever."""

HEADS = {
    FIRST: "First token",
    ANSWER: "First token of the answer",
    RATE: "Tokens per second",
    TOTAL: "Whole answer",
}


def latency_rows(found: Latency) -> list[Sequence[Cell]]:
    """Return a row per level, variant, measure and quantile."""
    return [
        (f"{name} {share_name(quantile.share)} / {one.level} at once / {one.variant}",)
        + (one.level, one.variant, name, share_name(quantile.share))
        + (quantile.value, quantile.low, quantile.high, measured.n, one.n_failed, one.n_refused)
        + _ratio_cells(one.over_base(measured.what, quantile.share))
        + (one.mean_tokens,)
        for one in found.loads
        for measured in one.measured
        for name in (_MEASURES[measured.what],)
        for quantile in measured.quantiles
    ]


def _ratio_cells(ratio: Ratio | None) -> tuple[Cell, ...]:
    return (None, None, None) if ratio is None else (ratio.value, ratio.low, ratio.high)


class LatencyCell(NamedTuple):
    """A quantity on the page: p50, p95 and p99, each with its interval or why there is none."""

    head: str
    lines: list[tuple[str, str, str]]
    ratio: str


class LatencyLine(NamedTuple):
    """A variant at a level on the page."""

    level: int
    variant: str
    is_base: bool
    counts: str
    cells: list[LatencyCell]


def latency_section(found: Latency | None) -> dict[str, Any] | None:
    """Return what the page's part needs; None where no load was measured."""
    if found is None:
        return None
    whats = [what for what in HEADS if any(one.of(what) for one in found.loads)]
    return {
        "base": found.base,
        "heads": [HEADS[what] for what in whats],
        "lines": [_line(found, one, whats) for one in found.loads],
        "guards": [(guard_line(found, one), one.outcome) for one in found.guarded],
        "notes": latency_notes(found),
        "needed": {share_name(share): needed_for(share) for share in SHARES},
    }


def _line(found: Latency, one: VariantLoad, whats: Sequence[str]) -> LatencyLine:
    tokens = "" if one.mean_tokens is None else f", {one.mean_tokens:,.0f} tokens on average"
    failed = f", {one.n_failed:,} failed" if one.n_failed else ""
    return LatencyLine(
        one.level,
        one.variant,
        one.variant == found.base,
        f"n {one.n:,}{failed}{tokens}",
        [_cell(one, what, found.base) for what in whats],
    )


def _cell(one: VariantLoad, what: str, base: str) -> LatencyCell:
    measured = one.of(what)
    if measured is None:
        return LatencyCell(HEADS[what], [], "")
    ratio = one.over_base(what, SHARES[0])
    told = ""
    if ratio is not None and ratio.value is not None:
        ends = format_range(ratio.low, ratio.high)
        told = f"{times_text(ratio.value)} {base}'s p50{f', {ends}' if ends else ''}"
    return LatencyCell(HEADS[what], [_shown(measured, each) for each in measured.quantiles], told)


def _rate_text(rate: float | None) -> str:
    """Return tokens per second, with one decimal below a hundred."""
    return "–" if rate is None else f"{rate:,.0f}" if rate >= 99.95 else f"{rate:.1f}"


def _shown(measured: Measured, one: Quantile) -> tuple[str, str, str]:
    """Return name, value and interval of a quantile as texts."""
    if measured.what == RATE:
        value, has_both = _rate_text(one.value), one.low is not None and one.high is not None
        ends = f"{_rate_text(one.low)} to {_rate_text(one.high)}" if has_both else ""
    else:
        value, ends = seconds_text(one.value), seconds_range(one.low, one.high)
    return one.name, value, ends or ("too few" if one.why_none.startswith("too few") else "")
