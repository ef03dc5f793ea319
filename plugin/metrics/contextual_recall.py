"""Contextual Recall: the share of the expected output that its contexts bear out (DeepEval).

It looks at the data alone: what it finds is the same for every variant.
"""

from __future__ import annotations

from plugin.metrics import Ask, Measured, _deepeval
from plugin.metrics._checks import some
from plugin.records import Case, MetricSpec

SPEC = MetricSpec(
    key="contextual_recall",
    name="Contextual Recall",
    higher_is_better=True,
    needs=frozenset({"context", "expected_output"}),
    decides=False,
    judges_data=True,
    asks_reason=True,
)


async def measure(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`; the completion is not looked at."""
    kind, options = _deepeval.ContextualRecallMetric, {"evaluation_template": _Steps}
    return await _deepeval.measure(kind, (case, ""), ask, some("verdicts"), options)


class _Steps(_deepeval.Steps):
    @staticmethod
    def generate_verdicts(expected_output: str, context_to_display: list[str]) -> str:
        values = {"expected_output": expected_output, "contexts": context_to_display}
        return _deepeval.step("contextual_recall", **values)
