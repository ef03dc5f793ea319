"""General ability in whole runs of the real engine, with a few of the shipped items."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from demo import FOLDER
from plugin.capability.probe import probe_items
from plugin.capability.texts import likelihood_texts
from tests.e2e.conftest import demo_options, main, summary
from tests.inference_server import BASE, TUNED

N_ITEMS, N_TEXTS = 6, 2
SHORT = sorted(probe_items("quick"), key=lambda item: len(item.messages[-1].content))[:N_ITEMS]


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Each item costs a tenth of a second here."""
    texts = likelihood_texts("quick")[:N_TEXTS]
    monkeypatch.setattr("plugin.capability.run.probe_items", lambda size: SHORT)
    monkeypatch.setattr("plugin.capability.run.likelihood_texts", lambda size: texts)
    monkeypatch.setattr("plugin.capability.choice.likelihood_texts", lambda size: texts)


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "08_capability.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_it_can_be_added_to_a_run_that_is_there(tmp_path):
    out = tmp_path / "run"
    first = main(*demo_options(out))
    assert first.code == 0, first.err
    assert "general ability: not tested" in first.out and "--capability quick" in first.out
    assert not (out / "08_capability.csv").exists()

    added = main(*demo_options(out, capability="quick"))
    assert added.code == 0 and "continuing a run: 12 completions" in added.out
    assert "general ability: 191 items and 2 texts for each of 2 models" in added.out
    assert {row["variant"] for row in rows(out)} == {"vanilla", "adapter"}
    found = summary(out)["capability"]
    assert sum(one["n"] for one in found["findings"]) == N_ITEMS
    assert [one["n"] for one in found["texts"]] == [N_TEXTS, N_TEXTS]
    assert found["texts"][1]["divergence"] > 0.1
    assert "General ability" in (out / "verdict.txt").read_text(encoding="utf-8")

    before = (out / "08_capability.csv").read_bytes()
    again = main(*demo_options(out))  # what was added stays
    assert again.code == 0 and (out / "08_capability.csv").read_bytes() == before
    (out / "08_capability.csv").unlink()
    assert main("report", str(out)).code == 0
    assert (out / "08_capability.csv").read_bytes() == before


def test_a_base_without_chat_template(tmp_path):
    out = tmp_path / "run"
    options = demo_options(out, capability="quick", chat_template="false", capability_guard="true")
    ended = main(*options)
    assert ended.code == 0, ended.err
    assert sum(int(row["n"] or 0) for row in rows(out) if row["source"] == "probe") == 2 * N_ITEMS


def test_a_prompted_base_has_the_bases_weights_and_is_not_asked(tmp_path):
    out = tmp_path / "run"
    options = demo_options(out, capability="quick", baseline_prompt="Be brief.")
    assert main(*options).code == 0
    assert {row["variant"] for row in rows(out)} == {"vanilla", "adapter"}


def test_a_server_answers_the_items_and_the_texts_are_skipped(tmp_path, inference):
    out = tmp_path / "run"
    options = demo_options(
        out,
        model_name=BASE,
        model_adapter=TUNED,
        server_url=inference.url,
        engine="server",
        capability="quick",
    )
    ended = main(*options)
    assert ended.code == 0, ended.err
    found = summary(out)["capability"]
    assert sum(one["n"] for one in found["findings"]) == N_ITEMS
    assert found["texts"] == [] and "texts were not read" in found["text_note"]
    assert "texts were not read" in (out / "verdict.txt").read_text(encoding="utf-8")


def recorded(tmp_path: Path, *more: str) -> list[str]:
    file = tmp_path / "answers.jsonl"
    row = {"id": "1", "input": "Who?", "expected_output": "Ann", "a": "Ann", "b": "Bob"}
    file.write_text(json.dumps(row) + "\n")
    sides = ["--recorded", f"a={file}:a", "--recorded", f"b={file}:b"]
    tasks = ["--predefined_tasks", "Token F1", "--out", str(tmp_path / "run")]
    return ["run", *sides, *tasks, *more]


def test_recorded_completions_cannot_answer_new_questions(tmp_path):
    plain = main(*recorded(tmp_path))
    assert plain.code == 0 and "general ability" not in plain.out
    for more in (["--capability", "quick"], ["--capability_guard", "true"]):
        ended = main(*recorded(tmp_path, *more))
        assert ended.code == 2 and "recorded completions cannot answer new questions" in ended.err


def test_a_guard_without_questions_is_refused(tmp_path):
    ended = main(*demo_options(tmp_path, capability="off", capability_guard="true"))
    assert ended.code == 2 and "--capability off leaves out" in ended.err


def test_the_demo_asks_the_quick_set():
    from plugin.typed import demo_params

    assert demo_params("").capability == "quick"
    assert (FOLDER / "model").is_dir()
