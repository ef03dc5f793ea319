"""Numeric Match: whether the last number of the completion is the expected number.

Numbers are read as people write them: `1,234.5`, `1.234,5`, `1 234`, `-3`, `2e6`, `3/4`, `50 %`,
`$2.5 million`, digits of any script. A comma or point before exactly three digits groups thousands
where the number begins with one to three digits other than a lone 0 ("1,234", "0.123" is a
fraction). A single point before three digits is a decimal point ("3.142").

- A percentage matches its fraction (50% and 0.5), and where only one side has the sign, also the
  plain number (50% and 50).
- Units of length, mass, time and volume are converted where both sides have one (1.5 km is 1500 m);
  units of different kinds do not match. A unit on one side only is not looked at.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import regex

from plugin.errors import OptionError
from plugin.metrics import Ask, Measure, Measured
from plugin.metrics.entry import TaskSettings
from plugin.records import Case

_GROUPED = r"\d{1,3}(?:([,.'’  _ ])\d{3})(?:\1\d{3})*(?!\d)"
_PLAIN = r"\d+"
_NUMBER = regex.compile(
    r"(?<![\p{L}\p{N}_])"  # "B12" is a name, not a number
    r"(?P<sign>[-+−–])?(?P<currency>[$€£¥₹])?\s?(?P<sign2>[-−])?"
    rf"(?P<body>(?:{_GROUPED}|{_PLAIN})(?:[.,]\d+)*|[.,]\d+)"
    r"(?:[eE](?P<power>[-+−]?\d{1,3})(?!\p{L}))?"
    r"(?:\s?[/⁄]\s?(?P<below>\d+)(?!\d|[/.,]\d))?"
    r"(?:\s?(?P<percent>[%٪‰])|\s?(?P<unit>\p{L}+[²³]?|°\p{L}?))?"
)
_THOUSANDS = {"k": 1e3, "thousand": 1e3, "million": 1e6, "millions": 1e6, "mio": 1e6, "mn": 1e6}
_THOUSANDS |= {"billion": 1e9, "billions": 1e9, "bn": 1e9, "trillion": 1e12, "percent": 1e-2}

_UNITS = {
    "length": {"mm": 1e-3, "cm": 1e-2, "m": 1.0, "km": 1e3, "inch": 0.0254, "inches": 0.0254}
    | {"ft": 0.3048, "feet": 0.3048, "foot": 0.3048, "mile": 1609.344, "miles": 1609.344}
    | {"meter": 1.0, "meters": 1.0, "metre": 1.0, "metres": 1.0, "yd": 0.9144, "yards": 0.9144}
    | dict.fromkeys(("kilometer", "kilometers", "kilometre", "kilometres"), 1e3),
    "mass": {"mg": 1e-6, "g": 1e-3, "kg": 1.0, "t": 1e3, "lb": 0.45359237, "lbs": 0.45359237}
    | {"gram": 1e-3, "grams": 1e-3, "kilogram": 1.0, "kilograms": 1.0, "tonnes": 1e3}
    | {"oz": 0.028349523125, "pound": 0.45359237, "pounds": 0.45359237},
    "time": {"ms": 1e-3, "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "min": 60.0}
    | {"minute": 60.0, "minutes": 60.0, "h": 3600.0, "hour": 3600.0, "hours": 3600.0}
    | {"day": 86400.0, "days": 86400.0, "week": 604800.0, "weeks": 604800.0},
    "volume": {"ml": 1e-3, "cl": 1e-2, "l": 1.0, "liter": 1.0, "liters": 1.0, "litre": 1.0}
    | {"litres": 1.0, "m³": 1e3},
}
_KIND = {unit: (kind, size) for kind, units in _UNITS.items() for unit, size in units.items()}

_CLOSE = 1e-9
"""Numbers closer than that, relatively, are the same: 0.1 + 0.2 is 0.3."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number as it was read.

    Attributes:
        value: as it stands, with "million" and the like, without percent sign and unit.
        is_percentage: whether a percent sign follows.
        unit: in lower case; "" for none that is known.
    """

    value: float
    is_percentage: bool = False
    unit: str = ""


def read_numbers(text: str) -> list[Quantity]:
    """Return the numbers of a text, in its order."""
    if not text.isascii():
        text = "".join(_as_ascii_digit(char) for char in text)
    return [found for match in _NUMBER.finditer(text) if (found := _quantity(match)) is not None]


def _as_ascii_digit(char: str) -> str:
    if char in "٫":
        return "."
    if char in "٬":
        return ","
    return str(unicodedata.decimal(char)) if char.isdecimal() else char


def _quantity(match: regex.Match[str]) -> Quantity | None:
    value = _value(match["body"])
    if match["below"]:
        below = float(match["below"])
        if not below:
            return None
        value /= below
    if match["power"]:
        value *= float(f"1e{match['power'].replace('−', '-')}")
    if _is_minus(match):
        value = -value
    unit, sign = (match["unit"] or "").casefold(), match["percent"]
    if sign == "‰":
        return Quantity(value / 10, is_percentage=True)
    if sign or unit in ("percent", "prozent", "pct"):
        return Quantity(value, is_percentage=True)
    value *= _THOUSANDS.get(unit, 1.0)
    return Quantity(value, unit=unit if unit in _KIND else "") if math.isfinite(value) else None


def _is_minus(match: regex.Match[str]) -> bool:
    """Return whether the sign is a minus, and not the dash of a range such as 3-5."""
    if match["sign2"]:
        return True
    before = match.string[: match.start()].rstrip(" ")[-1:]
    return match["sign"] in ("-", "−") and not before.isdigit()


def _value(body: str) -> float:
    """Return the value of digits with commas and points."""
    digits = regex.sub(r"['’  _ ]", "", body)
    points, commas = digits.count("."), digits.count(",")
    if regex.fullmatch(r"[1-9]\d{0,2}(,\d{3})+(\.\d+)?|\d{1,3}(,\d{3}){2,}", digits):
        return float(digits.replace(",", ""))
    if regex.fullmatch(r"\d{1,3}(\.\d{3})+,\d+|\d{1,3}(\.\d{3}){2,}", digits):
        return float(digits.replace(".", "").replace(",", "."))
    if points + commas <= 1:
        return float(digits.replace(",", "."))
    return float(regex.split("[.,]", digits)[-1])  # a list such as 1,2,3


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a number may be off: by so much, or by a share of the expected number."""

    absolute: float = 0.0
    share: float = 0.0

    def allows(self, value: float, wanted: float) -> bool:
        """Return whether the value is close enough."""
        room = max(self.absolute, self.share * abs(wanted), _CLOSE * abs(wanted))
        return abs(value - wanted) <= room * (1 + _CLOSE)


def read_tolerance(text: str) -> Tolerance:
    """Return the tolerance that --number_tolerance names.

    Raises:
        OptionError: when it is none.
    """
    number, sign = (text.strip()[:-1], "%") if text.strip().endswith("%") else (text.strip(), "")
    try:
        value = float(number or 0)
    except ValueError:
        value = -1.0
    if not (math.isfinite(value) and value >= 0):
        raise OptionError(
            f"--number_tolerance {text!r} must be a number, such as 0.01, or a share of the "
            "expected number, such as 1%"
        )
    return Tolerance(share=value / 100) if sign else Tolerance(absolute=value)


def is_same_number(found: Quantity, wanted: Quantity, tolerance: Tolerance) -> bool:
    """Return whether a number is the expected one, in whatever unit."""
    if found.unit and wanted.unit:
        (kind, size), (wanted_kind, wanted_size) = _KIND[found.unit], _KIND[wanted.unit]
        if kind != wanted_kind:
            return False
        return tolerance.allows(found.value * size / wanted_size, wanted.value)
    if found.is_percentage == wanted.is_percentage:
        return tolerance.allows(found.value, wanted.value)
    factor = 0.01 if found.is_percentage else 100.0
    return any(tolerance.allows(found.value * by, wanted.value) for by in (1.0, factor))


def numeric_match(settings: TaskSettings, cases: Sequence[Case]) -> Measure:
    """Return the measure of Numeric Match.

    Raises:
        OptionError: for a bad tolerance, and for cases whose expected output has no number.
    """
    tolerance = read_tolerance(settings.number_tolerance)
    without = [
        case.id
        for case in cases
        if case.right_answers and not any(read_numbers(text) for text in case.right_answers)
    ]
    if without:
        more = f" and {len(without) - 5} more" if len(without) > 5 else ""
        raise OptionError(
            "--predefined_tasks Numeric Match: the expected output of "
            f"{'case' if len(without) == 1 else 'cases'} {', '.join(without[:5])}{more} has no "
            "number; correct these rows, or choose another metric, such as Exact Match"
        )
    return partial(_compare_numbers, tolerance)


async def _compare_numbers(tolerance: Tolerance, case: Case, completion: str, ask: Ask) -> Measured:
    found = read_numbers(completion)
    if not found:
        return Measured(0.0, "no number in the answer")
    wanted = [numbers[-1] for text in case.right_answers if (numbers := read_numbers(text))]
    is_right = any(is_same_number(found[-1], one, tolerance) for one in wanted)
    return Measured(float(is_right), f"last number: {_shown(found[-1])}")


def _shown(quantity: Quantity) -> str:
    return f"{quantity.value:g}{'%' if quantity.is_percentage else ''} {quantity.unit}".strip()
