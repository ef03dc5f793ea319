"""Completions made elsewhere: what the user says of them, and how they find their cases."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from plugin.engines.recorded import load
from plugin.errors import DataError, OptionError, UserError
from plugin.load.cases import CaseSource, load_cases
from plugin.load.columns import Columns
from plugin.load.recordings import RecordedCompletions, Recording, parse_recording, read_recording
from plugin.records import Completion, Failure, NoResult, Prompt

CASES = [{"id": f"q{n}", "input": f"Question {n}?"} for n in (1, 2, 3)]
OUTPUTS = [{"id": f"q{n}", "output": f"Answer {n}."} for n in (1, 2, 3)]


def jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


class Here:
    """A data set, and what was recorded for it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(
        self,
        rows: Sequence[Mapping[str, Any]],
        cases: Sequence[Mapping[str, Any]] = CASES,
        column: str = "",
        **options: Any,
    ) -> RecordedCompletions:
        data = jsonl(self._folder / "cases.jsonl", cases)
        file = jsonl(self._folder / "base.jsonl", rows)
        loaded = load_cases(CaseSource(data, **options))
        return read_recording(Recording("base", file, column), loaded)

    def refused(self, rows: Sequence[Mapping[str, Any]], *more: Any, **options: Any) -> str:
        with pytest.raises(UserError) as caught:
            self.read(rows, *more, **options)
        return str(caught.value).replace(f"{self._folder}/", "")


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


@pytest.mark.parametrize(
    ("text", "file", "column"),
    [
        ("base={}/a.jsonl", "{}/a.jsonl", ""),
        (" base = {}/a.jsonl ", "{}/a.jsonl", ""),
        ("base={}/a.jsonl:output", "{}/a.jsonl", "output"),
        ("base={}/a.jsonl:its:own", "{}/a.jsonl", "its:own"),
        ("base={}/b:c.jsonl", "{}/b:c.jsonl", ""),
        ("base={}/b:c.jsonl:output", "{}/b:c.jsonl", "output"),
        ("base={}/nowhere.jsonl:output", "{}/nowhere.jsonl", "output"),
        ("base={}/no:where/x.jsonl", "{}/no:where/x.jsonl", ""),
        ("base=C:\\data\\base.csv", "C:\\data\\base.csv", ""),
        ("base=C:\\data\\base.csv:output", "C:\\data\\base.csv", "output"),
        ("base=x=y.csv:output", "x=y.csv", "output"),
    ],
)
def test_a_file_may_have_colons_in_its_path(
    text: str, file: str, column: str, tmp_path: Path
) -> None:
    for name in ("a.jsonl", "b:c.jsonl"):
        (tmp_path / name).touch()
    found = parse_recording(text.format(tmp_path))
    assert found == Recording("base", file.format(tmp_path), column)
    assert parse_recording(str(found)) == found


@pytest.mark.parametrize("text", ["base.jsonl", "=base.jsonl", "base=", ""])
def test_what_is_no_recording_says_how_to_write_one(text: str) -> None:
    with pytest.raises(OptionError, match="it must be NAME=FILE or NAME=FILE:COLUMN, such as"):
        parse_recording(text)


def test_rows_are_joined_on_the_id_in_any_order(here: Here) -> None:
    found = here.read(OUTPUTS[::-1])
    assert (found.column, found.joined_on, found.n_unmatched) == ("output", "id", 0)
    assert found.texts == {"q1": "Answer 1.", "q2": "Answer 2.", "q3": "Answer 3."}
    assert found.missing == {}


@pytest.mark.parametrize("ids", [{}, {"id": "of something else"}])
def test_without_ids_that_cases_have_rows_are_joined_on_the_input(
    ids: dict[str, str], here: Here
) -> None:
    rows = [{**ids, "input": f" Question {n}? ", "output": f"Answer {n}."} for n in (3, 1)]
    found = here.read(rows)
    assert found.joined_on == "input"
    assert found.texts == {"q1": "Answer 1.", "q3": "Answer 3."}
    assert found.missing == {"q2": "no completion was recorded: base.jsonl has no row for it"}


def test_chats_are_joined_on_all_their_turns(here: Here) -> None:
    def chat(first: str) -> list[dict[str, str]]:
        said = [("user", first), ("assistant", "Yes."), ("user", "Why?")]
        return [{"role": role, "content": text} for role, text in said]

    cases = [{"messages": chat(first)} for first in ("Is it so?", "Is it not?")]
    rows = [{"messages": chat("Is it not?"), "output": "No."}]
    assert here.read(rows, cases).texts == {"2": "No."}


def test_a_case_without_a_row_and_one_with_null_lack_a_completion(here: Here) -> None:
    rows = [{"id": "q1", "output": None}, {"id": "q2", "output": ""}, {"id": "q9", "output": "x"}]
    found = here.read(rows)
    assert found.texts == {"q2": ""}
    assert found.missing == {
        "q1": "no completion was recorded: output is null",
        "q3": "no completion was recorded: base.jsonl has no row for it",
    }
    assert found.n_unmatched == 1


def test_numbers_and_booleans_are_text(here: Here) -> None:
    rows = [{"id": "q1", "output": 1.50}, {"id": "q2", "output": True}]
    assert here.read(rows).texts == {"q1": "1.5", "q2": "true"}


def test_a_csv_cell_is_always_text(tmp_path: Path) -> None:
    data = jsonl(tmp_path / "cases.jsonl", CASES)
    with (tmp_path / "base.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "output"], ["q1", ""], ["q2", "null"]])
    recording = Recording("base", str(tmp_path / "base.csv"))
    assert read_recording(recording, load_cases(CaseSource(data))).texts == {"q1": "", "q2": "null"}


def test_in_the_data_set_itself_rows_go_by_their_number(tmp_path: Path) -> None:
    rows = [{"input": "The same?", "a": "1", "b": "x"}, {"input": "The same?", "a": "2", "b": "y"}]
    data = jsonl(tmp_path / "cases.jsonl", rows)
    loaded = load_cases(CaseSource(data))
    assert read_recording(Recording("a", data), loaded).texts == {"1": "1", "2": "2"}
    assert read_recording(Recording("z", data, "b"), loaded).texts == {"1": "x", "2": "y"}


@pytest.mark.parametrize("name", ["completion", "response", "answer", "actual_output", "base"])
def test_usual_columns_are_found(name: str, here: Here) -> None:
    assert here.read([{"id": "q1", name: "yes"}]).column == name


def test_a_column_that_says_something_else_is_not_taken(here: Here) -> None:
    cases = [{**case, "answer": "right"} for case in CASES]
    rows = [{"id": "q1", "answer": "right", "output": "said"}]
    options = {"columns": Columns(expected_output="answer")}
    assert here.read(rows, cases, **options).texts == {"q1": "said"}


def test_a_column_that_is_not_clear_lists_what_there_is(here: Here) -> None:
    asked = "--recorded base=base.jsonl: it is not clear which column holds the completions: "
    way_out = "--recorded base=base.jsonl:COLUMN; columns are: id, "
    both = [{"id": "q1", "output": "a", "base": "b"}]
    assert here.refused(both).startswith(f"{asked}it may be output or base. ")
    assert here.refused(both).endswith(f"{way_out}output, base")
    neither = here.refused([{"id": "q1", "text": "a"}])
    usual = "output, completion, response, answer, actual_output, base"
    assert neither.startswith(f"{asked}there is no column named {usual}. ")
    assert neither.endswith(f"{way_out}text")
    assert here.refused(both, CASES, "ouput") == (
        "--recorded base=base.jsonl:ouput: there is no column 'ouput'; did you mean "
        "'output'? columns are: id, output, base"
    )


def test_completions_of_no_case_at_all_are_refused_with_an_example(here: Here) -> None:
    assert here.refused([{"id": 7, "input": "What else?", "output": "x"}]).startswith(
        "base.jsonl has no completion for any of the cases: its first row has id '7' and input "
        "'What else?', but the first case has id 'q1' and input 'Question 1?'. "
    )
    said = here.refused([{"output": "x"}])
    assert "base.jsonl has no id or input column" in said
    assert "--id_column" in said and "--input_column" in said


def test_the_same_id_or_input_twice_is_refused(here: Here) -> None:
    assert here.refused([*OUTPUTS, OUTPUTS[1]]) == (
        "base.jsonl has the same id more than once: row 2 (line 2) and row 4 (line 4) ('q2')"
    )
    way_out = ". Give rows and cases the same ids, so that they can be told apart"
    rows = [{"input": "Question 1?", "output": text} for text in "ab"]
    assert here.refused(rows) == (
        "base.jsonl has the same input more than once: row 1 (line 1) and row 2 (line 2) "
        f"('Question 1?'){way_out}"
    )
    cases = [*CASES, {"id": "q4", "input": "Question 1?"}]
    assert here.refused(rows[:1], cases) == (
        f"the data set has the same input more than once: case q1 and case q4 ('Question 1?')"
        f"{way_out}"
    )


def test_the_same_id_with_another_question_is_refused(here: Here) -> None:
    """Row numbers, say, of a file in another order: the join would be wrong and go unseen."""
    cases = [{"input": f"Question {n}?"} for n in (1, 2, 3)]
    rows = [{"id": n, "input": f"Question {4 - n}?", "output": "x"} for n in (1, 2, 3)]
    assert here.refused(rows, cases).startswith(
        "base.jsonl has another input for the same id in 2 of 3 cases: id 1: 'Question 3?' in this "
        "file, 'Question 1?' in the data set; id 3: 'Question 1?' in this file, 'Question 3?' in "
    )


def test_bad_rows_are_all_named_or_left_out(here: Here) -> None:
    rows = [
        {"id": "q1", "output": ["a"]},
        {"id": "q2", "output": "half \ud83d"},
        {"id": "q3", "output": "whole"},
    ]
    assert here.refused(rows).splitlines() == [
        "base.jsonl: 2 of 3 rows cannot be used; correct them, or skip them with --skip_bad_rows:",
        "  row 1 (line 1): output is a list; it must be text; --samples N reads N completions "
        "from each list",
        "  row 2 (line 2): output holds half of a surrogate pair: invalid Unicode",
    ]
    found = here.read(rows, skip_bad_rows=True)
    assert found.texts == {"q3": "whole"}
    assert "output is a list" in found.missing["q1"]


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    loaded = load_cases(CaseSource(jsonl(tmp_path / "cases.jsonl", CASES)))
    with pytest.raises(DataError, match="bass.jsonl does not exist"):
        read_recording(Recording("base", str(tmp_path / "bass.jsonl")), loaded)


def test_the_engine_hands_out_what_was_read() -> None:
    found = RecordedCompletions("output", "id", {"1": "yes", "2": ""}, {"3": "null"}, 0)
    engine = load({"base": found})
    prompts = [Prompt(str(n), "base", (), ()) for n in (1, 2, 3)]
    one, empty, lacking = [result for ended in engine.generate(prompts) for result in ended]
    assert one == Completion("1", "base", "yes", (), None, None, None, None)
    assert isinstance(empty, Completion) and empty.text == ""
    assert lacking == Failure("3", "generate", "null", "base")
    assert engine.certify("base", ()).result == "not applicable"
    with pytest.raises(OptionError, match="recorded completions have no probabilities"):
        engine.loglikelihoods("base", [])


def test_a_home_directory_is_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a:b.jsonl").touch()
    assert parse_recording("base=~/a:b.jsonl").file == "~/a:b.jsonl"
    assert not os.path.exists("~/a:b.jsonl")


def test_a_list_holds_the_samples_of_a_case(tmp_path: Path) -> None:
    rows = [
        {"id": "q1", "output": ["a", "b", "c", "d"]},
        {"id": "q2", "output": '["x", null, "z"]'},
        {"id": "q3", "output": "alone"},
    ]
    loaded = load_cases(CaseSource(jsonl(tmp_path / "cases.jsonl", CASES)))
    file = jsonl(tmp_path / "base.jsonl", rows)
    found = read_recording(Recording("base", file), loaded, n_samples=3)
    samples = {case: [found.sample(case, i) for i in range(3)] for case in ("q1", "q2", "q3")}
    assert samples["q1"] == ["a", "b", "c"]
    assert samples["q2"][:2] == ["x", "z"]
    assert samples["q3"] == [
        "alone",
        *[NoResult("output has 1 of the samples of this case")] * 2,
    ]


def test_samples_without_a_list_are_refused(tmp_path: Path) -> None:
    loaded = load_cases(CaseSource(jsonl(tmp_path / "cases.jsonl", CASES)))
    file = jsonl(tmp_path / "base.jsonl", [{"id": "q1", "output": "alone"}])
    with pytest.raises(OptionError, match="--samples 3: no row of .* holds so many completions"):
        read_recording(Recording("base", file), loaded, n_samples=3)


def test_more_samples_than_the_longest_list_are_refused(tmp_path: Path) -> None:
    loaded = load_cases(CaseSource(jsonl(tmp_path / "cases.jsonl", CASES)))
    rows = [{"id": "q1", "output": ["a", "b", "c"]}, {"id": "q2", "output": ["a"]}]
    file = jsonl(tmp_path / "base.jsonl", rows)
    with pytest.raises(OptionError, match="--samples 5: .* the longest list has 3"):
        read_recording(Recording("base", file), loaded, n_samples=5)
