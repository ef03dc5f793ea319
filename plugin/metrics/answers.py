"""Faithfulness: the share of a completion's claims that its context does not contradict (DeepEval).

A completion that claims nothing has no faithfulness: that is a failure on record, where DeepEval
itself would give it full marks.
"""

from __future__ import annotations

from plugin.metrics import Ask, Measured, _deepeval
from plugin.metrics._checks import all_of, some, verdict_on_each
from plugin.records import Case, MetricSpec

SPEC = MetricSpec(
    key="faithfulness",
    name="Faithfulness",
    higher_is_better=True,
    needs=frozenset({"context"}),
    n_questions=3,
    asks_reason=True,
)


async def measure(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`."""
    kind, options = _deepeval.FaithfulnessMetric, {"evaluation_template": _Steps}
    check = all_of(some("truths"), verdict_on_each("claims"))
    return await _deepeval.measure(kind, (case, completion), ask, check, options)


class _Steps(_deepeval.Steps):
    @staticmethod
    def generate_truths(retrieval_context: str) -> str:
        return _deepeval.step("truths", context=retrieval_context)

    @staticmethod
    def generate_claims(actual_output: str) -> str:
        return _deepeval.step("claims", completion=actual_output)

    @staticmethod
    def generate_verdicts(claims: list[str], retrieval_context: str) -> str:
        return _deepeval.step("faithfulness", claims=claims, truths=retrieval_context)
