from __future__ import annotations

import asyncio
import json
from contextlib import closing
from itertools import chain
from pathlib import Path

import pytest
from pydantic import BaseModel

from plugin import judges
from plugin.engines import NO_ANSWER, ServedSettings
from plugin.engines.server import N_TRIES_BUSY, ServerEngine
from plugin.errors import CallError, JudgeError, LimitReached, UserError
from plugin.journal import Journal
from plugin.judges.asking import Asker, AskSettings
from plugin.judges.spending import SpendLimits, SpendMeter
from plugin.keys import SecretMask
from plugin.net import (
    N_TRIES,
    STATUSES,
    Meaning,
    RetryRules,
    asks_for_long_wait,
    long_wait_text,
    read_answer,
    retry,
    retry_after_s,
    status_meaning,
)
from plugin.pace import ConcurrencyLimit
from plugin.records import VANILLA, Completion, Failure, Message, Prompt
from tests.judge_server import JudgeServer, Reply


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
    pace.note_overload()
    for _ in range(100):
        pace.note_success(0.1)
    assert pace.limit == pace.most == 5


def test_it_grows_by_one_a_round_while_all_goes_well() -> None:
    pace = ConcurrencyLimit(4, adaptive=True)
    for _ in range(4):
        pace.note_success(0.1)
    assert 4.8 < pace.limit < 5.1
    for _ in range(1000):
        pace.note_success(0.1)
    assert pace.limit == pace.most == 16
    assert busy(pace, 60) == 16


def test_too_much_halves_it_once_a_round() -> None:
    pace = ConcurrencyLimit(16, adaptive=True)
    for _ in range(16):  # refusals of calls that were under way together are one piece of news
        pace.note_overload()
    assert pace.limit == 8
    pace.note_overload()
    assert pace.limit == 4
    for _ in range(50):
        pace.note_overload()
    assert pace.limit == 1


def test_slow_answers_shrink_it_and_quick_ones_bring_it_back() -> None:
    pace = ConcurrencyLimit(10, adaptive=True)
    for _ in range(50):
        pace.note_success(0.1)
    fast = pace.limit
    for _ in range(200):
        pace.note_success(0.5)
    assert pace.limit < fast / 2
    slow = pace.limit
    for _ in range(200):
        pace.note_success(0.1)
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
            pace.note_success(0.1)
        async with asyncio.timeout(60):
            await waiting

    asyncio.run(story())


def test_a_number_that_is_the_most_is_never_exceeded_and_comes_back_after_a_cut() -> None:
    pace = ConcurrencyLimit(8, adaptive=True, most=8)
    for _ in range(50):
        pace.note_success(None)
    assert pace.limit == 8
    pace.note_overload()
    assert pace.limit == 4
    for _ in range(50):
        pace.note_success(None)
    assert pace.limit == 8


EVERY_STATUS = [
    (400, Meaning.REFUSED),
    (413, Meaning.REFUSED),
    (422, Meaning.REFUSED),
    (401, Meaning.KEY),
    (403, Meaning.KEY),
    (404, Meaning.UNKNOWN),
    (429, Meaning.TOO_MANY),
    (503, Meaning.TOO_MANY),
    (529, Meaning.TOO_MANY),
    (408, Meaning.RETRY),
    (409, Meaning.RETRY),
    (500, Meaning.RETRY),
    (502, Meaning.RETRY),
    (504, Meaning.RETRY),
    (599, Meaning.RETRY),
    (204, Meaning.FINAL),
    (301, Meaning.MOVED),
    (302, Meaning.MOVED),
    (303, Meaning.MOVED),
    (307, Meaning.MOVED),
    (308, Meaning.MOVED),
    (304, Meaning.FINAL),
    (402, Meaning.FINAL),
    (410, Meaning.FINAL),
    (418, Meaning.FINAL),
]


@pytest.mark.parametrize(("status", "meaning"), EVERY_STATUS)
def test_what_a_status_means(status: int, meaning: Meaning) -> None:
    assert status_meaning(status) is meaning


def test_the_table_is_tested_whole_and_no_status_is_final() -> None:
    assert STATUSES.keys() <= {status for status, _ in EVERY_STATUS}
    assert status_meaning(None) is Meaning.FINAL


ANSWERS = [(status, meaning) for status, meaning in EVERY_STATUS if status != 204]
N_TRIED_BY_JUDGE = {Meaning.RETRY: N_TRIES, Meaning.TOO_MANY: N_TRIES}
N_TRIED_BY_ENGINE = {Meaning.RETRY: N_TRIES, Meaning.TOO_MANY: N_TRIES_BUSY}


@pytest.mark.parametrize(("status", "meaning"), ANSWERS)
def test_a_judge_does_what_the_table_says(
    status: int,
    meaning: Meaning,
    server: JudgeServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("plugin.net.FIRST_WAIT_S", 0.001)
    server.fault = lambda number, body: Reply(status=status, text="no")
    judge = judges.load("custom:m", {"CUSTOM_JUDGE_BASE_URL": server.url}.get)
    ends_all = meaning in (Meaning.KEY, Meaning.UNKNOWN, Meaning.MOVED)
    with pytest.raises(JudgeError if ends_all else CallError, match=f"HTTP {status}"):
        asked(judge, tmp_path)
    if meaning is Meaning.REFUSED:  # its options are left out one by one
        assert [len(body) for body in server.requests] == [5, 4]
    else:
        assert len(server.requests) == N_TRIED_BY_JUDGE.get(meaning, 1)


@pytest.mark.parametrize(("status", "meaning"), ANSWERS)
def test_the_server_engine_does_what_the_table_says(
    status: int, meaning: Meaning, server: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugin.net.FIRST_WAIT_S", 0.001)
    server.fault = lambda number, body: Reply(status=status, text="no")
    if meaning in (Meaning.KEY, Meaning.UNKNOWN, Meaning.MOVED):
        with pytest.raises(UserError, match=f"HTTP {status}"):
            completed(server)
    else:
        found = completed(server)
        again = meaning in N_TRIED_BY_ENGINE
        assert isinstance(found, Failure) and f"HTTP {status}: no" in found.reason
        assert found.reason.startswith(NO_ANSWER) is again
    assert len(server.requests) == N_TRIED_BY_ENGINE.get(meaning, 1)


class Verdict(BaseModel):
    score: int


def asked(judge: judges.Judge, folder: Path) -> BaseModel:
    """One question to the judge, as metrics ask it."""
    journal = Journal(folder / "run")
    settings = AskSettings(concurrency=1, timeout_s=5)

    async def story() -> BaseModel:
        asker = Asker(judge, journal, settings, SpendMeter(SpendLimits(), journal))
        try:
            return await asker("How good is it?", Verdict, lambda answer: None)
        finally:
            await asker.close()

    return asyncio.run(story())


def completed(server: JudgeServer) -> Completion | Failure:
    """One completion of the server engine."""
    settings = ServedSettings(server.url, "", {VANILLA: "m"}, {}, 8, 1, True)
    with closing(ServerEngine(settings)) as engine:
        prompt = Prompt("1", VANILLA, (Message("user", "Hello"),), ())
        (found,) = chain.from_iterable(engine.generate([prompt]))
    return found


class TestReadAnswer:
    """What comes back -> a JSON object, or a failed call."""

    def error(self, body: bytes, status: int = 200, **headers: str) -> CallError:
        with pytest.raises(CallError) as caught:
            read_answer(status, headers, body, SecretMask("sk-4711-secret"))
        return caught.value

    def test_a_good_one(self) -> None:
        assert read_answer(201, {}, b'{"a": [1]}', SecretMask()) == {"a": [1]}

    @pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"7", b"null", b"[" * 100_000])
    def test_what_is_no_object_may_be_one_the_next_time(self, body: bytes) -> None:
        error = self.error(body)
        assert "unreadable answer" in str(error)
        assert error.retry and not error.too_many and not error.unreachable

    def test_an_error_under_a_good_status(self) -> None:
        error = self.error(b'{"error": {"message": "out of memory, sk-4711-secret"}}')
        assert str(error) == "the server answered with an error: out of memory, [key]"
        assert error.retry and error.status is None

    def test_a_refusal_says_why_how_long_and_no_secret(self) -> None:
        said = json.dumps({"error": {"message": f"slow  down\n{'x' * 280} sk-4711-secret"}})
        error = self.error(said.encode(), 429, **{"retry-after": "7"})
        assert str(error).startswith("HTTP 429: slow down xxx") and len(str(error)) <= 310
        assert "4711" not in str(error)
        assert (error.status, error.wait_s, error.too_many) == (429, 7.0, True)
        assert str(self.error(b"", 500)) == "HTTP 500: no reason given"


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "3"}, 3.0),
        ({"retry-after-ms": "-5"}, 0.0),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_how_long_a_server_asks_to_wait(headers: dict[str, str], wait_s: float | None) -> None:
    assert retry_after_s(headers) == wait_s


@pytest.mark.parametrize(
    ("wait_s", "words"), [(121, "3 minutes"), (3600, "60 minutes"), (90_000, "25 hours")]
)
def test_a_long_wait_is_said_in_plain_words(wait_s: float, words: str) -> None:
    text = long_wait_text("the judge", CallError("HTTP 429: slow", retry=True, wait_s=wait_s))
    assert text.startswith(f"the judge asks to wait {words} before the next call (HTTP 429: slow).")
    assert text.endswith("resume the run after that time")


class TestRetry:
    """How a call is tried again; the waits are written down instead of waited for."""

    @pytest.fixture(autouse=True)
    def waits(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        waits = list[float]()

        async def sleep(seconds: float) -> None:
            waits.append(seconds)

        monkeypatch.setattr("plugin.net.asyncio.sleep", sleep)
        return waits

    def tried(
        self,
        *ends: Exception | str,
        limit: ConcurrencyLimit | None = None,
        rules: RetryRules | None = None,
    ) -> tuple[str, int]:
        """What came of it, and how often the hook was called."""
        n_retries, rest = 0, iter(ends)

        async def call() -> str:
            end = next(rest)
            if isinstance(end, Exception):
                raise end
            return end

        def count() -> None:
            nonlocal n_retries
            n_retries += 1

        limit = limit or ConcurrencyLimit(4, adaptive=False)
        return asyncio.run(retry(call, limit, rules or RetryRules(), count)), n_retries

    def test_waits_double_and_every_retry_is_counted(self, waits: list[float]) -> None:
        stumble = CallError("x", retry=True)
        assert self.tried(stumble, stumble, stumble, "well") == ("well", 3)
        assert waits == [0.5, 1.0, 2.0]

    def test_the_last_error_is_told(self, waits: list[float]) -> None:
        ends = [CallError(str(i), retry=True) for i in range(9)]
        with pytest.raises(CallError, match="^3$"):
            self.tried(*ends)
        assert len(waits) == N_TRIES - 1

    def test_the_server_says_how_long(self, waits: list[float]) -> None:
        ends = [CallError("x", retry=True, wait_s=s) for s in (7.0, 65.0, 0.0)]
        assert self.tried(*ends, "well") == ("well", 3)
        assert waits == [7.0, 65.0, 2.0]

    def test_a_server_that_wants_many_minutes_is_not_called_again(self, waits: list[float]) -> None:
        error = CallError("x", retry=True, too_many=True, wait_s=1800.0)
        with pytest.raises(CallError) as caught:
            self.tried(error, "well")
        assert waits == [] and asks_for_long_wait(caught.value)

    def test_a_busy_server_may_get_more_tries(self) -> None:
        busy = CallError("busy", retry=True, too_many=True)
        rules = RetryRules(n_tries_busy=8)
        assert self.tried(*[busy] * 7, "well", rules=rules) == ("well", 7)
        with pytest.raises(CallError, match="other"):
            self.tried(*[busy] * 4, CallError("other", retry=True), "well", rules=rules)

    @pytest.mark.parametrize("error", [CallError("no"), LimitReached("no"), JudgeError("no")])
    def test_what_is_final_ends_it_at_once(self, error: Exception, waits: list[float]) -> None:
        with pytest.raises(type(error), match="no"):
            self.tried(error, "well")
        assert waits == []

    @pytest.mark.parametrize("cause", ["too_many", "timed_out"])
    def test_fewer_at_once_where_there_were_too_many(self, cause: str) -> None:
        limit = ConcurrencyLimit(8, adaptive=True)
        self.tried(CallError("x", retry=True, **{cause: True}), "well", limit=limit)
        assert 4 <= limit.limit < 5

    def test_a_call_without_an_end_is_given_up(self, waits: list[float]) -> None:
        async def call() -> str:
            await asyncio.Event().wait()
            return "never"

        limit = ConcurrencyLimit(2, adaptive=True)
        with pytest.raises(CallError, match=r"no answer within 0\.01 s") as caught:
            asyncio.run(retry(call, limit, RetryRules(timeout_s=0.01)))
        assert caught.value.unreachable and len(waits) == N_TRIES - 1
        assert limit.limit == 1
