"""Intervals for a mean over cases: what is resampled, the bootstrap, and the betting interval."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVEL = 0.95
"""Level of every interval."""

MIN_CLUSTERS = 20
"""Below this many clusters no interval is given."""

BETTING = "betting interval"
"""How the method of an interval begins that holds at every number of cases."""

MIN_VARYING = 10
"""A bootstrap of fewer units that differ from the most common one covers far too little."""

BATCH = 500
"""Resamples worked at once: bounds the memory, and stays in the processor's cache."""

# How much of what can be lost is bet, and how the capital is split between these bets. Any split
# that is fixed before the data are seen is valid. Data with few varying units reward the boldest
# bet, so it gets the most.
_BETS = np.array([1.0, 0.95, 0.85, 0.7, 0.5, 0.3, 0.15])
_CAPITAL = np.array([0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])


class Units(NamedTuple):
    """What is resampled: the sum and the number of cases of each unit, shapes (n_units,)."""

    sums: Floats
    sizes: Floats
    n_clusters: int | None

    @property
    def noun(self) -> str:
        """What the units are, in words."""
        return "cases" if self.n_clusters is None else "clusters"


class Interval(NamedTuple):
    """A 95% interval, None and None where none can be given, and how it was computed."""

    low: float | None
    high: float | None
    method: str


def grouped(values: Floats, clusters: Sequence[Hashable] | None) -> Units:
    """The units; clusters of one case each are the same as no clusters."""
    if clusters is not None and len(clusters) != len(values):
        raise ValueError(f"{len(values)} values but {len(clusters)} cluster labels")
    labels = {label: place for place, label in enumerate(dict.fromkeys(clusters or ()))}
    if clusters is None or len(labels) == len(values):
        return Units(values, np.ones(len(values)), None)
    places = [labels[label] for label in clusters]
    sums = np.asarray(np.bincount(places, weights=values), dtype=np.float64)
    sizes = np.bincount(places).astype(np.float64)
    return Units(sums, sizes, len(labels))


def spread(units: Units) -> float | None:
    """sqrt(n) times the mean's clustered standard error (Miller 2024, 2411.00640)."""
    n_units, n = len(units.sums), units.sizes.sum()
    if n_units < 2:
        return None
    residuals = units.sums - units.sizes * (units.sums.sum() / n)
    return float(np.sqrt(n_units / (n_units - 1) * np.square(residuals).sum() / n))


def interval_of(units: Units, bounds: tuple[float, float], seed: int, n_resamples: int) -> Interval:
    """The 95% interval of the mean over all cases, by the method that suits the data.

    Args:
        units: what is resampled.
        bounds: smallest and largest possible value of a case; infinite where there is none.
        seed: of the bootstrap.
        n_resamples: of the bootstrap.
    """
    if why := too_few(units):
        return Interval(None, None, why)
    if n_varying(units) >= MIN_VARYING:
        return _bca(units, seed, n_resamples)
    return betting(units, bounds, 1 - LEVEL)


def too_few(units: Units) -> str:
    """Why no interval at all can be given, "" where one can."""
    n_units = len(units.sums)
    if units.n_clusters is not None and n_units < MIN_CLUSTERS:
        return f"no interval below {MIN_CLUSTERS} clusters, got {n_units}"
    return "no interval below two cases" if n_units < 2 else ""


def n_varying(units: Units) -> int:
    """Units whose mean differs from the most common one."""
    _, counts = np.unique(np.round(units.sums / units.sizes, 12), return_counts=True)
    return len(units.sums) - int(counts.max(initial=0))


def _bca(units: Units, seed: int, n_resamples: int) -> Interval:
    """Bias-corrected and accelerated bootstrap of the mean over all cases (Efron 1987).

    A bootstrap's spread is too small by sqrt(1 - 1/n) and its quantiles are the normal's, not t's;
    the level is raised by just that much (Hesterberg 2015, "What teachers should know about the
    bootstrap", expanded percentile interval): 95.6% for 60 units, 95.2% for 200.
    """
    from scipy.special import ndtr, stdtrit
    from scipy.stats import bootstrap

    n_units = len(units.sums)
    quantile = math.sqrt(n_units / (n_units - 1)) * stdtrit(n_units - 1, (1 + LEVEL) / 2)

    def mean_of(sums: Floats, sizes: Floats, axis: int = -1) -> Floats:
        ratio: Floats = sums.sum(axis=axis) / sizes.sum(axis=axis)
        return ratio

    alone = units.n_clusters is None
    found = bootstrap(
        (units.sums,) if alone else (units.sums, units.sizes),
        np.mean if alone else mean_of,
        paired=not alone,
        n_resamples=n_resamples,
        batch=BATCH,
        confidence_level=float(2 * ndtr(quantile) - 1),
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    method = f"BCa bootstrap over {n_units} {units.noun}, {n_resamples} resamples"
    return Interval(float(found.low), float(found.high), method)


def betting(units: Units, bounds: tuple[float, float], alpha: float) -> Interval:
    """Interval for a bounded mean by betting; valid at every sample size and for every shape.

    A mean m is left out when a gambler who bets that the true mean is higher, or lower, would
    have multiplied the capital by 2 / alpha: if m is true, that happens with probability at most
    alpha / 2 (Waudby-Smith & Ramdas 2024, "Estimating means of bounded random variables by
    betting"). The bets are a fixed mixture of constant ones, so the order of the cases does not
    matter and nothing is drawn. A cluster's stake is its share of the largest cluster's cases,
    which keeps the mean over all cases the thing estimated; sizes are taken as given.

    Args:
        units: two or more.
        bounds: smallest and largest possible value of a case; where one is infinite there is no
            interval.
        alpha: of the two-sided interval.
    """
    low, high = bounds
    if not (math.isfinite(low) and math.isfinite(high)):
        return Interval(
            None, None, f"no interval: too few {units.noun} vary, and the metric has no bounds"
        )
    sizes = units.sizes / units.sizes.max()
    means = np.clip((units.sums / units.sizes - low) / (high - low), 0.0, 1.0)
    lower = lower_mean(means, sizes, alpha)
    upper = 1.0 - lower_mean(1.0 - means, sizes, alpha)
    method = f"{BETTING} over {len(means)} {units.noun}, of which too few vary to bootstrap"
    return Interval(low + (high - low) * lower, low + (high - low) * upper, method)


def log_bets(means: Floats, mean: float | Floats, stakes: float | Floats = 1.0) -> Floats:
    """What each bet on a mean above `mean` multiplies its capital by, unit by unit, as a log.

    Args:
        means: of units, within 0..1, of any shape.
        mean: what is bet against, above 0; goes with `means` in shape.
        stakes: the share of its bet that a unit plays for, within 0..1; goes with `means` too.

    Returns:
        Shape (*means.shape, number of bets); -inf where a bet lost everything.
    """
    with np.errstate(divide="ignore"):
        logs: Floats = np.log1p(_BETS * (stakes * (means / mean - 1.0))[..., None])
    return logs


def log_capital(logs: Floats) -> Floats:
    """The log of all capital together; `logs` are summed logs per bet, shape (..., bets)."""
    # A bold bet may have lost everything, which is -inf; the most timid one never has.
    most = logs.max(axis=-1, keepdims=True)
    total: Floats = np.log(np.exp(logs - most) @ _CAPITAL) + most[..., 0]
    return total


def lower_mean(means: Floats, stakes: Floats, alpha: float, *, anytime: bool = False) -> float:
    """The largest mean in 0..1 that bets on a higher one reject at alpha / 2.

    Args:
        means: of units, shape (n_units,), within 0..1.
        stakes: of units, shape (n_units,), within 0..1.
        alpha: of the two-sided interval.
        anytime: rejected counts what the capital rejected after any of the units, in their order,
            not only after the last one.
    """
    from scipy.optimize import brentq

    goal = math.log(2 / alpha)

    def shortfall(mean: float) -> float:
        logs = log_bets(means, mean, stakes)
        if anytime:
            return goal - float(log_capital(logs.cumsum(axis=0)).max())
        return goal - float(log_capital(logs.sum(axis=0)))

    # The capital falls as the mean rises, and is at most 1 at the observed mean.
    so_far = np.cumsum(means * stakes) / np.cumsum(stakes)
    least, observed = 1e-12, float(so_far.max() if anytime else so_far[-1])
    if observed <= least or shortfall(least) > 0:
        return 0.0
    return float(brentq(shortfall, least, observed))
