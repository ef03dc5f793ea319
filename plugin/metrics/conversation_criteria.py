"""The user's own criteria for whole conversations, scored with DeepEval's ConversationalGEval.

The judge sees every turn and follows evaluation steps: the user's, or steps that it writes itself,
once per run. A conversation is scored at its last turn; scores are scaled to 0..1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from plugin.metrics import Ask, Measured, Metric, key_of
from plugin.metrics.entry import Criterion
from plugin.records import Case, MetricSpec


@dataclass(frozen=True, slots=True)
class Guide:
    """What the judge follows for a user's criterion for whole conversations."""

    criterion: Criterion
    steps: tuple[str, ...]


def criterion_metric(criterion: Criterion) -> Metric:
    """Return a metric for a user's criterion for whole conversations, from 0 to 1."""
    context = frozenset({"context"} if criterion.include_context else ())
    spec = MetricSpec(
        key=key_of(criterion.name),
        name=criterion.name,
        higher_is_better=True,
        needs=frozenset({"ends_conversation"}) | context,
        reads_conversation=True,
    )
    bare = _with_steps(Metric(spec), criterion, criterion.evaluation_steps)
    if criterion.evaluation_steps:
        return bare
    return replace(bare, prepare=partial(_prepare, bare, criterion))


def _with_steps(metric: Metric, criterion: Criterion, steps: Sequence[str]) -> Metric:
    guide = Guide(criterion, tuple(steps))
    return replace(metric, measure=partial(_score, guide), steps=guide.steps)


async def _prepare(bare: Metric, criterion: Criterion, ask: Ask, known: Sequence[str]) -> Metric:
    from plugin.metrics import _deepeval

    check, shown = _deepeval.at_least_one("steps"), criterion.include_context
    steps = tuple(known) or tuple(
        await _deepeval.conversation_steps(criterion.description, ask, check, with_context=shown)
    )
    return _with_steps(bare, criterion, steps)


async def _score(guide: Guide, case: Case, completion: str, ask: Ask) -> Measured:
    from plugin.metrics import _deepeval

    options: dict[str, Any] = {
        "name": guide.criterion.name,
        "evaluation_steps": list(guide.steps),
        "evaluation_template": _CriterionTemplate,
        "evaluation_params": _deepeval.turn_fields(with_context=guide.criterion.include_context),
    }
    kind, check = _deepeval.ConversationalGEval, _deepeval.score_within(0, 10)
    return await _deepeval.run_on_conversation(kind, (case, completion), ask, check, options)


class _CriterionTemplate:
    @staticmethod
    def generate_evaluation_results(turns: list[dict[str, str]]) -> str:
        from plugin.metrics._deepeval import structured_prompt

        return structured_prompt("conversation_g_eval", turns=turns)
