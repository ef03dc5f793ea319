"""The one scheduler: which completions are scored by which metric, asking the judge how and when.

It calls each metric directly and never `deepeval.evaluate()`, which rewrites its result cache after
every case, so that its own cost per case grows with their number, and which keeps no journal.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from plugin.asking import Asker
from plugin.errors import VerdictError
from plugin.journal import Journal
from plugin.judges import AskError, Judge
from plugin.metrics import Metric, meets
from plugin.records import Case, Completion, Failure, Score
from plugin.worker import Progress

_CHAINS_PER_CALL = 2
"""Metrics under way for each call under way: a metric asks several questions one after another, and
more chains than calls keep every place taken until the very end."""

_LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Item:
    """One score to be made."""

    case: Case
    completion: Completion
    metric: Metric


def items_to_score(
    cases: Sequence[Case], completions: Iterable[Completion], metrics: Sequence[Metric]
) -> list[Item]:
    """All scores of a run: case by case, variants and metrics of a case side by side.

    Given cases in seeded order, a run that ends early holds whole pairs and a fair sample.
    """
    of_case: dict[str, list[Completion]] = {}
    for completion in completions:
        of_case.setdefault(completion.case_id, []).append(completion)
    return [
        Item(case, completion, metric)
        for case in cases
        for metric in metrics
        if meets(metric.spec, case)
        for completion in of_case.get(case.id, ())
    ]


@dataclass(frozen=True, slots=True)
class JudgeLimits:
    """How the judge is asked: calls at once, and seconds until a call is given up."""

    concurrency: int
    timeout_s: float


def score(
    items: Sequence[Item],
    judge: Judge,
    limits: JudgeLimits,
    journal: Journal,
    progress: Progress,
) -> None:
    """Make every score that the journal does not hold yet; each is written when it exists.

    A judgment that failed in an earlier session is asked for again.

    Raises:
        JudgeError: when no call can succeed (wrong key, unknown model).
        JudgeDownError: when the judge does not answer at all.
        Stopped: when the user stopped the run.
    """
    have = {(s.case_id, s.variant, s.metric) for s in journal.scores()}
    missing = [
        item
        for item in items
        if (item.case.id, item.completion.variant, item.metric.spec.name) not in have
    ]
    progress.begin("score", total=len(items), done=len(items) - len(missing))
    if missing:
        started = time.perf_counter()
        asker = Asker(judge, journal, limits.concurrency, limits.timeout_s)
        try:
            n_chains = _CHAINS_PER_CALL * limits.concurrency
            asyncio.run(_score_all(iter(missing), n_chains, asker, journal, progress))
        finally:
            journal.add_to_meta("judge_calls", dict(asker.counts))
            journal.add_to_meta("seconds", {"score": time.perf_counter() - started})


async def _score_all(
    items: Iterator[Item], n_chains: int, asker: Asker, journal: Journal, progress: Progress
) -> None:
    failed: Counter[str] = Counter()

    async def chain() -> None:
        for item in items:
            result = await _score_one(item, asker)
            if isinstance(result, Score):
                journal.add_score(result)
            else:
                journal.add_failure(result)
                failed["n"] += 1
                progress.note = f"{failed['n']} failed"
            progress.done += 1
            # A metric that asks nobody never waits: let the others and the stop signal in.
            await asyncio.sleep(0)

    chains = {asyncio.create_task(chain()) for _ in range(n_chains)}
    pending = chains
    try:
        while pending:
            done, pending = await asyncio.wait(
                pending, timeout=_LOOK_EVERY_S, return_when=asyncio.FIRST_EXCEPTION
            )
            for task in done:
                task.result()
            progress.check()
    finally:
        for task in chains:
            task.cancel()
        await asyncio.gather(*chains, return_exceptions=True)
        await asker.close()


async def _score_one(item: Item, asker: Asker) -> Score | Failure:
    spec, completion = item.metric.spec, item.completion
    where = {"case_id": item.case.id, "variant": completion.variant, "metric": spec.name}
    if not completion.text.strip():
        return Score(**where, value=spec.worst, reason="empty completion: the worst score")
    try:
        measured = await item.metric.measure(item.case, completion.text, asker)
    except VerdictError:
        raise
    except AskError as error:
        return Failure(**where, stage="judge", reason=str(error))
    except Exception as error:  # the one door to code that is not ours: DeepEval's metrics
        return Failure(**where, stage="metric", reason=f"{type(error).__name__}: {error}")
    if not (math.isfinite(measured.value) and spec.low <= measured.value <= spec.high):
        reason = f"score {measured.value} outside {spec.low} to {spec.high}"
        return Failure(**where, stage="metric", reason=reason)
    return Score(**where, value=measured.value, reason=measured.reason)
