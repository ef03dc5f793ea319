"""Rank several variants from their win values against each other: Bradley-Terry scores.

The model is P(a wins against b) = 1 / (1 + exp(-(s_a - s_b))) (Bradley & Terry 1952), with ties as
half a win for each side. Scores are centred: they sum to zero, and only differences mean something.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plugin.compare.intervals import (
    LEVEL,
    MIN_CLUSTERS,
    MIN_VARYING,
    Floats,
    Units,
    betting_interval,
    check_values,
    n_varying,
)
from plugin.compare.logistic import (
    ENOUGH_RESAMPLES,
    PENALTY,
    draw_counts,
    fit_logistic,
    number_units,
    reach_of,
)

ELO = 400 / np.log(10)
"""Points of an Elo scale for one unit of a Bradley-Terry score."""


class Match(NamedTuple):
    """One case in which two variants were compared.

    Attributes:
        variant: name of one variant.
        baseline: name of the other one.
        value: win value of `variant`: 1 it wins, 0 the other one does, 0.5 a tie.
        unit: the case, or the cluster of cases; matches of one unit are resampled together.
    """

    variant: str
    baseline: str
    value: float
    unit: Hashable


@dataclass(frozen=True, slots=True)
class Rated:
    """One variant's place in the ranking.

    Attributes:
        name: the variant.
        score: Bradley-Terry score in log odds; all scores sum to zero.
        ci_low: lower end of its 95% interval; None if there is no interval.
        ci_high: upper end of that interval.
        n: number of matches.
        mean_win: mean win value of its matches.
        beats_next: whether it is better than the next one in the ranking beyond chance. These tests
            share the 5%. None for the last one, or if there are too few units to tell.
    """

    name: str
    score: float
    ci_low: float | None
    ci_high: float | None
    n: int
    mean_win: float
    beats_next: bool | None = None

    @property
    def elo(self) -> float:
        """Return the score in points of an Elo scale, around zero."""
        return float(self.score * ELO)


@dataclass(frozen=True, slots=True)
class Ranking:
    """All variants, the best first.

    Attributes:
        rated: the variants; empty if there is no ranking.
        n_units: number of cases or clusters.
        why_none: why there is no ranking, in words; "" if there is one.
        why_no_interval: why there are no intervals at all, in words; "" if there are.
        method: how the scores were computed, in words.
    """

    rated: tuple[Rated, ...]
    n_units: int
    why_none: str = ""
    why_no_interval: str = ""
    method: str = ""

    @property
    def tied_neighbours(self) -> tuple[tuple[str, str], ...]:
        """Return the neighbours in the ranking that cannot be told apart."""
        after = zip(self.rated, self.rated[1:], strict=False)
        return tuple((own.name, other.name) for own, other in after if not own.beats_next)


class _Tallies(NamedTuple):
    """Wins of the first of each pair of variants, and matches, by unit: shape (n_units, n_pairs).

    `features` says which variants a pair consists of: shape (1, n_variants, n_pairs).
    """

    names: tuple[str, ...]
    features: Floats
    wins: Floats
    played: Floats

    @property
    def noun(self) -> str:
        """Return what the units are: "clusters" where one has several matches of a pair."""
        return "clusters" if self.played.max(initial=0.0) > 1 else "cases"

    @property
    def sizes(self) -> Floats:
        """Return the number of matches of each unit."""
        total: Floats = self.played.sum(axis=1)
        return total

    def units_of(self, place: int, other: int | None = None) -> Units:
        """Return one variant's win values, against all or one other, summed by unit."""
        sides = self.features[0, place]
        if other is not None:
            sides = np.where(self.features[0, other] != 0, sides, 0.0)
        own = np.where(sides > 0, self.wins, self.played - self.wins)
        sums, sizes = own @ np.abs(sides), self.played @ np.abs(sides)
        return Units(sums[sizes > 0], sizes[sizes > 0], int((sizes > 0).sum()))


def bradley_terry(
    matches: Sequence[Match],
    *,
    seed: int,
    n_resamples: int = ENOUGH_RESAMPLES,
    penalty: float = PENALTY,
) -> Ranking:
    """Return the ranking of all variants, with intervals from refits on resampled units.

    Minimises log loss plus penalty / 2 times the sum of the squared scores. There is no ranking if
    some variants never meet the others, not even through third ones. A variant of which fewer than
    10 units differ from its most common result has no interval: its refits would hardly vary.

    Args:
        matches: all matches; the two sides may stand in either order.
        seed: seed of the resampling.
        n_resamples: number of resamples, of which at most `ENOUGH_RESAMPLES` are used.
        penalty: weight of the penalty, above 0.

    Raises:
        ValueError: for a win value outside 0..1, or a variant that meets itself.
    """
    tallies = _tally(matches)
    n_units = len(tallies.wins)
    if why := _never_met(tallies):
        return Ranking((), n_units, why_none=why)
    scores = _fit(tallies, np.ones((1, n_units)), None, penalty)[0]
    order = np.argsort(-scores, kind="stable")
    method = f"Bradley-Terry model, ties as half a win, penalty {penalty:g}"
    if n_units < MIN_CLUSTERS:
        why = f"no intervals with fewer than {MIN_CLUSTERS} {tallies.noun} (here {n_units})"
        rated = [_rate(tallies, scores, place, None, None) for place in order]
        return Ranking(tuple(rated), n_units, why_no_interval=why, method=method)
    n = min(n_resamples, ENOUGH_RESAMPLES)
    refits = np.concatenate(
        [
            _fit(tallies, counts, scores, penalty)
            for counts in draw_counts(n_units, n, seed, 3 * tallies.wins.shape[1])
        ]
    )
    half = reach_of(refits, tallies.sizes)
    varies = [n_varying(tallies.units_of(place)) >= MIN_VARYING for place in range(len(scores))]
    beats = _beat_next(tallies, scores, refits, order, varies)
    rated = [
        _rate(tallies, scores, place, float(half[place]) if varies[place] else None, beaten)
        for place, beaten in zip(order, [*beats, None], strict=True)
    ]
    method += f", refitted on {n} resamples of {n_units} {tallies.noun}"
    return Ranking(tuple(rated), n_units, method=method)


def _tally(matches: Sequence[Match]) -> _Tallies:
    """Return wins and matches by unit and pair of variants; names in order of appearance."""
    values = check_values([match.value for match in matches], 0.0, 1.0, "win value")
    if own := [match.variant for match in matches if match.variant == match.baseline]:
        raise ValueError(f"a match needs two different variants; got {own[0]!r} against itself")
    names = tuple(dict.fromkeys(name for match in matches for name in match[:2]))
    place = {name: i for i, name in enumerate(names)}
    ends = [(place[match.variant], place[match.baseline]) for match in matches]
    pairs = {pair: i for i, pair in enumerate(dict.fromkeys((min(e), max(e)) for e in ends))}
    units = number_units(len(matches), [match.unit for match in matches])
    columns = np.array([pairs[min(e), max(e)] for e in ends], dtype=np.intp)
    turned = np.array([a > b for a, b in ends], dtype=bool)
    shape = (int(units.max(initial=-1)) + 1, len(pairs))
    wins, played = np.zeros(shape), np.zeros(shape)
    np.add.at(wins, (units, columns), np.where(turned, 1 - values, values))
    np.add.at(played, (units, columns), 1.0)
    features = np.zeros((1, len(names), len(pairs)))
    for (a, b), column in pairs.items():
        features[0, a, column], features[0, b, column] = 1.0, -1.0
    return _Tallies(names, features, wins, played)


def _fit(tallies: _Tallies, counts: Floats, start: Floats | None, penalty: float) -> Floats:
    """Return the scores for each row of unit counts, shape (n_fits, n_variants)."""
    wins, played = counts @ tallies.wins, counts @ tallies.played
    shares = np.divide(wins, played, out=np.full_like(wins, 0.5), where=played > 0)
    return fit_logistic(tallies.features, shares, played, start, penalty)


def _never_met(tallies: _Tallies) -> str:
    """Say which variants cannot be ranked together; "" if all can."""
    if not tallies.names:
        return "there are no matches"
    joined = {0}
    links = [set(np.flatnonzero(pair).tolist()) for pair in tallies.features[0].T]
    while more := {end for link in links if link & joined for end in link} - joined:
        joined |= more
    apart = [name for place, name in enumerate(tallies.names) if place not in joined]
    if not apart:
        return ""
    return f"{', '.join(apart)} never met {tallies.names[0]}, not even through others"


def _beat_next(
    tallies: _Tallies,
    scores: Floats,
    refits: Floats,
    order: NDArray[np.intp],
    varies: Sequence[bool],
) -> list[bool | None]:
    """Return, for all but the last in order, whether it beats the next one beyond chance.

    The intervals of all leads share the 5%. Where refits say nothing because a variant's results
    hardly vary, the matches of the two against each other decide, with a betting interval.
    """
    upper, lower = order[:-1], order[1:]
    n_tests = max(1, len(upper))
    reach = reach_of(refits[:, upper] - refits[:, lower], tallies.sizes, n_shared=n_tests)
    is_clear = scores[upper] - scores[lower] > reach
    found: list[bool | None] = []
    for rank, (own, other) in enumerate(zip(upper.tolist(), lower.tolist(), strict=True)):
        if varies[own] and varies[other]:
            found.append(bool(is_clear[rank]))
            continue
        direct = tallies.units_of(own, other)
        if len(direct.sums) < 2:
            found.append(None)
            continue
        low = betting_interval(direct, (0.0, 1.0), (1 - LEVEL) / n_tests).low
        found.append(low is not None and low > 0.5)
    return found


def _rate(
    tallies: _Tallies, scores: Floats, place: int, half: float | None, beats_next: bool | None
) -> Rated:
    score, own = float(scores[place]), tallies.units_of(place)
    return Rated(
        name=tallies.names[place],
        score=score,
        ci_low=None if half is None else score - half,
        ci_high=None if half is None else score + half,
        n=int(own.sizes.sum()),
        mean_win=float(own.sums.sum() / own.sizes.sum()),
        beats_next=beats_next,
    )
