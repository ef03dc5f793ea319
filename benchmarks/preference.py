"""Measure the overhead of a preference: both orders asked of a judge that answers at once.

The peer is DeepEval's `ArenaGEval` on the same pairs with the same answers, which asks once and
keeps nothing. Aim: at most 1.5 ms per preference, the journal included, the same from 200 to 10,000
pairs.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel

from benchmarks.samples import cases, completions, deepeval_model
from plugin import metrics
from plugin.compare.pairs import Contrast
from plugin.journal import Journal
from plugin.judges import Answer
from plugin.judges.panel import Judging
from plugin.metrics import import_code
from plugin.score import items_to_score, score_all
from plugin.worker import Progress

AIM_MS = 1.5


class Instant:
    """A judge that prefers the answer A at once. See `plugin.judges.Judge`."""

    label, identity, caveat, structured = "custom:instant", "instant", "", False

    async def ask(self, prompt: str, schema: type[BaseModel], room: int = 1) -> Answer:
        """Return the same answer to every question."""
        return Answer('{"reasons": "A says more.", "verdict": "A better"}')

    async def close(self) -> None:
        """Do nothing: there is nothing to release."""


def sides(n: int):
    """Return the completions of two variants for n cases."""
    own = completions(n)
    return [
        *own,
        *(
            replace(one, variant="tuned", text=f"{one.text} It is in its first season.")
            for one in own
        ),
    ]


def ours_ms(n: int) -> float:
    """Return our milliseconds per preference, including the journal."""
    chosen = metrics.load(("Preference",))
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder))
        items = items_to_score(cases(n), sides(n), chosen, pairs=[Contrast("tuned", "vanilla")])
        began = time.perf_counter()
        score_all(items, Judging((Instant(),)), journal, Progress())
        seconds = time.perf_counter() - began
        assert len(journal.preferences()) == n
        assert journal.state.judge_calls.n_calls == 2 * n
    return seconds / n * 1000


def deepevals_ms(n: int) -> float:
    """Return the milliseconds of `ArenaGEval` for each pair."""
    from deepeval.metrics import ArenaGEval
    from deepeval.metrics.arena_g_eval.utils import FAKE_NAMES
    from deepeval.test_case import ArenaTestCase, Contestant, LLMTestCase, SingleTurnParams

    def last_wins(prompt):
        # DeepEval hides the real names, and gives an example after the contestants.
        winner = max(FAKE_NAMES, key=prompt.partition("Example JSON")[0].rfind)
        return {"winner": winner, "reason": "It says more.", "rewritten_reason": "As said."}

    def contestant(one, case):
        return Contestant(
            name=one.variant, test_case=LLMTestCase(input=case.input, actual_output=one.text)
        )

    made = sides(n)
    tests = [
        ArenaTestCase(contestants=[contestant(made[i], case), contestant(made[n + i], case)])
        for i, case in enumerate(cases(n))
    ]
    metric = ArenaGEval(
        name="Preference",
        evaluation_steps=["Choose the better answer."],
        evaluation_params=[SingleTurnParams.INPUT, SingleTurnParams.ACTUAL_OUTPUT],
        model=deepeval_model(last_wins),
    )

    async def measure_all() -> None:
        for test in tests:
            await metric.a_measure(test, _show_indicator=False)

    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        asyncio.run(measure_all())
    return (time.perf_counter() - began) / n * 1000


def main() -> None:
    import_code(metrics.load(("Correctness",)))  # turns DeepEval's telemetry off
    ours_ms(20)
    deepevals_ms(2)  # imports DeepEval before the clock starts
    for n in (200, 1_000, 10_000):
        own = min(ours_ms(n) for _ in range(3 if n <= 1_000 else 1))
        line = f"{n:>6} pairs: {own:.2f} ms each, in both orders (aim <= {AIM_MS})"
        if n <= 1_000:
            peer = min(deepevals_ms(n) for _ in range(3))
            line += f"; DeepEval's ArenaGEval, in one order {peer:.2f} ms (ratio {own / peer:.2f})"
        print(line, flush=True)


if __name__ == "__main__":
    main()
