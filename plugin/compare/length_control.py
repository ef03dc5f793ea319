"""Estimate the win rate as it would be if the answers were equally long, or alike in style.

Judges tend to prefer long answers, and fine-tuning often makes answers longer. The model is the
length term of AlpacaEval 2 (Dubois et al. 2024, 2404.04475) without its table of difficulties:

    P(win) = 1 / (1 + exp(-(a + b tanh(d / s))))

with d the difference in length and s its standard deviation. The length-controlled win rate is the
mean prediction with the length term set to zero, 1 / (1 + exp(-a)). AlpacaEval keeps the fit fixed
for its standard error; here the whole fit is repeated on resampled units, and s with it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plugin.compare.intervals import Floats, check_values, few_vary, group_units, too_few
from plugin.compare.logistic import (
    ENOUGH_RESAMPLES,
    PENALTY,
    draw_counts,
    fit_logistic,
    number_units,
    reach_of,
)

LENGTH, HEADERS, LISTS, BOLD = "length", "headers", "lists", "bold marks"

MIN_EACH_WAY = 10
"""At least so many pairs (or clusters) must be at zero or below, and at zero or above, in every
difference that is controlled. With fewer the fit would only guess what equal answers do."""

MOST_EXCEPTIONS, RARER = 3, 4
"""Outcomes count as separated if a limit on the fitted difference predicts all that were decided
but at most this many, and at most one in this many of the rarer outcome. With 3 exceptions one
resample in 20 has none, and there the penalty alone would decide."""

GAP, GAP_P = 0.1, 0.01
"""A fit is poor if in a fifth of the pairs, sorted by length, the win rate is off by this much, and
if chance explains all gaps together with less than this probability."""

_BINS, _MIN_IN_BIN = 5, 10

SEPARATED = "separated by length"


@dataclass(frozen=True, slots=True)
class Effect:
    """What a difference between the answers does to the outcome.

    Attributes:
        name: what differs: "length", "headers", "lists" or "bold marks".
        log_odds: coefficient: the change in the log odds of a win. For length it belongs to
            tanh(difference / spread), for the others to difference / spread.
        ci_low: lower end of its 95% interval; None if there is no interval.
        ci_high: upper end of that interval.
        spread: standard deviation of the difference; for length in characters.
    """

    name: str
    log_odds: float
    ci_low: float | None
    ci_high: float | None
    spread: float


@dataclass(frozen=True, slots=True)
class FitQuality:
    """How well the fit describes the outcomes, by length.

    Attributes:
        largest_gap: largest difference between observed and fitted win rate in a fifth of the
            pairs, sorted by difference in length.
        p_value: probability of gaps like these if the fit were right.
    """

    largest_gap: float
    p_value: float

    @property
    def is_poor(self) -> bool:
        """Return whether the reader should be warned."""
        return self.largest_gap >= GAP and self.p_value < GAP_P


@dataclass(frozen=True, slots=True)
class ControlledRate:
    """A win rate under control for length, or for length and style.

    Attributes:
        n: number of pairs.
        n_clusters: number of clusters; None if the pairs are independent.
        raw_rate: mean win value of the same pairs; None without pairs.
        rate: controlled win rate; None if there is none.
        ci_low: lower end of its 95% interval; None if there is no interval.
        ci_high: upper end of that interval.
        why_no_rate: why there is no rate, in words; "" if there is one.
        why_no_interval: why there is no interval, in words; "" if there is one.
        share_longer: share of pairs in which the variant's answer is longer.
        effects: what each difference does; empty without a rate.
        quality: how well the fit describes the outcomes; None if too few pairs to tell.
        method: how rate and interval were computed, in words; "" without a rate.
    """

    n: int
    n_clusters: int | None
    raw_rate: float | None
    rate: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    why_no_rate: str = ""
    why_no_interval: str = ""
    share_longer: float | None = None
    effects: tuple[Effect, ...] = ()
    quality: FitQuality | None = None
    method: str = ""

    @property
    def is_separated(self) -> bool:
        """Return whether there is no rate because the differences separate the outcomes."""
        return self.rate is None and self.why_no_rate.startswith(SEPARATED)


class StyleCounts(NamedTuple):
    """Markdown in an answer, outside code blocks."""

    headers: int
    lists: int
    bold: int


class Differences(NamedTuple):
    """Names and differences of the pairs, variant minus baseline, shape (n_features, n)."""

    names: tuple[str, ...]
    table: Floats


def count_style(text: str) -> StyleCounts:
    """Count headers, list items and bold marks, as Chatbot Arena's style control does (2024)."""
    plain = re.sub(r"```.*?(?:```|\Z)", "", text, flags=re.DOTALL)
    return StyleCounts(
        headers=len(re.findall(r"^#{1,6}\s", plain, re.MULTILINE)),
        lists=len(re.findall(r"^\s*(?:\d+\.|[-*+])\s", plain, re.MULTILINE)),
        bold=len(re.findall(r"\*\*[^*\n]+\*\*|__[^_\n]+__", plain)),
    )


def style_difference(own: int, other: int) -> float:
    """Return (own - other) / (own + other), from -1 to 1, as the Arena does; 0 if both are 0."""
    return (own - other) / (own + other) if own + other else 0.0


def length_controlled(
    values: Sequence[float],
    length_differences: Sequence[float],
    *,
    clusters: Sequence[Hashable] | None = None,
    seed: int,
    n_resamples: int = ENOUGH_RESAMPLES,
) -> ControlledRate:
    """Return the win rate at equal length, with an interval from refits on resampled units.

    There is no rate if length separates wins from losses (see `MOST_EXCEPTIONS`), or if too few
    answers are shorter, or longer (see `MIN_EACH_WAY`). There is no interval if fewer than 10 units
    differ from the most common outcome, or with fewer than 6 clusters.

    Args:
        values: win value of each pair: 1 the variant wins, 0 the baseline does, 0.5 a tie.
        length_differences: length of the variant's answer minus the baseline's, in characters.
        clusters: a label per pair; pairs with the same label are resampled together.
        seed: seed of the resampling.
        n_resamples: number of resamples, of which at most `ENOUGH_RESAMPLES` are used.

    Raises:
        ValueError: for values outside 0..1, differences that are not finite, or unequal numbers.
    """
    return _controlled(values, {LENGTH: length_differences}, clusters, seed, n_resamples)


def style_controlled(
    values: Sequence[float],
    length_differences: Sequence[float],
    styles: Sequence[tuple[StyleCounts, StyleCounts]],
    *,
    clusters: Sequence[Hashable] | None = None,
    seed: int,
    n_resamples: int = ENOUGH_RESAMPLES,
) -> ControlledRate:
    """Return the win rate at equal length and style (headers, lists, bold marks).

    The other arguments and the rules are those of `length_controlled`. A kind of mark that no
    answer has, or all have alike, is left out.

    Args:
        values: as in `length_controlled`.
        length_differences: as in `length_controlled`.
        styles: marks in the variant's answer and in the baseline's, for each pair.
        clusters: as in `length_controlled`.
        seed: as in `length_controlled`.
        n_resamples: as in `length_controlled`.

    Raises:
        ValueError: as `length_controlled`.
    """
    if len(styles) != len(values):
        raise ValueError(f"{len(values)} win values but {len(styles)} pairs of style counts")
    columns: dict[str, Sequence[float]] = {LENGTH: length_differences}
    for place, name in enumerate((HEADERS, LISTS, BOLD)):
        column = [style_difference(own[place], other[place]) for own, other in styles]
        if any(column):
            columns[name] = column
    return _controlled(values, columns, clusters, seed, n_resamples)


def _controlled(
    values: Sequence[float],
    columns: dict[str, Sequence[float]],
    clusters: Sequence[Hashable] | None,
    seed: int,
    n_resamples: int,
) -> ControlledRate:
    """Check the values, and return the rate or the reason for none."""
    y = check_values(values, 0.0, 1.0, "win value")
    for name, column in columns.items():
        if len(column) != len(y):
            raise ValueError(f"{len(y)} win values but {len(column)} differences in {name}")
    checked = [check_values(own, -math.inf, math.inf, "difference") for own in columns.values()]
    differences = Differences(tuple(columns), np.array(checked))
    units, of_case = group_units(y, clusters), number_units(len(y), clusters)
    if units.n_clusters is None:
        of_case = np.arange(len(y))
    nothing = ControlledRate(
        n=len(y),
        n_clusters=units.n_clusters,
        raw_rate=float(y.mean()) if len(y) else None,
        share_longer=float((checked[0] > 0).mean()) if len(y) else None,
    )
    if why := _why_no_fit(differences, of_case, units.noun):
        return replace(nothing, why_no_rate=why)
    ones = np.ones((1, len(y)))
    features, spreads = _features(differences.table, ones)
    fitted = fit_logistic(features, y, ones)[0]
    if why := _separated(fitted[1:] @ features[0, 1:], y, of_case, units.noun):
        return replace(nothing, why_no_rate=why)
    few = f"no interval: too few {units.noun} differ in outcome" if few_vary(units) else ""
    why = too_few(units) or few
    n = min(n_resamples, ENOUGH_RESAMPLES)
    half = None if why else reach_of(_refits(y, differences, of_case, fitted, seed, n), units.sizes)
    return replace(
        nothing,
        rate=_chance(fitted[0]),
        ci_low=None if half is None else _chance(fitted[0] - half[0]),
        ci_high=None if half is None else _chance(fitted[0] + half[0]),
        why_no_interval=why,
        effects=_effects(differences.names, fitted[1:], spreads[0], half),
        quality=_fit_quality(y, features[0], fitted, checked[0], of_case),
        method=f"logistic regression with penalty {PENALTY}"
        + ("" if why else f", refitted on {n} resamples of {len(units.sums)} {units.noun}"),
    )


def _features(differences: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the features (1, tanh of the length, the others) and the spreads of the differences.

    Differences are divided by their standard deviation but not centred: zero still means equal.

    Args:
        differences: shape (n_differences, n), length first.
        weights: how often each pair counts in each fit, shape (n_fits, n).

    Returns:
        Shapes (n_fits, n_differences + 1, n) and (n_fits, n_differences).
    """
    total = weights.sum(axis=1, keepdims=True)
    means = weights @ differences.T / total
    off = differences[None] - means[:, :, None]
    squares = np.einsum("rn,rkn->rk", weights, np.square(off))
    spreads = np.sqrt(squares / np.maximum(total - 1, 1.0))
    # A difference without any spread (all equal in a resample) carries no information.
    scaled = np.zeros_like(off)
    np.divide(differences[None], spreads[:, :, None], out=scaled, where=spreads[:, :, None] > 0)
    scaled[:, 0] = np.tanh(scaled[:, 0])
    return np.concatenate((np.ones_like(scaled[:, :1]), scaled), axis=1), spreads


def _refits(
    y: Floats,
    differences: Differences,
    of_case: NDArray[np.intp],
    start: Floats,
    seed: int,
    n_resamples: int,
) -> Floats:
    """Return the coefficients of fits to resampled units, shape (n_resamples, n_features)."""
    found, n_numbers = [], len(y) * (1 + len(differences.names))
    for counts in draw_counts(int(of_case.max()) + 1, n_resamples, seed, n_numbers):
        weights = counts[:, of_case]
        features, _ = _features(differences.table, weights)
        found.append(fit_logistic(features, y, weights, start))
    return np.concatenate(found)


def _why_no_fit(differences: Differences, of_case: NDArray[np.intp], noun: str) -> str:
    """Say that there are too few units, or on one side of zero; "" if there are enough."""
    if (n_units := len(np.unique(of_case))) < 2 * MIN_EACH_WAY:
        return f"needs at least {2 * MIN_EACH_WAY} {noun}, got {n_units}"
    for name, own in zip(differences.names, differences.table, strict=True):
        more, fewer = (
            ("is longer or equal", "is shorter or equal")
            if name == LENGTH
            else (f"has as many {name} or more", f"has as many {name} or fewer")
        )
        for side, is_in in {more: own >= 0, fewer: own <= 0}.items():
            n = len(np.unique(of_case[is_in]))
            if n < MIN_EACH_WAY:
                return (
                    f"{SEPARATED}: the variant's answer {side} in only {n} {noun}; at "
                    f"least {MIN_EACH_WAY} are needed"
                )
    return ""


def _separated(fitted: Floats, y: Floats, of_case: NDArray[np.intp], noun: str) -> str:
    """Say that the fitted difference nearly separates wins from losses; "" if it does not."""
    wins, losses = y > 0.5, y < 0.5
    rarer = min(len(np.unique(of_case[own])) for own in (wins, losses))
    if rarer < 3:
        return ""
    places = np.round(fitted, 9)
    limits = np.unique(places)
    # A limit lies just below one of the places: it has the wins above it and the losses below.
    low_wins = np.searchsorted(np.sort(places[wins]), limits, side="left")
    low_losses = np.searchsorted(np.sort(places[losses]), limits, side="left")
    limit = limits[(low_wins - low_losses).argmin()]
    is_exception = (wins & (places < limit)) | (losses & (places >= limit))
    n = len(np.unique(of_case[is_exception]))
    if n > MOST_EXCEPTIONS or n * RARER > rarer:
        return ""
    but = f" but {n}" if n else ""
    return f"{SEPARATED}: a limit on the difference predicts all decided {noun}{but}"


def _effects(
    names: Sequence[str], fitted: Floats, spreads: Floats, half: Floats | None
) -> tuple[Effect, ...]:
    ends = (
        [(None, None)] * len(names)
        if half is None
        else zip((fitted - half[1:]).tolist(), (fitted + half[1:]).tolist(), strict=True)
    )
    rows = zip(names, fitted.tolist(), ends, spreads.tolist(), strict=True)
    return tuple(Effect(name, value, *pair, spread) for name, value, pair, spread in rows)


def _fit_quality(
    y: Floats, features: Floats, fitted: Floats, lengths: Floats, of_case: NDArray[np.intp]
) -> FitQuality | None:
    """Compare observed and fitted win rates in fifths by length (after Hosmer & Lemeshow 1980).

    The variance of a fifth comes from the residuals of whole units, so that ties and clusters
    count, and is at least what the fit expects: a fifth with one outcome only has no spread.
    """
    from scipy.special import chdtrc, expit

    n_bins = min(_BINS, len(y) // _MIN_IN_BIN)
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, max(1, n_bins) + 1)[1:-1]))
    bins = np.searchsorted(edges, lengths, side="left")
    n_bins = int(bins.max()) + 1
    freedom = n_bins - len(fitted)
    if freedom < 1:
        return None
    chances = expit(fitted @ features)
    residuals, expected = y - chances, chances * (1 - chances)
    expected *= np.square(residuals).sum() / max(1e-300, expected.sum())
    gaps, total = [], 0.0
    for place in range(n_bins):
        is_in = bins == place
        own = residuals * is_in
        gaps.append(abs(float(own.sum())) / max(1, int(is_in.sum())))
        seen = float(np.square(np.bincount(of_case, weights=own)).sum())
        variance = max(seen, float(expected[is_in].sum()))
        total += float(own.sum()) ** 2 / variance if variance > 0 else 0.0
    return FitQuality(max(gaps), float(chdtrc(freedom, total)))


def _chance(log_odds: float) -> float:
    """Return the probability that belongs to log odds."""
    from scipy.special import expit

    return float(expit(log_odds))
