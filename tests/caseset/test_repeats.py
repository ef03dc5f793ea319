"""What is dropped: repeats, near-duplicates, and what stands in the training data."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from plugin.caseset.files import jsonl_of
from plugin.caseset.pool import as_pool_row, draw_order
from plugin.caseset.records import EARLIER
from plugin.caseset.repeats import drop_near, drop_repeats, in_order
from plugin.errors import DataError, OptionError
from plugin.load.cases import CaseSource, load_cases
from plugin.memorisation.marks import mark_cases
from plugin.memorisation.training import TrainingData
from plugin.records import Message
from tests.caseset.samples import (
    build_from,
    near_to,
    pool_row,
    questions,
    write_questions,
    write_rows,
)
from tests.e2e.conftest import main
from tests.memorisation.samples import change_words, sentence


def test_of_repeats_one_with_an_answer_is_kept_whatever_their_order() -> None:
    rows = [
        pool_row("Who plays Dinesh?"),
        pool_row("who  plays Dinesh", expected_output="Kumail"),
        pool_row("WHO PLAYS DINESH", expected_output="Nanjiani"),
        pool_row("Who wrote it?"),
    ]
    kept, dropped = drop_repeats(rows)
    other, _ = drop_repeats(rows[::-1])
    assert kept == other and len(kept) == 2 and dropped.n == 2
    assert {row.case.expected_output is None for row in kept} == {True, False}
    assert len(dropped.examples) == 1


def test_another_context_is_no_other_question_but_another_system_turn_is() -> None:
    text = questions(1)[0]
    plain, informed = pool_row(text), pool_row(text, context=("It is so.",))
    turns = (Message("system", "Be brief."), *plain.case.messages)
    briefed = as_pool_row(replace(plain.case, messages=turns), "p")
    kept, dropped = drop_repeats([plain, informed, briefed])
    assert len(kept) == 2 and informed in kept and briefed in kept and dropped.n == 1
    assert len(drop_near(kept)[0]) == 2


def test_repeats_with_another_answer_are_counted() -> None:
    rows = [pool_row("Why?", expected_output=answer) for answer in ("a", "b", "b")]
    rows += [pool_row("Who?", expected_output=answer) for answer in ("c", "c", None)]
    assert drop_repeats(rows)[1].n_contradicted == 1


def test_near_duplicates_are_dropped_and_other_questions_are_not() -> None:
    texts, rng = questions(300), random.Random(0)
    near = [near_to(text, rng) for text in texts[:60]]
    rows = in_order(pool_row(text) for text in [*texts, *near])
    kept, dropped = drop_near(rows)
    assert dropped.n == 60 and len(kept) == 300
    assert all(one != other for one, other in dropped.examples)


def test_a_family_of_near_duplicates_leaves_one() -> None:
    rng, texts = random.Random(0), questions(2_000)
    family = [f"{texts[0].rstrip('?')} {sentence(rng, 2)}" for _ in range(35)]
    kept, dropped = drop_near(in_order(map(pool_row, [*texts, *family])))
    assert dropped.n == 35 and len(kept) == 2_000


def test_one_template_with_many_facts_is_no_family() -> None:
    rng = random.Random(0)
    texts = [f"In which year was the composer of {sentence(rng, 3)} born?" for _ in range(80)]
    assert drop_near(in_order(map(pool_row, texts)))[1].n == 0


@pytest.fixture(scope="module")
def overlapping(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A pool of which half stands in the training data, word for word or nearly."""
    folder, rng = tmp_path_factory.mktemp("overlap"), random.Random(1)
    texts = questions(200)
    answers = [sentence(rng, 12) for _ in texts]
    rows = [{"input": q, "expected_output": a} for q, a in zip(texts, answers, strict=True)]
    train = [
        *({"prompt": q.upper(), "completion": "x"} for q in texts[:30]),
        *({"prompt": change_words(q, 0.1, rng), "completion": "y"} for q in texts[30:70]),
        *({"prompt": f"Other {n}", "completion": a} for n, a in enumerate(answers[70:100])),
        *({"prompt": q, "completion": sentence(rng, 9)} for q in questions(300, 9)),
    ]
    return write_rows(folder / "pool.jsonl", rows), write_rows(folder / "train.jsonl", train)


def test_nothing_of_a_set_stands_in_the_training_data(
    overlapping: tuple[str, str], tmp_path: Path
) -> None:
    pool, train = overlapping
    made = build_from(pool, train=(train,))
    assert made.pool.dropped[2].n >= 95 and 80 <= len(made.rows) <= 105
    marked = 0
    for side in made.sides:
        file = tmp_path / f"{side.name}.jsonl"
        file.write_text(jsonl_of(side.rows, made.has_topics), "utf-8")
        cases = load_cases(CaseSource(str(file))).cases
        assert len(cases) == len(side.rows)
        marked += sum(
            one.mark != "clean" for one in mark_cases(TrainingData((train,)), cases).marks
        )
    assert marked == 0
    without = build_from(pool)
    found = mark_cases(TrainingData((train,)), [row.case for row in without.rows]).marks
    assert sum(one.mark != "clean" for one in found) == made.pool.dropped[2].n


def test_a_run_on_the_set_marks_no_case(overlapping: tuple[str, str], tmp_path: Path) -> None:
    pool, train = overlapping
    ended = main(
        *("cases", "build", pool, "--train", train, "--n", "60", "--out", str(tmp_path / "set"))
    )
    assert ended.code == 0, ended.err
    file = tmp_path / "set" / "cases.jsonl"
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    said = write_rows(
        tmp_path / "said.jsonl", [{"id": row["id"], "a": "no", "b": "yes"} for row in rows]
    )
    sides = [f"--recorded={name}={said}:{name}" for name in ("a", "b")]
    options = ("--predefined_tasks", "Token F1", "--train_data", train)
    ended = main(
        *("run", "--dataset_name", str(tmp_path / "set"), *sides, *options),
        *("--out", str(tmp_path / "run")),
    )
    assert ended.code == 0, ended.err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text("utf-8"))
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text("utf-8"))
    assert summary["n_cases"] == 60
    counts = summary["memorisation"]["counts"]
    assert counts["copied"] == counts["near"] == 0, counts
    digests = summary["provenance"]["digests"]
    assert digests["data set's content"] == manifest["sides"][0]["digest"]
    assert "the cases are version 1 of the evaluation set set (cases.jsonl)" in ended.out


def test_training_rows_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    pool = write_questions(tmp_path / "pool.jsonl", questions(9))
    train = Path(write_questions(tmp_path / "train.jsonl", questions(4, 5)))
    train.write_bytes(train.read_bytes()[:-9])
    (note,) = build_from(pool, train=(str(train),)).pool.notes
    assert note.startswith("1 row of the training data cannot be read")


def test_a_pool_that_stands_in_the_training_data_is_refused(tmp_path: Path) -> None:
    pool = write_questions(tmp_path / "pool.jsonl", questions(20))
    with pytest.raises(DataError, match="of 20 rows no question is left: 20 stand in the training"):
        build_from(pool, train=(pool,))


def test_a_pool_of_near_duplicates_alone_is_refused(tmp_path: Path) -> None:
    text = questions(1)[0]
    same = [text, text.upper(), f"{text.rstrip('?')} now", f"{text.rstrip('?')} again"]
    pool = write_questions(tmp_path / "pool.jsonl", same)
    with pytest.raises(DataError, match="one question is left: 1 repeat another one, 2 are near-"):
        build_from(pool)


def test_bad_training_files_are_named_by_their_own_option(tmp_path: Path) -> None:
    pool = write_questions(tmp_path / "pool.jsonl", questions(5))
    with pytest.raises(DataError, match=r"--train .*none\.jsonl does not exist"):
        build_from(pool, train=(str(tmp_path / "none.jsonl"),))
    with pytest.raises(OptionError, match="^--train names .* twice"):
        build_from(pool, train=(pool, pool))
    (tmp_path / "bad.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(DataError, match="^--train .*: no column with training text"):
        build_from(pool, train=(str(tmp_path / "bad.jsonl"),))


def test_of_a_huge_pool_the_part_that_would_be_drawn_first_is_kept() -> None:
    texts = questions(400)
    rows = [pool_row(text) for text in [*texts, *texts[:40]]]
    whole, _ = drop_repeats(rows)
    first = sorted(whole, key=lambda row: draw_order(row.key, 7))[:50]
    for order in (rows, rows[::-1]):
        part, dropped = drop_repeats(iter(order), most=50, seed=7)
        assert {row.key for row in part} == {row.key for row in first}
        repeated = {pool_row(text).key for text in texts[:40]} & {row.key for row in part}
        assert dropped.n == len(repeated) > 0
    pinned = replace(whole[0], place=EARLIER)
    part, _ = drop_repeats([pinned, *rows], most=50, seed=7)
    assert pinned in part
