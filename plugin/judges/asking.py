"""Asking a judge: bounded, retried, validated, and never twice for the same question.

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
"""One ask, and up to two more for an answer that does not fit."""

_MORE_ROOM = 4
"""Times the usual room, for the answer that follows one that was cut off."""

_SAMPLING = "temperature 0"
_LONGEST_QUOTE = 2_000

N_LOST_UNTIL_DOWN = 10
"""Questions in a row that no server answered, after which a judge that once answered is down."""

N_FAILED_UNTIL_HOPELESS = 20
"""Failed questions after which a judge that never gave a fitting answer is given up."""


@dataclass(frozen=True, slots=True)
class AskSettings:
    """How a judge is asked.

    Attributes:
        concurrency: calls at once, to begin with.
        timeout_s: after so many seconds a call is given up.
        adaptive: whether the number of calls follows what the server can take.
        include_reason: whether metrics ask for the reason of a score besides.
        price: of this judge's tokens; None where it is not known.
    """

    concurrency: int
    timeout_s: float
    adaptive: bool = False
    include_reason: bool = True
    price: Price | None = None


class Asker:
    """Asks one judge on behalf of the metrics.

    Every answer is validated against its schema and the metric's own check before it counts, and
    kept in the journal. The same question is asked once, however many completions raise it.

    Attributes:
        structured: see `plugin.metrics.Ask`.
        include_reason: see `plugin.metrics.Ask`.
        label: the judge's.
        concurrency: how many calls are under way at once.
        counts: calls, tokens, cached answers, further asks, repairs and tries of this session.
        cost: dollars of this session; 0 where the price is not known.
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
        self._n_lost: int | None = None  # calls lost in a row; None until the judge first answers
        self._n_failed: int | None = 0  # questions so far; None once the judge has answered well

    @property
    def calls(self) -> JudgeCalls:
        """Return what this session took."""
        return JudgeCalls(**self.counts, cost=self.cost)

    async def close(self) -> None:
        """Drop what is under way and release the judge's connections."""
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
            schema: of the answer.
            check: what the answer must meet besides.
            repeat: asks for another judgment of the same question: each number has its own.

        Raises:
            CallError: when no fitting answer could be had for this question.
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
        # Others may wait for the same answer: one who gives up must not take it from them.
        answer = await asyncio.shield(task)
        if not isinstance(answer, schema):  # two metrics may ask the same with schemas of their own
            answer = schema.model_validate(answer.model_dump())
        problem = check(answer)  # also lets every asker's own check learn from the answer
        if problem:
            raise CallError(f"the answer to the same question elsewhere does not fit: {problem}")
        return answer

    def _forget(self, key: str, task: asyncio.Task[BaseModel]) -> None:
        self._under_way.pop(key, None)
        if not task.cancelled():
            task.exception()  # seen, even when nobody waits for it any more

    def _judgment_key(self, prompt: str, schema: type[BaseModel], repeat: int) -> str:
        """Return the judgment's content key; all but the prompt is hashed once per schema."""
        start = self._key_starts.get((schema, repeat))
        if start is None:
            which = (repeat,) if repeat else ()  # the first judgment's key is older than repeats
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
        error = CallError(f"no fitting answer in {n_asks} asks: {problem}; got {got}")
        self._note_failure(error)
        raise error

    async def _call_judge(self, prompt: str, schema: type[BaseModel], room: int) -> Answer:
        """Return the judge's answer, tried again while that may help."""

        async def call() -> Answer:
            self._meter.count_call()
            self.counts["n_calls"] += 1
            return await self._judge.ask(prompt, schema, room)

        # A judge that is out of quota says the same as a busy one: more tries would not help it.
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
        """Count a question that no server answered.

        Raises:
            JudgeDownError: when that was the first question, or one of many in a row.
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
            "kept; start the judge's server (or check its address) and resume"
        ) from error

    def _note_failure(self, error: CallError) -> None:
        """Count a failed question; a judge that never gave a fitting answer is given up.

        Raises:
            JudgeDownError: when it has failed `N_FAILED_UNTIL_HOPELESS` questions.
        """
        if self._n_failed is None:
            return
        self._n_failed += 1
        if self._n_failed >= N_FAILED_UNTIL_HOPELESS:
            raise JudgeDownError(
                f"the judge {self._judge.label} failed {N_FAILED_UNTIL_HOPELESS} questions and "
                f"answered none well, last: {error}. Everything made so far is kept; fix or "
                "change the judge"
            ) from error


PRICES_AS_OF = "2025-12"
"""Prices change; the user's own (--judge_price) go before the table."""

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
"""Model -> US dollars per million tokens, prompt and completion, at the providers' standard rate. A
dated release of a model ("gpt-4o-2024-08-06") has its price."""

_MILLION = 1_000_000


class Price(NamedTuple):
    """US dollars per million tokens."""

    prompt: float
    completion: float

    def cost(self, n_prompt_tokens: float, n_completion_tokens: float) -> float:
        """Return what so many tokens cost, in dollars."""
        cost = self.prompt * n_prompt_tokens + self.completion * n_completion_tokens
        return cost / _MILLION


def list_prices() -> list[tuple[str, Price]]:
    """Return the models whose price is known, with it."""
    return [(model, Price(*price)) for model, price in _LIST_PRICES.items()]


def price_of(label: str, own_price: tuple[float, ...] = ()) -> Price | None:
    """Return a judge's price.

    Args:
        label: the judge's spec.
        own_price: the user's own price, prompt and completion; () for the table's.

    Returns:
        None where it is not known; nothing for a judge that runs on one's own machine.
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
    """How much judging may take, over all sessions of the run; 0 is without limit.

    Attributes:
        max_calls: calls to the judges.
        budget: dollars.
        deadline_s: seconds of this session.
    """

    max_calls: int = 0
    budget: float = 0.0
    deadline_s: float = 0.0


class SpendMeter:
    """Counts calls and dollars of all judges together, and says when a limit is reached.

    Attributes:
        n_calls: so far, with earlier sessions.
        cost: dollars so far, with earlier sessions; of judges whose price is known.
    """

    def __init__(self, limits: SpendLimits, n_calls: int = 0, cost: float = 0.0) -> None:
        """Begin with what earlier sessions took."""
        self.n_calls = n_calls
        self.cost = cost
        self._limits = limits
        self._began_s = time.monotonic()

    def count_call(self) -> None:
        """Count a call that is about to be made.

        Raises:
            LimitReached: when it may not.
        """
        limits = self._limits
        if limits.max_calls and self.n_calls >= limits.max_calls:
            raise LimitReached(f"--max_calls {limits.max_calls} is reached")
        if limits.budget and self.cost >= limits.budget:
            raise LimitReached(f"--budget {limits.budget:g} is spent ({self.cost:.4f} dollars)")
        if limits.deadline_s and time.monotonic() - self._began_s > limits.deadline_s:
            raise LimitReached(f"--deadline_s {limits.deadline_s:g} is over")
        self.n_calls += 1
