"""Folds for small data: every question is tested once, by an adapter that never saw it.

The fold of a question follows from its content, or from the name of its cluster. So added rows move
no question from one fold to another. Of questions that are near to each other, one is tested; the
others are training rows of the folds that do not test it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from plugin.caseset.pool import PoolReader
from plugin.caseset.records import Dropped, PoolRow
from plugin.caseset.repeats import drop_near, drop_repeats
from plugin.compare.numbers import format_count
from plugin.errors import DataError, OptionError
from plugin.memorisation.marks import mark_cases
from plugin.memorisation.training import TrainingData, TrainingRow

MANY = 1_000
"""With more questions a plain split does: it costs one training, not several."""

Check = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A row of the data, as it was read.

    Attributes:
        cells: its columns.
        row: the same as a row of a pool.
    """

    cells: Mapping[str, object]
    row: PoolRow


@dataclass(frozen=True, slots=True)
class Fold:
    """One fold.

    Attributes:
        name: of the fold and its folder.
        test: the questions that are tested here.
        train: the rows that its adapter is trained on.
        n_alike: rows of other folds that are left out of its training, because they are like a
            question that is tested here.
    """

    name: str
    test: tuple[PoolRow, ...]
    train: tuple[SourceRow, ...]
    n_alike: int


@dataclass(frozen=True, slots=True)
class FoldSet:
    """All folds of a data set.

    Attributes:
        n_read: usable rows that were read.
        n_without_answer: rows that were left out, for nothing can be trained on them.
        dropped: what is not tested because it repeats or nearly repeats another question.
        notes: what the reader must know, a sentence each.
    """

    folds: tuple[Fold, ...]
    n_read: int
    n_without_answer: int
    dropped: tuple[Dropped, ...]
    notes: tuple[str, ...] = ()

    @property
    def test(self) -> tuple[PoolRow, ...]:
        """Return the questions of all folds."""
        return tuple(row for fold in self.folds for row in fold.test)


def build_folds(
    reader: PoolReader,
    n_folds: int,
    check: Check = lambda step, n: None,
    change: Callable[[SourceRow], SourceRow] = lambda row: row,
) -> FoldSet:
    """Read the rows, and give each question its fold.

    Args:
        reader: reads the rows.
        n_folds: how many folds.
        check: called now and then with the name of the step and how many rows it has done.
        change: changes a row before anything is done with it, such as to mask texts.

    Raises:
        OptionError: when there cannot be so many folds.
        DataError: when no row can be trained on.
    """
    if n_folds < 2:
        raise OptionError(
            f"--folds {n_folds} must be 2 or more: each adapter is trained on the other folds"
        )
    read = reader.with_cells(lambda n: check("read the rows", n))
    rows = [change(SourceRow(cells, row)) for cells, row in read]
    usable = [one for one in rows if (one.row.case.expected_output or "").strip()]
    if not usable:
        raise DataError(
            f"of {rows_text(len(rows))} none has an answer, so nothing can be trained on "
            "them; name the column with --expected_output_column"
        )
    tested, repeated = drop_repeats(one.row for one in usable)
    tested, near = drop_near(tested, lambda n: check("look for near-duplicates", n))
    parts = _parts(tested, n_folds)
    folds = []
    for name, test in parts.items():
        check(f"compare {name} with its training rows", 0)
        folds.append(_make_fold(name, test, usable))
    return FoldSet(
        folds=tuple(folds),
        n_read=len(rows),
        n_without_answer=len(rows) - len(usable),
        dropped=(repeated, near),
        notes=tuple(_notes(reader, len(tested))),
    )


def rows_text(n: int) -> str:
    """Return a number of rows."""
    return format_count(n, "row", "rows")


def questions_text(n: int) -> str:
    """Return a number of questions."""
    return format_count(n, "question", "questions")


def _parts(rows: Sequence[PoolRow], n_folds: int) -> dict[str, list[PoolRow]]:
    """Return the questions of each fold.

    Raises:
        OptionError: when a fold has none.
    """
    n_units = len({row.rank for row in rows})
    if n_folds > n_units:
        raise OptionError(
            f"--folds {n_folds}: {questions_text(len(rows))} in {n_units} clusters make at most "
            f"{n_units} folds; choose fewer folds, or name more rows"
            if n_units < len(rows)
            else f"--folds {n_folds}: {n_units} different questions make at most {n_units} folds; "
            "choose fewer folds, or name more rows"
        )
    parts: dict[str, list[PoolRow]] = {f"fold_{at + 1}": [] for at in range(n_folds)}
    for row in rows:
        parts[fold_name(row.rank, n_folds)].append(row)
    if empty := [name for name, own in parts.items() if not own]:
        raise OptionError(
            f"--folds {n_folds}: no question falls on {', '.join(empty)}, because its content "
            f"decides which fold it is in; {questions_text(n_units)} are too few for so many "
            "folds. Choose fewer folds, or name more rows"
        )
    return parts


def fold_name(rank: float, n_folds: int) -> str:
    """Return the fold of a rank: the folds lie one after the other between 0 and 1."""
    return f"fold_{min(n_folds, int(rank * n_folds) + 1)}"


def _make_fold(name: str, test: Sequence[PoolRow], rows: Sequence[SourceRow]) -> Fold:
    """Return the fold with all rows to train on that are like none of its questions.

    The check is that of `run --train_data`. It finds one row for each question, so it is repeated
    until it finds none.
    """
    keys = {row.key for row in test}
    clusters = {row.case.cluster for row in test if row.case.cluster is not None}
    own = [one for one in rows if one.row.key not in keys and one.row.case.cluster not in clusters]
    n_others, cases = len(own), [row.case for row in test]
    while own:
        marks = mark_cases(_as_training(own), cases).marks
        gone = {int(mark.row) for mark in marks if mark.mark != "clean"}
        if not gone:
            break
        own = [one for at, one in enumerate(own) if at not in gone]
    if not own:
        raise DataError(
            f"{name}: every row to train on repeats or nearly repeats one of its "
            f"{questions_text(len(test))}, so no adapter can be trained without them. Choose "
            "more folds, or name more varied rows"
        )
    return Fold(name, tuple(test), tuple(own), n_others - len(own))


def _as_training(rows: Sequence[SourceRow]) -> TrainingData:
    kept = [
        TrainingRow(at + 1, str(at), replace(one.row.case, references=()))
        for at, one in enumerate(rows)
    ]
    return TrainingData(("the training rows",), n_rows=len(kept), _kept=kept)


def _notes(reader: PoolReader, n_tested: int) -> list[str]:
    notes = list(reader.notes)
    if reader.n_unusable:
        notes.append(
            f"{rows_text(reader.n_unusable)} cannot be read as a question and "
            f"{'is' if reader.n_unusable == 1 else 'are'} left out; the first is {reader.first_bad}"
        )
    if n_tested > MANY:
        notes.append(
            f"{n_tested:,} questions are enough for a plain split, which costs one training and "
            f"not several: cases build --split test=0.3,train=0.7 (folds are for less than about "
            f"{MANY:,})"
        )
    return notes
