"""Hallucination: the share of a case's contexts that the completion contradicts; 1.00 is worst.

DeepEval 4.2.0 turned its own score round (1 is a pass); it is turned back here.
"""

from __future__ import annotations

from pydantic import BaseModel

from plugin.metrics import Ask, Check, Measured, _deepeval
from plugin.records import Case, MetricSpec

SPEC = MetricSpec(
    key="hallucination",
    name="Hallucination",
    higher_is_better=False,
    needs=frozenset({"context"}),
)


async def measure(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`."""
    options = {"evaluation_template": _Steps}
    check = _one_verdict_each(len(case.context))
    kind = _deepeval.HallucinationMetric
    agreed = await _deepeval.measure(kind, (case, completion), ask, check, options)
    return Measured(1 - agreed.value, agreed.reason)


class _Steps:
    @staticmethod
    def generate_verdicts(actual_output: str, contexts: list[str]) -> str:
        return _deepeval.step("hallucination", completion=actual_output, contexts=contexts)

    @staticmethod
    def generate_reason(score: str) -> str:
        return _deepeval.step("reason", score=score)


def _one_verdict_each(n_contexts: int) -> Check:
    def check(answer: BaseModel) -> str | None:
        verdicts = getattr(answer, "verdicts", None)
        if verdicts is not None and len(verdicts) != n_contexts:
            return f"{len(verdicts)} verdicts for {n_contexts} contexts"
        return None

    return check
