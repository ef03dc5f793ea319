from __future__ import annotations

import csv
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from demo import FOLDER
from plugin import cli
from tests.in_process import Ended, call_program

__all__ = [
    "FILES",
    "ROOT",
    "TABLES",
    "Ended",
    "command",
    "demo_options",
    "demo_run",
    "environment",
    "made_once",
    "main",
    "outputs",
    "run_process",
    "summary",
    "tables",
]

ROOT = Path(__file__).resolve().parents[2]
TABLES = ("01_summary.csv", "02_comparison.csv", "03_cases.csv", "04_failures.csv", "05_groups.csv")
FILES = (
    *TABLES,
    "verdict.svg",
    "comparison.svg",
    "distribution.svg",
    "report.html",
    "summary.json",
    "completions.jsonl",
    "verdict.txt",
    "journal.sqlite",
)


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "main.py"), *arguments]


def environment(**extra: str) -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1", **extra}


def main(*arguments: str, **extra: str) -> Ended:
    """Call the command line in this process."""
    return call_program(lambda: cli.main(arguments), extra)


def run_process(*arguments: str, **extra: str) -> Ended:
    """Run the program as a user does, in a process of its own."""
    done = subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        env=environment(**extra),
        timeout=600,
        check=False,
    )
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)


def demo_options(out: Path, **changed: str) -> list[str]:
    """The demo's run, small: words only, a few cases."""
    options = {
        "model_name": str(FOLDER / "model"),
        "model_adapter": str(FOLDER / "adapter"),
        "dataset_name": str(FOLDER / "cases.jsonl"),
        "predefined_tasks": "Token F1",
        "max_tokens": "32",
        "limit": "0.1",
        "out": str(out),
        **changed,
    }
    return ["run", *(word for name, value in options.items() for word in (f"--{name}", value))]


def summary(out: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    return read


def tables(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in TABLES}


def outputs(out: Path, base: str = "vanilla") -> dict[str, dict[str, str]]:
    """Return variant -> case id -> completion from the table of cases, the base's among them."""
    found: dict[str, dict[str, str]] = {base: {}}
    with (out / "03_cases.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["variant"], {})[row["case_id"]] = row["output"]
            if row["variant"] != base:
                found[base][row["case_id"]] = row["baseline_output"]
    return found


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that is made once for all processes of the tests, in a copy of one's own.

    Args:
        factory: pytest's own.
        name: the folder's.
        make: makes it; where it fails, the next process tries again.
    """
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    whole, ended = shared / f"whole-{name}", shared / f"whole-{name}.ended"
    with (shared / f"whole-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ended.exists():
            shutil.rmtree(whole, ignore_errors=True)
            make(whole)
            ended.touch()
    return Path(shutil.copytree(whole, factory.mktemp(name) / "run"))


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole demo, run once, as `make demo` does."""

    def make(out: Path) -> None:
        ended = run_process("demo", "--out", str(out))
        assert ended.code == 0, ended.err
        (out / "printed.txt").write_text(ended.out, encoding="utf-8")

    return made_once(tmp_path_factory, "demo", make)
