"""Ten conversations in the style of MT-Bench: on the demo's model, and on recorded answers."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from demo import FOLDER
from plugin.certifying import _probe_cases
from plugin.plan.params import Params
from plugin.report.conversations import COLUMNS
from tests.e2e.conftest import ROOT, Ended, main, summary
from tests.inference_server import BASE, N_TOKENS, TUNED, InferenceServer

DATA = ROOT / "docs" / "examples" / "mt_bench_style.jsonl"
COMPLETIONS = "completions.jsonl"
ANSWERS = ROOT / "docs" / "examples" / "mt_bench_answers.jsonl"


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def talk(out: Path, **options: str) -> Ended:
    given = {"dataset_name": str(DATA), "judge": "offline", "out": str(out), **options}
    return main("run", *(word for name, value in given.items() for word in (f"--{name}", value)))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("talks") / "recorded"
    sides = [f"--recorded={name}={ANSWERS}:{name}" for name in ("base", "tuned")]
    ended = main("run", *sides, f"--dataset_name={DATA}", "--judge=offline", f"--out={out}")
    assert ended.code == 0, ended.err
    assert "10 conversations: every user turn is asked (20 cases)" in ended.out
    return out


def table(out: Path) -> list[dict[str, str]]:
    with (out / "10_conversations.csv").open(encoding="utf-8") as file:
        read = csv.DictReader(file)
        assert read.fieldnames == COLUMNS
        return list(read)


def test_recorded_answers_give_categories_and_the_change_at_turn_two(recorded: Path) -> None:
    found, given = summary(recorded), table(recorded)
    spec = found["metrics"][0]
    assert (spec["name"], spec["low"], spec["high"], spec["margin"]) == ("Turn Rating", 1, 10, 0.5)
    categories = {row["part"] for row in given if row["kind"] == "category"}
    assert categories == {"writing", "math", "reasoning", "roleplay"}
    scores = {
        (row["case_id"], row["variant"]): float(row["score"])
        for row in csv.DictReader((recorded / "03_cases.csv").open(encoding="utf-8"))
        if row["metric"] == "Turn Rating" and row["score"]
    }
    numbers = [row["question_id"] for row in rows(DATA)]
    falls = [scores[f"{n} turn 2", "tuned"] - scores[f"{n} turn 1", "tuned"] for n in numbers]
    (turn,) = (
        row
        for row in given
        if (row["kind"], row["metric"], row["variant"]) == ("turn", "Turn Rating", "tuned")
    )
    assert float(turn["change"]) == pytest.approx(sum(falls) / 10, abs=1e-3)
    assert (turn["n"], turn["part"], turn["against"]) == ("10", "turn 2", "turn 1")
    in_summary = [row for row in found["turns"] if row["metric"] == "Turn Rating"]
    assert in_summary[1]["change"]["mean"] == pytest.approx(sum(falls) / 10, abs=1e-3)
    assert in_summary[1]["against"]["n"] == 10
    assert "n=20 in 10 clusters" in (recorded / "verdict.txt").read_text(encoding="utf-8")
    assert "Turn Rating, tuned: " in (recorded / "verdict.txt").read_text(encoding="utf-8")


def test_the_page_shows_the_radar_in_words_and_each_variants_conversation(recorded: Path) -> None:
    page = (recorded / "report.html").read_text(encoding="utf-8")
    assert 'id="conversations"' in page
    assert "Turn Rating by category. writing: base " in page
    assert (recorded / "categories.svg").read_text(encoding="utf-8").startswith("<?xml")
    data = page.partition('id="case-data"')[2].partition(">")[2].partition("</script>")[0]
    cases = json.loads(data)
    (later,) = (case for case in cases["cases"] if case["id"] == "5 turn 2")
    said = [[cases["texts"][text] for _, text in variant["turns"]] for variant in later["variants"]]
    assert said == [
        ["What is 15 times 4?", "60"],
        ["What is 15 times 4?", "15 times 4 is 60."],
    ]
    assert "turns" not in later


def test_the_demos_models_talk_turn_by_turn(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    models = {"model_name": str(FOLDER / "model"), "model_adapter": str(FOLDER / "adapter")}
    ended = talk(out, **models, max_tokens="16", limit="0.5", capability="off")
    assert ended.code == 0, ended.err
    found = summary(out)
    assert found["n_cases"] == 10
    assert not found["failures"]
    assert found["certificates"][0]["result"].startswith("certified")
    made = rows(out / "completions.jsonl")
    assert len(made) == 20
    assert {row["variant"] for row in table(out)} == {"vanilla", "adapter"}
    again = talk(out, **models, max_tokens="16", limit="0.5", capability="off")
    assert "continuing a run: 20 completions" in again.out


def test_an_adapter_is_certified_on_first_turns() -> None:
    cases = _probe_cases(Params.parse({}), str(DATA), 10)
    assert len(cases) == 10
    assert all(case.follows is None for case in cases)


def test_a_conversation_longer_than_the_context_fails_with_the_reason(tmp_path: Path) -> None:
    data = tmp_path / "long.jsonl"
    talks = [
        {"question_id": 1, "turns": ["Who plays Dinesh?", "word " * 3000, "And then?"]},
        {"question_id": 2, "turns": ["Who plays Dinesh?", "And Richard?"]},
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in talks))
    models = {"model_name": str(FOLDER / "model"), "model_adapter": str(FOLDER / "adapter")}
    ended = talk(tmp_path / "out", dataset_name=str(data), max_tokens="8", **models)
    assert ended.code == 0, ended.err
    why = {row["case_id"]: row["reason"] for row in summary(tmp_path / "out")["failures"]}
    assert "but the model's context is" in why["1 turn 2"]
    assert why["1 turn 3"].startswith("not asked, as 1 turn 2 has no answer: the prompt has")
    assert set(why) == {"1 turn 2", "1 turn 3"}


def test_a_server_is_shown_each_models_own_answers(
    tmp_path: Path, inference: InferenceServer
) -> None:
    out = tmp_path / "there"
    words = {"server_url": inference.url, "model_name": BASE, "model_adapter": TUNED}
    words |= {"max_tokens": str(N_TOKENS), "predefined_tasks": "Token F1", "limit": "0.5"}
    served = talk(out, **words)
    assert served.code == 0, served.err
    later = [body for body in inference.requests if len(body["messages"]) == 3]
    assert len(later) == 10
    variants = {BASE: "vanilla", TUNED: TUNED}
    made = {(row["case_id"], row["variant"]): row["output"] for row in rows(out / COMPLETIONS)}
    first_turns = {row["turns"][0]: str(row["question_id"]) for row in rows(DATA)}
    for body in later:
        question, answer, _ = body["messages"]
        place = f"{first_turns[question['content']]} turn 1", variants[body["model"]]
        assert (answer["role"], answer["content"]) == ("assistant", made[place])
