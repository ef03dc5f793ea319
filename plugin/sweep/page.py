"""Sweep -> one HTML page that needs nothing but itself: which checkpoint, and why."""

from __future__ import annotations

from pathlib import Path

from plugin.compare.numbers import MISSING, format_number, format_range
from plugin.records import ALL
from plugin.report.canvas import inline_svg
from plugin.report.embedded import page_templates, security_policy
from plugin.report.page import BADGES
from plugin.sweep.points import gain_of, sweep_groups, sweep_points
from plugin.sweep.request import skip_line
from plugin.sweep.result import SweepResult
from plugin.sweep.show import BEST_MARK, CONFIRMED, status_text, summary_lines, table_title


def render_sweep(result: SweepResult, wide: str, narrow: str) -> str:
    """Return the whole page as HTML.

    Args:
        result: what to show; its texts are escaped.
        wide: the picture as SVG for screens and paper, trusted.
        narrow: the same for phones.
    """
    environment = page_templates(Path(__file__).parent)
    headline, *details = summary_lines(result)
    verdict = result.confirmed.verdict if result.confirmed else None
    more = list(verdict.details) if verdict else []
    outcome = ("lost" if verdict.lost else verdict.outcome) if verdict else None
    return environment.get_template("sweep.html.j2").render(
        policy=security_policy([]),
        headline=headline,
        details=[line for line in details if line not in more],
        more=more,
        tone=BADGES[outcome][0],
        chip=f"confirmed: {verdict.chip}" if verdict else _state(result),
        title=table_title(result).removesuffix(BEST_MARK),
        axis=result.played.plan.axis,
        cheap=[one for one in result.cheap if one.spec.name != result.played.plan.spec.name],
        tables=[(group, _rows(result, group)) for group in (ALL, *sweep_groups(result.played))],
        whole=ALL,
        skipped=[skip_line(one) for one in result.skipped],
        notes=[*result.facts.notes, *result.warnings],
        confirmation=CONFIRMED if result.confirmation else "",
        wide=inline_svg(wide, "wide"),
        narrow=inline_svg(narrow, "narrow"),
        missing=MISSING,
        number=format_number,
    )


def _state(result: SweepResult) -> str:
    """Return how far a sweep without a confirmed verdict is, in a few words."""
    if not result.is_chosen:
        return "not finished"
    if result.played.plan.split.is_rank_only:
        return "ranked only"
    is_base = result.played.choice.name == result.played.plan.base
    return "keep the base" if is_base else "not confirmed yet"


def _rows(result: SweepResult, group: str) -> list[dict[str, object]]:
    """Return the rows of one group's table."""
    played = result.played
    points = sweep_points(played, group)
    return [
        {
            "name": point.name,
            "place": MISSING if point.place is None else f"{point.place:g}",
            "n": f"{point.n:,}",
            "mean": format_number(point.mean),
            "interval": format_range(point.ci_low, point.ci_high) or MISSING,
            "gain": format_number(gain_of(played, point), signed=True) if at else MISSING,
            "status": status_text(result, point),
            "is_best": result.is_chosen and point.status == "recommended",
            "is_out": point.status == "dropped",
        }
        for at, point in enumerate(points)
    ]
