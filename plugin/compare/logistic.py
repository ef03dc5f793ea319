"""Fit logistic regressions to win values, once and again on resampled units, and give intervals.

`length_control` and `bradley_terry` share this file. A win value lies between 0 and 1: 1 for a win,
0 for a loss, 0.5 for a tie, which counts as half a win and half a loss (fractional logistic
regression: Papke & Wooldridge 1996).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from plugin.compare.intervals import Floats, t_quantile

PENALTY = 0.1
"""Weight of the penalty on squared coefficients, halved as usual, for every fit (1 / C = 0.1 in
scikit-learn). It weighs as much as 0.4 cases, and it keeps a fit finite when all outcomes of a
resample are the same."""

ENOUGH_RESAMPLES = 2_000
"""More resamples than these change a standard error by less than 2%."""

_AT_ONCE = 2_000_000
"""Largest number of features in memory at once."""

_MOST_STEPS, _DONE, _LONGEST_STEP = 100, 1e-8, 2.0


def fit_logistic(
    features: Floats,
    values: Floats,
    weights: Floats,
    start: Floats | None = None,
    penalty: float = PENALTY,
) -> Floats:
    """Return the coefficients that minimise log loss plus penalty / 2 times their sum of squares.

    Newton's method on several weighted samples at once. Steps are limited, so that it arrives even
    if wins and losses are separated; the penalty makes the minimum unique.

    Args:
        features: shape (n_fits, n_features, n), or (1, ...) if they are the same for all fits.
        values: win values within 0..1, of shape (n,) or (n_fits, n).
        weights: how often each value counts in each fit, shape (n_fits, n).
        start: coefficients to start from, shape (n_features,).
        penalty: weight of the penalty, above 0.

    Returns:
        Shape (n_fits, n_features).

    Raises:
        ArithmeticError: when the method does not arrive.
    """
    from scipy.special import expit

    n_fits, n_features = len(weights), features.shape[1]
    found: Floats = np.tile(np.zeros(n_features) if start is None else start, (n_fits, 1))
    ridge = penalty * np.eye(n_features)
    transposed = features.transpose(0, 2, 1)
    for _ in range(_MOST_STEPS):
        chances = expit(np.matmul(found[:, None, :], features)[:, 0, :])
        slopes = np.matmul(features, (weights * (values - chances))[:, :, None])[:, :, 0]
        bends = weights * chances * (1 - chances)
        curvature = np.matmul(features * bends[:, None, :], transposed) + ridge
        step = np.linalg.solve(curvature, (slopes - penalty * found)[:, :, None])[:, :, 0]
        longest = np.abs(step).max(axis=1, keepdims=True, initial=0.0)
        found = found + step * np.minimum(1.0, _LONGEST_STEP / np.maximum(longest, _DONE))
        if longest.max(initial=0.0) < _DONE:
            return found
    raise ArithmeticError(f"no fit after {_MOST_STEPS} steps; the largest step was {longest.max()}")


def number_units(n: int, clusters: Sequence[Hashable] | None) -> NDArray[np.intp]:
    """Return the number of each case's unit (its cluster, or the case alone): 0, 1, 2, ...

    Raises:
        ValueError: when there is not one label per case.
    """
    if clusters is None:
        return np.arange(n)
    if len(clusters) != n:
        raise ValueError(f"{n} values but {len(clusters)} cluster labels; give one per value")
    numbers = {label: place for place, label in enumerate(dict.fromkeys(clusters))}
    return np.array([numbers[label] for label in clusters], dtype=np.intp)


def draw_counts(n_units: int, n_resamples: int, seed: int, n_numbers: int) -> Iterator[Floats]:
    """Yield how often each unit is in each resample, in batches of shape (n, n_units).

    Args:
        n_units: number of units; each resample draws as many, with replacement.
        n_resamples: number of resamples in all.
        seed: seed of the draws.
        n_numbers: how many numbers one resample takes in memory; limits the batches.
    """
    rng, most = np.random.default_rng((seed, 3)), max(1, _AT_ONCE // max(1, n_numbers))
    for begin in range(0, n_resamples, most):
        n_rows = min(most, n_resamples - begin)
        drawn = rng.integers(0, n_units, size=(n_rows, n_units))
        drawn += np.arange(n_rows)[:, None] * n_units
        counts = np.bincount(drawn.ravel(), minlength=n_rows * n_units)
        yield counts.reshape(n_rows, n_units).astype(np.float64)


def reach_of(refits: Floats, sizes: Floats, n_shared: int = 1) -> Floats:
    """Return half the width of the 95% interval of each coefficient.

    It is the standard deviation of the refits times a quantile of Student's t distribution. Units
    of unequal size count with their effective number (Kish 1965), in the degrees of freedom and in
    the correction for the bootstrap's spread, which is too small by sqrt(1 - 1 / n). On this scale
    the interval covers better than quantiles of the refits do when clusters are few or unequal.

    Args:
        refits: coefficients of the resamples, shape (n_resamples, ...).
        sizes: number of cases of each unit.
        n_shared: number of intervals that share the 5% (Bonferroni); 1 for single ones.
    """
    from scipy.special import stdtrit

    n = float(sizes.sum() ** 2 / np.square(sizes).sum())
    quantile = t_quantile(n - 1) if n_shared == 1 else float(stdtrit(n - 1, 1 - 0.025 / n_shared))
    spread: Floats = refits.std(axis=0) * (math.sqrt(n / (n - 1)) * quantile)
    return spread
