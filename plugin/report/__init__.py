"""Write a report as files: tables, summary.json, charts and one self-contained page.

The columns of the four CSV tables stay the same for ever: the host's evals page reads them.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plugin.certify.certificate import Distance
from plugin.compare.numbers import round_published
from plugin.records import ALL
from plugin.report.canvas import inline_svg
from plugin.report.charts import comparison_svg, distribution_svg
from plugin.report.page import render_page
from plugin.report.record import Ledger, Report

if TYPE_CHECKING:
    from pandas import DataFrame

SUMMARY_FORMAT = 1
"""Of summary.json."""

SUMMARY_COLUMNS = (
    "label metric variant group score n failed ci_low ci_high higher_is_better".split()
)
COMPARISON_COLUMNS = (
    "label metric variant baseline group score variant_mean baseline_mean difference gain "
    "ci_low ci_high p_value verdict n failed_variant failed_baseline higher_is_better "
    "partial".split()
)
CASES_COLUMNS = (
    "label variant metric case_id group input output expected_output score gain reason".split()
)
FAILURES_COLUMNS = "variant metric stage case_id reason".split()

# The host cuts the file into lines before it parses it, so whatever str.splitlines cuts at has to
# be spelled out.
_BREAKS = str.maketrans(
    {
        char: char.encode("unicode_escape").decode("ascii")
        for char in "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
    }
)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")

CellValue = str | float | bool | None


def render_report(report: Report) -> dict[str, str]:
    """Return file name -> text of everything that is published, in publishing order."""
    files = {name: csv_text(table) for name, table in make_tables(report).items()}
    charts = {
        "comparison.svg": comparison_svg(report),
        "distribution.svg": distribution_svg(report),
    }
    files |= charts
    files["report.html"] = render_page(
        report, [inline_svg(svg, name[:4]) for name, svg in charts.items()]
    )
    files["summary.json"] = json.dumps(
        summary_json(report), ensure_ascii=False, allow_nan=False, indent=2
    )
    files["verdict.txt"] = verdict_txt(report)
    return files


def write_report(report: Report, folder: Path) -> tuple[Path, ...]:
    """Write every published file into the folder, each whole or not at all.

    Args:
        report: what to publish.
        folder: made when missing; files of the same names are replaced.

    Returns:
        The paths in publishing order: tables, charts, page, summary, verdict.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(_replace(folder / name, text) for name, text in render_report(report).items())


def write_tables(report: Report, folder: Path) -> tuple[Path, ...]:
    """Write the tables alone, for when there is no time for more; return their paths."""
    return tuple(
        _replace(folder / name, csv_text(table)) for name, table in make_tables(report).items()
    )


def _replace(path: Path, text: str) -> Path:
    """Write a file so that a reader sees the old one or the new one, never half of it."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        # Half a surrogate pair can come out of a model's JSON and has no UTF-8 form.
        unfinished.write_bytes(text.encode("utf-8", "backslashreplace"))
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def make_tables(report: Report) -> dict[str, DataFrame]:
    """Return file name -> table, in publishing order."""
    ledger = Ledger(report)
    return {
        "01_summary.csv": summary_table(ledger),
        "02_comparison.csv": comparison_table(ledger),
        "03_cases.csv": cases_table(ledger),
        "04_failures.csv": failures_table(ledger),
    }


def csv_text(table: DataFrame) -> str:
    """Return the table as text, one line per row, missing values empty."""
    return table.to_csv(index=False, lineterminator="\n", na_rep="")


def summary_table(ledger: Ledger) -> DataFrame:
    """Return a row per metric, variant and group: the mean score with its interval."""
    rows: list[Sequence[CellValue]] = []
    for row in ledger.sort_rows(ledger.report.summaries):
        metric = ledger.metric_name(row.metric)
        label = f"{metric} / {row.variant}" + _group_suffix(row.group)
        rows.append(
            (label, metric, row.variant, row.group, row.mean, row.n, row.n_failed)
            + (row.ci_low, row.ci_high, row.higher_is_better)
        )
    return _data_frame(SUMMARY_COLUMNS, rows)


def comparison_table(ledger: Ledger) -> DataFrame:
    """Return a row per comparison; `score` is the gain, and `p_value` is not adjusted yet."""
    rows: list[Sequence[CellValue]] = []
    for row in ledger.sort_rows(ledger.report.comparisons):
        metric = ledger.metric_name(row.metric)
        label = f"{metric}: {row.variant} vs {row.baseline}" + _group_suffix(row.group)
        rows.append(
            (label, metric, row.variant, row.baseline, row.group, row.gain)
            + (row.variant_mean, row.baseline_mean, row.difference, row.gain)
            + (row.ci_low, row.ci_high, row.p_value, row.outcome, row.n)
            + (row.n_failed_variant, row.n_failed_baseline, row.higher_is_better, row.partial)
        )
    return _data_frame(COMPARISON_COLUMNS, rows)


def cases_table(ledger: Ledger) -> DataFrame:
    """Return a row per metric, variant and case that has a score or failed.

    A case that has not been worked has no row: the host's chart would count it as a zero.
    """
    report, rows = ledger.report, list[Sequence[CellValue]]()
    for spec in report.metrics:
        for variant in ledger.scored_names(spec):
            for case in report.cases:
                score, failure, gain = ledger.cell(case, variant, spec)
                if score is None and failure is None:
                    continue
                reason = f"FAILED ({failure.stage}): {failure.reason}" if failure else None
                completion = report.completions.get((case.id, variant))
                rows.append(
                    (f"{spec.name} / {variant}", variant, spec.name, case.id, case.group)
                    + (case.input, completion.text if completion else None, case.expected_output)
                    + ((score.value, gain, score.reason) if score else (None, None, reason))
                )
    return _data_frame(CASES_COLUMNS, rows)


def failures_table(ledger: Ledger) -> DataFrame:
    """Return a row per failure, in the order of the run."""
    rows: list[Sequence[CellValue]] = [
        (row.variant, row.metric and ledger.metric_name(row.metric), row.stage)
        + (row.case_id, row.reason)
        for row in ledger.report.failures
    ]
    return _data_frame(FAILURES_COLUMNS, rows)


def _group_suffix(group: str) -> str:
    return "" if group == ALL else f" / {group}"


def _data_frame(columns: list[str], rows: Iterable[Sequence[CellValue]]) -> DataFrame:
    from pandas import DataFrame

    # dtype object keeps whole numbers whole in a column that also has missing ones.
    cells = [[_csv_cell(value) for value in row] for row in rows]
    return DataFrame(cells, columns=columns, dtype=object)


def _csv_cell(value: CellValue) -> CellValue:
    """Round numbers, put text on one line, disarm spreadsheet formulas; missing stays missing."""
    if isinstance(value, str):
        text = value.translate(_BREAKS)
        is_formula = text.startswith(("=", "+", "-", "@", "\t")) and not _NUMBER.fullmatch(text)
        return f"'{text}" if is_formula else text
    return round_published(value) if isinstance(value, float) else value


def summary_json(report: Report) -> dict[str, Any]:
    """Return all but the cases and completions, ready for JSON; what is missing is None."""
    verdict = {**_plain_json(report.verdict), "text": report.verdict.text}
    content: dict[str, Any] = {
        "schema_version": SUMMARY_FORMAT,
        "verdict": verdict,
        "partial": report.partial,
        "judge": report.judge,
        "warnings": report.warnings,
        "n_cases": len(report.cases),
        "n_scores": len(report.scores),
        "n_failed": len(report.failures),
        "variants": report.variants,
        "metrics": report.metrics,
        "summaries": report.summaries,
        "comparisons": [{**_plain_json(row), "n_ties": row.n_ties} for row in report.comparisons],
        "failures": report.failures,
        "trust": report.trust,
        "certificates": [
            {
                "result": found.result,
                **_plain_json(found),
                "effect": _distance_fields(found.effect),
                "noise": _distance_fields(found.noise),
            }
            for found in report.certificates
        ],
        "provenance": report.provenance,
    }
    return {key: _plain_json(value) for key, value in content.items()}


def verdict_txt(report: Report) -> str:
    """Return the verdict, then the warnings, then who judged, a line each."""
    warnings = (f"Warning: {warning}" for warning in report.warnings)
    return "\n".join((report.verdict.text, *warnings, f"Judge: {report.judge}")) + "\n"


def _distance_fields(distance: Distance | None) -> dict[str, float] | None:
    return distance._asdict() if distance else None


def _plain_json(value: Any) -> Any:
    """Return the value in the types that JSON has."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if dataclasses.is_dataclass(value):
        return {
            item.name: _plain_json(getattr(value, item.name)) for item in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {str(key): _plain_json(item) for key, item in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(_plain_json(item) for item in value)
    if isinstance(value, list | tuple):
        return [_plain_json(item) for item in value]
    return str(value)
