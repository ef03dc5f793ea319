"""Read the logs of Inspect: one JSON document, or a zip file (.eval) with a document per sample."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from plugin.history.scored import ItemCollector, ScoredFile, ScoredItem, as_score, as_text

_ZSTD = 93
"""How a zip file names zstd (APPNOTE 4.4.5), which Python's zipfile reads from 3.14 on."""

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
"""A member's own header in a zip file (APPNOTE 4.3.7); its last two fields are lengths."""

_GRADES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
"""Inspect's grades: correct, partial, incorrect, no answer."""


def is_inspect_log(value: object) -> bool:
    """Return whether a JSON document is a log of Inspect."""
    return isinstance(value, dict) and isinstance(value.get("eval"), dict) and "status" in value


def read_inspect(log: Mapping[str, Any]) -> ScoredFile:
    """Return the items of a log in one document."""
    return _make_file(log, log.get("samples") or ())


def read_eval_file(path: Path) -> ScoredFile:
    """Return the items of a log in a zip file.

    Raises:
        ValueError: when it is no such file.
        OSError: when it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {one.filename: one for one in archive.infolist()}
            head = members.get("header.json") or members.get("_journal/start.json")
            if head is None:
                raise ValueError("it has no header.json")
            log = json.loads(_read_member(archive, head))
            samples = [one for name, one in members.items() if name.startswith("samples/")]
            return _make_file(log, (json.loads(_read_member(archive, one)) for one in samples))
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"it is no whole zip file: {error}") from error


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    if member.compress_type != _ZSTD:
        return archive.read(member)
    import pyarrow  # type: ignore[import-untyped]

    file = archive.fp
    if file is None:
        raise ValueError("the file was closed")
    file.seek(member.header_offset)
    lengths = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))[-2:]
    file.seek(member.header_offset + _LOCAL_HEADER.size + sum(lengths))
    packed = pyarrow.BufferReader(file.read(member.compress_size))
    try:
        with pyarrow.CompressedInputStream(packed, "zstd") as stream:
            unpacked: bytes = stream.read(member.file_size)
    except OSError as error:
        raise ValueError(f"{member.filename} is damaged: {error}") from error
    return unpacked


def _make_file(log: Mapping[str, Any], samples: Iterable[Mapping[str, Any]]) -> ScoredFile:
    about = log.get("eval") or {}
    items, metrics = ItemCollector(), dict[str, None]()
    read = [_make_item(sample, str(about.get("task") or "")) for sample in samples]
    for one in read:
        metrics.update(dict.fromkeys(one.scores))
    for one in read:
        missing = dict.fromkeys(metrics.keys() - one.scores.keys())
        items.add(replace(one, scores={**one.scores, **missing}))
    status = str(log.get("status") or "")
    unfinished = () if status == "success" else (f"Inspect ended this log with status {status!r}",)
    return ScoredFile(
        "Inspect", items.items(), str(about.get("model") or ""), (*unfinished, *items.notes)
    )


def _make_item(sample: Mapping[str, Any], task: str) -> ScoredItem:
    error, scores = sample.get("error"), dict[str, float | None]()
    reasons = dict[str, str]()
    for scorer, found in (sample.get("scores") or {}).items():
        value = found.get("value") if isinstance(found, dict) else found
        parts = value if isinstance(value, dict) else {"": value}
        for part, one in parts.items():
            name = f"{scorer}/{part}" if part else str(scorer)
            scores[name] = (
                _GRADES.get(one) if isinstance(one, str) and one in _GRADES else (as_score(one))
            )
            if isinstance(found, dict) and found.get("explanation"):
                reasons[name] = str(found["explanation"])
    return ScoredItem(
        key=f"{task}/{sample.get('id')}",
        name=str(sample.get("id")),
        question=_question(sample.get("input")),
        expected=as_text(sample.get("target")),
        answer=as_text((sample.get("output") or {}).get("completion")),
        scores=scores,
        group=task or None,
        reasons=reasons,
        problem=str(error.get("message") if isinstance(error, dict) else error) if error else "",
    )


def _question(value: object) -> str:
    """Return the last user text of a sample's input."""
    if isinstance(value, list):
        texts = [t.get("content") for t in value if isinstance(t, dict) and t.get("role") == "user"]
        value = texts[-1] if texts else None
    return as_text(value) or ""
