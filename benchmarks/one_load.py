"""Compare one run of base and three adapters with four runs of one variant each.

The times are wall times of whole processes, for 60 cases of up to 32 tokens. Aim: at most 0.6. The
output also shows which share of a single run is start-up (everything except generating), because
that is what one common run saves.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from demo import FOLDER

AIM = 0.6
MAIN = Path(__file__).resolve().parent.parent / "main.py"


def run_s(out: Path, *options: str) -> tuple[float, float]:
    """Return the wall seconds of the process, and how many of them it spent generating."""
    command = [
        *(sys.executable, str(MAIN), "run", "--model_name", str(FOLDER / "model")),
        *("--dataset_name", str(FOLDER / "cases.jsonl"), "--predefined_tasks", "Token F1"),
        *("--judge", "offline", "--max_tokens", "32", "--out", str(out), *options),
    ]
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    wall_s = time.perf_counter() - began
    seconds = json.loads((out / "summary.json").read_text())["provenance"]["seconds"]
    return wall_s, seconds["generate"]


def _change(config: Path, number: int) -> None:
    """Change the scale a little, because equal adapters would share their completions."""
    settings = json.loads(config.read_text())
    settings["lora_parameters"]["scale"] += number / 100
    config.write_text(json.dumps(settings))


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        adapters = [folder / f"adapter-{i}" for i in (1, 2, 3)]
        for adapter in adapters:
            shutil.copytree(FOLDER / "adapter", adapter)
            _change(adapter / "adapter_config.json", int(adapter.name[-1]))
        named = [word for adapter in adapters for word in ("--model_adapter", str(adapter))]
        together, _ = run_s(folder / "together", *named)
        alone, generating = run_s(folder / "base", "--variants", "vanilla only")
        apart, startup = alone, 1 - generating / alone
        for adapter in adapters:
            options = ("--variants", "adapter only", "--model_adapter", str(adapter))
            apart += run_s(folder / f"{adapter.name}-alone", *options)[0]
    print(
        f"base + 3 adapters in one run {together:.1f} s, in four runs {apart:.1f} s: "
        f"ratio {together / apart:.2f} (aim <= {AIM}); start-up is {startup:.0%} of a run of one"
    )


if __name__ == "__main__":
    main()
