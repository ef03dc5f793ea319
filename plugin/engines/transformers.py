"""Generate with torch and PEFT, on CUDA, ROCm, Apple's mps or a CPU.

The base weights are loaded once for all variants. Prompts of similar length are decoded greedily in
one batch, and leave the batch when they end. When memory runs out, the batch is halved and
unfinished completions start again; finished ones are kept.

`PeftAdapterSwitch` holds one adapter at a time: many pairs of adapters cannot be loaded together in
PEFT. PEFT only warns about tensors that match no module, and leaves missing ones random. So the
file is compared with what the model expects before anything is loaded. After every adapter, the
base must answer a probe with exactly the same bits as before.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version as installed
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from plugin.certify.measure import (
    N_POSITIONS,
    AdapterSwitch,
    Logits,
    last_positions,
    probe_ids,
    require_same_files,
)
from plugin.engines import NO_MEMORY, EngineSettings
from plugin.engines._local import (
    LocalEngine,
    PromptPair,
    pad_rows,
    room_left,
    thinking_option,
)
from plugin.engines._torch import (
    TorchRows,
    dtype_4bit,
    dtype_name,
    eos_token_ids,
    free_torch_memory,
    is_out_of_memory,
    load_torch_model,
    torch_device,
    torch_loglikelihoods,
)
from plugin.engines.templates import template_text
from plugin.errors import AdapterError, FaultError
from plugin.load.adapter import AdapterFolder, parse_peft_config
from plugin.load.convert import PEFT_PREFIX, to_peft
from plugin.load.fit import AdapterFit, base_model_notes, fit_tensors, placement_error
from plugin.records import Completion, Failure, NoResult, Prompt


def version() -> str:
    """Return the libraries that generate with their versions, the precision and the device."""
    place = torch_device()
    versions = ", ".join(f"{name} {installed(name)}" for name in ("transformers", "peft", "torch"))
    return f"{versions}, {dtype_name(place)} on {place}"


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
        self._rows = TorchRows(model)
        self._eos_ids = eos_token_ids(model, tokenizer)
        self._batch_size = settings.batch_size
        told = thinking_option(settings)
        template = template_text(tokenizer, told) if tokenizer.chat_template else None
        super().__init__(tokenizer, template, PeftAdapterSwitch(model, settings), settings)

    def close(self) -> None:
        """See `Engine.close`."""
        del self._model, self._switch, self._rows
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
            return [_no_memory_result("prompt and expected output", len(batch[0].input_ids) + 1)]
        half = len(batch) // 2
        return [*self._read_batch(batch[:half]), *self._read_batch(batch[half:])]

    def _decode(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Completion | Failure, ...]]:
        """Decode batch by batch, longest prompts first, so that a lack of memory shows early."""
        waiting = deque(sorted(prompts, key=lambda prompt: -len(prompt.token_ids)))
        while waiting:
            n_rows = min(self._batch_size, len(waiting))
            prompt_rows = [waiting.popleft() for _ in range(n_rows)]
            batch = [
                _GrowingTorch(prompt, room_left(prompt, self._settings)) for prompt in prompt_rows
            ]
            short = yield from self._decode_batch(batch)
            self._rows.clear()
            if not short:
                continue
            free_torch_memory()
            unfinished = [growing.prompt for growing in batch if not growing.reason]
            if n_rows == 1:
                (prompt,) = unfinished
                reason = _no_memory_result("a prompt", len(prompt.token_ids)).reason
                yield (Failure(prompt.case_id, "generate", reason, prompt.variant, retry=True),)
            else:
                self._batch_size = n_rows // 2
                waiting.extendleft(reversed(unfinished))

    def _decode_batch(
        self, batch: Sequence[_GrowingTorch]
    ) -> Generator[tuple[Completion | Failure, ...], None, bool]:
        """Decode one batch and yield what ends; return whether memory ran out."""
        live, places = list(batch), list(range(len(batch)))
        ends = self._eos_ids.union(*(self.stops(growing.prompt.variant) for growing in batch))
        while live:
            tokens = self._next_tokens(live, places)
            if tokens is None:
                return True
            for growing, token in zip(live, tokens, strict=True):
                growing.add(token, ends)
            yield tuple(self._finish(growing) for growing in live if growing.reason)
            places = [i for i, growing in enumerate(live) if not growing.reason]
            live = [live[i] for i in places]
        return False

    def _next_tokens(
        self, live: Sequence[_GrowingTorch], places: Sequence[int]
    ) -> list[int] | None:
        """Return the most likely next token of each remaining row; None when memory ran out."""
        try:
            if live[0].token_ids:
                self._rows.keep(places)
                logits = self._rows.step([growing.token_ids[-1] for growing in live])
            else:
                logits = self._rows.read([growing.prompt.token_ids for growing in live])
            chosen: list[int] = logits.argmax(-1).tolist()
            return chosen
        except RuntimeError as error:  # also raised when torch is out of memory
            if is_out_of_memory(error):
                return None
            raise FaultError(
                f"torch stopped generating: {error}. If it ran out of memory, lower --batch_size"
            ) from error

    def _finish(self, growing: _GrowingTorch) -> Completion:
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


class _GrowingTorch:
    """Collect the tokens of one completion.

    Attributes:
        reason: why the completion ended; empty until then.
        seconds: time from its start in the batch to its last token.
    """

    def __init__(self, prompt: Prompt, n_room: int) -> None:
        self.prompt = prompt
        self.token_ids: list[int] = []
        self.reason = ""
        self.seconds = 0.0
        self._n_room = n_room
        self._started_s = time.perf_counter()

    def add(self, token: int, eos_ids: set[int]) -> None:
        """Add a token, except the end-of-text token."""
        if token in eos_ids:
            self.reason = "stop"
        else:
            self.token_ids.append(token)
            if len(self.token_ids) == self._n_room:
                self.reason = "length"
        self.seconds = time.perf_counter() - self._started_s


def _no_memory_result(what: str, n_tokens: int) -> NoResult:
    return NoResult(
        f"{NO_MEMORY} ({what} of {n_tokens} tokens); free memory on the device, or use a larger "
        "one: a resumed run tries again",
        retry=True,
    )


_NAME = "verdict"
"""The name of the adapter within PEFT."""


class PeftAdapterSwitch(AdapterSwitch):
    """Switch PEFT adapters of a base model on torch; it holds the one that was used last."""

    def __init__(self, model: Any, settings: EngineSettings) -> None:
        """Remember the base as it is now.

        Raises:
            ModelError: when the base answers with NaN or infinity.
        """
        self._model = model
        # References: PEFT moves parameters but never copies them. Tied ones appear under each name.
        self._base = dict(model.named_parameters(remove_duplicate=False))
        self._children = {module: dict(module._modules) for module in model.modules()}
        self._peft: Any = None
        self._held = ""  # the variant whose adapter is in the model, on or off
        super().__init__(settings.model, settings.model_name, settings.adapters)

    @contextmanager
    def adapter_on(self, variant: str) -> Iterator[None]:
        """See `AdapterSwitch.adapter_on`."""
        adapter = self.adapters.get(variant)
        if adapter is None:
            with self._bare():
                yield
            return
        if variant != self._held:
            self._take_off()
            self._load(adapter, variant)
        yield
        self.require_base(variant)

    def logits(self, rows: Sequence[Sequence[int]], n_positions: int = N_POSITIONS) -> list[Logits]:
        """See `AdapterSwitch.logits`; rows are padded at the end, which a causal model ignores."""
        import torch

        if not rows:
            return []
        ids = torch.tensor(pad_rows(rows))
        with torch.inference_mode():
            out = self._model(input_ids=ids.to(self._model.device), use_cache=False).logits
        return [
            out[i, last_positions(len(row), n_positions)].float().cpu().numpy()
            for i, row in enumerate(rows)
        ]

    @property
    def n_vocabulary(self) -> int:
        """See `AdapterSwitch.n_vocabulary`."""
        return int(self._model.get_input_embeddings().weight.shape[0])

    @contextmanager
    def _bare(self) -> Iterator[None]:
        if not self._held:
            yield
            return
        with self._peft.disable_adapter():
            yield

    def _take_off(self) -> None:
        """Put the base's own modules back; PEFT's unload would leave whole modules replaced."""
        before, self._held = self._held, ""
        if self._peft is None:
            return
        self._peft = None
        for module, children in self._children.items():
            module._modules.clear()
            module._modules.update(children)
        if hasattr(self._model, "peft_config"):
            del self._model.peft_config
        free_torch_memory()
        if before:
            self.require_base(before)

    def probe(self) -> bytes:
        """See `AdapterSwitch.probe`."""
        import torch

        ids = torch.tensor([probe_ids(self.n_vocabulary)], device=self._model.device)
        with self._bare(), torch.inference_mode():
            logits = self._model(input_ids=ids, use_cache=False).logits.float()
        return bytes(logits.cpu().numpy())

    def _tensors(self) -> Iterator[tuple[str, bytes]]:
        import torch

        for name, tensor in self._base.items():
            yield name, bytes(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())

    def _load(self, adapter: AdapterFolder, variant: str) -> None:
        from safetensors.torch import load_file

        config: Any = self.folder.config
        config = config.get("text_config") or config
        require_same_files(adapter)
        with TemporaryDirectory(prefix="finetune-verdict-") as scratch:
            held = to_peft(adapter, int(config.get("num_hidden_layers", 0)), Path(scratch))
            tensors = {_full_name(key): one for key, one in load_file(held.weights_path).items()}
        self._refuse_settings(held, adapter.path)
        try:
            self._add(held, adapter)
            in_file = {_full_name(name): name for name in adapter.shapes}
            unused = self._fill(tensors, held, adapter)
            self._unused[variant] = tuple(in_file.get(name, name) for name in unused)
        except BaseException:
            self._take_off()
            raise
        self._held = variant

    def _refuse_settings(self, adapter: AdapterFolder, path: Path) -> None:
        if reasons := parse_peft_config(adapter.config).obstacles():
            raise AdapterError(
                f"{path} cannot be compared with its base, because both would not be the same in "
                "one loaded model:\n" + "\n".join(f"  {reason}" for reason in reasons)
            )

    def _add(self, held: AdapterFolder, original: AdapterFolder) -> None:
        """Add the modules that the adapter's configuration asks for."""
        from peft import LoraConfig, PeftModel

        settings = parse_peft_config(held.config).settings()
        known = {field.name for field in dataclasses.fields(LoraConfig)}
        if unknown := sorted(set(settings) - known):
            raise AdapterError(
                f"{original.path}: the installed peft does not know the settings "
                f"{', '.join(unknown)}; upgrade peft"
            )
        try:
            config = LoraConfig(**{**settings, "inference_mode": True, "lora_dropout": 0.0})
            self._peft = PeftModel(self._model, config, adapter_name=_NAME)
        except (ValueError, KeyError, AttributeError, TypeError, RuntimeError) as error:
            model_path = self.folder.path
            if not self._has_any_module(held):
                nowhere = AdapterFit((), tuple(sorted(original.shapes)), (), ())
                nowhere.require_usable(original, model_path, self._notes(original))
            raise placement_error(original, model_path, str(error), "mlx") from error
        self._model.eval()

    def _has_any_module(self, adapter: AdapterFolder) -> bool:
        modules = {name for name, _ in self._model.named_modules()}
        wanted = (_module_of(name).removeprefix(PEFT_PREFIX) for name in adapter.shapes)
        return any(module in modules for module in wanted)

    def _notes(self, adapter: AdapterFolder) -> tuple[str, ...]:
        return base_model_notes(adapter, self.folder, self.model_name)

    def _is_of_base(self, name: str, value: Any) -> bool:
        """Return whether a tensor is a copy of the base's own; PEFT may save embeddings too."""
        import torch

        plain = name.removeprefix(PEFT_PREFIX).replace(".base_layer.", ".")
        own = self._base.get(plain)
        if own is None or own.shape != value.shape:
            return False
        return bool(torch.equal(own, value.to(own.device, own.dtype)))

    def _fill(
        self, tensors: dict[str, Any], held: AdapterFolder, original: AdapterFolder
    ) -> tuple[str, ...]:
        """Load the tensors that fit the model; return the names of those that do not."""
        from peft import get_peft_model_state_dict, set_peft_model_state_dict

        expected = get_peft_model_state_dict(
            self._peft, adapter_name=_NAME, save_embedding_layers=False
        )
        tensors = {
            key: value
            for key, value in tensors.items()
            if key in expected or not self._is_of_base(key, value)
        }
        here = _as_model_shapes(self._peft, tensors)
        strays = {key: original.shapes[key] for key in held.unused}
        found = fit_tensors(
            strays | {key: tuple(value.shape) for key, value in here.items()},
            {key: tuple(value.shape) for key, value in expected.items()},
            [key for key, value in here.items() if not value.isfinite().all()],
            _module_of,
            self.n_vocabulary,
        )
        found.require_usable(original, self.folder.path, self._notes(original))
        lost = set(found.unused)
        kept = {key: value for key, value in tensors.items() if key not in lost}
        if left := set_peft_model_state_dict(self._peft, kept, _NAME).unexpected_keys:
            raise AdapterError(
                f"{original.path}: peft cannot load the tensors {', '.join(left)}; save the "
                "adapter again"
            )
        return found.unused


def _as_model_shapes(peft: Any, tensors: dict[str, Any]) -> dict[str, Any]:
    """Rename the tensors to this model's names, because transformers 5 fuses some modules."""
    try:
        from peft.utils import transformers_weight_conversion as conversion
    except ImportError:  # before transformers 5 no modules were fused
        return tensors
    found: dict[str, Any] = conversion.convert_peft_adapter_state_dict_for_transformers(
        model=peft,
        peft_config=peft.peft_config[_NAME],
        adapter_state_dict=dict(tensors),
        adapter_name=_NAME,
    )
    return {key.replace(f".{_NAME}.", "."): value for key, value in found.items()}


def _full_name(name: str) -> str:
    """Return a tensor's name with PEFT's prefix, which some trainers leave out."""
    return name if name.startswith(PEFT_PREFIX) else PEFT_PREFIX + name


def _module_of(name: str) -> str:
    """Return the module that a PEFT tensor belongs to."""
    return re.split(r"\.lora_|\.modules_to_save", name)[0]
