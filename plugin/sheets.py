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

_STARTS = ("=", "+", "-", "@", "\N{MINUS SIGN}")
"""How a formula begins, after NFKC (which turns a character of full width into the plain one)."""

_NUMBER = re.compile(r" *[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)? *", re.ASCII)
_UNSEEN = ("Cc", "Cf", "Zs", "Zl", "Zp")
"""Unicode categories of white space, control and format characters."""


def spell_breaks(text: str) -> str:
    r"""Return the text on one line, with \n and the like in place of line breaks."""
    return text.translate(_BREAKS)


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
