"""Measure what an adapter adds to the weights; make one of random numbers, or one at another scale.

The random adapter is a reference for "how much effect is a lot": it has the same modules, ranks and
alpha, and adds a matrix of the same Frobenius norm to every module, but in a direction that no
training chose. A scaled adapter shows what the same training does at another strength. Both need
plain LoRA, where the change of a module is the product s B A alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from plugin.load.adapter import (
    AdapterFolder,
    inspect_adapter,
    parse_peft_config,
    weights_name,
)
from plugin.load.tensors import RawTensor, read_tensors, write_tensors

_SEED = 19
"""Seed of the random adapter, so that a certificate is the same every time."""

_OTHER_PARTS = {
    "modules_to_save": "it replaces whole modules",
    "trainable_token_indices": "it replaces tokens of the embedding",
    "target_parameters": "it adapts parameters of experts",
    "lora_bias": "it has biases of its own",
}
"""Setting of PEFT -> what it means, where s B A is not all that an adapter changes."""

Floats = np.ndarray[Any, np.dtype[np.float64]]


class LoraPart(NamedTuple):
    """One module's A and B in the file.

    Attributes:
        names: the names of A and B.
        scale: the factor of B A.
        is_turned: whether the file holds the transposes, A as (n_in, rank) and B as (rank, n_out).
    """

    names: tuple[str, str]
    scale: float
    is_turned: bool

    def square(self, a: Floats, b: Floats) -> float | None:
        """Return the squared Frobenius norm of s B A; None if the two do not belong together.

        The formula is |B A|^2 = trace((A A') (B' B)), which never builds the full matrix.
        """
        if a.ndim != 2 or b.ndim != 2:
            return None
        if self.is_turned:
            a, b = a.T, b.T
        if a.shape[0] != b.shape[1]:
            return None
        with np.errstate(all="ignore"):  # broken numbers give NaN
            return self.scale**2 * max(float(np.vdot(a @ a.T, b.T @ b)), 0.0)


def lora_obstacle(adapter: AdapterFolder) -> str:
    """Return why this adapter is not plain LoRA, in words; "" if it is."""
    if adapter.method == "dora":
        return "DoRA also learned magnitudes"
    if adapter.method == "full":
        return "it replaces whole modules"
    if adapter.kind == "peft":
        for key, words in _OTHER_PARTS.items():
            if adapter.config.get(key):
                return words
    if any(len(adapter.shapes[name]) != 2 for part in _parts(adapter) for name in part.names):
        return "it adapts experts"
    return ""


def weight_norm(adapter: AdapterFolder) -> float | None:
    """Return the Frobenius norm of scale * B A over all modules.

    None when the norm does not show the effect: the adapter has no A and B, or they are zero and
    it also holds other tensors (whole modules, DoRA magnitudes).
    """
    tensors = read_tensors(adapter.weights_path)
    parts = list(_parts(adapter))
    squares = [part.square(*(_values(tensors[name]) for name in part.names)) for part in parts]
    found = [one for one in squares if one is not None]
    total = sum(found)
    has_others = 2 * len(parts) < len(tensors)
    if len(found) < len(squares) or not found or (total <= 0 and has_others):
        return None
    return math.sqrt(total)


def random_adapter(adapter: AdapterFolder, into: Path) -> AdapterFolder | None:
    """Write a random adapter of the same shapes, and of the same norm in every module.

    Args:
        adapter: plain LoRA, see `lora_obstacle`.
        into: an empty folder for it; keep it as long as the adapter is used.

    Returns:
        The adapter, which bears the given one's path in messages; None if there is nothing to
        compare with: the given one adds nothing, or its numbers are broken.
    """
    tensors, random = read_tensors(adapter.weights_path), np.random.default_rng(_SEED)
    has_any = False
    for part in _parts(adapter):
        own = [_values(tensors[name]) for name in part.names]
        drawn: list[Floats] = [
            np.asarray(random.standard_normal(one.shape, np.float32), np.float64) for one in own
        ]
        wanted, reached = part.square(*own), part.square(*drawn)
        if wanted is None or not math.isfinite(wanted):
            return None
        factor = math.sqrt(wanted / reached) if reached else 0.0
        # A gets the size of the given A, so that both stay within the range of their precision.
        size = float(np.linalg.norm(own[0]) / np.linalg.norm(drawn[0])) or 1.0
        for name, values, by in zip(part.names, drawn, (size, factor / size), strict=True):
            tensors[name] = _raw(values * by, tensors[name].dtype)
        has_any = has_any or wanted > 0
    if not has_any:
        return None
    write_tensors(into / weights_name(adapter.kind), tensors)
    (into / "adapter_config.json").write_text(json.dumps(adapter.config), encoding="utf-8")
    return replace(inspect_adapter(into), path=adapter.path, chat=adapter.chat)


def scaled_adapter(adapter: AdapterFolder, factor: float) -> AdapterFolder:
    """Return a plain LoRA adapter with its scale, and thus its change of the weights, multiplied.

    It reads the same file; only the settings differ.
    """
    config = dict(adapter.config)
    if adapter.kind == "mlx":
        settings = config["lora_parameters"]
        config["lora_parameters"] = {**settings, "scale": settings["scale"] * factor}
        return replace(adapter, config=config)
    config["lora_alpha"] = config["lora_alpha"] * factor
    if pattern := config.get("alpha_pattern"):
        config["alpha_pattern"] = {key: alpha * factor for key, alpha in pattern.items()}
    return replace(adapter, config=config)


def _parts(adapter: AdapterFolder) -> Iterator[LoraPart]:
    """Yield the modules of which the file has both A and B."""
    for name in adapter.shapes:
        partner, scale = _find_partner(adapter, name)
        if partner in adapter.shapes:
            is_turned = adapter.kind == "mlx" or ".lora_embedding_A" in name
            yield LoraPart((name, partner), scale, is_turned)


def _find_partner(adapter: AdapterFolder, name: str) -> tuple[str, float]:
    """Return the name of the B that belongs to an A ("" for any other tensor), and the scale."""
    if adapter.kind == "mlx":
        settings = adapter.config.get("lora_parameters") or {}
        partner = name.replace(".lora_a", ".lora_b") if ".lora_a" in name else ""
        return partner, float(settings.get("scale", 1.0))
    for first, second in (("lora_A", "lora_B"), ("lora_embedding_A", "lora_embedding_B")):
        if f".{first}" in name:
            module = name.removeprefix("base_model.model.").partition(f".{first}")[0]
            scale = parse_peft_config(adapter.config).scale_of(module)
            return name.replace(f".{first}", f".{second}"), scale
    return "", 1.0


def _values(tensor: RawTensor) -> Floats:
    return tensor.as_float32().astype(np.float64)


def _raw(values: Floats, dtype: str) -> RawTensor:
    """Return the values rounded to a dtype that adapters use."""
    if dtype == "F16":
        return RawTensor(dtype, values.astype(np.float16).view(np.uint16))
    bits = values.astype(np.float32).view(np.uint32)
    if dtype == "BF16":  # half of the last place is added, which rounds to the nearest
        return RawTensor(dtype, ((bits + 0x8000) >> 16).astype(np.uint16))
    return RawTensor(dtype, bits)
