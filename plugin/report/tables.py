"""The CSV tables of a report: five, and more where completions or all cases were compared.

Their columns stay the same for ever: the host's evals page reads them.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from plugin.compare.numbers import round_published
from plugin.compare.pairs import Contrast, contrasts
from plugin.memorisation.report import Memorisation
from plugin.records import ALL, DATA, VANILLA, Case, MetricSpec, Preference, is_yardstick
from plugin.report.capability import CAPABILITY_COLUMNS, capability_rows
from plugin.report.conversations import COLUMNS, conversation_rows, talks_of
from plugin.report.folds_chart import FOLD_COLUMNS, fold_rows
from plugin.report.latency import LATENCY_COLUMNS, latency_rows
from plugin.report.record import CaseCell, Ledger, Report
from plugin.report.sampling import SamplingView
from plugin.results import DatasetNumber
from plugin.sample_rows import sample_of_preference
from plugin.sheets import guard_cell, spell_breaks
from plugin.trust.accepted_choices import VariantChoice

SUMMARY_COLUMNS = "label metric variant score n failed ci_low ci_high higher_is_better".split()
COMPARISON_COLUMNS = (
    "label metric variant baseline verdict gain ci_low ci_high p_value n n_clusters "
    "effective_clusters group role variant_mean baseline_mean failed_variant failed_baseline "
    "margin higher_is_better partial".split()
)
CASES_COLUMNS = (
    "label case_id metric variant gain score baseline_score group input expected_output "
    "baseline_output output reason".split()
)
GROUPS_COLUMNS = (
    "label metric variant group score n failed ci_low ci_high gain gain_low gain_high verdict "
    "higher_is_better".split()
)
SINGLE_LABEL = "adapter"
MOST_BARS = 8
"""Of the summary, which the host shows as a chart at once: more labels overlap."""

_LABEL_ROOM = 210
"""Characters that fit under the host's chart, side by side."""

TASK_COLUMNS = (
    "metric number part variant value n ci_low ci_high difference difference_low "
    "difference_high".split()
)
PASS_COLUMNS = (
    "metric k variant value n ci_low ci_high difference difference_low difference_high".split()
)
PREFERENCES_COLUMNS = (
    "label case_id metric variant baseline judge shown_first shown_second value flip group "
    "reason".split()
)
SAMPLES_COLUMNS = "case_id variant sample n_samples metric score n_judged output".split()
OVERLAP_COLUMNS = "kind id mark similarity training_row training_text why".split()
PEOPLE = "People"
"""Stands in the place of the metric where a person chose."""

FAILURES_COLUMNS = "variant metric stage case_id reason".split()

CellValue = str | float | bool | None


class Table(NamedTuple):
    """A table for a CSV file: the names of its columns, and its rows, ready to be written."""

    columns: Sequence[str]
    rows: Sequence[Sequence[CellValue]]


def make_tables(report: Report) -> dict[str, Table]:
    """Return file name -> table, in publishing order."""
    ledger = Ledger(report)
    tables = {
        "01_summary.csv": summary_table(ledger),
        "02_comparison.csv": comparison_table(ledger),
        "03_cases.csv": cases_table(ledger),
        "04_failures.csv": failures_table(ledger),
        "05_groups.csv": groups_table(ledger),
    }
    if report.preferences or report.choices:
        tables["07_preferences.csv"] = preferences_table(ledger)
    if report.memorisation:
        tables["09_overlap.csv"] = overlap_table(report.memorisation)
    if report.task.numbers:
        tables["06_task.csv"] = task_table(report)
    if report.capability:
        tables["08_capability.csv"] = _table(CAPABILITY_COLUMNS, capability_rows(report.capability))
    if talks := talks_of(report):
        tables["10_conversations.csv"] = _table(COLUMNS, conversation_rows(talks))
    if report.sampling and report.sampling.scores:
        tables["11_samples.csv"] = samples_table(report, report.sampling)
    if passed := [one for one in report.task.numbers if one.name.startswith("pass@")]:
        tables["12_pass_at_k.csv"] = pass_table(passed)
    if report.latency:
        tables["13_latency.csv"] = _table(LATENCY_COLUMNS, latency_rows(report.latency))
    if report.folds and report.folds.gains:
        tables["14_folds.csv"] = _table(FOLD_COLUMNS, fold_rows(ledger))
    return tables


def samples_table(report: Report, found: SamplingView) -> Table:
    """Return a row for each sample and metric; its score is the mean over the judge's repeats."""
    cases = {case.id: i for i, case in enumerate(report.cases)}
    variants = {variant.name: i for i, variant in enumerate(report.variants)}
    texts = {
        (*place, one.sample): (len(own), one.text)
        for place, own in found.samples.items()
        for one in own
    }
    values = dict[tuple[str, str, int, str], list[float]]()
    for score in found.scores:
        place = score.case_id, score.variant, score.sample, score.metric
        values.setdefault(place, []).append(score.value)
    rows: list[Sequence[CellValue]] = []
    for place in sorted(
        values, key=lambda one: (cases[one[0]], variants.get(one[1], -1), *one[2:])
    ):
        case_id, variant, sample, metric = place
        own = values[place]
        n, text = texts.get((case_id, variant, sample), (1, None))
        mean = math.fsum(own) / len(own)
        rows.append((case_id, variant, sample + 1, n, metric, mean, len(own), text))
    return _table(SAMPLES_COLUMNS, rows)


def overlap_table(found: Memorisation) -> Table:
    """Return a row for each case, and each item of general ability, that is not clean."""
    marks = [("case", one) for one in found.overlaps] + [("item", one) for one in found.items]
    rows: list[Sequence[CellValue]] = [
        (kind, one.id, one.mark, one.similarity, one.row, one.text, one.why) for kind, one in marks
    ]
    return _table(OVERLAP_COLUMNS, rows)


def csv_text(table: Table) -> str:
    """Return the table as text, one line per row, missing values empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.rows)
    return text.getvalue()


def summary_table(ledger: Ledger) -> Table:
    """Return a row per metric and variant over all cases, primary metric and base first.

    The host draws a bar for each row and colours `score` from 0 to 1, so there are at most
    `MOST_BARS` rows whose labels fit side by side, and metrics of another range only where there
    are no others.
    """
    rows: list[Sequence[CellValue]] = []
    widest = 0
    for spec in _charted(ledger):
        found = [ledger.summary(spec, variant) for variant in ledger.scored_names(spec)]
        own = [row for row in found if row is not None and row.mean is not None]
        labels = [_bar_label(ledger, spec.name, row.variant) for row in own]
        widest = max([widest, *map(len, labels)])
        n_bars = len(rows) + len(own)
        if rows and (n_bars > MOST_BARS or n_bars * (widest + 2) > _LABEL_ROOM):
            break
        rows += [
            (label, spec.name, row.variant, row.mean)
            + (row.n, row.n_failed, row.ci_low, row.ci_high, row.higher_is_better)
            for label, row in zip(labels, own, strict=True)
        ]
    return _table(SUMMARY_COLUMNS, rows[:MOST_BARS])


def groups_table(ledger: Ledger) -> Table:
    """Return a row per metric, variant and group, with the gain over the base."""
    rows: list[Sequence[CellValue]] = []
    for spec in _charted(ledger):
        for group in ledger.groups:
            for variant in ledger.scored_names(spec):
                row = ledger.summary(spec, variant, group)
                if row is None:
                    continue
                gain = ledger.comparison(spec, variant, group)
                label = f"{_bar_label(ledger, spec.name, variant)}{_group_suffix(group)}"
                rows.append(
                    (label, spec.name, variant, group, row.mean, row.n, row.n_failed)
                    + (row.ci_low, row.ci_high)
                    + ((gain.gain, gain.ci_low, gain.ci_high) if gain else (None, None, None))
                    + (gain.outcome if gain else None, row.higher_is_better)
                )
    return _table(GROUPS_COLUMNS, rows)


def _charted(ledger: Ledger) -> list[MetricSpec]:
    """Return the metrics that run from 0 to 1, else all, the primary one first."""
    specs = sorted(ledger.report.metrics, key=lambda spec: spec is not ledger.primary)
    return [spec for spec in specs if 0 <= spec.low and spec.high <= 1] or specs


def _bar_label(ledger: Ledger, metric: str, variant: str) -> str:
    return f"{metric} / {chart_label(variant, ledger.variants)}"


def chart_label(variant: str, names: Sequence[str]) -> str:
    """Return a variant's name in charts: a single rival is `adapter`, so that jobs compare.

    Args:
        variant: one of the names, or what judges the data alone.
        names: of all variants, the base first; without a base where only an adapter runs.
    """
    rivals = [name for name in names if name != VANILLA and not is_yardstick(name)]
    return SINGLE_LABEL if rivals == [variant] else variant


def comparison_table(ledger: Ledger) -> Table:
    """Return a row per comparison; `p_value` is not adjusted, and of a guard it is that of harm.

    Those on clean, copied and near cases come last, as groups.
    """
    rows: list[Sequence[CellValue]] = []
    memory = ledger.report.memorisation
    marked = ledger.sort_rows(memory.marked_rows) if memory else []
    for row in [*ledger.sort_rows(ledger.report.comparisons), *marked]:
        metric = ledger.metric_name(row.metric)
        label = f"{metric}: {row.variant} vs {row.baseline}" + _group_suffix(row.group)
        rows.append(
            (label, metric, row.variant, row.baseline, row.outcome)
            + (row.gain, row.ci_low, row.ci_high, row.p_value)
            + (row.n, row.n_clusters, row.effective_clusters, row.group, row.role)
            + (row.variant_mean, row.baseline_mean, row.n_failed_variant, row.n_failed_baseline)
            + (row.margin, row.higher_is_better, row.partial)
        )
    return _table(COMPARISON_COLUMNS, rows)


def cases_table(ledger: Ledger) -> Table:
    """Return a row per case, metric and variant against the base, the biggest losses first.

    A run of the base alone has its own rows. A case that a variant has not worked has no row: the
    host's chart would count it as a zero.
    """
    rows = list[tuple[float, Sequence[CellValue]]]()
    for spec in ledger.report.metrics:
        names = ledger.scored_names(spec)
        for variant in names[1:] or names:
            for case in ledger.report.cases:
                cell = ledger.cell(case, variant, spec)
                if row := _case_row(ledger, spec, variant, case, cell):
                    rows.append((math.inf if cell.gain is None else cell.gain, row))
    rows.sort(key=lambda pair: pair[0])
    return _table(CASES_COLUMNS, [row for _, row in rows])


def _case_row(
    ledger: Ledger, spec: MetricSpec, variant: str, case: Case, own: CaseCell
) -> Sequence[CellValue] | None:
    """Return what a variant got on a case beside the base; None where it got nothing yet."""
    if not (own.score or own.failure):
        return None
    base_name = ledger.baseline if variant not in (ledger.baseline, DATA) else None
    base = ledger.cell(case, base_name, spec) if base_name else CaseCell(None, None, None)
    notes = [
        f"FAILED ({cell.failure.stage}{who}): {cell.failure.reason}"
        for cell, who in ((own, ""), (base, f" of {base_name}"))
        if cell.failure
    ]
    if own.score and own.score.reason:
        notes.append(own.score.reason)
    return (
        *(f"{spec.name} / {variant}", case.id, spec.name, variant, own.gain),
        *(_score_of(own), _score_of(base), case.group, case.input, case.expected_text),
        *(_text_of(ledger, case, base_name), _text_of(ledger, case, variant)),
        " | ".join(notes) or None,
    )


def _score_of(cell: CaseCell) -> float | None:
    return cell.score.value if cell.score else None


def _text_of(ledger: Ledger, case: Case, variant: str | None) -> str | None:
    completion = ledger.report.completions.get((case.id, variant or ""))
    return completion.text if completion else None


def failures_table(ledger: Ledger) -> Table:
    """Return a row per failure, in the order of the run."""
    rows: list[Sequence[CellValue]] = [
        (row.variant, row.metric and ledger.metric_name(row.metric), row.stage)
        + (row.case_id, f"{_against(ledger, row.baseline)}{row.reason}")
        for row in ledger.report.failures
    ]
    return _table(FAILURES_COLUMNS, rows)


def task_table(report: Report) -> Table:
    """Return a row per number over all cases together: of the whole, a class or a field."""
    rows: list[Sequence[CellValue]] = [
        (one.metric, one.name, one.part or None, one.variant, one.value, one.n)
        + (one.ci_low, one.ci_high, one.difference, one.difference_low, one.difference_high)
        for one in report.task.numbers
    ]
    return _table(TASK_COLUMNS, rows)


def pass_table(numbers: Iterable[DatasetNumber]) -> Table:
    """Return a row per variant and k: how likely it is that one of k samples passes."""
    rows: list[Sequence[CellValue]] = [
        (one.metric, int(one.name.removeprefix("pass@")), one.variant, one.value, one.n)
        + (one.ci_low, one.ci_high, one.difference, one.difference_low, one.difference_high)
        for one in numbers
    ]
    return _table(PASS_COLUMNS, rows)


def _against(ledger: Ledger, baseline: str | None) -> str:
    return f"against {baseline}: " if baseline not in (None, ledger.baseline) else ""


def preferences_table(ledger: Ledger) -> Table:
    """Return a row per pair of completions and judge or person, in the order of the cases.

    A level says how much better the variant is, from -2 to 2, with it shown first and second; it is
    missing where no judge was asked. People's choices follow, with the rater as the judge; a rater
    sees each pair once, so one of the two levels is missing.
    """
    groups = {case.id: (place, case.group) for place, case in enumerate(ledger.report.cases)}
    contrast = {each: place for place, each in enumerate(contrasts(ledger.variants))}
    ordered = sorted(
        ledger.report.preferences,
        key=lambda one: (
            contrast.get(Contrast(one.variant, one.baseline), len(contrast)),
            *(one.variant, one.baseline, one.metric),
            *(groups[one.case_id][0], one.judge),
        ),
    )
    rows: list[Sequence[CellValue]] = [
        (f"{one.metric}: {one.variant} vs {one.baseline}", one.case_id, one.metric)
        + (one.variant, one.baseline, one.judge or ledger.report.judge, one.first, one.second)
        + (one.value, one.is_flip, groups[one.case_id][1], told_reason(one))
        for one in ordered
    ]
    rows += [
        (f"{PEOPLE}: {one.variant} vs {one.baseline}", one.case_id, PEOPLE)
        + (one.variant, one.baseline, one.rater, *_levels(one))
        + (one.won, None, groups[one.case_id][1], one.comment or None)
        for one in sorted(
            ledger.report.choices,
            key=lambda one: (one.variant, groups[one.case_id][0], one.rater),
        )
    ]
    return _table(PREFERENCES_COLUMNS, rows)


def told_reason(one: Preference) -> str | None:
    """Return the reason of a preference, with the number of any sample after the first."""
    sample, _ = sample_of_preference(one.repeat) or (0, 0)
    return f"sample {sample + 1}: {one.reason or '-'}" if sample else one.reason


def _levels(one: VariantChoice) -> tuple[int | None, int | None]:
    """Return a person's choice as a level, where the variant was shown first and second."""
    level = None if one.won is None else round(2 * one.won) - 1
    return (level, None) if one.was_first else (None, level)


def _group_suffix(group: str) -> str:
    return "" if group == ALL else f" / {group}"


def _table(columns: list[str], rows: Iterable[Sequence[CellValue]]) -> Table:
    return Table(columns, [[_csv_cell(value) for value in row] for row in rows])


def _csv_cell(value: CellValue) -> CellValue:
    """Round numbers, put text on one line, disarm spreadsheet formulas; missing stays missing."""
    if isinstance(value, str):
        return guard_cell(spell_breaks(value))
    return round_published(value) if isinstance(value, float) else value
