"""The user's own criteria as metrics (DeepEval's G-Eval).

The evaluation steps are the user's, or are written by the judge once per run, so that every case
meets the same rubric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from plugin.metrics import Ask, Measured, Metric, _deepeval, key_of
from plugin.metrics._checks import some
from plugin.metrics._g_eval import Guide
from plugin.metrics._g_eval import measure as follow
from plugin.records import Case, Criterion, MetricSpec


def metric(criterion: Criterion, expected_output: bool) -> Metric:
    """The criterion as a metric.

    Args:
        criterion: the user's.
        expected_output: whether the judge sees the expected output besides; every case has one.
    """
    spec = MetricSpec(
        key=key_of(criterion.name),
        name=criterion.name,
        higher_is_better=True,
        needs=frozenset({"context"} if criterion.include_context else ()),
    )
    guide = Guide(
        criterion.name, criterion.evaluation_steps, expected_output, criterion.include_context
    )
    bare = Metric(spec, partial(_measure, guide), criterion.evaluation_steps)
    if criterion.evaluation_steps:
        return bare
    return replace(bare, prepare=partial(_prepare, bare, guide, criterion.description))


async def _measure(guide: Guide, case: Case, completion: str, ask: Ask) -> Measured:
    return await follow(guide, case, completion, ask)


async def _prepare(
    bare: Metric, guide: Guide, description: str, ask: Ask, known: Sequence[str]
) -> Metric:
    steps = tuple(known) or tuple(
        await _deepeval.evaluation_steps(description, guide.fields, ask, some("steps"))
    )
    return replace(bare, measure=partial(_measure, replace(guide, steps=steps)), steps=steps)
