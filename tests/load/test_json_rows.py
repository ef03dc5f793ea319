"""Where the rows are in a JSON document: wrappers, columns, what pandas and others write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas
import pytest

from plugin.errors import DataError
from plugin.load.cases import CaseSource, LoadedCases, load_cases
from plugin.records import Message

ROWS: list[dict[str, Any]] = [
    {"id": "q1", "input": "Who, exactly?", "expected_output": "1.50", "context": ["a", "b"]},
    {"id": "q2", "input": "two\nlines", "expected_output": None, "context": []},
    {"id": "q3", "input": "Où?", "expected_output": "NA", "context": ["x"]},
]
SQUAD = {
    "version": "1.1",
    "data": [
        {
            "title": "Bowl",
            "paragraphs": [
                {
                    "context": "Denver won.",
                    "qas": [
                        {
                            "id": "1",
                            "question": "Who?",
                            "answers": [
                                {"text": "Denver", "answer_start": 0},
                                {"text": "Broncos", "answer_start": 7},
                            ],
                        },
                        {"id": "2", "question": "Where?", "answers": [], "is_impossible": True},
                    ],
                }
            ],
        }
    ],
}


def load(folder: Path, content: object, name: str = "a.json") -> LoadedCases:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text)
    return load_cases(CaseSource(str(folder / name)))


def refusal(folder: Path, content: object, name: str = "a.json") -> str:
    with pytest.raises(DataError) as caught:
        load(folder, content, name)
    return str(caught.value).replace(f"{folder}/", "")


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"orient": "columns"},
        {"orient": "index"},
        {"orient": "split"},
        {"orient": "table"},
        {"orient": "records"},
        {"orient": "records", "lines": True},
        {"indent": 1},
        {"orient": "records", "indent": 1},
    ],
    ids=str,
)
def test_what_pandas_writes_is_read(tmp_path: Path, options: dict[str, Any], name: str) -> None:
    wanted = load(tmp_path, ROWS, "wanted.json")
    frame = pandas.DataFrame(ROWS)
    assert load(tmp_path, frame.to_json(**options), name).digest == wanted.digest
    shuffled = pandas.concat([frame.iloc[[1]], frame]).iloc[1:]  # its labels have gaps or repeat
    assert load(tmp_path, shuffled.to_json(**options), name).digest == wanted.digest


@pytest.mark.parametrize("orient", ["columns", "index"])
def test_labels_of_ones_own_are_ids(tmp_path: Path, orient: Any) -> None:
    frame = pandas.DataFrame(ROWS).set_index("id")
    assert load(tmp_path, frame.to_json(orient=orient)).digest == load(tmp_path, ROWS).digest


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_rows_without_column_names_are_refused_with_the_way_out(tmp_path: Path, name: str) -> None:
    said = refusal(tmp_path, pandas.DataFrame(ROWS).to_json(orient="values"), name)
    assert said.startswith(f"{name} holds no table: ")
    assert said.endswith(
        "but it is a list of lists, without the columns' names. With pandas: "
        "to_json(path, orient='records')"
    )


@pytest.mark.parametrize(
    "wrap",
    [
        lambda rows: {"data": rows},
        lambda rows: {"examples": rows},
        lambda rows: {"rows": rows},
        lambda rows: {"instances": rows},
        lambda rows: {"Instances": rows, "Definition": ["Answer."], "Examples of use": [{"a": 1}]},
        lambda rows: {"name": "mine", "keywords": ["a", "b", "c"], "examples": rows},
        lambda rows: {"data": {"rows": rows, "n": 3}, "version": 2},
        lambda rows: {"data": {name: [row[name] for row in rows] for name in rows[0]}},
        lambda rows: {"whatever": rows, "version": "1"},
        lambda rows: {"features": [{"name": "id"}], "rows": [viewed(i, r) for i, r in rows_of()]},
    ],
)
def test_rows_may_be_wrapped(tmp_path: Path, wrap: Any) -> None:
    wrapped = load(tmp_path, wrap(ROWS), "wrapped.json")
    assert wrapped.digest == load(tmp_path, ROWS).digest
    assert load(tmp_path, json.dumps(wrap(ROWS), indent=1)).digest == wrapped.digest


def rows_of() -> list[tuple[int, dict[str, Any]]]:
    return list(enumerate(ROWS))


def viewed(number: int, row: dict[str, Any]) -> dict[str, object]:
    """A row as the hub's data set viewer gives it."""
    return {"row_idx": number, "row": row, "truncated_cells": []}


def test_columns_of_lists_may_hold_objects(tmp_path: Path) -> None:
    answers = [{"text": ["a", "b"]}, {"text": ["c"]}]
    found = load(tmp_path, {"input": ["q", "r"], "expected_output": answers}).cases
    assert [case.right_answers for case in found] == [("a", "b"), ("c",)]


def test_squads_own_files_are_read(tmp_path: Path) -> None:
    first, second = load(tmp_path, SQUAD).cases
    assert (first.id, first.input, first.context) == ("1", "Who?", ("Denver won.",))
    assert first.references == ("Denver", "Broncos")
    assert (second.id, second.expected_output) == ("2", None)


def test_one_chat_is_one_row(tmp_path: Path) -> None:
    chat = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    for name in ("a.json", "a.jsonl"):
        (case,) = load(tmp_path, chat, name).cases
        assert (case.messages, case.expected_output) == ((Message("user", "q"),), "a")


def test_one_line_of_jsonl_stays_one_row(tmp_path: Path) -> None:
    row = {"input": "q", "expected_output": {"text": ["a", "b"]}, "data": [{"input": "other"}]}
    (case,) = load(tmp_path, row, "a.jsonl").cases
    assert (case.input, case.references) == ("q", ("a", "b"))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            {"train": [{"input": "q"}], "test": [{"input": "q"}]},
            "but it is an object with 'train': a list of 1, 'test': a list of 1. Write one of them "
            "into a file of its own",
        ),
        ({"rows": [{"input": "q"}], "data": [{"input": "q"}]}, "Write one of them into a file of"),
        (
            {"input": {"0": "q"}, "expected_output": {"1": "a"}},
            "but it is an object with 'input': an object, 'expected_output': an object",
        ),
        ({"1": {"2": "q"}}, "but it is an object with '1': an object"),
        ({"a": {"b": "q"}}, "but it is an object with 'a': an object"),
        ('{"data": ' * 700 + "[]" + "}" * 700, "but it is an object with 'data': an object"),
        ({"input": "q"}, "but it is an object with 'input': text. A single row must be in a list"),
    ],
)
def test_what_is_not_clear_is_refused_with_the_way_out(
    tmp_path: Path, content: object, text: str
) -> None:
    assert text in refusal(tmp_path, content)
