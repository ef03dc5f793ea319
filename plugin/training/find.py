"""Find a training's log in or beside an adapter's folder, and read it.

The table `KINDS` has the formats, the one that says most first. A folder's own logs come first,
then those of the folder above it: a checkpoint's log lies in the training's folder. A log above is
left alone where several adapters lie beside each other, since it may be another one's.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from plugin.compare.numbers import format_count
from plugin.errors import DataError, list_first
from plugin.training.checkpoints import (
    FOLDER,
    holds_weights,
    last_weights,
    same_as,
    saved_checkpoints,
    step_of,
    weights_in,
    with_losses,
)
from plugin.training.diagnosis import diagnose
from plugin.training.json_logs import read_json_lines, read_trainer_state
from plugin.training.rows import LogRows, thin
from plugin.training.settings import read_settings
from plugin.training.tables import (
    TENSORBOARD_EVENTS,
    has_tensorboard,
    read_csv,
    read_tensorboard,
)
from plugin.training.text_logs import read_mlx_log
from plugin.training_curves import Curves, SavedCheckpoint

_HEAD_BYTES = 1 << 18

_MOST_FILES = 50
"""Files of one kind that are tried in a folder, the newest first."""


@dataclass(frozen=True, slots=True)
class LogKind:
    """A row of `KINDS`.

    Attributes:
        patterns: names of the files, below the training's folder.
        read: reads one of them.
    """

    patterns: tuple[str, ...]
    read: Callable[[Path], LogRows]


_STATES = LogKind(("trainer_state.json", "checkpoint-*/trainer_state.json"), read_trainer_state)

_N_STATES = 2
"""Of these are read: that of the training's folder and of its last checkpoint."""

KINDS = (
    _STATES,
    LogKind(("trainer_log.jsonl",), read_json_lines),
    LogKind(("*.log", "*.txt", "*.out"), read_mlx_log),
    LogKind(("logging.jsonl", "*log*.jsonl", "*metrics*.jsonl"), read_json_lines),
    LogKind(("*.csv", "*/metrics.csv"), read_csv),
    LogKind(
        (TENSORBOARD_EVENTS, f"runs/*/{TENSORBOARD_EVENTS}", f"*/{TENSORBOARD_EVENTS}"),
        read_tensorboard,
    ),
)


class LogCache(dict[tuple[Path, bool], tuple[LogRows | None, list[Path], list[str]]]):
    """What was found in the folders so far: many checkpoints lie beside one log."""


def read_curves(place: str | Path, seen: LogCache | None = None) -> Curves:
    """Return the curves of the training whose folder, checkpoint or log this is.

    Args:
        place: the folder or file.
        seen: spares reading a log again.

    Raises:
        DataError: when there is nothing, no log with losses, or only one that cannot be read. The
            message says which files were looked for.
    """
    path = Path(os.path.abspath(Path(place).expanduser()))
    if not path.exists():
        raise DataError(f"{place}: no such file or directory; name an adapter's folder, or its log")
    if path.is_file() and step_of(path) is None:
        rows, others = _read_named(path), list[Path]()
        return _curves(path.parent, rows, others, path.parent)
    for root, is_above in _roots(path):
        seen = LogCache() if seen is None else seen
        if (root, is_above) not in seen:
            seen[root, is_above] = _best_log(root, is_above)
        rows_found, others, faults = seen[root, is_above]
        if rows_found:
            found = _curves(root, rows_found, others, path)
            unread = [f"A log was passed over: {fault}." for fault in faults]
            return replace(found, notes=(*found.notes, *unread))
        if faults:
            raise DataError("; ".join(faults))
    raise DataError(_nothing_text(path))


_MOST_FOLDERS = 50


def folders_with_logs(path: Path) -> list[Path]:
    """Return the folders inside this one that may hold a log; read_curves does not look there."""
    try:
        inside = sorted(one for one in path.iterdir() if one.is_dir())[:_MOST_FOLDERS]
    except OSError:
        return []
    names = [name for kind in KINDS for name in kind.patterns if "/" not in name]
    return [one for one in inside if any(map(_may_hold_losses, _files(one, names)))]


def _roots(path: Path) -> Iterator[tuple[Path, bool]]:
    """Yield the folders in which the log may lie, the likeliest first.

    With each, whether it lies above and may hold anything: then the folders in it are left alone.
    """
    own = path if path.is_dir() else path.parent
    if FOLDER.fullmatch(own.name) and path.is_dir():
        yield own.parent, False  # its log goes on after this checkpoint
        yield own, False
        return
    yield own, False
    if path.is_dir() and not _has_neighbours(own):
        yield own.parent, True


def _has_neighbours(own: Path) -> bool:
    """Return whether other adapters or models lie beside this one, checkpoints apart."""
    try:
        beside = [path for path in own.parent.iterdir() if path != own and path.is_dir()]
    except OSError:
        return True
    return any(holds_weights(path) and not FOLDER.fullmatch(path.name) for path in beside)


def _best_log(root: Path, is_above: bool) -> tuple[LogRows | None, list[Path], list[str]]:
    """Return the log that says most, the others that have losses, and what cannot be read."""
    best, others, faults = None, list[Path](), list[str]()
    for kind in KINDS:
        found = list[LogRows]()
        patterns = [name for name in kind.patterns if not (is_above and "/" in name)]
        for path in _files(root, patterns):
            if kind is _STATES and len(found) == _N_STATES:
                break
            if kind.read is not read_tensorboard and not _may_hold_losses(path):
                continue
            try:
                rows = kind.read(path)
            except DataError as error:
                faults.append(str(error))
                continue
            if rows.has_points:
                found.append(rows)
        if best is not None:
            others += [rows.path for rows in found]
        elif found:
            best = max(found, key=lambda rows: (_mtime(rows.path), rows.last_step))
            if kind is _STATES:  # every checkpoint has the log up to its step
                best = max(found, key=lambda rows: rows.last_step)
            else:
                others += [rows.path for rows in found if rows is not best]
    return best, others, faults


def _files(root: Path, patterns: Sequence[str]) -> list[Path]:
    """Return the files with such names: those of the last checkpoint first, then the newest."""
    found = dict.fromkeys(path for name in patterns for path in root.glob(name) if path.is_file())
    by_age = sorted(found, key=lambda path: (-_mtime(path), path.name))
    by_step = sorted(by_age, key=lambda path: -(step_of(path.parent) or math.inf))
    return by_step[:_MOST_FILES]


def _may_hold_losses(path: Path) -> bool:
    """Return whether a file says "loss" near its beginning; a data set beside it may be large."""
    try:
        with path.open("rb") as file:
            return b"loss" in file.read(_HEAD_BYTES).replace(b"\0", b"").lower()
    except OSError:
        return True  # the reader says what is wrong


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _read_named(path: Path) -> LogRows:
    """Read a log that the user named, whatever its name is."""
    if path.match(TENSORBOARD_EVENTS):
        kinds: Sequence[Callable[[Path], LogRows]] = (read_tensorboard,)
    else:
        by_name = [kind.read for kind in KINDS if any(path.match(one) for one in kind.patterns)]
        kinds = tuple(dict.fromkeys((*by_name, *_TEXT_READERS)))
    for read in kinds:
        if (rows := read(path)).has_points:
            return rows
    raise DataError(
        f"{path} has no losses that can be read: it must be a trainer_state.json, JSON lines, what "
        "mlx_lm.lora printed, or a CSV file with columns such as step, loss and eval_loss"
    )


_TEXT_READERS = (read_trainer_state, read_json_lines, read_mlx_log, read_csv)


def _curves(root: Path, rows: LogRows, others: Sequence[Path], asked: Path) -> Curves:
    """Put together what the log and the folder say."""
    train, evaluation, rate = (
        column.series() for column in (rows.train, rows.evaluation, rows.learning_rate)
    )
    saved = saved_checkpoints(root)
    checkpoints = [one for one, _ in saved]
    last = last_weights(root, saved, rows.last_step)
    if last and all(one.step != last.step for one in checkpoints):
        checkpoints.append(last)
    with_loss = with_losses(checkpoints, evaluation)
    own = root if asked == root.parent else asked
    folders = [own if own.is_dir() else own.parent, root, *(path.parent for _, path in saved[-1:])]
    settings = read_settings(*folders)
    return Curves(
        trainer=rows.trainer,
        log=os.path.relpath(rows.path, own if own.is_dir() else own.parent),
        axis=rows.axis,
        train=thin(train),
        evaluation=thin(evaluation),
        learning_rate=thin(rate),
        epoch=rows.epoch,
        checkpoints=with_loss,
        chosen=_chosen(own, root, saved, last),
        settings=replace(
            settings,
            epochs=rows.planned_epochs if settings.epochs is None else settings.epochs,
            steps=rows.planned if rows.planned is not None else settings.steps,
        ),
        diagnosis=diagnose(train, evaluation, with_loss, rows.last_step),
        notes=(*rows.reading_notes(), *_other_logs_note(root, rows, others)),
    )


def _chosen(
    own: Path,
    root: Path,
    saved: Sequence[tuple[SavedCheckpoint, Path]],
    last: SavedCheckpoint | None,
) -> float | None:
    """Return the step of the adapter that was asked about; None for a log or an empty folder."""
    if (step := step_of(own)) is not None:
        return step
    if own == root:
        return last.step if last else None
    weights = weights_in(own)
    same = same_as(weights, saved) if weights else None
    return same.step if same else None


def _other_logs_note(root: Path, rows: LogRows, others: Sequence[Path]) -> list[str]:
    if not others:
        return []
    names = list_first([str(path.relative_to(root)) for path in others], 3)
    counted = format_count(len(others), "other log", "other logs")
    return [
        f"{rows.path.name} was read; the folder has {counted} with losses ({names}): name one of "
        "them to see it."
    ]


def _nothing_text(path: Path) -> str:
    """Say which files were looked for, and where."""
    names = list_first([name for kind in KINDS for name in kind.patterns if "/" not in name], 9)
    places = " and ".join(str(root) for root, _ in _roots(path))
    text = (
        f"{path} has no training log with losses: looked in {places} for {names}. Trainers print "
        "losses: keep them with mlx_lm.lora ... | tee train.log, or name the log itself"
    )
    if not has_tensorboard():
        text += "; files of TensorBoard need pip install -r requirements-tensorboard.txt"
    return text
