"""Let every variant read the shipped texts: how likely it finds them, how far it is from the base.

Texts are read as they stand, without a chat template. Only an engine that holds the weights can do
this; of others the state says that no texts were read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from plugin.cache import content_key
from plugin.capability.divergence import NextTokens, divergence
from plugin.capability.records import TextReading
from plugin.capability.texts import LikelihoodText
from plugin.certify.measure import Logits
from plugin.engines import Engine
from plugin.engines.plain_text import PlainEngine
from plugin.journal import Journal
from plugin.records import Variant
from plugin.worker import Progress, Stage

NOT_READ = (
    "texts were not read: this engine gives no likelihoods; --engine mlx or transformers on one "
    "worker does"
)
OTHER_TOKENS = (
    "its tokenizer splits the text into other tokens than the base's, so their next tokens cannot "
    "be compared"
)
_NO_DIVERGENCE = "its next tokens cannot be compared with the base's"

_COMPARED = 32
"""Positions at the end of a text at which next tokens are compared."""

_LONGEST = 128
"""Tokens of a text that are read; most tokenizers need fewer for any of the texts."""

_POSITIONS = 512
"""Positions that are read in one go: all their logits are in memory together."""


@runtime_checkable
class LogitsEngine(PlainEngine, Protocol):
    """An engine that shows which tokens a variant expects next."""

    def next_logits(
        self, variant: str, batches: Iterable[Sequence[Sequence[int]]], n_positions: int
    ) -> Iterator[Logits]:
        """Yield the logits at the last positions of each row; a batch is read in one go."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A text as tokens: what is given, and what is to be predicted."""

    text: LikelihoodText
    given: tuple[int, ...]
    rest: tuple[int, ...]
    n_bytes: int

    @property
    def digest(self) -> str:
        return content_key(list(self.given), list(self.rest))[:16]

    @property
    def input_ids(self) -> tuple[int, ...]:
        """Return all but the last token, which only has to be predicted."""
        return (*self.given, *self.rest)[:-1]


def missing_texts(
    texts: Sequence[LikelihoodText], variants: Sequence[Variant], journal: Journal
) -> list[tuple[LikelihoodText, Variant]]:
    """Return what was not read yet, or failed in a way that another try may mend."""
    if journal.state.text_note == NOT_READ:
        return []
    have = journal.read_texts()
    return [(t, v) for v in variants for t in texts if (t.id, v.name) not in have]


def read_texts(
    texts: Sequence[LikelihoodText],
    variants: Sequence[Variant],
    engine: Engine,
    journal: Journal,
    progress: Progress,
    base: str,
) -> None:
    """Let the variants of one engine read every text that has no reading yet.

    Args:
        texts: all texts of the set.
        variants: those that differ in their weights; the base first, if it is among them.
        engine: holds them.
        journal: gets the readings, each at once.
        progress: gets a stage.
        base: name of the base, from which divergences are measured.

    Raises:
        Stopped: when the user stopped the run.
    """
    if not isinstance(engine, LogitsEngine):
        journal.save_state(replace(journal.state, text_note=NOT_READ))
        return
    todo = missing_texts(texts, variants, journal)
    n_all = len(texts) * len(variants)
    progress.begin(Stage.READ_TEXTS, total=n_all, done=n_all - len(todo))
    rows = {text.id: _row_of(text, engine) for text, _ in todo}
    for variant in variants:
        own = [rows[text.id] for text, owner in todo if owner is variant]
        own.sort(key=lambda row: -len(row.given) - len(row.rest))
        _read(own, variant.name, engine, journal, progress, base)


def _row_of(text: LikelihoodText, engine: PlainEngine) -> _Row:
    """Return the text's tokens, cut where its second part begins or just before."""
    plain = engine.plain_text
    given = plain.encode(text.prompt)
    whole = plain.encode(text.prompt + text.continuation)
    n = 0
    while n < min(len(given), len(whole)) and given[n] == whole[n]:
        n += 1
    if not n and plain.first is not None:
        whole, n = [plain.first, *whole], 1
    room = min(_LONGEST, plain.context)
    given = whole[:n][-room // 2 :]
    rest = whole[n:][: room - len(given)]
    is_cut = len(rest) < len(whole) - n
    n_bytes = len((plain.decode(rest) if is_cut else text.continuation).encode())
    return _Row(text, tuple(given), tuple(rest), n_bytes)


def _read(
    rows: Sequence[_Row],
    variant: str,
    engine: LogitsEngine,
    journal: Journal,
    progress: Progress,
    base: str,
) -> None:
    """Keep the readings of one variant."""
    readings = journal.text_readings()
    digests = {one.text_id: one.token_digest for one in readings if one.variant == base}
    kept = journal.next_tokens()
    readable = [row for row in rows if row.given and row.rest]
    for row in rows:
        if row not in readable:
            reading = _reading_of(row, variant)
            journal.add_text_reading(replace(reading, reason="no token of it can be predicted"))
            progress.done += 1
    n_most = max((len(row.rest) for row in readable), default=1)
    found = engine.next_logits(variant, _batches([row.input_ids for row in readable]), n_most)
    for row, logits in zip(readable, found, strict=True):
        logits = logits[-len(row.rest) :]
        reading = _with_likelihood(_reading_of(row, variant), row, logits)
        if variant == base:
            journal.add_next_tokens(row.text.id, NextTokens.of(logits[-_COMPARED:]).dump())
        elif row.text.id in digests:
            is_same = digests[row.text.id] == row.digest
            near = kept.get(row.text.id) if is_same else None
            reading = _with_divergence(reading, near, logits[-_COMPARED:])
            reading = reading if is_same else replace(reading, reason=OTHER_TOKENS)
        journal.add_text_reading(reading)
        progress.done += 1
        progress.check()


def _reading_of(row: _Row, variant: str) -> TextReading:
    return TextReading(
        row.text.id,
        row.text.kind,
        variant,
        n_tokens=len(row.rest),
        n_bytes=row.n_bytes,
        loglikelihood=None,
        token_digest=row.digest,
    )


def _with_likelihood(reading: TextReading, row: _Row, logits: Logits) -> TextReading:
    """Add the log likelihood of what is to be predicted."""
    most = logits.max(axis=1)
    sums = most + np.log(np.exp(logits - most[:, None]).sum(axis=1))
    total = float((logits[np.arange(len(row.rest)), row.rest] - sums).sum(dtype=np.float64))
    if not math.isfinite(total):
        return replace(reading, reason="the model's probabilities are not numbers")
    return replace(reading, loglikelihood=total)


def _with_divergence(reading: TextReading, kept: str | None, own: Logits) -> TextReading:
    """Add the divergence from the base's next tokens, or why there is none."""
    try:
        found = divergence(NextTokens.load(kept), own) if kept else None
    except ValueError:  # the journal's row was changed by someone else
        found = None
    if found is None:
        return replace(reading, reason=reading.reason or _NO_DIVERGENCE)
    return replace(reading, divergence=found)


def _batches(rows: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
    """Yield neighbouring rows whose logits fit into memory together."""
    batch: list[Sequence[int]] = []
    for row in rows:
        if batch and (len(batch) + 1) * max(map(len, [*batch, row])) > _POSITIONS:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
