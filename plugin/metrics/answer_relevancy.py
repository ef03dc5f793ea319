"""Answer Relevancy: the share of the completion's statements that bear on the input (DeepEval)."""

from __future__ import annotations

from pydantic import BaseModel

from plugin.metrics import Ask, Check, Measured, _deepeval
from plugin.records import Case, MetricSpec

SPEC = MetricSpec(key="answer_relevancy", name="Answer Relevancy", higher_is_better=True)


async def measure(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`."""
    options = {"evaluation_template": _Steps}
    kind = _deepeval.AnswerRelevancyMetric
    return await _deepeval.measure(kind, (case, completion), ask, _complete(), options)


class _Steps:
    @staticmethod
    def generate_statements(actual_output: str) -> str:
        return _deepeval.step("statements", completion=actual_output)

    @staticmethod
    def generate_verdicts(input: str, statements: list[str]) -> str:
        return _deepeval.step("relevancy", input=input, statements=statements)

    @staticmethod
    def generate_reason(score: str) -> str:
        return _deepeval.step("reason", score=score)


def _complete() -> Check:
    """At least one statement, none empty, and one verdict for each."""
    n_statements = 0

    def check(answer: BaseModel) -> str | None:
        nonlocal n_statements
        statements = getattr(answer, "statements", None)
        if statements is not None:
            n_statements = len(statements)
            if not all(text.strip() for text in statements) or not statements:
                return "an empty list of statements, or an empty statement"
        verdicts = getattr(answer, "verdicts", None)
        if verdicts is not None and len(verdicts) != n_statements:
            return f"{len(verdicts)} verdicts for {n_statements} statements"
        return None

    return check
