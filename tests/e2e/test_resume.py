"""A run that is stopped or killed goes on where it was, and nothing is made twice."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import command, demo_options, environment, main, summary, tables
from tests.judge_server import JudgeServer, Reply

N_CASES = 12
JUDGED = {
    "predefined_tasks": "Correctness, Token F1",
    "judge": "custom:judge",
    "limit": "0.2",
    "trust_report": "false",  # a retest asks the same twice on purpose
}


def n_rows(out: Path, table: str) -> int:
    try:
        with sqlite3.connect(f"file:{out / 'journal.sqlite'}?mode=ro", uri=True) as db:
            return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    except sqlite3.Error:
        return 0


def stop_when(out: Path, table: str, n: int, how: signal.Signals, url: str) -> int:
    """Start a run, end it when the table has n rows, and return the exit code."""
    running = subprocess.Popen(
        command(*demo_options(out, **JUDGED, batch_size="2")),
        env=environment(CUSTOM_JUDGE_BASE_URL=url),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # Shells start background work with Ctrl-C ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 300
        while n_rows(out, table) < n and running.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        running.send_signal(how)
        return running.wait(timeout=120)
    finally:
        running.kill()


def bodies(out: Path) -> set[str]:
    """The completions with how long they took."""
    try:
        with sqlite3.connect(f"file:{out / 'journal.sqlite'}?mode=ro", uri=True) as db:
            return {body for (body,) in db.execute("SELECT body FROM completions")}
    except sqlite3.Error:
        return set()


slow = partial(pytest.param, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.judge_server import judge_server

    out = tmp_path_factory.mktemp("undisturbed") / "run"
    with judge_server() as server:
        ended = main(*demo_options(out, **JUDGED), CUSTOM_JUDGE_BASE_URL=server.url)
    assert ended.code == 0, ended.err
    return out


@pytest.mark.parametrize(
    ("table", "n", "how", "code"),
    [
        ("answers", 9, signal.SIGKILL, -signal.SIGKILL),
        ("scores", 20, signal.SIGTERM, 130),
        slow("meta", 1, signal.SIGKILL, -signal.SIGKILL),
        slow("answers", 1, signal.SIGKILL, -signal.SIGKILL),
        slow("answers", 17, signal.SIGINT, 130),
        slow("scores", 1, signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_stopped_anywhere_it_ends_with_the_same_tables(
    table: str,
    n: int,
    how: signal.Signals,
    code: int,
    server: JudgeServer,
    undisturbed: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "run"
    server.latency_s = 0.3
    assert stop_when(out, table, n, how, server.url) == code
    kept = bodies(out)
    began = n_rows(out, "meta") > 1
    ended = main(
        *(("resume", str(out)) if began else demo_options(out, **JUDGED)),
        CUSTOM_JUDGE_BASE_URL=server.url,
    )
    assert ended.code == 0, ended.err
    assert tables(out) == tables(undisturbed)
    assert kept <= bodies(out)  # each with the seconds it took: none was made again
    assert max(Counter(server.prompts).values()) <= 2  # a call cut short is the only one repeated


def test_no_finished_judgment_is_asked_for_again(
    server: JudgeServer, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    server.latency_s = 0.3
    stop_when(out, "judgments", 5, signal.SIGKILL, server.url)
    kept = n_rows(out, "judgments")
    before = len(server.requests)
    assert main("resume", str(out), CUSTOM_JUDGE_BASE_URL=server.url).code == 0
    asked = len(server.requests) - before
    assert 5 <= kept < n_rows(out, "judgments")
    assert asked == n_rows(out, "judgments") - kept
    assert max(Counter(server.prompts[before:]).values()) == 1


def test_a_judge_that_is_down_costs_no_completion(
    server: JudgeServer, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    down = main(*demo_options(out, **JUDGED), CUSTOM_JUDGE_BASE_URL="http://127.0.0.1:9/v1")
    assert down.code == 1
    assert "fault: the judge custom:judge does not answer" in down.err
    assert f"Go on with: python main.py resume {out}" in down.err
    assert n_rows(out, "answers") == 2 * N_CASES
    up = main("resume", str(out), CUSTOM_JUDGE_BASE_URL=server.url)
    assert up.code == 0, up.err
    assert f"continuing a run: {2 * N_CASES} completions" in up.out
    assert tables(out) == tables(undisturbed)


def test_nonsense_for_some_cases_is_counted_and_the_rest_stands(
    server: JudgeServer, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    spoilt: set[str] = set()

    def talk(number: int, body: dict[str, Any]) -> Reply | None:
        prompt = body["messages"][0]["content"].partition("\n\nYour last answer")[0]
        if len(spoilt) < 3:
            spoilt.add(prompt)
        return Reply(text="Nice!") if prompt in spoilt else None

    server.fault = talk
    ended = main(*demo_options(out, **JUDGED), CUSTOM_JUDGE_BASE_URL=server.url)
    assert ended.code == 0, ended.err
    failures = (out / "04_failures.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert len(failures) == 3
    assert all(",Correctness,judge," in line and "not a JSON object" in line for line in failures)
    rows = [row for row in summary(out)["summaries"] if row["group"] == "all"]
    assert sum(row["n_failed"] for row in rows if row["metric"] == "Correctness") == 3
    assert {row["n"] for row in rows if row["metric"] == "Token F1"} == {N_CASES}
