"""An engine that knows some texts by heart, for tests of what is asked of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from plugin.certify.certificate import Certificate
from plugin.engines import Engine
from plugin.errors import ModelError
from plugin.records import VANILLA, Completion, Failure, Message, NoResult, Prompt

END = 0


class Rote(Engine):
    """Each word is a token; a variant continues a text that it knows, else says nothing useful.

    A variant finds an answer likely (-0.1 nats a token) after a question that it knows word for
    word, and unlikely (-2) elsewhere.
    """

    def __init__(self, known: Mapping[str, Sequence[tuple[str, str]]], tokens: bool = True) -> None:
        self.known, self.has_tokens, self.asked = known, tokens, list[Prompt]()
        self.words: dict[str, int] = {}
        self.read_after = list[tuple[int, ...]]()
        self.refused = ""

    @property
    def notes(self) -> tuple[str, ...]:
        return ()

    def ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.words.setdefault(w, len(self.words) + 1) for w in text.split())

    def encode(self, messages: Sequence[Message], variant: str = VANILLA) -> tuple[int, ...]:
        if self.refused and self.refused in messages[-1].content:
            raise ModelError("the template refuses this")
        return self.ids(" ".join(m.content for m in messages)) if self.has_tokens else ()

    def tokens(self, text: str) -> tuple[int, ...]:
        return (*self.ids(text), END) if self.has_tokens and text.split() else ()

    def certify(self, variant: str, probes: object, tell: object = None) -> Certificate:
        raise AssertionError("nobody asks for a certificate here")

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Completion | Failure, ...]]:
        for prompt in prompts:
            self.asked.append(prompt)
            text = self._continuation(prompt)
            ids = self.ids(text)[: prompt.max_tokens] if self.has_tokens else ()
            yield (Completion(prompt.case_id, prompt.variant, text, ids, "stop", None, None),)

    def _continuation(self, prompt: Prompt) -> str:
        for question, answer in self.known.get(prompt.variant, ()):
            whole = f"{question} {answer}".split()
            if not self.has_tokens and prompt.messages[-1].content == question:
                return answer
            n = len(prompt.token_ids)
            if self.has_tokens and self.ids(" ".join(whole[:n])) == prompt.token_ids:
                return " ".join(whole[n:])
        return "nobody knows that"

    def loglikelihoods(
        self, variant: str, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]
    ) -> Iterator[float | NoResult]:
        known = {self.ids(question) for question, _ in self.known.get(variant, ())}
        for prompt, answer in pairs:
            self.read_after.append(tuple(prompt))
            yield len(answer) * (-0.1 if tuple(prompt) in known else -2.0)

    def close(self) -> None:
        pass
