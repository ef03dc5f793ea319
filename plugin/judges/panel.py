"""Score with one judge or the mean of a panel, and let a second judge decide unsure cases.

Judges are unsure when their mean is in the middle third of the metric's range, or when they differ
by more than a third of it. The second judge then scores both sides of the pair, so that both
scores of a difference come from the same judge.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from plugin.errors import CallError
from plugin.journal import Journal
from plugin.judges import Judge
from plugin.judges.asking import Asker, AskSettings
from plugin.judges.spending import SpendLimits, SpendMeter, price_of
from plugin.metrics import Measured, Metric
from plugin.metrics.running import MetricError, run_contrast, run_descriptive, run_metric
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

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Judging:
    """Who judges, and how.

    Attributes:
        judges: one judge, or a panel.
        second: the second judge, for pairs that the others are unsure of; None for no such judge.
        concurrency: number of calls at once for each judge, at the start.
        timeout_s: seconds after which a call is given up.
        adaptive: whether the number of calls at once adapts to the server.
        include_reason: whether metrics also ask for the reason of a score.
        limits: the limits at which judging ends.
        price: the user's price per million tokens in and out, in dollars; () for the known price.
        max_failed_share: a larger share of failed scores stops the run.
        n_repeats: how many times each judge is asked about each completion.
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
    n_repeats: int = 1

    def asker(self, judge: Judge, journal: Journal, meter: SpendMeter) -> Asker:
        """Return an asker for the judge."""
        return Asker(judge, journal, self.ask_settings(judge), meter)

    def ask_settings(self, judge: Judge) -> AskSettings:
        """Return the settings for asking this judge.

        A judge in this process has its own limit on calls at once. Its calls have no deadline:
        they always end, and a retry would only take longer.
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
    """One score to compute; the completion is None for a metric that judges only the data.

    Attributes:
        later: the samples after the first, where the case has several.
    """

    case: Case
    completion: Completion | None
    metric: Metric
    later: tuple[Completion, ...] = ()

    @property
    def place(self) -> tuple[str, str, str]:
        """Return the case, variant and metric that the score belongs to."""
        variant = self.completion.variant if self.completion else DATA
        return self.case.id, variant, self.metric.spec.name

    @property
    def sample(self) -> int:
        """Return which sample the completion is, from 0."""
        return self.completion.sample if self.completion else 0

    @property
    def texts(self) -> tuple[str, ...]:
        """Return the texts of all samples."""
        return tuple(one.text for one in (self.completion, *self.later) if one)

    @property
    def singles(self) -> list[ScoreItem]:
        """Return an item for each sample, or this one where its metric compares them."""
        if self.metric.contrast:
            return [self]
        return [replace(self, completion=one, later=()) for one in (self.completion, *self.later)]


async def score_item(
    item: ScoreItem, metric: Metric | CallError, askers: Sequence[Asker], repeat: int = 0
) -> tuple[Score | Failure, list[JudgeScore]]:
    """Return the mean score of all judges, and the score of each.

    The same judges must score both sides of a pair, so the score fails if one judge fails.

    Args:
        item: what to score.
        metric: the metric, ready to use, or the error that prevented it.
        askers: the judges; one is enough for a metric that asks no judge.
        repeat: which time the judges are asked about it, from 0.

    Raises:
        LimitReached: when the user's limits allow no more calls.
        VerdictError: when the judge cannot be used at all.
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
    if metric.contrast:
        measure = partial(run_contrast, metric, item.case, item.texts)
    else:
        measure = partial(run_metric, metric, item.case, text)
    if item.completion and not metric.contrast and not text.strip():
        worst = Score(**where, value=spec.worst, reason="empty completion: the worst score")
        return worst, []
    if not spec.asks_judge:
        askers = askers[:1]
    pairs = list[tuple[Asker, Measured]]()
    for asker, one in zip(
        askers,
        await ask_each(askers, lambda asker: measure(asker.at(repeat))),
        strict=True,
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


async def ask_each(
    askers: Sequence[Asker], ask: Callable[[Asker], Awaitable[Found]]
) -> list[Found | CallError | MetricError]:
    """Return what each judge says, or the error that stands in its place.

    Raises:
        BaseException: any other error, after all judges have ended: no paid call is lost.
    """
    if len(askers) == 1:  # an extra task would take as long as all else of our own
        try:
            return [await ask(askers[0])]
        except (CallError, MetricError) as error:
            return [error]
    found = await asyncio.gather(*map(ask, askers), return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException) and not isinstance(one, CallError | MetricError):
            raise one
    return found  # type: ignore[return-value]


_THIRD = 1 / 3

PairPlace = tuple[str, str, str]


def pairs_in_doubt(
    items: Mapping[PairPlace, ScoreItem], second: str, journal: Journal
) -> list[list[ScoreItem]]:
    """Return the pairs that the first judges have scored and are unsure of.

    Args:
        items: the items that need a judge, by place.
        second: label of the second judge; its scores are ignored here.
        journal: the run's journal.
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
    """Return whether the judges' scores of one completion call for a second judge."""
    third = (spec.high - spec.low) * _THIRD
    mean = math.fsum(values) / len(values)
    return spec.low + third < mean < spec.high - third or max(values) - min(values) > third


def overrule(scores: Sequence[Score], judge: str, journal: Journal) -> None:
    """Replace the scores of all sides with the second judge's, in one transaction."""
    with journal.transaction():
        for one in scores:
            where = (one.case_id, one.variant, one.metric)
            journal.add_judge_score(JudgeScore(*where, judge, one.value))
            reason = f"{judge}, asked second: {one.reason or '-'}"
            journal.add_score(Score(*where, one.value, reason))
