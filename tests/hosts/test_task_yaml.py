"""The task file of the current host: its keys, its parameters, and both ways in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugin.hosts.lab import plain_config
from plugin.plan.params import Params
from tests.conftest import ROOT

KNOWN_KEYS = {
    "name",
    "run",
    "setup",
    "resources",
    "envs",
    "parameters",
    "sweeps",
    "minutes_requested",
    "github_repo_url",
    "github_repo_dir",
    "github_repo_branch",
}
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
SCHEMA_KEYS = {"type", "default", "min", "max", "options", "title", "ui_widget"}


@pytest.fixture(scope="module")
def task() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / "task.yaml").read_text(encoding="utf-8"))
    return read


def test_only_keys_that_the_host_accepts(task: dict[str, Any]) -> None:
    assert set(task) <= KNOWN_KEYS
    assert task["name"] and task["run"]


def test_every_parameter_explains_itself_and_opens_no_json_editor(task: dict[str, Any]) -> None:
    for name, schema in task["parameters"].items():
        assert set(schema) <= SCHEMA_KEYS, name
        assert schema["type"] in ("int", "float", "bool", "enum", "string"), name
        assert not isinstance(schema["default"], dict | list), name
        assert len(schema["title"]) > 20, name
        if schema["type"] == "enum":
            assert schema["default"] in schema["options"], name


def test_a_launch_without_config_means_the_defaults(task: dict[str, Any]) -> None:
    assert Params.parse(plain_config(task["parameters"])) == Params()


@pytest.mark.parametrize("place", [".", "home/finetune_verdict", "home/finetune-verdict"])
@pytest.mark.parametrize("step", ["setup", "run"])
def test_both_ways_in_find_the_files(
    place: str, step: str, task: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / place
    (folder / "plugin").mkdir(parents=True)
    (tmp_path / "home").mkdir(exist_ok=True)
    shutil.copy(ROOT / "plugin" / "cli.py", folder / "plugin")
    (folder / "setup.sh").write_text("echo found in $PWD")
    (folder / "main.py").write_text("import os; print('found in', os.getcwd())")
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", task[step]],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path / "home"), "PATH": PATH},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"found in {folder.resolve()}"
