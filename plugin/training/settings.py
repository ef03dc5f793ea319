"""Read the settings of a training from the files that lie beside its logs.

Each trainer writes its own: adapter_config.json (mlx-lm the whole training, PEFT the adapter),
training_args.json or .yaml, a YAML file of the user's, or the hyperparameters in a model card.
training_args.bin is a pickle, which is never opened.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from plugin.errors import DataError
from plugin.training.rows import number, read_text
from plugin.training_curves import TrainingSettings

_NAMES = {
    "epochs": ("num_train_epochs", "num_epochs", "epochs", "n_epochs"),
    "steps": ("max_steps", "iters", "total_steps"),
    "learning_rate": ("learning_rate", "lr", "learning_rates"),
    "dropout": ("lora_dropout", "dropout"),
    "rank": ("lora_rank", "lora_r", "rank", "r"),
    "warmup": ("warmup_ratio", "warmup_steps", "lr_scheduler_warmup_ratio", "warmup"),
}
"""Setting -> the names that trainers have for it."""

_FILES = ("adapter_config.json", "training_args.json", "training_args.yaml", "*.yaml", "*.yml")
_CARD = "README.md"
_CARD_LINE = re.compile(r"^- (\w+): ([-+.\deE]+)\s*$", re.MULTILINE)
_LARGEST = 1_000_000
_INSIDE = ("lora_parameters", "lr_schedule", "peft", "lora", "training", "optimizer")
"""Parts of a file in which settings stand, too."""


def read_settings(*folders: Path) -> TrainingSettings:
    """Return what the files in these folders tell; the first one that tells a setting counts."""
    values, used = dict[str, float](), dict[Path, None]()
    for path, said in _said(folders):
        for setting, value in _settings_in(said).items():
            if setting not in values:
                values[setting] = value
                used[path] = None
    names = tuple(dict.fromkeys(path.name for path in used))
    return TrainingSettings(**values, files=names, digest=_digest(used))


def _digest(paths: Iterable[Path]) -> str:
    """Return the sha256 of the files' names and content, in hex; "" for no file."""
    try:
        found = [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in paths]
    except OSError:  # gone since they were read
        return ""
    return hashlib.sha256(json.dumps(found).encode()).hexdigest() if found else ""


def _said(folders: tuple[Path, ...]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    for folder in dict.fromkeys(folders):
        paths = dict.fromkeys(path for name in _FILES for path in sorted(folder.glob(name)))
        for path in (*paths, folder / _CARD):
            if path.is_file() and (said := _read(path)):
                yield path, said


def _read(path: Path) -> Mapping[str, Any]:
    """Return the settings in a file; {} if it cannot be read, which is no reason to stop."""
    try:
        if path.stat().st_size > _LARGEST:
            return {}
        text = read_text(path)
        if path.name == _CARD:
            return dict(_CARD_LINE.findall(text))
        found = json.loads(text) if path.suffix == ".json" else _yaml(text)
    except (DataError, OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _yaml(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


def _settings_in(said: Mapping[str, Any]) -> dict[str, float]:
    """Return the settings that a file tells, in our names."""
    parts = [said, *(said[name] for name in _INSIDE if isinstance(said.get(name), dict))]
    found = {}
    for setting, names in _NAMES.items():
        values = (number(part.get(name)) for part in parts for name in names)
        # Trainers write -1 for "not set".
        value = next((one for one in values if one is not None and one >= 0), None)
        if value is not None:
            found[setting] = value
    return found
