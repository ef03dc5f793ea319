"""Ask a judge: limit and retry calls, validate answers, and never ask the same question twice.

`Asker` asks one judge on behalf of the metrics.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass
from functools import partial

from pydantic import BaseModel, ValidationError

from plugin.cache import Judgment, content_key
from plugin.errors import CallError, JudgeDownError, LimitReached, VerdictError, quote
from plugin.journal import Journal
from plugin.judges import Answer, Judge
from plugin.judges.parsing import Misfit, parse_answer, repair_answer
from plugin.judges.spending import ANSWER_TOKENS, CHARS_PER_TOKEN, Price, SpendMeter
from plugin.metrics import Ask, Check
from plugin.net import RetryRules, asks_for_long_wait, long_wait_text, retry
from plugin.pace import ConcurrencyLimit

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


class _AskAgain:
    """Ask every question anew, though it was asked before; see `plugin.metrics.Ask`."""

    def __init__(self, asker: Asker, repeat: int) -> None:
        self.structured = asker.structured
        self.include_reason = False  # a reason of its own would cost one more question
        self._asker, self._repeat = asker, repeat

    async def __call__(self, prompt: str, schema: type[BaseModel], check: Check) -> BaseModel:
        """Return the judge's answer to the question with this number."""
        return await self._asker(prompt, schema, check, self._repeat)


class Asker:
    """Asks one judge on behalf of the metrics.

    Every answer is validated against its schema and the metric's own check, and then kept in the
    journal. A question is asked only once, even if several completions lead to the same question.

    Attributes:
        structured: see `plugin.metrics.Ask`.
        include_reason: see `plugin.metrics.Ask`.
        label: the judge's label.
        concurrency: limit on the number of calls at once.
    """

    def __init__(
        self, judge: Judge, journal: Journal, settings: AskSettings, meter: SpendMeter
    ) -> None:
        self.structured = judge.structured
        self.include_reason = settings.include_reason
        self.label = judge.label
        self.concurrency = ConcurrencyLimit(settings.concurrency, adaptive=settings.adaptive)
        self._judge = judge
        self._journal = journal
        self._settings = settings
        self._meter = meter
        self._key_starts: dict[tuple[type[BaseModel], int], hashlib._Hash] = {}
        self._under_way: dict[str, asyncio.Task[BaseModel]] = {}
        self._in_flight = set[asyncio.Task[object]]()  # those of them that wait for the judge
        self._is_closing = False
        self._ended: VerdictError | None = None  # why no call can succeed any more
        self._n_answers, self._cost = 0, 0.0  # of this session
        self._n_lost: int | None = None  # unanswered in a row; None until the judge first answers
        self._n_failed: int | None = 0  # failed questions; None after the first fitting answer

    async def close(self, wait_s: float = 0.0) -> None:
        """Begin no more calls, and release the judge's connections.

        Args:
            wait_s: how long to wait for the answers of calls in flight, which are kept.
        """
        self._is_closing = True
        if self._in_flight and wait_s > 0:
            await asyncio.wait(self._in_flight, timeout=wait_s)
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
        kept = self._kept_answer(key, schema, check)
        if kept is not None:
            self._meter.counts["n_cached"] += 1
            return kept
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

    def at(self, repeat: int) -> Ask:
        """Return what asks the same questions anew for this number, without reasons; 0: itself."""
        return _AskAgain(self, repeat) if repeat else self

    def kept_answer(
        self, prompt: str, schema: type[BaseModel], check: Check, repeat: int = 0
    ) -> BaseModel | None:
        """Return the answer that journal or cache hold; None if there is none that fits."""
        return self._kept_answer(self._judgment_key(prompt, schema, repeat), schema, check)

    def _kept_answer(self, key: str, schema: type[BaseModel], check: Check) -> BaseModel | None:
        kept = self._journal.judgment(key)
        if kept is None:
            return None
        try:
            answer = schema.model_validate_json(kept.answer)
        except ValidationError:  # a cache that was damaged or edited: the judge is asked again
            return None
        return answer if check(answer) is None else None

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
                self._meter.counts["n_repaired"] += isinstance(repaired, schema)
                answer = repaired or answer
            if not isinstance(answer, Misfit):
                judgment = Judgment(
                    answer=answer.model_dump_json(),
                    version=reply.version,
                    n_prompt_tokens=reply.n_prompt_tokens,
                    n_completion_tokens=reply.n_completion_tokens,
                    seconds=round(time.perf_counter() - started, 4),
                )
                add = partial(self._journal.add_judgment, key, judgment)
                await self._journal.commits.keep(add, self._meter.save)
                self._n_failed = None
                return answer
            problem = answer.problem
            self._meter.counts["n_unfit"] += 1
            self._meter.save()
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
        """Return the judge's answer; retry failed calls while a retry can help.

        What the answer took is counted, but not written yet.
        """

        async def call() -> Answer:
            self._check_open()
            task, cost = asyncio.current_task(), self._estimate_cost(prompt)
            await self._begin_call(cost)
            assert task
            self._in_flight.add(task)
            try:
                reply = await self._judge.ask(prompt, schema, room)
            except Exception as error:  # a call that is given up may be paid for all the same
                self._meter.end_call(-cost)
                self._meter.save()
                self._ended = error if isinstance(error, VerdictError) else self._ended
                raise
            finally:
                self._in_flight.discard(task)
            self._note_answer(reply, cost)
            return reply

        # A judge without quota looks like a busy one, so the number of retries stays limited.
        rules = RetryRules(timeout_s=self._settings.timeout_s)
        try:
            return await retry(call, self.concurrency, rules, self._count_retry)
        except CallError as error:
            try:
                self._note_loss(error)
                self._note_failure(error)
            except JudgeDownError as down:
                self._ended = down
                raise
            raise

    async def _begin_call(self, cost: float) -> None:
        """Count a call and write it into the journal, so that a killed run forgets none.

        Raises:
            LimitReached: when the user's limits allow no more calls, or the run ends.
        """
        self._meter.begin_call(cost)
        try:
            await self._journal.commits.keep(self._meter.save)
            self._check_open()  # the run may have ended meanwhile
        except BaseException:
            self._meter.take_back(cost)
            raise

    def _check_open(self) -> None:
        """Raise when no more calls may begin, because the judge failed for good or the run ends."""
        if self._ended:
            raise type(self._ended)(*self._ended.args)  # the same one twice would be its own cause
        if self._is_closing:
            raise LimitReached("the run ends")

    def _count_retry(self) -> None:
        self._check_open()
        self._meter.counts["n_retries"] += 1

    def _estimate_cost(self, prompt: str) -> float:
        """Return what a call will cost: as the others on average, or else by the prompt's length.

        Without a known price it is 0.
        """
        if self._n_answers:
            return self._cost / self._n_answers
        price = self._settings.price
        return price.cost(len(prompt) / CHARS_PER_TOKEN, ANSWER_TOKENS) if price else 0.0

    def _note_answer(self, reply: Answer, estimated_cost: float) -> None:
        n_read, n_written = reply.n_prompt_tokens, reply.n_completion_tokens
        cost = self._settings.price.cost(n_read, n_written) if self._settings.price else 0.0
        self._n_lost = 0
        self._n_answers += 1
        self._cost += cost
        self._meter.end_call(cost - estimated_cost, n_read, n_written)

    def _note_loss(self, error: CallError) -> None:
        """Count a question that the server did not answer.

        Raises:
            JudgeDownError: when no question was answered yet, or many in a row were not, or when
                the server wants no call for many minutes.
        """
        if asks_for_long_wait(error):
            who = f"the judge {self._judge.label}"
            raise JudgeDownError(long_wait_text(who, error)) from error
        if not error.unreachable:
            self._n_lost = 0
            return
        if self._n_lost is not None:
            self._n_lost += 1
            if self._n_lost < N_LOST_UNTIL_DOWN:
                return
        raise JudgeDownError(
            f"the judge {self._judge.label} does not answer: {error}. Start the judge's "
            "server (or check its address) and resume the run"
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
                f"{N_FAILED_UNTIL_HOPELESS} questions. Last error: {error}. Fix the judge, or "
                "choose another with --judge, and start again"
            ) from error
