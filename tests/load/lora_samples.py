"""Small LoRA adapters for the demo model, in both formats, without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from demo import FOLDER

MODULES = {
    f"model.layers.{layer}.{name}": shape
    for layer in (1, 3)
    for name, shape in {
        "self_attn.q_proj": (192, 192),
        "self_attn.v_proj": (64, 192),
        "mlp.down_proj": (192, 512),
    }.items()
}
"""Module -> (n_out, n_in)."""


def peft_config(**changed: Any) -> dict[str, Any]:
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["q_proj", "v_proj", "down_proj"],
        "layers_to_transform": [1, 3],
        "bias": "none",
        "base_model_name_or_path": "someone/else",
        **changed,
    }


def peft_tensors(
    config: dict[str, Any], seed: int = 0, dora: bool = False
) -> dict[str, np.ndarray[Any, Any]]:
    """Random parts of every module in PEFT's names, with the ranks of the config's pattern."""
    rng = np.random.default_rng(seed)
    base = load_file(FOLDER / "model" / "model.safetensors")
    tensors = {}
    for module, (n_out, n_in) in MODULES.items():
        rank = next(
            (r for key, r in config.get("rank_pattern", {}).items() if module.endswith(key)),
            config["r"],
        )
        for letter, shape in (("A", (rank, n_in)), ("B", (n_out, rank))):
            values = rng.normal(0, 0.2, shape).astype(np.float32)
            tensors[f"base_model.model.{module}.lora_{letter}.weight"] = values
        if dora:
            norm = np.linalg.norm(base[f"{module}.weight"], axis=1)
            scaled = norm * rng.uniform(0.8, 1.2, n_out)
            tensors[f"base_model.model.{module}.lora_magnitude_vector"] = scaled.astype(np.float32)
    return tensors


def write_peft(
    folder: Path,
    config: dict[str, Any],
    tensors: dict[str, np.ndarray[Any, Any]] | None = None,
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    dora = bool(config.get("use_dora"))
    save_file(
        peft_tensors(config, dora=dora) if tensors is None else tensors,
        folder / "adapter_model.safetensors",
    )
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
