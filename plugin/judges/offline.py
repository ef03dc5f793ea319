"""Judge by word rules, without a model or network: the offline (smoke-test) judge.

It reads a metric's values as JSON (`{"step": ..., ...}`) and answers in the metric's own schema, so
the scores still come from DeepEval's metric classes. Its rules compare words, not meaning: it shows
that the program works, not that a model is good.

Rules, on content words (lower case, without function words, without plural and verb endings):
    statements   each sentence or line of the completion is a statement.
    relevancy    a statement is relevant if it shares a content word with the input.
    hallucination  the completion contradicts a context if it shares at least two content words with
                 it and also names something that is missing there (a number, or a capitalised word
                 that does not begin a sentence).
    faithfulness   each sentence of the completion is a claim; it is unfaithful if it contradicts
                 the context by the rule for hallucination.
    g_eval       the F1 of content words of completion and expected output, scaled to the range of
                 scores and rounded; without an expected output, the share of the input's content
                 words that are in the completion.
    turn_rating  as g_eval, on the scale from 1 to 10.
    preference   the completion with the higher share of g_eval is better, by half or more of the
                 range much better.
    bias, toxicity  each sentence is an opinion; it is biased if it generalises ("all", "always",
                 "never", ...), toxic if it contains an insult.
    conversations  an answer fits if it shares a content word with the message before it, a wish is
                 met if it shares one with any answer; nothing is forgotten or out of character.
    contextual   precision: a context is useful if it shares two content words with the expected
                 output; recall: a context supports a sentence of the expected output if they share
                 two; relevancy: a sentence of a context is relevant if it shares one with the
                 input.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from pydantic import BaseModel

from plugin.errors import JudgeError
from plugin.judges import Answer, Secrets

_FUNCTION_WORDS = frozenset(
    "a an and are as at be been by did do does for from had has have he her his how i in is it its "
    "me my not of on or our she so than that the their them they this to us was we were what when "
    "where which who whom whose why will with would you your".split()
)
_SWEEPING = frozenset("all always every everybody everyone never nobody none no-one".split())
_INSULTS = frozenset("crap damn dumb idiot idiots loser losers moron morons shut stupid".split())
_ENDINGS = ("ing", "ed", "es", "s")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_WORD = re.compile(r"\w+(?:'\w+)?")


def load_offline(provider: str, model: str, secrets: Secrets) -> OfflineJudge:
    """Return the judge `offline`; it takes no model and no key.

    Raises:
        JudgeError: when a model is named.
    """
    if model:
        raise JudgeError(f"judge '{provider}:{model}': offline takes no model; use --judge offline")
    return OfflineJudge()


class OfflineJudge:
    """Answers by the rules in the module's docstring. See `plugin.judges.Judge`."""

    label = caveat = "offline (smoke-test) judge"
    identity = "offline-rules-2"
    structured = True

    async def ask(self, prompt: str, schema: type[BaseModel], room: int = 1) -> Answer:
        """See `Judge.ask`; the prompt is a JSON object with a "step"."""
        values = json.loads(prompt)
        answer = _STEPS[values.pop("step")](**values)
        return Answer(json.dumps(answer, ensure_ascii=False))

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""


def _statements_in(completion: str) -> dict[str, Any]:
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
    foreign = [name for name in _names_in(completion) if _stem(name.lower()) not in known]
    if len(shared) >= 2 and foreign:
        return {"verdict": "no", "reason": f"not in the context: {', '.join(foreign)}"}
    return {"verdict": "yes", "reason": "names only things that are in the context"}


def _g_eval(
    completion: str,
    score_range: tuple[int, int],
    expected_output: str | list[str] | None = None,
    input: str = "",
) -> dict[str, Any]:
    if isinstance(expected_output, list):  # several right answers, of which the best one counts
        found = [_g_eval(completion, score_range, answer) for answer in expected_output]
        return max(found, key=lambda one: float(one["score"]))
    low, high = score_range
    said = Counter(_content_words(completion))
    wanted = Counter(_content_words(expected_output or input))
    n_common = (said & wanted).total()
    if expected_output:
        share = 2 * n_common / max(1, said.total() + wanted.total())
    else:
        share = n_common / max(1, wanted.total())
    return {
        "score": low + round((high - low) * share),
        "reason": f"{n_common} content words in common: {said.total()} in the completion, "
        f"{wanted.total()} in the {'expected output' if expected_output else 'input'}",
    }


def _turn_rating(
    completion: str, input: str, expected_output: str | list[str] | None = None
) -> dict[str, Any]:
    found = _g_eval(completion, (1, 10), expected_output, input)
    return {"reasons": found["reason"], "score": found["score"]}


_MUCH = 50
"""So many percent more is much better."""


def _preference(
    input: str, first: str, second: str, expected_output: str | list[str] | None = None
) -> dict[str, Any]:
    found = [_g_eval(text, (0, 100), expected_output, input) for text in (first, second)]
    ahead = found[0]["score"] - found[1]["score"]
    better = f"{'A' if ahead > 0 else 'B'} {'much ' if abs(ahead) >= _MUCH else ''}better"
    return {
        "reasons": f"A: {found[0]['reason']}; B: {found[1]['reason']}",
        "verdict": better if ahead else "tie",
    }


def _evaluation_steps(criterion: str) -> dict[str, Any]:
    return {"steps": [f"Count words (the offline judge cannot read {criterion!r})."]}


def _opinions_in(completion: str) -> dict[str, Any]:
    return {"opinions": _statements_in(completion)["statements"]}


def _with_any(words: frozenset[str], opinions: list[str]) -> dict[str, Any]:
    found = [sorted(words & set(_WORD.findall(opinion.lower()))) for opinion in opinions]
    return {
        "verdicts": [
            {"verdict": "yes", "reason": f"says {', '.join(hits)}"} if hits else {"verdict": "no"}
            for hits in found
        ]
    }


def _faithfulness(claims: list[str], truths: str) -> dict[str, Any]:
    found = [_contradicts(claim, truths) for claim in claims]
    return {"verdicts": found}


def _contextual_precision(expected_output: str, contexts: list[str]) -> dict[str, Any]:
    return {"verdicts": [_shares_two(expected_output, context) for context in contexts]}


def _contextual_recall(expected_output: str, contexts: list[str]) -> dict[str, Any]:
    sentences = _statements_in(expected_output)["statements"]
    return {"verdicts": [_shares_two(sentence, " ".join(contexts)) for sentence in sentences]}


def _shares_two(text: str, other: str) -> dict[str, str]:
    shared = sorted(set(_content_words(text)) & set(_content_words(other)))
    verdict = "yes" if len(shared) >= 2 else "no"
    return {"verdict": verdict, "reason": f"in common: {', '.join(shared) or 'nothing'}"}


def _contextual_relevancy(input: str, context: str) -> dict[str, Any]:
    sentences = _statements_in(context)["statements"]
    verdicts = _relevancy(input, sentences)["verdicts"]
    return {
        "verdicts": [
            {**verdict, "statement": sentence}
            for verdict, sentence in zip(verdicts, sentences, strict=True)
        ]
    }


def _rule_reason(score: str) -> dict[str, Any]:
    return {"reason": f"word rules of the offline judge gave {score}, where 1 is best"}


_STEPS: dict[str, Callable[..., dict[str, Any]]] = {
    "statements": _statements_in,
    "relevancy": _relevancy,
    "hallucination": _hallucination,
    "g_eval": _g_eval,
    "turn_rating": _turn_rating,
    "preference": _preference,
    "evaluation_steps": _evaluation_steps,
    "opinions": _opinions_in,
    "bias": partial(_with_any, _SWEEPING),
    "toxicity": partial(_with_any, _INSULTS),
    "truths": lambda context: {"truths": _statements_in(context)["statements"]},
    "claims": lambda completion: {"claims": _statements_in(completion)["statements"]},
    "faithfulness": _faithfulness,
    "contextual_precision": _contextual_precision,
    "contextual_recall": _contextual_recall,
    "contextual_relevancy": _contextual_relevancy,
    "reason": _rule_reason,
    "turn_relevancy": lambda turns: _fits(turns[-2]["content"], turns[-1]["content"]),
    "told": lambda message: {"data": {name: "told by the user" for name in _names_in(message)}},
    "forgotten": lambda message, known: {"verdict": "no"},
    "intentions": lambda turns: {"intentions": _said_by("user", turns)},
    "met": lambda turns, intention: _fits(intention, " ".join(_said_by("assistant", turns))),
    "out_of_character": lambda turns, role: {"verdicts": []},
    "conversation_g_eval": lambda turns: _g_eval(
        " ".join(_said_by("assistant", turns)), (0, 10), input=" ".join(_said_by("user", turns))
    ),
}


def _said_by(role: str, turns: list[dict[str, str]]) -> list[str]:
    return [turn["content"] for turn in turns if turn["role"] == role]


def _fits(asked: str, answer: str) -> dict[str, str]:
    shared = sorted(set(_content_words(asked)) & set(_content_words(answer)))
    verdict = "yes" if shared else "no"
    return {"verdict": verdict, "reason": f"in common: {', '.join(shared) or 'nothing'}"}


def _content_words(text: str) -> list[str]:
    words = (word.lower() for word in _WORD.findall(text))
    return [_stem(word) for word in words if word not in _FUNCTION_WORDS]


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def _names_in(text: str) -> list[str]:
    """Return the numbers, and the capitalised words that do not begin a sentence."""
    names = []
    for sentence in _SENTENCE_END.split(text):
        for position, word in enumerate(_WORD.findall(sentence)):
            if word[0].isdigit() or (position > 0 and word[0].isupper()):
                names.append(word)
    return names
