"""JSON Fields: compare the fields of JSON with those of the expected output.

JSON Fields is the share of the expected output's fields that the completion has with the same
value. A field is a value that is no object and no list; its name is the path to it. Fields that
nobody expects do not lower the score, and are named in the reason. Numbers are compared by value,
within --number_tolerance; texts are the same but for white space around them.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

from plugin.errors import OptionError
from plugin.metrics import Ask, Measure, Measured
from plugin.metrics._json import FormatViolation, parse_json, shortened
from plugin.metrics.entry import TaskSettings
from plugin.metrics.numbers import Tolerance, read_tolerance
from plugin.records import Case

EXACTLY = Tolerance()
FieldResult = Literal["right", "wrong", "wrong type", "missing", "unexpected"]

NOT_EXPECTED = "not expected: "
"""Stands before the fields that nobody expects, which are no violation."""

_PLACE = re.compile(r"\[\d+\]")
_MOST_NAMED = 5
_MOST_FIELDS = 10_000


def fields_of(value: object) -> dict[str, object]:
    """Return the fields of a JSON value: path -> value, such as "items[0].name".

    An empty object or list is a field, and so is a value that is neither of the two.
    """
    found = dict[str, object]()
    rest: list[tuple[str, object]] = [("", value)]
    while rest and len(found) < _MOST_FIELDS:
        path, one = rest.pop()
        if isinstance(one, dict) and one:
            below = [(f"{path}.{key}" if path else str(key), item) for key, item in one.items()]
        elif isinstance(one, list) and one:
            below = [(f"{path}[{place}]", item) for place, item in enumerate(one)]
        else:
            found[path or "(value)"] = one
            continue
        rest.extend(reversed(below))
    return found


def compare_fields(
    value: object, wanted: object, tolerance: Tolerance = EXACTLY
) -> dict[str, FieldResult]:
    """Return what became of every expected field, and the fields that nobody expects."""
    found, expected = fields_of(value), fields_of(wanted)
    results: dict[str, FieldResult] = {
        path: _compare(found[path], one, tolerance)
        if path in found
        else ("wrong type" if _has_below(found, path) else "missing")
        for path, one in expected.items()
    }
    spare = {path: "unexpected" for path in found if path not in expected}
    return {**results, **spare}  # type: ignore[dict-item]


def _has_below(found: Mapping[str, object], path: str) -> bool:
    """Return whether an object or a list stands where a plain value is expected."""
    return any(other.startswith((f"{path}.", f"{path}[")) for other in found)


def _compare(value: object, wanted: object, tolerance: Tolerance) -> FieldResult:
    if _kind(value) != _kind(wanted):
        return "wrong type"
    if isinstance(value, str) and isinstance(wanted, str):
        ours, theirs = (unicodedata.normalize("NFC", text.strip()) for text in (value, wanted))
        return "right" if ours == theirs else "wrong"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "right" if value == wanted else "wrong"
    same = value == wanted or tolerance.allows(float(value), float(wanted))  # type: ignore[arg-type]
    return "right" if same else "wrong"


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else type(value).__name__


def share_right(results: Mapping[str, FieldResult]) -> float:
    """Return the share of the expected fields that are right."""
    expected = [result for result in results.values() if result != "unexpected"]
    return sum(result == "right" for result in expected) / len(expected)


def plain_path(path: str) -> str:
    """Return the path without places in lists: "items[3].name" is "items[].name"."""
    return _PLACE.sub("[]", path)


class FieldComparer:
    """Compare completions with the JSON that cases expect."""

    def __init__(self, settings: TaskSettings, cases: Sequence[Case]) -> None:
        """Read what the cases expect.

        Raises:
            OptionError: for a bad tolerance, or expected outputs that are no JSON.
        """
        self._tolerance = read_tolerance(settings.number_tolerance)
        self._wanted = dict[str, object]()
        problems = []
        for case in cases:
            for text in case.right_answers:
                try:
                    self._wanted[text] = parse_json(text)
                except FormatViolation as violation:
                    problems.append(f"case {case.id} ({violation})")
        if problems:
            more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
            raise OptionError(
                f"--predefined_tasks JSON Fields: the expected output of {', '.join(problems[:5])}"
                f"{more} is not JSON; correct these rows, or choose another metric, such as "
                "Token F1"
            )

    def compare(self, case: Case, completion: str) -> dict[str, FieldResult]:
        """Return what became of the fields, for the reference that fits best.

        Raises:
            FormatViolation: when the completion is not JSON.
        """
        value = parse_json(completion)
        each = [
            compare_fields(value, self._wanted[text], self._tolerance)
            for text in case.right_answers
        ]
        return max(each, key=share_right)

    def expected(self, case: Case) -> dict[str, object]:
        """Return the fields of the first reference."""
        return fields_of(self._wanted[case.right_answers[0]])


def json_fields(settings: TaskSettings, cases: Sequence[Case]) -> Measure:
    """See `MetricEntry.setup`; raises what `FieldComparer` raises."""
    return partial(_measure_fields, FieldComparer(settings, cases))


async def _measure_fields(
    comparer: FieldComparer, case: Case, completion: str, ask: Ask
) -> Measured:
    try:
        results = comparer.compare(case, completion)
    except FormatViolation as violation:
        return Measured(0.0, str(violation))
    return Measured(share_right(results), _reason(results) or None)


def _reason(results: Mapping[str, FieldResult]) -> str:
    """Return what is wrong, and in brackets what nobody expects and does not count."""
    wrong, spare = list[str](), list[str]()
    for path, result in results.items():
        if result == "unexpected":
            spare.append(shortened(path))
        elif result != "right":
            at = " at" if result == "wrong type" else ""
            wrong.append(f"{result}{at} {shortened(path)}")
    reason = "; ".join(_first(wrong))
    if not spare:
        return reason
    also = f"{NOT_EXPECTED}{', '.join(_first(spare))}"
    return f"{reason} ({also})" if reason else also


def _first(texts: Sequence[str]) -> list[str]:
    """Return the first of the texts, and how many more there are."""
    n_more = len(texts) - _MOST_NAMED
    return [*texts[:_MOST_NAMED], *([f"{n_more} more"] if n_more > 0 else [])]


def suggest_json_fields(cases: Sequence[Case]) -> str:
    """See `MetricEntry.suggest`: expected outputs that are JSON objects, or lists of them."""
    for case in cases:
        try:
            value = json.loads(case.expected_output or "")
        except (ValueError, RecursionError):
            return ""
        items = value if isinstance(value, list) and value else [value]
        if not all(isinstance(item, dict) and item for item in items):
            return ""
    return f"all {len(cases)} expected outputs are JSON objects" if cases else ""
