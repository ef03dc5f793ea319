"""What the engines have in common that hold a model's weights themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from plugin.certificate_records import Certificate
from plugin.engines import EngineSettings, Prompt
from plugin.engines._likelihoods import Row, in_batches
from plugin.engines._prompts import (
    Template,
    by_variant,
    encode,
    notes,
    require_known_tokens,
    split_by_context,
)
from plugin.engines._proof import Rack, certify
from plugin.records import Completion, Failure, Message


class WeightsEngine(ABC):
    """A model with its tokenizer, and a rack of adapters that it may wear."""

    def __init__(
        self, tokenizer: Any, template: Template | None, rack: Rack, settings: EngineSettings
    ) -> None:
        """Everything is loaded.

        Args:
            tokenizer: of the transformers library, or what behaves like one.
            template: its chat template; None when it has none.
            rack: with the model.
            settings: the engine's.

        Raises:
            ModelError: when tokenizer and model do not belong together.
        """
        self._tokenizer = tokenizer
        self._template = template
        self._rack = rack
        self._settings = settings
        require_known_tokens(tokenizer, rack.n_vocabulary, settings)

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Engine.notes`."""
        return notes(self._template, self._settings)

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """See `Engine.encode`."""
        n_vocabulary = self._rack.n_vocabulary
        return encode(messages, self._tokenizer, self._template, n_vocabulary, self._settings)

    def tokens(self, text: str) -> tuple[int, ...]:
        """See `Engine.tokens`."""
        return tuple(self._tokenizer.encode(text, add_special_tokens=False))

    def certify(self, variant: str, probes: Sequence[Prompt]) -> Certificate:
        """See `Engine.certify`."""
        return certify(self._rack, variant, probes, self._settings)

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Completion | Failure, ...]]:
        """See `Engine.generate`; a completion also ends where the model's context ends."""
        fits, too_long = split_by_context(prompts, self._settings)
        yield too_long
        for variant, own in by_variant(fits).items():
            with self._rack.wearing(variant):
                yield from self._decode(own)

    def loglikelihoods(
        self, variant: str, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]
    ) -> Iterator[float | str]:
        """See `Engine.loglikelihoods`."""
        with self._rack.wearing(variant):
            yield from in_batches(pairs, self._settings, self._read)

    @abstractmethod
    def _decode(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Completion | Failure, ...]]:
        """Completions of prompts that fit, under what the model wears now."""

    @abstractmethod
    def _read(self, batch: Sequence[Row]) -> Sequence[float | str]:
        """The log probabilities of continuations, read side by side; or why there is none."""
