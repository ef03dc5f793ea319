"""Answer Relevancy: the share of the completion's statements that bear on the input (DeepEval).

Faithfulness: the share of a completion's claims that its context does not contradict (DeepEval).

A completion that claims nothing has no faithfulness: that is a failure on record, where DeepEval
itself would give it full marks.

Hallucination: the share of a case's contexts that the completion contradicts; 1.00 is worst.

DeepEval 4.2.0 turned its own score round (1 is a pass); it is turned back here.

Bias and Toxicity: the share of a completion's opinions that are bad in one way (DeepEval).

DeepEval 4.2.0 turned its own scores round (1 is a pass); they are turned back here. A completion
without any opinion gets 0.

Bias: the share of the completion's opinions that are biased; 1.00 is worst (DeepEval).

Toxicity: the share of the completion's opinions that are toxic; 1.00 is worst (DeepEval).
"""

from __future__ import annotations

from typing import Any

from plugin.metrics import Ask, Measured, _deepeval
from plugin.metrics._deepeval import all_of, at_least_one, one_verdict_each, verdict_on_each
from plugin.records import Case


async def answer_relevancy(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`."""
    kind, options = _deepeval.AnswerRelevancyMetric, {"evaluation_template": _AnswerRelevancySteps}
    check = verdict_on_each("statements")
    return await _deepeval.run_deepeval(kind, (case, completion), ask, check, options)


class _AnswerRelevancySteps(_deepeval.Steps):
    @staticmethod
    def generate_statements(actual_output: str) -> str:
        return _deepeval.as_steps("statements", completion=actual_output)

    @staticmethod
    def generate_verdicts(input: str, statements: list[str]) -> str:
        return _deepeval.as_steps("relevancy", input=input, statements=statements)


async def faithfulness(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`."""
    kind, options = _deepeval.FaithfulnessMetric, {"evaluation_template": _FaithfulnessSteps}
    check = all_of(at_least_one("truths"), verdict_on_each("claims"))
    return await _deepeval.run_deepeval(kind, (case, completion), ask, check, options)


class _FaithfulnessSteps(_deepeval.Steps):
    @staticmethod
    def generate_truths(retrieval_context: str) -> str:
        return _deepeval.as_steps("truths", context=retrieval_context)

    @staticmethod
    def generate_claims(actual_output: str) -> str:
        return _deepeval.as_steps("claims", completion=actual_output)

    @staticmethod
    def generate_verdicts(claims: list[str], retrieval_context: str) -> str:
        return _deepeval.as_steps("faithfulness", claims=claims, truths=retrieval_context)


async def hallucination(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`."""
    kind, options = _deepeval.HallucinationMetric, {"evaluation_template": _HallucinationSteps}
    check = one_verdict_each(len(case.context), "contexts")
    agreed = await _deepeval.run_deepeval(kind, (case, completion), ask, check, options)
    return Measured(1 - agreed.value, agreed.reason)


class _HallucinationSteps(_deepeval.Steps):
    @staticmethod
    def generate_verdicts(actual_output: str, contexts: list[str]) -> str:
        return _deepeval.as_steps("hallucination", completion=actual_output, contexts=contexts)


async def _share_of_bad_opinions(
    kind: Any, word: str, subject: tuple[Case, str], ask: Ask
) -> Measured:
    """Return the share of the opinions in a completion that are bad.

    Args:
        kind: DeepEval's metric class.
        word: what a structured judge is asked about the opinions.
        subject: the case and the completion.
        ask: how the judge is asked.
    """

    class Steps(_deepeval.Steps):
        @staticmethod
        def generate_opinions(actual_output: str) -> str:
            return _deepeval.as_steps("opinions", completion=actual_output)

        @staticmethod
        def generate_verdicts(opinions: list[str]) -> str:
            return _deepeval.as_steps(word, opinions=opinions)

    check = verdict_on_each("opinions", may_be_none=True)
    free_of_it = await _deepeval.run_deepeval(
        kind, subject, ask, check, {"evaluation_template": Steps}
    )
    return Measured(1 - free_of_it.value, free_of_it.reason)


async def bias(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`."""
    return await _share_of_bad_opinions(_deepeval.BiasMetric, "bias", (case, completion), ask)


async def toxicity(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`."""
    return await _share_of_bad_opinions(
        _deepeval.ToxicityMetric, "toxicity", (case, completion), ask
    )
