"""Write a report as files: tables, charts, one self-contained page, summary.json, verdict.txt."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plugin.certify.certificate import Distance
from plugin.judges import NoJudge
from plugin.report.canvas import inline_svg
from plugin.report.charts import comparison_svg, distribution_svg
from plugin.report.confusion import confusion_svg
from plugin.report.page import render_page
from plugin.report.record import Report
from plugin.report.tables import csv_text, make_tables

SUMMARY_FORMAT = 1
"""Of summary.json."""


def render_report(report: Report) -> dict[str, str]:
    """Return file name -> text of everything that is published, in publishing order."""
    files = {name: csv_text(table) for name, table in make_tables(report).items()}
    charts = {
        "comparison.svg": comparison_svg(report),
        "distribution.svg": distribution_svg(report),
    }
    if report.task.matrices:
        charts["confusion.svg"] = confusion_svg(report.task.matrices)
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


def summary_json(report: Report) -> dict[str, Any]:
    """Return all but the cases and completions, ready for JSON; what is missing is None."""
    found = report.verdict
    verdict = {
        **_plain_json(found),
        "text": found.text,
        "chip": found.chip,
        "harms": [{"name": harm.name, **_plain_json(harm)} for harm in found.harms],
    }
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
        "task": report.task or None,
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
    judge = (f"Judge: {report.judge}",) if report.judge != NoJudge.label else ()
    return "\n".join((report.verdict.text, *warnings, *judge)) + "\n"


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
