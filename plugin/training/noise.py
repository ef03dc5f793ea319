"""Tell a rise or a fall of a curve from the noise of its values.

Noise: the mean squared distance of each value from the line through its two neighbours (Gasser,
Sroka and Jennen-Steinmetz, Biometrika 1986), which a smooth trend hardly touches.

A rise after the lowest value is tested in two ways, the first at 1/24 and the second at what is
left of 5%. 1/24 is the chance that four values in a row rise one after the other.

- Trend. If a curve is flat from some place on, the values after its lowest one come in any order
  with the same chance, whatever their distribution. Kendall's test asks whether they rise.
- Size. How far the last value lies above the lowest, in units of the noise. For independent normal
  noise around a flat line, its distribution depends on the number of values alone; it is simulated
  with a fixed seed, the noise estimated anew from each simulated curve. A curve that falls rises
  less than a flat one, so the flat one is the worst case of "does not rise".

A fall at the end is the same, seen from the other side, over the last half of the values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from plugin.training_curves import Series

FEWEST = 5
"""Values from which on a curve tells its own noise: three residuals."""

_TREND = 1 / 24
_SIZE = 0.05 - _TREND
_CLEAR = 2
"""Deviations that a change must have besides its trend; a smaller trend tells nothing."""

_FEWEST_FALLING = 6
"""Values among which a fall at the end is looked for, even if they are more than the last half."""

_N_SIMULATED = 20_000
_SEED = 20
_MOST_SIMULATED = 60
"""Values of a curve from which on the critical value grows no more to speak of."""


class Noise(NamedTuple):
    """How far single values of a curve stray by chance.

    Attributes:
        deviation: one standard deviation.
        own: whether it was estimated from the curve itself; else it is that of another curve with
            noise at least as large, and counts as known.
    """

    deviation: float
    own: bool


def estimate_noise(series: Series) -> float | None:
    """Return the standard deviation of single values around a smooth curve; None for too few."""
    if len(series) < FEWEST:
        return None
    import numpy as np

    steps, values = np.array(series.steps), np.array(series.values)
    share = (steps[2:] - steps[1:-1]) / (steps[2:] - steps[:-2])  # of the value before
    residual = share * values[:-2] + (1 - share) * values[2:] - values[1:-1]
    squares = residual**2 / (share**2 + (1 - share) ** 2 + 1)
    return math.sqrt(float(squares.mean()))


def block_means(series: Series, n: int) -> Series:
    """Return the means of blocks of equally many values, at most n; the first few are left out.

    Neighbours of a training loss share an epoch or a batch's rows, and blocks of them are freer of
    each other than single values are.
    """
    size = math.ceil(len(series) / n)
    if size < 2:
        return series
    starts = range(len(series) % size, len(series), size)
    means = [
        (
            math.fsum(series.steps[i : i + size]) / size,
            math.fsum(series.values[i : i + size]) / size,
        )
        for i in starts
    ]
    steps, values = zip(*means, strict=True)
    return Series(steps, values, n=len(means))


def rises_after_lowest(series: Series, noise: Noise | None) -> bool:
    """Return whether the curve rises after its lowest value, beyond its noise."""
    if len(series) < 2:
        return False
    lowest = min(range(len(series)), key=lambda i: series.values[i])
    after = series.values[lowest + 1 :]
    if not after:
        return False
    rise = series.values[-1] - series.values[lowest]
    if noise is None:
        return trend_p(after) <= _TREND + 1e-6
    if rise <= _CLEAR * noise.deviation:
        return False
    return trend_p(after) <= _TREND + 1e-6 or rise > noise.deviation * _critical(
        len(series), noise.own
    )


def falls_at_end(series: Series, noise: Noise | None) -> bool:
    """Return whether the curve still falls over the last half of its values, beyond its noise."""
    if len(series) < 2:
        return False
    half = last_half(series)
    fall = half.values[0] - half.values[-1]
    falling = [-value for value in series.values[-max(len(half), _FEWEST_FALLING) :]]
    if noise is None:
        return trend_p(falling) <= _TREND + 1e-6
    if fall <= _CLEAR * noise.deviation:
        return False
    return trend_p(falling) <= _TREND + 1e-6 or fall > noise.deviation * between_two(
        len(series), noise
    )


def last_half(series: Series) -> Series:
    """Return the last half of the curve, with at least two values if it has them."""
    n = max(min(2, len(series)), (len(series) + 1) // 2)
    return Series(series.steps[-n:], series.values[-n:], n=n)


def is_level_at_end(series: Series, noise: Noise | None) -> bool:
    """Return whether the end is level, and a quarter of the whole fall would have been seen there.

    Without such a change being visible, "not seen" would be no more than "too noisy".
    """
    if noise is None or len(series) < 4:
        return False
    whole = series.values[0] - min(series.values)
    half, clear = last_half(series).values, _CLEAR * noise.deviation
    return half[0] - half[-1] <= clear <= whole / 4


def changed_at_all(series: Series, noise: Noise | None) -> bool:
    """Return whether the curve fell at all, beyond its noise, from its first to its lowest."""
    if len(series) < 2:
        return False
    if trend_p([-value for value in series.values]) <= _TREND + 1e-6:
        return True
    if noise is None:
        return False
    fall = series.values[0] - min(series.values)
    return fall > noise.deviation * _critical(len(series), noise.own)


def trend_p(values: Sequence[float]) -> float:
    """Return the one-sided p-value of Kendall's test for rising values; 1 for fewer than 4."""
    if len(values) < 4 or len(set(values)) < 2:
        return 1.0
    from scipy.stats import kendalltau

    found = kendalltau(range(len(values)), values, alternative="greater")
    return round(float(found.pvalue), 9) if math.isfinite(found.pvalue) else 1.0


def between_two(n: int, noise: Noise, level: float = _SIZE) -> float:
    """Return the critical difference of two values that were not chosen, in units of the noise."""
    from scipy.stats import norm, t

    if not noise.own:
        return math.sqrt(2) * float(norm.isf(level))
    # The residuals overlap: for equal steps, n - 2 of them are worth (n - 2) * 18 / 35 free ones.
    freedom = max(1.0, (n - 2) * 18 / 35)
    return math.sqrt(2) * float(t.isf(level, freedom))


@lru_cache(maxsize=128)
def _critical(n: int, own: bool) -> float:
    """Return how far the last value of n lies above the lowest by chance, in units of the noise."""
    import numpy as np

    n = min(n, _MOST_SIMULATED)
    drawn = np.random.default_rng(_SEED).standard_normal((_N_SIMULATED, n))
    rise = drawn[:, -1] - drawn.min(axis=1)
    if own:
        residual = (drawn[:, :-2] + drawn[:, 2:]) / 2 - drawn[:, 1:-1]
        rise = rise / np.sqrt((residual**2 / 1.5).mean(axis=1))
    critical: Any = np.quantile(rise, 1 - _SIZE)
    return float(critical)
