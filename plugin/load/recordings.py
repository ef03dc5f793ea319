"""Completions made elsewhere: what the user says of them, and their files joined with the cases.

The file may be the data set itself, with a column per variant, or one of its own per variant.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

from plugin.cases import LoadedCases, read_messages
from plugin.cases.cells import read_text
from plugin.cases.columns import Columns, Layout, lay_out, listed, missing, parse_template
from plugin.cases.joins import RecordedRow, first_of, join
from plugin.cases.readers import Row
from plugin.cases.sources import find_rows
from plugin.cases.values import type_name
from plugin.errors import DataError, OptionError

USUAL = ("output", "completion", "response", "answer", "actual_output")
"""Columns that hold completions, by the habit of other tools; the variant's own name is another."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One variant's completions, as the user named them.

    Attributes:
        name: the variant's.
        file: a data file, or whatever else a data set may be.
        column: the one with the completions; "" for the only one with a usual name.
    """

    name: str
    file: str
    column: str = ""

    def __str__(self) -> str:
        """The words that mean the same again."""
        return f"{self.name}={self.file}" + (f":{self.column}" if self.column else "")


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a file holds for the cases.

    Attributes:
        column: where the completions stood.
        joined_on: "id" or "input".
        texts: case id -> completion.
        lacking: case id -> why there is none; every other case.
        n_strangers: rows that belong to none of the cases.
    """

    column: str
    joined_on: str
    texts: Mapping[str, str]
    lacking: Mapping[str, str]
    n_strangers: int


def parse_recording(text: str) -> Recording:
    """NAME=FILE or NAME=FILE:COLUMN; a file that is there may have colons in its path.

    Raises:
        OptionError: when it is neither.
    """
    name, parted, rest = (part.strip() for part in text.partition("="))
    if not (name and parted and rest):
        raise OptionError(
            f"--recorded {text!r}: it must be NAME=FILE or NAME=FILE:COLUMN, such as "
            "vanilla=base.jsonl:output"
        )
    if _is_there(rest):
        return Recording(name, rest)
    cuts = [match.start() for match in re.finditer(":", rest)][::-1]
    for cut in cuts:
        if _is_there(rest[:cut]) and rest[cut + 1 :]:
            return Recording(name, rest[:cut], rest[cut + 1 :])
    file, _, column = rest.rpartition(":")
    if file and column and not re.search(r"[/\\]", column):
        return Recording(name, file, column)
    return Recording(name, rest)  # C:\data\base.csv is a path and no column


def read_recording(recording: Recording, loaded: LoadedCases) -> Recorded:
    """Read the file, and find each case's completion.

    Rows are joined with cases on the id where the file has ids that cases have, else on what is
    asked. Where both are there they must agree: a wrong join would go unseen.

    Raises:
        OptionError: when it is not clear which column is meant.
        DataError: when the file cannot be read or joined, naming what is wrong in it.
    """
    source = loaded.source
    own = recording.file == source.dataset_name
    table = find_rows(recording.file, source.split if own else None)
    template = parse_template(source.input_template) if source.input_template else None
    column = _column(recording, source.columns, template.columns if template else (), table.columns)
    named = Columns(input=source.columns.input, id=source.columns.id)
    layout, _ = lay_out(named, template, table.columns)  # what is missing shows in the join
    rows = [_read(row, column, layout, own) for row in table.rows]
    bad = [f"{row.place}: {row.problem}" for row in rows if row.problem]
    if bad and not source.skip_bad_rows:
        raise DataError(
            f"{recording.file} cannot be used as it is ({len(bad)} of {len(rows)} rows; "
            "--skip_bad_rows leaves them out):\n  " + "\n  ".join(first_of(bad, 20))
        )
    joined_on, found = join(recording.file, rows, loaded.cases, own=own)
    nothing = f"no completion was recorded: {os.path.basename(recording.file)} has no row for it"
    return Recorded(
        column=column,
        joined_on=joined_on,
        texts={key: row.text for key, row in found.items() if row.text is not None},
        lacking={
            case.id: f"no completion was recorded: {found[case.id].problem or f'{column} is null'}"
            if case.id in found
            else nothing
            for case in loaded.cases
            if case.id not in found or found[case.id].text is None
        },
        n_strangers=len(rows) - len(found),
    )


def _is_there(path: str) -> bool:
    return os.path.exists(os.path.expanduser(path))


def _column(
    recording: Recording, columns: Columns, built_of: Sequence[str], there: Sequence[str]
) -> str:
    if recording.column:
        if recording.column not in there:
            raise OptionError(missing(f"--recorded {recording}", recording.column, there))
        return recording.column
    taken = {*astuple(columns), *built_of}
    names = dict.fromkeys((*USUAL, recording.name))
    found = [name for name in names if name in there and name not in taken]
    if len(found) == 1:
        return found[0]
    why = f"{' and '.join(found)} may be meant" if found else f"none is called {', '.join(names)}"
    raise OptionError(
        f"--recorded {recording}: which column holds the completions? {why}; write "
        f"{recording.name}={recording.file}:COLUMN; {listed(there)}"
    )


def _read(row: Row, column: str, layout: Layout, own: bool) -> RecordedRow:
    if row.problem is not None:
        return RecordedRow(row.place, None, (), None, row.problem)
    unused: list[str] = []  # a row that cannot say whose it is, is nobody's
    given = (read_text(row.cells.get(layout.columns.id), "id", unused) or "").strip()
    messages, _ = read_messages(row, layout, unused)
    text, problem = _text(row.cells.get(column), column)
    if own and not given:
        given = str(row.number)  # as a case of the data set without an id goes
    return RecordedRow(row.place, given or None, messages, text, problem)


def _text(value: object, column: str) -> tuple[str | None, str | None]:
    """The completion, or what is wrong with it; null is neither, and an empty text is a text."""
    if value is None:
        return None, None
    if isinstance(value, bool):
        return str(value).lower(), None
    if not isinstance(value, str):
        return None, f"{column} is {type_name(value)}; it must be text"
    try:
        value.encode()
    except UnicodeEncodeError:
        return None, f"{column} holds half of a surrogate pair, which is no text"
    return str(value), None
