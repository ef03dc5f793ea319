from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from plugin.errors import LimitReached
from plugin.journal import Journal
from plugin.judges.spending import Price, SpendLimits, SpendMeter, price_of
from plugin.run_facts import JudgeCalls


@pytest.mark.parametrize(
    ("label", "price"),
    [
        ("openai:gpt-4o-mini", (0.15, 0.60)),
        ("openai:gpt-4o-mini-2024-07-18", (0.15, 0.60)),
        ("openai:gpt-4o", (2.50, 10.0)),
        ("anthropic:claude-sonnet-4-5-20250929", (3.0, 15.0)),
        ("openai:gpt-4", None),
        ("openai:gpt-40", None),
        ("custom:gpt-4o", None),
        ("azure:gpt-4o", None),
        ("ollama:llama3", (0, 0)),
        ("mlx:someone/model", (0, 0)),
        ("offline (smoke-test) judge", (0, 0)),
    ],
)
def test_prices_are_known_by_the_models_name(label: str, price: tuple[float, float]) -> None:
    assert price_of(label) == (None if price is None else Price(*price))


def test_the_users_price_goes_first_but_not_for_ones_own_machine() -> None:
    assert price_of("openai:gpt-4o", (1.0, 2.0)) == Price(1, 2)
    assert price_of("ollama:llama3", (1.0, 2.0)) == Price(0, 0)


def test_a_price_is_per_million_tokens() -> None:
    # 200,000 x 0.15 + 50,000 x 0.60 dollars per million = 0.03 + 0.03
    assert Price(0.15, 0.60).cost(200_000, 50_000) == pytest.approx(0.06)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(tmp_path)) as journal:
        yield journal


def spend_before(journal: Journal, **calls: float) -> None:
    journal.save_calls(calls)


def test_calls_end_where_the_user_says_with_earlier_sessions_counted(journal: Journal) -> None:
    spend_before(journal, n_calls=1)
    meter = SpendMeter(SpendLimits(max_calls=3), journal)
    meter.begin_call()
    meter.begin_call()
    with pytest.raises(LimitReached, match="^--max_calls 3 is reached$"):
        meter.begin_call()


def test_dollars_end_where_the_user_says_with_earlier_sessions_counted(journal: Journal) -> None:
    spend_before(journal, n_calls=1, cost=0.49)
    meter = SpendMeter(SpendLimits(budget=0.5), journal)
    meter.begin_call()
    meter.end_call(0.02)
    with pytest.raises(LimitReached, match=r"^--budget 0.5 is spent \(0.5100 dollars\)$"):
        meter.begin_call()


def test_a_call_under_way_counts_with_its_estimated_cost(journal: Journal) -> None:
    meter = SpendMeter(SpendLimits(budget=0.5), journal)
    meter.begin_call(0.3)
    meter.begin_call(0.3)
    with pytest.raises(LimitReached, match=r"spent \(0.6000 dollars, calls without an answer as "):
        meter.begin_call(0.3)
    meter.end_call(-0.2, n_read=9, n_written=1)
    meter.begin_call(0.3)
    assert meter.cost == pytest.approx(0.1 + 0.3 + 0.3)


def test_what_is_under_way_when_the_process_dies_stays_counted(journal: Journal) -> None:
    meter = SpendMeter(SpendLimits(), journal)
    for _ in range(3):
        meter.begin_call(0.3)
    meter.end_call(-0.2, n_read=9, n_written=1)
    meter.save()
    meter = SpendMeter(SpendLimits(max_calls=3), journal)  # another session, without a goodbye
    assert journal.state.judge_calls == JudgeCalls(
        n_calls=3, n_lost=2, n_prompt_tokens=9, n_completion_tokens=1, cost=0.7
    )
    with pytest.raises(LimitReached):
        meter.begin_call()


def test_without_limits_there_are_none(journal: Journal) -> None:
    spend_before(journal, n_calls=10**6, cost=10**6)
    meter = SpendMeter(SpendLimits(), journal)
    meter.begin_call()
    assert meter.counts["n_calls"] == 10**6 + 1


def test_a_deadline_is_of_this_session(journal: Journal) -> None:
    meter = SpendMeter(SpendLimits(deadline_s=1e-9), journal)
    with pytest.raises(LimitReached, match="^--deadline_s 1e-09 is over$"):
        meter.begin_call()
