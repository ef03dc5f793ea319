"""A PEFT LoRA configuration: ranks and scales module by module, and what nobody here can honour."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
"""Values of init_lora_weights that leave the base's weights as they are."""

_KNOWN = {
    *("r", "lora_alpha", "use_rslora", "use_dora", "rank_pattern", "alpha_pattern"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
    *("modules_to_save", "lora_bias", "fan_in_fan_out", "trainable_token_indices"),
    *("target_parameters", "ensure_weight_tying", "lora_dropout", "bias", "init_lora_weights"),
}
"""What the transformers engine hands on to PEFT."""

_NOTES = {
    *("peft_type", "task_type", "auto_mapping", "base_model_name_or_path", "revision"),
    *("inference_mode", "peft_version", "megatron_core", "qalora_group_size", "runtime_config"),
    *("loftq_config", "eva_config", "corda_config", "lora_ga_config"),
}
"""What only says where the adapter came from, or counts only with a setting that is refused."""

_OUTPUT_LAYERS = ("lm_head", "output", "embed_out")


@dataclass(frozen=True, slots=True)
class PeftLora:
    """What a PEFT adapter_config.json says of a LoRA adapter.

    Attributes:
        config: the parsed file.
        rank: of modules that no pattern names.
        alpha: likewise.
    """

    config: Mapping[str, Any]
    rank: int
    alpha: float

    @property
    def is_dora(self) -> bool:
        """Whether a magnitude is learned beside the low-rank part."""
        return bool(self.config.get("use_dora"))

    @property
    def is_rslora(self) -> bool:
        """Whether the scale is alpha / sqrt(rank) rather than alpha / rank."""
        return bool(self.config.get("use_rslora"))

    @property
    def modules_to_save(self) -> tuple[str, ...]:
        """Modules of the base that the adapter replaces as a whole."""
        return tuple(self.config.get("modules_to_save") or ())

    def rank_of(self, module: str) -> int:
        """The rank of a module's part, by the patterns."""
        return int(_by_pattern(self.config.get("rank_pattern"), module, self.rank))

    def scale_of(self, module: str) -> float:
        """What B A is multiplied with in a module."""
        alpha = float(_by_pattern(self.config.get("alpha_pattern"), module, self.alpha))
        rank = self.rank_of(module)
        return alpha / math.sqrt(rank) if self.is_rslora else alpha / rank

    def settings(self) -> dict[str, Any]:
        """What a LoraConfig takes, without notes and without what is not set."""
        return {
            key: value
            for key, value in self.config.items()
            if key in _KNOWN and value not in (None, "", [], {}) and value is not False
        }

    def obstacles(self) -> list[str]:
        """Settings under which base and adapter cannot be told apart in one load, or unknown."""
        found = []
        start = self.config.get("init_lora_weights", True)
        if start not in _PLAIN_STARTS:
            found.append(
                f"init_lora_weights {start!r} changes the base's own weights; save the adapter as "
                "plain LoRA (PEFT: path_initial_model_for_weight_conversion)"
            )
        if self.config.get("bias", "none") != "none":
            found.append(
                f"bias {self.config['bias']!r} trains the base's own biases, which cannot be taken "
                "off again"
            )
        found += [
            f"{key} {value!r} is not known here"
            for key, value in self.config.items()
            if value and key not in _KNOWN | _NOTES
        ]
        return found

    def targets(self, modules: Iterable[str]) -> list[str]:
        """Those of a base's linear modules that get a part, by PEFT's rules of names."""
        wanted = self.config.get("target_modules") or ()
        excluded = self.config.get("exclude_modules") or ()
        layers = self.config.get("layers_to_transform")
        if isinstance(layers, int):
            layers = [layers]
        return [
            module
            for module in modules
            if _names(wanted, module)
            and not (excluded and _names(excluded, module))
            and (layers is None or isinstance(wanted, str) or layer_of(module) in layers)
        ]


def parse(config: Mapping[str, Any]) -> PeftLora:
    """Rank and alpha of a PEFT configuration.

    Raises:
        ValueError: when it is none of LoRA, or has values that cannot be; with all of them.
    """
    if str(config.get("peft_type")).upper() != "LORA":
        raise ValueError(
            f"peft_type {config.get('peft_type')!r} is not LORA (DoRA is part of it). Adapters of "
            "LoRA's family are compared here: LoRA, rsLoRA and DoRA"
        )
    wrong = [
        f"{key} is missing" if config.get(key) is None else f"{key} {config[key]!r} {rule}"
        for key, rule, holds in _RULES
        if not holds(config.get(key))
    ]
    if wrong:
        raise ValueError(f"{'; '.join(wrong)}. Copy it again from the training's output")
    return PeftLora(config, config["r"], float(config["lora_alpha"]))


def is_rank(value: object) -> bool:
    """Whether a rank can be so."""
    return type(value) is int and value >= 1


def is_scale(value: object) -> bool:
    """Whether a scale, or what it is made of, can be so; a negative one turns an adapter round."""
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _is_pattern(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(re.compile(value))
    except re.error:
        return False


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _are_layers(value: object) -> bool:
    return type(value) is int or (
        isinstance(value, list) and all(type(layer) is int for layer in value)
    )


def _maps_patterns(value: object, to: Callable[[object], bool]) -> bool:
    return isinstance(value, dict) and all(
        _is_pattern(pattern) and to(one) for pattern, one in value.items()
    )


def _unset_or(holds: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value in (None, "", [], {}) or holds(value)


_MODULES = "must be a list of names or a regular expression"
_RULES: tuple[tuple[str, str, Callable[[object], bool]], ...] = (
    ("r", "is no rank; it must be 1 or more", is_rank),
    ("lora_alpha", "is no finite number", is_scale),
    (
        "rank_pattern",
        "must map names to ranks",
        _unset_or(lambda value: _maps_patterns(value, is_rank)),
    ),
    (
        "alpha_pattern",
        "must map names to finite numbers",
        _unset_or(lambda value: _maps_patterns(value, is_scale)),
    ),
    ("target_modules", _MODULES, _unset_or(lambda value: _are_names(value) or _is_pattern(value))),
    ("exclude_modules", _MODULES, _unset_or(lambda value: _are_names(value) or _is_pattern(value))),
    ("modules_to_save", "must be a list of names", _unset_or(_are_names)),
    ("layers_to_transform", "must be numbers of layers", _unset_or(_are_layers)),
)
"""Key, what its value must be in words, and whether a value is; PEFT's own defaults of rank and
alpha are not taken: a file that lacks them is not what PEFT saved, and the scale would be guessed.
"""


def layer_of(module: str) -> int | None:
    """The first number in a module's name: its layer."""
    found = re.search(r"\.(\d+)\.", module)
    return int(found[1]) if found else None


def _by_pattern(patterns: Mapping[str, Any] | None, module: str, default: float) -> Any:
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default


def _names(wanted: Any, module: str) -> bool:
    if wanted == "all-linear":
        return module.rpartition(".")[2] not in _OUTPUT_LAYERS
    if isinstance(wanted, str):
        return re.fullmatch(wanted, module) is not None
    return any(module == name or module.endswith(f".{name}") for name in wanted)
