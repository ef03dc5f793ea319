"""Contextual Precision: do a case's useful contexts stand before its useless ones (DeepEval).

It looks at the data alone: what it finds is the same for every variant.
"""

from __future__ import annotations

from plugin.metrics import Ask, Measured, _deepeval
from plugin.metrics._checks import one_verdict_each
from plugin.records import Case, MetricSpec

SPEC = MetricSpec(
    key="contextual_precision",
    name="Contextual Precision",
    higher_is_better=True,
    needs=frozenset({"context", "expected_output"}),
    decides=False,
    judges_data=True,
    asks_reason=True,
)


async def measure(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`; the completion is not looked at."""
    kind, options = _deepeval.ContextualPrecisionMetric, {"evaluation_template": _Steps}
    check = one_verdict_each(len(case.context), "contexts")
    return await _deepeval.measure(kind, (case, ""), ask, check, options)


class _Steps(_deepeval.Steps):
    @staticmethod
    def generate_verdicts(expected_output: str, context_to_display: list[str]) -> str:
        values = {"expected_output": expected_output, "contexts": context_to_display}
        return _deepeval.step("contextual_precision", **values)
