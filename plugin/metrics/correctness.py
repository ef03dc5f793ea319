"""Correctness: does the completion say what the expected output says (DeepEval's G-Eval).

The evaluation steps are fixed, so that every case meets the same rubric.
"""

from __future__ import annotations

import math

from pydantic import BaseModel

from plugin.metrics import Ask, Measured, _deepeval
from plugin.records import Case, MetricSpec

SPEC = MetricSpec(
    key="correctness",
    name="Correctness",
    higher_is_better=True,
    needs=frozenset({"expected_output"}),
)

STEPS = (
    "Find the facts that the expected output states in answer to the input.",
    "Check for each of them whether the actual output states it too, in whatever words.",
    "Lower the score for every such fact that is missing, and more for every one contradicted.",
    "Do not judge style, length or extra detail that contradicts nothing.",
)

_LOWEST, _HIGHEST = 0, 10


async def measure(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`."""
    fields = _deepeval.SingleTurnParams
    options = {
        "name": SPEC.name,
        "evaluation_steps": list(STEPS),
        "evaluation_params": [fields.INPUT, fields.ACTUAL_OUTPUT, fields.EXPECTED_OUTPUT],
        "evaluation_template": _Steps(case, completion),
    }
    return await _deepeval.measure(_deepeval.GEval, (case, completion), ask, _in_range, options)


class _Steps:
    def __init__(self, case: Case, completion: str) -> None:
        self._case = case
        self._completion = completion

    def generate_evaluation_results(self) -> str:
        return _deepeval.step(
            "correctness",
            completion=self._completion,
            expected_output=self._case.expected_output,
        )


def _in_range(answer: BaseModel) -> str | None:
    score = getattr(answer, "score", None)
    if score is not None and not (math.isfinite(score) and _LOWEST <= score <= _HIGHEST):
        return f"score {score} outside {_LOWEST} to {_HIGHEST}"
    return None
