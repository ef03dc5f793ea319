"""Show the history of runs: a picture in lines that mean the same, and a page with every run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugin.compare.numbers import format_number, format_range
from plugin.report.canvas import (
    ADAPTER_COLOURS,
    FAINT,
    GRID,
    INK,
    LOSS,
    VANILLA_COLOUR,
    add_axes,
    draw_text,
    inline_svg,
    new_figure,
    render_svg,
    shorten_text,
)
from plugin.report.embedded import page_templates, security_policy
from plugin.report.run_record import RunRecord

_TOP, _PANEL, _LABELS, _GAP = 0.95, 2.3, 0.85, 0.3
"""Inches: title, one panel, the room for its labels, and the gap below."""

MAX_POINTS = 40
"""Points of one panel; older ones are in the table alone."""


@dataclass(frozen=True, slots=True)
class Point:
    """One run in the picture.

    Attributes:
        record: what it found.
        line: number of the line that it belongs to.
        why_new: why it begins a new line; "" for none.
    """

    record: RunRecord
    line: int
    why_new: str


def trend_svg(points: Sequence[Point]) -> str:
    """Draw a panel for each metric; the newest runs, from left to right."""
    return render_svg(lambda: _figure(points), text_alternative(points))


def text_alternative(points: Sequence[Point]) -> str:
    """Return the picture in words."""
    last = points[-1].record
    told = "none" if last.score is None else f"{last.score:.2f}"
    return (
        f"Scores of {len(points)} results, the oldest first; the last is {last.variant} with "
        f"{told} on {last.metric}"
    )


def _figure(points: Sequence[Point]) -> Any:
    metrics = list(dict.fromkeys(one.record.metric for one in points))
    height = _PANEL + _LABELS + _GAP
    fig = new_figure(_TOP + height * len(metrics))
    draw_text(fig, (0.15, 0.25), "Runs over time", fontsize=13, weight="bold")
    about = (
        "filled: the variant, bar: 95% interval of its gain over the baseline (grey); a line joins "
        "scores that mean the same"
    )
    draw_text(fig, (0.15, 0.52), about, color=FAINT)
    for place, metric in enumerate(metrics):
        own = [one for one in points if one.record.metric == metric][-MAX_POINTS:]
        _draw_panel(fig, own, _TOP + place * height)
    return fig


def _draw_panel(fig: Any, points: Sequence[Point], top: float) -> None:
    first = points[0].record
    direction = "more is better" if first.higher_is_better else "less is better"
    title = f"{shorten_text(first.metric, 50)} ({direction})"
    draw_text(fig, (0.15, top - 0.1), title, weight="bold", fontsize=10)
    axes = add_axes(fig, (0.7, top + 0.05, 8.1, _PANEL))
    lines = dict.fromkeys(one.line for one in points)
    colours = {line: ADAPTER_COLOURS[i % len(ADAPTER_COLOURS)] for i, line in enumerate(lines)}
    for line in lines:
        own = [(x, one.record) for x, one in enumerate(points) if one.line == line]
        known = [(x, one.score) for x, one in own if one.score is not None]
        if known:
            axes.plot(*zip(*known, strict=True), "-", color=colours[line], linewidth=1.2)
    for x, one in enumerate(points):
        _draw_point(axes, x, one.record, colours[one.line])
        if one.why_new and x:
            axes.axvline(x - 0.5, color=FAINT, linewidth=0.8, linestyle=(0, (2, 3)))
    axes.set_xticks(range(len(points)))
    names = [shorten_text(_label(one.record), 26) for one in points]
    axes.set_xticklabels(names, rotation=30, ha="right", fontsize=7.5)
    axes.set_xlim(-0.5, len(points) - 0.5)
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    axes.margins(y=0.15)


def _draw_point(axes: Any, x: int, one: RunRecord, colour: str) -> None:
    if one.score is None:
        axes.annotate("no score", (x, 0), color=LOSS, fontsize=8, ha="center")
        return
    if one.baseline_score is not None:
        axes.plot([x], [one.baseline_score], "o", color=VANILLA_COLOUR, markersize=4)
        if one.ci_low is not None and one.ci_high is not None:
            sign = 1 if one.higher_is_better else -1
            ends = [one.baseline_score + sign * end for end in (one.ci_low, one.ci_high)]
            axes.plot([x, x], ends, color=colour, linewidth=1.4, alpha=0.7)
    axes.plot([x], [one.score], "o", color=colour, markersize=6)
    if one.harms:
        axes.plot([x], [one.score], "o", color=LOSS, markersize=11, fillstyle="none")
        axes.annotate(
            "lost",
            (x, one.score),
            xytext=(0, 9),
            textcoords="offset points",
            ha="center",
            fontsize=7.5,
            color=INK,
        )


def _label(one: RunRecord) -> str:
    return f"{Path(one.folder).name} {one.variant}"


def render_history(points: Sequence[Point], picture: str, notes: Sequence[str]) -> str:
    """Return the page, the newest run first.

    Args:
        points: the records, the oldest first.
        picture: the trend as SVG.
        notes: what the reader must know, most important first.
    """
    from markupsafe import Markup

    environment = page_templates(Path(__file__).parent)
    environment.filters |= {"number": format_number}
    environment.globals |= {"interval": format_range}
    return environment.get_template("history.html.j2").render(
        policy=security_policy([]),
        points=list(reversed(points)),
        picture=Markup(inline_svg(picture, "trend")),  # noqa: S704
        notes=notes,
        n_runs=len({one.record.run_id for one in points}),
        newest=points[-1].record,
    )
