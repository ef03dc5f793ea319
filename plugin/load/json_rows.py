"""Find the rows in a JSON document: in a list, in columns, in a wrapper, or as pandas writes them.

Nothing here looks into a cell, and what can be read in two ways is not read at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

WRAPPERS = ("data", "examples", "rows", "instances", "records", "samples", "cases", "items")
"""Names under which a document has its rows, in upper or lower case."""

_CHATS = ("messages", "conversations")
"""Names of a list of turns, which is part of a row and no list of rows."""

_INPUTS = {"input", "question", "prompt", "instruction", "query", "text", *_CHATS}
"""Names of columns that tell columns from labels of rows."""

_ID = "id"


_N_WRAPPERS = 3


def find_rows(value: object, n_wrappers: int = _N_WRAPPERS) -> list[Any] | None:
    """Return the rows of a document; None if it has none, or several lists of them.

    Args:
        value: the parsed document.
        n_wrappers: how many wrappers there may be, one in the other.
    """
    if isinstance(value, list):
        only_lists = value and all(isinstance(row, list) for row in value)
        return None if only_lists else _unwrap_rows(value)
    if not isinstance(value, dict):
        return None
    if len(value) == 1 and _is_chat(next(iter(value.items()))):
        return [value]
    for find in (find_labelled_rows, _rows_in_columns):
        if (found := find(value)) is not None:
            return found
    return _wrapped_rows(value, n_wrappers) if n_wrappers else None


def list_tables(value: object) -> list[str]:
    """Return the names of the lists of objects in a document."""
    items = value.items() if isinstance(value, dict) else ()
    return [name for name, part in items if _is_table(part)]


def _is_table(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _is_chat(item: tuple[str, object]) -> bool:
    return item[0] in _CHATS and _is_table(item[1])


def find_labelled_rows(value: object) -> list[Any] | None:
    """Return the rows as pandas' orients columns, index, split and table have them.

    Labels are numbers, or become ids of rows that have none.
    """
    if not isinstance(value, dict) or not value:
        return None
    if {"columns", "index", "data"} <= value.keys():
        return _split_rows(value)
    if value.keys() == {"schema", "data"} and isinstance(value["schema"], dict):
        return value["data"] if _is_table(value["data"]) else None
    inner = list(value.values())
    if not all(isinstance(part, dict) and part for part in inner):
        return None
    same_keys = all(part.keys() == inner[0].keys() for part in inner)
    if same_keys and _name_columns(value) and not _name_columns(inner[0]):
        labels = list(inner[0])
        rows = [{name: cells[label] for name, cells in value.items()} for label in labels]
        return _with_ids(rows, labels)
    is_wrapped = any(label.lower() in WRAPPERS for label in value)
    if not is_wrapped and not _name_columns(value) and all(map(_name_columns, inner)):
        return _with_ids([dict(row) for row in inner], list(value))
    return None


def _name_columns(row: Mapping[str, object]) -> bool:
    """Return whether the keys are names of columns, not labels of rows."""
    return not all(map(_is_number, row)) and not _INPUTS.isdisjoint(name.lower() for name in row)


def _is_number(label: str) -> bool:
    return label.removeprefix("-").isdecimal()


def _with_ids(rows: list[dict[str, Any]], labels: Sequence[str]) -> list[dict[str, Any]]:
    if all(map(_is_number, labels)) or any(_ID in row for row in rows):
        return rows
    return [{_ID: label, **row} for label, row in zip(labels, rows, strict=True)]


def _split_rows(value: Mapping[str, Any]) -> list[Any] | None:
    """Return the rows of pandas' orient split: names of columns, labels, and lists of cells."""
    names, labels, data = value["columns"], value["index"], value["data"]
    if not all(isinstance(part, list) for part in (names, labels, data)):
        return None
    fits = all(isinstance(row, list) and len(row) == len(names) for row in data)
    if not fits or len(labels) != len(data) or not all(isinstance(name, str) for name in names):
        return None
    rows = [dict(zip(names, row, strict=True)) for row in data]
    return _with_ids(rows, list(map(str, labels)))


def _rows_in_columns(value: Mapping[str, Any]) -> list[Any] | None:
    """Return the rows of an object with one list for each column, all of the same length."""
    lists = list(value.values())
    if not lists or not all(isinstance(cells, list) for cells in lists):
        return None
    if len({len(cells) for cells in lists}) > 1 or all(map(_is_table, lists)):
        return None
    if any(name.lower() in WRAPPERS and _is_table(part) for name, part in value.items()):
        return None
    return [dict(zip(value, row, strict=True)) for row in zip(*lists, strict=True)]


def _wrapped_rows(value: Mapping[str, Any], n_wrappers: int) -> list[Any] | None:
    """Return the rows under a usual name, or else the only list of objects."""
    named = [part for name, part in value.items() if name.lower() in WRAPPERS]
    holders = [part for part in named if _is_table(part) or isinstance(part, dict)]
    if len(holders) == 1:
        return find_rows(holders[0], n_wrappers - 1)
    lists = [part for part in value.values() if isinstance(part, list)]
    return _unwrap_rows(lists[0]) if len(lists) == 1 and _is_table(lists[0]) else None


def _unwrap_rows(rows: list[Any]) -> list[Any]:
    """Return the rows without what the hub's viewer puts around each; SQuAD's articles, flat."""
    if rows and all(isinstance(row, dict) for row in rows):
        if all({"row_idx", "row"} <= row.keys() for row in rows):
            return [row["row"] for row in rows]
        if all(isinstance(row.get("paragraphs"), list) for row in rows):
            return _squad_rows(rows)
    return rows


def _squad_rows(articles: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Return a row for each question, with its paragraph as context."""
    found: list[Any] = []
    for article in articles:
        about = {"title": article["title"]} if "title" in article else {}
        for part in article["paragraphs"]:
            if not isinstance(part, dict) or not isinstance(part.get("qas"), list):
                return list(articles)
            context = {"context": part["context"]} if "context" in part else {}
            for asked in part["qas"]:
                is_row = isinstance(asked, dict)
                found.append({**about, **context, **asked} if is_row else asked)
    return found
