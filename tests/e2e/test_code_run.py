"""A run on recorded code, as docs/code.md shows it; and its refusal where there is no sandbox."""

from __future__ import annotations

import csv
import json
from contextlib import closing
from pathlib import Path

import pytest

from plugin.journal import Journal
from plugin.sandbox import proof
from plugin.sandbox import run as running
from tests.conftest import ROOT
from tests.e2e.conftest import Ended, main, summary
from tests.e2e.test_task_runs import shown_texts
from tests.sandbox.conftest import sandbox  # noqa: F401

DATA = ROOT / "docs" / "examples" / "code.jsonl"
RIGHT = {"chunks", "mirror"}
"""The cases that the base gets right."""


def run(out: Path, *words: str) -> Ended:
    sides = [f"--recorded={name}={DATA}:{name}" for name in ("base", "tuned")]
    return main("run", *sides, "--test_seconds", "1", *words, "--out", str(out))


def test_code_is_scored_once_and_told_in_the_report(
    sandbox: None,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "o"
    ended = run(out)
    assert ended.code == 0, ended.err
    with closing(Journal(out)) as journal:
        scores = {(one.case_id, one.variant): one for one in journal.scores()}
    assert len(scores) == 20
    assert {name for (name, side), one in scores.items() if side == "base" and one.value} == RIGHT
    assert all(one.value == 1 for (_, side), one in scores.items() if side == "tuned")
    found = summary(out)
    assert found["verdict"]["sentence"].startswith("tuned is better than base on Code Tests: 1.00")
    kinds = {one["text"]: one["n"] for one in found["task"]["violations"]}
    assert kinds == {
        "wrong result": 3,
        "time limit": 2,
        "ModuleNotFoundError": 1,
        "no code": 1,
        "wrong output": 1,
    }
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "commonest violations" in page and "assert second([5, 5, 4]) == 4" in page
    drawn = (out / "verdict.svg").read_text(encoding="utf-8")
    assert shown_texts(drawn) == shown_texts((ROOT / "docs" / "code.svg").read_text("utf-8"))
    monkeypatch.setattr(running, "run_tests", None)  # nothing is run again
    before = (out / "03_cases.csv").read_bytes()
    assert main("resume", str(out)).code == 0
    assert (out / "03_cases.csv").read_bytes() == before


def test_no_model_is_read_where_there_is_no_sandbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "problem_here", lambda: "bubblewrap is not installed. Install it")
    rows = [json.loads(line) for line in DATA.read_text("utf-8").splitlines()]
    data = tmp_path / "d.jsonl"
    data.write_text("\n".join(json.dumps(row) for row in rows))
    ended = main(
        "run",
        "--model_name",
        str(tmp_path / "none"),
        "--dataset_name",
        str(data),
        "--variants",
        "vanilla only",
    )
    assert ended.code == 2
    assert "Code Tests runs code that a model wrote, and only in a sandbox" in ended.err
    assert "bubblewrap is not installed" in ended.err and "compare --scored" in ended.err
    assert "none" not in ended.err


def test_several_samples_give_pass_at_k(
    sandbox: None,  # noqa: F811
    tmp_path: Path,
) -> None:
    good, bad = (f"```python\ndef f(x):\n    return x + {n}\n```" for n in (1, 2))
    rows = [
        {
            "id": f"q{n}",
            "input": f"Write f, number {n}.",
            "tests": ["assert f(1) == 2"],
            "base": [bad, bad, good if n == 0 else bad],
            "tuned": [good, good if n else bad, bad],
        }
        for n in range(3)
    ]
    data = tmp_path / "d.jsonl"
    data.write_text("\n".join(json.dumps(row) for row in rows))
    out = tmp_path / "o"
    sides = [f"--recorded={name}={data}:{name}" for name in ("base", "tuned")]
    ended = main("run", *sides, "--samples", "3", "--out", str(out))
    assert ended.code == 0, ended.err
    assert "Code Tests, over all cases together: pass@1 base 0.11" in ended.out
    with (out / "12_pass_at_k.csv").open(encoding="utf-8") as file:
        table = {(row["k"], row["variant"]): row for row in csv.DictReader(file)}
    found = {place: round(float(row["value"]), 4) for place, row in table.items()}
    assert found == {
        ("1", "base"): 0.1111,
        ("1", "tuned"): 0.5556,
        ("2", "base"): 0.2222,
        ("2", "tuned"): 0.8889,
        ("3", "base"): 0.3333,
        ("3", "tuned"): 1.0,
    }
    assert float(table["2", "tuned"]["difference"]) == pytest.approx(2 / 3, abs=1e-4)
    assert float(table["2", "tuned"]["difference_low"]) < 2 / 3
    assert "pass@3" in (out / "report.html").read_text(encoding="utf-8")
