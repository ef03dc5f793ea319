"""Log-likelihoods in batches: neighbours in the order given are read side by side.

Shorter rows are filled up behind, where a causal model does not look, so that a batch gives what
one row at a time gives, but for rounding (1e-4 in float32).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from plugin.engines import EngineSettings

MAX_POSITIONS = 2048
"""Of one batch: all their logits are held at once, half a GB for 128,000 tokens in bfloat16."""


class Row(NamedTuple):
    """A prompt with its continuation.

    Attributes:
        prompt: token ids; at least one.
        continuation: token ids; at least one.
    """

    prompt: tuple[int, ...]
    continuation: tuple[int, ...]

    @property
    def read(self) -> tuple[int, ...]:
        """What the model reads: the last token only has to be foretold."""
        return (*self.prompt, *self.continuation[:-1])

    @property
    def foretold(self) -> slice:
        """The positions whose logits foretell the continuation."""
        return slice(len(self.prompt) - 1, len(self.read))


Read = Callable[[Sequence[Row]], Sequence[float | str]]
"""Rows -> the log probability of each continuation in nats, or why there is none."""


def in_batches(
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]], settings: EngineSettings, read: Read
) -> Iterator[float | str]:
    """See `Engine.loglikelihoods`.

    Args:
        pairs: prompt and continuation; pairs of like length side by side waste least.
        settings: the engine's.
        read: how the model reads a batch.
    """
    waiting: list[Row] = []
    for row in (Row(tuple(prompt), tuple(continuation)) for prompt, continuation in pairs):
        known = _without_reading(row, settings)
        if waiting and (known is not None or not _fits(row, waiting, settings.batch_size)):
            yield from read(waiting)
            waiting = []
        if known is None:
            waiting.append(row)
        else:
            yield known
    if waiting:
        yield from read(waiting)


def filled(rows: Sequence[Row]) -> list[list[int]]:
    """What the model reads of these rows, all of one length."""
    width = max(len(row.read) for row in rows)
    return [[*row.read, *[0] * (width - len(row.read))] for row in rows]


def _fits(row: Row, waiting: Sequence[Row], batch_size: int) -> bool:
    n_rows = len(waiting) + 1
    width = max(len(one.read) for one in (row, *waiting))
    return n_rows <= batch_size and n_rows * width <= MAX_POSITIONS


def _without_reading(row: Row, settings: EngineSettings) -> float | str | None:
    """What is known without the model; None when it has to read."""
    n, limit = len(row.prompt) + len(row.continuation), settings.model.context
    if not row.continuation:
        return 0.0
    if not row.prompt:
        return "the prompt has no token, so nothing foretells what comes first"
    if limit is not None and n > limit:
        return (
            f"prompt and expected output have {n} tokens together and the model's context {limit}; "
            "they are never cut: leave the case out, or use a model with more context"
        )
    return None
