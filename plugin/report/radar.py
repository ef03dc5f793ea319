"""Draw a radar: a line around the values of each variant, one quantity in every direction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, NamedTuple

from plugin.report.canvas import (
    ADAPTER_COLOURS,
    FAINT,
    GRID,
    VANILLA_COLOUR,
    WIDTH,
    add_axes,
    draw_swatch,
    draw_text,
    new_figure,
    shorten_text,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEAST_CORNERS = 3
"""With fewer there is no area."""

MOST_CORNERS = 24


class Radar(NamedTuple):
    """What a radar shows.

    Attributes:
        title: above the picture.
        corners: names of the directions.
        values: variant -> a value from 0 to 1 for each corner; the base comes first.
        rings: value from 0 to 1 -> how the scale names it.
    """

    title: str
    corners: Sequence[str]
    values: Mapping[str, Sequence[float]]
    rings: Mapping[float, str]


def draw_radar(shown: Radar) -> Figure:
    """Return the picture; only variants after the first one have a filled area."""
    own = cycle(ADAPTER_COLOURS)
    base = next(iter(shown.values))
    colours = {name: VANILLA_COLOUR if name == base else next(own) for name in shown.values}
    size = 3.6
    fig = new_figure(size + 1.5)
    draw_text(fig, (0.15, 0.25), shown.title, fontsize=13, weight="bold")
    left = 0.15
    for name, colour in colours.items():
        left += draw_swatch(fig, (left, 0.58), colour, shorten_text(name, 24))
    ax = add_axes(fig, ((WIDTH - size) / 2, 1.15, size, size))
    ax.set(xlim=(-1.02, 1.02), ylim=(-1.02, 1.02), xticks=[], yticks=[])
    ax.axis("off")
    n = len(shown.corners)
    places = [_place(i, n) for i in range(n)]
    for share, label in shown.rings.items():
        _draw_ring(ax, [share] * n, places, GRID, 0.8)
        ax.text(0.0, share, label, color=FAINT, fontsize=7, ha="center")
    for (x, y), corner in zip(places, shown.corners, strict=True):
        ax.plot([0, x], [0, y], color=GRID, linewidth=0.8)
        side = "center" if abs(x) < 0.1 else "left" if x > 0 else "right"
        style = {"ha": side, "va": "center", "fontsize": 8.5, "clip_on": False}
        ax.text(1.09 * x, 1.09 * y, shorten_text(corner, 26), style)
    for name, colour in colours.items():
        _draw_ring(ax, shown.values[name], places, colour, 2.0, fill=name != base)
    return fig


def _place(number: int, n: int) -> tuple[float, float]:
    """Return the end of a direction, clockwise from the top."""
    angle = math.pi / 2 - 2 * math.pi * number / n
    return math.cos(angle), math.sin(angle)


def _draw_ring(
    ax: Axes,
    values: Sequence[float],
    places: Sequence[tuple[float, float]],
    colour: str,
    width: float,
    *,
    fill: bool = False,
) -> None:
    xs = [value * x for value, (x, _) in zip(values, places, strict=True)]
    ys = [value * y for value, (_, y) in zip(values, places, strict=True)]
    if fill:
        ax.fill(xs, ys, color=colour, alpha=0.15, linewidth=0)
    ax.plot([*xs, xs[0]], [*ys, ys[0]], color=colour, linewidth=width)
