"""The real server that comes with mlx-lm: its base by the path it lists, its adapter by default."""

from __future__ import annotations

import csv
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from demo import FOLDER
from tests.e2e.conftest import demo_options, main, summary

STARTED_WITHIN_S = 300
WHAT_IT_WAS_STARTED_WITH = "default_model"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    (tmp_path / "hub").mkdir()
    options = {"host": "127.0.0.1", "port": str(port), "model": str(FOLDER / "model")}
    options["adapter-path"] = str(FOLDER / "adapter")
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    running = subprocess.Popen(
        [sys.executable, "-m", "mlx_lm", "server", *words],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path / "hub")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + STARTED_WITHIN_S
        while not is_up(port):
            assert running.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        running.terminate()
        running.wait(timeout=120)


def is_up(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).is_success
    except httpx.HTTPError:
        return False


def told(out: Path) -> list[tuple[str, ...]]:
    """Case, outputs and scores; that server leaves out a space that an answer begins with."""
    shown = ("case_id", "output", "baseline_output", "score", "baseline_score")
    with (out / "03_cases.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [tuple(row[name].strip() for name in shown) for row in rows]


def test_it_answers_as_the_engine_here(url: str, tmp_path: Path) -> None:
    there = main(
        *demo_options(
            tmp_path / "there",
            server_url=url,
            model_name=str(FOLDER / "model"),
            model_adapter=WHAT_IT_WAS_STARTED_WITH,
        )
    )
    assert there.code == 0, there.err
    here = main(*demo_options(tmp_path / "here", engine="mlx"))
    assert here.code == 0, here.err
    assert len(told(tmp_path / "here")) == 6
    assert told(tmp_path / "there") == told(tmp_path / "here")
    (proof,) = summary(tmp_path / "there")["certificates"]
    assert (proof["variant"], proof["result"]) == (WHAT_IT_WAS_STARTED_WITH, "certified")
