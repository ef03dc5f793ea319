"""The chart of the gains over the base: every case of every variant, sorted; groups' shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from plugin.records import PROMPTED, Comparison
from plugin.report import _canvas as canvas
from plugin.report._lookup import Ledger, counted, interval, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_BARS = 400
"""Bars of one panel: beyond that, neighbours in the sorted gains share one."""


def gains_figure(ledger: Ledger) -> Figure:
    """Draws a panel per variant but the base, the contenders first, on the primary metric."""
    spec, others = ledger.primary, sorted(ledger.variants[1:], key=lambda n: n == PROMPTED)
    if spec is None or not others:
        fig = canvas.figure(1.2)
        canvas.say(fig, (0.15, 0.3), "Gains case by case", fontsize=13, weight="bold")
        nothing = "Nothing to compare: the run has one variant."
        canvas.say(fig, (0.15, 0.75), nothing, color=canvas.FAINT)
        return fig
    drawn = max(2.3, 0.5 + 0.34 * min(len(ledger.groups), canvas.MAX_GROUPS))
    gains = {name: sorted(ledger.gains(name, spec)) for name in others}
    heights = [drawn if gains[name] else 0.0 for name in others]
    fig = canvas.figure(0.85 + sum(heights) + 1.15 * len(others))
    title = f"{canvas.shorten(spec.name, 36)}: gain of every case over "
    title += canvas.shorten(ledger.variants[0], 24)
    canvas.say(fig, (0.15, 0.25), title, fontsize=13, weight="bold")
    left = 0.15
    for colour, text in (
        (canvas.WIN, "wins (gain above 0)"),
        (canvas.TIE, "ties"),
        (canvas.LOSS, "losses (gain below 0)"),
    ):
        left += canvas.swatch(fig, (left, 0.58), colour, text)
    canvas.say(fig, (left, 0.58), "- - -  mean gain and its 95% interval", color=canvas.FAINT)
    top = 0.85
    for name, height in zip(others, heights, strict=True):
        row = ledger.comparison(spec, name)
        _draw_heading(fig, name, row, top)
        if gains[name]:
            groups = ledger.groups[: canvas.MAX_GROUPS]
            width = 5.0 if groups else canvas.WIDTH - 0.9
            ax = canvas.axes(fig, (0.65, top + 0.55, width, height))
            unit = f" in {spec.unit}" if spec.unit else ""
            _draw_sorted(ax, gains[name], len(ledger.report.cases), unit)
            _draw_mean(ax, row)
            if groups:
                _draw_shares(fig, ledger, name, (top, height))
        else:
            nothing = "No case has a score of both variants."
            canvas.say(fig, (0.15, top + 0.5), nothing, color=canvas.FAINT)
        top += height + 1.15
    return fig


def _draw_heading(fig: Figure, variant: str, row: Comparison | None, top: float) -> None:
    canvas.say(fig, (0.15, top + 0.12), canvas.shorten(variant, 40), weight="bold", fontsize=10)
    mean = "" if row is None or row.gain is None else f"mean gain {number(row.gain, sign=True)}"
    if row is not None and row.ci_low is not None:
        mean += f", 95% interval {interval(row.ci_low, row.ci_high, sign=True)}"
    canvas.say(fig, (canvas.WIDTH - 0.15, top + 0.12), mean, ha="right")


def _draw_mean(ax: Axes, row: Comparison | None) -> None:
    if row is not None and row.gain is not None:
        ax.axhline(row.gain, color=canvas.INK, linewidth=1.2, linestyle=(0, (4, 3)))
    if row is not None and row.ci_low is not None and row.ci_high is not None:
        ax.axhspan(row.ci_low, row.ci_high, color=canvas.INK, alpha=0.16, linewidth=0, zorder=0.5)


def _draw_sorted(ax: Axes, gains: Sequence[float], n_cases: int, unit: str) -> None:
    """Bars of the sorted gains, losses first; many cases share a bar as their median."""
    n_bars = min(len(gains), MAX_BARS)
    step = len(gains) / n_bars
    shown = [gains[int((place + 0.5) * step)] for place in range(n_bars)]
    edges = [place * step for place in range(n_bars + 1)]
    if n_bars <= 120:
        colours = [_colour(gain) for gain in shown]
        ax.bar(edges[:-1], shown, width=step * 0.85, align="edge", color=colours)
    else:  # One outline per colour: hundreds of bars would show seams.
        ax.stairs([min(gain, 0.0) for gain in shown], edges, fill=True, color=canvas.LOSS)
        ax.stairs([max(gain, 0.0) for gain in shown], edges, fill=True, color=canvas.WIN)
    ax.axhline(0, color=canvas.FAINT, linewidth=0.8)
    reach = max(max(map(abs, gains)) * 1.08, 1e-6)
    ax.set(xlim=(0, len(gains)), ylim=(-reach, reach))
    ax.set_xticks([0, len(gains)], ["0", f"{len(gains):,}"])
    ax.set_ylabel(f"gain{unit} (more is better)", color=canvas.FAINT)
    unpaired = f"; {n_cases - len(gains):,} without a pair" if n_cases > len(gains) else ""
    ax.set_xlabel(f"{len(gains):,} cases, sorted by gain{unpaired}", color=canvas.FAINT)
    ax.grid(axis="y", color=canvas.GRID, linewidth=0.6)
    ax.spines[["left", "bottom"]].set_visible(False)
    counts = _counts(gains)
    nouns = (("loss", "losses"), ("tie", "ties"), ("win", "wins"))
    places = ((0.0, "left", canvas.LOSS), (0.5, "center", canvas.FAINT), (1.0, "right", canvas.WIN))
    for count, noun, (x, side, colour) in zip(counts, nouns, places, strict=True):
        text = counted(count, *noun)
        ax.text(x, 1.05, text, transform=ax.transAxes, ha=side, color=colour, weight="bold")


def _draw_shares(fig: Figure, ledger: Ledger, variant: str, box: tuple[float, float]) -> None:
    """Per group, the shares of losses, ties and wins; at (top, height) in inches."""
    (top, height), spec, right = box, ledger.primary, canvas.WIDTH - 0.15
    if spec is None:
        return
    caption = "by group: mean gain (exploratory)"
    canvas.say(fig, (right, top + 0.4), caption, color=canvas.FAINT, ha="right")
    ax = canvas.axes(fig, (right - 2.1, top + 0.55, 2.1, height))
    groups = ledger.groups[: canvas.MAX_GROUPS]
    ax.set(xlim=(0, 1), ylim=(len(groups) - 0.4, -0.9), xticks=[], yticks=[])
    ax.spines[["left", "bottom"]].set_visible(False)
    for place, group in enumerate(groups):
        row = ledger.comparison(spec, variant, group)
        mean = number(row.gain if row else None, sign=True)
        ax.text(0, place - 0.42, canvas.shorten(group, 22), va="center", fontsize=8)
        ax.text(1, place - 0.42, mean, va="center", ha="right", fontsize=8)
        start, gains = 0.0, ledger.gains(variant, spec, group)
        colours = (canvas.LOSS, canvas.TIE, canvas.WIN)
        for count, colour in zip(_counts(gains), colours, strict=True):
            share = count / len(gains) if gains else 0.0
            ax.barh(place, share, left=start, height=0.4, color=colour)
            if share > 0.12:
                ax.text(start + share / 2, place, f"{count:,}", va="center", **_on(colour))
            start += share


def _counts(gains: Sequence[float]) -> tuple[int, int, int]:
    """Losses, ties and wins."""
    losses, wins = sum(gain < 0 for gain in gains), sum(gain > 0 for gain in gains)
    return losses, len(gains) - losses - wins, wins


def _on(colour: str) -> dict[str, Any]:
    """Text in the middle of a bar of that colour."""
    return {"ha": "center", "fontsize": 8, "color": "black" if colour == canvas.TIE else "white"}


def _colour(gain: float) -> str:
    return canvas.WIN if gain > 0 else canvas.LOSS if gain < 0 else canvas.TIE
