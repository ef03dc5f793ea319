"""Rows of completions made elsewhere, joined with the cases that they answer."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

from plugin.errors import DataError
from plugin.records import Case, Message

_N_SHOWN = 5
_LONGEST_SHOWN = 80


class RecordedRow(NamedTuple):
    """A row of completions.

    Attributes:
        place: the row for a reader.
        id: of its case; None where it has none.
        messages: what was asked; empty where the row does not say.
        text: the completion; None where there is none.
        problem: what is wrong with the row; None for a good one.
    """

    place: str
    id: str | None
    messages: tuple[Message, ...]
    text: str | None
    problem: str | None


def join(
    file: str, rows: Sequence[RecordedRow], cases: Sequence[Case], *, own: bool
) -> tuple[str, dict[str, RecordedRow]]:
    """On what rows and cases were joined ("id" or "input"), and case id -> row.

    Args:
        file: the rows', for messages.
        rows: all of them.
        cases: those drawn.
        own: whether the file is the data set itself.

    Raises:
        DataError: when nothing matches, or it is not clear what does.
    """
    ids = {case.id for case in cases}
    if own or any(row.id in ids for row in rows):
        return "id", _on_id(file, rows, cases, own)
    return "input", _on_input(file, rows, cases)


def _on_id(
    file: str, rows: Sequence[RecordedRow], cases: Sequence[Case], own: bool
) -> dict[str, RecordedRow]:
    of_id: dict[str, RecordedRow] = {}
    for row in rows:
        if row.id is not None:
            of_id.setdefault(row.id, row)
    if not own:  # there, only the first row of an id made a case
        _refuse_twice(f"{file} has the same id", [(row.id, row.place) for row in rows if row.id])
    found = {case.id: of_id[case.id] for case in cases if case.id in of_id}
    _refuse_other_inputs(file, found, {case.id: case.input for case in cases})
    return found


def _on_input(
    file: str, rows: Sequence[RecordedRow], cases: Sequence[Case]
) -> dict[str, RecordedRow]:
    """By all turns where cases and rows are chats, else by the last text asked."""
    chats = any(len(c.messages) > 1 for c in cases) and any(len(r.messages) > 1 for r in rows)
    wanted = {_asked(case.messages, chats): case.id for case in cases}
    asked = [(_asked(row.messages, chats), row) for row in rows if row.messages]
    if not any(key in wanted for key, _ in asked):
        raise DataError(_no_match(file, rows, cases))
    way_out = "; they cannot be told apart, so give rows and cases the same ids"
    _refuse_twice(f"{file} has the same input", ((k, row.place) for k, row in asked), way_out)
    of_cases = ((_asked(case.messages, chats), f"case {case.id}") for case in cases)
    _refuse_twice("the data set has the same input", of_cases, way_out)
    return {wanted[key]: row for key, row in asked if key in wanted}


def _asked(messages: Sequence[Message], chats: bool) -> Hashable:
    if chats:
        return tuple((turn.role, turn.content.strip()) for turn in messages)
    return messages[-1].content.strip()


def _refuse_twice(what: str, places: Iterable[tuple[Hashable, str]], way_out: str = "") -> None:
    of_key: dict[Hashable, list[str]] = {}
    for key, place in places:
        of_key.setdefault(key, []).append(place)
    twice = [
        f"{' and '.join(first_of(where))} ({_short(key)})"
        for key, where in of_key.items()
        if len(where) > 1
    ]
    if twice:
        raise DataError(f"{what} more than once: {'; '.join(first_of(twice))}{way_out}")


def _refuse_other_inputs(
    file: str, found: Mapping[str, RecordedRow], asked: Mapping[str, str]
) -> None:
    """The same id must stand for the same question: a wrong join would go unseen."""
    other = [
        f"id {key}: {_short(row.messages[-1].content)} there, {_short(asked[key])} here"
        for key, row in found.items()
        if row.messages and row.messages[-1].content.strip() != asked[key].strip()
    ]
    if other:
        raise DataError(
            f"{file} asks something else under the same id in {len(other)} of {len(found)} cases: "
            f"{'; '.join(first_of(other))}. So these may be completions of other cases. Where only "
            "the wording differs, drop or rename the input column of that file; where the ids mean "
            "something else, its id column"
        )


def _no_match(file: str, rows: Sequence[RecordedRow], cases: Sequence[Case]) -> str:
    theirs = next((row for row in rows if row.id or row.messages), None)
    if theirs is None:
        return (
            f"{file} says of no row whose completion it is; it needs a column with the cases' ids "
            "(--id_column) or with their inputs (--input_column)"
        )
    said = [f"id {theirs.id!r}"] if theirs.id else []
    said += [f"input {_short(theirs.messages[-1].content)}"] if theirs.messages else []
    return (
        f"{file} has no completion for any of the cases: its first row has {' and '.join(said)}, "
        f"the first case id {cases[0].id!r} and input {_short(cases[0].input)}. They are joined on "
        "the id, or on exactly the same input; check files and columns"
    )


def first_of(texts: Sequence[str], n: int = _N_SHOWN) -> list[str]:
    """The first few, and how many more there are."""
    more = [f"{len(texts) - n} more"] if len(texts) > n else []
    return [*texts[:n], *more]


def _short(value: Hashable) -> str:
    text = value[-1][1] if isinstance(value, tuple) else str(value)
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…")
