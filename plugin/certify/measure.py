"""The proofs: that an adapter is applied, and that the base came back after it was taken off."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from plugin.adapters.base import base_notes
from plugin.adapters.certificate import (
    N_POSITIONS,
    N_PROBES,
    Logits,
    distance,
    same_files,
    weight_norm,
)
from plugin.certificate_records import Certificate, Distance
from plugin.engines import EngineSettings, Prompt
from plugin.errors import AdapterError, BaseDisturbedError, ModelError
from plugin.records import VANILLA

_PROBE_TOKENS = 16


def probe_ids(vocabulary: int) -> list[int]:
    """A fixed prompt of tokens from all over the vocabulary."""
    return [number * 31 % vocabulary for number in range(1, _PROBE_TOKENS + 1)]


class Fingerprint(NamedTuple):
    """What the base is known by.

    Attributes:
        proof: what is compared, in words.
        digest: 64 hex digits.
    """

    proof: str
    digest: str


def fingerprint(
    probe: Callable[[], bytes], tensors: Callable[[], Iterable[tuple[str, bytes]]]
) -> Fingerprint:
    """Digest of the base's answer to a probe, or of all its tensors where bits do not repeat.

    Args:
        probe: the logits for a fixed prompt, bit for bit.
        tensors: name and bytes of every tensor of the base.
    """
    first, again = probe(), probe()
    if first == again:
        return Fingerprint("bit-equal answers to a probe", hashlib.sha256(first).hexdigest())
    digest = hashlib.sha256()
    for name, content in tensors():
        digest.update(name.encode())
        digest.update(content)
    return Fingerprint("equal digests of all tensors", digest.hexdigest())


def require_answers(answer: bytes, model: Path) -> None:
    """Refuse a base that has nothing to say.

    Args:
        answer: the base's logits for the probe, float32.
        model: its folder.

    Raises:
        ModelError: when they are no numbers.
    """
    if is_broken(np.frombuffer(answer, np.float32)):
        raise ModelError(
            f"{model}: the model answers a probe with NaN or infinity, so its weights are broken "
            "or were made for another precision; get the model's files again"
        )


BaseAnswers = dict[tuple[tuple[int, ...], ...], tuple[list[Logits], Distance]]
"""Probes -> the base's logits for each alone, and their distance from those in one batch."""


class Rack(ABC):
    """A base model as it was loaded, and the adapters that it may wear.

    Attributes:
        base_answers: what the base was found to answer.
    """

    def __init__(self, settings: EngineSettings) -> None:
        """Remember the base as it is now; what it is made of must be there already.

        Raises:
            ModelError: when it answers with no numbers.
        """
        self._settings = settings
        self._unused: dict[str, tuple[str, ...]] = {}
        self.base_answers: BaseAnswers = {}
        require_answers(self.probe(), settings.model.path)
        self._base_print = self.fingerprint()

    def unused(self, variant: str) -> tuple[str, ...]:
        """Tensors of the adapter's file that found no place, once it was on."""
        return self._unused[variant]

    @property
    def base_proof(self) -> str:
        """What is compared to prove the base undisturbed."""
        return self._base_print.proof

    def fingerprint(self) -> Fingerprint:
        """Digest of the base's logits for the probe, or of all tensors where they do not repeat."""
        return fingerprint(self.probe, self._tensors)

    def require_base(self, variant: str) -> None:
        """Stop where the base is not itself again after a variant's adapter.

        Raises:
            BaseDisturbedError: when it answers otherwise than when it was loaded.
        """
        require_same(self._base_print, self.fingerprint(), variant)

    @abstractmethod
    def wearing(self, variant: str) -> AbstractContextManager[None]:
        """The model with the variant's adapter on; the base is proved undisturbed afterwards."""

    @abstractmethod
    def logits(self, rows: Sequence[Sequence[int]]) -> list[Logits]:
        """Logits for the last positions of these rows, computed side by side."""

    @property
    @abstractmethod
    def n_vocabulary(self) -> int:
        """Tokens that the model has a row for; 0 where its embedding is of no known kind."""

    @abstractmethod
    def probe(self) -> bytes:
        """The base's answer to a fixed prompt, bit for bit, in float32."""

    @abstractmethod
    def _tensors(self) -> Iterable[tuple[str, bytes]]:
        """Name and bytes of every tensor of the base."""


def certify(
    rack: Rack, variant: str, probes: Sequence[Prompt], settings: EngineSettings
) -> Certificate:
    """See `Engine.certify`; for the engines that hold the weights themselves."""
    adapter = settings.adapters[variant]
    limit = settings.model.context
    rows = [list(probe.token_ids[-limit:] if limit else probe.token_ids) for probe in probes]
    rows = [row for row in rows if row][:N_PROBES]
    digest = same_files(adapter)
    base, noise = _of_base(rack, rows)
    proof = rack.base_proof
    worn = base
    try:
        with rack.wearing(variant):
            worn = [rack.logits([row])[0] for row in rows]
    except BaseDisturbedError:
        proof = ""
    if any(is_broken(logits) for logits in worn):
        raise AdapterError(
            f"{adapter.path}: with this adapter the model answers the probes with NaN or infinity. "
            "Its numbers are too large: check the scale in adapter_config.json, or save the "
            "adapter again from its training"
        )
    return Certificate(
        variant=variant,
        adapter_digest=digest,
        n_tensors=len(adapter.shapes),
        unused=rack.unused(variant),
        weight_norm=weight_norm(adapter),
        n_probes=len(rows),
        effect=distance(base, worn),
        noise=noise,
        base_proof=proof,
        notes=base_notes(adapter, settings.model, settings.model_name),
    )


def _of_base(rack: Rack, rows: list[list[int]]) -> tuple[list[Logits], Distance]:
    """The base's answers one by one, and how far they are from those in one batch; made once."""
    probes = tuple(map(tuple, rows))
    if probes not in rack.base_answers:
        with rack.wearing(VANILLA):
            alone = [rack.logits([row])[0] for row in rows]
            rack.base_answers[probes] = alone, distance(alone, rack.logits(rows))
    return rack.base_answers[probes]


def is_broken(logits: np.ndarray[Any, Any]) -> bool:
    """Whether there is no next token in these logits; minus infinity only rules a token out."""
    return bool(np.isnan(logits).any() or np.isposinf(logits).any())


def last_positions(n_tokens: int) -> slice:
    """The positions of a row that are looked at."""
    return slice(max(0, n_tokens - N_POSITIONS), n_tokens)


def require_same(before: Fingerprint, now: Fingerprint, adapter: str) -> None:
    """Stop where the base is another than before.

    Raises:
        BaseDisturbedError: when the fingerprints differ.
    """
    if now != before:
        raise BaseDisturbedError(
            f"base disturbed: after adapter {adapter} was taken off, the base model no longer "
            "answers as before, so later completions would not be the base's. Compare this "
            "adapter in a run of its own"
        )
