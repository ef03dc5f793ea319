"""Convert adapters between MLX LoRA and PEFT LoRA, so that any adapter runs on any engine.

Both formats mean W + scale * B A. PEFT stores A as (rank, n_in) and B as (n_out, rank); its scale
is alpha / rank (alpha / sqrt(rank) for rsLoRA), and patterns can set rank and alpha per module. MLX
stores the transposes, with one rank and one scale for all modules. DoRA's magnitude is the same
vector (n_out) in both.

Values are copied bit by bit and never rounded, with one exception: if PEFT's patterns give modules
different scales, B is multiplied by them and becomes float32. Different ranks are padded with
zeros.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from plugin.errors import AdapterError, list_first
from plugin.load.adapter import (
    OUTPUT_LAYERS,
    AdapterFolder,
    PeftLora,
    inspect_adapter,
    parse_peft_config,
)
from plugin.load.model import ModelFolder
from plugin.load.tensors import RawTensor, read_tensors, write_tensors

_ENGINE = {"mlx": "mlx", "peft": "transformers"}
"""Adapter format -> the engine that loads it without conversion."""

PEFT_PREFIX = "base_model.model."
"""PEFT's prefix of a tensor's name; some trainers leave it out."""

_LEAVES = {
    "lora_a": ".lora_A.weight",
    "lora_b": ".lora_B.weight",
    "m": ".lora_magnitude_vector",
}
"""End of a tensor's name in MLX -> end of its name in PEFT."""

_N_SHOWN = 4

_EMBEDDINGS = ("embed_tokens", "wte", "tok_embeddings", "word_embeddings")

Parts = dict[str, dict[str, RawTensor]]
"""Module -> end of the tensor's MLX name -> tensor."""


def conversion_obstacles(
    adapter: AdapterFolder, kind: Literal["mlx", "peft"], model: ModelFolder | None = None
) -> list[str]:
    """Return why the adapter cannot be converted to this format; empty if it can.

    Args:
        adapter: the adapter to convert.
        kind: the format.
        model: the base model, if known: MLX has no module for some of the modules of PEFT.
    """
    if adapter.kind == kind:
        return []
    if adapter.kind == "mlx":
        return _mlx_obstacles(adapter)
    lora = parse_peft_config(adapter.config)
    found = lora.obstacles()
    if lora.modules_to_save:
        found.append(
            f"modules_to_save ({', '.join(lora.modules_to_save)}): MLX adapters cannot replace "
            "whole modules"
        )
    for key in ("trainable_token_indices", "target_parameters", "lora_bias"):
        if adapter.config.get(key):
            found.append(f"{key}: MLX adapters have no such setting")
    embeddings = [name for name in adapter.shapes if ".lora_embedding_" in name]
    if embeddings:
        found.append(
            f"adapted embeddings ({', '.join(embeddings)}): MLX and PEFT use them differently "
            "when input and output share the embedding"
        )
    return found + _missing_in_mlx(adapter, model)


def _missing_in_mlx(adapter: AdapterFolder, model: ModelFolder | None) -> list[str]:
    """Return which tensors belong to modules that exist in PEFT's base but not in mlx-lm's."""
    parts = [(name, part[0]) for name in adapter.shapes if (part := _peft_part(name))]
    heads = [name for name, module in parts if module.rpartition(".")[2] in OUTPUT_LAYERS]
    experts = [name for name, module in parts if re.search(r"\.experts\.\d+\.", module)]
    found = []
    if heads and model is not None and model.ties_output:
        found.append(
            f"an adapted output layer ({list_first(heads, _N_SHOWN)}): the model uses its "
            "embedding as output layer, so MLX has no such module"
        )
    if experts:
        found.append(
            f"experts adapted one by one ({len(experts)} tensors: {list_first(experts, _N_SHOWN)})"
            ": MLX holds all experts of a layer in one module"
        )
    return found


def to_peft(adapter: AdapterFolder, n_layers: int, into: Path) -> AdapterFolder:
    """Convert an MLX adapter to PEFT's format; return a PEFT adapter unchanged.

    Args:
        adapter: the adapter to convert.
        n_layers: number of layers in the base model; MLX's config counts them from the last.
        into: an empty folder for the result; keep it as long as the result is used.

    Raises:
        AdapterError: when it cannot be converted; names the engine that can load it.
    """
    if adapter.kind == "peft":
        return adapter
    refuse_conversion(adapter, "peft")
    settings = adapter.config["lora_parameters"]
    rank, scale = settings["rank"], settings["scale"]
    parts, unused = _group_parts(adapter, _mlx_part)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": scale * rank,
        "use_dora": adapter.method == "dora",
        "target_modules": _target_pattern(list(parts), adapter, n_layers),
        "lora_dropout": 0.0,
        "bias": "none",
        "inference_mode": True,
    }
    tensors = {
        f"{PEFT_PREFIX}{module}{_LEAVES[leaf]}": tensor if leaf == "m" else tensor.transposed
        for module, held in parts.items()
        for leaf, tensor in held.items()
    }
    return _write_converted(into, "adapter_model.safetensors", tensors, config, unused)


def to_mlx(adapter: AdapterFolder, modules: Iterable[str], into: Path) -> AdapterFolder:
    """Convert a PEFT adapter to mlx-lm's format; return an MLX adapter unchanged.

    Args:
        adapter: the adapter to convert.
        modules: names of the base's linear modules; PEFT's config selects some of them.
        into: an empty folder for the result; keep it as long as the result is used.

    Raises:
        AdapterError: when it cannot be converted; names the engine that can load it.
    """
    if adapter.kind == "mlx":
        return adapter
    refuse_conversion(adapter, "mlx")
    lora = parse_peft_config(adapter.config)
    parts, unused = _group_parts(adapter, _peft_part)
    _check_ranks(adapter, lora, parts)
    rank = max(lora.rank_of(module) for module in parts)
    scales = {module: lora.scale_of(module) for module in parts}
    scale = next(iter(scales.values()))
    if len(set(scales.values())) > 1:
        for module, held in parts.items():
            held["lora_b"] = _scale_tensor(held["lora_b"], scales[module])
        scale = 1.0
    tensors = {
        f"{module}.{leaf}": tensor if leaf == "m" else _fill_tensor(tensor, leaf, rank)
        for module, held in parts.items()
        for leaf, tensor in held.items()
    }
    config = {
        "fine_tune_type": "dora" if lora.is_dora else "lora",
        "num_layers": -1,
        "lora_parameters": {
            "rank": rank,
            "scale": scale,
            "dropout": 0.0,
            "keys": sorted({*parts, *lora.targets(modules)}),
        },
    }
    return _write_converted(into, "adapters.safetensors", tensors, config, unused)


def _mlx_obstacles(adapter: AdapterFolder) -> list[str]:
    if adapter.method not in ("lora", "dora"):
        return [f"fine_tune_type {adapter.method!r}: its tensors replace the base's weights"]
    found = []
    experts = [name for name, shape in adapter.shapes.items() if len(shape) > 2]
    if experts:
        found.append(f"adapted experts ({', '.join(experts)}): PEFT stores them in another shape")
    embeddings = [name for name in adapter.shapes if name.rpartition(".")[0].endswith(_EMBEDDINGS)]
    if embeddings:
        found.append(
            f"adapted embeddings ({', '.join(embeddings)}): MLX and PEFT use them differently "
            "when input and output share the embedding"
        )
    return found


def refuse_conversion(
    adapter: AdapterFolder, kind: Literal["mlx", "peft"], model: ModelFolder | None = None
) -> None:
    """Refuse an adapter that cannot be converted; see `conversion_obstacles`.

    Raises:
        AdapterError: with all reasons, and the engine that can load it.
    """
    reasons = conversion_obstacles(adapter, kind, model)
    if not reasons:
        return
    way_out = f"Use --engine {_ENGINE[adapter.kind]}"
    if kind == "mlx" and model is not None and "quantization" in model.config:
        way_out += ", with a base that is not quantised in MLX format"
    if adapter.kind == "peft" and parse_peft_config(adapter.config).obstacles():
        way_out = "No engine here can compare this adapter with its base"
    raise AdapterError(
        f"{adapter.path} is a {adapter.kind.upper()} adapter and cannot be converted to "
        f"{kind.upper()}, which the engine {_ENGINE[kind]} needs:\n"
        + "\n".join(f"  {reason}" for reason in reasons)
        + f"\n{way_out}"
    )


def _group_parts(
    adapter: AdapterFolder, part_of: Callable[[str], tuple[str, str] | None]
) -> tuple[Parts, tuple[str, ...]]:
    """Group the file's tensors by module; also return the names of those that do not fit.

    If the file has tensors with unknown names, incomplete modules are left out as well: their
    missing tensors may be among the unknown ones.

    Raises:
        AdapterError: when no module is complete, or one is incomplete without unknown names.
    """
    parts: Parts = {}
    names: dict[tuple[str, str], str] = {}
    strange = []
    for name, tensor in read_tensors(adapter.weights_path).items():
        part = part_of(name)
        if part is None or tensor.bits.ndim != (1 if part[1] == "m" else 2):
            strange.append(name)
            continue
        module, leaf = part
        parts.setdefault(module, {})[leaf] = tensor
        names[module, leaf] = name
    wanted = {"lora_a", "lora_b"} | ({"m"} if adapter.method == "dora" else set())
    problems = []
    for module, held in list(parts.items()):
        if set(held) == wanted:
            continue
        problems += [f"  {module}: has no {leaf}" for leaf in sorted(wanted - set(held))]
        problems += [f"  {module}: has {leaf} but is not DoRA" for leaf in set(held) - wanted]
        if strange:
            del parts[module]
            strange += [names[module, leaf] for leaf in held]
    if not parts or (problems and not strange):
        problems += [f"  {name}: does not belong to a LoRA or DoRA adapter" for name in strange]
        raise AdapterError(
            f"{adapter.path} is not a complete adapter:\n"
            + "\n".join(sorted(problems))
            + "\nSave the adapter again from its training"
        )
    return parts, tuple(sorted(strange))


def _mlx_part(name: str) -> tuple[str, str] | None:
    module, _, leaf = name.rpartition(".")
    return (module, leaf) if module and leaf in _LEAVES else None


def _peft_part(name: str) -> tuple[str, str] | None:
    for leaf, end in _LEAVES.items():
        if name.endswith(end):
            return name.removeprefix(PEFT_PREFIX).removesuffix(end), leaf
    return None


def _target_pattern(modules: list[str], adapter: AdapterFolder, n_layers: int) -> str:
    """Return a regular expression for all modules in MLX's config, even those not in the file."""
    keys = adapter.config["lora_parameters"].get("keys")
    places = [re.fullmatch(r"(.*?\.)(\d+)\.(.+)", module) for module in modules]
    containers = sorted({place[1] for place in places if place})
    if keys is not None:
        inner = sorted(keys)
    else:
        inner = sorted({place[3] for place in places if place})
    n_tuned = adapter.config.get("num_layers", -1)
    first = n_layers - n_tuned if 0 < n_tuned < n_layers else 0
    choices = [_any_of_names(sorted({*modules, *inner}))]
    if containers and inner:
        numbers = "|".join(map(str, range(first, n_layers)))
        choices.append(f"({_any_of_names(containers)})({numbers})\\.({_any_of_names(inner)})")
    return "|".join(choices)


def _any_of_names(names: list[str]) -> str:
    return "|".join(re.escape(name) for name in names)


def _check_ranks(adapter: AdapterFolder, lora: PeftLora, parts: Parts) -> None:
    wrong = [
        f"  {module}.{leaf}: rank {tensor.bits.shape[axis]} in the file, {lora.rank_of(module)} in "
        "adapter_config.json"
        for module, held in parts.items()
        for leaf, axis, tensor in (("lora_A", 0, held["lora_a"]), ("lora_B", 1, held["lora_b"]))
        if tensor.bits.shape[axis] != lora.rank_of(module)
    ]
    if wrong:
        raise AdapterError(
            f"{adapter.path}: weights and configuration disagree:\n"
            + "\n".join(wrong)
            + "\nCopy both from the output of the same training"
        )


def _scale_tensor(tensor: RawTensor, scale: float) -> RawTensor:
    import numpy as np

    return RawTensor("F32", (tensor.as_float32() * np.float32(scale)).view(np.uint32))


def _fill_tensor(tensor: RawTensor, leaf: str, rank: int) -> RawTensor:
    """Convert PEFT's A or B to MLX's: transpose it and pad it with zeros up to the rank."""
    import numpy as np

    turned = tensor.transposed
    axis = 1 if leaf == "lora_a" else 0
    lacking = [(0, 0), (0, 0)]
    lacking[axis] = (0, rank - turned.bits.shape[axis])
    return RawTensor(turned.dtype, np.pad(turned.bits, lacking))


def _write_converted(
    into: Path,
    name: str,
    tensors: Mapping[str, RawTensor],
    config: Mapping[str, Any],
    unused: tuple[str, ...],
) -> AdapterFolder:
    write_tensors(into / name, tensors)
    (into / "adapter_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    return replace(inspect_adapter(into), unused=unused)
