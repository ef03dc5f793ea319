"""Draw where the variance of a gain comes from, and how wide its interval would be with more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plugin.compare.numbers import format_number, format_percent
from plugin.report.canvas import (
    ADAPTER_COLOURS,
    FAINT,
    GRID,
    INK,
    TIE,
    add_axes,
    draw_swatch,
    draw_text,
    new_figure,
    render_svg,
    shorten_text,
)
from plugin.report.sampling import GainSplit, SamplingView, share_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LEFT, _RIGHT, _TOP = 3.2, 0.9, 0.8
_BAR, _LINE, _GAP = 0.42, 0.34, 0.55
_COLOURS = {
    "cases": ADAPTER_COLOURS[0],
    "sampling": ADAPTER_COLOURS[2],
    "judge": ADAPTER_COLOURS[1],
}


def samples_svg(found: SamplingView | None) -> str:
    """Draw the parts of every gain's variance; "" where none can be split."""
    drawn = [one for one in found.splits if any(one.shares.values())] if found else []
    if not found or not drawn:
        return ""
    said = " ".join(found.lines)
    return render_svg(lambda: _figure(drawn), f"Where the variance comes from. {said}")


def _height(one: GainSplit) -> float:
    return 0.75 + _BAR + _LINE * (1 + len(one.changes)) + _GAP


def _figure(splits: list[GainSplit]) -> Figure:
    fig = new_figure(_TOP + sum(map(_height, splits)) - 0.6)
    draw_text(fig, (0.15, 0.25), "Where the variance comes from", fontsize=13, weight="bold")
    note = "Parts of the variance of the mean gain, and the width of its 95% interval with more"
    draw_text(fig, (0.15, 0.52), note, color=FAINT)
    top = _TOP
    for one in splits:
        _draw_split(fig, one, top)
        top += _height(one)
    return fig


def _draw_split(fig: Figure, one: GainSplit, top: float) -> None:
    title = f"{shorten_text(one.variant, 40)}: gain on {shorten_text(one.metric, 40)}"
    draw_text(fig, (0.15, top), title, fontsize=11, weight="bold", color=INK)
    left = 0.15
    for source, share in one.shares.items():
        text = f"{format_percent(share)} {share_name(source, one)}"
        left += draw_swatch(fig, (left, top + 0.28), _COLOURS[source], text)
    top += 0.48
    width = fig.get_figwidth() - _LEFT - _RIGHT
    axes = add_axes(fig, (_LEFT, top, width, _BAR))
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.5, 0.5)
    begin = 0.0
    for source, share in one.shares.items():
        axes.barh(0, share, left=begin, height=0.7, color=_COLOURS[source], linewidth=0)
        begin += share
    draw_text(fig, (0.15, top + _BAR / 2), "variance of the gain", fontsize=10)
    _draw_widths(fig, one, top + _BAR + 0.12)


def _draw_widths(fig: Figure, one: GainSplit, top: float) -> None:
    rows = [("interval now", one.width), *((each.what, each.width) for each in one.changes)]
    width = fig.get_figwidth() - _LEFT - _RIGHT
    axes = add_axes(fig, (_LEFT, top, width, _LINE * len(rows)))
    axes.set_xlim(0, one.width)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks([])
    axes.set_xticks([])
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_visible(False)
    for row, (what, value) in enumerate(rows):
        middle = top + (row + 0.5) * _LINE
        axes.barh(row, one.width, height=0.5, color=GRID, linewidth=0)
        axes.barh(row, value, height=0.5, color=TIE if row else FAINT, linewidth=0)
        draw_text(fig, (0.15, middle), what, fontsize=10)
        right = fig.get_figwidth() - _RIGHT + 0.12
        draw_text(fig, (right, middle), format_number(value), fontsize=10)
