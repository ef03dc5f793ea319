"""Read and write safetensors files as raw tensors, without a framework and bit by bit."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from plugin.errors import AdapterError

if TYPE_CHECKING:
    import numpy as np

_MAX_HEADER_BYTES = 100_000_000
_N_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
"""Bytes per value of the dtypes that adapters use and every engine reads."""


class RawTensor(NamedTuple):
    """A tensor as raw bits.

    Attributes:
        dtype: the name in safetensors, e.g. "BF16".
        bits: the values as unsigned integers of the same width, in the tensor's shape.
    """

    dtype: str
    bits: np.ndarray[Any, Any]

    @property
    def transposed(self) -> RawTensor:
        """Return the tensor with its two axes exchanged."""
        import numpy as np

        return RawTensor(self.dtype, np.ascontiguousarray(self.bits.T))

    def as_float32(self) -> np.ndarray[Any, Any]:
        """Return the exact values as float32."""
        import numpy as np

        if self.dtype == "BF16":
            return (self.bits.astype(np.uint32) << 16).view(np.float32)
        kind = np.float16 if self.dtype == "F16" else np.float32
        return self.bits.view(kind).astype(np.float32)


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return tensor name -> shape from the header, after checking it against the file's length.

    Raises:
        AdapterError: when the safetensors file is incomplete, or has a dtype no adapter uses.
    """
    entries, _ = _read_header(path)
    strange = [
        f"  {name}: {entry['dtype']}"
        for name, entry in sorted(entries.items())
        if entry["dtype"] not in _N_BYTES
    ]
    if strange:
        raise AdapterError(
            f"{path}: {len(strange)} of {len(entries)} tensors have an unsupported dtype:\n"
            + "\n".join(strange)
            + f"\nSave the adapter again as one of {', '.join(_N_BYTES)}"
        )
    return {name: tuple(entry["shape"]) for name, entry in entries.items()}


def tensor_names(path: Path) -> frozenset[str]:
    """Return the names in the header of any safetensors file; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _MAX_HEADER_BYTES:
                return frozenset()
            entries = json.loads(file.read(length))
    except (struct.error, ValueError, RecursionError, OSError):
        return frozenset()
    return frozenset(entries) - {"__metadata__"} if isinstance(entries, dict) else frozenset()


def read_tensors(path: Path) -> dict[str, RawTensor]:
    """Read all tensors of a file.

    Raises:
        AdapterError: when the safetensors file is incomplete or broken.
    """
    import numpy as np

    entries, start = _read_header(path)
    data = path.read_bytes()
    found = {}
    for name, entry in entries.items():
        begin, end = (start + at for at in entry["data_offsets"])
        kind = f"<u{_N_BYTES[entry['dtype']]}"
        found[name] = RawTensor(
            entry["dtype"], np.frombuffer(data[begin:end], kind).reshape(entry["shape"])
        )
    return found


def write_tensors(path: Path, tensors: Mapping[str, RawTensor]) -> None:
    """Write the tensors to a safetensors file, in the order of their names."""
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


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Return the header's entries, and the offset of the first tensor in the file.

    A header is 8 bytes with its length, then JSON.

    The check is as strict as the format: every byte of the file belongs to exactly one tensor,
    names are unique, and the size of each tensor agrees with its shape.
    """
    try:
        n_bytes = path.stat().st_size
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(_MAX_HEADER_BYTES, n_bytes - 8):
                raise ValueError(f"a header of {length} bytes in a file of {n_bytes} bytes")
            entries = json.loads(file.read(length), object_pairs_hook=_unique_names)
        if not isinstance(entries, dict):
            raise ValueError("its header is not a JSON object")
        entries.pop("__metadata__", None)
        for name, entry in entries.items():
            _check_entry(name, entry)
        _check_places(entries, n_bytes - 8 - length)
    except (struct.error, ValueError, RecursionError, OSError) as error:
        raise AdapterError(
            f"{path} is not a valid safetensors file ({error}); it may be incomplete: copy it again"
        ) from error
    if not entries:
        raise AdapterError(f"{path} holds no tensors; save the adapter again")
    return entries, 8 + length


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dict of pairs; refuse duplicate names, because Python would keep only the last."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name} appears twice in its header")
        found[name] = value
    return found


def _check_entry(name: str, entry: object) -> None:
    if not isinstance(entry, dict):
        raise ValueError(f"{name} is not described by a JSON object")
    shape: Any
    offsets: Any
    shape, offsets, dtype = (entry.get(key) for key in ("shape", "data_offsets", "dtype"))
    if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
        raise ValueError(f"{name} has invalid shape {shape!r} or data_offsets {offsets!r}")
    if not isinstance(dtype, str):
        raise ValueError(f"{name} has invalid dtype {dtype!r}")
    n_held = offsets[1] - offsets[0]
    n_due = math.prod(shape) * _N_BYTES.get(dtype, 0)
    if n_held < 0 or (dtype in _N_BYTES and n_held != n_due):
        raise ValueError(f"{name} should have {n_due} bytes by its shape, but has {n_held}")


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(one) is int and one >= 0 for one in value)


def _check_places(entries: Mapping[str, Any], n_bytes: int) -> None:
    """Refuse tensors that do not fill the file without gaps and overlaps."""
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
        first, last = entry["data_offsets"]
        if first != end:
            what = "overlaps the tensor before it" if first < end else "leaves a gap before it"
            raise ValueError(f"{name} {what}")
        end = last
    if end > n_bytes:
        raise ValueError(f"{end - n_bytes} bytes of its tensors are missing")
    if end < n_bytes:
        raise ValueError(f"{n_bytes - end} of its bytes belong to no tensor")
