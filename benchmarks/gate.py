"""Measure how often a gate blocks a model that keeps to its rules, and how often one that does not.

Every rule's limit is the true value: the least favourable place, where chance alone decides. A gate
of five rules may block at most 5% of such models. The peers decide the same rules on the mean, and
on each rule's own 95% interval.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from plugin.compare import stats
from plugin.compare.intervals import LEVEL
from plugin.gate.checks import Check
from plugin.gate.decide import decide, is_beyond
from plugin.gate.quantities import Growth, Mean, Quantity, Sample
from plugin.plan.gate_rules import AskedRule

AIM = 0.05
N_GATES, N_RULES, N_RESAMPLES = 1_000, 5, 1_000

Rng = np.random.Generator
Draw = Callable[[Rng], list[Quantity]]
"""Makes the quantities of one gate; of every one the true value is 0."""


def _means(columns: np.ndarray, clusters: Sequence[int] | None = None) -> list[Quantity]:
    labels = None if clusters is None else tuple(clusters)
    return [
        Mean(Sample(tuple(c.tolist()), labels, -1.0, 1.0), n_resamples=N_RESAMPLES) for c in columns
    ]


def _correlated(rng: Rng, n: int, share: float = 0.5) -> np.ndarray:
    """Draw standard normal numbers for each rule, which share a part of their variance."""
    common = rng.normal(size=n)
    return np.sqrt(share) * common + np.sqrt(1 - share) * rng.normal(size=(N_RULES, n))


def scores(n: int, sd: float = 0.3) -> Draw:
    """Judged scores in steps of 0.1, whose differences are symmetric."""
    return lambda rng: _means(np.clip((sd * _correlated(rng, n)).round(1), -1, 1))


def ties(n: int) -> Draw:
    """Four fifths of the answers are the same, the others differ by up to 1."""

    def draw(rng: Rng) -> list[Quantity]:
        differs = rng.random((N_RULES, n)) < 0.2
        return _means(differs * rng.choice([-1.0, -0.5, 0.5, 1.0], size=(N_RULES, n)))

    return draw


def right_or_wrong(n: int) -> Draw:
    """Scores of 0 and 1, of which 15% turn either way."""
    odds = [0.075, 0.85, 0.075]
    return lambda rng: _means(rng.choice([-1.0, 0.0, 1.0], size=(N_RULES, n), p=odds))


def few_differ(n: int) -> Draw:
    """One answer in eight differs, by up to 1."""

    def draw(rng: Rng) -> list[Quantity]:
        differs = rng.random((N_RULES, n)) < 0.125
        return _means(differs * rng.choice([-1.0, -0.5, 0.5, 1.0], size=(N_RULES, n)))

    return draw


def skewed(n: int) -> Draw:
    """Nine cases in ten gain a little, one loses nine times as much."""

    def draw(rng: Rng) -> list[Quantity]:
        loses = rng.random((N_RULES, n)) < 0.1
        jitter = rng.uniform(-0.02, 0.02, size=(N_RULES, n))
        return _means(np.where(loses, -0.45, 0.05) + jitter)

    return draw


def clustered(n_clusters: int) -> Draw:
    """Clusters of one to eight cases, which share half of their variance."""

    def draw(rng: Rng) -> list[Quantity]:
        sizes = rng.integers(1, 9, size=n_clusters)
        labels = np.repeat(np.arange(n_clusters), sizes)
        shared = rng.normal(size=(N_RULES, n_clusters))[:, labels]
        own = rng.normal(size=(N_RULES, len(labels)))
        gains = np.clip(0.3 * (np.sqrt(0.5) * shared + np.sqrt(0.5) * own), -1, 1)
        return _means(gains, labels.tolist())

    return draw


def shares(n: int, share: float = 0.05) -> Draw:
    """Shares of answers that were cut off, whose limit is the true share."""

    def draw(rng: Rng) -> list[Quantity]:
        cut = (rng.random((N_RULES, n)) < share).astype(float)
        samples = [Sample(tuple(one.tolist()), None, 0.0, 1.0) for one in cut]
        return [Mean(one, shift=-share, n_resamples=N_RESAMPLES) for one in samples]

    return draw


def is_at_most(one: Quantity) -> bool:
    """Return whether less is better."""
    return isinstance(one, Growth) or (isinstance(one, Mean) and one.sample.low == 0)


def growths(n: int) -> Draw:
    """Seconds of answers, log-normal, of a variant that is as fast as its base."""

    def draw(rng: Rng) -> list[Quantity]:
        base = rng.lognormal(0, 0.6, size=n)
        sides = base * rng.lognormal(0, 0.3, size=(2, N_RULES, n))
        return [
            Growth(tuple(a.tolist()), tuple(b.tolist()), None) for a, b in zip(*sides, strict=True)
        ]

    return draw


SHAPES: dict[str, Draw] = {
    "scores, n=60": scores(60),
    "scores, n=200": scores(200),
    "scores, n=20": scores(20),
    "ties, n=100": ties(100),
    "few differ, n=100": few_differ(100),
    "0/1, n=60": right_or_wrong(60),
    "0/1, n=200": right_or_wrong(200),
    "skewed, n=100": skewed(100),
    "30 clusters": clustered(30),
    "10 clusters": clustered(10),
    "seconds, n=100": growths(100),
    "5% cut off, n=100": shares(100),
    "5% cut off, n=300": shares(300),
}


PLANTED = (
    *((0.1, 0.0, 60), (0.1, 0.0, 100), (0.1, 0.0, 200)),
    *((0.1, 0.05, 100), (0.1, 0.05, 200), (0.15, 0.05, 100), (0.15, 0.05, 200)),
    *((0.0, 0.05, 200), (0.0, 0.05, 400)),
)
"""Loss, limit and number of cases."""


@dataclass
class Rates:
    """Shares of gates that block: ours, on the mean, on each rule's own 95% interval."""

    own: float
    on_mean: float
    one_by_one: float


def as_checks(quantities: Sequence[Quantity], limit: float = 0.0) -> list[Check]:
    """Return rules that each demand the same of one quantity."""
    return [
        Check(
            AskedRule("max_loss", abs(limit), str(place)),
            "gain",
            limit,
            limit,
            at_least=not is_at_most(one),
            quantity=one,
        )
        for place, one in enumerate(quantities)
    ]


def false_blocks(draw: Draw, n_gates: int = N_GATES, seed: int = 1) -> Rates:
    """Return how often models are blocked whose true values are the limits themselves."""
    rng, blocked = np.random.default_rng(seed), np.zeros(3)
    for _ in range(n_gates):
        drawn = draw(rng)
        checks = as_checks(drawn)
        own = any(one.result == "fail" for one in decide(checks))
        alone = any(is_beyond(c, c.quantity.ends(LEVEL)) for c in checks if c.quantity)
        wrong = [(one.value or 0.0) * (-1 if is_at_most(one) else 1) < 0 for one in drawn]
        blocked += [own, any(wrong), alone]
    return Rates(*(blocked / n_gates).tolist())


def found_losses(
    loss: float, n: int, limit: float, n_gates: int = N_GATES // 2
) -> tuple[float, float]:
    """Return how often a loss on one of five metrics blocks, and how often the gate passes."""
    rng, blocked, passed = np.random.default_rng(2), 0, 0
    for _ in range(n_gates):
        gains = 0.3 * _correlated(rng, n)
        gains[0] -= loss
        results = [one.result for one in decide(as_checks(_means(np.clip(gains, -1, 1)), -limit))]
        blocked += "fail" in results
        passed += set(results) == {"pass"}
    return blocked / n_gates, passed / n_gates


def better_blocks(n: int, n_guards: int, n_gates: int = N_GATES) -> float:
    """Return how often `require better` blocks an unchanged model: worse, or a guard lost."""
    rng, blocked = np.random.default_rng(3), 0
    for _ in range(n_gates):
        primary, *guards = scores(n)(rng)[: 1 + n_guards]
        means = [one.sample for one in guards if isinstance(one, Mean)]
        p_values = [stats.harm_p(s.values, seed=0, n_resamples=N_RESAMPLES) or 1 for s in means]
        lost = [
            stats.decide_guard(one.ends(LEVEL), one.value, p_value, 0.05) == "lost"
            for one, p_value in zip(guards, stats.holm(p_values), strict=True)
        ]
        (check,) = as_checks([primary])
        blocked += any(lost) or decide([replace(check, n_tests=2)])[0].result == "fail"
    return blocked / n_gates


def main() -> None:
    worst = 0.0
    for name, draw in SHAPES.items():
        began = time.process_time()
        found = false_blocks(draw)
        worst = max(worst, found.own)
        print(
            f"{name}: {found.own:.1%} of {N_GATES:,} gates of {N_RULES} rules block without cause; "
            f"on the mean {found.on_mean:.0%}, on single 95% intervals {found.one_by_one:.1%} "
            f"({time.process_time() - began:.0f} s)",
            flush=True,
        )
    print(f"the most: {worst:.1%} (aim <= {AIM:.0%})", flush=True)
    for n, n_guards in ((60, 1), (60, 3), (200, 1), (200, 3)):
        share = better_blocks(n, n_guards)
        print(f"require better, {n_guards} guards, n={n}: {share:.1%} blocked", flush=True)
    for loss, limit, n in PLANTED:
        blocked, passed = found_losses(loss, n, limit)
        print(
            f"loss of {loss:g} on one of {N_RULES} metrics, n={n}, limit {limit:g}, spread 0.3: "
            f"{blocked:.0%} blocked, {passed:.0%} passed whole",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
