"""Do what the command `curves` asks: say what a training's logs show, and draw them.

It reads files that the trainer left. No model is loaded and no judge is asked.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from plugin.compare.numbers import format_count
from plugin.errors import DataError, list_first
from plugin.hosts import Host
from plugin.report import write_files
from plugin.report.curves_chart import Block, curves_svg
from plugin.sheets import guard_cell, spell_breaks
from plugin.training.advice import advise
from plugin.training.find import folders_with_logs, read_curves
from plugin.training.words import curve_lines
from plugin.training_curves import Curves, Series

CURVE_COLUMNS = ("curve", "step", "value", "name")
"""Columns of curves.csv: a row for each value, and one for each checkpoint with its loss."""

_N_FOLDERS = 4


def show_curves(place: str, host: Host, out: str = "") -> Curves:
    """Say what the logs in or beside a folder show; write picture and table where asked to.

    Args:
        place: an adapter's folder, a training's folder, or a log.
        host: shows the text, and opens the folder of the picture.
        out: the folder for curves.svg and curves.csv; "" for none.

    Raises:
        DataError: when there is no log, or it cannot be read.
        OptionError: when the files cannot be written.
    """
    try:
        curves = read_curves(place)
    except DataError as error:
        inside = folders_with_logs(Path(place).expanduser())
        if not inside:
            raise
        names = list_first([str(one) for one in inside], _N_FOLDERS)
        raise DataError(f"{error}. These folders in it may have one: {names}") from error
    for line in text_lines(curves):
        host.log(line)
    if out:
        folder = host.open("curves")
        files = {"curves.svg": curves_svg([_block(place, curves)]), "curves.csv": _table(curves)}
        paths = write_files(folder, files)
        host.log(f"\nPicture and table: {', '.join(map(str, paths))}")
    return curves


def text_lines(curves: Curves) -> list[str]:
    """Return what a terminal shows."""
    n_train, n_evaluation = (
        len(series.broken) + series.n if not series.n else series.n
        for series in (curves.train, curves.evaluation)
    )
    found = (
        format_count(n_train, "training loss", "training losses"),
        format_count(n_evaluation, "evaluation loss", "evaluation losses"),
        format_count(len(curves.checkpoints), "checkpoint", "checkpoints"),
    )
    lines = [
        f"{curves.log} of {curves.trainer}: {', '.join(found)}",
        "",
        *curve_lines(curves),
    ]
    if advice := advise(curves):
        lines += ["", "What to change next:", *(f"- {text}" for text in advice)]
    return [*lines, *(f"note: {text}" for text in curves.notes)]


def _block(place: str, curves: Curves) -> Block:
    chosen = () if curves.chosen is None else (curves.chosen,)
    return Block(Path(place).expanduser().resolve().name, curves, chosen)


def _table(curves: Curves) -> str:
    """Return curves.csv."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(CURVE_COLUMNS)
    for name, series in (
        ("training loss", curves.train),
        ("evaluation loss", curves.evaluation),
        ("learning rate", curves.learning_rate),
    ):
        writer.writerows((name, f"{step:g}", value, "") for step, value in _pairs(series))
    for one in curves.checkpoints:
        loss = "" if one.loss is None else one.loss
        writer.writerow(("checkpoint", f"{one.step:g}", loss, guard_cell(spell_breaks(one.name))))
    return written.getvalue()


def _pairs(series: Series) -> list[tuple[float, float]]:
    return [*zip(series.steps, series.values, strict=True)]
