"""Generate with mlx-lm's continuous batching, on Apple Metal or on CPU and CUDA builds of mlx.

The base weights are loaded once for all variants. `MlxAdapterSwitch` switches adapters: it keeps
references to the base's modules and arrays (mlx arrays are immutable) and puts them back
afterwards. The base must then answer a probe with exactly the same bits as before. If the backend
does not give repeatable bits, digests of the tensors are compared instead.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.metadata import version as installed
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from plugin.certify.measure import AdapterSwitch, Logits, last_positions, probe_ids
from plugin.engines import EngineSettings
from plugin.engines._answer import TemplateText
from plugin.engines._local import (
    LocalEngine,
    PromptPair,
    pad_rows,
    room_left,
    thinking_option,
)
from plugin.engines._mlx_rope import ConfigReader, rope_changes, text_reader
from plugin.errors import FaultError, ModelError, one_line
from plugin.load.adapter import AdapterFolder
from plugin.load.convert import to_mlx
from plugin.load.fit import base_model_notes, fit_tensors, placement_error
from plugin.records import Completion, Prompt


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
    from mlx_lm.utils import load_model, load_tokenizer

    _open_streams()
    try:
        changes = _config_changes(path)
        model, config = load_model(path, model_config=changes, trust_remote_code=False)
        tokenizer = load_tokenizer(path, eos_token_ids=config.get("eos_token_id"))
    except ModelError as error:
        free_mlx_memory()
        raise ModelError(f"{path}: {error}") from error
    except (Exception, SystemExit) as error:  # mlx-lm's loaders can raise anything
        free_mlx_memory()
        said = one_line(error) if isinstance(error, Exception) else "a library is missing"
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
    if config.get("model_file"):  # remote code is never loaded
        return {}
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
    changes = rope_changes(text, ConfigReader(architecture, keys))
    return {"text_config": {**text, **changes}} if is_inner and changes else changes


def _chat_template(tokenizer: Any, settings: EngineSettings) -> TemplateText | None:
    """Return a function that applies the chat template, with the template's default for thinking.

    mlx-lm's wrapper switches thinking on for every model that has the tokens for it, so we call the
    tokenizer inside it. For a few models mlx-lm replaces the template with its own program, which
    only the wrapper knows; only then we call the wrapper.
    """
    if not tokenizer.has_chat_template:
        return None
    options = {"add_generation_prompt": True, "tokenize": True, **thinking_option(settings)}
    if tokenizer._chat_template is not None:
        return partial(tokenizer.apply_chat_template, **options)
    return partial(tokenizer._tokenizer.apply_chat_template, return_dict=False, **options)


class MlxEngine(LocalEngine):
    """Generate with a base model in mlx, with its adapters on or off."""

    def __init__(self, model: Any, tokenizer: Any, settings: EngineSettings) -> None:
        """See `load`."""
        model.eval()
        self._model = model
        template = _chat_template(tokenizer, settings)
        super().__init__(tokenizer, template, MlxAdapterSwitch(model, settings), settings)

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
        batch = BatchGenerator(
            self._model,
            stop_tokens=[[token] for token in self._tokenizer.eos_token_ids],
            completion_batch_size=size,
            prefill_batch_size=min(8, size),
            stream=mx.default_stream(mx.default_device()),
        )
        try:
            ids = [list(prompt.token_ids) for prompt in prompts]
            rooms = [room_left(prompt, self._settings) for prompt in prompts]
            uids = batch.insert(ids, rooms) if ids else []
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


_ADAPTABLE_LAYERS = ("lora_a", "lora_b", "m")


class MlxAdapterSwitch(AdapterSwitch):
    """Switch adapters of a base model in mlx."""

    def __init__(self, model: Any, settings: EngineSettings) -> None:
        """Remember the base as it is now.

        Raises:
            ModelError: when the base answers with NaN or infinity.
        """
        from mlx.utils import tree_flatten

        self._model = model
        self._base_modules = model.leaf_modules()
        self._base_arrays = tree_flatten(model.parameters())
        super().__init__(settings.model, settings.model_name, settings.adapters)

    @contextmanager
    def adapter_on(self, variant: str) -> Iterator[None]:
        """See `AdapterSwitch.adapter_on`."""
        adapter = self.adapters.get(variant)
        if adapter is None:
            yield
            return
        try:
            self._unused[variant] = self._put_on(adapter)
            yield
        finally:
            self._take_off()
        self.require_base(variant)

    def logits(self, rows: Sequence[Sequence[int]]) -> list[Logits]:
        """See `AdapterSwitch.logits`; rows are padded at the end, which a causal model ignores."""
        import mlx.core as mx

        if not rows:
            return []
        out = self._model(mx.array(pad_rows(rows)))
        return [
            np.array(out[i, last_positions(len(row))].astype(mx.float32))
            for i, row in enumerate(rows)
        ]

    @property
    def n_vocabulary(self) -> int:
        """See `AdapterSwitch.n_vocabulary`."""
        import mlx.nn as nn

        kinds = (nn.Embedding, nn.QuantizedEmbedding)
        modules = (module for _, module in self._model.named_modules())
        return max((m.weight.shape[0] for m in modules if isinstance(m, kinds)), default=0)

    def _put_on(self, adapter: AdapterFolder) -> tuple[str, ...]:
        """Load the tensors that fit the model; return the names of those that do not."""
        with TemporaryDirectory(prefix="finetune-verdict-") as scratch:
            held = to_mlx(adapter, self._linear_names(), Path(scratch))
            return self._load(held, adapter)

    def _linear_names(self) -> list[str]:
        """Return the names of the linear modules, which an adapter can change."""
        import mlx.nn as nn

        kinds = (nn.Linear, nn.QuantizedLinear)
        return [name for name, module in self._model.named_modules() if isinstance(module, kinds)]

    def _load(self, held: AdapterFolder, original: AdapterFolder) -> tuple[str, ...]:
        """Load an MLX adapter into the model; errors name the folder that the user gave.

        mlx-lm's own loader does not report missing parameters (they would be random) or NaN, and
        it rejects a file because of a single unknown name.
        """
        import mlx.core as mx
        from mlx.utils import tree_flatten

        model_path = self.folder.path
        try:
            self._make_places(held)
            tensors: Any = mx.load(str(held.weights_path))
        except (ValueError, KeyError, AttributeError, TypeError, RuntimeError) as error:
            said = str(error).replace(str(held.root), str(original.path))
            raise placement_error(original, model_path, said, "peft") from error
        places = {
            name: tuple(array.shape)
            for name, array in tree_flatten(self._model.parameters())
            if held.method == "full" or name.rpartition(".")[2] in _ADAPTABLE_LAYERS
        }
        if held.method == "full":  # the file replaces some of the base's tensors, never all
            places = {name: shape for name, shape in places.items() if name in tensors}
        broken = [
            name
            for name, tensor in tensors.items()
            if not mx.isfinite(tensor.astype(mx.float32)).all().item()
        ]
        strays = {name: original.shapes[name] for name in held.unused}
        found = fit_tensors(
            strays | {name: tuple(tensor.shape) for name, tensor in tensors.items()},
            places,
            broken,
            lambda name: name.rpartition(".")[0],
            self.n_vocabulary,
        )
        notes = base_model_notes(original, self.folder, self.model_name)
        found.require_usable(original, model_path, notes)
        self._model.load_weights([(name, tensors[name]) for name in found.used], strict=False)
        mx.eval(self._model.parameters())  # now: a converted adapter's file is deleted soon
        self._model.eval()
        return found.unused

    def _make_places(self, adapter: AdapterFolder) -> None:
        """Replace modules by ones that can hold the adapter's tensors; they still add nothing."""
        from mlx_lm.tuner.utils import linear_to_lora_layers

        if adapter.method == "full":
            return
        linear_to_lora_layers(
            self._model,
            adapter.config.get("num_layers", -1),
            {**adapter.config["lora_parameters"], "dropout": 0.0},
            use_dora=adapter.method == "dora",
        )

    def _take_off(self) -> None:
        self._model.update_modules(self._base_modules)
        self._model.load_weights(self._base_arrays, strict=False)

    def probe(self) -> bytes:
        """See `AdapterSwitch.probe`."""
        import mlx.core as mx

        ids = mx.array(probe_ids(self.n_vocabulary or 256))
        return bytes(memoryview(self._model(ids[None]).astype(mx.float32)))

    def _tensors(self) -> Iterator[tuple[str, bytes]]:
        import mlx.core as mx
        from mlx.utils import tree_flatten

        for name, array in sorted(tree_flatten(self._model.parameters())):
            yield name, bytes(memoryview(array.reshape(-1).view(mx.uint8)))
