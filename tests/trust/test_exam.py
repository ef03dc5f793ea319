"""The exam of a judge, through a real local server that loves canaries, wavers or goes away."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from plugin import judges, metrics
from plugin.journal import Journal
from plugin.judges.panel import Judging
from plugin.judges.spending import SpendLimits
from plugin.metrics.entry import Criterion
from plugin.records import Score
from plugin.score import items_to_score, score_all
from plugin.trust.controls import CONTROLS
from plugin.trust.exam import (
    CANARIES,
    EMPTY_PRAISE,
    N_CANARY_CASES,
    N_CONTROL_CASES,
    N_RETEST_CASES,
    NULL,
    RETEST,
    Exam,
    ProbeResult,
)
from plugin.worker import Progress, Stopped
from tests.judge_server import JudgeServer, Reply
from tests.samples import case, completion

N_CASES = 14
CASES = [
    case(str(i), input=f"Who is number {i}?", expected_output=f"Number {i} is Richard.")
    for i in range(N_CASES)
]
CORRECTNESS = ("Correctness",)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "run")


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugin.net.FIRST_WAIT_S", 0.01)


def run(
    server: JudgeServer,
    journal: Journal,
    names: tuple[str, ...] = CORRECTNESS,
    criteria: tuple[Criterion, ...] = (),
    progress: Progress | None = None,
    seed: int = 0,
    max_calls: int = 0,
) -> None:
    for each in CASES:
        for variant, who in (("vanilla", "Nobody"), ("tuned", "Thomas")):
            text = completion(f"Number {each.id} is {who}.", each.id, variant)
            journal.add_answer(f"{variant} {each.id}", text)
    judge = judges.load("custom:m", {"CUSTOM_JUDGE_BASE_URL": server.url}.get)
    chosen = metrics.select(names, criteria, CASES)
    items = items_to_score(CASES, journal.completions().values(), chosen)
    due = Exam(CASES, chosen, journal, seed)
    judging = Judging(
        (judge,),
        concurrency=8,
        timeout_s=60,
        adaptive=False,
        limits=SpendLimits(max_calls=max_calls),
        max_failed_share=1,
    )
    score_all(items, judging, journal, progress or Progress(), exam=due)


def found(journal: Journal, kind: str) -> list[ProbeResult]:
    return [each for each in journal.state.exam or () if each.kind == kind]


def is_canary(prompt: str) -> bool:
    return any(text in prompt for text in CANARIES.values())


def test_a_steady_judge_gives_the_same_scores_again(server: JudgeServer, journal: Journal) -> None:
    run(server, journal)
    scores = {(s.case_id, s.variant): s.value for s in journal.scores()}
    again = found(journal, RETEST)
    assert len(again) == N_RETEST_CASES == len({each.case_id for each in again})
    assert Counter(each.variant for each in again) == {"vanilla": 5, "tuned": 5}
    assert all(each.value == scores[each.case_id, each.variant] for each in again)


def test_a_retest_asks_the_very_same_question_anew(server: JudgeServer, journal: Journal) -> None:
    run(server, journal)
    asked = Counter(prompt for prompt in server.prompts if not is_canary(prompt))
    assert Counter(asked.values()) == {
        1: 2 * N_CASES - N_RETEST_CASES + 2 * N_CONTROL_CASES,
        2: N_RETEST_CASES,
    }


def test_a_wavering_judge_is_seen_to_waver(server: JudgeServer, journal: Journal) -> None:
    seen: Counter[str] = Counter()

    def waver(number: int, body: dict[str, Any]) -> Reply:
        prompt = body["messages"][0]["content"]
        seen[prompt] += 1
        return Reply(text=json.dumps({"score": 2 + seen[prompt], "reason": "as I feel"}))

    server.fault = waver
    run(server, journal)
    assert {s.value for s in journal.scores()} == {0.3}  # a score is never that of a retest
    assert {each.value for each in found(journal, RETEST)} == {0.4}


def test_every_canary_is_judged_on_a_few_cases(server: JudgeServer, journal: Journal) -> None:
    run(server, journal)
    for name in CANARIES:
        assert [each.value for each in found(journal, name)] == [0.3] * N_CANARY_CASES
    assert (
        len(server.requests)
        == 2 * N_CASES + N_RETEST_CASES + 4 * N_CANARY_CASES + 2 * N_CONTROL_CASES
    )


def test_a_judge_that_loves_a_canary_is_found_out(server: JudgeServer, journal: Journal) -> None:
    server.fault = lambda n, body: (
        Reply(text='{"score": 10, "reason": "how kind"}')
        if CANARIES[EMPTY_PRAISE] in str(body)
        else None
    )
    run(server, journal)
    assert {each.value for each in found(journal, EMPTY_PRAISE)} == {1.0}
    assert {each.value for each in found(journal, NULL)} == {0.3}


def test_the_draw_follows_the_seed(server: JudgeServer, journal: Journal, tmp_path: Path) -> None:
    drawn = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        other = Journal(tmp_path / name)
        run(server, other, seed=seed)
        drawn.append([each.place for each in other.state.exam or ()])
    assert sorted(drawn[0]) == sorted(drawn[1]) != sorted(drawn[2])


def test_an_exam_is_taken_once(server: JudgeServer, journal: Journal) -> None:
    run(server, journal)
    asked, kept = len(server.requests), journal.state.exam
    run(server, journal)
    assert (len(server.requests), journal.state.exam) == (asked, kept)


def test_a_run_that_was_scored_without_one_can_take_it_later(
    server: JudgeServer, journal: Journal
) -> None:
    polite = Criterion("Politeness", "Is it polite?")
    run(server, journal, criteria=(polite,))
    journal._query("DELETE FROM meta WHERE name = 'exam'")
    journal._query("DELETE FROM judgments")
    asked = len(server.requests)
    run(server, journal, criteria=(polite,))
    # The criterion's steps are those of the scores: no one writes them again.
    assert not any("Is it polite?" in prompt for prompt in server.prompts[asked:])
    # 56 scores allow 60 questions: fewer cases of every kind, under both metrics.
    kinds = Counter((f.metric, f.kind) for f in journal.state.exam or ())
    assert sum(kinds.values()) == 60
    assert {n for (metric, kind), n in kinds.items() if kind != RETEST} == {5}
    assert {metric for metric, _ in kinds} == {"Correctness", "Politeness"}


def test_a_budget_that_is_too_small_for_all_keeps_wrong_and_right_answers(
    server: JudgeServer, journal: Journal
) -> None:
    """What may show that a judge is bad comes first, under every metric."""
    chosen = metrics.select(("Rubric", "Correctness"), (), CASES)
    for each in CASES:
        for variant in ("vanilla", "tuned"):
            journal.add_answer(f"{variant} {each.id}", completion("Someone.", each.id, variant))
            for metric in chosen:
                journal.add_score(Score(each.id, variant, metric.spec.name, 0.5))
    exam = Exam(CASES, chosen, journal, 0, names=("vanilla", "tuned"), n_judges=4)
    kinds = Counter((probe.metric, probe.kind) for probe in exam._probes())
    assert sum(kinds.values()) <= 60 / 4
    assert set(kinds) >= {
        (metric, kind) for metric in ("Rubric", "Correctness") for kind in (*CANARIES, *CONTROLS)
    }


def test_a_judgment_that_fails_is_counted_and_tried_again(
    server: JudgeServer, journal: Journal
) -> None:
    server.fault = lambda n, body: (
        Reply(text="Thank you!") if CANARIES[EMPTY_PRAISE] in str(body) else None
    )
    run(server, journal)
    lost = found(journal, EMPTY_PRAISE)
    assert [each.value for each in lost] == [None] * N_CANARY_CASES
    assert all("no fitting answer in 3 tries" in each.failure for each in lost)
    assert not journal.failures()  # no score of the run is missing
    server.fault = lambda n, body: None
    asked = len(server.requests)
    run(server, journal)
    assert [each.value for each in found(journal, EMPTY_PRAISE)] == [0.3] * N_CANARY_CASES
    assert len(server.requests) - asked == N_CANARY_CASES


@pytest.mark.parametrize("reply", [Reply(drop=True), Reply(status=401), Reply(status=404)])
def test_a_judge_that_goes_away_in_the_exam_costs_the_run_nothing(
    reply: Reply, server: JudgeServer, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugin.judges.asking.N_LOST_UNTIL_DOWN", 3)
    server.fault = lambda n, body: reply if n >= 2 * N_CASES else None
    run(server, journal)
    assert len(journal.scores()) == 2 * N_CASES
    all_found = journal.state.exam or ()
    assert len(all_found) == N_RETEST_CASES + 4 * N_CANARY_CASES + 2 * N_CONTROL_CASES
    assert all(each.value is None and each.failure for each in all_found)
    assert len(server.requests) < 2 * N_CASES + 70  # it was soon given up


def test_what_judges_no_completion_or_asks_nobody_is_not_probed(
    server: JudgeServer, journal: Journal
) -> None:
    run(server, journal, ("Hallucination", "Contextual Recall", "Token F1"))
    kinds = {(each.kind, each.metric) for each in journal.state.exam or ()}
    assert kinds == {(RETEST, "Hallucination")}


def test_a_stop_in_the_exam_stops_it(server: JudgeServer, journal: Journal) -> None:
    progress = Progress()

    def stop(number: int, body: dict[str, Any]) -> None:
        if number >= 2 * N_CASES + 12:
            progress.stop.set()

    server.fault = stop
    server.latency_s = 0.1
    with pytest.raises(Stopped):
        run(server, journal, progress=progress)
    assert progress.stage == "examine the judge"
    assert journal.state.exam is None
    server.fault, server.latency_s = lambda n, body: None, 0
    asked = len(server.requests)
    run(server, journal)
    assert len(server.requests) - asked < N_RETEST_CASES + 4 * N_CANARY_CASES + 2 * N_CONTROL_CASES
    assert {each.value for each in journal.state.exam or ()} == {0.3, 1.0}  # right answers: 1


def test_a_limit_in_the_exam_is_no_failure_of_the_judges_and_the_next_session_goes_on(
    server: JudgeServer, journal: Journal
) -> None:
    n_scores = 2 * len(CASES)
    run(server, journal, max_calls=n_scores + 7)
    kept = journal.state.exam or ()
    assert len(server.requests) == n_scores + 7 == n_scores + len(kept)
    assert all(each.value is not None for each in kept)
    run(server, journal)
    whole = journal.state.exam or ()
    assert len(whole) == 40 and all(each.value is not None for each in whole)
    assert len(server.requests) == n_scores + 40
