"""A copy of a run that cannot be written to can be reported, into another folder."""

from __future__ import annotations

import csv
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.e2e.conftest import FILES, TABLES, Ended, main, tables
from tests.e2e.test_recorded_run import pairs

__all__ = ["pairs"]


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Take the permission to write; root needs a mount for that."""
    if os.geteuid():
        for path in (*folder.iterdir(), folder):
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield
        folder.chmod(0o755)
        return
    bind = ["mount", "--bind", str(folder), str(folder)]
    if subprocess.run(bind, check=False, capture_output=True).returncode:
        pytest.skip("root without the right to mount")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


OPTIONS = ("--predefined_tasks", "Token F1, Correctness", "--judge", "offline")


def record(out: Path, pairs: Path) -> Ended:
    sides = ("--recorded", f"base={pairs}:plain", "--recorded", f"tuned={pairs}:tuned")
    return main("run", *sides, *OPTIONS, "--out", str(out))


@pytest.fixture
def copy(pairs: Path, tmp_path: Path) -> Path:
    """A run with a part of its rows still in SQLite's log beside the journal, as after a kill."""
    out = tmp_path / "run"
    assert record(out, pairs).code == 0
    with closing(sqlite3.connect(out / "journal.sqlite")) as db:
        db.execute("UPDATE scores SET value = 0.25 WHERE case_id = 'q1' AND variant = 'tuned'")
        db.commit()
        shutil.copytree(out, tmp_path / "copy")
    assert (tmp_path / "copy" / "journal.sqlite-wal").stat().st_size > 0
    return tmp_path / "copy"


def test_it_is_reported_into_another_folder(copy: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    other = tmp_path / "report"
    with read_only(copy):
        ended = main("report", str(copy), "--out", str(other))
    assert ended.code == 0, ended.err
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before
    assert sorted(path.name for path in other.iterdir()) == sorted({*FILES} - {"journal.sqlite"})
    assert f"Tables and charts: {other}" in ended.out and "journal:" not in ended.out
    assert main("report", str(copy)).code == 0  # where it can be written to
    assert tables(copy) == tables(other)
    assert "0.25" in (other / "03_cases.csv").read_text()


def test_without_another_folder_the_way_out_is_named(copy: Path) -> None:
    with read_only(copy):
        ended = main("report", str(copy))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        f"error: {copy} cannot be written to; write the report into another folder with --out DIR\n"
    )


def test_human_ratings_stand_in_that_report_alone(copy: Path, tmp_path: Path) -> None:
    assert main("ratings", str(copy), "--n", "5").code == 0
    file = next(copy.glob("*ratings*.csv"))
    with file.open(encoding="utf-8-sig", newline="") as template:
        rows = list(csv.DictReader(template))
    with (tmp_path / "rated.csv").open("w", newline="") as rated:
        writer = csv.DictWriter(rated, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "rating": "1", "rater": "Ann"} for row in rows)
    with read_only(copy):
        words = ("--out", str(tmp_path / "report"), "--human_ratings", str(tmp_path / "rated.csv"))
        ended = main("report", str(copy), *words)
    assert ended.code == 0, ended.err
    assert f"note: {copy} cannot be written to, so the ratings stand in this report alone" in (
        ended.out
    )
    with closing(sqlite3.connect(copy / "journal.sqlite")) as db:
        assert not db.execute("SELECT 1 FROM meta WHERE name = 'state.ratings'").fetchall()


@pytest.mark.parametrize("words", [("ratings",), ("resume",)])
def test_what_must_write_says_so(words: tuple[str, ...], copy: Path) -> None:
    with read_only(copy):
        ended = main(*words, str(copy))
    assert ended.code == 2
    assert ended.err.startswith(f"error: {copy} cannot be written to; copy the run (cp -r {copy} ")
    assert ended.err.count("\n") == 1


def test_a_run_does_not_begin_there(copy: Path, pairs: Path) -> None:
    with read_only(copy):
        ended = record(copy, pairs)
    assert ended.code == 2
    assert f"error: --out {copy} cannot be used: {copy} may not be written; " in ended.err
    assert ended.err.count("\n") == 1


def test_a_report_never_goes_into_the_folder_of_another_run(
    copy: Path, pairs: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    assert record(other, pairs).code == 0
    before = {name: (other / name).read_bytes() for name in TABLES}
    ended = main("report", str(copy), "--out", str(other))
    assert ended.code == 2
    assert f"--out {other} holds a run of its own" in ended.err
    assert {name: (other / name).read_bytes() for name in TABLES} == before


def test_a_report_of_a_run_that_can_be_written_to_goes_where_it_is_told(
    copy: Path, tmp_path: Path
) -> None:
    for name in TABLES:
        (copy / name).unlink()
    ended = main("report", str(copy), "--out", str(tmp_path / "there"))
    assert ended.code == 0, ended.err
    assert (tmp_path / "there" / "report.html").is_file()
    assert not (copy / TABLES[0]).exists()
