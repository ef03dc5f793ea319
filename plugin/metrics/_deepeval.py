"""Run DeepEval's metric classes with this project's judges.

Only this file imports DeepEval. Its prompts are used word for word; only a structured judge (which
is not a language model) gets the same values as JSON. DeepEval's telemetry, its reading of `.env`,
its files and its progress bars are switched off.

The checks that an answer must pass beyond its schema are also here. DeepEval has no such checks: it
would give the best score to an answer without verdicts.
"""

from __future__ import annotations

import inspect
import json
import math
import os
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from plugin.errors import CallError, LimitReached, VerdictError
from plugin.metrics import Ask, Check, Measured
from plugin.records import Case

os.environ["DEEPEVAL_TELEMETRY_OPT_OUT"] = "1"
os.environ["DEEPEVAL_DISABLE_DOTENV"] = "1"
os.environ.setdefault("DEEPEVAL_CACHE_FOLDER", os.path.join(tempfile.gettempdir(), "deepeval"))

from deepeval.errors import ContextWindowExceededError  # noqa: E402
from deepeval.metrics import (  # noqa: E402
    AnswerRelevancyMetric,
    BiasMetric,
    ContextualPrecisionMetric,
    ContextualRecallMetric,
    ContextualRelevancyMetric,
    ConversationalGEval,
    ConversationCompletenessMetric,
    FaithfulnessMetric,
    GEval,
    HallucinationMetric,
    KnowledgeRetentionMetric,
    RoleAdherenceMetric,
    ToxicityMetric,
    TurnFaithfulnessMetric,
    TurnRelevancyMetric,
    indicator,
)
from deepeval.metrics.g_eval import Rubric  # noqa: E402
from deepeval.models import DeepEvalBaseLLM  # noqa: E402
from deepeval.test_case import (  # noqa: E402
    ConversationalTestCase,
    LLMTestCase,
    MultiTurnParams,
    SingleTurnParams,
    Turn,
)

# DeepEval warns that 4.2.0 reversed these scores; answers.py takes care of that.
warnings.filterwarnings("ignore", message="'(Hallucination|Bias|Toxicity)Metric' now scores")

# DeepEval makes a console for each score, even if it is to show nothing.
indicator.Console = lambda **_: None

if TYPE_CHECKING:
    from deepeval.metrics import BaseConversationalMetric, BaseMetric

__all__ = [
    "AnswerRelevancyMetric",
    "BiasMetric",
    "ContextualPrecisionMetric",
    "ContextualRecallMetric",
    "ContextualRelevancyMetric",
    "ConversationCompletenessMetric",
    "ConversationalGEval",
    "FaithfulnessMetric",
    "GEval",
    "HallucinationMetric",
    "KnowledgeRetentionMetric",
    "RoleAdherenceMetric",
    "Rubric",
    "SingleTurnParams",
    "StructuredTemplate",
    "ToxicityMetric",
    "TurnFaithfulnessMetric",
    "TurnRelevancyMetric",
    "conversation_steps",
    "evaluation_steps",
    "run_deepeval",
    "run_on_conversation",
    "structured_prompt",
    "turn_fields",
    "all_of",
    "at_least_one",
    "one_verdict_each",
    "score_within",
    "verdict_on_each",
]


def structured_prompt(name: str, **values: object) -> str:
    """Return the question for a structured judge, as JSON, in place of a prompt."""
    return json.dumps({"step": name, **values}, ensure_ascii=False)


class StructuredTemplate:
    """Base class of the metrics' templates for a structured judge."""

    @staticmethod
    def generate_reason(score: str) -> str:
        """Return the question for the reason of a score."""
        return structured_prompt("reason", score=score)


async def run_deepeval(
    kind: type[BaseMetric],
    subject: tuple[Case, str],
    ask: Ask,
    check: Check,
    options: Mapping[str, Any],
) -> Measured:
    """Run one DeepEval metric on one completion.

    Args:
        kind: the metric class.
        subject: the case and the completion; "" for a metric that judges only the case.
        ask: asks the judge.
        check: a check that an answer must pass beyond its schema.
        options: arguments of the class; `evaluation_template` is used only for a structured judge,
            because every other judge must get the library's own prompts.

    Returns:
        DeepEval's score, in DeepEval's direction.
    """
    metric = _with_judge(kind, ask, check, options)
    case, completion = subject
    test_case = LLMTestCase(
        input=case.input,
        actual_output=completion or None,
        expected_output=case.expected_output,
        context=list(case.context) or None,
        retrieval_context=list(case.context) or None,
    )
    return await _measure(metric, test_case)


async def run_on_conversation(
    kind: type[BaseConversationalMetric],
    subject: tuple[Case, str],
    ask: Ask,
    check: Check,
    options: Mapping[str, Any],
) -> Measured:
    """Run one of DeepEval's conversational metrics on a whole conversation.

    The arguments are those of `run_deepeval`; the case has the conversation up to the completion.
    A system turn is the chatbot's role, and the case's context belongs to every answer.
    """
    metric = _with_judge(kind, ask, check, options)
    case, completion = subject
    context = list(case.context) or None
    said = [(turn.role, turn.content) for turn in case.messages if turn.role != "system"]
    turns = [
        Turn(role=role, content=text, retrieval_context=context if role == "assistant" else None)
        for role, text in (*said, ("assistant", completion))
    ]
    return await _measure(metric, ConversationalTestCase(turns=turns, chatbot_role=case.role))


def turn_fields(*, with_context: bool) -> list[Any]:
    """Return the parts of a turn that a user's criterion looks at, under DeepEval's names."""
    fields = [MultiTurnParams.ROLE, MultiTurnParams.CONTENT]
    return [*fields, MultiTurnParams.RETRIEVAL_CONTEXT] if with_context else fields


def _with_judge(kind: Any, ask: Ask, check: Check, options: Mapping[str, Any]) -> Any:
    """Return a metric of DeepEval that asks our judge."""
    arguments = dict(options)
    if not ask.structured:
        arguments.pop("evaluation_template", None)
    _keep_signatures(arguments.get("evaluation_template") or _own_template(kind))
    if kind not in (GEval, ConversationalGEval):  # these get score and reason with one question
        arguments.setdefault("include_reason", ask.include_reason)
        arguments["eval_mode"] = "llm"  # overrides the user's DeepEval settings
    return kind(model=_AskedModel(ask, check), async_mode=True, **arguments)


async def _measure(metric: Any, test_case: LLMTestCase | ConversationalTestCase) -> Measured:
    cause: BaseException | None = None
    try:
        await metric.a_measure(test_case, _show_indicator=False)
    except ContextWindowExceededError as error:
        # DeepEval puts this one, without the server's words, in the place of any about a context.
        cause = error.__cause__
        if not isinstance(cause, CallError | LimitReached | VerdictError):
            raise
    if cause:  # raised here, as inside the clause the two errors would cause each other
        raise cause
    return Measured(float(metric.score), metric.reason)


@cache
def _own_template(kind: type[BaseMetric]) -> type | None:
    """Return the class with DeepEval's own prompts for a metric; None if it has no such class."""
    option = inspect.signature(kind).parameters.get("evaluation_template")
    return option.default if option and isinstance(option.default, type) else None


@cache
def _keep_signatures(template: type | None) -> None:
    """Keep the signatures of a template's functions: DeepEval looks at one for every prompt."""
    for name in dir(template):
        function = getattr(template, name)
        if inspect.isfunction(function):
            function.__dict__.setdefault("__signature__", inspect.signature(function))


async def evaluation_steps(criterion: str, fields: list[Any], ask: Ask, check: Check) -> list[str]:
    """Let G-Eval's judge write the evaluation steps for a criterion, to follow for every case.

    Args:
        criterion: the criterion in the user's words.
        fields: the parts of a case that the judge will see, as `SingleTurnParams`.
        ask: asks the judge.
        check: a check that the list of steps must pass.
    """
    options: dict[str, Any] = {"criteria": criterion, "evaluation_params": fields}
    if ask.structured:
        options["evaluation_template"] = _EvaluationStepsTemplate
    metric = GEval(name="criterion", model=_AskedModel(ask, check), **options)
    return list(await metric._a_generate_evaluation_steps(multimodal=False))


async def conversation_steps(
    criterion: str, ask: Ask, check: Check, *, with_context: bool
) -> list[str]:
    """Let the judge write the evaluation steps for a criterion for whole conversations."""
    fields = turn_fields(with_context=with_context)
    options: dict[str, Any] = {"criteria": criterion, "evaluation_params": fields}
    if ask.structured:
        options["evaluation_template"] = _EvaluationStepsTemplate
    metric = ConversationalGEval(name="criterion", model=_AskedModel(ask, check), **options)
    return list(await metric._a_generate_evaluation_steps())


class _EvaluationStepsTemplate:
    @staticmethod
    def generate_evaluation_steps(criteria: str) -> str:
        return structured_prompt("evaluation_steps", criterion=criteria)


class _AskedModel(DeepEvalBaseLLM):  # type: ignore[misc]
    """A model for DeepEval that passes every question on to the judge."""

    def __init__(self, ask: Ask, check: Check) -> None:
        self._ask = ask
        self._check = check
        super().__init__("judge")

    def load_model(self) -> _AskedModel:
        return self

    def get_model_name(self) -> str:
        return "judge"

    def generate(self, prompt: str) -> str:
        raise NotImplementedError("judges are asked asynchronously")

    async def a_generate(self, prompt: str, schema: type[BaseModel]) -> BaseModel:
        return await self._ask(prompt, schema, self._check)

    async def a_generate_with_schema(  # DeepEval's own version hides TypeErrors and asks again
        self, prompt: str, schema: type[BaseModel]
    ) -> BaseModel:
        return await self._ask(prompt, schema, self._check)


def one_verdict_each(n_items: int, items: str) -> Check:
    """Return a check that there is one verdict per item.

    Args:
        n_items: number of items.
        items: name of the items in messages, such as "contexts".
    """

    def check(answer: BaseModel) -> str | None:
        verdicts = getattr(answer, "verdicts", None)
        if verdicts is not None and len(verdicts) != n_items:
            return f"{len(verdicts)} verdicts for {n_items} {items}"
        return None

    return check


def verdict_on_each(listed: str, *, may_be_none: bool = False) -> Check:
    """Return a check that an answer has one verdict per item of the list in an earlier answer.

    Args:
        listed: field of the earlier answer, such as "statements".
        may_be_none: whether that list may be empty (most texts contain no opinion).
    """
    n_items = 0

    def check(answer: BaseModel) -> str | None:
        nonlocal n_items
        items = getattr(answer, listed, None)
        if items is not None:
            n_items = len(items)
            return _unlisted(items, listed, may_be_none)
        return one_verdict_each(n_items, listed)(answer)

    return check


def at_least_one(*fields: str) -> Check:
    """Return a check that each of these lists has an item."""

    def check(answer: BaseModel) -> str | None:
        for field in fields:
            if (items := getattr(answer, field, None)) is not None and not items:
                return f"an empty list of {field}"
        return None

    return check


@dataclass(frozen=True, slots=True)
class ScoreWithin:
    """A check that a score is finite, within its range, and not a share of 1.

    Attributes:
        scale: the lowest and the highest score; judges' answers such as "7/10" are read by it.
    """

    scale: tuple[float, float]

    def __call__(self, answer: BaseModel) -> str | None:
        """Return the problem of an answer; None for a good one."""
        low, high = self.scale
        score = getattr(answer, "score", None)
        if score is None:
            return None
        if not (math.isfinite(score) and low <= score <= high):
            return f"score {score} outside {low:g} to {high:g}"
        if 0 < score < 1 < high:
            return (
                f"score {score} on the scale from {low:g} to {high:g} is not clear, as it may be a "
                f"share of 1; give a whole number from {low:g} to {high:g}"
            )
        return None


def score_within(low: float, high: float) -> Check:
    """Return a check that a score is within its range (see `ScoreWithin`)."""
    return ScoreWithin((low, high))


def all_of(*checks: Check) -> Check:
    """Return a check that runs all these checks and returns the first problem."""

    def check(answer: BaseModel) -> str | None:
        return next((problem for each in checks if (problem := each(answer))), None)

    return check


def _unlisted(items: list[str], listed: str, may_be_none: bool) -> str | None:
    if not (items or may_be_none):
        return f"an empty list of {listed}"
    if not all(text.strip() for text in items):
        return f"an empty text among the {listed}"
    return None
