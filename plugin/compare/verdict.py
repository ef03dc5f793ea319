"""Scores -> Summary and Comparison: records in, records out.

What a run holds beyond the listed cases, variants and metrics is not counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

from plugin import stats
from plugin.early import EarlyPlan, Found, look
from plugin.intervals import BETTING
from plugin.pairing import Evidence, Fill, Pairs, all_pairs, clusters_of, column_of, groups_of
from plugin.records import ALL, Comparison, MetricSpec, Outcome, Summary

ANYTIME = f"{BETTING} that holds however often one looks (confidence sequence)"


class _Hasty(NamedTuple):
    """Resampling for an estimate whose interval is not used."""

    seed: int = 0
    n_resamples: int = 50


_HASTY = _Hasty()

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
    """

    primary_metric: str
    seed: int
    partial: bool = False
    n_expected: int | None = None
    judge_label: str = ""
    n_resamples: int = N_RESAMPLES
    early: EarlyPlan | None = None
    n_worked: int = 0


def summarise(evidence: Evidence, settings: VerdictSettings) -> tuple[Summary, ...]:
    """Every variant's mean on every metric, in every group; no data gives None."""
    summaries = []
    for spec in evidence.metrics:
        for name in evidence.scored(spec):
            column = column_of(evidence, spec, name)
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
                        ci_low=None if settings.early else found.ci_low,
                        ci_high=None if settings.early else found.ci_high,
                        higher_is_better=spec.higher_is_better,
                    )
                )
    return tuple(summaries)


def compare(evidence: Evidence, settings: VerdictSettings) -> tuple[Comparison, ...]:
    """Every variant against its baselines on every metric, in every group.

    Holm's adjustment runs over two families: the deciding metrics over all cases, and over the
    groups. An outcome other than "can't tell" must also hold with the failures at their worst.
    """
    if settings.early:
        return _compare_anytime(evidence, settings, settings.early)
    drafts = [(pairs, pairs.estimate(settings)) for pairs in all_pairs(evidence)]
    comparisons = []
    for place, (pairs, found) in enumerate(drafts):
        rivals = [
            rival.p_value
            for at, (other, rival) in enumerate(drafts)
            if at != place and other.family == pairs.family and rival.p_value is not None
        ]
        comparison = _compared(pairs, found, rivals)
        if comparison.outcome not in (None, "can't tell") and not _holds_at_worst(
            pairs, comparison.outcome, rivals, settings
        ):
            comparison = replace(comparison, outcome="can't tell", holds_at_worst=False)
        comparisons.append(replace(comparison, partial=settings.partial))
    return tuple(comparisons)


def _compare_anytime(
    evidence: Evidence, settings: VerdictSettings, plan: EarlyPlan
) -> tuple[Comparison, ...]:
    """The comparisons of a run that may stop early."""
    comparisons = []
    for pairs in all_pairs(evidence):
        decides = pairs.spec.decides and pairs.group == ALL
        found = look(pairs, plan) if decides else Found(pairs, "can't tell", (None, None))
        bare = _compared(found.pairs, found.pairs.estimate(_HASTY), [])
        holds = not decides or _holds_at_worst_anytime(pairs, found.outcome, plan)
        own: Outcome | None = found.outcome if holds else "can't tell"
        comparison = replace(
            bare,
            ci_low=found.interval[0],
            ci_high=found.interval[1],
            p_value=None,
            p_adjusted=None,
            outcome=own if decides else None,
            n_to_detect=bare.n_to_detect if decides and own == "can't tell" else None,
            method=ANYTIME if decides else "no interval in a run that may stop early",
            holds_at_worst=holds,
            partial=settings.partial,
        )
        comparisons.append(comparison)
    return tuple(comparisons)


def _holds_at_worst_anytime(pairs: Pairs, outcome: Outcome, plan: EarlyPlan) -> bool:
    """As `_holds_at_worst`, by confidence sequences."""
    if outcome == "can't tell" or not pairs.broken:
        return True
    return all(look(pairs, plan, fill).outcome == outcome for fill in _fills(pairs.spec, outcome))


def _compared(pairs: Pairs, found: stats.PairedEstimate, rivals: list[float]) -> Comparison:
    """The comparison, before failures are counted at their worst."""
    spec, n = pairs.spec, found.n
    p_adjusted = _adjusted(found, rivals) if spec.decides else None
    outcome: Outcome | None = None
    if spec.decides:
        outcome = stats.outcome_of((found.ci_low, found.ci_high), p_adjusted, spec.margin)
    settled = outcome != "can't tell" or found.sd is None
    return Comparison(
        metric=spec.name,
        variant=pairs.variant,
        baseline=pairs.baseline,
        group=pairs.group,
        n=n,
        n_clusters=found.n_clusters,
        n_failed_variant=pairs.n_failed_variant,
        n_failed_baseline=pairs.n_failed_baseline,
        variant_mean=math.fsum(a for _, a, _ in pairs.whole) / n if n else None,
        baseline_mean=math.fsum(b for _, _, b in pairs.whole) / n if n else None,
        difference=found.mean if spec.higher_is_better or not found.mean else -found.mean,
        gain=found.mean,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
        p_value=found.p_value,
        p_adjusted=p_adjusted,
        outcome=outcome,
        method=found.method,
        margin=spec.margin,
        n_to_detect=None if settled else stats.n_to_detect(found.sd or 0.0, spec.margin),
        smallest_detectable=stats.smallest_detectable(found.sd or 0.0, n),
        holds_at_worst=True,
        wins=sum(gain > 0 for gain in pairs.gains),
        losses=sum(gain < 0 for gain in pairs.gains),
        higher_is_better=spec.higher_is_better,
        exploratory=pairs.group != ALL,
    )


def _adjusted(found: stats.PairedEstimate, rivals: list[float]) -> float | None:
    return None if found.p_value is None else stats.holm([found.p_value, *rivals])[0]


def _holds_at_worst(
    pairs: Pairs, outcome: Outcome, rivals: list[float], settings: VerdictSettings
) -> bool:
    """Whether the outcome stands with the failed scores at their worst against it."""
    if not pairs.broken:
        return True
    spec = pairs.spec
    # An infinite worst score has no place in a mean: no outcome survives it.
    if not math.isfinite(spec.worst) or not math.isfinite(spec.best):
        return False
    for fill in _fills(spec, outcome):
        found = pairs.estimate(settings, fill)
        interval = (found.ci_low, found.ci_high)
        if stats.outcome_of(interval, _adjusted(found, rivals), spec.margin) != outcome:
            return False
    return True


def _fills(spec: MetricSpec, outcome: Outcome) -> list[Fill]:
    """The worst that failed scores could have been, for this outcome."""
    against, in_favour = Fill(spec.worst, spec.best), Fill(spec.best, spec.worst)
    return {"better": [against], "worse": [in_favour]}.get(outcome, [against, in_favour])
