"""The task file of the current host: its keys, its parameters, and both ways in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugin.hosts.lab import plain_config
from plugin.plan.lab_form import form_fields, merge_more_options
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
ORDER = (
    *("model_name", "model_adapter", "dataset_name", "judge", "predefined_tasks", "variants"),
    *("limit", "tasks", "retention_group", "baseline_prompt", "engine", "budget", "more_options"),
)
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
SCHEMA_KEYS = {"type", "default", "min", "max", "options", "title", "ui_widget"}


@pytest.fixture(scope="module")
def task() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / "task.yaml").read_text(encoding="utf-8"))
    return read


def test_only_keys_that_the_host_accepts(task: dict[str, Any]) -> None:
    assert set(task) <= KNOWN_KEYS
    assert task["name"] and task["run"]


def test_the_form_fits_the_host(task: dict[str, Any]) -> None:
    """A long title hides what is typed; a list or mapping opens a JSON editor."""
    assert list(task["parameters"]) == list(form_fields())
    assert len(task["parameters"]) <= 14
    titles = [schema["title"] for schema in task["parameters"].values()]
    assert len(set(titles)) == len(titles)
    order = [name for name in ORDER if name in task["parameters"]]
    assert list(task["parameters"]) == order and len(order) >= 12
    for name, schema in task["parameters"].items():
        assert set(schema) <= SCHEMA_KEYS, name
        assert schema["type"] in ("int", "float", "bool", "enum", "string"), name
        assert not isinstance(schema["default"], dict | list), name
        assert len(schema["title"]) <= 25 and "." not in schema["title"], name
        if schema["type"] == "enum":
            assert schema["default"] in schema["options"], name


def test_a_launch_without_config_means_the_defaults(task: dict[str, Any]) -> None:
    given = merge_more_options(plain_config(task["parameters"]))
    assert Params.parse(given) == Params()


@pytest.mark.parametrize("place", [".", "home/finetune_verdict", "home/finetune-verdict"])
def test_both_ways_in_find_the_files(place: str, task: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / place
    (folder / "plugin").mkdir(parents=True)
    (tmp_path / "home").mkdir(exist_ok=True)
    (folder / "setup.sh").write_text("echo set up")
    (folder / "main.py").write_text("import pathlib; print(pathlib.Path(__file__).resolve())")
    for step in ("setup", "run"):
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", task[step]],
            cwd=tmp_path,
            env={**os.environ, "HOME": str(tmp_path / "home"), "PATH": PATH},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(folder.resolve() / "main.py")


def test_a_stop_reaches_the_program_and_its_exit_code_the_host(
    task: dict[str, Any], tmp_path: Path
) -> None:
    """The host signals the whole group: a shell in between would die of it."""
    (tmp_path / "main.py").write_text(
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(0))\n"
        "print('ready', flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen(
        ["/bin/sh", "-c", task["run"]],
        cwd=tmp_path,
        env={**os.environ, "PATH": PATH},
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as running:
        assert running.stdout and running.stdout.readline() == b"ready\n"
        os.killpg(running.pid, signal.SIGTERM)
        assert running.wait(30) == 0


def test_the_command_is_short(task: dict[str, Any]) -> None:
    assert len(task["run"]) <= 30


def test_the_gallery_entry_is_as_the_host_reads_it() -> None:
    page = (ROOT / "docs" / "transformer_lab.md").read_text(encoding="utf-8")
    entry = json.loads(page.partition("```json\n")[2].partition("```")[0])
    assert entry["metadata"]["category"] == "eval"
    assert {"NVIDIA", "AppleSilicon", "cpu"} <= set(entry["supportedAccelerators"])
    for title in form_fields().values():
        assert f"| {title} |" in page, title


@pytest.mark.parametrize("uv", [None, "on PATH", ".local/bin"])
def test_setup_finds_uv_or_says_what_to_do(uv: str | None, tmp_path: Path) -> None:
    """The hosts' environments have no pip."""
    tools, home = tmp_path / "bin", tmp_path / "home"
    home.mkdir()
    tools.mkdir()
    python = tools / "python"
    python.write_text('#!/bin/sh\ncase "$*" in *pip*) exit 1;; esac\necho 0.1.46\n')
    places = {"on PATH": tools, ".local/bin": home / ".local" / "bin"}
    programs = [python]
    if uv:
        places[uv].mkdir(parents=True, exist_ok=True)
        programs.append(places[uv] / "uv")
        programs[-1].write_text('#!/bin/sh\necho "uv $*"\n')
    for program in programs:
        program.chmod(0o755)
    done = subprocess.run(
        ["/bin/bash", str(ROOT / "setup.sh")],
        env={"HOME": str(home), "PATH": f"{tools}:/usr/bin:/bin", "VIRTUAL_ENV": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    if uv:
        assert done.returncode == 0 and "uv pip install" in done.stdout, done.stderr
    else:
        assert done.returncode == 1
        assert "uv is not on PATH" in done.stderr and "Install uv" in done.stderr


def test_a_stop_while_the_program_loads_is_no_failure(tmp_path: Path) -> None:
    """Seen on the host: the traceback of an import, and a job called failed."""
    (tmp_path / "lab.py").write_text("import time\nprint('loading', flush=True)\ntime.sleep(60)\n")
    with subprocess.Popen(
        [sys.executable, str(ROOT / "main.py")],
        env={**os.environ, "_TFL_JOB_ID": "1", "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout and running.stdout.readline() == "loading\n"
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0
        assert "stopped before the run began" in running.stdout.read()
