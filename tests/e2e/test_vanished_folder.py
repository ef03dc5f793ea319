"""What happens to the run folder or the cache while a run goes on is noticed."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import FILES, Ended, main, tables
from tests.e2e.test_damaged_journal import OPTIONS, pairs
from tests.e2e.test_resume import n_rows
from tests.judge_server import JudgeServer, Reply

__all__ = ["pairs"]

N_CALLS_BEFORE = 5


def run(out: Path, pairs: Path, server: JudgeServer, *words: str, **options: str) -> Ended:
    given = {**OPTIONS, "trust_report": "false", "concurrency": "1", **options, "out": str(out)}
    named = [word for name, value in given.items() for word in (f"--{name}", value)]
    sides = ("--recorded", f"base={pairs}:plain", "--recorded", f"tuned={pairs}:tuned")
    return main("run", *sides, *named, *words, CUSTOM_JUDGE_BASE_URL=server.url)


def while_judging(server: JudgeServer, act: Callable[[], object]) -> None:
    """Do something to the run's files when some judgments are in them."""

    def answer(number: int, body: dict[str, Any]) -> Reply | None:
        if number == N_CALLS_BEFORE:
            act()
        return None

    server.fault = answer


def move(out: Path, to: Path) -> Callable[[], object]:
    return lambda: out.rename(to)


def test_a_folder_that_is_deleted_ends_the_run(
    server: JudgeServer, pairs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    while_judging(server, lambda: shutil.rmtree(out))
    ended = run(out, pairs, server)
    assert ended.code == 1
    assert f"fault: {out / 'journal.sqlite'} is gone: it was deleted while the run went on" in (
        ended.err
    )
    assert "Go on with" not in ended.err and "Report:" not in ended.out
    assert "kept" not in ended.out + ended.err
    assert len(server.requests) <= N_CALLS_BEFORE + 2  # no judge is paid for what is lost
    assert not out.exists()


def test_a_folder_that_is_moved_ends_the_run_and_goes_on_there(
    server: JudgeServer, pairs: Path, tmp_path: Path
) -> None:
    out, there = tmp_path / "run", tmp_path / "moved here"
    while_judging(server, move(out, there))
    ended = run(out, pairs, server)
    assert ended.code == 1
    assert f"{out / 'journal.sqlite'} is gone: it was moved to {there} while" in ended.err
    assert f"Go on with: python main.py resume '{there}'" in ended.err
    n_kept = n_rows(there, "judgments")
    assert n_kept >= N_CALLS_BEFORE - 1 and not out.exists()
    server.fault = lambda number, body: None
    before = len(server.requests)
    again = main("resume", str(there), CUSTOM_JUDGE_BASE_URL=server.url)
    assert again.code == 0, again.err
    assert len(server.requests) - before == n_rows(there, "judgments") - n_kept


def test_a_folder_that_is_replaced_ends_the_run_and_the_other_one_stays_as_it_is(
    server: JudgeServer, pairs: Path, tmp_path: Path
) -> None:
    out, other = tmp_path / "run", tmp_path / "other"
    assert run(other, pairs, server).code == 0
    shutil.copytree(other, tmp_path / "as it was")

    def replace() -> None:
        shutil.rmtree(out)
        other.rename(out)

    server.requests.clear()
    while_judging(server, replace)
    ended = run(out, pairs, server, seed="7")
    assert ended.code == 1
    assert "is gone: another file lies in its place" in ended.err
    assert "Go on with" not in ended.err
    for name in FILES:
        assert (out / name).read_bytes() == (tmp_path / "as it was" / name).read_bytes()


def test_a_folder_that_goes_while_the_report_is_written(
    server: JudgeServer, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    from plugin import report as steps

    def write(report: Any, folder: Path, progress: Any) -> list[Path]:
        files = write_report(report, folder, progress)
        shutil.rmtree(folder)
        return files

    write_report = steps.write_report
    monkeypatch.setattr(steps, "write_report", write)
    ended = run(out, pairs, server)
    assert ended.code == 1
    assert "is gone: it was deleted while the run went on" in ended.err
    assert "Report:" not in ended.out


def test_a_cache_that_is_deleted_is_made_anew(
    server: JudgeServer, pairs: Path, tmp_path: Path
) -> None:
    out, cache = tmp_path / "run", tmp_path / "cache"
    while_judging(server, lambda: shutil.rmtree(cache))
    ended = run(out, pairs, server, cache_dir=str(cache))
    assert ended.code == 0, ended.err
    with closing(sqlite3.connect(cache / "cache.sqlite")) as db:
        (n_cached,) = db.execute("SELECT count(*) FROM judgments").fetchone()
    assert n_rows(out, "judgments") > n_cached > 5


def test_a_folder_that_becomes_read_only(server: JudgeServer, pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    if subprocess.run(["chattr", "+i", str(tmp_path)], check=False).returncode:
        pytest.skip("no right to make a folder immutable")
    subprocess.run(["chattr", "-i", str(tmp_path)], check=True)
    while_judging(server, lambda: subprocess.run(["chattr", "+i", str(out)], check=True))
    try:
        ended = run(out, pairs, server)
    finally:
        subprocess.run(["chattr", "-i", str(out)], check=True)
    assert ended.code == 1
    assert "fault: the results cannot be written: " in ended.err
    assert f"Go on with: python main.py resume {out}" in ended.err
    n_calls = len(server.requests)
    again = main("resume", str(out), CUSTOM_JUDGE_BASE_URL=server.url)
    assert again.code == 0, again.err
    assert len(server.requests) == n_calls


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no right to mount a small disk")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_that_fills_up_ends_the_run_and_goes_on_when_there_is_room(
    server: JudgeServer, pairs: Path, small_disk: Path, tmp_path: Path
) -> None:
    ballast = small_disk / "ballast"

    def fill() -> None:
        with ballast.open("wb") as file:
            while True:
                try:
                    file.write(b"x" * 4096)
                    file.flush()
                except OSError:
                    return

    while_judging(server, fill)
    out = small_disk / "run"
    ended = run(out, pairs, server)
    assert ended.code == 1
    assert "Traceback" not in ended.err and "unexpected" not in ended.err
    assert "the disk must have room" in ended.err
    n_kept = n_rows(out, "judgments")
    assert f"Go on with: python main.py resume {out}" in ended.err
    ballast.unlink()
    server.fault = lambda number, body: None
    before = len(server.requests)
    again = main("resume", str(out), CUSTOM_JUDGE_BASE_URL=server.url)
    assert again.code == 0, again.err
    assert len(server.requests) - before <= n_rows(out, "judgments") - n_kept
    whole = tmp_path / "whole"
    assert run(whole, pairs, server).code == 0
    assert tables(whole) == tables(out)
