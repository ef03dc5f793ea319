"""A metric asked for a score: the one door to code that is not ours, DeepEval's metrics."""

from __future__ import annotations

import math

from plugin.errors import VerdictError
from plugin.judges import AskError
from plugin.metrics import Ask, Measured, Metric
from plugin.records import Case
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
    spec = metric.spec
    try:
        found = await metric.measure(case, completion, ask)
    except (AskError, LimitReached, VerdictError):
        raise
    except Exception as error:
        raise MeasureError(f"{type(error).__name__}: {error}") from error
    if not (math.isfinite(found.value) and spec.low <= found.value <= spec.high):
        raise MeasureError(f"score {found.value} outside {spec.low} to {spec.high}")
    return found
