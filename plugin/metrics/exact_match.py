"""Exact Match: 1 when completion and expected output are the same after SQuAD's normalisation."""

from __future__ import annotations

from plugin.metrics import Ask, Measured
from plugin.metrics._words import same_words
from plugin.records import Case, MetricSpec

SPEC = MetricSpec(
    key="exact_match",
    name="Exact Match",
    higher_is_better=True,
    needs=frozenset({"expected_output"}),
    asks_judge=False,
)


async def measure(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`; no judge is asked."""
    return Measured(float(same_words(completion, case.expected_output or "")))
