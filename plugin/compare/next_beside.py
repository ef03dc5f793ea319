"""Say what to do next with a fine-tune that is better than the base, beside prompts and rivals."""

from __future__ import annotations

from collections.abc import Mapping

from plugin.compare.numbers import format_count, format_percent
from plugin.errors import list_first
from plugin.results import Comparison, NextKind, NextStep, Verdict

MOST_OF_THE_GAIN = 0.8
"""A prompt that reaches so much of the gain makes the upkeep of a fine-tune questionable."""

_N_NAMED = 3


def weigh_prompts(verdict: Verdict) -> NextStep | None:
    """Weigh the variant of the verdict against several prompts; None where it beats them all."""
    gaps, name = verdict.prompts, verdict.variant
    for outcome, how in (("worse", "better"), ("equivalent", "as good")):
        if as_good := [gap.other for gap in gaps if gap.outcome == outcome]:
            return NextStep(
                NextKind.USE_PROMPT,
                f"Use {as_good[0]} instead of {name}: it is {how}, and needs no upkeep.",
            )
    share = verdict.prompt_share
    if share is not None and share >= MOST_OF_THE_GAIN:
        return NextStep(
            NextKind.WEIGH_UPKEEP,
            f"Weigh the upkeep of {name}: {gaps[0].other} alone reaches {format_percent(share)} of "
            f"its gain, though the choice flatters the best of {format_count(len(gaps))} prompts.",
        )
    unbeaten = [gap.other for gap in gaps if gap.outcome != "better"]
    if not unbeaten:
        return None
    return NextStep(
        NextKind.WEIGH_UPKEEP,
        f"Weigh the upkeep of {name}: it is not shown to beat {list_first(unbeaten, _N_NAMED)}.",
    )


def weigh_rivals(row: Comparison, over: Mapping[str, Comparison]) -> NextStep | None:
    """Weigh the variant of the verdict against other models; None where none is better.

    Args:
        row: the variant against the base.
        over: other model -> the variant against it.
    """
    better = [name for name, own in over.items() if own.outcome == "worse"]
    if not better:
        return None
    return NextStep(
        NextKind.WEIGH_UPKEEP,
        f"Weigh {row.variant} against {list_first(better, _N_NAMED)}, better on {row.metric} "
        "without this training: what each costs to run decides.",
    )
