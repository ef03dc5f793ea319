"""What rules decide on: a number of a run with its interval at any level.

An interval here also says where its ends would be if everything that failed had gone against it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Protocol

from plugin.capability.paired import Flips, stratified_interval
from plugin.compare import stats
from plugin.compare.early_stop import ConfidenceSequence, SettleRule
from plugin.compare.intervals import (
    LEVEL,
    check_values,
    group_units,
    ratio_of_means,
)
from plugin.compare.needed import MOST_NEEDED, needed_units
from plugin.results import IntervalKind

_POWER_Z = 0.8416
"""Normal quantile of 80%."""


class Ends(NamedTuple):
    """Both ends of an interval; None where there is none."""

    low: float | None = None
    high: float | None = None


class Quantity(Protocol):
    """A number with its interval."""

    @property
    def value(self) -> float | None:
        """Return the number; None without data."""

    @property
    def n(self) -> int:
        """Return how many cases (of general ability: items) it rests on."""

    @property
    def n_clusters(self) -> int | None:
        """Return the number of clusters of these; None where each stands for itself."""

    @property
    def n_failed(self) -> int:
        """Return the number of cases without it, because something failed."""

    @property
    def noun(self) -> str:
        """Return what is counted."""

    @property
    def loss_p(self) -> float | None:
        """Return the one-sided p of "nothing was lost", failures in favour; None without a test."""

    @property
    def shift(self) -> float:
        """Return the value that stands for no difference at all."""

    @property
    def why_none(self) -> str:
        """Return why there is no interval; "" where there is one."""

    def ends(self, level: float) -> Ends:
        """Return the interval at this level."""

    def at_worst(self, level: float) -> Ends:
        """Return the lower end with failures as low, the upper one with them as high as can be."""

    def needed(self, limit: float, is_settled: Callable[[float, float], bool]) -> int | None:
        """Return how many cases or clusters would show on which side of the limit it lies.

        Args:
            limit: the limit.
            is_settled: whether an interval with these ends would be enough.

        Returns:
            The number with 80% power, if the number stays as it is; None where none is known.
        """


@dataclass(frozen=True)
class Sample:
    """Values of cases, whose mean is the number.

    Attributes:
        values: one per case.
        clusters: a label per case; None where each stands for itself.
        low: the smallest possible value.
        high: the largest one.
    """

    values: tuple[float, ...]
    clusters: tuple[Hashable, ...] | None
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True)
class Mean:
    """The mean of values of cases. See `Quantity`.

    Attributes:
        sample: what there is.
        lowest: the same with failed cases as low as can be; None where none failed.
        highest: the same with failed cases as high as can be.
        shift: what is added to the mean, to show it in the reader's terms.
        is_anytime: whether the run chose when to stop, so that only a confidence sequence holds.
            The values then stand in the order in which the cases were drawn.
    """

    sample: Sample
    n_failed: int = 0
    lowest: Sample | None = None
    highest: Sample | None = None
    shift: float = 0.0
    is_anytime: bool = False
    seed: int = 0
    n_resamples: int = 10_000
    noun: str = "cases"

    @cached_property
    def _found(self) -> stats.PairedEstimate:
        own = self.sample
        return stats.paired_estimate(
            own.values,
            clusters=own.clusters,
            low=own.low,
            high=own.high,
            seed=self.seed,
            n_resamples=self.n_resamples,
        )

    @property
    def value(self) -> float | None:
        """Return the mean."""
        return None if self._found.mean is None else self._found.mean + self.shift

    @property
    def n(self) -> int:
        """Return the number of cases."""
        return len(self.sample.values)

    @property
    def n_clusters(self) -> int | None:
        """Return the number of clusters."""
        return self._found.n_clusters

    @property
    def why_none(self) -> str:
        """Return why there is no interval."""
        if self.is_anytime:
            has_one = self.ends(LEVEL).low is not None
            return "" if has_one else "a run that may stop early gives it no interval"
        return self._found.why_no_interval

    @cached_property
    def _known_ends(self) -> dict[float, Ends]:
        return {}

    @cached_property
    def loss_p(self) -> float | None:
        """See `Quantity`."""
        own = self.highest or self.sample
        if self.is_anytime or own.low >= 0:
            return None
        return stats.harm_p(
            own.values, clusters=own.clusters, seed=self.seed, n_resamples=self.n_resamples
        )

    def ends(self, level: float) -> Ends:
        """See `Quantity`."""
        if level not in self._known_ends:
            self._known_ends[level] = self._ends(self.sample, level)
        return self._known_ends[level]

    def at_worst(self, level: float) -> Ends:
        """See `Quantity`."""
        if self.lowest is None or self.highest is None:
            return self.ends(level)
        if not math.isfinite(self.sample.low + self.sample.high):
            return Ends()  # a failed case could have had any value
        return Ends(self._ends(self.lowest, level).low, self._ends(self.highest, level).high)

    def needed(self, limit: float, is_settled: Callable[[float, float], bool]) -> int | None:
        """See `Quantity`."""
        found, own = self._found, self.sample
        if found.mean is None or self.is_anytime:
            return None
        if found.interval_kind is IntervalKind.BETTING or not found.sd:
            units = group_units(check_values(own.values, own.low, own.high, "value"), own.clusters)
            shift = self.shift
            return needed_units(
                units, (own.low, own.high), lambda low, high: is_settled(low + shift, high + shift)
            )
        return _possible(stats.needed_to_detect(found, found.mean + self.shift - limit))

    def _ends(self, sample: Sample, level: float) -> Ends:
        if self.is_anytime:
            return self._anytime_ends(sample, level)
        found = stats.mean_interval(
            sample.values,
            clusters=sample.clusters,
            low=sample.low,
            high=sample.high,
            seed=self.seed,
            n_resamples=self.n_resamples,
            level=level,
        )
        return self._shifted(found.ci_low, found.ci_high)

    def _anytime_ends(self, sample: Sample, level: float) -> Ends:
        """Return the confidence sequence at its end; none with clusters, or without bounds."""
        if sample.clusters is not None or not (sample.low < 0 < sample.high < math.inf):
            return Ends()
        rule = SettleRule(0.0, sample.low, sample.high, alpha=1 - level)
        sequence = ConfidenceSequence(rule)
        sequence.add(sample.values)
        return self._shifted(*(sequence.interval() or (None, None)))

    def _shifted(self, low: float | None, high: float | None) -> Ends:
        if low is None or high is None:
            return Ends()
        return Ends(low + self.shift, high + self.shift)


@dataclass(frozen=True)
class Growth:
    """By how much one mean is larger than another, as a share of it. See `Quantity`.

    Attributes:
        own: a number of the variant per case.
        base: the same of the base, in the same order.
        clusters: a label per case; None where each stands for itself.
    """

    own: tuple[float, ...]
    base: tuple[float, ...]
    clusters: tuple[Hashable, ...] | None
    n_failed: int = 0
    noun: str = "cases"
    loss_p: None = None
    shift: float = 0.0

    @property
    def value(self) -> float | None:
        """Return the growth."""
        below = math.fsum(self.base)
        return math.fsum(self.own) / below - 1 if below else None

    @property
    def n(self) -> int:
        """Return the number of cases."""
        return len(self.own)

    @property
    def n_clusters(self) -> int | None:
        """Return the number of clusters."""
        return ratio_of_means(self.own, self.base, clusters=self.clusters).n_clusters

    @property
    def why_none(self) -> str:
        """Return why there is no interval."""
        found = ratio_of_means(self.own, self.base, clusters=self.clusters)
        return "" if found.ci_low is not None else found.method

    def ends(self, level: float) -> Ends:
        """See `Quantity`."""
        found = ratio_of_means(self.own, self.base, clusters=self.clusters, level=level)
        if found.ci_low is None or found.ci_high is None:
            return Ends()
        return Ends(found.ci_low - 1, found.ci_high - 1)

    def at_worst(self, level: float) -> Ends:
        """Return the interval: what was not measured has no worst value, and is counted instead."""
        return self.ends(level)

    def needed(self, limit: float, is_settled: Callable[[float, float], bool]) -> int | None:
        """See `Quantity`."""
        over = [own - (1 + limit) * base for own, base in zip(self.own, self.base, strict=True)]
        found = stats.paired_estimate(over, clusters=self.clusters, seed=0, n_resamples=100)
        return _possible(stats.needed_to_detect(found, found.mean)) if found.mean else None


@dataclass(frozen=True)
class AbilityGain:
    """The gain on the items of general ability, all abilities together. See `Quantity`.

    Attributes:
        strata: what changed, ability by ability.
    """

    strata: tuple[Flips, ...]
    n_failed: int = 0
    n_clusters: int | None = None
    noun: str = "items"
    loss_p: None = None
    shift: float = 0.0

    @property
    def n(self) -> int:
        """Return the number of items that can show a loss."""
        return sum(one.n for one in self.strata)

    @property
    def value(self) -> float | None:
        """Return the gain."""
        return sum(one.won - one.lost for one in self.strata) / self.n if self.n else None

    @property
    def why_none(self) -> str:
        """Return why there is no interval."""
        return "" if self.n else "both solve all items or none, so no loss could show"

    def ends(self, level: float) -> Ends:
        """See `Quantity`."""
        return Ends(*stratified_interval(self.strata, level)) if self.n else Ends()

    def at_worst(self, level: float) -> Ends:
        """See `Quantity`."""
        if not self.n or not self.n_failed:
            return self.ends(level)
        n = self.n_failed
        low = replace(self, strata=(*self.strata, Flips(0, n, n))).ends(level).low
        return Ends(low, replace(self, strata=(*self.strata, Flips(n, 0, n))).ends(level).high)

    def needed(self, limit: float, is_settled: Callable[[float, float], bool]) -> int | None:
        """See `Quantity`."""
        if self.value is None or self.value == limit:
            return None
        from scipy.special import ndtri

        churn = max(sum(one.won + one.lost for one in self.strata), 1.0) / self.n
        z = float(ndtri((1 + LEVEL) / 2)) + _POWER_Z
        return _possible(math.ceil(churn * (z / (self.value - limit)) ** 2))


def _possible(n: int | None) -> int | None:
    return None if n is None or n > MOST_NEEDED else n
