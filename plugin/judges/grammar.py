"""Answers that fit their schema by construction: llguidance says which tokens may come next.

A schema, made finite by `_bounds`, becomes a grammar; a `Guide` follows one answer through it. When
the room for the answer runs short, the guide lets only such tokens through as close what is open,
so that the answer is whole when the room ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray
from pydantic import BaseModel

from plugin.errors import JudgeError
from plugin.judges._bounds import Bounded, bounded

RULES = 1
"""Part of a judge's identity: counts up when the same model could answer otherwise than before."""

MAX_ANSWER_TOKENS = 4096
_SLACK_TOKENS = 8
"""To end a half-written escape or character, and for the end-of-text token."""

_STYLE: Any = {
    # As json.dumps writes, which is what models have read most of; no other white space at all.
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    # Without \u: half a surrogate pair is JSON, but no text.
    "json_allowed_escapes": 'nrbtf\\"',
}

Allowed = NDArray[np.bool_]
"""One flag per logit: whether the token may come next."""


class Grammars:
    """The grammars of the schemas that a judge was asked with, each compiled once."""

    def __init__(self, tokenizer: Any, n_logits: int, eos_token_ids: Iterable[int]) -> None:
        """Read the tokenizer's vocabulary.

        Args:
            tokenizer: a fast tokenizer of the transformers library.
            n_logits: width of the model's output; may differ from the size of the vocabulary.
            eos_token_ids: the tokens that end an answer.

        Raises:
            JudgeError: when llguidance cannot read the tokenizer.
        """
        try:
            self._tokens = LLTokenizer(
                _without_prefix_space(tokenizer.backend_tokenizer.to_str()),
                n_vocab=max(n_logits, len(tokenizer)),
                eos_token=sorted(eos_token_ids),
            )
        except (ValueError, TypeError, AttributeError) as error:
            raise JudgeError(
                f"the judge's tokenizer cannot be constrained ({error}); an in-process judge needs "
                "a model with a tokenizer.json and an end-of-text token. Choose such a model"
            ) from error
        self._n_logits = n_logits
        self._closers = _closers(self._tokens, n_logits)
        self._compiled: dict[type[BaseModel], tuple[LLMatcher, Bounded]] = {}

    def least_room(self, schema: type[BaseModel]) -> int:
        """Tokens without which an answer cannot be promised to be whole."""
        return self._grammar(schema)[1].n_closing_bytes + _SLACK_TOKENS

    def guide(self, schema: type[BaseModel], room: int) -> Guide:
        """A guide for one answer of at most `room` tokens, which is at least `least_room`."""
        matcher, bounds = self._grammar(schema)
        # No token is shorter than a byte.
        n_tokens = min(room, bounds.n_bytes + _SLACK_TOKENS)
        return Guide(
            (matcher.deep_copy(), self._tokens),
            self._closers,
            n_tokens,
            min(n_tokens, self.least_room(schema)),
        )

    def _grammar(self, schema: type[BaseModel]) -> tuple[LLMatcher, Bounded]:
        if schema not in self._compiled:
            bounds = bounded(schema.model_json_schema())
            text = LLMatcher.grammar_from_json_schema(bounds.schema, overrides=_STYLE)
            matcher = LLMatcher(self._tokens, text, log_level=0)
            if matcher.is_error():
                raise JudgeError(
                    f"no grammar for the schema {schema.__name__}: {matcher.get_error()}. Leave "
                    "out the metric that asks with it, or choose another --judge"
                )
            self._compiled[schema] = matcher, bounds
        return self._compiled[schema]


class Guide:
    """One answer on its way.

    Attributes:
        n_tokens: how long it may become.
        token_ids: what was written, with the end-of-text token when there was one.
    """

    def __init__(
        self,
        grammar: tuple[LLMatcher, LLTokenizer],
        closers: tuple[Allowed, ...],
        n_tokens: int,
        n_hurry: int,
    ) -> None:
        """See `Grammars.guide`; with `n_hurry` tokens left it begins to close."""
        self.n_tokens = n_tokens
        self.token_ids: list[int] = []
        self._matcher, self._tokens = grammar
        self._closers = closers
        self._n_hurry = n_hurry

    def take(self, token: int) -> None:
        """The token that was chosen."""
        if not self.is_over:
            self._matcher.consume_token(token)
            self.token_ids.append(token)

    @property
    def is_over(self) -> bool:
        """Nothing may follow, or there is no room for it."""
        return self._matcher.is_stopped() or len(self.token_ids) >= self.n_tokens

    @property
    def is_whole(self) -> bool:
        """What was written is a whole answer."""
        return self._matcher.is_accepting() and not self._matcher.is_error()

    def allowed(self) -> Allowed:
        """Which tokens may come next, of shape (n_logits,); after the end, those that say so."""
        packed = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        n_logits = len(self._closers[0])
        may = np.unpackbits(packed, bitorder="little")[:n_logits].astype(np.bool_)
        if self.n_tokens - len(self.token_ids) <= self._n_hurry:
            for closers in self._closers:
                closing = may & closers
                if closing.any():
                    return closing
        return may

    def text(self) -> str:
        """The answer so far, in the very bytes that the grammar saw."""
        written = [token for token in self.token_ids if token not in self._tokens.eos_tokens]
        return self._tokens.decode_bytes(written).decode("utf-8", "replace")


def _without_prefix_space(tokenizer: str) -> str:
    """A tokenizer's JSON, made to encode the middle of a text as such.

    What the grammar forces is encoded by itself, piece by piece; a space put before each piece
    would not fit the grammar. The other family's mark for a space is known to llguidance.
    """
    spec = json.loads(tokenizer)
    first = spec.get("pre_tokenizer") or {}
    for step in (first, *first.get("pretokenizers", ())):
        if step.get("type") == "ByteLevel":
            step["add_prefix_space"] = False
    return json.dumps(spec | {"padding": None, "truncation": None})


def _closers(tokens: LLTokenizer, n_logits: int) -> tuple[Allowed, ...]:
    """The tokens that close: first those that begin with a quote, then brackets.

    The order matters: inside a string a bracket closes nothing, and where a quote may stand it
    ends the string or begins one that the next quote ends.
    """
    quotes = np.zeros(n_logits, dtype=np.bool_)
    brackets = np.zeros(n_logits, dtype=np.bool_)
    for token in range(n_logits):
        if tokens.is_special_token(token):
            continue
        text = tokens.decode_bytes([token])
        if text and not text.strip(b'"]}'):
            (quotes if text.startswith(b'"') else brackets)[token] = True
    return quotes, brackets
