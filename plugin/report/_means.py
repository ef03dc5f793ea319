"""The chart of the means: every variant side by side, metric by metric, then by group."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, NamedTuple

from plugin.records import PROMPTED, MetricSpec, Summary
from plugin.report import _canvas as canvas
from plugin.report._lookup import Ledger, direction, interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME_COLUMNS = 34
LEFT, RIGHT = 2.85, 1.95  # Inches kept for the names and for the values.
ROW = 0.36  # Inches per bar.


class Bar(NamedTuple):
    """One bar: where it stands (rows from the top), what is left of it, its colour and numbers."""

    row: float
    name: str
    note: str
    colour: str
    summary: Summary | None


class Block(NamedTuple):
    """Bars that share one axis; in a small one, name and note stand on one line."""

    title: str
    spec: MetricSpec
    bars: list[Bar]
    small: bool = False

    @property
    def height(self) -> float:
        """In inches."""
        return ROW * (max((bar.row for bar in self.bars), default=0.0) + 1)


def _colours(ledger: Ledger) -> dict[str, str]:
    own = cycle(canvas.ADAPTER_COLOURS)
    fixed = {ledger.baseline: canvas.VANILLA_COLOUR, PROMPTED: canvas.PROMPTED_COLOUR}
    return {name: fixed.get(name) or next(own) for name in ledger.variants}


def means_figure(ledger: Ledger) -> Figure:
    """Draws the deciding metrics, one block each, and one block for all groups."""
    colours = _colours(ledger)
    blocks = _metric_blocks(ledger, colours) + _group_blocks(ledger, colours)
    gap, top = 0.68, 1.0
    fig = canvas.figure(top + sum(gap + block.height for block in blocks) + 0.1)
    has_intervals = any(
        bar.summary and bar.summary.ci_low is not None for block in blocks for bar in block.bars
    )
    title = "Mean scores, with 95% intervals" if has_intervals else "Mean scores"
    canvas.say(fig, (0.15, 0.25), title, fontsize=13, weight="bold")
    left, line = 0.15, 0.56
    for name, colour in colours.items():
        left += canvas.swatch(fig, (left, line), colour, canvas.shorten(name, 24))
        if left > 6.4:
            left, line = 0.15, line + 0.22
    if has_intervals:
        canvas.say(fig, (left, line), "├──┤  95% interval of the mean", color=canvas.FAINT)
    if not blocks:
        canvas.say(fig, (0.15, top), "No metric was scored.", color=canvas.FAINT)
    for block in blocks:
        _draw_block(fig, block, top)
        top += gap + block.height
    return fig


def _metric_blocks(ledger: Ledger, colours: dict[str, str]) -> list[Block]:
    metrics = ledger.report.metrics
    deciding = [spec for spec in metrics if spec.decides] or list(metrics)
    blocks = []
    for spec in deciding:
        bars = list[Bar]()
        for name, colour in colours.items():
            summary = ledger.summary(spec, name)
            bars.append(Bar(len(bars), name, _count(summary), colour, summary))
        blocks.append(Block(spec.title, spec, bars))
    return blocks


def _group_blocks(ledger: Ledger, colours: dict[str, str]) -> list[Block]:
    spec, bars = ledger.primary, list[Bar]()
    if spec is None or not ledger.groups:
        return []
    row = 0.0
    for group in ledger.groups[: canvas.MAX_GROUPS]:
        row += 0.65 if bars else 0.5
        for place, (variant, colour) in enumerate(colours.items()):
            summary = ledger.summary(spec, variant, group)
            note = f"{canvas.shorten(variant, 24)}, {_count(summary)}"
            bars.append(Bar(row, "" if place else group, note, colour, summary))
            row += 0.6
    more = len(ledger.groups) - canvas.MAX_GROUPS
    title = f"{spec.name} by group (exploratory)"
    return [Block(title + (f"; {more} more in the tables" if more > 0 else ""), spec, bars, True)]


def _count(summary: Summary | None) -> str:
    if summary is None:
        return "not scored"
    failed = f", {summary.n_failed:,} failed" if summary.n_failed else ""
    return f"n = {summary.n:,}{failed}"


def _draw_block(fig: Figure, block: Block, top: float) -> None:
    right, head = canvas.WIDTH - RIGHT, top + 0.12
    higher = block.spec.higher_is_better
    way = f"{direction(higher)} →" if higher else f"← {direction(higher)}"
    faint = {"fontsize": 8, "color": canvas.FAINT}
    canvas.say(fig, (0.15, head), canvas.shorten(block.title, 56), weight="bold", fontsize=10)
    canvas.say(fig, (right - 0.2, head), way, ha="right", **faint)
    canvas.say(fig, (right + 0.08, head), "mean", **faint)
    canvas.say(fig, (right + 0.65, head), "95% interval", **faint)
    ax = canvas.axes(fig, (LEFT, top + 0.28, right - LEFT, block.height))
    ax.set(xlim=_range(block), ylim=(block.height / ROW - 0.5, -0.5), yticks=[])
    ax.grid(axis="x", color=canvas.GRID, linewidth=0.6)
    ax.spines[["left", "bottom"]].set_visible(False)
    for bar in block.bars:
        middle = top + 0.28 + (bar.row + 0.5) * ROW
        _draw_name(fig, bar, middle, block.small)
        _draw_bar(fig, ax, bar, middle)


def _range(block: Block) -> tuple[float, float]:
    """The metric's own range, or the data's where that has no bounds."""
    rows = [bar.summary for bar in block.bars if bar.summary]
    found = [x for row in rows for x in (row.mean, row.ci_low, row.ci_high) if x is not None]
    low, high = block.spec.low, block.spec.high
    bounded = all(abs(end) < 1e6 for end in (low, high))
    if bounded:
        return min([low, *found]), max([high, *found])
    low = min([0.0, *found])
    return low, max([low + 1e-9, *found]) * 1.1 or 1.0


def _draw_name(fig: Figure, bar: Bar, middle: float, small: bool) -> None:
    faint, right = {"fontsize": 8, "color": canvas.FAINT, "ha": "right"}, LEFT - 0.1
    if small:
        canvas.say(fig, (0.15, middle - 0.16), canvas.shorten(bar.name, 34))
        canvas.say(fig, (right, middle), bar.note, **faint)
    else:
        name = canvas.shorten(bar.name, NAME_COLUMNS)
        canvas.say(fig, (right, middle - 0.07), name, ha="right")
        canvas.say(fig, (right, middle + 0.08), bar.note, **faint)


def _draw_bar(fig: Figure, ax: Axes, bar: Bar, middle: float) -> None:
    row, right = bar.summary, canvas.WIDTH - RIGHT
    faint = {"fontsize": 8, "color": canvas.FAINT}
    if row is None or row.mean is None:
        canvas.say(fig, (LEFT + 0.05, middle), "no scores", **faint)
        return
    start = ax.get_xlim()[0]
    ax.barh(bar.row, row.mean - start, left=start, height=0.5, color=bar.colour)
    if row.ci_low is not None and row.ci_high is not None:
        ends = (row.ci_low, row.ci_high)
        ax.plot(ends, [bar.row] * 2, "|-", color=canvas.INK, markersize=6, clip_on=False)
        canvas.say(fig, (right + 0.65, middle), interval(*ends), **faint)
    canvas.say(fig, (right + 0.08, middle), number(row.mean), weight="bold")
