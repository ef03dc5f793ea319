"""Write folds: for each a folder with train.jsonl and test.jsonl, and one manifest for all.

Both files can be read by trainers (mlx-lm, TRL and others: prompt and completion, or messages) and
by this program. Training rows keep all columns that they came with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from plugin.caseset.folds import FoldSet, SourceRow, questions_text, rows_text
from plugin.caseset.records import PoolRow, Power
from plugin.caseset.words import dropped_text, gain_text, needed_text
from plugin.errors import OptionError
from plugin.load.code_tests import tests_as_cells
from plugin.load.columns import Columns
from plugin.load.fold_manifest import (
    MANIFEST,
    ManifestFold,
    fold_file,
    manifest_text,
    question_digest,
    read_manifest,
)
from plugin.load.readers import NumberAsWritten
from plugin.plan.command_parser import PROGRAM
from plugin.records import Case
from plugin.report import write_files
from plugin.terminal import shell_word

TRAIN, TEST = "train.jsonl", "test.jsonl"


def require_place(folder: Path, n_folds: int) -> None:
    """Check that the folds may be written into a folder.

    Raises:
        OptionError: when it holds something else, or another number of folds.
        DataError: when its manifest cannot be read.
    """
    if (folder / MANIFEST).is_file():
        there = len(read_manifest(folder / MANIFEST).folds)
        if there != n_folds:
            raise OptionError(
                f"--out {folder} holds {there} folds; choose another folder for {n_folds}"
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise OptionError(
            f"--out {folder} is not empty and has no {MANIFEST}, so it is none of this program; "
            "choose another folder"
        )


def write_folds(made: FoldSet, folder: Path) -> list[Path]:
    """Write all folds, the manifest last; return the paths.

    Raises:
        OptionError: when they cannot be written.
    """
    as_chat = any(_is_chat(row.case) for row in made.test) or any(
        _is_chat(one.row.case) for fold in made.folds for one in fold.train
    )
    has_several = any(row.case.references for row in made.test)
    keeps = len(columns_of_files(made)) == 1
    paths, entries = list[Path](), list[ManifestFold]()
    for fold in made.folds:
        train = _jsonl(_train_row(one, as_chat, keeps) for one in fold.train)
        test = _jsonl(_test_row(row, as_chat, has_several) for row in fold.test)
        paths += write_files(folder / fold.name, {TRAIN: train, TEST: test})
        entries.append(
            ManifestFold(
                name=fold.name,
                test=fold_file(Path(fold.name), TEST, test, len(fold.test)),
                train=fold_file(Path(fold.name), TRAIN, train, len(fold.train)),
                questions=tuple(question_digest(row.case) for row in fold.test),
            )
        )
    return [*paths, *write_files(folder, {MANIFEST: manifest_text(entries)})]


def _jsonl(rows: Iterator[Mapping[str, object]]) -> str:
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)


def _is_chat(case: Case) -> bool:
    return [turn.role for turn in case.messages] != ["user"]


def _for_trainers(case: Case, as_chat: bool) -> dict[str, object]:
    """Return question and answer in the columns that trainers read."""
    if not as_chat:
        return {"prompt": case.input, "completion": case.expected_output}
    turns = [{"role": turn.role, "content": turn.content} for turn in case.messages]
    return {"messages": [*turns, {"role": "assistant", "content": case.expected_output}]}


def columns_of_files(made: FoldSet) -> set[frozenset[str]]:
    """Return the sets of columns of the files; more than one where they differ."""
    found: dict[str, set[str]] = {}
    for fold in made.folds:
        for one in fold.train:
            found.setdefault(one.row.place.partition(", ")[0], set()).update(one.cells)
    return set(map(frozenset, found.values()))


def _train_row(one: SourceRow, as_chat: bool, keeps: bool) -> dict[str, object]:
    """Return the row as it was read, with the columns that trainers read.

    Of files with different columns these alone: what some rows lack, nothing could read there.
    """
    added = _for_trainers(one.row.case, as_chat)
    if not keeps:
        return added
    cells = {name: plain(value) for name, value in one.cells.items()}
    if "input" in cells and "expected_output" not in cells:
        added["expected_output"] = one.row.case.expected_output
    return {**cells, **{name: value for name, value in added.items() if name not in cells}}


def _test_row(row: PoolRow, as_chat: bool, has_several: bool) -> dict[str, object]:
    """Return a case; where some have several right answers, all have the column for them."""
    case = row.case
    content: dict[str, object] = {
        "id": case.id,
        **_for_trainers(case, as_chat),
        "expected_output": list(case.right_answers) if has_several else None,
        "context": list(case.context),
        "group": case.group,
        "cluster": case.cluster,
        "retention": case.retention or None,
        "expect": list(case.expect),
        **tests_as_cells(case.tests, Columns().tests),
        "source": row.place,
    }
    return {name: value for name, value in content.items() if value not in (None, [])}


def plain(value: object) -> object:
    """Return a cell as JSON has it: numbers are numbers again."""
    if isinstance(value, NumberAsWritten):
        return json.loads(value)
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return value


def fold_lines(made: FoldSet, power: Power) -> Iterator[str]:
    """Yield what a terminal shows of finished folds.

    Args:
        made: the folds.
        power: what all of them together find.
    """
    for note in made.notes:
        yield f"note: {note}"
    if len(columns_of_files(made)) > 1:
        yield (
            "note: the files have different columns, so training rows keep only those that "
            "trainers read"
        )
    if made.n_without_answer:
        yield f"note: {rows_text(made.n_without_answer)} without an answer left out"
    n = len(made.test)
    yield f"{rows_text(made.n_read)} read, {questions_text(n)} to test"
    for dropped in made.dropped:
        if dropped.n:
            yield f"  not tested, but trained on: {dropped_text(dropped, has_earlier=False)}"
    for fold in made.folds:
        n_test, n_train = (
            questions_text(len(fold.test)),
            rows_text(len(fold.train)),
        )
        alike = f" ({fold.n_alike:,} left out, like a question here)" if fold.n_alike else ""
        yield f"  {fold.name}: {n_test} to test, {n_train} to train on{alike}"
    yield f"All folds together: {gain_text(power)}"
    yield needed_text(power)


def commands_for(made: FoldSet, folder: Path) -> Iterator[str]:
    """Yield the commands that train, run and compare the folds, one a line."""
    names = [fold.name for fold in made.folds]
    yield "Train one adapter per fold with the same recipe, such as with mlx-lm:"
    for name in names:
        data = shell_word(folder / name)
        yield f"  mlx_lm.lora --train --model BASE --data {data} --adapter-path adapters/{name}"
    yield f"or with any other trainer on {TRAIN} of each fold. Then run each on its own fold:"
    for name in names:
        test, train = shell_word(folder / name / TEST), shell_word(folder / name / TRAIN)
        yield (
            f"  {PROGRAM} run --model_name BASE --model_adapter adapters/{name} --dataset_name "
            f"{test} --train_data {train} --out runs/{name}"
        )
    yield "and put them together:"
    yield f"  {PROGRAM} compare --folds {' '.join(f'runs/{name}' for name in names)}"
