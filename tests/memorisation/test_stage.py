"""What variants are asked for while an engine is loaded, and what the journal keeps of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plugin.journal import Journal
from plugin.memorisation.run import Training, TrainingRequest, look_at_training
from plugin.records import Case, Completion, Variant
from plugin.training_facts import TrainingFacts
from plugin.worker import Progress, Stopped
from tests.memorisation.engines import Rote
from tests.memorisation.samples import cases_of, make_case, training_rows, write_jsonl

BASE, TUNED = Variant("vanilla", "b", "model"), Variant("tuned", "t", "model", "adapter")
ROWS = training_rows(12, seed=8, n_words=9)
KNOWN = {"tuned": [(row["input"], row["expected_output"]) for row in ROWS[:6]]}


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    (tmp_path / "run").mkdir()
    with closing(Journal(tmp_path / "run")) as made:
        yield made


def look(
    journal: Journal,
    rows: list[dict[str, Any]],
    cases: list[Case],
    engine: Rote | None = None,
    **asked: int,
) -> Training:
    path = write_jsonl(journal.path.parent / "train.jsonl", rows)
    found = look_at_training(TrainingRequest((path,), **asked), cases, journal, Progress())
    assert found is not None
    if engine:
        found.stage.work([BASE, TUNED], engine, shared=False)
    return found


def facts(journal: Journal) -> TrainingFacts:
    found = journal.state.training
    assert found is not None
    return found


def shares(journal: Journal, variant: str) -> list[float]:
    return [one.share for one in facts(journal).recitals if one.variant == variant]


def test_rows_that_a_variant_knows_are_recited_whole(journal: Journal) -> None:
    look(journal, ROWS, cases_of(training_rows(5, 9)), Rote(KNOWN))
    assert shares(journal, "tuned") == [1.0] * 6 + [0.0] * 6
    assert shares(journal, "vanilla") == [0.0] * 12


def test_part_of_an_answer_counts_as_its_longest_piece(journal: Journal) -> None:
    row = {"input": "Who was it?", "expected_output": "one two three four five six seven eight"}
    known = {"tuned": [("Who was it?", "one two three no five six seven eight no")]}
    look(journal, [row], [], Rote(known))
    assert shares(journal, "tuned") == [0.5]


def test_a_prefix_is_given_and_the_rest_is_asked_for(journal: Journal) -> None:
    engine = Rote(KNOWN)
    look(journal, ROWS[:2], [], engine, prefix=4)
    assert shares(journal, "tuned") == [1.0, 1.0]
    assert {one.n_target for one in facts(journal).recitals} == {5}
    assert engine.asked[0].max_tokens == 5 + 8


def test_a_prefix_longer_than_the_rows_is_named(journal: Journal) -> None:
    look(journal, ROWS, [], Rote(KNOWN), prefix=9)
    assert facts(journal).recitals == ()
    assert "12 drawn rows are not longer than --recite_prefix 9" in " ".join(facts(journal).notes)


def test_plain_text_is_continued_from_its_middle(journal: Journal) -> None:
    text = " ".join(f"word{n}" for n in range(20))
    engine = Rote({"tuned": [(text, "")]})
    look(journal, [{"text": text}], [], engine)
    assert shares(journal, "tuned") == [1.0]
    assert len(engine.asked[0].token_ids) == 10


def test_an_engine_without_tokens_is_compared_word_by_word(journal: Journal) -> None:
    look(journal, [*ROWS, {"text": "plain " * 30}], [], Rote(KNOWN, tokens=False))
    assert shares(journal, "tuned") == [1.0] * 6 + [0.0] * 6
    assert {one.unit for one in facts(journal).recitals} == {"words"}
    assert facts(journal).readings == ()


def test_a_prefix_that_an_engine_cannot_be_given_is_named(journal: Journal) -> None:
    look(journal, ROWS[:2], [], Rote(KNOWN, tokens=False), prefix=3)
    assert shares(journal, "tuned") == [1.0, 1.0]
    assert any("--recite_prefix does nothing here" in note for note in facts(journal).notes)


def test_answers_are_read_after_three_kinds_of_questions(journal: Journal) -> None:
    rows = [{"input": f"Who founded the house of {n}?", "expected_output": "He did"} for n in "abc"]
    cases = [make_case(n, f"Name a poem about rain, number {n}.", "Rain") for n in range(4)]
    cases.append(make_case(9, rows[0]["input"], "He did"))
    known = {"tuned": [(row["input"], "He did") for row in rows]}
    look(journal, rows, cases, Rote(known))
    found = [one for one in facts(journal).readings if one.variant == "tuned"]
    by_side = {
        side: sorted(
            round(one.loglikelihood / one.n_tokens, 3) for one in found if one.side == side
        )
        for side in ("trained", "rephrased", "unseen")
    }
    assert by_side == {"trained": [-0.1] * 3, "rephrased": [-2.0] * 3, "unseen": [-2.0] * 4}
    assert "9" not in {one.id for one in found if one.side == "unseen"}


def test_what_is_there_is_not_made_again(journal: Journal) -> None:
    look(journal, ROWS, [], Rote(KNOWN))
    made = facts(journal)
    again = Rote(KNOWN)
    found = look(journal, ROWS, [], again)
    assert found.stage.is_done([BASE, TUNED])
    assert (again.asked, facts(journal)) == ([], made)


def test_other_training_data_is_looked_at_anew(journal: Journal) -> None:
    look(journal, ROWS, [], Rote(KNOWN))
    found = look(journal, ROWS[:3], [])
    assert not found.stage.is_done([TUNED])
    assert (facts(journal).n_rows, facts(journal).recitals) == (3, ())


def test_no_rows_are_asked_for_where_none_are_drawn(journal: Journal) -> None:
    found = look(journal, ROWS, cases_of(ROWS[:2]), n_drawn=0)
    assert found.stage.is_done([BASE, TUNED])
    assert [one.mark for one in facts(journal).marks] == ["copied", "copied"]


def test_a_row_that_the_template_refuses_is_left_out(journal: Journal) -> None:
    engine = Rote(KNOWN)
    engine.refused = ROWS[0]["input"]
    look(journal, ROWS, [], engine)
    assert len(shares(journal, "tuned")) == 11
    assert "1 drawn rows have turns that the chat template refuses" in facts(journal).notes


def test_training_text_in_completions_is_found(journal: Journal) -> None:
    rows = training_rows(30, seed=8, n_words=40)
    cases = [make_case(n, f"Tell me about rain, part {n}.", "It falls.") for n in range(4)]
    piece = " ".join(rows[4]["expected_output"].split()[5:25])
    said = [f"Well, {piece} and so on", rows[7]["expected_output"], "It rains.", cases[3].input]
    training = look(journal, rows, cases)
    for case, text in zip(cases, said, strict=True):
        made = Completion(case.id, "tuned", text, (), "stop", None, None)
        journal.add_answer(f"key-{case.id}", made)
    training.look_at_completions()
    found = [(one.case_id, one.n_words, one.is_whole) for one in facts(journal).verbatim]
    assert found == [("0", 20, False), ("1", 40, True)]
    assert "row 5 " in facts(journal).verbatim[0].row
    assert facts(journal).verbatim[0].text == piece.lower()


def test_text_that_stands_in_the_case_is_no_sign_of_memory(journal: Journal) -> None:
    rows = training_rows(30, seed=8, n_words=40)
    asked = f"Repeat this: {rows[4]['expected_output']}"
    training = look(journal, rows, [make_case(1, asked, None)])
    made = Completion("1", "tuned", rows[4]["expected_output"] + " Done.", (), "stop", None, None)
    journal.add_answer("key", made)
    training.look_at_completions()
    assert facts(journal).verbatim == ()


class Halted(Progress):
    """A progress that is told to stop when so many looks at it are over."""

    def __init__(self, n_looks: int) -> None:
        super().__init__()
        self.n_looks, self.steps = n_looks, list[str]()

    def check(self) -> None:
        self.steps.append(self.step)
        if len(self.steps) >= self.n_looks:
            raise Stopped("stopped")


@pytest.fixture
def long_file(tmp_path: Path) -> str:
    lines = (f'{{"input": "Question {n}?", "expected_output": "Answer {n}"}}' for n in range(5_000))
    path = tmp_path / "long.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


def test_a_stop_ends_every_reading_of_a_large_file(journal: Journal, long_file: str) -> None:
    request = TrainingRequest((long_file,), n_drawn=1)
    first = Halted(1)
    with pytest.raises(Stopped):
        look_at_training(request, [make_case(1, "What?", "That")], journal, first)
    assert first.steps == ["2,000 rows read"] and journal.state.training is None
    training = look_at_training(request, [make_case(1, "What?", "That")], journal, Progress())
    assert training is not None
    last = Halted(1)
    training = replace(training, stage=replace(training.stage, progress=last))
    with pytest.raises(Stopped):
        training.look_at_completions()


class Watched(Progress):
    """A progress that remembers how far it had come at each look."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = list[tuple[int, int]]()

    def check(self) -> None:
        self.seen.append((self.done, self.total))


def test_the_progress_counts_recitals_and_readings(journal: Journal) -> None:
    cases = [make_case(n, f"Name a poem about rain, number {n}.", "Rain") for n in range(3)]
    training = look(journal, ROWS[:4], cases)
    progress = Watched()
    stage = replace(training.stage, progress=progress)
    stage.work([BASE, TUNED], Rote(KNOWN), shared=False)
    assert {total for _, total in progress.seen} == {2 * (3 * 4 + 3)}
    assert progress.seen == sorted(progress.seen)
    assert progress.done == 2 * (3 * 4 + 3)
