"""The one scheduler: which completions are scored by which metric, asking the judge how and when.

It calls each metric directly and never `deepeval.evaluate()`, which rewrites its result cache after
every case, so that its own cost per case grows with their number, and which keeps no journal.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from plugin.asking import Asker
from plugin.errors import VerdictError
from plugin.journal import Journal
from plugin.judges import AskError, Judge
from plugin.metrics import Metric, meets
from plugin.records import DATA, Case, Completion, Failure, Score
from plugin.worker import Progress

_CHAINS_PER_CALL = 2
"""Metrics under way for each call under way: a metric asks several questions one after another, and
more chains than calls keep every place taken until the very end."""

_LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Item:
    """One score to be made; without a completion where the metric judges the data alone."""

    case: Case
    completion: Completion | None
    metric: Metric

    @property
    def place(self) -> tuple[str, str, str]:
        """Case, variant and metric: where the score belongs."""
        variant = self.completion.variant if self.completion else DATA
        return self.case.id, variant, self.metric.spec.name


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
        for completion in (
            [None] if metric.spec.judges_data else of_case.get(case.id, list[Completion]())
        )
    ]


@dataclass(frozen=True, slots=True)
class JudgeLimits:
    """How the judge is asked: calls at once, and seconds until a call is given up."""

    concurrency: int
    timeout_s: float

    def of(self, judge: Judge) -> JudgeLimits:
        """These limits for this judge.

        One that works in this process knows how much it takes at once. It always ends, and asking
        it again would only take longer: its calls have no deadline.
        """
        own: int | None = getattr(judge, "concurrency", None)
        return JudgeLimits(min(own, self.concurrency), math.inf) if own else self


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
    missing = [item for item in items if item.place not in have]
    if missing:
        limits = limits.of(judge)
        started = time.perf_counter()
        asker = Asker(judge, journal, limits.concurrency, limits.timeout_s)
        try:
            asyncio.run(_work(items, missing, asker, journal, progress))
        finally:
            journal.add_to_meta("judge_calls", dict(asker.counts))
            journal.add_to_meta("seconds", {"score": time.perf_counter() - started})


async def _work(
    items: Sequence[Item],
    missing: Sequence[Item],
    asker: Asker,
    journal: Journal,
    progress: Progress,
) -> None:
    try:
        ready = await _prepared(missing, asker, journal, progress)
        progress.begin("score", total=len(items), done=len(items) - len(missing))
        failed: Counter[str] = Counter()
        rest = iter(missing)

        async def chain() -> None:
            for item in rest:
                result = await _score_one(item, ready[item.metric.spec.name], asker)
                if isinstance(result, Score):
                    journal.add_score(result)
                else:
                    journal.add_failure(result)
                    failed["n"] += 1
                    progress.note = f"{failed['n']} failed"
                progress.done += 1
                # A metric that asks nobody never waits: let the others and the stop signal in.
                await asyncio.sleep(0)

        await _all_done([chain() for _ in range(_CHAINS_PER_CALL * asker.concurrency)], progress)
    finally:
        await asker.close()


async def _prepared(
    items: Sequence[Item], asker: Asker, journal: Journal, progress: Progress
) -> dict[str, Metric | AskError]:
    """The metrics by name, with their evaluation steps, which are kept in the journal.

    A metric whose steps the judge could not write is an error in its place.
    """
    metrics = {item.metric.spec.name: item.metric for item in items}
    known: dict[str, list[str]] = journal.meta("evaluation_steps") or {}
    ready: dict[str, Metric | AskError] = dict(metrics)

    async def prepare(name: str, metric: Metric) -> None:
        if metric.prepare:
            try:
                ready[name] = await metric.prepare(asker, known.get(name, ()))
            except AskError as error:
                ready[name] = AskError(f"the evaluation steps could not be written: {error}")

    if any(metric.prepare and name not in known for name, metric in metrics.items()):
        progress.begin("write evaluation steps")
    await _all_done([prepare(name, metric) for name, metric in metrics.items()], progress)
    steps = {name: m.steps for name, m in ready.items() if isinstance(m, Metric) and m.steps}
    journal.set_meta("evaluation_steps", {**known, **steps})
    return ready


async def _all_done(work: Sequence[Coroutine[Any, Any, None]], progress: Progress) -> None:
    """Wait for all of it, looking now and then whether to stop; the first error ends it."""
    tasks = {asyncio.create_task(each) for each in work}
    pending = tasks
    try:
        while pending:
            done, pending = await asyncio.wait(
                pending, timeout=_LOOK_EVERY_S, return_when=asyncio.FIRST_EXCEPTION
            )
            for task in done:
                task.result()
            progress.check()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _score_one(item: Item, metric: Metric | AskError, asker: Asker) -> Score | Failure:
    spec, completion = item.metric.spec, item.completion
    case_id, variant, name = item.place
    where = {"case_id": case_id, "variant": variant, "metric": name}
    if isinstance(metric, AskError):
        return Failure(**where, stage="judge", reason=str(metric))
    text = completion.text if completion else ""
    if completion and not text.strip():
        return Score(**where, value=spec.worst, reason="empty completion: the worst score")
    try:
        measured = await metric.measure(item.case, text, asker)
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
