"""Choose the checkpoint to recommend among those that were judged on all choosing cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from plugin.compare.pairs import clusters_of
from plugin.compare.stats import PairedEstimate, decide_guard, harm_p, holm, paired_estimate
from plugin.sweep.funnel import Scores, Standing, SweepPlan, fill_missing, grid_of, standings_of

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
    """

    name: str
    standings: tuple[Standing, ...]
    passed: tuple[Passed, ...] = ()
    equivalent: Equivalent | None = None


def choose(
    plan: SweepPlan, scores: Scores, alive: Sequence[str], veto: Veto | None = None
) -> Choice:
    """Choose the one to recommend.

    The best mean is recommended, or the earliest checkpoint that is shown equivalent to it within
    the metric's margin. One that lost a retention group, or that the veto names, is passed over.

    Args:
        plan: of the sweep.
        scores: of base, prompted base and all that are left, on all choosing cases.
        alive: checkpoints that are left.
        veto: asked about the best one first, and about others only as far as needed.
    """
    names = (*plan.references, *alive)
    grid = grid_of(plan.spec, scores, names, plan.split.choosing)
    standings = standings_of(plan.spec, names, grid)
    passed, lost = list[Passed](), dict[str, str]()

    def is_free(name: str) -> bool:
        if name in plan.references:
            return True
        if name not in lost:
            lost[name] = "; ".join(
                text
                for text in (lost_groups(plan, scores, name), veto(name) if veto else "")
                if text
            )
        return not lost[name]

    best = plan.base
    for standing in standings:
        if is_free(standing.name):
            best = standing.name
            break
        passed.append(Passed(standing.name, lost[standing.name]))
    equal = None
    if best not in plan.references:
        earlier = [one.name for one in plan.checkpoints if one.name in set(alive)]
        for name in earlier[: earlier.index(best)]:
            found = _shown_equivalent(plan, scores, name, best)
            if found and is_free(name):
                equal = found
                break
    return Choice(equal.name if equal else best, standings, tuple(passed), equal)


def lost_groups(plan: SweepPlan, scores: Scores, name: str) -> str:
    """Return which retention groups a checkpoint lost on the choosing cases; "" for none.

    A group is lost if its mean loss is larger than the margin and significant, after Holm's
    correction for all retention groups.
    """
    groups = dict.fromkeys(case.group for case in plan.split.choosing if case.retention)
    found = [(group, _gains(plan, scores, name, plan.base, group)) for group in groups]
    tested = [(group, gains, p) for group, (gains, p) in found if gains.n and p is not None]
    adjusted = holm([p for *_, p in tested])
    lost = [
        f"{group}: {gains.mean:+.2f}"
        for (group, gains, _), p in zip(tested, adjusted, strict=True)
        if decide_guard((gains.ci_low, gains.ci_high), gains.mean, p, plan.spec.margin) == "lost"
    ]
    return ", ".join(lost)


def _gains(
    plan: SweepPlan, scores: Scores, name: str, other: str, group: str | None = None
) -> tuple[PairedEstimate, float | None]:
    """Return the gain of one over another one on choosing cases, and the one-sided p of harm."""
    cases = [case for case in plan.split.choosing if group is None or case.group == group]
    grid = grid_of(plan.spec, scores, (name, other), cases)
    kept = [case for case, column in zip(cases, grid.T, strict=True) if (column == column).any()]
    own, base = fill_missing(grid)
    gains, extent = (own - base).tolist(), plan.spec.largest_gain
    clusters = clusters_of(kept)
    found = paired_estimate(gains, clusters=clusters, low=-extent, high=extent, seed=plan.seed)
    return found, harm_p(gains, clusters=clusters, seed=plan.seed)


def _shown_equivalent(plan: SweepPlan, scores: Scores, name: str, best: str) -> Equivalent | None:
    """Return the proof that an earlier checkpoint is as good as the best one, or None."""
    found, _ = _gains(plan, scores, name, best)
    margin, low, high = plan.spec.margin, found.ci_low, found.ci_high
    if found.mean is None or low is None or high is None:
        return None
    if not (-margin <= low and high <= margin):
        return None
    return Equivalent(name, best, found.mean, low, high, found.n)
