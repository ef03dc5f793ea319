"""Contextual Relevancy: the share of the contexts' statements that bear on the input (DeepEval).

It looks at the data alone: what it finds is the same for every variant.
"""

from __future__ import annotations

from plugin.metrics import Ask, Measured, _deepeval
from plugin.metrics._checks import some
from plugin.records import Case, MetricSpec

SPEC = MetricSpec(
    key="contextual_relevancy",
    name="Contextual Relevancy",
    higher_is_better=True,
    needs=frozenset({"context"}),
    decides=False,
    judges_data=True,
    asks_reason=True,
)


async def measure(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`; the completion is not looked at."""
    kind, options = _deepeval.ContextualRelevancyMetric, {"evaluation_template": _Steps}
    return await _deepeval.measure(kind, (case, ""), ask, some("verdicts"), options)


class _Steps(_deepeval.Steps):
    @staticmethod
    def generate_verdicts(input: str, context: str) -> str:
        return _deepeval.step("contextual_relevancy", input=input, context=context)
