"""Latency: seconds from a case's start in its batch to its last token."""

from __future__ import annotations

import math

from plugin.metrics import Measured
from plugin.metrics._pace import CAVEAT
from plugin.records import Completion, MetricSpec

SPEC = MetricSpec(
    key="latency",
    name="Latency",
    higher_is_better=False,
    high=math.inf,
    needs_engine=frozenset({"seconds"}),
    decides=False,
    asks_judge=False,
    unit="seconds per case",
    caveat=CAVEAT,
)


def describe(completion: Completion) -> Measured | str:
    """See `plugin.metrics.Describe`."""
    if completion.seconds is None:
        return "its seconds were not measured"
    return Measured(completion.seconds)
