"""Stop judging when the verdict is settled, using intervals that stay valid at every look.

A confidence sequence is an interval for every number of pairs at once: the probability that it ever
excludes the true mean gain, at any number of pairs, is at most alpha (Waudby-Smith & Ramdas 2024,
"Estimating means of bounded random variables by betting", 2010.09686). So judging can stop as soon
as the interval answers the question. An interval for a fixed number of pairs does not allow this.

The verdict is settled when the primary metric is settled for every adapter against each of its
baselines, and every guard is lost or kept.

The bets are those of the betting interval in `intervals`: a mixture of constant bets. In nearly
every setting tried, it settled earlier than the paper's predictable plug-in bets or empirical
Bernstein (gain 0.1, spread 0.4, up to 500 pairs: 144 pairs on average, against 171 and 226). It has
no parameters to tune, and its end depends only on the gains. The capital of a bet on a higher mean
falls as the tested mean rises. So testing three means (0 and the two margins) is enough, and no
grid is needed.

The interval is about the mean of the population that the run's cases come from, as for all other
intervals here: each new case counts as a new draw from it. A sequence for the mean of the run's own
N cases would shrink to a point at the last case. It would only predict the result of the full run,
so an early stop would claim more than the full run does. It is not used.

Rules for the caller:

- Pass the cases in the order in which they were drawn, and only whole pairs (see `gains_in_order`).
  The order in which answers arrive would favour quick answers.
- Pass only independent cases: there is no sequence for clusters.
- After an early stop, use the outcome and interval of `Settled`. The intervals and p-values of
  `stats` assume a fixed number of pairs, so they are too optimistic.
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
from plugin.compare.pairs import Contrast, FailureFill, Pairs
from plugin.compare.stats import ALPHA
from plugin.records import (
    ALL,
    EVEN,
    Case,
    Failure,
    MetricSpec,
    Preference,
    Score,
    Variant,
    working_order,
)
from plugin.results import GuardOutcome, Outcome


@dataclass(frozen=True, slots=True)
class SettleRule:
    """The settings of a decision, fixed before the first gain is seen.

    Attributes:
        margin: smallest gain that matters; with 0 the outcome is never "equivalent".
        low: smallest possible gain, below 0.
        high: largest possible gain, above 0.
        alpha: probability of any false outcome, over all decisions together.
        n_decisions: decisions in the family; each gets an equal share of alpha (Bonferroni), so
            that no outcome depends on the other outcomes.
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
        """Return the share of alpha for one decision."""
        return self.alpha / self.n_decisions

    def to_unit_range(self, gains: Floats) -> Floats:
        """Return the gains scaled from their range to 0..1."""
        return (gains - self.low) / (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Settled:
    """An outcome that more pairs cannot change.

    Attributes:
        outcome: "better" for an interval above 0, "worse" below, "equivalent" within the margin.
        n: number of pairs needed.
        ci_low: lower end of the interval of the mean gain after n pairs, at the rule's share.
        ci_high: upper end of that interval.
    """

    outcome: Outcome
    n: int
    ci_low: float
    ci_high: float


class ConfidenceSequence:
    """The confidence sequence of one variant on one metric.

    The first outcome is final: later pairs change neither `settled` nor its numbers, so the result
    does not depend on how often one looked. If several outcomes are reached at once, a difference
    comes first, as in `stats.decide_outcome`.
    """

    def __init__(self, rule: SettleRule) -> None:
        self.rule = rule
        self.settled: Settled | None = None
        self._gains: list[float] = []
        # Bets that the mean is above 0, above -margin, below 0 and below +margin. The last two are
        # bets on a higher mean of the mirrored gains.
        ends = np.array([0.0, -rule.margin, 0.0, rule.margin])
        self._mirrored = np.array([False, False, True, True])
        self._means = np.where(
            self._mirrored, 1 - rule.to_unit_range(ends), rule.to_unit_range(ends)
        )
        # If the margin is beyond the range, every gain is within it: this bet counts as won.
        self._won = self._means <= 0
        self._means[self._won] = 1.0
        self._logs: Floats | float = 0.0
        self._contradicted = False

    @property
    def n_pairs(self) -> int:
        """Return the number of pairs seen."""
        return len(self._gains)

    def add(self, gains: Sequence[float]) -> Settled | None:
        """Add gains one after another, and return the outcome if there is one.

        The time is linear in the number of gains.

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
        """Return the intersection of the intervals after 1 to n pairs (all pairs if n is None).

        Without pairs it is the whole range. None if the intersection is empty: then the gains
        changed during the run, or this is one of the rare errors that alpha allows.
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
        """Return the first outcome in the latest pairs; `won` has shape (pairs, bets)."""
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
    """Return the gains of whole pairs in the drawn order, up to the first unfinished case.

    Args:
        order: the case ids in the order drawn.
        gains: the known gains, by case id.
        failed: ids of cases that will have no gain; they are skipped.
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
    """The comparisons of a run that may stop early, and the order of its cases.

    Attributes:
        order: the cases in the order drawn.
        specs: the metrics that decide.
        families: which comparisons share a 5% probability of a false outcome.
    """

    order: tuple[Case, ...]
    specs: tuple[MetricSpec, ...]
    families: Families

    @property
    def questions(self) -> list[tuple[Question, Family]]:
        """Return all comparisons that have a sequence, each with its family."""
        return self.families.over_all_cases(self.specs)

    @property
    def to_settle(self) -> tuple[tuple[Question, Family], ...]:
        """Return the comparisons that must be settled before judging stops: primary and guards."""
        goals = (Family.PRIMARY, Family.OVER_PROMPT, Family.OVER_RIVAL, Family.GUARDS)
        return tuple(each for each in self.questions if each[1] in goals)

    def size(self, family: Family) -> int:
        """Return how many sequences of a family share its probability of a false outcome."""
        return sum(own is family for _, own in self.questions)

    def rule(self, spec: MetricSpec, family: Family) -> SettleRule:
        """Return the settings of a metric's decisions in this family."""
        extent = spec.largest_gain
        return SettleRule(spec.margin, -extent, extent, n_decisions=max(1, self.size(family)))

    def cases_for(self, question: Question) -> tuple[Case, ...]:
        """Return the cases of a comparison, in the drawn order."""
        group = question.group
        return tuple(c for c in self.order if group in (ALL, c.group) and question.spec.fits(c))


@dataclass(slots=True)
class _TrackedQuestion:
    """The progress of one comparison."""

    question: Question
    family: Family
    cases: tuple[Case, ...]
    sequence: ConfidenceSequence
    place: int = 0
    gains: list[float] = field(default_factory=list)


_Place = tuple[str, str, str, str | None]
"""Case id, variant, metric, and the baseline of a preference."""


class EarlyStopper:
    """Collects scores and failures as they arrive, and tells when the verdict is settled."""

    def __init__(self, plan: EarlyPlan) -> None:
        """Start without scores."""
        self._plan = plan
        self._values: dict[_Place, float | None] = {}
        self._tracks = [
            _TrackedQuestion(
                question,
                family,
                plan.cases_for(question),
                ConfidenceSequence(plan.rule(question.spec, family)),
            )
            for question, family in plan.to_settle
        ]

    def note(self, results: Iterable[Score | Preference | Failure]) -> None:
        """Add new results; a failure means that its pair will stay without a gain."""
        for one in results:
            if one.variant is None:
                continue
            metrics = [one.metric] if one.metric else [spec.name for spec in self._plan.specs]
            value = None if isinstance(one, Failure) else one.value
            baseline = None if isinstance(one, Score) else one.baseline
            for metric in metrics:
                self._values[one.case_id, one.variant, metric, baseline] = value

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
            pair = self._pair(track.cases[track.place].id, spec, contrast)
            if pair is None:
                break
            own, base = pair
            if own is not None and base is not None:
                gains.append(spec.gain(own, base))
            track.place += 1
        if gains:
            track.gains.extend(gains)
            track.sequence.add(gains)

    def _pair(
        self, case_id: str, spec: MetricSpec, contrast: Contrast
    ) -> tuple[float | None, float | None] | None:
        """Return what both sides of a pair scored, None for a failure; None if it is open."""
        sides: list[_Place] = [(case_id, name, spec.name, None) for name in contrast]
        if spec.is_relative:
            if any(side in self._values for side in sides):  # a side without a completion
                return None, None
            place = (case_id, contrast.variant, spec.name, contrast.baseline)
            return (self._values[place], EVEN) if place in self._values else None
        if not all(side in self._values for side in sides):
            return None
        own, base = (self._values[side] for side in sides)
        return own, base

    def _is_done(self, track: _TrackedQuestion, better: set[str]) -> bool:
        """Return whether this comparison needs no more pairs.

        A guard that stays unclear after all its cases does not block the verdict.
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
    """Return a guard's outcome after all its pairs so far."""
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
    """Return the plan of a run that may stop early.

    Args:
        cases: the cases, in the order of the source.
        specs: all metrics, with the user's margins.
        primary: name of the primary metric.
        variants: the variants, the base first.
        seed: seed for the order of the cases.
    """
    names = tuple(variant.name for variant in variants)
    families = Families(primary, names, retention_groups(cases))
    deciding = tuple(spec for spec in specs if spec.decides)
    return EarlyPlan(tuple(working_order(cases, seed)), deciding, families)


class EarlyResult(NamedTuple):
    """The result of a sequence for one comparison.

    Attributes:
        pairs: the pairs used, up to the one that settled the comparison; for a guard all pairs.
        outcome: the outcome; "can't tell" (for a guard "unclear") while it is not settled.
        interval: interval of the mean gain; (None, None) if there is none.
    """

    pairs: Pairs
    outcome: Outcome | GuardOutcome
    interval: tuple[float | None, float | None]


def look_at_pairs(
    pairs: Pairs, plan: EarlyPlan, family: Family, fill: FailureFill | None = None
) -> EarlyResult:
    """Run the sequence of one comparison over its pairs in the drawn order.

    Args:
        pairs: the pairs of the comparison.
        plan: the plan of the run.
        family: the family of the comparison.
        fill: values that replace failed scores; None skips the broken pairs.
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
