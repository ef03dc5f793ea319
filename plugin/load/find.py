"""Find the rows of a data set: a file, a folder of files, a saved data set, or an id on the hub.

If it has several splits and the user chose none, we take `test`, else `validation`, else the only
one there is. Nothing is read from an address.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from plugin.errors import DataError, OptionError, nearest_name, one_line
from plugin.load.readers import Table, read_files, table_from_objects

SUFFIXES = (".csv", ".json", ".jsonl", ".parquet")

_SAVED_HINT = ". A data set that save_to_disk wrote is read from its folder: give that"

_WORDS = {
    "test": ("test", "testing", "eval", "evaluation"),
    "validation": ("validation", "valid", "val", "dev"),
    "train": ("train", "training"),
}
_SPLITS = {word: split for split, words in _WORDS.items() for word in words}
_SHARD = re.compile(r"[-_.]\d+(-of-\d+)?$")

MANIFEST = "manifest.json"
"""What `cases build` writes about a set."""

FOLDS = "folds.json"
"""What `cases build --folds` writes about folds."""

ABOUT = {
    *("index.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json"),
    *(MANIFEST, FOLDS),
}
"""Files that hosts and libraries write next to the data; they are skipped."""

_LIBRARY_FORMATS = "csv, json, jsonl or parquet"

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_ON_THE_HUB = re.compile(
    r"(?://(?:www\.)?(?:huggingface\.co|hf\.co)/|hf://)datasets/([^/]+/[^/@]+)"
)


def find_rows(name: str, split: str | None) -> Table:
    """Read the rows of a data set's split.

    Raises:
        DataError: when the data set is not found or not readable; says what was tried.
        OptionError: when the split does not exist, or the user must choose one.
    """
    if _ADDRESS.match(name):
        raise DataError(_address_text(name))
    path = Path(os.path.expanduser(name))
    if os.path.isdir(path):
        return _from_folder(path, split)
    if os.path.isfile(path):
        if path.suffix.lower() not in SUFFIXES:
            raise DataError(
                f"{path} is not a data file: its name must end in {', '.join(SUFFIXES)}"
                + (_SAVED_HINT if path.suffix == ".arrow" else "")
            )
        return _from_files(str(path), [path], split)
    if os.path.islink(path):
        raise DataError(f"{path} is a link to {os.readlink(path)}, which does not exist")
    if os.path.exists(path):
        raise DataError(f"{path} is neither a file nor a folder")
    if path.suffix.lower() in SUFFIXES or path.is_absolute() or name.startswith((".", "~")):
        raise DataError(f"{path} does not exist{_similar_names(path)}")
    return _from_library(name, split)


def _address_text(name: str) -> str:
    """Return why an address is no data set, without its password and query, which may be secret."""
    address = name.partition("?")[0].partition("#")[0]
    shown = re.sub(r"//[^/]*@", "//", address)
    on_hub = _ON_THE_HUB.search(shown)
    ways = [f"give the data set's id: {on_hub[1]}"] if on_hub else []
    if shown.lower().startswith("file://"):
        ways = [f"give the path alone: {urlsplit(shown).path}"]
    elif Path(shown).suffix.lower() in SUFFIXES or not on_hub:
        ways = ["download the file and give its path", *ways]
    return (
        f"data set {shown!r} is an address, and nothing is read from addresses: "
        f"{', or '.join(ways)}"
    )


def _similar_names(path: Path) -> str:
    """Suggest a file with a similar name, or say that the folder is missing too."""
    folder = path.parent
    if not os.path.isdir(folder):
        return f", and neither does its folder (working directory: {Path.cwd()})"
    nearest = nearest_name(path.name, sorted(os.listdir(folder)))
    return f"; did you mean {nearest!r}?" if nearest else f" (looked in {folder.resolve()})"


def _from_folder(folder: Path, split: str | None) -> Table:
    """Read the data files in the folder; without any, load the folder with `datasets`."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.name not in ABOUT)
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from error
    if _is_saved(folder):
        if split:
            raise OptionError(
                f"--dataset_split {split!r}: {folder} is one data set without splits; leave "
                "--dataset_split out"
            )
        return _from_saved(folder)
    if saved := {path.name: path for path in paths if _is_saved(path)}:
        return _from_saved(saved[_choose_split(str(folder), list(saved), split)])
    files = [path for path in paths if path.suffix.lower() in SUFFIXES and os.path.isfile(path)]
    if files:
        return _from_files(str(folder), files, split)
    if not any(os.path.isdir(path) for path in paths):
        raise DataError(f"{folder} holds no data file ({_LIBRARY_FORMATS})")
    return _from_library(str(folder), split)


def _from_files(name: str, paths: Sequence[Path], split: str | None) -> Table:
    splits: dict[str, list[Path]] = {}
    for path in paths:
        splits.setdefault(_split_of(path), []).append(path)
    chosen = splits[_choose_split(name, list(splits), _SPLITS.get(split or "", split))]
    if len(chosen) > 1 and not all(_SHARD.search(path.stem) for path in chosen):
        raise DataError(
            f"{name} has several files for the same split: "
            f"{', '.join(path.name for path in chosen)}; give the path of one file"
        )
    return read_files(chosen)


def _split_of(path: Path) -> str:
    """Return the split in a file's name ("my_eval.csv" is "test"), or the name itself."""
    stem = _SHARD.sub("", path.stem)
    words = re.split(r"[^a-z]+", stem.lower())
    return next((_SPLITS[word] for word in words if word in _SPLITS), stem)


def _choose_split(name: str, splits: Sequence[str], wanted: str | None) -> str:
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
    raise OptionError(f"{name} has several splits: {listed}; choose one with --dataset_split")


def _is_saved(folder: Path) -> bool:
    """Return whether the `datasets` library saved one data set, or one split, in this folder."""
    return all(os.path.isfile(folder / name) for name in ("state.json", "dataset_info.json"))


def _from_saved(folder: Path) -> Table:
    """Read a folder that `Dataset.save_to_disk` wrote."""
    import datasets
    from datasets.exceptions import DatasetsError

    try:
        found = datasets.load_from_disk(str(folder)).to_list()
    except (OSError, ValueError, RuntimeError, LookupError, TypeError, DatasetsError) as error:
        raise DataError(
            f"{folder} looks like a data set that save_to_disk wrote, but it cannot be read "
            f"({type(error).__name__}: {one_line(error)[:300]}). Save it again, or write it as "
            f"{_LIBRARY_FORMATS}"
        ) from error
    return table_from_objects(found)


def _from_library(name: str, split: str | None) -> Table:
    """Read a data set id, or a folder in a hub's layout, through the `datasets` library.

    The library runs no code that comes with a data set.
    """
    import datasets
    import httpx
    from datasets.exceptions import DatasetsError

    try:
        # Without na_filter=False, the csv reader turns the texts "NA" and "null" into nothing.
        is_csv = datasets.load_dataset_builder(name).name == "csv"
        found = datasets.load_dataset(name, **({"na_filter": False} if is_csv else {}))
    except (OSError, ValueError, RuntimeError, DatasetsError, httpx.HTTPError) as error:
        raise DataError(_not_loaded_text(name, error)) from error
    # In a list, images and sounds stay bytes, so no decoder is needed.
    return table_from_objects(found[_choose_split(name, list(found), split)].to_list())


def _not_loaded_text(name: str, error: Exception) -> str:
    said = [str(part).strip().partition("\n")[0][:300] for part in (error, error.__cause__) if part]
    reason = ": ".join(said)
    if os.path.isdir(name):
        return (
            f"{name} cannot be used: the folder holds no data file ({_LIBRARY_FORMATS}), and the "
            f"datasets library cannot load it as a folder ({reason}). Give the path of a data file"
        )
    return (
        f"data set {name!r} cannot be found. Tried: the file or folder "
        f"{Path(name).absolute()} (does not exist); the data set id {name!r} of the datasets "
        f"library ({reason}). Give the path of a {_LIBRARY_FORMATS} file, or check the id, the "
        "network and, for a private data set, the login (`hf auth login`)"
    )
