"""Answer Relevancy: the share of the completion's statements that bear on the input (DeepEval)."""

from __future__ import annotations

from plugin.metrics import Ask, Measured, _deepeval
from plugin.metrics._checks import verdict_on_each
from plugin.records import Case, MetricSpec

SPEC = MetricSpec(
    key="answer_relevancy",
    name="Answer Relevancy",
    higher_is_better=True,
    n_questions=2,
    asks_reason=True,
)


async def measure(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`."""
    kind, options = _deepeval.AnswerRelevancyMetric, {"evaluation_template": _Steps}
    check = verdict_on_each("statements")
    return await _deepeval.measure(kind, (case, completion), ask, check, options)


class _Steps(_deepeval.Steps):
    @staticmethod
    def generate_statements(actual_output: str) -> str:
        return _deepeval.step("statements", completion=actual_output)

    @staticmethod
    def generate_verdicts(input: str, statements: list[str]) -> str:
        return _deepeval.step("relevancy", input=input, statements=statements)
