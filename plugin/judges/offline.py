"""The offline (smoke-test) judge: word rules, no model, no network.

It reads a metric's values as JSON (`{"step": ..., ...}`) and answers in the metric's own schema, so
that the scores still come from DeepEval's metric classes. Its rules see words, not meaning: it
shows that the machinery works, not that a model is good.

Rules, on content words (lower case, without function words, plural and verb endings cut):
    statements   each sentence or line of the completion is a statement.
    relevancy    a statement is relevant when it shares a content word with the input.
    hallucination  a context is contradicted when the completion shares at least two content words
                 with it and also names something (a number, or a capitalised word that does not
                 begin a sentence) which the context lacks.
    correctness  ten times the F1 of content words between completion and expected output, rounded.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from plugin.errors import JudgeError
from plugin.judges import Answer, Secrets

_FUNCTION_WORDS = frozenset(
    "a an and are as at be been by did do does for from had has have he her his how i in is it its "
    "me my not of on or our she so than that the their them they this to us was we were what when "
    "where which who whom whose why will with would you your".split()
)
_ENDINGS = ("ing", "ed", "es", "s")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_WORD = re.compile(r"\w+(?:'\w+)?")


def load(provider: str, model: str, secrets: Secrets) -> OfflineJudge:
    """The judge; it takes no model and no key.

    Raises:
        JudgeError: when a model is named.
    """
    if model:
        raise JudgeError(f"judge '{provider}:{model}': offline takes no model; use --judge offline")
    return OfflineJudge()


class OfflineJudge:
    """See the module."""

    label = caveat = "offline (smoke-test) judge"
    identity = "offline-rules-1"
    structured = True

    async def ask(self, prompt: str, schema: type[BaseModel]) -> Answer:
        """See `Judge.ask`; the prompt is a JSON object with a "step"."""
        values = json.loads(prompt)
        answer = _STEPS[values.pop("step")](**values)
        return Answer(json.dumps(answer, ensure_ascii=False))

    async def close(self) -> None:
        """Nothing to release."""


def _statements(completion: str) -> dict[str, Any]:
    parts = (part.strip() for part in _SENTENCE_END.split(completion))
    return {"statements": [part for part in parts if part] or [completion]}


def _relevancy(input: str, statements: list[str]) -> dict[str, Any]:
    asked = set(_content_words(input))
    return {
        "verdicts": [
            {"verdict": "yes"}
            if asked & set(_content_words(statement))
            else {"verdict": "no", "reason": f"no content word of the input in: {statement}"}
            for statement in statements
        ]
    }


def _hallucination(completion: str, contexts: list[str]) -> dict[str, Any]:
    return {"verdicts": [_contradicts(completion, context) for context in contexts]}


def _contradicts(completion: str, context: str) -> dict[str, str]:
    known = set(_content_words(context))
    shared = known & set(_content_words(completion))
    foreign = [name for name in _names(completion) if _stem(name.lower()) not in known]
    if len(shared) >= 2 and foreign:
        return {"verdict": "no", "reason": f"not in the context: {', '.join(foreign)}"}
    return {"verdict": "yes", "reason": "names nothing that the context lacks"}


def _correctness(completion: str, expected_output: str) -> dict[str, Any]:
    said, wanted = Counter(_content_words(completion)), Counter(_content_words(expected_output))
    n_common = (said & wanted).total()
    f1 = 2 * n_common / max(1, said.total() + wanted.total())
    return {
        "score": round(10 * f1),
        "reason": f"{n_common} content words in common of {said.total()} said and "
        f"{wanted.total()} expected",
    }


def _reason(score: str) -> dict[str, Any]:
    return {"reason": f"word rules of the offline judge gave {score}"}


_STEPS: dict[str, Callable[..., dict[str, Any]]] = {
    "statements": _statements,
    "relevancy": _relevancy,
    "hallucination": _hallucination,
    "correctness": _correctness,
    "reason": _reason,
}


def _content_words(text: str) -> list[str]:
    words = (word.lower() for word in _WORD.findall(text))
    return [_stem(word) for word in words if word not in _FUNCTION_WORDS]


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def _names(text: str) -> list[str]:
    """Numbers, and capitalised words that do not begin a sentence."""
    names = []
    for sentence in _SENTENCE_END.split(text):
        for position, word in enumerate(_WORD.findall(sentence)):
            if word[0].isdigit() or (position > 0 and word[0].isupper()):
                names.append(word)
    return names
