"""Measure how well a run predicts the interval that it would have with more of something.

Runs with made-up gains of several shapes are split into cases, sampling and judge. The widths that
the split predicts are compared with the widths that runs of that design really have, and the parts
with the true ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plugin.compare.stats import paired_estimate
from plugin.compare.variance import split_variance

Floats = NDArray[np.float64]
Random = np.random.Generator

N_RUNS, N_RESAMPLES, SEED = 600, 400, 22
AIM = 0.10
CHANGES = {
    "2x cases": (2, 1, 1),
    "2x samples": (1, 2, 1),
    "2x repeats": (1, 1, 2),
    "4x cases, 1 sample": (4, 0.25, 1),
}


class Design(NamedTuple):
    """How many cases, samples of a case, and judgments of a sample."""

    cases: int
    samples: int
    repeats: int

    def times(self, cases: float, samples: float, repeats: float) -> Design:
        """Return the design with so many times of each."""
        of = (self.cases * cases, self.samples * samples, self.repeats * repeats)
        return Design(*map(round, of))


class Shape(NamedTuple):
    """A kind of gains: how it is drawn, and the design that is begun with.

    Attributes:
        draw: returns the gains, shape (cases, samples, repeats).
        design: of the first run.
        in_clusters: whether cases come in clusters of uneven sizes, which `draw` shares effects in.
    """

    draw: Callable[[Random, Design], Floats]
    design: Design
    in_clusters: bool = False


def _normal(rng: Random, design: Design, spread: Floats | None = None) -> Floats:
    cases = rng.normal(0.05, 0.2, design.cases) if spread is None else spread
    samples = rng.normal(0, 0.2, design[:2])
    return cases[:, None, None] + samples[:, :, None] + rng.normal(0, 0.15, design)


def _binary(rng: Random, design: Design) -> Floats:
    """Return differences of 0/1 answers that the judge misreads in one of twelve cases."""
    base, gain = rng.beta(0.5, 0.8, design.cases), rng.normal(0.1, 0.15, design.cases)
    noise = rng.random(design[:2])  # the same for both sides, as in a run
    sides = []
    for chance in (base, np.clip(base + gain, 0, 1)):
        right = noise < chance[:, None]
        misread = rng.random(design) < 1 / 12
        sides.append((right[:, :, None] ^ misread).astype(float))
    return sides[1] - sides[0]


def _skewed(rng: Random, design: Design) -> Floats:
    """Return gains that are nothing for most cases and large for a few."""
    cases = np.where(rng.random(design.cases) < 0.3, rng.exponential(0.4, design.cases), 0.0)
    samples = cases[:, None] * rng.exponential(0.8, design[:2])
    return samples[:, :, None] + rng.normal(0, 0.03, design)


def _clustered(rng: Random, design: Design) -> Floats:
    labels = cluster_labels(design.cases)
    shared = rng.normal(0, 0.15, max(labels) + 1)[labels]
    return _normal(rng, design, shared + rng.normal(0.05, 0.15, design.cases))


def cluster_labels(n: int) -> list[int]:
    """Return a cluster for each case: sizes 1, 2, 4 and 7 in turn."""
    sizes, labels = (1, 2, 4, 7), list[int]()
    while len(labels) < n:
        number = labels[-1] + 1 if labels else 0
        labels += [number] * sizes[number % len(sizes)]
    return labels[:n]


SHAPES = {
    "normal, 100 cases": Shape(_normal, Design(100, 4, 2)),
    "normal, 30 cases": Shape(_normal, Design(30, 4, 2)),
    "0/1 scores, 100 cases": Shape(_binary, Design(100, 4, 2)),
    "0/1 scores, 30 cases": Shape(_binary, Design(30, 4, 2)),
    "skewed, 100 cases": Shape(_skewed, Design(100, 4, 2)),
    "uneven clusters, 98 cases": Shape(_clustered, Design(98, 4, 2), in_clusters=True),
}


def _labels(shape: Shape, n: int) -> list[int] | None:
    return cluster_labels(n) if shape.in_clusters else None


def _width(gains: Floats, labels: list[int] | None) -> float:
    """Return the width of the interval that the program gives to the mean of these gains."""
    means = gains.mean(axis=(1, 2)).tolist()
    extent = max(1.0, *map(abs, means))
    found = paired_estimate(
        means, clusters=labels, low=-extent, high=extent, seed=1, n_resamples=N_RESAMPLES
    )
    assert found.ci_low is not None and found.ci_high is not None
    return found.ci_high - found.ci_low


def true_parts(shape: Shape, rng: Random) -> Floats:
    """Return the variances of case, sample and judgment, from very large runs."""
    if shape.in_clusters:
        return np.array([2 * 0.15**2, 0.2**2, 0.15**2])
    parts = list[tuple[float, float, float]]()
    for _ in range(40):
        gains = shape.draw(rng, Design(4000, 10, 10))
        judge = gains.var(axis=2, ddof=1).mean()
        sampling = gains.mean(axis=2).var(axis=1, ddof=1).mean() - judge / 10
        cases = gains.mean(axis=(1, 2)).var(ddof=1) - sampling / 10 - judge / 100
        parts.append((cases, sampling, judge))
    return np.mean(parts, axis=0)


def measure(shape: Shape, n_runs: int = N_RUNS, seed: int = SEED) -> dict[str, Any]:
    """Return by change the mean predicted width as a share of the mean realised one; and parts."""
    rng, design = np.random.default_rng(seed), shape.design
    predicted = {name: list[float]() for name in CHANGES}
    realised = {name: list[float]() for name in CHANGES}
    parts = list[tuple[float, ...]]()
    for _ in range(n_runs):
        gains, labels = shape.draw(rng, design), _labels(shape, design.cases)
        rows = {str(i): own.tolist() for i, own in enumerate(gains)}
        split = split_variance(rows, dict(zip(rows, labels, strict=True)) if labels else None)
        assert split and split.sampling is not None and split.judge is not None
        parts.append((split.cases, split.sampling, split.judge))
        now = _width(gains, labels)
        for name, times in CHANGES.items():
            other = design.times(*times)
            predicted[name].append(now * split.width_factor(*times))
            realised[name].append(_width(shape.draw(rng, other), _labels(shape, other.cases)))
    found: dict[str, Any] = {
        name: float(np.mean(predicted[name]) / np.mean(realised[name])) for name in CHANGES
    }
    found["parts"] = np.mean(parts, axis=0) / true_parts(shape, rng)
    return found


def main() -> None:
    """Print predicted widths as shares of realised ones, and estimated parts of true ones."""
    print(f"{N_RUNS} runs of each shape, 4 samples, 2 judgments of each, seed {SEED}")
    worst = 0.0
    for name, shape in SHAPES.items():
        found = measure(shape)
        parts = found.pop("parts")
        worst = max(worst, *(abs(ratio - 1) for ratio in found.values()))
        told = ", ".join(f"{change} {ratio:.2f}" for change, ratio in found.items())
        kinds = "" if shape.in_clusters else f"cases {parts[0]:.2f}, "
        print(f"{name}: predicted/realised {told}")
        print(f"  estimated/true {kinds}sampling {parts[1]:.2f}, judge {parts[2]:.2f}")
    print(f"worst prediction off by {worst:.0%} (aim: within {AIM:.0%})")
