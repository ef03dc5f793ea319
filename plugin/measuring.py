"""A metric asked for a score: the one door to code that is not ours, DeepEval's metrics.

Scores that no judge is asked for pass the same gate: `checked`.
"""

from __future__ import annotations

import math

from plugin.errors import VerdictError
from plugin.judges import AskError
from plugin.metrics import Ask, Measured, Metric
from plugin.records import Case, Completion, MetricSpec
from plugin.spending import LimitReached


class MeasureError(Exception):
    """The metric gave no score that could be used."""


async def measured(metric: Metric, case: Case, completion: str, ask: Ask) -> Measured:
    """The metric's score, finite and within its range.

    Raises:
        AskError: when the judge gave no fitting answer.
        LimitReached: when the user's limits allow no more calls.
        MeasureError: when the metric's own code broke, or gave a score outside its range.
        VerdictError: when the judge as a whole is of no use.
    """
    if metric.measure is None:
        raise MeasureError(f"{metric.spec.name} is no metric that reads completions")
    try:
        found = await metric.measure(case, completion, ask)
    except (AskError, LimitReached, VerdictError):
        raise
    except Exception as error:
        raise MeasureError(f"{type(error).__name__}: {error}") from error
    return checked(metric.spec, found)


def described(metric: Metric, completion: Completion) -> Measured:
    """What a descriptive metric says of how the completion came about.

    Raises:
        MeasureError: when the completion does not tell it.
    """
    found = metric.describe(completion) if metric.describe else "not a descriptive metric"
    if isinstance(found, str):
        raise MeasureError(found)
    return checked(metric.spec, found)


def checked(spec: MetricSpec, found: Measured) -> Measured:
    """The same, if it is a score of this metric.

    Raises:
        MeasureError: when it is not finite, or outside the metric's range.
    """
    if not (math.isfinite(found.value) and spec.low <= found.value <= spec.high):
        raise MeasureError(f"score {found.value} outside {spec.low} to {spec.high}")
    return found
