"""Turn a run's scores into means per variant, and into comparisons that are tested in families.

What a run holds beyond the listed cases, variants and metrics is not counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from plugin.compare import stats
from plugin.compare.contrasts import contrasts, is_comparable
from plugin.compare.early_stop import EarlyPlan, EarlyResult, look_at_pairs
from plugin.compare.families import Families, Family, Question
from plugin.compare.intervals import Interval, no_interval
from plugin.compare.needed import possible_gain, stuck_at, with_numbers_needed
from plugin.compare.numbers import format_count
from plugin.compare.pairs import (
    Evidence,
    FailureFill,
    Pairs,
    clusters_of,
    column_of,
    groups_of,
    pair_scores,
)
from plugin.records import ALL, MetricSpec
from plugin.results import Comparison, GuardOutcome, IntervalKind, Outcome, Summary

_ANYTIME = "confidence sequence (betting)"
_ONE_LOOK = "no interval in a run that may stop early"
_CONTRADICTED = "no interval: what the first pairs show and what later ones show exclude each other"


class _FastResampling(NamedTuple):
    """Resampling for an estimate whose interval is not used."""

    seed: int = 0
    n_resamples: int = 50


_FAST_RESAMPLING = _FastResampling()

N_RESAMPLES = 10_000
"""Of bootstrap and permutation, where nothing else is said."""


@dataclass(frozen=True, slots=True)
class VerdictSettings:
    """How to judge the evidence.

    Attributes:
        primary_metric: name or key of the deciding metric that decides the verdict.
        seed: of all resampling.
        partial: not every case has been worked yet.
        n_expected: cases that the whole run works; None for all cases of the evidence.
        judge_label: stands in the first line when not empty.
        n_resamples: of bootstrap and permutation.
        early: of a run that may stop early: outcomes and intervals then come from confidence
            sequences, and where there is none no interval is given.
        n_worked: cases judged when such a run did stop early; 0 when it did not.
        beside: (variant, baseline) -> what the sentence says beside the win rate, where completions
            were compared.
        is_withheld: nothing may be concluded from the scores, so no variant is recommended.
    """

    primary_metric: str
    seed: int
    partial: bool = False
    n_expected: int | None = None
    judge_label: str = ""
    n_resamples: int = N_RESAMPLES
    early: EarlyPlan | None = None
    n_worked: int = 0
    beside: Mapping[tuple[str, str], str] = field(default_factory=dict)
    is_withheld: bool = False


@dataclass(frozen=True, slots=True)
class _Draft:
    """A comparison before anything is adjusted.

    Attributes:
        p_value: of the test of its family: two-sided, of a guard one-sided for harm.
    """

    pairs: Pairs
    family: Family
    estimate: stats.PairedEstimate
    p_value: float | None


def _say_nothing() -> None:
    """Stand in for a progress bar."""


class _FamilyTests(NamedTuple):
    """The tests of a family, and which of them belongs to the comparison at hand.

    Attributes:
        p_values: of all its comparisons, before adjustment; None without data.
        adjusted: the same after Holm's step-down, which is done once for all of them.
        place: of the comparison at hand.
    """

    p_values: list[float | None]
    adjusted: list[float | None]
    place: int = 0

    @classmethod
    def of(cls, p_values: list[float | None]) -> _FamilyTests:
        """Adjust the tests of a family."""
        found = iter(stats.holm([p for p in p_values if p is not None]))
        return cls(p_values, [None if p is None else next(found) for p in p_values])

    @property
    def n_family(self) -> int:
        """Return how many tests share the 5%, this one included."""
        n_others = len(self.p_values) - self.p_values.count(None)
        return n_others + (self.p_values[self.place] is None)

    def adjust_instead(self, p_value: float | None) -> float | None:
        """Return what this p-value would be after adjustment, in place of the comparison's own."""
        if p_value is None:
            return None
        rivals = (p for at, p in enumerate(self.p_values) if at != self.place and p is not None)
        return stats.holm([p_value, *rivals])[0]


def n_intervals(evidence: Evidence) -> int:
    """Return how many intervals `summarise` and `compare` make together, for a progress bar."""
    n_means = sum(len(evidence.scored_names(spec)) for spec in evidence.metrics)
    n_gains = sum(
        is_comparable(spec, contrast)
        for spec in evidence.metrics
        if not spec.judges_data
        for contrast in contrasts(evidence.names)
    )
    return len(groups_of(evidence.cases)) * (n_means + n_gains)


def summarise(
    evidence: Evidence, settings: VerdictSettings, tick: Callable[[], None] = _say_nothing
) -> tuple[Summary, ...]:
    """Return every variant's mean on every metric, in every group; no data gives None.

    Args:
        evidence: the run's scores.
        settings: how to judge them.
        tick: called after each interval.
    """
    summaries = []
    for spec in evidence.metrics:
        for name in evidence.scored_names(spec):
            column = column_of(evidence, spec, name)
            is_given = spec.is_relative and name == evidence.names[0]  # by definition
            for group, cases in groups_of(evidence.cases):
                scored = [case for case in cases if case.id in column.scores]
                found = stats.mean_interval(
                    [column.scores[case.id] for case in scored],
                    clusters=clusters_of(scored),
                    low=spec.low,
                    high=spec.high,
                    seed=settings.seed,
                    n_resamples=settings.n_resamples,
                )
                summaries.append(
                    Summary(
                        metric=spec.name,
                        variant=name,
                        group=group,
                        mean=found.mean,
                        n=found.n,
                        n_failed=sum(case.id in column.failed for case in cases),
                        ci_low=None if settings.early or is_given else found.ci_low,
                        ci_high=None if settings.early or is_given else found.ci_high,
                        higher_is_better=spec.higher_is_better,
                    )
                )
                tick()
    return tuple(summaries)


def compare(
    evidence: Evidence,
    settings: VerdictSettings,
    tick: Callable[[], None] = _say_nothing,
    *,
    groups_only: bool = False,
) -> tuple[Comparison, ...]:
    """Compare every variant with its baselines on every metric, in every group.

    Holm's adjustment runs over each family (see `Family`). An outcome that says something must also
    hold with the failures at their worst. A contender is tested against the prompted base only
    where it is better than the base.

    Args:
        evidence: the run's scores.
        settings: how to judge them.
        tick: called after each interval.
        groups_only: whether to leave out the comparisons over all cases.
    """
    families = Families.of(evidence, settings.primary_metric)
    if settings.early:
        return _compare_early(evidence, settings, settings.early, families, tick)
    drafts = list[_Draft]()
    by_family: dict[Family, list[_Draft]] = {}
    for pairs in pair_scores(evidence):
        if groups_only and pairs.group == ALL:
            continue
        drafts.append(_draft(pairs, families, settings))
        by_family.setdefault(drafts[-1].family, []).append(drafts[-1])
        tick()
    decided: dict[int, Comparison] = {}
    # What comes first in the order of tests is decided first.
    for family in sorted(by_family, key=lambda family: family is Family.OVER_PROMPT):
        own = by_family[family]
        if family is Family.OVER_PROMPT:
            decided |= {id(draft): _comparison_of(draft, None) for draft in own}
            first = (decided[id(draft)] for draft in by_family.get(Family.PRIMARY, ()))
            better = {row.variant for row in first if row.outcome == "better"}
            own = [draft for draft in own if draft.pairs.variant in better]
        tests = _FamilyTests.of([draft.p_value for draft in own])
        for place, draft in enumerate(own):
            decided[id(draft)] = _decide(draft, tests._replace(place=place), settings)
    return tuple(replace(decided[id(draft)], partial=settings.partial) for draft in drafts)


def withhold_outcomes(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Return the comparisons without outcomes, for scores from which nothing may be concluded."""
    return tuple(
        replace(row, outcome=("unclear" if row.role == "guard" else "can't tell"))
        if row.outcome
        else row
        for row in comparisons
    )


def _draft(pairs: Pairs, families: Families, settings: VerdictSettings) -> _Draft:
    family = families.find(Question(pairs.spec, pairs.contrast, pairs.group))
    estimate = pairs.estimate(settings)
    p_value = pairs.harm_p(settings) if family is Family.GUARDS else estimate.p_value
    return _Draft(pairs, family, estimate, p_value)


def _decide(draft: _Draft, tests: _FamilyTests, settings: VerdictSettings) -> Comparison:
    """Return the comparison, its outcome open where the failures at their worst would change it."""
    comparison = _comparison_of(draft, tests)
    if _holds_at_worst(draft, comparison.outcome, tests, settings):
        return comparison
    is_guard = draft.family is Family.GUARDS
    undone: Outcome | GuardOutcome = "unclear" if is_guard else "can't tell"
    comparison = replace(comparison, outcome=undone, holds_at_worst=False)
    return with_numbers_needed(comparison, draft.estimate, draft.pairs)


def _comparison_of(draft: _Draft, tests: _FamilyTests | None) -> Comparison:
    """Return the comparison, before failures are counted at their worst.

    Args:
        draft: of it.
        tests: of its family; None where it is not tested.
    """
    pairs, spec, found = draft.pairs, draft.pairs.spec, draft.estimate
    n, n_family = found.n, tests.n_family if tests else 1
    p_adjusted, outcome = None, None
    if tests and draft.family is not Family.DESCRIBED:
        p_adjusted = tests.adjusted[tests.place]
        outcome = _outcome_of(draft.family, found, p_adjusted, spec)
    bare = Comparison(
        metric=spec.name,
        variant=pairs.variant,
        baseline=pairs.baseline,
        group=pairs.group,
        n=n,
        n_clusters=found.n_clusters,
        effective_clusters=found.effective_clusters,
        largest_cluster_share=found.largest_cluster_share,
        skewness=found.skewness,
        n_failed_variant=pairs.n_failed_variant,
        n_failed_baseline=pairs.n_failed_baseline,
        variant_mean=math.fsum(a for _, a, _ in pairs.whole) / n if n else None,
        baseline_mean=math.fsum(b for _, _, b in pairs.whole) / n if n else None,
        difference=None if found.mean is None else spec.gain(found.mean, 0.0),  # turned back
        gain=found.mean,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
        p_value=draft.p_value,
        p_adjusted=p_adjusted,
        outcome=outcome,
        role=draft.family.role,
        n_family=n_family,
        method=found.method,
        interval_kind=found.interval_kind,
        why_no_interval=found.why_no_interval,
        margin=spec.margin,
        n_to_detect=None,
        smallest_detectable=possible_gain(
            stats.detectable_gain(found, stats.ALPHA / n_family), spec
        ),
        holds_at_worst=True,
        wins=sum(gain > 0 for gain in pairs.gains),
        losses=sum(gain < 0 for gain in pairs.gains),
        higher_is_better=spec.higher_is_better,
        is_relative=spec.is_relative,
        n_retryable=pairs.n_retryable,
        stuck_at=stuck_at(pairs),
    )
    is_open = outcome in ("can't tell", "unclear")
    return with_numbers_needed(bare, found, pairs) if is_open else bare


def _outcome_of(
    family: Family, found: stats.PairedEstimate, p_adjusted: float | None, spec: MetricSpec
) -> Outcome | GuardOutcome:
    interval = (found.ci_low, found.ci_high)
    if family is Family.GUARDS:
        return stats.decide_guard(interval, found.mean, p_adjusted, spec.margin)
    return stats.decide_outcome(interval, p_adjusted, spec.margin)


def _holds_at_worst(
    draft: _Draft,
    outcome: Outcome | GuardOutcome | None,
    tests: _FamilyTests,
    settings: VerdictSettings,
) -> bool:
    """Return whether the outcome stands with the failed scores at their worst against it."""
    pairs, spec = draft.pairs, draft.pairs.spec
    if not pairs.broken or outcome in (None, "can't tell", "unclear"):
        return True
    # An infinite worst score has no place in a mean: no outcome survives it.
    if not math.isfinite(spec.worst) or not math.isfinite(spec.best):
        return False
    for fill in _worst_fills(spec, outcome):
        found = pairs.estimate(settings, fill)
        is_guard = draft.family is Family.GUARDS
        p_value = pairs.harm_p(settings, fill) if is_guard else found.p_value
        if _outcome_of(draft.family, found, tests.adjust_instead(p_value), spec) != outcome:
            return False
    return True


def _worst_fills(spec: MetricSpec, outcome: Outcome | GuardOutcome | None) -> list[FailureFill]:
    """Return the worst that failed scores could have been, for this outcome."""
    against, in_favour = FailureFill(spec.worst, spec.best), FailureFill(spec.best, spec.worst)
    if outcome in ("better", "kept"):
        return [against]
    return [in_favour] if outcome in ("worse", "lost") else [against, in_favour]


def _compare_early(
    evidence: Evidence,
    settings: VerdictSettings,
    plan: EarlyPlan,
    families: Families,
    tick: Callable[[], None],
) -> tuple[Comparison, ...]:
    """Compare what a run that may stop early has so far.

    Outcome and interval are those of the confidence sequence where it settled. Means and gain are
    those of all judged pairs: the mean up to the stop is chosen for being far from zero.
    """
    rows, better = list[Comparison](), set[str]()
    for pairs in pair_scores(evidence):
        family = families.find(Question(pairs.spec, pairs.contrast, pairs.group))
        row = _early_row(pairs, family, plan)
        if family is Family.PRIMARY and row.outcome == "better":
            better.add(row.variant)
        # The base comes before the prompted base in the contrasts of a metric.
        if family is Family.OVER_PROMPT and row.variant not in better:
            row = replace(row, outcome=None)
        rows.append(replace(row, partial=settings.partial))
        tick()
    return tuple(rows)


def _early_row(pairs: Pairs, family: Family, plan: EarlyPlan) -> Comparison:
    """Return one comparison of a run that may stop early."""
    looks = plan.size(family) > 0
    found = (
        look_at_pairs(pairs, plan, family)
        if looks
        else EarlyResult(pairs, "can't tell", (None, None))
    )
    estimate = pairs.estimate(_FAST_RESAMPLING)
    bare = _comparison_of(_Draft(pairs, family, estimate, None), None)
    holds = not looks or _holds_at_worst_anytime(pairs, family, found.outcome, plan)
    interval = _anytime_interval(found, looks, estimate.n)
    undone: Outcome | GuardOutcome = "unclear" if family is Family.GUARDS else "can't tell"
    own = found.outcome if holds else undone
    is_open = looks and own == undone
    sd, margin = estimate.sd or 0.0, pairs.spec.margin
    return replace(
        bare,
        ci_low=interval.low,
        ci_high=interval.high,
        outcome=own if looks else None,
        n_family=max(1, plan.size(family)),
        n_to_detect=stats.n_to_detect(sd, margin) if is_open else None,
        method=interval.method,
        interval_kind=interval.kind,
        why_no_interval=interval.why_none,
        holds_at_worst=holds,
    )


def _anytime_interval(result: EarlyResult, looks: bool, n_judged: int) -> Interval:
    """Return the interval of a run that may stop early, with how it was computed."""
    low, high = result.interval
    if low is None or high is None:
        return no_interval(_CONTRADICTED if looks else _ONE_LOOK)
    n = len(result.pairs.whole)
    first = f" over the first {format_count(n)} of {format_count(n_judged)} pairs"
    after = "" if n == n_judged else first
    return Interval(low, high, f"{_ANYTIME}{after}", IntervalKind.SEQUENCE)


def _holds_at_worst_anytime(
    pairs: Pairs, family: Family, outcome: Outcome | GuardOutcome, plan: EarlyPlan
) -> bool:
    """Return the same as `_holds_at_worst`, by confidence sequences."""
    if outcome in ("can't tell", "unclear") or not pairs.broken:
        return True
    return all(
        look_at_pairs(pairs, plan, family, fill).outcome == outcome
        for fill in _worst_fills(pairs.spec, outcome)
    )
