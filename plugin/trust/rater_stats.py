"""Compute how far raters agree: a raw share, Cohen's kappa or Krippendorff's alpha.

The judge can be one of the raters. An undefined figure is None, never 0 or 1. It is undefined
without two ratings to compare; kappa and alpha are also undefined when all ratings are the same,
because chance agreement is then certain.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plugin.compare.intervals import BATCH, LEVEL, Floats

MIN_UNITS = 50
"""With fewer units that have two ratings, alpha gets no interval. With 30 units, few disagreements
and one very common value, the interval covers 88%; with 50 units, 93% or more."""

MIN_LABELS = 30
"""With fewer cases that humans labelled, a corrected gain gets no interval."""

_MAX_UNDEFINED = 0.05
"""Alpha gets no interval when a larger share of the resamples has one value only (and no alpha)."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Krippendorff's alpha with its 95% interval.

    Attributes:
        alpha: 1 for perfect agreement, 0 for agreement by chance; None when undefined.
        ci_low: lower end of the interval; None when there is no interval.
        ci_high: upper end of the interval.
        n_units: units with at least two ratings; others carry no information about agreement.
        n_ratings: ratings of those units.
        method: how the interval was computed, in words.
    """

    alpha: float | None
    ci_low: float | None
    ci_high: float | None
    n_units: int
    n_ratings: int
    method: str


def raw_agreement(
    first: Sequence[Hashable | None], second: Sequence[Hashable | None]
) -> float | None:
    """Return the share of units that two raters rated the same; None when no unit has both ratings.

    Args:
        first: a rating per unit; None for a missing one.
        second: the ratings of the other rater, in the same order.

    Raises:
        ValueError: when the two lists differ in length.
    """
    pairs = _rated_by_both(first, second)
    return sum(a == b for a, b in pairs) / len(pairs) if pairs else None


def cohens_kappa(
    first: Sequence[Hashable | None], second: Sequence[Hashable | None]
) -> float | None:
    """Return how much two raters agree beyond chance, given how often each uses each category.

    1 - observed / expected disagreement (Cohen 1960).

    Args:
        first: a category per unit; None for a missing one. Units without both are left out.
        second: the categories of the other rater, in the same order.

    Returns:
        The kappa; None when no unit has both ratings, or both raters put every unit in the same
        single category.

    Raises:
        ValueError: when the two lists differ in length.
    """
    pairs = _rated_by_both(first, second)
    n, n_differing = len(pairs), sum(a != b for a, b in pairs)
    own, other = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    # Count the differing pairs among all n * n ways to pair a rating of each rater.
    n_by_chance = n * n - sum(count * other[category] for category, count in own.items())
    return 1 - n_differing * n / n_by_chance if n_by_chance else None


def krippendorff_alpha(
    ratings: Sequence[Sequence[float | None]],
    *,
    clusters: Sequence[Hashable] | None = None,
    seed: int,
    n_resamples: int = 10_000,
) -> Agreement:
    """Return the agreement of any number of raters; each may have rated only some units.

    1 - observed / expected disagreement over the coincidences of ratings within units, where two
    ratings disagree by the square of their difference: the interval level of Krippendorff 2011,
    "Computing Krippendorff's Alpha-Reliability".

    The interval is a BCa bootstrap (Efron 1987) over units with all their ratings, or over clusters
    of units: it describes new units rated by the same raters. There is no interval with fewer than
    `MIN_UNITS` units or clusters, when no unit has different ratings (every resample would agree
    perfectly too), or when many resamples have no alpha. Needs 8 bytes of memory per unit and
    distinct value.

    Args:
        ratings: for each unit its ratings in any order; None for a missing one.
        clusters: a label per unit; units with the same label are resampled together.
        seed: seed of the bootstrap.
        n_resamples: number of bootstrap resamples.

    Raises:
        ValueError: for a rating that is not finite, or a wrong number of cluster labels.
    """
    counts, values = _category_counts(ratings)
    places = _cluster_places(ratings, clusters)
    n_units, n_ratings = len(counts), int(counts.sum())
    n_drawn, noun = int(places.max(initial=-1)) + 1, "units" if clusters is None else "clusters"
    alpha = float(_alpha_of_each(np.ones((1, n_units)), counts, values)[0])
    if math.isnan(alpha):
        return Agreement(None, None, None, n_units, n_ratings, "fewer than two different ratings")
    lacks = f"needs {MIN_UNITS} {noun}, got {n_drawn}" if n_drawn < MIN_UNITS else ""
    if not (counts.max(axis=1) < counts.sum(axis=1)).any():
        lacks = "the ratings agree on every unit"
    if lacks:
        return Agreement(alpha, None, None, n_units, n_ratings, f"no interval: {lacks}")

    def alphas(weights: Iterator[Floats]) -> Floats:
        return np.concatenate([_alpha_of_each(w[:, places], counts, values) for w in weights])

    drawn = alphas(_resampled_weights(n_drawn, seed, n_resamples))
    undefined = float(np.isnan(drawn).mean())
    if undefined > _MAX_UNDEFINED:
        method = f"no interval: {undefined:.0%} of the resamples contain only one value"
        return Agreement(alpha, None, None, n_units, n_ratings, method)
    without_one = alphas(_leave_one_out_weights(n_drawn))
    low, high = _bca_of_alpha(alpha, drawn[~np.isnan(drawn)], without_one[~np.isnan(without_one)])
    method = f"BCa bootstrap over {n_drawn} {noun}, {n_resamples} resamples"
    return Agreement(alpha, low, high, n_units, n_ratings, method)


def _cluster_places(
    ratings: Sequence[Sequence[float | None]], clusters: Sequence[Hashable] | None
) -> NDArray[np.int64]:
    """Return the number of the cluster of each unit that has two ratings, counted from 0."""
    if clusters is not None and len(clusters) != len(ratings):
        raise ValueError(f"{len(ratings)} units but {len(clusters)} cluster labels")
    labels = range(len(ratings)) if clusters is None else clusters
    kept = [
        label
        for unit, label in zip(ratings, labels, strict=True)
        if sum(rating is not None for rating in unit) > 1
    ]
    numbers = {label: number for number, label in enumerate(dict.fromkeys(kept))}
    return np.array([numbers[label] for label in kept], dtype=np.int64)


def _rated_by_both(
    first: Sequence[Hashable | None], second: Sequence[Hashable | None]
) -> list[tuple[Hashable, Hashable]]:
    if len(first) != len(second):
        raise ValueError(
            f"both raters need one rating (or None) per unit; got {len(first)} and {len(second)}"
        )
    return [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]


def _category_counts(ratings: Sequence[Sequence[float | None]]) -> tuple[Floats, Floats]:
    """Return how often each unit got each value, shape (n_units, n_values), and the sorted values.

    Units with fewer than two ratings are left out.
    """
    units = [[float(rating) for rating in unit if rating is not None] for unit in ratings]
    units = [unit for unit in units if len(unit) > 1]
    bad = [rating for unit in units for rating in unit if not np.isfinite(rating)]
    if bad:
        raise ValueError(f"every rating must be finite, or None when it is missing; got {bad}")
    values = np.unique([rating for unit in units for rating in unit])
    counts = np.zeros((len(units), len(values)))
    for place, unit in enumerate(units):
        np.add.at(counts[place], np.searchsorted(values, unit), 1)
    return counts, values


def _alpha_of_each(weights: Floats, counts: Floats, values: Floats) -> Floats:
    """Return alpha for each set of weights, shape (n_weightings,); NaN when undefined.

    Args:
        weights: how often each unit counts, shape (n_weightings, n_units).
        counts: shape (n_units, n_values).
        values: shape (n_values,).
    """
    sizes, totals = counts.sum(axis=1), weights @ counts
    n = totals.sum(axis=1)
    # The sum of (x - y)**2 over ordered pairs is 2 * (n * sum of squares - square of the sum).
    x = values[None, :]
    per_unit = sizes * (x**2 @ counts.T) - (x @ counts.T) ** 2
    within = (weights * (2 * per_unit / np.maximum(sizes - 1, 1))).sum(axis=1)
    between = 2 * (n * (totals * x**2).sum(axis=1) - (totals * x).sum(axis=1) ** 2)
    one_value = (totals > 0).sum(axis=1) < 2
    with np.errstate(invalid="ignore", divide="ignore"):
        alphas: Floats = np.where(one_value, np.nan, 1 - (n - 1) * within / between)
    return alphas


def _resampled_weights(n_units: int, seed: int, n_resamples: int) -> Iterator[Floats]:
    """Yield how often each unit is in each resample, in batches of shape (n, n_units)."""
    rng, shares = np.random.default_rng(seed), np.full(n_units, 1 / n_units)
    for start in range(0, n_resamples, BATCH):
        drawn = rng.multinomial(n_units, shares, size=min(BATCH, n_resamples - start))
        yield drawn.astype(np.float64)


def _leave_one_out_weights(n_units: int) -> Iterator[Floats]:
    """Yield weights that leave out each unit once, in batches of shape (n, n_units)."""
    for start in range(0, n_units, BATCH):
        left_out = np.arange(start, min(start + BATCH, n_units))
        weights = np.ones((len(left_out), n_units))
        weights[np.arange(len(left_out)), left_out] = 0.0
        yield weights


def _bca_of_alpha(alpha: float, drawn: Floats, without_one: Floats) -> tuple[float, float]:
    """Return the ends of the BCa interval from resamples and the jackknife (Efron 1987)."""
    from scipy.special import ndtr, ndtri

    n = len(drawn)
    below = ((drawn < alpha).sum() + (drawn <= alpha).sum()) / 2 / n
    bias = ndtri(np.clip(below, 1 / (n + 1), n / (n + 1)))
    pulls = without_one.mean() - without_one
    # When all pulls are zero, there is no skew.
    skew = (pulls**3).sum() / (6 * (pulls**2).sum() ** 1.5 or 1.0)
    tails = bias + ndtri(np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    low, high = np.quantile(drawn, ndtr(bias + tails / (1 - skew * tails)))
    return float(low), float(high)
