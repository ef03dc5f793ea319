"""Servers that repeat the key in what they answer: no file and no output of a run holds it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import demo_options, main, summary
from tests.inference_server import BASE, TUNED, InferenceServer
from tests.judge_server import JudgeServer, Reply, judge_server

KEY = "sk-Leak/4711+secret=tail"
JUDGE_KEY = "jk-Another/0815+secret"


def leaks(key: str) -> list[str]:
    """The key as it is and as servers spell it."""
    basic = base64.b64encode(f"user:{key}".encode()).decode()
    return [key, key.upper(), key.encode().hex(), basic, json.dumps({"authorization": key})]


def leaky_completion(server: InferenceServer, spelling: str, **fields: Any) -> Reply:
    text = f"You sent Bearer {spelling} to {fields['model']}."
    choice = {"index": 0, "finish_reason": "stop", "message": {"content": text}}
    return Reply(body=json.dumps({"choices": [choice], "model": spelling}).encode())


def written(folder: Path) -> str:
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert len(files) > 8
    return "".join(file.read_bytes().decode("utf-8", "replace") for file in files)


def run_on(inference: InferenceServer, out: Path, **changed: str) -> list[str]:
    inference.key = KEY
    options = {
        "server_url": inference.url,
        "model_name": BASE,
        "model_adapter": TUNED,
        "limit": "0.1",
    }
    return demo_options(out, **{**options, **changed})


@pytest.mark.parametrize("which", range(5))
def test_a_key_in_completions_is_masked_counted_and_warned_of(
    which: int, inference: InferenceServer, tmp_path: Path
) -> None:
    spelling = leaks(KEY)[which]
    inference.fault = lambda number, body: (
        leaky_completion(inference, spelling, **body) if body["model"] == TUNED else None
    )
    out = tmp_path / "o"
    ended = main(*run_on(inference, out), INFERENCE_API_KEY=KEY)
    assert ended.code == 0, ended.err
    shown = written(out) + ended.out + ended.err
    for text in (KEY, spelling, spelling.partition("=")[0][5:]):
        assert text not in shown
    warning = (
        "completions held a secret of this run, such as an API key: 6 of 6 of demo-tuned. It was "
        "replaced by [key] before anything was written or judged."
    )
    assert f"warning: {warning}" in ended.out
    assert any(line.startswith(warning) for line in summary(out)["warnings"])
    assert "You sent Bearer " in (out / "03_cases.csv").read_text()
    assert main("report", str(out)).code == 0
    assert any(line.startswith(warning) for line in summary(out)["warnings"])
    assert KEY not in written(out)


def test_a_cut_off_key_and_lists_of_models_are_masked_too(
    inference: InferenceServer, tmp_path: Path
) -> None:
    inference.fault = lambda number, body: leaky_completion(inference, KEY, **body)
    inference.version = f"vllm {KEY}"
    assert inference.models is not None
    inference.models.append({"id": f"m-{KEY}", "parent": BASE})
    refused = main(*run_on(inference, tmp_path / "r", model_name="none"), INFERENCE_API_KEY=KEY)
    assert refused.code == 2
    assert "m-[key]" in refused.err and KEY not in refused.out + refused.err
    half = KEY[:-3]
    inference.fault = lambda number, body: Reply(
        body=json.dumps({"choices": [{"message": {"content": f"key: {half}"}}]}).encode()
    )
    out = tmp_path / "o"
    ended = main(*run_on(inference, out), INFERENCE_API_KEY=KEY)
    assert ended.code == 0, ended.err
    assert half not in written(out) + ended.out + ended.err
    assert "6 of 6 of vanilla, 6 of 6 of demo-tuned" in ended.out


def test_each_server_may_know_the_other_ones_key(
    inference: InferenceServer, tmp_path: Path
) -> None:
    """A gateway in front of both: every secret is hidden wherever it comes back."""
    inference.fault = lambda number, body: leaky_completion(inference, JUDGE_KEY, **body)
    with_both = {"INFERENCE_API_KEY": KEY, "CUSTOM_JUDGE_API_KEY": JUDGE_KEY}
    with judge_server() as judge:
        judge.fault = lambda number, body: _judge_reply(judge, number)
        where = {"CUSTOM_JUDGE_BASE_URL": judge.url, **with_both}
        out = tmp_path / "o"
        asked = {"predefined_tasks": "Correctness", "judge": "custom:tiny-model"}
        ended = main(*run_on(inference, out, **asked, max_failed_share="1"), **where)
    assert ended.code == 0, ended.err
    shown = written(out) + ended.out + ended.err
    assert KEY not in shown and JUDGE_KEY not in shown
    assert "[key] is right" in shown and "HTTP 400: no, [key]" in shown


def _judge_reply(judge: JudgeServer, number: int) -> Reply:
    if number % 4 == 0:
        return Reply(status=400, text=f"no, {KEY}")
    return Reply(text=json.dumps({"score": 7, "reason": f"{KEY} is right"}))
