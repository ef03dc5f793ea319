"""Draw how long a user waits: first token and whole answer at every level of load."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING

from plugin.latency.asked import share_name
from plugin.latency.report import FIRST, TOTAL, Latency, VariantLoad
from plugin.latency.words import seconds_text
from plugin.records import is_prompted
from plugin.report.canvas import (
    ADAPTER_COLOURS,
    FAINT,
    GRID,
    PROMPTED_COLOUR,
    VANILLA_COLOUR,
    WIDTH,
    add_axes,
    draw_swatch,
    draw_text,
    new_figure,
    render_svg,
    shorten_text,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_VARIANTS = 5
"""Variants in the picture; the table has all of them."""

NARROW = 3.5
"""Width in inches of the picture for phones."""

_HEADS = {FIRST: "Until the first token", TOTAL: "Until the whole answer is there"}
_MARKS = {0.5: "o", 0.95: "^"}
"""What a quantile is marked with; p99 stands in the table alone."""

_SIGNS = {0.5: "●", 0.95: "▲"}
"""The same marks as characters of a text."""

_NAMES_PER_ROW, _NAME_COLUMNS, _NAME_HEIGHT = 3, 30, 0.28
_PANEL, _GAP, _TOP = 2.5, 0.95, 1.0
"""Inches: height of a panel, space around it, and what stands above."""


def latency_svg(found: Latency | None, *, narrow: bool = False) -> str:
    """Return the picture as SVG; "" where there is nothing to draw."""
    if found is None or not any(one.measured for one in found.loads):
        return ""
    title = "Latency under load: seconds until first token and whole answer"
    return render_svg(lambda: latency_figure(found, narrow=narrow), title)


def latency_figure(found: Latency, *, narrow: bool = False) -> Figure:
    """Draw a panel for each time, with p50 and p95 of every variant at every level.

    Args:
        found: what the load showed.
        narrow: whether the panels stand below each other, for a phone.
    """
    whats = [what for what in (FIRST, TOTAL) if any(one.of(what) for one in found.loads)]
    names = found.variants[:MOST_VARIANTS]
    width = NARROW if narrow else WIDTH
    n_rows = len(whats) if narrow else 1
    per_row = 1 if narrow else _NAMES_PER_ROW
    top = _TOP + _NAME_HEIGHT * -(-len(names) // per_row)
    fig = new_figure(top + n_rows * (_PANEL + _GAP) - 0.25, width)
    _draw_head(fig, names, per_row, _shares_shown(found, whats, names))
    for place, what in enumerate(whats):
        left = 0.75 if narrow else 0.75 + place * (WIDTH / 2)
        above = top + (place * (_PANEL + _GAP) if narrow else 0.0)
        room = width - 1.0 if narrow or len(whats) == 1 else WIDTH / 2 - 1.1
        draw_text(fig, (left, above), _HEADS[what], weight="bold", fontsize=10)
        ax = add_axes(fig, (left, above + 0.2, room, _PANEL))
        _draw_panel(ax, found, what, names)
    return fig


def _shares_shown(found: Latency, whats: Sequence[str], names: Sequence[str]) -> list[float]:
    """Return the quantiles of which there is any number to draw; few requests have no p95."""
    measured = [one.of(what) for one in found.loads if one.variant in names for what in whats]
    values = {share: [one.at(share) for one in measured if one is not None] for share in _MARKS}
    return [
        share
        for share, own in values.items()
        if any(one is not None and one.value is not None for one in own)
    ]


def _draw_head(fig: Figure, names: Sequence[str], per_row: int, shares: Sequence[float]) -> None:
    draw_text(fig, (0.15, 0.25), "How long a user waits", fontsize=13, weight="bold")
    told = [*(f"{_SIGNS[share]} {share_name(share)}" for share in shares), "┃ 95% interval"]
    draw_text(fig, (0.15, 0.55), "   ".join(told), color=FAINT, fontsize=8.5)
    left, top = 0.15, 0.86
    for place, (name, colour) in enumerate(zip(names, _colours(names), strict=True)):
        if place and place % per_row == 0:
            left, top = 0.15, top + _NAME_HEIGHT
        left += draw_swatch(fig, (left, top), colour, shorten_text(name, _NAME_COLUMNS))


def _colours(names: Sequence[str]) -> list[str]:
    own = cycle(ADAPTER_COLOURS)
    return [
        VANILLA_COLOUR if not place else PROMPTED_COLOUR if is_prompted(name) else next(own)
        for place, name in enumerate(names)
    ]


def _draw_panel(ax: Axes, found: Latency, what: str, names: Sequence[str]) -> None:
    """Draw one time; the levels stand side by side, whatever their numbers are."""
    levels = [one.n_at_once for one in found.levels]
    step = min(0.16, 0.7 / max(1, len(names)))
    highest = 0.0
    for number, (name, colour) in enumerate(zip(names, _colours(names), strict=True)):
        shift = step * (number - (len(names) - 1) / 2)
        places = [place + shift for place in range(len(levels))]
        loads = [found.at(level, name) for level in levels]
        for share, mark in _MARKS.items():
            highest = max(highest, _draw_quantile(ax, places, loads, what, (share, mark, colour)))
    ax.set(xlim=(-0.5, len(levels) - 0.5), ylim=(0, 1.08 * highest or 1.0))
    ax.set_xticks(range(len(levels)), [str(level) for level in levels])
    ax.set_xlabel("requests at once", fontsize=8, color=FAINT)
    ax.yaxis.set_major_formatter(lambda value, _: seconds_text(value) if value else "0")
    ax.grid(axis="y", color=GRID, linewidth=0.6)


def _draw_quantile(
    ax: Axes,
    places: Sequence[float],
    loads: Sequence[VariantLoad],
    what: str,
    look: tuple[float, str, str],
) -> float:
    """Draw a quantile at every level; return the largest number that was drawn."""
    share, mark, colour = look
    shown, highest = list[tuple[float, float]](), 0.0
    for place, one in zip(places, loads, strict=True):
        measured = one.of(what)
        quantile = measured.at(share) if measured else None
        if quantile is None or quantile.value is None:
            continue
        shown.append((place, quantile.value))
        highest = max(highest, quantile.value, quantile.high or 0.0)
        if quantile.low is not None and quantile.high is not None:
            ax.plot([place, place], [quantile.low, quantile.high], color=colour, linewidth=1.6)
    dashed = "-" if share == min(_MARKS) else ":"
    ax.plot(
        [place for place, _ in shown],
        [value for _, value in shown],
        color=colour,
        marker=mark,
        markersize=5.5,
        linewidth=0.9,
        linestyle=dashed,
        label=share_name(share),
    )
    return highest
