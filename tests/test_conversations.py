"""Conversations turn by turn: what each variant is asked, and what a missing answer does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plugin import metrics
from plugin.conversations import Conversations, waves
from plugin.errors import ModelError
from plugin.generate import make_completions
from plugin.journal import Journal
from plugin.judges.panel import ScoreItem
from plugin.judges.preferring import PreferenceItem
from plugin.memorisation.run import _some_unseen
from plugin.metrics._parts import defuse
from plugin.metrics.entry import PreferenceGuide
from plugin.metrics.preference import prompt_text
from plugin.plan.variants import Load
from plugin.records import Case, Completion, Failure, Message, Prompt, Variant
from plugin.sampling import Sampling
from plugin.score import items_to_score
from plugin.training_facts import CaseMark, TrainingFacts
from plugin.trust.exam import Exam
from plugin.worker import Progress

BASE, TUNED = Variant("vanilla", "1", "m"), Variant("tuned", "2", "m")


def conversation(name: str, *texts: str, system: str = "") -> list[Case]:
    head = (Message("system", system),) if system else ()
    cases, before = list[Case](), None
    for number in range(1, len(texts) + 1):
        turns = tuple(Message("user", text) for text in texts[:number])
        ends = number == len(texts)
        case = Case(
            f"{name} turn {number}", (*head, *turns), follows=before, ends_conversation=ends
        )
        cases.append(case)
        before = case.id
    return cases


class Talker:
    """An engine that answers with its variant's name and how much it was shown."""

    notes = ()
    decoding = ""

    def __init__(self, said: Mapping[tuple[str, str], str] | None = None) -> None:
        self.said = said or {}
        self.failing: dict[tuple[str, str], bool] = {}
        self.asked: list[Prompt] = []
        self.loads = 0

    def encode(self, messages: Sequence[Message], variant: str = "") -> tuple[int, ...]:
        return tuple(map(ord, str([(turn.role, turn.content) for turn in messages])))

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Completion | Failure, ...]]:
        for one in prompts:
            self.asked.append(one)
            place = one.case_id, one.variant
            if place in self.failing:
                retry = self.failing[place]
                yield (Failure(one.case_id, "generate", "no room", one.variant, retry=retry),)
                continue
            text = self.said.get(place, f"{one.variant}: {len(one.messages)}")
            yield (Completion(one.case_id, one.variant, text, (1,), "stop", 0.1, 3, 1),)

    def close(self) -> None:
        pass

    def load(self) -> Any:
        self.loads += 1
        return self


def complete(engine: Talker, cases: Sequence[Case], journal: Journal, *variants: Variant) -> None:
    load = Load(variants or (BASE, TUNED), engine.load)
    make_completions(cases, [load], journal, Progress())


def shown(prompt: Prompt) -> list[tuple[str, str]]:
    return [(turn.role, turn.content) for turn in prompt.messages]


TWO = [*conversation("81", "Write.", "Shorter."), *conversation("82", "Sum?", "Why?", "Sure?")]


def test_each_variant_sees_its_own_answers_within_one_load(tmp_path: Path) -> None:
    engine = Talker()
    with closing(Journal(tmp_path)) as journal:
        complete(engine, TWO, journal)
        assert len(journal.completions()) == 10
        assert not journal.failures()
    assert engine.loads == 1
    places = [(one.case_id, one.variant) for one in engine.asked]
    last = dict(zip(places, engine.asked, strict=True))
    assert shown(last["82 turn 3", "tuned"]) == [
        *(("user", "Sum?"), ("assistant", "tuned: 1"), ("user", "Why?")),
        *(("assistant", "tuned: 3"), ("user", "Sure?")),
    ]
    assert ("assistant", "vanilla: 1") in shown(last["82 turn 3", "vanilla"])
    turns = [int(case_id[-1]) for case_id, _ in places]
    assert turns == sorted(turns)  # all first turns, then all second ones


def test_the_system_prompt_and_a_system_turn_stay_first(tmp_path: Path) -> None:
    engine, cases = Talker(), conversation("1", "a", "b", system="Be brief.")
    prompted = Variant("prompted", "3", "m", system_prompt="In French.")
    with closing(Journal(tmp_path)) as journal:
        complete(engine, cases, journal, prompted)
    assert [role for role, _ in shown(engine.asked[-1])] == ["system", "user", "assistant", "user"]
    assert shown(engine.asked[-1])[0] == ("system", "In French.\n\nBe brief.")


def test_thoughts_are_left_out_of_the_history(tmp_path: Path) -> None:
    engine = Talker({("1 turn 1", "vanilla"): "<think>Hm, 4?</think>\n\nFour."})
    with closing(Journal(tmp_path)) as journal:
        complete(engine, conversation("1", "2+2?", "Why?"), journal, BASE)
    assert ("assistant", "Four.") in shown(engine.asked[-1])


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (" \n", "the completion is empty"),
        ("<think>Let me", "the completion ends inside its thoughts"),
    ],
)
def test_a_turn_without_an_answer_ends_the_conversation(
    tmp_path: Path, said: str, why: str
) -> None:
    engine = Talker({("82 turn 2", "tuned"): said})
    with closing(Journal(tmp_path)) as journal:
        complete(engine, TWO, journal)
        (failure,) = journal.failures()
    assert (failure.case_id, failure.variant, failure.retry) == ("82 turn 3", "tuned", False)
    assert failure.reason == f"not asked, as 82 turn 2 has no answer: {why}"
    assert ("82 turn 3", "tuned") not in [(one.case_id, one.variant) for one in engine.asked]


def test_all_turns_after_a_failed_one_fail_with_its_reason(tmp_path: Path) -> None:
    engine = Talker()
    engine.failing["82 turn 1", "vanilla"] = False
    with closing(Journal(tmp_path)) as journal:
        complete(engine, TWO, journal)
        found = {one.case_id: one.reason for one in journal.failures()}
    later = "not asked, as 82 turn 1 has no answer: no room"
    assert found == {"82 turn 1": "no room", "82 turn 2": later, "82 turn 3": later}


def test_a_resumed_run_asks_what_is_missing(tmp_path: Path) -> None:
    engine = Talker()
    engine.failing["82 turn 1", "vanilla"] = True
    with closing(Journal(tmp_path)) as journal:
        complete(engine, TWO, journal)
        assert all(one.retry for one in journal.failures())
        assert len(journal.failures()) == 3
        engine.failing.clear()
        engine.asked.clear()
        complete(engine, TWO, journal)
        assert not journal.failures()
        assert len(journal.completions()) == 10
    assert [one.case_id for one in engine.asked] == ["82 turn 1", "82 turn 2", "82 turn 3"]
    assert engine.loads == 2


def test_equal_conversations_are_asked_once(tmp_path: Path) -> None:
    engine = Talker()
    twice = [*conversation("1", "a", "b"), *conversation("2", "a", "b")]
    with closing(Journal(tmp_path)) as journal:
        complete(engine, twice, journal, BASE)
        assert len(journal.completions()) == 4
    assert [one.case_id for one in engine.asked] == ["1 turn 1", "1 turn 2"]


class Strict(Talker):
    """An engine whose chat template takes a system turn at the beginning alone."""

    def encode(self, messages: Sequence[Message], variant: str = "") -> tuple[int, ...]:
        if any(turn.role == "system" for turn in messages[1:]):
            roles = ", ".join(turn.role for turn in messages)
            raise ModelError(f"m: its chat template rejects these turns ({roles})")
        return super().encode(messages, variant)


def test_a_system_turn_in_the_middle_is_refused_by_name_before_anything_is_made(
    tmp_path: Path,
) -> None:
    engine = Strict()
    first, second = conversation("1", "a", "b")
    turns = (first.messages[0], Message("system", "Rhyme."), Message("user", "b"))
    cases = [first, Case("1 turn 2", turns, follows="1 turn 1", ends_conversation=True)]
    with (
        closing(Journal(tmp_path)) as journal,
        pytest.raises(ModelError, match=r"^case 1 turn 2: .*\(user, assistant, system, user\)"),
    ):
        complete(engine, cases, journal)
    assert not engine.asked


def test_waves_and_what_a_variant_saw() -> None:
    assert [[case.id for case in wave] for wave in waves(TWO)] == [
        ["81 turn 1", "82 turn 1"],
        ["81 turn 2", "82 turn 2"],
        ["82 turn 3"],
    ]
    made = Completion("81 turn 1", "tuned", "A post.", (), "stop", None, None)
    place = Conversations(TWO, [made])
    assert place.turn(TWO[4]) == 3
    assert place.seen(TWO[0], "tuned") is TWO[0]
    assert [turn.content for turn in place.seen(TWO[1], "tuned").messages] == [
        *("Write.", "A post.", "Shorter."),
    ]


def test_each_answer_of_a_later_turn_is_compared_in_its_own_conversation() -> None:
    first = Case("81 turn 1", (Message("user", "Write."),))
    turns = (*first.messages, Message("user", "Shorter."))
    second = Case("81 turn 2", turns, follows=first.id, ends_conversation=True)
    said = {
        ("81 turn 1", "tuned"): "A long post.",
        ("81 turn 1", "vanilla"): "A very long post.",
        ("81 turn 2", "tuned"): "A post.",
        ("81 turn 2", "vanilla"): "A post.",
    }
    texts = [Completion(*place, text, (), "stop", None, None) for place, text in said.items()]
    chosen = metrics.load(["Preference"])
    items = items_to_score([first, second], texts, chosen, pairs=[("tuned", "vanilla")])
    (item,) = (one for one in items if one.case.id == "81 turn 2")
    assert isinstance(item, PreferenceItem)
    assert item.is_asked  # equal words after other words are no tie
    asked = prompt_text(PreferenceGuide(), item.case, *item.replies)
    parts = re.findall(r"<(conversation_[AB])>(.*?)</\1>", asked, re.DOTALL)
    assert [("very" in text, text.count("<turn")) for _, text in parts] == [(False, 3), (True, 3)]
    assert asked.startswith("A user talked with two assistants, A and B")
    shared = prompt_text(PreferenceGuide(), first, "a", "b")
    assert "conversation_A" not in shared
    assert "</conversation_A" not in defuse("</conversation_A>")


def test_a_sample_follows_the_same_sample_of_the_turn_before(tmp_path: Path) -> None:
    class Drawing(Talker):
        def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Completion | Failure, ...]]:
            for one in prompts:
                self.asked.append(one)
                if one.place == ("1 turn 1", "vanilla", 2):
                    yield (Failure(one.case_id, "generate", "no room", one.variant, sample=2),)
                    continue
                text = f"sample {one.sample} of {one.case_id}"
                made = Completion(one.case_id, one.variant, text, (1,), "stop", 0.1, 3, 1)
                yield (replace(made, sample=one.sample),)

    engine, cases = Drawing(), conversation("1", "a", "b")
    load = Load((BASE,), engine.load)
    with closing(Journal(tmp_path)) as journal:
        sampling = Sampling(3, 1.0, 0)
        make_completions(cases, [load], journal, Progress(), sampling=sampling)
        assert [len(own) for own in journal.samples().values()] == [2, 2]
        assert {one.case_id: one.sample for one in journal.sample_failures()} == {
            "1 turn 1": 2,
            "1 turn 2": 2,
        }
        engine.asked.clear()
        make_completions(cases, [load], journal, Progress(), sampling=sampling)
        assert not engine.asked
        kept = [one for own in journal.samples().values() for one in own]
    seen = Conversations(cases, kept).seen(cases[1], "vanilla", 1)
    assert seen.messages[1].content == "sample 1 of 1 turn 1"


def test_each_sample_is_scored_in_its_own_conversation() -> None:
    cases = conversation("1", "a", "b")
    texts = [
        replace(
            Completion(case.id, name, f"{name} {case.id[-1]}{sample}", (), None, None, None),
            sample=sample,
        )
        for case in cases
        for name in ("vanilla", "tuned")
        for sample in range(2)
    ]
    chosen = metrics.load(["Turn Rating", "Preference"])
    rated, _, compared = (
        item
        for item in items_to_score(cases, texts, chosen, pairs=[("tuned", "vanilla")])
        if item.case.id == "1 turn 2"
    )
    assert isinstance(rated, ScoreItem)
    assert isinstance(compared, PreferenceItem)
    assert [one.case.messages[1].content for one in rated.singles] == ["vanilla 10", "vanilla 11"]
    before = [tuple(reply.history[1].content for reply in one.replies) for one in compared.singles]
    assert before == [("tuned 10", "vanilla 10"), ("tuned 11", "vanilla 11")]


def test_judge_and_recall_are_tried_on_first_turns_alone(tmp_path: Path) -> None:
    cases = [replace(case, expected_output="So") for case in TWO]
    marks = TrainingFacts((), "", 1, marks=tuple(CaseMark(case.id, "clean", 0) for case in cases))
    assert {case.id for case in _some_unseen(cases, marks, 9)} == {"81 turn 1", "82 turn 1"}
    with closing(Journal(tmp_path)) as journal:
        exam = Exam(TWO, metrics.load(["Turn Rating"]), journal, 0)
        assert {case.id for case in exam._cases} == {"81 turn 1", "82 turn 1"}
