"""Read the rows of data files: csv, json, jsonl and parquet.

Nothing is guessed: a csv cell is always text, even if it says 4, NA or null. In all other formats a
cell is a text, a `NumberAsWritten`, a bool, a list, a dict or None, whatever the format. It is a
float only for NaN or Infinity in a JSON file, which are not valid JSON.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from plugin.errors import DataError
from plugin.load.json_rows import find_labelled_rows, find_rows, list_tables
from plugin.terminal import plain_path


class NumberAsWritten(str):
    """A number with the digits of its source, so that 1.50 and very long integers stay exact."""


def parse_json(text: str) -> object:
    """Parse JSON with numbers as `NumberAsWritten`; NaN and infinities become floats.

    Raises:
        ValueError: when it is not JSON; a json.JSONDecodeError if the position is known.
    """
    try:
        value: object = json.loads(text, parse_int=NumberAsWritten, parse_float=NumberAsWritten)
    except RecursionError as error:
        raise ValueError("brackets are nested too deeply") from error
    return value


def type_name(value: object) -> str:
    """Describe the value's type in words, for a message."""
    if isinstance(value, bool):
        return f"a boolean ({str(value).lower()})"
    if isinstance(value, float):
        return f"{value}, which is not a JSON value"
    if isinstance(value, NumberAsWritten):
        return f"a number ({value:.40})"
    words: dict[type, str] = {str: "text", list: "a list", dict: "an object", type(None): "null"}
    return words.get(type(value), f"a {type(value).__name__}")


def plain_value(value: object) -> object:
    """Convert a Python value to what `parse_json` returns; NaN (null in pandas) becomes None."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, int | float | Decimal):
        return NumberAsWritten(value)
    if isinstance(value, date | time):
        return str(value)
    if isinstance(value, list):
        return [plain_value(part) for part in value]
    if isinstance(value, dict):
        return {str(name): plain_value(part) for name, part in value.items()}
    return value


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a data set.

    Attributes:
        number: the row's number in the whole data set, from 1.
        place: the row's place for messages, e.g. "row 7 (line 9)".
        cells: column -> value, without missing cells.
        problem: why the row cannot be read; None if it can.
    """

    number: int
    place: str
    cells: Mapping[str, object]
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a data set, and all columns that occur in them."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]


class _Record(NamedTuple):
    line: int | None
    cells: Mapping[str, object]
    problem: str | None = None


class _FileRows(NamedTuple):
    columns: Sequence[str]
    records: Sequence[_Record]


def read_files(paths: Sequence[Path]) -> Table:
    """Read the rows of the files, one file after the other.

    Raises:
        DataError: when a whole file cannot be read; a single bad row gets a `problem` instead.
    """
    columns: dict[str, None] = {}
    rows: list[Row] = []
    for path in paths:
        read = _read_file(path)
        columns.update(dict.fromkeys(read.columns))
        name = plain_path(path.name)
        file = f"{name}, " if len(paths) > 1 else ""
        for line, cells, problem in read.records:
            number = len(rows) + 1
            where = f" ({file}line {line})" if line else f" ({name})" if file else ""
            rows.append(Row(number, f"row {number}{where}", cells, problem))
    return Table(tuple(columns), tuple(rows))


def table_from_objects(values: Sequence[Mapping[str, object]]) -> Table:
    """Make a table from Python objects, as pyarrow and `datasets` return them."""
    columns = dict.fromkeys(name for value in values for name in value)
    rows = (
        Row(number, f"row {number}", {name: plain_value(cell) for name, cell in value.items()})
        for number, value in enumerate(values, 1)
    )
    return Table(tuple(columns), tuple(rows))


def _read_file(path: Path) -> _FileRows:
    suffix = path.suffix.lower()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if not data.strip():
        raise DataError(f"{path} is empty; a data set needs at least one row")
    if suffix == ".parquet":
        return _read_parquet(path, data)
    text = _decode_utf8(path, data)
    return {".csv": _read_csv, ".json": _read_json, ".jsonl": _read_jsonl}[suffix](path, text)


def _decode_utf8(path: Path, data: bytes) -> str:
    way_out = "; save it as UTF-8"
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in data[:4]:
        raise DataError(f"{path} is not UTF-8: byte 1 (line 1) begins UTF-16 text{way_out}")
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        where = f"byte {error.start + 1} (line {line}) is 0x{data[error.start]:02x}"
        raise DataError(f"{path} is not UTF-8: {where}{way_out}") from error


def _read_csv(path: Path, text: str) -> _FileRows:
    with _long_cells(len(text)):
        records = list(_split_csv(path, text))
    if not records:
        raise DataError(f"{path} is empty; a data set needs at least one row")
    header = [name.strip() for name in records[0][1]]
    columns = [name for name in header if name]  # a column without a name is a row counter
    _check_column_names(path, columns)
    return _FileRows(columns, [_csv_record(header, line, cells) for line, cells in records[1:]])


def _check_column_names(path: Path, columns: Sequence[str]) -> None:
    twice = [name for name, n in Counter(columns).items() if n > 1]
    if twice:
        raise DataError(
            f"{path} has columns with the same name in its header: {', '.join(map(repr, twice))}; "
            "rename or remove all but one"
        )


def _csv_record(header: Sequence[str], line: int, cells: Sequence[str]) -> _Record:
    if len(cells) != len(header):
        problem = f"has {len(cells)} cells, but the header has {len(header)}"
        return _Record(line, {}, f"{problem} (a cell that contains the separator needs quotes)")
    return _Record(line, dict(zip(header, cells, strict=True)))


def _split_csv(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the records, each with the line where it begins; skip blank lines."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    line = 1
    try:
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}, line {line}: broken csv: {error}; write a quote inside a quoted cell twice"
        ) from error


def _delimiter(text: str) -> str:
    """Return the separator (comma, semicolon or tab) that gives the header the most columns."""

    def n_columns(delimiter: str) -> int:
        lines = io.StringIO(text.lstrip("\r\n"), newline="")
        return len(next(csv.reader(lines, delimiter=delimiter), []))

    return max(",;\t", key=n_columns)


@contextmanager
def _long_cells(n_chars: int) -> Iterator[None]:
    """Allow csv cells as long as the file; the csv module's default limit is 128 KiB."""
    before = csv.field_size_limit()
    csv.field_size_limit(max(before, n_chars))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _read_jsonl(path: Path, text: str) -> _FileRows:
    if (whole := _parse_whole(text)) is not None:
        return _rows_of_records([_object_record(None, row) for row in _json_rows(path, whole)])
    # Split only at \n: splitlines() would also split at a Unicode line separator inside a text.
    lines = enumerate(text.split("\n"), 1)
    return _rows_of_records([_jsonl_record(number, line) for number, line in lines if line.strip()])


def _parse_whole(text: str) -> object:
    """Return the one JSON document in a file that is jsonl by its name only; None if it is jsonl.

    A single line is such a document only if it cannot be a row.
    """
    is_list, one_line = text.lstrip().startswith("["), "\n" not in text.strip()
    if not (is_list or one_line or text.lstrip().startswith("{\n")):
        return None
    try:
        value = parse_json(text)
    except ValueError:
        return None
    if one_line and not is_list and find_labelled_rows(value) is None:
        return None
    return value


def _jsonl_record(number: int, line: str) -> _Record:
    try:
        return _object_record(number, parse_json(line))
    except json.JSONDecodeError as error:
        return _Record(number, {}, f"broken JSON at character {error.colno}: {error.msg}")
    except ValueError as error:
        return _Record(number, {}, f"broken JSON: {error}")


def _object_record(line: int | None, value: object) -> _Record:
    if isinstance(value, dict):
        return _Record(line, value)
    return _Record(line, {}, f"is {type_name(value)}; every row must be an object")


def _rows_of_records(records: Sequence[_Record]) -> _FileRows:
    columns = dict.fromkeys(name for record in records for name in record.cells)
    return _FileRows(tuple(columns), records)


def _read_json(path: Path, text: str) -> _FileRows:
    try:
        value = parse_json(text)
    except json.JSONDecodeError as error:
        whole = text[: error.pos].strip()
        if error.msg == "Extra data" and whole.startswith("{") and "\n" not in whole:
            return _read_jsonl(path, text)  # many tools name their jsonl files .json
        raise DataError(
            f"{path}, line {error.lineno}, character {error.colno}: broken JSON: {error.msg}"
        ) from error
    except ValueError as error:
        raise DataError(f"{path}: broken JSON: {error}") from error
    return _rows_of_records([_object_record(None, row) for row in _json_rows(path, value)])


def _json_rows(path: Path, value: object) -> Sequence[object]:
    found = find_rows(value)
    if found is None:
        raise DataError(
            f"{path} holds no table: it must be a list of objects, an object with exactly one list "
            "of objects, or an object with one list per column, all of the same length; but it is "
            f"{_table_text(value)}"
        )
    return found


def _table_text(value: object) -> str:
    """Describe what holds no rows, with the way out where there is one."""
    if isinstance(value, list):
        return f"a list of lists, without the columns' names. {_WITH_PANDAS}"
    if not isinstance(value, dict):
        return type_name(value)
    parts = [
        f"{name!r}: {f'a list of {len(cell)}' if isinstance(cell, list) else type_name(cell)}"
        for name, cell in list(value.items())[:8]
    ]
    if not parts:
        return "an empty object"
    way_out = ""
    if len(list_tables(value)) > 1:
        way_out = ". Write one of them into a file of its own"
    elif all(isinstance(cell, dict) for cell in value.values()):
        way_out = f". {_WITH_PANDAS}"
    elif any(isinstance(cell, str) for cell in value.values()):
        way_out = ". A single row must be in a list"
    return f"an object with {', '.join(parts)}{way_out}"


_WITH_PANDAS = "With pandas: to_json(path, orient='records')"


def _read_parquet(path: Path, data: bytes) -> _FileRows:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    # Not with pandas, which turns a column of integers with empty cells into floats.
    try:
        file = pq.ParquetFile(io.BytesIO(data))
        columns = file.schema_arrow.names
        _check_column_names(path, columns)
        values = file.read().to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable parquet file: {error}") from error
    read = table_from_objects(values)
    return _FileRows(columns, [_Record(None, row.cells) for row in read.rows])
