"""A run on a model folder in the hub's layout, with a judge behind a real local server."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from demo import FOLDER
from tests.e2e.conftest import FILES, demo_options, main, outputs, run_process, summary, tables
from tests.judge_server import JudgeServer

METRICS = "Answer Relevancy, Hallucination, Correctness, Exact Match, Token F1"


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """A hub cache that holds the demo model under an id, as a download leaves it."""
    home = tmp_path / "hub"
    repo = home / "models--someone--tiny"
    snapshot = repo / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
    blobs = repo / "blobs"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for file in (FOLDER / "model").iterdir():
        shutil.copy(file, blobs / file.name)
        (snapshot / file.name).symlink_to(blobs / file.name)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(snapshot.name)
    return home


def test_a_hub_model_under_an_http_judge(hub: Path, tmp_path: Path, server: JudgeServer) -> None:
    out = tmp_path / "o"
    ended = run_process(
        *demo_options(
            out, model_name="someone/tiny", predefined_tasks=METRICS, judge="custom:judge-1"
        ),
        CUSTOM_JUDGE_BASE_URL=server.url,
        HF_HUB_CACHE=str(hub),
    )
    assert ended.code == 0, ended.err
    assert [name for name in FILES if not (out / name).is_file()] == []
    found = summary(out)
    assert found["judge"] == "custom:judge-1"
    assert "smoke-test" not in found["verdict"]["text"]
    assert found["n_scores"] == 6 * 2 * 5
    assert found["provenance"]["judge_calls"]["n_calls"] == len(server.requests) > 0
    assert "Generate ONE verdict per statement" in "".join(server.prompts)


def test_several_adapters_share_one_load(tmp_path: Path) -> None:
    other = Path(shutil.copytree(FOLDER / "adapter", tmp_path / "later"))
    out = tmp_path / "o"
    ended = main(*demo_options(out), "--model_adapter", str(other))
    assert ended.code == 0, ended.err
    assert "(highest mean of 2 adapters)" in summary(out)["verdict"]["sentence"]
    texts = outputs(out)
    assert set(texts) == {"vanilla", "adapter", "later"}
    assert texts["later"] == texts["adapter"] != texts["vanilla"]


@pytest.mark.parametrize("variants", ["vanilla only", "adapter only"])
def test_one_variant_alone_has_scores_and_no_verdict(variants: str, tmp_path: Path) -> None:
    out = tmp_path / "o"
    ended = main(*demo_options(out, variants=variants))
    assert ended.code == 0, ended.err
    found = summary(out)
    assert found["verdict"]["outcome"] is None
    assert found["comparisons"] == []
    assert len(found["summaries"]) >= 1


def test_alone_and_together_the_completions_are_the_same(tmp_path: Path) -> None:
    found = []
    for number, variants in enumerate(("vanilla and adapter", "adapter only")):
        out = tmp_path / str(number)
        assert main(*demo_options(out, variants=variants)).code == 0
        found.append(outputs(out)["adapter"])
    assert len(found[0]) == 6 and found[0] == found[1]


def test_a_shared_cache_saves_another_run_everything(tmp_path: Path, server: JudgeServer) -> None:
    options = {"predefined_tasks": "Correctness", "judge": "custom:j"}
    cache = str(tmp_path / "cache")
    asked = []
    for name in ("one", "two"):
        ended = main(
            *demo_options(tmp_path / name, **options, cache_dir=cache),
            CUSTOM_JUDGE_BASE_URL=server.url,
        )
        assert ended.code == 0, ended.err
        asked.append(len(server.requests))
    assert asked[0] == asked[1] > 0
    assert tables(tmp_path / "one") == tables(tmp_path / "two")
    calls = summary(tmp_path / "two")["provenance"]["judge_calls"]
    assert calls.get("n_calls", 0) == 0 and calls["n_cached"] > 0


def test_a_system_prompt_goes_to_every_variant(tmp_path: Path) -> None:
    plain, prompted = tmp_path / "plain", tmp_path / "prompted"
    assert main(*demo_options(plain)).code == 0
    assert main(*demo_options(prompted, system_prompt="Answer in one word.")).code == 0
    n_tokens = [summary(out)["provenance"]["prompts"]["n_tokens"] for out in (plain, prompted)]
    assert n_tokens[1] > n_tokens[0]
    assert {v["system_prompt"] for v in summary(prompted)["variants"]} == {"Answer in one word."}


def test_chat_data_keep_their_turns(tmp_path: Path) -> None:
    rows = tmp_path / "chats.json"
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Who plays Richard?"},
        {"role": "assistant", "content": "Thomas Middleditch."},
        {"role": "user", "content": "And Dinesh?"},
        {"role": "assistant", "content": "Kumail Nanjiani."},
    ]
    rows.write_text(json.dumps([{"messages": turns}]))
    out = tmp_path / "o"
    ended = main(*demo_options(out, dataset_name=str(rows), limit="1"))
    assert ended.code == 0, ended.err
    with (out / "03_cases.csv").open(encoding="utf-8") as file:
        row = next(csv.DictReader(file))
    assert (row["input"], row["expected_output"]) == ("And Dinesh?", "Kumail Nanjiani.")


def test_nothing_is_written_outside_the_run_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / ".env").write_text("OPENAI_API_KEY=from-a-dotenv-file\n")
    monkeypatch.chdir(here)
    out = tmp_path / "o"
    ended = run_process(*demo_options(out, predefined_tasks="Correctness", judge="offline"))
    assert ended.code == 0, ended.err
    assert [file.name for file in here.iterdir()] == [".env"]
    refused = run_process(*demo_options(out, predefined_tasks="Correctness", judge="openai:gpt-4o"))
    assert "needs a key" in refused.err  # DeepEval's reading of .env is off
