"""Read JSON strictly, and tell what is wrong with it; shared by the metrics of formats."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import regex

from plugin.metrics import Measured

_FENCED = regex.compile(r"\s*(```+|~~~+)[^\n`]*\n(.*?)\n?[ \t]*\1\s*", regex.DOTALL)


class FormatViolation(ValueError):
    """A text breaks a format. The message is the kind of violation, perhaps with "(details)"."""


def unfenced(text: str) -> str:
    """Return the text without white space and a code fence around everything."""
    match = _FENCED.fullmatch(text)
    return (match[2] if match else text).strip()


def parse_json(text: str) -> Any:
    """Return the value that the whole text is.

    Raises:
        FormatViolation: when it is no JSON as RFC 8259 has it.
    """

    def refuse(word: str) -> float:
        raise FormatViolation(f"not JSON: {word} is no number of JSON")

    try:
        return json.loads(unfenced(text), parse_constant=refuse, parse_int=_whole_number)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":
            raise FormatViolation("not JSON: text after the JSON") from error
        if error.pos == 0:
            raise FormatViolation("not JSON: it begins with other text") from error
        where = f" (line {error.lineno}, column {error.colno})"
        raise FormatViolation(f"not JSON: {error.msg[0].lower()}{error.msg[1:]}{where}") from error
    except RecursionError as error:
        raise FormatViolation("not JSON: nested too deeply") from error


def _whole_number(digits: str) -> int | float:
    """Return a whole number; one with very many digits as a float, which may be infinite."""
    return int(digits) if len(digits) < 4000 else math.copysign(math.inf, int(digits[:2]))


def measured_by(check: Callable[[str], object], completion: str) -> Measured:
    """Return 1, or 0 with the violation that the check raises."""
    try:
        check(completion)
    except FormatViolation as violation:
        return Measured(0.0, str(violation))
    return Measured(1.0)
