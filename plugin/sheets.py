"""Write texts into CSV cells so that a host can cut the lines and a spreadsheet runs no formula.

A spreadsheet runs a cell that begins with =, +, - or @, also in full width and behind white space
or characters that nobody sees. Such a text gets an apostrophe in front. So does one that has the
apostrophe already: then it can be told which apostrophes are ours.

Line breaks that are spelled out cannot be told from a text that spells them itself. The file of
completions (`report.completions_jsonl`) has every completion as it is.
"""

from __future__ import annotations

import re
import unicodedata

# A host cuts the file into lines before it parses it, so whatever str.splitlines cuts at has to be
# spelled out.
_BREAKS = str.maketrans(
    {
        char: char.encode("unicode_escape").decode("ascii")
        for char in "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
    }
)

_STEERING = {
    code: chr(code).encode("unicode_escape").decode("ascii")
    for code in (
        *(code for code in range(0x20) if chr(code) not in "\t\n"),
        *(*range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)),
    )
}
"""Characters that steer a terminal, ring it, or turn the direction of the text after them."""

_STARTS = ("=", "+", "-", "@", "\N{MINUS SIGN}")
"""How a formula begins, after NFKC (which turns a character of full width into the plain one)."""

_NUMBER = re.compile(r" *[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)? *", re.ASCII)
_UNSEEN = ("Cc", "Cf", "Zs", "Zl", "Zp")
"""Unicode categories of white space, control and format characters."""


def spell_breaks(text: str) -> str:
    r"""Return the text on one line, with \n, \x1b and the like for line breaks and controls."""
    return text.translate(_STEERING | _BREAKS)


def spell_controls(text: str) -> str:
    r"""Return the text with \x1b and the like for what steers a terminal; lines stay."""
    return text.translate(_STEERING)


def guard_cell(text: str) -> str:
    """Return the text, with an apostrophe in front where a spreadsheet might run it."""
    return f"'{text}" if _is_formula(text.lstrip("'")) else text


def unguard_cell(text: str) -> str:
    """Return the text that `guard_cell` was given."""
    return text[1:] if text.startswith("'") and _is_formula(text.lstrip("'")) else text


def _is_formula(text: str) -> bool:
    """Return whether a spreadsheet might run the text; plain numbers are no formulas."""
    if text.startswith(("\t", "\r")):
        return True
    first = next((char for char in text if unicodedata.category(char) not in _UNSEEN), "")
    return unicodedata.normalize("NFKC", first).startswith(_STARTS) and not _NUMBER.fullmatch(text)
