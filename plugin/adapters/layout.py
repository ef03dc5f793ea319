"""What is in an adapter's folder: its kind, its settings, its tensors' shapes, its digest.

MLX and PEFT adapters share the name of their config file and differ in its contents, so they are
told apart by their weights file. A trainer's folder may hold checkpoints and a fused model beside
the adapter; those are left alone, and where only checkpoints are there, the last one counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from plugin.adapters._tensors import shapes
from plugin.adapters.peft_config import is_rank, is_scale, parse
from plugin.errors import AdapterError
from plugin.weights import file_digest, json_object

_WEIGHTS: dict[str, Literal["mlx", "peft"]] = {
    "adapters.safetensors": "mlx",
    "adapter_model.safetensors": "peft",
}
_MLX_METHODS = ("lora", "dora", "full")
_FUSED = "fused_model"
_PICKLES = ("*.npz", "*.bin", "*.pt", "*.pth", "*.pkl")


@dataclass(frozen=True, slots=True)
class AdapterFolder:
    """An adapter as it lies on disk.

    Attributes:
        path: the directory, as it was given.
        root: where its files lie: the directory, or the last checkpoint in it.
        kind: whose format it is in.
        config: the parsed adapter_config.json.
        shapes: tensor name -> shape, read from the file's header alone.
        digest: of weights and config, 64 hex digits.
        unused: of a converted one, the original's tensors that are no part of any module.
    """

    path: Path
    root: Path
    kind: Literal["mlx", "peft"]
    config: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    digest: str
    unused: tuple[str, ...] = ()

    @property
    def weights_path(self) -> Path:
        """The safetensors file."""
        return next(self.root / name for name, kind in _WEIGHTS.items() if kind == self.kind)

    @property
    def method(self) -> str:
        """How it was trained: "lora", "dora", "full", or another that PEFT knows."""
        if self.kind == "mlx":
            return str(self.config.get("fine_tune_type", "lora"))
        if self.config.get("use_dora"):
            return "dora"
        return str(self.config.get("peft_type")).lower()

    @property
    def traits(self) -> str:
        """What it is in a few words, e.g. "PEFT lora, rank 8, alpha 16, rsLoRA"."""
        words = [f"{self.kind.upper()} {self.method}"]
        if self.kind == "mlx":
            lora = self.config.get("lora_parameters") or {}
            words += [f"{name} {lora[name]}" for name in ("rank", "scale") if name in lora]
        else:
            names = {"r": "rank", "lora_alpha": "alpha"}
            words += [f"{names[key]} {self.config[key]}" for key in names if key in self.config]
            words += ["rsLoRA"] if self.config.get("use_rslora") else []
            words += [
                f"{key.replace('_', ' ')} {value}"
                for key in ("rank_pattern", "alpha_pattern", "modules_to_save")
                if (value := self.config.get(key))
            ]
        if self.root != self.path:
            words.append(f"from {self.root.name}")
        return ", ".join(words)


def inspect_adapter(path: Path) -> AdapterFolder:
    """Check an adapter's directory and read what it declares.

    Raises:
        AdapterError: when it is missing, empty, only pickled, or broken.
    """
    if not path.is_dir():
        raise AdapterError(f"{path}: no such adapter directory; check --model_adapter")
    root = path if _kinds(path) else _last_checkpoint(path) or path
    kinds = _kinds(root)
    if len(kinds) != 1:
        raise AdapterError(f"{path}: {_not_one(path, list(kinds))}")
    ((name, kind),) = kinds.items()
    config_path = root / "adapter_config.json"
    if not config_path.is_file():
        raise AdapterError(
            f"{root} has {name} but no adapter_config.json, which says rank, scale and layers; "
            "copy it from the training's output"
        )
    config = json_object(config_path, AdapterError)
    _check_config(root, kind, config)
    return AdapterFolder(
        path=path,
        root=root,
        kind=kind,
        config=config,
        shapes=shapes(root / name),
        digest=file_digest([root / name, config_path]),
    )


def _kinds(folder: Path) -> dict[str, Literal["mlx", "peft"]]:
    return {name: kind for name, kind in _WEIGHTS.items() if (folder / name).is_file()}


def _last_checkpoint(folder: Path) -> Path | None:
    """The trainer's checkpoint with the highest step; None when none holds an adapter."""
    steps = {
        int(found[1]): entry
        for entry in folder.glob("checkpoint-*")
        if (found := re.fullmatch(r"checkpoint-(\d+)", entry.name)) and _kinds(entry)
    }
    return steps[max(steps)] if steps else None


def _check_config(folder: Path, kind: str, config: dict[str, Any]) -> None:
    """The configuration must be of the weights' own kind, and hold values that can be."""
    if kind == "mlx":
        if "peft_type" in config:
            raise AdapterError(
                f"{folder}: adapters.safetensors is MLX's, but adapter_config.json is PEFT's (it "
                "has peft_type); copy both from one training's output"
            )
        if wrong := _wrong_in_mlx(config):
            raise AdapterError(
                f"{folder}/adapter_config.json: {'; '.join(wrong)}. Copy it again from the "
                "training's output"
            )
        return
    if "peft_type" not in config:
        raise AdapterError(
            f"{folder}: adapter_model.safetensors is PEFT's, but adapter_config.json is not (it "
            "has no peft_type); copy both from one training's output"
        )
    try:
        parse(config)
    except ValueError as error:
        raise AdapterError(f"{folder}/adapter_config.json: {error}") from error


def _wrong_in_mlx(config: Mapping[str, Any]) -> list[str]:
    """What cannot be in MLX's configuration; empty for a good one."""
    method = config.get("fine_tune_type", "lora")
    if method not in _MLX_METHODS:
        return [f"fine_tune_type {method!r} is none of {', '.join(_MLX_METHODS)}"]
    if method == "full":
        return []
    settings = config.get("lora_parameters")
    if not isinstance(settings, dict):
        return [f"lora_parameters {settings!r} must be an object with rank and scale"]
    keys, n_layers = settings.get("keys"), config.get("num_layers", -1)
    found = [
        f"{name} is missing" if settings.get(name) is None else f"{name} {settings[name]!r} {rule}"
        for name, rule, holds in (
            ("rank", "is no rank; it must be 1 or more", is_rank),
            ("scale", "is no finite number", is_scale),
        )
        if not holds(settings.get(name))
    ]
    if keys is not None and not (
        isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    ):
        found.append(f"keys {keys!r} must be a list of names")
    if type(n_layers) is not int:
        found.append(f"num_layers {n_layers!r} must be a number of layers")
    return found


def _not_one(path: Path, found: list[str]) -> str:
    if found:
        return f"holds {' and '.join(found)}; an adapter folder has one of them"
    names = " or ".join(_WEIGHTS)
    pickles = sorted(file.name for end in _PICKLES for file in path.glob(end))
    if pickles:
        return (
            f"weights only as pickle or npz ({', '.join(pickles)}), which is refused because "
            f"reading it can run code; save the adapter as {names}"
        )
    inside = sorted(entry.name for entry in path.iterdir())
    listing = f"holds {', '.join(inside[:8])}" if inside else "is empty"
    fused = "; fused_model is a whole model: give it as --tuned_model" if _FUSED in inside else ""
    return f"no adapter in it: the folder {listing}; it must hold {names}{fused}"
