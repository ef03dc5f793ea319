"""What is in an adapter's folder: its kind, its settings, its tensors' shapes, its digest.

MLX and PEFT adapters share the name of their config file and differ in its contents, so they are
told apart by their weights file.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from plugin.errors import AdapterError
from plugin.weights import file_digest, json_object

_WEIGHTS: dict[str, Literal["mlx", "peft"]] = {
    "adapters.safetensors": "mlx",
    "adapter_model.safetensors": "peft",
}
_PICKLES = ("*.npz", "*.bin", "*.pt", "*.pth", "*.pkl")
_MAX_HEADER_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class AdapterFolder:
    """An adapter as it lies on disk.

    Attributes:
        path: the directory.
        kind: whose format it is in.
        config: the parsed adapter_config.json.
        shapes: tensor name -> shape, read from the file's header alone.
        digest: of weights and config, 64 hex digits.
    """

    path: Path
    kind: Literal["mlx", "peft"]
    config: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    digest: str

    @property
    def weights_path(self) -> Path:
        """The safetensors file."""
        return next(self.path / name for name, kind in _WEIGHTS.items() if kind == self.kind)


def inspect_adapter(path: Path) -> AdapterFolder:
    """Check an adapter's directory and read what it declares.

    Raises:
        AdapterError: when it is missing, empty, only pickled, or broken.
    """
    if not path.is_dir():
        raise AdapterError(f"{path}: no such adapter directory; check --model_adapter")
    kinds = {name: kind for name, kind in _WEIGHTS.items() if (path / name).is_file()}
    if len(kinds) != 1:
        raise AdapterError(f"{path}: {_not_one(path, list(kinds))}")
    ((name, kind),) = kinds.items()
    config_path = path / "adapter_config.json"
    if not config_path.is_file():
        raise AdapterError(
            f"{path} has {name} but no adapter_config.json, which says rank, scale and layers; "
            "copy it from the training's output"
        )
    return AdapterFolder(
        path=path,
        kind=kind,
        config=json_object(config_path, AdapterError),
        shapes=_shapes(path / name),
        digest=file_digest([path / name, config_path]),
    )


def _not_one(path: Path, found: list[str]) -> str:
    if found:
        return f"holds {' and '.join(found)}; an adapter folder has one of them"
    names = " or ".join(_WEIGHTS)
    pickles = sorted(file.name for end in _PICKLES for file in path.glob(end))
    if pickles:
        return (
            f"weights only as pickle or npz ({', '.join(pickles)}), which is refused because "
            f"reading it can run code; save the adapter as {names}"
        )
    inside = sorted(entry.name for entry in path.iterdir())
    listing = f"holds {', '.join(inside[:8])}" if inside else "is empty"
    return f"no adapter in it: the folder {listing}; it must hold {names}"


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Tensor shapes from a safetensors header: 8 bytes of length, then JSON."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _MAX_HEADER_BYTES:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(file.read(length))
        shapes = {
            name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"
        }
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AdapterError(
            f"{path} is no readable safetensors file ({error}); it may be cut off: copy it again"
        ) from error
    if not shapes:
        raise AdapterError(f"{path} holds no tensors at all; save the adapter again")
    return shapes
