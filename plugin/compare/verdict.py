"""Put a run's comparisons into the one verdict: what decides, what was lost, and what to know."""

from __future__ import annotations

import math
from collections.abc import Sequence

from plugin.compare.comparisons import VerdictSettings
from plugin.compare.contrasts import Contrast, contenders, is_comparable
from plugin.compare.intervals import RatioEstimate
from plugin.compare.numbers import format_count
from plugin.compare.pairs import Evidence, best_of
from plugin.compare.rivals import is_told_apart, rival_gaps
from plugin.compare.words import (
    Finding,
    data_quality_lines,
    detail_lines,
    early_stop_lines,
    single_variant_sentence,
    verdict_sentence,
)
from plugin.compare.words_rivals import best_of_line, early_best_of_line, rival_lines
from plugin.compare.yardsticks import (
    gaps_over_prompts,
    one_prompt_details,
    prompts_beside,
    prompts_details,
    rival_details,
    rivals_beside,
    share_of_prompt,
)
from plugin.records import ALL, Failure, MetricSpec, Score, is_prompted
from plugin.results import Comparison, Harm, RivalGap, Summary, Verdict


def decide_verdict(
    evidence: Evidence,
    summaries: Sequence[Summary],
    comparisons: Sequence[Comparison],
    settings: VerdictSettings,
) -> Verdict:
    """Return the verdict: the primary metric decides, and lost guards stand in the sentence.

    Of several adapters the verdict is about the recommended one: the one with the largest gain over
    the base on the primary metric, or an earlier one that is as good (see `rivals`). How it stands
    beside the others and beside a prompted base comes among the first details.

    Raises:
        ValueError: when the primary metric is not there, or is not one that decides.
    """
    primary = _primary_spec(evidence.metrics, settings.primary_metric)
    head = _headline(evidence, settings)
    if len(evidence.variants) == 1:
        means = [row for row in summaries if row.group == ALL]
        sentence = head + single_variant_sentence(evidence.names[0], means)
        return Verdict(None, sentence, (), primary.name)
    ranked = _rank_findings(evidence, comparisons, primary)
    gaps = _gaps_of(evidence, primary, ranked, settings)
    findings = _recommended_first(ranked, gaps, contenders(evidence.names))
    best = findings[0].primary
    beside = settings.beside.get((best.variant, best.baseline), "") if primary.is_relative else ""
    prompts = (
        ()
        if settings.is_withheld
        else gaps_over_prompts(evidence, primary, comparisons, best.variant, settings)
    )
    share = share_of_prompt(evidence, best, primary, settings, prompts)
    over_rivals = _rival_details(evidence, comparisons, best, primary)
    over_prompts = _prompt_details(evidence, comparisons, best, prompts, share)
    anytime = early_stop_lines(best if settings.n_worked else None) if settings.early else []
    return Verdict(
        outcome=findings[0].outcome,
        sentence=head
        + verdict_sentence(findings[0], _subject_text(evidence, best.variant, gaps), beside),
        details=(
            *rival_lines(gaps, best.variant, ranked[1].primary.variant if gaps else ""),
            *over_rivals,
            *over_prompts,
            *anytime,
            *detail_lines(findings, _best_of_details(evidence, best, primary, settings)),
            *data_quality_lines(summaries),
        ),
        primary_metric=primary.name,
        variant=best.variant,
        harms=tuple(_harm(row) for finding in findings for row in finding.lost),
        rivals=gaps,
        prompts=prompts,
        prompt_share=share.ratio if share else None,
        beside=(*over_rivals, *(over_prompts if prompts else ())),
    )


def _harm(row: Comparison) -> Harm:
    return Harm(
        variant=row.variant,
        metric=row.metric,
        group=row.group,
        gain=row.gain or 0.0,
        ci_low=row.ci_low,
        ci_high=row.ci_high,
        n=row.n,
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


def _gaps_of(
    evidence: Evidence, primary: MetricSpec, ranked: Sequence[Finding], settings: VerdictSettings
) -> tuple[RivalGap, ...]:
    """Compare the contender of the largest gain with the others; empty for nothing to compare."""
    best = ranked[0].primary
    if len(ranked) == 1 or settings.is_withheld or not best.n:
        return ()
    return rival_gaps(evidence, primary, best.variant, settings, settings.early)


def _recommended_first(
    ranked: Sequence[Finding], gaps: Sequence[RivalGap], order: Sequence[str]
) -> list[Finding]:
    """Return the findings with the recommended one first.

    An earlier one takes the place of the best if it is equivalent to it, if it shows the same
    against the base, and if it lost no guard that the best one kept.
    """
    best = ranked[0]
    outcomes = {gap.other: gap.outcome for gap in gaps}
    lost = {(row.metric, row.group) for row in best.lost}
    as_good = [
        found
        for found in ranked
        if outcomes.get(found.primary.variant) == "equivalent"
        and found.outcome == best.outcome
        and {(row.metric, row.group) for row in found.lost} <= lost
    ]
    chosen = min([best, *as_good], key=lambda found: order.index(found.primary.variant))
    return [chosen, *(found for found in ranked if found is not chosen)]


def _finding_for(
    comparisons: Sequence[Comparison], primary: str, variant: str, baseline: str
) -> Finding:
    """Return what one contrast shows."""
    own = [row for row in comparisons if (row.variant, row.baseline) == (variant, baseline)]
    first = next(row for row in own if row.metric == primary and row.group == ALL)
    return Finding(
        primary=first,
        guards=tuple(row for row in own if row.role == "guard"),
        others=tuple(
            row for row in own if row.group == ALL and row.role != "guard" and row is not first
        ),
        groups=tuple(
            row for row in own if row.group != ALL and row.metric == primary and row.role != "guard"
        ),
    )


def _subject_text(evidence: Evidence, chosen: str, gaps: Sequence[RivalGap]) -> str:
    """Name what the verdict is about, and out of how many it was chosen."""
    rivals = [v for v in evidence.variants if v.name in contenders(evidence.names)]
    if len(rivals) == 1:
        return chosen
    noun = "adapters" if all(variant.adapter_path for variant in rivals) else "variants"
    if all(is_prompted(variant.name) for variant in rivals):
        noun = "prompts"
    several = f"{len(rivals)} {noun}"
    if not gaps:
        return f"{chosen} (of {several})"
    if chosen != gaps[0].best:
        return f"{chosen} (as good as the best of {several}, and earlier)"
    how = "best" if is_told_apart(gaps) else "highest mean"
    return f"{chosen} ({how} of {several})"


def _prompt_details(
    evidence: Evidence,
    comparisons: Sequence[Comparison],
    row: Comparison,
    gaps: Sequence[RivalGap],
    share: RatioEstimate | None,
) -> list[str]:
    """Compare the best one with the base's prompts; empty without one, or where it is one.

    Args:
        evidence: the run's scores.
        comparisons: all of the run.
        row: the best one against the base.
        gaps: the best one over several prompts.
        share: of its gain that a prompt reaches.
    """
    prompts = prompts_beside(evidence.names)
    if not prompts:
        return []
    if gaps:
        beside_base = _finding_for(comparisons, row.metric, gaps[0].other, row.baseline)
        return prompts_details(gaps, beside_base, row, share)
    return [
        line
        for prompt in prompts  # several only where nothing may be concluded
        for line in one_prompt_details(
            _finding_for(comparisons, row.metric, row.variant, prompt),
            _finding_for(comparisons, row.metric, prompt, row.baseline),
            row,
            share if len(prompts) == 1 else None,
        )
    ]


def _rival_details(
    evidence: Evidence, comparisons: Sequence[Comparison], row: Comparison, primary: MetricSpec
) -> list[str]:
    """Compare the best one with every other model."""
    found = {
        rival: _finding_for(comparisons, primary.name, row.variant, rival)
        if is_comparable(primary, Contrast(row.variant, rival))
        else None
        for rival in rivals_beside(evidence.names)
    }
    return rival_details(evidence, found, primary.name)


def _best_of_details(
    evidence: Evidence, best: Comparison, primary: MetricSpec, settings: VerdictSettings
) -> list[str]:
    """Say what being the best of several does to the gain; empty for one contender."""
    rivals = contenders(evidence.names)
    beside = (*prompts_beside(evidence.names), *rivals_beside(evidence.names))
    if len(rivals) == 1 or not best.n:
        return []
    if settings.early:
        return [early_best_of_line(best, len(rivals), beside)]
    found = best_of(evidence, primary, best.variant, settings)
    return [best_of_line(best, found, beside)]


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
