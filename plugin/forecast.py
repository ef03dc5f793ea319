"""Forecast what judging will cost.

The forecast counts four characters as a token, because the tokenizers of paid models are not
available offline. It should be right within a factor of two, and says so.

Answers that the journal or the cache holds cost nothing. To count them, the metrics are run with a
judge that only looks there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from math import ceil
from typing import NamedTuple

from pydantic import BaseModel

from plugin.errors import CallError
from plugin.journal import Journal
from plugin.judges import Judge
from plugin.judges.asking import Asker
from plugin.judges.panel import Judging, ScoreItem
from plugin.judges.preferring import PreferenceItem
from plugin.judges.spending import (
    ANSWER_TOKENS,
    CHARS_PER_TOKEN,
    PRICES_AS_OF,
    Price,
    SpendLimits,
    SpendMeter,
)
from plugin.memorisation.by_judge import OtherWords, TrainedQuestion
from plugin.metrics import Ask, Check, Metric
from plugin.metrics.claims import pairs_asked
from plugin.metrics.running import MetricError, run_contrast, run_metric, run_preference
from plugin.trust.exam import Exam

_PROMPT_TOKENS = 450
"""Tokens of DeepEval's own words in a question, on average."""

_PREFERENCE_TOKENS = 350
_REASONS_TOKENS = 120
"""Tokens of our own words in a question of which completion is better, and of its answer."""

JSON_TOKENS = 10
"""Tokens of the JSON around a rephrased question."""

_FACTOR = 2


_MOST_LOOKED_UP = 1000
"""Scores whose answers are looked up; of more, a sample. Each takes about a millisecond."""


Item = ScoreItem | PreferenceItem


class Forecast(NamedTuple):
    """Hold what one judge will be asked, and how many of its answers are kept already."""

    n_calls: int
    n_prompt_tokens: int
    n_completion_tokens: int
    n_kept: int = 0

    def plus(self, other: Forecast) -> Forecast:
        """Return both together."""
        return Forecast(*(one + more for one, more in zip(self, other, strict=True)))

    def times(self, n: int) -> Forecast:
        """Return the same asked n times."""
        return Forecast(*(n * one for one in self))


def forecast_text(
    missing: Sequence[Item],
    judging: Judging,
    exam: Exam | None = None,
    journal: Journal | None = None,
    later: Sequence[Item] = (),
) -> str:
    """Return the forecast in words; "" where no judge is asked.

    Args:
        missing: the scores to make.
        judging: who judges.
        exam: follows the scores; None for none.
        journal: the run's, with its cache; None counts nothing as kept.
        later: scores like those that will be made afterwards, of which nothing is kept.
    """
    missing, later = ([one for item in some for one in item.singles] for some in (missing, later))
    asked = [judge for judge in judging.judges if not judge.structured]
    reason = judging.include_reason
    found = [
        forecast_calls(missing, reason, _count_kept(missing, judging, one, journal)).plus(
            forecast_calls(later, reason)
        )
        for one in asked
    ]
    if judging.n_repeats > 1:  # asked again without reasons, and nothing of it is kept
        again = forecast_calls([*missing, *later], include_reason=False)
        found = [one.plus(again.times(judging.n_repeats - 1)) for one in found]
    n_calls, n_kept = sum(one.n_calls for one in found), sum(one.n_kept for one in found)
    if not n_calls + n_kept:
        return ""
    if n_calls:
        text = _calls_text(found) + _cost_text(found, asked, judging)
    else:
        text = f"judging: nothing to pay, all {n_kept:,} answers are in the cache"
    if exam:
        n_run = (n_calls + n_kept) // len(asked)
        n_more = len(asked) * exam.n_questions_at_most(n_run)
        less = ", less what is in the cache" if n_kept else ""
        text += f"; examining the judge takes up to {n_more:,} calls more{less}"
    return text + ("; the second judge comes on top" if judging.second else "")


def forecast_rephrasing(
    questions: Sequence[TrainedQuestion], judging: Judging, journal: Journal
) -> str:
    """Return in words what it takes to have the first judge rephrase training questions.

    Args:
        questions: the training questions.
        judging: who is asked.
        journal: the run's, with its cache.
    """
    judge, kept = judging.judges[0], 0
    if journal.holds_judgments:
        asker = judging.asker(judge, journal, SpendMeter(SpendLimits(), journal))
        answers = (asker.kept_answer(one.prompt, OtherWords, one.check) for one in questions)
        kept = sum(answer is not None for answer in answers)
    share = 1 - kept / len(questions) if questions else 0.0
    n_read = share * sum(len(one.prompt) // CHARS_PER_TOKEN for one in questions)
    n_written = share * sum(JSON_TOKENS + len(one.text) // CHARS_PER_TOKEN for one in questions)
    found = [Forecast(len(questions) - kept, round(n_read), round(n_written), kept)]
    if not found[0].n_calls:
        return ""
    return _calls_text(found, "rephrasing training questions") + _cost_text(found, [judge], judging)


def forecast_writing(what: str, n_calls: int, n_read: int, n_written: int, judging: Judging) -> str:
    """Return in words what so many calls of the first judge take; nothing is in the cache."""
    found = [Forecast(n_calls, n_read, n_written, 0)]
    return _calls_text(found, what) + _cost_text(found, judging.judges[:1], judging)


def _calls_text(found: Sequence[Forecast], what: str = "judging") -> str:
    n_calls, n_read, n_written, n_kept = (sum(numbers) for numbers in zip(*found, strict=True))
    kept = f" ({n_kept:,} of {n_kept + n_calls:,} answers are in the cache)" if n_kept else ""
    return (
        f"{what}: about {n_calls:,} calls{kept}, {n_read:,} tokens to read and {n_written:,} to "
        f"write (estimated, within a factor of {_FACTOR}; the same question is asked once)"
    )


def _cost_text(found: Sequence[Forecast], asked: Sequence[Judge], judging: Judging) -> str:
    prices = [judging.ask_settings(judge).price for judge in asked]
    known = [(price, one) for price, one in zip(prices, found, strict=True) if price]
    if len(known) < len(prices):
        return "; cost unknown: give the judge's price with --judge_price"
    if all(price == Price(0, 0) for price, _ in known):
        return ""
    cost = sum(price.cost(one.n_prompt_tokens, one.n_completion_tokens) for price, one in known)
    at = "your price" if judging.price else f"prices of {PRICES_AS_OF}"
    return f"; {cost / _FACTOR:.2f} to {cost * _FACTOR:.2f} dollars at {at}"


Question = tuple[str, str, tuple[str, ...]]
"""Metric, case id and the completions that the judge reads: equal ones are judged once."""


def forecast_calls(
    missing: Sequence[Item],
    include_reason: bool,
    kept: Mapping[Question, float] | None = None,
) -> Forecast:
    """Estimate calls and tokens of one judge; equal completions count once.

    Args:
        missing: the scores to make.
        include_reason: whether the judge is asked for the reason of a score.
        kept: the share of the answers that are kept already; none where it does not say.
    """
    n_all = n_calls = n_read = n_written = 0.0
    for question, item in _distinct(missing).items():
        n_questions = _n_questions(item, include_reason)
        share_left = 1.0 - (kept or {}).get(question, 0.0)
        n_read_item, n_written_item = _tokens(item, question[2], n_questions)
        n_all += n_questions
        n_calls += share_left * n_questions
        n_read += share_left * n_read_item
        n_written += share_left * n_written_item
    return Forecast(round(n_calls), round(n_read), round(n_written), round(n_all - n_calls))


def _n_questions(item: Item, include_reason: bool) -> int:
    """Return how many questions the judge is asked about an item."""
    spec = item.metric.spec
    if spec.compares_samples and isinstance(item, ScoreItem):
        return len(pairs_asked(item.texts))
    return spec.questions_on(item.case) + (include_reason and spec.asks_reason)


def _tokens(item: Item, texts: tuple[str, ...], n_questions: int) -> tuple[int, int]:
    """Estimate the tokens to read and to write for an item's questions."""
    case = item.case
    if isinstance(item, PreferenceItem):  # every question shows all of it
        other = item.base_case.messages if case.follows and item.base_case else ()
        before = (*case.messages, *other)
        n_chars = sum(map(len, (*texts, *(turn.content for turn in before))))
        n_read = n_questions * (_PREFERENCE_TOKENS + n_chars // CHARS_PER_TOKEN)
        return n_read, n_questions * _REASONS_TOKENS
    n_chars = sum(map(len, (*texts, case.input, case.expected_text or "", *case.context)))
    if item.metric.spec.reads_conversation:  # in every question
        n_before = sum(len(turn.content) for turn in case.messages)
        n_chars += n_questions * n_before + (n_questions - 1) * sum(map(len, texts))
    n_written = n_questions * ANSWER_TOKENS + sum(map(len, texts)) // CHARS_PER_TOKEN
    return n_questions * _PROMPT_TOKENS + n_chars // CHARS_PER_TOKEN, n_written


def _distinct(missing: Sequence[Item]) -> dict[Question, Item]:
    """Return the items that a judge is asked for, each of equal ones once."""
    found: dict[Question, Item] = {}
    for item in missing:
        texts = _texts_of(item)
        if item.metric.spec.asks_judge and texts is not None:
            found.setdefault((item.metric.spec.name, item.case.id, texts), item)
    return found


def _texts_of(item: Item) -> tuple[str, ...] | None:
    """Return the completions that the judge reads; None if it is not asked."""
    if isinstance(item, PreferenceItem):
        return item.texts if item.is_asked else None
    if item.completion is None:
        return ()
    if item.metric.spec.compares_samples:
        return item.texts
    return (item.completion.text,) if item.completion.text.strip() else None


class _KeptAnswers:
    """Answer questions from journal and cache alone; see `plugin.metrics.Ask`."""

    def __init__(self, asker: Asker) -> None:
        self.structured, self.include_reason = asker.structured, asker.include_reason
        self.n_answered = 0
        self._asker = asker

    async def __call__(self, prompt: str, schema: type[BaseModel], check: Check) -> BaseModel:
        answer = self._asker.kept_answer(prompt, schema, check)
        if answer is None:
            raise CallError("not asked yet")
        self.n_answered += 1
        return answer


def _count_kept(
    missing: Sequence[Item], judging: Judging, judge: Judge, journal: Journal | None
) -> dict[Question, float]:
    """Return the share of each score's answers that journal or cache hold; a sample of many."""
    if journal is None or not journal.holds_judgments:
        return {}
    distinct = _distinct(missing)
    asker = judging.asker(judge, journal, SpendMeter(SpendLimits(), journal))
    known = journal.state.evaluation_steps
    step = ceil(len(distinct) / _MOST_LOOKED_UP) or 1
    sample = dict(list(distinct.items())[::step])
    found = asyncio.run(_look_up(sample, _KeptAnswers(asker), known, judging.include_reason))
    if step == 1:
        return found
    if all(share == 1 for share in found.values()):  # "all" must be true of all
        rest = {key: item for key, item in distinct.items() if key not in found}
        ask = _KeptAnswers(asker)
        return found | asyncio.run(_look_up(rest, ask, known, judging.include_reason))
    mean = sum(found.values()) / len(found)
    return {key: found.get(key, mean) for key in distinct}


async def _look_up(
    items: Mapping[Question, Item],
    ask: _KeptAnswers,
    known: Mapping[str, Sequence[str]],
    include_reason: bool,
) -> dict[Question, float]:
    ready: dict[str, Metric | None] = {}
    found = {}
    for question, item in items.items():
        name = item.metric.spec.name
        if name not in ready:
            ready[name] = await _prepare(item.metric, ask, known.get(name, ()))
        metric = ready[name]
        if metric is None:  # its steps are not written yet, so no question is known
            continue
        before = ask.n_answered
        try:
            await _run(metric, item, ask)
        except CallError:
            n_questions = _n_questions(item, include_reason)
            n_found = min(ask.n_answered - before, n_questions - 1)
            found[question] = n_found / n_questions
        except MetricError:  # its answers are there
            found[question] = 1.0
        else:
            found[question] = 1.0
    return found


async def _run(metric: Metric, item: Item, ask: Ask) -> None:
    """Ask what the item asks; in both orders where completions are compared."""
    if isinstance(item, PreferenceItem):
        texts = item.replies
        for one, other in (texts, texts[::-1]):
            await run_preference(metric, item.case, one, other, ask)
        return
    if metric.contrast:
        await run_contrast(metric, item.case, item.texts, ask)
        return
    await run_metric(metric, item.case, item.completion.text if item.completion else "", ask)


async def _prepare(metric: Metric, ask: _KeptAnswers, known: Sequence[str]) -> Metric | None:
    try:
        return await metric.prepare(ask, known) if metric.prepare else metric
    except CallError:
        return None
