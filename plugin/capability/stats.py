"""Decide what a variant lost: per ability, and on all items together.

Per ability: "lost" is said where the whole interval of the mean gain lies below -`MARGIN`. The
intervals are adjusted over all abilities of a variant by Holm's step-down: an ability that is lost
at the level for m abilities leaves the others at the level for m - 1. So the chance of any false
"lost" is at most 2.5% for a variant.

All items together: "kept" is said where the interval excludes a loss beyond the margin, at
one-sided 5%; "lower" where the 95% interval lies beyond it, which adds at most 2.5%.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from plugin.capability.paired import (
    Flips,
    low_tail,
    paired_interval,
    stratified_interval,
    tango_interval,
)
from plugin.capability.records import (
    AbilityFinding,
    AbilityOutcome,
    AbilityScore,
    ItemResult,
    OverallFinding,
    OverallOutcome,
    Source,
)
from plugin.compare.bootstrap import bca_ends
from plugin.compare.intervals import MIN_VARYING, betting_interval, group_units, n_varying

MARGIN = 0.03
"""A smaller loss, as a share of the items, does not matter."""

LARGE = 0.05
"""A loss beyond this has a label of its own."""

ALPHA = 0.05
KEPT_LEVEL = 0.90
"""Of the interval over all items: its lower end is a one-sided 95% bound."""

_LOWER_LEVEL = 0.95
_EXACT_UP_TO = 3000
"""Items; of more, the normal approximation is as good and much faster."""

_MIN_BOOTSTRAP = 30
_N_RESAMPLES = 10_000
_POWER_Z = 0.8416
"""Normal quantile of 80%."""


class Pairs(NamedTuple):
    """The items of one ability that both models have a score for.

    Attributes:
        base: scores of the base, 0 to 1.
        own: scores of the variant, in the same order.
        n_failed: items on which one of the two has no score.
        n_changed: items on which the two answer differently.
    """

    base: tuple[float, ...]
    own: tuple[float, ...]
    n_failed: int
    n_changed: int

    @property
    def gains(self) -> list[float]:
        """Return variant minus base, item by item."""
        return [own - base for own, base in zip(self.own, self.base, strict=True)]

    @property
    def flips(self) -> Flips:
        """Return what was won and lost; parts of items where scores are no whole numbers."""
        gains = self.gains
        won, lost = sum(g for g in gains if g > 0), -sum(g for g in gains if g < 0)
        return Flips(won, lost, len(gains))

    @property
    def is_unchanged(self) -> bool:
        """Return whether nothing differs, and nothing is missing."""
        return not self.n_changed and not self.n_failed

    @property
    def at_limit(self) -> AbilityOutcome | None:
        """Return "floor" or "ceiling" where no loss beyond the margin could show."""
        if max(sum(self.base), sum(self.own)) <= MARGIN * len(self.base):
            return "floor"
        return "ceiling" if min(*self.base, *self.own) >= 1 else None


Key = tuple[Source, str]
"""Source and ability."""


def ability_scores(results: Iterable[ItemResult]) -> tuple[AbilityScore, ...]:
    """Return the mean of every ability and variant, in the order in which they first come."""
    found: dict[tuple[Source, str, str], list[float | None]] = {}
    for one in results:
        found.setdefault((one.source, one.ability, one.variant), []).append(one.score)
    return tuple(
        AbilityScore(*place, len(own), len(scores) - len(own), _mean(own))
        for place, scores in found.items()
        for own in [[score for score in scores if score is not None]]
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def pair_results(results: Iterable[ItemResult], base: str, variant: str) -> dict[Key, Pairs]:
    """Return the pairs of scores by source and ability; items that both lack are left out."""
    found: dict[Key, dict[str, dict[str, ItemResult]]] = {}
    for one in results:
        if one.variant in (base, variant):
            items = found.setdefault((one.source, one.ability), {})
            items.setdefault(one.item_id, {})[one.variant] = one
    return {
        key: pairs
        for key, items in found.items()
        if (pairs := _pairs_of(items.values(), base, variant)).base
    }


def _pairs_of(items: Iterable[Mapping[str, ItemResult]], base: str, variant: str) -> Pairs:
    before, after, n_failed, n_changed = [], [], 0, 0
    for item in items:
        one, other = item.get(base), item.get(variant)
        scores = one.score if one else None, other.score if other else None
        if one is None or other is None or scores[0] is None or scores[1] is None:
            n_failed += scores != (None, None)
            continue
        before.append(scores[0])
        after.append(scores[1])
        n_changed += one.output != other.output or scores[0] != scores[1]
    return Pairs(tuple(before), tuple(after), n_failed, n_changed)


def judge_abilities(pairs: Mapping[Key, Pairs], variant: str) -> tuple[AbilityFinding, ...]:
    """Return what a variant lost, ability by ability, in the order given."""
    levels = holm_levels(pairs)
    return tuple(_judge(key, own, variant, *levels[key]) for key, own in pairs.items())


def holm_levels(pairs: Mapping[Key, Pairs]) -> dict[Key, tuple[bool, float]]:
    """Return for each ability whether it is lost, and the level of its interval."""
    left, found = list(pairs), dict[Key, tuple[bool, float]]()
    while left:
        level = 1 - ALPHA / len(left)
        lost = [key for key in left if _is_below(pairs[key], -MARGIN, level)]
        if not lost:
            break
        found.update((key, (True, level)) for key in lost)
        left = [key for key in left if key not in lost]
    return found | {key: (False, 1 - ALPHA / len(left)) for key in left}


def _is_below(pairs: Pairs, value: float, level: float) -> bool:
    """Return whether the interval lies below a value that is not above zero."""
    flips = pairs.flips
    if flips.difference >= value:
        return False
    if not _is_binary(pairs.gains) or flips.n > _EXACT_UP_TO:
        return gain_interval(pairs.gains, level)[1] < value
    return low_tail(flips, value) <= (1 - level) / 2


def _is_binary(gains: Sequence[float]) -> bool:
    return all(gain in (-1.0, 0.0, 1.0) for gain in gains)


def gain_interval(gains: Sequence[float], level: float) -> tuple[float, float]:
    """Return the interval of the mean gain over items.

    Scores of 0 and 1 get Tango's interval. Others get the bootstrap's, or the betting interval
    where too few gains vary for that.
    """
    values = np.asarray(gains, dtype=np.float64)
    won, lost = values[values > 0].sum(), -values[values < 0].sum()
    flips = Flips(float(won), float(lost), len(values))
    if _is_binary(gains):
        return (paired_interval if flips.n <= _EXACT_UP_TO else tango_interval)(flips, level)
    units = group_units(values, None)
    if len(values) >= _MIN_BOOTSTRAP and n_varying(units) >= MIN_VARYING:
        return bca_ends(values, level, 0, _N_RESAMPLES)
    found = betting_interval(units, (-1.0, 1.0), 1 - level)
    return (-1.0, 1.0) if found.low is None or found.high is None else (found.low, found.high)


def _judge(key: Key, pairs: Pairs, variant: str, is_lost: bool, level: float) -> AbilityFinding:
    low, high = gain_interval(pairs.gains, level)
    n = len(pairs.base)
    outcome = _outcome_of(pairs, is_lost, level, (low, high))
    return AbilityFinding(
        *key,
        variant=variant,
        outcome=outcome,
        is_large=outcome == "lost" and _is_below(pairs, -LARGE, level),
        n=n,
        n_failed=pairs.n_failed,
        base_mean=sum(pairs.base) / n,
        variant_mean=sum(pairs.own) / n,
        gain=pairs.flips.difference,
        ci_low=low,
        ci_high=high,
        level=level,
        n_won=sum(gain > 0 for gain in pairs.gains),
        n_lost=sum(gain < 0 for gain in pairs.gains),
        n_changed=pairs.n_changed,
    )


def _outcome_of(
    pairs: Pairs, is_lost: bool, level: float, ends: tuple[float, float]
) -> AbilityOutcome:
    """Return the outcome, given the interval; a loss must also hold if failures were gains."""
    if pairs.is_unchanged:
        return "unchanged"
    if limit := pairs.at_limit:
        return limit
    low, high = ends
    if not is_lost and high >= 0:
        return "higher" if low > 0 else "no loss found"
    if pairs.n_failed:
        best = (1.0,) * pairs.n_failed
        kinder = pairs._replace(base=(*pairs.base, *(0.0 for _ in best)), own=(*pairs.own, *best))
        if not _is_below(kinder, -MARGIN if is_lost else 0.0, level):
            return "unclear"
    return "lost" if is_lost else "slightly lower"


def judge_overall(pairs: Mapping[Key, Pairs], source: Source, variant: str) -> OverallFinding:
    """Return what a variant kept or lost on all items of a source together.

    Args:
        pairs: by source and ability; at least one ability of this source.
        source: which items are looked at.
        variant: its name.
    """
    own = {ability: each for (where, ability), each in pairs.items() if where == source}
    limits = {ability: each.at_limit for ability, each in own.items()}
    counted = [each for ability, each in own.items() if limits[ability] is None]
    n_failed = sum(each.n_failed for each in own.values())
    outcome, ends, needed = _overall_outcome(list(own.values()), counted)
    n = sum(len(each.base) for each in counted)
    total = sum(each.flips.won - each.flips.lost for each in counted)
    return OverallFinding(
        source=source,
        variant=variant,
        outcome=outcome,
        n=n,
        n_all=sum(len(each.base) for each in own.values()),
        n_failed=n_failed,
        gain=total / n if n else None,
        ci_low=ends[0] if ends else None,
        ci_high=ends[1] if ends else None,
        n_for_kept=needed,
        floors=tuple(ability for ability, limit in limits.items() if limit == "floor"),
        ceilings=tuple(ability for ability, limit in limits.items() if limit == "ceiling"),
    )


def _overall_outcome(
    every: Sequence[Pairs], counted: Sequence[Pairs]
) -> tuple[OverallOutcome, tuple[float, float] | None, int | None]:
    """Return the outcome, the interval, and how many items would show that nothing is lost."""
    strata = [each.flips for each in counted]
    ends = stratified_interval(strata, KEPT_LEVEL) if strata else None
    if all(each.is_unchanged for each in every):
        return "unchanged", ends, None
    if ends is None:
        return ("ceiling" if all(p.at_limit == "ceiling" for p in every) else "floor"), None, None
    n_failed = sum(each.n_failed for each in counted)
    kinder = stratified_interval([*strata, Flips(n_failed, 0, n_failed)], _LOWER_LEVEL)
    if kinder[1] < -MARGIN:
        return "lower", ends, None
    harder = stratified_interval([*strata, Flips(0, n_failed, n_failed)], KEPT_LEVEL)
    if harder[0] > -MARGIN:
        return "kept", ends, None
    return "unclear", ends, items_for_kept(strata)


def items_for_kept(strata: Sequence[Flips], power_z: float = _POWER_Z) -> int:
    """Return how many items show with this power that nothing is lost, if nothing is.

    Args:
        strata: what changed so far; further items are assumed to change as often.
        power_z: normal quantile of the power; 80% unless said otherwise.
    """
    from scipy.special import ndtri

    n = sum(one.n for one in strata)
    churn = max(sum(one.won + one.lost for one in strata), 1.0) / n
    z = float(ndtri((1 + KEPT_LEVEL) / 2)) + power_z
    return math.ceil(churn * (z / MARGIN) ** 2)
