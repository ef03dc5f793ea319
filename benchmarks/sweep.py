"""Measure how well a checkpoint sweep chooses, with which share of the calls, and if it is honest.

Each sweep draws the true means of 20 checkpoints and the base along one of several shapes, and
scores of correlated checkpoints around them. It is played with the program's own policy. Regret is
how far the true mean of the recommended one lies below the best true mean. Peers on the same data:
the full sweep (the best mean of all on all cases), the last checkpoint, and the earliest one that
is not told apart from the best.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from plugin.compare.stats import paired_estimate
from plugin.records import Case, Message, MetricSpec
from plugin.sweep.funnel import Checkpoint, SweepPlan
from plugin.sweep.play import play
from plugin.sweep.split import Split, split_cases

Floats = NDArray[np.float64]

AIM_REGRET, AIM_COVER, AIM_SHARE = 0.005, (0.93, 0.97), 0.45
N_CHECKPOINTS, N_CASES, N_SWEEPS, SEED = 20, 400, 2_000, 20
OTHERS = ((200, 500), (100, 500))
"""Other numbers of cases, and how many sweeps."""

CORRELATIONS = (None, 0.9, 0.5, 0.0, -0.9)
"""Of the cheap metric with the true means; each sweep takes the next one. None: no cheap metric."""

SPEC = MetricSpec("quality", "Quality", True)
_JITTER, _NEAR, _RESAMPLES = 0.012, 0.8, 500


def _peak(t: Floats, at: float) -> Floats:
    return 0.18 * np.exp(-(((t - 0.25 - at / 2) / 0.3) ** 2))


def _plateau(t: Floats, at: float) -> Floats:
    return 0.15 * np.minimum(1.0, t / (0.2 + 0.3 * at))


def _monotone(t: Floats, at: float) -> Floats:
    return 0.18 * t ** (0.5 + 0.4 * at)


def _overfits(t: Floats, at: float) -> Floats:
    top = 0.3 + 0.3 * at
    return np.where(t < top, 0.15 * t / top, 0.15 - 0.35 * np.maximum(t - top, 0.0) ** 1.2)


def _harms(t: Floats, at: float) -> Floats:
    return -0.1 * t * (0.5 + at)


@dataclass(frozen=True, slots=True)
class Shape:
    """How the true gains of checkpoints run over the training, and how scores lie around them.

    Attributes:
        gains: takes steps from 0 to 1 and a random number from 0 to 1.
        steps: thresholds at which a score rises; their number makes scores fine or coarse.
        spread: of a checkpoint's scores around the ease of a case.
        has_clusters: whether cases form clusters of very unequal size.
    """

    gains: Callable[[Floats, float], Floats]
    steps: tuple[float, ...] = tuple(np.arange(0.05, 1.0, 0.1))
    spread: float = 0.22
    has_clusters: bool = False


ZERO_ONE, COARSE = (0.5,), (0.1, 0.5)
SHAPES = {
    "single peak": Shape(_peak),
    "plateau": Shape(_plateau),
    "monotone": Shape(_monotone),
    "overfits late": Shape(_overfits),
    "worse than the base": Shape(_harms),
    "uneven clusters": Shape(_peak, has_clusters=True),
    "ties (3 levels)": Shape(_plateau, COARSE),
    "0 or 1": Shape(_peak, ZERO_ONE),
    "0 or 1, very noisy": Shape(_peak, ZERO_ONE, spread=0.4),
    "0 or 1, monotone": Shape(_monotone, ZERO_ONE),
}


@dataclass(slots=True)
class Tally:
    """What the sweeps of a shape gave, a number for each sweep."""

    own: list[float] = field(default_factory=list)
    full: list[float] = field(default_factory=list)
    half: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)
    early: list[float] = field(default_factory=list)
    share: list[float] = field(default_factory=list)
    covers: list[bool] = field(default_factory=list)
    flattered: list[float] = field(default_factory=list)
    confirmed: list[float] = field(default_factory=list)
    excess_by: dict[float | None, list[float]] = field(default_factory=lambda: defaultdict(list))

    @property
    def excess(self) -> float:
        """Return the regret beyond that of the full sweep."""
        return float(np.mean(self.own) - np.mean(self.full))


def made_cases(n: int, rng: np.random.Generator, has_clusters: bool) -> tuple[Case, ...]:
    """Make cases, in clusters of very unequal size if asked to."""
    n_clusters = n // 5
    weights = np.arange(1, n_clusters + 1) ** -0.7
    drawn = rng.choice(n_clusters, n, p=weights / weights.sum())
    labels = [str(label) for label in drawn] if has_clusters else [None] * n
    turns = (Message("user", "?"),)
    return tuple(Case(str(at), turns, cluster=label) for at, label in enumerate(labels))


def near(values: Floats) -> Floats:
    """Return rows that are like the row before them, as checkpoints are; the first is the base."""
    values = values.copy()
    for row in range(2, len(values)):
        values[row] = _NEAR * values[row - 1] + np.sqrt(1 - _NEAR**2) * values[row]
    return values


def drawn_scores(
    shape: Shape, cases: Sequence[Case], rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Return true means, the base first, and scores of shape (names, cases)."""
    from scipy.special import ndtr

    steps = np.linspace(1 / N_CHECKPOINTS, 1, N_CHECKPOINTS)
    gains = shape.gains(steps, rng.random()) + rng.normal(0, _JITTER, N_CHECKPOINTS)
    middle = 0.5 + np.concatenate([[0.0], gains])
    n_rows, n = len(middle), len(cases)
    ease, own = rng.normal(size=n), near(rng.normal(size=(n_rows, n)))
    if shape.has_clusters:
        labels = np.array([int(case.cluster or 0) for case in cases])
        shared, turned = rng.normal(size=n), near(rng.normal(size=(n_rows, n)))
        ease = np.sqrt(0.5) * (shared[labels] + ease)
        own = np.sqrt(0.3) * turned[:, labels] + np.sqrt(0.7) * own
    scale = float(np.hypot(0.3, shape.spread))
    latent = middle[:, None] + 0.3 * ease + shape.spread * own
    thresholds = np.array(shape.steps)
    scores = np.searchsorted(thresholds, latent) / len(thresholds)
    true = ndtr((middle[:, None] - thresholds) / scale).mean(axis=1)
    return true, scores


def play_once(shape: Shape, tally: Tally, at: int, n_cases: int) -> None:
    """Draw one sweep, play it, and add what it gave."""
    rng = np.random.default_rng((SEED, at))
    cases = made_cases(n_cases, rng, shape.has_clusters)
    true, scores = drawn_scores(shape, cases, rng)
    split = split_cases(cases, at)
    plan = SweepPlan(
        tuple(Checkpoint(f"c{step}", step) for step in range(1, N_CHECKPOINTS + 1)),
        SPEC,
        split,
        seed=at,
        n_resamples=_RESAMPLES,
    )
    rows = dict(zip(plan.names, scores, strict=True))
    columns = {case.id: column for column, case in enumerate(cases)}
    asked = set[tuple[str, str]]()

    def ask(names: Sequence[str], wanted: Sequence[Case]) -> dict[str, dict[str, float]]:
        ids = [case.id for case in wanted]
        places = [columns[one] for one in ids]
        asked.update((name, one) for name in names for one in ids)
        return {name: dict(zip(ids, rows[name][places].tolist(), strict=True)) for name in names}

    correlation = CORRELATIONS[at % len(CORRELATIONS)]
    cheap = cheap_metric(plan, true, correlation, rng)
    chosen = plan.names.index(play(plan, ask, cheap=cheap).choice.name)
    n_judged = len(asked) + 2 * len(split.confirming)
    own, best = true.max() - true[chosen], scores.mean(axis=1).argmax()
    chooses = [columns[case.id] for case in split.choosing]
    tally.own.append(own)
    tally.full.append(true.max() - true[best])
    tally.half.append(true.max() - true[scores[:, chooses].mean(axis=1).argmax()])
    tally.last.append(true.max() - true[-1])
    tally.early.append(true.max() - true[earliest_not_told(scores, int(best))])
    tally.share.append(n_judged / scores.size)
    tally.excess_by[correlation].append(tally.own[-1] - tally.full[-1])
    confirms = [columns[case.id] for case in split.confirming]
    tally.flattered.append(scores[chosen][chooses].mean() - true[chosen])
    tally.confirmed.append(scores[chosen][confirms].mean() - true[chosen])
    if chosen:
        tally.covers.append(is_covered(true, scores, chosen, split, columns))


def cheap_metric(
    plan: SweepPlan, true: Floats, correlation: float | None, rng: np.random.Generator
) -> dict[str, float] | None:
    """Draw a cheap metric's means that have this correlation with the true ones."""
    if correlation is None:
        return None
    centred = true[1:] - true[1:].mean()
    noise = rng.normal(size=len(centred))
    means = correlation * centred / centred.std() + np.sqrt(1 - correlation**2) * noise
    return {one.name: float(mean) for one, mean in zip(plan.checkpoints, means, strict=True)}


def earliest_not_told(scores: Floats, best: int) -> int:
    """Return the earliest one whose difference from the best is not significant."""
    behind = scores[best] - scores
    errors = behind.std(axis=1, ddof=1) / np.sqrt(scores.shape[1])
    return int(np.argmax(behind.mean(axis=1) <= 1.96 * errors))


def is_covered(
    true: Floats, scores: Floats, chosen: int, split: Split, columns: dict[str, int]
) -> bool:
    """Return whether the confirmed interval contains the true gain of the recommended one."""
    places = [columns[case.id] for case in split.confirming]
    clusters = [case.cluster for case in split.confirming if case.cluster]
    found = paired_estimate(
        (scores[chosen] - scores[0])[places].tolist(),
        clusters=clusters or None,
        low=-1.0,
        high=1.0,
        seed=0,
        n_resamples=2 * _RESAMPLES,
    )
    gain = true[chosen] - true[0]
    return found.ci_low is not None and found.ci_low <= gain <= (found.ci_high or 0.0)


def tallies(n_cases: int, n_sweeps: int, shapes: Sequence[str] = tuple(SHAPES)) -> dict[str, Tally]:
    """Return what so many sweeps of every shape gave."""
    found = {name: Tally() for name in shapes}
    for name, tally in found.items():
        for at in range(n_sweeps):
            play_once(SHAPES[name], tally, at, n_cases)
    return found


def table(found: dict[str, Tally]) -> str:
    """Return the numbers of every shape as a Markdown table."""
    lines = [
        "| shape | full sweep | beyond it | of which halving | last | earliest not told apart "
        "| calls | confirmed interval covers |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, tally in found.items():
        full, half = np.mean(tally.full), np.mean(tally.half)
        cover = f"{np.mean(tally.covers):.1%}" if tally.covers else "–"
        lines.append(
            f"| {name} | {full:.4f} | {tally.excess:+.4f} | {half - full:+.4f} "
            f"| {np.mean(tally.last):.3f} | {np.mean(tally.early):.3f} "
            f"| {np.mean(tally.share):.0%} | {cover} |"
        )
    return "\n".join(lines)


def main() -> None:
    for n_cases, n_sweeps in ((N_CASES, N_SWEEPS), *OTHERS):
        began = time.process_time()
        found = tallies(n_cases, n_sweeps)
        print(f"{n_cases} cases, {N_CHECKPOINTS} checkpoints, {n_sweeps} sweeps of each shape")
        print(table(found), flush=True)
        for one in CORRELATIONS:
            beyond = [x for tally in found.values() for x in tally.excess_by[one]]
            print(f"cheap metric, correlation {one}: {np.mean(beyond):+.4f} beyond the full sweep")
        chose, confirmed = (
            np.mean([x for tally in found.values() for x in getattr(tally, name)])
            for name in ("flattered", "confirmed")
        )
        print(f"mean minus true mean: {chose:+.4f} where it was chosen, {confirmed:+.4f} confirmed")
        print(f"{time.process_time() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
