"""Rules on waiting times under load, and seconds that cannot be compared."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from plugin.gate.words import told_text
from plugin.journal import Journal
from plugin.load_rows import StreamedRequest
from plugin.metrics import METRICS
from plugin.records import VANILLA
from plugin.run_facts import LoadFacts, LoadLevel
from tests.gate.made_runs import CORRECTNESS, EVEN, write_run
from tests.gate.test_rules import completion, decision, refusal

FAILED = StreamedRequest("", "", failure="HTTP 500: no")


def times(n: int, factor: float = 1.0, seed: int = 0) -> list[float]:
    drawn: list[float] = (factor * np.random.default_rng(seed).lognormal(0, 0.3, n)).tolist()
    return drawn


def rows(name: str, seconds: Sequence[float], first: float = 0.1) -> list[StreamedRequest]:
    return [
        StreamedRequest(
            str(i), name, first_s=first * one, total_s=one, text_s=0.9 * one, n_tokens=20,
            counted_by="server", n_pieces=20, n_arrivals=20,
        )
        for i, one in enumerate(seconds)
    ]  # fmt: skip


def loaded(folder: Path, requests: Sequence[StreamedRequest], n: int = 100, why: str = "") -> None:
    write_run(folder, {"t": {CORRECTNESS: EVEN}}, n=n)
    with closing(Journal.existing(folder)) as journal:
        journal.set_load_level(8, requests)
        level = LoadLevel(8, n, 8, 0, 10.0, why)
        journal.save_state(replace(journal.state, load=LoadFacts((level,), (8,))))


def test_the_time_for_an_answer_grows_by_the_ratio_of_medians(tmp_path: Path) -> None:
    base = times(100)
    loaded(tmp_path, [*rows(VANILLA, base), *rows("t", [2 * one for one in base])])
    found = decision(tmp_path, max_latency_growth=0.5)
    assert found.result == "fail"
    assert told_text(found).startswith(
        "growth of the time for an answer (p50 at 8 at once) +100% (95% interval +100% to +100%, "
        "n=100)"
    )
    assert decision(tmp_path, max_latency_growth=1.2).result == "pass"


def test_95_in_100_come_within_a_limit(tmp_path: Path) -> None:
    loaded(tmp_path, [*rows(VANILLA, times(100)), *rows("t", times(100, seed=1))])
    found = decision(tmp_path, max_answer_s=5)
    assert found.result == "pass"
    assert told_text(found).startswith("time for an answer (p95 at 8 at once) 1.")
    assert decision(tmp_path, max_answer_s=0.5).result == "fail"
    assert decision(tmp_path, max_first_token_s=0.5).result == "pass"
    assert decision(tmp_path, max_first_token_s=0.05).result == "fail"
    unsure = decision(tmp_path, max_answer_s=1.6)
    assert unsure.result == "can't tell" and "would settle it" in told_text(unsure)


def test_too_few_requests_decide_nothing(tmp_path: Path) -> None:
    loaded(tmp_path, [*rows(VANILLA, times(40)), *rows("t", times(40))], n=40)
    found = decision(tmp_path, max_answer_s=100)
    assert found.result == "can't tell"
    assert "too few for p95: 40 requests, at least 72" in told_text(found)


def test_requests_that_failed_count_as_ones_that_never_ended(tmp_path: Path) -> None:
    ended = rows("t", times(94))
    broken = [replace(FAILED, case_id=str(i), variant="t") for i in range(94, 100)]
    loaded(tmp_path, [*rows(VANILLA, times(100)), *ended, *broken])
    found = decision(tmp_path, max_answer_s=100)
    assert found.result == "can't tell" and "6 failed" in told_text(found)
    slow = [replace(FAILED, case_id=str(i), variant="t") for i in range(60, 100)]
    loaded(tmp_path, [*rows(VANILLA, times(100)), *rows("t", times(60)), *slow])
    assert decision(tmp_path, max_latency_growth=0.5).result == "can't tell"


def test_a_level_that_was_given_up_decides_nothing(tmp_path: Path) -> None:
    requests = [*rows(VANILLA, times(100)), *rows("t", times(100, 3))]
    loaded(tmp_path, requests, why="the server refused 28 requests in a row")
    found = decision(tmp_path, max_latency_growth=0.5)
    assert found.result == "can't tell" and "refused 28 requests in a row" in told_text(found)


def test_a_run_without_load_is_asked_to_measure_it(tmp_path: Path) -> None:
    write_run(tmp_path, {"t": {CORRECTNESS: EVEN}})
    told = refusal(tmp_path, max_first_token_s=1, max_answer_s=1)
    assert told.count("this run measured no latency of t under load; run it again with --load") == 2


def test_answers_in_one_piece_have_no_first_token(tmp_path: Path) -> None:
    whole = [replace(row, first_s=None, is_stream=False) for row in rows("t", times(100))]
    loaded(tmp_path, [*rows(VANILLA, times(100)), *whole])
    told = refusal(tmp_path, max_first_token_s=1)
    assert "the answers of t came in one piece, so nothing is known of its first token" in told
    assert decision(tmp_path, max_answer_s=100).result == "pass"


@pytest.mark.parametrize("rule", [{"max_latency_growth": 0.5}, {"max_loss": ["Latency=1"]}])
def test_seconds_of_runs_made_apart_are_refused(tmp_path: Path, rule: dict[str, object]) -> None:
    made = [completion(str(i), name, 10, 1.0) for i in range(60) for name in (VANILLA, "t")]
    gains = {"t": {CORRECTNESS: EVEN, METRICS["latency"].spec: EVEN}}
    write_run(tmp_path, gains, completions=made, identity={"compared": {"vanilla": "runs/a"}})
    told = refusal(tmp_path, **rule)
    assert "this folder compares runs that were made apart, so their seconds cannot" in told
    assert decision(tmp_path, max_token_growth=0.5).check.quantity is not None
