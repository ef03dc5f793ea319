"""The gain in each fold of one recipe, and whether the folds differ by more than their cases.

Each fold has an adapter of its own. If the gains of the folds differ by more than chance draws of
cases explain, the adapters differ: the training itself varies.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plugin.compare.intervals import Units, group_units, spread_of, t_quantile
from plugin.compare.pairs import Pairs, ResamplingSettings, clusters_of
from plugin.compare.stats import paired_estimate

Floats = NDArray[np.float64]

ALPHA = 0.05
"""With a smaller p the folds are said to differ."""

_TINY, _ROUNDING = 1e-9, 1e-12
"""How much smaller a sum of squares may be that counts as the same."""


@dataclass(frozen=True, slots=True)
class FoldGain:
    """The mean gain in one fold.

    Attributes:
        name: the fold's.
        n: pairs of scores.
        n_clusters: their clusters; None where every case stands for itself.
        gain: None without pairs.
        ci_low: lower end of its 95% interval; None where none can be given.
        ci_high: its upper end.
        why_no_interval: why there is none, in words; "" where there is one.
    """

    name: str
    n: int
    n_clusters: int | None
    variant_mean: float | None
    baseline_mean: float | None
    gain: float | None
    ci_low: float | None
    ci_high: float | None
    why_no_interval: str = ""


@dataclass(frozen=True, slots=True)
class Homogeneity:
    """Whether the folds' gains differ by more than the noise of their cases.

    Attributes:
        p_value: of "the cases explain the differences": cases, or clusters, change places between
            folds at random (a permutation test).
        q: Cochran's Q, the folds weighted by their precision; None where a fold has no spread.
        spread: standard deviation of the gain between adapters, beyond the noise of the cases.
        mean: mean of the folds' gains, each fold counted once.
        ci_low: lower end of its 95% interval with the fold as the unit (t, one less degree of
            freedom than folds).
        ci_high: its upper end.
    """

    p_value: float
    q: float | None
    spread: float
    mean: float
    ci_low: float
    ci_high: float

    @property
    def differ(self) -> bool:
        """Return whether the folds differ by more than their cases explain."""
        return self.p_value < ALPHA


@dataclass(frozen=True, slots=True)
class FoldGains:
    """What the folds show on one metric.

    Attributes:
        rows: one per fold.
        homogeneity: None with fewer than two folds that have two cases or clusters each.
    """

    metric: str
    variant: str
    baseline: str
    rows: tuple[FoldGain, ...]
    homogeneity: Homogeneity | None


def fold_gains(
    pairs: Pairs, fold_of: Mapping[str, str], resampling: ResamplingSettings
) -> FoldGains:
    """Return the gain in each fold, in the order of the folds.

    Args:
        pairs: the scores over all cases.
        fold_of: case id -> name of its fold.
        resampling: seed and number of resamples.
    """
    extent, rows, units = pairs.spec.largest_gain, list[FoldGain](), list[Units]()
    for name in dict.fromkeys(fold_of.values()):
        own = [pair for pair in pairs.whole if fold_of[pair[0].id] == name]
        clusters, gains = clusters_of([case for case, _, _ in own]), pairs.gains_of(own)
        found = paired_estimate(
            gains,
            clusters=clusters,
            low=-extent,
            high=extent,
            seed=resampling.seed,
            n_resamples=resampling.n_resamples,
        )
        rows.append(
            FoldGain(
                name=name,
                n=found.n,
                n_clusters=found.n_clusters,
                variant_mean=_mean([score for _, score, _ in own]),
                baseline_mean=_mean([score for _, _, score in own]),
                gain=found.mean,
                ci_low=found.ci_low,
                ci_high=found.ci_high,
                why_no_interval=found.why_no_interval,
            )
        )
        units.append(_units(gains, clusters))
    how = resampling.seed, resampling.n_resamples
    told = homogeneity(units, *how) if all(len(one.sums) > 1 for one in units) else None
    return FoldGains(pairs.spec.name, pairs.variant, pairs.baseline, tuple(rows), told)


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _units(gains: Sequence[float], clusters: Sequence[Hashable] | None) -> Units:
    return group_units(np.array(gains, np.float64), clusters)


def homogeneity(folds: Sequence[Units], seed: int, n_resamples: int) -> Homogeneity | None:
    """Test whether folds have the same mean gain; None with fewer than two.

    The statistic is the sum of squares between folds. Its distribution comes from cases, or whole
    clusters, that change places between the folds, so it holds for any spread and for small folds,
    where Cochran's Q with its chi-square distribution finds differences too often.

    Args:
        folds: the gains of each, in units that belong together; two units or more in each.
        seed: of the permutations.
        n_resamples: number of permutations, the data themselves among them.
    """
    if len(folds) < 2:
        return None
    sums = np.concatenate([one.sums for one in folds])
    sizes = np.concatenate([one.sizes for one in folds])
    ends = np.cumsum([len(one.sums) for one in folds])
    means = np.array([one.sums.sum() / one.sizes.sum() for one in folds])
    weights = np.array([one.sizes.sum() for one in folds])
    own = float(_between(sums[None], sizes[None], ends)[0])
    least = own * (1 - _TINY) - _ROUNDING * float(np.square(sums).sum())
    rng, n_as_large, left = np.random.default_rng(seed), 1, n_resamples - 1
    while left > 0:
        order = rng.permuted(
            np.broadcast_to(np.arange(len(sums)), (min(left, 1_000), len(sums))), axis=1
        )
        drawn = _between(sums[order], sizes[order], ends)
        n_as_large += int((drawn >= least).sum())
        left -= len(order)
    half = t_quantile(len(folds) - 1) * float(means.std(ddof=1)) / math.sqrt(len(folds))
    return Homogeneity(
        p_value=n_as_large / n_resamples,
        q=_cochran_q(folds, means),
        spread=_spread_between(folds, weights, own),
        mean=float(means.mean()),
        ci_low=float(means.mean()) - half,
        ci_high=float(means.mean()) + half,
    )


def _between(sums: Floats, sizes: Floats, ends: NDArray[np.int64]) -> Floats:
    """Return the sum of squares between folds, for each row of units in an order of its own."""
    starts = np.concatenate(([0], ends[:-1]))
    own, n = np.add.reduceat(sums, starts, axis=1), np.add.reduceat(sizes, starts, axis=1)
    whole = sums.sum(axis=1) ** 2 / sizes.sum(axis=1)
    found: Floats = np.maximum((own**2 / n).sum(axis=1) - whole, 0.0)
    return found


def _variances(folds: Sequence[Units]) -> Floats:
    """Return the variance of each fold's mean, whole clusters as units (see `spread_of`)."""
    return np.array([(spread_of(one) or 0.0) ** 2 / one.sizes.sum() for one in folds])


def _cochran_q(folds: Sequence[Units], means: Floats) -> float | None:
    """Return Cochran's Q (Cochran 1954); None where a fold has no spread."""
    variances = _variances(folds)
    if (variances <= 0).any():
        return None
    pooled = float((means / variances).sum() / (1 / variances).sum())
    return float((np.square(means - pooled) / variances).sum())


def _spread_between(folds: Sequence[Units], weights: Floats, between: float) -> float:
    """Return the standard deviation between folds by the method of moments, 0 for none.

    With the cases as weights (DerSimonian and Kacker 2007, equation 6).
    """
    total = weights.sum()
    by_noise = float((weights * _variances(folds) * (1 - weights / total)).sum())
    reach = float(total - np.square(weights).sum() / total)
    return math.sqrt(max(0.0, (between - by_noise) / reach))
