"""Draw a strength sweep as SVG: likelihood and output change of an adapter, scale by scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plugin.certify.sweep import Sweep, SweepStep, share_text
from plugin.compare.numbers import format_rough
from plugin.report.canvas import (
    ADAPTER_COLOURS,
    FAINT,
    GRID,
    INK,
    PAPER,
    WIN,
    add_axes,
    draw_text,
    new_figure,
    render_svg,
    shorten_text,
)

_TOP, _BLOCK, _PANEL = 0.75, 3.35, 2.0
"""Inches: the title, the block of one adapter, and the height of its panels."""

_LEFTS, _PANEL_WIDTH = (0.75, 5.3), 3.45
_LINE_COLUMNS = 126
_MANY = 9
"""Scales from which on their numbers are written upright."""


def strength_svg(sweeps: Sequence[Sweep]) -> str:
    """Draw one block for each adapter: likelihood on the left, output change on the right."""
    return render_svg(lambda: _figure(sweeps), "Likelihood and output change by strength")


def _figure(sweeps: Sequence[Sweep]) -> Any:
    fig = new_figure(_TOP + _BLOCK * len(sweeps))
    title = "What the adapter does at other strengths"
    draw_text(fig, (0.15, 0.25), title, fontsize=13, weight="bold")
    about = (
        "scale 0 is the base, scale 1 (dashed) the adapter as trained; upright bars: 95% interval "
        "of the difference from scale 1"
    )
    draw_text(fig, (0.15, 0.52), about, color=FAINT)
    for place, sweep in enumerate(sweeps):
        _draw_block(fig, sweep, _TOP + place * _BLOCK)
    return fig


def _draw_block(fig: Any, sweep: Sweep, top: float) -> None:
    draw_text(fig, (0.15, top + 0.12), shorten_text(sweep.variant, 60), weight="bold", fontsize=10)
    for row, line in enumerate(_wrap(sweep.words)):
        draw_text(fig, (0.15, top + 0.34 + 0.18 * row), line)
    box = (top + 0.85, _PANEL_WIDTH, _PANEL)
    left, right = (add_axes(fig, (x, *box)) for x in _LEFTS)
    _draw_likelihoods(fig, left, sweep, top)
    _draw_changes(fig, right, sweep, top)
    for axes in (left, right):
        axes.axvline(1, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0.5)
        axes.set_xticks([step.scale for step in sweep.steps])
        axes.set_xticklabels([f"{step.scale:g}" for step in sweep.steps])
        if len(sweep.steps) >= _MANY:
            axes.tick_params(axis="x", labelrotation=90)
        axes.set_xlabel("scale of the adapter", color=FAINT)
        axes.grid(axis="y", color=GRID, linewidth=0.6)
        low, high = sweep.steps[0].scale, sweep.steps[-1].scale
        axes.set_xlim(low - 0.05 * (high - low), high + 0.05 * (high - low))


def _draw_likelihoods(fig: Any, axes: Any, sweep: Sweep, top: float) -> None:
    """Draw the mean likelihood; the bars are the intervals of the gain over scale 1."""
    read = [step for step in sweep.steps if step.likelihood is not None]
    title = "likelihood of expected outputs, nats per token (more is better)"
    draw_text(fig, (_LEFTS[0] - 0.6, top + 0.75), title, color=FAINT, fontsize=8)
    best = sweep.best
    if best is None:
        nothing = {"ha": "center", "color": FAINT, "transform": axes.transAxes}
        axes.text(0.5, 0.5, "no expected outputs", **nothing)
        axes.set_yticks([])
        return
    axes.plot(*_line(read, [s.likelihood for s in read]), "o-", color=WIN, markersize=4)
    for step in read:
        ends = _interval(step)
        if ends:
            axes.plot([step.scale] * 2, ends, color=WIN, linewidth=1, alpha=0.6)
    axes.plot([best.scale], [best.likelihood], "o", color=WIN, markersize=9, fillstyle="none")
    note = {"textcoords": "offset points", "xytext": (0, 9), "ha": "center", "fontsize": 8}
    axes.annotate("best", (best.scale, best.likelihood), **note)
    axes.margins(y=0.18)


def _interval(step: SweepStep) -> tuple[float, float] | None:
    if step.likelihood is None or step.gain is None or step.ci_low is None or step.ci_high is None:
        return None
    at_one = step.likelihood - step.gain
    return at_one + step.ci_low, at_one + step.ci_high


def _draw_changes(fig: Any, axes: Any, sweep: Sweep, top: float) -> None:
    """Draw the distance from the base; the numbers are the share of changed completions."""
    title = "nats from the base, and share of completions that change"
    draw_text(fig, (_LEFTS[1] - 0.4, top + 0.75), title, color=FAINT, fontsize=8)
    able = [step for step in sweep.steps if step.effect is not None]
    values = [step.effect.kl for step in able if step.effect]
    axes.plot(*_line(able, values), "o-", color=ADAPTER_COLOURS[0], markersize=4)
    note = {"textcoords": "offset points", "ha": "center", "fontsize": 8}
    note |= {"bbox": {"facecolor": PAPER, "edgecolor": "none", "pad": 0.6}}
    for step in sweep.steps:
        height = step.effect.kl if step.effect else 0.0
        text = share_text(step) if step.effect else "NaN"
        aside = -11 if step.scale and step.effect else 0  # beside the rising line
        axes.annotate(text, (step.scale, height), xytext=(aside, 7), **note)
    axes.set_ylim(0, max([*values, 1e-9]) * 1.18)
    axes.yaxis.set_major_formatter(lambda value, _: format_rough(value))


def _line(steps: Sequence[SweepStep], values: Sequence[float | None]) -> tuple[Any, Any]:
    return [step.scale for step in steps], list(values)


def _wrap(text: str) -> list[str]:
    """Return the text in lines that fit the picture."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= _LINE_COLUMNS:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
