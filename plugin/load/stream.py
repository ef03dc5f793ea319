"""Read a data set batch by batch, so that a file of many gigabytes does not fill the memory.

Small files, folders and data sets of the hub are read whole, as `find` reads them. A large csv,
jsonl or parquet file is read in pieces. A large JSON document cannot be, so it is refused.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from plugin.errors import DataError, OptionError
from plugin.load.find import find_rows
from plugin.load.readers import Row, Table, parse_json, plain_value

LARGE_BYTES = 32 << 20
"""A file above this size is read in pieces."""

_N_ROWS = 2_000
"""Rows in a piece."""

_MOST_JSON = 1 << 30
_LONGEST_CELL = 16 << 20


def read_batches(name: str, large_bytes: int = LARGE_BYTES) -> Iterator[Table]:
    """Yield the rows of a data set, a batch at a time; a small one is one batch.

    If it has several splits, the one named train is read.

    Args:
        name: a file, a folder, or a data set id.
        large_bytes: a file above this size is read in pieces.

    Raises:
        DataError: when it is not found or cannot be read; a bad row has a `problem` instead.
    """
    path = Path(os.path.expanduser(name))
    suffix = path.suffix.lower()
    if not path.is_file() or path.stat().st_size <= large_bytes:
        yield find_training_rows(name)
        return
    if suffix == ".json" and path.stat().st_size > _MOST_JSON:
        raise DataError(
            f"{path} is one JSON document of {path.stat().st_size / 2**30:.1f} GB, which can only "
            "be read whole; write it as jsonl, a row per line"
        )
    read = {".jsonl": _jsonl_rows, ".csv": _csv_rows, ".parquet": _parquet_rows}.get(suffix)
    if read is None:
        yield find_rows(name, None)
        return
    rows = read(path)
    while piece := tuple(islice(rows, _N_ROWS)):
        columns = dict.fromkeys(name for row in piece for name in row.cells)
        yield Table(tuple(columns), piece)


def find_training_rows(name: str) -> Table:
    """Return all rows of a data set: of its split `train` where it has several."""
    if Path(os.path.expanduser(name)).is_file():
        return find_rows(name, None)
    try:
        return find_rows(name, "train")
    except OptionError:  # it has no such split
        return find_rows(name, None)


def _jsonl_rows(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        number = 0
        for line, data in enumerate(file, 1):
            if not data.strip():
                continue
            number += 1
            place = f"row {number} (line {line})"
            try:
                value = parse_json(data.decode("utf-8").removeprefix("\ufeff"))
            except ValueError as error:
                yield Row(number, place, {}, f"broken JSON: {error}")
                continue
            is_row = isinstance(value, dict)
            cells = value if isinstance(value, dict) else {}
            yield Row(number, place, cells, None if is_row else "every row must be an object")


def _csv_rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        file.seek(0)
        delimiter = max(",;\t", key=first.count)
        csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
        reader = csv.reader(file, delimiter=delimiter)
        try:
            header = [name.strip() for name in next(reader)]
            for number, cells in enumerate(filter(None, reader), 1):
                fits = len(cells) == len(header)
                problem = None if fits else f"has {len(cells)} cells, not {len(header)}"
                found = dict(zip(header, cells, strict=False)) if fits else {}
                yield Row(number, f"row {number} (line {reader.line_num})", found, problem)
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{path}, line {reader.line_num}: cannot be read: {error}") from error


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    number = 0
    try:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=_N_ROWS):
            for value in batch.to_pylist():
                number += 1
                cells = {name: plain_value(cell) for name, cell in value.items()}
                yield Row(number, f"row {number}", cells)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable parquet file: {error}") from error
