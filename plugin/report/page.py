"""Report -> one HTML page that needs nothing but itself: no font, no network, only own scripts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from plugin.compare.bradley_terry import ELO
from plugin.compare.numbers import (
    MISSING,
    format_count,
    format_direction,
    format_number,
    format_p,
    format_percent,
    format_range,
    format_rough,
)
from plugin.compare.words_preference import format_rate
from plugin.judges import NoJudge
from plugin.records import ALL, EVEN, is_prompted, is_rival
from plugin.report.capability import capability_section
from plugin.report.case_rows import case_anchor, case_data, ends, readable, visible, worst_loss
from plugin.report.conversations import talks_of
from plugin.report.embedded import (
    code_element,
    data_element,
    page_templates,
    read_code,
    security_policy,
)
from plugin.report.latency import latency_section
from plugin.report.record import Ledger, Report
from plugin.report.right_wrong import turned_cases
from plugin.report.sampling import unlike_cases
from plugin.report.task_results import task_sections
from plugin.report.yardsticks import yardstick_rows, yardstick_title
from plugin.results import Comparison
from plugin.trust.controls import CONTROLS, RULE_RIGHT
from plugin.trust.exam import CANARIES, PASS_BELOW, RULE, RULE_OF_OWN, is_own_criterion
from plugin.trust.pair_probes import RULE_PAIRS, WRONG
from plugin.trust.report import trust_first_lines, trust_last_lines

if TYPE_CHECKING:
    from jinja2 import Template

MAX_ROWS = 100
"""Rows of one table and what else was lost; the CSV tables have all."""

_SCRIPTS = ("diff.js", "case_card.js", "cases.js")

BADGES = {
    "better": ("better", "▲"),
    "worse": ("worse", "▼"),
    "equivalent": ("equivalent", "≈"),
    "can't tell": ("unsure", "?"),
    "lost": ("lost", "◆"),
    "kept": ("equivalent", "✓"),
    "unclear": ("unsure", "?"),
    None: ("unsure", "–"),
}
"""Outcome -> the class that colours its badge, and a sign for those who see no colour."""


class ForestPlot(NamedTuple):
    """Where a comparison's marks stand on a line 140 units long with zero at 70."""

    margin_low: float
    margin_high: float
    low: float | None
    high: float | None
    gain: float


class PageTable(NamedTuple):
    """Comparisons under one heading.

    Attributes:
        kind: "overall", "retention" or "groups".
        rows: the first ones, and after them every lost guard among the rest.
        n_left_out: how many more there are.
        notes: how their p-values are to be read, a sentence each.
    """

    kind: str
    rows: list[Comparison]
    n_left_out: int
    notes: tuple[str, ...]


class Pictures(NamedTuple):
    """The answer as SVG elements, for screens and paper, and for phones; "" without one.

    Attributes:
        memory: the same for what the training data shows.
        curves: the same for the trainings' loss curves.
        talks: the same for the categories of conversations.
        samples: the same for where the variance comes from.
        latency: the same for waiting times under load, for screens and paper.
        latency_narrow: the same for phones.
        folds: the same for the gain in each fold, and `folds_narrow` for phones.
    """

    wide: str = ""
    narrow: str = ""
    memory: str = ""
    curves: str = ""
    talks: str = ""
    samples: str = ""
    latency: str = ""
    latency_narrow: str = ""
    folds: str = ""
    folds_narrow: str = ""


_NO_PICTURES = Pictures()


def render_page(
    report: Report,
    charts: Sequence[str],
    pictures: Pictures = _NO_PICTURES,
    capability_charts: Sequence[str] = (),
) -> str:
    """Return the whole page as HTML.

    Args:
        report: what to show; its texts are escaped.
        charts: SVG elements, trusted and put in as they are.
        pictures: the same for the answer; without them the first chart takes their place.
        capability_charts: those of general ability.
    """
    ledger = Ledger(report)
    cases, codes = case_data(ledger), [read_code(name) for name in _SCRIPTS]
    tables = _comparison_tables(ledger)
    return _template().render(
        report=report,
        ledger=ledger,
        charts=charts,
        pictures=pictures,
        turned=turned_cases(ledger),
        prompt_names=[name for name in ledger.variants[1:] if is_prompted(name)],
        rival_names=[name for name in ledger.variants[1:] if is_rival(name)],
        yardsticks=yardstick_rows(ledger),
        yardstick_title=yardstick_title(ledger),
        no_judge=NoJudge.label,
        badge=BADGES["lost" if report.verdict.lost else report.verdict.outcome],
        rivals_lost=_rivals_lost(report),
        tables=tables,
        forests=_forests(ledger),
        max_rows=MAX_ROWS,
        specs={spec.name: spec for spec in report.metrics},
        summaries=ledger.sort_rows(report.summaries),
        policy=security_policy(codes),
        cases=cases,
        ends=ends(cases),
        worst=worst_loss(cases),
        unscored=_unscored(report) if cases["cases"] else [],
        n_worked=len(cases["cases"]),
        case_elements="".join([data_element("case-data", cases), *map(code_element, codes)]),
        task=task_sections(report.task),
        talks=talks_of(report),
        capability=capability_section(report.capability),
        capability_charts=capability_charts,
        latency=latency_section(report.latency),
        trust_lines=_trust_lines(report),
        canaries={"texts": CANARIES, "limit": PASS_BELOW, "rule": RULE, "rule_of_own": RULE_OF_OWN},
        controls={"texts": CONTROLS, "rule": RULE_RIGHT},
        pairs={"texts": WRONG, "rule": RULE_PAIRS},
        own={spec.name for spec in report.metrics if is_own_criterion(spec)},
        rates={
            (row.metric, row.variant, row.baseline): row
            for row in tables[0].rows
            if row.is_relative
        },
        has_style=any(view.at_equal_style for view in report.compared.views),
        even=EVEN,
        elo=ELO,
        unlike=unlike_cases(report.sampling, MAX_ROWS),
    )


def _comparison_tables(ledger: Ledger) -> list[PageTable]:
    """Return the comparisons over all cases, in retention groups, and in the other groups."""
    found: dict[str, list[Comparison]] = {"overall": [], "retention": [], "groups": []}
    for row in ledger.sort_rows(ledger.report.comparisons):
        is_guard = row.role == "guard"
        kind = "overall" if row.group == ALL else "retention" if is_guard else "groups"
        found[kind].append(row)
    tables = []
    for kind, rows in found.items():
        shown = rows[:MAX_ROWS] + [row for row in rows[MAX_ROWS:] if row.outcome == "lost"]
        tables.append(PageTable(kind, shown, len(rows) - len(shown), _p_notes(rows)))
    return tables


def _p_notes(rows: Sequence[Comparison]) -> tuple[str, ...]:
    """Say what the p-values of a table are, and over how many tests they are adjusted, if any."""
    largest = {
        role: max((row.n_family for row in rows if row.role == role), default=0)
        for role in ("primary", "guard", "exploratory")
    }
    notes = []
    if largest["primary"] > 1:
        notes.append(f"p on the primary metric is adjusted over {largest['primary']} tests (Holm).")
    elif largest["primary"]:
        notes.append("The primary metric is tested alone.")
    if n := largest["guard"]:
        adjusted = f", adjusted over {n} guards (Holm)" if n > 1 else ""
        notes.append(f"For guards, a small p is a sign of harm{adjusted}.")
    if largest["exploratory"] > 1:
        notes.append("Exploratory p-values are adjusted among themselves (Holm).")
    return tuple(notes)


def _unscored(report: Report) -> list[str]:
    """Return the metrics without any score, such as those of a judge that never answered."""
    scored = {score.metric for score in report.scores}
    asked = [spec for spec in report.metrics if not {spec.name, spec.key} & scored]
    return [spec.name for spec in asked]


def _rivals_lost(report: Report) -> dict[str, str]:
    """Return what the variants lost that the verdict is not about, by the variant's name."""
    lost: dict[str, list[str]] = {}
    for harm in report.verdict.harms:
        if harm.variant != report.verdict.variant:
            lost.setdefault(harm.variant, []).append(harm.name)
    return {variant: ", ".join(names) for variant, names in lost.items()}


def _trust_lines(report: Report) -> list[str]:
    if report.trust is None:
        return []
    primary = report.verdict.primary_metric or ""
    first = trust_first_lines(report.judge, report.trust)
    return [*first, *trust_last_lines(report.trust, primary)]


def _template() -> Template:
    environment = page_templates(Path(__file__).parent)
    environment.filters |= {
        "number": format_number,
        "p": format_p,
        "percent": format_percent,
        "rough": format_rough,
        "counted": format_count,
        "direction": format_direction,
        "rate": format_rate,
        "whole": _format_whole,
        "readable": readable,
        "visible": visible,
        "anchor": case_anchor,
        "id": id,
    }
    environment.globals |= {"interval": format_range, "badges": BADGES}
    return environment.get_template("page.html.j2")


def _format_whole(value: float | None, *, signed: bool = False) -> str:
    """Return a number of characters, tokens or points without decimals."""
    if value is None:
        return MISSING
    return f"{round(value):+,}" if signed else f"{round(value):,}"


def _forests(ledger: Ledger) -> dict[int, ForestPlot]:
    """Place the marks by the id of their comparison, on one scale per metric."""
    rows = [row for row in ledger.report.comparisons if row.gain is not None]
    reach: dict[str, float] = {}
    for row in rows:
        ends = [abs(x) for x in (row.gain, row.ci_low, row.ci_high, row.margin) if x is not None]
        reach[row.metric] = max(reach.get(row.metric, 0.0), *ends)
    return {id(row): _forest(row, reach[row.metric] or 1.0) for row in rows}


def _forest(row: Comparison, reach: float) -> ForestPlot:
    def place(value: float) -> float:
        return round(70 + 64 * value / reach, 1)

    known = row.ci_low is not None and row.ci_high is not None
    return ForestPlot(
        margin_low=place(-row.margin),
        margin_high=place(row.margin),
        low=place(row.ci_low or 0.0) if known else None,
        high=place(row.ci_high or 0.0) if known else None,
        gain=place(row.gain or 0.0),
    )
