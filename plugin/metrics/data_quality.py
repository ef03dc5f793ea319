"""Judge the quality of the data with DeepEval's contextual metrics.

- Contextual Precision: whether a case's useful contexts come before its useless ones.
- Contextual Recall: the share of the expected output that the contexts support.
- Contextual Relevancy: the share of the contexts' statements that are relevant to the input.

These metrics never read completions, so their scores are the same for every variant.
"""

from __future__ import annotations

from plugin.metrics import Ask, Measured, _deepeval
from plugin.metrics._deepeval import at_least_one, one_verdict_each
from plugin.records import Case


async def contextual_precision(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`; the completion is not looked at."""
    kind, options = _deepeval.ContextualPrecisionMetric, {"evaluation_template": _PrecisionTemplate}
    check = one_verdict_each(len(case.context), "contexts")
    return await _deepeval.run_deepeval(kind, (case, ""), ask, check, options)


class _PrecisionTemplate(_deepeval.StructuredTemplate):
    @staticmethod
    def generate_verdicts(expected_output: str, context_to_display: list[str]) -> str:
        values = {"expected_output": expected_output, "contexts": context_to_display}
        return _deepeval.structured_prompt("contextual_precision", **values)


async def contextual_recall(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`; the completion is not looked at."""
    kind, options = _deepeval.ContextualRecallMetric, {"evaluation_template": _RecallTemplate}
    return await _deepeval.run_deepeval(kind, (case, ""), ask, at_least_one("verdicts"), options)


class _RecallTemplate(_deepeval.StructuredTemplate):
    @staticmethod
    def generate_verdicts(expected_output: str, context_to_display: list[str]) -> str:
        values = {"expected_output": expected_output, "contexts": context_to_display}
        return _deepeval.structured_prompt("contextual_recall", **values)


async def contextual_relevancy(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`; the completion is not looked at."""
    kind, options = _deepeval.ContextualRelevancyMetric, {"evaluation_template": _RelevancyTemplate}
    return await _deepeval.run_deepeval(kind, (case, ""), ask, at_least_one("verdicts"), options)


class _RelevancyTemplate(_deepeval.StructuredTemplate):
    @staticmethod
    def generate_verdicts(input: str, context: str) -> str:
        return _deepeval.structured_prompt("contextual_relevancy", input=input, context=context)
