"""Draw a report's two charts as SVG: the mean scores, and the gain of every case.

The first chart shows the means by metric, then by group. The second shows the sorted gains of all
cases over the base, and for each group the shares of wins, ties and losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any, NamedTuple

from plugin.compare.numbers import (
    failed_suffix,
    format_count,
    format_direction,
    format_interval,
    format_number,
    format_range,
)
from plugin.records import MetricSpec, is_prompted, is_rival, is_yardstick
from plugin.report.canvas import (
    ADAPTER_COLOURS,
    FAINT,
    GRID,
    INK,
    LOSS,
    MAX_GROUPS,
    PAPER,
    PROMPT_COLOURS,
    RIVAL_COLOURS,
    TIE,
    VANILLA_COLOUR,
    WIDTH,
    WIN,
    add_axes,
    draw_swatch,
    draw_text,
    hatch_of,
    new_figure,
    render_svg,
    shorten_text,
)
from plugin.report.record import Ledger, Report
from plugin.results import Comparison, Summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def comparison_svg(report: Report) -> str:
    """Draw the variants' means with intervals, per metric that decides and then per group."""
    ledger = Ledger(report)
    return render_svg(lambda: means_figure(ledger), "Mean scores of every variant")


def distribution_svg(report: Report) -> str:
    """Draw each variant's gains over the base on the primary metric, for all cases and by group."""
    ledger = Ledger(report)
    return render_svg(lambda: gains_figure(ledger), "Gains case by case")


NAME_COLUMNS = 34
LEFT, RIGHT = 2.85, 1.95  # Inches kept for the names and for the values.
ROW = 0.36  # Inches per bar.


class MeanBar(NamedTuple):
    """One bar: its row from the top, the texts to its left, its colour and its numbers."""

    row: float
    name: str
    note: str
    colour: str
    summary: Summary | None
    why_none: str = "no scores"


class MeanBlock(NamedTuple):
    """Bars that share one axis; a small block has name and note on one line."""

    title: str
    spec: MetricSpec
    bars: list[MeanBar]
    small: bool = False

    @property
    def height(self) -> float:
        """Return the height in inches."""
        return ROW * (max((bar.row for bar in self.bars), default=0.0) + 1)


def _variant_colours(ledger: Ledger) -> dict[str, str]:
    tuned, prompts, rivals = map(cycle, (ADAPTER_COLOURS, PROMPT_COLOURS, RIVAL_COLOURS))
    found = {}
    for name in ledger.variants:
        own = prompts if is_prompted(name) else rivals if is_rival(name) else tuned
        found[name] = VANILLA_COLOUR if name == ledger.baseline else next(own)
    return found


def means_figure(ledger: Ledger) -> Figure:
    """Draw one block for each metric that decides, and one block for all groups."""
    colours = _variant_colours(ledger)
    blocks = _metric_blocks(ledger, colours) + _group_blocks(ledger, colours)
    gap, top = 0.68, 1.0
    fig = new_figure(top + sum(gap + block.height for block in blocks) + 0.1)
    has_intervals = any(
        bar.summary and bar.summary.ci_low is not None for block in blocks for bar in block.bars
    )
    title = "Mean scores, with 95% intervals" if has_intervals else "Mean scores"
    draw_text(fig, (0.15, 0.25), title, fontsize=13, weight="bold")
    left, line = 0.15, 0.56
    for name, colour in colours.items():
        left += draw_swatch(fig, (left, line), colour, shorten_text(name, 24))
        if left > 6.4:
            left, line = 0.15, line + 0.22
    if has_intervals:
        draw_text(fig, (left, line), "├──┤  95% interval of the mean", color=FAINT)
    if not blocks:
        draw_text(fig, (0.15, top), "No metric was scored.", color=FAINT)
    for block in blocks:
        _draw_block(fig, block, top)
        top += gap + block.height
    return fig


def _metric_blocks(ledger: Ledger, colours: dict[str, str]) -> list[MeanBlock]:
    metrics = ledger.report.metrics
    deciding = [spec for spec in metrics if spec.decides] or list(metrics)
    blocks = []
    for spec in deciding:
        bars = list[MeanBar]()
        for name, colour in colours.items():
            summary = ledger.summary(spec, name)
            bar = MeanBar(len(bars), name, _scored_text(summary), colour, summary)
            if name not in ledger.scored_names(spec) and not spec.judges_data:
                bar = bar._replace(note="not measured", why_none="needs the model's weights")
            bars.append(bar)
        blocks.append(MeanBlock(spec.title, spec, bars))
    return blocks


def _group_blocks(ledger: Ledger, colours: dict[str, str]) -> list[MeanBlock]:
    spec, bars = ledger.primary, list[MeanBar]()
    if spec is None or not ledger.groups:
        return []
    row = 0.0
    for group in ledger.groups[:MAX_GROUPS]:
        row += 0.65 if bars else 0.5
        for place, (variant, colour) in enumerate(colours.items()):
            summary = ledger.summary(spec, variant, group)
            note = f"{shorten_text(variant, 24)}, {_scored_text(summary)}"
            name = "" if place else ledger.group_title(group)
            bars.append(MeanBar(row, name, note, colour, summary))
            row += 0.6
    more = len(ledger.groups) - MAX_GROUPS
    title = f"{spec.name} by group{_exploratory_note(ledger)}"
    return [
        MeanBlock(title + (f"; {more} more in the tables" if more > 0 else ""), spec, bars, True)
    ]


def _exploratory_note(ledger: Ledger) -> str:
    """Say that the groups are exploratory, except the retention groups among them."""
    others = [group for group in ledger.groups if group not in ledger.retention]
    if not others:
        return ""
    return " (exploratory except retention)" if ledger.retention else " (exploratory)"


def _scored_text(summary: Summary | None) -> str:
    if summary is None:
        return "not scored"
    return f"n = {format_count(summary.n)}{failed_suffix(summary.n_failed)}"


def _draw_block(fig: Figure, block: MeanBlock, top: float) -> None:
    right, head = WIDTH - RIGHT, top + 0.12
    higher = block.spec.higher_is_better
    way = f"{format_direction(higher)} →" if higher else f"← {format_direction(higher)}"
    faint = {"fontsize": 8, "color": FAINT}
    draw_text(fig, (0.15, head), shorten_text(block.title, 56), weight="bold", fontsize=10)
    draw_text(fig, (right - 0.2, head), way, ha="right", **faint)
    draw_text(fig, (right + 0.08, head), "mean", **faint)
    draw_text(fig, (right + 0.65, head), "95% interval", **faint)
    ax = add_axes(fig, (LEFT, top + 0.28, right - LEFT, block.height))
    ax.set(xlim=_block_range(block), ylim=(block.height / ROW - 0.5, -0.5), yticks=[])
    ax.grid(axis="x", color=GRID, linewidth=0.6)
    ax.spines[["left", "bottom"]].set_visible(False)
    for bar in block.bars:
        middle = top + 0.28 + (bar.row + 0.5) * ROW
        _draw_name(fig, bar, middle, block.small)
        _draw_bar(fig, ax, bar, middle)


def _block_range(block: MeanBlock) -> tuple[float, float]:
    """Return the metric's own range, or the range of the data if the metric has no bounds."""
    rows = [bar.summary for bar in block.bars if bar.summary]
    found = [x for row in rows for x in (row.mean, row.ci_low, row.ci_high) if x is not None]
    low, high = block.spec.low, block.spec.high
    bounded = all(abs(end) < 1e6 for end in (low, high))
    if bounded:
        return min([low, *found]), max([high, *found])
    low = min([0.0, *found])
    return low, max([low + 1e-9, *found]) * 1.1 or 1.0


def _draw_name(fig: Figure, bar: MeanBar, middle: float, small: bool) -> None:
    faint, right = {"fontsize": 8, "color": FAINT, "ha": "right"}, LEFT - 0.1
    if small:
        draw_text(fig, (0.15, middle - 0.16), shorten_text(bar.name, 34))
        draw_text(fig, (right, middle), bar.note, **faint)
    else:
        name = shorten_text(bar.name, NAME_COLUMNS)
        draw_text(fig, (right, middle - 0.07), name, ha="right")
        draw_text(fig, (right, middle + 0.08), bar.note, **faint)


def _draw_bar(fig: Figure, ax: Axes, bar: MeanBar, middle: float) -> None:
    row, right = bar.summary, WIDTH - RIGHT
    faint = {"fontsize": 8, "color": FAINT}
    if row is None or row.mean is None:
        draw_text(fig, (LEFT + 0.05, middle), bar.why_none, **faint)
        return
    start = ax.get_xlim()[0]
    look: dict[str, Any] = {"color": bar.colour}
    if hatch := hatch_of(bar.colour):
        look = {"facecolor": bar.colour, "edgecolor": PAPER, "hatch": hatch, "linewidth": 0}
    ax.barh(bar.row, row.mean - start, left=start, height=0.5, **look)
    if row.ci_low is not None and row.ci_high is not None:
        ends = (row.ci_low, row.ci_high)
        ax.plot(ends, [bar.row] * 2, "|-", color=INK, markersize=6, clip_on=False)
        draw_text(fig, (right + 0.65, middle), format_range(*ends), **faint)
    draw_text(fig, (right + 0.08, middle), format_number(row.mean), weight="bold")


MAX_BARS = 400
"""Highest number of bars in a panel; with more cases, several neighbours share a bar."""


def gains_figure(ledger: Ledger) -> Figure:
    """Draw a panel for every variant except the base on the primary metric, yardsticks last."""
    spec, others = ledger.primary, sorted(ledger.variants[1:], key=is_yardstick)
    if spec is None or not others:
        fig = new_figure(1.2)
        draw_text(fig, (0.15, 0.3), "Gains case by case", fontsize=13, weight="bold")
        nothing = "Nothing to compare: the run has one variant."
        draw_text(fig, (0.15, 0.75), nothing, color=FAINT)
        return fig
    drawn = max(2.3, 0.5 + 0.34 * min(len(ledger.groups), MAX_GROUPS))
    gains = {name: sorted(ledger.gains(name, spec)) for name in others}
    heights = [drawn if gains[name] else 0.0 for name in others]
    fig = new_figure(0.85 + sum(heights) + 1.15 * len(others))
    title = f"{shorten_text(spec.name, 36)}: gain of every case over "
    title += shorten_text(ledger.variants[0], 24)
    draw_text(fig, (0.15, 0.25), title, fontsize=13, weight="bold")
    left = 0.15
    for colour, text in (
        (WIN, "wins (gain above 0)"),
        (TIE, "ties"),
        (LOSS, "losses (gain below 0)"),
    ):
        left += draw_swatch(fig, (left, 0.58), colour, text)
    draw_text(fig, (left, 0.58), "- - -  mean gain and its 95% interval", color=FAINT)
    top = 0.85
    for name, height in zip(others, heights, strict=True):
        row = ledger.comparison(spec, name)
        _draw_heading(fig, name, row, top)
        if gains[name]:
            groups = ledger.groups[:MAX_GROUPS]
            width = 5.0 if groups else WIDTH - 0.9
            ax = add_axes(fig, (0.65, top + 0.55, width, height))
            unit = f" in {spec.unit}" if spec.unit else ""
            _draw_sorted(ax, gains[name], len(ledger.report.cases), unit)
            _draw_mean(ax, row)
            if groups:
                _draw_shares(fig, ledger, name, (top, height))
        else:
            nothing = "No case has a score of both variants."
            draw_text(fig, (0.15, top + 0.5), nothing, color=FAINT)
        top += height + 1.15
    return fig


def _draw_heading(fig: Figure, variant: str, row: Comparison | None, top: float) -> None:
    draw_text(fig, (0.15, top + 0.12), shorten_text(variant, 40), weight="bold", fontsize=10)
    mean = ""
    if row is not None and row.gain is not None:
        within = format_interval(row.ci_low, row.ci_high, signed=True)
        mean = f"mean gain {format_number(row.gain, signed=True)}, {within}"
    draw_text(fig, (WIDTH - 0.15, top + 0.12), mean, ha="right")


def _draw_mean(ax: Axes, row: Comparison | None) -> None:
    if row is not None and row.gain is not None:
        ax.axhline(row.gain, color=INK, linewidth=1.2, linestyle=(0, (4, 3)))
    if row is not None and row.ci_low is not None and row.ci_high is not None:
        ax.axhspan(row.ci_low, row.ci_high, color=INK, alpha=0.16, linewidth=0, zorder=0.5)


def _draw_sorted(ax: Axes, gains: Sequence[float], n_cases: int, unit: str) -> None:
    """Draw the sorted gains as bars, losses first; with many cases a bar shows a median."""
    n_bars = min(len(gains), MAX_BARS)
    step = len(gains) / n_bars
    shown = [gains[int((place + 0.5) * step)] for place in range(n_bars)]
    edges = [place * step for place in range(n_bars + 1)]
    if n_bars <= 120:
        colours = [_gain_colour(gain) for gain in shown]
        ax.bar(edges[:-1], shown, width=step * 0.85, align="edge", color=colours)
    else:  # One outline per colour, because hundreds of bars would show gaps.
        ax.stairs([min(gain, 0.0) for gain in shown], edges, fill=True, color=LOSS)
        ax.stairs([max(gain, 0.0) for gain in shown], edges, fill=True, color=WIN)
    ax.axhline(0, color=FAINT, linewidth=0.8)
    reach = max(max(map(abs, gains)) * 1.08, 1e-6)
    ax.set(xlim=(0, len(gains)), ylim=(-reach, reach))
    ax.set_xticks([0, len(gains)], ["0", format_count(len(gains))])
    ax.set_ylabel(f"gain{unit} (more is better)", color=FAINT)
    n_unpaired = n_cases - len(gains)
    unpaired = f"; {format_count(n_unpaired)} without a pair" if n_unpaired > 0 else ""
    ax.set_xlabel(f"{format_count(len(gains))} cases, sorted by gain{unpaired}", color=FAINT)
    ax.grid(axis="y", color=GRID, linewidth=0.6)
    ax.spines[["left", "bottom"]].set_visible(False)
    counts = _gain_counts(gains)
    nouns = (("loss", "losses"), ("tie", "ties"), ("win", "wins"))
    places = ((0.0, "left", LOSS), (0.5, "center", FAINT), (1.0, "right", WIN))
    for count, noun, (x, side, colour) in zip(counts, nouns, places, strict=True):
        text = format_count(count, *noun)
        ax.text(x, 1.05, text, transform=ax.transAxes, ha=side, color=colour, weight="bold")


def _draw_shares(fig: Figure, ledger: Ledger, variant: str, box: tuple[float, float]) -> None:
    """Draw the shares of losses, ties and wins per group, at (top, height) in inches."""
    (top, height), spec, right = box, ledger.primary, WIDTH - 0.15
    if spec is None:
        return
    caption = "by group: mean gain" + ("" if ledger.retention else " (exploratory)")
    draw_text(fig, (right, top + 0.4), caption, color=FAINT, ha="right")
    ax = add_axes(fig, (right - 2.1, top + 0.55, 2.1, height))
    groups = ledger.groups[:MAX_GROUPS]
    ax.set(xlim=(0, 1), ylim=(len(groups) - 0.4, -0.9), xticks=[], yticks=[])
    ax.spines[["left", "bottom"]].set_visible(False)
    for place, group in enumerate(groups):
        row = ledger.comparison(spec, variant, group)
        mean = format_number(row.gain if row else None, signed=True)
        name = shorten_text(group, 22)
        if row and row.role == "guard" and row.outcome:
            name = f"{shorten_text(group, 14)}: {row.outcome}"
        ax.text(0, place - 0.42, name, va="center", fontsize=8)
        ax.text(1, place - 0.42, mean, va="center", ha="right", fontsize=8)
        start, gains = 0.0, ledger.gains(variant, spec, group)
        colours = (LOSS, TIE, WIN)
        for count, colour in zip(_gain_counts(gains), colours, strict=True):
            share = count / len(gains) if gains else 0.0
            ax.barh(place, share, left=start, height=0.4, color=colour)
            if share > 0.12:
                middle, text = start + share / 2, format_count(count)
                ax.text(middle, place, text, va="center", **_text_colour(colour))
            start += share


def _gain_counts(gains: Sequence[float]) -> tuple[int, int, int]:
    """Count losses, ties and wins."""
    losses, wins = sum(gain < 0 for gain in gains), sum(gain > 0 for gain in gains)
    return losses, len(gains) - losses - wins, wins


def _text_colour(colour: str) -> dict[str, Any]:
    """Return the style for text in the middle of a bar of this colour."""
    return {"ha": "center", "fontsize": 8, "color": "black" if colour == TIE else "white"}


def _gain_colour(gain: float) -> str:
    return WIN if gain > 0 else LOSS if gain < 0 else TIE
