"""Text to tokens and back without a chat template, as benchmarks do it that score plain text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from plugin.engines import Engine

_CONTEXT = 2048
"""Longest input where a model does not say its own, in tokens."""


class PlainText:
    """A model's tokenizer, used on text as it stands."""

    def __init__(self, tokenizer: Any, context: int | None) -> None:
        """Keep the tokenizer.

        Args:
            tokenizer: a tokenizer of the transformers library, or one that behaves the same.
            context: the model's longest input in tokens; None when it is unknown.
        """
        self._tokenizer = tokenizer
        self.context = context or _CONTEXT

    @property
    def first(self) -> int | None:
        """Return the token that stands before a text without a prompt; None if there is none."""
        bos: int | None = self._tokenizer.bos_token_id
        return self.end if bos is None else bos

    @property
    def end(self) -> int | None:
        """Return the token that ends a text; None if the tokenizer has none."""
        eos: int | None = self._tokenizer.eos_token_id
        return eos

    def encode(self, text: str, *, special: bool | None = None) -> list[int]:
        """Return the token ids of a text.

        Args:
            text: the text.
            special: whether the tokenizer adds its special tokens; None for its own way, but never
                a second first token.
        """
        if special is None and self.first is not None:
            own = self.decode([self.first], special=True)
            special = False if own and text.startswith(own) else None
        told = {} if special is None else {"add_special_tokens": special}
        return [int(token) for token in self._tokenizer.encode(text, **told)]

    def decode(self, token_ids: Sequence[int], *, special: bool = False) -> str:
        """Return the text of tokens.

        Args:
            token_ids: the tokens.
            special: whether special tokens are spelled out; else they are left out.
        """
        text: str = self._tokenizer.decode(list(token_ids), skip_special_tokens=not special)
        return text


@runtime_checkable
class PlainEngine(Engine, Protocol):
    """An engine that holds the weights here and takes text as it stands."""

    @property
    def plain_text(self) -> PlainText:
        """Return what turns text into tokens without a chat template."""
