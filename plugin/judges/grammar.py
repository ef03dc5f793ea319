"""Force answers to fit their schema: llguidance decides which tokens may come next.

`Grammars` compiles each schema once, and a `GuidedAnswer` follows one answer through its grammar.

Even under a grammar, a language model may write forever: a string ends only at its quote, a list
only at its bracket. So `bound_schema` first makes the schema finite: every part gets a limit. Every
property is required, so that an answer that fits the grammar also validates. When few tokens are
left, the guide allows only tokens that close open strings, lists and objects, so that the answer is
complete at its token limit.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray
from pydantic import BaseModel

from plugin.errors import JudgeError

RULES = 1
"""Part of a judge's identity; increase it when a change can alter the answers of a model."""

MAX_ANSWER_TOKENS = 4096
_SLACK_TOKENS = 8
"""Spare tokens to finish an escape or a character, and for the end-of-text token."""

_JSON_STYLE: Any = {
    # Same white space as json.dumps, the form that models know best.
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    # Without \u: half a surrogate pair is valid JSON but not valid text.
    "json_allowed_escapes": 'nrbtf\\"',
}

_MAX_CHARS = 600
"""Limit for one string: a few sentences, enough for a statement or a reason."""

_MAX_ITEMS = 64
_MAX_KEYS = 16
_MAX_KEY_CHARS = 40

_LOWEST, _HIGHEST, _STEP = 0, 10, 0.01
"""Range and step of a score if the schema has no range: DeepEval's scores run from 0 to 1 or from 0
to 10. The step limits the digits."""

_LARGEST_INT = 9999
_BYTES_PER_CHAR = 4
"""The longest character in UTF-8; an escape such as \\n takes 2 bytes."""

Allowed = NDArray[np.bool_]
"""One flag per logit: whether the token may come next."""


class _Sample(BaseModel):
    """The form of the fixed answer that shows whether tokenizer and grammar agree."""

    reason: str
    score: float
    parts: list[str]


_SAMPLE = _Sample(reason="it is so: 7 of 9.", score=7, parts=["one", "two"])


class Grammars:
    """The grammars of a judge's schemas, each compiled once."""

    def __init__(self, tokenizer: Any, n_logits: int, eos_token_ids: Iterable[int]) -> None:
        """Read the tokenizer's vocabulary.

        Args:
            tokenizer: a fast tokenizer of the transformers library.
            n_logits: width of the model's output; it can differ from the size of the vocabulary.
            eos_token_ids: the tokens that end an answer.

        Raises:
            JudgeError: when llguidance cannot read the tokenizer.
        """
        try:
            self._tokens = LLTokenizer(
                _without_prefix_space(tokenizer.backend_tokenizer.to_str()),
                n_vocab=max(n_logits, len(tokenizer)),
                eos_token=sorted(eos_token_ids),
            )
        except (ValueError, TypeError, AttributeError) as error:
            raise JudgeError(
                f"llguidance cannot read the judge's tokenizer ({error}); choose a judge model "
                "with a tokenizer.json and an end-of-text token"
            ) from error
        self._tokenizer = tokenizer
        self._n_logits = n_logits
        self._closers = _closers(self._tokens, n_logits)
        self._compiled: dict[type[BaseModel], tuple[LLMatcher, BoundedSchema]] = {}

    def least_room(self, schema: type[BaseModel]) -> int:
        """Return how many tokens an answer needs to be complete in every case."""
        return self._grammar(schema)[1].n_closing_bytes + _SLACK_TOKENS

    def guide(self, schema: type[BaseModel], room: int) -> GuidedAnswer:
        """Return a guide for an answer of at most `room` tokens (`least_room` or more)."""
        matcher, bounds = self._grammar(schema)
        # No token is shorter than a byte.
        n_tokens = min(room, bounds.n_bytes + _SLACK_TOKENS)
        return GuidedAnswer(
            (matcher.deep_copy(), self._tokens),
            self._closers,
            n_tokens,
            min(n_tokens, self.least_room(schema)),
        )

    def disagreement(self) -> str:
        """Return how tokenizer and grammar disagree about a fixed answer; "" if they agree.

        Where they do, every answer would end before it is whole.
        """
        text = json.dumps(_SAMPLE.model_dump())
        ids = self._tokenizer.encode(text, add_special_tokens=False)
        read = self._tokens.decode_bytes([i for i in ids if not self._tokens.is_special_token(i)])
        if read.decode("utf-8", "replace").strip() != text:
            return f"the tokens of {text!r} are read as {read.decode('utf-8', 'replace')!r}"
        guide = self.guide(_Sample, MAX_ANSWER_TOKENS)
        for token in self._tokens.tokenize_str(text):
            allowed = guide.allowed()
            if token >= len(allowed) or not allowed[token]:
                return f"no token can follow {guide.text()!r} in {text!r}"
            guide.take(token)
        return "" if guide.is_whole else f"{guide.text()!r} does not count as a whole answer"

    def _grammar(self, schema: type[BaseModel]) -> tuple[LLMatcher, BoundedSchema]:
        if schema not in self._compiled:
            bounds = bound_schema(schema.model_json_schema())
            text = LLMatcher.grammar_from_json_schema(bounds.schema, overrides=_JSON_STYLE)
            matcher = LLMatcher(self._tokens, text, log_level=0)
            if matcher.is_error():
                raise JudgeError(
                    f"llguidance cannot compile the schema {schema.__name__}: "
                    f"{matcher.get_error()}. Leave out the metric that uses it, or choose another "
                    "--judge"
                )
            self._compiled[schema] = matcher, bounds
        return self._compiled[schema]


class GuidedAnswer:
    """One answer while it is written.

    Attributes:
        n_tokens: its token limit.
        token_ids: the tokens written so far, including an end-of-text token.
    """

    def __init__(
        self,
        grammar: tuple[LLMatcher, LLTokenizer],
        closers: tuple[Allowed, ...],
        n_tokens: int,
        n_hurry: int,
    ) -> None:
        """Start an answer that begins to close when `n_hurry` tokens are left."""
        self.n_tokens = n_tokens
        self.token_ids: list[int] = []
        self._matcher, self._tokens = grammar
        self._closers = closers
        self._n_hurry = n_hurry

    def take(self, token: int) -> None:
        """Append the chosen token."""
        if not self.is_over:
            self._matcher.consume_token(token)
            self.token_ids.append(token)

    @property
    def is_over(self) -> bool:
        """Return whether the answer has ended, or reached its token limit."""
        return self._matcher.is_stopped() or len(self.token_ids) >= self.n_tokens

    @property
    def is_whole(self) -> bool:
        """Return whether the answer is complete."""
        return self._matcher.is_accepting() and not self._matcher.is_error()

    def allowed(self) -> Allowed:
        """Return which tokens may come next, shape (n_logits,); at the end, the end tokens."""
        packed = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        n_logits = len(self._closers[0])
        may = np.unpackbits(packed, bitorder="little")[:n_logits].astype(np.bool_)
        if self.n_tokens - len(self.token_ids) <= self._n_hurry:
            for closers in self._closers:
                closing = may & closers
                if closing.any():
                    return closing
        return may

    def text(self) -> str:
        """Return the answer so far, decoded from the same bytes that the grammar saw."""
        written = [token for token in self.token_ids if token not in self._tokens.eos_tokens]
        return self._tokens.decode_bytes(written).decode("utf-8", "replace")


def _without_prefix_space(tokenizer: str) -> str:
    """Return a tokenizer's JSON without the space that it would put before every text.

    llguidance encodes the forced parts of an answer piece by piece; a space before each piece would
    not fit the grammar. llguidance itself handles tokenizers that mark spaces in another way.
    """
    spec = json.loads(tokenizer)
    first = spec.get("pre_tokenizer") or {}
    for step in (first, *first.get("pretokenizers", ())):
        if step.get("type") == "ByteLevel":
            step["add_prefix_space"] = False
    return json.dumps(spec | {"padding": None, "truncation": None})


def _closers(tokens: LLTokenizer, n_logits: int) -> tuple[Allowed, ...]:
    """Return the tokens that close something: first those that begin with a quote, then brackets.

    The order matters. Inside a string a bracket closes nothing. A quote either ends the string, or
    starts one that the next quote ends.
    """
    quotes = np.zeros(n_logits, dtype=np.bool_)
    brackets = np.zeros(n_logits, dtype=np.bool_)
    for token in range(n_logits):
        if tokens.is_special_token(token):
            continue
        text = tokens.decode_bytes([token])
        if text and not text.strip(b'"]}'):
            (quotes if text.startswith(b'"') else brackets)[token] = True
    return quotes, brackets


@dataclass(frozen=True, slots=True)
class BoundedSchema:
    """A schema whose answers have a limited length.

    Attributes:
        schema: JSON Schema without references.
        n_bytes: length of the longest answer, in bytes.
        n_closing_bytes: most bytes needed to end an answer from any place inside it, by closing
            everything that is open.
    """

    schema: dict[str, Any]
    n_bytes: int
    n_closing_bytes: int


def bound_schema(schema: Mapping[str, Any]) -> BoundedSchema:
    """Return the schema with a limit for every part of it.

    Args:
        schema: JSON Schema as pydantic writes it.

    Raises:
        JudgeError: for a schema that contains itself, or for an unknown keyword.
    """
    return _Bounder(schema).bound(schema, ())


class _Bounder:
    """Adds limits to one schema and its definitions."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._title = schema.get("title") or schema.get("$ref", "").rpartition("/")[2]
        self._definitions = schema.get("$defs", {})

    def bound(self, node: Mapping[str, Any], inside: tuple[str, ...]) -> BoundedSchema:
        """Return one part of the schema with limits; `inside` are the definitions around it."""
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            if name in inside:
                raise self._refusal(f"{name} contains itself")
            return self.bound(self._definitions[name], (*inside, name))
        for keyword in ("anyOf", "oneOf"):
            if keyword in node:
                return _any_of([self.bound(part, inside) for part in node[keyword]])
        if "enum" in node or "const" in node:
            return _one_of(node.get("enum") or [node["const"]])
        return self._typed(node, inside)

    def _typed(self, node: Mapping[str, Any], inside: tuple[str, ...]) -> BoundedSchema:
        match node.get("type", "string" if "allOf" not in node else None):  # none: pydantic's Any
            case "object" if node.get("properties"):
                return self._object(node, inside)
            case "object":
                return self._map(node, inside)
            case "array" if "prefixItems" not in node:
                return self._array(node, inside)
            case "string":
                return _string_rule(node)
            case "number" | "integer" as kind:
                return _number_rule(node, kind)
            case "boolean" | "null" as kind:
                return _one_of([None] if kind == "null" else [True, False])
        raise self._refusal(f"{json.dumps(node)[:100]} is not supported")

    def _object(self, node: Mapping[str, Any], inside: tuple[str, ...]) -> BoundedSchema:
        parts = {name: self.bound(part, inside) for name, part in node["properties"].items()}
        n_names = 2 + sum(len(json.dumps(name)) + 4 for name in parts)
        return BoundedSchema(
            {
                "type": "object",
                "properties": {name: part.schema for name, part in parts.items()},
                "required": list(parts),
                "additionalProperties": False,
            },
            n_names + sum(part.n_bytes for part in parts.values()),
            n_names + sum(part.n_closing_bytes for part in parts.values()),
        )

    def _map(self, node: Mapping[str, Any], inside: tuple[str, ...]) -> BoundedSchema:
        """Return a map with free keys: short keys of plain letters, digits, spaces and _."""
        kind = node.get("additionalProperties")
        value = self.bound(kind if isinstance(kind, dict) else {}, inside)
        n_key = _MAX_KEY_CHARS + 6
        return BoundedSchema(
            {
                "type": "object",
                "patternProperties": {f"^[A-Za-z0-9_ ]{{1,{_MAX_KEY_CHARS}}}$": value.schema},
                "additionalProperties": False,
                "maxProperties": _MAX_KEYS,
            },
            2 + _MAX_KEYS * (n_key + value.n_bytes),
            2 + n_key + value.n_closing_bytes,
        )

    def _array(self, node: Mapping[str, Any], inside: tuple[str, ...]) -> BoundedSchema:
        item = self.bound(node.get("items", {}), inside)
        least = node.get("minItems", 0)
        most = min(node.get("maxItems", _MAX_ITEMS), max(_MAX_ITEMS, least))
        return BoundedSchema(
            {"type": "array", "items": item.schema, "minItems": least, "maxItems": most},
            2 + most * (2 + item.n_bytes),
            2 + max(1, least) * (2 + item.n_closing_bytes),
        )

    def _refusal(self, why: str) -> JudgeError:
        return JudgeError(
            f"a judge in this process cannot use the schema {self._title}: {why}. Leave out the "
            "metric that uses it, or choose another --judge"
        )


def _one_of(values: list[Any]) -> BoundedSchema:
    n_bytes = max(len(json.dumps(value)) for value in values)
    return BoundedSchema({"enum": values}, n_bytes, n_bytes)


def _any_of(parts: list[BoundedSchema]) -> BoundedSchema:
    return BoundedSchema(
        {"anyOf": [part.schema for part in parts]},
        max(part.n_bytes for part in parts),
        max(part.n_closing_bytes for part in parts),
    )


def _string_rule(node: Mapping[str, Any]) -> BoundedSchema:
    least = node.get("minLength", 0)
    most = min(node.get("maxLength", _MAX_CHARS), max(_MAX_CHARS, least))
    kept = {key: node[key] for key in ("pattern", "format") if key in node}
    n_bytes = 2 + _BYTES_PER_CHAR * most
    return BoundedSchema(
        {"type": "string", **kept, "minLength": least, "maxLength": most},
        n_bytes,
        n_bytes if kept else 2 + _BYTES_PER_CHAR * least,  # a pattern decides when it can end
    )


def _number_rule(node: Mapping[str, Any], kind: str) -> BoundedSchema:
    low_key = "exclusiveMinimum" if "exclusiveMinimum" in node else "minimum"
    high_key = "exclusiveMaximum" if "exclusiveMaximum" in node else "maximum"
    low = node.get(low_key, _LOWEST)
    high = node.get(high_key, max(low, _LARGEST_INT if kind == "integer" else _HIGHEST))
    # The type is enough for an integer; a step of 1 would also allow "1.0".
    step = {} if kind == "integer" else {"multipleOf": node.get("multipleOf", _STEP)}
    n_bytes = max(len(str(int(low))), len(str(int(high)))) + len("-.00")
    return BoundedSchema({"type": kind, low_key: low, high_key: high, **step}, n_bytes, n_bytes)
