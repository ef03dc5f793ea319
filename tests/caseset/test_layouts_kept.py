"""Tests of code and conversations in a pool: they are kept, or refused with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plugin.load.cases import CaseSource, LoadedCases, load_cases
from tests.caseset.samples import questions, write_rows
from tests.caseset.test_command import build, manifest, rows_of

ASKED = [f"{text} Write a function f(n)." for text in questions(8, 5)]
CODE: dict[str, list[dict[str, Any]]] = {
    "human-eval": [
        {
            "task_id": f"x/{at}",
            "prompt": text,
            "canonical_solution": f"    return {at}\n",
            "entry_point": "f",
            "test": f"def check(candidate):\n    assert candidate(1) == {at}\n",
        }
        for at, text in enumerate(ASKED)
    ],
    "MBPP": [
        {
            "task_id": at,
            "text": text,
            "code": f"def f(n):\n    return {at}\n",
            "test_list": [f"assert f(1) == {at}", f"assert f(2) == {at}"],
            "test_setup_code": "import math",
        }
        for at, text in enumerate(ASKED)
    ],
    "programs": [
        {"input": text, "expected_output": "x", "tests": [{"input": "3\n", "output": f"{at}\n"}]}
        for at, text in enumerate(ASKED)
    ],
}


def loaded(file: Path | str) -> LoadedCases:
    return load_cases(CaseSource(str(file)))


@pytest.mark.parametrize("name", CODE)
def test_tests_of_code_stay_with_their_questions(tmp_path: Path, name: str) -> None:
    pool = write_rows(tmp_path / "pool.jsonl", CODE[name])
    before = {case.input: case.tests for case in loaded(pool).cases}
    assert all(before.values())
    ended = build(pool, "--out", tmp_path / "set")
    assert ended.code == 0, ended.err
    made = loaded(tmp_path / "set" / "cases.jsonl")
    assert {case.input: case.tests for case in made.cases} == before
    assert made.digest == manifest(tmp_path / "set")["sides"][0]["digest"]
    ended = build(pool, "--folds", 2, "--out", tmp_path / "folds")
    assert ended.code == 0, ended.err
    tested = [loaded(tmp_path / "folds" / f"fold_{k}" / "test.jsonl").cases for k in (1, 2)]
    assert {case.input: case.tests for cases in tested for case in cases} == before


def test_columns_for_tests_and_guards_may_be_named(tmp_path: Path) -> None:
    rows = [
        {"input": f"{text}?", "expected_output": "x", "checks": "assert f(1)", "keep": at < 4}
        for at, text in enumerate(questions(10))
    ]
    pool, named = write_rows(tmp_path / "a.jsonl", rows), ("--tests_column", "checks")
    for words, file in (((), "set/cases.jsonl"), (("--folds", 2), "set/fold_1/test.jsonl")):
        out = tmp_path / f"out{len(words)}"
        ended = build(pool, *named, "--retention_column", "keep", *words, "--out", out / "set")
        assert ended.code == 0, ended.err
        cases = loaded(out / file).cases
        assert all(case.tests for case in cases) and any(case.retention for case in cases)


def chat(*said: str) -> list[dict[str, str]]:
    roles = ["user", "user", "assistant"] if len(said) == 3 else ["user", "assistant"]
    return [{"role": role, "content": text} for role, text in zip(roles, said, strict=True)]


def test_a_conversation_is_whole_and_its_set_is_told_from_an_edited_one(tmp_path: Path) -> None:
    asked = questions(6)
    rows = [{"messages": chat(text, "And then?", "So.")} for text in asked[:3]]
    rows += [{"messages": chat(text, "Yes.")} for text in asked[3:]]
    pool, out = write_rows(tmp_path / "logs.jsonl", rows), tmp_path / "set"
    assert build(pool, "--out", out).code == 0
    made = loaded(out / "cases.jsonl")
    assert len(made.cases) == 9 and made.digest == manifest(out)["sides"][0]["digest"]
    assert "the cases are version 1 of the evaluation set set (cases.jsonl)" in made.notes
    assert sorted(len(row["messages"]) for row in rows_of(out / "cases.jsonl")) == [
        1,
        1,
        1,
        2,
        2,
        2,
    ]
    more = write_rows(tmp_path / "more.jsonl", [{"messages": chat(questions(1, 9)[0], "No.")}])
    ended = build(pool, more, "--out", out)
    assert "Version 2: 1 added, 0 dropped, 6 kept. Version 1" in ended.out  # and not "edited"


def test_a_list_of_questions_is_refused_where_it_would_lose_turns(tmp_path: Path) -> None:
    rows = [
        {"question_id": at, "turns": [text, "Why?"], "category": "x", "reference": ["a", "b"]}
        for at, text in enumerate(questions(4))
    ]
    pool = write_rows(tmp_path / "question.jsonl", rows)
    for words in ((), ("--folds", 2)):
        ended = build(pool, *words, "--out", tmp_path / "set")
        assert ended.code == 2
        assert "row 1 (line 1): turns has 2 questions that are asked one after the" in ended.err
    single = [{**row, "turns": row["turns"][:1]} for row in rows]
    ended = build(write_rows(tmp_path / "one.jsonl", single), "--out", tmp_path / "set")
    assert ended.code == 0 and "4 cases drawn" in ended.out
