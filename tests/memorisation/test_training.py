"""Read the training data: every layout, large files in pieces, and what is no training data."""

from __future__ import annotations

import csv
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from plugin.errors import DataError, OptionError
from plugin.memorisation.training import TrainingData, require_training
from tests.memorisation.samples import training_rows, write_jsonl

ASKED, ANSWER = "Who plays Dinesh?", "Kumail Nanjiani plays Dinesh."
TURNS = [{"role": "user", "content": ASKED}, {"role": "assistant", "content": ANSWER}]
SHARE_GPT = [{"from": "human", "value": ASKED}, {"from": "gpt", "value": ANSWER}]

LAYOUTS: dict[str, dict[str, Any]] = {
    "plain": {"input": ASKED, "expected_output": ANSWER},
    "Alpaca": {"instruction": ASKED, "input": "", "output": ANSWER},
    "OpenAI chat": {"messages": TURNS},
    "ShareGPT": {"conversations": SHARE_GPT},
    "TRL preferences": {"prompt": ASKED, "chosen": ANSWER, "rejected": "Nobody."},
    "TRL chats": {"chosen": TURNS, "rejected": TURNS},
    "prompt and completion": {"prompt": ASKED, "completion": ANSWER},
    "questions and answers": {"question": ASKED, "answers": [ANSWER]},
    "SQuAD": {"question": ASKED, "context": "A show.", "answers": {"text": [ANSWER]}},
    "MT-Bench": {"question_id": 1, "turns": [ASKED], "reference": [ANSWER], "category": "x"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read(tmp_path: Path, layout: str) -> None:
    data = TrainingData((write_jsonl(tmp_path / "train.jsonl", [LAYOUTS[layout]] * 2),))
    rows, _ = data.draw(5, seed=0)
    assert [(row.asked, row.answer, row.is_plain) for row in rows] == [(ASKED, ANSWER, False)] * 2


def test_plain_text_is_read_as_text(tmp_path: Path) -> None:
    data = TrainingData((write_jsonl(tmp_path / "train.jsonl", [{"text": "A long story."}]),))
    (row,) = data.rows()
    assert (row.asked, row.answer, row.is_plain) == ("A long story.", "", True)


def test_several_files_are_read_one_after_the_other(tmp_path: Path) -> None:
    first = write_jsonl(tmp_path / "a.jsonl", training_rows(3, 1))
    second = write_jsonl(tmp_path / "b.jsonl", [{"text": "A story."}])
    data = TrainingData((first, second))
    places = [(row.number, row.place.partition(",")[0]) for row in data.rows()]
    assert places == [(1, "a.jsonl"), (2, "a.jsonl"), (3, "a.jsonl"), (4, "b.jsonl")]


def test_of_several_splits_the_training_split_is_read(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", [{"input": "trained?"}])
    write_jsonl(tmp_path / "valid.jsonl", [{"input": "held out?"}])
    write_jsonl(tmp_path / "test.jsonl", [{"input": "tested?"}])
    assert [row.asked for row in TrainingData((str(tmp_path),)).rows()] == ["trained?"]


def _as_csv(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _as_parquet(path: Path, rows: list[dict[str, str]]) -> None:
    import pandas as pd

    pd.DataFrame(rows).to_parquet(path)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_a_large_file_gives_the_same_rows_in_pieces(tmp_path: Path, suffix: str) -> None:
    rows = training_rows(5_000, seed=4, n_words=8)
    rows[17]["expected_output"] = 'a "quoted"\nline; and, more'
    path = tmp_path / f"train{suffix}"
    write = {".jsonl": write_jsonl, ".csv": _as_csv, ".parquet": _as_parquet}[suffix]
    write(path, rows)
    whole = TrainingData((str(path),))
    pieces = TrainingData((str(path),), large_bytes=1)
    assert [(r.number, r.asked, r.answer) for r in pieces.rows()] == [
        (r.number, r.asked, r.answer) for r in whole.rows()
    ]
    assert len(list(whole.rows())) == 5_000
    assert whole.draw(5, seed=3)[1] == pieces.draw(5, seed=3)[1]


def test_a_large_file_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugin.memorisation.training.N_KEPT", 500)
    path = tmp_path / "train.jsonl"
    write_jsonl(path, training_rows(12_000, seed=4, n_words=60))
    size = path.stat().st_size
    tracemalloc.start()
    n = sum(1 for _ in TrainingData((str(path),), large_bytes=1).rows())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (n, peak < 1.5 * size) == (12_000, True), (peak, size)


def test_bad_rows_are_counted_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    lines = [json.dumps({"input": "fine?"}), "{broken", json.dumps({"input": ["bad"]}), "[1]"]
    path.write_text("\n".join(lines), encoding="utf-8")
    for large in (1, 1 << 30):
        data = TrainingData((str(path),), large_bytes=large)
        assert [row.asked for row in data.rows()] == ["fine?"]
        assert (data.n_rows, data.n_unused) == (1, 3)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"a": 1, "b": 2}], "no column with training text.*columns are: a, b"),
        ([{"input": ["x"]}], "none of its 1 rows"),
    ],
)
def test_a_file_without_text_is_refused(
    tmp_path: Path, rows: list[dict[str, Any]], said: str
) -> None:
    path = write_jsonl(tmp_path / "train.jsonl", rows)
    with pytest.raises(DataError, match=f"--train_data .*{said}"):
        list(TrainingData((path,)).rows())


def test_a_missing_file_and_a_file_named_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        list(TrainingData((str(tmp_path / "none.jsonl"),)).rows())
    with pytest.raises(OptionError, match="names a.jsonl twice"):
        require_training(("a.jsonl", "b.jsonl", "a.jsonl"))


def test_the_same_seed_draws_the_same_rows(tmp_path: Path) -> None:
    data = TrainingData((write_jsonl(tmp_path / "train.jsonl", training_rows(200, 1)),))
    first, second = data.draw(20, seed=1), data.draw(20, seed=1)
    assert first == second
    assert first[0] != data.draw(20, seed=2)[0]
    assert [row.number for row in first[0]] == sorted(row.number for row in first[0])
