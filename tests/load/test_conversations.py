"""Conversations of several user turns: which turns are asked, and what each of them holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plugin.errors import DataError
from plugin.load.cases import CaseSource, LoadedCases, load_cases
from plugin.load.recordings import RecordedCompletions, Recording, read_recording
from plugin.records import Message

MT_BENCH = {
    "question_id": 81,
    "category": "writing",
    "turns": ["Write a blog post.", "Rewrite it."],
    "reference": ["Once.", "Twice."],
}


def load(folder: Path, *rows: object, **options: Any) -> LoadedCases:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_cases(CaseSource(str(path), **options))


def chat(*turns: tuple[str, str], **more: object) -> dict[str, object]:
    return {"messages": [{"role": role, "content": text} for role, text in turns], **more}


def users(*texts: str) -> tuple[Message, ...]:
    return tuple(Message("user", text) for text in texts)


ANSWERED = chat(("user", "Hi"), ("assistant", "Ho"), ("user", "And?"), ("assistant", "Bye"))


def test_each_turn_of_mt_bench_is_a_case_of_its_conversation(tmp_path: Path) -> None:
    loaded = load(tmp_path, MT_BENCH)
    first, second = loaded.cases
    assert (first.id, second.id) == ("81 turn 1", "81 turn 2")
    assert (first.follows, second.follows) == (None, "81 turn 1")
    assert (first.ends_conversation, second.ends_conversation) == (False, True)
    assert (first.expected_output, second.expected_output) == ("Once.", "Twice.")
    assert second.messages == users("Write a blog post.", "Rewrite it.")
    assert {case.cluster for case in loaded.cases} == {"conversation 81"}
    assert {case.group for case in loaded.cases} == {"writing"}
    assert loaded.notes[1].startswith("1 conversation: every user turn is asked (2 cases)")


def test_the_prompts_of_mt_bench_on_the_hub_are_read_too(tmp_path: Path) -> None:
    row = {"prompt_id": 81, "category": "math", "prompt": ["2+2?", "Times 3?"], "reference": []}
    first, second = load(tmp_path, row).cases
    assert (second.id, second.group, second.input) == ("81 turn 2", "math", "Times 3?")
    assert first.expected_output is second.expected_output is None


def test_without_assistant_turns_each_user_turn_of_a_chat_is_asked(tmp_path: Path) -> None:
    row = chat(("system", "Be brief."), ("user", "Hi"), ("user", "And?"), ("assistant", "Bye"))
    first, second = load(tmp_path, row).cases
    assert first.messages == (Message("system", "Be brief."), *users("Hi"))
    assert second.messages == (Message("system", "Be brief."), *users("Hi", "And?"))
    assert (first.expected_output, second.expected_output) == (None, "Bye")


def test_assistant_turns_of_the_data_stay_unless_the_user_wants_own_ones(tmp_path: Path) -> None:
    kept = load(tmp_path, ANSWERED)
    assert len(kept.cases) == 1
    assert [turn.role for turn in kept.cases[0].messages] == ["user", "assistant", "user"]
    assert "--conversation own" in kept.notes[-1]
    first, second = load(tmp_path, ANSWERED, conversation="own").cases
    assert second.messages == users("Hi", "And?")
    assert (first.expected_output, second.expected_output) == ("Ho", "Bye")


def test_a_greeting_of_the_assistant_stays_before_the_first_turn(tmp_path: Path) -> None:
    row = chat(("assistant", "Welcome!"), ("user", "Hi"), ("assistant", "Ho"), ("user", "And?"))
    first, second = load(tmp_path, row, conversation="own").cases
    assert first.messages == (Message("assistant", "Welcome!"), *users("Hi"))
    assert second.messages == (Message("assistant", "Welcome!"), *users("Hi", "And?"))
    assert first.expected_output == "Ho"
    alone = load(tmp_path, chat(("assistant", "Welcome!"), ("user", "a"), ("user", "b")))
    assert len(alone.cases) == 2


def test_fixed_asks_one_turn_as_before(tmp_path: Path) -> None:
    loaded = load(tmp_path, MT_BENCH, conversation="fixed")
    (case,) = loaded.cases
    assert (case.id, case.input, case.follows, case.cluster) == (
        "81",
        MT_BENCH["turns"][0],
        None,
        None,
    )  # type: ignore[index]
    assert "only the first turn is asked" in loaded.notes[-1]


def test_each_conversation_goes_its_own_way(tmp_path: Path) -> None:
    loaded = load(tmp_path, chat(("user", "a"), ("user", "b")), ANSWERED, chat(("user", "c")))
    assert [case.id for case in loaded.cases] == ["1 turn 1", "1 turn 2", "2", "3"]
    assert len(loaded.notes) == 3


def test_a_conversation_of_one_turn_is_an_ordinary_case(tmp_path: Path) -> None:
    row = {"question_id": 81, "turns": ["Why?"], "reference": ["So."]}
    (case,) = load(tmp_path, row, conversation="own").cases
    assert (case.id, case.cluster, case.follows, case.ends_conversation) == (
        "81",
        None,
        None,
        False,
    )
    assert case.expected_output == "So."


def test_a_cluster_column_counts_more_than_the_conversation(tmp_path: Path) -> None:
    loaded = load(tmp_path, {**MT_BENCH, "cluster": "posts"})
    assert [case.cluster for case in loaded.cases] == ["posts", "posts"]


def test_a_draw_takes_whole_conversations(tmp_path: Path) -> None:
    rows = [{"question_id": i, "turns": [f"{i}?", f"{i}!", f"{i}."]} for i in range(10)]
    loaded = load(tmp_path, *rows, limit=0.4)
    assert len(loaded.cases) == 12
    assert len({case.cluster for case in loaded.cases}) == 4


def test_what_an_answer_must_contain_is_meant_for_the_last_turn(tmp_path: Path) -> None:
    first, second = load(tmp_path, {**MT_BENCH, "expect": "title"}).cases
    assert (first.expect, second.expect) == ((), ("title",))


def test_the_same_conversation_twice_is_one_cluster(tmp_path: Path) -> None:
    other = {**MT_BENCH, "question_id": 82}
    same_start = {**MT_BENCH, "question_id": 83, "turns": ["Write a blog post.", "Translate it."]}
    elsewhere = {**MT_BENCH, "question_id": 84, "turns": ["Write a poem.", "Rewrite it."]}
    loaded = load(tmp_path, MT_BENCH, other, same_start, elsewhere)
    clusters = {case.id: case.cluster for case in loaded.cases}
    assert clusters["81 turn 2"] == clusters["82 turn 2"] == clusters["83 turn 2"]
    assert clusters["84 turn 2"] != clusters["81 turn 2"]  # the same words in another conversation
    assert (loaded.repeats.n, loaded.repeats.n_clusters) == (3, 2)


def test_an_answer_in_the_middle_changes_the_digest(tmp_path: Path) -> None:
    other = {**MT_BENCH, "reference": ["Never.", "Twice."]}
    assert load(tmp_path, MT_BENCH).digest != load(tmp_path, other).digest


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({**MT_BENCH, "turns": []}, "turns is an empty list; it must be a list of questions"),
        ({**MT_BENCH, "turns": 7}, "turns is a number (7); it must be a list of questions"),
        ({**MT_BENCH, "turns": None}, "turns is null; it must be a list of questions"),
        ({**MT_BENCH, "turns": ["Hi", 7]}, "turns, turn 2 is a number (7); it must be text"),
        ({**MT_BENCH, "turns": ["Hi", " "]}, "turns, turn 2 is empty"),
        (
            {**MT_BENCH, "reference": ["Once."]},
            "reference has 1 answer for 2 turns; it must be a list with one answer for each turn",
        ),
        ({**MT_BENCH, "reference": [1, 2, 3]}, "reference has 3 answers for 2 turns"),
        ({**MT_BENCH, "reference": 7}, "reference has a number (7) for 2 turns"),
        (chat(("user", " "), ("user", "b")), "messages, turn 1: the user turn is empty"),
        (
            chat(("user", "a"), ("user", "b"), ("system", "Stop.")),
            "messages has a system turn after the last user turn",
        ),
    ],
)
def test_what_is_wrong_with_a_conversation_is_named(
    tmp_path: Path, row: dict[str, object], said: str
) -> None:
    with pytest.raises(DataError) as caught:
        load(tmp_path, row)
    assert said in str(caught.value)


def test_a_text_for_one_reference_is_refused_where_there_are_two_turns(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="reference has 1 answer for 2 turns"):
        load(tmp_path, {**MT_BENCH, "reference": "Once."})


def test_the_id_of_a_turn_may_not_be_the_id_of_another_row(tmp_path: Path) -> None:
    other = {"question_id": "81 turn 2", "turns": ["Why?"]}
    with pytest.raises(DataError, match="id '81 turn 2' is also the id of"):
        load(tmp_path, MT_BENCH, other)


def test_a_system_turn_in_the_middle_stays_where_it_is(tmp_path: Path) -> None:
    row = chat(("user", "a"), ("system", "Rhyme."), ("user", "b"))
    first, second = load(tmp_path, row).cases
    assert first.messages == users("a")
    assert second.messages == (*users("a"), Message("system", "Rhyme."), *users("b"))


def recorded(folder: Path, rows: list[dict[str, object]], column: str) -> RecordedCompletions:
    loaded = load(folder, MT_BENCH, {"question_id": 82, "turns": ["Why?"]})
    path = folder / "made.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_recording(Recording("base", str(path), column), loaded)


WANTED = {"81 turn 1": "A post", "81 turn 2": "A shorter one", "82": "So."}


@pytest.mark.parametrize(
    "rows",
    [
        [{"id": name, "output": text} for name, text in WANTED.items()],
        [{**MT_BENCH, "output": ["A post", "A shorter one"]}, {"question_id": 82, "output": "So."}],
        [
            {**MT_BENCH, "output": '["A post", "A shorter one"]'},
            {"question_id": "82", "turns": ["Why?"], "output": ["So."]},
        ],
        [
            {"question_id": 81, "output": [{"index": 0, "turns": ["A post", "A shorter one"]}]},
            {"question_id": 82, "output": [{"index": 0, "turns": ["So."]}]},
        ],
    ],
    ids=["a row for each turn", "a list", "a list as text", "MT-Bench's own answers"],
)
def test_recorded_completions_of_turns(tmp_path: Path, rows: list[dict[str, object]]) -> None:
    found = recorded(tmp_path, rows, "output")
    assert found.texts == WANTED
    assert (found.missing, found.n_unmatched) == ({}, 0)


def test_a_turn_without_a_recorded_completion_is_missing(tmp_path: Path) -> None:
    found = recorded(tmp_path, [{**MT_BENCH, "output": ["A post"]}], "output")
    assert found.texts == {"81 turn 1": "A post"}
    assert sorted(found.missing) == ["81 turn 2", "82"]


def test_a_text_that_looks_like_a_list_is_one_completion(tmp_path: Path) -> None:
    found = recorded(tmp_path, [{"id": "82", "output": '["So."]'}], "output")
    assert found.texts == {"82": '["So."]'}


def test_recorded_completions_of_another_conversation_are_refused(tmp_path: Path) -> None:
    row = {**MT_BENCH, "turns": ["Write a blog post.", "Translate it."], "output": ["A", "B"]}
    with pytest.raises(DataError, match="another input for the same id in 1 of 2 cases"):
        recorded(tmp_path, [row], "output")
