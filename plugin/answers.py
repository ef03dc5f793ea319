"""What a judge sent back -> the validated answer, or what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterator

from pydantic import BaseModel, ValidationError

from plugin.judges import Answer
from plugin.metrics import Check


def fit(reply: Answer, schema: type[BaseModel], check: Check) -> BaseModel | str:
    """The validated answer, or what is wrong with it."""
    if reply.cut_off:
        return "the answer was cut off"
    try:
        answer = schema.model_validate_json(reply.text)
    except ValidationError:
        problem = "not a JSON object"
        for value in _objects(reply.text.rpartition("</think>")[2]):
            try:
                answer = schema.model_validate(value)
                break
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"]))
                problem = f"{where}: {first['msg']}" if where else str(first["msg"])
        else:
            return problem
    return check(answer) or answer


def mend(reply: Answer, schema: type[BaseModel], check: Check) -> BaseModel | None:
    """The answer in broken JSON (unclosed, stray commas); None when there is none that fits."""
    import json_repair

    start = reply.text.find("{")
    if start < 0 or reply.cut_off:
        return None
    try:
        answer = schema.model_validate(json_repair.loads(reply.text[start:]))
    except (ValidationError, ValueError, RecursionError):
        return None
    return answer if check(answer) is None else None


def _objects(text: str) -> Iterator[object]:
    """The JSON objects in a text, past code fences and prose."""
    start = text.find("{")
    while start >= 0:
        try:
            value, end = json.JSONDecoder().raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            yield value
        start = text.find("{", end)


def short(text: str, n_chars: int = 2_000) -> str:
    """The judge's own words for a failure on record."""
    return repr(text if len(text) <= n_chars else text[:n_chars] + "...")
