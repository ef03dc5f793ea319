"""Generate with vLLM: base and adapters in one engine of it.

Written for the Python interface of vLLM 0.33.0, the version in requirements-vllm.txt. It has never
run against the real library: the tests put a small double of that interface in its place, which
answers with the demo's model. So `auto` never takes it.

vLLM decides which prompts share a step. It keeps the weights in a process of its own, so its memory
is free when that process has ended.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from importlib.metadata import version as installed
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from plugin.certify.certificate import BatchEffect, Certificate, Tell, tell_nobody
from plugin.certify.measure import N_PROBES
from plugin.engines import EngineSettings, failed
from plugin.engines._answer import named_end_tokens
from plugin.engines._local import (
    LocalEngine,
    PromptPair,
    room_left,
    split_by_context,
    thinking_option,
)
from plugin.engines._vllm_adapters import (
    VllmAdapterSwitch,
    converted,
    largest_rank,
    room_for_rank,
)
from plugin.engines._vllm_requests import Answered, Ask, VllmRequests, drawing, greedy
from plugin.engines.templates import begin_tokenizer_check, template_text
from plugin.errors import ModelError, OptionError, one_line
from plugin.load.model import ModelFolder
from plugin.records import VANILLA, Completion, Failure, NoResult, Prompt

WRITTEN_FOR = "0.33.0"
"""The version of vLLM whose interface this is."""

_SHARE = 0.85
"""Share of the GPU's memory that vLLM takes; log probabilities of prompts need some of the rest."""

_N_PROBED = 32
"""Tokens of a completion that are compared between batches."""

_QUIET = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
"""Nothing is reported to anyone, and only errors are printed."""

_SAFE = {"VLLM_WORKER_MULTIPROC_METHOD": "spawn"}
"""A copy of this process would hold locks that its threads never release there."""


class Place(NamedTuple):
    """Where vLLM computes.

    Attributes:
        name: "cuda", "cpu" and the like.
        dtype: the precision of weights and computations.
        n_bytes: memory of one device; None for a CPU.
    """

    name: str
    dtype: str
    n_bytes: int | None


def find_place() -> Place:
    """Return where vLLM computes on this machine.

    Raises:
        OptionError: when vLLM sees no device, or does not start.
    """
    os.environ.update(_QUIET)
    try:
        from vllm.platforms import current_platform as platform

        if platform.is_unspecified():
            raise OptionError(
                "--engine vllm: vLLM sees no GPU on this machine; use --engine transformers"
            )
        dtype = str(platform.supported_dtypes[0]).removeprefix("torch.")
        n_bytes = None if platform.is_cpu() else int(platform.get_device_total_memory())
        return Place(str(platform.device_type), dtype, n_bytes)
    except (ImportError, OSError, RuntimeError, NotImplementedError, AttributeError) as error:
        raise OptionError(
            f"--engine vllm: vLLM does not start here ({one_line(error)}). This program was "
            f"written for vLLM {WRITTEN_FOR}: pip install -r requirements-vllm.txt; or use "
            "--engine transformers"
        ) from error


def version() -> str:
    """Return the libraries that generate with their versions, the precision and the device."""
    place = find_place()
    libraries = ", ".join(f"{name} {installed(name)}" for name in ("vllm", "torch"))
    return f"{libraries}, {place.dtype} on {place.name}"


def load(settings: EngineSettings) -> VllmEngine:
    """Start vLLM with the base model.

    Raises:
        ModelError: when the model is too large for the GPU, or vLLM cannot load it.
        AdapterError: when vLLM cannot apply all of an adapter.
    """
    place = find_place()
    _require_loadable(settings.model, place)
    tokenizer = _load_tokenizer(settings.model.path)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="finetune-verdict-")))
        ranks = []
        for i, adapter in enumerate(settings.adapters.values()):
            (place_of_it := scratch / f"check-{i}").mkdir()
            ranks.append(largest_rank(converted(adapter, settings.model, place_of_it)))
        engine = _start(settings, place, ranks)
        stack.callback(engine.engine_core.shutdown)
        made = VllmEngine(engine, tokenizer, settings, scratch)
        made.opened = stack.pop_all()
        return made


def _start(settings: EngineSettings, place: Place, ranks: Sequence[int]) -> Any:
    """Return vLLM's `LLMEngine`."""
    os.environ.update(_SAFE)
    lora = (
        {"enable_lora": True, "max_loras": 1, "max_lora_rank": room_for_rank(ranks)}
        if ranks
        else {}
    )
    try:
        from vllm import EngineArgs, LLMEngine

        return LLMEngine.from_engine_args(
            EngineArgs(
                model=str(settings.model.path),
                skip_tokenizer_init=True,
                trust_remote_code=False,
                load_format="safetensors",
                generation_config="vllm",
                dtype=place.dtype,
                seed=0,
                max_model_len=-1,  # the model's context, or what memory has room for
                max_num_seqs=settings.batch_size,
                gpu_memory_utilization=_SHARE,
                enable_prefix_caching=False,  # answers must not depend on earlier requests
                max_logprobs=-1,
                logprobs_mode="raw_logprobs",
                disable_log_stats=True,
                **lora,
            )
        )
    except Exception as error:  # its process ends with errors of many kinds
        raise ModelError(
            f"{settings.model.path}: vLLM {installed('vllm')} cannot load this model on "
            f"{place.name} ({one_line(error)}). Its own messages say why. It takes {_SHARE:.0%} of "
            "the GPU's memory, so nothing else may use it; lower --batch_size if memory is short, "
            "or use --engine transformers"
        ) from error


def _require_loadable(model: ModelFolder, place: Place) -> None:
    """Refuse a model that vLLM cannot read, or that is larger than the GPU."""
    if "quantization" in model.config and "quantization_config" not in model.config:
        raise ModelError(
            f"{model.path} is quantised in MLX's format, which vLLM cannot read. Use --engine mlx, "
            "or give the model that it was made from"
        )
    n_bytes = sum(path.stat().st_size for path in model.path.glob("*.safetensors"))
    named = model.config.get("dtype") or model.config.get("torch_dtype")
    if named == "float32" and place.dtype != "float32":
        n_bytes //= 2
    if place.n_bytes is not None and n_bytes > _SHARE * place.n_bytes:
        raise ModelError(
            f"{model.path}: its weights need {n_bytes / 2**30:.1f} GiB, and vLLM may take "
            f"{_SHARE * place.n_bytes / 2**30:.1f} GiB of this GPU. Use a smaller model or a "
            "larger GPU, --engine transformers --load_4bit true, or a server that has several GPUs "
            "(--server_url)"
        )


def _load_tokenizer(path: Path) -> Any:
    from transformers import AutoTokenizer

    begin_tokenizer_check(path)()
    try:
        return AutoTokenizer.from_pretrained(path, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # loaders can raise anything; this is their only caller
        raise ModelError(
            f"{path}: transformers cannot load this tokenizer ({one_line(error)}); get the model's "
            "files again"
        ) from error


class VllmEngine(LocalEngine):
    """Generate with a base model in vLLM, with its adapters on or off.

    Attributes:
        opened: what must be closed with the engine.
    """

    def __init__(
        self, engine: Any, tokenizer: Any, settings: EngineSettings, scratch: Path
    ) -> None:
        """See `load`."""
        longest = int(engine.model_config.max_model_len)
        own = settings.model.context
        self._is_cut = own is not None and longest < own
        # vLLM always makes one token, also where only the prompt is asked about.
        asked = replace(settings.model, room=max(1, longest - 1))
        settings = replace(settings, model=replace(settings.model, room=longest))
        self._requests = VllmRequests(engine)
        self._longest = longest
        self._n_changed: dict[str, int] = {}  # variant -> completions that another batch changes
        self.opened = ExitStack()
        named = named_end_tokens(settings.model.path, settings.model.config)
        eos = tokenizer.eos_token_id
        self._eos_ids = {*named, *(() if eos is None else (int(eos),))}
        told = thinking_option(settings)
        template = template_text(tokenizer, told) if tokenizer.chat_template else None
        switch = VllmAdapterSwitch(self._requests, settings, asked, scratch)
        self._on: VllmAdapterSwitch = switch
        super().__init__(tokenizer, template, switch, settings)

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Engine.notes`."""
        if not self._is_cut:
            return super().notes
        cut = (
            f"vLLM has memory for prompts and completions of {self._longest} tokens together, less "
            "than the model's context"
        )
        return (*super().notes, cut)

    @property
    def decoding(self) -> str:
        """See `Engine.decoding`."""
        n_rows = self._settings.batch_size
        return f"by vLLM, up to {n_rows} rows, put together as it decides, ended rows replaced"

    def close(self) -> None:
        """See `Engine.close`; the process with the weights ends."""
        self.opened.close()
        del self._requests, self._switch, self._on
        gc.collect()

    def certify(
        self, variant: str, probes: Sequence[Prompt], tell: Tell = tell_nobody
    ) -> Certificate:
        """See `Engine.certify`; it also shows how completions depend on the batch."""
        found = super().certify(variant, probes, tell)
        fits, _ = split_by_context(probes[:N_PROBES], self._settings)
        if found.kind == "base disturbed" or not fits or self._settings.batch_size < 2:
            return found
        tell("ask in batches of other sizes")
        return replace(found, batch=self._batch_effect(variant, fits))

    def _batch_effect(self, variant: str, probes: Sequence[Prompt]) -> BatchEffect:
        """Return how many completions of base and adapter change with the rows in a step."""
        n_rows = self._settings.batch_size
        for name in (VANILLA, variant):
            if name not in self._n_changed:
                own = [replace(probe, variant=name) for probe in probes]
                with self._switch.adapter_on(name):
                    one = self._first_tokens(own, 1)
                    other = self._first_tokens(list(islice(cycle(own), n_rows)), n_rows)
                    n = min(len(own), n_rows)
                self._n_changed[name] = sum(one[i] != other[i] for i in range(n))
        n_changed = self._n_changed[VANILLA] + self._n_changed[variant]
        return BatchEffect(2 * min(len(probes), n_rows), n_changed, n_rows)

    def _first_tokens(self, prompts: Sequence[Prompt], at_once: int) -> list[list[int]]:
        ends = sorted(self._ends(prompts))
        asks = [
            Ask(i, one.token_ids, greedy(self._room(one, _N_PROBED), stop_token_ids=ends))
            for i, one in enumerate(prompts)
        ]
        found = self._requests.answers(asks, at_once, self._on.lora)
        return [list(found[i].outputs[0].token_ids) for i in range(len(prompts))]

    def _decode(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Completion | Failure, ...]]:
        """See `LocalEngine._decode`."""
        ends = sorted(self._ends(prompts))
        asks = [
            Ask(one, one.token_ids, drawing(one.draw, self._room(one), stop_token_ids=ends))
            for one in prompts
        ]
        for step in self._requests.run(asks, self._settings.batch_size, self._on.lora):
            yield tuple(self._finish(one, ends) for one in step)

    def _room(self, prompt: Prompt, most: int | None = None) -> int:
        room = room_left(prompt, self._settings)
        return room if most is None else min(room, most)

    def _finish(self, answered: Answered, ends: Sequence[int]) -> Completion | Failure:
        prompt: Prompt = answered.key
        made = answered.output.outputs[0]
        if made.finish_reason not in ("stop", "length"):
            reason = f"vLLM ended this completion with {made.finish_reason!r}, so it is not whole"
            return failed(prompt, reason, retry=True)
        ids = [int(token) for token in made.token_ids]
        if made.finish_reason == "stop" and ids and ids[-1] in ends:
            ids.pop()
        return Completion(
            case_id=prompt.case_id,
            variant=prompt.variant,
            text=self._tokenizer.decode(ids, skip_special_tokens=True),
            token_ids=tuple(ids),
            finish_reason=made.finish_reason,
            seconds=answered.seconds,
            n_prompt_tokens=len(prompt.token_ids),
            n_tokens=len(ids),
            sample=prompt.sample,
        )

    def _ends(self, prompts: Sequence[Prompt]) -> set[int]:
        return self._eos_ids.union(*(self.stops(prompt.variant) for prompt in prompts))

    def _read_batch(self, batch: Sequence[PromptPair]) -> list[float | NoResult]:
        """See `LocalEngine._read_batch`."""
        params = greedy(1, prompt_logprobs=0)
        rows = {i: (*pair.prompt, *pair.continuation) for i, pair in enumerate(batch)}
        asks = [Ask(i, row, params) for i, row in rows.items() if len(row) < self._longest]
        found = self._requests.answers(asks, self._settings.batch_size, self._on.lora)
        return [
            _sum_of(found[i].prompt_logprobs, rows[i], len(pair.prompt))
            if i in found
            else NoResult(
                f"prompt and expected output have {len(rows[i])} tokens together, and vLLM can "
                f"read {self._longest - 1}"
            )
            for i, pair in enumerate(batch)
        ]


def _sum_of(told: Sequence[Any], row: Sequence[int], begin: int) -> float:
    """Return the log probability of a row's tokens from one position on."""
    return float(sum(told[i][row[i]].logprob for i in range(begin, len(row))))
