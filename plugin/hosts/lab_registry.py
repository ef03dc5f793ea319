"""The current host's registries of models and data sets, and an experiment's documents, as folders.

A group of versions lies in `<workspace>/models/<group>/vN` or `<workspace>/datasets/<group>/vN`.
The name that the registry's page shows stands in `<workspace>/asset_groups/<kind>/<uuid>/`, with
the list of versions. The SDK's own look-ups miss both names, and leave files in the groups.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

Kind = Literal["models", "datasets"]

_VERSION = re.compile(r"v(\d+)")
_LISTS = {"models": "model_list.json", "datasets": "dataset_list.json"}


def find_registered(workspace: Path, kind: Kind, name: str) -> Path | None:
    """Return the folder of a registry's entry; None where there is none.

    Args:
        workspace: the host's.
        kind: the registry.
        name: "group/version", a group alone for its latest version, or the same with the name that
            the registry's page shows.
    """
    parts = name.split("/")
    # A part such as .. would lead to another folder than the one named.
    if {"", ".", ".."} & set(parts):
        return None
    root = workspace / kind
    return _version_folder(root.joinpath(*parts)) or _find_shown(workspace, kind, name)


def registered_names(workspace: Path, kind: Kind) -> list[str]:
    """Return the names of the registry's groups, as its page shows them where that is known."""
    shown = {str(group.get("name")) for group, _ in _groups(workspace, kind) if group.get("name")}
    root = workspace / kind
    folders = root.iterdir() if root.is_dir() else ()
    plain = {folder.name for folder in folders if _version_folder(folder)}
    return sorted(shown or plain)


def _version_folder(folder: Path) -> Path | None:
    """Return the folder itself when it holds something, or its latest version."""
    if not folder.is_dir():
        return None
    versions = [one for one in folder.iterdir() if one.is_dir() and _VERSION.fullmatch(one.name)]
    if versions and not _VERSION.fullmatch(folder.name):
        return max(versions, key=lambda one: int(one.name[1:]))
    has_files = any(one.name != "index.json" for one in folder.iterdir())
    return folder if has_files or _VERSION.fullmatch(folder.name) else None


def _find_shown(workspace: Path, kind: Kind, name: str) -> Path | None:
    """Return the folder for a name that the registry's page shows, with or without a version."""
    for group, versions in _groups(workspace, kind):
        shown = str(group.get("name") or "")
        if name == shown:
            tagged = [one for one in versions if one.get("tag") == "latest"]
            wanted = [*tagged, *reversed(versions)][:1]
        elif shown and name.startswith(f"{shown}/"):
            label = name.removeprefix(f"{shown}/")
            wanted = [one for one in versions if one.get("version_label") == label]
        else:
            continue
        for one in wanted:
            parts = str(one.get("asset_id") or "").split("/")
            if not {"", ".", ".."} & set(parts):
                return _version_folder((workspace / kind).joinpath(*parts))
    return None


def _groups(
    workspace: Path, kind: Kind
) -> list[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]]:
    """Return the registry's groups with their versions, oldest first; broken files are skipped."""
    root = workspace / "asset_groups" / kind
    found: list[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]] = []
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        group, versions = _read_json(folder / "index.json"), _read_json(folder / _LISTS[kind])
        if isinstance(group, dict) and isinstance(versions, list):
            found.append((group, [one for one in versions if isinstance(one, dict)]))
    return found


def _read_json(file: Path) -> object:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def find_document(documents: Path, name: str) -> Path | None:
    """Return a document of the experiment by its name or folder/name; None where there is none."""
    parts = name.removeprefix("~/").removeprefix("documents/").split("/")
    if {"", ".", ".."} & set(parts):
        return None
    file = documents.joinpath(*parts)
    return file if file.exists() else None


def document_names(documents: Path) -> list[str]:
    """Return the names of an experiment's documents; the host's own hidden files are left out."""
    files = documents.iterdir() if documents.is_dir() else ()
    return sorted(one.name for one in files if not one.name.startswith("."))
