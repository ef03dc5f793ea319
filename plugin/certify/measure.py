"""Measure whether an adapter is applied, and whether the base is left unchanged.

When the engine holds the weights, `certify_weights` compares the logits of base and adapter on a
few probe prompts, and a fingerprint of the base before and after; the engine provides an
`AdapterSwitch`. A server shows only its answers, so `certify_served` asks the base, the adapter,
and the base again. The helpers of both follow: distances, norms, digests.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from plugin.certify.certificate import Certificate, Distance, Tell, tell_nobody
from plugin.errors import AdapterError, BaseDisturbedError, ModelError, ServerDownError
from plugin.load.adapter import AdapterFolder, parse_peft_config
from plugin.load.fit import base_model_notes
from plugin.load.model import ModelFolder, file_digest
from plugin.load.tensors import read_tensors
from plugin.records import VANILLA, Completion, Failure, Prompt

N_PROBES = 8
N_POSITIONS = 8
"""Number of probe prompts, and of positions at the end of each whose logits are compared."""

_PROBE_TOKENS = 16

_N_TO_ACCUSE = 2
"""We blame the server when the base answers like the adapter on this many probes; one may be
chance."""

_RULED_OUT = -1e9
"""A finite stand-in for minus infinity, the logit of a token that is ruled out."""

Logits = np.ndarray[Any, np.dtype[np.float32]]
"""Logits of shape (n_positions, n_vocabulary), float32."""

WideLogits = np.ndarray[Any, np.dtype[np.float64]]

BaseAnswers = dict[tuple[tuple[int, ...], ...], tuple[list[Logits], Distance]]
"""Token ids of the probes -> the base's logits, computed one by one, and their distance from the
logits computed in one batch."""


class AdapterSwitch(ABC):
    """Switch adapters of a loaded base model on and off.

    Attributes:
        folder: the base model's folder.
        model_name: the base model's name, as the user gave it.
        adapters: variant name -> its adapter.
        base_answers: the base's answers to the probes, computed once.
        probe_rows: token ids of the certificate's probes; empty before the first certificate.
        paths: variant -> how its adapter is applied, in words, where there are several ways.
    """

    def __init__(
        self, folder: ModelFolder, model_name: str, adapters: Mapping[str, AdapterFolder]
    ) -> None:
        """Remember the base as it is now; a subclass must set its model before it calls this.

        Raises:
            ModelError: when the base answers with NaN or infinity.
        """
        self.folder = folder
        self.model_name = model_name
        self.adapters = adapters
        self.base_answers: BaseAnswers = {}
        self.probe_rows: list[list[int]] = []
        self.paths: dict[str, str] = {}
        self._unused: dict[str, tuple[str, ...]] = {}
        require_finite_answers(self.probe(), folder.path)
        self._base_print = self.fingerprint()

    def unused_tensors(self, variant: str) -> tuple[str, ...]:
        """Return the adapter's tensors that match no module; known after it was on once."""
        return self._unused[variant]

    @property
    def base_proof(self) -> str:
        """Return what is compared to prove that the base is unchanged."""
        return self._base_print.proof

    def fingerprint(self) -> Fingerprint:
        """Return a digest of the base's answers now, or of its weights."""
        return take_fingerprint(self.probe, self._tensors)

    def require_base(self, variant: str) -> None:
        """Stop if the base is not restored after a variant's adapter was switched off.

        Raises:
            BaseDisturbedError: when it answers differently than when it was loaded.
        """
        require_same_base(self._base_print, self.fingerprint(), variant)

    @abstractmethod
    def adapter_on(self, variant: str) -> AbstractContextManager[None]:
        """Switch the variant's adapter on inside the block, and check the base afterwards."""

    @abstractmethod
    def logits(self, rows: Sequence[Sequence[int]]) -> list[Logits]:
        """Return the logits for the last positions of these rows, computed in one batch."""

    @property
    @abstractmethod
    def n_vocabulary(self) -> int:
        """Return the number of rows in the model's embedding; 0 when unknown."""

    @abstractmethod
    def probe(self) -> bytes:
        """Return the base's logits for a fixed prompt as float32 bytes."""

    @abstractmethod
    def _tensors(self) -> Iterable[tuple[str, bytes]]:
        """Yield name and bytes of every tensor of the base."""


def certify_weights(
    switch: AdapterSwitch, variant: str, probes: Sequence[Prompt], tell: Tell = tell_nobody
) -> Certificate:
    """Certify an adapter in an engine that holds the weights; see `Engine.certify`.

    Raises:
        AdapterError: when its files changed, or when it makes the model answer with NaN.
    """
    adapter = switch.adapters[variant]
    limit = switch.folder.context
    rows = [list(probe.token_ids[-limit:] if limit else probe.token_ids) for probe in probes]
    rows = [row for row in rows if row][:N_PROBES]
    tell("read its files")
    digest = require_same_files(adapter)
    tell("ask the base")
    switch.probe_rows = rows
    base, noise = _measure_base(switch, rows)
    proof = switch.base_proof
    tuned = base
    try:
        tell("load the adapter")
        with switch.adapter_on(variant):
            tell("ask the adapter")
            tuned = [switch.logits([row])[0] for row in rows]
            tell("check the base")
    except BaseDisturbedError:
        proof = ""
    if any(is_not_finite(logits) for logits in tuned):
        raise AdapterError(
            f"{adapter.path}: with this adapter the model answers the probes with NaN or infinity. "
            "Its numbers are too large: check the scale in adapter_config.json, or save the "
            "adapter again from its training"
        )
    tell("measure its weights")
    return Certificate(
        variant=variant,
        adapter_digest=digest,
        n_tensors=len(adapter.shapes),
        unused=switch.unused_tensors(variant),
        weight_norm=weight_norm(adapter),
        n_probes=len(rows),
        effect=logit_distance(base, tuned),
        noise=noise,
        base_proof=proof,
        path=switch.paths.get(variant, ""),
        notes=base_model_notes(adapter, switch.folder, switch.model_name),
    )


def _measure_base(switch: AdapterSwitch, rows: list[list[int]]) -> tuple[list[Logits], Distance]:
    """Return the base's answers one by one, and their distance from those in one batch.

    Both are computed once and kept.
    """
    probes = tuple(map(tuple, rows))
    if probes not in switch.base_answers:
        with switch.adapter_on(VANILLA):
            alone = [switch.logits([row])[0] for row in rows]
            switch.base_answers[probes] = alone, logit_distance(alone, switch.logits(rows))
    return switch.base_answers[probes]


@dataclass(frozen=True, slots=True)
class ServedPair:
    """Name a base and an adapter on one server.

    Attributes:
        url: the server's base URL, without secrets.
        base: the base's name on the server.
        adapter: the adapter's name on the server.
        notes: what the reader should know about the adapter, one sentence each.
    """

    url: str
    base: str
    adapter: str
    notes: tuple[str, ...] = ()


AskProbes = Callable[[Sequence[Prompt]], dict[str, Completion | Failure]]
"""A function: prompts of one variant -> case id -> the server's answer."""


def certify_served(
    ask: AskProbes, variant: str, probes: Sequence[Prompt], served: ServedPair
) -> Certificate:
    """Certify an adapter on a server: ask the base, the adapter, and the base again.

    Raises:
        ModelError: when the server rejects the probes.
        ServerDownError: when it answers none of them.
        BaseDisturbedError: when the base answers like the adapter after the adapter was asked.
    """
    before, own, after = (
        ask([replace(probe, variant=name) for probe in probes])
        for name in (VANILLA, variant, VANILLA)
    )
    rows = [(before[probe.case_id], own[probe.case_id], after[probe.case_id]) for probe in probes]
    texts = [[one.text for one in row if isinstance(one, Completion)] for row in rows]
    whole = [(*row,) for row in texts if len(row) == 3]  # answered every time
    if not whole:
        raise _no_answer_error([one for row in rows for one in row], served.url)
    changed = [row for row in whole if row[0] != row[1]]
    if len(changed) >= _N_TO_ACCUSE and all(row[1] == row[2] for row in changed):
        raise BaseDisturbedError(
            f"base disturbed: after a request for {variant}, the inference server {served.url} "
            f"answers as {variant} also under the base's name {served.base!r}. The server must "
            "keep the two apart, as vLLM does with --lora-modules"
        )
    n_self_changed = sum(row[0] != row[2] for row in whole)
    return Certificate(
        variant=variant,
        n_probes=len(whole),
        base_proof=None
        if n_self_changed
        else f"same answers to {len(whole)} probe prompts when asked again",
        n_completions=len(whole),
        n_changed=len(changed),
        n_self_changed=n_self_changed,
        notes=(
            *served.notes,
            *_answer_notes(variant, len(whole), len(changed), n_self_changed, served),
        ),
    )


def _answer_notes(
    variant: str, n: int, n_changed: int, n_self_changed: int, served: ServedPair
) -> list[str]:
    notes = []
    if not n_changed:
        notes.append(
            f"the server gave the same answers to all {n} probe prompts for {served.adapter!r} as "
            f"for the base, {served.base!r}: it may not apply the adapter. vLLM needs "
            f"--enable-lora --lora-modules {variant}=DIRECTORY; some servers answer every name "
            "with the one model that they have loaded"
        )
    if n_self_changed:
        notes.append(
            f"the server's base gave another answer to {n_self_changed} of {n} probe prompts when "
            "asked again, even at temperature 0: a part of every difference is chance"
        )
    return notes


def _no_answer_error(
    results: Sequence[Completion | Failure], url: str
) -> ModelError | ServerDownError:
    """Return the error that says why no probe was answered."""
    failures = [one for one in results if isinstance(one, Failure)]
    refused = next((failure for failure in failures if not failure.retry), None)
    if refused:
        return ModelError(
            f"the inference server {url} refuses the probes: {refused.reason}. Change "
            "the options or how the server was started; --chat_template false sends plain text"
        )
    return ServerDownError(f"the inference server {url} does not answer: {failures[0].reason}")


def logit_distance(first: Sequence[Logits], second: Sequence[Logits]) -> Distance:
    """Return the distance between two models' logits for the same probes.

    Args:
        first: logits of each probe; the p of KL(p || q).
        second: logits of the same probes, in the same order and shapes; the q.
    """
    total, n, largest = 0.0, 0, 0.0
    for ours, theirs in zip(first, second, strict=True):
        # Minus infinity rules a token out, but minus infinity minus itself is NaN.
        one, other = (np.maximum(x.astype(np.float64), _RULED_OUT) for x in (ours, theirs))
        log_p, log_q = _log_softmax(one), _log_softmax(other)
        total += float((np.exp(log_p) * (log_p - log_q)).sum())
        n += len(ours)
        largest = max(largest, float(np.abs(one - other).max()))
    return Distance(max(total / n, 0.0) if n else 0.0, largest)


def _log_softmax(logits: WideLogits) -> WideLogits:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    found: WideLogits = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return found


def last_positions(n_tokens: int) -> slice:
    """Return the positions of a row whose logits are compared."""
    return slice(max(0, n_tokens - N_POSITIONS), n_tokens)


def probe_ids(vocabulary: int) -> list[int]:
    """Return a fixed prompt with tokens from all parts of the vocabulary."""
    return [number * 31 % vocabulary for number in range(1, _PROBE_TOKENS + 1)]


def is_not_finite(logits: np.ndarray[Any, Any]) -> bool:
    """Return whether a logit is NaN or plus infinity; minus infinity only rules a token out."""
    return bool(np.isnan(logits).any() or np.isposinf(logits).any())


def require_finite_answers(answer: bytes, model: Path) -> None:
    """Refuse a base whose logits are NaN or infinite.

    Args:
        answer: the base's logits for the probe, as float32 bytes.
        model: its folder.

    Raises:
        ModelError: when a logit is NaN or infinite.
    """
    if is_not_finite(np.frombuffer(answer, np.float32)):
        raise ModelError(
            f"{model}: the model answers a probe prompt with NaN or infinity, so its weights are "
            "broken or made for another precision; get the model's files again"
        )


class Fingerprint(NamedTuple):
    """Identify a state of the base model.

    Attributes:
        proof: what is compared, in words.
        digest: sha256, 64 hex digits.
    """

    proof: str
    digest: str


def take_fingerprint(
    probe: Callable[[], bytes], tensors: Callable[[], Iterable[tuple[str, bytes]]]
) -> Fingerprint:
    """Digest the base's answer to a probe, or its tensors if the answer is not repeatable.

    Args:
        probe: returns the logits for a fixed prompt as bytes.
        tensors: returns name and bytes of every tensor of the base.
    """
    first, again = probe(), probe()
    if first == again:
        return Fingerprint("the same logits, bit for bit", hashlib.sha256(first).hexdigest())
    digest = hashlib.sha256()
    for name, content in tensors():
        digest.update(name.encode("utf-8", "surrogatepass"))
        digest.update(content)
    return Fingerprint("the same digest of all tensors", digest.hexdigest())


def require_same_base(before: Fingerprint, now: Fingerprint, adapter: str) -> None:
    """Stop if the base differs from before.

    Raises:
        BaseDisturbedError: when the fingerprints differ.
    """
    if now != before:
        raise BaseDisturbedError(
            f"base disturbed: after adapter {adapter} was removed, the base model answers "
            "differently than before, so its later completions would be wrong. Compare this "
            "adapter in a separate run"
        )


def require_same_files(adapter: AdapterFolder) -> str:
    """Return the digest of the adapter's files as they are now.

    Raises:
        AdapterError: when they changed since the run began.
    """
    now = file_digest([adapter.weights_path, adapter.root / "adapter_config.json"])
    if now != adapter.digest:
        raise AdapterError(
            f"{adapter.path} changed while the run was reading it; start again when its training "
            "has ended"
        )
    return now


def weight_norm(adapter: AdapterFolder) -> float | None:
    """Return the Frobenius norm of scale * B A over all modules.

    None when the norm does not show the effect: the adapter has no A and B, or they are zero and
    it also holds other tensors (whole modules, DoRA magnitudes). The formula is |B A|^2 =
    trace((A A') (B' B)), which never builds the full matrix.
    """
    tensors = read_tensors(adapter.weights_path)
    total, n_modules = 0.0, 0
    for name, raw in tensors.items():
        partner, scale = _find_partner(adapter, name)
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


def _find_partner(adapter: AdapterFolder, name: str) -> tuple[str, float]:
    """Return the name of the B that belongs to an A ("" for any other tensor), and the scale."""
    if adapter.kind == "mlx":
        settings = adapter.config.get("lora_parameters") or {}
        partner = name.replace(".lora_a", ".lora_b") if ".lora_a" in name else ""
        return partner, float(settings.get("scale", 1.0))
    for first, second in (("lora_A", "lora_B"), ("lora_embedding_A", "lora_embedding_B")):
        if f".{first}" in name:
            module = name.removeprefix("base_model.model.").partition(f".{first}")[0]
            scale = parse_peft_config(adapter.config).scale_of(module)
            return name.replace(f".{first}", f".{second}"), scale
    return "", 1.0
