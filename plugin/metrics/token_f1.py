"""Token F1: overlap of words between completion and expected output (SQuAD, 2016)."""

from __future__ import annotations

from plugin.metrics import Ask, Measured
from plugin.metrics._words import overlap_f1
from plugin.records import Case, MetricSpec

SPEC = MetricSpec(
    key="token_f1",
    name="Token F1",
    higher_is_better=True,
    needs=frozenset({"expected_output"}),
    asks_judge=False,
)


async def measure(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`; no judge is asked."""
    return Measured(overlap_f1(completion, case.expected_output or ""))
