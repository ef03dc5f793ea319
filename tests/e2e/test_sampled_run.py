"""Runs with several samples of each case: recorded ones under a judge server, and drawn ones."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from plugin.report.tables import SAMPLES_COLUMNS
from tests.e2e.conftest import Ended, demo_options, main, summary
from tests.judge_server import JudgeServer, Reply, answer

N = 12


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Cases without context; the tuned answers vary, two of them contradict each other."""
    rows = [
        {
            "id": f"q{n}",
            "input": f"Which year was number {n}?",
            "expected_output": f"In {1900 + n}",
            "base": [f"In {1900 + n + step}" for step in (1, 2, 3)],
            "tuned": [f"In {1900 + n}", f"In {1900 + n}", f"In {1950 + n * (n % 2)}"],
        }
        for n in range(N)
    ]
    path = tmp_path / "cases.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run(data: Path, out: Path, **options: str) -> Ended:
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    sides = [f"--recorded={name}={data}:{name}" for name in ("base", "tuned")]
    return main("run", *sides, "--dataset_name", str(data), *words, "--out", str(out))


def contradicting(scores: Callable[[], int]) -> Callable[[int, dict[str, Any]], Reply | None]:
    """A judge that finds different years contradictory, and whose scores waver."""

    def reply(number: int, body: dict[str, Any]) -> Reply | None:
        prompt = body["messages"][0]["content"]
        if "<answer_1>" in prompt:
            said = {"contradictions": ["one year | another"], "contradict": True}
            return Reply(text=json.dumps(said))
        found = json.loads(answer(body))
        if "score" in found:
            found["score"] -= scores() % 2
            return Reply(text=json.dumps(found))
        return None

    return reply


def test_recorded_samples_are_judged_split_and_shown(
    recorded: Path, tmp_path: Path, server: JudgeServer
) -> None:
    numbers = count()
    server.fault = contradicting(lambda: next(numbers))
    out = tmp_path / "o"
    options = {
        "predefined_tasks": "Correctness, Unsupported Claims",
        "judge": "custom:tiny-model",
        "trust_report": "false",
        "samples": "3",
        "judge_repeats": "2",
    }
    secrets = {"CUSTOM_JUDGE_BASE_URL": server.url, "CUSTOM_JUDGE_API_KEY": "none"}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    sides = [f"--recorded={name}={recorded}:{name}" for name in ("base", "tuned")]
    begin = ("run", *sides, "--dataset_name", str(recorded), *words, "--out", str(out))
    ended = main(*begin, **secrets)
    assert ended.code == 0, ended.err
    assert "Each case's score is the mean of 3 samples, the judge asked 2 times about each." in (
        ended.out
    )
    assert "between cases" in ended.out and "in sampling" in ended.out and "judge" in ended.out
    found = summary(out)
    (split,) = found["sampling"]["splits"]
    assert {change["what"] for change in split["changes"]} == {
        *("twice the cases", "twice the samples", "twice the judge repeats"),
        "3 times the cases, one sample of each",
    }
    assert sum(split["shares"].values()) == pytest.approx(1)
    base, tuned = found["sampling"]["consistency"]
    assert (base["n"], base["n_same_text"], tuned["n_same_text"]) == (N, 0, 0)
    claims = {
        row["variant"]: row["mean"]
        for row in found["summaries"]
        if row["metric"] == "Unsupported Claims" and row["group"] == "all"
    }
    assert claims == {"base": 1.0, "tuned": 1.0}
    with (out / "11_samples.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == SAMPLES_COLUMNS and len(rows) == N * 2 * 3
    assert {row["n_judged"] for row in rows} == {"2"}
    names = [variant["name"] for variant in found["variants"]]
    assert [row["variant"] for row in rows[:6]] == [name for name in names for _ in range(3)]
    assert list(dict.fromkeys(row["case_id"] for row in rows)) == [f"q{i}" for i in range(N)]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "What another draw would change" in page and "same case, by variant: 24" in page
    lines = (out / "completions.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == N * 2 * 3
    n_asked = len(server.requests)
    assert main(*begin, **secrets).code == 0
    assert main("report", str(out)).code == 0
    assert len(server.requests) == n_asked
    assert (out / "report.html").read_text(encoding="utf-8").count("<section") == page.count(
        "<section"
    )


def drawn(out: Path, **changed: str) -> Ended:
    options = {"samples": "3", "temperature": "0.8", "max_tokens": "8", "limit": "0.07", **changed}
    return main(*demo_options(out, **options))


def texts(out: Path) -> list[str]:
    return sorted((out / "completions.jsonl").read_text(encoding="utf-8").splitlines())


def test_drawn_samples_are_the_same_after_a_kill_between_them(tmp_path: Path) -> None:
    out, whole = tmp_path / "cut", tmp_path / "whole"
    assert drawn(whole).code == 0
    assert drawn(out).code == 0
    with closing(sqlite3.connect(out / "journal.sqlite")) as journal:  # as if it had ended there
        journal.execute(
            "DELETE FROM completions WHERE key IN (SELECT key FROM sample_answers WHERE sample = 2)"
        )
        journal.execute("DELETE FROM sample_answers WHERE sample = 2")
        for table in ("scores", "sample_scores"):
            journal.execute(f"DELETE FROM {table}")
        journal.commit()
    ended = drawn(out)
    assert ended.code == 0, ended.err
    assert texts(out) == texts(whole)
    samples = {row["variant"]: row for row in summary(out)["sampling"]["consistency"]}
    assert {row["n"] for row in samples.values()} == {4}


def test_one_sample_at_a_temperature_is_said_to_be_one_draw(tmp_path: Path) -> None:
    ended = drawn(tmp_path / "o", samples="1", limit="0.04")
    assert ended.code == 0, ended.err
    assert (
        "One sample of each case was drawn at temperature 0.8. How much another draw" in ended.out
    )
    assert not (tmp_path / "o" / "11_samples.csv").exists()


def test_samples_cannot_be_rated_by_people(recorded: Path, tmp_path: Path) -> None:
    out = tmp_path / "o"
    assert run(recorded, out, predefined_tasks="Token F1", samples="3").code == 0
    ended = main("ratings", str(out))
    assert ended.code == 2 and "people rate one answer of each case" in ended.err
    assert "Rate the answers yourself" not in (out / "report.html").read_text(encoding="utf-8")


def test_another_number_of_samples_is_another_run(recorded: Path, tmp_path: Path) -> None:
    out = tmp_path / "o"
    assert run(recorded, out, predefined_tasks="Token F1", samples="3").code == 0
    ended = run(recorded, out, predefined_tasks="Token F1", samples="2")
    assert ended.code == 2 and "samples was 3 and is now 2" in ended.err
