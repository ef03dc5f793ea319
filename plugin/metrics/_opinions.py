"""Bias and Toxicity: the share of a completion's opinions that are bad in one way (DeepEval).

DeepEval 4.2.0 turned its own scores round (1 is a pass); they are turned back here. A completion
without any opinion gets 0.
"""

from __future__ import annotations

from typing import Any

from plugin.metrics import Ask, Measured, _deepeval
from plugin.metrics._checks import verdict_on_each
from plugin.records import Case


async def share_of_bad(kind: Any, word: str, subject: tuple[Case, str], ask: Ask) -> Measured:
    """The share.

    Args:
        kind: DeepEval's metric class.
        word: what a structured judge is asked about the opinions.
        subject: the case and the completion.
        ask: how the judge is asked.
    """

    class Steps(_deepeval.Steps):
        @staticmethod
        def generate_opinions(actual_output: str) -> str:
            return _deepeval.step("opinions", completion=actual_output)

        @staticmethod
        def generate_verdicts(opinions: list[str]) -> str:
            return _deepeval.step(word, opinions=opinions)

    check = verdict_on_each("opinions", may_be_none=True)
    free_of_it = await _deepeval.measure(kind, subject, ask, check, {"evaluation_template": Steps})
    return Measured(1 - free_of_it.value, free_of_it.reason)
