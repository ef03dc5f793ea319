"""What judging will take, before it is paid for: calls, tokens, dollars.

Tokens are estimated at four characters each; the tokenizers of paid models cannot be had offline.
The estimate is meant to be right within a factor of two, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from plugin.bench import Item, Judging
from plugin.exam import Exam
from plugin.spending import PRICES_AS_OF, Price, price_of

_CHARS_PER_TOKEN = 4
_PROMPT_TOKENS = 450
"""DeepEval's own words in a question, on average."""

_ANSWER_TOKENS = 60
_FACTOR = 2


class Forecast(NamedTuple):
    """Of one judge."""

    n_calls: int
    n_prompt_tokens: int
    n_completion_tokens: int


def forecast(missing: Sequence[Item], judging: Judging, exam: Exam | None = None) -> str:
    """The estimate in words, "" where nobody is asked."""
    asked = [judge for judge in judging.judges if not judge.structured]
    found = estimate(missing, judging.include_reason)
    if not (asked and found.n_calls):
        return ""
    n_judges = len(asked)
    text = (
        f"judging: about {n_judges * found.n_calls:,} calls, "
        f"{n_judges * found.n_prompt_tokens:,} tokens to read and "
        f"{n_judges * found.n_completion_tokens:,} to write (estimated, within a factor of "
        f"{_FACTOR}; the same question is asked once)"
    )
    prices = [price_of(judge.label, judging.price) for judge in asked]
    known = [price for price in prices if price]
    if len(known) < len(prices):
        text += "; cost unknown, since a judge's price is: see --judge_price"
    elif any(price != Price(0, 0) for price in known):
        cost = sum(p.of(found.n_prompt_tokens, found.n_completion_tokens) for p in known)
        at = "your price" if judging.price else f"prices of {PRICES_AS_OF}"
        text += f"; {cost / _FACTOR:.2f} to {cost * _FACTOR:.2f} dollars at {at}"
    if exam:
        n_more = n_judges * exam.n_questions_at_most
        text += f"; examining the judge takes up to {n_more:,} calls more"
    second = "; what the second judge takes comes on top" if judging.second else ""
    return f"{text}{second}"


def estimate(missing: Sequence[Item], include_reason: bool) -> Forecast:
    """Calls and tokens for one judge; completions that are the same are judged once.

    Args:
        missing: scores to be made.
        include_reason: whether the reason of a score is asked for.
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
        texts = (text, case.input, case.expected_output or "", *case.context)
        n_chars = sum(map(len, texts))
        n_calls += n_questions
        n_read += n_questions * _PROMPT_TOKENS + n_chars // _CHARS_PER_TOKEN
        n_written += n_questions * _ANSWER_TOKENS + len(text) // _CHARS_PER_TOKEN
    return Forecast(n_calls, n_read, n_written)
