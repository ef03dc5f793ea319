"""Correctness: does the completion say what the expected output says (DeepEval's G-Eval)."""

from __future__ import annotations

from plugin.metrics import Ask, Measured
from plugin.metrics._g_eval import Guide
from plugin.metrics._g_eval import measure as follow
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

_GUIDE = Guide(SPEC.name, STEPS, expected_output=True)


async def measure(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`."""
    return await follow(_GUIDE, case, completion, ask)
