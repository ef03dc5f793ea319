"""The forecast before judging: what is asked, what it costs, and what is kept already."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from plugin import judges, metrics
from plugin.cache import Cache
from plugin.forecast import forecast_text
from plugin.journal import Journal
from plugin.judges.panel import Judging, ScoreItem
from plugin.judges.spending import SpendLimits
from plugin.metrics.entry import Criterion
from plugin.score import items_to_score, missing_items, score_all
from plugin.trust.draw import FLOOR
from plugin.trust.exam import Exam
from plugin.worker import Progress
from tests.judge_server import JudgeServer
from tests.samples import case, completion

NAMES = ("Correctness", "Answer Relevancy")
N = 12
N_CALLS = 2 * N * (1 + 3)
"""Two variants; Correctness asks once, Answer Relevancy three times (some questions are equal)."""


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(tmp_path / "run", Cache(tmp_path / "cache.sqlite"))) as journal:
        yield journal


def judging_with(server: JudgeServer, *names: str) -> Judging:
    secrets = {"CUSTOM_JUDGE_BASE_URL": server.url, "CUSTOM_JUDGE_API_KEY": "k"}
    found = tuple(judges.load(f"custom:{name}", secrets.get) for name in names or ("m",))
    return Judging(found, price=(1.0, 2.0))


def items_of(*names: str, criteria: tuple[Criterion, ...] = ()) -> list[ScoreItem]:
    cases = [case(str(n), input=f"Who plays Richard {n}?") for n in range(N)]
    texts = [
        completion(f"{name} says Thomas {n}.", str(n), name)
        for n in range(N)
        for name in ("vanilla", "tuned")
    ]
    return items_to_score(cases, texts, metrics.select(names, criteria, cases))


def told(items: list[ScoreItem], judging: Judging, journal: Journal) -> str:
    return forecast_text(missing_items(items, journal), judging, None, journal)


def test_without_anything_kept_nothing_is_said_of_the_cache(
    server: JudgeServer, journal: Journal
) -> None:
    text = told(items_of(*NAMES), judging_with(server), journal)
    assert text.startswith(f"judging: about {N_CALLS} calls, ") and "cache" not in text


def test_what_another_run_asked_costs_nothing(
    server: JudgeServer, journal: Journal, tmp_path: Path
) -> None:
    with closing(Journal(tmp_path / "other", Cache(tmp_path / "cache.sqlite"))) as other:
        score_all(items_of(*NAMES), judging_with(server), other, Progress())
    n_asked = len(server.requests)
    assert 0.8 * N_CALLS < n_asked <= N_CALLS
    text = told(items_of(*NAMES), judging_with(server), journal)
    assert text == f"judging: nothing to pay, all {N_CALLS} answers are in the cache"
    more = items_of(*NAMES, "Hallucination")
    text = told(more, judging_with(server), journal)
    n_new = 2 * N * 2  # Hallucination asks for a verdict and a reason
    assert text.startswith(
        f"judging: about {n_new} calls ({N_CALLS} of {N_CALLS + n_new} answers are in the cache), "
    )
    assert len(server.requests) == n_asked  # a forecast asks nobody
    score_all(more, judging_with(server), journal, Progress())
    assert 0.5 * n_new <= len(server.requests) - n_asked <= n_new


def test_a_question_that_was_answered_in_a_killed_run_is_counted_too(
    server: JudgeServer, journal: Journal
) -> None:
    limited = replace(judging_with(server), limits=SpendLimits(max_calls=N_CALLS // 2))
    score_all(items_of(*NAMES), limited, journal, Progress())
    before = len(server.requests)
    text = told(items_of(*NAMES), judging_with(server), journal)
    score_all(items_of(*NAMES), judging_with(server), journal, Progress())
    n_asked = len(server.requests) - before
    found = re.match(r"judging: about (\d+) calls \((\d+) of (\d+) answers are in the cache", text)
    assert found
    n_told, n_kept, n_all = map(int, found.groups())
    assert n_asked <= n_told <= 2 * n_asked and n_told + n_kept == n_all and n_kept > 10


def test_another_judge_has_answered_nothing(server: JudgeServer, journal: Journal) -> None:
    score_all(items_of(*NAMES), judging_with(server), journal, Progress())
    items = items_of(*NAMES)
    text = forecast_text(items, judging_with(server, "m", "other"), None, journal)
    said = f"about {N_CALLS} calls ({N_CALLS} of {2 * N_CALLS} answers are in the cache), "
    assert text.startswith(f"judging: {said}")


def test_the_cost_is_that_of_what_is_left(server: JudgeServer, journal: Journal) -> None:
    def cost(text: str) -> float:
        return float(text.partition("; ")[2].split("; ")[1].split(" to ")[0])

    text = told(items_of(*NAMES), judging_with(server), journal)
    low, high = map(float, re.findall(r"(\d+\.\d\d)(?: to| dollars)", text))
    assert 0 < low and high == pytest.approx(4 * low, abs=0.03)
    whole = cost(text)
    score_all(items_of("Correctness"), judging_with(server), journal, Progress())
    rest = cost(forecast_text(items_of(*NAMES), judging_with(server), None, journal))
    alone = cost(forecast_text(items_of("Answer Relevancy"), judging_with(server), None, journal))
    assert rest == alone < whole


def test_criteria_of_the_users_own_are_looked_up_with_the_steps_that_are_kept(
    server: JudgeServer, journal: Journal
) -> None:
    own = (Criterion("Tone", "is it polite?"),)
    items = items_of("Correctness", criteria=own)
    text = told(items, judging_with(server), journal)
    assert text.startswith(f"judging: about {2 * N * 2} calls, ")
    score_all(items, judging_with(server), journal, Progress())
    text = forecast_text(items, judging_with(server), None, journal)
    assert text == f"judging: nothing to pay, all {2 * N * 2} answers are in the cache"


def test_the_exam_comes_on_top_less_what_is_kept(server: JudgeServer, journal: Journal) -> None:
    items, judging = items_of(*NAMES), judging_with(server)
    cases = [case(str(n), input=f"Who plays Richard {n}?") for n in range(N)]
    exam = Exam(cases, metrics.select(NAMES, (), cases), journal, 0)
    text = forecast_text(items, judging, exam, journal)
    assert exam.n_questions_at_most(96) == FLOOR < exam.n_questions_at_most(1_000)
    assert f"examining the judge takes up to {FLOOR} calls more" in text
    panel = forecast_text(items, judging_with(server, "m", "other"), exam, journal)
    assert f"examining the judge takes up to {2 * FLOOR} calls more" in panel
    score_all(items, judging, journal, Progress())
    text = forecast_text(items, judging, exam, journal)
    assert text.endswith("calls more, less what is in the cache")


def test_a_large_run_looks_up_a_sample(
    server: JudgeServer, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    score_all(items_of("Correctness"), judging_with(server), journal, Progress())
    monkeypatch.setattr("plugin.forecast._MOST_LOOKED_UP", 6)
    text = forecast_text(items_of("Correctness"), judging_with(server), None, journal)
    assert text == f"judging: nothing to pay, all {2 * N} answers are in the cache"


def test_all_is_said_of_no_sample(
    server: JudgeServer, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = items_of("Correctness")
    score_all([items[0], *items[2:]], judging_with(server), journal, Progress())
    monkeypatch.setattr("plugin.forecast._MOST_LOOKED_UP", 6)
    text = forecast_text(items, judging_with(server), None, journal)
    assert text.startswith(
        f"judging: about 1 calls ({2 * N - 1} of {2 * N} answers are in the cache), "
    )
