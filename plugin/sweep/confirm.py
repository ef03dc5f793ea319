"""Confirm the recommended checkpoint on cases that took no part in choosing it.

It is an ordinary comparison of two variants (`plugin.compare`). So its interval owes nothing to the
choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from plugin.compare.comparisons import N_RESAMPLES, VerdictSettings, compare, summarise
from plugin.compare.pairs import Evidence
from plugin.compare.verdict import decide_verdict
from plugin.records import Failure, MetricSpec, Score, Variant
from plugin.results import Comparison, Summary, Verdict
from plugin.sweep.funnel import SweepPlan


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What the confirming cases say of the recommended checkpoint.

    Attributes:
        summaries: means of base, prompted base and checkpoint.
        comparisons: of the checkpoint with the base, and with the prompted base.
        verdict: the ordinary one, on these cases alone.
    """

    summaries: tuple[Summary, ...]
    comparisons: tuple[Comparison, ...]
    verdict: Verdict


def confirm(
    plan: SweepPlan,
    chosen: str,
    variants: Sequence[Variant],
    scores: Sequence[Score],
    failures: Sequence[Failure] = (),
    *,
    metrics: Sequence[MetricSpec] = (),
    settings: VerdictSettings | None = None,
) -> Confirmation | None:
    """Compare the recommended checkpoint with the base on the confirming cases.

    Args:
        plan: of the sweep.
        chosen: the recommended one.
        variants: at least base, prompted base and the recommended one; the others are left out.
        scores: on any cases; only those on the confirming cases count.
        failures: of the same.
        metrics: all that are compared, such as guards; by default the one that decides.
        settings: by default those of the plan.

    Returns:
        None if there is nothing to confirm: too few cases, or the base is recommended.
    """
    if plan.split.is_rank_only or chosen == plan.base:
        return None
    named = {variant.name: variant for variant in variants}
    own = tuple(named[name] for name in dict.fromkeys((*plan.references, chosen)))
    names, ids = {one.name for one in own}, {case.id for case in plan.split.confirming}
    evidence = Evidence(
        cases=plan.split.confirming,
        variants=own,
        metrics=tuple(metrics) or (plan.spec,),
        scores=[one for one in scores if one.variant in names and one.case_id in ids],
        failures=[one for one in failures if one.case_id in ids],
    )
    how = settings or VerdictSettings(plan.spec.name, plan.seed, n_resamples=N_RESAMPLES)
    how = replace(how, primary_metric=plan.spec.name)
    summaries, comparisons = summarise(evidence, how), compare(evidence, how)
    return Confirmation(
        summaries, comparisons, decide_verdict(evidence, summaries, comparisons, how)
    )
