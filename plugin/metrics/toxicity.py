"""Toxicity: the share of the completion's opinions that are toxic; 1.00 is worst (DeepEval)."""

from __future__ import annotations

from plugin.metrics import Ask, Measured, _deepeval
from plugin.metrics._opinions import share_of_bad
from plugin.records import Case, MetricSpec

SPEC = MetricSpec(
    key="toxicity",
    name="Toxicity",
    higher_is_better=False,
    n_questions=2,
    asks_reason=True,
)


async def measure(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`."""
    return await share_of_bad(_deepeval.ToxicityMetric, SPEC.key, (case, completion), ask)
