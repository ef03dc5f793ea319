"""Read JSON strictly, and tell what is wrong with it; shared by the metrics of formats."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from plugin.metrics import Measured

_FENCES = ("```", "~~~")


class FormatViolation(ValueError):
    """A text breaks a format. The message is the kind of violation, perhaps with "(details)"."""


def unfenced(text: str) -> str:
    """Return the text without white space and a code fence around everything."""
    bare = text.strip()
    first, _, rest = bare.partition("\n")
    body, _, last = rest.rpartition("\n")
    mark = first[: len(first) - len(first.lstrip(first[:1]))]  # all the fence's characters
    is_fenced = first.startswith(_FENCES) and "`" not in first[len(mark) :]
    return body.strip() if is_fenced and last.strip() == mark else bare


def parse_json(text: str) -> Any:
    """Return the value that the whole text is.

    Raises:
        FormatViolation: when it is not JSON as RFC 8259 has it.
    """

    def refuse(word: str) -> float:
        raise FormatViolation(f"not JSON: {word} is not a number of JSON")

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


LONGEST_NAME = 80
"""Characters of a field's name in a violation."""


def shortened(name: str) -> str:
    """Return a name as it stands in a violation."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def measured_by(check: Callable[[str], object], completion: str) -> Measured:
    """Return 1, or 0 with the violation that the check raises."""
    try:
        check(completion)
    except FormatViolation as violation:
        return Measured(0.0, str(violation))
    return Measured(1.0)
