"""Draw a sweep as SVG: score by step with intervals, per group, training curves below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from plugin.records import ALL
from plugin.report.canvas import (
    ADAPTER_COLOURS,
    FAINT,
    GRID,
    VANILLA_COLOUR,
    WIDTH,
    WIN,
    add_axes,
    draw_text,
    new_figure,
    render_svg,
)
from plugin.sweep.confirm import Confirmation
from plugin.sweep.play import Played
from plugin.sweep.points import SweepPoint, sweep_points
from plugin.sweep.words import alternative_text

NARROW = 3.3
"""Width in inches of the drawing for phones."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One training curve on the axis of the sweep.

    Attributes:
        name: what it shows, such as "training loss".
        places: where its values stand on the axis, in rising order.
        values: as many values; NaN and infinity are left out.
    """

    name: str
    places: Sequence[float]
    values: Sequence[float]


def sweep_svg(
    played: Played,
    confirmation: Confirmation | None = None,
    curves: Sequence[Curve] = (),
    *,
    narrow: bool = False,
) -> str:
    """Draw the sweep; a narrow drawing suits a phone."""
    return render_svg(
        lambda: _figure(played, confirmation, curves, NARROW if narrow else WIDTH),
        alternative_text(played),
    )


def _figure(
    played: Played, confirmation: Confirmation | None, curves: Sequence[Curve], width: float
) -> Any:
    fig = new_figure(5.2 if curves else 3.6, width)
    spec = played.plan.spec
    draw_text(fig, (0.15, 0.25), f"{spec.name} by {played.plan.axis}", fontsize=13, weight="bold")
    axes = add_axes(fig, (0.65, 0.7, width - 0.85, 2.3))
    _draw_points(axes, sweep_points(played, ALL))
    axes.set_xlabel(played.plan.axis, color=FAINT)
    if curves:
        below = add_axes(fig, (0.65, 3.6, width - 0.85, 1.1))
        for curve, colour in zip(curves, ADAPTER_COLOURS, strict=False):
            below.plot(list(curve.places), list(curve.values), color=colour, label=curve.name)
        below.set_xlim(axes.get_xlim())
        below.grid(axis="y", color=GRID, linewidth=0.6)
    return fig


def _draw_points(axes: Any, points: Sequence[SweepPoint]) -> None:
    base, *rest = points
    if base.ci_low is not None and base.ci_high is not None:
        axes.axhspan(base.ci_low, base.ci_high, color=VANILLA_COLOUR, alpha=0.2, linewidth=0)
    for point in rest:
        if point.place is None or point.mean is None:
            continue
        fade = 0.35 if point.status == "dropped" else 1.0
        if point.ci_low is not None and point.ci_high is not None:
            axes.plot([point.place] * 2, [point.ci_low, point.ci_high], color=WIN, alpha=fade)
        axes.plot([point.place], [point.mean], "o", color=WIN, alpha=fade)
