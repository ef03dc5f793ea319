"""The mlx engine: mlx-lm's continuous batching on Apple Metal, or on CPU and CUDA builds of mlx.

The base weights are loaded once, for all variants; `_mlx_rack` puts adapters on and takes them off.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from plugin.engines import EngineSettings, Prompt
from plugin.engines._held import WeightsEngine
from plugin.engines._likelihoods import Row, filled
from plugin.engines._mlx_rack import MlxRack
from plugin.engines._prompts import Template, room
from plugin.errors import FaultError, ModelError, one_line
from plugin.records import Completion

LIBRARIES = ("mlx", "mlx_lm")
INSTALL = "pip install -r requirements.txt -c constraints/default.txt"
BATCH_SIZE = 32
OFFERS = frozenset({"loglikelihood", "seconds", "tokens", "finish_reason"})


def version() -> str:
    """Name and version of the libraries that generate."""
    return f"mlx-lm {installed('mlx-lm')}, mlx {installed('mlx')}"


def load(settings: EngineSettings) -> MlxEngine:
    """Load the base model.

    Raises:
        ModelError: when mlx-lm cannot load the folder.
    """
    model, tokenizer = load_model_and_tokenizer(settings.model.path)
    return MlxEngine(model, tokenizer, settings)


def load_model_and_tokenizer(path: Path) -> tuple[Any, Any]:
    """The model in a folder and its tokenizer, in mlx-lm's wrapper; for engine and judge.

    Raises:
        ModelError: when mlx-lm cannot load the folder.
    """
    from mlx_lm.utils import load_model, load_tokenizer

    _open_streams()
    try:
        model, config = load_model(path, trust_remote_code=False)
        tokenizer = load_tokenizer(path, eos_token_ids=config.get("eos_token_id"))
    except Exception as error:  # the one door to mlx-lm's loaders, which raise whatever they meet
        release()
        raise ModelError(
            f"{path}: mlx-lm cannot load this model ({one_line(error)}). It loads hub-layout "
            "safetensors of the architectures it knows; try another --engine or a converted model"
        ) from error
    return model, tokenizer


class MlxEngine(WeightsEngine):
    """A base model in mlx, with its adapters put on and off."""

    def __init__(self, model: Any, tokenizer: Any, settings: EngineSettings) -> None:
        """See `load`."""
        model.eval()
        self._model = model
        template: Template | None = None
        if tokenizer.has_chat_template:
            template = partial(
                tokenizer.apply_chat_template, add_generation_prompt=True, tokenize=True
            )
        super().__init__(tokenizer, template, MlxRack(model, settings), settings)

    def close(self) -> None:
        """See `Engine.close`."""
        del self._model, self._rack
        release()

    def _read(self, batch: Sequence[Row]) -> list[float]:
        """The log probabilities of continuations, read side by side."""
        import mlx.core as mx

        sums = []
        try:
            logits = self._model(mx.array(filled(batch)))
            for own, row in zip(logits, batch, strict=True):
                own = own[row.foretold].astype(mx.float32)
                wanted = mx.array(row.continuation)[:, None]
                chosen = mx.take_along_axis(own, wanted, axis=-1)[:, 0]
                sums.append((chosen - mx.logsumexp(own, axis=-1)).sum())
            mx.eval(sums)
            return [float(one) for one in sums]
        except RuntimeError as error:
            raise FaultError(
                f"mlx stopped reading: {error}. If memory was short, lower --batch_size"
            ) from error

    def _decode(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Completion, ...]]:
        import mlx.core as mx
        from mlx_lm.generate import BatchGenerator

        size = self._settings.batch_size
        batch = BatchGenerator(
            self._model,
            stop_tokens=[[token] for token in self._tokenizer.eos_token_ids],
            completion_batch_size=size,
            prefill_batch_size=min(8, size),
            stream=mx.default_stream(mx.default_device()),
        )
        try:
            ids = [list(prompt.token_ids) for prompt in prompts]
            rooms = [room(prompt, self._settings) for prompt in prompts]
            uids = batch.insert(ids, rooms) if ids else []
            growing = {uid: _Growing(prompt) for uid, prompt in zip(uids, prompts, strict=True)}
            while growing:
                reading, writing = next_step(batch, "--batch_size")
                for event in reading:
                    growing[event.uid].start()
                yield tuple(
                    self._finish(growing.pop(event.uid), event.finish_reason)
                    for event in writing
                    if growing[event.uid].add(event)
                )
        finally:
            batch.close()

    def _finish(self, growing: _Growing, reason: str) -> Completion:
        return Completion(
            case_id=growing.prompt.case_id,
            variant=growing.prompt.variant,
            text=self._tokenizer.decode(growing.token_ids, skip_special_tokens=True),
            token_ids=tuple(growing.token_ids),
            finish_reason="stop" if reason == "stop" else "length",
            seconds=growing.seconds,
            n_prompt_tokens=len(growing.prompt.token_ids),
            n_tokens=len(growing.token_ids),
        )


def next_step(batch: Any, lever: str) -> Any:
    """One step of mlx-lm's BatchGenerator: events of prompts read, events of tokens written.

    Args:
        batch: the generator.
        lever: the option that makes a batch smaller.

    Raises:
        FaultError: when the library gives up, as it does without memory.
    """
    try:
        return batch.next()
    except RuntimeError as error:
        raise FaultError(
            f"mlx stopped generating: {error}. If memory was short, lower {lever}"
        ) from error


def _open_streams() -> None:
    """Give this thread streams of its own.

    `release` takes a thread's streams away for good, those that mlx and mlx-lm made at import too;
    whoever loads next in this thread, a judge after the engine, needs others.
    """
    import mlx.core as mx

    mx.set_default_stream(mx.new_stream(mx.cpu))  # files are read there, whatever the device
    if mx.default_device() != mx.Device(mx.cpu):
        mx.set_default_stream(mx.new_stream(mx.default_device()))


def release() -> None:
    """Give back memory and streams, in the thread that used them."""
    import mlx.core as mx

    mx.synchronize()
    mx.clear_cache()
    # A stream left to the end of its thread races with the end of the process, and aborts it.
    mx.clear_streams()


class _Growing:
    """A completion on its way."""

    def __init__(self, prompt: Prompt) -> None:
        self.prompt = prompt
        self.token_ids: list[int] = []
        self.started_s: float | None = None

    def start(self) -> None:
        """Note when the model first saw the prompt; waiting for a place does not count."""
        self.started_s = self.started_s or time.perf_counter()

    @property
    def seconds(self) -> float:
        """Since the model first saw the prompt."""
        return time.perf_counter() - (self.started_s or time.perf_counter())

    def add(self, event: Any) -> bool:
        """Take one token; True when it was the last (the end-of-text token is not kept)."""
        if event.finish_reason != "stop":
            self.token_ids.append(int(event.token))
        return event.finish_reason is not None
