"""What judging took is known after any number of kills, and a stop keeps the answers under way."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.conftest import command, demo_options, environment, main, summary
from tests.judge_server import JudgeServer

AT_ONCE = 4
MAX_CALLS = 20
JUDGED = {
    "predefined_tasks": "Correctness",
    "judge": "custom:judge",
    "judge_price": "1000,1000",  # the server counts 100 + 10 tokens: 0.11 dollars a call
    "concurrency": str(AT_ONCE),
    "limit": "1",
    "trust_report": "false",
    "max_tokens": "4",
}


def n_judgments(out: Path) -> int:
    try:
        with sqlite3.connect(f"file:{out / 'journal.sqlite'}?mode=ro", uri=True) as db:
            return int(db.execute("SELECT count(*) FROM judgments").fetchone()[0])
    except sqlite3.Error:
        return 0


def end_when(server: JudgeServer, n_asked: int, how: signal.Signals, *arguments: str) -> int:
    """Start the program, send it the signal when the judge was asked so often; the exit code."""
    running = subprocess.Popen(
        command(*arguments),
        env=environment(CUSTOM_JUDGE_BASE_URL=server.url),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # Shells start background work with Ctrl-C ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 300
        while len(server.requests) < n_asked and running.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        running.send_signal(how)
        return running.wait(timeout=120)
    finally:
        running.kill()


def test_no_kill_makes_the_limit_or_the_report_forget_a_call(
    server: JudgeServer, tmp_path: Path
) -> None:
    """A call counts before it is sent: the limit holds exactly.

    What was counted but never reached the server is at most what was under way at each kill.
    """
    out = tmp_path / "run"
    options = demo_options(out, **JUDGED, max_calls=str(MAX_CALLS))
    server.latency_s = 0.3
    kill = signal.SIGKILL
    assert end_when(server, 6, kill, *options) == -kill
    assert end_when(server, 13, kill, "resume", str(out)) == -kill
    asked_before = len(server.requests)
    assert 13 <= asked_before < MAX_CALLS
    ended = main("resume", str(out), CUSTOM_JUDGE_BASE_URL=server.url)
    assert ended.code == 0, ended.err
    assert f"--max_calls {MAX_CALLS} is reached" in ended.out
    told = summary(out)["provenance"]["judge_calls"]
    assert told["n_calls"] == MAX_CALLS
    assert MAX_CALLS - 2 * AT_ONCE <= len(server.requests) <= MAX_CALLS
    assert asked_before < len(server.requests)  # the third session had calls left
    kept = n_judgments(out)
    assert told["n_calls"] - told["n_lost"] == kept > 0
    assert told["n_lost"] <= 2 * AT_ONCE
    assert told["n_prompt_tokens"] == 100 * kept and told["n_completion_tokens"] == 10 * kept
    assert told["cost"] >= 0.11 * kept
    verdict = (out / "verdict.txt").read_text(encoding="utf-8")
    assert f"Judging took {MAX_CALLS} calls" in verdict
    assert f"{told['n_lost']} given up or cut off before an answer" in verdict


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_keeps_the_answers_under_way(
    how: signal.Signals, server: JudgeServer, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    server.latency_s = 1.0
    assert end_when(server, 2 * AT_ONCE, how, *demo_options(out, **JUDGED)) == 130
    assert n_judgments(out) == len(server.requests) >= 2 * AT_ONCE
    server.latency_s = 0.0
    ended = main("resume", str(out), CUSTOM_JUDGE_BASE_URL=server.url)
    assert ended.code == 0, ended.err
    assert max(Counter(server.prompts).values()) == 1
    told = summary(out)["provenance"]["judge_calls"]
    assert told["n_calls"] == len(server.requests) and told["n_lost"] == 0
    assert told["cost"] == pytest.approx(0.11 * len(server.requests))
