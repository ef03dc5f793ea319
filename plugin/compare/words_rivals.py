"""Put into words how a variant stands beside a prompted base, and that it was chosen of several."""

from __future__ import annotations

from collections.abc import Sequence

from plugin.compare.intervals import RatioEstimate
from plugin.compare.numbers import (
    failed_suffix,
    format_count,
    format_interval,
    format_number,
    format_percent,
)
from plugin.compare.pairs import BestOf
from plugin.compare.words import Finding, also_worse, comparison_line, n_text
from plugin.compare.words_preference import wins_text
from plugin.results import Comparison, RivalGap


def prompt_lines(over_prompt: Finding, prompt: Finding) -> list[str]:
    """Compare the prompted base with a variant and with the base, on the primary metric.

    Args:
        over_prompt: the variant against the prompted base.
        prompt: the prompted base against the base.
    """
    return [finding_line(over_prompt), finding_line(prompt)]


def finding_line(finding: Finding) -> str:
    """Return what one contrast shows on the primary metric, and what else got worse."""
    row = finding.primary
    label = f"{row.variant} against {row.baseline} on {row.metric}"
    return comparison_line(label, row) + also_worse(finding)


def prompt_share_line(row: Comparison, share: RatioEstimate) -> str:
    """Say how much of a variant's gain the prompt alone reaches.

    Args:
        row: the variant against the base: a gain that its interval tells from zero.
        share: the prompt's gain divided by the variant's.
    """
    gain = f"{row.variant}'s gain over {row.baseline}"
    if share.ratio is None:
        return (
            f"What share of {gain} the prompt alone reaches cannot be told: on the "
            f"{format_count(share.n)} cases that all three have a score for, that gain is too "
            "close to zero."
        )
    within = "no interval"
    if share.ci_low is not None and share.ci_high is not None:
        within = f"95% interval {format_percent(share.ci_low)} to {format_percent(share.ci_high)}"
    numbers = f"({within}, {n_text(share)}, the cases that all three have a score for)"
    if share.ratio < 0:
        return (
            f"The prompt alone reaches none of {gain}: its share is {format_percent(share.ratio)} "
            f"{numbers}."
        )
    return f"The prompt alone reaches {format_percent(share.ratio)} of {gain} {numbers}."


def upkeep_lines(over_prompt: Comparison) -> list[str]:
    """Say what follows where a variant does not beat the prompt; empty where it does."""
    found = {
        "worse": "is worse than the prompt alone",
        "equivalent": "does no better than the prompt alone",
        "can't tell": "is not shown to beat the prompt alone",
    }.get(over_prompt.outcome or "")
    if not found:
        return []
    return [
        f"{over_prompt.variant} {found}: a fine-tune that does not beat a good prompt may not be "
        "worth its upkeep."
    ]


def rival_lines(gaps: Sequence[RivalGap], recommended: str, runner_up: str) -> list[str]:
    """Say how the best of several stands against the runner-up, and which one is recommended.

    Args:
        gaps: the one with the highest mean against each other one.
        recommended: the variant that the verdict is about.
        runner_up: the variant with the second highest mean.
    """
    by_name = {gap.other: gap for gap in gaps}
    lines = []
    if recommended in by_name:
        gap = by_name[recommended]
        lines.append(
            f"Recommended: {recommended}. {gap.best} has the highest mean, but "
            f"{_gap_text(gap, 'the two')}. {recommended} comes earlier."
        )
    if runner_up in by_name and runner_up != recommended:
        gap = by_name[runner_up]
        lines.append(f"Best against runner-up: {_gap_text(gap, f'{gap.best} and {gap.other}')}.")
    return lines


def _gap_text(gap: RivalGap, both: str) -> str:
    """Return what is shown of the best one against another one, without a full stop."""
    if gap.gain is None:
        return f"no case has a score of both {gap.best} and {gap.other}"
    margin = format_number(gap.margin)
    is_small = gap.ci_high is not None and gap.ci_high <= gap.margin
    small = f", but by less than your margin of {margin}" if is_small else ""
    found = {
        "better": f"{gap.best} is better than {gap.other} on {gap.metric}{small}",
        "worse": f"on the cases that both have, {gap.best} is worse than {gap.other}",
        "equivalent": f"{both} are equivalent on {gap.metric} (any difference is below your margin "
        f"of {margin})",
        "can't tell": f"{both} cannot be told apart on {gap.metric}",
    }[gap.outcome]
    at_once = ""
    if gap.ci_low is not None and gap.n_pairs > 1:
        at_once = f", which holds for all {format_count(gap.n_pairs)} pairs of variants at once"
    on = f"{n_text(gap)}{failed_suffix(gap.n_failed)}"
    if gap.is_relative:
        wins = wins_text(gap.best_mean, (gap.ci_low, gap.ci_high), on, at_once)
        return f"{found}: asked about these two, {gap.best} {wins}"
    within = format_interval(gap.ci_low, gap.ci_high, signed=True)
    return (
        f"{found}: {format_number(gap.best_mean)} against {format_number(gap.other_mean)}, gain "
        f"{format_number(gap.gain, signed=True)} ({within}{at_once}, {on})"
    )


def best_of_line(row: Comparison, best: BestOf, beside: Sequence[str]) -> str:
    """Say that the best was chosen, and what is left of its gain when that is allowed for.

    Args:
        row: the chosen one against the base.
        best: its gain with the choice allowed for.
        beside: the prompts and other models that it is also compared with.
    """
    head = _chosen_because(row, best.n_rivals, beside)
    if best.gain is None:
        return f"{head}; no case has a score of all of them to allow for that."
    if best.ci_low is None or best.ci_high is None:
        return f"{head}; there is no interval that allows for it ({best.method})."
    within = format_interval(best.ci_low, best.ci_high, signed=True)
    shared = "" if best.n == row.n else ", the cases that all have a score for"
    text = (
        f"{head}; an interval that allows for the choice: gain "
        f"{format_number(best.gain, signed=True)} "
        f"({within}, {n_text(best)}{shared})"
    )
    if not (_excludes_zero(row) and best.ci_low <= 0 <= best.ci_high):
        return f"{text}."
    text += ", which holds zero, though the one that ignores the choice does not"
    if row.outcome in ("better", "worse"):
        text += ". The verdict stands by its adjusted p, but confirm it on fresh cases"
    return f"{text}."


def early_best_of_line(row: Comparison, n_rivals: int, beside: Sequence[str]) -> str:
    """Say that the best was chosen, in a run whose intervals hold for all comparisons at once."""
    head = _chosen_because(row, n_rivals, beside)
    if row.ci_low is None:
        return f"{head}."
    return f"{head}; its interval allows for the choice, since all of them share the 5%."


def _chosen_because(row: Comparison, n_rivals: int, beside: Sequence[str]) -> str:
    gain = "its gain"
    if beside:
        gain += f" over {', '.join([row.baseline, *beside[:-1]])} and over {beside[-1]}"
    return (
        f"{row.variant} was chosen from {n_rivals} variants on these same cases, which flatters "
        f"{gain}"
    )


def _excludes_zero(row: Comparison) -> bool:
    return (row.ci_low or 0.0) > 0 or (row.ci_high or 0.0) < 0
