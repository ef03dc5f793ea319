"""The demo's adapter, and adapters made from it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from demo import FOLDER

Tensors = dict[str, "np.ndarray[Any, Any]"]

ONE_MODULE = "model.layers.3.mlp.down_proj"


def spoiled(folder: Path, spoil: Callable[[Tensors], Tensors]) -> Path:
    """Copy the demo's adapter and change its tensors."""
    shutil.copytree(FOLDER / "adapter", folder)
    file = folder / "adapters.safetensors"
    save_file(spoil(load_file(file)), file)
    return folder


def times(folder: Path, factor: float) -> Path:
    """Copy the demo's adapter with B multiplied by a factor."""
    return spoiled(
        folder,
        lambda tensors: {
            name: value * np.float32(factor if name.endswith("lora_b") else 1)
            for name, value in tensors.items()
        },
    )


def one_module(folder: Path) -> Path:
    """Copy a single module of the demo's adapter."""
    spoiled(folder, lambda held: {k: v for k, v in held.items() if k.startswith(ONE_MODULE)})
    file = folder / "adapter_config.json"
    config = json.loads(file.read_text())
    config["lora_parameters"]["keys"] = ["mlp.down_proj"]
    file.write_text(json.dumps({**config, "num_layers": 1}))
    return folder
