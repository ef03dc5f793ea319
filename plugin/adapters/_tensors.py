"""Safetensors files as raw tensors: any dtype, no framework, every bit kept."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from plugin.errors import AdapterError

_MAX_HEADER_BYTES = 100_000_000
_N_BYTES = {
    **{"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2},
    **{"I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1},
}


class Raw(NamedTuple):
    """A tensor by its bits.

    Attributes:
        dtype: as safetensors calls it, e.g. "BF16".
        bits: unsigned integers of the dtype's width, in the tensor's shape.
    """

    dtype: str
    bits: np.ndarray[Any, Any]

    @property
    def transposed(self) -> Raw:
        """The tensor with its two axes exchanged."""
        return Raw(self.dtype, np.ascontiguousarray(self.bits.T))

    def as_float32(self) -> np.ndarray[Any, Any]:
        """The values; exact from BF16, F16 and F32.

        Raises:
            AdapterError: for another dtype.
        """
        if self.dtype == "BF16":
            return (self.bits.astype(np.uint32) << 16).view(np.float32)
        if self.dtype in ("F16", "F32"):
            kind = np.float16 if self.dtype == "F16" else np.float32
            return self.bits.view(kind).astype(np.float32)
        raise AdapterError(
            f"a tensor of dtype {self.dtype}; adapters hold F32, F16 or BF16: save it as one"
        )


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Tensor name -> shape, from the header alone; the file's length is checked against it.

    Raises:
        AdapterError: when it is no whole safetensors file.
    """
    return {name: tuple(entry["shape"]) for name, entry in _header(path)[0].items()}


def read(path: Path) -> dict[str, Raw]:
    """All tensors of a file.

    Raises:
        AdapterError: when it is no whole safetensors file, or has a dtype that nobody knows.
    """
    entries, start = _header(path)
    unknown = sorted({entry["dtype"] for entry in entries.values()} - set(_N_BYTES))
    if unknown:
        raise AdapterError(
            f"{path} has tensors of dtype {', '.join(unknown)}, which is not known here; save the "
            "adapter as F32, F16 or BF16"
        )
    data = path.read_bytes()
    found = {}
    for name, entry in entries.items():
        begin, end = (start + at for at in entry["data_offsets"])
        kind = f"<u{_N_BYTES[entry['dtype']]}"
        found[name] = Raw(
            entry["dtype"], np.frombuffer(data[begin:end], kind).reshape(entry["shape"])
        )
    return found


def write(path: Path, tensors: Mapping[str, Raw]) -> None:
    """A safetensors file of the tensors, in the order of their names."""
    entries, parts, at = {}, [], 0
    for name, (dtype, bits) in sorted(tensors.items()):
        part = bits.tobytes()
        entries[name] = {
            "dtype": dtype,
            "shape": list(bits.shape),
            "data_offsets": [at, at + len(part)],
        }
        parts.append(part)
        at += len(part)
    header = json.dumps({"__metadata__": {"format": "pt"}, **entries}).encode()
    header += b" " * (-len(header) % 8)  # tensors begin at a multiple of 8 bytes
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"".join(parts))


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The entries (8 bytes of length, then JSON), and where in the file the tensors begin."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _MAX_HEADER_BYTES:
                raise ValueError(f"a header of {length} bytes")
            entries = json.loads(file.read(length))
        entries.pop("__metadata__", None)
        end = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
        missing = 8 + length + end - path.stat().st_size
        if missing > 0:
            raise ValueError(f"{missing} bytes of its tensors are missing")
        for entry in entries.values():
            tuple(entry["shape"]), entry["dtype"]
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise AdapterError(
            f"{path} is no readable safetensors file ({error}); it may be cut off: copy it again"
        ) from error
    if not entries:
        raise AdapterError(f"{path} holds no tensors at all; save the adapter again")
    return entries, 8 + length
