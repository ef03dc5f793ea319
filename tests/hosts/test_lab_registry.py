"""The current host's registries and documents, as they lie on a running host's disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plugin.hosts.lab_registry import (
    document_names,
    find_document,
    find_registered,
    registered_names,
)
from plugin.load.model import short_names


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A group of ten versions that was renamed on the registry's page."""
    for number in (1, 2, 10):
        folder = tmp_path / "models" / "facts" / f"v{number}"
        folder.mkdir(parents=True)
        (folder / "adapters.safetensors").write_bytes(b"")
    group = tmp_path / "asset_groups" / "models" / "6171ad39"
    group.mkdir(parents=True)
    (group / "index.json").write_text(json.dumps({"name": "My facts"}))
    versions = [
        {"version_label": "v1", "asset_id": "facts/v1", "tag": None},
        {"version_label": "v2", "asset_id": "facts/v2", "tag": "latest"},
        {"version_label": "v10", "asset_id": "facts/v10", "tag": None},
        {"version_label": "v11", "asset_id": "../secret", "tag": None},
    ]
    (group / "model_list.json").write_text(json.dumps(versions))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("facts/v1", "facts/v1"),
        ("facts", "facts/v10"),
        ("My facts", "facts/v2"),
        ("My facts/v10", "facts/v10"),
    ],
)
def test_a_version_a_group_and_the_shown_name(workspace: Path, name: str, found: str) -> None:
    assert find_registered(workspace, "models", name) == workspace / "models" / found


@pytest.mark.parametrize(
    "name", ["nothing", "facts/v3", "My facts/v11", "../models/facts", "facts//v1", "", "/facts"]
)
def test_nothing_else_is_found(workspace: Path, name: str) -> None:
    (workspace / "secret").mkdir()
    (workspace / "secret" / "file").write_text("")
    assert find_registered(workspace, "models", name) is None


def test_what_a_look_up_of_the_sdk_left_is_no_entry(tmp_path: Path) -> None:
    (tmp_path / "datasets" / "empty").mkdir(parents=True)
    (tmp_path / "datasets" / "empty" / "index.json").write_text("{}")
    assert find_registered(tmp_path, "datasets", "empty") is None
    assert registered_names(tmp_path, "datasets") == []


def test_the_registry_names_what_its_page_shows(workspace: Path) -> None:
    assert registered_names(workspace, "models") == ["My facts"]
    (workspace / "asset_groups" / "models" / "6171ad39" / "index.json").write_text("broken")
    assert registered_names(workspace, "models") == ["facts"]


def test_documents_are_found_by_name(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("cases.csv", "folder/more.csv", ".keep"):
        (tmp_path / name).write_text("input\n")
    for name in ("cases.csv", "~/cases.csv", "documents/cases.csv"):
        assert find_document(tmp_path, name) == tmp_path / "cases.csv"
    assert find_document(tmp_path, "folder/more.csv") == tmp_path / "folder" / "more.csv"
    assert find_document(tmp_path, "../cases.csv") is None
    assert find_document(tmp_path, "other.csv") is None
    assert document_names(tmp_path) == ["cases.csv", "folder"]


def test_a_registry_adapter_is_called_by_its_group() -> None:
    assert short_names(["/w/models/facts/v1"]) == ["facts"]
    assert short_names(["/w/facts/v1", "/w/facts/v2", "/w/other/v1", "/w/plain"]) == [
        *("facts-v1", "facts-v2", "other", "plain")
    ]
    assert short_names(["v1", "/a/v1x"]) == ["v1", "v1x"]
