"""Draw the confusion matrices of all variants side by side, as one SVG.

A row is an expected label, a column a named one; a cell shows how often, and is the darker the
larger its share of the row. Right answers are blue, wrong ones vermilion. The last column counts
answers that name no label or several. With many labels the most frequent ones are shown, and the
others share one row and column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from plugin.compare.numbers import format_count, format_percent
from plugin.report.canvas import (
    FAINT,
    GRID,
    INK,
    LOSS,
    TIE,
    WIDTH,
    WIN,
    add_axes,
    draw_swatch,
    draw_text,
    new_figure,
    render_svg,
    shorten_text,
)
from plugin.results import ConfusionMatrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LABELS = 24
"""Labels with a row of their own."""

OTHERS, UNPARSED = "other labels", "unparsed"
_LABEL_COLUMNS = 18
_LEFT, _RIGHT, _GAP = 1.45, 0.15, 0.2
_LARGEST_CELL, _SMALLEST_CELL, _NARROWEST = 0.42, 0.13, 2.9


class _Shown(NamedTuple):
    """A matrix as it is drawn: the labels of its rows, its counts, and how many are right."""

    variant: str
    n_right: int
    labels: list[str]
    counts: list[list[int]]


def confusion_svg(matrices: Sequence[ConfusionMatrix]) -> str:
    """Draw the matrices of one metric."""
    return render_svg(lambda: confusion_figure(matrices), "Confusion matrices of every variant")


def confusion_figure(matrices: Sequence[ConfusionMatrix]) -> Figure:
    """Draw two matrices a row, the base first."""
    shown = _with_most_frequent(matrices)
    n_columns = len(shown[0].labels) + 1
    n_side = min(2, len(shown))
    room = (WIDTH - _LEFT - _RIGHT - _GAP * (n_side - 1)) / n_side
    cell = max(_SMALLEST_CELL, min(_LARGEST_CELL, room / n_columns))
    height = cell * len(shown[0].labels)
    longest = max(len(_short(label)) for label in (*shown[0].labels, UNPARSED))
    label_height = 0.0085 * _font_size(cell) * longest + 0.1
    step = max(cell * n_columns, _NARROWEST) + _GAP
    block = 0.35 + label_height + height + 0.25
    n_rows = -(-len(shown) // n_side)
    fig = new_figure(0.95 + block * n_rows)
    draw_text(fig, (0.15, 0.25), "Expected and named labels", fontsize=13, weight="bold")
    left = 0.15
    for colour, text in ((WIN, "right"), (LOSS, "wrong")):
        left += draw_swatch(fig, (left, 0.58), colour, text)
    explained = "rows: expected; columns: named; darker: a larger share of its row"
    draw_text(fig, (left, 0.58), explained, color=FAINT)
    for number, one in enumerate(shown):
        row, side = divmod(number, n_side)
        place = (_LEFT + side * step, 0.95 + row * block)
        _draw_heading(fig, one, place, step - _GAP)
        _draw_matrix(fig, one, (place[0], place[1] + 0.3 + label_height), cell, side == 0)
    return fig


def _with_most_frequent(matrices: Sequence[ConfusionMatrix]) -> list[_Shown]:
    """Return the matrices with at most `MOST_LABELS` labels; the others are put together."""
    labels = matrices[0].labels
    n_of = [sum(row) for row in matrices[0].counts]
    kept = sorted(range(len(labels)), key=lambda place: -n_of[place])[:MOST_LABELS]
    kept = sorted(kept) if len(labels) > MOST_LABELS else list(range(len(labels)))
    group_of = {place: number for number, place in enumerate(kept)}
    has_others = len(kept) < len(labels)
    n_groups = len(kept) + has_others
    shown = []
    for one in matrices:
        counts = [[0] * (n_groups + 1) for _ in range(n_groups)]
        for place, row in enumerate(one.counts):
            own = counts[group_of.get(place, n_groups - 1)]
            for column, count in enumerate(row):
                unparsed = column == len(labels)
                own[n_groups if unparsed else group_of.get(column, n_groups - 1)] += count
        names = [labels[place] for place in kept] + [OTHERS] * has_others
        n_right = sum(row[place] for place, row in enumerate(one.counts))
        shown.append(_Shown(one.variant, n_right, names, counts))
    return shown


def _font_size(cell: float) -> float:
    """Return the size of the text in points for cells of a size in inches."""
    return max(5.0, min(9.0, 36 * cell))


def _draw_heading(fig: Figure, shown: _Shown, place: tuple[float, float], width: float) -> None:
    (left, top), total = place, sum(map(sum, shown.counts))
    name = shorten_text(shown.variant, 26)
    draw_text(fig, (left, top + 0.05), name, weight="bold", fontsize=10)
    share = format_percent(shown.n_right / total if total else None)
    told = f"{share} right, n = {format_count(total)}"
    draw_text(fig, (left + width, top + 0.05), told, ha="right", color=FAINT, fontsize=8)


def _draw_matrix(
    fig: Figure, shown: _Shown, place: tuple[float, float], cell: float, names_rows: bool
) -> None:
    """Draw one matrix at (left, top), with cells of a size in inches."""
    n, size = len(shown.labels), _font_size(cell)
    ax = add_axes(fig, (*place, cell * (n + 1), cell * n))
    ax.set(xlim=(0, n + 1), ylim=(n, 0), xticks=[], yticks=[])
    _draw_cells(ax, shown, size)
    for number, label in enumerate((*shown.labels, UNPARSED)):
        ax.text(
            *(number + 0.5, -0.25),
            _short(label),
            rotation=90,
            ha="center",
            va="bottom",
            fontsize=size,
            style="italic" if number == n else "normal",
        )
        if names_rows and number < n:
            ax.text(-0.25, number + 0.5, _short(label), ha="right", va="center", fontsize=size)


def _draw_cells(ax: Axes, shown: _Shown, size: float) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Rectangle

    for row, own in enumerate(shown.counts):
        total = sum(own)
        for column, count in enumerate(own):
            share = count / total if total else 0.0
            colour = WIN if row == column else LOSS
            if row == column and shown.labels[row] == OTHERS:
                colour = TIE  # right and wrong ones together
            face = (*to_rgb(colour), 0.85 * share)
            cell = Rectangle((column, row), 1, 1, facecolor=face, edgecolor=GRID, linewidth=0.5)
            ax.add_patch(cell)
            if count:
                ink = "white" if share > 0.75 and colour != TIE else INK
                text = f"{count}" if count < 10_000 else f"{count // 1000}k"
                small = size * min(1.0, 3.2 / len(text))
                style = {"color": ink, "fontsize": small, "ha": "center", "va": "center"}
                ax.text(column + 0.5, row + 0.53, text, style)


def _short(label: str) -> str:
    return shorten_text(label, _LABEL_COLUMNS)
