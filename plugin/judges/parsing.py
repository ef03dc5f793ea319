"""Find the JSON object in a judge's reply, and validate it.

A judge may think aloud, quote the completion, or write broken JSON. Thoughts are ignored. If
several objects fit the schema, they must be equal: a different one may be a quotation from the
completion, and the completion would then grade itself.

`plugin.judges.readings` reads one JSON value, also in a form that the schema does not have.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import BaseModel

from plugin.judges import Answer
from plugin.judges.readings import ValueReader
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
        return Misfit(f"the answer was cut off{f' ({reply.note})' if reply.note else ''}")
    if not reply.text.strip():
        return Misfit("the answer is empty")
    reader = ValueReader(schema, check)
    # The strings of an answer that is JSON as a whole may hold what looks like thoughts.
    fits, _ = _fitting(_whole_value(reply.text), reader, is_whole=True)
    if not fits:
        text = split_thoughts(reply.text).answer
        found, problem = _fitting(_sound_objects(text), reader)
        if not found:
            found, also = _fitting(_whole_value(text), reader, is_whole=True)
            problem = problem or also or "not a JSON object"
        if not found:
            return Misfit(problem)
        broken, _ = _fitting(_repaired_objects(_cut_out(text, found)), reader)
        fits = [*found, *broken]
    if _differ(fits):
        return _AMBIGUOUS
    answer = fits[0].value
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
    reader = ValueReader(schema, check)
    text = split_thoughts(reply.text).answer
    found, _ = _fitting(_repaired_objects(text), reader)
    if not found and "{" in text:  # a brace inside a string may have broken the search
        found, _ = _fitting(_repair(text, text.find("{"), len(text)), reader)
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


def _fitting(
    values: Iterable[_Found], reader: ValueReader, is_whole: bool = False
) -> tuple[list[_Fit], str]:
    """Return the values that can be read, and the problem of the last one that cannot."""
    fits, problem = list[_Fit](), ""
    for found in values:
        read = reader.read(found.value, is_whole)
        fits += [_Fit(answer, found.start, found.end) for answer in read.answers]
        problem = read.problem or problem
    return fits, problem


def _differ(fits: list[_Fit]) -> bool:
    return any(one.value != fits[0].value for one in fits[1:])


_FENCED = re.compile(r"\s*```\w*\n(.*)```\s*", re.DOTALL)


def _unfence(text: str) -> str:
    """Return the text without a code fence around all of it."""
    fenced = _FENCED.fullmatch(text)
    return fenced[1] if fenced else text


def _whole_value(text: str) -> Iterator[_Found]:
    """Yield the value of a text that is JSON as a whole; nothing for any other text."""
    try:
        yield _Found(json.loads(_unfence(text)), 0, len(text))
    except (ValueError, RecursionError):
        return


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
