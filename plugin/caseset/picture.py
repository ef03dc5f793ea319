"""Draw how the topics of the pool are covered by the set."""

from __future__ import annotations

from typing import Any

from plugin.caseset.records import CaseSet, TopicCount
from plugin.report.canvas import (
    ADAPTER_COLOURS,
    FAINT,
    GRID,
    TIE,
    WIDTH,
    add_axes,
    draw_swatch,
    draw_text,
    new_figure,
    render_svg,
    shorten_text,
)

MOST_BARS = 24
"""Topics in the picture; the table has all."""

_SET_COLOUR = ADAPTER_COLOURS[0]
_TOP, _ROW, _BOTTOM = 0.95, 0.44, 0.35
_NARROW = 4.1


def coverage_svg(made: CaseSet, narrow: bool = False) -> str:
    """Draw a pair of bars for each topic: its share of the pool, and of the set.

    Args:
        made: the set.
        narrow: for a phone: names stand above the bars.
    """
    said = ", ".join(f"{one.name}: {one.n_set} of {one.n_pool}" for one in made.topics[:MOST_BARS])
    title = f"Topics of the evaluation set, cases drawn of those in the pool. {said}"
    return render_svg(lambda: _figure(made, narrow), title)


def _figure(made: CaseSet, narrow: bool) -> Any:
    topics = made.topics[:MOST_BARS]
    row = _ROW + (0.2 if narrow else 0.0)
    width = _NARROW if narrow else WIDTH
    fig = new_figure(_TOP + row * len(topics) + _BOTTOM, width)
    draw_text(fig, (0.12, 0.25), "What the set is about", fontsize=13, weight="bold")
    right = 0.12 + draw_swatch(fig, (0.12, 0.56), TIE, "share of the pool")
    draw_swatch(fig, (right, 0.56), _SET_COLOUR, "share of the set")
    shares = [_shares(made, one) for one in topics]
    left, end = (0.12, 0.85) if narrow else (2.6, 1.0)
    axes = add_axes(fig, (left, _TOP - 0.1, width - left - end, row * len(topics)))
    axes.set_xlim(0, 1.02 * max(max(pair) for pair in shares))
    axes.set_ylim(len(topics), 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_formatter(lambda value, place: f"{value:.0%}")
    axes.locator_params(axis="x", nbins=3 if narrow else 6, steps=[1, 2, 5, 10])
    axes.grid(axis="x", color=GRID, linewidth=0.6)
    for at, (one, (of_pool, of_set)) in enumerate(zip(topics, shares, strict=True)):
        shift = 0.2 / row / 2 if narrow else 0.0
        middle = at + 0.5 + shift
        thick = 0.13 / row
        axes.barh(middle - thick / 2, of_pool, height=thick, color=TIE, linewidth=0)
        axes.barh(middle + thick / 2, of_set, height=thick, color=_SET_COLOUR, linewidth=0)
        line = _TOP - 0.1 + middle * row
        name = shorten_text(one.name, 34)
        draw_text(fig, (0.12, line - (0.24 if narrow else 0.0)), name, fontsize=9.5)
        counts = f"{one.n_pool:,} → {one.n_set:,}"
        draw_text(fig, (width - end + 0.08, line), counts, fontsize=8.5, color=FAINT)
    return fig


def _shares(made: CaseSet, topic: TopicCount) -> tuple[float, float]:
    return topic.n_pool / len(made.pool.rows), topic.n_set / len(made.rows)
