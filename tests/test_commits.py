"""One commit for what tasks write at the same moment, and nothing before it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from pydantic import BaseModel

from plugin.cache import Cache, Judgment
from plugin.journal import Journal
from plugin.judges import Answer
from plugin.judges.asking import Asker, AskSettings
from plugin.judges.spending import SpendLimits, SpendMeter
from plugin.records import Score


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(tmp_path, Cache(tmp_path / "cache.sqlite"))) as journal:
        yield journal


def score(number: int) -> Score:
    return Score(str(number), "base", "Correctness", 1.0, None)


def committed(path: Path, table: str) -> int:
    """Count the rows that another process sees."""
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def n_commits(journal: Journal) -> list[str]:
    """Return a list that gets every commit from now on."""
    seen: list[str] = []
    journal._db.set_trace_callback(lambda sql: seen.append(sql) if sql == "COMMIT" else None)
    return seen


def test_what_is_written_at_once_is_committed_once_and_before_anyone_goes_on(
    journal: Journal,
) -> None:
    seen = n_commits(journal)
    found = []

    async def keep(number: int) -> None:
        judgment = partial(journal.add_judgment, str(number), Judgment("{}"))
        await journal.commits.keep(partial(journal.add_score, score(number)), judgment)
        tables = (journal.path, "scores"), (journal.path, "judgments")
        cached = (journal.path.with_name("cache.sqlite"), "judgments")
        found.append([committed(*place) for place in (*tables, cached)])

    async def work() -> None:
        await asyncio.gather(*map(keep, range(20)))
        await keep(20)

    asyncio.run(work())
    assert found == [[20, 20, 20]] * 20 + [[21, 21, 21]]
    assert len(seen) == 2


def test_equal_writes_are_done_once_and_last(journal: Journal) -> None:
    done: list[str] = []
    last = partial(done.append, "last")

    async def work() -> None:
        keep = journal.commits.keep
        await asyncio.gather(
            *(keep(partial(done.append, name), last) for name in ("first", "second"))
        )

    asyncio.run(work())
    assert done == ["first", "second", "last"]


def test_a_write_that_fails_undoes_its_turn_and_is_told_to_all(journal: Journal) -> None:
    def fail() -> None:
        raise ValueError("no room")

    async def work() -> list[object]:
        good = journal.commits.keep(partial(journal.add_score, score(1)))
        found = await asyncio.gather(good, journal.commits.keep(fail), return_exceptions=True)
        await journal.commits.keep(partial(journal.add_score, score(2)))
        return [*found]

    assert [str(one) for one in asyncio.run(work())] == ["no room", "no room"]
    assert [one.case_id for one in journal.scores()] == ["2"]


def test_a_task_that_is_cancelled_meanwhile_harms_no_other(journal: Journal) -> None:
    async def work() -> None:
        ended = asyncio.create_task(journal.commits.keep(partial(journal.add_score, score(1))))
        other = asyncio.create_task(journal.commits.keep(partial(journal.add_score, score(2))))
        await asyncio.sleep(0)
        ended.cancel()
        await other

    asyncio.run(work())
    assert committed(journal.path, "scores") == 2


class Said(BaseModel):
    word: str


class WatchingJudge:
    """Notes how many calls the journal's file has when a question arrives."""

    label = identity = "watching"
    caveat, structured = "", False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: list[tuple[int, int]] = []

    async def ask(self, prompt: str, schema: type[BaseModel], room: int = 1) -> Answer:
        with closing(sqlite3.connect(self.path)) as db:
            name = "SELECT body ->> 'n_calls' FROM meta WHERE name = 'state.judge_calls'"
            n_calls = int(db.execute(name).fetchone()[0])
        self.seen.append((len(self.seen) + 1, n_calls))
        return Answer('{"word": "yes"}')

    async def close(self) -> None:
        pass


def test_a_call_is_in_the_file_before_it_is_made_and_its_answer_before_it_counts(
    journal: Journal,
) -> None:
    judge = WatchingJudge(journal.path)
    meter = SpendMeter(SpendLimits(), journal)
    asker = Asker(judge, journal, AskSettings(concurrency=8, timeout_s=60), meter)
    seen = n_commits(journal)
    answers = []

    async def ask(number: int) -> None:
        await asker(f"{number}?", Said, lambda answer: None)
        answers.append((len(answers) + 1, committed(journal.path, "judgments")))

    async def work() -> None:
        await asyncio.gather(*map(ask, range(8)))
        await asker.close()

    asyncio.run(work())
    assert len(judge.seen) == len(answers) == 8
    assert all(made <= kept for made, kept in (*judge.seen, *answers))
    assert journal.state.judge_calls.n_calls == 8 and journal.state.judge_calls.n_lost == 0
    assert len(seen) <= 4  # and not two for each question


def test_a_call_that_is_not_made_after_all_is_not_counted(journal: Journal) -> None:
    judge = WatchingJudge(journal.path)
    meter = SpendMeter(SpendLimits(), journal)
    asker = Asker(judge, journal, AskSettings(concurrency=8, timeout_s=60), meter)

    async def work() -> None:
        asking = asyncio.create_task(asker("1?", Said, lambda answer: None))
        while not meter.counts["n_calls"]:
            await asyncio.sleep(0)
        await asker.close()
        await asyncio.gather(asking, return_exceptions=True)

    asyncio.run(work())
    assert judge.seen == []
    assert meter.counts["n_calls"] == meter.counts["n_lost"] == 0
