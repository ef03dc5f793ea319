"""Runs on recorded answers with metrics of the task, as docs/task_metrics.md shows them."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.e2e.conftest import Ended, main, summary

EXAMPLES = ROOT / "docs" / "examples"


def run(out: Path, data: Path, **options: str) -> Ended:
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    sides = [f"--recorded={name}={data}:{name}" for name in ("base", "tuned")]
    return main("run", *sides, *words, "--out", str(out))


def shown_texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_labels_are_scored_without_a_judge_and_shown_as_matrices(tmp_path: Path) -> None:
    out = tmp_path / "o"
    ended = run(out, EXAMPLES / "tickets.jsonl")
    assert ended.code == 0, ended.err
    assert "metrics chosen: Classification, because the 60 expected outputs are 5" in ended.out
    found = summary(out)
    assert found["verdict"]["sentence"].startswith("tuned is better than base on Classification: ")
    assert not any("different input" in text for text in found["warnings"])
    rows = {(one["name"], one["variant"]): one for one in found["task"]["numbers"]}
    assert rows["macro F1", "tuned"]["difference"] > 0.3
    assert [one["variant"] for one in found["task"]["matrices"]] == ["base", "tuned"]
    drawn = (out / "confusion.svg").read_text(encoding="utf-8")
    assert shown_texts(drawn) == shown_texts((ROOT / "docs" / "confusion.svg").read_text("utf-8"))
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Classification: over all cases together" in page
    assert "Expected and named labels" in page
    with (out / "06_task.csv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert {row["number"] for row in table} >= {"macro F1", "precision", "recall"}
    before = (out / "06_task.csv").read_text(encoding="utf-8")
    assert main("report", str(out)).code == 0
    assert (out / "06_task.csv").read_text(encoding="utf-8") == before


def test_json_is_checked_against_a_schema_that_may_vanish(tmp_path: Path) -> None:
    schema = tmp_path / "s.json"
    schema.write_text((EXAMPLES / "order.schema.json").read_text(encoding="utf-8"))
    out, options = tmp_path / "o", {"predefined_tasks": "JSON Fields, JSON Schema, Valid JSON"}
    ended = run(out, EXAMPLES / "orders.jsonl", json_schema=str(schema), **options)
    assert ended.code == 0, ended.err
    found = summary(out)
    fields = {one["part"] for one in found["task"]["numbers"]}
    assert fields == {"customer", "items[].name", "items[].quantity", "items[].price", "express"}
    assert "JSON Schema, commonest violation: base not JSON" in found["verdict"]["text"]
    schema.unlink()
    again = main("resume", str(out))
    assert again.code == 0, again.err
    assert summary(out)["verdict"] == found["verdict"]
    schema.write_text('{"type": "array"}')
    changed = run(out, EXAMPLES / "orders.jsonl", json_schema=str(schema), **options)
    assert changed.code == 2 and "json_schema was " in changed.err


def test_what_cannot_work_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    data = EXAMPLES / "tickets.jsonl"
    for options, message in (
        ({"predefined_tasks": "JSON Schema"}, "JSON Schema needs --json_schema"),
        ({"predefined_tasks": "JSON Fields"}, "expected output of case t01 (not JSON"),
        ({"predefined_tasks": "Classification", "labels": "a, b"}, "--labels does not have"),
        ({"json_schema": str(tmp_path / "none.json")}, "none.json cannot be read: No such file"),
        (
            {"json_schema": '{"$ref": "https://example.org/s.json"}'},
            "refers to https://example.org/s.json, which is not part of it",
        ),
        ({"expect": "regex:("}, "--expect 'regex:(': not a valid regular expression"),
        ({"predefined_tasks": "Token F1", "labels": "a, b"}, "--labels would do nothing"),
    ):
        ended = run(tmp_path / "o", data, **options)
        assert ended.code == 2 and message in ended.err, ended.err
        assert not (tmp_path / "o").exists()


def test_a_pattern_that_never_ends_is_a_counted_failure(tmp_path: Path) -> None:
    data, long = tmp_path / "d.jsonl", "a" * 5000 + "!"
    rows = [{"input": f"n{n}", "base": long if n == 3 else "ab", "tuned": "aaa"} for n in range(12)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ended = run(tmp_path / "o", data, expect="regex:^(a|aa)+$")
    assert ended.code == 0, ended.err
    (failure,) = summary(tmp_path / "o")["failures"]
    assert failure["case_id"] == "4" and "takes longer than" in failure["reason"]


@pytest.mark.parametrize("given", [("--judge", "offline"), ()])
def test_other_data_keep_their_default_metrics(tmp_path: Path, given: tuple[str, ...]) -> None:
    data = tmp_path / "d.jsonl"
    rows = [{"input": f"n{n}", "expected_output": f"text {n}", "base": "x"} for n in range(8)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ended = main("run", f"--recorded=base={data}:base", *given, "--out", str(tmp_path / "o"))
    if given:
        names = [one["name"] for one in summary(tmp_path / "o")["metrics"]]
        assert names == ["Correctness", "Answer Relevancy"] and "metrics chosen" not in ended.out
    else:
        assert ended.code != 0 and "no judge chosen; --judge takes one of" in ended.err
        assert not (tmp_path / "o").exists()
