"""Read losses from CSV files, and from TensorBoard's event files if its library is installed."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from plugin.errors import DataError
from plugin.training.json_logs import EVALUATION_KEYS, RATE_KEYS, STEP_KEYS
from plugin.training.rows import LogRows, number, read_text

TENSORBOARD_EVENTS = "events.out.tfevents.*"

_CSV_STEPS = (*STEP_KEYS, "trainer/global_step", "train/global_step", "training step")
_CSV_TRAIN = (
    *("train_loss", "train/loss", "training_loss", "loss", "train_loss_step", "train loss"),
    *("train_loss_epoch", "training loss"),
)
_CSV_EVALUATION = (*EVALUATION_KEYS, "val loss", "validation loss", "eval loss", "test_loss")
_CSV_RATES = (*RATE_KEYS, "learning rate", "lr-adam", "lr-adamw")
_EPOCHS = ("epoch", "train/epoch", "epochs")


def read_csv(path: Path) -> LogRows:
    """Return what a CSV file with columns for step and losses says; no points for any other."""
    rows, text = LogRows("a CSV file", path), read_text(path)
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        names = [_plain(name) for name in next(reader, [])]
        places = [_place(names, keys) for keys in (_CSV_TRAIN, _CSV_EVALUATION, _CSV_RATES)]
        step, epoch = _place(names, _CSV_STEPS), _place(names, _EPOCHS)
        if places[0] is None and places[1] is None:
            return rows
        if step is None:
            step, rows.axis = epoch, "epoch" if epoch is not None else "row"
        for count, row in enumerate(reader):
            if len(row) < len(names):
                rows.lost += bool(row)
                continue
            at = float(count) if step is None else number(row[step])
            rows.add(at, *(None if place is None else number(row[place]) for place in places))
            if epoch is not None and (value := number(row[epoch])) is not None:
                rows.epoch = value
    except csv.Error:
        rows.lost += 1
    return rows


def _plain(name: str) -> str:
    """Return a column's name without the name of the run that Weights & Biases puts before it."""
    return name.strip().rsplit(" - ", 1)[-1].lower()


def _place(names: Sequence[str], keys: Sequence[str]) -> int | None:
    return next((names.index(key) for key in keys if key in names), None)


def has_tensorboard() -> bool:
    """Return whether the library that reads event files is installed."""
    try:
        import tensorboard.backend.event_processing.event_accumulator  # noqa: F401
    except ImportError:
        return False
    return True


def read_tensorboard(path: Path) -> LogRows:
    """Return what an event file of TensorBoard says.

    Raises:
        DataError: when the library is not installed.
    """
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError as error:
        raise DataError(
            f"{path} is a file of TensorBoard: to read it, run pip install -r "
            "requirements-tensorboard.txt"
        ) from error
    rows = LogRows("TensorBoard", path)
    events = EventAccumulator(str(path), size_guidance={"scalars": 0})
    events.Reload()
    tags: Mapping[str, str] = {tag.lower(): tag for tag in events.Tags().get("scalars", ())}
    for keys, column in (
        (_CSV_TRAIN, rows.train),
        (_CSV_EVALUATION, rows.evaluation),
        (_CSV_RATES, rows.learning_rate),
    ):
        tag = next((tags[key] for key in keys if key in tags), None)
        for event in events.Scalars(tag) if tag else ():
            column.add(float(event.step), float(event.value))
    return rows
