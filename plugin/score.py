"""Make the scores that are missing.

Each metric is called directly, not through `deepeval.evaluate()`: that one rewrites its result
cache after every case, so its cost per case grows with the number of cases, and it has no journal.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from plugin.compare.early_stop import EarlyPlan, EarlyStopper
from plugin.compare.pairs import Contrast
from plugin.compare.relative import combine, combine_all, place_of
from plugin.compare.running_gain import RunningGain
from plugin.errors import CallError, JudgeFailingError, LimitReached
from plugin.journal import Journal
from plugin.judges.asking import Asker
from plugin.judges.panel import Judging, ScoreItem, overrule, pairs_in_doubt
from plugin.judges.preferring import PreferenceItem, preferences_in_doubt
from plugin.judges.sampled import CaseScore, prefer_samples, score_samples
from plugin.judges.spending import SpendMeter
from plugin.metrics import Metric, import_code
from plugin.pace import await_all
from plugin.records import (
    Case,
    Completion,
    Failure,
    Preference,
    Score,
)
from plugin.run_facts import SecondJudging
from plugin.trust.exam import Exam
from plugin.worker import Progress, Stage, libraries_left_alone

_CHAINS_PER_CALL = 2
"""Scores in work for each call in work. A metric asks several questions one after another, so with
more scores than calls there is always a question ready to be asked."""

_LOOK_EVERY_S = 0.1
_WATCH_EVERY = 10
"""Scores between two checks whether the verdict is settled."""

Item = ScoreItem | PreferenceItem
Result = Score | Preference | Failure

_TRIED_BEFORE_STOPPING = 50
"""Scores to try before a failing judge may stop the run; fewer say little."""


def items_to_score(
    cases: Sequence[Case],
    answers: Iterable[Completion],
    metrics: Sequence[Metric],
    whole: Iterable[Completion] | None = None,
    pairs: Sequence[Contrast] = (),
) -> list[Item]:
    """Return the scores to make, case by case, with all variants and metrics of a case together.

    Likelihood scores are left out: `plugin.generate` makes them with the completions. As the cases
    come in seeded order, a run that ends early has complete pairs and a fair sample.

    Args:
        cases: in the order of work.
        answers: completions without their thoughts; of a case and variant there may be several.
        metrics: the run's.
        whole: completions with their thoughts, for metrics that read how a completion was made;
            None if these are the same as `answers`.
        pairs: whose completions are compared, for metrics that compare two.
    """
    answers_of = _by_case(answers)
    whole_of = answers_of if whole is None else _by_case(whole)
    items = list[Item]()
    for case in cases:
        for metric in metrics:
            own = (whole_of if metric.describe else answers_of).get(case.id, {})
            if not metric.spec.fits(case) or metric.spec.needs_likelihood:
                continue
            if metric.spec.is_relative:
                items += _pair_items(case, own, metric, pairs)
            else:
                if metric.spec.judges_data:
                    items.append(ScoreItem(case, None, metric))
                    continue
                items += [
                    ScoreItem(case, first, metric, tuple(later)) for first, *later in own.values()
                ]
    return items


def _pair_items(
    case: Case, made: Mapping[str, Sequence[Completion]], metric: Metric, pairs: Sequence[Contrast]
) -> list[PreferenceItem]:
    """Return the pairs of completions of which both are there, sample by sample."""
    items = []
    for variant, baseline in pairs:
        bases = {one.sample: one for one in made.get(baseline, ())}
        both = [(one, bases[one.sample]) for one in made.get(variant, ()) if one.sample in bases]
        if both:
            items.append(PreferenceItem(case, *both[0], metric, tuple(both[1:])))
    return items


def _by_case(completions: Iterable[Completion]) -> dict[str, dict[str, list[Completion]]]:
    """Return the completions by case and variant, in the order of their samples."""
    found: dict[str, dict[str, list[Completion]]] = {}
    for completion in completions:
        of_case = found.setdefault(completion.case_id, {})
        of_case.setdefault(completion.variant, []).append(completion)
    return found


def missing_items(items: Sequence[Item], journal: Journal) -> list[Item]:
    """Return the items for which the journal has no score or preference."""
    have: set[tuple[str, ...]] = {(s.case_id, s.variant, s.metric) for s in journal.scores()}
    have |= {place_of(preference) for preference in journal.preferences()}
    return [item for item in items if item.place not in have]


def _results(journal: Journal) -> list[Score | Preference]:
    """Return everything scored so far; what several judges said of one pair is one preference."""
    return [*journal.scores(), *combine_all(journal.preferences()).values()]


def score_all(
    items: Sequence[Item],
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
        with libraries_left_alone():
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
            for result in _results(journal):
                progress.gain = gain.note(result)
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
        items: Sequence[Item],
        missing: Sequence[Item],
        early: EarlyPlan | None,
        exam: Exam | None,
    ) -> None:
        """Score everything, until it is done, the verdict is settled, or a limit is reached."""
        try:
            ready = await self._prepare_metrics(items if exam else missing)
            watch = EarlyStopper(early) if early else None
            if watch:
                watch.note([*_results(self._journal), *self._journal.failures()])
            self._progress.begin(Stage.SCORE, total=len(items), done=len(items) - len(missing))
            await self._score_all(items, missing, ready, watch)
            if self._second and not self._halted:
                await self._ask_second(items, self._second)
            if exam and not self._halted:
                await await_all(
                    exam.work(ready, self._askers, self._progress), self._progress.check
                )
        finally:
            askers = [*self._askers, *([self._second] if self._second else [])]
            await asyncio.gather(*(asker.close(self._progress.grace_s) for asker in askers))
            if self._halted:
                self._journal.save_state(replace(self._journal.state, halted=self._halted))

    async def _prepare_metrics(self, items: Sequence[Item]) -> dict[str, Metric | CallError]:
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
        await await_all(
            [prepare(name, metric) for name, metric in metrics.items()], self._progress.check
        )
        steps = {name: m.steps for name, m in ready.items() if isinstance(m, Metric) and m.steps}
        state = self._journal.state
        self._journal.save_state(replace(state, evaluation_steps={**known, **steps}))
        return ready

    async def _score_all(
        self,
        items: Sequence[Item],
        missing: Sequence[Item],
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
                    result = await self._work(item, ready[item.metric.spec.name])
                except LimitReached as limit:
                    self._halted = str(limit)
                    return
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
        await await_all(
            [chain(number) for number in range(min(n_chains, len(missing)))], self._progress.check
        )
        self._check_failures(at_the_end=True)

    @property
    def _has_several(self) -> bool:
        """Return whether the journal must say which judge gave what."""
        return bool(self._second) or len(self._askers) > 1

    async def _work(self, item: Item, metric: Metric | CallError) -> Result:
        """Make one score or preference, and write it.

        Raises:
            LimitReached: when the user's limits allow no more calls.
        """
        result: Result
        if isinstance(item, PreferenceItem):
            found = await prefer_samples(
                item, metric, self._askers, named=self._has_several, n_repeats=self._n_repeats
            )
            if isinstance(found, Failure):
                result = found
            else:
                self._journal.add_preferences(found)
                result = combine(found)
        else:
            scored = await score_samples(item, metric, self._askers, self._n_repeats)
            if isinstance(scored, Failure):
                result = scored
            else:
                await self._journal.commits.keep(partial(self._keep_score, scored))
                result = scored.score
        self._count(result, asked=item.metric.spec.asks_judge)
        return result

    @property
    def _n_repeats(self) -> int:
        return self._judging.n_repeats

    def _keep_score(self, scored: CaseScore) -> None:
        for share in scored.shares if self._has_several else ():
            self._journal.add_judge_score(share)
        self._journal.add_sample_scores(scored.samples)
        self._journal.add_score(scored.score)

    def _count(self, result: Result, *, asked: bool) -> None:
        """Count a result, and write it if it is a failure."""
        self._n_tried += asked
        if not isinstance(result, Failure):
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
                "Fix or change the judge, or allow a larger share, then resume"
            )

    async def _ask_second(self, items: Sequence[Item], second: Asker) -> None:
        """Have the second judge look at every pair of which the first is unsure."""
        scored = {
            item.place: item
            for item in items
            if isinstance(item, ScoreItem) and item.completion and item.metric.spec.decides
            if item.metric.spec.asks_judge
        }
        compared = {item.place: item for item in items if isinstance(item, PreferenceItem)}
        rows = self._journal.all_preferences()
        wanted: list[Sequence[Item]] = [
            *pairs_in_doubt(scored, second.label, self._journal),
            *([item] for item in preferences_in_doubt(compared, rows, second.label)),
        ]
        told: set[tuple[str, ...]] = {place_of(row) for row in rows if row.judge == second.label}
        told |= {
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
                try:
                    is_done = await self._overrule(pair, ready, second)
                except LimitReached as limit:
                    self._halted = str(limit)
                    return
                if not is_done:
                    n_failed += 1
                    self._progress.note = f"{n_failed} failed"
                self._progress.done += 1
                if self._halted:
                    return

        n_chains = _CHAINS_PER_CALL * second.concurrency.most
        await await_all([chain() for _ in range(min(n_chains, len(missing)))], self._progress.check)
        n_pairs = len({(item.case.id, item.metric.spec.name) for item in scored.values()})
        n_pairs += len({place_of(row) for row in rows if row.is_asked})
        facts = SecondJudging(second.label, n_pairs, len(wanted), n_failed)
        self._journal.save_state(replace(self._journal.state, second_judge=facts))

    async def _overrule(
        self, pair: Sequence[Item], ready: dict[str, Metric | CallError], second: Asker
    ) -> bool:
        """Let the second judge's word on a pair count; return False if it failed.

        Raises:
            LimitReached: when the user's limits allow no more calls.
        """
        scores = list[CaseScore]()
        for item in pair:
            metric = ready[item.metric.spec.name]
            if isinstance(item, PreferenceItem):
                found = await prefer_samples(
                    item, metric, [second], named=True, n_repeats=self._n_repeats
                )
                if isinstance(found, Failure):
                    return False
                self._journal.add_preferences(found)
            else:
                scored = await score_samples(item, metric, [second], self._n_repeats)
                if isinstance(scored, Failure):
                    return False
                scores.append(scored)
        if scores:
            overrule([one.score for one in scores], second.label, self._journal)
            self._journal.add_sample_scores([row for one in scores for row in one.samples])
        return True
