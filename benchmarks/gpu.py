"""Measure the transformers engine on a CUDA device against the library's own `generate`.

Everything runs in one process on one model: the shape of a Llama with 1.5 billion weights (16
layers, 32 heads that share 8 keys, 128,256 tokens), random weights, bfloat16. The engine's speed is
the mean of two rounds. The library runs at several batch sizes, with its own cache, and with a
static cache and compiled steps; its best result counts. Speeds count the tokens up to the end of
each text. Random weights never end a text, so "mixed" calls one token in 96 an end, and its prompts
have 20 to 400 tokens.

Aims: engine / best of the library at least 1.0 on equal lengths and 1.5 on mixed ones; adapter /
base at least 0.8; device busy at least 80% of the time while 256 rows are decoded. The script ends
within 8 minutes, or the seconds that are given: what does not fit is left out and said. Words
name what is compared, such as `python -m benchmarks.gpu 200 mixed`: equal, short (answers), long
(prompts), mixed.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from demo import FOLDER
from plugin.engines import EngineSettings
from plugin.load.adapter import inspect_adapter
from plugin.load.model import inspect_model
from plugin.records import Completion, Message, Prompt

LIMIT_S = 460
SHAPE = {
    "vocab_size": 128_256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": False,
}
RANK = 16
N_ROWS_BUSY = 256
PLAIN = "generate"
COMPILED = "compiled, static cache"
TIGHT = "compiled, static cache, each batch as long as its longest,"
BEGAN_S = time.perf_counter()


def say(*words: object) -> None:
    print(f"[{time.perf_counter() - BEGAN_S:5.0f} s]", *words, flush=True)


def has_time(seconds: float) -> bool:
    limit_s = next((int(word) for word in sys.argv[1:] if word.isdigit()), LIMIT_S)
    return time.perf_counter() - BEGAN_S + seconds < limit_s


def build_model(shape: dict[str, Any]) -> Any:
    """Return a Llama with random weights on the device."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
            model = LlamaForCausalLM(LlamaConfig(**shape, eos_token_id=None, pad_token_id=0)).eval()
    finally:
        torch.set_default_dtype(usual)
    model.generation_config.eos_token_id = None
    return model


def write_adapter(folder: Path, model: Any) -> Path:
    """Write a LoRA adapter for all linear modules of the layers, as PEFT does."""
    import torch
    from safetensors.torch import save_file

    tensors, targets = {}, set()
    for name, module in model.named_modules():
        if ".layers." not in name or not isinstance(module, torch.nn.Linear):
            continue
        targets.add(name.rpartition(".")[2])
        a = torch.randn(RANK, module.in_features) / module.in_features**0.5
        b = torch.randn(module.out_features, RANK) * 0.01
        for part, tensor in (("A", a), ("B", b)):
            tensors[f"base_model.model.{name}.lora_{part}.weight"] = tensor
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": 2 * RANK,
        "target_modules": sorted(targets),
        "base_model_name_or_path": "",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


def build_engine(model: Any, shape: dict[str, Any], adapter: Path, n_new: int) -> Any:
    """Return the engine around a model that is there already, at its default batch."""
    from transformers import AutoTokenizer

    from plugin.engines.transformers import TransformersEngine

    config = {"model_type": "llama", **shape}
    folder = replace(inspect_model(FOLDER / "model"), config=config, tokenizer_context=None)
    settings = EngineSettings(
        model=folder,
        model_name="random",
        adapters={"tuned": inspect_adapter(adapter)},
        max_tokens=n_new,
        batch_size=64,
        chat_template=True,
        fits_memory=True,
    )
    return TransformersEngine(model, AutoTokenizer.from_pretrained(FOLDER / "model"), settings)


def made_prompts(lengths: Iterable[int], variant: str = "vanilla") -> list[Prompt]:
    rng = np.random.default_rng(1)
    return [
        Prompt(
            str(i), variant, (Message("user", "x"),), tuple(rng.integers(3, 120_000, n).tolist())
        )
        for i, n in enumerate(lengths)
    ]


def timed(work: Callable[[], int]) -> float:
    """Return tokens per second."""
    import torch

    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.synchronize()
    began = time.perf_counter()
    n_tokens = work()
    torch.cuda.synchronize()
    return n_tokens / (time.perf_counter() - began)


def own_speed(engine: Any, prompts: Sequence[Prompt], ends: set[int], n_new: int) -> float:
    """Return the engine's tokens per second, all of its own work counted in."""
    engine._eos_ids = ends
    engine._settings = replace(engine._settings, max_tokens=n_new)
    engine._decoder._settings = engine._settings

    def work() -> int:
        made = [one for step in engine.generate(prompts) for one in step]
        assert all(isinstance(one, Completion) for one in made), made[0]
        return sum(len(one.token_ids) for one in made)

    return timed(work)


def raw_speed(
    model: Any, prompts: Sequence[Prompt], ends: set[int], n_new: int, n_rows: int, how: str
) -> float:
    """Return the library's tokens per second, longest prompts first.

    A compiled step needs one shape: all prompts are padded to the longest, or those of each batch
    to its longest, which compiles a step for every batch.
    """
    import torch

    ordered = sorted((p.token_ids for p in prompts), key=len, reverse=True)
    more: dict[str, Any] = {} if how == PLAIN else {"cache_implementation": "static"}
    if ends:
        more["eos_token_id"] = sorted(ends)

    def work() -> int:
        n_tokens = 0
        for start in range(0, len(ordered), n_rows):
            batch = ordered[start : start + n_rows]
            width = len((ordered if how == COMPILED else batch)[0])
            ids = torch.tensor([[0] * (width - len(one)) + list(one) for one in batch])
            seen = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in batch])
            out = model.generate(
                ids.to(model.device),
                attention_mask=seen.to(model.device),
                do_sample=False,
                max_new_tokens=n_new,
                pad_token_id=0,
                **more,
            )[:, width:].cpu()
            ended = torch.isin(out, torch.tensor(sorted(ends), dtype=out.dtype))
            first = torch.where(ended.any(1), ended.int().argmax(1), out.shape[1])
            n_tokens += int(first.sum())
        return n_tokens

    return timed(work)


def best_raw(
    model: Any, name: str, prompts: Sequence[Prompt], ends: set[int], n_new: int, modes: Sequence
) -> float:
    """Return the library's best speed over (rows, how); modes with no time left are said.

    A compiled mode that is the best so far gets a second round, and its better one counts.
    """
    found: dict[str, float] = {}
    for n_rows, how in modes:
        mode = f"{how} at {n_rows}"
        if not has_time(60):
            say(f"{name}: {mode}: left out, no time")
            continue
        part = prompts if ends else prompts[:n_rows]
        try:
            if how != PLAIN:  # compiles
                raw_speed(
                    model, part if how == TIGHT else prompts[:n_rows], ends, n_new, n_rows, how
                )
            rounds = [raw_speed(model, part, ends, n_new, n_rows, how)]
            if how != PLAIN and rounds[0] >= max(found.values(), default=0) and has_time(30):
                rounds.append(raw_speed(model, part, ends, n_new, n_rows, how))
        except Exception as error:  # a mode that this version lacks is no result
            say(f"{name}: {mode}: {type(error).__name__} {str(error)[:200]}")
            continue
        found[mode] = max(rounds)
        say(f"{name}: {mode}: {', '.join(f'{one:,.0f}' for one in rounds)} tokens/s")
    if not found:
        return float("nan")
    best = max(found, key=lambda mode: found[mode])
    say(f"{name}: the library's best is {best}")
    return found[best]


def device_busy(engine: Any, n_rows: int) -> tuple[float, float, list[str]]:
    """Return the share of time with a kernel running, tokens per second, the longest kernels."""
    import torch

    from plugin.engines._torch_decode import _SlotRows

    prompts = made_prompts([134] * n_rows)
    settings = replace(engine._settings, max_tokens=200)
    decoder = engine._decoder
    rows = _SlotRows(decoder._new_slots(n_rows, prompts), set(), settings)
    with torch.inference_mode():
        rows.refill(deque(prompts))
        for _ in range(2):
            rows.step()  # records a step; the positions up to 256 need no other
        kinds = [torch.profiler.ProfilerActivity.CUDA]
        torch.cuda.synchronize()
        with torch.profiler.profile(activities=kinds) as profile:
            began = time.perf_counter()
            for _ in range(2):
                rows.step()
            torch.cuda.synchronize()
            wall_s = time.perf_counter() - began
        bare_began = time.perf_counter()
        for _ in range(2):
            rows.step()
        torch.cuda.synchronize()
        bare_s = (time.perf_counter() - bare_began) / 2
    kernels = [e for e in profile.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    busy_s = sum(e.time_range.elapsed_us() for e in kernels) / 1e6
    by_name: dict[str, float] = {}
    for e in kernels:
        by_name[e.name] = by_name.get(e.name, 0) + e.time_range.elapsed_us() / 1e6
    longest = sorted(by_name, key=lambda name: -by_name[name])[:12]
    lines = [f"{by_name[name] / busy_s:6.1%} {name[:110]}" for name in longest]
    n = len(kernels) // 32
    say(f"32 steps: {wall_s:.3f} s profiled, {2 * bare_s:.3f} s not; {n} kernels a step")
    return min(1.0, busy_s / (2 * bare_s)), 16 * n_rows / bare_s, lines


class Workload(NamedTuple):
    """Say what engine and library complete.

    Attributes:
        name: its name.
        prompts: what is completed.
        ends: the tokens that end a text.
        n_new: largest number of new tokens.
        modes: the ways of the library to try, (rows, how).
        aim: what the engine wants to reach, in words.
    """

    name: str
    prompts: list[Prompt]
    ends: set[int]
    n_new: int
    modes: tuple[tuple[int, str], ...]
    aim: str = ""


def make_workloads() -> list[Workload]:
    """Return what is compared with the library: all of it, or what the command line names."""
    rng = np.random.default_rng(2)
    some_ends = set(np.flatnonzero(rng.random(SHAPE["vocab_size"]) < 1 / 96).tolist())
    equal = made_prompts([134] * 512)
    mixed = made_prompts(np.exp(rng.uniform(np.log(20), np.log(400), 1024)).astype(int).tolist())
    long = made_prompts([2000] * 64)
    modes = ((512, PLAIN), (512, COMPILED), (256, PLAIN), (256, COMPILED))
    tight = ((512, TIGHT), (512, COMPILED), (512, PLAIN))
    every = [
        Workload("equal", equal, set(), 256, modes, "aim >= 1.00"),
        Workload("short", equal, set(), 32, modes[:2]),
        Workload("long", long, set(), 128, ((64, PLAIN), (64, COMPILED))),
        Workload("mixed", mixed, some_ends, 256, tight, "aim >= 1.50"),
    ]
    asked = {word for word in sys.argv[1:] if not word.isdigit()}
    return [one for one in every if not asked or one.name in asked]


def engine_speeds(engine: Any, works: Sequence[Workload]) -> dict[str, float]:
    """Return the engine's mean speed of two rounds in each workload."""
    found = {}
    for one in works:
        cold = own_speed(engine, one.prompts, one.ends, one.n_new)
        rounds = [own_speed(engine, one.prompts, one.ends, one.n_new) for _ in range(2)]
        found[one.name] = sum(rounds) / 2
        told = ", ".join(f"{speed:,.0f}" for speed in rounds)
        say(f"{one.name}: engine {told} tokens/s, {cold:,.0f} at first; {engine.decoding}")
    return found


def measure_engine(engine: Any, equal: Workload, base: float, add: Callable[..., None]) -> None:
    """Measure how busy the device is, what an adapter costs, and what little memory does."""
    import torch

    busy, speed, lines = device_busy(engine, N_ROWS_BUSY)
    add(f"device busy, {N_ROWS_BUSY} rows", busy, "aim >= 0.80")
    say(f"{speed:,.0f} tokens/s while decoding; kernels:\n" + "\n".join(lines))
    found = engine.certify("tuned", equal.prompts[:8])
    say("certificate:", found.result, "|", found.path, "|", found.batch, "|", found.base_proof)
    own = [replace(prompt, variant="tuned") for prompt in equal.prompts]
    tuned = own_speed(engine, own, set(), equal.n_new)
    add("adapter / base, equal", tuned / base, "aim >= 0.80")
    sides = [replace(p, variant=v) for p in equal.prompts[:256] for v in ("vanilla", "tuned")]
    add("both in one call / base", own_speed(engine, sides, set(), equal.n_new) / base)
    engine._switch._take_off()
    free = torch.cuda.mem_get_info()[0]
    held = torch.empty(max(0, free - (4 << 30)), dtype=torch.uint8, device="cuda")
    few = own_speed(engine, equal.prompts, set(), 64)
    del held
    say(f"with 4 GiB free: {few:,.0f} tokens/s; {engine.decoding}")


def main() -> None:
    if find_spec("torch") is None:
        print("torch is not installed: skipped")
        return
    import torch

    if not torch.cuda.is_available():
        print("there is no CUDA device: skipped")
        return
    say(torch.cuda.get_device_name(), "torch", torch.__version__)
    model, works = build_model(SHAPE), make_workloads()
    rows: list[tuple[str, str, str]] = []

    def add(name: str, value: float, aim: str = "") -> None:
        rows.append((name, f"{value:.2f}", aim))
        say(f"== {name}: {value:.3f} {aim}")

    with TemporaryDirectory() as folder:
        adapter = write_adapter(Path(folder), model)
        engine = build_engine(model, SHAPE, adapter, 256)
        own = engine_speeds(engine, works)
        if works[0].name == "equal":
            measure_engine(engine, works[0], own["equal"], add)
        del engine
    model.set_attn_implementation("sdpa")
    for one in works:
        raw = best_raw(model, one.name, one.prompts, one.ends, one.n_new, one.modes)
        add(f"engine / library, {one.name}", own[one.name] / raw, one.aim)
    width = max(len(name) for name, _, _ in rows)
    print("\n".join(f"{name:<{width}}  {value:>6}  {aim}" for name, value, aim in rows))


if __name__ == "__main__":
    main()
