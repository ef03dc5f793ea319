"""How often the intervals of waiting times contain the truth: `python -m benchmarks.latency`.

Times of two variants on the same cases, correlated as long answers make them; the variant takes
twice as long. For each kind of times and number of cases it prints the share of intervals that
contain the true quantile, and the true ratio of the two quantiles. They should be 95%.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plugin.latency.asked import SHARES
from plugin.latency.stats import find_quantile, quantile_of, ratio_of_quantiles

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Floats]

N_TRUTH = 1_000_000
N_CASES = (20, 50, 100, 400)


def lognormal(rng: np.random.Generator, n: int) -> Floats:
    """Times of base and variant; a case makes both long."""
    times: Floats = np.exp(0.6 * rng.standard_normal((n, 1)) + 0.5 * rng.standard_normal((n, 2)))
    return times * [1, 2]


def bimodal(rng: np.random.Generator, n: int) -> Floats:
    """Three in ten requests wait for something else."""
    waits = 1.5 * (rng.random((n, 2)) < 0.3)
    case = 0.2 * rng.standard_normal((n, 1))
    times: Floats = np.exp(case + 0.2 * rng.standard_normal((n, 2)) + waits)
    return times * [1, 2]


def ties(rng: np.random.Generator, n: int) -> Floats:
    """Times in steps, as a coarse clock or a scheduler's rounds make them."""
    return np.ceil(4 * lognormal(rng, n) / [1, 2]) / 4 * [1, 2]


def clustered(rng: np.random.Generator, n: int) -> Floats:
    """Cases in fours that take alike."""
    shared = np.repeat(rng.standard_normal((-(-n // 4), 1)), 4, axis=0)[:n]
    times: Floats = np.exp(0.6 * shared + 0.4 * rng.standard_normal((n, 2)))
    return times * [1, 2]


KINDS: dict[str, Draw] = {
    "lognormal": lognormal,
    "bimodal": bimodal,
    "ties": ties,
    "clusters of 4": clustered,
}


class Coverage(NamedTuple):
    """Shares of intervals that contain the truth; None where there were none."""

    quantile: float | None
    ratio: float | None


def coverage(kind: str, share: float, n: int, n_runs: int = 400) -> Coverage:
    """Draw the times of so many runs, and count the intervals that contain the truth."""
    draw = KINDS[kind]
    truth = draw(np.random.default_rng(99), N_TRUTH)
    base, variant = (quantile_of(truth[:, side].tolist(), share) for side in (0, 1))
    labels = [i // 4 for i in range(n)] if kind == "clusters of 4" else None
    rng = np.random.default_rng(n)
    hits: tuple[list[bool], list[bool]] = ([], [])
    for run in range(n_runs):
        times = draw(rng, n)
        own, other = times[:, 1].tolist(), times[:, 0].tolist()
        found = find_quantile(other, share, labels)
        ratio = ratio_of_quantiles(own, other, share, labels, seed=run, n_resamples=400)
        for place, (each, true) in enumerate(((found, base), (ratio, variant / base))):
            if each.low is not None and each.high is not None:
                hits[place].append(each.low <= true * (1 + 1e-9) and true <= each.high * (1 + 1e-9))
    return Coverage(*(sum(own) / len(own) if own else None for own in hits))


def main() -> None:
    """Print the table that stands in docs/latency.md."""
    print(f"{'times':14} {'':4} {'cases':>5}  quantile  ratio")
    for kind in KINDS:
        for share in SHARES:
            for n in N_CASES:
                found = coverage(kind, share, n)
                told = ("none" if one is None else f"{one:.1%}" for one in found)
                print(f"{kind:14} p{100 * share:<3.0f} {n:5}  {'  '.join(told)}", flush=True)


if __name__ == "__main__":
    main()
