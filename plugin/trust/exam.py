"""The judge examined: a few judgments asked again, and wrong answers put before it.

Small: `N_RETEST_CASES` and `N_CANARY_CASES` cases per metric, drawn with the run's seed. What was
found is kept in the journal, so that a report needs no judge; what failed is counted there, tried
again in the next session, and never ends a run.
"""

from __future__ import annotations

import math
import random
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel

from plugin import canaries
from plugin.asking import Asker
from plugin.errors import JudgeDownError, JudgeError
from plugin.journal import Journal
from plugin.judges import AskError
from plugin.measuring import MeasureError, measured
from plugin.metrics import Check, Metric, meets
from plugin.records import Case, Completion, MetricSpec
from plugin.spending import LimitReached
from plugin.worker import Progress

N_RETEST_CASES = 10
N_CANARY_CASES = 5

RETEST = "retest"
"""The kind of a probe that asks for a score again; the other kinds are the canaries' names."""

_KEPT = "exam"
_AGAIN = 1


@dataclass(frozen=True, slots=True)
class Probe:
    """One score to be asked of the judge for its own sake.

    Attributes:
        kind: `RETEST`, or a canary's name.
        variant: whose completion it is; "" for a canary.
        text: what stands as the completion.
    """

    kind: str
    case: Case
    variant: str
    metric: str
    text: str

    @property
    def place(self) -> tuple[str, str, str, str]:
        """What tells it from the other probes of a run."""
        return self.kind, self.case.id, self.variant, self.metric


@dataclass(frozen=True, slots=True)
class Found:
    """What a probe found: a score, or why there is none."""

    kind: str
    case_id: str
    variant: str
    metric: str
    value: float | None = None
    failure: str = ""

    @property
    def place(self) -> tuple[str, str, str, str]:
        """That of its probe."""
        return self.kind, self.case_id, self.variant, self.metric


def found_in(journal: Journal) -> tuple[Found, ...] | None:
    """What the journal holds; None where the judge was never examined."""
    kept = journal.meta(_KEPT)
    return None if kept is None else tuple(Found(**row) for row in kept)


def can_probe(spec: MetricSpec) -> bool:
    """Whether the metric asks the judge about a completion."""
    return spec.asks_judge and not spec.judges_data


class Exam:
    """The probes of a run, and the session that works them."""

    def __init__(
        self, cases: Sequence[Case], metrics: Sequence[Metric], journal: Journal, seed: int
    ) -> None:
        """Take what is to be probed; the probes themselves follow from the scores made by then."""
        self._specs = [metric.spec for metric in metrics if can_probe(metric.spec)]
        self._cases = list(cases)
        random.Random(f"exam {seed}").shuffle(self._cases)
        self._journal = journal
        self._given_up = ""

    @property
    def n_questions_at_most(self) -> int:
        """What a whole exam asks of one judge, if every case serves."""
        n_probes = {
            spec.name: N_RETEST_CASES
            + (len(canaries.CANARIES) * N_CANARY_CASES if canaries.is_wrong_on(spec) else 0)
            for spec in self._specs
        }
        return sum(n_probes[spec.name] * spec.n_questions for spec in self._specs)

    @property
    def is_due(self) -> bool:
        """Whether anything is to be asked that is not known yet."""
        kept = found_in(self._journal)
        if kept is None:
            return True
        known = {found.place for found in kept if found.value is not None}
        return any(probe.place not in known for probe in self._probes())

    def work(
        self,
        ready: Mapping[str, Metric | AskError],
        askers: Sequence[Asker],
        progress: Progress,
    ) -> list[Coroutine[Any, Any, None]]:
        """The chains of work that fill in what is missing; the last to end keeps the result.

        Args:
            ready: the metrics by name, with their evaluation steps, or why there are none.
            askers: ask the judge, or the panel, whose mean counts.
            progress: counts the probes.
        """
        probes = self._probes()
        wanted = {probe.place for probe in probes}
        done = {
            found.place: found
            for found in found_in(self._journal) or ()
            if found.value is not None and found.place in wanted
        }
        missing = [probe for probe in probes if probe.place not in done]
        progress.begin("examine the judge", total=len(probes), done=len(done))
        rest = iter(missing)

        async def chain() -> None:
            for probe in rest:
                try:
                    found = await self._found(probe, ready.get(probe.metric), askers)
                except LimitReached:  # no failure of the judge's: the next session goes on
                    self._keep(done.values())
                    return
                done[probe.place] = found
                progress.done += 1
                if len(done) == len(probes):
                    self._keep(done.values())

        if not missing:
            self._keep(done.values())
        return [chain() for _ in range(min(len(missing), int(askers[0].pace.limit)))]

    def _keep(self, found: Any) -> None:
        self._journal.set_meta(_KEPT, [asdict(each) for each in found])

    def _probes(self) -> list[Probe]:
        scored = {(s.case_id, s.variant, s.metric) for s in self._journal.scores()}
        names = {metric for _, _, metric in scored}
        of_case: dict[str, list[Completion]] = {}
        for _, completion in sorted(self._journal.completions().items()):
            if completion.text.strip():  # an empty one was never put before the judge
                of_case.setdefault(completion.case_id, []).append(completion)
        return [
            probe
            for spec in self._specs
            if spec.name in names
            for probe in (*self._retests(spec, of_case, scored), *self._canaries(spec))
        ]

    def _retests(
        self,
        spec: MetricSpec,
        of_case: Mapping[str, Sequence[Completion]],
        scored: set[tuple[str, str, str]],
    ) -> Iterator[Probe]:
        """One scored completion of each drawn case, the variants in turn."""
        n_made = 0
        for case in self._cases:
            made = of_case.get(case.id, ())
            own = [one for one in made if (case.id, one.variant, spec.name) in scored]
            if own:
                chosen = own[n_made % len(own)]
                yield Probe(RETEST, case, chosen.variant, spec.name, chosen.text)
                n_made += 1
            if n_made == N_RETEST_CASES:
                return

    def _canaries(self, spec: MetricSpec) -> Iterator[Probe]:
        if not canaries.is_wrong_on(spec):
            return
        able = [case for case in self._cases if meets(spec, case)]
        for name, text in canaries.CANARIES.items():
            fitting = [case for case in able if canaries.fits(name, case)]
            for case in fitting[:N_CANARY_CASES]:
                yield Probe(name, case, "", spec.name, text)

    async def _found(
        self, probe: Probe, metric: Metric | AskError | None, askers: Sequence[Asker]
    ) -> Found:
        value, failure = None, self._given_up
        if isinstance(metric, AskError):
            failure = str(metric)
        elif metric and not failure:
            repeat = _AGAIN if probe.kind == RETEST else 0
            try:
                found = [
                    await measured(metric, probe.case, probe.text, _Asked(asker, repeat))
                    for asker in askers
                ]
                value = math.fsum(one.value for one in found) / len(found)
            except (JudgeDownError, JudgeError) as error:
                failure = self._given_up = str(error)
            except (AskError, MeasureError) as error:
                failure = str(error)
        return Found(*probe.place, value=value, failure=failure)


class _Asked:
    """The asker, asked for the judgment of this number."""

    def __init__(self, asker: Asker, repeat: int) -> None:
        self.structured = asker.structured
        self.include_reason = False  # nobody reads why a probe was scored
        self._asker = asker
        self._repeat = repeat

    async def __call__(self, prompt: str, schema: type[BaseModel], check: Check) -> BaseModel:
        return await self._asker(prompt, schema, check, self._repeat)
