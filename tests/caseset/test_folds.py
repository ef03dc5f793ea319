"""`cases build --folds K`: each question is tested once, by an adapter that never saw it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from plugin.caseset.folds import FoldSet, build_folds, fold_name
from plugin.caseset.pool import PoolReader
from plugin.history.folds import find_manifest
from plugin.load.cases import CaseSource, load_cases
from plugin.load.columns import Columns
from plugin.load.fold_manifest import question_digest, read_manifest
from plugin.memorisation.marks import mark_cases
from plugin.memorisation.training import TrainingData
from tests.caseset.samples import near_to, questions, write_rows
from tests.e2e.conftest import main
from tests.memorisation.samples import WORDS


def answered(texts: list[str], seed: int = 0, **more: Any) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    return [
        {"input": text, "expected_output": " ".join(rng.sample(WORDS, 10)), **more}
        for text in texts
    ]


def folds_from(path: Path, rows: list[dict[str, Any]], k: int = 3) -> FoldSet:
    return build_folds(PoolReader((write_rows(path, rows),)), k)


def fold_of(made: FoldSet) -> dict[str, str]:
    return {row.case.input: fold.name for fold in made.folds for row in fold.test}


@pytest.mark.parametrize("seed", range(4))
def test_added_rows_move_no_question(tmp_path: Path, seed: int) -> None:
    """Whatever is added, and wherever: repeats, near-duplicates and others."""
    rng = random.Random(seed)
    rows = answered(questions(40, seed), seed)
    before = fold_of(folds_from(tmp_path / "a.jsonl", rows))
    added = [near_to(row["input"], rng) for row in rng.sample(rows, 12)]
    added += [row["input"].upper() for row in rng.sample(rows, 4)] + questions(25, seed + 100)
    more = [*rows, *answered(added, seed + 1)]
    rng.shuffle(more)
    after = fold_of(folds_from(tmp_path / "b.jsonl", more))
    kept = before.keys() & after.keys()
    assert len(kept) > 25
    assert {text: before[text] for text in kept} == {text: after[text] for text in kept}


def test_no_fold_trains_on_what_it_tests(tmp_path: Path) -> None:
    """Proven on the files, with the program's own marks; also for near-duplicates and repeats."""
    rng = random.Random(1)
    rows = answered(questions(45))
    twins = [near_to(row["input"], rng) for row in rows[:20]]
    rows += answered([*twins, *(row["input"].upper() for row in rows[20:30])], 5)
    rows += [{**row, "input": text} for row, text in zip(rows[:9], questions(9, 77), strict=True)]
    name = write_rows(tmp_path / "data.jsonl", rows)
    out = tmp_path / "folds"
    ended = main("cases", "build", name, "--folds", "3", "--out", str(out))
    assert ended.code == 0, ended.err
    assert "left out, like a question here" in ended.out
    n_tested = 0
    for fold in ("fold_1", "fold_2", "fold_3"):
        cases = load_cases(CaseSource(str(out / fold / "test.jsonl"))).cases
        data = TrainingData((str(out / fold / "train.jsonl"),))
        assert len(list(data.rows())) > 20 and len(cases) > 5
        marks = {mark.mark for mark in mark_cases(data, cases).marks}
        assert marks == {"clean"}
        n_tested += len(cases)
    assert 45 <= n_tested < len(rows)


def test_a_cluster_is_never_split(tmp_path: Path) -> None:
    rows = answered(questions(60))
    for at, row in enumerate(rows):
        row["cluster"] = f"customer {at % 20}"
    made = folds_from(tmp_path / "a.jsonl", rows)
    where: dict[str | None, set[str]] = {}
    for fold in made.folds:
        own = {row.case.cluster for row in fold.test}
        for cluster in own:
            where.setdefault(cluster, set()).add(fold.name)
        assert not own & {one.row.case.cluster for one in fold.train}
    assert len(where) == 20 and all(len(names) == 1 for names in where.values())


def test_trainers_and_this_program_read_both_files(tmp_path: Path) -> None:
    """mlx-lm loads a test.jsonl that lies beside train.jsonl, whether it is asked to or not."""
    from mlx_lm.tuner.datasets import load_local_dataset

    layouts: list[list[dict[str, Any]]] = [
        answered(questions(12), price=1.50, tags=[7]),
        [
            {"instruction": one["input"], "output": one["expected_output"], "input": ""}
            for one in answered(questions(12, 1))
        ],
        [
            {
                "messages": [
                    {"role": "system", "content": "Be short."},
                    {"role": "user", "content": one["input"]},
                    {"role": "assistant", "content": one["expected_output"]},
                ]
            }
            for one in answered(questions(12, 2))
        ],
    ]
    for at, rows in enumerate(layouts):
        name, out = write_rows(tmp_path / f"{at}.jsonl", rows), tmp_path / f"folds{at}"
        ended = main("cases", "build", name, "--folds", "2", "--out", str(out))
        assert ended.code == 0, ended.err
        train, _, test = load_local_dataset(out / "fold_1", None, object())  # type: ignore[arg-type]
        cases = load_cases(CaseSource(str(out / "fold_1" / "test.jsonl"))).cases
        assert len(test) == len(cases) and all(case.expected_output for case in cases)
        read = list(TrainingData((str(out / "fold_1" / "train.jsonl"),)).rows())
        assert len(train) == len(read) and all(row.answer for row in read)
        answers = {row.answer for row in read} | {case.expected_output for case in cases}
        assert len(answers) == 12
    kept = json.loads((tmp_path / "folds0/fold_1/train.jsonl").read_text().splitlines()[0])
    assert kept["price"] == 1.5 and kept["tags"] == [7]
    assert kept["prompt"] == kept["input"] and kept["completion"] == kept["expected_output"]


def read_back(out: Path, fold: str) -> tuple[int, int, int, set[str | None]]:
    """Rows in train.jsonl, those that can be read, tested cases, and all answers."""
    train = out / fold / "train.jsonl"
    data = TrainingData((str(train),))
    rows = list(data.rows())
    cases = load_cases(CaseSource(str(out / fold / "test.jsonl"))).cases
    answers = {row.answer for row in rows} | {case.expected_output for case in cases}
    return len(train.read_text().splitlines()), len(rows), len(cases), answers


def test_files_of_different_columns_are_read_back_whole(tmp_path: Path) -> None:
    """Of columns that only some rows have, others would have nothing to read."""
    first = answered(questions(12))
    other = [
        {
            "messages": [{"role": "user", "content": one["input"]}]
            + [{"role": "assistant", "content": one["expected_output"]}]
        }
        for one in answered(questions(12, 1), 1)
    ]
    names = [write_rows(tmp_path / f"{n}.jsonl", rows) for n, rows in enumerate((first, other))]
    out = tmp_path / "folds"
    ended = main("cases", "build", *names, "--folds", "2", "--out", str(out))
    assert ended.code == 0, ended.err
    assert "the files have different columns" in ended.out
    n_train, n_read, n_cases, answers = read_back(out, "fold_1")
    assert n_train == n_read and n_train + n_cases == 24 and len(answers) == 24


def test_several_right_answers_beside_single_ones(tmp_path: Path) -> None:
    rows = answered(questions(12))
    for row in rows[::2]:
        row["expected_output"] = [row["expected_output"], "or so"]
    name, out = write_rows(tmp_path / "a.jsonl", rows), tmp_path / "folds"
    ended = main("cases", "build", name, "--folds", "2", "--out", str(out))
    assert ended.code == 0, ended.err
    for fold in ("fold_1", "fold_2"):
        n_train, n_read, n_cases, answers = read_back(out, fold)
        assert n_train == n_read and None not in answers and len(answers) == n_train + n_cases
    cases = load_cases(CaseSource(str(out / "fold_1" / "test.jsonl"))).cases
    assert {len(case.right_answers) for case in cases} == {1, 2}


def test_the_manifest_names_digests_and_questions(tmp_path: Path) -> None:
    name, out = write_rows(tmp_path / "a.jsonl", answered(questions(20))), tmp_path / "folds"
    assert main("cases", "build", name, "--folds", "2", "--out", str(out)).code == 0
    file = out / "fold_2" / "test.jsonl"
    manifest = find_manifest(str(file))
    assert manifest == out / "folds.json"
    found = read_manifest(manifest)
    cases = load_cases(CaseSource(str(file))).cases
    assert found.folds[1].questions == tuple(question_digest(case) for case in cases)
    again = main("cases", "build", name, "--folds", "2", "--out", str(out))
    assert again.code == 0 and read_manifest(manifest).digest == found.digest


def test_the_commands_that_follow_are_printed(tmp_path: Path) -> None:
    name, out = write_rows(tmp_path / "a.jsonl", answered(questions(20))), tmp_path / "my folds"
    ended = main("cases", "build", name, "--folds", "2", "--out", str(out))
    assert f"mlx_lm.lora --train --model BASE --data '{out}/fold_2' " in ended.out
    assert f"--dataset_name '{out}/fold_1/test.jsonl' --train_data" in ended.out
    assert "python main.py compare --folds runs/fold_1 runs/fold_2" in ended.out
    assert "All folds together: The smallest gain" in ended.out


def test_rows_without_an_answer_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [*answered(questions(12)), *({"input": text} for text in questions(3, 9))]
    made = folds_from(tmp_path / "a.jsonl", rows, 2)
    assert (made.n_read, made.n_without_answer, len(made.test)) == (15, 3, 12)


def test_what_cannot_be_folded_is_refused(tmp_path: Path) -> None:
    few = write_rows(tmp_path / "few.jsonl", answered(questions(5)))
    bare = write_rows(tmp_path / "bare.jsonl", [{"input": text} for text in questions(5)])
    alike = [{**row, "expected_output": " ".join(WORDS[:12])} for row in answered(questions(5))]
    alike_file = write_rows(tmp_path / "alike.jsonl", alike)
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    ready = tmp_path / "ready"
    assert main("cases", "build", few, "--folds", "2", "--out", str(ready)).code == 0
    for words, message in (
        ([few, "--folds", "1"], "--folds 1 must be 2 or more"),
        ([few, "--folds", "0"], "--folds 0 must be 2 or more"),
        ([few, "--folds", "7"], "5 different questions make at most 5 folds"),
        ([few, "--folds", "5"], "no question falls on fold_"),
        ([few, "--folds", "x"], "--folds"),
        ([alike_file, "--folds", "2"], "repeats or nearly repeats one of its"),
        ([bare, "--folds", "2"], "of 5 rows none has an answer"),
        ([few, "--folds", "2", "--train", few], "--train has no meaning with --folds"),
        ([few, "--folds", "2", "--n", "9"], "--n has no meaning with --folds"),
        ([few, "--folds", "2", "--out", str(other)], "is not empty and has no folds.json"),
        ([few, "--folds", "3", "--out", str(ready)], "holds 2 folds; choose another folder for 3"),
    ):
        out = () if "--out" in words else ("--out", str(tmp_path / "o"))
        ended = main("cases", "build", *words, *out)
        assert ended.code == 2 and message in ended.err, (words, ended.err)
        assert "Traceback" not in ended.err
    assert not (tmp_path / "o").exists() and (other / "notes.txt").read_text() == "mine"


def test_clusters_limit_the_folds(tmp_path: Path) -> None:
    rows = [{**row, "cluster": f"c{at % 2}"} for at, row in enumerate(answered(questions(10)))]
    with pytest.raises(Exception, match="10 questions in 2 clusters make at most 2 folds"):
        folds_from(tmp_path / "a.jsonl", rows, 3)


def test_many_questions_need_no_folds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugin.caseset.folds.MANY", 10)
    made = folds_from(tmp_path / "a.jsonl", answered(questions(14)), 2)
    assert "14 questions are enough for a plain split" in made.notes[-1]


def test_ranks_are_spread_over_the_folds() -> None:
    assert [fold_name(rank, 4) for rank in (0.0, 0.24, 0.25, 0.99, 1.0)] == [
        *("fold_1", "fold_1", "fold_2", "fold_4", "fold_4")
    ]
    assert Columns().cluster == "cluster"  # the column that test.jsonl has
