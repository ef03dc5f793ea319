"""A sweep that tests share: cases, a plan, and scores with known means."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from plugin.records import Case, Message, MetricSpec
from plugin.sweep.funnel import Checkpoint, SweepPlan
from plugin.sweep.split import split_cases

SPEC = MetricSpec("correctness", "Correctness", True)


def made_cases(n: int, groups: str = "a", n_clusters: int = 0) -> list[Case]:
    return [
        Case(
            str(at),
            (Message("user", f"question {at}"),),
            group=groups[at % len(groups)],
            cluster=f"cluster {at % n_clusters}" if n_clusters else None,
        )
        for at in range(n)
    ]


def made_plan(cases: Sequence[Case], n_checkpoints: int, **more: object) -> SweepPlan:
    checkpoints = tuple(
        Checkpoint(f"step-{100 * at}", 100.0 * at) for at in range(1, n_checkpoints + 1)
    )
    return SweepPlan(checkpoints, SPEC, split_cases(cases, 0), **more)  # type: ignore[arg-type]


def drawn_scores(
    names: Sequence[str], cases: Sequence[Case], mean_of: Callable[[str], float], seed: int = 1
) -> dict[str, dict[str, float]]:
    """Draw scores in steps of 0.1 around each name's mean, with cases that are easy or hard."""
    rng = np.random.default_rng(seed)
    ease = rng.normal(0, 0.2, len(cases))
    drawn = {name: mean_of(name) + ease + rng.normal(0, 0.15, len(cases)) for name in names}
    return {
        name: {
            case.id: float(np.clip(np.round(value, 1), 0, 1))
            for case, value in zip(cases, values, strict=True)
        }
        for name, values in drawn.items()
    }


def answering(
    scores: Mapping[str, Mapping[str, float]],
) -> Callable[[Sequence[str], Sequence[Case]], dict[str, dict[str, float]]]:
    """Return what gives these scores where they are asked for."""

    def ask(names: Sequence[str], cases: Sequence[Case]) -> dict[str, dict[str, float]]:
        return {
            name: {c.id: scores[name][c.id] for c in cases if c.id in scores[name]}
            for name in names
        }

    return ask
