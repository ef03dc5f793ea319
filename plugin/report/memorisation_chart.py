"""Draw how far a gain carries: trained, rephrased and unseen questions in one picture."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from plugin.compare.numbers import format_count, format_number, format_range
from plugin.memorisation.report import GapView, Mean, Memorisation
from plugin.report.canvas import (
    FAINT,
    GRID,
    INK,
    LOSS,
    TIE,
    WIN,
    add_axes,
    draw_text,
    new_figure,
    render_svg,
    shorten_text,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAMES = {
    "trained": ("trained", "training questions"),
    "rephrased": ("rephrased", "the same in other words"),
    "unseen": ("unseen", "clean cases of this run"),
}
_LEFT, _RIGHT, _TOP, _ROW = 2.2, 1.9, 0.95, 0.42
_GAP = 0.75
_COLOURS = {
    "generalised": WIN,
    "partly generalised": WIN,
    "memorised": LOSS,
    "not learned": TIE,
    "can't tell": TIE,
}


def memorisation_svg(found: Memorisation | None) -> str:
    """Draw the gains in likelihood of every variant; "" where none were read."""
    if found is None or not found.gaps:
        return ""
    said = "; ".join(f"{view.variant}: {view.word}" for view in found.gaps)
    return render_svg(lambda: _figure(found), f"Trained, rephrased and unseen questions. {said}")


def _figure(found: Memorisation) -> Figure:
    heights = [_ROW * len(view.sides) for view in found.gaps]
    fig = new_figure(_TOP + sum(height + _GAP for height in heights) - 0.15)
    draw_text(fig, (0.15, 0.25), "How far the gain carries", fontsize=13, weight="bold")
    note = (
        "How much likelier the tuned model finds the right answer than the base does, in nats per "
        "token, with 95% intervals"
    )
    draw_text(fig, (0.15, 0.52), textwrap.shorten(note, 140), color=FAINT)
    ends = [end for view in found.gaps for mean in view.sides.values() for end in _ends(mean)]
    low, high = min(0.0, *ends), max(0.0, *ends)
    top = _TOP
    for view, height in zip(found.gaps, heights, strict=True):
        _draw_view(fig, view, top, height, (low, high))
        top += height + _GAP
    return fig


def _ends(mean: Mean) -> list[float]:
    return [value for value in (mean.mean, mean.ci_low, mean.ci_high) if value is not None]


def _draw_view(
    fig: Figure, view: GapView, top: float, height: float, limits: tuple[float, float]
) -> None:
    """Draw a variant: a bar and an interval for each side."""
    colour = _COLOURS[view.word]
    title = f"{shorten_text(view.variant, 40)}: {view.word}"
    draw_text(fig, (0.15, top), title, fontsize=11, weight="bold", color=INK)
    top += 0.22
    width = fig.get_figwidth() - _LEFT - _RIGHT
    axes = add_axes(fig, (_LEFT, top, width, height))
    reach = (limits[1] - limits[0]) or 1.0
    axes.set_xlim(limits[0] - 0.02 * reach, limits[1] + 0.02 * reach)
    axes.set_ylim(len(view.sides) - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.axvline(0, color=FAINT, linewidth=0.8)
    axes.grid(axis="x", color=GRID, linewidth=0.6)
    for row, (side, mean) in enumerate(view.sides.items()):
        fade = {"trained": 1.0, "rephrased": 0.65, "unseen": 0.35}[side]
        axes.barh(row, mean.mean or 0.0, height=0.5, color=colour, alpha=fade, linewidth=0)
        if mean.ci_low is not None and mean.ci_high is not None:
            axes.plot([mean.ci_low, mean.ci_high], [row, row], color=INK, linewidth=1.4)
        middle = top + (row + 0.5) * _ROW
        name, what = _NAMES[side]
        draw_text(fig, (0.15, middle - 0.07), name, fontsize=10, weight="bold")
        draw_text(fig, (0.15, middle + 0.09), f"{what} (n={format_count(mean.n)})", color=FAINT)
        right = fig.get_figwidth() - _RIGHT + 0.12
        draw_text(fig, (right, middle - 0.07), format_number(mean.mean, signed=True), fontsize=10)
        ends = format_range(mean.ci_low, mean.ci_high, signed=True) or "no interval"
        draw_text(fig, (right, middle + 0.09), ends, color=FAINT)
