"""How far raters agree, a judge among them: raw agreement, Cohen's kappa, Krippendorff's alpha.

Where a figure is undefined it is None, never 0 or 1: without two ratings to compare, and, for kappa
and alpha, where only one value was ever given, so that agreeing by chance is certain.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from plugin.intervals import BATCH, LEVEL, Floats

Level = Literal["nominal", "ordinal", "interval"]
"""What the distance of two ratings means: any difference is one, ranks count, or values do."""

MIN_UNITS = 50
"""Below this many units with two ratings no interval of alpha is given: of 30, with few
disagreements and one value much commoner than the others, it covers 88%; of 50, 93% or more."""

_MAX_UNDEFINED = 0.05
"""With more resamples than this of one value only, the interval would be about the others."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Krippendorff's alpha with its 95% interval.

    Attributes:
        alpha: 1 for perfect agreement, 0 for agreement by chance; None where undefined.
        ci_low: lower end of the interval; None where none can be given.
        ci_high: its upper end.
        n_units: units with at least two ratings: the others say nothing about agreement.
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
    """Share of units that two raters gave the same rating; None where no unit has both.

    Args:
        first: a rating per unit, None where it is missing.
        second: the other rater's, in the same order.

    Raises:
        ValueError: when the raters have not as many units.
    """
    pairs = _both(first, second)
    return sum(a == b for a, b in pairs) / len(pairs) if pairs else None


def cohens_kappa(
    first: Sequence[Hashable | None],
    second: Sequence[Hashable | None],
    *,
    categories: Sequence[Hashable] = (),
    quadratic: bool = False,
) -> float | None:
    """Agreement of two raters beyond what their own shares of each category give by chance.

    1 - observed / expected disagreement (Cohen 1960); with `quadratic` a disagreement counts as the
    squared distance of the categories' places (Cohen 1968), else as 1.

    Args:
        first: a category per unit, None where it is missing; units without both are left out.
        second: the other rater's, in the same order.
        categories: in their order, also those that nobody used; needed for `quadratic` alone.
        quadratic: count near misses as less.

    Returns:
        None where no unit has both ratings, or both raters put all units in one and the same
        category.

    Raises:
        ValueError: when the raters have not as many units, or a rating is none of the categories.
    """
    if quadratic and not categories:
        raise ValueError("quadratic weights need the categories in their order")
    pairs = _both(first, second)
    known = list(dict.fromkeys([*categories, *(rating for pair in pairs for rating in pair)]))
    if categories and len(known) > len(set(categories)):
        strange = ", ".join(map(repr, known[len(set(categories)) :]))
        raise ValueError(f"every rating must be one of {list(categories)}; got {strange}")
    places = {category: place for place, category in enumerate(known)}
    table = np.zeros((len(known), len(known)))
    for a, b in pairs:
        table[places[a], places[b]] += 1
    distance = np.subtract.outer(np.arange(len(known)), np.arange(len(known)))
    weights = np.square(distance) if quadratic else distance != 0
    by_chance = np.outer(table.sum(axis=1), table.sum(axis=0)) / max(1, len(pairs))
    expected = float((weights * by_chance).sum())
    return 1 - float((weights * table).sum()) / expected if expected else None


def krippendorff_alpha(
    ratings: Sequence[Sequence[float | None]],
    level: Level,
    *,
    seed: int,
    n_resamples: int = 10_000,
) -> Agreement:
    """Agreement of any number of raters, who need not all have rated everything.

    1 - observed / expected disagreement over the coincidences of ratings within units
    (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability"). The ordinal distance there,
    the ratings between two values plus half of those at either end, is that of their mean ranks.

    The interval is BCa (Efron 1987) over units, which are drawn with all their ratings: it is about
    further units, rated by the same raters. None is given below `MIN_UNITS` units, where no unit
    has different ratings (every resample would agree perfectly too), or where a resample often has
    no alpha. Takes memory of 8 bytes per unit and distinct value.

    Args:
        ratings: per unit its ratings in any order, None where one is missing; for "nominal" any
            numbers that stand for the categories.
        level: what the distance of two ratings means.
        seed: of the bootstrap.
        n_resamples: of the bootstrap.

    Raises:
        ValueError: for a rating that is not finite.
    """
    counts, values = _counted(ratings)
    n_units, n_ratings = len(counts), int(counts.sum())
    alpha = float(_alphas(np.ones((1, n_units)), counts, values, level)[0])
    if math.isnan(alpha):
        return Agreement(None, None, None, n_units, n_ratings, "fewer than two different ratings")
    lacks = f"{MIN_UNITS} units, got {n_units}" if n_units < MIN_UNITS else ""
    if not (counts.max(axis=1) < counts.sum(axis=1)).any():
        lacks = "one unit with different ratings"
    if lacks:
        return Agreement(alpha, None, None, n_units, n_ratings, f"no interval below {lacks}")
    drawn = np.concatenate(
        [_alphas(w, counts, values, level) for w in _redrawn(n_units, seed, n_resamples)]
    )
    undefined = float(np.isnan(drawn).mean())
    if undefined > _MAX_UNDEFINED:
        method = f"no interval: {undefined:.0%} of the resamples have one value only"
        return Agreement(alpha, None, None, n_units, n_ratings, method)
    without_one = np.concatenate([_alphas(w, counts, values, level) for w in _all_but_one(n_units)])
    low, high = _bca(alpha, drawn[~np.isnan(drawn)], without_one[~np.isnan(without_one)])
    method = f"BCa bootstrap over {n_units} units, {n_resamples} resamples"
    return Agreement(alpha, low, high, n_units, n_ratings, method)


def _both(
    first: Sequence[Hashable | None], second: Sequence[Hashable | None]
) -> list[tuple[Hashable, Hashable]]:
    if len(first) != len(second):
        raise ValueError(
            f"both raters need a rating (or None) per unit; got {len(first)} and {len(second)}"
        )
    return [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]


def _counted(ratings: Sequence[Sequence[float | None]]) -> tuple[Floats, Floats]:
    """How often each unit got each value, (n_units, n_values), and the values, sorted.

    Only units with at least two ratings are there.
    """
    units = [[float(rating) for rating in unit if rating is not None] for unit in ratings]
    units = [unit for unit in units if len(unit) > 1]
    bad = [rating for unit in units for rating in unit if not np.isfinite(rating)]
    if bad:
        raise ValueError(f"every rating must be finite, and None where it is missing; got {bad}")
    values = np.unique([rating for unit in units for rating in unit])
    counts = np.zeros((len(units), len(values)))
    for place, unit in enumerate(units):
        np.add.at(counts[place], np.searchsorted(values, unit), 1)
    return counts, values


def _alphas(weights: Floats, counts: Floats, values: Floats, level: Level) -> Floats:
    """Alpha with each unit counted so often, shape (n_weightings,); NaN where undefined.

    Args:
        weights: how often each unit counts, shape (n_weightings, n_units).
        counts: shape (n_units, n_values).
        values: shape (n_values,).
        level: what the distance of two ratings means.
    """
    sizes, totals = counts.sum(axis=1), weights @ counts
    n = totals.sum(axis=1)
    if level == "nominal":
        # Ordered pairs of different ratings: all pairs less those of equal ones.
        within = weights @ ((sizes**2 - (counts**2).sum(axis=1)) / np.maximum(sizes - 1, 1))
        between = n**2 - (totals**2).sum(axis=1)
    else:
        # Over ordered pairs, (x - y)**2 sums to twice n times the squares less the squared sum.
        x = totals.cumsum(axis=1) - totals / 2 if level == "ordinal" else values[None, :]
        per_unit = sizes * (x**2 @ counts.T) - (x @ counts.T) ** 2
        within = (weights * (2 * per_unit / np.maximum(sizes - 1, 1))).sum(axis=1)
        between = 2 * (n * (totals * x**2).sum(axis=1) - (totals * x).sum(axis=1) ** 2)
    one_value = (totals > 0).sum(axis=1) < 2
    with np.errstate(invalid="ignore", divide="ignore"):
        alphas: Floats = np.where(one_value, np.nan, 1 - (n - 1) * within / between)
    return alphas


def _redrawn(n_units: int, seed: int, n_resamples: int) -> Iterator[Floats]:
    """How often each unit is in each resample, in batches of shape (n, n_units)."""
    rng, shares = np.random.default_rng(seed), np.full(n_units, 1 / n_units)
    for start in range(0, n_resamples, BATCH):
        drawn = rng.multinomial(n_units, shares, size=min(BATCH, n_resamples - start))
        yield drawn.astype(np.float64)


def _all_but_one(n_units: int) -> Iterator[Floats]:
    """Every unit left out once, in batches of shape (n, n_units)."""
    for start in range(0, n_units, BATCH):
        left_out = np.arange(start, min(start + BATCH, n_units))
        weights = np.ones((len(left_out), n_units))
        weights[np.arange(len(left_out)), left_out] = 0.0
        yield weights


def _bca(found: float, drawn: Floats, without_one: Floats) -> tuple[float, float]:
    """Ends of the BCa interval from resamples and the jackknife (Efron 1987)."""
    from scipy.special import ndtr, ndtri

    n = len(drawn)
    below = ((drawn < found).sum() + (drawn <= found).sum()) / 2 / n
    bias = ndtri(np.clip(below, 1 / (n + 1), n / (n + 1)))
    pulls = without_one.mean() - without_one
    # Without any pull nothing is skewed.
    skew = (pulls**3).sum() / (6 * (pulls**2).sum() ** 1.5 or 1.0)
    tails = bias + ndtri(np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    low, high = np.quantile(drawn, ndtr(bias + tails / (1 - skew * tails)))
    return float(low), float(high)
