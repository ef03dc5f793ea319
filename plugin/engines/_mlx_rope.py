"""Translate the rotary-embedding keys of config.json to the ones that mlx-lm reads.

transformers 5 writes base and scaling of the rotary embedding as `rope_parameters`, once for all
layers or once per layer type. Earlier versions wrote `rope_theta`, `rope_scaling`,
`partial_rotary_factor` and a few more. For most architectures mlx-lm reads only one of the two
spellings and silently ignores the other: same weights, different answers. `rope_changes` returns
the keys in the spelling that the architecture reads, and refuses keys that it cannot express. The
tables below say what each architecture reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from plugin.errors import ModelError

Config = Mapping[str, Any]

TEXT_READERS = {
    "deepseek_v41": "deepseek_v41.ModelArgs",
    "gemma3": "gemma3_text.ModelArgs",
    "gemma3n": "gemma3n.TextConfig",
    "gemma4": "gemma4_text.ModelArgs",
    "kimi_k25": "deepseek_v3.ModelArgs",
    "kimi_k3": "kimi_k3.TextArgs",
    "kimi_vl": "kimi_vl.TextArgs",
    "lfm2-vl": "lfm2.ModelArgs",
    "llama4": "llama4.TextArgs",
    "minimax_m3_vl": "minimax_m3_vl.TextArgs",
    "mistral3": "llama.ModelArgs",
    "muse_glimmer": "muse_glimmer.ModelArgs",
    "muse_spark": "muse_spark.TextArgs",
    "pixtral": "llama.ModelArgs",
    "prism_hadamard_qwen35": "qwen3_5.TextModelArgs",
    "qwen2_vl": "qwen2.ModelArgs",
    "qwen3_5": "qwen3_5.TextModelArgs",
    "qwen3_5_moe": "qwen3_5.TextModelArgs",
    "qwen3_vl": "qwen3.ModelArgs",
    "qwen3_vl_moe": "qwen3_moe.ModelArgs",
}
"""Architecture -> the mlx-lm class that reads its `text_config` (or its config, without one)."""

_OWN_TEXT_READERS = {
    ("mistral3", "ministral3"): "ministral3.ModelArgs",
    ("mistral3", "mistral4"): "mistral4.ModelArgs",
}
"""(architecture, model_type of its text_config) -> exceptions to the table above."""

WITHOUT_ROPE = frozenset(
    {
        *("gpt2", "gpt_bigcode", "jamba", "kimi_k3", "kimi_linear", "mamba", "mamba2"),
        *("nemotron_h", "rwkv7"),
    }
)
"""Architectures without a rotary embedding, whatever their configuration says."""

PER_LAYER = frozenset({"gemma4_text", "laguna", "mellum", "spark2_5"})
"""Architectures that read only `rope_parameters` per layer type."""

ONLY_NEW = frozenset(
    {"glm_moe_dsa", "ministral3", "minimax_m3_vl", "mistral4", "muse_spark", "qwen3_5"}
)
"""Architectures that read `rope_parameters` but not all of the old keys."""

BOTH = frozenset(
    {
        *("exaone_moe", "granitemoehybrid", "lfm2", "lfm2_moe", "muse_glimmer", "olmo_hybrid"),
        "qwen3",
    }
)
"""Architectures that read both `rope_parameters` and the old keys."""

THETA_KEYS = ("rope_theta", "rotary_emb_base", "rope_embedding_base", "rope_freq_constant")
LOCAL_THETA_KEYS = ("rope_local_base_freq", "rope_local_theta", "swa_rope_theta")
"""Old names of the base: for all layers, and for layers with a sliding window."""

PARTIAL_KEYS = ("partial_rotary_factor", "rotary_pct", "rotary_dim")
"""Old names of the rotated share of a head; the last one counts dimensions instead."""

_FIXED_THETA = 10000.0
"""mlx's base for architectures that read none."""

IGNORES_THETA = frozenset({"recurrent_gemma"})
"""Architectures that accept a base key but use mlx's base."""

_FIXED_PARTIAL = {"recurrent_gemma": 0.5}
"""Rotated share of a head for architectures that read none; 1 if not listed."""

_PARTIAL_IN_NEW = frozenset({"laguna", "minimax_m3_vl", "qwen3_5", "spark2_5"})

_PLAIN = frozenset({"default"})
_YARN = frozenset({"yarn", "deepseek_yarn", "telechat3-yarn"})
_COMMON = _PLAIN | _YARN | {"linear", "dynamic", "llama3", "longrope", "mrope"}
"""Rope types of mlx-lm's `initialize_rope`, except "proportional", which needs a share as well."""

IGNORES_SCALING = frozenset(
    {"gemma3n", "glm4_moe", "mixtral", "qwen2_moe", "qwen3_moe", "solar_open"}
)
"""Architectures that accept the key `rope_scaling` but ignore it."""

OWN_SCALING: dict[str, frozenset[str]] = {
    "deepseek": _PLAIN | {"linear"},
    "deepseek_v2": _PLAIN | _YARN,
    "deepseek_v41": _PLAIN | _YARN,
    "gemma4_text": _COMMON | {"proportional"},
    "hunyuan": _PLAIN | {"dynamic"},
    "hunyuan_v1_dense": _PLAIN | {"dynamic"},
    "internlm2": _PLAIN | {"linear", "dynamic"},
    "internlm3": _PLAIN | {"linear", "dynamic"},
    "laguna": _COMMON,
    "mellum": _COMMON - {"linear"},
    "minicpm3": _PLAIN | {"longrope"},
    "minimax_m3_vl": _COMMON,
    "ministral3": _COMMON,
    "nemotron": _PLAIN | {"linear"},
    "phi3": _PLAIN | {"linear", "longrope", "su"},
    "phimoe": _PLAIN | {"longrope"},
}
"""Architectures with their own scaling code -> the rope types that it supports."""

_WANTED_KEYS = {"hunyuan": "alpha", "hunyuan_v1_dense": "alpha"}
"""Architecture -> the key that it needs when the embedding is scaled."""

_WITH_ORIGINAL = _YARN | {"llama3", "longrope"}
_UNSCALED_WINDOW = frozenset({"olmo3"})
"""Architectures that scale only the layers without a sliding window."""

_PER_INDEX = frozenset({"step3p5"})
"""Architectures that take base and share as lists with one number per layer."""


class ConfigReader(NamedTuple):
    """Identify the mlx-lm class that reads a configuration.

    Attributes:
        architecture: name of its file in mlx-lm.
        keys: the keys that it reads.
    """

    architecture: str
    keys: frozenset[str]


def text_reader(architecture: str, text_config: Config) -> str | None:
    """Return "file.class" of the mlx-lm class that reads the text_config, or None."""
    own = _OWN_TEXT_READERS.get((architecture, str(text_config.get("model_type"))))
    return own or TEXT_READERS.get(architecture)


def rope_types(reader: ConfigReader) -> frozenset[str]:
    """Return the rope types that the architecture supports."""
    if reader.architecture in IGNORES_SCALING:
        return _PLAIN
    if own := OWN_SCALING.get(reader.architecture):
        return own
    return _COMMON if "rope_scaling" in reader.keys else _PLAIN


def rope_changes(config: Config, reader: ConfigReader) -> dict[str, Any]:
    """Return the keys to change so that the architecture uses everything in the config.

    Args:
        config: config.json, or its text_config.
        reader: the mlx-lm class that reads it.

    Raises:
        ModelError: when the architecture does not support a key, or the two spellings disagree.
    """
    given = config.get("rope_parameters")
    if reader.architecture in WITHOUT_ROPE:
        return {}
    if not given:
        return _to_new(config, reader)
    if not isinstance(given, Mapping):
        raise _refusal("rope_parameters", given, reader)
    layers = {name: own for name, own in given.items() if isinstance(own, Mapping)}
    if reader.architecture in PER_LAYER:
        return _check_per_layer(given, layers, reader)
    if not layers:
        return _to_old(given, config, reader)
    if reader.architecture in _PER_INDEX:
        return _to_lists(layers, config, reader)
    local = next((key for key in LOCAL_THETA_KEYS if key in reader.keys), None)
    if local and layers.keys() <= {"full_attention", "sliding_attention"}:
        return _to_two_bases(layers, config, reader, local)
    return _to_old(_only_one(layers, reader), config, reader)


def _to_new(config: Config, reader: ConfigReader) -> dict[str, Any]:
    """Return `rope_parameters` for an architecture that does not read the old keys."""
    theta, scaling = config.get("rope_theta"), config.get("rope_scaling") or {}
    if theta is None and not scaling:
        return {}
    if reader.architecture in PER_LAYER:
        raise _refusal("rope_scaling" if theta is None else "rope_theta", theta or scaling, reader)
    if reader.architecture not in ONLY_NEW:
        return {}
    found = {**scaling, "rope_type": _rope_type(scaling, "rope_scaling", reader)}
    for key in ("rope_theta", "partial_rotary_factor"):
        if config.get(key) is not None:
            found.setdefault(key, config[key])
    return {"rope_parameters": found}


def _to_old(given: Config, config: Config, reader: ConfigReader) -> dict[str, Any]:
    """Return the old keys for parameters that are the same in all layers."""
    kind = _rope_type(given, "rope_parameters", reader)
    changes: dict[str, Any] = {}
    if (theta := given.get("rope_theta")) is not None:
        changes |= _theta(theta, config, reader)
    if (partial := given.get("partial_rotary_factor")) is not None:
        changes |= _partial(partial, config, reader)
    if "rope_scaling" in reader.keys:
        changes |= _scaling(kind, given, config, reader)
    original = given.get("original_max_position_embeddings")
    key = "original_max_position_embeddings"
    if original is not None and key in reader.keys and config.get(key) is None:
        changes[key] = original
    return changes


def _to_two_bases(
    layers: Config, config: Config, reader: ConfigReader, local: str
) -> dict[str, Any]:
    """Return the old keys when layers with a sliding window have their own base."""
    whole, window = layers.get("full_attention", {}), layers.get("sliding_attention", {})
    where = "rope_parameters.sliding_attention"
    if _rope_type(window, where, reader) != "default":
        raise _refusal(f"{where}.rope_type", window.get("rope_type"), reader)
    share = window.get("partial_rotary_factor")
    if share is not None and share != whole.get("partial_rotary_factor", 1.0):
        raise _refusal(f"{where}.partial_rotary_factor", share, reader)
    changes = _to_old(whole, config, reader)
    if (theta := window.get("rope_theta")) is not None:
        changes[local] = _agreed(local, theta, config)
    return changes


def _to_lists(layers: Config, config: Config, reader: ConfigReader) -> dict[str, Any]:
    """Return base and share as lists with one number per layer, and the scaled layer types."""
    kinds = {
        name: _rope_type(own, f"rope_parameters.{name}", reader) for name, own in layers.items()
    }
    names = config.get("layer_types") or ["full_attention"] * int(config["num_hidden_layers"])
    if lost := set(names) - layers.keys():
        raise _refusal("rope_parameters", f"nothing for {', '.join(sorted(lost))}", reader)
    scaled = [name for name, kind in kinds.items() if kind != "default" and name in names]
    told = [_scaling(kinds[name], layers[name], config, reader) for name in scaled]
    if any(one != told[0] for one in told):
        raise _refusal("rope_parameters", "several scalings", reader)
    return {
        "rope_theta": [layers[name].get("rope_theta", _FIXED_THETA) for name in names],
        "partial_rotary_factors": [
            layers[name].get("partial_rotary_factor", 1.0) for name in names
        ],
        **(told[0] if told else {"rope_scaling": None}),
        "yarn_only_types": scaled,
    }


def _only_one(layers: Config, reader: ConfigReader) -> Config:
    """Return the parameters if all layer types have the same.

    Raises:
        ModelError: when they differ.
    """
    first: Config = layers.get("full_attention") or next(iter(layers.values()))
    for name, own in layers.items():
        if _essence(own) == _essence(first):
            continue
        unscaled = {key: first.get(key) for key in ("rope_theta", "partial_rotary_factor")}
        if reader.architecture in _UNSCALED_WINDOW and name == "sliding_attention":
            if _essence(own) == _essence(unscaled):
                continue
        raise _refusal(f"rope_parameters.{name}", dict(own), reader)
    return first


def _check_per_layer(given: Config, layers: Config, reader: ConfigReader) -> dict[str, Any]:
    """Check parameters that the architecture reads unchanged."""
    if not layers:
        raise _refusal("rope_parameters", dict(given), reader)
    for name, own in layers.items():
        kind = _rope_type(own, f"rope_parameters.{name}", reader)
        share = own.get("partial_rotary_factor", 1.0)
        is_read = kind == "proportional" or reader.architecture in _PARTIAL_IN_NEW
        if share != 1.0 and not is_read:
            raise _refusal(f"rope_parameters.{name}.partial_rotary_factor", share, reader)
    return {}


def _rope_type(given: Config, where: str, reader: ConfigReader) -> str:
    """Return the rope type.

    Raises:
        ModelError: when the architecture does not support it.
    """
    kind = given.get("rope_type") or given.get("type") or "default"
    if kind not in rope_types(reader):
        raise _refusal(f"{where}.rope_type", kind, reader)
    wanted = _WANTED_KEYS.get(reader.architecture)
    if kind != "default" and wanted and wanted not in given:
        raise _refusal(f"{where}.rope_type", f"{kind} without {wanted}", reader)
    return str(kind)


def _theta(theta: Any, config: Config, reader: ConfigReader) -> dict[str, Any]:
    if reader.architecture == "dbrx":
        attention = config.get("attn_config") or {}
        return {"attn_config": {**attention, "rope_theta": _agreed("rope_theta", theta, attention)}}
    key = next((key for key in THETA_KEYS if key in reader.keys), None)
    if key and reader.architecture not in IGNORES_THETA:
        return {key: _agreed(key, theta, config)}
    if "rope_parameters" in reader.keys or theta == _FIXED_THETA:
        return {}
    raise _refusal("rope_parameters.rope_theta", theta, reader)


def _partial(share: float, config: Config, reader: ConfigReader) -> dict[str, Any]:
    key = next((key for key in PARTIAL_KEYS if key in reader.keys), None)
    if key == "rotary_dim":
        head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        return {} if config.get(key) is not None else {key: int(head * share)}
    if key:
        return {key: _agreed(key, share, config)}
    is_apart = "qk_rope_head_dim" in reader.keys  # rotated dimensions have their own key
    fixed = _FIXED_PARTIAL.get(reader.architecture, 1.0)
    if is_apart or reader.architecture in _PARTIAL_IN_NEW or share == fixed:
        return {}
    raise _refusal("rope_parameters.partial_rotary_factor", share, reader)


def _scaling(kind: str, given: Config, config: Config, reader: ConfigReader) -> dict[str, Any]:
    """Return `rope_scaling` with its type under both names that architectures read."""
    if old := config.get("rope_scaling"):
        if (old.get("rope_type") or old.get("type") or "default") != kind:
            raise _contradiction("rope_scaling", old, dict(given))
        return {}
    if kind == "default":
        return {"rope_scaling": None}
    left_out = ("rope_theta", "partial_rotary_factor")
    found = {key: value for key, value in given.items() if key not in left_out}
    found |= {"type": kind, "rope_type": kind}
    if kind in _WITH_ORIGINAL:  # the default of transformers
        for key in ("original_max_position_embeddings", "max_position_embeddings"):
            if config.get(key) is not None:
                found.setdefault("original_max_position_embeddings", config[key])
    if found.get("factor") is not None:  # some architectures reject an integer
        found["factor"] = float(found["factor"])
    return {"rope_scaling": found}


def _essence(given: Config) -> dict[str, Any]:
    """Return the parameters without empty ones, and with the rope type under one name."""
    kind = given.get("rope_type") or given.get("type") or "default"
    said = {key: value for key, value in given.items() if value is not None and key != "type"}
    return {**said, "rope_type": kind}


def _agreed(key: str, value: Any, config: Config) -> Any:
    """Return the value after checking it against the old key.

    Raises:
        ModelError: when the old key has another value.
    """
    old = config.get(key)
    if old is not None and old != value:
        raise _contradiction(key, old, value)
    return value


def _contradiction(key: str, old: Any, new: Any) -> ModelError:
    return ModelError(
        f"config.json contradicts itself: {key} says {old!r}, rope_parameters say {new!r}. Remove "
        "the one that the model was not trained with"
    )


def _refusal(key: str, value: Any, reader: ConfigReader) -> ModelError:
    return ModelError(
        f"config.json says {key}: {value!r}, but mlx-lm ignores this for the architecture "
        f"{reader.architecture} and would give wrong answers. Use --engine transformers (for a "
        "judge: transformers:<model>)"
    )
