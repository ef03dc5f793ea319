"""Check the files of a model's or an adapter's folder before anything opens them.

Opening a named pipe waits for ever, and a device may have no end. A link may lead nowhere or to
itself, a folder may stand where a file must be, and a file may be far too large to be what its name
says. All of these are refused with the file's name.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterable
from fnmatch import fnmatch
from pathlib import Path

from plugin.errors import ModelError, UserError

NO_CODE = (
    "This program never runs code from a model's folder: use a model of an architecture that the "
    "engine knows, or try another --engine"
)

_MEGABYTE = 1_000_000
_LARGEST = {
    "tokenizer.json": 500 * _MEGABYTE,
    "vocab.json": 500 * _MEGABYTE,
    "*.json": 50 * _MEGABYTE,
    "*.jinja": 1 * _MEGABYTE,
    "*.model": 500 * _MEGABYTE,
    "*.tiktoken": 500 * _MEGABYTE,
    "*.txt": 500 * _MEGABYTE,
}
"""The largest size of a file by its name; the first name that fits counts. Weights have none."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def check_files(
    folder: Path,
    patterns: Iterable[str],
    error_kind: type[UserError],
    ignored: Collection[str] = (),
) -> None:
    """Refuse files that are no plain files, or too large.

    Args:
        folder: where they lie.
        patterns: their names, with wildcards.
        error_kind: the class of the error.
        ignored: names of files that nothing here opens.

    Raises:
        UserError: of the given class, naming the first such file.
    """
    names = [*patterns]
    try:
        entries = sorted(os.listdir(folder))
    except OSError as error:
        raise error_kind(
            f"{folder}: cannot be read ({error.strerror}). Give another folder, or change its "
            "permissions"
        ) from error
    for entry in entries:
        if entry not in ignored and any(fnmatch(entry, name) for name in names):
            if reason := _problem(folder / entry):
                raise error_kind(f"{folder / entry}: {reason}. Get the file again")


def _problem(path: Path) -> str:
    """Return what is wrong with the file; "" if nothing is."""
    try:
        found = path.stat()
    except OSError as error:
        if not path.is_symlink():
            return f"cannot be read ({error.strerror})"
        target = os.readlink(path)
        if error.errno == errno.ELOOP:
            return f"a link to {target!r} that leads back to itself"
        return f"a link to {target!r}, which cannot be reached ({error.strerror})"
    kind = stat.S_IFMT(found.st_mode)
    if kind != stat.S_IFREG:
        return f"{_KINDS.get(kind, 'no file')}, but it must be a plain file"
    if not os.access(path, os.R_OK):
        return "cannot be read (permission denied)"
    largest = next((size for name, size in _LARGEST.items() if fnmatch(path.name, name)), None)
    if largest is not None and found.st_size > largest:
        return (
            f"a file of {found.st_size // _MEGABYTE:,} MB, but such a file has at most "
            f"{largest // _MEGABYTE} MB"
        )
    return ""


def folder_problem(path: Path) -> str:
    """Return why a path is no folder, for a message; "no such directory" if nothing is there."""
    if not path.is_symlink() and not path.exists():
        return "no such directory"
    return f"no directory but {_problem(path) or 'a file'}".removesuffix(
        ", but it must be a plain file"
    )


def refuse_code(path: Path, said: str) -> None:
    """Refuse a model for which a library wants to run code, in other words than the library's.

    Args:
        path: the model's folder.
        said: the library's message; all of them name its option trust_remote_code.

    Raises:
        ModelError: when the message does.
    """
    if "trust_remote_code" in said:
        raise ModelError(
            f"{path}: its configuration names Python code to load the model or its tokenizer with. "
            f"{NO_CODE}"
        )
