"""The house rules that imports can show: one way through, no gossip between siblings."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

ONE_WAY = (
    *(
        "errors",
        "certificate_records",
        "trust_records",
        "records",
        "criteria",
        "options",
        "params",
        "worker",
        "weights",
    ),
    *("wire", "keys", "pace"),
    *("adapters", "cache", "journal", "cases", "engines"),
    *("intervals", "biases", "stats", "joint", "sequential", "agreement", "ppi", "pairing"),
    *("judges", "metrics", "spending", "canaries", "answers", "asking"),
    *("measuring", "likelihood", "generation", "exam"),
    *("early", "comparing", "bench", "cascade", "scoring", "forecast", "ratings", "ratings_file"),
    *("humans", "trust", "contest", "verdict_text", "contest_text", "trust_text", "caveats"),
    *(
        "verdict",
        "effort",
        "report",
        "hosts",
        "proofs",
        "cautions",
        "conclude",
        "address",
        "sources",
        "lineup",
        "plan",
        "run",
    ),
    *("proving", "jobs", "cli", "forms"),
)
"""Every room of the house; each may import only what stands before it."""

KINDS = ("engines", "judges", "metrics", "hosts")

HEAVY = {
    "mlx": ("engines/mlx.py", "engines/_mlx_rack.py", "judges/mlx.py"),
    "mlx_lm": ("engines/mlx.py", "engines/_mlx_rack.py", "judges/mlx.py"),
    "deepeval": ("metrics/_deepeval.py",),
    "json_repair": ("answers.py",),
    "openai": ("judges/_openai.py", "judges/azure.py"),
    "anthropic": ("judges/anthropic.py",),
    "rich": ("hosts/folder.py",),
    "lab": ("hosts/lab.py", "jobs.py"),
    "datasets": ("cases/sources.py",),
    "torch": (*("engines/_peft_rack.py", "engines/_torch_rows.py", "judges/transformers.py"),),
    "transformers": ("engines/_torch_rows.py",),
    "peft": ("engines/_peft_rack.py",),
    "safetensors": ("engines/_peft_rack.py",),
    "ray": tuple(f"engines/_ray_{part}.py" for part in ("answers", "cluster", "crew", "share")),
    "llguidance": ("judges/_grammar.py",),
    "pickle": (),
}

PLUGIN = ROOT / "plugin"
FILES = sorted(file for file in PLUGIN.rglob("*.py") if "demo" not in file.parts)


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(file: Path) -> str:
    return file.relative_to(PLUGIN).with_suffix("").parts[0]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PLUGIN)))
def test_imports_point_back(file: Path) -> None:
    room = room_of(file)
    if room == "__init__":
        return
    for name in imports(file):
        parts = name.split(".")
        if parts[0] == "plugin" and len(parts) > 1 and parts[1] in ONE_WAY and parts[1] != room:
            assert ONE_WAY.index(parts[1]) < ONE_WAY.index(room), f"{room} imports {name}"


@pytest.mark.parametrize("folder", KINDS)
def test_kinds_do_not_import_each_other(folder: str) -> None:
    kinds = {file.stem for file in (PLUGIN / folder).glob("[!_]*.py")}
    for file in (PLUGIN / folder).glob("*.py"):
        others = {f"plugin.{folder}.{kind}" for kind in kinds - {file.stem}}
        for name in imports(file):
            assert not any(name == other or name.startswith(f"{other}.") for other in others)


@pytest.mark.parametrize("library", HEAVY)
def test_a_heavy_library_is_imported_in_its_own_file_alone(library: str) -> None:
    users = {
        str(file.relative_to(PLUGIN))
        for file in FILES
        for name in imports(file)
        if name.split(".")[0] == library
    }
    assert users == set(HEAVY[library])


def test_every_room_is_on_the_way() -> None:
    rooms = {room_of(file) for file in FILES} - {"__init__"}
    assert rooms == set(ONE_WAY)
