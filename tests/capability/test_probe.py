"""The shipped items: read and checked, made anew by their generators, and answered by code."""

from __future__ import annotations

import ast
import json
import operator
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from plugin.capability import probe
from plugin.capability.probe import (
    FOLDER,
    ProbeError,
    abilities,
    probe_digest,
    probe_items,
    read_item,
)
from plugin.capability.records import Item
from plugin.capability.scoring import score_answer
from tools.probe.rows import GENERATORS, is_generated, new_text, read_rows

ITEMS = {item.id: item for item in probe_items("full")}
ROWS = [(file, row) for file in sorted(FOLDER.glob("*.jsonl")) for row in read_rows(file)]
OWN = ("arithmetic", "classification", "format_following", "strings", "word_problems")

ROW = {"id": "a-1", "input": "1 + 1?", "rule": "number", "check": {"answer": 2}, "level": 1}


def test_a_row_becomes_an_item() -> None:
    item = read_item(ROW | {"quick": True}, "sums")
    assert (item.id, item.ability, item.rule, item.is_quick) == ("a-1", "sums", "number", True)
    assert [(turn.role, turn.content) for turn in item.messages] == [("user", "1 + 1?")]


def test_a_chat_becomes_an_item() -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}]
    row = {**ROW, "messages": turns}
    del row["input"]
    assert len(read_item(row, "sums").messages) == 2


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"rule": "magic"}, "unknown rule 'magic'"),
        ({"rule": ["number"]}, "unknown rule"),
        ({"check": {}}, "needs answer"),
        ({"check": {"answer": 2, "anser": 3}}, "does not know anser"),
        ({"check": [2]}, "check must be a JSON object"),
        ({"rule": "json", "check": {}}, "needs one of equals"),
        ({"level": 4}, "level must be 1, 2 or 3"),
        ({"quick": "yes"}, "quick true or false"),
        ({"id": ""}, "the id '' must be a text"),
        ({"id": 7}, "the id 7 must be a text"),
        ({"input": " "}, "a turn is empty"),
        ({"input": None}, "a role and a content"),
        ({"messages": []}, "either input or messages"),
        ({"quik": True}, "unknown keys quik"),
    ],
)
def test_a_bad_row_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_item({**ROW, **change}, "sums")


@pytest.mark.parametrize("row", [[], "x", {"id": "a"}, None])
def test_no_row_is_refused(row: Any) -> None:
    with pytest.raises(ValueError, match="the row"):
        read_item(row, "sums")


@pytest.mark.parametrize(
    "turns",
    [[], ["hi"], [{"role": "user"}], [{"role": "judge", "content": "x"}], "hi"],
)
def test_a_bad_chat_is_refused(turns: Any) -> None:
    row = {key: value for key, value in ROW.items() if key != "input"} | {"messages": turns}
    with pytest.raises(ValueError):
        read_item(row, "sums")


def test_a_chat_that_ends_with_an_answer_is_refused() -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hi"}]
    row = {key: value for key, value in ROW.items() if key != "input"} | {"messages": turns}
    with pytest.raises(ValueError, match="the last turn"):
        read_item(row, "sums")


def test_all_that_is_wrong_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "sums.jsonl").write_text(f"{json.dumps(ROW)}\n{json.dumps(ROW)}\n\n{{\n[]\n")
    with pytest.raises(ProbeError) as raised:
        probe_items("full", tmp_path)
    for part in ("'a-1' stands in 2 rows", "line 4", "line 5", "install it again"):
        assert part in str(raised.value)


def test_a_folder_without_items_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match="has no items"):
        probe_items("quick", tmp_path)


def test_the_quick_set_is_part_of_the_full_one() -> None:
    quick, full = probe_items("quick"), probe_items("full")
    assert 0 < len(quick) < len(full)
    assert [item for item in full if item.is_quick] == list(quick)


def test_the_digest_stands_for_the_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [tmp_path / name for name in "abc"]
    for folder, answer in zip(folders, (2, 2, 3), strict=True):
        folder.mkdir()
        (folder / "sums.jsonl").write_text(json.dumps({**ROW, "check": {"answer": answer}}))
    one, same, other = map(probe_digest, folders)
    assert one == same != other
    assert abilities(folders[0]) == ("sums",)
    probe_digest.cache_clear()
    monkeypatch.setattr(probe, "PROBE_VERSION", "another")
    assert probe_digest(folders[0]) != one


def test_reading_takes_no_time() -> None:
    taken = []
    for _ in range(5):
        probe._all_items.cache_clear()
        began = time.perf_counter()
        probe_items("full")
        taken.append(time.perf_counter() - began)
    assert min(taken) < 0.1


@pytest.mark.parametrize("ability", GENERATORS)
def test_generated_rows_are_in_step(ability: str) -> None:
    file = FOLDER / f"{ability}.jsonl"
    assert new_text(ability, file) == file.read_text(encoding="utf-8"), (
        "python -m tools.probe.rows writes them anew"
    )


@pytest.mark.parametrize("ability", OWN)
def test_levels_and_the_quick_set_are_balanced(ability: str) -> None:
    rows = [row for file, row in ROWS if file.stem == ability]
    assert len(rows) >= 125
    for n_rows, part in ((len(rows), rows), (20, [row for row in rows if row.get("quick")])):
        levels = Counter(row["level"] for row in part)
        assert min(levels.values()) >= 0.22 * n_rows, levels
    assert 17 <= sum(row.get("quick", False) for row in rows) <= 24


def test_most_items_are_no_simple_templates() -> None:
    """Those of the arithmetic generator alone are: the others have wordings of their own."""
    own = [row for file, row in ROWS if file.stem in OWN]
    simple = [row for file, row in ROWS if file.stem == "arithmetic" and is_generated(row)]
    assert len(simple) < 0.2 * len(own)


def test_no_question_stands_there_twice() -> None:
    counts = Counter(" ".join(item.messages[-1].content.lower().split()) for item in ITEMS.values())
    assert [question for question, n in counts.items() if n > 1] == []


OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}


def value_of(node: ast.AST) -> float:
    match node:
        case ast.Expression(body=body):
            return value_of(body)
        case ast.Constant(value=int() | float() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -value_of(operand)
        case ast.BinOp(left=left, op=sign, right=right):
            return float(OPERATORS[type(sign)](value_of(left), value_of(right)))
    raise AssertionError(ast.dump(node))


FORMULAS: dict[str, str] = json.loads(
    (Path(__file__).parent / "formulas.json").read_text(encoding="utf-8")
)
"""Id of a handwritten item with a number -> how its answer is computed."""


@pytest.mark.parametrize("id", FORMULAS)
def test_the_answer_is_what_its_formula_gives(id: str) -> None:
    assert ITEMS[id].check["answer"] == pytest.approx(
        value_of(ast.parse(FORMULAS[id], mode="eval"))
    )


def test_every_handwritten_exercise_has_a_formula() -> None:
    by_hand = {
        row["id"]
        for file, row in ROWS
        if file.stem in ("arithmetic", "word_problems") and not is_generated(row)
    }
    assert by_hand == FORMULAS.keys()


SIMPLE = re.compile(r"(?:What is|Work out|Compute|Add|Multiply) (\d+) ([-+×*÷]) (\d+)[.?] ")


def test_simple_exercises_are_right() -> None:
    signs = {"+": ast.Add, "-": ast.Sub, "×": ast.Mult, "*": ast.Mult, "÷": ast.Div}
    n_checked = 0
    for item in ITEMS.values():
        if match := SIMPLE.match(item.messages[-1].content):
            answer = OPERATORS[signs[match[2]]](int(match[1]), int(match[3]))
            assert item.check["answer"] == answer, item
            n_checked += 1
    assert n_checked > 15


def right_answer(item: Item) -> str | None:
    """Return an answer as the check of an item has it; None where the check has none."""
    check = item.check
    match item.rule:
        case "number" | "label" | "choice":
            answer = check["answer"]
            return str(answer[0] if isinstance(answer, list) else answer)
        case "text" | "exact":
            return str(check["answers"][0])
        case "items":
            return ", ".join(check.get("items") or check["from"][: check["n"]])
        case "json" if "equals" in check:
            return json.dumps(check["equals"])
        case "table" if "rows" in check:
            table = [check.get("header", []), *check["rows"]]
            if check["style"] == "csv":
                return "\n".join(",".join(row) for row in table)
            table.insert(1, ["---"] * len(table[0]))
            return "\n".join(f"| {' | '.join(row)} |" for row in table)
    return None


def wordings(item: Item, answer: str) -> list[str]:
    """Return the right answer in several wordings."""
    next_turn = f"{answer}\n\nQuestion: What is the capital of Norway?\nAnswer: Oslo"
    texts = [answer, f" {answer}\n", next_turn, f"{answer}<|im_end|>"]
    if item.rule in ("number", "exact", "text", "label", "choice"):
        texts += [f"Answer: {answer}", f"The answer is {answer}", f"**{answer}**"]
    return texts


def test_the_expected_answer_scores_1_in_several_wordings() -> None:
    tries = [
        (item, text)
        for item in ITEMS.values()
        if (answer := right_answer(item))
        for text in wordings(item, answer)
    ]
    assert len(tries) > 3000
    assert [(item.id, text) for item, text in tries if score_answer(item, text)[0] < 1] == []


def wrong_answers(item: Item) -> list[str]:
    """Return answers that are near the right one, and wrong."""
    check = item.check
    match item.rule:
        case "number":
            answer = check["answer"][0] if isinstance(check["answer"], list) else check["answer"]
            off = 1 + 2 * float(check.get("tolerance", 0))
            return [f"{answer + off:g}", f"The answer is {answer - off:g}.", f"{answer}7"]
        case "label":
            return [label for label in check["labels"] if label != check["answer"]]
        case "choice":
            return [letter for letter in check["options"] if letter != check["answer"]]
        case "exact":
            answer = check["answers"][0]
            return [
                f"{answer}q",
                f"q{answer}",
                f"{answer} {answer} {answer} {answer}",
                answer.rstrip(".")[:-1],
            ]
        case "items" if "items" in check:
            items = check["items"]
            return [", ".join(items[1:]), ", ".join([*items, "thing"])]
        case "json" if "equals" in check:
            return [json.dumps([check["equals"]]), json.dumps(check["equals"])[:-1], "{}, []"]
    return []


def test_a_near_miss_scores_0() -> None:
    tries = [(item, text) for item in ITEMS.values() for text in wrong_answers(item)]
    assert len(tries) > 1000
    assert [(item.id, text) for item, text in tries if score_answer(item, text)[0] > 0] == []


def test_what_is_expected_can_be_said() -> None:
    for item in ITEMS.values():
        if item.rule == "label":
            assert item.check["answer"] in item.check["labels"], item.id
            assert set(item.check.get("also", {}).values()) <= set(item.check["labels"]), item.id
        if item.rule == "choice":
            assert item.check["answer"] in item.check["options"], item.id


def sentences_of(text: str) -> list[str]:
    return [part for part in re.split(r"(?<=[.?!:])\s+|\n", text) if part]


def parts_of(question: str) -> set[str]:
    """Return what a model says that repeats the question, or some of it."""
    whole = {question, question * 3}
    if re.search("Copy|Repeat|Reply with the exact", question):
        return whole  # the last part of it is the answer
    parts = sentences_of(question)
    return {*whole, question[: len(question) // 2], *parts[:1], *parts[-1:]}


def test_no_part_of_the_question_is_an_answer() -> None:
    tries = [
        (item, text)
        for item in ITEMS.values()
        if item.ability in OWN
        for text in parts_of(item.messages[-1].content)
    ]
    assert [(item.id, text) for item, text in tries if score_answer(item, text)[0] > 0] == []


JUNK = ("", "...", "I don't know.", "banana " * 200, "0" * 500, "I can't help with that.", "the")


@pytest.mark.parametrize("text", JUNK)
def test_one_answer_to_all_solves_next_to_nothing(text: str) -> None:
    own = [item for item in ITEMS.values() if item.ability in OWN]
    solved = [item.id for item in own if score_answer(item, text)[0] > 0]
    assert len(solved) <= 0.03 * len(own), solved
