"""Comparisons -> the one verdict: records in, records out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from plugin import verdict_text
from plugin.comparing import VerdictSettings
from plugin.pairing import Evidence
from plugin.records import ALL, Comparison, MetricSpec, Summary, Verdict


def decide(
    evidence: Evidence,
    summaries: Sequence[Summary],
    comparisons: Sequence[Comparison],
    settings: VerdictSettings,
) -> Verdict:
    """The one verdict: the primary metric decides, and a worse one besides makes it mixed.

    Of several adapters the verdict is about the one with the largest gain on the primary metric.

    Raises:
        ValueError: when the primary metric is not there, or is not one that decides.
    """
    primary = _primary(evidence.metrics, settings.primary_metric)
    head = _head(evidence, settings)
    if len(evidence.variants) == 1:
        means = [row for row in summaries if row.group == ALL]
        sentence = head + verdict_text.alone(evidence.variants[0].name, means)
        return Verdict(None, sentence, (), primary.name)
    overall = [row for row in comparisons if row.group == ALL]
    ranked = sorted(
        (row for row in overall if row.metric == primary.name),
        key=lambda row: -math.inf if row.gain is None else row.gain,
        reverse=True,
    )
    best, *others = ranked
    findings = [
        verdict_text.Finding(
            row, tuple(o for o in overall if o.variant == row.variant and o is not row)
        )
        for row in (best, *others)
    ]
    subject = best.variant
    if others:
        noun = "adapters" if all(v.adapter_path for v in evidence.variants[1:]) else "variants"
        subject += f" (best of {len(ranked)} {noun})"
    groups = [
        row
        for row in comparisons
        if row.group != ALL and (row.metric, row.variant) == (best.metric, best.variant)
    ]
    anytime = verdict_text.anytime(settings.early.n_decisions) if settings.early else []
    return Verdict(
        outcome=findings[0].outcome,
        sentence=head + verdict_text.sentence(findings[0], subject),
        details=(
            *anytime,
            *verdict_text.details(findings, groups),
            *verdict_text.of_data(summaries),
        ),
        primary_metric=primary.name,
    )


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
    ids = {case.id for case in evidence.cases}
    touched = {score.case_id for score in evidence.scores}
    touched |= {failure.case_id for failure in evidence.failures if failure.variant}
    n_expected = settings.n_expected or len(evidence.cases)
    return f"{label}partial run: {len(ids & touched)} of {n_expected} cases: "
