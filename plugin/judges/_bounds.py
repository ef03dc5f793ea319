"""A schema made finite, so that an answer written under it must end.

A language model under a grammar may still write for ever: a string has no end until its quote, a
list none until its bracket. Every part of the schema gets a bound here, and every property is
required, so that what the grammar lets through also validates.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plugin.errors import JudgeError

_MAX_CHARS = 600
"""Of one string: a few sentences; a statement or a reason that is longer says nothing new."""

_MAX_ITEMS = 64
_MAX_KEYS = 16
_MAX_KEY_CHARS = 40

_LOWEST, _HIGHEST, _STEP = 0, 10, 0.01
"""Of a score, where the schema names no range: DeepEval's run from 0 to 1 or from 0 to 10. The step
bounds the digits."""

_LARGEST_INT = 9999
_BYTES_PER_CHAR = 4
"""The most that UTF-8 takes; an escape such as a written line break takes 2."""


@dataclass(frozen=True, slots=True)
class Bounded:
    """A finite schema.

    Attributes:
        schema: JSON Schema without references.
        n_bytes: length of the longest answer, in bytes.
        n_closing_bytes: from any place inside an answer, the most it takes to end it by closing
            whatever can be closed.
    """

    schema: dict[str, Any]
    n_bytes: int
    n_closing_bytes: int


def bounded(schema: Mapping[str, Any]) -> Bounded:
    """The schema with an end to everything in it.

    Args:
        schema: JSON Schema as pydantic writes it.

    Raises:
        JudgeError: for a schema that contains itself, or a keyword that is not known here.
    """
    return _Reader(schema).read(schema, ())


class _Reader:
    """Reads one schema with its definitions."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._title = schema.get("title") or schema.get("$ref", "").rpartition("/")[2]
        self._definitions = schema.get("$defs", {})

    def read(self, node: Mapping[str, Any], inside: tuple[str, ...]) -> Bounded:
        """One part of the schema; `inside` are the definitions that it stands in."""
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            if name in inside:
                raise self._refusal(f"{name} contains itself")
            return self.read(self._definitions[name], (*inside, name))
        for keyword in ("anyOf", "oneOf"):
            if keyword in node:
                return _any_of([self.read(part, inside) for part in node[keyword]])
        if "enum" in node or "const" in node:
            return _one_of(node.get("enum") or [node["const"]])
        return self._typed(node, inside)

    def _typed(self, node: Mapping[str, Any], inside: tuple[str, ...]) -> Bounded:
        match node.get("type", "string" if "allOf" not in node else None):  # none: pydantic's Any
            case "object" if node.get("properties"):
                return self._object(node, inside)
            case "object":
                return self._map(node, inside)
            case "array" if "prefixItems" not in node:
                return self._array(node, inside)
            case "string":
                return _string(node)
            case "number" | "integer" as kind:
                return _number(node, kind)
            case "boolean" | "null" as kind:
                return _one_of([None] if kind == "null" else [True, False])
        raise self._refusal(f"{json.dumps(node)[:100]} is not known")

    def _object(self, node: Mapping[str, Any], inside: tuple[str, ...]) -> Bounded:
        parts = {name: self.read(part, inside) for name, part in node["properties"].items()}
        n_names = 2 + sum(len(json.dumps(name)) + 4 for name in parts)
        return Bounded(
            {
                "type": "object",
                "properties": {name: part.schema for name, part in parts.items()},
                "required": list(parts),
                "additionalProperties": False,
            },
            n_names + sum(part.n_bytes for part in parts.values()),
            n_names + sum(part.n_closing_bytes for part in parts.values()),
        )

    def _map(self, node: Mapping[str, Any], inside: tuple[str, ...]) -> Bounded:
        """Names that the schema does not know: plain words, so that their length is bounded."""
        kind = node.get("additionalProperties")
        value = self.read(kind if isinstance(kind, dict) else {}, inside)
        n_key = _MAX_KEY_CHARS + 6
        return Bounded(
            {
                "type": "object",
                "patternProperties": {f"^[A-Za-z0-9_ ]{{1,{_MAX_KEY_CHARS}}}$": value.schema},
                "additionalProperties": False,
                "maxProperties": _MAX_KEYS,
            },
            2 + _MAX_KEYS * (n_key + value.n_bytes),
            2 + n_key + value.n_closing_bytes,
        )

    def _array(self, node: Mapping[str, Any], inside: tuple[str, ...]) -> Bounded:
        item = self.read(node.get("items", {}), inside)
        least = node.get("minItems", 0)
        most = min(node.get("maxItems", _MAX_ITEMS), max(_MAX_ITEMS, least))
        return Bounded(
            {"type": "array", "items": item.schema, "minItems": least, "maxItems": most},
            2 + most * (2 + item.n_bytes),
            2 + max(1, least) * (2 + item.n_closing_bytes),
        )

    def _refusal(self, why: str) -> JudgeError:
        return JudgeError(
            f"an in-process judge cannot bound the schema {self._title}: {why}. Leave out the "
            "metric that asks with it, or choose another --judge"
        )


def _one_of(values: list[Any]) -> Bounded:
    n_bytes = max(len(json.dumps(value)) for value in values)
    return Bounded({"enum": values}, n_bytes, n_bytes)


def _any_of(parts: list[Bounded]) -> Bounded:
    return Bounded(
        {"anyOf": [part.schema for part in parts]},
        max(part.n_bytes for part in parts),
        max(part.n_closing_bytes for part in parts),
    )


def _string(node: Mapping[str, Any]) -> Bounded:
    least = node.get("minLength", 0)
    most = min(node.get("maxLength", _MAX_CHARS), max(_MAX_CHARS, least))
    kept = {key: node[key] for key in ("pattern", "format") if key in node}
    n_bytes = 2 + _BYTES_PER_CHAR * most
    return Bounded(
        {"type": "string", **kept, "minLength": least, "maxLength": most},
        n_bytes,
        n_bytes if kept else 2 + _BYTES_PER_CHAR * least,  # a pattern says when it may be closed
    )


def _number(node: Mapping[str, Any], kind: str) -> Bounded:
    low_key = "exclusiveMinimum" if "exclusiveMinimum" in node else "minimum"
    high_key = "exclusiveMaximum" if "exclusiveMaximum" in node else "maximum"
    low = node.get(low_key, _LOWEST)
    high = node.get(high_key, max(low, _LARGEST_INT if kind == "integer" else _HIGHEST))
    # An integer is told apart by its type; a step of 1 would let "1.0" through.
    step = {} if kind == "integer" else {"multipleOf": node.get("multipleOf", _STEP)}
    n_bytes = max(len(str(int(low))), len(str(int(high)))) + len("-.00")
    return Bounded({"type": kind, low_key: low, high_key: high, **step}, n_bytes, n_bytes)
