"""What the effect certificate measures: distances, norms, digests, and the adapter's own record.

The proofs: that an adapter is applied, and that the base came back after it was taken off.

The proof that a server applies an adapter: by its answers, since nobody sees its weights.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from plugin.certify.certificate import Certificate, Distance
from plugin.engines import EngineSettings, ServedSettings, is_final
from plugin.errors import AdapterError, BaseDisturbedError, ModelError, ServerDownError
from plugin.load.adapter import AdapterFolder, parse_peft_config
from plugin.load.fit import base_model_notes
from plugin.load.model import file_digest
from plugin.load.tensors import read_tensors
from plugin.records import VANILLA, Completion, Failure, Prompt

N_PROBES = 8
N_POSITIONS = 8
"""Prompts whose last so many positions are looked at."""

Logits = np.ndarray[Any, np.dtype[np.float32]]
"""(n_positions, n_vocabulary) in float32."""

Wide = np.ndarray[Any, np.dtype[np.float64]]

_RULED_OUT = -1e9
"""Logit of a token that no model would ever choose."""


def logit_distance(first: Sequence[Logits], second: Sequence[Logits]) -> Distance:
    """How far two models' logits for the same probes lie apart.

    Args:
        first: a probe's logits each; the distribution that the divergence is taken from.
        second: likewise, in the same order and of the same shapes.
    """
    total, n, largest = 0.0, 0, 0.0
    for ours, theirs in zip(first, second, strict=True):
        # Minus infinity rules a token out; as a number it can be subtracted from itself.
        one, other = (np.maximum(x.astype(np.float64), _RULED_OUT) for x in (ours, theirs))
        log_p, log_q = _log_softmax(one), _log_softmax(other)
        total += float((np.exp(log_p) * (log_p - log_q)).sum())
        n += len(ours)
        largest = max(largest, float(np.abs(one - other).max()))
    return Distance(max(total / n, 0.0) if n else 0.0, largest)


def _log_softmax(logits: Wide) -> Wide:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    found: Wide = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return found


def weight_norm(adapter: AdapterFolder) -> float | None:
    """Frobenius norm over all modules of scale * B A; None where that does not tell the effect.

    It does not where the adapter has no such parts, or where they are zero and others are there:
    whole modules, DoRA's magnitudes. By |B A|^2 = trace((A A') (B' B)), which never makes the
    whole matrix.
    """
    tensors = read_tensors(adapter.weights_path)
    total, n_modules = 0.0, 0
    for name, raw in tensors.items():
        partner, scale = _partner(adapter, name)
        if partner not in tensors:
            continue
        a, b = raw.as_float32().astype(np.float64), tensors[partner].as_float32().astype(np.float64)
        if a.ndim != 2 or b.ndim != 2:
            return None
        if adapter.kind == "mlx" or ".lora_embedding_A" in name:
            a, b = a.T, b.T
        if a.shape[0] != b.shape[1]:
            return None
        total += scale**2 * float(np.vdot(a @ a.T, b.T @ b))
        n_modules += 1
    has_others = 2 * n_modules < len(tensors)
    if not n_modules or (total <= 0 and has_others):
        return None
    return math.sqrt(max(total, 0.0))


def _partner(adapter: AdapterFolder, name: str) -> tuple[str, float]:
    """The B that belongs to an A, and what their product is multiplied with."""
    if adapter.kind == "mlx":
        settings = adapter.config.get("lora_parameters") or {}
        return name.replace(".lora_a", ".lora_b") if ".lora_a" in name else "", float(
            settings.get("scale", 1.0)
        )
    for first, second in (("lora_A", "lora_B"), ("lora_embedding_A", "lora_embedding_B")):
        if f".{first}" in name:
            module = name.removeprefix("base_model.model.").partition(f".{first}")[0]
            return name.replace(f".{first}", f".{second}"), parse_peft_config(
                adapter.config
            ).scale_of(module)
    return "", 1.0


def count_same_files(adapter: AdapterFolder) -> str:
    """The digest of the adapter's files as they are now.

    Raises:
        AdapterError: when they are not those that the run began with.
    """
    now = file_digest([adapter.weights_path, adapter.root / "adapter_config.json"])
    if now != adapter.digest:
        raise AdapterError(
            f"{adapter.path} changed while the run was reading it; start again when its training "
            "has ended"
        )
    return now


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


def take_fingerprint(
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


def require_finite_answers(answer: bytes, model: Path) -> None:
    """Refuse a base that has nothing to say.

    Args:
        answer: the base's logits for the probe, float32.
        model: its folder.

    Raises:
        ModelError: when they are no numbers.
    """
    if is_not_finite(np.frombuffer(answer, np.float32)):
        raise ModelError(
            f"{model}: the model answers a probe with NaN or infinity, so its weights are broken "
            "or were made for another precision; get the model's files again"
        )


BaseAnswers = dict[tuple[tuple[int, ...], ...], tuple[list[Logits], Distance]]
"""Probes -> the base's logits for each alone, and their distance from those in one batch."""


class AdapterSwitch(ABC):
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
        require_finite_answers(self.probe(), settings.model.path)
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
        return take_fingerprint(self.probe, self._tensors)

    def require_base(self, variant: str) -> None:
        """Stop where the base is not itself again after a variant's adapter.

        Raises:
            BaseDisturbedError: when it answers otherwise than when it was loaded.
        """
        require_same_base(self._base_print, self.fingerprint(), variant)

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


def certify_weights(
    rack: AdapterSwitch, variant: str, probes: Sequence[Prompt], settings: EngineSettings
) -> Certificate:
    """See `Engine.certify`; for the engines that hold the weights themselves."""
    adapter = settings.adapters[variant]
    limit = settings.model.context
    rows = [list(probe.token_ids[-limit:] if limit else probe.token_ids) for probe in probes]
    rows = [row for row in rows if row][:N_PROBES]
    digest = count_same_files(adapter)
    base, noise = _measure_base(rack, rows)
    proof = rack.base_proof
    worn = base
    try:
        with rack.wearing(variant):
            worn = [rack.logits([row])[0] for row in rows]
    except BaseDisturbedError:
        proof = ""
    if any(is_not_finite(logits) for logits in worn):
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
        effect=logit_distance(base, worn),
        noise=noise,
        base_proof=proof,
        notes=base_model_notes(adapter, settings.model, settings.model_name),
    )


def _measure_base(rack: AdapterSwitch, rows: list[list[int]]) -> tuple[list[Logits], Distance]:
    """The base's answers one by one, and how far they are from those in one batch; made once."""
    probes = tuple(map(tuple, rows))
    if probes not in rack.base_answers:
        with rack.wearing(VANILLA):
            alone = [rack.logits([row])[0] for row in rows]
            rack.base_answers[probes] = alone, logit_distance(alone, rack.logits(rows))
    return rack.base_answers[probes]


def is_not_finite(logits: np.ndarray[Any, Any]) -> bool:
    """Whether there is no next token in these logits; minus infinity only rules a token out."""
    return bool(np.isnan(logits).any() or np.isposinf(logits).any())


def last_positions(n_tokens: int) -> slice:
    """The positions of a row that are looked at."""
    return slice(max(0, n_tokens - N_POSITIONS), n_tokens)


def require_same_base(before: Fingerprint, now: Fingerprint, adapter: str) -> None:
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


ServedAnswers = Callable[[Sequence[Prompt]], dict[str, Completion | Failure]]
"""Prompts of one variant -> what each case came to."""

_N_TO_ACCUSE = 2
"""Probes on which the base must have become the adapter; one may be chance."""


def certify_served(
    answers: ServedAnswers, variant: str, probes: Sequence[Prompt], settings: ServedSettings
) -> Certificate:
    """See `Engine.certify`: base, adapter, and the base again are asked the same.

    Raises:
        ModelError: when the server takes no probe.
        ServerDownError: when it answers none.
        BaseDisturbedError: when the base answers like the adapter once that was asked.
    """
    before, own, after = (
        answers([replace(probe, variant=name) for probe in probes])
        for name in (VANILLA, variant, VANILLA)
    )
    rows = [(before[probe.case_id], own[probe.case_id], after[probe.case_id]) for probe in probes]
    texts = [[one.text for one in row if isinstance(one, Completion)] for row in rows]
    whole = [(*row,) for row in texts if len(row) == 3]  # answered every time
    if not whole:
        raise _unanswered_note([one for row in rows for one in row], settings)
    changed = [row for row in whole if row[0] != row[1]]
    if len(changed) >= _N_TO_ACCUSE and all(row[1] == row[2] for row in changed):
        raise BaseDisturbedError(
            f"base disturbed: once {variant} had been asked, the inference server {settings.url} "
            f"answers as {variant} under the base's name {settings.names[VANILLA]!r}, too. It must "
            "serve both side by side, as vLLM does with --lora-modules"
        )
    n_self_changed = sum(row[0] != row[2] for row in whole)
    return Certificate(
        variant=variant,
        n_probes=len(whole),
        base_proof=None if n_self_changed else f"same answers to {len(whole)} probes, asked again",
        n_completions=len(whole),
        n_changed=len(changed),
        n_self_changed=n_self_changed,
        notes=(
            *settings.notes.get(variant, ()),
            *_served_notes(variant, len(whole), len(changed), n_self_changed, settings),
        ),
    )


def _served_notes(
    variant: str, n: int, n_changed: int, n_self_changed: int, settings: ServedSettings
) -> list[str]:
    notes = []
    if not n_changed:
        notes.append(
            f"under the name {settings.names[variant]!r} the server answered all {n} probes as "
            f"under the base's name {settings.names[VANILLA]!r}: it may not apply the adapter. "
            f"vLLM applies those of --enable-lora --lora-modules {variant}=DIRECTORY; some servers "
            "answer every name with the one model that they have loaded"
        )
    if n_self_changed:
        notes.append(
            f"asked again, the server's base answered {n_self_changed} of {n} probes otherwise, "
            "even at temperature 0: a part of every difference is chance"
        )
    return notes


def _unanswered_note(
    results: Sequence[Completion | Failure], settings: ServedSettings
) -> ModelError | ServerDownError:
    """Why no probe went through."""
    failures = [one for one in results if isinstance(one, Failure)]
    refused = next((one for one in failures if is_final(one)), None)
    if refused:
        return ModelError(
            f"the inference server {settings.url} refuses the probes: {refused.reason}. Change "
            "the options or how the server was started; --chat_template false sends plain text"
        )
    return ServerDownError(
        f"the inference server {settings.url} does not answer: {failures[0].reason}"
    )
