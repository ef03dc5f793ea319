"""The classic host's Documents page: how a person with a browser gets to charts and report.

The page lists the experiment's documents, shows PDF and text, and hands out ZIP; it knows neither
SVG nor HTML, and nothing else in the host opens a plugin's own files.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plugin.report.pdf import render_pdf
from plugin.report.record import Report

FOLDER = "finetune_verdict"


def publish_documents(report: Report, files: Sequence[Path], saved: Any) -> str:
    """Put a PDF of verdict and charts, and a ZIP of all files, into the experiment's documents.

    Args:
        report: what the PDF is made from.
        files: what the ZIP holds.
        saved: what the host's `save_evaluation_results` returned: the table's path, which lies in
            <experiment>/evals/<evaluation>/<job>/, comes first.

    Returns:
        Where a person finds them; "" where this host has no place for them.
    """
    table = Path(str(saved[0])) if isinstance(saved, tuple) and saved else Path()
    if len(table.parts) < 5 or table.parts[-4] != "evals" or not table.is_file():
        return ""  # a host that keeps them elsewhere, or in remote storage
    job = table.parent.name
    folder = table.parents[3] / "documents" / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder / f"job_{job}.pdf", lambda path: path.write_bytes(render_pdf(report)))
        _replace(folder / f"job_{job}_report.zip", lambda path: _write_zip(path, files))
    except OSError as error:
        return f"not in Documents ({error.strerror}), but in {files[0].parent}"
    return f"open Documents > {FOLDER} > job_{job}.pdf (job_{job}_report.zip has the whole report)"


def _write_zip(path: Path, files: Sequence[Path]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, file.name)


def _replace(path: Path, write: Any) -> None:
    """Write a file so that the page never lists half of it."""
    unfinished = path.with_name(f".{path.name}.tmp")
    try:
        write(unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
