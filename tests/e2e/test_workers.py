"""Runs with several workers, as a user starts them: the same tables, and nothing left behind."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import built_plugin
from tests.e2e.conftest import (
    command,
    demo_options,
    environment,
    main,
    run_process,
    summary,
    tables,
)
from tests.e2e.test_resume import n_rows

pytestmark = pytest.mark.slow

METRICS = {"predefined_tasks": "Correctness, Token F1", "judge": "offline"}
LIMIT, N_ANSWERS = "0.5", 60
ON_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "disabled"}


@pytest.fixture(scope="module")
def one_worker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half of the demo's cases, by one worker."""
    out = tmp_path_factory.mktemp("one") / "run"
    ended = main(*demo_options(out, **METRICS, limit=LIMIT))
    assert ended.code == 0, ended.err
    return out


def alive_in_session(leader: int) -> list[str]:
    """Processes of a session that run; those that ended may wait for their parent to take note."""
    listed = subprocess.run(
        ["ps", "-axo", "pid=,stat=,args="], capture_output=True, text=True, check=True
    ).stdout
    found = []
    for line in listed.splitlines():
        pid, state, _ = line.split(maxsplit=2)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(int(pid)) == leader and not state.startswith("Z"):
                found.append(line)
    return found


def await_nothing_left_of(leader: int) -> None:
    deadline = time.monotonic() + 120
    while left := alive_in_session(leader):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    assert glob.glob(f"/tmp/fv-ray-{leader}-*") == []


def test_two_workers_give_the_tables_of_one(one_worker: Path, tmp_path: Path) -> None:
    """From the folder that hosts install, and from somewhere else."""
    built = built_plugin(tmp_path / "dist")
    here = tmp_path / "elsewhere"
    here.mkdir()
    (here / "plugin.py").write_text("raise SystemExit('of the user, not ours')")
    options = demo_options(tmp_path / "two", **METRICS, limit=LIMIT, workers="2")
    done = subprocess.Popen(
        [sys.executable, str(built / "main.py"), *options],
        cwd=here,
        env=environment(PYTHONDONTWRITEBYTECODE="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    out, err = done.communicate(timeout=600)
    assert (done.returncode, err) == (0, "")
    assert "ray" not in out.replace(str(tmp_path), "").lower()  # it says nothing of its own
    assert tables(tmp_path / "two") == tables(one_worker)
    kept = [summary(folder)["provenance"] for folder in (one_worker, tmp_path / "two")]
    assert kept[0]["versions"] == kept[1]["versions"]
    assert kept[0]["run_id"] == kept[1]["run_id"]
    await_nothing_left_of(done.pid)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_leaves_no_process_and_another_number_of_workers_goes_on(
    how: signal.Signals, one_worker: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    running = subprocess.Popen(
        command(*demo_options(out, **METRICS, limit=LIMIT, workers="2", batch_size="2")),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 300
    while n_rows(out, "answers") < 9 and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    if how == signal.SIGINT:
        os.killpg(running.pid, how)  # as a terminal does
    else:
        running.send_signal(how)  # as a host does
    said, _ = running.communicate(timeout=300)
    assert running.returncode == 130, said
    assert "Traceback" not in said and "***" not in said, said
    await_nothing_left_of(running.pid)
    n_kept = n_rows(out, "answers")
    assert 9 <= n_kept < N_ANSWERS
    ended = main(*demo_options(out, **METRICS, limit=LIMIT))
    assert ended.code == 0, ended.err
    assert f"continuing a run: {n_kept} completions" in ended.out
    assert tables(out) == tables(one_worker)


@pytest.fixture
def cluster() -> Iterator[str]:
    """The address of a Ray cluster that is somebody else's."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    folder = tempfile.mkdtemp(prefix="fv-test-", dir="/tmp")
    host, port = address.split(":")
    arguments = ["start", "--head", "--block", f"--node-ip-address={host}", f"--port={port}"]
    arguments += ["--num-cpus=2", "--include-dashboard=false", f"--temp-dir={folder}"]
    arguments += ["--object-store-memory=100000000", "--disable-usage-stats"]
    running = subprocess.Popen(
        [sys.executable, "-m", "ray.scripts.scripts", *arguments],
        env=environment(**ON_LOOPBACK),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert running.stdout is not None
        said = ""
        while "Ray runtime started" not in said:
            line = running.stdout.readline()
            assert line, said
            said += line
        yield address
        assert running.poll() is None, "the run has ended a cluster that is not its own"
    finally:
        running.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.communicate(timeout=20)
        for line in alive_in_session(running.pid):
            os.kill(int(line.split()[0]), signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def test_a_cluster_is_joined_and_left_as_it_was(
    cluster: str, one_worker: Path, tmp_path: Path
) -> None:
    asked = {"ray_address": cluster, "workers": "2", "limit": LIMIT}
    ended = run_process(*demo_options(tmp_path / "o", **METRICS, **asked), **ON_LOOPBACK)
    assert (ended.code, ended.err) == (0, "")
    assert tables(tmp_path / "o") == tables(one_worker)


def test_a_cluster_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    ended = run_process(*demo_options(tmp_path / "o", ray_address="127.0.0.1:9"))
    assert ended.code == 2
    assert "--ray_address 127.0.0.1:9: cannot join this cluster (" in ended.err
    assert "Connection refused" in ended.err
