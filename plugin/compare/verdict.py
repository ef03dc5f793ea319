"""Turn a run's scores into summaries and comparisons, and these into the one verdict.

What a run holds beyond the listed cases, variants and metrics is not counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from plugin.compare import stats
from plugin.compare.early_stop import EarlyPlan, EarlyResult, look_at_pairs
from plugin.compare.intervals import Interval, no_interval
from plugin.compare.numbers import format_count
from plugin.compare.pairs import (
    Evidence,
    FailureFill,
    Pairs,
    best_of,
    clusters_of,
    column_of,
    contenders,
    groups_of,
    pair_scores,
    prompt_share,
)
from plugin.compare.words import (
    Finding,
    best_of_line,
    data_quality_lines,
    detail_lines,
    early_best_of_line,
    early_stop_lines,
    prompt_lines,
    prompt_share_line,
    single_variant_sentence,
    upkeep_lines,
    verdict_sentence,
)
from plugin.records import (
    ALL,
    PROMPTED,
    Comparison,
    Failure,
    IntervalKind,
    MetricSpec,
    Outcome,
    Score,
    Summary,
    Verdict,
)

_ANYTIME = "betting interval that holds however often one looks (confidence sequence)"
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
    """Return every variant's mean on every metric, in every group; no data gives None."""
    summaries = []
    for spec in evidence.metrics:
        for name in evidence.scored_names(spec):
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
    """Compare every variant with its baselines on every metric, in every group.

    Holm's adjustment runs over two families: the deciding metrics over all cases, and over the
    groups. An outcome other than "can't tell" must also hold with the failures at their worst.
    """
    if settings.early:
        return _compare_early(evidence, settings, settings.early)
    drafts = [(pairs, pairs.estimate(settings)) for pairs in pair_scores(evidence)]
    comparisons = []
    for place, (pairs, found) in enumerate(drafts):
        rivals = [
            rival.p_value
            for at, (other, rival) in enumerate(drafts)
            if at != place and other.family == pairs.family and rival.p_value is not None
        ]
        comparison = _comparison_of(pairs, found, rivals)
        if comparison.outcome not in (None, "can't tell") and not _holds_at_worst(
            pairs, comparison.outcome, rivals, settings
        ):
            comparison = replace(comparison, outcome="can't tell", holds_at_worst=False)
        comparisons.append(replace(comparison, partial=settings.partial))
    return tuple(comparisons)


def withhold_outcomes(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Return the comparisons without outcomes, for scores from which nothing may be concluded."""
    return tuple(replace(row, outcome="can't tell" if row.outcome else None) for row in comparisons)


def _compare_early(
    evidence: Evidence, settings: VerdictSettings, plan: EarlyPlan
) -> tuple[Comparison, ...]:
    """Compare what a run that may stop early has so far.

    Outcome and interval are those of the confidence sequence where it settled. Means and gain are
    those of all judged pairs: the mean up to the stop is chosen for being far from zero.
    """
    comparisons = []
    for pairs in pair_scores(evidence):
        decides = pairs.spec.decides and pairs.group == ALL
        found = (
            look_at_pairs(pairs, plan)
            if decides
            else EarlyResult(pairs, "can't tell", (None, None))
        )
        estimate = pairs.estimate(_FAST_RESAMPLING)
        bare = _comparison_of(pairs, estimate, [])
        holds = not decides or _holds_at_worst_anytime(pairs, found.outcome, plan)
        interval = _anytime_interval(found, decides, estimate.n)
        own: Outcome = found.outcome if holds else "can't tell"
        is_open = decides and own == "can't tell"
        comparison = replace(
            bare,
            ci_low=interval.low,
            ci_high=interval.high,
            p_value=None,
            p_adjusted=None,
            outcome=own if decides else None,
            n_to_detect=(
                stats.n_to_detect(estimate.sd or 0.0, pairs.spec.margin) if is_open else None
            ),
            method=interval.method,
            interval_kind=interval.kind,
            why_no_interval=interval.why_none,
            holds_at_worst=holds,
            partial=settings.partial,
        )
        comparisons.append(comparison)
    return tuple(comparisons)


def _anytime_interval(result: EarlyResult, decides: bool, n_judged: int) -> Interval:
    """Return the interval of a run that may stop early, with how it was computed."""
    low, high = result.interval
    if low is None or high is None:
        return no_interval(_CONTRADICTED if decides else _ONE_LOOK)
    n = len(result.pairs.whole)
    first = f" after the first {format_count(n)} of {format_count(n_judged)} pairs"
    after = "" if n == n_judged else first
    return Interval(low, high, f"{_ANYTIME}{after}", IntervalKind.SEQUENCE)


def _holds_at_worst_anytime(pairs: Pairs, outcome: Outcome, plan: EarlyPlan) -> bool:
    """Return the same as `_holds_at_worst`, by confidence sequences."""
    if outcome == "can't tell" or not pairs.broken:
        return True
    return all(
        look_at_pairs(pairs, plan, fill).outcome == outcome
        for fill in _worst_fills(pairs.spec, outcome)
    )


def _comparison_of(pairs: Pairs, estimate: stats.PairedEstimate, rivals: list[float]) -> Comparison:
    """Return the comparison, before failures are counted at their worst."""
    spec, n = pairs.spec, estimate.n
    p_adjusted = _holm_adjusted(estimate, rivals) if spec.decides else None
    outcome: Outcome | None = None
    if spec.decides:
        outcome = stats.decide_outcome((estimate.ci_low, estimate.ci_high), p_adjusted, spec.margin)
    settled = outcome != "can't tell" or estimate.sd is None
    return Comparison(
        metric=spec.name,
        variant=pairs.variant,
        baseline=pairs.baseline,
        group=pairs.group,
        n=n,
        n_clusters=estimate.n_clusters,
        effective_clusters=estimate.effective_clusters,
        largest_cluster_share=estimate.largest_cluster_share,
        skewness=estimate.skewness,
        n_failed_variant=pairs.n_failed_variant,
        n_failed_baseline=pairs.n_failed_baseline,
        variant_mean=math.fsum(a for _, a, _ in pairs.whole) / n if n else None,
        baseline_mean=math.fsum(b for _, _, b in pairs.whole) / n if n else None,
        difference=None if estimate.mean is None else spec.gain(estimate.mean, 0.0),  # turned back
        gain=estimate.mean,
        ci_low=estimate.ci_low,
        ci_high=estimate.ci_high,
        p_value=estimate.p_value,
        p_adjusted=p_adjusted,
        outcome=outcome,
        method=estimate.method,
        interval_kind=estimate.interval_kind,
        why_no_interval=estimate.why_no_interval,
        margin=spec.margin,
        n_to_detect=None if settled else stats.needed_to_detect(estimate, spec.margin),
        smallest_detectable=stats.detectable_gain(estimate),
        holds_at_worst=True,
        wins=sum(gain > 0 for gain in pairs.gains),
        losses=sum(gain < 0 for gain in pairs.gains),
        higher_is_better=spec.higher_is_better,
        exploratory=pairs.group != ALL,
    )


def _holm_adjusted(estimate: stats.PairedEstimate, rivals: list[float]) -> float | None:
    return None if estimate.p_value is None else stats.holm([estimate.p_value, *rivals])[0]


def _holds_at_worst(
    pairs: Pairs, outcome: Outcome, rivals: list[float], settings: VerdictSettings
) -> bool:
    """Return whether the outcome stands with the failed scores at their worst against it."""
    if not pairs.broken:
        return True
    spec = pairs.spec
    # An infinite worst score has no place in a mean: no outcome survives it.
    if not math.isfinite(spec.worst) or not math.isfinite(spec.best):
        return False
    for fill in _worst_fills(spec, outcome):
        found = pairs.estimate(settings, fill)
        interval = (found.ci_low, found.ci_high)
        if stats.decide_outcome(interval, _holm_adjusted(found, rivals), spec.margin) != outcome:
            return False
    return True


def _worst_fills(spec: MetricSpec, outcome: Outcome) -> list[FailureFill]:
    """Return the worst that failed scores could have been, for this outcome."""
    against, in_favour = FailureFill(spec.worst, spec.best), FailureFill(spec.best, spec.worst)
    return {"better": [against], "worse": [in_favour]}.get(outcome, [against, in_favour])


def decide_verdict(
    evidence: Evidence,
    summaries: Sequence[Summary],
    comparisons: Sequence[Comparison],
    settings: VerdictSettings,
) -> Verdict:
    """Return the verdict: the primary metric decides, and a worse one besides makes it mixed.

    Of several adapters the verdict is about the one with the largest gain over the base on the
    primary metric. How it stands beside a prompted base comes first among the details.

    Raises:
        ValueError: when the primary metric is not there, or is not one that decides.
    """
    primary = _primary_spec(evidence.metrics, settings.primary_metric)
    head = _headline(evidence, settings)
    if len(evidence.variants) == 1:
        means = [row for row in summaries if row.group == ALL]
        sentence = head + single_variant_sentence(evidence.names[0], means)
        return Verdict(None, sentence, (), primary.name)
    findings = _rank_findings(evidence, comparisons, primary)
    best = findings[0].primary
    groups = [
        row
        for row in comparisons
        if row.group != ALL
        and (row.metric, row.variant, row.baseline) == (best.metric, best.variant, best.baseline)
    ]
    anytime = (
        early_stop_lines(settings.early.n_decisions, best if settings.n_worked else None)
        if settings.early
        else []
    )
    return Verdict(
        outcome=findings[0].outcome,
        sentence=head + verdict_sentence(findings[0], _subject_text(evidence, best.variant)),
        details=(
            *_prompt_details(evidence, comparisons, findings[0], primary, settings),
            *anytime,
            *detail_lines(findings, groups, _best_of_details(evidence, best, primary, settings)),
            *data_quality_lines(summaries),
        ),
        primary_metric=primary.name,
    )


def _rank_findings(
    evidence: Evidence, comparisons: Sequence[Comparison], primary: MetricSpec
) -> list[Finding]:
    """Return the contenders against the base, the one with the largest gain first."""
    return sorted(
        (
            _finding_for(comparisons, primary.name, name, evidence.names[0])
            for name in contenders(evidence.names)
        ),
        key=lambda found: -math.inf if found.primary.gain is None else found.primary.gain,
        reverse=True,
    )


def _finding_for(
    comparisons: Sequence[Comparison], primary: str, variant: str, baseline: str
) -> Finding:
    """Return what one contrast shows over all cases."""
    own = [
        row
        for row in comparisons
        if (row.group, row.variant, row.baseline) == (ALL, variant, baseline)
    ]
    first = next(row for row in own if row.metric == primary)
    return Finding(first, tuple(row for row in own if row is not first))


def _subject_text(evidence: Evidence, best: str) -> str:
    """Name what the verdict is about, and out of how many it was chosen."""
    rivals = [v for v in evidence.variants if v.name in contenders(evidence.names)]
    if len(rivals) == 1:
        return best
    noun = "adapters" if all(variant.adapter_path for variant in rivals) else "variants"
    return f"{best} (best of {len(rivals)} {noun})"


def _prompt_details(
    evidence: Evidence,
    comparisons: Sequence[Comparison],
    best: Finding,
    primary: MetricSpec,
    settings: VerdictSettings,
) -> list[str]:
    """Compare the best one with the prompted base; empty without one, or where it is the best."""
    row = best.primary
    if PROMPTED not in evidence.names[1:] or row.variant == PROMPTED:
        return []
    over_prompt = _finding_for(comparisons, primary.name, row.variant, PROMPTED)
    prompt = _finding_for(comparisons, primary.name, PROMPTED, row.baseline)
    lines = prompt_lines(over_prompt, prompt)
    if row.ci_low is not None and row.ci_low > 0:
        found = prompt_share(evidence, primary, row.variant)
        if settings.early:
            found = replace(found, ci_low=None, ci_high=None)
        lines.append(prompt_share_line(row, found))
    return [*lines, *upkeep_lines(over_prompt.primary)]


def _best_of_details(
    evidence: Evidence, best: Comparison, primary: MetricSpec, settings: VerdictSettings
) -> list[str]:
    """Say what being the best of several does to the gain; empty for one contender."""
    rivals, has_prompt = contenders(evidence.names), PROMPTED in evidence.names[1:]
    if len(rivals) == 1 or not best.n:
        return []
    if settings.early:
        return [early_best_of_line(best, len(rivals), has_prompt)]
    found = best_of(evidence, primary, best.variant, settings)
    return [best_of_line(best, found, has_prompt)]


def _primary_spec(metrics: Sequence[MetricSpec], wanted: str) -> MetricSpec:
    for spec in metrics:
        if wanted in (spec.name, spec.key) and spec.decides:
            return spec
    known = ", ".join(spec.name for spec in metrics if spec.decides) or "none here"
    raise ValueError(f"primary metric {wanted!r} is not one that decides ({known})")


def _headline(evidence: Evidence, settings: VerdictSettings) -> str:
    """Return what stands before the sentence: who judged, and how far a partial run came."""
    label = f"[{settings.judge_label}] " if settings.judge_label else ""
    if settings.n_worked:
        n_judged, n_cases = format_count(settings.n_worked), format_count(len(evidence.cases))
        return f"{label}stopped early, {n_judged} of {n_cases} cases judged: "
    if not settings.partial:
        return label
    n_worked = format_count(len(_worked_ids(evidence)))
    n_expected = format_count(settings.n_expected or len(evidence.cases))
    return f"{label}partial run: {n_worked} of {n_expected} cases: "


def _worked_ids(evidence: Evidence) -> set[str]:
    """Return the ids of the cases that are worked, in whole or in part.

    The engine's own scores are all made before the first completion is scored, one variant after
    another: they tell how far a run came only where there are no others.
    """
    late = {
        n for spec in evidence.metrics if not spec.needs_likelihood for n in (spec.name, spec.key)
    }
    made = [score for score in evidence.scores if not late or score.metric in late]
    results: list[Score | Failure] = [*made, *evidence.failures]
    of_variant: dict[str, set[str]] = {}
    for one in results:
        if one.variant:
            of_variant.setdefault(one.variant, set()).add(one.case_id)
    own = [of_variant.get(variant.name, set()) for variant in evidence.variants]
    touched = set.union(*of_variant.values(), set()) if late else set.intersection(*own)
    return touched & {case.id for case in evidence.cases}
