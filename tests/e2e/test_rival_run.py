"""Runs with several prompts to beat, and with another model on a server as a rival."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import demo_options, main, summary, tables
from tests.inference_server import TUNED, InferenceServer, inference_server
from tests.judge_server import Reply

KEY = "sk-rival-4711-secret"
N = 24


def test_two_prompts_and_a_rival_beside_an_adapter_on_this_machine(
    inference: InferenceServer, tmp_path: Path
) -> None:
    inference.key, out = KEY, tmp_path / "run"
    file = tmp_path / "brief.txt"
    file.write_text("Answer in one short sentence.", encoding="utf-8")
    options = demo_options(out, predefined_tasks="Token F1, Perplexity, Latency", limit="0.2")
    options += ["--baseline_prompt", "short=Answer in one word.", "--baseline_prompt", f"@{file}"]
    options += ["--rival", f"70b={inference.url}#{TUNED}", "--rival_prompt", "You know people."]
    ended = main(*options, RIVAL_API_KEY=KEY)
    assert ended.code == 0, ended.err
    assert len(inference.requests) == 12
    assert {body["max_tokens"] for body in inference.requests} == {32}
    assert {body["messages"][0]["content"] for body in inference.requests} == {"You know people."}
    found = summary(out)
    names = [variant["name"] for variant in found["variants"]]
    assert names == ["vanilla", "prompted short", "prompted brief", "adapter", "rival 70b"]
    verdict = found["verdict"]
    assert "adapter is better than vanilla on Token F1" in verdict["sentence"]
    (line,) = [line for line in verdict["details"] if f"rival 70b ({TUNED})" in line]
    assert " on Token F1" in line and "n=12" in line
    assert {gap["other"] for gap in verdict["prompts"]} == {"prompted short", "prompted brief"}
    assert any(one.startswith("Best of 2 prompts: prompted ") for one in verdict["details"])
    assert any("Seconds are not compared: rival 70b" in one for one in verdict["details"])
    assert not found["partial"] and found["failures"] == []
    beside_rival = {
        (row["metric"], row["variant"], row["baseline"])
        for row in found["comparisons"]
        if "rival 70b" in (row["variant"], row["baseline"]) and row["group"] == "all"
    }
    assert beside_rival == {
        ("Token F1", "adapter", "rival 70b"),
        ("Token F1", "rival 70b", "vanilla"),
    }
    assert found["provenance"]["versions"]["rival 70b"].startswith(f"{TUNED} on {inference.url}")
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Beside prompts and other models" in page and "(best prompt)" in page
    for path in out.iterdir():
        assert KEY.encode() not in path.read_bytes(), path.name
    before = tables(out)
    file.unlink()  # the run keeps the text
    again = main("resume", str(out), RIVAL_API_KEY=KEY)
    assert again.code == 0, again.err
    assert "continuing a run: 60 completions" in again.out
    assert tables(out) == before and len(inference.requests) == 12


@pytest.fixture(name="big")
def _big() -> Iterator[InferenceServer]:
    """A server that writes what it is told to; no model is loaded."""
    with inference_server(None) as server:
        server.models = [{"id": "big"}]
        yield server


def answer(text: str) -> Reply:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return Reply(body=json.dumps({"choices": [choice]}).encode())


def recorded_options(folder: Path, url: str) -> list[str]:
    rows = [
        {"id": f"q{n}", "input": f"What is {n} times 3?", "expected_output": f"{3 * n}"}
        | {"plain": "Who knows" if n % 4 else f"{3 * n}", "tuned": f"{3 * n}"}
        for n in range(N)
    ]
    file = folder / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    words = ["--recorded", f"base={file}:plain", "--recorded", f"tuned={file}:tuned"]
    return ["run", *words, "--rival", f"big={url}#big", "--predefined_tasks", "Token F1"]


def test_a_rival_that_dies_in_the_middle_is_asked_again_on_resume(
    big: InferenceServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugin.net.FIRST_WAIT_S", 0.001)

    def fails_later(number: int, body: dict[str, Any]) -> Reply:
        n = int(body["messages"][-1]["content"].split()[2])
        if number >= 10:
            return Reply(status=503, text="dying")
        return answer("" if n == 5 else f"{3 * n}")

    def answers(number: int, body: dict[str, Any]) -> Reply:
        n = int(body["messages"][-1]["content"].split()[2])
        return answer("" if n == 5 else f"{3 * n}")

    big.fault, out = fails_later, tmp_path / "run"
    options = [*recorded_options(tmp_path, big.url), "--batch_size", "4"]
    ended = main(*options, "--out", str(out))
    assert ended.code == 1
    assert f"the inference server {big.url} does not answer: 10 requests in a row failed" in (
        ended.err
    )
    asked = len(big.requests)
    big.fault = answers
    again = main("resume", str(out))
    assert again.code == 0, again.err
    assert len(big.requests) - asked == N - 10
    alone = tmp_path / "alone"
    assert main(*options, "--out", str(alone)).code == 0
    assert tables(out) == tables(alone)
    found = summary(out)
    assert found["failures"] == []
    rows = {(row["variant"], row["baseline"]): row for row in found["comparisons"]}
    assert rows["tuned", "rival big"]["losses"] == 0  # an empty answer is a wrong one
    assert rows["tuned", "rival big"]["wins"] == 1
    assert "tuned is better than base on Token F1" in found["verdict"]["sentence"]
    details = found["verdict"]["details"]
    assert "The server of rival big does not count tokens." in " ".join(details)


def test_a_rival_that_answers_like_the_base_is_said(big: InferenceServer, tmp_path: Path) -> None:
    def like_the_base(number: int, body: dict[str, Any]) -> Reply:
        n = int(body["messages"][-1]["content"].split()[2])
        return answer("Who knows" if n % 4 else f"{3 * n}")

    big.fault = like_the_base
    ended = main(*recorded_options(tmp_path, big.url), "--out", str(tmp_path / "run"))
    assert ended.code == 0, ended.err
    assert "all 24 completions of rival big equal the baseline's: there is nothing to" in ended.out


def test_bad_rivals_are_refused_before_anything_is_made(
    big: InferenceServer, tmp_path: Path
) -> None:
    options, out = recorded_options(tmp_path, big.url), tmp_path / "run"
    for more, said in (
        (["--rival", f"big={big.url}#other"], "--rival big: given twice; choose another name"),
        (["--rival", f"tuned={big.url}#none"], "does not serve 'none' (--rival tuned); it has big"),
    ):
        ended = main(*options, *more, "--out", str(out))
        assert ended.code == 2, ended.out
        assert said in ended.err or "also the name of another variant" in ended.err
        assert not out.exists()
