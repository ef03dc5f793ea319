"""The tests of code from the cells of a row: Python that checks, or inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping

from plugin.code_tests import CodeTests
from plugin.load.cells import read_text
from plugin.load.layouts import BESIDE, is_blank
from plugin.load.readers import NumberAsWritten, parse_json, type_name

_FORMS = (
    "it must be Python text, a list of such texts, or a list of objects with the texts input and "
    "output. If the column means something else, rename the column"
)
_INPUTS = ("input", "inputs", "stdin")
_OUTPUTS = ("output", "outputs", "stdout")


def read_tests(cells: Mapping[str, object], name: str, problems: list[str]) -> CodeTests | None:
    """Return the tests of a row; None for an empty cell.

    Args:
        cells: of the row.
        name: of the column with the tests.
        problems: gets what is wrong.
    """
    value = cells.get(name)
    if is_blank(value):
        return None
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            value = parse_json(value)
        except ValueError:
            pass  # then it is Python
    if isinstance(value, str) and not isinstance(value, NumberAsWritten):
        checks: tuple[str, ...] = (str(value),)
    elif isinstance(value, list) and value and all(type(one) is str for one in value):
        checks = tuple(value)
    else:
        return _read_runs(value, name, problems)
    entry_point, *before = (_read_beside(cells.get(each), each, problems) for each in BESIDE)
    setup = "\n".join(filter(None, before))
    return CodeTests(checks, entry_point=entry_point.strip(), before=setup)


def tests_as_cells(tests: CodeTests | None, name: str) -> dict[str, object]:
    """Return the cells that `read_tests` reads as these tests; none for no tests."""
    if tests is None:
        return {}
    if tests.runs:
        return {name: [{"input": given, "output": wanted} for given, wanted in tests.runs]}
    entry_point, setup = BESIDE[:2]
    beside = {entry_point: tests.entry_point, setup: [tests.before] if tests.before else ""}
    return {name: list(tests.checks), **{key: cell for key, cell in beside.items() if cell}}


def _read_beside(value: object, name: str, problems: list[str]) -> str:
    """Return a text, or the texts of a list as lines."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = parse_json(value)
        except ValueError:
            pass
    if isinstance(value, list) and all(type(one) is str for one in value):
        return "\n".join(value)
    return read_text(value, name, problems) or ""


def _read_runs(value: object, name: str, problems: list[str]) -> CodeTests | None:
    """Return pairs of input and output, from a list of objects or one object of two lists."""
    if isinstance(value, dict) and value.get("fn_name"):
        problems.append(f"{name} calls a function by arguments (fn_name), which is not supported")
        return None
    rows = value if isinstance(value, list) else [value]
    found = list[tuple[str, str]]()
    for row in rows:
        if not isinstance(row, dict):
            problems.append(f"{name} is or holds {type_name(row)}; {_FORMS}")
            return None
        if row.get("testtype") not in (None, "stdin"):
            problems.append(f"{name} has a testtype other than stdin, which is not supported")
            return None
        given, wanted = (
            next((row[key] for key in keys if key in row), None) for keys in (_INPUTS, _OUTPUTS)
        )
        if isinstance(given, list) and isinstance(wanted, list) and "inputs" in row:
            if len(given) != len(wanted):
                problems.append(f"{name} has {len(given)} inputs and {len(wanted)} outputs")
                return None
            found += ((_flow(one), _flow(two)) for one, two in zip(given, wanted, strict=True))
        else:
            found.append((_flow(given) if given is not None else "", _flow(wanted)))
    wrong = [None for given, wanted in found if given is _WRONG or wanted is _WRONG]
    if wrong or not found:
        problems.append(f"{name} has an input or an output that is no text; {_FORMS}")
        return None
    return CodeTests(runs=tuple(found))


_WRONG = "\0no text"


def _flow(value: object) -> str:
    """Return what goes into a program or comes out of it; `_WRONG` for what is no text."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(map(str, value))
    return _WRONG
