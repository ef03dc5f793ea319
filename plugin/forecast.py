"""Forecast what judging will cost.

The forecast counts four characters as a token, because the tokenizers of paid models are not
available offline. It should be right within a factor of two, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from plugin.judges.asking import ANSWER_TOKENS, CHARS_PER_TOKEN, PRICES_AS_OF, Price
from plugin.judges.panel import Judging, ScoreItem
from plugin.trust.exam import Exam

_PROMPT_TOKENS = 450
"""Tokens of DeepEval's own words in a question, on average."""

_FACTOR = 2


class Forecast(NamedTuple):
    """Hold what one judge will be asked."""

    n_calls: int
    n_prompt_tokens: int
    n_completion_tokens: int


def forecast_text(missing: Sequence[ScoreItem], judging: Judging, exam: Exam | None = None) -> str:
    """Return the forecast in words; "" where no judge is asked."""
    asked = [judge for judge in judging.judges if not judge.structured]
    found = forecast_calls(missing, judging.include_reason)
    if not (asked and found.n_calls):
        return ""
    n_judges = len(asked)
    text = (
        f"judging: about {n_judges * found.n_calls:,} calls, "
        f"{n_judges * found.n_prompt_tokens:,} tokens to read and "
        f"{n_judges * found.n_completion_tokens:,} to write (estimated, within a factor of "
        f"{_FACTOR}; the same question is asked once)"
    )
    prices = [judging.ask_settings(judge).price for judge in asked]
    known = [price for price in prices if price]
    if len(known) < len(prices):
        text += "; cost unknown: give the judge's price with --judge_price"
    elif any(price != Price(0, 0) for price in known):
        cost = sum(p.cost(found.n_prompt_tokens, found.n_completion_tokens) for p in known)
        at = "your price" if judging.price else f"prices of {PRICES_AS_OF}"
        text += f"; {cost / _FACTOR:.2f} to {cost * _FACTOR:.2f} dollars at {at}"
    if exam:
        n_more = n_judges * exam.n_questions_at_most
        text += f"; examining the judge takes up to {n_more:,} calls more"
    return text + ("; the second judge comes on top" if judging.second else "")


def forecast_calls(missing: Sequence[ScoreItem], include_reason: bool) -> Forecast:
    """Estimate calls and tokens of one judge; equal completions count once.

    Args:
        missing: the scores to make.
        include_reason: whether the judge is asked for the reason of a score.
    """
    seen = set()
    n_calls = n_read = n_written = 0
    for item in missing:
        spec, case = item.metric.spec, item.case
        text = item.completion.text if item.completion else ""
        what = (spec.name, case.id, text)
        if not spec.asks_judge or what in seen or (item.completion and not text.strip()):
            continue
        seen.add(what)
        n_questions = spec.n_questions + (include_reason and spec.asks_reason)
        texts = (text, case.input, case.expected_text or "", *case.context)
        n_chars = sum(map(len, texts))
        n_calls += n_questions
        n_read += n_questions * _PROMPT_TOKENS + n_chars // CHARS_PER_TOKEN
        n_written += n_questions * ANSWER_TOKENS + len(text) // CHARS_PER_TOKEN
    return Forecast(n_calls, n_read, n_written)
