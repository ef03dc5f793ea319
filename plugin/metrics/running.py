"""Run the functions of metrics, and check what they return.

Only this file runs foreign code (DeepEval's metrics). Every score passes `check_score`, with or
without a judge.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Sequence

from plugin.errors import CallError, LimitReached, VerdictError
from plugin.metrics import Ask, Measured, Metric
from plugin.records import MUCH_BETTER, Case, Completion, MetricSpec, NoResult


class MetricError(Exception):
    """A metric gave no usable score."""


async def run_metric(metric: Metric, case: Case, completion: str, ask: Ask) -> Measured:
    """Return the metric's score, checked to be finite and within its range.

    Raises:
        CallError: when the judge gave no fitting answer.
        LimitReached: when the user's limits allow no more calls.
        MetricError: when the metric's code failed, or gave a score outside its range.
        VerdictError: when the judge cannot be used at all.
    """
    if metric.measure is None:
        raise MetricError(f"{metric.spec.name} does not read completions")
    return check_score(metric.spec, await _guarded(metric.measure(case, completion, ask)))


async def run_contrast(metric: Metric, case: Case, texts: Sequence[str], ask: Ask) -> Measured:
    """Return the score of all samples of a case together; raises what `run_metric` raises."""
    if metric.contrast is None:
        raise MetricError(f"{metric.spec.name} does not compare samples")
    if len(texts) < 2:
        raise MetricError("only one sample of this case could be had, so there is none to compare")
    return check_score(metric.spec, await _guarded(metric.contrast(case, texts, ask)))


async def run_preference(
    metric: Metric, case: Case, first: str, second: str, ask: Ask
) -> tuple[int, str]:
    """Return how much better the first completion is, a level from -2 to 2, and why.

    Raises:
        CallError: when the judge gave no fitting answer.
        LimitReached: when the user's limits allow no more calls.
        MetricError: when the metric's code failed, or gave something that is no level.
        VerdictError: when the judge cannot be used at all.
    """
    if metric.prefer is None:
        raise MetricError(f"{metric.spec.name} does not compare completions")
    found = await _guarded(metric.prefer(case, first, second, ask))
    if found.value not in range(-MUCH_BETTER, MUCH_BETTER + 1):
        raise MetricError(
            f"level {found.value} is not a whole number from {-MUCH_BETTER} to {MUCH_BETTER}"
        )
    return int(found.value), found.reason or ""


async def _guarded(work: Awaitable[Measured]) -> Measured:
    """Return what a metric's code returns; what it raises by mistake is a `MetricError`."""
    try:
        return await work
    except (CallError, LimitReached, VerdictError):
        raise
    except Exception as error:
        raise MetricError(f"{type(error).__name__}: {error}") from error


def run_descriptive(metric: Metric, completion: Completion) -> Measured:
    """Return a descriptive metric's score of how the completion was generated.

    Raises:
        MetricError: when the completion lacks the measurement.
    """
    if metric.describe is None:
        raise MetricError(f"{metric.spec.name} does not describe completions")
    found = metric.describe(completion)
    if isinstance(found, NoResult):
        raise MetricError(found.reason)
    return check_score(metric.spec, found)


def check_score(spec: MetricSpec, measured: Measured) -> Measured:
    """Return the score unchanged if it is valid for this metric.

    Raises:
        MetricError: when it is not finite, or outside the metric's range.
    """
    if not (math.isfinite(measured.value) and spec.low <= measured.value <= spec.high):
        raise MetricError(f"score {measured.value} outside {spec.low} to {spec.high}")
    return measured
