"""Measure the overhead of scoring a completion: two DeepEval metrics and a judge without latency.

The peer is `deepeval.evaluate()` on the same completions with the same answers. Aim: at most 1.0 ms
per completion, the same from 200 to 10,000 completions.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import time
from pathlib import Path

from benchmarks.samples import METRICS, cases, completions, deepeval_model
from plugin import judges, metrics
from plugin.journal import Journal
from plugin.judges.panel import Judging
from plugin.score import items_to_score, score_all
from plugin.worker import Progress

AIM_MS = 1.0


def ours_ms(n: int) -> float:
    """Return our milliseconds per completion, including the journal."""
    chosen = metrics.load(METRICS)
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder))
        items = items_to_score(cases(n), completions(n), chosen)
        judge = judges.load("offline", lambda name: None)
        began = time.perf_counter()
        score_all(items, Judging((judge,)), journal, Progress())
        seconds = time.perf_counter() - began
        assert len(journal.scores()) == 2 * n
    return seconds / n * 1000


def deepevals_ms(n: int, as_it_comes: bool) -> float:
    """Return the milliseconds of `deepeval.evaluate()` with a model that answers at once."""
    from deepeval import evaluate
    from deepeval.evaluate.configs import AsyncConfig, CacheConfig, DisplayConfig
    from deepeval.metrics import AnswerRelevancyMetric, HallucinationMetric
    from deepeval.test_case import LLMTestCase

    tests = [
        LLMTestCase(input=case.input, actual_output=text.text, context=list(case.context))
        for case, text in zip(cases(n), completions(n), strict=True)
    ]
    verdicts = [{"verdict": "yes", "reason": "because"}] * 2
    fields = {"statements": ["one", "two"], "reason": "because", "verdicts": verdicts}
    model = deepeval_model(lambda prompt: fields)
    chosen = [AnswerRelevancyMetric(model=model), HallucinationMetric(model=model)]
    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        evaluate(
            tests,
            chosen,
            async_config=AsyncConfig(max_concurrent=20),
            display_config=DisplayConfig(show_indicator=False, print_results=False),
            **({} if as_it_comes else {"cache_config": CacheConfig(write_cache=False)}),
        )
    return (time.perf_counter() - began) / n * 1000


def peer_ms(n: int) -> tuple[float, float]:
    """Return DeepEval's milliseconds without its result cache, and with its default settings."""
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            return deepevals_ms(n, as_it_comes=False), deepevals_ms(n, as_it_comes=True)
        finally:
            os.chdir(here)


def main() -> None:
    metrics.load(METRICS)  # imports DeepEval before the clock starts
    ours_ms(20)
    for n in (200, 1_000, 10_000):
        own = ours_ms(n)
        line = f"{n:>6} completions: {own:.2f} ms each (aim <= {AIM_MS})"
        if n <= 1_000:
            lean, stock = peer_ms(n)
            line += (
                f"; deepeval.evaluate() {stock:.1f} ms by default (ratio {own / stock:.3f}), "
                f"{lean:.1f} ms without its result cache (ratio {own / lean:.2f})"
            )
        print(line, flush=True)


if __name__ == "__main__":
    main()
