"""Comparisons -> the one verdict: records in, records out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from plugin import contest, contest_text, verdict_text
from plugin.comparing import VerdictSettings
from plugin.pairing import Evidence, contenders
from plugin.records import ALL, PROMPTED, Comparison, Failure, MetricSpec, Score, Summary, Verdict


def decide(
    evidence: Evidence,
    summaries: Sequence[Summary],
    comparisons: Sequence[Comparison],
    settings: VerdictSettings,
) -> Verdict:
    """The one verdict: the primary metric decides, and a worse one besides makes it mixed.

    Of several adapters the verdict is about the one with the largest gain over the base on the
    primary metric. How it stands beside a prompted base comes first among the details.

    Raises:
        ValueError: when the primary metric is not there, or is not one that decides.
    """
    primary = _primary(evidence.metrics, settings.primary_metric)
    head = _head(evidence, settings)
    if len(evidence.variants) == 1:
        means = [row for row in summaries if row.group == ALL]
        sentence = head + verdict_text.alone(evidence.names[0], means)
        return Verdict(None, sentence, (), primary.name)
    findings = _ranked(evidence, comparisons, primary)
    best = findings[0].primary
    groups = [
        row
        for row in comparisons
        if row.group != ALL
        and (row.metric, row.variant, row.baseline) == (best.metric, best.variant, best.baseline)
    ]
    anytime = verdict_text.anytime(settings.early.n_decisions) if settings.early else []
    return Verdict(
        outcome=findings[0].outcome,
        sentence=head + verdict_text.sentence(findings[0], _subject(evidence, best.variant)),
        details=(
            *_beside_prompt(evidence, comparisons, findings[0], primary, settings),
            *anytime,
            *verdict_text.details(findings, groups, _chosen(evidence, best, primary, settings)),
            *verdict_text.of_data(summaries),
        ),
        primary_metric=primary.name,
    )


def _ranked(
    evidence: Evidence, comparisons: Sequence[Comparison], primary: MetricSpec
) -> list[verdict_text.Finding]:
    """The contenders against the base, the one with the largest gain first."""
    return sorted(
        (
            _finding(comparisons, primary.name, name, evidence.names[0])
            for name in contenders(evidence.names)
        ),
        key=lambda found: -math.inf if found.primary.gain is None else found.primary.gain,
        reverse=True,
    )


def _finding(
    comparisons: Sequence[Comparison], primary: str, variant: str, baseline: str
) -> verdict_text.Finding:
    """One contrast over all cases."""
    own = [
        row
        for row in comparisons
        if (row.group, row.variant, row.baseline) == (ALL, variant, baseline)
    ]
    first = next(row for row in own if row.metric == primary)
    return verdict_text.Finding(first, tuple(row for row in own if row is not first))


def _subject(evidence: Evidence, best: str) -> str:
    """What the verdict is about, and out of how many it was chosen."""
    rivals = [v for v in evidence.variants if v.name in contenders(evidence.names)]
    if len(rivals) == 1:
        return best
    noun = "adapters" if all(variant.adapter_path for variant in rivals) else "variants"
    return f"{best} (best of {len(rivals)} {noun})"


def _beside_prompt(
    evidence: Evidence,
    comparisons: Sequence[Comparison],
    best: verdict_text.Finding,
    primary: MetricSpec,
    settings: VerdictSettings,
) -> list[str]:
    """The best one beside the prompted base; empty where there is none, or it is the best one."""
    row = best.primary
    if PROMPTED not in evidence.names[1:] or row.variant == PROMPTED:
        return []
    over_prompt = _finding(comparisons, primary.name, row.variant, PROMPTED)
    prompt = _finding(comparisons, primary.name, PROMPTED, row.baseline)
    lines = contest_text.beside_prompt(over_prompt, prompt)
    if row.ci_low is not None and row.ci_low > 0:
        found = contest.prompts_share(evidence, primary, row.variant)
        if settings.early:
            found = replace(found, ci_low=None, ci_high=None)
        lines.append(contest_text.share(row, found))
    return [*lines, *contest_text.upkeep(over_prompt.primary)]


def _chosen(
    evidence: Evidence, best: Comparison, primary: MetricSpec, settings: VerdictSettings
) -> list[str]:
    """What being the best of several does to the gain; empty for one contender."""
    rivals, has_prompt = contenders(evidence.names), PROMPTED in evidence.names[1:]
    if len(rivals) == 1 or not best.n:
        return []
    if settings.early:
        return [contest_text.chosen_anytime(best, len(rivals), has_prompt)]
    found = contest.choice(evidence, primary, best.variant, settings)
    return [contest_text.chosen(best, found, has_prompt)]


def _primary(metrics: Sequence[MetricSpec], wanted: str) -> MetricSpec:
    for spec in metrics:
        if wanted in (spec.name, spec.key) and spec.decides:
            return spec
    known = ", ".join(spec.name for spec in metrics if spec.decides) or "none here"
    raise ValueError(f"primary metric {wanted!r} is not one that decides ({known})")


def _head(evidence: Evidence, settings: VerdictSettings) -> str:
    """What must stand before the sentence: who judged, and how far a partial run came."""
    label = f"[{settings.judge_label}] " if settings.judge_label else ""
    if settings.n_worked:
        return f"{label}stopped early, {settings.n_worked} of {len(evidence.cases)} cases judged: "
    if not settings.partial:
        return label
    n_expected = settings.n_expected or len(evidence.cases)
    return f"{label}partial run: {len(_worked(evidence))} of {n_expected} cases: "


def _worked(evidence: Evidence) -> set[str]:
    """Ids of the cases that are worked, in whole or in part.

    The engine's own scores are all made before the first completion is scored, one variant after
    another: they tell how far a run came only where there are no others.
    """
    late = {n for spec in evidence.metrics if not spec.is_of_engine for n in (spec.name, spec.key)}
    made = [score for score in evidence.scores if not late or score.metric in late]
    results: list[Score | Failure] = [*made, *evidence.failures]
    of_variant: dict[str, set[str]] = {}
    for one in results:
        if one.variant:
            of_variant.setdefault(one.variant, set()).add(one.case_id)
    own = [of_variant.get(variant.name, set()) for variant in evidence.variants]
    touched = set.union(*of_variant.values(), set()) if late else set.intersection(*own)
    return touched & {case.id for case in evidence.cases}
