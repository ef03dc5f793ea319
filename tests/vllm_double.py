"""A small double of vLLM 0.33.0's Python interface, which answers with the demo's model in mlx.

It stands for what `plugin/engines/vllm.py` uses and nothing else, and refuses what the real one
would refuse. Steps make one token for every request. It does not show that the real one works.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from demo import FOLDER
from plugin import engines
from plugin.engines import EngineSettings, choice
from plugin.load.adapter import inspect_adapter
from plugin.load.model import inspect_model

VERSION = "0.33.0"


@dataclass
class SamplingParams:
    temperature: float = 1.0
    max_tokens: int | None = 16
    ignore_eos: bool = False
    detokenize: bool = True
    output_kind: int = 0
    logprobs: int | None = None
    flat_logprobs: bool = False
    prompt_logprobs: int | None = None
    stop_token_ids: list[int] | None = None
    seed: int | None = None


class RequestOutputKind:
    CUMULATIVE, DELTA, FINAL_ONLY = 0, 1, 2


@dataclass(frozen=True)
class LoRARequest:
    lora_name: str
    lora_int_id: int
    lora_path: str = ""

    def __post_init__(self) -> None:
        assert self.lora_int_id > 0 and self.lora_path


@dataclass
class EngineArgs:
    model: str
    skip_tokenizer_init: bool = False
    trust_remote_code: bool = False
    load_format: str = "auto"
    generation_config: str = "auto"
    dtype: str = "auto"
    seed: int = 0
    max_model_len: int | None = None
    max_num_seqs: int | None = None
    gpu_memory_utilization: float = 0.92
    enable_prefix_caching: bool | None = None
    max_logprobs: int = 20
    logprobs_mode: str = "raw_logprobs"
    disable_log_stats: bool = False
    enable_lora: bool = False
    max_loras: int = 1
    max_lora_rank: int = 16


@dataclass
class Request:
    prompt: list[int]
    params: SamplingParams
    lora: LoRARequest | None
    made: list[int] = field(default_factory=list)
    logprobs: Any = None
    prompt_logprobs: Any = None

    def noise(self, n: int) -> Any:
        """The request's own generator, as vLLM has one for each request with a seed."""
        if self.params.seed is None:
            return 0.0
        rng = np.random.default_rng([self.params.seed, len(self.made)])
        return self.params.temperature * rng.gumbel(size=n)


class LLMEngine:
    """Stands for vLLM's engine with the process behind it.

    Attributes:
        made: all engines so far; the last one is the test's.
        room: what memory suffices for, in tokens of prompt and completion; None for all.
        fails: what happens in the next step, if anything.
        batches: the most rows that a step had.
        shift: added to the base's logits after an adapter was on: a broken engine.
        jitter: size of noise that no seed repeats.
    """

    made: list[LLMEngine] = []
    room: int | None = None
    fails: Exception | None = None
    shift = 0.0
    jitter = 0.0

    def __init__(self, args: EngineArgs) -> None:
        assert args.skip_tokenizer_init and not args.trust_remote_code
        self.args, self.asked, self.batches = args, dict[str, Request](), 0
        self.aborted: list[str] = []
        self.was_shut_down = self.had_adapter = False
        folder = inspect_model(Path(args.model))
        self._mlx, self._known = _shared_model(folder.path)
        longest = min(folder.context or 10**6, LLMEngine.room or 10**6)
        n = int(folder.config["vocab_size"])
        self.model_config = SimpleNamespace(max_model_len=longest, get_vocab_size=lambda: n)
        self.engine_core = SimpleNamespace(shutdown=self._shut_down)
        self._rng = np.random.default_rng(0)
        LLMEngine.made.append(self)

    @classmethod
    def from_engine_args(cls, engine_args: EngineArgs) -> LLMEngine:
        return cls(engine_args)

    def add_lora(self, lora_request: LoRARequest) -> bool:
        config = inspect_adapter(Path(lora_request.lora_path)).config
        if not self.args.enable_lora or config["r"] > self.args.max_lora_rank:
            rank = f"LoRA rank {config['r']} is greater than max_lora_rank"
            raise Exception(f"Call to add_lora method failed: {rank}")
        return True

    def add_request(
        self,
        request_id: str,
        prompt: Any,
        params: SamplingParams,
        lora_request: LoRARequest | None = None,
    ) -> str:
        ids = prompt["prompt_token_ids"]
        assert params.ignore_eos and not params.detokenize
        assert (params.seed is None) == (params.temperature == 0)
        assert params.seed is None or 0 <= params.seed < 2**63
        assert params.logprobs != -1 or self.args.max_logprobs == -1
        if len(ids) + 1 > self.model_config.max_model_len:
            raise ValueError(f"the prompt has {len(ids)} tokens, more than max_model_len")
        assert not lora_request or self.args.enable_lora
        self.asked[request_id] = Request(list(ids), params, lora_request)
        return f"{request_id}-internal"

    def step(self) -> list[Any]:
        if self.fails:
            raise self.fails
        running = dict(list(self.asked.items())[: self.args.max_num_seqs])
        self.batches = max(self.batches, len(running))
        return [one for name, own in running.items() if (one := self._advance(name, own))]

    def abort_request(self, request_ids: list[str], internal: bool = False) -> None:
        self.aborted += request_ids
        for name in request_ids:
            self.asked.pop(name, None)

    def _advance(self, name: str, own: Request) -> Any:
        row = [*own.prompt, *own.made]
        wants_prompt = own.params.prompt_logprobs is not None and not own.made
        logs = self._logs(row, own.lora, len(row) if wants_prompt else 1)
        if wants_prompt:
            told = [{t: SimpleNamespace(logprob=float(logs[i, t]))} for i, t in enumerate(row[1:])]
            own.prompt_logprobs = [None, *told]
        if own.params.logprobs == -1:
            order = np.argsort(-logs[-1])
            own.logprobs = SimpleNamespace(
                token_ids=[int(order[0]), *order.tolist()],
                logprobs=[float(logs[-1].max()), *logs[-1][order].tolist()],
            )
        own.made.append(int((logs[-1] + own.noise(logs.shape[-1])).argmax()))
        stopped = own.made[-1] in (own.params.stop_token_ids or ())
        full = len(own.made) >= (own.params.max_tokens or 16)
        whole = len(own.prompt) + len(own.made) >= self.model_config.max_model_len
        if not (stopped or full or whole):
            return None
        del self.asked[name]
        reason = "stop" if stopped else "length"
        made = SimpleNamespace(token_ids=own.made, finish_reason=reason, logprobs=own.logprobs)
        return SimpleNamespace(
            request_id=name, finished=True, outputs=[made], prompt_logprobs=own.prompt_logprobs
        )

    def _logs(self, row: Sequence[int], lora: LoRARequest | None, n: int) -> NDArray[Any]:
        self.had_adapter |= lora is not None
        digest = inspect_adapter(Path(lora.lora_path)).digest if lora else ""
        key = digest, tuple(row), n
        if key not in self._known:
            self._known[key] = self._plain_logits(row, lora, n)
        found = self._known[key]
        if lora is None:
            found = found + self.shift * self.had_adapter * np.arange(found.shape[-1])
        found = found + self.jitter * self._rng.standard_normal(found.shape)
        wide = found.astype(np.float64)
        wide -= wide.max(-1, keepdims=True)
        logs: NDArray[Any] = wide - np.log(np.exp(wide).sum(-1, keepdims=True))
        return logs

    def _plain_logits(self, row: Sequence[int], lora: LoRARequest | None, n: int) -> Any:
        switch, known = self._mlx._switch, {}
        if lora:
            known[lora.lora_name] = inspect_adapter(Path(lora.lora_path))
        with ExitStack() as stack:
            for name, adapter in known.items():
                stack.enter_context(switch.also(name, adapter))
            stack.enter_context(switch.adapter_on(lora.lora_name if lora else "vanilla"))
            (found,) = switch.logits([row], n)
        return found

    def _shut_down(self) -> None:
        self.was_shut_down = True


@cache
def _shared_model(path: Path) -> tuple[Any, dict[Any, Any]]:
    """Return the model in mlx, and what it answered so far: all tests ask much the same."""
    made = EngineSettings(inspect_model(path), "demo", {}, 8, 8, True)
    return engines.load("mlx", made), {}


class Platform:
    """Stands for `current_platform`."""

    device_type = "cuda"
    supported_dtypes = ["torch.bfloat16", "torch.float16"]
    n_bytes = 80 << 30
    unspecified = False

    def is_unspecified(self) -> bool:
        return self.unspecified

    def is_cpu(self) -> bool:
        return False

    def get_device_total_memory(self) -> int:
        return self.n_bytes


def install(monkeypatch: pytest.MonkeyPatch) -> tuple[type[LLMEngine], Platform]:
    """Put the double in vLLM's place; return its engine's class and its platform."""
    platform = Platform()
    parts: dict[str, dict[str, Any]] = {
        "vllm": {
            "SamplingParams": SamplingParams,
            "EngineArgs": EngineArgs,
            "LLMEngine": LLMEngine,
            "__version__": VERSION,
        },
        "vllm.inputs": {"TokensPrompt": dict},
        "vllm.sampling_params": {"RequestOutputKind": RequestOutputKind},
        "vllm.lora": {},
        "vllm.lora.request": {"LoRARequest": LoRARequest},
        "vllm.platforms": {"current_platform": platform},
    }
    for name, held in parts.items():
        module = ModuleType(name)
        vars(module).update(held)
        monkeypatch.setitem(sys.modules, name, module)
    plain = choice.find_spec
    monkeypatch.setattr(choice, "find_spec", lambda name: name == "vllm" or plain(name))
    for name in ("room", "fails"):
        monkeypatch.setattr(LLMEngine, name, None)
    for name in ("shift", "jitter"):
        monkeypatch.setattr(LLMEngine, name, 0.0)
    monkeypatch.setattr(LLMEngine, "made", [])
    versions = {"vllm": VERSION, "torch": "2.14.0"}
    monkeypatch.setattr("plugin.engines.vllm.installed", lambda name: versions[name])
    return LLMEngine, platform


def settings(model: Path = FOLDER / "model", n_rows: int = 8, **adapters: Path) -> EngineSettings:
    held = {name: inspect_adapter(path) for name, path in adapters.items()}
    return replace(
        EngineSettings(inspect_model(model), "demo", held, 24, n_rows, True), fits_memory=True
    )
