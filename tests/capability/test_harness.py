"""Tasks of lm-evaluation-harness run offline on a real engine, in every kind of request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from demo import FOLDER
from plugin.capability.harness import load_tasks, run_task
from plugin.capability.records import ItemResult
from plugin.engines import EngineSettings, load
from plugin.errors import OptionError
from plugin.load.adapter import inspect_adapter
from plugin.load.model import inspect_model
from plugin.records import VANILLA
from tests.capability.local_tasks import (
    CHOICE,
    LAST,
    PETS,
    SHOWS,
    TEXTS,
    WRITING,
    write_task,
    write_tasks,
)

TUNED = "adapter"


def settings(**changed: Any) -> EngineSettings:
    found = {TUNED: inspect_adapter(FOLDER / "adapter")}
    return EngineSettings(inspect_model(FOLDER / "model"), "demo", found, 8, 8, True, **changed)


@pytest.fixture(scope="module")
def engine() -> Iterator[Any]:
    with closing(load("mlx", settings())) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tasks(tmp_path / "tasks")


def run(engine: Any, folder: Path, variant: str, n_items: int = 0) -> dict[str, list[ItemResult]]:
    found: dict[str, list[ItemResult]] = {}
    for one in load_tasks([str(folder)], n_items, 1):
        for row in run_task(one, engine, variant, lambda _: None):
            found.setdefault(row.ability, []).append(row)
    return found


def test_every_kind_of_task_runs_on_base_and_adapter(engine: Any, folder: Path) -> None:
    for variant in (VANILLA, TUNED):
        found = run(engine, folder, variant)
        assert {name: len(rows) for name, rows in found.items()} == {
            "pets": len(PETS),
            "shows": len(SHOWS),
            "last_word": len(LAST),
        }
        rows = [row for own in found.values() for row in own]
        assert all(row.score in (0.0, 1.0) and row.variant == variant for row in rows)
        assert all(row.source == "lm-eval" for row in rows)
        options = {option.strip() for pet in PETS for option in pet["options"]}  # type: ignore[attr-defined]
        assert {row.output for row in found["pets"]} <= options


def test_what_the_adapter_says_is_what_the_engine_says(engine: Any, folder: Path) -> None:
    """An answer is cut at the first stop text, and is not the base's."""
    own, base = (run(engine, folder, name)["shows"] for name in (TUNED, VANILLA))
    assert [row.output for row in own] != [row.output for row in base]
    assert not any("\n" in row.output or "." in row.output for row in (*own, *base))
    assert own[0].reason == "expected: Kumail Nanjiani"


def test_items_are_drawn_and_stay_the_same(engine: Any, folder: Path) -> None:
    (first,) = load_tasks([str(folder)], 3, 1)[:1]
    tasks = load_tasks([str(folder)], 3, 1)
    assert [one.items for one in tasks] == [one.items for one in load_tasks([str(folder)], 3, 1)]
    assert sum(len(one.items) for one in tasks) == 3
    draws = {tuple(one.items for one in load_tasks([str(folder)], 3, seed)) for seed in range(5)}
    assert len(draws) > 1
    rows = run_task(first, engine, VANILLA, lambda _: None)
    assert [row.item_id for row in rows] == [f"{first.name}/{i}" for i in first.items]


def test_progress_grows_to_the_whole_and_may_stop(engine: Any, folder: Path) -> None:
    for one in load_tasks([str(folder)], 0, 1):
        seen: list[float] = []
        run_task(one, engine, VANILLA, seen.append)
        shares = [share for share in seen if share]
        assert shares == sorted(shares) and shares[-1] == 1.0 and len(shares) >= 3

    def stop(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_task(load_tasks([str(folder)], 0, 1)[0], engine, VANILLA, stop)


def broken(folder: Path, text: str) -> Path:
    folder.mkdir()
    write_task(folder, "broken", text)
    return folder


BAD: dict[str, tuple[Callable[[Path], str], str]] = {
    "an unknown task": (lambda _: "helaswag", "did you mean 'hellaswag'?"),
    "an empty folder": (lambda at: str(at), "the folder has no task file"),
    "missing data": (lambda at: str(broken(at / "x", CHOICE)), "its data cannot be had"),
    "a task on whole texts": (
        lambda at: str(broken(write_tasks(at / "w") / "t", TEXTS.replace("FOLDER", "FOLDER/.."))),
        "no score of 0 to 1 for each item",
    ),
    "answers drawn at random": (
        lambda at: str(
            broken(
                write_tasks(at / "w") / "t",
                WRITING.replace("FOLDER", "FOLDER/..").replace("{until", "{do_sample: true, until"),
            )
        ),
        "it draws several answers at random",
    ),
    "code that is run": (
        lambda at: str(
            broken(
                write_tasks(at / "w") / "t",
                WRITING.replace("FOLDER", "FOLDER/..") + "unsafe_code: true\n",
            )
        ),
        "runs generated code within this program, which is not safe: give its rows as "
        "--dataset_name, and the metric Code Tests runs the code in a sandbox",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_run_is_said_before_anything_is_generated(kind: str, tmp_path: Path) -> None:
    make, said = BAD[kind]
    with pytest.raises(OptionError) as error:
        load_tasks([make(tmp_path)], 0, 1)
    assert said in str(error.value) and str(error.value).startswith("--lm_eval ")


def test_all_problems_are_told_together(tmp_path: Path) -> None:
    with pytest.raises(OptionError) as error:
        load_tasks(["helaswag", str(tmp_path)], 0, 1)
    assert "hellaswag" in str(error.value) and "no task file" in str(error.value)


def test_data_cut_off_in_the_middle_is_said(folder: Path) -> None:
    file = folder / "pets.jsonl"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(OptionError, match="its data cannot be had"):
        load_tasks([str(folder)], 0, 1)


def test_a_hub_that_cannot_be_reached_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="hellaswag: its data cannot be had"):
        load_tasks(["hellaswag"], 0, 1)


def test_without_the_library_the_way_to_install_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugin.capability.harness.find_spec", lambda _: None)
    with pytest.raises(OptionError, match="pip install -r requirements-lm-eval.txt"):
        load_tasks(["hellaswag"], 0, 1)


def test_a_tasks_items_are_compared_by_their_questions_and_right_answers(folder: Path) -> None:
    tasks = {one.name: one for one in load_tasks([str(folder)], 0, 1)}
    first = tasks["pets"].texts_of(0)
    assert first.question == "Question: Which one barks?\nAnswer:"
    assert (first.parts, first.answers) == (("Which one barks?",), (" the dog",))
    written = tasks["shows"].texts_of(0)
    assert (written.parts, written.answers) == (("Who plays Dinesh?",), ("Kumail Nanjiani",))
    assert tasks["last_word"].texts_of(0).answers == (" show",)


def test_an_item_whose_task_gives_no_text_is_empty(folder: Path) -> None:
    (task,) = (one for one in load_tasks([str(folder)], 0, 1) if one.name == "pets")
    task.task.set_config(key="doc_to_text", value="{{ 1 / 0 }}")
    assert task.texts_of(0).question == ""
