"""What rules on waiting times decide on: quantiles under load. See `plugin.gate.quantities`."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

from plugin.compare.intervals import LEVEL
from plugin.compare.needed import MOST_NEEDED
from plugin.gate.quantities import Ends
from plugin.latency.stats import (
    Ratio,
    find_quantile,
    needed_for,
    quantile_interval,
    ratio_of_quantiles,
)
from plugin.load_rows import StreamedRequest


@dataclass(frozen=True)
class Wait:
    """A quantile of a variant's waiting times at a level of load. See `Quantity`.

    Attributes:
        values: seconds of the requests that were answered.
        share: the quantile.
        clusters: a label per request; None where each stands for itself.
        n_failed: requests that were not answered.
    """

    values: tuple[float, ...]
    share: float
    clusters: tuple[Hashable, ...] | None = None
    n_failed: int = 0
    noun: str = "requests"
    loss_p: None = None
    shift: float = 0.0

    @property
    def value(self) -> float | None:
        """Return the quantile."""
        return find_quantile(self.values, self.share, self.clusters).value

    @property
    def n(self) -> int:
        """Return the number of requests."""
        return len(self.values)

    @property
    def n_clusters(self) -> int | None:
        """Return the number of clusters."""
        return _n_clusters(self.clusters)

    @property
    def why_none(self) -> str:
        """Return why there is no interval."""
        return find_quantile(self.values, self.share, self.clusters).why_none

    def ends(self, level: float) -> Ends:
        """See `Quantity`."""
        if not self.values or self.why_none:
            return Ends()
        return Ends(*quantile_interval(self.values, self.share, self.clusters, level))

    def at_worst(self, level: float) -> Ends:
        """Return the interval; above with failed requests as ones that never ended."""
        if not self.n_failed or not self.values:
            return self.ends(level)
        low, high = (
            quantile_interval([*self.values, *[fill] * self.n_failed], self.share, level=level)
            for fill in (0.0, math.inf)
        )
        own = self.ends(level)
        if low.low is None or high.high is None or own.low is None or own.high is None:
            return Ends()
        return Ends(min(low.low, own.low), max(high.high, own.high))

    def needed(self, limit: float, is_settled: Callable[[float, float], bool]) -> int | None:
        """See `Quantity`."""
        return _needed(self.value, self.ends(LEVEL), self.n, self.share, limit)


@dataclass(frozen=True)
class WaitGrowth:
    """By how much a quantile of a variant is larger than the base's, as a share of it.

    Attributes:
        rows: requests of the level.
        names: the variant and the base.
        share: the quantile.
        of: returns what is measured of a request.
        labels: case -> its cluster; None where each case stands for itself.
    """

    rows: tuple[StreamedRequest, ...]
    names: tuple[str, str]
    share: float
    of: Callable[[StreamedRequest], float | None]
    labels: dict[str, Hashable] | None = None
    seed: int = 0
    noun: str = "cases"
    loss_p: None = None
    shift: float = 0.0

    @property
    def n_failed(self) -> int:
        """Return the number of requests of both that were not answered."""
        return sum(bool(row.failure) for row in self.rows if row.variant in self.names)

    @cached_property
    def _found(self) -> Ratio:
        return self._ratio(LEVEL)

    @property
    def value(self) -> float | None:
        """Return the growth."""
        return None if self._found.value is None else self._found.value - 1

    @property
    def n(self) -> int:
        """Return the number of cases that both answered."""
        return self._found.n

    @property
    def n_clusters(self) -> int | None:
        """Return the number of clusters of these."""
        return self._found.n_clusters

    @property
    def why_none(self) -> str:
        """Return why there is no interval."""
        return self._found.why_none

    def ends(self, level: float) -> Ends:
        """See `Quantity`."""
        return _less_one(self._found if level == LEVEL else self._ratio(level))

    def at_worst(self, level: float) -> Ends:
        """Return the interval; a request that only the variant failed as long as can be.

        One that the base failed tells nothing of the variant, and is left out.
        """
        if not self.n_failed:
            return self.ends(level)
        own = self.ends(level)
        low, high = (_less_one(self._ratio(level, fill)) for fill in (0.0, math.inf))
        if low.low is None or high.high is None or own.low is None or own.high is None:
            return Ends()
        return Ends(min(low.low, own.low), max(high.high, own.high))

    def needed(self, limit: float, is_settled: Callable[[float, float], bool]) -> int | None:
        """See `Quantity`."""
        n = self.n_clusters or self.n
        return _needed(self.value, self.ends(LEVEL), n, self.share, limit)

    def _ratio(self, level: float, fill: float | None = None) -> Ratio:
        own, base = self._times(self.names[0], fill), self._times(self.names[1], None)
        both = [case_id for case_id in base if case_id in own]
        clusters = [self.labels[one] for one in both] if self.labels else None
        return ratio_of_quantiles(
            [own[one] for one in both],
            [base[one] for one in both],
            self.share,
            clusters,
            level=level,
            seed=self.seed,
        )

    def _times(self, name: str, fill: float | None) -> dict[str, float]:
        found = {}
        for row in self.rows:
            if row.variant != name:
                continue
            if (value := self.of(row)) is not None:
                found[row.case_id] = value
            elif row.failure and fill is not None:
                found[row.case_id] = fill
        return found


def _less_one(ratio: Ratio) -> Ends:
    if ratio.low is None or ratio.high is None:
        return Ends()
    return Ends(ratio.low - 1, ratio.high - 1)


def _n_clusters(clusters: Sequence[Hashable] | None) -> int | None:
    if clusters is None or len(set(clusters)) == len(clusters):
        return None
    return len(set(clusters))


def _needed(value: float | None, ends: Ends, n: int, share: float, limit: float) -> int | None:
    """Return how many would tell: so many that the wider half of the interval is short enough."""
    if ends.low is None or ends.high is None or value is None:
        return needed_for(share) if n < needed_for(share) else None
    half, distance = max(ends.high - value, value - ends.low), abs(value - limit)
    if not distance:
        return None
    found = math.ceil(n * (half / distance) ** 2)
    return None if found > MOST_NEEDED else max(found, needed_for(share))
