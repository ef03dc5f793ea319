"""How busy the judge is kept: wall time over the ideal, with a real local HTTP judge of 200 ms.

Ideal = calls x latency / calls at once. Aim: at most 1.10 at 20 at once. The judge's server is a
process of its own, as it is in life; both share this machine's cores.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.samples import METRICS, cases, completions
from plugin import judges, metrics
from plugin.bench import Judging
from plugin.journal import Journal
from plugin.scoring import items_to_score, score
from plugin.worker import Progress
from tests.judge_server import judge_server

LATENCY_S = 0.2
AIM = 1.10


def serve(pipe: Connection) -> None:
    """In the server's process: serve until the pipe says stop."""
    with judge_server() as server:
        server.latency_s = LATENCY_S
        pipe.send(server.url)
        pipe.recv()


@contextmanager
def served() -> Iterator[str]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=[theirs])
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send("stop")
        process.join()


def ratio(n: int, concurrency: int) -> tuple[float, int, float]:
    """(wall / ideal, calls, wall seconds)."""
    with served() as url, tempfile.TemporaryDirectory() as folder:
        judge = judges.load("custom:judge", {"CUSTOM_JUDGE_BASE_URL": url}.get)
        items = items_to_score(cases(n), completions(n), metrics.load(METRICS))
        journal = Journal(Path(folder))
        began = time.perf_counter()
        judging = Judging((judge,), concurrency=concurrency, adaptive=False)
        score(items, judging, journal, Progress())
        wall_s = time.perf_counter() - began
        assert not journal.failures()
        n_calls = journal.meta("judge_calls")["n_calls"]
    return wall_s / (n_calls * LATENCY_S / concurrency), n_calls, wall_s


def main() -> None:
    metrics.load(METRICS)
    for n, concurrency, aim in ((400, 20, f"aim <= {AIM}"), (1000, 100, "reported")):
        found, n_calls, wall_s = ratio(n, concurrency)
        print(
            f"{concurrency} at once, {n_calls} calls of {LATENCY_S:.1f} s: {wall_s:.1f} s, "
            f"wall / ideal = {found:.3f} ({aim})",
            flush=True,
        )


if __name__ == "__main__":
    main()
