"""Several right answers to one case: where they are read, and that the best one counts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from plugin import metrics
from plugin.errors import DataError
from plugin.journal import Journal
from plugin.load.cases import CaseSource, LoadedCases, load_cases
from plugin.records import Case
from plugin.run_facts import RunHeader
from plugin.trust.exam import CANARIES, NULL, canary_fits
from tests.samples import case as sample

HEADER = RunHeader("r", {}, {}, {}, (), (), "Exact Match", "")
SQUAD = {"text": ["Denver Broncos", "the Broncos", "Denver Broncos"], "answer_start": [1, 5, 1]}


def load(folder: Path, *rows: object, **options: Any) -> LoadedCases:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_cases(CaseSource(str(path), **options))


def read(folder: Path, answer: object) -> Case:
    (case,) = load(folder, {"input": "Who won?", "expected_output": answer}).cases
    return case


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (["Denver", "the Broncos"], ["Denver", "the Broncos"]),
        (SQUAD, ["Denver Broncos", "the Broncos"]),
        ([{"text": "Denver", "answer_start": 3}, {"text": "Broncos"}], ["Denver", "Broncos"]),
        ({"value": "Denver", "aliases": ["Broncos", "Denver"]}, ["Denver", "Broncos"]),
        ([4, 4.10, True], ["4", "4.1", "true"]),
        (["Denver", None, " ", "Broncos"], ["Denver", "Broncos"]),
        ("Denver", ["Denver"]),
        (["Denver"], ["Denver"]),
        ({"text": "Denver"}, ["Denver"]),
        ({"text": []}, []),
        ([], []),
        ('["a", "b"]', ['["a", "b"]']),
    ],
)
def test_the_expected_column_may_hold_several_right_answers(
    tmp_path: Path, answer: object, right: Sequence[str]
) -> None:
    case = read(tmp_path, answer)
    assert case.right_answers == tuple(right)
    assert case.expected_output == (right[0] if right else None)
    assert case.references == (tuple(right) if len(right) > 1 else ())


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"a": 1, "b": 2}, "expected_output is an object with the keys a, b; it must be text, a "),
        (["a", ["b"]], "expected_output, answer 2 is a list; it must be text or a number"),
        (["a", {"b": 1}], "expected_output, answer 2 is an object; it must be text or a number"),
        ({"text": {"a": 1}}, "expected_output, text is an object; it must be text or a number"),
    ],
)
def test_what_is_no_answer_is_refused(tmp_path: Path, answer: object, text: str) -> None:
    with pytest.raises(DataError, match="cannot be used") as caught:
        read(tmp_path, answer)
    assert text in str(caught.value)


def test_squad_is_recognised_and_its_passage_may_stand_in_the_question(tmp_path: Path) -> None:
    row = {"id": "56be", "title": "Bowl", "context": "The Denver Broncos won.", "question": "Who?"}
    loaded = load(tmp_path, {**row, "answers": SQUAD})
    (case,) = loaded.cases
    assert (case.id, case.input, case.context) == ("56be", "Who?", ("The Denver Broncos won.",))
    assert case.references == ("Denver Broncos", "the Broncos")
    assert loaded.notes[0].startswith(
        "read as SQuAD: question -> input, answers -> expected output; only a judge sees context"
    )
    asked = load(tmp_path, {**row, "answers": SQUAD}, input_template="{context} {question}")
    assert asked.cases[0].input == "The Denver Broncos won. Who?"
    assert asked.cases[0].references == case.references


def test_parquet_holds_several_too(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist([{"question": "Who?", "answers": SQUAD}]), path)
    (case,) = load_cases(CaseSource(str(path))).cases
    assert case.references == ("Denver Broncos", "the Broncos")


def test_the_digest_knows_them_and_stays_that_of_other_cases(tmp_path: Path) -> None:
    def digest(answer: object) -> str:
        return load(tmp_path, {"input": "q", "expected_output": answer}).digest

    assert digest("a") == digest(["a"]) == digest({"text": ["a", "a"]})
    assert len({digest("a"), digest(["a", "b"]), digest(["a", "c"]), digest(["b", "a"])}) == 4


def test_the_journal_keeps_them(tmp_path: Path) -> None:
    cases = (read(tmp_path, ["a", "b"]), sample("2"))
    with closing(Journal(tmp_path / "run")) as journal:
        journal.begin(HEADER, cases, ())
        assert journal.cases() == cases


def test_no_right_answer_serves_as_a_wrong_one() -> None:
    case = sample(expected_output="Nobody knows", references=("Nobody knows", "Null"))
    assert [name for name in CANARIES if not canary_fits(name, case)] == [NULL]


def score(name: str, completion: str, case: Case) -> float:
    (metric,) = metrics.load([name])
    return asyncio.run(metric.measure(case, completion, None)).value  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("completion", "same", "f1"),
    [
        ("The Broncos!", 1.0, 1.0),
        ("denver broncos", 1.0, 1.0),
        ("Broncos of Denver", 0.0, 0.8),  # against "Denver Broncos": P 2/3, R 1
        ("Panthers", 0.0, 0.0),
    ],
)
def test_word_metrics_take_the_best(completion: str, same: float, f1: float) -> None:
    case = sample(expected_output="Denver Broncos", references=("Denver Broncos", "the Broncos"))
    assert score("Exact Match", completion, case) == same
    assert score("Token F1", completion, case) == pytest.approx(f1)
