"""Measure how many judgments --stop_early saves, and how often it gives a wrong outcome.

The check runs after every pair; at most 5% of the runs may end with a wrong outcome. The peer is
the usual 95% interval (mean +- 1.96 standard errors), checked after every pair from the 10th on.
"""

from __future__ import annotations

import time

import numpy as np

from plugin.compare.early_stop import ConfidenceSequence, SettleRule

AIM_FALSE, AIM_S = 0.05, 2.0
N_CASES, N_RUNS, MARGIN, SD = 500, 400, 0.05, 0.4
N_NULL_RUNS = 2_000


def drawn(rng: np.random.Generator, gain: float, shape: tuple[int, ...]) -> np.ndarray:
    """Draw gains like those of judged scores: bounded, in steps of 0.01."""
    return np.clip(rng.normal(gain, SD, shape), -1, 1).round(2)


def used(gain: float, n_metrics: int) -> tuple[float, float]:
    """Return the share of cases judged until all metrics settle, and the share of settled runs."""
    rng, rule = np.random.default_rng(1), SettleRule(MARGIN, n_decisions=n_metrics)
    shares, n_settled = [], 0
    for _ in range(N_RUNS):
        found = [
            ConfidenceSequence(rule).add(gains) for gains in drawn(rng, gain, (n_metrics, N_CASES))
        ]
        done = [one.n for one in found if one]
        n_settled += len(done) == n_metrics
        shares.append(max(done) / N_CASES if len(done) == n_metrics else 1.0)
    return float(np.mean(shares)), n_settled / N_RUNS


def false_shares(n_metrics: int) -> tuple[float, float]:
    """Return the shares of runs without a true gain that report one: by us, and by the peer."""
    rng, rule = np.random.default_rng(2), SettleRule(MARGIN, n_decisions=n_metrics)
    n, own, peer = np.arange(1, N_CASES + 1), 0, 0
    for _ in range(N_NULL_RUNS):
        gains = drawn(rng, 0.0, (n_metrics, N_CASES))
        found = [ConfidenceSequence(rule).add(column) for column in gains]
        own += any(one is not None and one.outcome != "equivalent" for one in found)
        means = gains.cumsum(axis=1) / n
        errors = np.sqrt(((gains**2).cumsum(axis=1) / n - means**2) / n)
        peer += bool((np.abs(means) > 1.96 * errors)[:, 9:].any())
    return own / N_NULL_RUNS, peer / N_NULL_RUNS


def one_by_one_s(n: int, n_metrics: int) -> float:
    """Return the total seconds of the checks after every single pair, over all metrics."""
    columns = drawn(np.random.default_rng(3), 0.0, (n_metrics, n)).tolist()
    sequences = [ConfidenceSequence(SettleRule(0.0, n_decisions=n_metrics)) for _ in columns]
    began = time.perf_counter()
    for sequence, column in zip(sequences, columns, strict=True):
        for gain in column:
            sequence.add([gain])
    return time.perf_counter() - began


def main() -> None:
    ConfidenceSequence(SettleRule(MARGIN)).add([0.0] * 200)  # imports scipy before the clock starts
    for n_metrics in (1, 2):
        for gain in (0.1, 0.2, 0.3):
            share, settled = used(gain, n_metrics)
            print(
                f"{n_metrics} metric(s), gain {gain} +- {SD}, {N_CASES} cases: {1 - share:.0%} "
                f"saved, {settled:.1%} of {N_RUNS} runs settled",
                flush=True,
            )
        own, peer = false_shares(n_metrics)
        print(
            f"{n_metrics} metric(s), no true gain: {own:.1%} of {N_NULL_RUNS} runs report one "
            f"(aim <= {AIM_FALSE:.0%}); usual interval {peer:.1%}, ratio {own / peer:.2f}",
            flush=True,
        )
    own_s = one_by_one_s(10_000, 3)
    print(f"10,000 pairs, 3 metrics, one by one: {own_s:.2f} s (aim <= {AIM_S:.0f} s)")


if __name__ == "__main__":
    main()
