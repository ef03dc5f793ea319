"""Compare the speed of the transformers engine with the library's own `model.generate`.

Both use the same model and prompts, decode greedily, and take turns. The library runs with several
batch sizes, also sorted by length, and its best result counts; the engine uses its default. Aim: at
least 0.95 of the library's speed.

This needs torch (requirements-torch.txt).
"""

from __future__ import annotations

import time
from dataclasses import replace
from importlib.util import find_spec
from statistics import median
from typing import Any

from demo import FOLDER
from plugin.engines import EngineSettings, load
from plugin.load.model import inspect_model
from plugin.records import Message, Prompt

N_ALONE = 32
N_PROMPTS, MAX_TOKENS, BATCH_SIZE, N_ROUNDS = 128, 32, 64, 5
RAW_BATCH_SIZES = (8, 16, 32, 64, 128)
AIM = 0.95


def raw_s(engine: Any, prompts: list[Prompt], batch_size: int) -> tuple[float, int]:
    """Return seconds and tokens of the library's own loop, including decoding to text."""
    import torch

    began, n_tokens = time.perf_counter(), 0
    ordered = sorted((p.token_ids for p in prompts), key=len, reverse=True)
    for start in range(0, len(ordered), batch_size):
        batch = ordered[start : start + batch_size]
        width = max(map(len, batch))
        ids = torch.tensor([[0] * (width - len(one)) + list(one) for one in batch])
        seen = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in batch])
        out = engine._model.generate(
            ids.to(engine._model.device),
            attention_mask=seen.to(engine._model.device),
            do_sample=False,
            max_new_tokens=MAX_TOKENS,
            pad_token_id=0,
        )[:, width:].tolist()
        for row in out:
            ends = [i for i, token in enumerate(row) if token in engine._eos_ids]
            n_tokens += ends[0] if ends else len(row)
            engine._tokenizer.decode(row, skip_special_tokens=True)
    return time.perf_counter() - began, n_tokens


def own_s(engine: Any, prompts: list[Prompt]) -> tuple[float, int]:
    """Return seconds and tokens of the engine, including decoding to text."""
    began = time.perf_counter()
    ended = [done for step in engine.generate(prompts) for done in step]
    n_tokens = sum(len(completion.token_ids) for completion in ended)
    return time.perf_counter() - began, n_tokens


def main() -> None:
    if find_spec("torch") is None:
        print("torch is not installed: skipped")
        return
    settings = EngineSettings(
        inspect_model(FOLDER / "model"), "demo", {}, MAX_TOKENS, BATCH_SIZE, True
    )
    engine = load("transformers", settings)
    questions = [f"Who plays number {i} in the show Silicon Valley?" for i in range(N_PROMPTS)]
    prompts = [
        Prompt(str(i), "vanilla", turns := (Message("user", question),), engine.encode(turns))
        for i, question in enumerate(questions)
    ]
    tried = {size: min(raw_s(engine, prompts, size)[0] for _ in "12") for size in RAW_BATCH_SIZES}
    best = min(tried, key=lambda size: tried[size])
    ratios, speeds = [], []
    for _ in range(N_ROUNDS):
        (raw, n_raw), (own, n_own) = raw_s(engine, prompts, best), own_s(engine, prompts)
        assert n_raw == n_own, (n_raw, n_own)
        ratios.append(raw / own)
        speeds.append(n_own / own)
    print(
        f"{N_PROMPTS} prompts, up to {MAX_TOKENS} tokens, {N_ROUNDS} rounds in turn: "
        f"{median(speeds):.0f} tokens/s, engine / raw at its best batch size ({best}) = "
        f"{median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}; aim >= {AIM})"
    )
    alone = load("transformers", replace(settings, batch_size=1))
    few = prompts[:N_ALONE]
    (one_s, _), (side_s, _) = own_s(alone, few), own_s(engine, few)
    print(f"{N_ALONE} prompts one at a time / {BATCH_SIZE} side by side = {one_s / side_s:.1f}")


if __name__ == "__main__":
    main()
