"""The name of a data set -> its rows: a file, a folder, or an id for the `datasets` library.

When a data set has several splits and none is chosen, `test` is taken, else `validation`, else
the only one there is.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from plugin.cases.readers import Table, from_objects, read_files
from plugin.errors import DataError, OptionError

SUFFIXES = (".csv", ".json", ".jsonl", ".parquet")

_WORDS = {
    "test": ("test", "testing", "eval", "evaluation"),
    "validation": ("validation", "valid", "val", "dev"),
    "train": ("train", "training"),
}
_SPLITS = {word: split for split, words in _WORDS.items() for word in words}
_SHARD = re.compile(r"[-_.]\d+(-of-\d+)?$")

# What hosts and libraries write beside the data.
_ABOUT = {"index.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json"}

_FORMATS = "csv, json, jsonl or parquet"


def find_rows(name: str, split: str | None) -> Table:
    """The rows of the data set's split.

    Raises:
        DataError: when there is no such data set or it cannot be read, with what was tried.
        OptionError: when the split is not there, or none was chosen and it is not clear which.
    """
    path = Path(os.path.expanduser(name))
    if os.path.isdir(path):
        return _from_folder(path, split)
    if os.path.isfile(path):
        if path.suffix.lower() not in SUFFIXES:
            raise DataError(f"{path} is no data file: its name must end in {', '.join(SUFFIXES)}")
        return _from_files(str(path), [path], split)
    if os.path.islink(path):
        raise DataError(f"{path} is a link to {os.readlink(path)}, which does not exist")
    if os.path.exists(path):
        raise DataError(f"{path} is neither a file nor a folder")
    if path.suffix.lower() in SUFFIXES or path.is_absolute() or name.startswith((".", "~")):
        raise DataError(f"{path} does not exist{_near(path)}")
    return _from_library(name, split)


def _near(path: Path) -> str:
    """A hint at a file of nearly the same name, or at the folder that is missing too."""
    folder = path.parent
    if not os.path.isdir(folder):
        return f", and neither does its folder (looked from {Path.cwd()})"
    close = difflib.get_close_matches(path.name, sorted(os.listdir(folder)), 1)
    return f"; did you mean {close[0]!r}?" if close else f" (looked in {folder.resolve()})"


def _from_folder(folder: Path, split: str | None) -> Table:
    """Files that stand in the folder itself, else what `datasets` makes of the folder."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.name not in _ABOUT)
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from error
    files = [path for path in paths if path.suffix.lower() in SUFFIXES and os.path.isfile(path)]
    if files:
        return _from_files(str(folder), files, split)
    if not any(os.path.isdir(path) for path in paths):
        raise DataError(f"{folder} holds no data file ({_FORMATS})")
    return _from_library(str(folder), split)


def _from_files(name: str, paths: Sequence[Path], split: str | None) -> Table:
    splits: dict[str, list[Path]] = {}
    for path in paths:
        splits.setdefault(_split_of(path), []).append(path)
    chosen = splits[_choose(name, list(splits), _SPLITS.get(split or "", split))]
    if len(chosen) > 1 and not all(_SHARD.search(path.stem) for path in chosen):
        raise DataError(
            f"{name} has several files for the same split: "
            f"{', '.join(path.name for path in chosen)}; give the file that is meant"
        )
    return read_files(chosen)


def _split_of(path: Path) -> str:
    """The split that a file's name tells, else the name itself: "my_eval.csv" is of "test"."""
    stem = _SHARD.sub("", path.stem)
    words = re.split(r"[^a-z]+", stem.lower())
    return next((_SPLITS[word] for word in words if word in _SPLITS), stem)


def _choose(name: str, splits: Sequence[str], wanted: str | None) -> str:
    listed = ", ".join(splits)
    if wanted:
        if wanted in splits:
            return wanted
        raise OptionError(
            f"--dataset_split {wanted!r} is not a split of {name}, which has: {listed}"
        )
    for usual in ("test", "validation"):
        if usual in splits:
            return usual
    if len(splits) == 1:
        return splits[0]
    raise OptionError(
        f"{name} has several splits and none was chosen: {listed}; name one with --dataset_split"
    )


def _from_library(name: str, split: str | None) -> Table:
    """A data set id, or a folder in a hub's layout, through the `datasets` library.

    The library runs no code that comes with a data set.
    """
    import datasets
    import httpx
    from datasets.exceptions import DatasetsError

    try:
        # Else the library's csv reader turns the texts "NA" and "null" into nothing.
        is_csv = datasets.load_dataset_builder(name).name == "csv"
        found = datasets.load_dataset(name, **({"na_filter": False} if is_csv else {}))
    except (OSError, ValueError, RuntimeError, DatasetsError, httpx.HTTPError) as error:
        raise DataError(_not_loaded(name, error)) from error
    # As lists, images and sounds stay bytes, which nobody has to be able to decode.
    return from_objects(found[_choose(name, list(found), split)].to_list())


def _not_loaded(name: str, error: Exception) -> str:
    said = [str(part).strip().partition("\n")[0][:300] for part in (error, error.__cause__) if part]
    reason = ": ".join(said)
    if os.path.isdir(name):
        return (
            f"{name} cannot be used: it holds no data file ({_FORMATS}) itself, and the datasets "
            f"library cannot load it as a folder ({reason}). Give the path of a data file"
        )
    return (
        f"data set {name!r} cannot be found. Tried: the file or folder "
        f"{Path(name).absolute()} (does not exist); the data set id {name!r} of the datasets "
        f"library ({reason}). Give the path of a {_FORMATS} file, or check the id, the network "
        "and, for a private data set, the login (`hf auth login`)"
    )
