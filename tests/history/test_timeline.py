"""Runs over time: what belongs into one line, what breaks it, and folders that moved."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plugin.history.timeline import decisions_text, find_records, make_rows
from plugin.report.run_record import (
    RECORDS,
    RunRecord,
    append_records,
    read_records,
    records_of,
    why_not_comparable,
)
from tests.e2e.conftest import main


def record(number: int, **changed: Any) -> RunRecord:
    made = RunRecord(
        time=f"2026-11-{number:02}T10:00:00+00:00",
        run_id=f"run{number}",
        folder=f"runs/{number}",
        model="base",
        variant="adapter",
        baseline="vanilla",
        metric="Correctness",
        higher_is_better=True,
        eval_set="set1",
        n_cases=60,
        score=0.5 + number / 100,
        baseline_score=0.4,
        gain=0.1 + number / 100,
        ci_low=0.02,
        ci_high=0.2,
        n=60,
        outcome="better",
        measure={"judge": "a", "max_tokens": 48},
    )
    return replace(made, **changed)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, ""),
        ({"note": "again", "model": "other", "n_cases": 61}, ""),
        ({"measure": {"judge": "a", "max_tokens": 48, "system_prompt": ""}}, ""),
        ({"eval_set": "set2"}, "evaluation set: set1 -> set2"),
        ({"metric": "Token F1"}, "metric: Correctness -> Token F1"),
        ({"measure": {"judge": "b", "max_tokens": 48}}, "judge: a -> b"),
        ({"measure": {"judge": "a", "max_tokens": 64}}, "max_tokens: 48 -> 64"),
        ({"measure": {"judge": "a"}}, "max_tokens: 48 -> None"),
        (
            {"measure": {"judge": "a", "max_tokens": 48, "cases that decide": "the 20 of 60"}},
            "cases that decide: all -> the 20 of 60",
        ),
        (
            {"measure": {"judge": "a", "max_tokens": 48, "samples": 3, "temperature": 0.8}},
            "samples: 1 -> 3; temperature: 0 -> 0.8",
        ),
    ],
)
def test_scores_are_joined_only_if_they_mean_the_same(changed: dict[str, Any], why: str) -> None:
    assert why_not_comparable(record(1), record(2, **changed)) == why


def test_a_line_goes_on_after_another_one() -> None:
    other = record(2, measure={"judge": "b", "max_tokens": 48})
    rows = make_rows([record(1), other, record(3)])
    assert [row.line for row in rows] == [1, 2, 1]
    assert [row.why_new for row in rows] == ["", "judge: a -> b", ""]


def test_comparisons_on_the_same_cases_are_counted() -> None:
    rows = make_rows([*(record(n) for n in range(1, 10)), record(10, eval_set="set2")])
    assert [row.n_before for row in rows] == [*range(1, 10), 1]
    text = decisions_text(rows[:9])
    assert text.startswith("These cases have decided 9 comparisons.") and "37%" in text
    assert decisions_text(rows) == "" == decisions_text(rows[:2])


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    file = tmp_path / RECORDS
    append_records([record(1, harms=("Bias",), note="ü\n=1")], file)
    append_records([record(2)], file)
    with file.open("a") as out:
        out.write('{"time": "cut off')
    assert read_records(file) == ([record(1, harms=("Bias",), note="ü\n=1"), record(2)], 1)
    assert read_records(tmp_path / "none") == ([], 0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs: two on the same cases, one with other settings."""
    folder = tmp_path_factory.mktemp("history")
    rows = [
        {
            "input": f"What is {n}?",
            "expected_output": f"it is {n}",
            "old": "no",
            "new": f"it is {n}",
            "more": "it is",
        }
        for n in range(12)
    ]
    file = folder / "cases.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, more in {
        "v1": ("--note", "first try"),
        "v2": ("--recorded", f"newer={file}:more"),
        "v3": ("--thinking", "keep"),
    }.items():
        sides = (f"--recorded={side}={file}:{side}" for side in ("old", "new"))
        options = ("--predefined_tasks", "Token F1", "--out", str(folder / name))
        ended = main("run", *sides, *options, *more)
        assert ended.code == 0, ended.err
    return folder


def test_every_run_adds_its_record(runs: Path) -> None:
    kept, n_bad = read_records(runs / RECORDS)
    assert n_bad == 0
    assert [(Path(one.folder).name, one.variant) for one in kept] == [
        ("v1", "new"),
        ("v2", "new"),
        ("v2", "newer"),
        ("v3", "new"),
    ]
    assert kept == sorted(kept, key=lambda one: one.time)
    assert len({one.time for one in kept}) == 3, "runs of one second have an order, too"
    assert kept[0].note == "first try" and kept[0].outcome == "better"


def test_the_history_of_runs(runs: Path, tmp_path: Path) -> None:
    copy = tmp_path / "runs"
    shutil.copytree(runs, copy)
    shutil.copytree(copy / "v1", copy / "v1 again")
    shutil.rmtree(copy / "v2")
    (copy / "broken").mkdir()
    (copy / "broken" / "summary.json").write_text('{"verdict": 1}')
    (copy / "broken" / "journal.sqlite").touch()
    (copy / "running").mkdir()
    (copy / "running" / "journal.sqlite").touch()
    ended = main("history", str(copy), "--out", str(tmp_path / "out"))
    assert ended.code == 0, ended.err
    assert "first try" in ended.out and "new line: thinking: strip -> keep" in ended.out
    assert "1 records are of copied runs" in ended.out
    assert "2 records are of runs whose folders are gone" in ended.out
    assert "broken/summary.json is left out" in ended.out
    assert "they have no results yet" in ended.out and "running" in ended.out
    assert "decided 4 comparisons" in ended.out
    with (tmp_path / "out" / "history.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["variant"], row["line"]) for row in rows] == [
        *(("new", "1"), ("new", "1"), ("newer", "1"), ("new", "2"))
    ]
    page = (tmp_path / "out" / "history.html").read_text(encoding="utf-8")
    assert "thinking: strip -&gt; keep" in page and "<script" not in page
    assert (tmp_path / "out" / "history.svg").is_file()


def test_a_record_tells_how_its_variant_was_trained(runs: Path) -> None:
    found = json.loads((runs / "v2" / "summary.json").read_bytes())
    found["trainings"] = [{"variants": ["newer"], "settings": {"rank": 8, "digest": "ab12"}}]
    trained = {one.variant: one.training for one in records_of(found, runs / "v2", "now")}
    assert trained == {"new": "", "newer": "ab12"}


def test_a_folder_of_one_run_and_none(runs: Path, tmp_path: Path) -> None:
    records, notes = find_records([runs / "v1"])
    assert {one.variant for one in records} == {"new", "newer"} and len(notes) == 1
    for place, message in (
        (tmp_path, "no finished run lies in"),
        (tmp_path / "x", "no such folder"),
    ):
        ended = main("history", str(place))
        assert ended.code == 2 and message in ended.err


def test_a_summary_without_variants_is_named(runs: Path, tmp_path: Path) -> None:
    """Such as one that another program wrote: neither command ends with a fault."""
    shutil.copytree(runs / "v1", tmp_path / "v1")
    file = tmp_path / "v1" / "summary.json"
    whole = json.loads((runs / "v1" / "summary.json").read_bytes())
    for changed in ({"variants": []}, {"verdict": []}):
        file.write_text(json.dumps(whole | changed))
        for command, place in (("history", tmp_path), ("export", tmp_path / "v1")):
            ended = main(command, str(place))
            assert ended.code == 2 and "is no summary of this version" in ended.err


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    text = "<script>alert(1)</script>=1+1\x1b[31m"
    append_records([record(1, note=text, variant=text, folder=text)], tmp_path / RECORDS)
    ended = main("history", str(tmp_path), "--out", str(tmp_path / "out"))
    assert ended.code == 0 and "\x1b" not in ended.out
    page = (tmp_path / "out" / "history.html").read_text(encoding="utf-8")
    assert "<script>" not in page
