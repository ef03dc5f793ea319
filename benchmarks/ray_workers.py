"""Compare two Ray workers with one, and one with the engine itself: same model, same prompts.

The three take turns, so other load on the machine affects all of them. Aim: with two free cores,
two workers are at least 1.7 times as fast as one. On a busy machine, compare CPU times instead:
that of the single worker with that of the busier one of two. The output also shows the overhead per
completion, and the time to start the workers, which does not depend on the number of cases.
"""

from __future__ import annotations

import os
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from demo import FOLDER
from plugin.engines import EngineSettings, load
from plugin.engines.choice import spread_over_workers
from plugin.load.adapter import inspect_adapter
from plugin.load.model import inspect_model
from plugin.records import Message, Prompt

N_CASES, MAX_TOKENS, BATCH_SIZE, N_ROUNDS = 120, 32, 32, 5
AIM = 1.7


def seconds(engine: Any, prompts: list[Prompt]) -> tuple[float, dict[Any, tuple[int, ...]]]:
    """Generate; return the seconds and the tokens of every completion."""
    began = time.perf_counter()
    ended = [one for step in engine.generate(prompts) for one in step]
    return time.perf_counter() - began, {(c.case_id, c.variant): c.token_ids for c in ended}


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process so far; 0 without /proc."""
    path = Path(f"/proc/{pid}/stat")
    if not path.exists():
        return 0.0
    fields = path.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    if find_spec("ray") is None:
        print("ray is not installed: skipped")
        return
    adapters = {"adapter": inspect_adapter(FOLDER / "adapter")}
    model = inspect_model(FOLDER / "model")
    settings = EngineSettings(model, "demo", adapters, MAX_TOKENS, BATCH_SIZE, True)
    direct = load("mlx", settings)
    began = time.perf_counter()
    two = load(*spread_over_workers("mlx", settings, 2, ""))
    start_s = time.perf_counter() - began
    try:
        _compare(direct, two, start_s)
    finally:
        two.close()


def _compare(direct: Any, two: Any, start_s: float) -> None:
    questions = [f"Who plays number {i} in the show Silicon Valley?" for i in range(N_CASES)]
    prompts = [
        Prompt(str(i), variant, turns := (Message("user", question),), direct.encode(turns))
        for i, question in enumerate(questions)
        for variant in ("vanilla", "adapter")
    ]
    began = time.perf_counter()
    for prompt in prompts[:200]:
        two.encode(prompt.messages)
    encode_ms = (time.perf_counter() - began) / 200 * 1000
    workers = two._pool.workers
    pids = [place.pid for place in two.places()]
    rounds = []
    for number in range(N_ROUNDS + 1):
        alone_s, expected = seconds(direct, prompts)
        marks = [[cpu_s(pid) for pid in pids]]
        two._pool.workers = workers[:1]
        one_s, by_one = seconds(two, prompts)
        marks.append([cpu_s(pid) for pid in pids])
        two._pool.workers = workers
        two_s, by_two = seconds(two, prompts)
        marks.append([cpu_s(pid) for pid in pids])
        assert by_one == by_two == expected
        one_cpu_s, two_cpu_s = (
            max(now - then for then, now in zip(*pair, strict=True))
            for pair in (marks[:2], marks[1:])
        )
        if number:  # the first warms up
            rounds.append((alone_s, one_s, two_s, one_cpu_s, two_cpu_s))
    gains = [one_s / two_s for _, one_s, two_s, _, _ in rounds]
    costs_ms = [(one_s - alone_s) / len(prompts) * 1000 for alone_s, one_s, *_ in rounds]
    alone_s, one_s, two_s, one_cpu_s, two_cpu_s = map(median, zip(*rounds, strict=True))
    print(
        f"{len(prompts)} completions ({N_CASES} cases, base and adapter), {N_ROUNDS} rounds in "
        f"turn: the engine itself {alone_s:.2f} s, one worker {one_s:.2f} s, two workers "
        f"{two_s:.2f} s\ntwo workers / one = {median(gains):.2f} times as fast "
        f"({min(gains):.2f} to {max(gains):.2f}; aim >= {AIM}); CPU time of one "
        f"{one_cpu_s:.1f} s, of the busier of two {two_cpu_s:.1f} s\none worker costs "
        f"{median(costs_ms):+.1f} ms a completion against the engine itself "
        f"({min(costs_ms):+.1f} to {max(costs_ms):+.1f}), and a prompt's encoding "
        f"{encode_ms:.1f} ms; starting two workers takes {start_s:.1f} s"
    )


if __name__ == "__main__":
    main()
