"""Generate with torch and PEFT, on CUDA, ROCm, Apple's mps or a CPU.

The base weights are loaded once for all variants. Completions are made by `_torch_decode.py`,
adapters are switched by `_peft_switch.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version as installed
from typing import Any

from plugin.certify.certificate import BatchEffect, Certificate, Tell, tell_nobody
from plugin.certify.measure import N_PROBES
from plugin.engines import EngineSettings
from plugin.engines._local import LocalEngine, PromptPair, split_by_context, thinking_option
from plugin.engines._peft_switch import PeftAdapterSwitch
from plugin.engines._torch import (
    dtype_4bit,
    dtype_name,
    eos_token_ids,
    free_torch_memory,
    is_out_of_memory,
    load_torch_model,
    torch_device,
    torch_loglikelihoods,
)
from plugin.engines._torch_decode import Ended, PromptDecoder, no_memory_result
from plugin.engines.templates import template_text
from plugin.errors import FaultError
from plugin.records import VANILLA, NoResult, Prompt

_DECODING = "decoding 2"
"""How tokens are computed; another way may round otherwise, so completions are made anew."""


def version() -> str:
    """Return the libraries that generate with their versions, the precision and the device."""
    place = torch_device()
    versions = ", ".join(f"{name} {installed(name)}" for name in ("transformers", "peft", "torch"))
    return f"{versions}, {_DECODING}, {dtype_name(place)} on {place}"


def version_4bit() -> str:
    """Return the part of the version that describes 4-bit loading."""
    kind = dtype_4bit(torch_device())
    return f"4-bit NF4 in {kind} by bitsandbytes {installed('bitsandbytes')}"


def has_gpu() -> bool:
    """Return whether torch sees a GPU here."""
    return torch_device() != "cpu"


def load(settings: EngineSettings) -> TransformersEngine:
    """Load the base model.

    Raises:
        ModelError: when transformers cannot load the folder.
    """
    model, tokenizer = load_torch_model(settings.model.path, in_4bit=settings.load_4bit)
    return TransformersEngine(model, tokenizer, settings)


class TransformersEngine(LocalEngine):
    """Generate with a base model on torch, with its adapters on or off."""

    def __init__(self, model: Any, tokenizer: Any, settings: EngineSettings) -> None:
        """See `load`."""
        self._model = model
        self._decoder = PromptDecoder(model, tokenizer, settings)
        self._n_changed: dict[str, int] = {}  # variant -> completions that another batch changes
        self._eos_ids = eos_token_ids(model, tokenizer)
        told = thinking_option(settings)
        template = template_text(tokenizer, told) if tokenizer.chat_template else None
        super().__init__(tokenizer, template, PeftAdapterSwitch(model, settings), settings)

    @property
    def decoding(self) -> str:
        """See `Engine.decoding`."""
        return self._decoder.policy

    def close(self) -> None:
        """See `Engine.close`."""
        del self._model, self._switch, self._decoder
        free_torch_memory()

    def _read_batch(self, batch: Sequence[PromptPair]) -> list[float | NoResult]:
        """See `LocalEngine._read_batch`; a batch too large for the memory is halved."""
        try:
            return [*torch_loglikelihoods(self._model, batch)]
        except RuntimeError as error:  # also raised when torch is out of memory
            if not is_out_of_memory(error):
                raise FaultError(
                    f"torch stopped reading: {error}. If it ran out of memory, lower --batch_size"
                ) from error
        free_torch_memory()
        if len(batch) == 1:
            return [no_memory_result("prompt and expected output", len(batch[0].input_ids) + 1)]
        half = len(batch) // 2
        return [*self._read_batch(batch[:half]), *self._read_batch(batch[half:])]

    def certify(
        self, variant: str, probes: Sequence[Prompt], tell: Tell = tell_nobody
    ) -> Certificate:
        """See `Engine.certify`; on a GPU it also shows how completions depend on the batch."""
        found = super().certify(variant, probes, tell)
        if torch_device() == "cpu" or found.kind == "base disturbed":
            return found
        tell("ask in batches of other sizes")
        fits, _ = split_by_context(probes[:N_PROBES], self._settings)
        return replace(found, batch=self._batch_effect(variant, fits))

    def _batch_effect(self, variant: str, probes: Sequence[Prompt]) -> BatchEffect | None:
        """Return how many completions of base and adapter change with the rows in a step."""
        n_rows = self._decoder.n_rows_of_probes(probes) if probes else 0
        for name in (VANILLA, variant):
            if name not in self._n_changed and n_rows > 1:
                own = [replace(probe, variant=name) for probe in probes]
                with self._switch.adapter_on(name):
                    one, other = (self._decoder.probe(own, self._ends(own), n) for n in (1, n_rows))
                self._n_changed[name] = sum(a != b for a, b in zip(one, other, strict=True))
        if VANILLA not in self._n_changed or not self._decoder.policy.startswith("in slots"):
            return None
        n_changed = self._n_changed[VANILLA] + self._n_changed[variant]
        return BatchEffect(2 * len(probes), n_changed, n_rows)

    def _ends(self, prompts: Sequence[Prompt]) -> set[int]:
        return self._eos_ids.union(*(self.stops(prompt.variant) for prompt in prompts))

    def _decode(self, prompts: Sequence[Prompt]) -> Iterator[Ended]:
        """See `LocalEngine._decode`."""
        yield from self._decoder.complete(prompts, self._ends(prompts))
