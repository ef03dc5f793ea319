"""Find the JSON object in a judge's reply, and validate it.

A judge may think aloud, quote the completion, or write broken JSON. Thoughts are ignored. If
several objects fit the schema, they must be equal: a different one may be a quotation from the
completion, and the completion would then grade itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import BaseModel, ValidationError

from plugin.judges import Answer
from plugin.metrics import Check
from plugin.thinking import split_thoughts


@dataclass(frozen=True, slots=True)
class Misfit:
    """The problem of an answer that cannot be used.

    Attributes:
        problem: what is wrong, in words.
        is_ambiguous: whether several different objects fit, so that the answer is not clear.
    """

    problem: str
    is_ambiguous: bool = False

    @property
    def request(self) -> str:
        """Return the text to add to the question when asking again."""
        if self.is_ambiguous:
            return f"Your last answer held {self.problem}; answer with the one object alone."
        return f"Your last answer did not fit: {self.problem}. Answer again."


_AMBIGUOUS = Misfit("several different JSON objects", is_ambiguous=True)


def parse_answer(reply: Answer, schema: type[BaseModel], check: Check) -> BaseModel | Misfit:
    """Return the validated answer, or its problem."""
    if reply.cut_off:
        return Misfit("the answer was cut off")
    try:
        answer = schema.model_validate_json(_unfence(reply.text))  # its strings may contain tags
    except ValidationError:
        text = split_thoughts(reply.text).answer
        found, problem = _fitting(_sound_objects(text), schema)
        if not found:
            return Misfit(problem)
        broken, _ = _fitting(_repaired_objects(_cut_out(text, found)), schema)
        if _differ([*found, *broken]):
            return _AMBIGUOUS
        answer = found[0].value
    wrong = check(answer)
    return Misfit(wrong) if wrong else answer


def repair_answer(
    reply: Answer, schema: type[BaseModel], check: Check
) -> BaseModel | Misfit | None:
    """Return the answer found in broken JSON (unclosed, stray commas); None when none fits.

    Several different objects that fit are a `Misfit`, as in valid JSON.
    """
    if reply.cut_off:
        return None
    text = split_thoughts(reply.text).answer
    found, _ = _fitting(_repaired_objects(text), schema)
    if not found and "{" in text:  # a brace inside a string may have broken the search
        found, _ = _fitting(_repair(text, text.find("{"), len(text)), schema)
    if _differ(found):
        return _AMBIGUOUS
    return found[0].value if found and check(found[0].value) is None else None


class _Found(NamedTuple):
    """A JSON value and its position in the text."""

    value: object
    start: int
    end: int


class _Fit(NamedTuple):
    """A validated object and its position in the text."""

    value: BaseModel
    start: int
    end: int


def _fitting(objects: Iterable[_Found], schema: type[BaseModel]) -> tuple[list[_Fit], str]:
    """Return the objects that fit the schema, and the problem of the last one that does not."""
    fits, problem = list[_Fit](), "not a JSON object"
    for found in objects:
        try:
            fits.append(_Fit(schema.model_validate(found.value), found.start, found.end))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            problem = f"{where}: {first['msg']}" if where else str(first["msg"])
    return fits, problem


def _differ(fits: list[_Fit]) -> bool:
    return any(one.value != fits[0].value for one in fits)


_FENCED = re.compile(r"\s*```\w*\n(.*)```\s*", re.DOTALL)


def _unfence(text: str) -> str:
    """Return the text without a code fence around all of it."""
    fenced = _FENCED.fullmatch(text)
    return fenced[1] if fenced else text


def _cut_out(text: str, fits: list[_Fit]) -> str:
    """Return the text without these objects."""
    ends = [0, *(one.end for one in fits)]
    starts = [*(one.start for one in fits), len(text)]
    return "".join(text[end:start] for end, start in zip(ends, starts, strict=True))


def _sound_objects(text: str) -> Iterator[_Found]:
    """Yield the JSON objects in a text; skip code fences and prose."""
    start = text.find("{")
    while start >= 0:
        try:
            value, end = json.JSONDecoder().raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            yield _Found(value, start, end)
        start = text.find("{", end)


def _repaired_objects(text: str) -> Iterator[_Found]:
    """Yield the repaired object from each part in braces; the last part may be unclosed."""
    start = depth = 0
    for brace in re.finditer(r"[{}]", text):
        if brace[0] == "{":
            start = start if depth else brace.start()
            depth += 1
        elif depth:
            depth -= 1
            if not depth:
                yield from _repair(text, start, brace.end())
    if depth:
        yield from _repair(text, start, len(text))


def _repair(text: str, start: int, end: int) -> Iterator[_Found]:
    """Yield the object in broken JSON; nothing if it cannot be repaired."""
    import json_repair

    try:
        value: object = json_repair.loads(text[start:end])
    except (ValueError, RecursionError):
        return
    yield _Found(value, start, end)
