"""What is known of a training from its logs, as frozen values that the journal keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal[
    "diverging",
    "overfitting",
    "underfitted",
    "levelled off",
    "too noisy",
    "too few",
    "no evaluation",
]
"""What the curves show.

diverging: the training loss rises at the end, or is no number any more. overfitting: the evaluation
loss rises after its lowest point, and the training loss does not. underfitted: the loss still falls
at the end. levelled off: it fell, and neither falls nor rises any more. too noisy: no change is
larger than the noise. too few: too few values for any of these. no evaluation: only the training
loss is there, and it neither diverges nor still falls.
"""


@dataclass(frozen=True, slots=True)
class Series:
    """The values of one curve, in the order of their steps.

    Attributes:
        steps: where the values lie on the axis, rising.
        values: finite numbers, one for each step.
        broken: steps whose value is NaN or infinite.
        n: values in the log; a long series is kept as means of neighbours.
    """

    steps: tuple[float, ...] = ()
    values: tuple[float, ...] = ()
    broken: tuple[float, ...] = ()
    n: int = 0

    def __len__(self) -> int:
        """Return the number of values that are kept."""
        return len(self.steps)


@dataclass(frozen=True, slots=True)
class SavedCheckpoint:
    """A checkpoint that lies on disk.

    Attributes:
        step: when it was saved.
        name: its folder or file, as a reader would look for it.
        loss: the evaluation loss at its step; None where it is not known.
    """

    step: float
    name: str
    loss: float | None = None


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Settings of the training, None where no file beside the logs has them.

    Attributes:
        epochs: passes over the training rows that were planned.
        steps: optimizer steps that were planned.
        learning_rate: the highest one.
        dropout: of the adapter.
        rank: of the adapter.
        warmup: share or number of steps, as the trainer wrote it.
        files: the names of the files that told.
        digest: sha256 of these files, in hex; "" for none.
    """

    epochs: float | None = None
    steps: float | None = None
    learning_rate: float | None = None
    dropout: float | None = None
    rank: float | None = None
    warmup: float | None = None
    files: tuple[str, ...] = ()
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """How much a curve rose or fell between two of its points.

    Attributes:
        low_step: the step of the lower end.
        low: its loss.
        high_step: the step of the higher end.
        high: its loss.
    """

    low_step: float
    low: float
    high_step: float
    high: float

    @property
    def size(self) -> float:
        """Return the difference, never below zero."""
        return self.high - self.low


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the curves show.

    Attributes:
        state: in one word.
        curve: which curve decided.
        noise: how far one value of that curve strays by chance, one standard deviation; None where
            it could not be estimated.
        change: what decided: the rise after the lowest point, or the fall at the end; where neither
            is there, the fall from the first value to the lowest, if there is one.
        train_change: how far the training loss fell while the evaluation loss rose.
        broken_from: the step from which on the training loss is no number, or exactly zero.
        best: the checkpoint on disk with the lowest evaluation loss.
        as_good: checkpoints whose loss cannot be told apart from that one's.
        lowest: the step with the lowest evaluation loss, and that loss.
    """

    state: State
    curve: Literal["training", "evaluation"] = "evaluation"
    noise: float | None = None
    change: Change | None = None
    train_change: Change | None = None
    broken_from: float | None = None
    best: SavedCheckpoint | None = None
    as_good: tuple[SavedCheckpoint, ...] = ()
    lowest: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Curves:
    """The logs of one training.

    Attributes:
        trainer: who wrote the log, such as "mlx-lm".
        log: the name of the file that was read.
        axis: what the steps are: "step", "epoch" or "row".
        train: the training loss.
        evaluation: the evaluation loss.
        learning_rate: by step.
        epoch: passes over the training rows at the last step; None where the log does not say.
        checkpoints: those that lie on disk, by step.
        chosen: the step of the adapter that was asked about; None for a whole folder.
        settings: of the training.
        diagnosis: what the curves show.
        notes: what the reader must know of the files, a sentence each.
    """

    trainer: str
    log: str
    axis: str
    train: Series
    evaluation: Series
    learning_rate: Series
    epoch: float | None
    checkpoints: tuple[SavedCheckpoint, ...]
    chosen: float | None
    settings: TrainingSettings
    diagnosis: Diagnosis
    notes: tuple[str, ...] = ()
