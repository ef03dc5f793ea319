"""Keep the standard streams usable: for any text and any path, and also after the reader has gone.

A pipe may be closed (`| head -1`), a terminal may be gone (a lost ssh connection), a file may be
full, a stream may not be open at all, and few characters may be printable in the terminal's
encoding. None of that is a fault of the run.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

_FROM_BYTES = range(0xDC80, 0xDD00)
"""What Python reads bytes as that are not text in the file system's encoding (surrogateescape)."""

_ERRORS = "verdict-keep"


@contextlib.contextmanager
def usable_streams() -> Iterator[None]:
    """Make both streams take any text in the block, and end them without a complaint."""
    _open_missing()
    codecs.register_error(_ERRORS, _spell)
    for stream in (sys.stdout, sys.stderr):
        # One who chose another way, such as PYTHONIOENCODING=ascii:replace, keeps it.
        if getattr(stream, "errors", "") in ("strict", "surrogateescape"):
            stream.reconfigure(errors=_ERRORS)  # type: ignore[union-attr]
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if _is_gone(stream):
                _silence(stream)


def _open_missing() -> None:
    """Open standard streams that are closed: the next file would get their number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")


def _spell(error: UnicodeError) -> tuple[str | bytes, int]:
    r"""Return the bytes that a path was read from as they are, anything else as \xe9 or \u20ac."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    char = error.object[error.start]
    if ord(char) in _FROM_BYTES:
        return bytes([ord(char) - 0xDC00]), error.start + 1
    return char.encode("ascii", "backslashreplace").decode("ascii"), error.start + 1


def _is_gone(stream: TextIO) -> bool:
    """Return whether what was printed cannot be written any more."""
    try:
        stream.flush()
    except (OSError, ValueError):  # closed by whoever reads it, or by whoever called this program
        return True
    return False


def _silence(stream: TextIO) -> None:
    """Lead what is still to be written into nothing, so that the end of Python can write it."""
    with contextlib.suppress(OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)


def say(text: str) -> None:
    """Print a line on stderr; if nobody can read it, do nothing."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def is_plain(text: str) -> bool:
    """Return whether the text has no half of a surrogate pair, which also stands for odd bytes."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def why_not_plain() -> str:
    """Return the rule and the way out for a name or text that `is_plain` refuses."""
    if sys.getfilesystemencoding() != "utf-8":
        return (
            "has characters that are not in this system's encoding: start Python with PYTHONUTF8=1"
        )
    return "has bytes that are not UTF-8: rename it, or give a link with another name"


def plain_path(path: str | Path) -> str:
    r"""Return a path as text that any file and terminal can hold: its odd bytes as \xe9."""
    name = os.fsencode(path)
    return name.decode("utf-8", "backslashreplace")


def shell_word(path: str | Path) -> str:
    """Return the path as one word of a command that can be copied from this terminal."""
    text = str(path)
    with contextlib.suppress(UnicodeEncodeError):
        text.encode(getattr(sys.stderr, "encoding", None) or "ascii")
        if text.isprintable():
            return shlex.quote(text)
    kept = (
        chr(byte) if 32 <= byte < 127 and chr(byte) not in "\\'" else f"\\{byte:03o}"
        for byte in os.fsencode(text)
    )
    return f"$'{''.join(kept)}'"
