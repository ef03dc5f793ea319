"""Check the places that a run reads and writes besides models and data, before it reads any.

Nothing is made here: a mistake elsewhere must not leave folders behind.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from plugin.errors import OptionError
from plugin.plan.params import Params
from plugin.terminal import is_plain, plain_path, why_not_plain
from plugin.trust.rating_files import read_rating_files

_CACHE_VARIABLE = "FINETUNE_VERDICT_CACHE"
_NO_CACHE = "off"
_SQLITE = b"SQLite format 3\0"


def cache_folder(params: Params) -> str:
    """Return the absolute path of the shared cache's directory; "" for no cache."""
    given = params.cache_dir or os.environ.get(_CACHE_VARIABLE, "")
    if given.lower() == _NO_CACHE:
        return ""
    return os.path.abspath(os.path.expanduser(given)) if given else ""


def check_places(params: Params) -> None:
    """Check the shared cache, the run's directory and the files of human ratings.

    Raises:
        OptionError: naming every place that cannot be used.
    """
    if problems := list(_problems(params)):
        raise OptionError("\n".join(problems))


def check_found(option: str, paths: Iterable[str]) -> None:
    """Check that the journal can keep the paths that an option led to.

    Raises:
        OptionError: naming a path in a directory whose name is not text.
    """
    for path in paths:
        if not is_plain(path):
            raise OptionError(f"--{option} leads to {plain_path(path)!r}, which {why_not_plain()}")


def _problems(params: Params) -> Iterator[str]:
    if folder := cache_folder(params):
        name = "--cache_dir" if params.cache_dir else _CACHE_VARIABLE
        file = Path(folder) / "cache.sqlite"
        if not is_plain(folder):
            yield f"{name} {plain_path(folder)!r} {why_not_plain()}"
        elif problem := _why_no_folder(Path(folder)):
            yield f"{name} {folder} {problem}; choose another"
        elif os.path.exists(file) and not _is_database(file):
            yield (
                f"{name} {folder}: {file} is not a cache of this program; move it away, or choose "
                "another"
            )
    if params.out and (problem := _why_no_folder(Path(os.path.expanduser(params.out)))):
        yield f"--out {params.out} {problem}; choose another"
    if params.human_ratings:
        try:
            read_rating_files(params.human_ratings)
        except OptionError as error:
            yield str(error)


def _why_no_folder(path: Path) -> str:
    """Return why there is no such directory to write in, and none can be made; "" if it can."""
    try:
        os.stat(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return "cannot be made: its name is too long"
    if os.path.islink(path) and not os.path.exists(path):
        return f"is a link to {os.readlink(path)}, which does not exist"
    if os.path.exists(path) and not os.path.isdir(path):
        return "is not a directory"
    there = next(each for each in (path, *path.absolute().parents) if os.path.lexists(each))
    if not os.path.isdir(there):
        return f"cannot be made: {there} is not a directory"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"cannot be used: {there} may not be written"
    return ""


def _is_database(file: Path) -> bool:
    """Return whether the file is an SQLite file, or an empty one that becomes one."""
    if not os.path.isfile(file):
        return False
    try:
        with file.open("rb") as opened:
            return opened.read(len(_SQLITE)) in (_SQLITE, b"")
    except OSError:
        return False
