"""Runs on an inference server that has base and adapter by name, as a user starts them."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import demo_options, main, run_process, summary, tables
from tests.inference_server import BASE, TUNED, InferenceServer
from tests.judge_server import Reply

METRICS = {"predefined_tasks": "Correctness, Token F1", "judge": "offline"}
N_CASES = 12
CASES = {"limit": "0.2", "batch_size": "4"}


def served(out: Path, server: InferenceServer, **changed: str) -> list[str]:
    options = {"server_url": server.url, "model_name": BASE, "model_adapter": TUNED, **changed}
    return demo_options(out, **options)


def test_the_demo_gives_the_same_tables_as_the_engine_here(
    inference: InferenceServer, tmp_path: Path
) -> None:
    whole = {**METRICS, "limit": "1", "model_adapter": "adapter"}
    inference.served["adapter"] = "tuned"
    assert inference.models is not None
    inference.models.append({"id": "adapter", "parent": BASE})
    there = main(*served(tmp_path / "there", inference, engine="server", **whole))
    assert there.code == 0, there.err
    here = main(*demo_options(tmp_path / "here", engine="mlx", **METRICS, limit="1"))
    assert here.code == 0, here.err
    assert tables(tmp_path / "there") == tables(tmp_path / "here")
    assert inference.n_at_once <= 32
    found = summary(tmp_path / "there")
    assert found["provenance"]["versions"]["engine"] == "server 0.11.0"
    assert (
        found["provenance"]["generated_tokens"]
        == summary(tmp_path / "here")["provenance"]["generated_tokens"]
    )
    (proof,) = found["certificates"]
    assert (proof["result"], proof["n_probes"], proof["n_self_changed"]) == ("certified", 8, 0)
    n_changed = f"{proof['n_changed']} of 60 completions changed"
    assert found["verdict"]["text"].splitlines()[-1] == (
        f"Adapter adapter: certified. {n_changed}; base unchanged afterwards (same answers to 8 "
        "probe prompts when asked again)."
    )


def test_an_adapter_that_answers_like_the_base_is_said_first(
    inference: InferenceServer, tmp_path: Path
) -> None:
    inference.served[TUNED] = "vanilla"
    ended = main(*served(tmp_path / "o", inference, **CASES))
    assert ended.code == 0, ended.err
    found = summary(tmp_path / "o")
    assert found["verdict"]["sentence"].startswith(
        "The adapter demo-tuned is not certified (no effect): it does not change the base's "
        "answers, so there is nothing to compare."
    )
    assert (
        "warning: the server gave the same answers to all 8 probe prompts for 'demo-tuned' as for "
        "the base, 'demo-base': it may not apply the adapter. vLLM needs --enable-lora "
        "--lora-modules demo-tuned=DIRECTORY; some servers answer every name with the one model "
        "that they have loaded"
    ) in ended.out
    where = ("--server_url", inference.url, "--model_name", BASE, "--model_adapter", TUNED)
    asked_before = len(inference.requests)
    proved = main("certify", *where)
    assert proved.code == 3
    assert "engine: server 0.11.0 (auto: --server_url)" in proved.out
    assert "demo-tuned: no effect\n  completions  0 of 8 changed\n" in proved.out
    assert len(inference.requests) - asked_before == 24


def test_a_server_that_goes_away_costs_nothing_that_was_made(
    inference: InferenceServer, tmp_path: Path
) -> None:
    n_probes = 3 * 8
    inference.fault = lambda number, body: Reply(drop=True) if number >= n_probes + 7 else None
    out = tmp_path / "o"
    ended = main(*served(out, inference, **METRICS, **CASES))
    assert ended.code == 1, ended.err
    assert re.sub(r"\b1[0-3] requests", "10 requests", ended.err).splitlines() == [
        f"fault: the inference server {inference.url} does not answer: 10 requests in a row "
        "failed, the last with: no answer: RemoteProtocolError. Check the "
        "server and resume",
        "Kept: 7 completions",
        f"Go on with: python main.py resume {out}",
    ]
    with sqlite3.connect(f"file:{out / 'journal.sqlite'}?mode=ro", uri=True) as db:
        (n_kept,) = db.execute("SELECT count(*) FROM answers").fetchone()
    assert n_kept == 7
    inference.fault = lambda number, body: None
    before = len(inference.requests)
    ended = main("resume", str(out))
    assert ended.code == 0, ended.err
    # Requests that the first run had begun, four at once, may still arrive after it ended.
    n_late = len(inference.requests) - before - (n_probes + 2 * N_CASES - n_kept)
    assert 0 <= n_late <= int(CASES["batch_size"])
    later = Counter(inference.asked[before + n_probes :])
    assert max(later.values()) == 1
    assert summary(out)["failures"] == []
    alone = tmp_path / "alone"
    assert main(*served(alone, inference, **METRICS, **CASES)).code == 0
    assert tables(out) == tables(alone)


def test_what_fails_for_one_case_is_counted_and_what_may_be_mended_is_tried_again(
    inference: InferenceServer, tmp_path: Path
) -> None:
    said = "This model's maximum context length is 512 tokens, however you requested 600 tokens."
    bad: list[tuple[str, str]] = []

    def trouble(number: int, body: dict[str, Any]) -> Reply | None:
        asked = (body["model"], body["messages"][-1]["content"])
        if number >= 24 and len(bad) < 2 and asked not in bad:
            bad.append(asked)
        if asked not in bad or number < 24:
            return None
        return Reply(status=500, text="busy") if bad.index(asked) else Reply(status=400, text=said)

    inference.fault = trouble
    out = tmp_path / "o"
    ended = main(*served(out, inference, **CASES))
    assert ended.code == 0, ended.err
    reasons = sorted(failure["reason"] for failure in summary(out)["failures"])
    again = (
        "the inference server gave no answer for this case (HTTP 500: busy); a resumed run tries"
    )
    assert reasons == [f"HTTP 400: {said}", f"{again} again"]
    inference.fault = lambda number, body: None
    before = len(inference.requests)
    assert main("resume", str(out)).code == 0
    assert inference.asked[before + 24 :] == bad[1:]
    assert [failure["reason"] for failure in summary(out)["failures"]] == reasons[:1]


def test_what_a_server_completed_goes_to_no_cache_that_runs_share(
    inference: InferenceServer, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        n_before = len(inference.requests)
        options = served(tmp_path / name, inference, cache_dir=str(tmp_path / "cache"))
        assert main(*options).code == 0
        assert len(inference.requests) - n_before == 3 * 6 + 2 * 6


@pytest.mark.parametrize("key", ["", "sk-wrong-key"])
def test_a_key_is_wanted_and_never_shown(
    key: str, inference: InferenceServer, tmp_path: Path
) -> None:
    inference.key = "sk-right-key"
    out = tmp_path / "o"
    ended = main(*served(out, inference), INFERENCE_API_KEY=key)
    assert ended.code == 2
    how = "rejects the key in" if key else "needs a key: set"
    assert ended.err.strip() == (
        f"error: the inference server {inference.url} {how} INFERENCE_API_KEY (HTTP 401)"
    )
    right = run_process(*served(out, inference), INFERENCE_API_KEY=inference.key)
    assert right.code == 0, right.err
    files = [path.read_bytes() for path in out.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert not any(inference.key.encode() in content for content in files)
    assert inference.key not in right.out + right.err


def test_a_prompt_to_beat_is_the_base_under_another_system_prompt(
    inference: InferenceServer, tmp_path: Path
) -> None:
    ended = main(*served(tmp_path / "o", inference, baseline_prompt="Answer in one word."))
    assert ended.code == 0, ended.err
    found = summary(tmp_path / "o")
    assert [variant["name"] for variant in found["variants"]] == ["vanilla", "prompted", TUNED]
    prompted = [b for b in inference.requests if b["messages"][0]["role"] == "system"]
    assert {body["model"] for body in prompted} == {BASE} and len(prompted) == 6
