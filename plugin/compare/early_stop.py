"""Stop judging when the verdict is settled, by intervals that hold however often one looks.

A confidence sequence is an interval for every number of pairs at once: the chance that the true
mean gain is ever outside, at any of them, is at most alpha (Waudby-Smith & Ramdas 2024, "Estimating
means of bounded random variables by betting", 2010.09686). So judging may stop as soon as the
interval answers the question, which an interval for a fixed number of pairs does not allow.

The verdict is settled once the primary metric is, for every adapter against each of its baselines,
and no other deciding metric can turn out worse than the base's by more than its margin.

The bets are those of the betting interval in `intervals`: a mixture of constant ones. It settled
earlier than the paper's predictable plug-in bets or empirical Bernstein in nearly every setting
tried (gain 0.1, spread 0.4, up to 500 pairs: 144 pairs on average, against 171 and 226), has
nothing to tune, and its end depends on the gains alone. A capital that bets on a higher mean falls
in the mean it bets against, so three means (0 and either margin) decide, and no grid is needed.

What the promise is about: the mean over the cases that the run's cases stand for, as with every
other interval here; each next case counts as a fresh draw of that kind. The run's own N cases are
drawn in seeded order without replacement, and a sequence for *their* mean would shrink to a point
as the last one is judged. That would only promise what judging the rest would say, and stopping
early would claim more than the whole run claims, so it is not used.

What it asks of the caller:

- Cases in the order they were drawn, and only whole pairs: see `gains_in_order`. The order in which
  answers happen to arrive favours the quick ones.
- Cases that do not belong together: clusters have no sequence here.
- After stopping, the numbers of `stats` are those of a run that was meant to be that long, and too
  sure; the outcome and interval of `Settled` are the ones that hold.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plugin.compare.intervals import Floats, check_values, log_bets, log_capital, lower_mean
from plugin.compare.pairs import Contrast, FailureFill, Pairs, contenders, contrasts
from plugin.compare.stats import ALPHA
from plugin.records import Case, Failure, MetricSpec, Outcome, Score, Variant, working_order


@dataclass(frozen=True, slots=True)
class SettleRule:
    """What is to be settled, fixed before the first gain is seen.

    Attributes:
        margin: the smallest gain that matters; 0 for never "equivalent".
        low: smallest possible gain, below 0.
        high: largest possible gain, above 0.
        alpha: chance of any false outcome, over all decisions together.
        n_decisions: deciding metrics times what is compared on each; each decision gets its equal
            share of alpha (Bonferroni), so that no outcome depends on how the others went.
    """

    margin: float
    low: float = -1.0
    high: float = 1.0
    alpha: float = ALPHA
    n_decisions: int = 1

    def __post_init__(self) -> None:
        if not (-math.inf < self.low < 0 < self.high < math.inf):
            raise ValueError(
                f"gains must have finite bounds on both sides of 0; got {self.low} to {self.high}"
            )
        if not (0 <= self.margin < math.inf):
            raise ValueError(f"the margin must be finite and not negative; got {self.margin}")
        if not (0 < self.alpha < 1):
            raise ValueError(f"alpha must be above 0 and below 1; got {self.alpha}")
        if self.n_decisions < 1:
            raise ValueError(f"there must be at least one decision; got {self.n_decisions}")

    @property
    def share(self) -> float:
        """Return the part of alpha that one decision has."""
        return self.alpha / self.n_decisions

    def to_unit_range(self, gains: Floats) -> Floats:
        """Return gains with the range stretched to 0..1."""
        return (gains - self.low) / (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Settled:
    """An outcome that more pairs would not take back.

    Attributes:
        outcome: "better" with the interval above 0, "worse" below, "equivalent" within the margin.
        n: pairs that it took.
        ci_low: lower end of the interval of the mean gain after n pairs, at the rule's share.
        ci_high: its upper end.
    """

    outcome: Outcome
    n: int
    ci_low: float
    ci_high: float


class ConfidenceSequence:
    """The gains of one variant on one metric, taken as they come.

    The first outcome stays: later pairs change neither `settled` nor its numbers, so that they do
    not depend on how often one looked. Several outcomes at once count as in `stats.decide_outcome`:
    a difference comes first.
    """

    def __init__(self, rule: SettleRule) -> None:
        self.rule = rule
        self.settled: Settled | None = None
        self._gains: list[float] = []
        # Bets that the mean is higher than 0 and than -margin, lower than 0 and than +margin; the
        # latter two are bets on a higher mean with everything mirrored.
        ends = np.array([0.0, -rule.margin, 0.0, rule.margin])
        self._mirrored = np.array([False, False, True, True])
        self._means = np.where(
            self._mirrored, 1 - rule.to_unit_range(ends), rule.to_unit_range(ends)
        )
        # A margin beyond the range is kept by every gain, and cannot be bet against.
        self._won = self._means <= 0
        self._means[self._won] = 1.0
        self._logs: Floats | float = 0.0
        self._contradicted = False

    @property
    def n_pairs(self) -> int:
        """Return the number of pairs seen."""
        return len(self._gains)

    def add(self, gains: Sequence[float]) -> Settled | None:
        """Look at further gains, one after another; the work is linear in their number.

        Raises:
            ValueError: for a gain that is not finite or outside the rule's range.
        """
        values = check_values(gains, self.rule.low, self.rule.high, "gain")
        if not len(values):
            return self.settled
        self._gains.extend(values.tolist())
        if self.settled or self._contradicted:
            return self.settled
        scaled = self.rule.to_unit_range(values)[:, None]
        logs = log_bets(np.where(self._mirrored, 1 - scaled, scaled), self._means)
        logs = self._logs + logs.cumsum(axis=0)
        reached = log_capital(logs) >= math.log(2 / self.rule.share)
        won = np.logical_or.accumulate(reached | self._won, axis=0)
        self._logs, self._won = logs[-1], won[-1]
        self.settled = self._first(won)
        return self.settled

    def interval(self, n: int | None = None) -> tuple[float, float] | None:
        """Return what all intervals after up to n pairs have in common; n counts all pairs if None.

        Without pairs it is the whole range. None where they have nothing in common: the gains
        changed their kind on the way, or this is the rare run that the alpha is for.
        """
        scaled = self.rule.to_unit_range(np.array(self._gains[:n]))
        if not len(scaled):
            return self.rule.low, self.rule.high
        stakes = np.ones(len(scaled))
        lower = lower_mean(scaled, stakes, self.rule.share, anytime=True)
        upper = 1.0 - lower_mean(1.0 - scaled, stakes, self.rule.share, anytime=True)
        if lower > upper:
            return None
        extent = self.rule.high - self.rule.low
        return self.rule.low + extent * lower, self.rule.low + extent * upper

    def _first(self, won: NDArray[np.bool_]) -> Settled | None:
        """Return the first outcome among the last pairs; `won` has a row a pair, a column a bet."""
        held: dict[Outcome, NDArray[np.bool_]] = {
            "better": won[:, 0],
            "worse": won[:, 2],
            "equivalent": won[:, 1] & won[:, 3],
        }
        found = [(int(pairs.argmax()), outcome) for outcome, pairs in held.items() if pairs.any()]
        if not found:
            return None
        place, outcome = min(found, key=lambda pair: pair[0])
        n = self.n_pairs - len(won) + place + 1
        interval = self.interval(n)
        self._contradicted = interval is None
        return Settled(outcome, n, *interval) if interval else None


def gains_in_order(
    order: Sequence[str], gains: Mapping[str, float], failed: Collection[str] = ()
) -> list[float]:
    """Return the gains of whole pairs in the drawn order, up to the first case not worked yet.

    Args:
        order: the case ids as drawn.
        gains: those that are there, by case id.
        failed: cases that will have no gain; they are passed over.
    """
    found = []
    for case_id in order:
        if case_id in gains:
            found.append(gains[case_id])
        elif case_id not in failed:
            break
    return found


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
        """Return how many sequences share the chance of a false outcome."""
        return len(self.specs) * len(contrasts(self.variants))

    @property
    def to_settle(self) -> tuple[tuple[MetricSpec, Contrast], ...]:
        """Return what judging goes on for until it is settled, or can do no harm any more."""
        rivals = contenders(self.variants)
        return tuple(
            (spec, contrast)
            for spec in self.specs
            for contrast in contrasts(self.variants)
            if contrast.variant in rivals
            and (spec.name == self.primary or contrast.baseline == self.variants[0])
        )

    def rule(self, spec: MetricSpec) -> SettleRule:
        """Return what is to be settled on a metric."""
        extent = spec.high - spec.low
        return SettleRule(spec.margin, -extent, extent, n_decisions=self.n_decisions)


@dataclass(slots=True)
class _TrackedContrast:
    """One contrast on one metric: how far its pairs are whole."""

    spec: MetricSpec
    contrast: Contrast
    sequence: ConfidenceSequence
    place: int = 0


class EarlyStopper:
    """Takes scores and failures as they come, and says when nothing can change any more."""

    def __init__(self, plan: EarlyPlan) -> None:
        """Begin with nothing known."""
        self._plan = plan
        self._values: dict[tuple[str, str, str], float | None] = {}
        self._tracks = [
            _TrackedContrast(spec, contrast, ConfidenceSequence(plan.rule(spec)))
            for spec, contrast in plan.to_settle
        ]

    def note(self, results: Iterable[Score | Failure]) -> None:
        """Take in what has been made; a failure is a pair that will not be."""
        for one in results:
            if one.variant is None:
                continue
            metrics = [one.metric] if one.metric else [spec.name for spec in self._plan.specs]
            value = one.value if isinstance(one, Score) else None
            for metric in metrics:
                self._values[one.case_id, one.variant, metric] = value

    @property
    def is_settled(self) -> bool:
        """Return whether the verdict is settled."""
        for track in self._tracks:
            self._advance(track)
        return all(self._is_done(track) for track in self._tracks)

    def _advance(self, track: _TrackedContrast) -> None:
        order, gains = self._plan.order, list[float]()
        while track.place < len(order):
            case = order[track.place]
            if track.spec.fits(case):
                keys = [(case.id, name, track.spec.name) for name in track.contrast]
                if not all(key in self._values for key in keys):
                    break
                own, base = (self._values[key] for key in keys)
                if own is not None and base is not None:
                    gains.append(track.spec.gain(own, base))
            track.place += 1
        if gains:
            track.sequence.add(gains)

    def _is_done(self, track: _TrackedContrast) -> bool:
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
    variants: Sequence[Variant],
    *,
    seed: int,
) -> EarlyPlan:
    """Return what a run that may stop early compares.

    Args:
        cases: in the order of the source.
        specs: all metrics, with the user's margin.
        primary: the name of the one that decides.
        variants: the base first.
        seed: of the order of work.
    """
    return EarlyPlan(
        order=tuple(working_order(cases, seed)),
        specs=tuple(spec for spec in specs if spec.decides),
        primary=primary,
        variants=tuple(variant.name for variant in variants),
    )


class EarlyResult(NamedTuple):
    """What a sequence says of one contrast on one metric.

    Attributes:
        pairs: those that it looked at, up to the one that settled it.
        outcome: "can't tell" while nothing is settled.
        interval: of the mean gain; (None, None) where there is none.
    """

    pairs: Pairs
    outcome: Outcome
    interval: tuple[float | None, float | None]


def look_at_pairs(pairs: Pairs, plan: EarlyPlan, fill: FailureFill | None = None) -> EarlyResult:
    """Look at the pairs in the drawn order.

    Args:
        pairs: over all cases.
        plan: of the run.
        fill: what to put for a failed score; None passes the broken pairs over.
    """
    whole = [*pairs.whole, *(pairs.fill_broken(fill) if fill else [])]
    by_id = {case.id: (case, own, base) for case, own, base in whole}
    able = [case.id for case in plan.order if pairs.spec.fits(case)]
    gains = dict(zip(by_id, pairs.gains_of(whole), strict=True))
    failed = {case.id for case, _, _ in pairs.broken}
    seen = gains_in_order(able, gains, failed)
    sequence = ConfidenceSequence(plan.rule(pairs.spec))
    settled = sequence.add(seen)
    n = settled.n if settled else len(seen)
    looked_at = [by_id[case_id] for case_id in able if case_id in by_id][:n]
    own = replace(pairs, whole=looked_at)
    if settled:
        return EarlyResult(own, settled.outcome, (settled.ci_low, settled.ci_high))
    return EarlyResult(own, "can't tell", sequence.interval() or (None, None))
