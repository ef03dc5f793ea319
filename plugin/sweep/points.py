"""Give the numbers of every checkpoint of a sweep, for the picture and the table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from plugin.compare.numbers import round_published
from plugin.compare.pairs import clusters_of
from plugin.compare.stats import mean_interval
from plugin.records import ALL, Case
from plugin.sweep.play import Played

Status = Literal["recommended", "passed over", "judged to the end", "dropped", "reference"]
"""What became of a checkpoint. Base and prompted base are references, unless recommended."""


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """One checkpoint in one group.

    Attributes:
        place: where it stands on the axis; None for base and prompted base.
        group: `ALL`, or a group's name.
        status: what became of it.
        last_round: the last round that it took part in, from 1.
        n: choosing cases of the group for which it has a score.
        n_missing: those of its rounds for which it has none, but another one has.
        mean: its mean score; None without any.
        ci_low: lower end of the 95% interval of this mean; None if there is none.
        ci_high: upper end of it.
    """

    name: str
    place: float | None
    group: str
    status: Status
    last_round: int
    n: int
    n_missing: int
    mean: float | None
    ci_low: float | None
    ci_high: float | None


def sweep_points(played: Played, group: str = ALL) -> tuple[SweepPoint, ...]:
    """Return the numbers of all: base, prompted base, and the checkpoints in order of the axis."""
    places = {one.name: one.place for one in played.plan.checkpoints}
    return tuple(_point(played, name, places.get(name), group) for name in played.plan.names)


def _point(played: Played, name: str, place: float | None, group: str) -> SweepPoint:
    plan = played.plan
    last = max(
        (cut.round for cut in played.cuts if any(one.name == name for one in cut.standings)),
        key=lambda one: one.number,
        default=None,
    )
    seen = plan.split.choosing[: last.n_cases if last else 0]
    cases = [case for case in seen if group in (ALL, case.group)]
    own = played.scores.get(name, {})
    known = {key for one in plan.names for key in played.scores.get(one, {})}
    scored = [case for case in cases if case.id in own]
    found = mean_interval(
        [own[case.id] for case in scored],
        clusters=clusters_of(scored),
        low=plan.spec.low,
        high=plan.spec.high,
        seed=plan.seed,
        n_resamples=2_000,
    )
    return SweepPoint(
        name=name,
        place=place,
        group=group,
        status=status_of(played, name),
        last_round=last.number if last else 0,
        n=len(scored),
        n_missing=sum(case.id in known for case in cases) - len(scored),
        mean=found.mean,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
    )


def status_of(played: Played, name: str) -> Status:
    """Return what became of a checkpoint, or of a reference."""
    if name == played.choice.name:
        return "recommended"
    if name in played.plan.references:
        return "reference"
    if any(one.name == name for one in played.choice.passed):
        return "passed over"
    return "dropped" if any(name in cut.dropped for cut in played.cuts) else "judged to the end"


def sweep_groups(played: Played) -> tuple[str, ...]:
    """Return the names of the groups that the choosing cases have; none if there is only one."""
    found = {case.group for case in played.plan.split.choosing if case.group}
    return tuple(sorted(found)) if len(found) > 1 else ()


def table_rows(played: Played) -> list[dict[str, object]]:
    """Return the rows of the table: all cases first, then group by group."""
    rows = list[dict[str, object]]()
    for group in (ALL, *sweep_groups(played)):
        points = sweep_points(played, group)
        base = points[0]
        rows += [_row(played, point, base) for point in points]
    return rows


def _row(played: Played, point: SweepPoint, base: SweepPoint) -> dict[str, object]:
    return {
        "group": point.group,
        "name": point.name,
        played.plan.axis: point.place,
        "status": point.status,
        "rounds": point.last_round,
        "n": point.n,
        "n_missing": point.n_missing,
        "mean": round_published(point.mean),
        "ci_low": round_published(point.ci_low),
        "ci_high": round_published(point.ci_high),
        "gain": round_published(gain_of(played, point)) if point is not base else None,
    }


def gain_of(played: Played, point: SweepPoint) -> float | None:
    """Return the mean gain over the base, on the cases for which both have a score."""
    plan, own = played.plan, played.scores.get(point.name, {})
    base = played.scores.get(plan.base, {})
    gains = [
        plan.spec.gain(own[case.id], base[case.id])
        for case in _cases(plan.split.choosing, point.group)
        if case.id in own and case.id in base
    ]
    return math.fsum(gains) / len(gains) if gains else None


def _cases(cases: Sequence[Case], group: str) -> list[Case]:
    return [case for case in cases if group in (ALL, case.group)]
