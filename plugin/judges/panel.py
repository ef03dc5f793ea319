"""The judges of a run: one or a panel whose mean counts, and a second judge where they are unsure.

Unsure is a mean in the middle third of the metric's range, or a panel whose judges are more than a
third of it apart. Both sides of the pair then go to the second judge, so that one judge stands
behind every difference.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from plugin.errors import CallError
from plugin.journal import Journal
from plugin.judges import Judge
from plugin.judges.asking import Asker, AskSettings, SpendLimits, SpendMeter, price_of
from plugin.metrics import Measured, Metric, MetricError, run_descriptive, run_metric
from plugin.records import (
    DATA,
    Case,
    Completion,
    Failure,
    FailureStage,
    JudgeScore,
    MetricSpec,
    Score,
)


@dataclass(frozen=True, slots=True)
class Judging:
    """Who judges, and how.

    Attributes:
        judges: one, or a panel.
        second: judges again what the others are unsure of; None for nobody.
        concurrency: calls at once for each judge, to begin with.
        timeout_s: seconds until a call is given up.
        adaptive: whether the number of calls follows what a server can take.
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
    limits: SpendLimits = SpendLimits()
    price: tuple[float, ...] = ()
    max_failed_share: float = 0.2

    def asker(self, judge: Judge, journal: Journal, meter: SpendMeter) -> Asker:
        """Return the judge, ready to be asked."""
        return Asker(judge, journal, self.ask_settings(judge), meter)

    def ask_settings(self, judge: Judge) -> AskSettings:
        """Return how this judge is asked.

        One that works in this process knows how much it takes at once. It always ends, and asking
        it again would only take longer: its calls have no deadline.
        """
        own: int | None = getattr(judge, "concurrency", None)
        return AskSettings(
            concurrency=min(own, self.concurrency) if own else self.concurrency,
            timeout_s=math.inf if own else self.timeout_s,
            adaptive=self.adaptive and not own,
            include_reason=self.include_reason,
            price=price_of(judge.label, self.price),
        )


@dataclass(frozen=True, slots=True)
class ScoreItem:
    """One score to be made; without a completion where the metric judges the data alone."""

    case: Case
    completion: Completion | None
    metric: Metric

    @property
    def place(self) -> tuple[str, str, str]:
        """Return case, variant and metric: where the score belongs."""
        variant = self.completion.variant if self.completion else DATA
        return self.case.id, variant, self.metric.spec.name


async def score_item(
    item: ScoreItem, metric: Metric | CallError, askers: Sequence[Asker]
) -> tuple[Score | Failure, list[JudgeScore]]:
    """Return the mean of what all judges give, and what each gave.

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
    failed = partial(Failure, case_id, variant=variant, metric=name, retry=True)
    spec = item.metric.spec
    if isinstance(metric, CallError):
        return failed("judge", str(metric)), []
    if item.completion and item.metric.describe:
        try:
            told = run_descriptive(item.metric, item.completion)
        except MetricError as error:
            return failed("metric", str(error)), []
        return Score(**where, value=told.value, reason=told.reason), []
    text = item.completion.text if item.completion else ""
    if item.completion and not text.strip():
        worst = Score(**where, value=spec.worst, reason="empty completion: the worst score")
        return worst, []
    if not spec.asks_judge:
        askers = askers[:1]
    pairs = list[tuple[Asker, Measured]]()
    for asker, one in zip(
        askers, await _score_with_panel(metric, item.case, text, askers), strict=True
    ):
        if not isinstance(one, Measured):
            who = f"{asker.label}: " if len(askers) > 1 else ""
            stage: FailureStage = "judge" if isinstance(one, CallError) else "metric"
            return failed(stage, f"{who}{one}"), []
        pairs.append((asker, one))
    value = math.fsum(one.value for _, one in pairs) / len(pairs)
    shares = [JudgeScore(**where, judge=asker.label, value=one.value) for asker, one in pairs]
    reason = pairs[0][1].reason
    if len(pairs) > 1:
        reason = " | ".join(
            f"{asker.label} gave {one.value:.2f}: {one.reason or '-'}" for asker, one in pairs
        )
    return Score(**where, value=value, reason=reason), shares if spec.asks_judge else []


async def _score_with_panel(
    metric: Metric, case: Case, text: str, askers: Sequence[Asker]
) -> list[Measured | CallError | MetricError]:
    if len(askers) == 1:  # a task of its own would cost as much as the rest
        return [await _score_with_judge(metric, case, text, askers[0])]
    work = (_score_with_judge(metric, case, text, asker) for asker in askers)
    found = await asyncio.gather(*work, return_exceptions=True)
    for one in found:  # only when all have ended, so that no paid call is dropped
        if isinstance(one, BaseException) and not isinstance(one, CallError | MetricError):
            raise one
    return found  # type: ignore[return-value]


async def _score_with_judge(
    metric: Metric, case: Case, text: str, asker: Asker
) -> Measured | CallError | MetricError:
    try:
        return await run_metric(metric, case, text, asker)
    except (CallError, MetricError) as error:
        return error


_THIRD = 1 / 3

PairPlace = tuple[str, str, str]


def pairs_in_doubt(
    items: Mapping[PairPlace, ScoreItem], second: str, journal: Journal
) -> list[list[ScoreItem]]:
    """Return the items of every case and metric that all first judges scored and are unsure of.

    Args:
        items: those that a judge is asked for, by place.
        second: the second judge's label, whose scores do not count here.
        journal: of the run.
    """
    given: dict[PairPlace, list[float]] = {}
    for one in journal.judge_scores():
        if one.judge != second:
            given.setdefault((one.case_id, one.variant, one.metric), []).append(one.value)
    pairs: dict[tuple[str, str], list[ScoreItem]] = {}
    for (case_id, _, metric), item in items.items():
        pairs.setdefault((case_id, metric), []).append(item)
    return [
        pair
        for pair in pairs.values()
        if all(item.place in given for item in pair)
        and any(is_unsure(item.metric.spec, given[item.place]) for item in pair)
    ]


def is_unsure(spec: MetricSpec, values: Sequence[float]) -> bool:
    """Return whether what the judges gave for one completion wants a second look."""
    third = (spec.high - spec.low) * _THIRD
    mean = math.fsum(values) / len(values)
    return spec.low + third < mean < spec.high - third or max(values) - min(values) > third


def overrule(scores: Sequence[Score], judge: str, journal: Journal) -> None:
    """Put the second judge's scores in the place of all sides' first ones, or of none."""
    with journal.transaction():
        for one in scores:
            where = (one.case_id, one.variant, one.metric)
            journal.add_judge_score(JudgeScore(*where, judge, one.value))
            reason = f"{judge}, asked second: {one.reason or '-'}"
            journal.add_score(Score(*where, one.value, reason))
