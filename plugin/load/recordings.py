"""Read completions that were made elsewhere, and match them to the cases that they answer.

The completions are in the data set itself, with one column per variant, or in one file per variant.
Rows are matched to cases by id, else by input. If a file has both, they must agree. Where each turn
of a conversation is a case, its completions stand in rows of their own, or in one row as a list.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from dataclasses import astuple, dataclass, field, replace
from typing import NamedTuple

from plugin.errors import DataError, OptionError, quote
from plugin.load.cases import LoadedCases
from plugin.load.cells import parse_list, read_text
from plugin.load.columns import (
    Columns,
    Layout,
    lay_out,
    list_columns,
    missing_column_text,
    parse_template,
)
from plugin.load.conversations import read_asked, turn_ids
from plugin.load.find import find_rows
from plugin.load.readers import Row, type_name
from plugin.records import Case, Message, NoResult

USUAL_COLUMNS = ("output", "completion", "response", "answer", "actual_output")
"""Usual names of columns with completions; a column named like the variant counts too."""

_USUAL_IDS = ("question_id", "prompt_id", "doc_id")
"""Columns with the ids of benchmarks' cases, where a file has no id column."""

_N_SHOWN = 5
_LONGEST_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Recording:
    """Name a variant and the file with its completions, as the user gave them.

    Attributes:
        name: the variant's name.
        file: a data file, or another kind of data set.
        column: the column with the completions; "" for the only one with a usual name.
    """

    name: str
    file: str
    column: str = ""

    def __str__(self) -> str:
        """Return NAME=FILE:COLUMN, as the user writes it."""
        return f"{self.name}={self.file}" + (f":{self.column}" if self.column else "")


@dataclass(frozen=True, slots=True)
class RecordedCompletions:
    """Hold a variant's completions from a file.

    Attributes:
        column: the column with the completions.
        joined_on: "id" or "input".
        texts: case id -> completion.
        missing: case id -> why there is no completion; for every case not in `texts`.
        n_unmatched: number of rows that match no case.
        later: case id -> the samples after the first, where a cell holds a list of them.
    """

    column: str
    joined_on: str
    texts: Mapping[str, str]
    missing: Mapping[str, str]
    n_unmatched: int
    later: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def sample(self, case_id: str, number: int) -> str | NoResult:
        """Return a sample of a case, counted from 0, or why there is none."""
        if case_id not in self.texts:
            return NoResult(self.missing[case_id])
        every = (self.texts[case_id], *self.later.get(case_id, ()))
        if number < len(every):
            return every[number]
        return NoResult(f"{self.column} has {len(every)} of the samples of this case")


def parse_recording(text: str) -> Recording:
    """Parse NAME=FILE or NAME=FILE:COLUMN; the path of an existing file may contain colons.

    Raises:
        OptionError: when the text has neither form.
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
    return Recording(name, rest)  # in C:\data\base.csv the colon does not begin a column


def completion_columns(recordings: Sequence[Recording], dataset: str) -> tuple[str, ...]:
    """Return the columns of the data set that may hold recorded completions."""
    own = [recording for recording in recordings if recording.file == dataset]
    names = (
        (recording.column,) if recording.column else (*USUAL_COLUMNS, recording.name)
        for recording in own
    )
    return tuple(dict.fromkeys(name for group in names for name in group))


def read_recording(
    recording: Recording, loaded: LoadedCases, n_samples: int = 1
) -> RecordedCompletions:
    """Read the file, and find each case's completion, or its samples where a cell holds a list.

    Rows are matched to cases by id if the file contains an id of a case, else by input. If a file
    has both, they must agree: nobody would notice a wrong match.

    Raises:
        OptionError: when it is not clear which column holds the completions.
        DataError: when the file cannot be read or matched; says what is wrong in it.
    """
    source = loaded.source
    own = recording.file == source.dataset_name
    table = find_rows(recording.file, source.split if own else None)
    template = parse_template(source.input_template) if source.input_template else None
    column = _find_column(
        recording, source.columns, template.columns if template else (), table.columns
    )
    named = Columns(input=source.columns.input, id=source.columns.id)
    layout, _ = lay_out(named, template, table)  # missing columns are reported by the join
    if layout.columns.id not in table.columns:
        usual = next((name for name in _USUAL_IDS if name in table.columns), layout.columns.id)
        layout = replace(layout, columns=replace(layout.columns, id=usual))
    ids = {case.id for case in loaded.cases}
    reading = _Reading(column, layout, own, source.conversation, ids, n_samples)
    rows = [one for row in table.rows for one in _read_recorded(row, reading)]
    bad = [f"{row.place}: {row.problem}" for row in rows if row.problem]
    if bad and not source.skip_bad_rows:
        raise DataError(
            f"{recording.file}: {len(bad)} of {len(rows)} rows cannot be used; correct them, or "
            "skip them with --skip_bad_rows:\n  " + "\n  ".join(first_few(bad, 20))
        )
    if rows and n_samples > (most := max(1 + len(row.later) for row in rows)):
        raise OptionError(
            f"--samples {n_samples}: no row of {recording.file} holds so many completions in "
            f"{column}; the longest list has {most}. Give longer lists of texts, or fewer --samples"
        )
    joined_on, found = join_rows(recording.file, rows, loaded.cases, is_data_set=own)
    nothing = f"no completion was recorded: {os.path.basename(recording.file)} has no row for it"
    return RecordedCompletions(
        column=column,
        joined_on=joined_on,
        texts={key: row.text for key, row in found.items() if row.text is not None},
        missing={
            case.id: f"no completion was recorded: {found[case.id].problem or f'{column} is null'}"
            if case.id in found
            else nothing
            for case in loaded.cases
            if case.id not in found or found[case.id].text is None
        },
        n_unmatched=len(rows) - len(found),
        later={key: row.later for key, row in found.items() if row.later},
    )


def _is_there(path: str) -> bool:
    return os.path.exists(os.path.expanduser(path))


def _find_column(
    recording: Recording, columns: Columns, built_of: Sequence[str], there: Sequence[str]
) -> str:
    if recording.column:
        if recording.column not in there:
            raise OptionError(
                missing_column_text(f"--recorded {recording}", recording.column, there)
            )
        return recording.column
    taken = {*astuple(columns), *built_of}
    names = dict.fromkeys((*USUAL_COLUMNS, recording.name))
    found = [name for name in names if name in there and name not in taken]
    if len(found) == 1:
        return found[0]
    why = (
        f"it may be {' or '.join(found)}"
        if found
        else f"there is no column named {', '.join(names)}"
    )
    raise OptionError(
        f"--recorded {recording}: it is not clear which column holds the completions: {why}. Write "
        f"--recorded {recording.name}={recording.file}:COLUMN; {list_columns(there)}"
    )


class _Reading(NamedTuple):
    """Say how to read the rows of a file: the file is the data set itself, or has its case ids."""

    column: str
    layout: Layout
    is_data_set: bool
    conversation: str
    ids: Set[str]
    n_samples: int


def _read_recorded(row: Row, reading: _Reading) -> list[RecordedRow]:
    """Return the completions of a row: one, or one for each turn of a conversation."""
    column, layout = reading.column, reading.layout
    if row.problem is not None:
        return [RecordedRow(row.place, None, (), None, row.problem)]
    unused: list[str] = []  # ignored: a row without a usable id or input just matches no case
    given = (read_text(row.cells.get(layout.columns.id), "id", unused) or "").strip()
    asked = read_asked(row, layout, reading.conversation, unused)
    if reading.is_data_set and not given:
        given = str(row.number)  # the id of a case without an id
    value = row.cells.get(column)
    while layout.asked == "request" and isinstance(value, list) and len(value) == 1:
        value = value[0]  # an lm-eval sample has a list of answers for each request
    is_told = bool(asked.turns) or layout.asked == "turns"
    is_told |= f"{given} turn 1" in reading.ids or _is_tries(value)
    each = _by_turn(value) if is_told else None
    if each is None:
        return [_recorded_row(row.place, given, asked.messages, value, reading)]
    if len(each) == 1 and not asked.turns:
        return [_recorded_row(row.place, given, asked.messages, each[0], reading)]
    names = turn_ids(given, each) if given else [""] * len(each)
    turns = [*(turn.messages for turn in asked.turns), *[()] * len(each)]
    return [
        _recorded_row(f"{row.place}, turn {i}", name, messages, text, reading)
        for i, (name, messages, text) in enumerate(zip(names, turns, each, strict=False), 1)
    ]


def _is_tries(value: object) -> bool:
    """Return whether a cell is as MT-Bench has it: {"turns": [...]} for each of several tries."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _by_turn(value: object) -> list[object] | None:
    """Return the completions of a conversation, turn by turn; None if the cell is no list.

    Of several tries, the first is taken.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = parse_list(value)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        value = value[0].get("turns")
    return value if isinstance(value, list) and value else None


def _recorded_row(
    place: str, given: str, messages: tuple[Message, ...], value: object, reading: _Reading
) -> RecordedRow:
    """Return one completion of a case, or several samples of it."""
    n, column = reading.n_samples, reading.column
    first, *later = _listed(value)[:n] if n > 1 else [value]
    text, others = _read_completion(first, column), list[str]()
    for one in later:
        other = _read_completion(one, column)
        if isinstance(other, NoResult):
            text = other
        elif other is not None:
            others.append(other)
    if isinstance(text, NoResult):
        return RecordedRow(place, given or None, messages, None, text.reason)
    if text is None and others:
        text = others.pop(0)
    return RecordedRow(place, given or None, messages, text, None, tuple(others))


def _listed(value: object) -> list[object]:
    """Return the samples of a cell: those of a list, also one in JSON as a csv has it."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            found = json.loads(value)
        except ValueError:
            found = value
        value = found if isinstance(found, list) else value
    if isinstance(value, list):
        return value or [None]
    return [value]


def _read_completion(value: object, column: str) -> str | NoResult | None:
    """Return the completion, which may be empty text; None if the cell is null."""
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        several = "; --samples N reads N completions from each list" * isinstance(value, list)
        return NoResult(f"{column} is {type_name(value)}; it must be text{several}")
    try:
        value.encode()
    except UnicodeEncodeError:
        return NoResult(f"{column} holds half of a surrogate pair: invalid Unicode")
    return str(value)


class RecordedRow(NamedTuple):
    """A row with a completion.

    Attributes:
        place: the row's place, for messages.
        id: the id of its case; None if the row has no id.
        messages: the input; empty if the row has no input.
        text: the completion; None if there is none.
        problem: what is wrong with the row; None if nothing is.
        later: the completions after the first, where the row has several.
    """

    place: str
    id: str | None
    messages: tuple[Message, ...]
    text: str | None
    problem: str | None
    later: tuple[str, ...] = ()


def join_rows(
    file: str, rows: Sequence[RecordedRow], cases: Sequence[Case], *, is_data_set: bool
) -> tuple[str, dict[str, RecordedRow]]:
    """Match rows to cases; return how ("id" or "input"), and case id -> row.

    Args:
        file: name of the file, for messages.
        rows: all rows of the file.
        cases: the drawn cases.
        is_data_set: whether the file is the data set itself.

    Raises:
        DataError: when no row matches, or several match the same case.
    """
    ids = {case.id for case in cases}
    if is_data_set or any(row.id in ids for row in rows):
        return "id", _join_on_id(file, rows, cases, is_data_set)
    return "input", _join_on_input(file, rows, cases)


def _join_on_id(
    file: str, rows: Sequence[RecordedRow], cases: Sequence[Case], is_data_set: bool
) -> dict[str, RecordedRow]:
    of_id: dict[str, RecordedRow] = {}
    for row in rows:
        if row.id is not None:
            of_id.setdefault(row.id, row)
    if not is_data_set:  # in the data set, only the first row with an id became a case
        _refuse_twice(f"{file} has the same id", [(row.id, row.place) for row in rows if row.id])
    found = {case.id: of_id[case.id] for case in cases if case.id in of_id}
    _refuse_other_inputs(file, found, {case.id: case.input for case in cases})
    return found


def _join_on_input(
    file: str, rows: Sequence[RecordedRow], cases: Sequence[Case]
) -> dict[str, RecordedRow]:
    """Match by all turns if cases and rows are chats, else by the last user text."""
    chats = any(len(c.messages) > 1 for c in cases) and any(len(r.messages) > 1 for r in rows)
    wanted = {_input_texts(case.messages, chats): case.id for case in cases}
    asked = [(_input_texts(row.messages, chats), row) for row in rows if row.messages]
    if not any(key in wanted for key, _ in asked):
        raise DataError(_no_match_text(file, rows, cases))
    way_out = ". Give rows and cases the same ids, so that they can be told apart"
    _refuse_twice(f"{file} has the same input", ((k, row.place) for k, row in asked), way_out)
    of_cases = ((_input_texts(case.messages, chats), f"case {case.id}") for case in cases)
    _refuse_twice("the data set has the same input", of_cases, way_out)
    return {wanted[key]: row for key, row in asked if key in wanted}


def _input_texts(messages: Sequence[Message], chats: bool) -> Hashable:
    if chats:
        return tuple((turn.role, turn.content.strip()) for turn in messages)
    return messages[-1].content.strip()


def _refuse_twice(what: str, places: Iterable[tuple[Hashable, str]], way_out: str = "") -> None:
    of_key: dict[Hashable, list[str]] = {}
    for key, place in places:
        of_key.setdefault(key, []).append(place)
    twice = [
        f"{' and '.join(first_few(where))} ({_quote_key(key)})"
        for key, where in of_key.items()
        if len(where) > 1
    ]
    if twice:
        raise DataError(f"{what} more than once: {'; '.join(first_few(twice))}{way_out}")


def _refuse_other_inputs(
    file: str, joined: Mapping[str, RecordedRow], asked: Mapping[str, str]
) -> None:
    """Refuse rows whose input differs from that of the case with the same id."""
    other = [
        f"id {key}: {_quote_key(row.messages[-1].content)} in this file, {_quote_key(asked[key])} "
        "in the data set"
        for key, row in joined.items()
        if row.messages and row.messages[-1].content.strip() != asked[key].strip()
    ]
    if other:
        raise DataError(
            f"{file} has another input for the same id in {len(other)} of {len(joined)} cases: "
            f"{'; '.join(first_few(other))}. So its completions may belong to other cases. If only "
            "the wording differs, remove or rename that file's input column. If its ids mean "
            "something else, remove or rename its id column"
        )


def _no_match_text(file: str, rows: Sequence[RecordedRow], cases: Sequence[Case]) -> str:
    theirs = next((row for row in rows if row.id or row.messages), None)
    if theirs is None:
        return (
            f"{file} has no id or input column, so its rows cannot be matched to cases; name the "
            "column with the cases' ids (--id_column) or with their inputs (--input_column)"
        )
    said = [f"id {theirs.id!r}"] if theirs.id else []
    said += [f"input {_quote_key(theirs.messages[-1].content)}"] if theirs.messages else []
    return (
        f"{file} has no completion for any of the cases: its first row has {' and '.join(said)}, "
        f"but the first case has id {cases[0].id!r} and input {_quote_key(cases[0].input)}. Rows "
        "match a case by the same id or exactly the same input; check the files and column options"
    )


def first_few(texts: Sequence[str], n: int = _N_SHOWN) -> list[str]:
    """Return the first n texts, and "M more" if there are more."""
    more = [f"{len(texts) - n} more"] if len(texts) > n else []
    return [*texts[:n], *more]


def _quote_key(value: Hashable) -> str:
    """Return an input (for a chat, its last turn) in quotes and shortened."""
    text = value[-1][1] if isinstance(value, tuple) else str(value)
    return quote(text, _LONGEST_SHOWN)
