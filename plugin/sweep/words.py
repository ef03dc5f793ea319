"""Put a sweep into words: what is recommended and why, and what it took."""

from __future__ import annotations

import re
from dataclasses import dataclass

from plugin.compare.numbers import format_count, format_interval, format_number, format_percent
from plugin.records import ALL
from plugin.sweep.axis import format_place
from plugin.sweep.choice import Equivalent
from plugin.sweep.confirm import Confirmation
from plugin.sweep.funnel import Standing, SweepPlan
from plugin.sweep.play import Played
from plugin.sweep.points import SweepPoint, sweep_points
from plugin.sweep.split import MIN_CASES

_N_BEST = 4
"""Names in the line that ranks them; the table has all."""


@dataclass(frozen=True, slots=True)
class SweepWords:
    """A sweep in words.

    Attributes:
        headline: what is recommended, and what the other cases say of it.
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
        n_judged: answers that were judged in all; None if unknown.
    """
    plan = played.plan
    details = [
        *rank_only_lines(plan),
        *unfit_lines(plan),
        *veto_lines(played),
        *equivalence_lines(played),
        ranking_line(played),
        *missing_lines(played),
        *([] if confirmation is None else confirmation.verdict.details),
        *([] if n_judged is None else [calls_line(n_judged, plan)]),
    ]
    return SweepWords(headline(played, confirmation), tuple(details))


def headline(played: Played, confirmation: Confirmation | None) -> str:
    """Return what is recommended, and what the cases that took no part in the choice say of it."""
    plan, choice = played.plan, played.choice
    metric = plan.spec.name
    if not played.is_finished:
        return (
            f"Not finished: {len(played.cuts)} of {len(plan.rounds)} rounds are judged. Best so "
            f"far: {name_with_place(plan, choice.name)}."
        )
    if choice.equivalent and choice.name in plan.references:
        first = f"Keep {choice.name}: no checkpoint is better by more than the margin on {metric}."
    elif choice.name in plan.references:
        use = "Keep" if choice.name == plan.base else "Use"
        better = "the checkpoints with a better mean lost something that counts"
        none = f"none of {format_count(len(plan.checkpoints), 'checkpoint', 'checkpoints')}"
        why = better if choice.passed else f"{none} has a better mean {metric}"
        first = f"{use} {choice.name}: {why}."
    elif plan.split.is_rank_only:
        first = f"Ranked first: {name_with_place(plan, choice.name)}."
    else:
        first = f"Recommended: {name_with_place(plan, choice.name)}."
    if confirmation is None:
        return first
    n = format_count(len(plan.split.confirming), "case", "cases")
    return f"{first} On the {n} that took no part in choosing it: {confirmation.verdict.sentence}"


def name_with_place(plan: SweepPlan, name: str) -> str:
    """Return a checkpoint's name with its place on the axis, unless the name says it."""
    place = plan.place_of(name)
    if name in plan.references or re.search(rf"(?<!\d)0*{re.escape(f'{place:g}')}(?!\d)", name):
        return name
    return f"{name} ({place_text(plan, name)})"


def place_text(plan: SweepPlan, name: str) -> str:
    """Return a checkpoint's place in words, such as "step 700"; for a reference its name."""
    one = next((one for one in plan.checkpoints if one.name == name), None)
    if one is None:
        return name
    return one.label or f"{plan.axis} {format_place(one.place)}"


def rank_only_lines(plan: SweepPlan) -> list[str]:
    """Say that there is no verdict, if there are too few cases for one."""
    if not plan.split.is_rank_only:
        return []
    n = len(plan.split.choosing)
    if n < MIN_CASES:
        return [
            f"No verdict: {format_count(n, 'case', 'cases')} only rank the checkpoints, and the "
            f"mean of the best of several is too good to be true. From {MIN_CASES} cases on, half "
            "of them confirm the choice."
        ]
    return [
        "No verdict: all cases are in one cluster, so none are left to confirm the choice. Add "
        "cases of other clusters."
    ]


def unfit_lines(plan: SweepPlan) -> list[str]:
    """Say how many cases are left out because the metric does not fit them."""
    if not plan.n_unfit:
        return []
    need = " and ".join(plan.spec.needed)
    n = format_count(plan.n_unfit, "case takes", "cases take")
    have = "it has" if plan.n_unfit == 1 else "they have"
    return [f"{n} no part: {plan.spec.name} does not fit, because {have} no {need}."]


def veto_lines(played: Played) -> list[str]:
    """Say which checkpoints had a better mean and were passed over."""
    choice = played.choice
    means = {one.name: one.mean for one in choice.standings}
    return [
        f"{name_with_place(played.plan, one.name)} had a better mean "
        f"({format_number(means.get(one.name))}) and was passed over, because it lost: {one.lost}."
        for one in choice.passed
    ]


def equivalence_lines(played: Played) -> list[str]:
    """Say why an earlier one is recommended, or which earlier one would do."""
    plan, choice = played.plan, played.choice
    if found := choice.equivalent:
        return [
            f"{name_with_place(plan, found.best)} has the best mean. "
            f"{name_with_place(plan, found.name)} is earlier and shown to be as good: "
            f"{_difference_text(plan, found)}."
        ]
    if found := choice.offered:
        return [
            f"{name_with_place(plan, found.name)} is earlier and would do, too: "
            f"{_difference_text(plan, found)}."
        ]
    return []


def _difference_text(plan: SweepPlan, found: Equivalent) -> str:
    return (
        f"its mean differs by {format_number(found.gain, signed=True)} "
        f"({format_interval(found.ci_low, found.ci_high, signed=True)}, "
        f"n={format_count(found.n)}), within the margin of {format_number(plan.spec.margin)}"
    )


def ranking_line(played: Played) -> str:
    """Say the best means on the choosing cases."""
    best = [standing_text(one) for one in played.choice.standings[:_N_BEST]]
    return f"Means on the cases that chose: {', '.join(best)}."


def standing_text(standing: Standing) -> str:
    """Return a name with its mean."""
    return f"{standing.name} {format_number(standing.mean)} (n={format_count(standing.n)})"


def missing_lines(played: Played) -> list[str]:
    """Say which checkpoints have missing scores, and how these count."""
    last = {one.name: one for cut in played.cuts for one in cut.standings}
    return [
        f"{one.name}: {one.n_missing:,} of {one.n + one.n_missing:,} scores "
        f"{'is' if one.n_missing == 1 else 'are'} missing. In the choice each counts as the lowest "
        "that any other got on the same case."
        for one in last.values()
        if one.n_missing
    ]


def calls_line(n_judged: int, plan: SweepPlan) -> str:
    """Say how many answers were scored, and how many a full sweep would have scored."""
    full = len(plan.names) * (len(plan.split.choosing) + len(plan.split.confirming))
    share = format_percent(n_judged / full) if full else ""
    how = "judged" if plan.spec.asks_judge else "scored"
    return (
        f"{format_count(n_judged)} answers were {how}: {share} of the {format_count(full)} that "
        "every checkpoint on every case would take."
    )


def alternative_text(played: Played, confirmation: Confirmation | None = None) -> str:
    """Return the picture as words, for people who do not see it."""
    plan = played.plan
    parts = [_point_text(played, point) for point in sweep_points(played, ALL)]
    said = f"{plan.spec.title} by {plan.axis}, on the cases that chose. {'; '.join(parts)}."
    # What matters most stands first: a long text is cut.
    return f"{headline(played, confirmation)} {said}"


def _point_text(played: Played, point: SweepPoint) -> str:
    """Return a checkpoint's numbers, and what became of it."""
    fate = {"dropped": ", dropped early", "passed over": ", passed over"}.get(point.status, "")
    fate = ", recommended" if point.status == "recommended" else fate
    ends = format_interval(point.ci_low, point.ci_high)
    where = place_text(played.plan, point.name)
    return f"{where}: {format_number(point.mean)} ({ends}, n={format_count(point.n)}){fate}"
