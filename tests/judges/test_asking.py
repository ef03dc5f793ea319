from __future__ import annotations

import pytest

from plugin.errors import LimitReached
from plugin.judges.asking import Price, SpendLimits, SpendMeter, price_of


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


def test_calls_and_dollars_end_where_the_user_says_with_earlier_sessions_counted() -> None:
    meter = SpendMeter(SpendLimits(max_calls=3), n_calls=1)
    meter.count_call()
    meter.count_call()
    with pytest.raises(LimitReached, match="^--max_calls 3 is reached$"):
        meter.count_call()
    meter = SpendMeter(SpendLimits(budget=0.5), cost=0.49)
    meter.count_call()
    meter.cost += 0.02
    with pytest.raises(LimitReached, match=r"^--budget 0.5 is spent \(0.5100 dollars\)$"):
        meter.count_call()


def test_without_limits_there_are_none() -> None:
    meter = SpendMeter(SpendLimits(), n_calls=10**6, cost=10**6)
    meter.count_call()
    assert meter.n_calls == 10**6 + 1


def test_a_deadline_is_of_this_session() -> None:
    meter = SpendMeter(SpendLimits(deadline_s=1e-9))
    with pytest.raises(LimitReached, match="^--deadline_s 1e-09 is over$"):
        meter.count_call()
