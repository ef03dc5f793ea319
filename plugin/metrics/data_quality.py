"""Contextual Precision: do a case's useful contexts stand before its useless ones (DeepEval).

It looks at the data alone: what it finds is the same for every variant.

Contextual Recall: the share of the expected output that its contexts bear out (DeepEval).

It looks at the data alone: what it finds is the same for every variant.

Contextual Relevancy: the share of the contexts' statements that bear on the input (DeepEval).

It looks at the data alone: what it finds is the same for every variant.
"""

from __future__ import annotations

from plugin.metrics import Ask, Measured, _deepeval
from plugin.metrics._deepeval import at_least_one, one_verdict_each
from plugin.records import Case


async def contextual_precision(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`; the completion is not looked at."""
    kind, options = _deepeval.ContextualPrecisionMetric, {"evaluation_template": _PrecisionSteps}
    check = one_verdict_each(len(case.context), "contexts")
    return await _deepeval.run_deepeval(kind, (case, ""), ask, check, options)


class _PrecisionSteps(_deepeval.Steps):
    @staticmethod
    def generate_verdicts(expected_output: str, context_to_display: list[str]) -> str:
        values = {"expected_output": expected_output, "contexts": context_to_display}
        return _deepeval.as_steps("contextual_precision", **values)


async def contextual_recall(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`; the completion is not looked at."""
    kind, options = _deepeval.ContextualRecallMetric, {"evaluation_template": _RecallSteps}
    return await _deepeval.run_deepeval(kind, (case, ""), ask, at_least_one("verdicts"), options)


class _RecallSteps(_deepeval.Steps):
    @staticmethod
    def generate_verdicts(expected_output: str, context_to_display: list[str]) -> str:
        values = {"expected_output": expected_output, "contexts": context_to_display}
        return _deepeval.as_steps("contextual_recall", **values)


async def contextual_relevancy(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`; the completion is not looked at."""
    kind, options = _deepeval.ContextualRelevancyMetric, {"evaluation_template": _RelevancySteps}
    return await _deepeval.run_deepeval(kind, (case, ""), ask, at_least_one("verdicts"), options)


class _RelevancySteps(_deepeval.Steps):
    @staticmethod
    def generate_verdicts(input: str, context: str) -> str:
        return _deepeval.as_steps("contextual_relevancy", input=input, context=context)
