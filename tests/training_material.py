"""A real tiny training: mlx-lm's own command trains a LoRA on the demo model, in some seconds.

Six facts and far too many steps, so it overfits: the training loss goes to zero, while the
validation loss falls, turns round and rises. Import the fixture `trained` to use it; one training
serves all tests of a session, also on several workers.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from tests.conftest import ROOT

N_TRAIN, N_VALID, EVERY, N_STEPS = 6, 4, 5, 40


@dataclass(frozen=True)
class Trained:
    """What the training left.

    Attributes:
        adapter: the folder that mlx-lm wrote: adapter_config.json, adapters.safetensors (the last
            step's), 0000005_adapters.safetensors and so on, and the text log train.log.
        checkpoints: the same checkpoints as folders for --model_adapter, by step: checkpoints/
            checkpoint-5/adapters.safetensors with its adapter_config.json, and so on.
        log: what `mlx_lm.lora` printed.
        train_losses: by step, read from the log.
        valid_losses: the same for the validation set.
    """

    adapter: Path
    checkpoints: Mapping[int, Path]
    log: Path
    train_losses: Mapping[int, float]
    valid_losses: Mapping[int, float]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The training; tests that change a file copy the folder first."""
    base = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        base = base.parent
    folder = base / "trained"
    with FileLock(base / "trained.lock"):
        if not folder.exists():
            train(base / "training")
            (base / "training").rename(folder)
    return material(folder)


def train(folder: Path) -> None:
    """Run `mlx_lm.lora` on the first facts of the demo, and give each checkpoint its folder."""
    rows = (ROOT / "demo/train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "data").mkdir(parents=True)
    (folder / "data/train.jsonl").write_text("".join(rows[:N_TRAIN]), encoding="utf-8")
    (folder / "data/valid.jsonl").write_text("".join(rows[-N_VALID:]), encoding="utf-8")
    config = "mask_prompt: true\nlora_parameters: {rank: 8, scale: 4.0, dropout: 0.0}\n"
    (folder / "lora.yaml").write_text(config, encoding="utf-8")
    adapter = folder / "adapter"
    adapter.mkdir()
    command = [
        *(sys.executable, "-m", "mlx_lm", "lora", "--train", "-c", "lora.yaml"),
        *("--model", str(ROOT / "demo/model"), "--data", "data", "--adapter-path", "adapter"),
        *("--num-layers", "2", "--batch-size", "2", "--iters", str(N_STEPS), "--seed", "1"),
        *("--learning-rate", "5e-4", "--max-seq-length", "64", "--val-batches", "-1"),
        *("--steps-per-report", str(EVERY), "--steps-per-eval", str(EVERY)),
        *("--save-every", str(EVERY)),
    ]
    with (adapter / "train.log").open("w", encoding="utf-8") as log:
        streams = {"stdout": log, "stderr": subprocess.STDOUT}
        subprocess.run(command, cwd=folder, check=True, timeout=300, **streams)  # type: ignore[call-overload]
    for weights in adapter.glob("*_adapters.safetensors"):
        own = folder / "checkpoints" / f"checkpoint-{int(weights.name[:7])}"
        own.mkdir(parents=True)
        shutil.copy(weights, own / "adapters.safetensors")
        shutil.copy(adapter / "adapter_config.json", own)


def material(folder: Path) -> Trained:
    """What a training in this folder left."""
    log = folder / "adapter/train.log"
    plain = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text(encoding="utf-8"))
    train_rows = re.findall(r"^ +(\d+) +(\d+\.\d+) [▼▲]", plain, re.MULTILINE)
    valid_rows = re.findall(r"^ +(\d+) +val (\d+\.\d+) ", plain, re.MULTILINE)
    places = {int(path.name.split("-")[1]): path for path in folder.glob("checkpoints/*")}
    return Trained(
        adapter=folder / "adapter",
        checkpoints=dict(sorted(places.items())),
        log=log,
        train_losses={int(step): float(loss) for step, loss in train_rows},
        valid_losses={int(step): float(loss) for step, loss in valid_rows},
    )
