"""Collect what a log says, line by line, and make curves of it.

Readers of every format call `LogRows.add`. Where the steps go back, a training was resumed, and the
later lines replace the earlier ones from that step on.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from plugin.compare.numbers import format_count
from plugin.errors import DataError
from plugin.training_curves import Series

LARGEST = 2_000_000_000
"""Bytes of the largest log that is read."""

KEPT = 200
"""Points of a curve that are kept; a longer one is averaged."""

_MARKS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig"))


@dataclass(slots=True)
class Column:
    """One curve as it grows.

    Attributes:
        steps: rising, apart from what `add` puts right.
        values: one for each step; NaN and infinity are among them.
        n_back: how often the steps went back.
    """

    steps: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    n_back: int = 0

    def add(self, step: float, value: float) -> None:
        """Add a value; drop those of this step and later ones."""
        if self.steps and step <= self.steps[-1]:
            self.n_back += step < self.steps[-1]
            keep = bisect_left(self.steps, step)
            del self.steps[keep:], self.values[keep:]
        self.steps.append(step)
        self.values.append(value)

    def series(self) -> Series:
        """Return the curve with its finite values, all of them."""
        pairs = [
            (step, value)
            for step, value in zip(self.steps, self.values, strict=True)
            if math.isfinite(value)
        ]
        broken = tuple(
            step
            for step, value in zip(self.steps, self.values, strict=True)
            if not math.isfinite(value)
        )
        steps, values = zip(*pairs, strict=True) if pairs else ((), ())
        return Series(tuple(steps), tuple(values), broken, len(self.steps))


@dataclass(slots=True)
class LogRows:
    """What one log says.

    Attributes:
        trainer: who wrote it.
        path: the file.
        axis: what its steps are.
        epoch: the last one that it names.
        planned: steps that the trainer was to make; None where the log does not say.
        planned_epochs: the same in epochs.
        lost: lines that could not be read, such as one that is cut off.
        notes: what the reader must know, a sentence each.
    """

    trainer: str
    path: Path
    axis: str = "step"
    train: Column = field(default_factory=Column)
    evaluation: Column = field(default_factory=Column)
    learning_rate: Column = field(default_factory=Column)
    epoch: float | None = None
    planned: float | None = None
    planned_epochs: float | None = None
    lost: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def last_step(self) -> float:
        """Return the last step of all curves; -1 for an empty log."""
        return max(
            (column.steps[-1] for column in (self.train, self.evaluation) if column.steps),
            default=-1.0,
        )

    @property
    def has_points(self) -> bool:
        """Return whether there is any loss."""
        return bool(self.train.steps or self.evaluation.steps)

    def add(
        self,
        step: float | None,
        train: float | None = None,
        evaluation: float | None = None,
        rate: float | None = None,
    ) -> None:
        """Add what one line says; without a step it says nothing."""
        if step is None or not math.isfinite(step):
            return
        for column, value in ((self.train, train), (self.evaluation, evaluation)):
            if value is not None:
                column.add(step, value)
        if rate is not None and math.isfinite(rate):
            self.learning_rate.add(step, rate)

    def reading_notes(self) -> list[str]:
        """Return what was odd about the lines, a sentence each."""
        notes = list(self.notes)
        n_back = max(self.train.n_back, self.evaluation.n_back)
        if n_back:
            notes.append(
                f"The steps in {self.path.name} go back {format_count(n_back, 'time', 'times')}, "
                "as in a training that was resumed or started again: the later lines count."
            )
        if self.lost:
            lines = format_count(self.lost, "line", "lines")
            notes.append(f"{lines} of {self.path.name} could not be read, such as one cut off.")
        return notes


def number(value: object) -> float | None:
    """Return a cell or a JSON value as a number, NaN and infinity too; None if it is none."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    if isinstance(value, str):
        try:
            return float(value.strip())
        except ValueError:
            return None
    return None


def read_text(path: Path) -> str:
    """Return the text of a log in any of the usual encodings; what cannot be decoded is replaced.

    Raises:
        DataError: when it cannot be read, or is far too large.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise DataError(
                f"{path} has {size / 1e9:.1f} GB, and a log of more than {LARGEST / 1e9:.0f} GB "
                "is not read: keep the lines with losses alone (grep loss)"
            )
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    coding = next((name for mark, name in _MARKS if raw.startswith(mark)), "utf-8")
    return raw.decode(coding, errors="replace").replace("\0", "")


def thin(series: Series, kept: int = KEPT) -> Series:
    """Return the curve with at most this many points; neighbours are averaged."""
    if len(series) <= kept:
        return series
    bounds = [i * len(series) // kept for i in range(kept + 1)]
    blocks = [range(low, high) for low, high in zip(bounds, bounds[1:], strict=False)]
    return Series(
        tuple(_mean(series.steps[i] for i in block) for block in blocks),
        tuple(_mean(series.values[i] for i in block) for block in blocks),
        series.broken[:kept],
        series.n,
    )


def _mean(values: Iterable[float]) -> float:
    kept = list(values)
    return math.fsum(kept) / len(kept)
