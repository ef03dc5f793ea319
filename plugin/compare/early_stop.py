"""Stop judging when the verdict is settled, by intervals that hold however often one looks.

A confidence sequence is an interval for every number of pairs at once: the chance that the true
mean gain is ever outside, at any of them, is at most alpha (Waudby-Smith & Ramdas 2024, "Estimating
means of bounded random variables by betting", 2010.09686). So judging may stop as soon as the
interval answers the question, which an interval for a fixed number of pairs does not allow.

The verdict is settled once the primary metric is, for every adapter against each of its baselines,
and every guard is lost or kept.

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
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plugin.compare.families import Families, Family, Question, retention_groups
from plugin.compare.intervals import Floats, check_values, log_bets, log_capital, lower_mean
from plugin.compare.pairs import FailureFill, Pairs
from plugin.compare.stats import ALPHA
from plugin.records import ALL, Case, Failure, MetricSpec, Score, Variant, working_order
from plugin.results import GuardOutcome, Outcome


@dataclass(frozen=True, slots=True)
class SettleRule:
    """What is to be settled, fixed before the first gain is seen.

    Attributes:
        margin: the smallest gain that matters; 0 for never "equivalent".
        low: smallest possible gain, below 0.
        high: largest possible gain, above 0.
        alpha: chance of any false outcome, over all decisions together.
        n_decisions: of the family; each decision gets its equal share of alpha (Bonferroni), so
            that no outcome depends on how the others went.
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
        families: which comparisons share a 5% chance of a false outcome.
    """

    order: tuple[Case, ...]
    specs: tuple[MetricSpec, ...]
    families: Families

    @property
    def questions(self) -> list[tuple[Question, Family]]:
        """Return everything that has a sequence, with its family."""
        return self.families.over_all_cases(self.specs)

    @property
    def to_settle(self) -> tuple[tuple[Question, Family], ...]:
        """Return what judging goes on for until it is settled: the primary metric and guards."""
        goals = (Family.PRIMARY, Family.OVER_PROMPT, Family.GUARDS)
        return tuple(each for each in self.questions if each[1] in goals)

    def size(self, family: Family) -> int:
        """Return how many sequences of a family share its chance of a false outcome."""
        return sum(own is family for _, own in self.questions)

    def rule(self, spec: MetricSpec, family: Family) -> SettleRule:
        """Return what is to be settled on a metric."""
        extent = spec.high - spec.low
        return SettleRule(spec.margin, -extent, extent, n_decisions=max(1, self.size(family)))

    def cases_for(self, question: Question) -> tuple[Case, ...]:
        """Return the cases that a comparison is about, in the drawn order."""
        group = question.group
        return tuple(c for c in self.order if group in (ALL, c.group) and question.spec.fits(c))


@dataclass(slots=True)
class _TrackedQuestion:
    """One comparison: how far its pairs are whole."""

    question: Question
    family: Family
    cases: tuple[Case, ...]
    sequence: ConfidenceSequence
    place: int = 0
    gains: list[float] = field(default_factory=list)


class EarlyStopper:
    """Takes scores and failures as they come, and says when nothing can change any more."""

    def __init__(self, plan: EarlyPlan) -> None:
        """Begin with nothing known."""
        self._plan = plan
        self._values: dict[tuple[str, str, str], float | None] = {}
        self._tracks = [
            _TrackedQuestion(
                question,
                family,
                plan.cases_for(question),
                ConfidenceSequence(plan.rule(question.spec, family)),
            )
            for question, family in plan.to_settle
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
        better = {
            track.question.contrast.variant
            for track in self._tracks
            if track.family is Family.PRIMARY
            and track.sequence.settled
            and track.sequence.settled.outcome == "better"
        }
        return all(self._is_done(track, better) for track in self._tracks)

    def _advance(self, track: _TrackedQuestion) -> None:
        spec, contrast, gains = track.question.spec, track.question.contrast, list[float]()
        while track.place < len(track.cases):
            keys = [(track.cases[track.place].id, name, spec.name) for name in contrast]
            if not all(key in self._values for key in keys):
                break
            own, base = (self._values[key] for key in keys)
            if own is not None and base is not None:
                gains.append(spec.gain(own, base))
            track.place += 1
        if gains:
            track.gains.extend(gains)
            track.sequence.add(gains)

    def _is_done(self, track: _TrackedQuestion, better: set[str]) -> bool:
        """Return whether more pairs would not change what this comparison says.

        Without its cases a retention group stays unclear, which does not hold up the verdict.
        """
        if track.family is Family.GUARDS:
            margin = track.question.spec.margin
            found = _guard_outcome(track.sequence, track.gains, margin)
            return found != "unclear" or track.place == len(track.cases)
        if track.family is Family.OVER_PROMPT and track.question.contrast.variant not in better:
            return True
        return track.sequence.settled is not None


def _guard_outcome(
    sequence: ConfidenceSequence, gains: Sequence[float], margin: float
) -> GuardOutcome:
    """Return what a guard's sequence shows after all its pairs."""
    low, high = sequence.interval() or (-math.inf, math.inf)
    if high < 0 and math.fsum(gains) / len(gains) < -margin:
        return "lost"
    return "kept" if low >= -margin else "unclear"


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
        specs: all metrics, with the user's margins.
        primary: the name of the one that decides.
        variants: the base first.
        seed: of the order of work.
    """
    names = tuple(variant.name for variant in variants)
    families = Families(primary, names, retention_groups(cases))
    deciding = tuple(spec for spec in specs if spec.decides)
    return EarlyPlan(tuple(working_order(cases, seed)), deciding, families)


class EarlyResult(NamedTuple):
    """What a sequence says of one comparison.

    Attributes:
        pairs: those that it looked at, up to the one that settled it; of a guard all.
        outcome: "can't tell" while nothing is settled, of a guard "unclear".
        interval: of the mean gain; (None, None) where there is none.
    """

    pairs: Pairs
    outcome: Outcome | GuardOutcome
    interval: tuple[float | None, float | None]


def look_at_pairs(
    pairs: Pairs, plan: EarlyPlan, family: Family, fill: FailureFill | None = None
) -> EarlyResult:
    """Look at the pairs in the drawn order.

    Args:
        pairs: of one comparison.
        plan: of the run.
        family: that the comparison belongs to.
        fill: what to put for a failed score; None passes the broken pairs over.
    """
    whole = [*pairs.whole, *(pairs.fill_broken(fill) if fill else [])]
    by_id = {case.id: (case, own, base) for case, own, base in whole}
    question = Question(pairs.spec, pairs.contrast, pairs.group)
    able = [case.id for case in plan.cases_for(question)]
    gains = dict(zip(by_id, pairs.gains_of(whole), strict=True))
    failed = {case.id for case, _, _ in pairs.broken}
    seen = gains_in_order(able, gains, failed)
    sequence = ConfidenceSequence(plan.rule(pairs.spec, family))
    settled = sequence.add(seen)
    is_guard = family is Family.GUARDS
    n = settled.n if settled and not is_guard else len(seen)
    looked_at = [by_id[case_id] for case_id in able if case_id in by_id][:n]
    own = replace(pairs, whole=looked_at)
    if is_guard:
        outcome = _guard_outcome(sequence, seen, pairs.spec.margin)
        return EarlyResult(own, outcome, sequence.interval() or (None, None))
    if settled:
        return EarlyResult(own, settled.outcome, (settled.ci_low, settled.ci_high))
    return EarlyResult(own, "can't tell", sequence.interval() or (None, None))
