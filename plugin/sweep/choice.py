"""Choose the checkpoint to recommend among those that were judged on all choosing cases."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from plugin.compare.numbers import format_count, format_number
from plugin.compare.pairs import clusters_of
from plugin.compare.stats import decide_guard, harm_p, holm, paired_estimate
from plugin.sweep.funnel import Scores, Standing, SweepPlan, filled_grid, standings_of

CLOSE = 0.05
"""An earlier checkpoint that is shown equivalent is recommended if its mean is at most this share
of the margin behind. Taking any that is shown equivalent costs up to 0.015 in simulation."""

Veto = Callable[[str], str]
"""Takes a checkpoint's name and returns what it lost, in words; "" for nothing."""


@dataclass(frozen=True, slots=True)
class Passed:
    """A checkpoint that had the best mean and was not recommended.

    Attributes:
        name: of it.
        lost: what it lost, in words.
    """

    name: str
    lost: str


@dataclass(frozen=True, slots=True)
class Equivalent:
    """An earlier checkpoint that is as good as the best one, within the margin.

    Attributes:
        name: of the earlier one.
        best: name of the one with the best mean.
        gain: of the earlier one over the best one, on the same cases.
        ci_low: lower end of its 95% interval.
        ci_high: upper end of it.
        n: cases that both were judged on.
    """

    name: str
    best: str
    gain: float
    ci_low: float
    ci_high: float
    n: int


@dataclass(frozen=True, slots=True)
class Choice:
    """What the choosing cases say.

    Attributes:
        name: of the recommended one: a checkpoint, or base or prompted base if none is better.
        standings: of all that were judged on all choosing cases, the best first.
        passed: those with a better mean that a veto passed over, the best first.
        equivalent: why an earlier one is recommended; None if the best mean is.
        offered: the earliest one that is shown equivalent to the recommended one, but whose mean
            is further behind; None if there is none.
    """

    name: str
    standings: tuple[Standing, ...]
    passed: tuple[Passed, ...] = ()
    equivalent: Equivalent | None = None
    offered: Equivalent | None = None


def choose(
    plan: SweepPlan,
    scores: Scores,
    alive: Sequence[str],
    veto: Veto | None = None,
    cheap: Mapping[str, float] | None = None,
) -> Choice:
    """Choose the one to recommend.

    The best mean is recommended, or an earlier one that is shown equivalent to it (see
    `_earlier_equals`). Base and prompted base count as the earliest. A checkpoint that lost a
    retention group, or that the veto names, is passed over.

    Args:
        plan: of the sweep.
        scores: of base, prompted base and all that are left, on all choosing cases.
        alive: checkpoints that are left.
        veto: asked about the best one first, and about others only as far as needed.
        cheap: breaks ties of the mean (see `cut_field`).
    """
    names = (*plan.references, *(one.name for one in plan.checkpoints if one.name in set(alive)))
    standings = standings_of(plan, scores, names, plan.split.choosing, cheap)
    lost = dict[str, str]()

    def is_free(name: str) -> bool:
        if name not in plan.references and name not in lost:
            found = (lost_groups(plan, scores, name), veto(name) if veto else "")
            lost[name] = "; ".join(text for text in found if text)
        return not lost.get(name)

    passed, best = list[Passed](), plan.base
    for standing in standings:
        if is_free(standing.name):
            best = standing.name
            break
        passed.append(Passed(standing.name, lost[standing.name]))
    equals = _earlier_equals(plan, scores, names[: names.index(best)], best)
    close = [one for one in equals if one.gain >= -CLOSE * plan.spec.margin]
    chosen = next((one for one in close if is_free(one.name)), None)
    offered = None if chosen else next((one for one in equals if is_free(one.name)), None)
    return Choice(chosen.name if chosen else best, standings, tuple(passed), chosen, offered)


def _earlier_equals(
    plan: SweepPlan, scores: Scores, earlier: Sequence[str], best: str
) -> list[Equivalent]:
    """Return the earlier ones that are shown equivalent to the best one, the earliest first.

    The 95% interval of the difference on the same cases lies within the metric's margin.
    """
    found = list[Equivalent]()
    for name in earlier:
        own = _paired(plan, scores, name, best)
        if abs(own.mean) > plan.spec.margin:
            continue  # its interval cannot lie within the margin
        low, high = own.estimate(plan)
        if low is not None and high is not None and max(-low, high) <= plan.spec.margin:
            found.append(Equivalent(name, best, own.mean, low, high, len(own.gains)))
    return found


def lost_groups(plan: SweepPlan, scores: Scores, name: str) -> str:
    """Return which retention groups a checkpoint lost on the choosing cases; "" for none.

    A group is lost if its mean loss is larger than the margin and significant, after Holm's
    correction for all retention groups.
    """
    groups = dict.fromkeys(case.group for case in plan.split.choosing if case.retention)
    found = {str(group): _paired(plan, scores, name, plan.base, group) for group in groups}
    known = {group: pairs for group, pairs in found.items() if pairs.gains}
    p_values = [pairs.harm_p(plan) for pairs in known.values()]
    return ", ".join(
        f"{group} ({format_number(pairs.mean, signed=True)}, n={format_count(len(pairs.gains))})"
        for (group, pairs), p in zip(known.items(), holm(p_values), strict=True)
        if decide_guard((None, None), pairs.mean, p, plan.spec.margin) == "lost"
    )


@dataclass(frozen=True, slots=True)
class _Paired:
    """The gains of one over another one on choosing cases, with their clusters."""

    gains: list[float]
    clusters: list[Hashable] | None

    @property
    def mean(self) -> float:
        return math.fsum(self.gains) / len(self.gains) if self.gains else math.nan

    def estimate(self, plan: SweepPlan) -> tuple[float | None, float | None]:
        """Return both ends of the 95% interval of the mean gain."""
        # Two checkpoints may differ by more than `largest_gain`, where that is over the base.
        extent = plan.spec.high - plan.spec.low
        found = paired_estimate(
            self.gains,
            clusters=self.clusters,
            low=-extent,
            high=extent,
            seed=plan.seed,
            n_resamples=plan.n_resamples,
        )
        return found.ci_low, found.ci_high

    def harm_p(self, plan: SweepPlan) -> float:
        """Return the one-sided p of "nothing was lost"."""
        found = harm_p(
            self.gains, clusters=self.clusters, seed=plan.seed, n_resamples=plan.n_resamples
        )
        return 1.0 if found is None else found


def _paired(
    plan: SweepPlan, scores: Scores, name: str, other: str, group: str | None = None
) -> _Paired:
    """Return the gains of one over another one; missing scores count as `filled_grid` says."""
    cases = [case for case in plan.split.choosing if group is None or case.group == group]
    _, filled = filled_grid(plan, scores, cases)
    own, base = (filled[plan.names.index(one)] for one in (name, other))
    gains = own - base
    kept = [case for case, gain in zip(cases, gains, strict=True) if not math.isnan(gain)]
    return _Paired(gains[~np.isnan(gains)].tolist(), clusters_of(kept))
