"""Completions of thinking models: what follows the thoughts is scored."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import main, summary
from tests.judge_server import JudgeServer
from tests.page_cases import by_id, read_cases

N = 40
WORDS = [f"word{n}" for n in range(N)]


def thought(word: str, n: int) -> str:
    return f'<think>\nNot "{word}x"? Number {n}.\n</think>\n\n{word}'


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Cases, a thinking base that is always right, and a tuned one that is right every other time.

    Every file of completions has an id and an output.
    """
    rows: dict[str, list[dict[str, str]]] = {
        "cases": [
            {"id": str(n), "input": f"Say {word}. ({n})", "expected_output": word}
            for n, word in enumerate(WORDS)
        ],
        "base": [{"id": str(n), "output": thought(word, n)} for n, word in enumerate(WORDS)],
        "tuned": [
            {"id": str(n), "output": word if n % 2 else "Nothing"} for n, word in enumerate(WORDS)
        ],
    }
    for name, own in rows.items():
        write(tmp_path / f"{name}.jsonl", own)
    return tmp_path


def write(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def change(path: Path, texts: dict[int, str]) -> None:
    """Put other texts in the place of these rows' outputs."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    write(path, [{**row, "output": texts.get(n, row["output"])} for n, row in enumerate(rows)])


def run(files: Path, **options: str) -> dict[str, Any]:
    given = {
        "dataset_name": str(files / "cases.jsonl"),
        "predefined_tasks": "Exact Match",
        "out": str(files / "o"),
        **options,
    }
    words = [word for name, value in given.items() for word in (f"--{name}", value)]
    recorded = ["--recorded", f"base={files}/base.jsonl:output"]
    recorded += ["--recorded", f"tuned={files}/tuned.jsonl:output"]
    ended = main("run", *recorded, *words)
    assert ended.code == 0, ended.err
    return {**summary(Path(given["out"])), "printed": ended.out + ended.err}


def table(files: Path, name: str) -> list[dict[str, str]]:
    with (files / "o" / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_what_follows_the_thoughts_is_scored_and_everything_is_kept(files: Path) -> None:
    found = run(files)
    assert found["verdict"]["outcome"] == "worse"
    assert "0.50 against 1.00" in found["verdict"]["sentence"]
    rows = {row["case_id"]: row for row in table(files, "03_cases.csv")}
    assert "<think>" in rows["3"]["baseline_output"] and "word3" in rows["3"]["baseline_output"]
    page = (files / "o" / "report.html").read_text(encoding="utf-8")
    base = by_id(read_cases(page))["3"]["base"]
    assert (base["thoughts"], base["answer"]) == ('Not "word3x"? Number 3.', "word3")
    assert "&lt;think&gt;" not in page and "\\u003cthink\\u003e" not in page


def test_thoughts_can_be_kept_and_are_part_of_what_a_run_is(files: Path) -> None:
    stripped = run(files)
    found = run(files, thinking="keep", out=str(files / "kept"))
    assert "0.50 against 0.00" in found["verdict"]["sentence"]
    assert found["provenance"]["run_id"] != stripped["provenance"]["run_id"]
    page = (files / "kept" / "report.html").read_text(encoding="utf-8")
    assert "&lt;think&gt;" in page and '"thoughts":' not in page


def test_nothing_after_closed_thoughts_is_an_empty_completion(files: Path) -> None:
    change(files / "base.jsonl", {4: "<think>word4</think>\n"})
    found = run(files)
    assert not found["failures"]
    rows = {row["case_id"]: row for row in table(files, "03_cases.csv")}
    assert (rows["4"]["baseline_score"], rows["4"]["gain"]) == ("0.0", "0.0")
    page = (files / "o" / "report.html").read_text(encoding="utf-8")
    assert page.count("empty completion: the worst score") == 1


def test_a_completion_that_ends_inside_its_thoughts_has_failed(files: Path) -> None:
    change(files / "base.jsonl", {4: "<think>word4"})
    found = run(files)
    assert found["verdict"]["outcome"] == "worse"
    (row,) = (row for row in found["comparisons"] if row["group"] == "all")
    assert (row["n"], row["n_failed_baseline"], row["n_failed_variant"]) == (N - 1, 1, 0)
    (failure,) = found["failures"]
    assert (failure["case_id"], failure["variant"], failure["stage"]) == ("4", "base", "generate")
    assert "ends inside its thoughts" in failure["reason"]
    page = (files / "o" / "report.html").read_text(encoding="utf-8")
    assert "Ends inside its thoughts: no answer." in page
    assert main("report", str(files / "o")).code == 0
    assert summary(files / "o")["failures"] == found["failures"]


def test_too_many_of_them_leave_no_verdict(files: Path) -> None:
    change(files / "base.jsonl", {n: f"<think>word{n}" for n in (4, 8, 12)})
    found = run(files)
    first = found["verdict"]["text"].splitlines()[0]
    assert first.startswith("No verdict: 3 of 40 completions of base end inside their thoughts")
    assert "--max_tokens" in first
    assert found["verdict"]["outcome"] == "can't tell"
    assert {row["outcome"] for row in found["comparisons"]} == {"can't tell"}
    assert first[1:].rstrip(".") in found["printed"].split("compare and draw")[0]


def test_the_judge_sees_the_answer_alone(
    files: Path, server: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUSTOM_JUDGE_BASE_URL", server.url)
    change(files / "base.jsonl", {4: "<think>word4"})
    run(files, predefined_tasks="Correctness", judge="custom:judge")
    assert any("word3" in prompt for prompt in server.prompts)
    assert not any("Number" in prompt or "<think>" in prompt for prompt in server.prompts)
    assert main("ratings", str(files / "o"), "--n", "100").code == 0
    ratings = (files / "o" / "ratings_template.csv").read_text(encoding="utf-8")
    assert "word3" in ratings and "<think>" not in ratings
