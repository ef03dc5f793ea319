"""Time a run whose judgments are all in the shared cache: 1,000 cases, two variants, two metrics.

The second run has another folder and the same cache. Aim: under 2 s and 0 calls.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.samples import METRICS, cases, completions
from benchmarks.served import served
from plugin import judges, metrics
from plugin.cache import Cache
from plugin.journal import Journal
from plugin.judges.panel import Judging
from plugin.score import items_to_score, score_all
from plugin.worker import Progress

N_CASES, AIM_S = 1_000, 2.0


def judge_all(url: str, folder: Path, cache: Path) -> float:
    """Judge all items and return the wall time in seconds."""
    base = completions(N_CASES)
    tuned = [replace(text, variant="tuned", text=f"Surely. {text.text}") for text in base]
    items = items_to_score(cases(N_CASES), [*base, *tuned], metrics.load(METRICS))
    journal = Journal(folder, Cache(cache / "cache.sqlite"))
    judge = judges.load("custom:judge", {"CUSTOM_JUDGE_BASE_URL": url}.get)
    began = time.perf_counter()
    score_all(items, Judging((judge,)), journal, Progress())
    seconds = time.perf_counter() - began
    assert len(journal.scores()) == 4 * N_CASES
    journal.close()
    return seconds


def main() -> None:
    metrics.load(METRICS)
    with served(0.0) as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first_s = judge_all(server.url, folder / "one", folder)
        before, _ = server.counts()
        again_s = judge_all(server.url, folder / "two", folder)
        n_calls = server.counts()[0] - before
        print(
            f"{4 * N_CASES} scores: {first_s:.1f} s and {before} calls the first time, "
            f"{again_s:.1f} s and {n_calls} calls from the cache (aim < {AIM_S:.0f} s, 0 calls)"
        )


if __name__ == "__main__":
    main()
