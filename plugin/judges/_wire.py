"""A schema as it goes out to a judge."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


def closed(schema: type[BaseModel]) -> dict[str, Any]:
    """The schema in strict form: every object closed, every property required, no defaults."""
    strict: dict[str, Any] = _closed(schema.model_json_schema())
    return strict


def _closed(node: Any) -> Any:
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    strict = {key: _closed(value) for key, value in node.items() if key != "default"}
    if "properties" in strict:
        strict |= {"additionalProperties": False, "required": list(strict["properties"])}
    return strict
