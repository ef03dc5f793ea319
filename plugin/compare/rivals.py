"""Compare the variants of a run with each other on the primary metric, and recommend one of them.

That one variant has the highest mean does not show that it is the best: which one it is comes from
the same cases. So the differences of all pairs of variants are a family of their own. With two
variants there is one pair, judged like any comparison. With more, the intervals of all pairs hold
at once with a probability of 95%, so they stay valid for the pairs that turn out to matter. The
tests against the base are not touched: Holm's method holds for whichever variant is picked.

Recommended is the variant with the highest mean, or an earlier one (in the order of the command
line) that is shown to be equivalent to it: of two checkpoints that are as good as each other, the
one with less training has changed less.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from plugin.compare.early_stop import ConfidenceSequence, EarlyPlan, SettleRule, gains_in_order
from plugin.compare.intervals import Interval, no_interval, simultaneous_intervals
from plugin.compare.pairs import (
    Contrast,
    Evidence,
    Pairs,
    ResamplingSettings,
    ScoreColumn,
    clusters_of,
    column_of,
    contenders,
    contrast_columns,
    pair_up,
    wins_of,
)
from plugin.compare.stats import decide_outcome
from plugin.records import ALL, MetricSpec
from plugin.results import IntervalKind, Outcome, RivalGap

_MOST_RIVALS = 20
"""With more variants there are hundreds of pairs, and no interval is computed."""


def rival_gaps(
    evidence: Evidence,
    spec: MetricSpec,
    best: str,
    resampling: ResamplingSettings,
    early: EarlyPlan | None = None,
) -> tuple[RivalGap, ...]:
    """Return how far the best contender is ahead of each other one, in their given order.

    Args:
        evidence: the run's scores.
        spec: the primary metric.
        best: name of the contender with the highest mean gain over the base.
        resampling: seed and number of resamples.
        early: of a run that may stop early: the intervals are then confidence sequences.
    """
    names = contenders(evidence.names)
    columns = {name: column_of(evidence, spec, name) for name in names}
    n_pairs = len(names) * (len(names) - 1) // 2
    pairs = {
        name: _pair(evidence, spec, Contrast(best, name), columns) for name in names if name != best
    }
    if early:
        return tuple(_early_gap(own, early, n_pairs) for own in pairs.values())
    if n_pairs == 1:
        return tuple(_single_gap(own, resampling) for own in pairs.values())
    if len(names) > _MOST_RIVALS:
        why = no_interval(f"no interval with more than {_MOST_RIVALS} variants")
        return tuple(_joint_gap(own, why, n_pairs) for own in pairs.values())
    others = [name for name in names if name != best]
    # The pairs with the best one first, each in the direction in which it is shown.
    wanted = [Contrast(best, name) for name in others]
    wanted += [Contrast(*pair) for pair in combinations(others, 2)]
    intervals = _joint_intervals(evidence, spec, wanted, resampling)
    return tuple(
        _joint_gap(own, interval, n_pairs)
        for own, interval in zip(pairs.values(), intervals, strict=False)
    )


def gaps_over(
    evidence: Evidence,
    spec: MetricSpec,
    variant: str,
    others: Sequence[str],
    resampling: ResamplingSettings,
) -> tuple[RivalGap, ...]:
    """Return how far a variant is ahead of each of several others, in their given order.

    The intervals hold for all of them at once, over the cases that all have a score for. So they
    stay valid for the one that turns out to be the best, which the same cases chose.
    """
    wanted = [Contrast(variant, name) for name in others]
    columns = {name: column_of(evidence, spec, name) for name in (variant, *others)}
    intervals = _joint_intervals(evidence, spec, wanted, resampling)
    return tuple(
        _joint_gap(_pair(evidence, spec, contrast, columns), interval, len(wanted))
        for contrast, interval in zip(wanted, intervals, strict=True)
    )


def _pair(
    evidence: Evidence,
    spec: MetricSpec,
    contrast: Contrast,
    over_base: Mapping[str, ScoreColumn],
) -> Pairs:
    """Pair two variants: their own preferences where they have some, else their scores.

    What both win over the base are two scores like any others, which may differ by up to 1.
    """
    columns = _columns(evidence, spec, contrast, over_base)
    if columns is over_base:
        spec = replace(spec, is_relative=False)
    return pair_up(spec, contrast, columns, (ALL, evidence.cases))


def _columns(
    evidence: Evidence,
    spec: MetricSpec,
    contrast: Contrast,
    over_base: Mapping[str, ScoreColumn],
) -> Mapping[str, ScoreColumn]:
    """Return the columns of two variants: their own preferences where they have some."""
    if spec.is_relative and wins_of(evidence.preferences, spec, contrast):
        return dict(zip(contrast, contrast_columns(evidence, spec, contrast), strict=True))
    return over_base


def _single_gap(pairs: Pairs, resampling: ResamplingSettings) -> RivalGap:
    """Return the gap of the only pair of variants, judged like any comparison."""
    found = pairs.estimate(resampling)
    interval = Interval(found.ci_low, found.ci_high, found.method, found.interval_kind)
    return _gap(pairs, interval, 1, found.p_value)


def _joint_gap(pairs: Pairs, interval: Interval, n_pairs: int) -> RivalGap:
    """Return one of several gaps: what its simultaneous interval shows needs no further test."""
    return _gap(pairs, interval, n_pairs, 0.0)


def _early_gap(pairs: Pairs, plan: EarlyPlan, n_pairs: int) -> RivalGap:
    """Return a gap of a run that may stop early, by a confidence sequence with its share of 5%."""
    extent = pairs.spec.high - pairs.spec.low
    sequence = ConfidenceSequence(
        SettleRule(pairs.spec.margin, -extent, extent, n_decisions=n_pairs)
    )
    by_id = {case.id: gain for (case, *_), gain in zip(pairs.whole, pairs.gains, strict=True)}
    failed = {case.id for case, *_ in pairs.broken}
    order = [case.id for case in plan.order if pairs.spec.fits(case)]
    settled = sequence.add(gains_in_order(order, by_id, failed))
    ends = (settled.ci_low, settled.ci_high) if settled else sequence.interval()
    if ends is None:
        return _gap(pairs, no_interval("no interval"), n_pairs, None)
    interval = Interval(*ends, "confidence sequence (betting)", IntervalKind.SEQUENCE)
    return _gap(pairs, interval, n_pairs, 0.0)


def _joint_intervals(
    evidence: Evidence,
    spec: MetricSpec,
    contrasts: Sequence[Contrast],
    resampling: ResamplingSettings,
) -> tuple[Interval, ...]:
    """Return the intervals of several gains that hold at once, over the cases that all have."""
    names = dict.fromkeys(name for contrast in contrasts for name in contrast)
    over_base = {name: column_of(evidence, spec, name) for name in names}
    columns = [_columns(evidence, spec, contrast, over_base) for contrast in contrasts]
    sides = [
        (own[pair.variant].scores, own[pair.baseline].scores)
        for pair, own in zip(contrasts, columns, strict=True)
    ]
    cases = [c for c in evidence.cases if all(c.id in own for pair in sides for own in pair)]
    extent = spec.high - spec.low
    return simultaneous_intervals(
        [[spec.gain(own[case.id], base[case.id]) for case in cases] for own, base in sides],
        clusters=clusters_of(cases),
        low=-extent,
        high=extent,
        seed=resampling.seed,
        n_resamples=resampling.n_resamples,
    )


def _gap(pairs: Pairs, interval: Interval, n_pairs: int, p_value: float | None) -> RivalGap:
    """Return a gap with its outcome, which must also hold with the failures at their worst."""
    n, n_broken, spec = len(pairs.whole), len(pairs.broken), pairs.spec
    clusters = clusters_of([case for case, _, _ in pairs.whole])
    outcome = decide_outcome(interval[:2], p_value, spec.margin)
    holds = not n_broken or outcome == _worst_outcome(pairs, interval, p_value)
    return RivalGap(
        best=pairs.variant,
        other=pairs.baseline,
        metric=spec.name,
        n=n,
        n_clusters=None if clusters is None else len(set(clusters)),
        n_failed=n_broken,
        best_mean=math.fsum(a for _, a, _ in pairs.whole) / n if n else None,
        other_mean=math.fsum(b for _, _, b in pairs.whole) / n if n else None,
        gain=math.fsum(pairs.gains) / n if n else None,
        ci_low=interval.low,
        ci_high=interval.high,
        margin=spec.margin,
        outcome=outcome if holds else "can't tell",
        n_pairs=n_pairs,
        method=interval.method,
        is_relative=spec.is_relative,
    )


def _worst_outcome(pairs: Pairs, interval: Interval, p_value: float | None) -> Outcome:
    """Return the outcome if every failed pair had the gain that widens the interval most."""
    n, n_broken, extent = len(pairs.whole), len(pairs.broken), pairs.spec.high - pairs.spec.low
    if interval.low is None or interval.high is None or not math.isfinite(extent):
        return "can't tell"
    low = (n * interval.low - n_broken * extent) / (n + n_broken)
    high = (n * interval.high + n_broken * extent) / (n + n_broken)
    return decide_outcome((low, high), p_value, pairs.spec.margin)


def is_told_apart(gaps: Sequence[RivalGap]) -> bool:
    """Return whether the best one is shown to be better than every other one."""
    return all(gap.outcome == "better" for gap in gaps)
