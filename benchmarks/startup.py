"""Time from the start of the program to the first generated token, and to a finished report.

The peer loads the same model with plain mlx-lm and generates one token. A new process each, the
best of three. Aims: the first token of `run` in 3 s, which mostly are imports; the peer's own
imports are the greater part of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from demo import FOLDER

AIM_S, N_TRIES = 3.0, 3

_OURS = """
import os, sys, time
from plugin import cli
from plugin.journal import Journal

add = Journal.add_answer
def first(*a, **k):
    if not add.__dict__:
        add.first = time.time()
    return add(*a, **k)
Journal.add_answer = first
code = cli.start(sys.argv[1:])
print("FIRST", add.__dict__.get("first", 0.0))
"""

_PEER = """
import sys, time
from mlx_lm import load, stream_generate
model, tokenizer = load(sys.argv[1])
turns = [{"role": "user", "content": "Who?"}]
prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True)
next(stream_generate(model, tokenizer, prompt, max_tokens=4))
print("FIRST", time.time())
"""


def first_token_s(code: str, *words: str) -> tuple[float, float]:
    """Return the seconds until the first completion or token, and until the end."""
    began = time.time()
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    ended = time.time()
    return float(done.stdout.rpartition("FIRST")[2]) - began, ended - began


def main() -> None:
    model = ["--model_name", str(FOLDER / "model"), "--model_adapter", str(FOLDER / "adapter")]
    given = [*model, "--dataset_name", str(FOLDER / "cases.jsonl"), "--limit", "0.1"]
    ours, peers, whole, reports = [], [], [], []
    for _ in range(N_TRIES):
        with tempfile.TemporaryDirectory() as name:
            out = str(Path(name) / "run")
            words = ["run", *given, "--predefined_tasks", "Token F1", "--out", out]
            first, end = first_token_s(_OURS, *words)
            ours.append(first)
            whole.append(end)
            peers.append(first_token_s(_PEER, str(FOLDER / "model"))[0])
            reports.append(first_token_s(_OURS, "report", out)[1])
    print(
        f"run: first completion after {min(ours):.1f} s (aim <= {AIM_S:.0f}), mlx-lm's own first "
        f"token after {min(peers):.1f} s (ratio {min(ours) / min(peers):.2f}); a whole run of six "
        f"cases {min(whole):.1f} s; report {min(reports):.1f} s"
    )


if __name__ == "__main__":
    main()
