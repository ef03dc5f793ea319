"""Put into words how a variant stands beside several prompts, and beside another model."""

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
from plugin.compare.words import Finding, also_worse, is_small, n_text, numbers_text
from plugin.compare.words_open import failed_text
from plugin.compare.words_preference import wins_text
from plugin.errors import list_first
from plugin.results import Comparison, RivalGap

_N_NAMED = 4


def best_prompt_lines(gaps: Sequence[RivalGap], is_tested: bool) -> list[str]:
    """Say which of several prompts a variant beats, and how it stands against the best of them.

    Args:
        gaps: the variant over each prompt, the best prompt first.
        is_tested: whether the variant is shown to be better than the base, which comes before.
    """
    best = gaps[0]
    text = (
        f"Best of {format_count(len(gaps))} prompts: {best.other}, chosen on these same cases, "
        f"which flatters it. {best.best} against it: {_gap_numbers(best)}"
    )
    if is_tested and _excludes_zero(best) and best.outcome == "can't tell":
        text += "; the test of all comparisons together does not confirm it"
    text += "."
    return [_prompts_beaten(gaps) if is_tested else _not_tested(gaps), text]


def _excludes_zero(gap: RivalGap) -> bool:
    return (gap.ci_low or 0.0) > 0 or (gap.ci_high or 0.0) < 0


def _not_tested(gaps: Sequence[RivalGap]) -> str:
    return (
        f"{gaps[0].best} is not tested against the {format_count(len(gaps))} prompts on "
        f"{gaps[0].metric}, because it is not shown to be better than the base."
    )


def _prompts_beaten(gaps: Sequence[RivalGap]) -> str:
    """Return which prompts a variant beats, and which not, each allowing for all the others."""
    name, n = gaps[0].best, format_count(len(gaps))
    found: dict[str, list[str]] = {}
    for gap in gaps:
        found.setdefault(gap.outcome, []).append(gap.other)
    on = f"on {gaps[0].metric}, with the number of comparisons allowed for"
    if list(found) == ["better"]:
        return f"{name} beats every one of {n} prompts {on}."
    parts = [
        f"{words} {list_first(found[outcome], _N_NAMED)}"
        for outcome, words in (
            ("worse", "is worse than"),
            ("equivalent", "is equivalent to"),
            ("can't tell", "is not shown to beat"),
            ("better", "beats"),
        )
        if outcome in found
    ]
    return f"{name} does not beat every one of {n} prompts {on}: it {', '.join(parts)}."


def _gap_numbers(gap: RivalGap) -> str:
    """Return means, gain and the interval that holds for all prompts at once."""
    if gap.gain is None:
        return "no case has a score of both"
    on = f"{n_text(gap)}{failed_suffix(gap.n_failed)}"
    at_once = ""
    if gap.ci_low is not None:
        at_once = f", which holds for all {format_count(gap.n_pairs)} prompts at once"
    if gap.is_relative:
        return wins_text(gap.best_mean, (gap.ci_low, gap.ci_high), on, at_once)
    return (
        f"{format_number(gap.best_mean)} against {format_number(gap.other_mean)}, gain "
        f"{format_number(gap.gain, signed=True)} "
        f"({format_interval(gap.ci_low, gap.ci_high, signed=True)}{at_once}, {on})"
    )


def best_share_line(row: Comparison, share: RatioEstimate, best: RivalGap) -> str:
    """Say how much of a variant's gain the best of several prompts reaches.

    Args:
        row: the variant against the base: a gain that its interval tells from zero.
        share: the best prompt's gain divided by the variant's.
        best: the variant over the best prompt.
    """
    gain = f"{row.variant}'s gain over {row.baseline}"
    if share.ratio is None:
        return f"What share of {gain} {best.other} reaches cannot be told: the gain is too small."
    reached = "none" if share.ratio < 0 else format_percent(share.ratio)
    return (
        f"{best.other} alone reaches {reached} of {gain} ({n_text(share)}; no interval, because it "
        f"is the best of {format_count(best.n_pairs)} on these same cases)."
    )


def several_upkeep_line(gaps: Sequence[RivalGap]) -> str:
    """Say what follows where a variant does not beat all prompts; "" where it does."""
    if all(gap.outcome == "better" for gap in gaps):
        return ""
    return (
        f"{gaps[0].best} is not shown to beat the best prompt: a fine-tune that does not beat a "
        "good prompt may not be worth its upkeep."
    )


def rival_line(over_rival: Finding, about: str) -> str:
    """Say how a variant stands against another model, on the primary metric.

    Args:
        over_rival: the variant against the other model.
        about: what the other model is, to stand in brackets.
    """
    row = over_rival.primary
    rival, margin = f"{row.baseline} ({about})", format_number(row.margin)
    small = f", but by less than your margin of {margin}" if is_small(row) else ""
    head = {
        "better": f"{row.variant} is better than {rival} on {row.metric}{small}",
        "worse": f"{rival} is better than {row.variant} on {row.metric}{small}",
        "equivalent": f"{row.variant} is as good as {rival} on {row.metric}, within your margin of "
        f"{margin}",
    }.get(
        str(row.outcome), f"Can't tell whether {row.variant} is as good as {rival} on {row.metric}"
    )
    why = "" if row.holds_at_worst else f", because {failed_text(row)} missing"
    adjusted = ""
    if row.n_family > 1:
        adjusted = f"; p is adjusted over {format_count(row.n_family)} such comparisons"
    return f"{head}{why}: {numbers_text(row)}{adjusted}{also_worse(over_rival)}."


def unmeasured_rival_line(rival: str, metric: str) -> str:
    """Say that the primary metric cannot be had for another model."""
    return (
        f"{rival} is not compared on {metric}: that needs a model's weights, and only the answers "
        "of another model are known."
    )
