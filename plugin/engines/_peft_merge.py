"""Put a LoRA adapter into copies of the weights that it touches.

PEFT's own layers compute W x + s B A x in several steps for every token. A copy of W with s B A
added, put in W's place while the adapter is on, costs what the base costs. The base's own tensors
are never written to. A copy is made in float32 and rounded to the base's precision. How far that
moves the answers is measured on the certificate's probes. If it is farther than rounding moves them
anyway, or than a fiftieth of the adapter's effect, PEFT's own layers are used.
"""

from __future__ import annotations

import copy
import os
from typing import Any, NamedTuple

from plugin.certify.effect import Distance

PEFT_PATH = "PEFT's own layers"

_SHARE_OF_EFFECT = 0.02
"""Part of the adapter's effect by which rounding may move its answers."""

_SHARE_OF_FREE_MEMORY, _SHARE_OF_ALL_MEMORY = 0.4, 0.15
"""Part of a GPU's free memory, or of the machine's whole memory, that the copies may take."""


class MergedWeight(NamedTuple):
    """A module with the adapter in its weight, and its place in the model."""

    parent: Any
    name: str
    module: Any


def merge_obstacle(model: Any, peft: Any, name: str) -> str:
    """Return why the adapter cannot be put into copies; "" if it can.

    Args:
        model: the base model with PEFT's modules in it.
        peft: PEFT's model around it.
        name: the adapter's name within PEFT.
    """
    from peft.tuners.lora.layer import Linear, LoraLayer
    from peft.tuners.tuners_utils import BaseTunerLayer

    try:
        from peft.utils import AuxiliaryTrainingWrapper
    except ImportError:
        return "the installed PEFT is too old for it"
    if peft.peft_config[name].use_dora:
        return "DoRA"
    n_bytes = 0
    for module in model.modules():
        if isinstance(module, AuxiliaryTrainingWrapper):
            return "it replaces whole modules or tokens"
        if not isinstance(module, BaseTunerLayer):
            continue
        is_plain = type(module) is Linear and not module.fan_in_fan_out
        if not is_plain or type(module.base_layer).__name__ != "Linear":
            return f"it adapts a {type(module.get_base_layer()).__name__}"
        assert isinstance(module, LoraLayer)
        if module.lora_variant or any(module.lora_bias.values()):
            return "it is a variant of LoRA"
        weight = module.base_layer.weight
        n_bytes += weight.numel() * weight.element_size()
    if n_bytes > _room_for_copies(model.device):
        return f"copies of the weights would need {n_bytes / 2**30:.1f} GiB"
    return ""


def merged_weights(model: Any, name: str) -> list[MergedWeight]:
    """Return a copy of every adapted module, with the adapter in its weight."""
    import torch
    from peft.tuners.lora.layer import LoraLayer

    found = []
    for parent in model.modules():
        for place, module in parent.named_children():
            if not isinstance(module, LoraLayer) or name not in module.lora_A:
                continue
            base = module.get_base_layer()
            a, b = module.lora_A[name].weight.float(), module.lora_B[name].weight.float()
            with torch.no_grad():
                weight = base.weight.float() + module.scaling[name] * (b @ a)
            own = copy.copy(base)  # all but the weight is the base's own
            own._parameters = {
                **base._parameters,
                "weight": torch.nn.Parameter(weight.to(base.weight.dtype), requires_grad=False),
            }
            found.append(MergedWeight(parent, place, own))
    return found


def is_close(merged: Distance, effect: Distance, noise: Distance) -> bool:
    """Return whether merged copies answer as PEFT's own layers do.

    Args:
        merged: distance between the two.
        effect: distance between PEFT's layers and the base.
        noise: distance between the base's answers one by one and in a batch.
    """
    return merged.kl <= max(noise.kl, _SHARE_OF_EFFECT * effect.kl)


def _room_for_copies(device: Any) -> float:
    """Return the bytes that copies may take; 0 where the memory is unknown."""
    import torch

    if device.type == "cuda":
        return float(_SHARE_OF_FREE_MEMORY * torch.cuda.mem_get_info()[0])
    try:
        return _SHARE_OF_ALL_MEMORY * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 0.0
