"""Generate with mlx-lm's continuous batching, on Apple Metal or on CPU and CUDA builds of mlx.

The base weights are loaded once for all variants; `_mlx_adapters` switches adapters.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from importlib import import_module
from importlib.metadata import version as installed
from inspect import signature
from pathlib import Path
from typing import Any

from plugin.engines import EngineSettings
from plugin.engines._local import (
    LocalEngine,
    PromptPair,
    pad_rows,
    room_left,
    thinking_option,
)
from plugin.engines._mlx_adapters import MlxAdapterSwitch
from plugin.engines._mlx_rope import ConfigReader, rope_changes, text_reader
from plugin.engines.templates import TemplateText, begin_tokenizer_check, template_text
from plugin.errors import FaultError, ModelError, one_line
from plugin.load.files import NO_CODE, refuse_code
from plugin.records import Completion, Draw, Prompt
from plugin.sampling import gumbel, noise_bits, words_of


def version() -> str:
    """Return names and versions of the libraries that generate."""
    return f"mlx-lm {installed('mlx-lm')}, mlx {installed('mlx')}"


def load(settings: EngineSettings) -> MlxEngine:
    """Load the base model.

    Raises:
        ModelError: when mlx-lm cannot load the folder, or the model answers with NaN.
    """
    model, tokenizer = load_mlx_model(settings.model.path)
    try:
        return MlxEngine(model, tokenizer, settings)
    except BaseException:
        free_mlx_memory()
        raise


def load_mlx_model(path: Path) -> tuple[Any, Any]:
    """Load a folder's model, and its tokenizer in mlx-lm's wrapper; for engine or judge.

    Raises:
        ModelError: when mlx-lm cannot load the folder, or would ignore a part of config.json.
    """
    require_tokenizer = begin_tokenizer_check(path)  # its process starts while mlx-lm is imported
    from mlx_lm.utils import load_model, load_tokenizer

    _open_streams()
    try:
        changes = _config_changes(path)
        model, config = load_model(path, model_config=changes, trust_remote_code=False)
        require_tokenizer()
        tokenizer = load_tokenizer(
            path, {"trust_remote_code": False}, eos_token_ids=config.get("eos_token_id")
        )
    except ModelError:
        free_mlx_memory()
        raise
    except (Exception, SystemExit) as error:  # mlx-lm's loaders can raise anything
        free_mlx_memory()
        said = one_line(error) if isinstance(error, Exception) else "a library is missing"
        refuse_code(path, said)
        raise ModelError(
            f"{path}: mlx-lm cannot load this model ({said}). It needs safetensors in the hub's "
            "layout and an architecture that it knows; try another --engine, or convert the model"
        ) from error
    return model, tokenizer


def _config_changes(path: Path) -> dict[str, Any]:
    """Return the changes to config.json that mlx-lm needs to read all of it.

    Raises:
        ModelError: when the architecture does not support something in it.
    """
    from mlx_lm.utils import _get_classes, load_config

    config = load_config(path)
    if config.get("model_file"):
        raise ModelError(
            f"{path / 'config.json'}: model_file {config['model_file']!r} names Python code to "
            f"load this model with. {NO_CODE}"
        )
    arguments = _get_classes(config)[1]
    architecture = arguments.__module__.rpartition(".")[2]
    inner = config.get("text_config")
    is_inner = isinstance(inner, dict)
    text = inner if isinstance(inner, dict) else config
    if reader := text_reader(architecture, text):
        architecture, _, name = reader.partition(".")
        arguments = getattr(import_module(f"mlx_lm.models.{architecture}"), name)
    else:
        text, is_inner = config, False
    keys = frozenset(signature(arguments).parameters)
    try:
        changes = rope_changes(text, ConfigReader(architecture, keys))
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    return {"text_config": {**text, **changes}} if is_inner and changes else changes


def _chat_template(tokenizer: Any, settings: EngineSettings) -> TemplateText | None:
    """Return a function that applies the chat template, with the template's default for thinking.

    mlx-lm's wrapper switches thinking on for every model that has the tokens for it, so we call the
    tokenizer inside it. For a few models mlx-lm replaces the template with its own program, which
    only the wrapper knows; only then we call the wrapper.
    """
    if not tokenizer.has_chat_template:
        return None
    told = thinking_option(settings)
    if tokenizer._chat_template is not None:
        options = {"add_generation_prompt": True, "tokenize": True, **told}
        return partial(tokenizer.apply_chat_template, **options)
    return template_text(tokenizer._tokenizer, told)


class MlxEngine(LocalEngine):
    """Generate with a base model in mlx, with its adapters on or off."""

    def __init__(self, model: Any, tokenizer: Any, settings: EngineSettings) -> None:
        """See `load`."""
        model.eval()
        self._model = model
        template = _chat_template(tokenizer, settings)
        switch = MlxAdapterSwitch(model, settings)
        super().__init__(tokenizer, template, switch, settings, tokenizer._tokenizer)

    def close(self) -> None:
        """See `Engine.close`."""
        del self._model, self._switch
        free_mlx_memory()

    def _read_batch(self, batch: Sequence[PromptPair]) -> list[float]:
        """See `LocalEngine._read_batch`."""
        import mlx.core as mx

        sums = []
        try:
            logits = self._model(mx.array(pad_rows([row.input_ids for row in batch])))
            for own, row in zip(logits, batch, strict=True):
                own = own[row.predicting].astype(mx.float32)
                wanted = mx.array(row.continuation)[:, None]
                chosen = mx.take_along_axis(own, wanted, axis=-1)[:, 0]
                sums.append((chosen - mx.logsumexp(own, axis=-1)).sum())
            mx.eval(sums)
            return [float(one) for one in sums]
        except RuntimeError as error:
            raise FaultError(
                f"mlx stopped reading: {error}. If it ran out of memory, lower --batch_size"
            ) from error

    def _decode(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Completion, ...]]:
        import mlx.core as mx
        from mlx_lm.generate import BatchGenerator

        size = self._settings.batch_size
        own = self.stops(prompts[0].variant) if prompts else ()
        batch = BatchGenerator(
            self._model,
            stop_tokens=[[token] for token in {*self._tokenizer.eos_token_ids, *own}],
            completion_batch_size=size,
            prefill_batch_size=min(8, size),
            stream=mx.default_stream(mx.default_device()),
        )
        try:
            ids = [list(prompt.token_ids) for prompt in prompts]
            rooms = [room_left(prompt, self._settings) for prompt in prompts]
            samplers = [_MlxDraw(one.draw) if one.draw else None for one in prompts]
            drawing = {"samplers": samplers} if any(samplers) else {}
            uids = batch.insert(ids, rooms, **drawing) if ids else []
            growing = {uid: _GrowingMlx(prompt) for uid, prompt in zip(uids, prompts, strict=True)}
            while growing:
                reading, writing = next_tokens_step(batch, "--batch_size")
                for event in reading:
                    growing[event.uid].start()
                yield tuple(
                    self._finish(growing.pop(event.uid), event.finish_reason)
                    for event in writing
                    if growing[event.uid].add(event)
                )
        finally:
            batch.close()

    def _finish(self, growing: _GrowingMlx, reason: str) -> Completion:
        return Completion(
            case_id=growing.prompt.case_id,
            variant=growing.prompt.variant,
            text=self._tokenizer.decode(growing.token_ids, skip_special_tokens=True),
            token_ids=tuple(growing.token_ids),
            finish_reason="stop" if reason == "stop" else "length",
            seconds=growing.seconds,
            n_prompt_tokens=len(growing.prompt.token_ids),
            n_tokens=len(growing.token_ids),
            sample=growing.prompt.sample,
        )


def next_tokens_step(batch: Any, lever: str) -> Any:
    """Take one step of mlx-lm's BatchGenerator; return its events for prompts and for new tokens.

    Args:
        batch: the generator.
        lever: the option that makes a batch smaller, for the error message.

    Raises:
        FaultError: when the library fails, for example when it is out of memory.
    """
    try:
        return batch.next()
    except RuntimeError as error:
        raise FaultError(
            f"mlx stopped generating: {error}. If it ran out of memory, lower {lever}"
        ) from error


def _open_streams() -> None:
    """Create new streams for this thread.

    `free_mlx_memory` removes a thread's streams for good, including those that mlx and mlx-lm
    created at import. The next model in this thread (a judge after the engine) needs new ones.
    """
    import mlx.core as mx

    mx.set_default_stream(mx.new_stream(mx.cpu))  # mlx reads files there on every device
    if mx.default_device() != mx.Device(mx.cpu):
        mx.set_default_stream(mx.new_stream(mx.default_device()))


def free_mlx_memory() -> None:
    """Release memory and streams; call it in the thread that used them."""
    import mlx.core as mx

    mx.synchronize()
    mx.clear_cache()
    # A stream that is still open when its thread ends can abort the process at exit.
    mx.clear_streams()


class _MlxDraw:
    """Draw the next tokens of one completion, whatever its batch holds; see `plugin.sampling`."""

    def __init__(self, draw: Draw) -> None:
        self._words, self._temperature = words_of(draw.seed), draw.temperature
        self._step = 0

    def __call__(self, logprobs: Any) -> Any:
        """Return the next token of one row; the argument has the shape (1, n_vocabulary)."""
        import mlx.core as mx

        tokens = mx.arange(logprobs.shape[-1], dtype=mx.int64)[None]
        low, high, step = (mx.array(one, dtype=mx.int64) for one in (*self._words, self._step))
        bits = noise_bits((low, high), step, tokens)
        noise = gumbel(bits, mx, lambda each: each.astype(mx.float32))
        self._step += 1
        return mx.argmax(logprobs.astype(mx.float32) / self._temperature + noise, axis=-1)


class _GrowingMlx:
    """Collect the tokens of one completion."""

    def __init__(self, prompt: Prompt) -> None:
        self.prompt = prompt
        self.token_ids: list[int] = []
        self.started_s: float | None = None

    def start(self) -> None:
        """Start the clock when the model first sees the prompt; waiting does not count."""
        self.started_s = self.started_s or time.perf_counter()

    @property
    def seconds(self) -> float:
        """Return the seconds since the model first saw the prompt."""
        return time.perf_counter() - (self.started_s or time.perf_counter())

    def add(self, event: Any) -> bool:
        """Add a token, except the end-of-text token; return whether the completion has ended."""
        if event.finish_reason != "stop":
            self.token_ids.append(int(event.token))
        return event.finish_reason is not None
