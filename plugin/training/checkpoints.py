"""Find which checkpoints of a training lie on disk, and which of them an adapter is."""

from __future__ import annotations

import filecmp
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from pathlib import Path

from plugin.training_curves import SavedCheckpoint, Series

FOLDER = re.compile(r"(?:checkpoint|ckpt|step|epoch|iter)[-_]?(\d+)", re.IGNORECASE)
"""The name of a checkpoint's folder, with its step."""

NUMBERED_FILE = re.compile(r"(\d+)_adapters\.safetensors")
"""The name of a checkpoint that mlx-lm saves."""

_WEIGHTS = (
    *("adapter_model.safetensors", "adapters.safetensors", "adapter_model.bin"),
    *("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"),
)
_LARGEST_COMPARED = 1_000_000_000
"""Bytes up to which two files are compared."""


def step_of(path: Path) -> float | None:
    """Return the step in the name of a checkpoint's folder or file; None if it has none."""
    found = NUMBERED_FILE.fullmatch(path.name) or FOLDER.fullmatch(path.name)
    return float(found[1]) if found else None


def holds_weights(folder: Path) -> bool:
    """Return whether weights of an adapter or a model lie in the folder itself."""
    return weights_in(folder) is not None


def weights_in(folder: Path) -> Path | None:
    """Return the weights that lie in the folder itself."""
    return next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)


def saved_checkpoints(root: Path) -> list[tuple[SavedCheckpoint, Path]]:
    """Return the numbered checkpoints in a training's folder with their weights, by step."""
    found = []
    for path in _entries(root):
        step = step_of(path)
        weights = path if NUMBERED_FILE.fullmatch(path.name) else weights_in(path)
        if step is not None and weights is not None and weights.is_file():
            found.append((SavedCheckpoint(step, path.name), weights))
    return sorted(found, key=lambda pair: pair[0].step)


def last_weights(
    root: Path, saved: Sequence[tuple[SavedCheckpoint, Path]], last_step: float
) -> SavedCheckpoint | None:
    """Return what the weights in the training's own folder are: one of the saved ones, or the last.

    Trainers put the last step's weights there, and some the best one's; equal files tell.
    """
    own = weights_in(root)
    if own is None or last_step < 0:
        return None
    same = same_as(own, saved)
    return same or SavedCheckpoint(last_step, own.name)


def same_as(weights: Path, saved: Sequence[tuple[SavedCheckpoint, Path]]) -> SavedCheckpoint | None:
    """Return the checkpoint whose weights are byte for byte these."""
    try:
        size = weights.stat().st_size
        alike = [pair for pair in saved if pair[1] != weights and pair[1].stat().st_size == size]
        if not alike or size > _LARGEST_COMPARED:
            return None
        equal = (one for one, path in reversed(alike) if filecmp.cmp(weights, path, shallow=False))
        return next(equal, None)
    except OSError:
        return None


def with_losses(
    checkpoints: Iterable[SavedCheckpoint], evaluation: Series
) -> tuple[SavedCheckpoint, ...]:
    """Return the checkpoints with the evaluation losses at their steps.

    Between two evaluations the loss lies on the line between them; outside of all, it is the
    nearest one's if that is no further than evaluations are apart.
    """
    return tuple(
        SavedCheckpoint(one.step, one.name, loss_at(evaluation, one.step)) for one in checkpoints
    )


def loss_at(series: Series, step: float) -> float | None:
    """Return the curve's value at a step; None where it says nothing."""
    place = bisect_left(series.steps, step)
    if place < len(series) and series.steps[place] == step:
        return series.values[place]
    if 0 < place < len(series):
        low, high = series.steps[place - 1], series.steps[place]
        share = (step - low) / (high - low)
        return series.values[place - 1] * (1 - share) + series.values[place] * share
    if len(series) < 2:
        return None
    near, gap = (0, series.steps[1] - series.steps[0])
    if place:
        near, gap = -1, series.steps[-1] - series.steps[-2]
    return series.values[near] if abs(series.steps[near] - step) < gap else None


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
