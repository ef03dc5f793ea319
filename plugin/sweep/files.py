"""Write a sweep as files: picture, table, page, and a file for machines."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

from plugin.compare.numbers import round_published
from plugin.records import ALL
from plugin.reopen import CONFIRMATION
from plugin.sheets import guard_cell, spell_breaks
from plugin.sweep.page import render_sweep
from plugin.sweep.picture import sweep_svg
from plugin.sweep.points import table_rows
from plugin.sweep.result import SweepResult
from plugin.sweep.show import result_text, summary_lines

SWEEP_FORMAT = 1
"""Of sweep.json."""


def write_sweep(result: SweepResult, folder: Path) -> tuple[Path, ...]:
    """Write all files of a sweep, each whole or not at all; return their paths.

    Args:
        result: what there is, of a finished sweep or not.
        folder: the sweep's; files of the same names are replaced.
    """
    wide = sweep_svg(result.played, result.confirmed, result.curves)
    narrow = sweep_svg(result.played, result.confirmed, result.curves, narrow=True)
    texts = {
        "sweep.csv": sweep_csv(result),
        "sweep.svg": wide,
        "sweep.html": render_sweep(result, wide, narrow),
        "sweep.json": sweep_json(result),
        "sweep.txt": result_text(result, ()).strip() + "\n",
    }
    return tuple(_replace(folder / name, text) for name, text in texts.items())


def _replace(path: Path, text: str) -> Path:
    """Write a file so that a reader sees the old one or the new one, never half of it."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        unfinished.write_bytes(text.encode("utf-8", "backslashreplace"))
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def sweep_csv(result: SweepResult) -> str:
    """Return the table as CSV: all cases first, then group by group."""
    rows = table_rows(result.played)
    paths = {one.name: one.path for one in result.facts.checkpoints}
    for row in rows:
        is_whole = row["group"] == ALL
        for one in result.cheap:
            mean = one.means.get(str(row["name"])) if is_whole else None
            row[one.spec.name] = round_published(mean)
        row["path"] = paths.get(str(row["name"]), "")
        if not result.is_chosen and row["status"] not in ("dropped", "reference"):
            row["status"] = "not finished"
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([guard_cell(spell_breaks(name)) for name in rows[0]])
    for row in rows:
        writer.writerow(
            guard_cell(spell_breaks(cell)) if isinstance(cell, str) else cell
            for cell in row.values()
        )
    return table.getvalue()


def sweep_json(result: SweepResult) -> str:
    """Return what a program wants to know: which checkpoint, where it lies, and the verdict."""
    name = result.played.choice.name if result.is_chosen else None
    one = next((one for one in result.facts.checkpoints if one.name == name), None)
    verdict = result.confirmed.verdict if result.confirmed else None
    found = {
        "format": SWEEP_FORMAT,
        "finished": result.is_chosen,
        "recommended": name,
        "axis": result.facts.axis,
        "value": one.value if one else None,
        "path": one.path if one else None,
        "confirmed": verdict.outcome if verdict else None,
        "lost": list(verdict.lost) if verdict else [],
        "confirmation": CONFIRMATION if result.confirmation else None,
        "summary": summary_lines(result),
    }
    return json.dumps(found, ensure_ascii=False, allow_nan=False, indent=2)
