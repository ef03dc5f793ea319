"""Report -> one HTML page that needs nothing but itself: no script, no font, no network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

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
from plugin.records import ALL, DATA, EVEN, PROMPTED, Case, Completion, MetricSpec, Preference
from plugin.report.record import CaseCell, Ledger, Report
from plugin.report.right_wrong import turned_cases
from plugin.report.task_results import task_sections
from plugin.results import Comparison
from plugin.thinking import SplitText
from plugin.trust.controls import CONTROLS, RULE_RIGHT
from plugin.trust.exam import CANARIES, PASS_BELOW, RULE, RULE_OF_OWN, is_own_criterion
from plugin.trust.pair_probes import RULE_PAIRS, WRONG
from plugin.trust.report import trust_first_lines, trust_last_lines

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

MAX_CASES = 500
"""Cases on the page; the tables have them all."""

MAX_UNPAIRED = 100
"""How many of those may be cases without a gain, when not all fit."""

MAX_ROWS = 100
"""Rows of one table and what else was lost, and MAX_FILTERS groups; the CSV tables have all."""

MAX_FILTERS = 24

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


class MetricColumn(NamedTuple):
    """What one variant did with a case; its text is thoughts and answer."""

    variant: str
    completion: Completion | None
    text: SplitText
    cells: list[tuple[MetricSpec, CaseCell]]


class PageCase(NamedTuple):
    """A case as shown.

    Attributes:
        columns: one per variant, the base first.
        data: what the metrics that judge the case alone found.
        gains: every variant but the base, and its gain on the primary metric.
        rank: what the cases are ordered by, the contenders' worst first; None where there is no
            score.
        classes: what the filters go by.
    """

    case: Case
    columns: list[MetricColumn]
    data: list[tuple[MetricSpec, CaseCell]]
    gains: list[tuple[str, float | None]]
    rank: float | None
    classes: str


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
    """The answer as SVG elements, for screens and paper, and for phones; "" without one."""

    wide: str = ""
    narrow: str = ""


_NO_PICTURES = Pictures()


def render_page(report: Report, charts: Sequence[str], pictures: Pictures = _NO_PICTURES) -> str:
    """Return the whole page as HTML.

    Args:
        report: what to show; its texts are escaped.
        charts: SVG elements, trusted and put in as they are.
        pictures: the same for the answer; without them the first chart takes their place.
    """
    ledger = Ledger(report)
    entries = [entry for case in report.cases if (entry := _page_case(ledger, case))]
    shown = _choose_shown(entries)
    tables = _comparison_tables(ledger)
    return _template().render(
        report=report,
        ledger=ledger,
        charts=charts,
        pictures=pictures,
        turned=turned_cases(ledger),
        prompted=PROMPTED,
        no_judge=NoJudge.label,
        badge=BADGES["lost" if report.verdict.lost else report.verdict.outcome],
        rivals_lost=_rivals_lost(report),
        tables=tables,
        forests=_forests(ledger),
        max_rows=MAX_ROWS,
        specs={spec.name: spec for spec in report.metrics},
        summaries=ledger.sort_rows(report.summaries),
        entries=shown,
        n_worked=len(entries),
        filters=_filters(ledger, shown),
        task=task_sections(report.task),
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
        notes.append(f"The p of guards is that of harm{adjusted}.")
    if largest["exploratory"] > 1:
        notes.append("Exploratory p-values are adjusted among themselves (Holm).")
    return tuple(notes)


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
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": format_number,
        "p": format_p,
        "percent": format_percent,
        "rough": format_rough,
        "counted": format_count,
        "direction": format_direction,
        "rate": format_rate,
        "whole": _format_whole,
        "told": _told,
        "id": id,
        "anchor": _anchor,
        "whole_options": _whole_options,
    }
    environment.globals |= {"interval": format_range, "badges": BADGES}
    return environment.get_template("page.html.j2")


_OPTION = re.compile(r"--[a-z][a-z_]*")


def _whole_options(text: str) -> Markup:
    """Return a text, escaped, whose options are not broken at the end of a line."""
    from markupsafe import Markup, escape

    return Markup(_OPTION.sub(r'<span class="option">\g<0></span>', str(escape(text))))  # noqa: S704


def _anchor(case_id: str) -> str:
    """Return the name of a case's place on the page."""
    return f"case-{quote(case_id, safe='')}"


def _format_whole(value: float | None, *, signed: bool = False) -> str:
    """Return a number of characters, tokens or points without decimals."""
    if value is None:
        return MISSING
    return f"{round(value):+,}" if signed else f"{round(value):,}"


_LEVELS = {2: "much better", 1: "better", 0: "tie", -1: "worse", -2: "much worse"}


def _told(one: Preference) -> str:
    """Return in a few words what a judge preferred in both orders, from the variant's side."""
    who = f"{one.judge}: " if one.judge else ""
    if one.first is None or one.second is None:
        return f"{who}not asked"
    first, second = _LEVELS[one.first], _LEVELS[one.second]
    if one.is_flip:
        return f"{who}flip: {first} shown first, {second} shown second"
    return f"{who}{first} in both orders" if first == second else f"{who}{first}, {second}"


def _page_case(ledger: Ledger, case: Case) -> PageCase | None:
    """Return the case as shown, None when nothing has been done with it yet."""
    report, primary, rivals = ledger.report, ledger.primary, ledger.contenders
    columns = []
    for variant in ledger.variants:
        completion = report.completions.get((case.id, variant))
        text = SplitText("", completion.text if completion else "")
        text = report.split_texts.get((case.id, variant), text)
        cells = _metric_cells(ledger, case, variant)
        columns.append(MetricColumn(variant, completion, text, cells))
    if not any(column.completion or column.cells for column in columns):
        return None
    gains: list[tuple[str, float | None]] = []
    rank = None
    if primary is not None:
        others = ledger.variants[1:]
        gains = [(name, ledger.cell(case, name, primary).gain) for name in others]
        known = [gain for name, gain in gains if name in rivals and gain is not None]
        score = ledger.cell(case, ledger.variants[0], primary).score
        if known:
            rank = min(known)
        elif not others and score:
            rank = primary.gain(score.value, 0.0)
    failed = any(cell.failure for column in columns for _, cell in column.cells)
    classes = {_gain_kind(gain) for name, gain in gains if name in rivals}
    classes |= {"fail"} if failed else set()
    compared = [one for c in columns for _, cell in c.cells for one in cell.preferences]
    classes |= {"flip"} if any(one.is_flip for one in compared) else set()
    filtered = ledger.groups[:MAX_FILTERS]
    if case.group in filtered:
        classes.add(f"g{filtered.index(case.group)}")
    data = _metric_cells(ledger, case, DATA)
    return PageCase(case, columns, data, gains, rank, " ".join(sorted(classes - {""})))


def _metric_cells(ledger: Ledger, case: Case, name: str) -> list[tuple[MetricSpec, CaseCell]]:
    """Return what a variant, or the data, got from the metrics that score it."""
    specs = [spec for spec in ledger.report.metrics if name in ledger.scored_names(spec)]
    if name == ledger.baseline:  # where two are compared, its score is given by definition
        specs = [spec for spec in specs if not spec.is_relative]
    found = [(spec, ledger.cell(case, name, spec)) for spec in specs]
    return [(spec, cell) for spec, cell in found if cell.score or cell.failure]


def _gain_kind(gain: float | None) -> str:
    if gain is None:
        return ""
    return "win" if gain > 0 else "loss" if gain < 0 else "tie"


def _choose_shown(entries: Sequence[PageCase]) -> list[PageCase]:
    """Put the worst first, those without a score last; the two ends when there are too many."""
    ranked = sorted(
        (entry for entry in entries if entry.rank is not None), key=lambda entry: entry.rank or 0.0
    )
    unpaired = [entry for entry in entries if entry.rank is None]
    if len(entries) > MAX_CASES:
        unpaired = unpaired[: max(MAX_UNPAIRED, MAX_CASES - len(ranked))]
        room = MAX_CASES - len(unpaired)
        if len(ranked) > room:
            ranked = ranked[: room - room // 2] + ranked[len(ranked) - room // 2 :]
    return ranked + unpaired


def _filters(
    ledger: Ledger, entries: Sequence[PageCase]
) -> list[tuple[str, list[tuple[str, str, int]]]]:
    """Return filter -> its choices as (class, label, cases), only those that any case has."""
    kinds = {"loss": "losses", "tie": "ties", "win": "wins", "fail": "failures", "flip": "flips"}
    groups = {f"g{place}": group for place, group in enumerate(ledger.groups[:MAX_FILTERS])}
    filters = []
    for name, labels in (("outcome", kinds), ("group", groups)):
        counts = {key: sum(key in entry.classes.split() for entry in entries) for key in labels}
        choices = [(key, labels[key], count) for key, count in counts.items() if count]
        if choices:
            filters.append((name, choices))
    return filters


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
