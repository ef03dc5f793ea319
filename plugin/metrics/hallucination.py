"""Hallucination: the share of a case's contexts that the completion contradicts; 1.00 is worst.

DeepEval 4.2.0 turned its own score round (1 is a pass); it is turned back here.
"""

from __future__ import annotations

from plugin.metrics import Ask, Measured, _deepeval
from plugin.metrics._checks import one_verdict_each
from plugin.records import Case, MetricSpec

SPEC = MetricSpec(
    key="hallucination",
    name="Hallucination",
    higher_is_better=False,
    needs=frozenset({"context"}),
    asks_reason=True,
)


async def measure(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`."""
    kind, options = _deepeval.HallucinationMetric, {"evaluation_template": _Steps}
    check = one_verdict_each(len(case.context), "contexts")
    agreed = await _deepeval.measure(kind, (case, completion), ask, check, options)
    return Measured(1 - agreed.value, agreed.reason)


class _Steps(_deepeval.Steps):
    @staticmethod
    def generate_verdicts(actual_output: str, contexts: list[str]) -> str:
        return _deepeval.step("hallucination", completion=actual_output, contexts=contexts)
