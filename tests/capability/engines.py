"""An engine of no weights for the tests of the capability stage: a function answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from plugin.certify.certificate import Certificate, not_applicable
from plugin.engines.plain_text import PlainText
from plugin.errors import ModelError
from plugin.records import Completion, Failure, Message, Prompt

N_VOCABULARY = 128


class Letters:
    """A tokenizer with a token for each letter."""

    bos_token_id, eos_token_id = 1, 2

    def encode(self, text: str, **_: Any) -> list[int]:
        return [min(ord(char), N_VOCABULARY - 1) for char in text]

    def decode(self, token_ids: Sequence[int], **_: Any) -> str:
        return "".join(map(chr, token_ids))


class Answering:
    """Answers by a function of variant and question; its logits are the variant's own.

    Attributes:
        asked: every prompt that was generated, in order.
        read: variant of every text that was read.
        refuses_system: whether the chat template takes no system turn.
    """

    notes, decoding = (), ""

    def __init__(self, answer: Callable[[str, str], str | Failure | None]) -> None:
        self._answer = answer
        self.asked: list[Prompt] = []
        self.read: list[str] = []
        self.refuses_system = False
        self.spread: dict[str, float] = {}

    @property
    def plain_text(self) -> PlainText:
        return PlainText(Letters(), 4096)

    def encode(self, messages: Sequence[Message], *_: str) -> tuple[int, ...]:
        if self.refuses_system and messages[0].role == "system":
            raise ModelError("the chat template rejects these turns (system, user)")
        return tuple(ord(char) for turn in messages for char in turn.content)

    def tokens(self, text: str) -> tuple[int, ...]:
        return tuple(map(ord, text))

    def certify(self, variant: str, *_: Any) -> Certificate:
        return not_applicable(variant, "no weights")

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Completion | Failure, ...]]:
        for one in prompts:
            self.asked.append(one)
            said = self._answer(str(one.variant), one.messages[-1].content)
            if said is None:
                yield (Failure(one.case_id, "generate", "no memory", one.variant, retry=True),)
            elif isinstance(said, Failure):
                yield (Failure(one.case_id, "generate", said.reason, one.variant),)
            else:
                yield (Completion(one.case_id, one.variant, said, (1,), "stop", 0.1, 3, 9),)

    def loglikelihoods(self, variant: str, pairs: Sequence[Any]) -> Iterator[float]:
        yield from (-1.0 for _ in pairs)

    def next_logits(
        self, variant: str, batches: Iterable[Sequence[Sequence[int]]], n_positions: int
    ) -> Iterator[Any]:
        for batch in batches:
            for row in batch:
                self.read.append(variant)
                n = min(n_positions, len(row))
                logits = np.zeros((n, N_VOCABULARY), dtype=np.float32)
                logits[:, 101] = self.spread.get(variant, 0.0)  # the letter e
                yield logits

    def close(self) -> None:
        pass
