"""Chat turns whose content is a list of parts: texts are read, other parts refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plugin.errors import DataError
from plugin.load.cases import CaseSource, load_cases
from plugin.records import Case, Message

TEXT = {"type": "text", "text": "Who?"}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}


def read(folder: Path, row: object) -> Case:
    (folder / "a.jsonl").write_text(json.dumps(row) + "\n")
    (case,) = load_cases(CaseSource(str(folder / "a.jsonl"))).cases
    return case


def chat(content: object, answer: object = "Me.", key: str = "content") -> dict[str, object]:
    if key == "value":
        turns = [{"from": "human", "value": content}, {"from": "gpt", "value": answer}]
        return {"conversations": turns}
    turns = [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]
    return {"messages": turns}


@pytest.mark.parametrize("key", ["content", "value"])
@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([TEXT], "Who?"),
        ([TEXT, {"type": "text", "text": "Say."}], "Who?\nSay."),
        ([{"type": "input_text", "text": "Who?"}], "Who?"),
        ([{"text": "Who?"}, {"type": None, "text": "Say."}], "Who?\nSay."),
        (["Who?", "Say."], "Who?\nSay."),
        ([{**TEXT, "image_url": None}], "Who?"),
        (TEXT, "Who?"),
    ],
)
def test_texts_are_read(tmp_path: Path, content: object, text: str, key: str) -> None:
    answer = [{"type": "output_text", "text": "Me."}]
    case = read(tmp_path, chat(content, answer, key))
    assert case.messages == (Message("user", text),)
    assert (case.expected_output, case.references) == ("Me.", ())


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([TEXT, IMAGE], "part 2 is of type 'image_url'; only text is read: remove such rows"),
        ([{"type": "image"}, TEXT], "part 1 is of type 'image'; only text is read"),
        ([{"type": "input_audio", "input_audio": {}}], "part 1 is of type 'input_audio'; only"),
        ([{"type": "text", "text": 4}], "part 1 has a number (4) as its text; it must be text"),
        ([{"type": "text"}], "part 1 has null as its text; it must be text"),
        ([{"image": "a.png"}], "part 1 has null as its text; it must be text"),
        ([{"type": ["text"]}], "part 1 is of type ['text']; only text is read"),
        ([4], "part 1 is a number (4); it must be an object"),
        ([], "the last user turn is empty"),
    ],
)
def test_other_parts_are_refused_by_name(tmp_path: Path, content: object, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, chat(content))
    assert "messages, turn 1" in str(caught.value) and problem in str(caught.value)


def test_an_input_and_an_expected_output_may_be_parts_too(tmp_path: Path) -> None:
    answer = [{"type": "text", "text": "Me."}, {"type": "text", "text": "Or you."}]
    case = read(tmp_path, {"input": [TEXT], "expected_output": answer})
    assert case.messages == (Message("user", "Who?"),)
    assert (case.expected_output, case.references) == ("Me.\nOr you.", ())
    with pytest.raises(DataError, match="input, part 2 is of type 'image_url'; only .* rows\n"):
        read(tmp_path, {"input": [TEXT, IMAGE]})
