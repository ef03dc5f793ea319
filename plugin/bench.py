"""The judges of a run: one, or a panel whose mean counts."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass

from plugin.asking import Asker, Manner
from plugin.errors import VerdictError
from plugin.journal import Journal
from plugin.judges import AskError, Judge
from plugin.metrics import Measured, Metric
from plugin.records import (
    DATA,
    Case,
    Completion,
    Failure,
    JudgeScore,
    Score,
    Stage,
)
from plugin.spending import LimitReached, Limits, Meter, price_of


@dataclass(frozen=True, slots=True)
class Judging:
    """Who judges, and how.

    Attributes:
        judges: one, or a panel.
        second: judges again what the others are unsure of; None for nobody.
        concurrency: calls at once for each judge, to begin with.
        timeout_s: seconds until a call is given up.
        adaptive: whether the number of calls follows what a server bears.
        include_reason: whether the reason of a score is asked for besides.
        limits: where judging ends.
        price: dollars per million tokens in and out, as the user says; () for the known price.
        max_failed_share: a larger share of failed scores stops the run.
    """

    judges: tuple[Judge, ...]
    second: Judge | None = None
    concurrency: int = 20
    timeout_s: float = 60.0
    adaptive: bool = True
    include_reason: bool = True
    limits: Limits = Limits()
    price: tuple[float, ...] = ()
    max_failed_share: float = 0.2

    def asker(self, judge: Judge, journal: Journal, meter: Meter) -> Asker:
        """The judge, ready to be asked."""
        return Asker(judge, journal, self.manner(judge), meter)

    def manner(self, judge: Judge) -> Manner:
        """How this judge is asked.

        One that works in this process knows how much it takes at once. It always ends, and asking
        it again would only take longer: its calls have no deadline.
        """
        own: int | None = getattr(judge, "concurrency", None)
        return Manner(
            concurrency=min(own, self.concurrency) if own else self.concurrency,
            timeout_s=math.inf if own else self.timeout_s,
            adaptive=self.adaptive and not own,
            include_reason=self.include_reason,
            price=price_of(judge.label, self.price),
        )


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


async def judged(
    item: Item, metric: Metric | AskError, askers: Sequence[Asker]
) -> tuple[Score | Failure, list[JudgeScore]]:
    """The mean of what all judges give, and what each gave.

    Every pair is seen by the same judges: where one fails, the score fails.

    Args:
        item: what is to be scored.
        metric: ready to measure, or why it cannot be.
        askers: the judges; one is enough for a metric that asks none.

    Raises:
        LimitReached: when the user's limits allow no more calls.
        VerdictError: when the judge as a whole is of no use.
    """
    case_id, variant, name = item.place
    where = {"case_id": case_id, "variant": variant, "metric": name}
    spec = item.metric.spec
    if isinstance(metric, AskError):
        return Failure(**where, stage="judge", reason=str(metric)), []
    text = item.completion.text if item.completion else ""
    if item.completion and not text.strip():
        worst = Score(**where, value=spec.worst, reason="empty completion: the worst score")
        return worst, []
    if not spec.asks_judge:
        askers = askers[:1]
    found = await _all_measured(metric, item.case, text, askers)
    measured = list[Measured]()
    for asker, one in zip(askers, found, strict=True):
        if isinstance(one, Measured):
            measured.append(one)
        elif isinstance(one, VerdictError | LimitReached | asyncio.CancelledError):
            raise one
        else:
            who = f"{asker.label}: " if len(askers) > 1 else ""
            stage, why = _what_failed(one)
            return Failure(**where, stage=stage, reason=f"{who}{why}"), []
    value = math.fsum(one.value for one in measured) / len(measured)
    pairs = list(zip(askers, measured, strict=True))
    shares = [JudgeScore(**where, judge=asker.label, value=one.value) for asker, one in pairs]
    reason = measured[0].reason
    if len(pairs) > 1:
        reason = " | ".join(
            f"{asker.label} gave {one.value:.2f}: {one.reason or '-'}" for asker, one in pairs
        )
    return Score(**where, value=value, reason=reason), shares if spec.asks_judge else []


async def _all_measured(
    metric: Metric, case: Case, text: str, askers: Sequence[Asker]
) -> list[Measured | BaseException]:
    if len(askers) == 1:  # a task of its own would cost as much as the rest
        try:
            return [await _measured(metric, case, text, askers[0])]
        except Exception as error:
            return [error]
    work = (_measured(metric, case, text, asker) for asker in askers)
    return await asyncio.gather(*work, return_exceptions=True)


async def _measured(metric: Metric, case: Case, text: str, asker: Asker) -> Measured:
    spec = metric.spec
    measured = await metric.measure(case, text, asker)
    if not (math.isfinite(measured.value) and spec.low <= measured.value <= spec.high):
        raise ValueError(f"score {measured.value} outside {spec.low} to {spec.high}")
    return measured


def _what_failed(error: BaseException) -> tuple[Stage, str]:
    """Stage and reason; the one door to code that is not ours: DeepEval's metrics."""
    if isinstance(error, AskError):
        return "judge", str(error)
    if isinstance(error, ValueError) and str(error).startswith("score "):
        return "metric", str(error)
    return "metric", f"{type(error).__name__}: {error}"
