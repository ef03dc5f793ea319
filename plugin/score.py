"""Make the scores that are missing, and forecast what judging will cost.

Each metric is called directly, not through `deepeval.evaluate()`: that one rewrites its result
cache after every case, so its cost per case grows with the number of cases, and it has no journal.

The forecast counts four characters as a token, because the tokenizers of paid models are not
available offline. It should be right within a factor of two, and says so.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from plugin.compare.early_stop import EarlyPlan, EarlyStopper
from plugin.errors import CallError, JudgeFailingError, LimitReached
from plugin.journal import Journal
from plugin.judges.asking import (
    ANSWER_TOKENS,
    CHARS_PER_TOKEN,
    PRICES_AS_OF,
    Asker,
    Price,
    SpendMeter,
)
from plugin.judges.panel import Judging, ScoreItem, overrule, pairs_in_doubt, score_item
from plugin.metrics import Metric, import_code
from plugin.records import Case, Completion, Failure, JudgeScore, MetricSpec, Score
from plugin.run_facts import SecondJudging
from plugin.trust.exam import Exam
from plugin.worker import Progress, Stage

_CHAINS_PER_CALL = 2
"""Scores in work for each call in work. A metric asks several questions one after another, so with
more scores than calls there is always a question ready to be asked."""

_LOOK_EVERY_S = 0.1
_WATCH_EVERY = 10
"""Scores between two checks whether the verdict is settled."""

_TRIED_BEFORE_STOPPING = 50
"""Scores to try before a failing judge may stop the run; fewer say little."""


def items_to_score(
    cases: Sequence[Case],
    answers: Iterable[Completion],
    metrics: Sequence[Metric],
    whole: Iterable[Completion] | None = None,
) -> list[ScoreItem]:
    """Return the scores to make, case by case, with all variants and metrics of a case together.

    Likelihood scores are left out: `plugin.generate` makes them with the completions. As the cases
    come in seeded order, a run that ends early has complete pairs and a fair sample.

    Args:
        cases: in the order of work.
        answers: completions without their thoughts.
        metrics: the run's.
        whole: completions with their thoughts, for metrics that read how a completion was made;
            None if these are the same as `answers`.
    """
    answers_of = _by_case(answers)
    whole_of = answers_of if whole is None else _by_case(whole)
    return [
        ScoreItem(case, completion, metric)
        for case in cases
        for metric in metrics
        if metric.spec.fits(case) and not metric.spec.needs_likelihood
        for completion in (
            [None]
            if metric.spec.judges_data
            else (whole_of if metric.describe else answers_of).get(case.id, list[Completion]())
        )
    ]


def _by_case(completions: Iterable[Completion]) -> dict[str, list[Completion]]:
    found: dict[str, list[Completion]] = {}
    for completion in completions:
        found.setdefault(completion.case_id, []).append(completion)
    return found


def missing_items(items: Sequence[ScoreItem], journal: Journal) -> list[ScoreItem]:
    """Return the items for which the journal has no score."""
    have = {(s.case_id, s.variant, s.metric) for s in journal.scores()}
    return [item for item in items if item.place not in have]


class RunningGain:
    """Follow the mean gain of one variant over another on one metric, pair by pair."""

    def __init__(self, spec: MetricSpec, base: str, variant: str) -> None:
        """Begin without a pair."""
        self._spec, self._base, self._variant = spec, base, variant
        self._half = dict[str, Score]()
        self._total, self._n = 0.0, 0

    def note(self, score: Score) -> float | None:
        """Take a score in; return the mean gain so far, None before the first pair."""
        names = (self._base, self._variant)
        if score.metric in (self._spec.key, self._spec.name) and score.variant in names:
            other = self._half.pop(score.case_id, None)
            if other is None:
                self._half[score.case_id] = score
            else:
                own, base = (score, other) if score.variant == self._variant else (other, score)
                self._total += self._spec.gain(own.value, base.value)
                self._n += 1
        return self._total / self._n if self._n else None


def score_all(
    items: Sequence[ScoreItem],
    judging: Judging,
    journal: Journal,
    progress: Progress,
    early: EarlyPlan | None = None,
    exam: Exam | None = None,
    gain: RunningGain | None = None,
) -> None:
    """Make every score that the journal does not have yet, and write each at once.

    A score that failed in an earlier session is tried again. When a limit of the user is reached,
    or the verdict is settled and the run may stop early, the rest is not scored. An exam of the
    judges, if there is one, follows the scores.

    Raises:
        JudgeError: when no call can succeed (wrong key, unknown model).
        JudgeDownError: when a judge does not answer at all.
        JudgeFailingError: when too many scores failed.
        Stopped: when the user stopped the run.
    """
    missing = missing_items(items, journal)
    exam = exam if exam and (missing or exam.is_due) else None
    if not (missing or judging.second or exam):
        return
    started = time.perf_counter()
    import_code({item.metric.spec.key: item.metric for item in items}.values())
    meter = SpendMeter(judging.limits, journal)
    session = _ScoringSession(judging, journal, progress, meter, gain)
    journal.save_state(replace(journal.state, halted=""))
    try:
        asyncio.run(session.work(items, missing, early, exam))
    finally:
        meter.save()
        journal.add_seconds("score", time.perf_counter() - started)


class _ScoringSession:
    """Score in one session of a run, and count what fails."""

    def __init__(
        self,
        judging: Judging,
        journal: Journal,
        progress: Progress,
        meter: SpendMeter,
        gain: RunningGain | None,
    ) -> None:
        self._gain = gain
        if gain:
            for score in journal.scores():
                progress.gain = gain.note(score)
        self._judging = judging
        self._journal = journal
        self._progress = progress
        self._askers = [judging.asker(judge, journal, meter) for judge in judging.judges]
        self._second = judging.asker(judging.second, journal, meter) if judging.second else None
        self._halted = ""
        self._n_lost = 0
        self._n_tried = 0
        self._n_failed = 0
        self._last_failure = ""

    async def work(
        self,
        items: Sequence[ScoreItem],
        missing: Sequence[ScoreItem],
        early: EarlyPlan | None,
        exam: Exam | None,
    ) -> None:
        """Score everything, until it is done, the verdict is settled, or a limit is reached."""
        try:
            ready = await self._prepare_metrics(items if exam else missing)
            watch = EarlyStopper(early) if early else None
            if watch:
                watch.note([*self._journal.scores(), *self._journal.failures()])
            self._progress.begin(Stage.SCORE, total=len(items), done=len(items) - len(missing))
            await self._score_all(items, missing, ready, watch)
            if self._second and not self._halted:
                await self._ask_second(items, self._second)
            if exam and not self._halted:
                await self._await_all(exam.work(ready, self._askers, self._progress))
        finally:
            askers = [*self._askers, *([self._second] if self._second else [])]
            await asyncio.gather(*(asker.close(self._progress.grace_s) for asker in askers))
            if self._halted:
                self._journal.save_state(replace(self._journal.state, halted=self._halted))

    async def _prepare_metrics(self, items: Sequence[ScoreItem]) -> dict[str, Metric | CallError]:
        """Return the metrics by name, ready to use: with evaluation steps where they need some.

        The first judge writes the steps, and the journal keeps them. If it fails, the error is
        returned in the metric's place.
        """
        metrics = {item.metric.spec.name: item.metric for item in items}
        known = self._journal.state.evaluation_steps
        ready: dict[str, Metric | CallError] = dict(metrics)

        async def prepare(name: str, metric: Metric) -> None:
            if metric.prepare:
                try:
                    ready[name] = await metric.prepare(self._askers[0], known.get(name, ()))
                except CallError as error:
                    ready[name] = CallError(f"the evaluation steps could not be written: {error}")
                except LimitReached as limit:  # then this session scores nothing
                    self._halted = str(limit)
                if name not in known:
                    self._progress.done += 1

        n_unwritten = sum(
            bool(metric.prepare) and name not in known for name, metric in metrics.items()
        )
        if n_unwritten:
            self._progress.begin(Stage.WRITE_STEPS, total=n_unwritten)
        await self._await_all([prepare(name, metric) for name, metric in metrics.items()])
        steps = {name: m.steps for name, m in ready.items() if isinstance(m, Metric) and m.steps}
        state = self._journal.state
        self._journal.save_state(replace(state, evaluation_steps={**known, **steps}))
        return ready

    async def _score_all(
        self,
        items: Sequence[ScoreItem],
        missing: Sequence[ScoreItem],
        ready: dict[str, Metric | CallError],
        watch: EarlyStopper | None,
    ) -> None:
        rest, n_made = deque(missing), 0
        n_asked = [sum(item.metric.spec.asks_judge for item in some) for some in (items, missing)]
        self._n_tried = n_asked[0] - n_asked[1]
        if watch and rest and watch.is_settled:
            self._journal.save_state(replace(self._journal.state, stopped_early=True))
            return

        async def chain(number: int) -> None:
            nonlocal n_made
            while rest and not self._halted:
                if number >= _CHAINS_PER_CALL * max(a.concurrency.limit for a in self._askers):
                    await asyncio.sleep(_LOOK_EVERY_S)  # earlier cases are finished first
                    continue
                item = rest.popleft()
                try:
                    result, shares = await score_item(
                        item, ready[item.metric.spec.name], self._askers
                    )
                except LimitReached as limit:
                    self._halted = str(limit)
                    return
                self._keep(result, shares, asked=item.metric.spec.asks_judge)
                n_made += 1
                self._check_failures()
                if watch:
                    watch.note([result])
                    if rest and n_made % _WATCH_EVERY == 0 and watch.is_settled:
                        self._journal.save_state(replace(self._journal.state, stopped_early=True))
                        rest.clear()
                # A metric without a judge never waits: let other tasks and a stop in.
                await asyncio.sleep(0)

        n_chains = _CHAINS_PER_CALL * max(asker.concurrency.most for asker in self._askers)
        await self._await_all([chain(number) for number in range(min(n_chains, len(missing)))])
        self._check_failures(at_the_end=True)

    def _keep(self, result: Score | Failure, shares: Sequence[JudgeScore], *, asked: bool) -> None:
        self._n_tried += asked
        if isinstance(result, Score):
            if self._second or len(self._askers) > 1:
                with self._journal.transaction():
                    for share in shares:
                        self._journal.add_judge_score(share)
                    self._journal.add_score(result)
            else:
                self._journal.add_score(result)
            if self._gain:
                self._progress.gain = self._gain.note(result)
        else:
            self._journal.add_failure(result)
            self._n_lost += 1
            self._progress.n_failed = self._n_lost
            self._progress.note = f"{self._n_lost} failed"
            if asked:  # else it is not the judge's failure
                self._n_failed += 1
                self._last_failure = result.reason
        self._progress.done += 1

    def _check_failures(self, at_the_end: bool = False) -> None:
        """Stop when the judge fails too often.

        Raises:
            JudgeFailingError: with the share, the last reason and the way out.
        """
        most, n_tried = self._judging.max_failed_share, self._n_tried
        if n_tried < _TRIED_BEFORE_STOPPING and not at_the_end:
            return
        if self._n_failed > most * n_tried:
            who = ", ".join(asker.label for asker in self._askers)
            raise JudgeFailingError(
                f"{self._n_failed} of {n_tried} scores failed under {who}, more than "
                f"--max_failed_share {most:g} allows, the last with: {self._last_failure}. "
                "Everything made so far is kept: fix or change the judge, or allow a larger share, "
                "then resume"
            )

    async def _ask_second(self, items: Sequence[ScoreItem], second: Asker) -> None:
        """Have the second judge score both sides of every pair of which the first is unsure."""
        places = {
            item.place: item
            for item in items
            if item.completion and item.metric.spec.asks_judge and item.metric.spec.decides
        }
        wanted = pairs_in_doubt(places, second.label, self._journal)
        told = {
            (one.case_id, one.variant, one.metric)
            for one in self._journal.judge_scores()
            if one.judge == second.label
        }
        missing = [pair for pair in wanted if not all(item.place in told for item in pair)]
        ready = await self._prepare_metrics([item for pair in missing for item in pair])
        n_done = len(wanted) - len(missing)
        self._progress.begin(Stage.ASK_SECOND_JUDGE, total=len(wanted), done=n_done)
        rest, n_failed = iter(missing), 0

        async def chain() -> None:
            nonlocal n_failed
            for pair in rest:
                metric = ready[pair[0].metric.spec.name]
                try:
                    found = [await score_item(item, metric, [second]) for item in pair]
                except LimitReached as limit:
                    self._halted = str(limit)
                    return
                scores = [result for result, _ in found if isinstance(result, Score)]
                if len(scores) == len(pair):
                    overrule(scores, second.label, self._journal)
                else:
                    n_failed += 1
                    self._progress.note = f"{n_failed} failed"
                self._progress.done += 1
                if self._halted:
                    return

        n_chains = _CHAINS_PER_CALL * second.concurrency.most
        await self._await_all([chain() for _ in range(min(n_chains, len(missing)))])
        n_pairs = len({(item.case.id, item.metric.spec.name) for item in places.values()})
        facts = SecondJudging(second.label, n_pairs, len(wanted), n_failed)
        self._journal.save_state(replace(self._journal.state, second_judge=facts))

    async def _await_all(self, work: Sequence[Coroutine[Any, Any, None]]) -> None:
        """Wait until all is done; the first error, or a stop, ends the wait."""
        tasks = {asyncio.create_task(each) for each in work}
        pending = tasks
        try:
            while pending:
                done, pending = await asyncio.wait(
                    pending, timeout=_LOOK_EVERY_S, return_when=asyncio.FIRST_EXCEPTION
                )
                for task in done:
                    task.result()
                self._progress.check()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


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
