"""Forecast what judging will cost.

The forecast counts four characters as a token, because the tokenizers of paid models are not
available offline. It should be right within a factor of two, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from plugin.judges.asking import ANSWER_TOKENS, CHARS_PER_TOKEN, PRICES_AS_OF, Price
from plugin.judges.panel import Judging, ScoreItem
from plugin.judges.preferring import PreferenceItem
from plugin.trust.exam import Exam

_PROMPT_TOKENS = 450
"""Tokens of DeepEval's own words in a question, on average."""

_PREFERENCE_TOKENS = 350
_REASONS_TOKENS = 120
"""Tokens of our own words in a question of which completion is better, and of its answer."""

_FACTOR = 2


class Forecast(NamedTuple):
    """Hold what one judge will be asked."""

    n_calls: int
    n_prompt_tokens: int
    n_completion_tokens: int


def forecast_text(
    missing: Sequence[ScoreItem | PreferenceItem], judging: Judging, exam: Exam | None = None
) -> str:
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


def forecast_calls(missing: Sequence[ScoreItem | PreferenceItem], include_reason: bool) -> Forecast:
    """Estimate calls and tokens of one judge; equal completions count once.

    Args:
        missing: the scores to make.
        include_reason: whether the judge is asked for the reason of a score.
    """
    seen = set()
    n_calls = n_read = n_written = 0
    for item in missing:
        spec, case = item.metric.spec, item.case
        texts = _texts_of(item)
        what = (spec.name, case.id, texts)
        if not spec.asks_judge or texts is None or what in seen:
            continue
        seen.add(what)
        n_questions = spec.n_questions + (include_reason and spec.asks_reason)
        n_calls += n_questions
        if spec.is_relative:  # every question shows all of it
            n_chars = sum(map(len, (*texts, *(turn.content for turn in case.messages))))
            n_read += n_questions * (_PREFERENCE_TOKENS + n_chars // CHARS_PER_TOKEN)
            n_written += n_questions * _REASONS_TOKENS
            continue
        n_chars = sum(map(len, (*texts, case.input, case.expected_text or "", *case.context)))
        n_read += n_questions * _PROMPT_TOKENS + n_chars // CHARS_PER_TOKEN
        n_written += n_questions * ANSWER_TOKENS + sum(map(len, texts)) // CHARS_PER_TOKEN
    return Forecast(n_calls, n_read, n_written)


def _texts_of(item: ScoreItem | PreferenceItem) -> tuple[str, ...] | None:
    """Return the completions that the judge reads; None if it is not asked."""
    if isinstance(item, PreferenceItem):
        return item.texts if item.is_asked else None
    if item.completion is None:
        return ()
    return (item.completion.text,) if item.completion.text.strip() else None
