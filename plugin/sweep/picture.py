"""Draw a sweep as SVG: score by step with intervals, group by group, training curves below.

What is said by colour is also said by shape or in words. There is a wide drawing, and a narrow one
for phones.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from plugin.compare.numbers import format_count, format_number
from plugin.records import ALL
from plugin.report.canvas import (
    ADAPTER_COLOURS,
    FAINT,
    GRID,
    INK,
    LOSS,
    MAX_GROUPS,
    PAPER,
    PROMPTED_COLOUR,
    VANILLA_COLOUR,
    WIDTH,
    add_axes,
    draw_text,
    new_figure,
    render_svg,
    shorten_text,
    split_columns,
)
from plugin.sweep.axis import axis_of
from plugin.sweep.confirm import Confirmation
from plugin.sweep.play import Played
from plugin.sweep.points import Status, SweepPoint, sweep_groups, sweep_points
from plugin.sweep.words import alternative_text, place_text

NARROW = 3.3
"""Width in inches of the drawing for phones."""

_EDGE, _LEFT, _RIGHT = 0.15, 0.6, 0.2
"""Inches: of texts, and left and right of the plots."""

_MAIN, _SMALL, _CURVES = 2.6, 1.05, 1.2
"""Inches: heights of the plots."""

_TEAL, _ORANGE = ADAPTER_COLOURS[0], ADAPTER_COLOURS[2]
_CURVE_COLOURS = (ADAPTER_COLOURS[3], _ORANGE, ADAPTER_COLOURS[1])
_FADED = 0.5
_MARKS: dict[Status, str] = {"passed over": "x", "dropped": "o", "judged to the end": "o"}


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
        lambda: sweep_figure(played, confirmation, curves, narrow=narrow),
        alternative_text(played, confirmation),
    )


def sweep_figure(
    played: Played,
    confirmation: Confirmation | None = None,
    curves: Sequence[Curve] = (),
    *,
    narrow: bool = False,
) -> Any:
    """Return the drawing as a figure."""
    return _Drawing(
        played, confirmation, [one for one in map(_finite, curves) if one.places], narrow
    ).draw()


def _finite(curve: Curve) -> Curve:
    """Return the curve without values that are no numbers."""
    kept = [
        (place, value)
        for place, value in zip(curve.places, curve.values, strict=True)
        if math.isfinite(place) and math.isfinite(value)
    ]
    return Curve(curve.name, [place for place, _ in kept], [value for _, value in kept])


class _Drawing:
    """A figure that is filled from top to bottom."""

    def __init__(
        self,
        played: Played,
        confirmation: Confirmation | None,
        curves: Sequence[Curve],
        narrow: bool,
    ) -> None:
        self.played, self.confirmation, self.curves = played, confirmation, curves
        self.narrow, self.width = narrow, NARROW if narrow else WIDTH
        self.axis = axis_of(played.plan, [place for one in curves for place in one.places])
        self.points = sweep_points(played, ALL)
        self.groups = {one: sweep_points(played, one) for one in sweep_groups(played)}
        self.chosen = next((one for one in self.points if one.status == "recommended"), None)
        self.fig: Any = None
        self.top = 0.0

    def draw(self) -> Any:
        """Draw all parts below each other. The first pass, on a spare sheet, measures them."""
        self.fig = new_figure(40.0, self.width)
        self._fill()
        self.fig = new_figure(self.top + 0.1, self.width)
        self._fill()
        return self.fig

    def _fill(self) -> None:
        self.top = 0.0
        self._head()
        self._legend()
        self._main()
        if self.groups:
            self._small_multiples()
        if self.curves:
            self._training()

    def _lines(self, text: str, size: float = 9.0, **style: Any) -> None:
        """Write text in as many lines as it needs."""
        columns = int((self.width - 2 * _EDGE) / (0.0078 * size))
        for line in textwrap.wrap(shorten_text(text, 1_000), columns):
            self.top += size / 50
            draw_text(self.fig, (_EDGE, self.top), line, fontsize=size, **style)
        self.top += size / 90

    def _head(self) -> None:
        plan = self.played.plan
        self.top = 0.05
        self._lines(f"{plan.spec.title} by {plan.axis}", 11 if self.narrow else 13, weight="bold")
        about = "mean on the cases that choose, with 95% intervals"
        if any(one.status == "dropped" for one in self.points):
            about += "; faint: dropped early, on the fewer cases written below"
        self._lines(about, color=FAINT)

    def _legend(self) -> None:
        """Name the marks that the picture has."""
        statuses = {one.status for one in self.points if one.place is not None}
        entries = [(_TEAL, "● judged to the end")]
        if "dropped" in statuses:
            entries.append((_TEAL, "○ dropped early"))
        if "passed over" in statuses:
            entries.append((LOSS, "✕ lost something"))
        if self._confirmed() is not None:
            entries.append((INK, "◆ the recommended one on other cases"))
        entries += [
            (colour, f"▬ {shorten_text(point.name, 20)} {format_number(point.mean)}")
            for point, colour in self._references()
        ]
        left, self.top = _EDGE, self.top + 0.12
        for colour, text in entries:
            width = 0.2 + 0.075 * split_columns(text)
            if left > _EDGE and left + width > self.width - 0.05:
                left, self.top = _EDGE, self.top + 0.2
            draw_text(self.fig, (left, self.top), text[0], color=colour)
            draw_text(self.fig, (left + 0.16, self.top), text[2:])
            left += width
        self.top += 0.2

    def _references(self) -> list[tuple[SweepPoint, str]]:
        """Return base and prompted base with their colours."""
        references = [one for one in self.points if one.place is None]
        return list(zip(references, (VANILLA_COLOUR, PROMPTED_COLOUR), strict=False))

    def _confirmed(self) -> tuple[float, float | None, float | None] | None:
        """Return mean and interval of the recommended one on the confirming cases."""
        if self.confirmation is None or self.chosen is None or self.chosen.place is None:
            return None
        metric = self.played.plan.spec.name
        for row in self.confirmation.summaries:
            if (row.variant, row.metric, row.group) == (self.chosen.name, metric, ALL):
                return None if row.mean is None else (row.mean, row.ci_low, row.ci_high)
        return None

    def _plot(self, left: float, width: float, height: float) -> Any:
        axes = add_axes(self.fig, (left, self.top, width, height))
        axes.grid(axis="y", color=GRID, linewidth=0.6)
        axes.locator_params(axis="y", nbins=5 if height > 1.5 else 3)
        self.axis.apply(axes, width)
        if self.chosen is not None and self.chosen.place is not None:
            axes.axvline(self.chosen.place, color=FAINT, linewidth=0.9, linestyle=(0, (3, 3)))
        return axes

    def _main(self) -> None:
        """Draw all checkpoints, with the number of cases below each."""
        width = self.width - _LEFT - _RIGHT
        self.top += 0.2
        axes = self._plot(_LEFT, width, _MAIN)
        _draw_points(axes, self.points, size=5.5)
        self._mark_confirmed(axes)
        self._mark_chosen(axes)
        axes.margins(y=0.1)
        self.top += _MAIN + 0.24
        self._n_row(axes, width)
        draw_text(
            self.fig, (_LEFT + width / 2, self.top), self.played.plan.axis, color=FAINT,
            ha="center", fontsize=8,
        )  # fmt: skip
        self.top += 0.15

    def _n_row(self, axes: Any, width: float) -> None:
        """Write the number of cases below each checkpoint, upright where there is little room."""
        placed = [one for one in self.points if one.place is not None and one.n]
        if not placed:
            return
        gap = self.axis.least_gap(width)
        upright, every = gap < 0.3, max(1, math.ceil(0.1 / gap))
        style: dict[str, Any] = {"fontsize": 7, "color": FAINT, "ha": "center"}
        style |= {"va": "top", "rotation": 90 if upright else 0}
        y = -(self.axis.depth + 0.06) / _MAIN
        for point in placed[::every]:
            axes.text(
                point.place, y, format_count(point.n), transform=axes.get_xaxis_transform(), **style
            )
        self.top += self.axis.depth - 0.18
        draw_text(self.fig, (_EDGE, self.top + 0.05), "cases", color=FAINT, fontsize=7)
        self.top += 0.42 if upright else 0.26

    def _mark_chosen(self, axes: Any) -> None:
        """Name the recommended one above its mark, also if it is the base, which has none."""
        chosen = self.chosen
        if chosen is None or chosen.mean is None:
            return
        note: dict[str, Any] = {"fontsize": 9, "weight": "bold", "ha": "center"}
        word = "best so far"
        if self.played.is_finished:
            word = "ranked first" if self.played.plan.split.is_rank_only else "recommended"
        if chosen.place is None:
            text = f"{shorten_text(chosen.name, 20)}: {format_number(chosen.mean)}"
            axes.text(0.5, 1.03, f"{word}: {text}", transform=axes.transAxes, **note)
            return
        axes.plot(
            [chosen.place], [chosen.mean], "o", color=INK, markersize=11, fillstyle="none",
            markeredgewidth=1.6, zorder=5,
        )  # fmt: skip
        text = f"{place_text(self.played.plan, chosen.name)}: {format_number(chosen.mean)}"
        share = self.axis.share(chosen.place)
        note["ha"] = "left" if share < 0.15 else "right" if share > 0.85 else "center"
        axes.text(
            chosen.place, 1.02, f"{word}: {text}", transform=axes.get_xaxis_transform(), **note
        )

    def _mark_confirmed(self, axes: Any) -> None:
        """Draw the mean of the recommended one on the confirming cases, beside its own mark."""
        found = self._confirmed()
        if found is None or self.chosen is None or self.chosen.place is None:
            return
        mean, low, high = found
        place = self.axis.beside(self.chosen.place)
        if low is not None and high is not None:
            axes.plot([place] * 2, [low, high], color=INK, linewidth=1.4)
        axes.plot([place], [mean], "D", color=INK, markersize=5)

    def _small_multiples(self) -> None:
        """Draw a small plot for each group, all with the same scale."""
        shown = list(self.groups)[:MAX_GROUPS]
        n_columns = min(len(shown), 2 if self.narrow else 4)
        gap = 0.42
        width = (self.width - _LEFT - _RIGHT - gap * (n_columns - 1)) / n_columns
        self.top += 0.1
        self._lines("The same, group by group", 10, weight="bold")
        made = []
        for start in range(0, len(shown), n_columns):
            self.top += 0.2
            for column, group in enumerate(shown[start : start + n_columns]):
                left = _LEFT + column * (width + gap)
                points = self.groups[group]
                n = "" if self.narrow else f" (n={format_count(max(p.n for p in points))})"
                name = shorten_text(group, max(8, int(width / 0.074) - len(n))) + n
                draw_text(self.fig, (left, self.top - 0.06), name, fontsize=8, weight="bold")
                self.top += 0.08
                axes = self._plot(left, width, _SMALL)
                _draw_points(axes, points, size=3.5)
                self.axis.few_ticks(axes)
                made.append(axes)
                self.top -= 0.08
            self.top += _SMALL + 0.35
        ends = [end for axes in made for end in axes.get_ylim()]
        for axes in made:
            axes.set_ylim(min(ends), max(ends))
        left_out = len(self.groups) - len(shown)
        if left_out:
            self._lines(f"{format_count(left_out)} more in the table", 8, color=FAINT)

    def _training(self) -> None:
        """Draw the training curves on the same axis."""
        self._lines("Training curves", 10, weight="bold")
        left, self.top = _EDGE, self.top + 0.1
        for curve, colour in zip(self.curves, _CURVE_COLOURS, strict=False):
            width = 0.35 + 0.078 * split_columns(curve.name)
            if left > _EDGE and left + width > self.width:
                left, self.top = _EDGE, self.top + 0.18
            draw_text(self.fig, (left, self.top), "━", color=colour)
            draw_text(self.fig, (left + 0.2, self.top), shorten_text(curve.name, 40))
            left += width
        self.top += 0.18
        axes = self._plot(_LEFT, self.width - _LEFT - _RIGHT, _CURVES)
        styles = ("-", (0, (5, 2)), (0, (1, 1.5)))
        for curve, colour, dashes in zip(self.curves, _CURVE_COLOURS, styles, strict=False):
            few = "o" if len(curve.places) < 40 else ""
            axes.plot(
                list(curve.places), list(curve.values), color=colour, linestyle=dashes,
                linewidth=1.5, marker=few, markersize=2.5,
            )  # fmt: skip
        self.top += _CURVES + 0.3


def _draw_points(axes: Any, points: Sequence[SweepPoint], size: float) -> None:
    """Draw base and prompted base as bands, and each checkpoint as a mark with its interval."""
    references = [one for one in points if one.place is None]
    for point, colour in zip(references, (VANILLA_COLOUR, PROMPTED_COLOUR), strict=False):
        if point.mean is None:
            continue
        axes.axhline(point.mean, color=colour, linewidth=1.4)
        if point.ci_low is not None and point.ci_high is not None:
            axes.axhspan(point.ci_low, point.ci_high, color=colour, alpha=0.2, linewidth=0)
    for point in points:
        if point.place is None or point.mean is None:
            continue
        is_out, colour = point.status == "dropped", LOSS if point.status == "passed over" else _TEAL
        fade = _FADED if is_out else 1.0
        if point.ci_low is not None and point.ci_high is not None:
            ends = [point.ci_low, point.ci_high]
            axes.plot([point.place] * 2, ends, color=colour, alpha=fade, linewidth=1.4)
        axes.plot(
            [point.place], [point.mean], _MARKS.get(point.status, "o"), color=colour,
            markersize=size, markeredgewidth=1.4, alpha=fade if is_out else 1.0,
            markerfacecolor=PAPER if is_out else colour, zorder=4,
        )  # fmt: skip
