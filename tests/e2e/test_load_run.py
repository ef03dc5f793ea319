"""Runs that measure latency under load on a real local server, as a user starts them."""

from __future__ import annotations

import csv
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

from plugin.latency import stage
from tests.e2e.conftest import demo_options, main, summary, tables
from tests.inference_server import BASE, TUNED, InferenceServer
from tests.judge_server import Reply
from tests.streams import Style

N_CASES, N_WARM = 6, 4


def served(out: Path, server: InferenceServer, **changed: str) -> list[str]:
    options = {"server_url": server.url, "model_name": BASE, "model_adapter": TUNED}
    return demo_options(out, **options, capability="off", **changed)


def three_times_as_long(number: int, body: dict[str, Any]) -> Style:
    n_tokens = 18 if body["model"] == TUNED else 6
    return Style(first_s=0.02, token_s=0.004, n_tokens=n_tokens)


def rows_of(out: Path) -> dict[str, dict[str, str]]:
    with (out / "13_latency.csv").open(encoding="utf-8") as file:
        return {row["label"]: row for row in csv.DictReader(file)}


def streamed(server: InferenceServer) -> int:
    return sum(bool(body.get("stream")) for body in server.requests)


def test_a_load_is_added_to_a_run_stopped_and_resumed(
    inference: InferenceServer, tmp_path: Path, monkeypatch: Any
) -> None:
    """First without; then a server that goes away at the second level; then the rest of it."""
    monkeypatch.setattr(stage, "_PAUSE_S", 0.0)
    inference.styles = three_times_as_long
    out = tmp_path / "o"
    assert main(*served(out, inference)).code == 0
    plain, n_plain = tables(out), len(inference.requests)
    assert "latency" not in summary(out) or summary(out)["latency"] is None
    first_level = N_CASES * 2 + N_WARM
    inference.fault = lambda number, body: (
        Reply(drop=True) if streamed(inference) > first_level + 3 else None
    )
    ended = main(*served(out, inference, load="1,2", load_guard="1.2"))
    assert ended.code == 1 and "this level is measured anew" in ended.err
    assert "Go on with: python main.py resume" in ended.err
    with sqlite3.connect(out / "journal.sqlite") as db:
        kept = Counter(level for (level,) in db.execute("SELECT level FROM load_requests"))
    assert kept == {1: 2 * N_CASES}
    inference.fault = lambda number, body: None
    before = streamed(inference)
    ended = main("resume", str(out))  # without naming the load again
    assert ended.code == 0, ended.err
    assert "latency under load: 2 at once, 6 requests of each of 2 variants, 16 with" in ended.out
    n_new = streamed(inference) - before
    assert 2 * N_CASES + N_WARM <= n_new <= 2 * N_CASES + N_WARM + 6
    assert tables(out) == plain  # nothing else was made again
    assert len(inference.requests) - n_plain == streamed(inference)
    assert_what_is_published(out, ended.out)


def assert_what_is_published(out: Path, printed: str) -> None:
    rows = rows_of(out)
    own = rows["seconds in all p50 / 2 at once / demo-tuned"]
    base = rows["seconds in all p50 / 2 at once / vanilla"]
    assert float(base["value"]) >= 0.02 + 5 * 0.004 * 0.9
    assert float(own["value"]) >= 0.02 + 17 * 0.004 * 0.9
    assert (own["n"], own["failed"], own["mean_tokens"]) == ("6", "0", "18.0")
    assert float(rows["seconds to first token p50 / 1 at once / vanilla"]["value"]) >= 0.02
    assert rows["seconds in all p99 / 1 at once / vanilla"]["value"] == ""
    found = summary(out)["latency"]
    assert [level["n_at_once"] for level in found["levels"]] == [1, 2]
    assert found["guarded"][0]["variant"] == "demo-tuned"
    assert "answers of demo-tuned are 3.0 times as long" in printed
    page = (out / "report.html").read_text(encoding="utf-8")
    assert '<h2 id="latency">How long a user waits</h2>' in page
    assert page.count('id="waits-') > 3 and page.count('id="waitn-') > 3
    assert (out / "latency.svg").read_text(encoding="utf-8").startswith("<?xml")
    gated = main("gate", str(out), "--max_answer_s", "60")
    told = " ".join(gated.out.split())  # narrow terminals break lines
    assert gated.code == 0 and "too few for p95: 6 requests, at least 72" in told


def test_a_server_that_does_not_stream_is_told(inference: InferenceServer, tmp_path: Path) -> None:
    inference.styles = lambda number, body: None
    ended = main(*served(tmp_path / "o", inference, load="1", load_requests="4"))
    assert ended.code == 0, ended.err
    assert "came in one piece, so there is no time to the first token and no rate" in ended.out
    labels = rows_of(tmp_path / "o")
    assert {row["measure"] for row in labels.values()} == {"seconds in all"}
    assert {row["n"] for row in labels.values()} == {"4"}


def test_bad_loads_end_before_anything_is_asked(tmp_path: Path) -> None:
    cases = tmp_path / "cases.jsonl"
    cases.write_text('{"input": "q", "expected_output": "a", "output": "a"}\n')
    out = str(tmp_path / "o")
    for more, told in (
        (("--load", "0"), "--load 0 at once: choose 1 to 1,000"),
        (("--load", "8,8"), "--load 8 stands there twice"),
        (("--load", "x"), "--load 'x' is no number"),
        (("--load", "100000"), "--load 100000 at once: choose 1 to 1,000"),
        (("--load", "8"), "recorded completions have no server that could be timed"),
        (("--load_guard", "2"), "--load_guard would do nothing without --load"),
    ):
        ended = main(
            *("run", "--recorded", f"base={cases}:output", "--out", out),
            *("--predefined_tasks", "Token F1", *more),
        )
        assert (ended.code, told in ended.err) == (2, True), ended.err
    ended = main(*demo_options(tmp_path / "p", load="8"))
    assert ended.code == 2 and "add --engine server --server_url URL" in ended.err
    assert not (tmp_path / "o").exists() and not (tmp_path / "p" / "journal.sqlite").exists()
