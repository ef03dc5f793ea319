"""Read an adapter's folder: its format, settings, tensor shapes and digest.

MLX and PEFT adapters use the same name for their config file but different contents, so the name
of the weights file decides which format it is. A trainer's folder may also hold checkpoints and a
fused model; they are ignored. If the folder holds only checkpoints, the last one is used. mlx-lm
saves its checkpoints as numbered files beside one config; such a file can be named itself.

`parse_peft_config` reads PEFT's settings: the rank and scale of each module, and settings that no
engine here can apply.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from plugin.errors import AdapterError
from plugin.load.chat_files import ChatFiles, read_chat_files, read_json_object
from plugin.load.files import check_files, folder_problem
from plugin.load.model import ModelFolder, file_digest
from plugin.load.tensors import tensor_shapes

_OF_TOKENIZER = ("tokenizer_config.json", "tokenizer.json", "*.jinja")
_WEIGHT_FILES: dict[str, Literal["mlx", "peft"]] = {
    "adapters.safetensors": "mlx",
    "adapter_model.safetensors": "peft",
}
MLX_CHECKPOINT = re.compile(r"(\d+)_adapters\.safetensors")
"""The name of a checkpoint that mlx-lm saves, with its step."""

_READ_FILES = (*_WEIGHT_FILES, "adapter_config.json", *_OF_TOKENIZER)
_MLX_METHODS = ("lora", "dora", "full")
_FUSED = "fused_model"
_PICKLES = ("*.npz", "*.bin", "*.pt", "*.pth", "*.pkl")

_PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
"""Values of init_lora_weights that do not change the base's weights."""

_KNOWN = {
    *("r", "lora_alpha", "use_rslora", "use_dora", "rank_pattern", "alpha_pattern"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
    *("modules_to_save", "lora_bias", "fan_in_fan_out", "trainable_token_indices"),
    *("target_parameters", "ensure_weight_tying", "lora_dropout", "bias", "init_lora_weights"),
}
"""Settings that the transformers engine passes to PEFT."""

_NOTES = {
    *("peft_type", "task_type", "auto_mapping", "base_model_name_or_path", "revision"),
    *("inference_mode", "peft_version", "megatron_core", "qalora_group_size", "runtime_config"),
    *("loftq_config", "eva_config", "corda_config", "lora_ga_config"),
}
"""Settings that we ignore: they describe the adapter's origin, or matter only together with a
setting that is refused anyway."""

OUTPUT_LAYERS = ("lm_head", "output", "embed_out")


@dataclass(frozen=True, slots=True)
class AdapterFolder:
    """Describe an adapter on disk.

    Attributes:
        path: the directory, as the user gave it; or the file of one of mlx-lm's checkpoints.
        root: the directory with the files: `path`, or the last checkpoint in it.
        kind: the format.
        config: the parsed adapter_config.json.
        shapes: tensor name -> shape, read from the file's header.
        digest: digest of weights and config, 64 hex digits.
        unused: for a converted adapter, tensors of the original that belong to no module.
        chat: the chat template and the end-of-text token in its folder.
    """

    path: Path
    root: Path
    kind: Literal["mlx", "peft"]
    config: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    digest: str
    unused: tuple[str, ...] = ()
    chat: ChatFiles = ChatFiles()

    def own_chat(self, model: ModelFolder) -> ChatFiles:
        """Return the chat template and end-of-text token that differ from the base model's."""
        return self.chat.without(model.chat)

    @property
    def weights_path(self) -> Path:
        """Return the path of the safetensors file."""
        if MLX_CHECKPOINT.fullmatch(self.path.name) and self.path.parent == self.root:
            return self.path
        return self.root / weights_name(self.kind)

    @property
    def method(self) -> str:
        """Return the training method: "lora", "dora", "full", or another one of PEFT."""
        if self.kind == "mlx":
            return str(self.config.get("fine_tune_type", "lora"))
        if self.config.get("use_dora"):
            return "dora"
        return str(self.config.get("peft_type")).lower()

    @property
    def traits(self) -> str:
        """Describe the adapter in a few words, e.g. "PEFT lora, rank 8, alpha 16, rsLoRA"."""
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


def weights_name(kind: str) -> str:
    """Return the usual name of the weights file of this format."""
    return next(name for name, one in _WEIGHT_FILES.items() if one == kind)


def inspect_adapter(path: Path) -> AdapterFolder:
    """Check an adapter's directory, or a checkpoint's file of mlx-lm, and read its description.

    Raises:
        AdapterError: when it is missing, empty, broken, or holds only pickle files.
    """
    if is_mlx_checkpoint(path):
        check_files(path.parent, (path.name, *_READ_FILES), AdapterError)
        return _read_adapter(path, path.parent, path.name, "mlx")
    if not path.is_dir():
        found = folder_problem(path).replace("no such dir", "no such adapter dir")
        raise AdapterError(f"{path}: {found}; check --model_adapter")
    check_files(path, _READ_FILES, AdapterError)
    root = path if _adapter_kinds(path) else _last_checkpoint(path) or path
    check_files(root, _READ_FILES, AdapterError)
    kinds = _adapter_kinds(root)
    if len(kinds) != 1:
        raise AdapterError(f"{path}: {_not_one_adapter_text(path, list(kinds))}")
    ((name, kind),) = kinds.items()
    return _read_adapter(path, root, name, kind)


def is_mlx_checkpoint(path: Path) -> bool:
    """Return whether this is the file of a checkpoint that mlx-lm saved."""
    return bool(MLX_CHECKPOINT.fullmatch(path.name)) and path.is_file()


def _read_adapter(path: Path, root: Path, name: str, kind: Literal["mlx", "peft"]) -> AdapterFolder:
    """Return the description of the adapter whose weights have this name in the folder."""
    config_path = root / "adapter_config.json"
    if not config_path.is_file():
        raise AdapterError(
            f"{root} has {name} but no adapter_config.json, which holds rank, scale and layers; "
            "copy it from the training's output"
        )
    config = read_json_object(config_path, AdapterError)
    _check_config(root, kind, config)
    return AdapterFolder(
        path=path,
        root=root,
        kind=kind,
        config=config,
        shapes=tensor_shapes(root / name),
        digest=file_digest([root / name, config_path]),
        chat=read_chat_files(root, AdapterError),
    )


def _adapter_kinds(folder: Path) -> dict[str, Literal["mlx", "peft"]]:
    return {name: kind for name, kind in _WEIGHT_FILES.items() if (folder / name).is_file()}


def _last_checkpoint(folder: Path) -> Path | None:
    """Return the trainer's checkpoint with the highest step; None when none holds an adapter."""
    steps = {
        int(found[1]): entry
        for entry in folder.glob("checkpoint-*")
        if (found := re.fullmatch(r"checkpoint-(\d+)", entry.name)) and _adapter_kinds(entry)
    }
    return steps[max(steps)] if steps else None


def _check_config(folder: Path, kind: str, config: dict[str, Any]) -> None:
    """Refuse a configuration of another format than the weights, or with invalid values."""
    if kind == "mlx":
        if "peft_type" in config:
            raise AdapterError(
                f"{folder}: adapters.safetensors is an MLX file, but adapter_config.json is a PEFT "
                "file (it has peft_type); copy both from the output of the same training"
            )
        if wrong := _mlx_config_problems(config):
            raise AdapterError(
                f"{folder}/adapter_config.json: {'; '.join(wrong)}. Copy it again from the "
                "training's output"
            )
        return
    if "peft_type" not in config:
        raise AdapterError(
            f"{folder}: adapter_model.safetensors is a PEFT file, but adapter_config.json is not "
            "(it has no peft_type); copy both from the output of the same training"
        )
    try:
        parse_peft_config(config)
    except ValueError as error:
        raise AdapterError(f"{folder}/adapter_config.json: {error}") from error


def _mlx_config_problems(config: Mapping[str, Any]) -> list[str]:
    """Return the problems in an MLX configuration; empty for a valid one."""
    method = config.get("fine_tune_type", "lora")
    if method not in _MLX_METHODS:
        return [f"fine_tune_type {method!r} must be one of {', '.join(_MLX_METHODS)}"]
    if method == "full":
        return []
    settings = config.get("lora_parameters")
    if not isinstance(settings, dict):
        return [f"lora_parameters {settings!r} must be an object with rank and scale"]
    keys, n_layers = settings.get("keys"), config.get("num_layers", -1)
    found = [
        f"{name} is missing" if settings.get(name) is None else f"{name} {settings[name]!r} {rule}"
        for name, rule, holds in (
            ("rank", "must be an integer of 1 or more", is_rank),
            ("scale", "must be a finite number", is_scale),
        )
        if not holds(settings.get(name))
    ]
    if keys is not None and not (
        isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    ):
        found.append(f"keys {keys!r} must be a list of names")
    if type(n_layers) is not int:
        found.append(f"num_layers {n_layers!r} must be an integer")
    return found


def _not_one_adapter_text(path: Path, kinds: list[str]) -> str:
    if kinds:
        return f"the folder holds both {' and '.join(kinds)}; remove one of them"
    names = " or ".join(_WEIGHT_FILES)
    pickles = sorted(file.name for end in _PICKLES for file in path.glob(end))
    if pickles:
        return (
            f"the weights are only there as pickle or npz ({', '.join(pickles)}), which is refused "
            f"because reading such a file can run code; save the adapter as {names}"
        )
    inside = sorted(entry.name for entry in path.iterdir())
    listing = f"holds {', '.join(inside[:8])}" if inside else "is empty"
    fused = "; fused_model is a whole model: give it as --tuned_model" if _FUSED in inside else ""
    return f"there is no adapter here: the folder {listing}; it must hold {names}{fused}"


@dataclass(frozen=True, slots=True)
class PeftLora:
    """Answer questions about the adapter_config.json of a PEFT LoRA adapter.

    Attributes:
        config: the parsed file.
        rank: rank of modules that match no pattern.
        alpha: alpha of modules that match no pattern.
    """

    config: Mapping[str, Any]
    rank: int
    alpha: float

    @property
    def is_dora(self) -> bool:
        """Return whether the adapter also learned DoRA magnitudes."""
        return bool(self.config.get("use_dora"))

    @property
    def is_rslora(self) -> bool:
        """Return whether the scale is alpha / sqrt(rank) rather than alpha / rank."""
        return bool(self.config.get("use_rslora"))

    @property
    def modules_to_save(self) -> tuple[str, ...]:
        """Return the base's modules that the adapter replaces completely."""
        return tuple(self.config.get("modules_to_save") or ())

    def rank_of(self, module: str) -> int:
        """Return the rank for a module, from rank_pattern or the default."""
        return int(_pick_by_pattern(self.config.get("rank_pattern"), module, self.rank))

    def scale_of(self, module: str) -> float:
        """Return the factor of B A in a module."""
        alpha = float(_pick_by_pattern(self.config.get("alpha_pattern"), module, self.alpha))
        rank = self.rank_of(module)
        return alpha / math.sqrt(rank) if self.is_rslora else alpha / rank

    def settings(self) -> dict[str, Any]:
        """Return the settings for a LoraConfig, without empty and ignored ones."""
        return {
            key: value
            for key, value in self.config.items()
            if key in _KNOWN and value not in (None, "", [], {}) and value is not False
        }

    def obstacles(self) -> list[str]:
        """Return the settings that are unknown, or that change the base itself."""
        found = []
        start = self.config.get("init_lora_weights", True)
        if start not in _PLAIN_STARTS:
            found.append(
                f"init_lora_weights {start!r} changes the base's own weights; save the adapter as "
                "plain LoRA (PEFT: path_initial_model_for_weight_conversion)"
            )
        if self.config.get("bias", "none") != "none":
            found.append(
                f"bias {self.config['bias']!r} changes the base's own biases, which cannot be "
                "undone"
            )
        found += [
            f"{key} {value!r} is not a known setting"
            for key, value in self.config.items()
            if value and key not in _KNOWN | _NOTES
        ]
        return found

    def targets(self, modules: Iterable[str]) -> list[str]:
        """Return the linear modules that the adapter changes, by PEFT's rules for names."""
        wanted = self.config.get("target_modules") or ()
        excluded = self.config.get("exclude_modules") or ()
        layers = self.config.get("layers_to_transform")
        if isinstance(layers, int):
            layers = [layers]
        return [
            module
            for module in modules
            if _listed_names(wanted, module)
            and not (excluded and _listed_names(excluded, module))
            and (layers is None or isinstance(wanted, str) or layer_of(module) in layers)
        ]


def parse_peft_config(config: Mapping[str, Any]) -> PeftLora:
    """Parse a PEFT configuration.

    Raises:
        ValueError: when it is not LoRA, or has invalid values; the message lists all of them.
    """
    if str(config.get("peft_type")).upper() != "LORA":
        raise ValueError(
            f"peft_type {config.get('peft_type')!r} is not supported. It must be LORA, which "
            "covers LoRA, rsLoRA and DoRA"
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
    """Return whether the value can be a rank."""
    return type(value) is int and value >= 1


def is_scale(value: object) -> bool:
    """Return whether the value can be a scale or an alpha; a negative one is allowed."""
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
    ("r", "must be an integer of 1 or more", is_rank),
    ("lora_alpha", "must be a finite number", is_scale),
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
    ("layers_to_transform", "must be an integer or a list of integers", _unset_or(_are_layers)),
)
"""Key, rule for its value in words, and a function that checks the rule. Rank and alpha are
required: PEFT always saves them, and with its defaults we would only guess the scale."""


def layer_of(module: str) -> int | None:
    """Return the layer of a module: the first number in its name."""
    found = re.search(r"\.(\d+)\.", module)
    return int(found[1]) if found else None


def _pick_by_pattern(patterns: Mapping[str, Any] | None, module: str, default: float) -> Any:
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default


def _listed_names(wanted: Any, module: str) -> bool:
    if wanted == "all-linear":
        return module.rpartition(".")[2] not in OUTPUT_LAYERS
    if isinstance(wanted, str):
        return re.fullmatch(wanted, module) is not None
    return any(module == name or module.endswith(f".{name}") for name in wanted)
