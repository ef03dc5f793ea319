"""Compare the time of a certificate with the time to generate completions of 500 cases.

It uses the base and one adapter, with completions of up to 32 tokens, on every installed engine.
Aim: at most 5%.
"""

from __future__ import annotations

import time

from demo import FOLDER
from plugin.engines import EngineSettings, load
from plugin.engines.choice import ready_engines
from plugin.load.adapter import inspect_adapter
from plugin.load.model import inspect_model
from plugin.records import Message, Prompt

N_CASES, MAX_TOKENS, BATCH_SIZE = 500, 32, 32
AIM = 0.05


def measure(name: str) -> str:
    adapters = {"adapter": inspect_adapter(FOLDER / "adapter")}
    model = inspect_model(FOLDER / "model")
    engine = load(name, EngineSettings(model, "demo", adapters, MAX_TOKENS, BATCH_SIZE, True))
    turns = [
        (Message("user", f"Who plays number {i} in the show Silicon Valley?"),)
        for i in range(N_CASES)
    ]
    prompts = [
        Prompt(str(i), variant, messages, engine.encode(messages))
        for variant in ("vanilla", "adapter")
        for i, messages in enumerate(turns)
    ]
    began = time.perf_counter()
    found = engine.certify("adapter", prompts[:N_CASES])
    certify_s = time.perf_counter() - began
    assert found.result == "certified", found
    began = time.perf_counter()
    n_tokens = sum(len(done.token_ids) for step in engine.generate(prompts) for done in step)
    generate_s = time.perf_counter() - began
    engine.close()
    return (
        f"{name}: certificate {certify_s:.2f} s, {n_tokens:,} tokens for {N_CASES} cases of base "
        f"and adapter {generate_s:.1f} s: ratio {certify_s / generate_s:.3f} (aim <= {AIM})"
    )


def main() -> None:
    for name in ready_engines("auto"):
        print(measure(name), flush=True)


if __name__ == "__main__":
    main()
