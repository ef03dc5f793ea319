"""Time intervals and p-values of 1,000 cases on 2 metrics, 10,000 resamples. Aim: at most 2 s.

The peer is plain `scipy.stats.bootstrap` (BCa, no batch) with `scipy.stats.permutation_test`.
"""

from __future__ import annotations

import time

import numpy as np
import scipy.stats

from plugin.compare import stats

AIM_S = 2.0
N_CASES, N_METRICS, N_RESAMPLES = 1_000, 2, 10_000


def gains() -> list[np.ndarray]:
    """Draw gains like those of judged scores: bounded, in steps, a third of them zero."""
    rng = np.random.default_rng(0)
    drawn = np.clip(rng.normal(0.05, 0.3, (N_METRICS, N_CASES)), -1, 1).round(1)
    return list(np.where(rng.random(drawn.shape) < 0.3, 0.0, drawn))


def ours_s() -> float:
    began = time.perf_counter()
    for column in gains():
        stats.paired_estimate(column, low=-1.0, high=1.0, seed=1, n_resamples=N_RESAMPLES)
    return time.perf_counter() - began


def peer_s() -> float:
    began = time.perf_counter()
    for column in gains():
        scipy.stats.bootstrap((column,), np.mean, n_resamples=N_RESAMPLES, method="BCa", rng=1)
        scipy.stats.permutation_test(
            (column,), np.mean, permutation_type="samples", n_resamples=N_RESAMPLES - 1, rng=1
        )
    return time.perf_counter() - began


def main() -> None:
    stats.paired_estimate([0.1, 0.2] * 30, seed=1, n_resamples=100)  # imports scipy first
    own, peer = ours_s(), peer_s()
    print(
        f"{N_CASES} cases, {N_METRICS} metrics, {N_RESAMPLES} resamples: {own:.2f} s "
        f"(aim <= {AIM_S:.0f} s, {own / AIM_S:.2f} of it); plain scipy {peer:.2f} s, "
        f"ratio {own / peer:.2f}"
    )


if __name__ == "__main__":
    main()
