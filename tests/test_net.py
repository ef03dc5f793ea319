from __future__ import annotations

import asyncio

import pytest

from plugin.net import ConcurrencyLimit


def busy(pace: ConcurrencyLimit, n: int) -> int:
    """How many of n calls are under way at once, at most."""
    most = now = 0

    async def call() -> None:
        nonlocal most, now
        async with pace:
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.001)
            now -= 1

    async def all_calls() -> None:
        await asyncio.gather(*(call() for _ in range(n)))

    asyncio.run(all_calls())
    return most


def test_no_more_than_the_limit_are_under_way() -> None:
    assert busy(ConcurrencyLimit(5, adaptive=False), 40) == 5


def test_a_fixed_pace_stays() -> None:
    pace = ConcurrencyLimit(5, adaptive=False)
    pace.was_too_much()
    for _ in range(100):
        pace.went_well(0.1)
    assert pace.limit == pace.most == 5


def test_it_grows_by_one_a_round_while_all_goes_well() -> None:
    pace = ConcurrencyLimit(4, adaptive=True)
    for _ in range(4):
        pace.went_well(0.1)
    assert 4.8 < pace.limit < 5.1
    for _ in range(1000):
        pace.went_well(0.1)
    assert pace.limit == pace.most == 16
    assert busy(pace, 60) == 16


def test_too_much_halves_it_once_a_round() -> None:
    pace = ConcurrencyLimit(16, adaptive=True)
    for _ in range(16):  # refusals of calls that were under way together are one piece of news
        pace.was_too_much()
    assert pace.limit == 8
    pace.was_too_much()
    assert pace.limit == 4
    for _ in range(50):
        pace.was_too_much()
    assert pace.limit == 1


def test_slow_answers_shrink_it_and_quick_ones_bring_it_back() -> None:
    pace = ConcurrencyLimit(10, adaptive=True)
    for _ in range(50):
        pace.went_well(0.1)
    fast = pace.limit
    for _ in range(200):
        pace.went_well(0.5)
    assert pace.limit < fast / 2
    slow = pace.limit
    for _ in range(200):
        pace.went_well(0.1)
    assert pace.limit > slow


def test_who_gives_up_waiting_takes_no_place() -> None:
    async def story() -> int:
        pace = ConcurrencyLimit(1, adaptive=False)
        entered, may_leave = 0, asyncio.Event()

        async def call() -> None:
            nonlocal entered
            async with pace:
                entered += 1
                await may_leave.wait()

        tasks = [asyncio.create_task(call()) for _ in range(4)]
        await asyncio.sleep(0.001)
        tasks[1].cancel()
        tasks[2].cancel()
        may_leave.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(60):
            await call()
        return entered

    assert asyncio.run(story()) == 3


@pytest.mark.parametrize("start", [1, 3])
def test_a_larger_limit_lets_waiting_calls_in_at_once(start: int) -> None:
    async def story() -> None:
        pace = ConcurrencyLimit(start, adaptive=True)
        for _ in range(start):
            await pace.__aenter__()
        waiting = asyncio.create_task(pace.__aenter__())
        await asyncio.sleep(0)
        for _ in range(2 * start):
            pace.went_well(0.1)
        async with asyncio.timeout(60):
            await waiting

    asyncio.run(story())


def test_a_number_that_is_the_most_is_never_exceeded_and_comes_back_after_a_cut() -> None:
    pace = ConcurrencyLimit(8, adaptive=True, most=8)
    for _ in range(50):
        pace.went_well(None)
    assert pace.limit == 8
    pace.was_too_much()
    assert pace.limit == 4
    for _ in range(50):
        pace.went_well(None)
    assert pace.limit == 8
