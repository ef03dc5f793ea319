"""The transformers engine: torch with PEFT, on CUDA, ROCm, Apple's mps or a CPU.

The base weights are loaded once, for all variants; `_peft_rack` switches adapters on and off. Cases
of like length are decoded side by side, greedily, and leave the batch when they end. Where memory
is short the batch is halved and what was unfinished begins again; nothing finished is lost.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from importlib.metadata import version as installed
from typing import Any

from plugin.engines import NO_MEMORY, EngineSettings, Prompt
from plugin.engines import _torch_rows as rows
from plugin.engines._held import WeightsEngine
from plugin.engines._likelihoods import Row
from plugin.engines._peft_rack import PeftRack
from plugin.engines._prompts import Template, room
from plugin.errors import FaultError
from plugin.records import Completion, Failure

LIBRARIES = ("torch", "transformers", "peft")
INSTALL = "pip install -r requirements-torch.txt -c constraints/torch.txt"
BATCH_SIZE = 64
OFFERS = frozenset({"loglikelihood", "seconds", "tokens", "finish_reason"})

LIBRARIES_4BIT = ("bitsandbytes", "accelerate")
INSTALL_4BIT = "pip install -r requirements-4bit.txt -c constraints/torch.txt"


def version() -> str:
    """Names and versions of the libraries that generate, and in which precision where."""
    place = rows.device()
    versions = ", ".join(f"{name} {installed(name)}" for name in ("transformers", "peft", "torch"))
    return f"{versions}, {rows.dtype_name(place)} on {place}"


def version_4bit() -> str:
    """What the version says besides of a base in 4 bits."""
    kind = rows.dtype_4bit(rows.device())
    return f"4-bit NF4 in {kind} by bitsandbytes {installed('bitsandbytes')}"


def has_gpu() -> bool:
    """Whether torch sees a GPU here."""
    return rows.device() != "cpu"


def load(settings: EngineSettings) -> TransformersEngine:
    """Load the base model.

    Raises:
        ModelError: when transformers cannot load the folder.
    """
    model, tokenizer = rows.load_model_and_tokenizer(
        settings.model.path, in_4bit=settings.load_4bit
    )
    return TransformersEngine(model, tokenizer, settings)


class TransformersEngine(WeightsEngine):
    """A base model on torch, with its adapters switched on and off."""

    def __init__(self, model: Any, tokenizer: Any, settings: EngineSettings) -> None:
        """See `load`."""
        self._model = model
        self._rows = rows.Rows(model)
        self._eos_ids = rows.eos_ids(model, tokenizer)
        self._batch_size = settings.batch_size
        template: Template | None = None
        if tokenizer.chat_template:
            template = partial(
                tokenizer.apply_chat_template,
                add_generation_prompt=True,
                tokenize=True,
                return_dict=False,
            )
        super().__init__(tokenizer, template, PeftRack(model, settings), settings)

    def close(self) -> None:
        """See `Engine.close`."""
        del self._model, self._rack, self._rows
        rows.release()

    def _read(self, batch: Sequence[Row]) -> list[float | str]:
        """The log probabilities of continuations; a batch too large for the memory is halved."""
        try:
            return [*rows.loglikelihoods(self._model, batch)]
        except RuntimeError as error:  # torch's errors of memory are such
            if not rows.is_out_of_memory(error):
                raise FaultError(
                    f"torch stopped reading: {error}. If memory was short, lower --batch_size"
                ) from error
        rows.release()
        if len(batch) == 1:
            return [_no_memory("prompt and expected output", len(batch[0].read) + 1)]
        half = len(batch) // 2
        return [*self._read(batch[:half]), *self._read(batch[half:])]

    def _decode(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Completion | Failure, ...]]:
        """Batch by batch, the longest prompts first, so that what is too much shows at once."""
        waiting = deque(sorted(prompts, key=lambda prompt: -len(prompt.token_ids)))
        while waiting:
            n_rows = min(self._batch_size, len(waiting))
            prompt_rows = [waiting.popleft() for _ in range(n_rows)]
            batch = [_Growing(prompt, room(prompt, self._settings)) for prompt in prompt_rows]
            short = yield from self._work(batch)
            self._rows.clear()
            if not short:
                continue
            rows.release()
            unfinished = [growing.prompt for growing in batch if not growing.reason]
            if n_rows == 1:
                (prompt,) = unfinished
                reason = _no_memory("a prompt", len(prompt.token_ids))
                yield (Failure(prompt.case_id, "generate", reason, prompt.variant),)
            else:
                self._batch_size = n_rows // 2
                waiting.extendleft(reversed(unfinished))

    def _work(
        self, batch: Sequence[_Growing]
    ) -> Generator[tuple[Completion | Failure, ...], None, bool]:
        """Decode one batch; ends with True when memory was short, and with what ended kept."""
        live, places = list(batch), list(range(len(batch)))
        while live:
            tokens = self._next_tokens(live, places)
            if tokens is None:
                return True
            for growing, token in zip(live, tokens, strict=True):
                growing.add(token, self._eos_ids)
            yield tuple(self._finish(growing) for growing in live if growing.reason)
            places = [i for i, growing in enumerate(live) if not growing.reason]
            live = [live[i] for i in places]
        return False

    def _next_tokens(self, live: Sequence[_Growing], places: Sequence[int]) -> list[int] | None:
        """The likeliest next token of each row that is left; None when memory was short."""
        try:
            if live[0].token_ids:
                self._rows.keep(places)
                logits = self._rows.step([growing.token_ids[-1] for growing in live])
            else:
                logits = self._rows.read([growing.prompt.token_ids for growing in live])
            chosen: list[int] = logits.argmax(-1).tolist()
            return chosen
        except RuntimeError as error:  # torch's errors of memory are such
            if rows.is_out_of_memory(error):
                return None
            raise FaultError(
                f"torch stopped generating: {error}. If memory was short, lower --batch_size"
            ) from error

    def _finish(self, growing: _Growing) -> Completion:
        return Completion(
            case_id=growing.prompt.case_id,
            variant=growing.prompt.variant,
            text=self._tokenizer.decode(growing.token_ids, skip_special_tokens=True),
            token_ids=tuple(growing.token_ids),
            finish_reason="stop" if growing.reason == "stop" else "length",
            seconds=growing.seconds,
            n_prompt_tokens=len(growing.prompt.token_ids),
            n_tokens=len(growing.token_ids),
        )


class _Growing:
    """A completion on its way.

    Attributes:
        reason: why it ended; empty until then.
        seconds: from its start in the batch to its last token.
    """

    def __init__(self, prompt: Prompt, n_room: int) -> None:
        self.prompt = prompt
        self.token_ids: list[int] = []
        self.reason = ""
        self.seconds = 0.0
        self._n_room = n_room
        self._started_s = time.perf_counter()

    def add(self, token: int, eos_ids: set[int]) -> None:
        """Take one token; that which ends the text is not kept."""
        if token in eos_ids:
            self.reason = "stop"
        else:
            self.token_ids.append(token)
            if len(self.token_ids) == self._n_room:
                self.reason = "length"
        self.seconds = time.perf_counter() - self._started_s


def _no_memory(what: str, n_tokens: int) -> str:
    return (
        f"{NO_MEMORY} ({what} of {n_tokens} tokens); make room on the device, or run it on a "
        "larger one: the same run tries again"
    )
