"""Put a sweep into words: what is recommended and why, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plugin.compare.numbers import format_count, format_interval, format_number, format_percent
from plugin.sweep.choice import Choice
from plugin.sweep.confirm import Confirmation
from plugin.sweep.funnel import Calls, Standing, SweepPlan
from plugin.sweep.play import Played
from plugin.sweep.split import MIN_CASES


@dataclass(frozen=True, slots=True)
class SweepWords:
    """A sweep in words.

    Attributes:
        headline: what is recommended, and whether it was confirmed.
        details: what the reader must know besides, most important first.
    """

    headline: str
    details: tuple[str, ...]

    @property
    def text(self) -> str:
        """Return all of it, a line each."""
        return "\n".join((self.headline, *self.details))


def sweep_words(
    played: Played, confirmation: Confirmation | None = None, n_judged: int | None = None
) -> SweepWords:
    """Return the sweep in words.

    Args:
        played: the part that chose.
        confirmation: None before it is there, or where there is none.
        n_judged: completions that were judged in all; None if unknown.
    """
    plan, choice = played.plan, played.choice
    details = [
        *veto_lines(choice),
        *equivalence_lines(plan, choice),
        ranking_line(played),
        *missing_lines(played),
        *rank_only_lines(plan),
        *([] if confirmation is None else confirmation.verdict.details),
        *([] if n_judged is None else [calls_line(n_judged, plan)]),
    ]
    return SweepWords(headline(played, confirmation), tuple(details))


def headline(played: Played, confirmation: Confirmation | None) -> str:
    """Return what is recommended, with the verdict of the confirming cases if there is one."""
    plan, choice = played.plan, played.choice
    if choice.name in plan.references:
        return (
            f"Keep {choice.name}: none of the {len(plan.checkpoints)} checkpoints has a better "
            f"mean {plan.spec.name} and kept what it must not lose."
        )
    first = f"Recommended: {name_with_place(plan, choice.name)}."
    if confirmation is None:
        return first
    return f"{first} Confirmed on other cases: {confirmation.verdict.sentence}"


def name_with_place(plan: SweepPlan, name: str) -> str:
    """Return a checkpoint's name with its place on the axis, unless the name says it."""
    place = plan.place_of(name)
    if name in plan.references or f"{place:g}" in name:
        return name
    return f"{name} ({plan.axis} {place:g})"


def veto_lines(choice: Choice) -> list[str]:
    """Say which checkpoints had a better mean and were passed over."""
    return [
        f"{one.name} had a better mean and was passed over, because it lost {one.lost}."
        for one in choice.passed
    ]


def equivalence_lines(plan: SweepPlan, choice: Choice) -> list[str]:
    """Say why an earlier checkpoint is recommended in place of the one with the best mean."""
    found = choice.equivalent
    if found is None:
        return []
    return [
        f"{found.best} has the best mean, and {found.name} is earlier and as good: the difference "
        f"is {format_number(found.gain, signed=True)} "
        f"({format_interval(found.ci_low, found.ci_high, signed=True)}, "
        f"n={format_count(found.n)}), within the margin of {format_number(plan.spec.margin)}."
    ]


def ranking_line(played: Played) -> str:
    """Say the best means on the choosing cases."""
    best = [standing_text(one) for one in played.choice.standings[:4]]
    return f"On the cases that chose: {', '.join(best)}."


def standing_text(standing: Standing) -> str:
    """Return a name with its mean."""
    return f"{standing.name} {format_number(standing.mean)} (n={format_count(standing.n)})"


def missing_lines(played: Played) -> list[str]:
    """Say which checkpoints have missing scores, and how these count."""
    last = {one.name: one for cut in played.cuts for one in cut.standings}
    return [
        f"{one.name}: {format_count(one.n_missing, 'score is', 'scores are')} missing; each counts "
        "as the lowest that any other got on this case."
        for one in last.values()
        if one.n_missing
    ]


def rank_only_lines(plan: SweepPlan) -> list[str]:
    """Say that there are too few cases for a verdict."""
    if not plan.split.is_rank_only:
        return []
    n = len(plan.split.choosing)
    return [
        f"No verdict: {format_count(n, 'case', 'cases')} only rank the checkpoints. From "
        f"{MIN_CASES} cases on, half of them confirm the choice."
    ]


def calls_line(n_judged: int, plan: SweepPlan) -> str:
    """Say how many completions were judged, and how many a full sweep would have judged."""
    full = Calls(0, 0, len(plan.names) * (len(plan.split.choosing) + len(plan.split.confirming)))
    share = format_percent(n_judged / full.full) if full.full else ""
    return (
        f"{format_count(n_judged)} answers were judged, {share} of the {format_count(full.full)} "
        "of a full sweep."
    )


def alternative_text(played: Played, points: Sequence[object] = ()) -> str:
    """Return the picture as words, for people who do not see it."""
    plan = played.plan
    parts = [standing_text(one) for one in played.cuts[0].standings] if played.cuts else []
    return (
        f"{plan.spec.name} by {plan.axis}: {'; '.join(parts)}. Recommended: {played.choice.name}."
    )
