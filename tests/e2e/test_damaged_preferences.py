"""A preference that no judge can have given is named as damage, never counted or a crash."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from plugin.errors import DamagedError
from plugin.reopen import open_run
from tests.e2e.conftest import main

N = 8


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose judge compared each case's two completions."""
    folder = tmp_path_factory.mktemp("compared")
    pairs, out = folder / "pairs.jsonl", folder / "run"
    rows = [
        {"input": f"{n} times 3?", "expected_output": f"It is {3 * n}", "a": f"No {n}"}
        for n in range(N)
    ]
    lines = [json.dumps({**row, "b": row["expected_output"]}) for row in rows]
    pairs.write_text("\n".join(lines))
    ended = main(
        *("run", "--recorded", f"base={pairs}:a", "--recorded", f"tuned={pairs}:b"),
        *("--predefined_tasks", "Preference", "--preference_reference", "true"),
        *("--judge", "offline", "--out", str(out)),
    )
    assert ended.code == 0, ended.err
    with closing(sqlite3.connect(out / "journal.sqlite")) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return out


def edited(healthy: Path, folder: Path, statement: str) -> Path:
    copy = folder / "run"
    shutil.copytree(healthy, copy)
    with closing(sqlite3.connect(copy / "journal.sqlite")) as db:
        assert db.execute(statement).rowcount
        db.commit()
    return copy


def test_untouched_preferences_are_whole(healthy: Path) -> None:
    open_run(healthy).close()


@pytest.mark.parametrize(
    "change",
    [
        "value = 7",
        "value = 0.3",
        "value = 1 - value",
        "value = 'x'",
        "value = x'00ff'",
        "value = 9e999",
        "case_id = 'nope'",
        "case_id = NULL",
        "variant = 'ghost'",
        "baseline = 'ghost'",
        "baseline = variant",
        "variant = 'base', baseline = 'tuned'",
        "metric = 'Foo'",
        "first = 99",
        "first = 'A'",
        "first = NULL",
        "first = NULL, second = NULL",
        "first = NULL, second = NULL, value = 0.7",
        "second = 2.5",
        "repeat = -1",
        "repeat = 'z'",
        "counts = 7",
        "counts = 'q'",
        "judge = NULL",
        "reason = x'ff00'",
    ],
)
def test_impossible_preferences_are_damage(healthy: Path, tmp_path: Path, change: str) -> None:
    last = "rowid = (SELECT max(rowid) FROM preferences)"
    run = edited(healthy, tmp_path, f"UPDATE preferences SET {change} WHERE {last}")
    with pytest.raises(DamagedError, match=r"is damaged: preferences: .*journal\.sqlite\.damaged"):
        open_run(run)


def test_what_needs_no_judge_follows_from_the_answers(tmp_path: Path) -> None:
    pairs, out = tmp_path / "pairs.jsonl", tmp_path / "run"
    texts = (("same", " same"), ("", "text"), ("one", "two"))
    rows = [{"input": f"Which {n}?", "a": a, "b": b} for n, (a, b) in enumerate(texts)]
    pairs.write_text("\n".join(map(json.dumps, rows)))
    sides = ("--recorded", f"base={pairs}:a", "--recorded", f"tuned={pairs}:b")
    options = ("--predefined_tasks", "Preference", "--judge", "offline", "--out", str(out))
    assert main("run", *sides, *options).code == 0
    open_run(out).close()
    for n, value in ((1, 1.0), (2, 0.5), (2, 0.0)):
        change = f"UPDATE preferences SET value = {value} WHERE case_id = '{n}'"
        run = edited(out, tmp_path / f"{n}{value}", change)
        with pytest.raises(DamagedError, match="is damaged: preferences: Preference of case"):
            open_run(run)


def test_report_names_an_impossible_preference(healthy: Path, tmp_path: Path) -> None:
    run = edited(healthy, tmp_path, "UPDATE preferences SET value = 7")
    ended = main("report", str(run))
    assert ended.code == 2
    assert "is damaged: preferences: Preference of case" in ended.err
