"""Ask a judge: limit and retry calls, validate answers, and never ask the same question twice.

`Asker` asks one judge on behalf of the metrics.
`SpendMeter` counts calls and dollars of all judges and ends judging at the user's `SpendLimits`.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import BaseModel

from plugin.errors import CallError, JudgeDownError, LimitReached, quote
from plugin.journal import Journal, Judgment, content_key
from plugin.judges import PROVIDERS, Answer, Judge
from plugin.judges.parsing import Misfit, parse_answer, repair_answer
from plugin.metrics import Check
from plugin.net import ConcurrencyLimit, RetryRules, retry
from plugin.run_facts import JudgeCalls

N_ASKS = 3
"""Tries per question: the first, and up to two more when the answer does not fit."""

_MORE_ROOM = 4
"""Factor for the token limit after an answer that was cut off."""

_SAMPLING = "temperature 0"
_LONGEST_QUOTE = 2_000

N_LOST_UNTIL_DOWN = 10
"""A judge that answered before counts as down after this many unanswered questions in a row."""

N_FAILED_UNTIL_HOPELESS = 20
"""The run gives up a judge that failed this many questions and never gave a fitting answer."""


@dataclass(frozen=True, slots=True)
class AskSettings:
    """How a judge is asked.

    Attributes:
        concurrency: number of calls at once, at the start.
        timeout_s: seconds after which a call is given up.
        adaptive: whether the number of calls at once adapts to the server.
        include_reason: whether metrics also ask for the reason of a score.
        price: price of this judge's tokens; None when it is unknown.
    """

    concurrency: int
    timeout_s: float
    adaptive: bool = False
    include_reason: bool = True
    price: Price | None = None


class Asker:
    """Asks one judge on behalf of the metrics.

    Every answer is validated against its schema and the metric's own check, and then kept in the
    journal. A question is asked only once, even if several completions lead to the same question.

    Attributes:
        structured: see `plugin.metrics.Ask`.
        include_reason: see `plugin.metrics.Ask`.
        label: the judge's label.
        concurrency: limit on the number of calls at once.
        counts: calls, tokens, cached and unfit answers, repairs and retries of this session.
        cost: dollars of this session; 0 when the price is unknown.
    """

    def __init__(
        self, judge: Judge, journal: Journal, settings: AskSettings, meter: SpendMeter
    ) -> None:
        self.structured = judge.structured
        self.include_reason = settings.include_reason
        self.label = judge.label
        self.concurrency = ConcurrencyLimit(settings.concurrency, adaptive=settings.adaptive)
        self.counts: Counter[str] = Counter()
        self.cost = 0.0
        self._judge = judge
        self._journal = journal
        self._settings = settings
        self._meter = meter
        self._key_starts: dict[tuple[type[BaseModel], int], hashlib._Hash] = {}
        self._under_way: dict[str, asyncio.Task[BaseModel]] = {}
        self._n_lost: int | None = None  # unanswered in a row; None until the judge first answers
        self._n_failed: int | None = 0  # failed questions; None after the first fitting answer

    @property
    def calls(self) -> JudgeCalls:
        """Return the calls, tokens and dollars of this session."""
        return JudgeCalls(**self.counts, cost=self.cost)

    async def close(self) -> None:
        """Cancel open calls and release the judge's connections."""
        under_way = list(self._under_way.values())
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await self._judge.close()

    async def __call__(
        self, prompt: str, schema: type[BaseModel], check: Check, repeat: int = 0
    ) -> BaseModel:
        """Return the judge's answer, which fits the schema and passes the check.

        Args:
            prompt: the question.
            schema: the schema that the answer must fit.
            check: a further check that the answer must pass.
            repeat: asks the same question anew: every number gets its own answer.

        Raises:
            CallError: when the judge gave no fitting answer to this question.
            JudgeDownError: when the judge does not answer at all.
            LimitReached: when the user's limits allow no more calls.
        """
        key = self._judgment_key(prompt, schema, repeat)
        kept = self._journal.judgment(key)
        if kept is not None:
            answer = schema.model_validate_json(kept.answer)
            if check(answer) is None:
                self.counts["n_cached"] += 1
                return answer
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.create_task(self._ask_until_fitting(key, prompt, schema, check))
            self._under_way[key] = task
            task.add_done_callback(lambda task: self._forget(key, task))
        # Others may wait for the same answer: a cancelled caller must not cancel it for them.
        answer = await asyncio.shield(task)
        if not isinstance(answer, schema):  # two metrics may ask the same with different schemas
            answer = schema.model_validate(answer.model_dump())
        problem = check(answer)  # each caller's own check must see the answer
        if problem:
            raise CallError(f"the answer to the same question elsewhere does not fit: {problem}")
        return answer

    def _forget(self, key: str, task: asyncio.Task[BaseModel]) -> None:
        self._under_way.pop(key, None)
        if not task.cancelled():
            task.exception()  # retrieve it, or asyncio warns when nobody waits any more

    def _judgment_key(self, prompt: str, schema: type[BaseModel], repeat: int) -> str:
        """Return the judgment's content key; everything except the prompt is hashed only once."""
        start = self._key_starts.get((schema, repeat))
        if start is None:
            which = (repeat,) if repeat else ()  # keeps keys valid that are older than repeats
            about = content_key(self._judge.identity, schema.model_json_schema(), _SAMPLING, *which)
            start = self._key_starts[schema, repeat] = hashlib.sha256(about.encode())
        whole = start.copy()
        whole.update(prompt.encode("utf-8", "surrogatepass"))
        return whole.hexdigest()

    async def _ask_until_fitting(
        self, key: str, prompt: str, schema: type[BaseModel], check: Check
    ) -> BaseModel:
        problem, question, room, n_asks = "", prompt, 1, 0
        while n_asks < N_ASKS:
            n_asks += 1
            started = time.perf_counter()
            reply = await self._call_judge(question, schema, room)
            answer = parse_answer(reply, schema, check)
            if isinstance(answer, Misfit) and not answer.is_ambiguous:
                repaired = repair_answer(reply, schema, check)
                self.counts["n_repaired"] += isinstance(repaired, schema)
                answer = repaired or answer
            if not isinstance(answer, Misfit):
                judgment = Judgment(
                    answer=answer.model_dump_json(),
                    version=reply.version,
                    n_prompt_tokens=reply.n_prompt_tokens,
                    n_completion_tokens=reply.n_completion_tokens,
                    seconds=round(time.perf_counter() - started, 4),
                )
                self._journal.add_judgment(key, judgment)
                self._n_failed = None
                return answer
            problem = answer.problem
            self.counts["n_unfit"] += 1
            if reply.cut_off:
                room = _MORE_ROOM
                continue
            again = f"{prompt}\n\n{answer.request}"
            if answer.is_ambiguous and again == question:
                break
            question = again  # at temperature 0 the same question would get the same answer
        got = quote(reply.text, _LONGEST_QUOTE)
        error = CallError(f"no fitting answer in {n_asks} tries: {problem}; got {got}")
        self._note_failure(error)
        raise error

    async def _call_judge(self, prompt: str, schema: type[BaseModel], room: int) -> Answer:
        """Return the judge's answer; retry failed calls while a retry can help."""

        async def call() -> Answer:
            self._meter.count_call()
            self.counts["n_calls"] += 1
            return await self._judge.ask(prompt, schema, room)

        # A judge without quota looks like a busy one, so the number of retries stays limited.
        rules = RetryRules(timeout_s=self._settings.timeout_s)
        try:
            reply = await retry(call, self.concurrency, rules, self._count_retry)
        except CallError as error:
            self._note_loss(error)
            self._note_failure(error)
            raise
        self._note_answer(reply)
        return reply

    def _count_retry(self) -> None:
        self.counts["n_retries"] += 1

    def _note_answer(self, reply: Answer) -> None:
        self._n_lost = 0
        self.counts["n_prompt_tokens"] += reply.n_prompt_tokens
        self.counts["n_completion_tokens"] += reply.n_completion_tokens
        if self._settings.price:
            cost = self._settings.price.cost(reply.n_prompt_tokens, reply.n_completion_tokens)
            self.cost += cost
            self._meter.cost += cost

    def _note_loss(self, error: CallError) -> None:
        """Count a question that the server did not answer.

        Raises:
            JudgeDownError: when no question was answered yet, or many in a row were not.
        """
        if not error.unreachable:
            self._n_lost = 0
            return
        if self._n_lost is not None:
            self._n_lost += 1
            if self._n_lost < N_LOST_UNTIL_DOWN:
                return
        raise JudgeDownError(
            f"the judge {self._judge.label} does not answer: {error}. Everything made so far is "
            "kept; start the judge's server (or check its address) and resume the run"
        ) from error

    def _note_failure(self, error: CallError) -> None:
        """Count a failed question, unless the judge gave a fitting answer before.

        Raises:
            JudgeDownError: when it failed `N_FAILED_UNTIL_HOPELESS` questions and answered none.
        """
        if self._n_failed is None:
            return
        self._n_failed += 1
        if self._n_failed >= N_FAILED_UNTIL_HOPELESS:
            raise JudgeDownError(
                f"the judge {self._judge.label} gave no usable answer to "
                f"{N_FAILED_UNTIL_HOPELESS} questions. Last error: {error}. Everything made so far "
                "is kept; fix the judge, or choose another with --judge, and start again"
            ) from error


PRICES_AS_OF = "2025-12"
"""Prices change; the user's own price (--judge_price) overrides this table."""

_LIST_PRICES = {
    "gpt-4o-mini": (0.15, 0.60),
    "gpt-4o": (2.50, 10.00),
    "gpt-4.1-nano": (0.10, 0.40),
    "gpt-4.1-mini": (0.40, 1.60),
    "gpt-4.1": (2.00, 8.00),
    "gpt-5-nano": (0.05, 0.40),
    "gpt-5-mini": (0.25, 2.00),
    "gpt-5": (1.25, 10.00),
    "o4-mini": (1.10, 4.40),
    "o3": (2.00, 8.00),
    "claude-3-haiku": (0.25, 1.25),
    "claude-3-5-haiku": (0.80, 4.00),
    "claude-haiku-4-5": (1.00, 5.00),
    "claude-sonnet-4": (3.00, 15.00),
    "claude-opus-4-5": (5.00, 25.00),
    "claude-opus-4": (15.00, 75.00),
}
"""Model -> US dollars per million tokens, prompt and completion, at the provider's standard rate. A
dated release of a model ("gpt-4o-2024-08-06") has the same price."""

_MILLION = 1_000_000


class Price(NamedTuple):
    """US dollars per million tokens."""

    prompt: float
    completion: float

    def cost(self, n_prompt_tokens: float, n_completion_tokens: float) -> float:
        """Return the cost of these tokens, in dollars."""
        cost = self.prompt * n_prompt_tokens + self.completion * n_completion_tokens
        return cost / _MILLION


def list_prices() -> list[tuple[str, Price]]:
    """Return the models whose price is known, with it."""
    return [(model, Price(*price)) for model, price in _LIST_PRICES.items()]


def price_of(label: str, own_price: tuple[float, ...] = ()) -> Price | None:
    """Return a judge's price.

    Args:
        label: the judge's spec.
        own_price: the user's own price, prompt and completion; () to use the table.

    Returns:
        The price; zero for a judge that costs nothing, None when the price is unknown.
    """
    provider, _, model = label.partition(":")
    kind = PROVIDERS.get(provider.split(" ")[0])
    if kind and kind.is_free:
        return Price(0.0, 0.0)
    if own_price:
        return Price(*own_price)
    if provider not in ("openai", "anthropic"):
        return None
    known = [name for name in _LIST_PRICES if model == name or model.startswith(f"{name}-")]
    return Price(*_LIST_PRICES[max(known, key=len)]) if known else None


@dataclass(frozen=True, slots=True)
class SpendLimits:
    """Limits on judging; 0 means no limit.

    Attributes:
        max_calls: calls to the judges, over all sessions of the run.
        budget: dollars, over all sessions of the run.
        deadline_s: seconds, in this session.
    """

    max_calls: int = 0
    budget: float = 0.0
    deadline_s: float = 0.0


class SpendMeter:
    """Counts calls and dollars of all judges together, and stops at a limit.

    Attributes:
        n_calls: calls so far, including earlier sessions.
        cost: dollars so far, including earlier sessions; only for judges with a known price.
    """

    def __init__(self, limits: SpendLimits, n_calls: int = 0, cost: float = 0.0) -> None:
        """Start from the counts of earlier sessions."""
        self.n_calls = n_calls
        self.cost = cost
        self._limits = limits
        self._began_s = time.monotonic()

    def count_call(self) -> None:
        """Count a call before it is made.

        Raises:
            LimitReached: when a limit does not allow it.
        """
        limits = self._limits
        if limits.max_calls and self.n_calls >= limits.max_calls:
            raise LimitReached(f"--max_calls {limits.max_calls} is reached")
        if limits.budget and self.cost >= limits.budget:
            raise LimitReached(f"--budget {limits.budget:g} is spent ({self.cost:.4f} dollars)")
        if limits.deadline_s and time.monotonic() - self._began_s > limits.deadline_s:
            raise LimitReached(f"--deadline_s {limits.deadline_s:g} is over")
        self.n_calls += 1
