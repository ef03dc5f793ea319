"""Compare the time of judging with the ideal, using a local HTTP judge that answers in 200 ms.

Ideal time = calls x latency / concurrency. Aim: at most 1.10 times the ideal at concurrency 20. The
peer is `deepeval.evaluate()` with DeepEval's own class for OpenAI-compatible servers, on the same
server.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import time
from pathlib import Path

from benchmarks.samples import METRICS, cases, completions
from benchmarks.served import LATENCY_S, served
from plugin import judges, metrics
from plugin.journal import Journal
from plugin.judges.panel import Judging
from plugin.score import items_to_score, score_all
from plugin.worker import Progress

AIM = 1.10
N_PEER = 200


def ours(n: int, concurrency: int, adaptive: bool = False) -> tuple[float, int, int]:
    """Return wall seconds, calls and opened connections of our scheduler."""
    with served() as server, tempfile.TemporaryDirectory() as folder:
        judge = judges.load("custom:judge", {"CUSTOM_JUDGE_BASE_URL": server.url}.get)
        items = items_to_score(cases(n), completions(n), metrics.load(METRICS))
        journal = Journal(Path(folder))
        judging = Judging((judge,), concurrency=concurrency, adaptive=adaptive)
        began = time.perf_counter()
        score_all(items, judging, journal, Progress())
        wall_s = time.perf_counter() - began
        assert not journal.failures()
        return wall_s, *server.counts()


def deepevals(n: int, concurrency: int) -> tuple[float, int, int]:
    """Return the same numbers for `deepeval.evaluate()` without its result cache."""
    from deepeval import evaluate
    from deepeval.evaluate.configs import AsyncConfig, CacheConfig, DisplayConfig
    from deepeval.metrics import AnswerRelevancyMetric, HallucinationMetric
    from deepeval.models import LocalModel
    from deepeval.test_case import LLMTestCase

    tests = [
        LLMTestCase(input=case.input, actual_output=text.text, context=list(case.context))
        for case, text in zip(cases(n), completions(n), strict=True)
    ]
    here = os.getcwd()
    with served() as server, tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # DeepEval writes into the working directory
        model = LocalModel(model="judge", api_key="none", base_url=server.url)
        chosen = [AnswerRelevancyMetric(model=model), HallucinationMetric(model=model)]
        began = time.perf_counter()
        try:
            with (
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                evaluate(
                    tests,
                    chosen,
                    async_config=AsyncConfig(max_concurrent=concurrency),
                    display_config=DisplayConfig(show_indicator=False, print_results=False),
                    cache_config=CacheConfig(write_cache=False),
                )
        finally:
            os.chdir(here)
        return time.perf_counter() - began, *server.counts()


def main() -> None:
    metrics.load(METRICS)
    for n, concurrency, aim in ((400, 20, f"aim <= {AIM}"), (1000, 100, "reported")):
        wall_s, n_calls, n_connections = ours(n, concurrency)
        ratio = wall_s / (n_calls * LATENCY_S / concurrency)
        print(
            f"{concurrency} at once, {n_calls} calls of {LATENCY_S:.1f} s: {wall_s:.1f} s over "
            f"{n_connections} connections, wall / ideal = {ratio:.3f} ({aim})",
            flush=True,
        )
    wall_s, n_calls, _ = ours(1000, 20, adaptive=True)
    print(f"adaptive from 20: {n_calls} calls in {wall_s:.1f} s ({n_calls / wall_s:.0f} a second)")
    wall_s, n_calls, n_connections = ours(N_PEER, 20)
    print(f"{N_PEER} completions: {wall_s:.1f} s, {n_calls} calls, {n_connections} connections")
    peer_s, n_calls, n_connections = deepevals(N_PEER, 20)
    print(
        f"deepeval.evaluate(): {peer_s:.1f} s, {n_calls} calls, {n_connections} connections; "
        f"ratio {wall_s / peer_s:.2f}"
    )


if __name__ == "__main__":
    main()
