"""Find out whether a model can be decoded in slots, and what slots need to know about it.

A model is tried on a few tokens: its logits in slots must be those of a plain pass. So a kind of
model that nobody thought of is at worst slow, and never wrong.
"""

from __future__ import annotations

import inspect
from typing import Any

from plugin.certify.measure import probe_ids
from plugin.engines._torch import is_out_of_memory
from plugin.engines._torch_graphs import host_decisions
from plugin.engines._torch_slots import SlotPlan, TorchSlots
from plugin.errors import one_line

_KINDS = {"DynamicLayer", "DynamicSlidingWindowLayer"}
_ROPES_OF_THE_LONGEST = ("dynamic", "longrope")
_MAX_APART = 0.1
"""Largest relative difference of logits between slots and a plain pass. Rounding gives 0.01 in
bfloat16; a model that is read wrongly gives about 1."""


def plan_slots(model: Any) -> SlotPlan | str:
    """Return what slots need to know about a model, or why it cannot be decoded in slots."""
    kind = f"models of type {model.config.model_type!r}"
    if model.device.type == "mps":
        return "slots were never tried on mps"
    missing = {"position_ids", "past_key_values", "logits_to_keep"} - set(
        inspect.signature(model.forward).parameters
    )
    if missing:
        return f"{kind} do not take {' and '.join(sorted(missing))}"
    if obstacle := _config_obstacle(model):
        return f"{kind} {obstacle}"
    try:
        return _tried(model, kind)
    except Exception as error:  # a model's own code can raise anything in a use that is new to it
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            return "there was no memory to try slots"
        return f"{kind} fail in slots: {one_line(error)[:80]}"


def _tried(model: Any, kind: str) -> SlotPlan | str:
    import torch

    ids = torch.tensor([probe_ids(_n_embeddings(model))], device=model.device)
    with torch.inference_mode():
        out = model(input_ids=ids, use_cache=True, logits_to_keep=1)
    layers = getattr(getattr(out, "past_key_values", None), "layers", None) or []
    if not layers or {type(layer).__name__ for layer in layers} - _KINDS:
        return f"{kind} keep more than keys and values"
    n_bytes = sum(
        each.shape[1] * each.shape[3] * each.element_size()
        for layer in layers
        for each in (layer.keys, layer.values)
    )
    plan = SlotPlan(
        tuple(layer.sliding_window if layer.is_sliding else None for layer in layers),
        n_bytes,
        int(out.logits.shape[-1]),
        _recording_obstacle(model),
    )
    plan = plan._replace(unrecorded=plan.unrecorded or _host_obstacle(model, plan))
    apart = _distance_to_plain(model, plan)
    if not apart <= _MAX_APART:
        return f"{kind} answer otherwise there ({apart:.2g})"
    return plan


def _recording_obstacle(model: Any) -> str:
    """Return why the library's own word is that steps cannot be recorded; "" if they can."""
    if getattr(model, "_can_compile_fullgraph", False):
        return ""
    return "transformers does not say that this model's steps can be recorded"


def _host_obstacle(model: Any, plan: SlotPlan) -> str:
    """Return which operations of a step would make the host wait for the device; "" for none."""
    slots = TorchSlots(model, plan, 2, 32)
    slots.read([probe_ids(_n_embeddings(model))[:4]] * 2, [0, 1])
    found = host_decisions(lambda: slots.peek(2))
    return f"its steps decide on the host: {', '.join(found)}" if found else ""


def _config_obstacle(model: Any) -> str:
    config = model.config.get_text_config()
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    ropes = [rope, *(each for each in rope.values() if isinstance(each, dict))]
    if any(each.get("rope_type", each.get("type")) in _ROPES_OF_THE_LONGEST for each in ropes):
        return "turn positions by the longest row"
    if set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}:
        return "have layers of other kinds"
    return ""


def _n_embeddings(model: Any) -> int:
    return int(model.get_input_embeddings().weight.shape[0])


def _distance_to_plain(model: Any, plan: SlotPlan) -> float:
    """Return how far the logits of slots are from those of plain passes, relative to their size."""
    import torch

    probe = probe_ids(_n_embeddings(model))
    prompts = [probe[:9], probe[9:13]]
    slots = TorchSlots(model, plan, 2, 32)
    slots.read(prompts, [0, 1])
    apart = size = 0.0
    for _ in range(3):
        found = slots.peek(2)
        slots.write(2, 1)
        for row, prompt in zip(found, prompts, strict=True):
            with torch.inference_mode():
                ids = torch.tensor([prompt], device=model.device)
                plain = model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[0, -1]
            plain = plain.float()
            apart += float((row - plain).square().sum())
            size += float((plain - plain.mean()).square().sum())
            prompt.append(int(row.argmax()))
    return (apart / size) ** 0.5 if size else 0.0
