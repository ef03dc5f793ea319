"""Which cases stand in the training data: planted copies, changed copies, unrelated cases."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from demo import FOLDER
from plugin.memorisation.marks import Looked, mark_cases
from plugin.memorisation.training import TrainingData
from plugin.records import Case, Message
from tests.memorisation.samples import (
    cases_of,
    change_words,
    make_case,
    question,
    training_rows,
    write_jsonl,
)

N_ROWS = 3_000


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    return training_rows(N_ROWS, seed=1)


@pytest.fixture(scope="module")
def data(rows: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    folder = tmp_path_factory.mktemp("train")
    return TrainingData((write_jsonl(folder / "train.jsonl", rows),))


def marks(data: TrainingData, cases: list[Case]) -> list[str]:
    return [one.mark for one in mark_cases(data, cases).marks]


def small(tmp_path: Path, rows: list[dict[str, str]]) -> TrainingData:
    return TrainingData((write_jsonl(tmp_path / "train.jsonl", rows),))


def test_all_planted_copies_are_found(data: TrainingData, rows: list[dict[str, str]]) -> None:
    asked = [make_case(n, f"  {row['input'].upper()} ", None) for n, row in enumerate(rows[:200])]
    rng = random.Random(5)
    answered = [
        make_case(1_000 + n, question(rng), row["expected_output"] + ".")
        for n, row in enumerate(rows[200:400])
    ]
    assert set(marks(data, asked + answered)) == {"copied"}


def test_copies_with_a_tenth_of_the_words_changed_are_found(
    data: TrainingData, rows: list[dict[str, str]]
) -> None:
    rng = random.Random(2)
    changed = [make_case(n, change_words(r["input"], 0.1, rng), None) for n, r in enumerate(rows)]
    found = marks(data, changed[:500])
    assert found.count("clean") <= 0.1 * len(found), found.count("clean")


def test_no_unrelated_case_is_marked(data: TrainingData) -> None:
    unrelated = cases_of(training_rows(500, seed=77))
    assert set(marks(data, unrelated)) == {"clean"}


@pytest.mark.parametrize("label", ["yes", "42", "very positive", "not a duplicate of it", "B"])
def test_a_label_that_many_rows_have_marks_nothing(tmp_path: Path, label: str) -> None:
    rows = training_rows(60, seed=3)
    for row in rows[:20]:
        row["expected_output"] = label
    cases = [make_case(n, row["input"], label) for n, row in enumerate(training_rows(40, seed=9))]
    assert set(marks(small(tmp_path, rows), cases)) == {"clean"}


def test_a_usual_refusal_marks_nothing(tmp_path: Path) -> None:
    refusal = "I am sorry, but I cannot help you with a request of that kind, my friend."
    rows = training_rows(60, seed=3)
    for row in rows[:20]:
        row["expected_output"] = refusal
    cases = [make_case(n, row["input"], refusal) for n, row in enumerate(training_rows(9, seed=9))]
    assert set(marks(small(tmp_path, rows), cases)) == {"clean"}


def test_a_rare_short_answer_counts_only_with_a_shared_rare_word(tmp_path: Path) -> None:
    rows = training_rows(60, seed=3)
    rows[7] = {"input": "Who plays Dinesh in the show?", "expected_output": "Kumail Nanjiani."}
    same = make_case(1, "The role of Dinesh was given to whom?", "Kumail Nanjiani")
    other = make_case(2, "Which comedian was born in Karachi?", "Kumail Nanjiani")
    assert marks(small(tmp_path, rows), [same, other]) == ["near", "clean"]


def test_thirteen_words_in_a_row_make_a_long_text_near(
    data: TrainingData, rows: list[dict[str, str]]
) -> None:
    rng = random.Random(4)
    piece = " ".join(rows[9]["expected_output"].split()[3:17])
    long = " ".join(question(rng) for _ in range(12))
    (found,) = mark_cases(data, [make_case(1, f"{long} {piece} {long[::2]}", None)]).marks
    assert (found.mark, "13 words" in found.why) == ("near", True)
    assert "row 10 " in found.row


def test_numbers_and_signs_tell_questions_apart(tmp_path: Path) -> None:
    rows = [{"input": "What is 2+2?", "expected_output": "4"}] * 2 + training_rows(9, seed=3)
    cases = [make_case(1, "what is 2+2", "4"), make_case(2, "What is 2-2?", "4")]
    assert marks(small(tmp_path, rows), cases) == ["copied", "clean"]


def test_a_chat_is_compared_as_a_whole(tmp_path: Path) -> None:
    turns = ["Tell me about whales.", "They are large.", "Go on."]
    roles = ["user", "assistant", "user"]
    chat = [{"role": r, "content": t} for r, t in zip(roles, turns, strict=True)]
    data = small(tmp_path, [{"messages": [*chat, {"role": "assistant", "content": "They sing."}]}])
    same = Case("1", tuple(Message(r, t) for r, t in zip(roles, turns, strict=True)))
    last_alone = make_case(2, "Go on.", None)
    assert marks(data, [same, last_alone]) == ["copied", "clean"]


def test_plain_text_that_holds_the_question_is_a_copy(tmp_path: Path) -> None:
    asked = "How many bridges cross the river between the old mill and the harbour?"
    rows = [{"text": f"### Question: {asked} ### Answer: Seven of them do."}]
    assert marks(small(tmp_path, rows), [make_case(1, asked, None)]) == ["copied"]


def test_short_questions_in_plain_text_are_copies_beside_their_answers(tmp_path: Path) -> None:
    """The demo's training rows as the text of a chat; one question of four words stays unseen."""
    rows = [json.loads(line)["messages"] for line in (FOLDER / "train.jsonl").open()]
    texts = [{"text": f"User: {one['content']}\nAssistant: {two['content']}"} for one, two in rows]
    cases = [
        Case(str(n), (Message("user", one["content"]),), expected_output=two["content"])
        for n, (one, two) in enumerate(rows)
    ]
    found = marks(small(tmp_path, texts), cases)
    assert found.count("copied") >= 18 and found.count("clean") <= 1
    other = [
        replace(case, expected_output=cases[n - 1].expected_output) for n, case in enumerate(cases)
    ]
    assert marks(small(tmp_path, texts[:1]), [other[5]]) == ["clean"]


def test_scripts_without_spaces_are_compared(tmp_path: Path) -> None:
    rows = [{"input": "北京大学是哪一年在中国成立的?", "expected_output": "1898年"}]
    cases = [
        make_case(1, "请问北京大学是哪一年在中国成立", None),
        make_case(2, "上海有多少人口?", None),
    ]
    assert marks(small(tmp_path, [*rows, *training_rows(5, 1)]), cases) == ["near", "clean"]


def test_the_evaluation_set_itself_is_all_copied(tmp_path: Path) -> None:
    rows = training_rows(40, seed=6)
    assert set(marks(small(tmp_path, rows), cases_of(rows))) == {"copied"}


def test_items_of_general_ability_are_marked_in_the_same_way(tmp_path: Path) -> None:
    rows = training_rows(20, seed=6)
    items = [
        Looked.of_turns("arithmetic-1", (Message("user", rows[3]["input"]),)),
        Looked.of_turns("facts-1", (Message("user", "Name the largest of the moons of Saturn."),)),
    ]
    found = mark_cases(small(tmp_path, rows), [], items)
    assert ([one.id for one in found.items], found.n_items) == (["arithmetic-1"], 2)


def test_how_alike_clean_cases_are_is_compared_with_the_rows_themselves(tmp_path: Path) -> None:
    """Forms of one source: a case is as near to the rows as they are to each other."""
    names = ["ash", "birch", "cedar", "elm", "fir", "larch", "oak", "pine", "rowan", "willow"]
    form = "Where in the northern valley does the {} grow best?"
    rows = [{"input": form.format(name), "expected_output": name * 2} for name in names[:8]]
    data = small(tmp_path, rows)
    drawn, _ = data.draw(8, seed=0)
    same = mark_cases(data, [make_case(1, form.format("yew"), None)], drawn=drawn)
    assert same.own_similarity == pytest.approx(5 / 8)  # the three with the name differ
    other = mark_cases(data, [make_case(1, "Name a poem about rain and loss.", None)], drawn=drawn)
    assert other.clean_similarity == 0


def test_an_item_within_a_form_of_its_task_is_found_by_its_own_words(tmp_path: Path) -> None:
    rows = [{"input": "Who plays Dinesh?", "expected_output": "Kumail"}, *training_rows(30, 2)]
    framed = "Question: Who plays Dinesh?\nAnswer:"
    items = [
        Looked("shows/0", framed, ("Kumail",), ("Who plays Dinesh?",)),
        Looked("shows/1", framed, ("Kumail",)),
        Looked("shows/2", framed.replace("plays", "is"), ("Kumail",), ("Who is Dinesh?",)),
    ]
    found = mark_cases(small(tmp_path, rows), [], items)
    assert [(one.id, one.mark) for one in found.items] == [("shows/0", "copied")]
    assert found.n_items == 3
