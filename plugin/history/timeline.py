"""The command `history`: earlier runs in one table, as a picture and as a page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from plugin.compare.numbers import format_number
from plugin.errors import OptionError, list_first
from plugin.hosts.folder import FolderHost
from plugin.report import write_files
from plugin.report.history import Point, render_history, trend_svg
from plugin.report.run_record import (
    RECORDS,
    RunRecord,
    read_records,
    records_of,
    why_not_comparable,
)
from plugin.sheets import guard_cell, spell_breaks

_DEPTH = 3
"""How deep run folders are looked for below a folder that was named."""

COLUMNS = (
    *("time", "run", "variant", "baseline", "metric", "score", "baseline_score", "gain"),
    *("ci_low", "ci_high", "n", "outcome", "lost", "wins", "losses", "partial"),
    *(
        "line",
        "why_a_new_line",
        "comparisons_so_far",
        "note",
        "model",
        "eval_set",
        "training",
        "folder",
    ),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One record in the history.

    Attributes:
        record: the record.
        line: number of the line that it belongs to, from 1.
        why_new: why this record began a new line although its variant had one; "" otherwise.
        n_before: comparisons on the same cases up to and with this one.
    """

    record: RunRecord
    line: int
    why_new: str
    n_before: int


def start_history(given: Mapping[str, Any], host: FolderHost) -> int:
    """Show the history of the runs in the folders that were named; return the exit code."""
    places = [Path(name) for name in given["folders"] or ["runs"]]
    if missing := [str(place) for place in places if not place.is_dir()]:
        raise OptionError(f"{', '.join(missing)}: no such folder; name folders of runs")
    records, notes = find_records(places)
    if not records:
        raise OptionError(
            f"no finished run lies in {', '.join(map(str, places))}, nor in folders up to {_DEPTH} "
            f"levels below{''.join(f'; {note}' for note in notes)}"
        )
    rows = make_rows(records)
    for text in notes:
        host.log(f"note: {text}")
    for row in rows:
        host.log(_line_text(row))
    if text := decisions_text(rows):
        host.log(text)
    host.out = given["out"] or str(places[0] / "history")
    folder = host.open("history")
    files = _write(rows, notes, folder)
    host.log(f"\nPage: {files[0].resolve()}\nTable and picture: {files[1]}, {files[2]}")
    return 0


def find_records(places: Sequence[Path]) -> tuple[list[RunRecord], list[str]]:
    """Return a record for each run and variant, the oldest first, and notes on what was left out.

    A run folder speaks for itself; records of runs whose folders are gone come from the files of
    records. A copied run counts once.
    """
    found, notes = _from_summaries(places)
    n_gone = 0
    for file in _record_files(places):
        kept, n_bad = read_records(file)
        if n_bad:
            notes.append(f"{n_bad} of the lines of {file} cannot be read and are left out")
        for one in kept:
            key = one.run_id, one.variant
            if key in found:  # the first time that it was finished
                found[key] = replace(found[key], time=min(found[key].time, one.time))
            else:
                n_gone += 1
                found[key] = one
    if n_gone:
        notes.append(f"{n_gone} records are of runs whose folders are gone")
    return sorted(found.values(), key=lambda one: (one.time, one.run_id, one.variant)), notes


def _from_summaries(
    places: Sequence[Path],
) -> tuple[dict[tuple[str, str], RunRecord], list[str]]:
    """Return the records of the run folders, by run and variant, and notes on these folders."""
    found: dict[tuple[str, str], RunRecord] = {}
    notes, unfinished, n_copies = list[str](), list[str](), 0
    for folder in _run_folders(places):
        summary = folder / "summary.json"
        if not summary.is_file():
            unfinished.append(str(folder))
            continue
        try:
            own = records_of(json.loads(summary.read_bytes()), folder, _time_of(summary))
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            why = type(error).__name__ if isinstance(error, LookupError | TypeError) else str(error)
            notes.append(f"{summary} is left out: it is no summary of this version ({why})")
            continue
        for one in own:
            key = one.run_id, one.variant
            n_copies += key in found
            found.setdefault(key, one)
    if unfinished:
        notes.append(f"left out, for they have no results yet: {list_first(unfinished, 5)}")
    if n_copies:
        notes.append(f"{n_copies} records are of copied runs and count once")
    return found, notes


def _run_folders(places: Sequence[Path]) -> list[Path]:
    """Return every folder with a journal, among these and some levels below them."""
    folders = dict[Path, None]()
    for place in places:
        for depth in range(_DEPTH + 1):
            for file in sorted(place.glob("*/" * depth + "journal.sqlite")):
                folders[file.parent.resolve()] = None
    return list(folders)


def _record_files(places: Sequence[Path]) -> list[Path]:
    files = dict[Path, None]()
    for place in places:
        for folder in (place, place.resolve().parent if _is_run(place) else place):
            if (folder / RECORDS).is_file():
                files[(folder / RECORDS).resolve()] = None
    return list(files)


def _is_run(place: Path) -> bool:
    return (place / "journal.sqlite").is_file()


def _time_of(file: Path) -> str:
    """Return when a file was last written, as ISO 8601 in UTC; short runs may share a second."""
    return datetime.fromtimestamp(file.stat().st_mtime, UTC).isoformat(timespec="milliseconds")


def make_rows(records: Sequence[RunRecord]) -> list[Row]:
    """Put the records into lines: in one line stand only scores that mean the same."""
    heads = list[RunRecord]()
    rows, counts = list[Row](), dict[str, set[str]]()
    for one in records:
        seen = counts.setdefault(one.eval_set, set())
        if one.baseline:
            seen.add(f"{one.run_id} {one.variant}")
        line = next((i for i, head in enumerate(heads, 1) if not why_not_comparable(head, one)), 0)
        why = ""
        if not line:
            earlier = [head for head in heads if head.metric == one.metric]
            why = why_not_comparable(earlier[-1], one) if earlier else ""
            heads.append(one)
            line = len(heads)
        rows.append(Row(one, line, why, len(seen)))
    return rows


def decisions_text(rows: Sequence[Row]) -> str:
    """Return how often the same cases have decided, and what that means; "" for few."""
    last = rows[-1]
    n = last.n_before
    if n < 3:
        return ""
    chance = 1 - 0.95**n
    return (
        f"These cases have decided {n} comparisons. If none of the changes had helped, the chance "
        f"that at least one looked like a gain or a loss by luck is up to {chance:.0%}. Confirm "
        "the winner on new cases."
    )


def _line_text(row: Row) -> str:
    one = row.record
    interval = ""
    if one.gain is not None and one.ci_low is not None and one.ci_high is not None:
        interval = f", gain {one.gain:+.3f} ({one.ci_low:+.3f} to {one.ci_high:+.3f})"
    lost = f", lost {', '.join(one.harms)}" if one.harms else ""
    partial = ", partial" if one.partial else ""
    new = f"\n    new line: {row.why_new}" if row.why_new else ""
    note = f"\n    {one.note}" if one.note else ""
    return (
        f"{one.time[:16].replace('T', ' ')}  {Path(one.folder).name}  {one.variant}: {one.metric} "
        f"{_number(one.score)}{interval}, n={one.n}, {one.outcome or 'not compared'}{lost}{partial}"
        f"{new}{note}"
    )


def _number(value: float | None) -> str:
    return "none" if value is None else format_number(value)


def _write(rows: Sequence[Row], notes: Sequence[str], folder: Path) -> list[Path]:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(value) for value in _cells(row)])
    points = [Point(row.record, row.line, row.why_new) for row in rows]
    picture = trend_svg(points)
    said = [text] if (text := decisions_text(rows)) else []
    page = render_history(points, picture, [*said, *notes])
    files = {"history.html": page, "history.csv": table.getvalue(), "history.svg": picture}
    return write_files(folder, files)


def _cells(row: Row) -> tuple[object, ...]:
    one = row.record
    return (
        *(one.time, one.run_id, one.variant, one.baseline, one.metric, one.score),
        *(one.baseline_score, one.gain, one.ci_low, one.ci_high, one.n, one.outcome),
        *(", ".join(one.harms), one.wins, one.losses, one.partial, row.line, row.why_new),
        *(row.n_before, one.note, one.model, one.eval_set[:12], one.training[:12], one.folder),
    )


def _cell(value: object) -> object:
    if isinstance(value, str):
        return guard_cell(spell_breaks(value))
    return "" if value is None else value
