"""JSON Schema: whether the completion is JSON that fits the schema of --json_schema.

A schema may refer to its own parts, also recursively, and to the drafts of JSON Schema. A reference
to anything else is refused and never fetched. Patterns have a time limit. `format` is not checked,
as JSON Schema has it by default.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from plugin.errors import OptionError
from plugin.metrics import Ask, Measure, Measured
from plugin.metrics._json import FormatViolation, measured_by, parse_json, shortened
from plugin.metrics._patterns import Pattern
from plugin.metrics.entry import TaskSettings
from plugin.records import Case

_MOST_FOLLOWED = 50_000
"""So many references followed in one check mean a schema that multiplies its own work."""

_MOST_NAMED = 3
_IN_PLACE = ("$ref", "allOf", "anyOf", "oneOf", "not", "if", "then", "else")
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_DATA = {"enum", "const", "default", "examples"}


def json_schema(settings: TaskSettings, cases: Sequence[Case]) -> Measure:
    """See `MetricEntry.setup`; raises what `SchemaChecker` raises."""
    return partial(_measure, SchemaChecker(settings.json_schema))


async def _measure(checker: SchemaChecker, case: Case, completion: str, ask: Ask) -> Measured:
    return measured_by(checker.check, completion)


class SchemaChecker:
    """Check texts against a schema, without a network and within a limit of work."""

    def __init__(self, text: str) -> None:
        """Read the schema.

        Raises:
            OptionError: when it is not a valid schema, refers to something outside, or never ends.
        """
        self._n_followed = 0
        self._patterns: dict[str, Pattern] = {}
        self._validator = self._make_validator(_read_schema(text))

    def check(self, text: str) -> None:
        """Check a completion.

        Raises:
            FormatViolation: naming the first things that do not fit.
        """
        value = parse_json(text)
        self._n_followed = 0
        try:
            errors = sorted(self._validator.iter_errors(value), key=_place)
        except RecursionError as error:
            raise FormatViolation("nested too deeply for the schema") from error
        if errors:
            problems = dict.fromkeys(_problem(error) for error in errors)
            raise FormatViolation("; ".join([*problems][:_MOST_NAMED]))

    def _make_validator(self, schema: Any) -> Any:
        from jsonschema import validators
        from jsonschema.exceptions import SchemaError
        from jsonschema_specifications import REGISTRY  # it has the drafts, and fetches nothing

        base = validators.validator_for(schema, default=validators.Draft202012Validator)
        try:
            base.check_schema(schema)
        except (SchemaError, RecursionError) as error:
            said = getattr(error, "message", "it is nested too deeply")
            where = "/".join(map(str, getattr(error, "path", ()))) or "its top"
            raise OptionError(
                f"--json_schema is not a valid JSON schema: {said[:200]} (at {where})"
            ) from error
        self._compile_patterns(schema)
        found = validators.extend(base, self._keywords(base.VALIDATORS))(schema, registry=REGISTRY)
        _check_references(schema, set(REGISTRY))
        return found

    def _keywords(self, known: Any) -> dict[str, Callable[..., Any]]:
        """Return the keywords that must not run without a limit."""
        own: dict[str, Callable[..., Any]] = {
            "$ref": partial(self._follow, known.get("$ref")),
            "pattern": self._check_pattern,
            "patternProperties": self._check_patterned,
            "additionalProperties": self._check_additional,
        }
        return {name: keyword for name, keyword in own.items() if name in known}

    def _follow(
        self, follow: Any, validator: Any, target: str, value: Any, within: Any
    ) -> Iterator[Any]:
        self._n_followed += 1
        if self._n_followed > _MOST_FOLLOWED:
            raise FormatViolation("too much work for the schema")
        yield from follow(validator, target, value, within) or ()

    def _check_pattern(self, validator: Any, text: str, value: Any, within: Any) -> Iterator[Any]:
        from jsonschema.exceptions import ValidationError

        if isinstance(value, str) and not self._patterns[text].is_in(value):
            yield ValidationError(f"it does not match {text!r}")

    def _check_patterned(
        self, validator: Any, rules: Any, value: Any, within: Any
    ) -> Iterator[Any]:
        for text, rule in rules.items() if isinstance(value, dict) else ():
            for name, item in value.items():
                if self._patterns[text].is_in(name):
                    yield from validator.descend(item, rule, path=name, schema_path=text)

    def _check_additional(
        self, validator: Any, rule: Any, value: Any, within: Any
    ) -> Iterator[Any]:
        from jsonschema.exceptions import ValidationError

        allowed = [self._patterns[text] for text in within.get("patternProperties", {})]
        for name, item in value.items() if isinstance(value, dict) else ():
            if name in within.get("properties", {}) or any(one.is_in(name) for one in allowed):
                continue
            if rule is False:
                yield ValidationError("the schema has no such field", path=[name])
            elif isinstance(rule, dict):
                yield from validator.descend(item, rule, path=name)

    def _compile_patterns(self, schema: Any) -> None:
        for part in _parts(schema):
            rules = part.get("patternProperties")
            if rules and "unevaluatedProperties" in part:
                raise OptionError(
                    "--json_schema has patternProperties beside unevaluatedProperties, which "
                    "cannot be checked within a time limit; write additionalProperties instead"
                )
            for text in (part.get("pattern"), *(rules if isinstance(rules, dict) else ())):
                if isinstance(text, str):
                    try:
                        self._patterns[text] = Pattern(text)
                    except ValueError as error:
                        raise OptionError(f"--json_schema: pattern {text!r} is {error}") from error


def _read_schema(text: str) -> Any:
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise OptionError(f"--json_schema is not valid JSON: {error}") from error
    if not isinstance(schema, dict | bool):
        raise OptionError('--json_schema must be a JSON object, such as {"type": "object"}')
    return schema


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a schema, but for those that are data."""
    rest = [schema]
    while rest:
        part = rest.pop()
        if isinstance(part, dict):
            yield part
            rest += [item for name, item in part.items() if name not in _DATA]
        elif isinstance(part, list):
            rest += part


def _check_references(schema: Any, drafts: set[str]) -> None:
    """Check that all references lead to parts of the schema, and that none leads in a circle.

    Raises:
        OptionError: naming those that do not.
    """
    ids = {part["$id"] for part in _parts(schema) if isinstance(part.get("$id"), str)}
    own = {name.rstrip("#") for name in (*drafts, *ids)}
    outside, nowhere = set[str](), set[str]()
    for part in _parts(schema):
        for target in (part.get(name) for name in _REFERENCES):
            if not isinstance(target, str):
                continue
            base = target.partition("#")[0]
            if base and base not in own and not any(one.endswith(f"/{base}") for one in ids):
                outside.add(target)
            elif target.startswith("#/") and len(ids) < 2 and _part_at(schema, target) is None:
                nowhere.add(target)
    if outside:
        raise OptionError(
            f"--json_schema refers to {', '.join(sorted(outside))}, which is not part of it. "
            "Nothing is fetched: copy that schema into $defs and refer to it with #/$defs/NAME"
        )
    if nowhere:
        raise OptionError(f"--json_schema refers to {', '.join(sorted(nowhere))}, which it lacks")
    done = set[int]()
    if any(_is_endless(schema, part, set(), done) for part in _parts(schema)):
        raise OptionError(
            "--json_schema refers to itself without end: a $ref leads back to itself, with no "
            "field or list in between"
        )


def _part_at(schema: Any, target: str) -> Any:
    """Return the part that a reference such as "#/$defs/name" leads to; None for none."""
    part = schema
    for word in target.removeprefix("#").split("/")[1:]:
        name = word.replace("~1", "/").replace("~0", "~").replace("%25", "%").replace("%22", '"')
        if isinstance(part, list) and name.isdecimal() and int(name) < len(part):
            part = part[int(name)]
        elif isinstance(part, dict) and name in part:
            part = part[name]
        else:
            return None
    return part


def _is_endless(schema: Any, part: Any, open_now: set[int], done: set[int]) -> bool:
    """Return whether checking a value against this part checks it against the part again."""
    if not isinstance(part, dict) or id(part) in done:
        return False
    if id(part) in open_now:
        return True
    open_now.add(id(part))
    for name in _IN_PLACE:
        below = part.get(name)
        if name == "$ref" and isinstance(below, str):
            below = _part_at(schema, below) if below.startswith("#") else None
        for one in below if isinstance(below, list) else [below]:
            if _is_endless(schema, one, open_now, done):
                return True
    open_now.remove(id(part))
    done.add(id(part))
    return False


def _place(error: Any) -> list[str]:
    return [str(step) for step in error.absolute_path]


def _problem(error: Any) -> str:
    """Return a violation in words: its kind and place, and details in brackets."""
    steps = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path]
    where = shortened("".join(steps).removeprefix(".")) or "the top"
    said = " ".join(error.message.split())
    if error.validator == "required":
        name = said.removesuffix(" is a required property")[1:-1]
        return f"missing {where}.{name}".replace("the top.", "")
    if error.validator == "type":
        return f"wrong type at {where} (must be {error.validator_value})"
    if error.validator == "additionalProperties":
        return f"unexpected {where}"
    return f"{error.validator} at {where} ({said[:80]})"
