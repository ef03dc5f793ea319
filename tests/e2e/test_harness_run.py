"""A whole run with tasks of lm-evaluation-harness from a folder, offline."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from demo import FOLDER
from plugin.journal import Journal
from tests.capability.local_tasks import LAST, PETS, SHOWS, write_tasks
from tests.e2e.conftest import main

RUN = ("run", "--model_name", str(FOLDER / "model"), "--model_adapter", str(FOLDER / "adapter"))
RUN += ("--dataset_name", str(FOLDER / "cases.jsonl"), "--limit", "0.1", "--engine", "mlx")
RUN += ("--predefined_tasks", "Token F1", "--capability", "off")


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    return write_tasks(tmp_path / "tasks")


def test_tasks_stand_in_journal_table_summary_and_page(tasks: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = main(*RUN, "--lm_eval", str(tasks), "--out", str(out))
    assert ended.code == 0, ended.err
    assert "it/s]" not in ended.err, "the library's own progress bars"
    with closing(Journal.existing(out)) as journal:
        rows = [row for row in journal.item_results() if row.source == "lm-eval"]
    assert len(rows) == 2 * (len(PETS) + len(SHOWS) + len(LAST))
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    found = {(one["ability"], one["variant"]) for one in summary["capability"]["scores"]}
    assert {(name, who) for name in ("pets", "shows") for who in ("vanilla", "adapter")} <= found
    assert "pets" in (out / "08_capability.csv").read_text(encoding="utf-8")
    assert "last_word" in (out / "report.html").read_text(encoding="utf-8")
    # What is there is not asked again; more items are added to the same run.
    again = main(*RUN, "--lm_eval", str(tasks), "--out", str(out))
    assert again.code == 0 and "tasks of lm-eval" not in again.out


def test_more_items_are_added_to_a_run_that_is_there(tasks: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(*RUN, "--lm_eval", str(tasks), "--lm_eval_items", "2", "--out", str(out)).code == 0
    with closing(Journal.existing(out)) as journal:
        assert len(journal.item_results()) == 2 * 2
    ended = main(*RUN, "--lm_eval", str(tasks), "--out", str(out))
    n_all = len(PETS) + len(SHOWS) + len(LAST)
    assert ended.code == 0 and f"tasks of lm-eval: {2 * n_all} of {2 * n_all} in" in ended.out
    with closing(Journal.existing(out)) as journal:
        assert len(journal.item_results()) == 2 * n_all


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--lm_eval", "helaswag"), "did you mean 'hellaswag'?"),
        (("--lm_eval", "hellaswag", "--workers", "2"), "use --engine mlx or transformers"),
        (("--lm_eval", "hellaswag", "--lm_eval_items", "-1"), "lm_eval_items"),
    ],
)
def test_what_cannot_run_ends_before_anything_is_made(
    words: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    ended = main(*RUN, *words, "--out", str(tmp_path / "out"))
    assert ended.code == 2 and said in ended.err
    assert not (tmp_path / "out" / "journal.sqlite").exists()


def test_recorded_completions_have_no_weights_to_ask(tasks: Path, tmp_path: Path) -> None:
    file = tmp_path / "made.jsonl"
    row = {"input": "a", "expected_output": "b", "base": "b", "tuned": "b"}
    file.write_text(json.dumps(row) + "\n", encoding="utf-8")
    sides = ("--recorded", f"base={file}:base", "--recorded", f"tuned={file}:tuned")
    ended = main("run", *sides, "--lm_eval", str(tasks), "--out", str(tmp_path / "out"))
    assert ended.code == 2 and "only an engine that holds the weights here can give" in ended.err


def test_items_that_stand_in_the_training_data_are_shown_apart(tasks: Path, tmp_path: Path) -> None:
    out, train = tmp_path / "out", tmp_path / "train.jsonl"
    trained = [{"input": row["question"], "expected_output": row["answer"]} for row in SHOWS[:2]]
    train.write_text("".join(f"{json.dumps(row)}\n" for row in trained), encoding="utf-8")
    words = ("--train_data", str(train), "--train_draw", "1", "--out", str(out))
    first = main(*RUN, *words)
    assert first.code == 0, first.err
    ended = main(*RUN, *words, "--lm_eval", str(tasks))  # the items are marked afterwards, too
    assert ended.code == 0, ended.err
    assert "ask for training rows" not in ended.out
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    (clean,) = summary["capability"]["clean"]
    assert (clean["n_items"], clean["n_marked"]) == (11, 3)
    assert clean["n_marked_of"] == {"shows": 2, "pets": 1}
    marked = {row["id"] for row in summary["memorisation"]["items"]}
    assert marked == {"shows/0", "shows/1", "pets/1"}
    table = (out / "08_capability.csv").read_text(encoding="utf-8")
    assert "shows (clean items) / adapter,lm-eval,shows (clean items),adapter," in table
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "3 of 11 items stand in the training data or are near to it, more than 20%" in page
    again = main("resume", str(out))
    assert again.code == 0, again.err
    assert len(json.loads((out / "summary.json").read_text())["memorisation"]["items"]) == 3
