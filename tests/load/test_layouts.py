"""Layouts of other tools: what becomes what, what is said, and that the user's options win."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from plugin.errors import DataError
from plugin.load.cases import CaseSource, LoadedCases, load_cases
from plugin.load.columns import Columns
from plugin.load.recordings import completion_columns, parse_recording, read_recording
from plugin.records import Case, Message

ALPACA = {"instruction": "Is it positive?", "input": "Dull.", "output": "no"}
HUMAN, GPT = {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ahoy!"}
USER, ASSISTANT = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ahoy!"}
LM_EVAL = {
    "doc_id": 7,
    "doc": {"question": "Why?"},
    "target": 42,
    "arguments": [["Q: Why?\nA:", {"until": ["\n"]}]],
    "resps": [["Because."]],
    "filtered_resps": ["Because."],
}
NAMED_REQUEST = {"gen_args_0": {"arg_0": "Q: Why?\nA:", "arg_1": {"until": ["\n"]}}}
MT_BENCH = {
    "question_id": 81,
    "category": "writing",
    "turns": ["Write a blog post.", "Rewrite it."],
    "reference": ["Once.", "Twice."],
}


def write(path: Path, rows: Sequence[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def load(folder: Path, *rows: object, **options: Any) -> LoadedCases:
    return load_cases(CaseSource(str(write(folder / "a.jsonl", rows)), **options))


def only(loaded: LoadedCases) -> Case:
    (case,) = loaded.cases
    return case


def asked(*texts: str) -> tuple[Message, ...]:
    return tuple(Message("user", text) for text in texts)


SYSTEM = (Message("system", "Be a pirate."), Message("user", "Hi"))


@pytest.mark.parametrize(
    ("row", "messages", "expected", "note"),
    [
        (
            ALPACA,
            asked("Is it positive?\n\nDull."),
            "no",
            "read as Alpaca: instruction + input -> input, output -> expected output",
        ),
        ({**ALPACA, "input": ""}, asked("Is it positive?"), "no", "read as Alpaca: "),
        (
            {**ALPACA, "system": "Be a pirate.", "instruction": "Hi", "input": None},
            SYSTEM,
            "no",
            "read as Alpaca: instruction + input -> input, output -> expected output, "
            "system -> system turn",
        ),
        (
            {"conversations": [HUMAN, GPT], "system": "Be a pirate.", "tools": ""},
            SYSTEM,
            "Ahoy!",
            "read as ShareGPT: conversations -> chat, its last answer -> expected output, "
            "system -> system turn",
        ),
        (
            {"conversations": [HUMAN], "chosen": GPT, "rejected": {"from": "gpt", "value": "Yo"}},
            asked("Hi"),
            "Ahoy!",
            "read as ShareGPT preferences: conversations -> chat, chosen -> expected output; "
            "rejected is not used",
        ),
        (
            {"messages": [USER, ASSISTANT]},
            asked("Hi"),
            "Ahoy!",
            "read as OpenAI chat: messages -> chat, its last answer -> expected output",
        ),
        (
            {"prompt": "Hi", "completion": "Ahoy!"},
            asked("Hi"),
            "Ahoy!",
            "read as prompt and completion: prompt -> input, completion -> expected output",
        ),
        (
            {"prompt": [USER], "completion": [ASSISTANT]},
            asked("Hi"),
            "Ahoy!",
            "read as prompt and completion: prompt -> input, completion -> expected output",
        ),
        (
            {"prompt": [USER], "chosen": [ASSISTANT], "rejected": [ASSISTANT]},
            asked("Hi"),
            "Ahoy!",
            "read as TRL preferences: prompt -> input, chosen -> expected output; "
            "rejected is not used",
        ),
        (
            {"chosen": [USER, ASSISTANT], "rejected": [USER, ASSISTANT]},
            asked("Hi"),
            "Ahoy!",
            "read as TRL preferences: chosen -> chat, its last answer -> expected output; "
            "rejected is not used",
        ),
        (
            MT_BENCH,
            asked("Write a blog post."),
            "Once.",
            "read as MT-Bench: turns -> user turns, reference -> expected output, question_id -> "
            "id, category -> group",
        ),
        (
            {"id": "a", "turns": ["Write a blog post.", "Shorter."], "reference": ["Once.", None]},
            asked("Write a blog post."),
            "Once.",
            "read as lists of user turns: turns -> user turns, reference -> expected output",
        ),
        (
            {**ALPACA, "generator": "gpt4", "dataset": "koala"},
            asked("Is it positive?\n\nDull."),
            None,
            "read as AlpacaEval outputs: instruction + input -> input, dataset -> group; output "
            "holds a model's completions, not reference answers: compare them with --recorded "
            "NAME=FILE:output",
        ),
        (
            LM_EVAL,
            asked("Q: Why?\nA:"),
            "42",
            "read as lm-eval samples: arguments -> input, target -> expected output, doc_id -> id; "
            "resps holds a model's completions, not reference answers: compare them with "
            "--recorded NAME=FILE:resps",
        ),
        ({**LM_EVAL, "arguments": NAMED_REQUEST}, asked("Q: Why?\nA:"), "42", "read as lm-eval"),
    ],
)
def test_known_layout(
    tmp_path: Path,
    row: dict[str, object],
    messages: tuple[Message, ...],
    expected: str | None,
    note: str,
) -> None:
    loaded = load(tmp_path, row, conversation="fixed")
    case = only(loaded)
    assert (case.messages, case.expected_output) == (messages, expected)
    assert loaded.notes[0].startswith(note)


def test_ids_and_groups_of_benchmarks(tmp_path: Path) -> None:
    case = only(load(tmp_path, MT_BENCH, conversation="fixed"))
    assert (case.id, case.group) == ("81", "writing")
    assert only(load(tmp_path, LM_EVAL)).id == "7"


@pytest.mark.parametrize(
    ("options", "asks", "expected"),
    [
        ({"input_template": "{input}"}, "Dull.", "no"),
        ({"columns": Columns(input="instruction")}, "Is it positive?", "no"),
        ({"columns": Columns(expected_output="gold")}, "Is it positive?\n\nDull.", "yes"),
        ({"columns": Columns(group="output")}, "Is it positive?\n\nDull.", None),
        ({"completion_columns": ("output",)}, "Is it positive?\n\nDull.", None),
    ],
)
def test_the_users_options_win(
    tmp_path: Path, options: dict[str, Any], asks: str, expected: str | None
) -> None:
    case = only(load(tmp_path, {**ALPACA, "gold": "yes"}, **options))
    assert (case.input, case.expected_output) == (asks, expected)


def test_a_column_of_the_plain_name_goes_before_that_of_a_layout(tmp_path: Path) -> None:
    row = {**ALPACA, "expected_output": "plain", "id": "a", "question_id": "b"}
    case = only(load(tmp_path, row))
    assert (case.id, case.expected_output) == ("a", "plain")


@pytest.mark.parametrize(
    ("row", "names", "way_out"),
    [
        ({"input": "q", "question": "Q"}, "column question looks", "--input_template"),
        ({"input": "q", "prompt": "Q", "query": "P"}, "columns prompt and query", "--input_column"),
        ({"input": "q", "messages": [USER]}, "column messages", "--input_column"),
        ({"input": "q", "conversations": [HUMAN]}, "column conversations", "--input_column"),
        ({"input": "q", "passage": "P"}, "column passage", "--context_column"),
        ({"input": "q", "Context": "P"}, "column Context", "--context_column"),
        ({"messages": [USER], "tools": [{"name": "f"}]}, "column tools", "models get no tools"),
        ({**ALPACA, "history": [["a", "b"]]}, "column history", "--input_template"),
        ({"input": "q", "userPrompt": "P"}, "column userPrompt", "--input_template"),
        ({"input": "q", "system": 4}, "column system", "--input_template"),
    ],
)
def test_what_looks_like_input_is_not_dropped_in_silence(
    tmp_path: Path, row: dict[str, object], names: str, way_out: str
) -> None:
    said = load(tmp_path, row).notes[-1]
    assert said.startswith(names) and way_out in said


@pytest.mark.parametrize(
    "row",
    [
        {"input": "q", "question": "", "tools": [], "history": "[]", "system": None},
        {"input": "q", "question_id": 4, "prompt_tokens": 9, "context_length": 2, "note": "x"},
        {"input": "q", "context": "c", "expected_output": "e", "group": "g"},
    ],
)
def test_nothing_is_said_of_what_is_no_input(tmp_path: Path, row: dict[str, object]) -> None:
    assert load(tmp_path, row).notes == ()


def test_a_system_column_beside_a_plain_input_is_the_system_turn(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"input": "Hi", "system": "Be a pirate."}, {"input": "Ho"})
    assert [case.messages for case in loaded.cases] == [SYSTEM, asked("Ho")]
    assert loaded.notes == ("recognised by their usual names: system -> system turn",)
    named = load(tmp_path, {"input": "Hi", "system": "linux"}, columns=Columns(group="system"))
    assert (only(named).messages, only(named).group) == (asked("Hi"), "linux")


def test_a_chats_own_system_turn_is_joined_to_that_of_the_column(tmp_path: Path) -> None:
    own = {"from": "system", "value": "Be short."}
    row = {"conversations": [own, HUMAN], "system": "Be a pirate."}
    same = {**row, "system": " Be short."}
    first, second = load(tmp_path, row, same).cases
    assert first.messages[0] == Message("system", "Be a pirate.\n\nBe short.")
    assert second.messages[0] == Message("system", "Be short.")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (
            {**ALPACA, "instruction": " ", "input": ""},
            "input is empty: there is no text in instruction, input",
        ),
        ({**MT_BENCH, "turns": []}, "turns is an empty list; it must be a list of questions"),
        ({**MT_BENCH, "turns": "Why?"}, None),
        (
            {**LM_EVAL, "arguments": [["Q", " a"], ["Q", " b"]]},
            "arguments holds 2 requests; it must hold one (a multiple-choice task",
        ),
        ({"prompt": "Q", "completion": [USER]}, "completion ends with a user turn"),
    ],
)
def test_rows_that_do_not_fit_their_layout(
    tmp_path: Path, row: dict[str, object], problem: str | None
) -> None:
    if problem is None:
        assert only(load(tmp_path, row)).input == "Why?"
        return
    with pytest.raises(DataError) as caught:
        load(tmp_path, row)
    assert problem in str(caught.value)


def test_unknown_columns_are_refused_with_the_options_to_give(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path, {"question": "Q", "answer": "A"})
    for way_out in (
        "--input_column question --expected_output_column answer?",
        "--input_template",
    ):
        assert way_out in str(caught.value)


def test_recorded_completions_are_no_expected_outputs() -> None:
    recorded = [parse_recording(text) for text in ("a=d.json:output", "b=e.json:x", "c=d.json")]
    found = completion_columns(recorded, "d.json")
    assert found[0] == "output" and {"completion", "c"} <= set(found) and "x" not in found
    assert completion_columns(recorded, "f.json") == ()


def test_lm_evals_answers_are_read_as_recorded_completions(tmp_path: Path) -> None:
    loaded = load(tmp_path, LM_EVAL)
    recording = parse_recording(f"base={loaded.source.dataset_name}:resps")
    assert read_recording(recording, loaded).texts == {"7": "Because."}
