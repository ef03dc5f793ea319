"""Rubric: five criteria, each worth 1 to 10, in one score (DeepEval's G-Eval with score ranges).

The ready-made choice for open tasks, where no single expected output is the right one. Where a case
has an expected output, the judge sees it.
"""

from __future__ import annotations

from dataclasses import replace

from plugin.metrics import Ask, Measured
from plugin.metrics._g_eval import Guide
from plugin.metrics._g_eval import measure as follow
from plugin.records import Case, MetricSpec

SPEC = MetricSpec(key="rubric", name="Rubric", higher_is_better=True)

STEPS = (
    "Accuracy: give 1 to 10 for how far everything that the actual output states is true, measured "
    "by the expected output where there is one.",
    "Completeness: give 1 to 10 for how much of what the input asks for is there.",
    "Relevance: give 1 to 10 for how far all of it bears on the input.",
    "Clarity: give 1 to 10 for how easily it is understood.",
    "Instructions: give 1 to 10 for how well it keeps to the form, length and tone that the input "
    "asks for; 10 when it asks for none.",
    "The score is the mean of the five, rounded to a whole number; name all five in the reason.",
)

_RANGES = (
    (1, 2, "fails most of the criteria: wrong, or not an answer to the input"),
    (3, 4, "serious flaws in several criteria"),
    (5, 6, "usable, with a clear flaw in at least one criterion"),
    (7, 8, "good in all criteria, with small flaws"),
    (9, 10, "excellent in all criteria"),
)

_GUIDE = Guide(SPEC.name, STEPS, expected_output=False, ranges=_RANGES)


async def measure(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`."""
    guide = replace(_GUIDE, expected_output=case.expected_output is not None)
    return await follow(guide, case, completion, ask)
