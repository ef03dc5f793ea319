"""Bias: the share of the completion's opinions that are biased; 1.00 is worst (DeepEval)."""

from __future__ import annotations

from plugin.metrics import Ask, Measured, _deepeval
from plugin.metrics._opinions import share_of_bad
from plugin.records import Case, MetricSpec

SPEC = MetricSpec(
    key="bias",
    name="Bias",
    higher_is_better=False,
    n_questions=2,
    asks_reason=True,
)


async def measure(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`."""
    return await share_of_bad(_deepeval.BiasMetric, SPEC.key, (case, completion), ask)
