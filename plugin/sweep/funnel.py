"""Drop checkpoints round by round: all on few cases, the best on more of them.

This is successive halving (Karnin, Koren & Somekh 2013), but gentler: each round doubles the cases
and drops about a third. All that are in a round are judged on the same cases, so their differences
are paired. `benchmarks/sweep.py` shows what that costs: next to nothing. What does cost something
is that half of the cases are set aside.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plugin.compare.comparisons import N_RESAMPLES
from plugin.records import VANILLA, Case, MetricSpec
from plugin.sweep.split import Split

Floats = NDArray[np.float64]
Scores = Mapping[str, Mapping[str, float]]
"""Name -> case id -> score. A score that is missing has failed."""

FIRST_ROUND = 12
"""The fewest cases of the first round, where there are as many."""

KEPT = (0.7, 0.6, 0.6)
"""Which share of the checkpoints goes on after each round but the last."""

LAST_KEPT = 3
"""So many checkpoints at least are judged on all cases that choose."""

MOST_TIES = 2
"""So many more go on if they are tied with the last that does."""

_PLACES = 9
"""Decimals of a mean that count: smaller differences are rounding errors."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint of a training, or one model of a series.

    Attributes:
        name: the name of its variant, unique in the sweep.
        place: where it stands on the axis: its step, or whatever the axis shows.
        label: shown in place of the number; "" for the number itself.
    """

    name: str
    place: float
    label: str = ""


@dataclass(frozen=True, slots=True)
class Round:
    """One round of the funnel.

    Attributes:
        number: from 1.
        n_cases: how many of the choosing cases have been used after it, earlier rounds included.
        n_judged: how many checkpoints take part in it, without ties.
        most_judged: how many take part in it at most.
    """

    number: int
    n_cases: int
    n_judged: int
    most_judged: int


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
        n_resamples: of all resampling.
        n_unfit: cases that are left out, because the metric does not fit them.
    """

    checkpoints: tuple[Checkpoint, ...]
    spec: MetricSpec
    split: Split
    base: str = VANILLA
    prompted: str = ""
    axis: str = "step"
    seed: int = 0
    n_resamples: int = N_RESAMPLES
    n_unfit: int = 0

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
        n_missing: cases of the round for which it has none, but another one has.
        mean: its mean score over the cases of the round; missing ones count as `filled_grid` says.
            None without any score.
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
    not fewer than `FIRST_ROUND`. `KEPT` says how many go on, but at least `LAST_KEPT` do. So few
    checkpoints need one round only.
    """
    if n_checkpoints <= LAST_KEPT:
        return (Round(1, n_choosing, n_checkpoints, n_checkpoints),)
    sizes = [n_choosing]
    while len(sizes) <= len(KEPT) and sizes[0] // 2 >= FIRST_ROUND:
        sizes.insert(0, sizes[0] // 2)
    rounds = [Round(1, sizes[0], n_checkpoints, n_checkpoints)]
    for size, share in zip(sizes[1:], KEPT, strict=False):
        before = rounds[-1]
        n_judged = max(LAST_KEPT, math.ceil(round(share * before.n_judged, 9)))
        most = min(before.most_judged, n_judged + MOST_TIES)
        rounds.append(Round(before.number + 1, size, min(n_judged, most), most))
    return tuple(rounds)


def forecast_calls(plan: SweepPlan) -> Calls:
    """Return how many completions the sweep judges at most, and how many a full sweep would."""
    n_choosing, n_confirming = len(plan.split.choosing), len(plan.split.confirming)
    calls, before = len(plan.references) * n_choosing, 0
    for one in plan.rounds:
        calls += (one.n_cases - before) * one.most_judged
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

    Those with the best means do, and up to `MOST_TIES` more that are tied with the last of them.
    The cheap metric only breaks ties: giving it more weight cost up to 0.015 in simulation where it
    does not follow the judge. Among what is still tied the earlier checkpoint comes first.

    Args:
        plan: of the sweep.
        current: the round that is finished.
        scores: at least of all that took part, on the first `current.n_cases` choosing cases.
        alive: checkpoints that took part.
        cheap: name -> mean of a cheap metric over the choosing cases, turned so that more is
            better.
    """
    names = (*plan.references, *(one.name for one in plan.checkpoints if one.name in set(alive)))
    cases = plan.split.choosing[: current.n_cases]
    standings = standings_of(plan, scores, names, cases, cheap)
    ranked = [one for one in standings if one.name not in plan.references]
    later = [one for one in plan.rounds if one.number == current.number + 1]
    n_kept = _n_kept(ranked, later[0]) if later else len(ranked)
    in_order = [one.name for one in ranked]
    return Cut(current, standings, tuple(in_order[:n_kept]), tuple(in_order[n_kept:]))


def _n_kept(ranked: Sequence[Standing], later: Round) -> int:
    """Return how many go on to the next round, those that are tied with the last one included."""
    n_kept = min(later.n_judged, len(ranked))
    last = _rank_key(ranked[n_kept - 1].mean)
    tied = sum(_rank_key(one.mean) == last for one in ranked[n_kept:])
    return min(n_kept + min(tied, MOST_TIES), later.most_judged, len(ranked))


def _rank_key(value: float | None) -> float:
    """Return what sorts the best first, and what is not known last."""
    return math.inf if value is None or math.isnan(value) else -round(value, _PLACES)


def grid_of(
    spec: MetricSpec, scores: Scores, names: Sequence[str], cases: Sequence[Case]
) -> Floats:
    """Return the scores as rows of names and columns of cases, turned so that more is better.

    A missing score is NaN.
    """
    rows = [[scores.get(name, {}).get(case.id, math.nan) for case in cases] for name in names]
    found = np.array(rows, dtype=np.float64).reshape(len(names), len(cases))
    return found if spec.higher_is_better else -found


def filled_grid(plan: SweepPlan, scores: Scores, cases: Sequence[Case]) -> tuple[Floats, Floats]:
    """Return the scores of all names of the plan, as they are and with missing ones filled.

    A missing score counts as the lowest that any other has on this case, so no checkpoint gains by
    failing on hard cases. Where nobody has a score the case is left NaN.
    """
    grid = grid_of(plan.spec, scores, plan.names, cases)
    lowest = np.where(np.isnan(grid), math.inf, grid).min(axis=0, initial=math.inf)
    lowest[np.isinf(lowest)] = math.nan
    return grid, np.where(np.isnan(grid), lowest, grid)


def standings_of(
    plan: SweepPlan,
    scores: Scores,
    names: Sequence[str],
    cases: Sequence[Case],
    cheap: Mapping[str, float] | None = None,
) -> tuple[Standing, ...]:
    """Return how these stand on these cases, the best first.

    Ties are broken by the cheap metric, then by the order of the names. One without any score is
    last.
    """
    grid, filled = filled_grid(plan, scores, cases)
    known = ~np.isnan(filled).all(axis=0)
    means = filled[:, known].mean(axis=1) if known.any() else np.full(len(grid), math.nan)
    n_scored = (~np.isnan(grid)).sum(axis=1)
    means[n_scored == 0] = math.nan
    places = {name: at for at, name in enumerate(plan.names)}
    turn = 1.0 if plan.spec.higher_is_better else -1.0
    found = [
        Standing(
            name=name,
            n=int(n_scored[at]),
            n_missing=int(known.sum()) - int(n_scored[at]),
            mean=None if math.isnan(means[at]) else float(turn * means[at]) + 0.0,
            gain=None if math.isnan(means[at] - means[0]) else float(means[at] - means[0]),
        )
        for name in names
        for at in [places[name]]
    ]
    best_mean = {
        one.name: _rank_key(None if one.mean is None else turn * one.mean) for one in found
    }
    second = {name: _rank_key((cheap or {}).get(name)) for name in names}
    return tuple(sorted(found, key=lambda one: (best_mean[one.name], second[one.name])))
