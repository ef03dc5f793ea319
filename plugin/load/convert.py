"""MLX LoRA <-> PEFT LoRA, so that any adapter runs on any engine.

Both write a module's part as W + scale * B A. PEFT holds A as (rank, n_in) and B as (n_out, rank),
and the scale as alpha / rank (or alpha / sqrt(rank) for rsLoRA), module by module where patterns
say so. MLX holds the transposes, and one rank and one scale for all modules. DoRA's magnitude is
the same vector (n_out) in both.

Bits are moved and never rounded, with one exception: where PEFT's patterns give modules different
scales, those are worked into B, which then becomes float32; different ranks are filled with zeros.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from plugin.errors import AdapterError
from plugin.load.adapter import AdapterFolder, PeftLora, inspect_adapter, parse_peft_config
from plugin.load.tensors import RawTensor, read_tensors, write_tensors

_ENGINE = {"mlx": "mlx", "peft": "transformers"}
"""Which engine takes a kind as it is."""

_PEFT_PREFIX = "base_model.model."
_LEAVES = {
    "lora_a": ".lora_A.weight",
    "lora_b": ".lora_B.weight",
    "m": ".lora_magnitude_vector",
}
"""MLX's name of a module's part -> the end of PEFT's name."""

_EMBEDDINGS = ("embed_tokens", "wte", "tok_embeddings", "word_embeddings")

Parts = dict[str, dict[str, RawTensor]]
"""Module -> MLX's name of a part -> its tensor."""


def conversion_obstacles(adapter: AdapterFolder, kind: Literal["mlx", "peft"]) -> list[str]:
    """Why the adapter cannot be had in the other kind; empty when it can, or is of it already."""
    if adapter.kind == kind:
        return []
    if adapter.kind == "mlx":
        return _only_mlx(adapter)
    lora = parse_peft_config(adapter.config)
    found = lora.obstacles()
    if lora.modules_to_save:
        found.append(
            f"modules_to_save ({', '.join(lora.modules_to_save)}): MLX adapters hold no whole "
            "modules"
        )
    for key in ("trainable_token_indices", "target_parameters", "lora_bias"):
        if adapter.config.get(key):
            found.append(f"{key}: MLX adapters have nothing like it")
    embeddings = [name for name in adapter.shapes if ".lora_embedding_" in name]
    if embeddings:
        found.append(
            f"parts of embeddings ({', '.join(embeddings)}): the two kinds use them differently "
            "where input and output share them"
        )
    return found


def to_peft(adapter: AdapterFolder, n_layers: int, into: Path) -> AdapterFolder:
    """An MLX adapter as PEFT would have saved it; a PEFT adapter is given back as it is.

    Args:
        adapter: to be converted.
        n_layers: of the base model; MLX's config counts layers from the last.
        into: an empty folder, which must stay as long as the result is used.

    Raises:
        AdapterError: when it cannot be converted, with the engine that can take it.
    """
    if adapter.kind == "peft":
        return adapter
    _refuse_conversion(adapter, "peft")
    settings = adapter.config["lora_parameters"]
    rank, scale = settings["rank"], settings["scale"]
    parts, unused = _group_parts(adapter, _mlx_part)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": scale * rank,
        "use_dora": adapter.method == "dora",
        "target_modules": _pattern(list(parts), adapter, n_layers),
        "lora_dropout": 0.0,
        "bias": "none",
        "inference_mode": True,
    }
    tensors = {
        f"{_PEFT_PREFIX}{module}{_LEAVES[leaf]}": tensor if leaf == "m" else tensor.transposed
        for module, held in parts.items()
        for leaf, tensor in held.items()
    }
    return _write_converted(into, "adapter_model.safetensors", tensors, config, unused)


def to_mlx(adapter: AdapterFolder, modules: Iterable[str], into: Path) -> AdapterFolder:
    """A PEFT adapter as mlx-lm would have saved it; an MLX adapter is given back as it is.

    Args:
        adapter: to be converted.
        modules: names of the base's linear modules, among which PEFT's config picks.
        into: an empty folder, which must stay as long as the result is used.

    Raises:
        AdapterError: when it cannot be converted, with the engine that can take it.
    """
    if adapter.kind == "mlx":
        return adapter
    _refuse_conversion(adapter, "mlx")
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


def _only_mlx(adapter: AdapterFolder) -> list[str]:
    if adapter.method not in ("lora", "dora"):
        return [f"fine_tune_type {adapter.method!r}: its tensors replace the base's own"]
    found = []
    experts = [name for name, shape in adapter.shapes.items() if len(shape) > 2]
    if experts:
        found.append(f"parts of experts ({', '.join(experts)}): PEFT lays them out otherwise")
    embeddings = [name for name in adapter.shapes if name.rpartition(".")[0].endswith(_EMBEDDINGS)]
    if embeddings:
        found.append(
            f"parts of embeddings ({', '.join(embeddings)}): the two kinds use them differently "
            "where input and output share them"
        )
    return found


def _refuse_conversion(adapter: AdapterFolder, kind: Literal["mlx", "peft"]) -> None:
    reasons = conversion_obstacles(adapter, kind)
    if not reasons:
        return
    way_out = f"Use --engine {_ENGINE[adapter.kind]}"
    if adapter.kind == "peft" and parse_peft_config(adapter.config).obstacles():
        way_out = "No engine here can compare it with its base in one load"
    raise AdapterError(
        f"{adapter.path} is an adapter of kind {adapter.kind.upper()} and cannot be made one of "
        f"{kind.upper()}, which the engine {_ENGINE[kind]} needs:\n"
        + "\n".join(f"  {reason}" for reason in reasons)
        + f"\n{way_out}"
    )


def _group_parts(
    adapter: AdapterFolder, part_of: Callable[[str], tuple[str, str] | None]
) -> tuple[Parts, tuple[str, ...]]:
    """The file's tensors by module and part, as they lie there; and the names of the others.

    Where some are no part of anything, a module that is not whole is left out with them.

    Raises:
        AdapterError: when there is no whole module, or one that is not whole without such excuse.
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
        problems += [f"  {module}: has {leaf} without DoRA" for leaf in set(held) - wanted]
        if strange:
            del parts[module]
            strange += [names[module, leaf] for leaf in held]
    if not parts or (problems and not strange):
        problems += [f"  {name}: is no part of a LoRA or DoRA adapter" for name in strange]
        raise AdapterError(
            f"{adapter.path} is not a whole adapter:\n"
            + "\n".join(sorted(problems))
            + "\nSave it again from its training"
        )
    return parts, tuple(sorted(strange))


def _mlx_part(name: str) -> tuple[str, str] | None:
    module, _, leaf = name.rpartition(".")
    return (module, leaf) if module and leaf in _LEAVES else None


def _peft_part(name: str) -> tuple[str, str] | None:
    for leaf, end in _LEAVES.items():
        if name.endswith(end):
            return name.removeprefix(_PEFT_PREFIX).removesuffix(end), leaf
    return None


def _pattern(modules: list[str], adapter: AdapterFolder, n_layers: int) -> str:
    """A regular expression for all modules that MLX's config names, whether in the file or not."""
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
        f"  {module}.{leaf}: rank {tensor.bits.shape[axis]} in the file, {lora.rank_of(module)} by "
        "adapter_config.json"
        for module, held in parts.items()
        for leaf, axis, tensor in (("lora_A", 0, held["lora_a"]), ("lora_B", 1, held["lora_b"]))
        if tensor.bits.shape[axis] != lora.rank_of(module)
    ]
    if wrong:
        raise AdapterError(
            f"{adapter.path}: weights and configuration differ:\n"
            + "\n".join(wrong)
            + "\nCopy both from one training's output"
        )


def _scale_tensor(tensor: RawTensor, scale: float) -> RawTensor:
    import numpy as np

    return RawTensor("F32", (tensor.as_float32() * np.float32(scale)).view(np.uint32))


def _fill_tensor(tensor: RawTensor, leaf: str, rank: int) -> RawTensor:
    """PEFT's A or B as MLX's, with zeros up to the rank."""
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
