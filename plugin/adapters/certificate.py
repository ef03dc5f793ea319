"""What the effect certificate measures: distances, norms, digests, and the adapter's own record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from plugin.adapters import _tensors
from plugin.adapters.layout import AdapterFolder
from plugin.adapters.peft_config import parse
from plugin.certificate_records import Distance
from plugin.errors import AdapterError
from plugin.weights import file_digest

N_PROBES = 8
N_POSITIONS = 8
"""Prompts whose last so many positions are looked at."""

Logits = np.ndarray[Any, np.dtype[np.float32]]
"""(n_positions, n_vocabulary) in float32."""

Wide = np.ndarray[Any, np.dtype[np.float64]]

_RULED_OUT = -1e9
"""Logit of a token that no model would ever choose."""


def distance(first: Sequence[Logits], second: Sequence[Logits]) -> Distance:
    """How far two models' logits for the same probes lie apart.

    Args:
        first: a probe's logits each; the distribution that the divergence is taken from.
        second: likewise, in the same order and of the same shapes.
    """
    total, n, largest = 0.0, 0, 0.0
    for ours, theirs in zip(first, second, strict=True):
        # Minus infinity rules a token out; as a number it can be subtracted from itself.
        one, other = (np.maximum(x.astype(np.float64), _RULED_OUT) for x in (ours, theirs))
        log_p, log_q = _log_softmax(one), _log_softmax(other)
        total += float((np.exp(log_p) * (log_p - log_q)).sum())
        n += len(ours)
        largest = max(largest, float(np.abs(one - other).max()))
    return Distance(max(total / n, 0.0) if n else 0.0, largest)


def _log_softmax(logits: Wide) -> Wide:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    found: Wide = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return found


def weight_norm(adapter: AdapterFolder) -> float | None:
    """Frobenius norm over all modules of scale * B A; None where that does not tell the effect.

    It does not where the adapter has no such parts, or where they are zero and others are there:
    whole modules, DoRA's magnitudes. By |B A|^2 = trace((A A') (B' B)), which never makes the
    whole matrix.
    """
    tensors = _tensors.read(adapter.weights_path)
    total, n_modules = 0.0, 0
    for name, raw in tensors.items():
        partner, scale = _partner(adapter, name)
        if partner not in tensors:
            continue
        a, b = raw.as_float32().astype(np.float64), tensors[partner].as_float32().astype(np.float64)
        if a.ndim != 2 or b.ndim != 2:
            return None
        if adapter.kind == "mlx" or ".lora_embedding_A" in name:
            a, b = a.T, b.T
        if a.shape[0] != b.shape[1]:
            return None
        total += scale**2 * float(np.vdot(a @ a.T, b.T @ b))
        n_modules += 1
    has_others = 2 * n_modules < len(tensors)
    if not n_modules or (total <= 0 and has_others):
        return None
    return math.sqrt(max(total, 0.0))


def _partner(adapter: AdapterFolder, name: str) -> tuple[str, float]:
    """The B that belongs to an A, and what their product is multiplied with."""
    if adapter.kind == "mlx":
        settings = adapter.config.get("lora_parameters") or {}
        return name.replace(".lora_a", ".lora_b") if ".lora_a" in name else "", float(
            settings.get("scale", 1.0)
        )
    for first, second in (("lora_A", "lora_B"), ("lora_embedding_A", "lora_embedding_B")):
        if f".{first}" in name:
            module = name.removeprefix("base_model.model.").partition(f".{first}")[0]
            return name.replace(f".{first}", f".{second}"), parse(adapter.config).scale_of(module)
    return "", 1.0


def same_files(adapter: AdapterFolder) -> str:
    """The digest of the adapter's files as they are now.

    Raises:
        AdapterError: when they are not those that the run began with.
    """
    now = file_digest([adapter.weights_path, adapter.root / "adapter_config.json"])
    if now != adapter.digest:
        raise AdapterError(
            f"{adapter.path} changed while the run was reading it; start again when its training "
            "has ended"
        )
    return now
