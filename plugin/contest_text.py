"""What a gain is worth beside others, in plain words."""

from __future__ import annotations

from plugin.contest import Choice
from plugin.joint import RatioEstimate
from plugin.records import PROMPTED, Comparison
from plugin.verdict_text import Finding, interval, line, number, worse_besides


def beside_prompt(over_prompt: Finding, prompt: Finding) -> list[str]:
    """The prompted base against a variant and against the base, on the primary metric.

    Args:
        over_prompt: the variant against the prompted base.
        prompt: the prompted base against the base.
    """
    return [
        line(f"{row.variant} against {row.baseline} on {row.metric}", row) + worse_besides(finding)
        for finding in (over_prompt, prompt)
        for row in (finding.primary,)
    ]


def share(row: Comparison, found: RatioEstimate) -> str:
    """How much of a variant's gain the prompt alone reaches.

    Args:
        row: the variant against the base: a gain that its interval tells from zero.
        found: the prompt's gain divided by the variant's.
    """
    gain = f"{row.variant}'s gain over {row.baseline}"
    if found.ratio is None:
        return (
            f"What share of {gain} the prompt alone reaches cannot be told: on the {found.n} cases "
            "that all three have a score for, that gain is too close to zero."
        )
    within = "no interval, "
    if found.ci_low is not None and found.ci_high is not None:
        within = f"95% interval {_percent(found.ci_low)} to {_percent(found.ci_high)}, "
    clusters = "" if found.n_clusters is None else f" in {found.n_clusters} clusters"
    numbers = f"({within}n={found.n}{clusters}, the cases that all three have a score for)"
    if found.ratio < 0:
        return (
            f"The prompt alone reaches none of {gain}: its share is {_percent(found.ratio)} "
            f"{numbers}."
        )
    return f"The prompt alone reaches {_percent(found.ratio)} of {gain} {numbers}."


def upkeep(over_prompt: Comparison) -> list[str]:
    """What follows where a variant does not beat the prompt; empty where it does."""
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


def chosen(row: Comparison, found: Choice, has_prompt: bool) -> str:
    """That the best was chosen, and what is left of its gain when that is allowed for.

    Args:
        row: the chosen one against the base.
        found: its gain with the choice allowed for.
        has_prompt: whether it is also compared with the prompted base.
    """
    head = _flattered(row, found.n_rivals, has_prompt)
    if found.gain is None:
        return f"{head}; no case has a score of all of them to allow for that."
    if found.ci_low is None or found.ci_high is None:
        return f"{head}; there is no interval that allows for it ({found.method})."
    within = interval(found.ci_low, found.ci_high, signed=True)
    clusters = "" if found.n_clusters is None else f" in {found.n_clusters} clusters"
    shared = "" if found.n == row.n else ", the cases that all have a score for"
    text = (
        f"{head}; an interval that allows for the choice: gain {number(found.gain, signed=True)} "
        f"({within}n={found.n}{clusters}{shared})"
    )
    if not (_excludes_zero(row) and found.ci_low <= 0 <= found.ci_high):
        return f"{text}."
    text += ", which holds zero, though the one that ignores the choice does not"
    if row.outcome in ("better", "worse"):
        text += ". The verdict stands by its adjusted p, but confirm it on fresh cases"
    return f"{text}."


def chosen_anytime(row: Comparison, n_rivals: int, has_prompt: bool) -> str:
    """The same in a run that may stop early: its intervals hold for all comparisons at once."""
    head = _flattered(row, n_rivals, has_prompt)
    if row.ci_low is None:
        return f"{head}."
    return f"{head}; its interval allows for the choice, since all comparisons share the 5%."


def _flattered(row: Comparison, n_rivals: int, has_prompt: bool) -> str:
    gain = f"its gain over {row.baseline} and over {PROMPTED}" if has_prompt else "its gain"
    return (
        f"{row.variant} was chosen as the best of {n_rivals} on these same cases, which flatters "
        f"{gain}"
    )


def _excludes_zero(row: Comparison) -> bool:
    return (row.ci_low or 0.0) > 0 or (row.ci_high or 0.0) < 0


def _percent(share: float) -> str:
    """Whole percents; never -0%."""
    return f"{round(100 * share) + 0}%"
