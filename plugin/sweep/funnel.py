"""Drop checkpoints round by round: all on few cases, the best on more of them.

This is successive halving (Karnin, Koren & Somekh 2013): each round at least halves the field and
doubles the cases. All that are in a round are judged on the same cases, so their differences are
paired.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plugin.records import VANILLA, Case, MetricSpec
from plugin.sweep.split import Split

Floats = NDArray[np.float64]
Scores = Mapping[str, Mapping[str, float]]
"""Name -> case id -> score. A score that is missing has failed."""

FIRST_ROUND = 25
"""The fewest cases of the first round, where there are as many."""

MOST_ROUNDS = 4
LAST_KEPT = 3
"""So many checkpoints at least are judged on all cases that choose."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint of a training, or one model of a series.

    Attributes:
        name: the name of its variant, unique in the sweep.
        place: where it stands on the axis: its step, or whatever the axis shows.
    """

    name: str
    place: float


@dataclass(frozen=True, slots=True)
class Round:
    """One round of the funnel.

    Attributes:
        number: from 1.
        n_cases: how many of the choosing cases have been used after it, earlier rounds included.
        n_judged: how many checkpoints take part in it, at most.
    """

    number: int
    n_cases: int
    n_judged: int


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """What takes part in a sweep, and how it is decided.

    Attributes:
        checkpoints: in the order of the axis, the earliest first.
        spec: the metric that decides; the scores of the sweep are on it.
        split: the cases that choose, and those that confirm.
        base: name of the base; it takes part in every round, and is never dropped.
        prompted: name of the base with a prompt, for which the same holds; "" without one.
        axis: what the places are, such as "step".
        seed: of all resampling.
    """

    checkpoints: tuple[Checkpoint, ...]
    spec: MetricSpec
    split: Split
    base: str = VANILLA
    prompted: str = ""
    axis: str = "step"
    seed: int = 0

    @property
    def references(self) -> tuple[str, ...]:
        """Return the names of base and prompted base."""
        return (self.base, self.prompted) if self.prompted else (self.base,)

    @property
    def names(self) -> tuple[str, ...]:
        """Return all names: base, prompted base, and the checkpoints in order."""
        return (*self.references, *(one.name for one in self.checkpoints))

    @property
    def rounds(self) -> tuple[Round, ...]:
        """Return the rounds of the funnel."""
        return plan_rounds(len(self.checkpoints), len(self.split.choosing))

    def place_of(self, name: str) -> float:
        """Return where it stands on the axis; base and prompted base stand before all others."""
        places = {one.name: one.place for one in self.checkpoints}
        return places.get(name, -math.inf)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a checkpoint stands after a round.

    Attributes:
        n: cases of the round for which it has a score.
        n_missing: cases of the round for which it has none.
        mean: its mean score over these cases, a missing one counted as `fill_missing` does.
        gain: its mean over that of the base, turned so that more is better.
    """

    name: str
    n: int
    n_missing: int
    mean: float | None
    gain: float | None


@dataclass(frozen=True, slots=True)
class Cut:
    """What a round decided.

    Attributes:
        round: which one.
        standings: of base, prompted base and all checkpoints of the round, the best first.
        kept: checkpoints that go on, the best first.
        dropped: checkpoints that do not, the best first.
    """

    round: Round
    standings: tuple[Standing, ...]
    kept: tuple[str, ...]
    dropped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Calls:
    """How many completions are judged.

    Attributes:
        choosing: in the rounds, base and prompted base included; at most.
        confirming: of the recommended checkpoint and the base.
        full: in a full sweep: everything on every case.
    """

    choosing: int
    confirming: int
    full: int

    @property
    def most(self) -> int:
        """Return how many are judged at most."""
        return self.choosing + self.confirming

    @property
    def share(self) -> float:
        """Return this as a share of the full sweep."""
        return self.most / self.full if self.full else 0.0


def plan_rounds(n_checkpoints: int, n_choosing: int) -> tuple[Round, ...]:
    """Return the rounds for so many checkpoints and choosing cases.

    The last round uses all choosing cases, and each one before it half as many as the next, but
    not fewer than `FIRST_ROUND`. Each round halves the checkpoints, down to `LAST_KEPT`.
    """
    sizes = [n_choosing]
    while len(sizes) < MOST_ROUNDS and sizes[0] // 2 >= FIRST_ROUND:
        sizes.insert(0, sizes[0] // 2)
    judged = [n_checkpoints]
    for _ in sizes[1:]:
        judged.append(min(judged[-1], max(LAST_KEPT, math.ceil(judged[-1] / 2))))
    if n_checkpoints <= LAST_KEPT:
        return (Round(1, n_choosing, n_checkpoints),)
    return tuple(
        Round(at + 1, size, n) for at, (size, n) in enumerate(zip(sizes, judged, strict=True))
    )


def forecast_calls(plan: SweepPlan) -> Calls:
    """Return how many completions the sweep judges at most, and how many a full sweep would."""
    n_choosing, n_confirming = len(plan.split.choosing), len(plan.split.confirming)
    calls, before = len(plan.references) * n_choosing, 0
    for one in plan.rounds:
        calls += (one.n_cases - before) * one.n_judged
        before = one.n_cases
    others = len(plan.references) + (1 if plan.checkpoints else 0)
    return Calls(calls, others * n_confirming, len(plan.names) * (n_choosing + n_confirming))


def cut_field(
    plan: SweepPlan,
    current: Round,
    scores: Scores,
    alive: Sequence[str],
    cheap: Mapping[str, float] | None = None,
) -> Cut:
    """Decide which checkpoints go on after a round.

    Args:
        plan: of the sweep.
        current: the round that is finished.
        scores: at least of all that took part, on the first `current.n_cases` choosing cases.
        alive: checkpoints that took part.
        cheap: name -> mean of a cheap metric over the choosing cases, turned so that more is
            better.
    """
    names = (*plan.references, *alive)
    cases = plan.split.choosing[: current.n_cases]
    found = grid_of(plan.spec, scores, names, cases)
    standings = standings_of(plan.spec, names, found)
    later = [one for one in plan.rounds if one.number == current.number + 1]
    n_kept = later[0].n_judged if later else len(alive)
    ranked = [one.name for one in standings if one.name in set(alive)]
    return Cut(current, standings, tuple(ranked[:n_kept]), tuple(ranked[n_kept:]))


def grid_of(
    spec: MetricSpec, scores: Scores, names: Sequence[str], cases: Sequence[Case]
) -> Floats:
    """Return the scores as rows of names and columns of cases, turned so that more is better.

    A missing score is NaN.
    """
    rows = [[scores.get(name, {}).get(case.id, math.nan) for case in cases] for name in names]
    found = np.array(rows, dtype=np.float64).reshape(len(names), len(cases))
    return found if spec.higher_is_better else -found


def fill_missing(grid: Floats) -> Floats:
    """Return the scores with each missing one as the lowest that any other has on this case.

    So no checkpoint gains by failing on hard cases. A case without any score is left out.
    """
    known = grid[:, ~np.isnan(grid).all(axis=0)]
    return np.where(np.isnan(known), np.nanmin(known, axis=0, initial=math.inf), known)


def standings_of(spec: MetricSpec, names: Sequence[str], grid: Floats) -> tuple[Standing, ...]:
    """Return how all stand, the best first; of equal ones the first stays first.

    Args:
        spec: the metric.
        names: the base first.
        grid: their scores, as `grid_of` gives them.
    """
    filled = fill_missing(grid)
    means = filled.mean(axis=1) if filled.shape[1] else np.full(len(names), math.nan)
    turn = 1.0 if spec.higher_is_better else -1.0
    n_scored = (~np.isnan(grid)).sum(axis=1)
    order = sorted(range(len(names)), key=lambda at: -means[at] if means[at] == means[at] else 0.0)
    return tuple(
        Standing(
            name=names[at],
            n=int(n_scored[at]),
            n_missing=int(grid.shape[1] - n_scored[at]),
            mean=None if math.isnan(means[at]) else float(turn * means[at]) + 0.0,
            gain=None if math.isnan(means[at]) else float(means[at] - means[0]),
        )
        for at in order
    )
