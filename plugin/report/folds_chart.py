"""Draw the gain in each fold of one recipe, one below the other, and over all folds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from plugin.compare.folds import FoldGain
from plugin.compare.numbers import format_count, format_number, format_range
from plugin.report.canvas import (
    FAINT,
    GRID,
    INK,
    WIN,
    add_axes,
    draw_text,
    new_figure,
    render_svg,
    shorten_text,
)
from plugin.report.record import Ledger, Report
from plugin.results import Comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLD_COLUMNS = (
    "fold metric n n_clusters gain ci_low ci_high variant_mean baseline_mean missing left_out"
).split()

_TOP, _ROW = 0.62, 0.4
_WIDE, _NARROW = (6.6, 1.65, 1.6), (3.3, 0.82, 1.22)
"""Inches: the width of the drawing, and the room left and right of the plot."""

_N_DRAWN = 20
"""Folds that are drawn; the table has all."""


def overall_row(ledger: Ledger) -> Comparison | None:
    """Return the comparison over all folds that decides; None for none."""
    report = ledger.report
    folds, primary = report.folds, ledger.primary
    if folds is None or primary is None:
        return None
    clean = report.memorisation.deciding if report.memorisation else ()
    if not clean:
        return ledger.comparison(primary, folds.facts.variant)
    place = (primary.name, folds.facts.variant, "all")
    return next((row for row in clean if (row.metric, row.variant, row.group) == place), None)


def fold_rows(ledger: Ledger) -> list[Sequence[str | float | None]]:
    """Return a row for each fold, and one over all of them, for the table."""
    folds = ledger.report.folds
    if folds is None or folds.gains is None:
        return []
    left_out = {fold.name: fold.n_left_out for fold in folds.facts.folds}
    rows = [(row.name, row, "", left_out[row.name]) for row in folds.gains.rows]
    whole = overall_row(ledger)
    metric, missing = folds.gains.metric, ", ".join(folds.facts.missing)
    every: list[tuple[str, FoldGain | Comparison, str, int]] = [*rows]
    if whole:
        every.append(("all", whole, missing, sum(left_out.values())))
    return [
        (name, metric, row.n, row.n_clusters, row.gain, row.ci_low, row.ci_high)
        + (row.variant_mean, row.baseline_mean, gone, n_left_out)
        for name, row, gone, n_left_out in every
    ]


def folds_svg(report: Report, narrow: bool = False) -> str:
    """Draw the gain in each fold with its interval, also for phones; "" where there is none."""
    folds = report.folds
    if folds is None or folds.gains is None:
        return ""
    rows, whole = folds.gains.rows[:_N_DRAWN], overall_row(Ledger(report))
    said = "; ".join(f"{row.name} {format_number(row.gain, signed=True)}" for row in rows)
    title = f"Gain by fold on {folds.gains.metric}. {said}"
    metric = folds.gains.metric
    sizes = _NARROW if narrow else _WIDE
    return render_svg(lambda: _figure(rows, whole, metric, sizes), title)


def _figure(
    rows: Sequence[FoldGain],
    whole: Comparison | None,
    metric: str,
    sizes: tuple[float, float, float],
) -> Figure:
    width, left, right = sizes
    shown: list[FoldGain | Comparison] = [*rows, *([whole] if whole else [])]
    height = _ROW * len(shown)
    fig = new_figure(_TOP + height + 0.3, width)
    title = f"Gain by fold on {shorten_text(metric, int(6 * width))}"
    draw_text(fig, (0.05, 0.15), title, fontsize=11)
    draw_text(fig, (0.05, 0.37), "with 95% intervals; one adapter per fold", color=FAINT)
    axes = add_axes(fig, (left, _TOP, width - left - right, height))
    ends = [end for row in shown for end in (row.gain, row.ci_low, row.ci_high) if end is not None]
    low, high = min(0.0, *ends), max(0.0, *ends)
    reach = (high - low) or 1.0
    axes.set_xlim(low - 0.04 * reach, high + 0.04 * reach)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.axvline(0, color=FAINT, linewidth=0.8)
    axes.grid(axis="x", color=GRID, linewidth=0.6)
    if whole:
        axes.axhline(len(rows) - 0.5, color=GRID, linewidth=0.8)
    axes.locator_params(axis="x", nbins=int(1.5 * width))
    for at, row in enumerate(shown):
        is_whole = row is whole
        middle = _TOP + (at + 0.5) * _ROW
        name = shorten_text(row.name, int(11 * left)) if isinstance(row, FoldGain) else "all folds"
        weight = "bold" if is_whole else "normal"
        draw_text(fig, (0.05, middle - 0.07), name, fontsize=9.5, weight=weight)
        draw_text(fig, (0.05, middle + 0.09), f"n={format_count(row.n)}", color=FAINT)
        if row.ci_low is not None and row.ci_high is not None:
            axes.plot([row.ci_low, row.ci_high], [at, at], color=INK, linewidth=1.4)
        if row.gain is not None:
            mark = "D" if is_whole else "o"
            axes.plot([row.gain], [at], mark, color=WIN if is_whole else INK, markersize=6)
        gain, place = format_number(row.gain, signed=True), width - right + 0.1
        draw_text(fig, (place, middle - 0.07), gain, fontsize=9.5, weight=weight)
        ends_text = format_range(row.ci_low, row.ci_high, signed=True) or "no interval"
        draw_text(fig, (place, middle + 0.09), ends_text, color=FAINT)
    return fig
