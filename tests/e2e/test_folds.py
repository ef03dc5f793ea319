"""Folds from end to end: build them, run each on its own cases, put them together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from demo import FOLDER
from tests.e2e.conftest import main, summary

FOLDS = ("fold_1", "fold_2", "fold_3")


def rows_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's cases in three folds, and a run of each on completions that were recorded."""
    folder = tmp_path_factory.mktemp("walk")
    data, out = str(FOLDER / "cases.jsonl"), folder / "folds"
    ended = main("cases", "build", data, "--folds", "3", "--out", str(out))
    assert ended.code == 0, ended.err
    for name in FOLDS:
        test, answers = out / name / "test.jsonl", folder / f"{name}.jsonl"
        rows = rows_of(test)
        answers.write_text(
            "".join(
                json.dumps({"id": row["id"], "base": "no", "tuned": row["completion"]}) + "\n"
                for row in rows
            )
        )
        sides = (
            f"--recorded=vanilla={answers}:base",
            f"--recorded={name}={answers}:tuned",
        )
        options = ("--predefined_tasks", "Token F1, Exact Match", "--out", str(folder / name))
        train = ("--train_data", str(out / name / "train.jsonl"))
        ended = main("run", *sides, "--dataset_name", str(test), *options, *train)
        assert ended.code == 0, ended.err
    return folder


def test_every_case_is_answered_by_an_adapter_that_never_saw_it(walk: Path) -> None:
    out = walk / "recipe"
    words = [str(walk / name) for name in FOLDS]
    ended = main("compare", "--folds", *words, "--out", str(out))
    assert ended.code == 0, ended.err
    found = summary(out)
    n = sum(len(rows_of(walk / "folds" / name / "test.jsonl")) for name in FOLDS)
    (row,) = (r for r in found["comparisons"] if r["role"] == "primary" and r["group"] == "all")
    assert row["n"] == n == 57 and row["n_clusters"] == 40 and row["outcome"] == "better"
    assert found["memorisation"]["counts"] == {"copied": 0, "near": 0, "clean": n}
    assert "answered by one that did not have it in its training data" in ended.out
    assert "was not checked" not in ended.out and "missing" not in ended.out
    assert [fold["name"] for fold in found["folds"]["facts"]["folds"]] == [*FOLDS]
    assert all(fold["is_checked"] for fold in found["folds"]["facts"]["folds"])


def test_folds_may_be_missing_and_be_named(walk: Path) -> None:
    words = (f"first={walk / 'fold_1'}", f"{walk / 'fold_3'}#fold_3")
    ended = main("compare", "--folds", *words, "--out", str(walk / "two"))
    assert ended.code == 0, ended.err
    assert "1 of 3 folds is missing (fold_2)" in ended.out
    twice = main("compare", "--folds", str(walk / "fold_1"), str(walk / "fold_1"))
    assert twice.code == 2 and "are the same run" in twice.err
