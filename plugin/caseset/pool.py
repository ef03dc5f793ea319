"""Read a pool: logs and data sets in every layout of the product, and plain lists of questions.

Rows that cannot be read as a case are left out and counted: logs are rarely clean.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import islice
from pathlib import Path

from plugin.cache import content_key
from plugin.caseset.records import PoolRow
from plugin.errors import DataError, OptionError
from plugin.load.cases import read_table
from plugin.load.cells import read_all_turns
from plugin.load.columns import USUAL_INPUTS, Columns, Layout, lay_out, parse_template
from plugin.load.find import ABOUT, SUFFIXES
from plugin.load.readers import Row, Table
from plugin.load.repeats import fold
from plugin.load.stream import read_batches
from plugin.records import Case

_TEXT_SUFFIX = ".txt"
_LOOK_EVERY = 2_000
_N_AT_ONCE = 2_000
"""Lines of a text that are read at once."""

_ID_DIGITS = 12


@dataclass(slots=True)
class PoolReader:
    """Read the rows of a pool, and count.

    Attributes:
        names: files, folders, data sets.
        columns: names of the columns.
        input_template: builds the question from several columns; "" for none.
        keeps_answers: whether answers in the pool become expected outputs.
        sources: file -> usable rows in it, as far as was read.
        n_unusable: rows that could not be read as a case.
        first_bad: where the first of them stands, and why; "" for none.
        n_answers: usable rows with an answer.
        notes: how columns were read, a sentence each.
    """

    names: Sequence[str]
    columns: Columns = Columns()
    input_template: str = ""
    keeps_answers: bool = True
    sources: dict[str, int] = field(default_factory=dict)
    n_unusable: int = 0
    first_bad: str = ""
    n_answers: int = 0
    notes: list[str] = field(default_factory=list)
    _missing: set[str] = field(default_factory=set, repr=False)

    def rows(self, check: Callable[[int], None] = lambda n: None) -> Iterator[PoolRow]:
        """Yield the usable rows.

        Args:
            check: called now and then with the number of rows read.

        Raises:
            DataError: when a file cannot be read, or has no column with a question.
        """
        for _, row in self.with_cells(check):
            yield row

    def with_cells(
        self, check: Callable[[int], None] = lambda n: None
    ) -> Iterator[tuple[Mapping[str, object], PoolRow]]:
        """Yield the usable rows, each with the cells that it was read from (see `rows`)."""
        n_read = 0
        self._missing = {one.name for one in fields(Columns) if _is_named(self.columns, one.name)}
        for name in list_files(self.names):
            self.sources[name] = 0
            for cells, row in self._rows_of(name):
                self.sources[name] += 1
                n_read += 1
                if not n_read % _LOOK_EVERY:
                    check(n_read)
                yield cells, row
        if self._missing:
            named = (f"--{one}_column {getattr(self.columns, one)}" for one in self._missing)
            raise DataError(
                f"{', '.join(sorted(named))}: no file has this column; correct the name, or leave "
                "the option out"
            )

    def _rows_of(self, name: str) -> Iterator[tuple[Mapping[str, object], PoolRow]]:
        layout: Layout | None = None
        file = Path(name).name
        for table in _batches(name):
            if layout is None:
                layout = self._lay_out(name, table)
                self.notes += [f"{file}: {note}" for note in layout.notes]
            _refuse_lists(name, table, layout)
            for row, case in read_table(table, layout):
                if case is None:
                    self.n_unusable += 1
                    self.first_bad = self.first_bad or f"{file}, {row.place}"
                    continue
                self.n_answers += case.expected_output is not None
                if not self.keeps_answers:
                    case = replace(case, expected_output=None, references=())
                made = as_pool_row(case, f"{file}, {row.place}", case.id != str(row.number))
                yield row.cells, made

    def _lay_out(self, name: str, table: Table) -> Layout:
        """Return how to read a file; one column with a usual name is the question.

        A column that the user named may be missing in some files, but not in all.
        """
        template = parse_template(self.input_template) if self.input_template else None
        named = {one.name: getattr(self.columns, one.name) for one in fields(Columns)}
        here = {field: name for field, name in named.items() if name in table.columns}
        self._missing -= here.keys()
        columns = Columns(**here)
        layout, problems = lay_out(columns, template, table)
        plain = columns.input == Columns().input and template is None
        if layout.asked is None and plain:
            usual = next((one for one in USUAL_INPUTS if one in table.columns), None)
            if usual is not None:
                layout, problems = lay_out(replace(columns, input=usual), None, table)
        if not table.rows:
            problems = ["there are no rows"]
        if problems:
            raise DataError(f"{name} cannot be used as it is: {'; '.join(problems)}")
        return layout


def _is_named(columns: Columns, name: str) -> bool:
    """Return whether the user named another column than the usual one."""
    return bool(getattr(columns, name) != getattr(Columns(), name))


def _refuse_lists(name: str, table: Table, layout: Layout) -> None:
    """Refuse lists of questions that are asked one after the other, as in MT-Bench.

    Raises:
        DataError: for the first row with several; their answers turn by turn would be lost.
    """
    if layout.asked != "turns":
        return
    for row in table.rows:
        n = sum(turn.role == "user" for turn in read_all_turns(row, layout, []))
        if n > 1:
            raise DataError(
                f"{name}, {row.place}: {layout.input[0]} has {n} questions that are asked one "
                "after the other, and a set holds one question or one chat in each row. Give the "
                "file to run as it is (run --dataset_name), or write each conversation as a chat "
                "in the column messages"
            )


def list_files(names: Sequence[str]) -> list[str]:
    """Return the files of a pool: every data file and list of questions of a folder.

    A folder without any is named itself: it may be a data set that a library wrote.

    Raises:
        OptionError: when a file is named twice, or a name is empty.
        DataError: when a folder cannot be read.
    """
    found: list[str] = []
    if not all(name.strip() for name in names):
        raise OptionError("a file without a name is among those to read; name each file")
    for name in names:
        path = Path(os.path.expanduser(name))
        found += _data_in(path) or [name]
    if twice := sorted({name for name in found if found.count(name) > 1}):
        raise OptionError(f"{', '.join(twice)} is named twice; name each file once")
    return found


def _data_in(path: Path) -> list[str]:
    """Return the data files in a folder; none for a file.

    Raises:
        DataError: when the folder cannot be read.
    """
    if not path.is_dir():
        return []
    try:
        return sorted(str(file) for file in path.iterdir() if _is_data(file))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def _is_data(path: Path) -> bool:
    suffix = path.suffix.lower()
    return path.is_file() and path.name not in ABOUT and suffix in (*SUFFIXES, _TEXT_SUFFIX)


def _batches(name: str) -> Iterator[Table]:
    path = Path(os.path.expanduser(name))
    if path.suffix.lower() != _TEXT_SUFFIX:
        yield from read_batches(name)
        return
    rows = _questions_in(path)
    is_empty = True
    while piece := tuple(islice(rows, _N_AT_ONCE)):
        is_empty = False
        yield Table(("input",), piece)
    if is_empty:
        raise DataError(f"{path} is empty; write one question per line")


def _questions_in(path: Path) -> Iterator[Row]:
    """Yield the lines of a text that are not blank."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if question := line.strip():
                    yield Row(number, f"line {number}", {"input": question})
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: {error.reason}; save it as UTF-8") from error


def as_pool_row(case: Case, place: str, has_own_id: bool = False) -> PoolRow:
    """Return a case as a row of the pool, under an id that is made of its turns.

    Context is no part of it: models do not see it, so the same question would come twice.

    Args:
        case: as it was read.
        place: where it stands.
        has_own_id: whether its id is the user's; it is kept beside the new one.
    """
    key = content_key([[turn.role, fold(turn.content)] for turn in case.messages])
    own = {"source_id": case.id} if has_own_id else {}
    named = replace(case, id=f"q{key[:_ID_DIGITS]}", metadata={**case.metadata, **own})
    return PoolRow(named, place, key, rank_of(case.cluster or key))


def rank_of(text: str) -> float:
    """Return a number from 0 to 1 that is made of the text alone, the same on every machine."""
    return _fraction(f"side {text}")


def draw_order(key: str, seed: int) -> float:
    """Return a number from 0 to 1 by which cases are drawn, unrelated to `rank_of`."""
    return _fraction(f"draw {seed} {key}")


def _fraction(text: str) -> float:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
