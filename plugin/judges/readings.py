"""Read one JSON value of a judge's answer, also where it has the schema's content in another form.

Judges without a bound schema wrap the object (`{"result": {...}}`, a list of one, JSON inside a
string), end a word with a full stop ("Yes.") or write a score as a share of its scale ("7/10").
Such a form is read where it has one meaning. What has none is refused with the reason, so that the
judge is asked again: `true` is not the number 1, and 2/5 is no score out of 10.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, NamedTuple, get_origin

from pydantic import BaseModel, ValidationError

from plugin.errors import quote
from plugin.metrics import Check

_DEEPEST = 3
"""Wrappers around an object that are opened, at most."""

_CALL_PARTS = frozenset({"name", "type", "id", "parameters", "arguments"})
"""What an object holds besides the answer where a judge answers in the form of a function call."""

_LONGEST_QUOTE = 40


class Readings(NamedTuple):
    """What a value can be read as, and what is wrong with it if that is nothing."""

    answers: list[BaseModel]
    problem: str


class ValueReader:
    """Reads values by one schema."""

    def __init__(self, schema: type[BaseModel], check: Check) -> None:
        """Take the schema, and the scale of its scores from the check if that has one."""
        self._schema = schema
        self._scale: tuple[float, float] | None = getattr(check, "scale", None)
        fields = schema.model_fields
        (only,) = fields if len(fields) == 1 else (None,)
        self._list = only if only and get_origin(fields[only].annotation) is list else None

    def read(self, value: object, is_whole: bool = False) -> Readings:
        """Return what the value can be read as: itself, or else what it wraps.

        Args:
            value: parsed JSON.
            is_whole: whether it is the whole answer; then a bare list may stand for an object
                whose only part is that list.
        """
        found = self._fit(value)
        if isinstance(found, BaseModel):
            return Readings([found], "")
        inner = [self._fit(one) for one in _unwrapped(value, _DEEPEST)]
        if is_whole and self._list and isinstance(value, list):
            inner.append(self._fit({self._list: value}))
        return Readings([one for one in inner if isinstance(one, BaseModel)], found)

    def _fit(self, value: object) -> BaseModel | str:
        """Return the validated answer, or the problem."""
        try:
            answer = self._schema.model_validate(value)
        except ValidationError as error:
            problem = _problem(error)
            mended = self._mended(value, error)
            if mended is None:
                return problem
            value = mended
            try:
                answer = self._schema.model_validate(value)
            except ValidationError:
                return problem
        where = _truth_as_number(value, answer)
        return answer if where is None else f"{where}: true and false are not numbers"

    def _mended(self, value: object, error: ValidationError) -> object | None:
        """Return the value with words and numbers as the schema wants them; None if it cannot.

        Words lose what stands around them, and "7/10" becomes 7 if the scale ends at 10.
        """
        mended = deepcopy(value)
        for one in error.errors(include_url=False):
            part: str | float | None = None
            if isinstance(given := one["input"], str):
                if one["type"] in ("literal_error", "enum"):
                    part = given.strip(_AROUND_WORDS).lower()
                elif one["type"] in ("float_parsing", "int_parsing"):
                    part = self._share(given)
            if part is None or not _put(mended, one["loc"], part):
                return None
        return mended

    def _share(self, text: str) -> float | None:
        """Return the score in "7/10" or "7 out of 10", if the scale ends at 10; else None."""
        parts = _SHARE.fullmatch(text)
        if not parts or not self._scale or float(parts[2]) != self._scale[1]:
            return None
        return float(parts[1])


_AROUND_WORDS = " \t\r\n.,;:!\"'`*_()"
_NUMBER = r"(\d{1,4}(?:\.\d{1,4})?)"
_SHARE = re.compile(rf"\s*{_NUMBER}\s*(?:/|out of)\s*{_NUMBER}\s*\.?\s*", re.IGNORECASE)


def _problem(error: ValidationError) -> str:
    """Return the first problem in words, with the value that has it if that is short."""
    first = error.errors(include_url=False)[0]
    if not first["loc"]:
        return "not a JSON object"
    problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    given = first["input"]
    if not isinstance(given, str | int | float | None):
        return problem
    shown = quote(given, _LONGEST_QUOTE) if isinstance(given, str) else json.dumps(given)
    return f"{problem}, got {shown}"


def _put(value: Any, path: tuple[int | str, ...], part: object) -> bool:
    """Put a part into parsed JSON; return whether there was such a place."""
    if not path:
        return False
    try:
        for step in path[:-1]:
            value = value[step]
        value[path[-1]] = part
    except (KeyError, IndexError, TypeError):  # a path through a union has steps of its own
        return False
    return True


def _unwrapped(value: object, n_deep: int) -> Iterator[object]:
    """Yield what a wrapper holds: an object's only part, a list's only item, JSON in a string."""
    if not n_deep:
        return
    inner = list[object]()
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "[", '"'):
        try:
            inner = [json.loads(value)]
        except (ValueError, RecursionError):
            return
    elif isinstance(value, list) and len(value) == 1:
        inner = value
    elif isinstance(value, dict):
        if len(value) == 1:
            inner = list(value.values())
        elif value.keys() <= _CALL_PARTS:
            inner = [value[key] for key in ("parameters", "arguments") if key in value]
    for one in inner:
        yield one
        yield from _unwrapped(one, n_deep - 1)


def _truth_as_number(value: object, answer: object) -> str | None:
    """Return where true or false was taken for a number, as a path; None if nowhere."""
    if isinstance(value, bool):
        return "" if isinstance(answer, int | float) and not isinstance(answer, bool) else None
    if isinstance(value, str):
        return None
    pairs = list[tuple[str, object, object]]()
    if isinstance(value, dict) and isinstance(answer, BaseModel):
        pairs = [
            (name, value[name], getattr(answer, name))
            for name in type(answer).model_fields
            if name in value
        ]
    elif isinstance(value, list) and isinstance(answer, list):
        pairs = [(str(i), *pair) for i, pair in enumerate(zip(value, answer, strict=False))]
    for name, part, read in pairs:
        if (where := _truth_as_number(part, read)) is not None:
            return f"{name}.{where}" if where else name
    return None
