"""Draw the loss curves of trainings, with their checkpoints and the one that was looked at.

One block for each training: training and evaluation loss in one panel, the learning rate below.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from plugin.report.canvas import (
    ADAPTER_COLOURS,
    FAINT,
    GRID,
    INK,
    LOSS,
    PAPER,
    TIE,
    WIN,
    add_axes,
    draw_swatch,
    draw_text,
    new_figure,
    render_svg,
    shorten_text,
)
from plugin.training.words import curve_lines, say_step
from plugin.training_curves import Curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TOP, _PANEL, _RATE, _BELOW = 0.6, 2.6, 0.55, 0.6
"""Inches: the title of a block, the panel of losses, that of the learning rate, and the axis."""

_LEFT, _RIGHT = 0.75, 0.35
_RATE_COLOUR = ADAPTER_COLOURS[2]
_LOG_FROM = 8.0
"""Ratio of the largest loss to the middle one from which on the axis is logarithmic."""

_MOST_DOTS = 60
"""Evaluations up to which each has a dot."""

_MOST_LINES = 4
"""Adapters that have a line each."""

_MOST_MARKS = 60
"""Checkpoints up to which each has a mark."""


class Block(NamedTuple):
    """One training in the picture.

    Attributes:
        name: its heading.
        curves: what its log says.
        chosen: the steps of the adapters that were looked at.
    """

    name: str
    curves: Curves
    chosen: tuple[float, ...]


def curves_svg(blocks: Sequence[Block]) -> str:
    """Draw the curves of every training; "" for none."""
    if not blocks:
        return ""
    said = "; ".join(f"{block.name}: {curve_lines(block.curves)[0]}" for block in blocks)
    return render_svg(lambda: _figure(blocks), f"Loss curves of the training. {said}")


def _figure(blocks: Sequence[Block]) -> Figure:
    heights = [_height(block.curves) for block in blocks]
    fig = new_figure(sum(heights) + 0.1)
    top = 0.1
    for block, height in zip(blocks, heights, strict=True):
        _draw_block(fig, block, top)
        top += height
    return fig


def _height(curves: Curves) -> float:
    return _TOP + _PANEL + _BELOW + (_RATE + 0.2 if len(curves.learning_rate) > 1 else 0.0)


def _draw_block(fig: Figure, block: Block, top: float) -> None:
    curves = block.curves
    title = f"{shorten_text(block.name, 60)}: {_state_words(curves)}"
    draw_text(fig, (0.15, top + 0.12), title, fontsize=12, weight="bold")
    _draw_legend(fig, curves, top + 0.38)
    width = fig.get_figwidth() - _LEFT - _RIGHT
    axes = add_axes(fig, (_LEFT, top + _TOP, width, _PANEL))
    _draw_losses(axes, curves)
    _mark_checkpoints(axes, curves, block.chosen)
    axes.set_ylabel("loss", color=FAINT)
    last = axes
    if len(curves.learning_rate) > 1:
        last = add_axes(fig, (_LEFT, top + _TOP + _PANEL + 0.2, width, _RATE))
        _draw_rate(last, curves)
        where = (_LEFT + 0.05, top + _TOP + _PANEL + 0.14)
        draw_text(fig, where, "learning rate", fontsize=8, color=FAINT)
        axes.set_xticklabels([])
        last.set_xlim(axes.get_xlim())
    last.set_xlabel(f"{curves.axis} of the training", color=FAINT)


def _state_words(curves: Curves) -> str:
    """Return the state for a title."""
    state = curves.diagnosis.state
    words = {"too noisy": "too noisy to say", "too few": "too few values to say"}
    return words.get(state, state if state != "no evaluation" else "no evaluation loss")


def _draw_legend(fig: Figure, curves: Curves, top: float) -> None:
    left = 0.15
    if len(curves.train):
        left += draw_swatch(fig, (left, top), TIE, "training loss")
    if len(curves.evaluation):
        left += draw_swatch(fig, (left, top), WIN, "evaluation loss")
    signs = ["▲  a checkpoint that exists"] if curves.checkpoints else []
    if curves.train.broken or curves.evaluation.broken:
        signs.append("×  a loss that is no number")
    draw_text(fig, (left, top), "      ".join(signs), fontsize=9, color=FAINT)


def _draw_losses(axes: Axes, curves: Curves) -> None:
    train, evaluation = curves.train, curves.evaluation
    values = [*train.values, *evaluation.values]
    if values and min(values) > 0 and max(values) > _LOG_FROM * statistics.median(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda value, _: "")
    marker = "o" if len(train) == 1 else ""
    axes.plot(train.steps, train.values, marker, ls="-", color=TIE, linewidth=1.3, markersize=4)
    dots = "o" if len(evaluation) <= _MOST_DOTS else ""
    axes.plot(
        evaluation.steps, evaluation.values, dots, ls="-", color=WIN, linewidth=1.6, markersize=4
    )
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    axes.margins(x=0.03, y=0.12)
    _make_room(axes)
    change = curves.diagnosis.change
    if change and curves.diagnosis.state in ("overfitting", "diverging"):
        axes.axvspan(change.low_step, change.high_step, color=LOSS, alpha=0.09, linewidth=0)
    for series in (train, evaluation):
        for step in series.broken[:_MOST_DOTS]:
            axes.plot([step], [0.97], "x", color=LOSS, transform=axes.get_xaxis_transform())


def _make_room(axes: Axes) -> None:
    """Leave a strip for the words at the top."""
    low, high = axes.get_ylim()
    is_log = axes.get_yscale() == "log"
    axes.set_ylim(low, high * (high / low) ** 0.15 if is_log else high + 0.15 * (high - low))


def _mark_checkpoints(axes: Axes, curves: Curves, chosen: Sequence[float]) -> None:
    foot = axes.get_xaxis_transform()
    for one in curves.checkpoints[-_MOST_MARKS:]:
        axes.plot([one.step], [0.02], "^", color=FAINT, markersize=5, transform=foot, clip_on=False)
    best = curves.diagnosis.best
    if best and best.loss is not None:
        axes.plot([best.step], [best.loss], "o", color=WIN, markersize=10, fillstyle="none")
    texts: list[tuple[float, str]] = []
    if best and best.loss is not None:
        same = ", looked at" if best.step in chosen else ""
        texts.append((best.step, f"best{same}: {say_step(curves, best.step)}"))
    for step in sorted(set(chosen))[:_MOST_LINES]:
        if not texts or step != texts[0][0]:
            texts.append((step, f"looked at: {say_step(curves, step)}"))
    low, high = axes.get_xlim()
    for row, (step, text) in enumerate(texts):
        style: Any = (0, (4, 3)) if step in chosen else (0, (1, 2))
        axes.axvline(step, color=INK, linewidth=0.9, linestyle=style, zorder=0.5)
        is_right = (step - low) > 0.6 * (high - low)
        axes.annotate(
            text,
            (step, 1.0 - 0.07 * row),
            xycoords=foot,
            xytext=(-5 if is_right else 5, -2),
            textcoords="offset points",
            ha="right" if is_right else "left",
            va="top",
            fontsize=8.5,
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.6},
        )


def _draw_rate(axes: Axes, curves: Curves) -> None:
    rate = curves.learning_rate
    axes.plot(rate.steps, rate.values, color=_RATE_COLOUR, linewidth=1.3)
    highest = max(rate.values)
    axes.set_ylim(0, highest * 1.25 or 1.0)
    axes.set_yticks([0, highest] if highest else [0])
    axes.set_yticklabels(["0", f"{highest:.2g}"] if highest else ["0"])
