"""What the report shows of conversations: scores by category, and what becomes of later turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from plugin.compare.numbers import format_number, round_published
from plugin.compare.turns import Change, TurnChange, shown_metric
from plugin.records import ALL, MetricSpec
from plugin.report.canvas import render_svg
from plugin.report.radar import LEAST_CORNERS, MOST_CORNERS, Radar, draw_radar
from plugin.report.record import Report
from plugin.results import Comparison, Summary

COLUMNS = (
    "kind metric variant part n score ci_low ci_high against change change_low change_high".split()
)
"""Of 10_conversations.csv. kind: category (part is its name, change is the gain over `against`),
turn (change since turn 1), or difference (that change minus the change of `against`)."""

Row = tuple[str | float | None, ...]

MOST_VARIANTS = 4
"""Lines in a radar; the table has all variants."""

PICTURE = "categories.svg"


@dataclass(frozen=True, slots=True)
class Category:
    """One category: each variant's mean, and its gain over the base where it is compared."""

    name: str
    cells: tuple[tuple[Summary, Comparison | None], ...]


class Talks(NamedTuple):
    """The page's part on conversations.

    Attributes:
        metric: by which they are shown.
        base: name of the base.
        names: all variants, the base first.
        n: number of conversations.
        n_turns: number of their turns.
        categories: () where the data have none.
        changes: at each later turn, by turn and variant.
        other: the same on other metrics.
    """

    metric: MetricSpec
    base: str
    names: tuple[str, ...]
    n: int
    n_turns: int
    categories: tuple[Category, ...]
    changes: tuple[TurnChange, ...]
    other: tuple[TurnChange, ...]


def talks_of(report: Report) -> Talks | None:
    """Return what is shown of conversations; None where no turn follows another one."""
    spec = shown_metric(report.metrics)
    n = sum(case.ends_conversation for case in report.cases)
    if not n or spec is None:
        return None
    own = [one for one in report.turns if one.metric == spec.name]
    return Talks(
        metric=spec,
        base=report.variants[0].name,
        names=tuple(variant.name for variant in report.variants),
        n=n,
        n_turns=n + sum(_goes_on(report)),
        categories=_categories(report, spec),
        changes=tuple(own),
        other=tuple(one for one in report.turns if one.metric != spec.name),
    )


def _goes_on(report: Report) -> list[bool]:
    """Say for each case whether a turn follows it."""
    before = {case.follows for case in report.cases}
    return [case.id in before for case in report.cases]


def _categories(report: Report, spec: MetricSpec) -> tuple[Category, ...]:
    means = [one for one in report.summaries if one.metric == spec.name and one.group != ALL]
    gains = {
        (row.group, row.variant): row
        for row in report.comparisons
        if row.metric == spec.name and row.baseline == report.variants[0].name
    }
    named: dict[str, list[tuple[Summary, Comparison | None]]] = {}
    for one in means:
        named.setdefault(one.group, []).append((one, gains.get((one.group, one.variant))))
    return tuple(Category(name, tuple(cells)) for name, cells in named.items())


def conversation_rows(talks: Talks) -> list[Row]:
    """Return the rows of 10_conversations.csv."""
    rows = list[Row]()
    for category in talks.categories:
        for one, gain in category.cells:
            mean = (one.n, one.mean, one.ci_low, one.ci_high)
            told = (gain.baseline, gain.gain, gain.ci_low, gain.ci_high) if gain else _NOTHING
            rows.append(("category", one.metric, one.variant, category.name, *mean, *told))
    for change in (*talks.changes, *talks.other):
        part = f"turn {change.turn}"
        head = (change.metric, change.variant, part)
        numbers = (change.change.n, change.mean, None, None, "turn 1", *_ends(change.change))
        rows.append(("turn", *head, *numbers))
        if against := change.against:
            numbers = (against.n, None, None, None, change.baseline, *_ends(against))
            rows.append(("difference", *head, *numbers))
    return [tuple(round_published(x) if isinstance(x, float) else x for x in row) for row in rows]


_NOTHING = (None, None, None, None)


def _ends(change: Change) -> tuple[float | None, float | None, float | None]:
    return change.mean, change.ci_low, change.ci_high


def radar_of(talks: Talks) -> str:
    """Return the radar of the categories as SVG; "" where there are too few or too many."""
    whole = [one for one in talks.categories if all(cell.mean is not None for cell, _ in one.cells)]
    if not LEAST_CORNERS <= len(whole) <= MOST_CORNERS:
        return ""
    return render_svg(lambda: draw_radar(_radar(talks, whole)), _told(talks, whole))


def _radar(talks: Talks, categories: Sequence[Category]) -> Radar:
    spec = talks.metric

    def share(value: float) -> float:
        return (value - spec.low) / (spec.high - spec.low)

    names = talks.names[: MOST_VARIANTS + 1]
    means = {
        name: [
            share(cell.mean or 0.0)
            for one in categories
            for cell, _ in one.cells
            if cell.variant == name
        ]
        for name in names
    }
    marks = [spec.low + (spec.high - spec.low) * part / 3 for part in (1, 2, 3)]
    rings = {share(mark): f"{mark:.2g}" for mark in marks}
    corners = [f"{one.name} ({one.cells[0][0].n})" for one in categories]
    return Radar(f"{spec.name} by category (number of turns)", corners, means, rings)


def _told(talks: Talks, categories: Sequence[Category]) -> str:
    """Return the picture in words, for who does not see it."""
    parts = [
        f"{one.name}: "
        + ", ".join(f"{cell.variant} {format_number(cell.mean)}" for cell, _ in one.cells)
        for one in categories
    ]
    return f"{talks.metric.name} by category. {'; '.join(parts)}"
