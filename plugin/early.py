"""When judging may stop because the verdict is settled: confidence sequences over whole pairs.

It is settled once the primary metric is, for every adapter against each of its baselines, and no
other deciding metric can turn out worse than the base's by more than its margin. Pairs are looked
at in the order in which the cases were drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from plugin.cases import working_order
from plugin.metrics import meets
from plugin.pairing import Contrast, Fill, Pairs, contenders, contrasts
from plugin.records import Case, Failure, MetricSpec, Outcome, Score
from plugin.sequential import ConfidenceSequence, Rule, in_order


@dataclass(frozen=True, slots=True)
class EarlyPlan:
    """What is compared, and in which order.

    Attributes:
        order: the cases as drawn.
        specs: the deciding metrics.
        primary: the name of the one that decides the verdict.
        variants: names, the base first.
    """

    order: tuple[Case, ...]
    specs: tuple[MetricSpec, ...]
    primary: str
    variants: tuple[str, ...]

    @property
    def n_decisions(self) -> int:
        """Sequences that share the chance of a false outcome."""
        return len(self.specs) * len(contrasts(self.variants))

    @property
    def awaited(self) -> tuple[tuple[MetricSpec, Contrast], ...]:
        """What keeps judging going until it is settled, or can do no harm any more."""
        rivals = contenders(self.variants)
        return tuple(
            (spec, contrast)
            for spec in self.specs
            for contrast in contrasts(self.variants)
            if contrast.variant in rivals
            and (spec.name == self.primary or contrast.baseline == self.variants[0])
        )

    def rule(self, spec: MetricSpec) -> Rule:
        """What is to be settled on a metric."""
        extent = spec.high - spec.low
        return Rule(spec.margin, -extent, extent, n_decisions=self.n_decisions)


@dataclass(slots=True)
class _Track:
    """One contrast on one metric: how far its pairs are whole."""

    spec: MetricSpec
    contrast: Contrast
    sequence: ConfidenceSequence
    place: int = 0


class Watch:
    """Takes scores and failures as they come, and says when nothing can change any more."""

    def __init__(self, plan: EarlyPlan) -> None:
        """Nothing is known yet."""
        self._plan = plan
        self._values: dict[tuple[str, str, str], float | None] = {}
        self._tracks = [
            _Track(spec, contrast, ConfidenceSequence(plan.rule(spec)))
            for spec, contrast in plan.awaited
        ]

    def note(self, results: Iterable[Score | Failure]) -> None:
        """Take what came in; a failure is a pair that will not be."""
        for one in results:
            if one.variant is None:
                continue
            metrics = [one.metric] if one.metric else [spec.name for spec in self._plan.specs]
            value = one.value if isinstance(one, Score) else None
            for metric in metrics:
                self._values[one.case_id, one.variant, metric] = value

    @property
    def is_settled(self) -> bool:
        """Whether the verdict is."""
        for track in self._tracks:
            self._advance(track)
        return all(self._is_done(track) for track in self._tracks)

    def _advance(self, track: _Track) -> None:
        order, gains = self._plan.order, list[float]()
        while track.place < len(order):
            case = order[track.place]
            if meets(track.spec, case):
                keys = [(case.id, name, track.spec.name) for name in track.contrast]
                if not all(key in self._values for key in keys):
                    break
                own, base = (self._values[key] for key in keys)
                if own is not None and base is not None:
                    gains.append(own - base if track.spec.higher_is_better else base - own)
            track.place += 1
        if gains:
            track.sequence.add(gains)

    def _is_done(self, track: _Track) -> bool:
        if track.sequence.settled:
            return True
        if track.spec.name == self._plan.primary:
            return False
        interval = track.sequence.interval()
        return interval is not None and interval[0] > -track.spec.margin


def early_plan(
    cases: Sequence[Case],
    specs: Sequence[MetricSpec],
    primary: str,
    variants: Sequence[str],
    seed: int,
) -> EarlyPlan:
    """What a run that may stop early compares.

    Args:
        cases: in the order of the source.
        specs: all metrics, with the user's margin.
        primary: the name of the one that decides.
        variants: names, the base first.
        seed: of the order of work.
    """
    deciding = tuple(spec for spec in specs if spec.decides)
    return EarlyPlan(tuple(working_order(cases, seed)), deciding, primary, tuple(variants))


class Found(NamedTuple):
    """What a sequence says of one contrast on one metric.

    Attributes:
        pairs: those that it looked at, up to the one that settled it.
        outcome: "can't tell" while nothing is settled.
        interval: of the mean gain; (None, None) where there is none.
    """

    pairs: Pairs
    outcome: Outcome
    interval: tuple[float | None, float | None]


def look(pairs: Pairs, plan: EarlyPlan, fill: Fill | None = None) -> Found:
    """Look at the pairs in the drawn order.

    Args:
        pairs: over all cases.
        plan: of the run.
        fill: what to put for a failed score; None passes the broken pairs over.
    """
    whole = [*pairs.whole, *(pairs.filled(fill) if fill else [])]
    by_id = {case.id: (case, own, base) for case, own, base in whole}
    able = [case.id for case in plan.order if meets(pairs.spec, case)]
    gains = dict(zip(by_id, pairs.gains_of(whole), strict=True))
    failed = {case.id for case, _, _ in pairs.broken}
    seen = in_order(able, gains, failed)
    sequence = ConfidenceSequence(plan.rule(pairs.spec))
    settled = sequence.add(seen)
    n = settled.n if settled else len(seen)
    looked_at = [by_id[case_id] for case_id in able if case_id in by_id][:n]
    own = replace(pairs, whole=looked_at)
    if settled:
        return Found(own, settled.outcome, (settled.ci_low, settled.ci_high))
    return Found(own, "can't tell", sequence.interval() or (None, None))
