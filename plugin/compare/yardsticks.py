"""Measure the variant that the verdict is about against prompts and other models.

One prompt is compared like any baseline. Of several prompts the reader wants to know about the best
one, and taking the best on the same cases flatters it: its mean is too high, so the variant's gain
over it is too low, and an interval that ignores the choice is too narrow. So each prompt has a test
in one family (Holm), and the variant's gains over all prompts get intervals that hold at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from plugin.compare.comparisons import VerdictSettings
from plugin.compare.contrasts import contenders
from plugin.compare.intervals import RatioEstimate
from plugin.compare.pairs import Evidence, prompt_share
from plugin.compare.rivals import gaps_over
from plugin.compare.words import Finding
from plugin.compare.words_rivals import (
    finding_line,
    prompt_lines,
    prompt_share_line,
    upkeep_lines,
)
from plugin.compare.words_yardsticks import (
    best_prompt_lines,
    best_share_line,
    rival_line,
    several_upkeep_line,
    unmeasured_rival_line,
)
from plugin.records import ALL, MetricSpec, is_prompted, is_rival
from plugin.results import Comparison, Outcome, RivalGap


def prompts_beside(names: Sequence[str]) -> tuple[str, ...]:
    """Return the prompts that the verdict's variant is measured against."""
    about = contenders(names)
    return tuple(name for name in names[1:] if is_prompted(name) and name not in about)


def rivals_beside(names: Sequence[str]) -> tuple[str, ...]:
    """Return the other models that the verdict's variant is measured against."""
    about = contenders(names)
    return tuple(name for name in names[1:] if is_rival(name) and name not in about)


def gaps_over_prompts(
    evidence: Evidence,
    spec: MetricSpec,
    comparisons: Sequence[Comparison],
    variant: str,
    settings: VerdictSettings,
) -> tuple[RivalGap, ...]:
    """Return the variant's gains over several prompts, the prompt with the highest mean first.

    Empty where there is at most one prompt. An outcome other than "can't tell" is shown by the
    family's test and by the interval that holds for all prompts at once.
    """
    prompts = prompts_beside(evidence.names)
    if len(prompts) < 2:
        return ()
    rows = {
        row.baseline: row
        for row in comparisons
        if (row.variant, row.metric, row.group) == (variant, spec.name, ALL)
    }
    if settings.early:  # its intervals share the 5% already
        gaps = [_gap_of(rows[prompt], len(prompts)) for prompt in prompts]
    else:
        gaps = [
            _confirmed(gap, rows[gap.other])
            for gap in gaps_over(evidence, spec, variant, prompts, settings)
        ]
    return tuple(sorted(gaps, key=lambda gap: math.inf if gap.gain is None else gap.gain))


def _confirmed(gap: RivalGap, row: Comparison) -> RivalGap:
    """Return the gap, its outcome open where the family's test does not show the same."""
    is_shown = gap.outcome == row.outcome or (gap.outcome == "equivalent" and row.outcome)
    return gap if is_shown else replace(gap, outcome="can't tell")


def _gap_of(row: Comparison, n_prompts: int) -> RivalGap:
    """Return a comparison as a gap: in a run that may stop early its interval is the joint one."""
    outcomes: dict[str, Outcome] = {
        "better": "better",
        "worse": "worse",
        "equivalent": "equivalent",
    }
    return RivalGap(
        best=row.variant,
        other=row.baseline,
        metric=row.metric,
        n=row.n,
        n_clusters=row.n_clusters,
        n_failed=row.n_failed_variant + row.n_failed_baseline,
        best_mean=row.variant_mean,
        other_mean=row.baseline_mean,
        gain=row.gain,
        ci_low=row.ci_low,
        ci_high=row.ci_high,
        margin=row.margin,
        outcome=outcomes.get(str(row.outcome), "can't tell"),
        n_pairs=n_prompts,
        method=row.method,
        is_relative=row.is_relative,
    )


def share_of_prompt(
    evidence: Evidence,
    row: Comparison,
    primary: MetricSpec,
    settings: VerdictSettings,
    gaps: Sequence[RivalGap],
) -> RatioEstimate | None:
    """Return how much of a variant's gain the prompted base reaches, of several prompts the best.

    None without a prompted base, and where the gain is not told from zero.
    """
    prompts = prompts_beside(evidence.names)
    if not prompts or row.ci_low is None or row.ci_low <= 0:
        return None
    prompt = gaps[0].other if gaps else prompts[0]
    found = prompt_share(evidence, primary, row.variant, prompt)
    return replace(found, ci_low=None, ci_high=None) if settings.early or gaps else found


def one_prompt_details(
    over_prompt: Finding, prompt: Finding, row: Comparison, share: RatioEstimate | None
) -> list[str]:
    """Compare a variant with the only prompted base.

    Args:
        over_prompt: the variant against the prompted base.
        prompt: the prompted base against the base.
        row: the variant against the base.
        share: of the variant's gain that the prompt reaches.
    """
    lines = prompt_lines(over_prompt, prompt)
    if share is not None:
        lines.append(prompt_share_line(row, share))
    return [*lines, *upkeep_lines(over_prompt.primary)]


def prompts_details(
    gaps: Sequence[RivalGap], best: Finding, row: Comparison, share: RatioEstimate | None
) -> list[str]:
    """Compare a variant with several prompts.

    Args:
        gaps: the variant over each prompt, the best prompt first.
        best: the best prompt against the base.
        row: the variant against the base.
        share: of the variant's gain that the best prompt reaches.
    """
    is_tested = row.outcome == "better"
    lines = best_prompt_lines(gaps, is_tested)
    lines.append(finding_line(best))
    if share is not None:
        lines.append(best_share_line(row, share, gaps[0]))
    upkeep = several_upkeep_line(gaps) if is_tested else ""
    return [*lines, *([upkeep] if upkeep else [])]


def rival_details(
    evidence: Evidence, found: Mapping[str, Finding | None], metric: str
) -> list[str]:
    """Compare a variant with every other model, a line each.

    Args:
        evidence: the run's scores.
        found: other model -> the variant against it; None where the metric cannot be had of it.
        metric: the primary one.
    """
    models = {variant.name: variant for variant in evidence.variants}
    return [
        rival_line(finding, models[name].model) if finding else unmeasured_rival_line(name, metric)
        for name, finding in found.items()
    ]
