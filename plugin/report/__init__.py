"""Report -> tables, charts, one self-contained page and a machine-readable summary, as files."""

from __future__ import annotations

import json
import os
from pathlib import Path

from plugin.records import Report
from plugin.report._canvas import inline
from plugin.report.charts import comparison_svg, distribution_svg
from plugin.report.page import page
from plugin.report.summary import summary, verdict_text
from plugin.report.tables import csv, tables


def render(report: Report) -> dict[str, str]:
    """File name -> text of everything that is published, in publishing order."""
    files = {name: csv(table) for name, table in tables(report).items()}
    charts = {
        "comparison.svg": comparison_svg(report),
        "distribution.svg": distribution_svg(report),
    }
    files |= charts
    files["report.html"] = page(report, [inline(svg, name[:4]) for name, svg in charts.items()])
    files["summary.json"] = json.dumps(
        summary(report), ensure_ascii=False, allow_nan=False, indent=2
    )
    files["verdict.txt"] = verdict_text(report)
    return files


def write(report: Report, folder: Path) -> tuple[Path, ...]:
    """Writes every published file into the folder, each whole or not at all.

    Args:
        report: what to publish.
        folder: made when missing; files of the same names are replaced.

    Returns:
        The paths in publishing order: tables, charts, page, summary, verdict.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(_replace(folder / name, text) for name, text in render(report).items())


def write_tables(report: Report, folder: Path) -> tuple[Path, ...]:
    """Writes the tables alone, for when there is no time for more; returns their paths."""
    return tuple(_replace(folder / name, csv(table)) for name, table in tables(report).items())


def _replace(path: Path, text: str) -> Path:
    """A reader sees the old file or the new one, never half of it."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        # Half a surrogate pair can come out of a model's JSON and has no UTF-8 form.
        unfinished.write_bytes(text.encode("utf-8", "backslashreplace"))
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path
