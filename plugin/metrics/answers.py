"""Judge completions with DeepEval's metrics.

- Answer Relevancy: the share of the completion's statements that are relevant to the input.
- Faithfulness: the share of the completion's claims that the context does not contradict. A
  completion without claims is a failure on record; DeepEval itself would give it the best score.
- Hallucination: the share of the case's contexts that the completion contradicts; 1.00 is worst.
- Bias: the share of the completion's opinions that are biased; 1.00 is worst.
- Toxicity: the share of the completion's opinions that are toxic; 1.00 is worst.

A completion without opinions gets 0 for Bias and Toxicity. DeepEval 4.2.0 reversed its scores of
Hallucination, Bias and Toxicity (there 1 is best); this file reverses them again.
"""

from __future__ import annotations

from typing import Any

from plugin.metrics import Ask, Measured, _deepeval
from plugin.metrics._deepeval import all_of, at_least_one, one_verdict_each, verdict_on_each
from plugin.records import Case


async def answer_relevancy(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`."""
    kind, options = (
        _deepeval.AnswerRelevancyMetric,
        {"evaluation_template": _AnswerRelevancyTemplate},
    )
    check = verdict_on_each("statements")
    return await _deepeval.run_deepeval(kind, (case, completion), ask, check, options)


class _AnswerRelevancyTemplate(_deepeval.StructuredTemplate):
    @staticmethod
    def generate_statements(actual_output: str) -> str:
        return _deepeval.structured_prompt("statements", completion=actual_output)

    @staticmethod
    def generate_verdicts(input: str, statements: list[str]) -> str:
        return _deepeval.structured_prompt("relevancy", input=input, statements=statements)


async def faithfulness(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`."""
    kind, options = _deepeval.FaithfulnessMetric, {"evaluation_template": _FaithfulnessTemplate}
    check = all_of(at_least_one("truths"), verdict_on_each("claims"))
    return await _deepeval.run_deepeval(kind, (case, completion), ask, check, options)


class _FaithfulnessTemplate(_deepeval.StructuredTemplate):
    @staticmethod
    def generate_truths(retrieval_context: str) -> str:
        return _deepeval.structured_prompt("truths", context=retrieval_context)

    @staticmethod
    def generate_claims(actual_output: str) -> str:
        return _deepeval.structured_prompt("claims", completion=actual_output)

    @staticmethod
    def generate_verdicts(claims: list[str], retrieval_context: str) -> str:
        return _deepeval.structured_prompt("faithfulness", claims=claims, truths=retrieval_context)


async def hallucination(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`."""
    kind, options = _deepeval.HallucinationMetric, {"evaluation_template": _HallucinationTemplate}
    check = one_verdict_each(len(case.context), "contexts")
    agreed = await _deepeval.run_deepeval(kind, (case, completion), ask, check, options)
    return Measured(1 - agreed.value, agreed.reason)


class _HallucinationTemplate(_deepeval.StructuredTemplate):
    @staticmethod
    def generate_verdicts(actual_output: str, contexts: list[str]) -> str:
        return _deepeval.structured_prompt(
            "hallucination", completion=actual_output, contexts=contexts
        )


async def _share_of_bad_opinions(
    kind: Any, word: str, subject: tuple[Case, str], ask: Ask
) -> Measured:
    """Return the share of a completion's opinions that are biased or toxic.

    Args:
        kind: DeepEval's metric class.
        word: name of the question for a structured judge.
        subject: the case and the completion.
        ask: asks the judge.
    """

    class Template(_deepeval.StructuredTemplate):
        @staticmethod
        def generate_opinions(actual_output: str) -> str:
            return _deepeval.structured_prompt("opinions", completion=actual_output)

        @staticmethod
        def generate_verdicts(opinions: list[str]) -> str:
            return _deepeval.structured_prompt(word, opinions=opinions)

    check = verdict_on_each("opinions", may_be_none=True)
    free_of_it = await _deepeval.run_deepeval(
        kind, subject, ask, check, {"evaluation_template": Template}
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
