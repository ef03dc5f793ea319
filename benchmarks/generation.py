"""Compare the speed of the mlx engine with mlx-lm's own `BatchGenerator`.

Both use the same model and token ids, and take turns. Aim: at least 0.95 of the library's speed.
"""

from __future__ import annotations

import time
from dataclasses import replace
from statistics import median
from typing import Any

from demo import FOLDER
from plugin.engines import EngineSettings, load
from plugin.load.model import inspect_model
from plugin.records import Message, Prompt

N_ALONE = 32
N_PROMPTS, MAX_TOKENS, BATCH_SIZE, N_ROUNDS = 128, 32, 32, 5
AIM = 0.95


def raw_s(engine: Any, prompts: list[Prompt]) -> tuple[float, int]:
    """Return seconds and tokens of the library's own loop."""
    from mlx_lm.generate import BatchGenerator

    began = time.perf_counter()
    batch = BatchGenerator(
        engine._model,
        stop_tokens=[[token] for token in engine._tokenizer.eos_token_ids],
        completion_batch_size=BATCH_SIZE,
        prefill_batch_size=8,
    )
    batch.insert([list(p.token_ids) for p in prompts], [MAX_TOKENS] * len(prompts))
    n_tokens = 0
    while events := batch.next_generated():
        n_tokens += sum(event.finish_reason != "stop" for event in events)
    batch.close()
    return time.perf_counter() - began, n_tokens


def own_s(engine: Any, prompts: list[Prompt]) -> tuple[float, int]:
    """Return seconds and tokens of the engine, including decoding to text."""
    began = time.perf_counter()
    ended = [done for step in engine.generate(prompts) for done in step]
    n_tokens = sum(len(completion.token_ids) for completion in ended)
    return time.perf_counter() - began, n_tokens


def main() -> None:
    settings = EngineSettings(
        inspect_model(FOLDER / "model"), "demo", {}, MAX_TOKENS, BATCH_SIZE, True
    )
    engine = load("mlx", settings)
    questions = [f"Who plays number {i} in the show Silicon Valley?" for i in range(N_PROMPTS)]
    prompts = [
        Prompt(str(i), "vanilla", turns := (Message("user", question),), engine.encode(turns))
        for i, question in enumerate(questions)
    ]
    raw_s(engine, prompts)
    ratios, speeds = [], []
    for _ in range(N_ROUNDS):
        (raw, n_raw), (own, n_own) = raw_s(engine, prompts), own_s(engine, prompts)
        assert n_raw == n_own, (n_raw, n_own)
        ratios.append(raw / own)
        speeds.append(n_own / own)
    print(
        f"{N_PROMPTS} prompts, up to {MAX_TOKENS} tokens, {N_ROUNDS} rounds in turn: "
        f"{median(speeds):.0f} tokens/s, engine / raw = {median(ratios):.3f} "
        f"({min(ratios):.3f} to {max(ratios):.3f}; aim >= {AIM})"
    )
    alone = load("mlx", replace(settings, batch_size=1))
    few = prompts[:N_ALONE]
    (one_s, _), (side_s, _) = own_s(alone, few), own_s(engine, few)
    print(f"{N_ALONE} prompts one at a time / {BATCH_SIZE} side by side = {one_s / side_s:.1f}")


if __name__ == "__main__":
    main()
