"""Find a model's folder, check that its files are complete, and compute their digests."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugin.errors import ModelError
from plugin.load.chat_files import ChatFiles, read_chat_files, read_json_object
from plugin.load.files import check_files, folder_problem
from plugin.load.tensors import tensor_names

_CHUNK_BYTES = 1 << 20
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json")
_NOT_WEIGHTS = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken")
"""Other files that can change a completion: tokenizer, chat template, generation config."""

_OF_A_HOST = ("index.json", "_tlab_provenance.json")
"""Files that a host keeps in a model's folder and changes after every job."""

_POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
"""Names of the context length in the configs of different architectures."""

_MORE_TEMPLATES = "additional_chat_templates"
"""A folder that the transformers library reads beside the tokenizer."""

_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")

_OUTPUT_WEIGHTS = ("lm_head.weight", "output.weight", "embed_out.weight")

_NO_LIMIT = 10**9

_HUB_PATTERNS = ("*.json", "model*.safetensors", "tokenizer.model", "*.jinja", "*.txt")

_THINKING = re.compile(
    r"</?(?:think|thinking|reasoning)>|enable_thinking|<\|channel\|>", re.IGNORECASE
)
"""Text in the chat template of a thinking model."""


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """Describe a model's folder in the hub's layout.

    Attributes:
        path: the directory.
        digest: digest of the weights and the config, 64 hex digits.
        tokenizer_digest: digest of the tokenizer, the chat template and the generation config.
        config: the parsed config.json.
        tokenizer_context: the tokenizer's longest text in tokens; None if not given.
        thinks: whether its chat template makes the model think before it answers.
        tensor_names: names of the tensors in its files.
        chat: its chat template and end-of-text token.
        room: how many tokens the engine has room for; None where that is no limit.
    """

    path: Path
    digest: str
    tokenizer_digest: str
    config: dict[str, Any]
    tokenizer_context: int | None = None
    thinks: bool = False
    tensor_names: frozenset[str] = frozenset()
    chat: ChatFiles = ChatFiles()
    room: int | None = None

    @property
    def ties_output(self) -> bool:
        """Return whether the model's output layer is its input embedding."""
        inner = self.config.get("text_config")
        for config in (inner if isinstance(inner, dict) else {}, self.config):
            if isinstance(told := config.get("tie_word_embeddings"), bool):
                return told
        return not any(name.endswith(_OUTPUT_WEIGHTS) for name in self.tensor_names)

    @property
    def context(self) -> int | None:
        """Return how many tokens prompt and completion may have together; None when unknown.

        This is the number of positions, extended by the scaling of the rotary embedding. The
        tokenizer's limit is used only if the config has none, because tokenizer files are often
        copied from another model. An engine may have less room.
        """
        known = [n for n in (self._own_context, self.room) if n is not None]
        return min(known, default=None)

    @property
    def _own_context(self) -> int | None:
        inner = self.config.get("text_config")
        for config in (self.config, inner if isinstance(inner, dict) else {}):
            known = [*(config.get(name) for name in _POSITIONS), _scaled_context(config)]
            found = [n for n in known if type(n) is int and n > 0]
            if found:
                return max(found)
        said = self.tokenizer_context
        return said if said and said < _NO_LIMIT else None


def _scaled_context(config: dict[str, Any]) -> int | None:
    """Return the number of positions after scaling; None if the config has no scaling."""
    rope = config.get("rope_scaling") or config.get("rope_parameters")
    if isinstance(rope, dict) and isinstance(rope.get("full_attention"), dict):
        rope = rope["full_attention"]  # transformers 5 has one for each type of layer
    if not isinstance(rope, dict):
        return None
    before: Any = rope.get("original_max_position_embeddings")
    factor: Any = rope.get("factor")
    if type(before) is not int or type(factor) not in (int, float) or not math.isfinite(factor):
        return None
    return int(before * factor)


def file_digest(paths: Iterable[Path]) -> str:
    """Return the sha256 of the files' names and contents, sorted by name."""
    total = hashlib.sha256()
    for path in sorted(paths, key=lambda path: path.name):
        content = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                content.update(chunk)
        total.update(os.fsencode(path.name) + f":{content.hexdigest()}\n".encode())
    return total.hexdigest()


def inspect_model(path: Path, option: str = "--model_name") -> ModelFolder:
    """Check a model's directory and compute its digests.

    Args:
        path: the directory.
        option: the option that named it, for messages.

    Raises:
        ModelError: when something is missing; lists everything.
    """
    if not path.is_dir():
        raise ModelError(f"{path}: {folder_problem(path)}; {option} takes a directory or a hub id")
    check_files(path, ("model*.safetensors", *_NOT_WEIGHTS), ModelError, _OF_A_HOST)
    if (path / _MORE_TEMPLATES).is_dir():
        check_files(path / _MORE_TEMPLATES, ("*",), ModelError)
    weights = sorted(path.glob("model*.safetensors"))
    others = {
        file
        for pattern in _NOT_WEIGHTS
        for file in path.glob(pattern)
        if file.name not in _OF_A_HOST
    }
    problems = []
    if not (path / "config.json").is_file():
        problems.append("no config.json")
    if not weights:
        problems.append(_no_weights_text(path))
    if not any((path / name).is_file() for name in _TOKENIZER_FILES):
        problems.append(f"no tokenizer ({' or '.join(_TOKENIZER_FILES)})")
    if problems:
        if (path / "adapter_config.json").is_file():
            problems.append("but there is an adapter: give it as --model_adapter")
        raise ModelError(
            f"{path} is not a complete model: {'; '.join(problems)}. It must be in the hub's "
            "layout: config.json, model*.safetensors and the tokenizer's files"
        )
    config = read_json_object(path / "config.json", ModelError)
    if not isinstance(config.get("model_type"), str):
        raise ModelError(f"{path / 'config.json'} has no model_type. Get the file again")
    names = frozenset[str]().union(*map(tensor_names, weights))
    _check_layers(path / "config.json", config, names)
    return ModelFolder(
        path=path,
        digest=file_digest([*weights, path / "config.json"]),
        tokenizer_digest=file_digest(others),
        config=config,
        tokenizer_context=_context_length(path / "tokenizer_config.json"),
        thinks=makes_think(_template_text(path)),
        tensor_names=names,
        chat=read_chat_files(path, ModelError),
    )


def _check_layers(path: Path, config: dict[str, Any], names: frozenset[str]) -> None:
    """Refuse a config with more layers than there are tensors: engines would build them all."""
    inner = config.get("text_config")
    for part in (config, inner if isinstance(inner, dict) else {}):
        for key in _LAYERS:
            number = part.get(key)
            if names and isinstance(number, (int, float)) and number > len(names):
                raise ModelError(
                    f"{path}: {key} is {number}, but the model's files hold only {len(names)} "
                    "tensors. Get the file again"
                )


def makes_think(template: str) -> bool:
    """Return whether a chat template makes a model think before it answers."""
    return bool(_THINKING.search(template))


def _template_text(path: Path) -> str:
    """Return all chat templates of a model's folder, as text."""
    found = [file.read_text("utf-8", "replace") for file in sorted(path.glob("*.jinja"))]
    if (path / "tokenizer_config.json").is_file():
        config = read_json_object(path / "tokenizer_config.json", ModelError)
        found.append(json.dumps(config.get("chat_template")))  # one, or several with their names
    return "\n".join(found)


def _context_length(path: Path) -> int | None:
    """Return what tokenizer_config.json says; libraries write 1e30 for "no limit"."""
    if not path.is_file():
        return None
    found = read_json_object(path, ModelError).get("model_max_length")
    return found if type(found) is int and found > 0 else None


def _no_weights_text(path: Path) -> str:
    pickles = sorted(file.name for end in ("*.bin", "*.pt", "*.pth") for file in path.glob(end))
    if pickles:
        return (
            f"the weights are only there as pickle ({', '.join(pickles)}), which is refused "
            "because reading such a file can run code; convert them to safetensors"
        )
    return "no model*.safetensors"


def short_name(name: str) -> str:
    """Return the last part of a path or hub id, as shown for a model or an adapter."""
    return name.rstrip("/").rpartition("/")[2]


_VERSION = re.compile(r"v\d+")


def short_names(names: Sequence[str]) -> list[str]:
    """Return the names by which several models and adapters are shown side by side.

    A folder that is named after its version, as registries have them (my-adapter/v1), is called by
    the folder that holds it; several versions of one are told apart by their number.
    """
    bases = [_without_version(name) for name in names]
    return [
        f"{base}-{short_name(name)}" if name != at and bases.count(base) > 1 else base
        for name, at, base in zip(names, map(_unversioned, names), bases, strict=True)
    ]


def _unversioned(name: str) -> str:
    """Return the path of the group for the folder of a version; others stay as they are."""
    parent, _, last = name.rstrip("/").rpartition("/")
    return parent if parent and _VERSION.fullmatch(last) else name


def _without_version(name: str) -> str:
    return short_name(_unversioned(name))


def find_model(name: str) -> Path:
    """Return a model's directory; download the model from the hub if necessary.

    Only safetensors, config and tokenizer files are downloaded, never code or pickles.

    Raises:
        ModelError: when there is no such directory and no such model on the hub.
    """
    path = Path(name)
    if path.exists() or path.is_symlink() or path.is_absolute():
        return path
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=list(_HUB_PATTERNS)))
    except (
        *(HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError),
        httpx.HTTPError,  # the connection breaks during a download
    ) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise ModelError(
            f"model {name!r}: there is no directory {path.resolve()}, and the hub download failed "
            f"({type(error).__name__}: {first_line}). Give a directory, or check id and network"
        ) from error
