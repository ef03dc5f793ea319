"""JSON on the wire: schemas that go out, and answers of any shape that come in."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel


def closed(schema: type[BaseModel]) -> dict[str, Any]:
    """The schema in strict form: every object closed, every property required, no defaults."""
    strict: dict[str, Any] = _closed(schema.model_json_schema())
    return strict


def dig(value: Any, *path: str | int) -> Any:
    """What lies at a path in parsed JSON that may have any shape; None where nothing does."""
    for step in path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            value = value[step] if isinstance(value, list) and len(value) > step else None
    return value


def word(value: Any) -> str:
    """A text from parsed JSON, "" where it is none."""
    return value if isinstance(value, str) else ""


def count(value: Any) -> int:
    """A count of tokens, 0 where the server sends none that could be one."""
    return value if isinstance(value, int) and 0 <= value < 2**31 else 0


def _closed(node: Any) -> Any:
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    strict = {key: _closed(value) for key, value in node.items() if key != "default"}
    if "properties" in strict:
        strict |= {"additionalProperties": False, "required": list(strict["properties"])}
    return strict


def decoded(body: bytes) -> Any:
    """What a body holds: parsed JSON, else its text."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")
