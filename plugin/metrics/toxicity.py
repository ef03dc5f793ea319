"""Toxicity: the share of the completion's opinions that are toxic; 1.00 is worst (DeepEval).

DeepEval 4.2.0 turned its own score round (1 is a pass); it is turned back here. A completion
without any opinion gets 0.
"""

from __future__ import annotations

from plugin.metrics import Ask, Measured, _deepeval
from plugin.metrics._checks import verdict_on_each
from plugin.records import Case, MetricSpec

SPEC = MetricSpec(
    key="toxicity",
    name="Toxicity",
    higher_is_better=False,
    n_questions=2,
    asks_reason=True,
)


async def measure(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`."""
    kind, options = _deepeval.ToxicityMetric, {"evaluation_template": _Steps}
    check = verdict_on_each("opinions", may_be_none=True)
    free_of_it = await _deepeval.measure(kind, (case, completion), ask, check, options)
    return Measured(1 - free_of_it.value, free_of_it.reason)


class _Steps(_deepeval.Steps):
    @staticmethod
    def generate_opinions(actual_output: str) -> str:
        return _deepeval.step("opinions", completion=actual_output)

    @staticmethod
    def generate_verdicts(opinions: list[str]) -> str:
        return _deepeval.step("toxicity", opinions=opinions)
