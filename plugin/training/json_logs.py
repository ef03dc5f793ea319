"""Read trainer_state.json of the Hugging Face trainers, and logs of one JSON object a line.

LLaMA-Factory writes such lines to trainer_log.jsonl. What follows a cut or broken place in a
trainer_state.json is lost, what stands before it is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from plugin.errors import DataError
from plugin.training.rows import LogRows, number, read_text

HUGGING_FACE = "a Hugging Face trainer"

STEP_KEYS = (
    *("step", "current_steps", "global_step", "_step", "steps", "iteration", "iter"),
    "global_step/max_steps",
)
TRAIN_KEYS = ("loss", "train_loss", "train/loss", "training_loss")
EVALUATION_KEYS = (
    *("eval_loss", "val_loss", "eval/loss", "valid_loss", "validation_loss", "val/loss"),
    *("valid/loss", "validation/loss"),
)
RATE_KEYS = ("learning_rate", "lr", "train/learning_rate")
_ONE_OF_MANY = re.compile(r"eval_.+_loss")
_HISTORY = re.compile(r'"log_history"\s*:\s*\[')
_ENTRY = re.compile(r"[\s,]*")
_HEAD_KEYS = ("max_steps", "num_train_epochs", "epoch")


def read_trainer_state(path: Path) -> LogRows:
    """Return what a trainer_state.json says.

    Raises:
        DataError: when it cannot be read, or is cut off before its first entry.
    """
    rows, text = LogRows(HUGGING_FACE, path), read_text(path)
    head, history = _state_parts(text, rows)
    if rows.lost and not history and _HISTORY.search(text):
        raise DataError(f"{path} is cut off before its first loss")
    rows.planned, rows.planned_epochs, rows.epoch = (number(head.get(key)) for key in _HEAD_KEYS)
    if rows.planned is not None and rows.planned <= 0:
        rows.planned = None
    own_name = _evaluation_name(history, rows)
    for entry in history:
        add_entry(rows, entry, own_name)
    return rows


def _state_parts(text: str, rows: LogRows) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    """Return the object, and its log entries; also of a file that is cut off."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        rows.lost += 1
        head = {
            key: found[1]
            for key in _HEAD_KEYS
            if (found := re.search(rf'"{key}"\s*:\s*([-+.\w]+)', text))
        }
        return head, list(_entries(text))
    if not isinstance(whole, dict):
        return {}, []
    history = whole.get("log_history")
    entries = history if isinstance(history, list) else []
    return whole, [entry for entry in entries if isinstance(entry, dict)]


def _entries(text: str) -> Iterator[Mapping[str, Any]]:
    """Yield the whole entries of a log history that is cut off somewhere."""
    begin = _HISTORY.search(text)
    if begin is None:
        return
    decoder, place = json.JSONDecoder(), begin.end()
    while place < len(text):
        blank = _ENTRY.match(text, place)
        place = blank.end() if blank else place
        try:
            entry, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            return
        if isinstance(entry, dict):
            yield entry


def _evaluation_name(history: list[Mapping[str, Any]], rows: LogRows) -> str:
    """Return the key of the evaluation loss where several data sets have one each; "" else."""
    keys = dict.fromkeys(key for entry in history for key in entry)
    if any(key in keys for key in EVALUATION_KEYS):
        return ""
    names = [key for key in keys if _ONE_OF_MANY.fullmatch(key)]
    if len(names) > 1:
        rows.notes.append(
            f"{rows.path.name} has the losses of {len(names)} evaluation sets: {names[0]} is shown."
        )
    return names[0] if names else ""


def read_json_lines(path: Path) -> LogRows:
    """Return what a log of JSON lines says."""
    is_known = path.name == "trainer_log.jsonl"
    rows = LogRows("LLaMA-Factory" if is_known else "a log of JSON lines", path)
    for line in read_text(path).splitlines():
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            rows.lost += 1
            continue
        if isinstance(entry, dict):
            rows.planned = number(entry.get("total_steps")) or rows.planned
            add_entry(rows, entry)
    return rows


def add_entry(rows: LogRows, entry: Mapping[str, Any], evaluation_name: str = "") -> None:
    """Add what one object says; the summary at the end of a training is no point of a curve."""
    if "train_runtime" in entry:
        return
    step = _first(entry, STEP_KEYS)
    if isinstance(step, str) and "/" in step:
        step, _, total = step.partition("/")
        rows.planned = number(total) or rows.planned
    rows.add(
        number(step),
        number(_first(entry, TRAIN_KEYS)),
        number(_first(entry, (evaluation_name, *EVALUATION_KEYS))),
        number(_first(entry, RATE_KEYS)),
    )
    epoch = number(entry.get("epoch"))
    rows.epoch = epoch if epoch is not None else rows.epoch


def _first(entry: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    """Return the value of the first of these keys that has one."""
    return next((entry[key] for key in keys if entry.get(key) is not None), None)
