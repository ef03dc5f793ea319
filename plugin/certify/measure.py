"""Measure whether an adapter is applied, and whether the base is left unchanged.

When the engine holds the weights, `certify_weights` compares the logits of base and adapter on a
few probe prompts, and a fingerprint of the base before and after; the engine provides an
`AdapterSwitch`. The helpers follow: distances, digests.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from plugin.certify.certificate import Certificate, Tell, tell_nobody
from plugin.certify.effect import Distance, RandomEffect, is_in_doubt
from plugin.certify.weights import lora_obstacle, random_adapter, weight_norm
from plugin.errors import AdapterError, BaseDisturbedError, ModelError
from plugin.load.adapter import AdapterFolder
from plugin.load.fit import base_model_notes
from plugin.load.model import ModelFolder, file_digest
from plugin.records import VANILLA, Prompt

N_PROBES = 8
N_POSITIONS = 8
"""Most probe prompts, and positions at the end of each whose logits are compared."""

N_FIRST = 3
"""Probes that are asked at first; all of them only where these leave something in doubt."""

N_DRAWS = 3
"""Random adapters whose effects are averaged."""

N_CHOICE = 32
"""Prompts of which the shortest become probes, because a long one takes longer."""

RANDOM = "a random adapter"
"""The name of the random adapter while it is on; see `random_adapter`."""

_PROBE_TOKENS = 16

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
        """Return the adapter's tensors that match no module; none before it was on once."""
        return self._unused.get(variant, ())

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

    @contextmanager
    def also(self, variant: str, adapter: AdapterFolder) -> Iterator[None]:
        """Know one more adapter inside the block."""
        before, self.adapters = self.adapters, {**self.adapters, variant: adapter}
        try:
            yield
        finally:
            self.adapters = before

    @abstractmethod
    def adapter_on(self, variant: str) -> AbstractContextManager[None]:
        """Switch the variant's adapter on inside the block, and check the base afterwards."""

    @abstractmethod
    def shuffle(self, seed: int) -> None:
        """Exchange inputs and outputs of every LoRA module that is on, at random.

        The columns of A and the rows of B change places, so B A keeps its norm. For the random
        adapter this is another draw.
        """

    @abstractmethod
    def logits(self, rows: Sequence[Sequence[int]], n_positions: int = N_POSITIONS) -> list[Logits]:
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

    A few probes are asked first, and all of them only if these leave something in doubt.

    Raises:
        AdapterError: when its files changed, or when it makes the model answer with NaN.
    """
    adapter, rows = switch.adapters[variant], _probe_rows(switch, probes)
    tell("read its files")
    digest = require_same_files(adapter)
    found = None
    for some in dict.fromkeys((min(N_FIRST, len(rows)), len(rows))):
        found = _measure(switch, variant, rows[:some], tell)
        if not found.is_in_doubt:
            break
    assert found is not None, "there is at least one round"
    if any(is_not_finite(logits) for logits in found.tuned):
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
        n_probes=len(found.base),
        effect=found.effect,
        noise=found.noise,
        random=found.random,
        base_proof=found.proof,
        path=switch.paths.get(variant, ""),
        notes=base_model_notes(adapter, switch.folder, switch.model_name),
    )


class _Round(NamedTuple):
    """Hold what some probes show.

    Attributes:
        base: the base's logits of each probe.
        tuned: the adapter's.
        noise: the base's distance from itself.
        random: the effect of random adapters.
        proof: how we know that the base is unchanged; "" when it is changed.
    """

    base: list[Logits]
    tuned: list[Logits]
    noise: Distance
    random: RandomEffect
    proof: str

    @property
    def effect(self) -> Distance:
        """Return the adapter's distance from the base."""
        return logit_distance(self.base, self.tuned)

    @property
    def is_in_doubt(self) -> bool:
        """Return whether more probes may change what is said."""
        if not (self.proof and self.base) or any(map(is_not_finite, self.tuned)):
            return False
        each = [logit_distance([a], [b]).kl for a, b in zip(self.base, self.tuned, strict=True)]
        return is_in_doubt(each, self.effect, self.noise, self.random)


def _measure(switch: AdapterSwitch, variant: str, rows: list[list[int]], tell: Tell) -> _Round:
    """Return what these probes show of an adapter.

    Raises:
        AdapterError: when it cannot be used with this base.
    """
    switch.probe_rows = rows
    base, noise = _measure_base(switch, rows, tell)
    proof = switch.base_proof
    tuned, random = base, RandomEffect()
    try:
        # Random ones first: a switch may hold the last one.
        random = _measure_random(switch, switch.adapters[variant], rows, tell)
        tell("load the adapter")
        with switch.adapter_on(variant):
            tuned = _ask_alone(switch, rows, "ask the adapter", tell)
            tell("check the base")
    except BaseDisturbedError:
        proof = ""
    return _Round(base, tuned, noise, random, proof)


def _ask_alone(
    switch: AdapterSwitch, rows: Sequence[Sequence[int]], step: str, tell: Tell
) -> list[Logits]:
    found = list[Logits]()
    for place, row in enumerate(rows, 1):
        tell(f"{step}, probe {place} of {len(rows)}")
        found.append(switch.logits([row])[0])
    return found


def measure_effect(
    switch: AdapterSwitch, variant: str, probes: Sequence[Prompt]
) -> Distance | None:
    """Return how far an adapter's answers to the probes are from the base's.

    None when the model answers with NaN or infinity.
    """
    rows = _probe_rows(switch, probes)
    base, _ = _measure_base(switch, rows)
    with switch.adapter_on(variant):
        tuned = [switch.logits([row])[0] for row in rows]
    return None if any(map(is_not_finite, tuned)) else logit_distance(base, tuned)


def _probe_rows(switch: AdapterSwitch, probes: Sequence[Prompt]) -> list[list[int]]:
    """Return the token ids of the first probes, where too long only their ends."""
    limit = switch.folder.context
    rows = [list(probe.token_ids[-limit:] if limit else probe.token_ids) for probe in probes]
    return [row for row in rows if row][:N_PROBES]


def _measure_random(
    switch: AdapterSwitch, adapter: AdapterFolder, rows: list[list[int]], tell: Tell
) -> RandomEffect:
    """Return the mean effect of random adapters of the same shapes and norms.

    The first is loaded from a file; the others are the first with its inputs and outputs shuffled,
    which keeps every norm and costs next to nothing.

    Raises:
        AdapterError: when an adapter of these shapes cannot be used with this base.
        BaseDisturbedError: when the base is not itself again afterwards.
    """
    if obstacle := lora_obstacle(adapter):
        return RandomEffect(reason=obstacle)
    tell("make a random change of the same size")
    with TemporaryDirectory(prefix="finetune-verdict-") as scratch:
        try:
            made = random_adapter(adapter, Path(scratch))
        except OSError as error:
            return RandomEffect(reason=f"it cannot be written to {scratch} ({error.strerror})")
        if made is None:
            return RandomEffect()
        base, _ = _measure_base(switch, rows)
        draws = list[Distance]()
        with switch.also(RANDOM, made), switch.adapter_on(RANDOM):
            for draw in range(N_DRAWS):
                tell(f"ask a random change of the same size, {draw + 1} of {N_DRAWS}")
                if draw:
                    switch.shuffle(draw)
                found = switch.logits(rows)
                if any(map(is_not_finite, found)):
                    return RandomEffect(reason="it makes the model answer with NaN or infinity")
                draws.append(logit_distance(base, found))
    return RandomEffect.of(draws)


def _measure_base(
    switch: AdapterSwitch, rows: list[list[int]], tell: Tell = tell_nobody
) -> tuple[list[Logits], Distance]:
    """Return the base's answers one by one, and their distance from those in one batch.

    Both are computed once and kept.
    """
    probes = tuple(map(tuple, rows))
    if probes not in switch.base_answers:
        with switch.adapter_on(VANILLA):
            alone = _ask_alone(switch, rows, "ask the base", tell)
            tell("ask the base in a batch")
            switch.base_answers[probes] = alone, logit_distance(alone, switch.logits(rows))
    return switch.base_answers[probes]


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


def last_positions(n_tokens: int, n_positions: int = N_POSITIONS) -> slice:
    """Return the positions of a row whose logits are compared."""
    return slice(max(0, n_tokens - n_positions), n_tokens)


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
