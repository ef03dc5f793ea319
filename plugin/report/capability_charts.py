"""Draw general ability: the change in every ability, and a radar of the scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from plugin.capability.records import AbilityFinding, Source
from plugin.capability.report import Capability
from plugin.capability.stats import MARGIN
from plugin.capability.words import ability_name, outcome_text, points
from plugin.compare.numbers import format_percent
from plugin.report.canvas import (
    FAINT,
    GRID,
    INK,
    LOSS,
    TIE,
    WIDTH,
    WIN,
    add_axes,
    draw_swatch,
    draw_text,
    new_figure,
    render_svg,
    shorten_text,
)
from plugin.report.radar import LEAST_CORNERS, MOST_CORNERS, Radar, draw_radar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_VARIANTS = 4
"""Variants in a picture; the table has all of them."""

_LEFT, _RIGHT, _ROW = 2.3, 3.0, 0.3
"""Inches for names and numbers, and for each row."""


def capability_charts(found: Capability) -> dict[str, str]:
    """Return file name -> SVG of the pictures that there is anything to draw for."""
    return {
        name: render_svg(draw, _TITLES[name]) for name, draw in capability_figures(found).items()
    }


_TITLES = {
    "capability.svg": "General ability: change against the base",
    "radar.svg": "General ability: scores of every variant",
}


def capability_figures(found: Capability) -> dict[str, Callable[[], Figure]]:
    """Return file name -> what draws the picture, of those that there is anything to draw for."""
    figures: dict[str, Callable[[], Figure]] = {}
    if found.findings:
        figures["capability.svg"] = partial(changes_figure, found)
    if source := _source_of_radar(found):
        figures["radar.svg"] = partial(radar_figure, found, source)
    return figures


def changes_figure(found: Capability) -> Figure:
    """Draw a bar for the change in each ability, variant by variant, with its interval."""
    blocks = [(name, found.of(name)[:MOST_CORNERS]) for name in found.rivals[:MOST_VARIANTS]]
    heights = [_ROW * len(rows) for _, rows in blocks]
    fig = new_figure(1.0 + sum(height + 0.75 for height in heights))
    title = f"General ability: change against {shorten_text(found.base, 24)}"
    draw_text(fig, (0.15, 0.25), title, fontsize=13, weight="bold")
    left = 0.15
    for colour, text in ((LOSS, "lost or lower"), (WIN, "higher"), (TIE, "no loss found")):
        left += draw_swatch(fig, (left, 0.58), colour, text)
    told = (
        f"├──┤  interval, adjusted over all abilities; grey: within {points(MARGIN, signed=False)}"
    )
    draw_text(fig, (left, 0.58), told, color=FAINT, fontsize=8.5)
    top = 0.95
    for (name, rows), height in zip(blocks, heights, strict=True):
        draw_text(fig, (0.15, top + 0.1), shorten_text(name, 40), weight="bold", fontsize=10)
        ax = add_axes(fig, (_LEFT, top + 0.28, WIDTH - _LEFT - _RIGHT, height))
        _draw_changes(ax, rows)
        for place, one in enumerate(rows):
            line = top + 0.28 + _ROW * (place + 0.5)
            draw_text(fig, (0.15, line), shorten_text(_name_of(one), 30))
            draw_text(fig, (WIDTH - _RIGHT + 0.12, line), _numbers_of(one), fontsize=8)
        top += height + 0.75
    return fig


def _name_of(one: AbilityFinding) -> str:
    return ability_name(one.ability) + (" (lm-eval)" if one.source == "lm-eval" else "")


def _numbers_of(one: AbilityFinding) -> str:
    means = f"{format_percent(one.base_mean)} → {format_percent(one.variant_mean)}"
    return shorten_text(f"{means}, n {one.n}: {outcome_text(one)}", 52)


def _draw_changes(ax: Axes, rows: Sequence[AbilityFinding]) -> None:
    ends = [abs(end) for one in rows for end in (one.ci_low, one.ci_high)]
    reach = min(1.0, 1.05 * max([0.1, *ends]))
    ax.set(xlim=(-reach, reach), ylim=(len(rows), 0), yticks=[])
    ax.axvspan(-MARGIN, MARGIN, color=GRID, alpha=0.6, linewidth=0)
    ax.axvline(0, color=FAINT, linewidth=0.8)
    for place, one in enumerate(rows):
        middle, colour = place + 0.5, _colour_of(one)
        ax.barh(middle, one.gain, height=0.5, color=colour, linewidth=0)
        if one.outcome not in ("floor", "ceiling", "unchanged"):
            ax.plot([one.ci_low, one.ci_high], [middle, middle], color=INK, linewidth=1)
            ax.plot([one.ci_low, one.ci_high], [middle, middle], "|", color=INK, markersize=5)
    ax.xaxis.set_major_formatter(lambda value, _: f"{100 * value:+.0f}" if value else "0")
    ax.set_xlabel("percentage points", fontsize=8, color=FAINT)


def _colour_of(one: AbilityFinding) -> str:
    return {"lost": LOSS, "slightly lower": LOSS, "higher": WIN}.get(one.outcome, TIE)


def _source_of_radar(found: Capability) -> Source | None:
    """Return the source with enough abilities for a radar; the shipped questions first."""
    for source in ("probe", "lm-eval"):
        corners = {one.ability for one in found.scores if one.source == source}
        if LEAST_CORNERS <= len(corners) <= MOST_CORNERS:
            return source
    return None


def radar_figure(found: Capability, source: Source) -> Figure:
    """Draw a line around the scores of each variant, an ability in every direction."""
    scores = {
        (one.ability, one.variant): one.mean or 0.0 for one in found.scores if one.source == source
    }
    corners = list(dict.fromkeys(ability for ability, _ in scores))
    names = [found.base, *found.rivals[:MOST_VARIANTS]]
    shown = Radar(
        "Share answered right",
        [ability_name(ability) for ability in corners],
        {name: [scores.get((ability, name), 0.0) for ability in corners] for name in names},
        {share: format_percent(share) for share in (0.25, 0.5, 0.75, 1.0)},
    )
    return draw_radar(shown)
