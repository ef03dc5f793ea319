"""The value of a cell, which does not depend on the format of its file.

It is a text, a `Number`, a bool, a list, a dict or None. A float is left only where JSON says NaN
or Infinity, which are no JSON values.
"""

from __future__ import annotations

import json
import math
from datetime import date, time
from decimal import Decimal


class Number(str):
    """A number in the digits of its source, so that 1.50 and an integer of any length survive."""


def parse_json(text: str) -> object:
    """The JSON value, numbers as `Number`; NaN and infinities, which JSON has not, as float.

    Raises:
        ValueError: when it is no JSON; a json.JSONDecodeError where the place is known.
    """
    try:
        value: object = json.loads(text, parse_int=Number, parse_float=Number)
    except RecursionError as error:
        raise ValueError("brackets are nested too deeply") from error
    return value


def type_name(value: object) -> str:
    """What the value is, in words for a message."""
    if isinstance(value, bool):
        return f"a boolean ({str(value).lower()})"
    if isinstance(value, float):
        return f"{value}, which is no JSON value"
    if isinstance(value, Number):
        return f"a number ({value:.40})"
    words: dict[type, str] = {str: "text", list: "a list", dict: "an object", type(None): "null"}
    return words.get(type(value), f"a {type(value).__name__}")


def plain(value: object) -> object:
    """The value as JSON would give it: numbers in digits, NaN (pandas for "nothing") as None."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, int | float | Decimal):
        return Number(value)
    if isinstance(value, date | time):
        return str(value)
    if isinstance(value, list):
        return [plain(part) for part in value]
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    return value
