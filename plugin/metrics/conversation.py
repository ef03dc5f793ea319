"""Score whole conversations with DeepEval's conversational metrics, at their last turn.

- Turn Relevancy: the share of answers that fit what was said before them.
- Knowledge Retention: the share of answers that forget nothing that the user told.
- Conversation Completeness: the share of the user's wishes that the assistant met.
- Role Adherence: the share of answers that stay in the role that the system turn gives.
- Turn Faithfulness: the share of claims that the context does not contradict, over all turns; it
  comes without a reason.

Turn Relevancy and Turn Faithfulness look through a window of the last ten exchanges, as DeepEval
has it.
"""

from __future__ import annotations

from pydantic import BaseModel

from plugin.metrics import Ask, Check, Measured, _deepeval
from plugin.metrics._deepeval import StructuredTemplate, all_of, at_least_one, structured_prompt
from plugin.records import Case


def _accept(answer: BaseModel) -> str | None:
    """Accept every answer that fits the schema."""
    return None


async def turn_relevancy(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`."""
    kind, options = _deepeval.TurnRelevancyMetric, {"evaluation_template": _TurnRelevancyTemplate}
    return await _deepeval.run_on_conversation(kind, (case, completion), ask, _accept, options)


class _TurnRelevancyTemplate(StructuredTemplate):
    @staticmethod
    def generate_verdicts(sliding_window: list[dict[str, str]]) -> str:
        return structured_prompt("turn_relevancy", turns=sliding_window)


async def knowledge_retention(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`."""
    kind, options = _deepeval.KnowledgeRetentionMetric, {"evaluation_template": _KnowledgeTemplate}
    return await _deepeval.run_on_conversation(kind, (case, completion), ask, _accept, options)


class _KnowledgeTemplate(StructuredTemplate):
    @staticmethod
    def extract_data(user_message: str) -> str:
        return structured_prompt("told", message=user_message)

    @staticmethod
    def generate_verdict(llm_message: str, accumulated_knowledge: list[object]) -> str:
        return structured_prompt("forgotten", message=llm_message, known=accumulated_knowledge)


async def conversation_completeness(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`."""
    kind = _deepeval.ConversationCompletenessMetric
    options = {"evaluation_template": _CompletenessTemplate}
    check = at_least_one("intentions")
    return await _deepeval.run_on_conversation(kind, (case, completion), ask, check, options)


class _CompletenessTemplate(StructuredTemplate):
    @staticmethod
    def extract_user_intentions(turns: list[dict[str, str]]) -> str:
        return structured_prompt("intentions", turns=turns)

    @staticmethod
    def generate_verdicts(turns: list[dict[str, str]], intention: str) -> str:
        return structured_prompt("met", turns=turns, intention=intention)


async def role_adherence(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`."""
    kind, options = _deepeval.RoleAdherenceMetric, {"evaluation_template": _RoleTemplate}
    n_turns = sum(turn.role != "system" for turn in case.messages) + 1
    check = _answers_named_once(n_turns)
    return await _deepeval.run_on_conversation(kind, (case, completion), ask, check, options)


class _RoleTemplate(StructuredTemplate):
    @staticmethod
    def extract_out_of_character_response_verdicts(turns: list[dict[str, str]], role: str) -> str:
        return structured_prompt("out_of_character", turns=turns, role=role)


def _answers_named_once(n_turns: int) -> Check:
    """Return a check that each turn out of character is one of the turns, and named once."""

    def check(answer: BaseModel) -> str | None:
        places = [one.index for one in getattr(answer, "verdicts", None) or ()]
        if len(set(places)) < len(places):
            return f"the turns {places}, of which one is named twice"
        if any(not 0 <= place < n_turns for place in places):
            return f"the turns {places}, where there are {n_turns}, counted from 0"
        return None

    return check


async def turn_faithfulness(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`."""
    kind = _deepeval.TurnFaithfulnessMetric
    # DeepEval asks for the reason of each window with a call that only a blocking judge can take.
    options = {"evaluation_template": _FaithfulnessTemplate, "include_reason": False}
    check = all_of(at_least_one("truths"), _a_verdict_on_each_claim())
    return await _deepeval.run_on_conversation(kind, (case, completion), ask, check, options)


class _FaithfulnessTemplate(StructuredTemplate):
    @staticmethod
    def generate_truths(reference_context: str) -> str:
        return structured_prompt("truths", context=reference_context)

    @staticmethod
    def generate_claims(assistant_output: str) -> str:
        return structured_prompt("claims", completion=assistant_output)

    @staticmethod
    def generate_verdicts(claims: list[str], reference_context: str) -> str:
        return structured_prompt("faithfulness", claims=claims, truths=reference_context)


def _a_verdict_on_each_claim() -> Check:
    """Return a check that there are as many verdicts as some window has claims.

    The windows are asked at the same time, so it is not known which of them an answer is about.
    """
    sizes = set[int]()

    def check(answer: BaseModel) -> str | None:
        claims, verdicts = getattr(answer, "claims", None), getattr(answer, "verdicts", None)
        if claims is not None:
            sizes.add(len(claims))
        if verdicts is not None and len(verdicts) not in sizes:
            return f"{len(verdicts)} verdicts for {' or '.join(map(str, sorted(sizes)))} claims"
        return None

    return check
