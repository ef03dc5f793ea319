"""The training data: its rows as cases, in every layout of the product, also of large files.

A row with a question and an answer is a case with an expected output. A row of plain text (a column
`text`) has the text as its input and no answer. Rows that cannot be read are counted and left out.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from plugin.errors import DataError, OptionError
from plugin.load.cases import read_table
from plugin.load.columns import Columns, Layout, lay_out, list_columns
from plugin.load.readers import Table
from plugin.load.stream import LARGE_BYTES, read_batches
from plugin.records import Case

N_KEPT = 50_000
"""Rows that are kept in memory; more of them are read again from their files."""

_LOOK_EVERY = 2_000
_TEXT = "text"


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One row of the training data.

    Attributes:
        number: from 1, over all files.
        place: where it stands, such as "train.jsonl, row 7".
        case: its turns, with the answer as expected output.
        is_plain: whether it is plain text, not a question.
    """

    number: int
    place: str
    case: Case
    is_plain: bool = False

    @property
    def asked(self) -> str:
        """Return the texts of all turns but the system's."""
        return asked_text(self.case)

    @property
    def answer(self) -> str:
        """Return the answer; "" for none."""
        return self.case.expected_output or ""

    @property
    def text(self) -> str:
        """Return question and answer on one line."""
        return " ".join(f"{self.asked} {self.answer}".split())


def asked_text(case: Case) -> str:
    """Return the texts of all turns but the system's, a line each."""
    return "\n".join(turn.content for turn in case.messages if turn.role != "system")


@dataclass(slots=True)
class TrainingData:
    """The rows of the training files; they can be read more than once.

    Attributes:
        files: as the user named them.
        large_bytes: a file above this size is read in pieces, and never kept.
        n_rows: rows that were read, after the first reading.
        n_unused: rows that could not be used.
        notes: how the columns were read, a sentence each.
    """

    files: tuple[str, ...]
    large_bytes: int = LARGE_BYTES
    n_rows: int = 0
    n_unused: int = 0
    notes: tuple[str, ...] = ()
    _kept: list[TrainingRow] | None = field(default=None, repr=False)

    def rows(self) -> Iterator[TrainingRow]:
        """Yield the rows.

        Raises:
            DataError: when a file cannot be read, has no text columns, or no usable row.
        """
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[TrainingRow] | None = []
        self.n_rows = self.n_unused = 0
        self.notes = ()
        for name in self.files:
            before = self.n_rows
            for row in self._rows_of(name):
                if kept is not None:
                    kept.append(row)
                    kept = kept if len(kept) <= N_KEPT else None
                yield row
            if self.n_rows == before:
                raise DataError(
                    f"--train_data {name}: none of its {self.n_unused:,} rows can be used as "
                    "training text; correct the rows, or name another file"
                )
        self._kept = kept

    def _rows_of(self, name: str) -> Iterator[TrainingRow]:
        layout: Layout | None = None
        file = Path(name).name
        for table in read_batches(name, self.large_bytes):
            if layout is None:
                layout = _training_layout(name, table)
                self.notes += tuple(f"{file}: {note}" for note in layout.notes)
            is_plain = layout.input == (_TEXT,) and not layout.has_expected_output
            for row, case in read_table(table, layout):
                if case is None:
                    self.n_unused += 1
                    continue
                self.n_rows += 1
                yield TrainingRow(self.n_rows, f"{file}, {row.place}", case, is_plain)

    def draw(
        self, n: int, seed: int, check: Callable[[int], None] = lambda n: None
    ) -> tuple[list[TrainingRow], str]:
        """Return n rows drawn at random, in their order, and the digest of all rows.

        Args:
            n: how many.
            seed: of the draw.
            check: called now and then with the number of rows read.
        """
        rng, digest = random.Random(seed), hashlib.sha256()
        drawn: list[TrainingRow] = []
        for seen, row in enumerate(self.rows()):
            digest.update(f"{row.asked}\0{row.answer}\0".encode("utf-8", "surrogatepass"))
            if seen < n:
                drawn.append(row)
            elif (place := rng.randint(0, seen)) < n:
                drawn[place] = row
            if not (seen + 1) % _LOOK_EVERY:
                check(seen + 1)
        return sorted(drawn, key=lambda row: row.number), digest.hexdigest()


def _training_layout(name: str, table: Table) -> Layout:
    """Return how to read the rows of a training file.

    Raises:
        DataError: when no column has text to train on.
    """
    if not table.rows:
        raise DataError(f"--train_data {name}: there are no rows")
    try:
        layout, problems = lay_out(Columns(), None, table)
        if layout.asked is None and _TEXT in table.columns:
            layout, problems = lay_out(Columns(input=_TEXT), None, table)
    except OptionError as error:
        raise DataError(f"--train_data {name}: {error}") from error
    if layout.asked is None or problems:
        raise DataError(
            f"--train_data {name}: no column with training text. It must have input, messages, "
            "conversations, prompt and completion, instruction and output, or text; "
            f"{list_columns(table.columns)}. Rename the column, or leave the file out"
        )
    return layout


def require_training(files: Sequence[str]) -> None:
    """Check that each training file is named once, and begins with rows that can be read.

    Raises:
        OptionError: when one is named twice.
        DataError: when one cannot be read, or has no text columns.
    """
    twice = sorted({name for name in files if files.count(name) > 1})
    if twice:
        raise OptionError(
            f"--train_data names {', '.join(twice)} twice; its rows would count twice. Name each "
            "file once"
        )
    for name in files:
        try:
            next(TrainingData((name,)).rows())
        except DataError as error:
            if str(error).startswith("--train_data"):
                raise
            raise DataError(f"--train_data {name}: {error}") from error
