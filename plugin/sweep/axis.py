"""The axis of a sweep's picture: steps, data sizes, or values of a setting."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from plugin.report.canvas import shorten_text
from plugin.sweep.funnel import SweepPlan

_WIDE_RANGE, _CROWDED = 30.0, 0.2
"""Places whose largest is so many times the smallest, and whose median lies below this share of the
largest, are drawn on a logarithmic axis."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Where the checkpoints stand, and how the axis is labelled.

    Attributes:
        places: of the checkpoints, rising.
        low: left end.
        high: right end.
        is_log: whether the axis is logarithmic.
        labels: texts for the places; none for numbers.
    """

    places: tuple[float, ...]
    low: float
    high: float
    is_log: bool
    labels: tuple[str, ...] = ()

    def apply(self, axes: Any, width: float) -> None:
        """Give a plot of this width, in inches, the axis and its labels."""
        if self.is_log:
            axes.set_xscale("log")
            axes.minorticks_off()
        axes.set_xlim(self.low, self.high)
        if self.labels:
            shown = _spread(len(self.places), int(width / 0.5))
            axes.set_xticks([self.places[at] for at in shown])
            axes.set_xticklabels([shorten_text(self.labels[at], 9) for at in shown])
            return
        shown = self._numbers(int(width / 0.6))
        axes.set_xticks([self.places[at] for at in shown])
        axes.set_xticklabels([format_place(self.places[at]) for at in shown])

    def few_ticks(self, axes: Any) -> None:
        """Label the ends only, for a small plot."""
        ends = sorted({0, len(self.places) - 1})
        texts = self.labels or tuple(format_place(one) for one in self.places)
        axes.set_xticks([self.places[at] for at in ends])
        axes.set_xticklabels([shorten_text(texts[at], 9) for at in ends])

    def _numbers(self, most: int) -> list[int]:
        """Return which places are labelled: as many as there is room for, none over another."""
        least = 1 / max(1, most)
        shown, last = list[int](), -math.inf
        for at, place in enumerate(self.places):
            if self.share(place) - last >= least:
                shown.append(at)
                last = self.share(place)
        return shown

    def share(self, place: float) -> float:
        """Return where a place stands, from 0 at the left end to 1 at the right end."""
        if self.is_log:
            return math.log(place / self.low) / math.log(self.high / self.low)
        return (place - self.low) / (self.high - self.low)

    def beside(self, place: float) -> float:
        """Return a place a little to the right of this one, or to the left at the right end."""
        shift = 0.012 if self.share(place) < 0.97 else -0.012
        if self.is_log:
            return float(place * (self.high / self.low) ** shift)
        return place + shift * (self.high - self.low)

    def least_gap(self, width: float) -> float:
        """Return the smallest distance between neighbours in a plot of this width, in inches."""
        shares = [self.share(place) for place in self.places]
        gaps = [right - left for left, right in zip(shares, shares[1:], strict=False)]
        return width * max(min(gaps, default=1.0), 1e-3)

    @property
    def depth(self) -> float:
        """Return how far the labels reach below the plot, in inches."""
        return 0.2


def axis_of(plan: SweepPlan, others: Sequence[float] = ()) -> Axis:
    """Return the axis of a sweep.

    Args:
        plan: of the sweep.
        others: what else is drawn on it, such as the steps of training curves.
    """
    places = tuple(one.place for one in plan.checkpoints)
    labels = tuple(one.label or format_place(one.place) for one in plan.checkpoints)
    own_labels = labels if any(one.label for one in plan.checkpoints) else ()
    whole = sorted([*places, *(one for one in others if math.isfinite(one))]) or [0.0, 1.0]
    low, high = whole[0], whole[-1]
    middle = sorted(places)[len(places) // 2] if places else 0.0
    if not others and low > 0 and high / low >= _WIDE_RANGE and middle <= _CROWDED * high:
        room = (high / low) ** 0.05
        return Axis(places, low / room, high * room, True, own_labels)
    room = 0.04 * (high - low) or 1.0
    return Axis(places, low - room, high + room, False, own_labels)


def format_place(place: float) -> str:
    """Return a place as it is written: 1,000 with a comma, 0.0001 as it is."""
    if place == int(place) and abs(place) < 1e15:
        return f"{int(place):,}"
    return f"{place:g}"


def _spread(n: int, most: int) -> list[int]:
    """Return at most so many places out of n, evenly spread, the first one included."""
    return list(range(0, n, max(1, math.ceil(n / max(1, most)))))
