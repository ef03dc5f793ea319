"""Score with DeepEval's G-Eval: a judge follows evaluation steps; scores are scaled to 0..1.

- Correctness: whether the completion states the facts of the expected output.
- Rubric: five criteria, each from 1 to 10, in one score. It is meant for open tasks without a
  single right answer. If a case has an expected output, the judge sees it.
- The user's own criteria.

All cases are scored with the same evaluation steps. They are built in, given by the user, or
written by the judge once per run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from plugin.metrics import Ask, Measured, Metric, key_of
from plugin.metrics.entry import Criterion
from plugin.records import Case, MetricSpec

LOWEST, HIGHEST = 0, 10
"""Range of G-Eval's scores if the rubric has no ranges."""


@dataclass(frozen=True, slots=True)
class Rubric:
    """The instructions for the judge.

    Attributes:
        name: displayed name of the metric.
        steps: the steps that the judge follows for every case.
        expected_output: whether the judge sees the expected output; the case must have one.
        context: whether the judge sees the context; the case must have one.
        ranges: (lowest score, highest score, description of such a completion), ascending; empty
            for 0 to 10.
    """

    name: str
    steps: Sequence[str]
    expected_output: bool
    context: bool = False
    ranges: tuple[tuple[int, int, str], ...] = ()

    @property
    def fields(self) -> list[Any]:
        """Return the parts of a case that the judge sees, under DeepEval's names."""
        from plugin.metrics._deepeval import SingleTurnParams as known

        return [
            known.INPUT,
            known.ACTUAL_OUTPUT,
            *([known.EXPECTED_OUTPUT] if self.expected_output else []),
            *([known.CONTEXT] if self.context else []),
        ]


async def run_g_eval(guide: Rubric, case: Case, completion: str, ask: Ask) -> Measured:
    """Get score and reason with one question to the judge."""
    from plugin.metrics import _deepeval

    low = guide.ranges[0][0] if guide.ranges else LOWEST
    high = guide.ranges[-1][1] if guide.ranges else HIGHEST
    rubric = [
        _deepeval.Rubric(score_range=(first, last), expected_outcome=text)
        for first, last, text in guide.ranges
    ]
    options = {
        "name": guide.name,
        "evaluation_steps": list(guide.steps),
        "evaluation_params": guide.fields,
        "rubric": rubric or None,
        "evaluation_template": _GEvalTemplate(guide, case, completion, (low, high)),
    }
    check = _deepeval.score_within(low, high)
    shown = replace(case, expected_output=case.expected_text)
    return await _deepeval.run_deepeval(_deepeval.GEval, (shown, completion), ask, check, options)


class _GEvalTemplate:
    def __init__(
        self, guide: Rubric, case: Case, completion: str, score_range: tuple[int, int]
    ) -> None:
        self._guide = guide
        self._case = case
        self._completion = completion
        self._range = score_range

    def generate_evaluation_results(self) -> str:
        from plugin.metrics._deepeval import structured_prompt

        values: dict[str, object] = {"completion": self._completion, "score_range": self._range}
        if self._guide.expected_output:
            right = self._case.right_answers
            values["expected_output"] = right if len(right) > 1 else self._case.expected_output
        else:
            values["input"] = self._case.input
        return structured_prompt("g_eval", **values)


CORRECTNESS_STEPS = (
    "Find the facts that the expected output states in answer to the input.",
    "Check for each of them whether the actual output states it too, in whatever words.",
    "Lower the score for every such fact that is missing, and more for every one contradicted.",
    "Do not judge style, length or extra detail that contradicts nothing.",
)

_CORRECTNESS = Rubric("Correctness", CORRECTNESS_STEPS, expected_output=True)


async def correctness(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`."""
    return await run_g_eval(_CORRECTNESS, case, completion, ask)


RUBRIC_STEPS = (
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

_RUBRIC = Rubric("Rubric", RUBRIC_STEPS, expected_output=False, ranges=_RANGES)


async def rubric(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`."""
    return await rubric_with(RUBRIC_STEPS, case, completion, ask)


async def rubric_with(steps: Sequence[str], case: Case, completion: str, ask: Ask) -> Measured:
    """Score as `rubric` does, with other steps."""
    guide = replace(_RUBRIC, steps=steps, expected_output=case.expected_output is not None)
    return await run_g_eval(guide, case, completion, ask)


def criterion_metric(criterion: Criterion, expected_output: bool) -> Metric:
    """Return a metric for a user's criterion.

    Args:
        criterion: the user's criterion.
        expected_output: whether the judge also sees the expected output; then every case has one.
    """
    spec = MetricSpec(
        key=key_of(criterion.name),
        name=criterion.name,
        higher_is_better=True,
        needs=frozenset({"context"} if criterion.include_context else ()),
    )
    guide = Rubric(
        criterion.name, criterion.evaluation_steps, expected_output, criterion.include_context
    )
    bare = with_steps(Metric(spec), guide, criterion.evaluation_steps)
    if criterion.evaluation_steps:
        return bare
    return replace(bare, prepare=partial(_prepare_criterion, bare, guide, criterion.description))


def with_steps(metric: Metric, guide: Rubric, steps: Sequence[str]) -> Metric:
    """Return the metric of a user's criterion with these steps."""
    guide = replace(guide, steps=steps)
    return replace(metric, measure=partial(_run_criterion, guide), steps=tuple(steps), guide=guide)


async def _run_criterion(guide: Rubric, case: Case, completion: str, ask: Ask) -> Measured:
    return await run_g_eval(guide, case, completion, ask)


async def _prepare_criterion(
    bare: Metric, guide: Rubric, description: str, ask: Ask, known: Sequence[str]
) -> Metric:
    from plugin.metrics import _deepeval

    steps = tuple(known) or tuple(
        await _deepeval.evaluation_steps(
            description, guide.fields, ask, _deepeval.at_least_one("steps")
        )
    )
    return with_steps(bare, guide, steps)
