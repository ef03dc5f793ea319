"""The trust report in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from plugin.canaries import RULE
from plugin.trust_records import (
    Canary,
    Correction,
    Family,
    HumanView,
    LengthSlope,
    Retest,
    Trust,
)
from plugin.verdict_text import interval, number


def label(judge: str, caveat: str, trust: Trust | None) -> str:
    """What must stand in the verdict's first line of the judge; "" for one to be trusted."""
    if trust is None or not trust.failed_canaries:
        return caveat
    return f"{caveat or f'judge {judge}'} failed its canaries"


def first_lines(judge: str, trust: Trust) -> list[str]:
    """What the reader must know before anything else: which canaries the judge failed."""
    failed = trust.failed_canaries
    if not failed:
        return []
    return [
        f"The judge {judge} liked answers that are wrong: {'; '.join(_liked(failed))}. {RULE} "
        "Choose another judge before you trust these scores."
    ]


def last_lines(trust: Trust, primary: str) -> list[str]:
    """What else is known of the judge.

    Args:
        trust: the report.
        primary: the metric that decides; length is told of it alone.
    """
    lines = _seen_through(trust)
    if trust.retests:
        lines.append(moved(trust.retests))
    lines += [length(row) for row in trust.lengths if row.metric == primary]
    if trust.family and trust.family.shared:
        lines.append(same_family(trust.family))
    for view in trust.humans:
        if view.metric == primary:
            lines += [agreement(view), *(corrected(view.metric, row) for row in view.corrections)]
    return lines


def _seen_through(trust: Trust) -> list[str]:
    decided = [row for row in trust.canaries if row.passed is not None]
    if not decided or trust.failed_canaries:
        return []
    most = max(decided, key=lambda row: row.mean or 0.0)
    return [
        f"The judge was put to the test with {len({row.name for row in decided})} kinds of wrong "
        f"answer and liked none: the highest mean is {number(most.mean or 0.0)} ({most.name} on "
        f"{most.metric}{_failed(sum(row.n_failed for row in trust.canaries))})."
    ]


def moved(retests: tuple[Retest, ...]) -> str:
    """How often the judge changes its mind."""
    n, n_moved = sum(row.n for row in retests), sum(row.n_moved for row in retests)
    failed = _failed(sum(row.n_failed for row in retests))
    if not n:
        return f"Asked the same again, the judge gave no score at all ({failed[2:]})."
    if not n_moved:
        return f"Asked the same again, the judge moved none of {n} scores{failed}."
    largest = max(row.largest_change or 0.0 for row in retests)
    return (
        f"Asked the same again, the judge moved {n_moved} of {n} scores, by up to "
        f"{number(largest)}{failed}."
    )


def length(row: LengthSlope) -> str:
    """What the length slope means."""
    if row.slope is None or row.ci_low is None or row.ci_high is None or row.spread is None:
        return f"Length of answers and {row.metric}, {row.variant}: {row.method}."
    numbers = (
        f"an answer of {row.variant} longer by {row.spread:.0f} characters (one spread) goes with "
        f"{number(row.slope, signed=True)} in gain "
        f"({interval(row.ci_low, row.ci_high, signed=True)}n={row.n})"
    )
    if row.ci_low <= 0 <= row.ci_high:
        return f"No sign that length decides {row.metric}: {numbers}."
    which = "Longer" if row.slope > 0 else "Shorter"
    return (
        f"{which} answers gained on {row.metric}: {numbers}; at equal length the gain would be "
        f"{number(row.at_equal_length or 0.0, signed=True)}. They may be better, or only look so "
        "to the judge."
    )


def same_family(family: Family) -> str:
    """The flag, and why it matters."""
    names = " and ".join(family.shared)
    return (
        f"Judge and model under test are both of the family {names}, as their names tell: judges "
        "tend to favour what sounds like themselves. Check with a judge of another family."
    )


def agreement(view: HumanView) -> str:
    """How far judge and humans agree."""
    raters = "1 human" if view.n_raters == 1 else f"{view.n_raters} humans"
    if view.agreement is None:
        return f"{raters} rated {view.metric}, but no completion that the judge scored."
    ends = interval(view.alpha_ci_low, view.alpha_ci_high, signed=False).removesuffix(", ")
    among = "" if view.alpha_humans is None else f", {number(view.alpha_humans)} among humans"
    return (
        f"{raters} rated {view.n_rated} completions on {view.metric}: on {view.agreement:.0%} of "
        "them they stand on the same side of the middle as the judge (Cohen's kappa "
        f"{_known(view.kappa)}); Krippendorff's alpha of the scores is {_known(view.alpha)} "
        f"({ends}{among})."
    )


def corrected(metric: str, row: Correction) -> str:
    """The judge's gain and the corrected one, side by side."""
    alone = "no gain" if row.judge_gain is None else number(row.judge_gain, signed=True)
    alone += f" ({interval(row.judge_ci_low, row.judge_ci_high, signed=True)}n={row.n_all})"
    if row.gain is None:
        return f"{row.variant} on {metric}: {alone} by the judge alone; {row.method}."
    unrated = (
        f" {row.n_unrated} more were drawn and not rated on both sides: were they left out for "
        "what they say, this is off."
        if row.n_unrated
        else ""
    )
    return (
        f"{row.variant} on {metric}, corrected by human ratings: gain "
        f"{number(row.gain, signed=True)} ({interval(row.ci_low, row.ci_high, signed=True)}"
        f"{row.n_labelled} of {row.n_all} cases rated); by the judge alone {alone}.{unrated}"
    )


def _known(value: float | None) -> str:
    return "unknown" if value is None else number(value)


def _liked(failed: Sequence[Canary]) -> list[str]:
    """Per metric what was liked, with its mean score."""
    return [
        f"on {metric} "
        + ", ".join(
            f'"{row.name}" {number(row.mean or 0.0)} (n={row.n})'
            for row in failed
            if row.metric == metric
        )
        for metric in dict.fromkeys(row.metric for row in failed)
    ]


def _failed(n_failed: int) -> str:
    return f", {n_failed} failed" if n_failed else ""
