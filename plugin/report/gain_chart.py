"""Draw the answer as one picture: gains with their intervals against the margin.

Everything is said twice, by shape or word as well as by colour. There is a wide drawing, and a
narrow one for phones. The one that is published alone has the verdict above it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from plugin.report.canvas import (
    FAINT,
    GRID,
    INK,
    LOSS,
    PAPER,
    RIVAL_COLOURS,
    WIDTH,
    WIN,
    add_axes,
    draw_swatch,
    draw_text,
    new_figure,
    render_svg,
    shorten_text,
)
from plugin.report.gain_rows import SIGNS, GainBlock, GainRow, about_variant, gain_blocks
from plugin.report.record import Ledger, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NARROW = 3.3
"""Width in inches of the drawing for phones."""

_MOST_KIND = 17
"""Characters that fit beside a number in that drawing."""

_COLOURS = {"win": WIN, "loss": LOSS, "": INK}
_EDGE, _HEAD, _AXIS, _NO_AXIS = 0.15, 0.34, 0.38, 0.08
"""Inches: at the left, above a block's rows with a title, and below them with an axis or not."""


class _Layout(NamedTuple):
    """Where things stand, in inches.

    Attributes:
        left: where the plot begins.
        right: where it ends.
        row: height of a row.
        middle: from the top of a row to the middle of its mark.
        columns: how long a name may be, in columns.
    """

    width: float
    left: float
    right: float
    row: float
    middle: float
    columns: int


_WIDE_LAYOUT = _Layout(WIDTH, 2.85, 6.25, 0.42, 0.21, 32)
_NARROW_LAYOUT = _Layout(NARROW, _EDGE, NARROW - 0.15, 0.74, 0.56, 24)


def answer_svg(report: Report) -> str:
    """Draw the verdict with what to do next, and the gains below it: for hosts and messages."""
    ledger = Ledger(report)
    said = f"{report.verdict.sentence} {_alternative(ledger)}"
    return render_svg(lambda: answer_figure(ledger), said)


def gains_svg(report: Report, *, narrow: bool = False) -> str:
    """Draw the gains alone, for a page that says the verdict itself; "" without comparisons."""
    ledger = Ledger(report)
    if not gain_blocks(ledger):
        return ""
    layout = _NARROW_LAYOUT if narrow else _WIDE_LAYOUT
    return render_svg(lambda: _figure(ledger, layout, ()), _alternative(ledger))


def answer_figure(ledger: Ledger) -> Figure:
    """Draw the verdict, what to do next, and the gains."""
    verdict = ledger.report.verdict
    sign = SIGNS["lost" if verdict.lost else verdict.outcome]
    lines: list[tuple[str, float, str]] = [(f"{sign} {verdict.chip}", 13, "bold")]
    lines += [(line, 9.5, "normal") for line in textwrap.wrap(_printable(verdict.sentence), 112)]
    if verdict.next_step:
        lines += [(line, 9.5, "bold") for line in textwrap.wrap(verdict.next_step.line, 102)]
    return _figure(ledger, _WIDE_LAYOUT, lines)


def _printable(text: str) -> str:
    return shorten_text(text, len(text) * 2 + 2)


def _alternative(ledger: Ledger) -> str:
    """Return the picture as words."""
    rows = [row.text for block in gain_blocks(ledger) for row in block.rows]
    return f"{_title(ledger)}. {'; '.join(rows)}." if rows else "There is nothing to compare."


def _title(ledger: Ledger) -> str:
    several = len(ledger.contenders) > 1
    whose = "" if several else f" of {about_variant(ledger)}"
    return f"Gain{whose} over {ledger.baseline}, with 95% intervals"


def _figure(ledger: Ledger, layout: _Layout, lines: Sequence[tuple[str, float, str]]) -> Figure:
    """Draw lines of text, then the blocks below each other."""
    blocks = gain_blocks(ledger)
    is_wide = layout is _WIDE_LAYOUT
    said = 0.1 + sum(0.3 if size > 10 else 0.2 for _, size, _ in lines) if lines else 0.0
    head = (0.62 if is_wide else 0.85) if blocks else 0.4
    total = said + head + sum(_height(block, layout) for block in blocks)
    fig, top = new_figure(total, layout.width), 0.0
    for text, size, weight in lines:
        step = 0.3 if size > 10 else 0.2
        columns = 70 if size > 10 else 220
        draw_text(fig, (_EDGE, top + step / 2 + 0.05), shorten_text(text, columns),
                  fontsize=size, weight=weight)  # fmt: skip
        top += step
    if lines:
        top += 0.1
    if not blocks:
        draw_text(fig, (_EDGE, top + 0.2), "Nothing to compare: the run has one variant.")
        return fig
    _draw_legend(fig, ledger, top, is_wide)
    top += head
    for block in blocks:
        _draw_block(fig, block, top, layout)
        top += _height(block, layout)
    return fig


def _draw_legend(fig: Figure, ledger: Ledger, top: float, is_wide: bool) -> None:
    title = _title(ledger) if is_wide else _title(ledger).partition(",")[0]
    columns = 84 if is_wide else 30
    draw_text(fig, (_EDGE, top + 0.18), shorten_text(title, columns), fontsize=11, weight="bold")
    line = top + 0.43
    left = _EDGE + draw_swatch(fig, (_EDGE, line), GRID, "margin: too small to matter")
    if is_wide:
        text = "● settled · ○ open: more cases would tell"
        if any(row.is_over_rival for block in gain_blocks(ledger) for row in block.rows):
            text += " · ■ against another model"
        draw_text(fig, (left + 0.1, line), text, color=FAINT)
    else:
        draw_text(fig, (_EDGE, line + 0.2), "● settled · ○ open", color=FAINT)


def _height(block: GainBlock, layout: _Layout) -> float:
    head = _HEAD if block.title else 0.1
    return head + layout.row * len(block.rows) + _below(block) + 0.2 * bool(block.n_left_out)


def _below(block: GainBlock) -> float:
    return _AXIS if block.has_axis else _NO_AXIS


def _draw_block(fig: Figure, block: GainBlock, top: float, layout: _Layout) -> None:
    """Draw title, rows and axis of one block."""
    if block.title:
        draw_text(fig, (_EDGE, top + 0.17), block.title, weight="bold", fontsize=9.5)
        top += _HEAD
    else:
        top += 0.1
    height = layout.row * len(block.rows)
    ax = add_axes(fig, (layout.left, top, layout.right - layout.left, height))
    ax.set(xlim=block.ends, ylim=(height, 0), yticks=[])
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.locator_params(axis="x", nbins=6 if layout is _WIDE_LAYOUT else 4)
    unit = f" {block.unit}" if block.unit else ""
    if layout is _WIDE_LAYOUT:
        ax.grid(axis="x", color=GRID, linewidth=0.6)
    if block.has_axis:
        ax.set_xlabel(f"← worse · gain{unit} · better →", color=FAINT, fontsize=8, labelpad=1)
    else:
        ax.tick_params(labelbottom=False)
    for place, row in enumerate(block.rows):
        _draw_mark(ax, row, place * layout.row + layout.middle)
        _draw_words(fig, row, top + place * layout.row, layout)
    if block.n_left_out:
        text = f"{block.n_left_out:,} more in the tables"
        draw_text(fig, (_EDGE, top + height + _below(block) + 0.05), text, color=FAINT, fontsize=8)


def _draw_mark(ax: Axes, row: GainRow, middle: float) -> None:
    """Draw the margin, the interval and the gain; a hollow mark stands for an open outcome."""
    from matplotlib.patches import Rectangle

    band = Rectangle((-row.margin, middle - 0.15), 2 * row.margin, 0.3, color=GRID, linewidth=0)
    ax.add_patch(band)
    band.set_zorder(0.5)
    ax.plot((0, 0), (middle - 0.2, middle + 0.2), "-", color=FAINT, linewidth=1)
    if row.gain is None:
        return
    colour, shape = _COLOURS[row.tone], "o"
    if row.is_over_rival:
        colour, shape = RIVAL_COLOURS[0], "s"
    if row.low is not None and row.high is not None:
        ax.plot((row.low, row.high), (middle, middle), "-", color=colour, linewidth=2.2)
        for end in (row.low, row.high):
            ax.plot((end, end), (middle - 0.06, middle + 0.06), "-", color=colour, linewidth=1.6)
    filled = colour if row.is_settled else PAPER
    ax.plot(
        [row.gain], [middle], shape, color=colour, markersize=7, markeredgewidth=1.6,
        markerfacecolor=filled, clip_on=False,
    )  # fmt: skip


def _draw_words(fig: Figure, row: GainRow, top: float, layout: _Layout) -> None:
    """Write name, number and outcome: beside the mark, or above it where that is too narrow."""
    faint: dict[str, Any] = {"color": FAINT, "fontsize": 8}
    name = shorten_text(row.name, layout.columns)
    if layout is _WIDE_LAYOUT:
        middle = top + layout.middle
        draw_text(fig, (_EDGE, middle - 0.075), name)
        note = shorten_text(row.kind, layout.columns - 8) + row.n
        draw_text(fig, (_EDGE, middle + 0.085), note, **faint)
        draw_text(fig, (6.4, middle - 0.075), row.number, weight="bold")
        draw_text(fig, (6.4, middle + 0.085), row.interval or "no interval", **faint)
        draw_text(fig, (7.75, middle), row.outcome, weight="bold" if row.is_settled else "normal")
        return
    right = layout.width - 0.1
    if row.over and len(row.kind) > _MOST_KIND:  # else rows of one variant would look the same
        name = shorten_text(row.over, layout.columns)
    draw_text(fig, (_EDGE, top + 0.1), name, weight="bold")
    draw_text(fig, (right, top + 0.1), row.outcome, ha="right")
    draw_text(fig, (_EDGE, top + 0.28), f"{row.number} ({row.interval or 'no interval'})")
    n = row.n.partition(" ")[0]
    note = f"{row.kind}{n}" if len(row.kind) <= _MOST_KIND else n
    draw_text(fig, (right, top + 0.28), note, ha="right", **faint)
