"""What `make plugin` builds runs by itself, and is no more than a host needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import built_plugin
from tests.e2e.conftest import demo_options, environment


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_plugin(tmp_path_factory.mktemp("dist"))


def test_it_has_what_the_gallery_entry_names(built: Path) -> None:
    entry = json.loads((built / "index.json").read_text(encoding="utf-8"))
    assert entry["uniqueId"] == built.name
    for name in (*entry["files"], entry["setup-script"], "LICENSE"):
        assert (built / name).is_file(), name


def test_the_current_host_gets_no_metadata_file_of_the_classic_one(built: Path) -> None:
    """It would replace the host's own index.json, and the task would be invisible."""
    task = built.parent.parent / "lab" / built.name
    names = {entry.name for entry in task.iterdir()}
    assert names >= {"task.yaml", "main.py", "setup.sh", "README.md", "plugin"}
    assert not [file for file in task.rglob("index.json")]
    assert not (built / "task.yaml").exists()


@pytest.mark.parametrize("host", ["lab", "classic"])
def test_it_is_small_and_clean(built: Path, host: str) -> None:
    built = built.parent.parent / host / built.name
    files = [file for file in built.rglob("*") if file.is_file()]
    # Code and the questions of general ability, but no weights.
    assert sum(file.stat().st_size for file in files) < 4_200_000
    assert not [file for file in files if file.suffix == ".pyc" or file.name.startswith(".")]
    assert {entry.name for entry in built.iterdir()}.isdisjoint(
        {"artifacts", "datasets", "models", "checkpoints", "eval_results", "profiling"}
    )


def test_it_runs_from_anywhere(built: Path, tmp_path: Path) -> None:
    here = tmp_path / "elsewhere"
    here.mkdir()
    done = subprocess.run(
        [sys.executable, str(built / "main.py"), *demo_options(tmp_path / "o")],
        cwd=here,
        env=environment(PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "o" / "verdict.txt").is_file()
    assert os.listdir(here) == []
