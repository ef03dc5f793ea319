"""Generate completions and compute log-likelihoods.

This file defines what every engine can do (`Engine`), the settings (`EngineSettings`,
`ServedSettings`) and the table `ENGINES`. `choice` says which of them runs. Each engine has its own
file with the functions `load` and `version`; several share the files that begin with `_`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from plugin.certify.certificate import Certificate, Tell, tell_nobody
from plugin.certify.effect import Distance
from plugin.load.adapter import AdapterFolder
from plugin.load.model import ModelFolder
from plugin.load_rows import StreamedRequest
from plugin.records import VANILLA, Completion, Failure, Message, NoResult, Prompt

NO_MEMORY = "out of memory on this case alone"
NO_ANSWER = "the inference server gave no answer for this case"
"""Beginnings of failure reasons that may go away; these failures have `retry` set."""


def failed(prompt: Prompt, reason: str, *, retry: bool = False) -> Failure:
    """Return the failure that stands in the place of a prompt's completion."""
    return Failure(
        prompt.case_id, "generate", reason, prompt.variant, retry=retry, sample=prompt.sample
    )


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Settings to run an engine on several workers.

    Attributes:
        engine: the engine's name.
        n_workers: number of workers; each loads the model.
        address: address of the Ray cluster; "" to start one here.
    """

    engine: str
    n_workers: int
    address: str


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Settings of an engine that holds the weights itself.

    Attributes:
        model: the model's folder.
        model_name: the model's name, as the user gave it.
        adapters: variant name -> its adapter.
        max_tokens: longest completion, in tokens; longer ones are cut off.
        batch_size: number of completions generated at the same time.
        chat_template: whether to use the tokenizer's chat template when it has one.
        load_4bit: whether to load the base in 4 bits.
        enable_thinking: value passed to the chat template; None passes nothing.
        fits_memory: whether an engine on a GPU may take as many as its memory has room for.
        spread: only for the engine ray: which engine it runs, and on how many workers.
    """

    model: ModelFolder
    model_name: str
    adapters: dict[str, AdapterFolder]
    max_tokens: int
    batch_size: int
    chat_template: bool
    load_4bit: bool = False
    enable_thinking: bool | None = None
    fits_memory: bool = False
    spread: WorkerSettings | None = None


class ServerOptions(NamedTuple):
    """The secret with a server's key, and what has its address, both as messages name them."""

    key: str
    url: str


SERVER_OPTIONS = ServerOptions("INFERENCE_API_KEY", "--server_url")


@dataclass(frozen=True, slots=True)
class ServedSettings:
    """Settings of an engine that asks a server, which holds the weights.

    Attributes:
        url: the server's base URL, without secrets.
        key: the server's key; "" if it needs none.
        names: variant name -> the model's name on the server; VANILLA is always in it, even when
            the base is not compared.
        notes: variant name -> what the reader should know about it, one sentence each.
        max_tokens: longest completion, in tokens; longer ones are cut off.
        batch_size: largest number of requests at the same time.
        chat_template: whether the server applies the chat template; if not, plain text is sent.
        enable_thinking: value passed to the chat template; None passes nothing.
        told_by: the options that name server and key, for messages.
    """

    url: str
    key: str = field(repr=False)
    names: dict[str, str]
    notes: dict[str, tuple[str, ...]]
    max_tokens: int
    batch_size: int
    chat_template: bool
    enable_thinking: bool | None = None
    told_by: ServerOptions = SERVER_OPTIONS


class Engine(Protocol):
    """Define what an engine can do; it holds the base weights once, for all variants."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what the report must say about this engine's prompts, one sentence each."""

    @property
    def decoding(self) -> str:
        """Return how completions were put into batches, in words; "" where nothing is told."""

    def encode(self, messages: Sequence[Message], variant: str = VANILLA) -> tuple[int, ...]:
        """Return the token ids of the prompt, with the chat template and exactly one BOS.

        The template is the base's, or the variant's own if its adapter brings one. The result is
        empty if the engine never sees tokens.

        Raises:
            ModelError: when the template rejects the turns, fails, or adds a second BOS; when the
                model does not know a token.
        """

    def tokens(self, text: str) -> tuple[int, ...]:
        """Return the token ids of an expected output, with the token that ends an answer."""

    def certify(
        self, variant: str, probes: Sequence[Prompt], tell: Tell = tell_nobody
    ) -> Certificate:
        """Prove that the variant's adapter is applied, and that the base is left unchanged.

        Args:
            variant: a variant with an adapter.
            probes: prompts to ask; their own variant is ignored.
            tell: gets the steps that may take long.

        Raises:
            AdapterError: when the adapter cannot be used with this base.
        """

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Completion | Failure, ...]]:
        """Complete the prompts; after every decoding step, yield what ended in it (often nothing).

        A prompt with a `draw` is drawn at its temperature with its seed, whatever else is in the
        batch; one without gets the most likely tokens. Results name the prompt's sample.

        A failure has `retry` if the engine was out of memory or a server gave no answer. It has no
        `retry` if the prompt is longer than the model's context, or no completion was recorded.

        Raises:
            AdapterError: when a variant's adapter does not fit the base model.
            BaseDisturbedError: when the base is still changed after an adapter was removed.
        """

    def loglikelihoods(
        self, variant: str, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]
    ) -> Iterator[float | NoResult]:
        """Yield the log probability of each continuation after its prompt, in nats.

        It is the sum over the continuation's tokens, each given all tokens before it; 0 for an
        empty continuation. A pair that is too long for the model's context or for the memory gives
        `NoResult` (with `retry` in the second case). Results come in the order of the pairs.
        Neighbours share a batch, so sort the pairs by length.
        """

    def close(self) -> None:
        """Release the weights."""


@runtime_checkable
class WeightsEngine(Engine, Protocol):
    """Define what an engine can do besides if it holds the weights itself."""

    def effect(self, variant: str, probes: Sequence[Prompt]) -> Distance | None:
        """Return how far a variant's answers to the probes are from the base's.

        None when the model answers with NaN or infinity.
        """


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What is sent at one level of load.

    Attributes:
        requests: prompts in order, each with whether it counts; there is no end to them.
        n_at_once: requests under way at once.
        n_counted: requests that count; with the last of them the level ends.
    """

    requests: Iterable[tuple[Prompt, bool]]
    n_at_once: int
    n_counted: int


class LoadResult(NamedTuple):
    """What became of a level of load.

    Attributes:
        rows: a row for each request that counts.
        seconds: what the level took.
        gave_up: why not all requests were sent; "" where they were.
    """

    rows: tuple[StreamedRequest, ...]
    seconds: float
    gave_up: str


@runtime_checkable
class StreamingEngine(Engine, Protocol):
    """Define what an engine can do besides if it asks a server that may stream its answers."""

    def run_load(self, plan: LoadPlan, check: Callable[[int], None]) -> LoadResult:
        """Keep so many streaming requests under way until all that count have ended.

        Args:
            plan: what is sent.
            check: called several times a second with the number of requests that have ended and
                count; may raise to stop.

        Raises:
            ServerDownError: when the server no longer answers.
            UserError: when no request can succeed before the user changes something.
        """


@dataclass(frozen=True, slots=True)
class EngineEntry:
    """A row of `ENGINES`: what we know about an engine before importing it.

    Attributes:
        module: module with its `load` and `version`; imported at the first call.
        libraries: packages that must be installed.
        install: the command that installs them.
        gives: what it returns besides the text, in the terms of `MetricSpec.needs_engine`.
        batch_size: default number of completions generated at the same time.
        adapter_kind: the adapter format that it loads without conversion; None if it loads none.
        by_name_only: whether only --engine NAME chooses it, and no workers run it.
        draws: whether it completes at a temperature above 0.
    """

    module: str
    libraries: tuple[str, ...] = ()
    install: str = "nothing to install"
    gives: frozenset[str] = frozenset()
    batch_size: int = 1
    adapter_kind: Literal["mlx", "peft"] | None = None
    by_name_only: bool = False
    draws: bool = False


_DEFAULT = "pip install -r requirements.txt -c constraints/default.txt"
_GIVEN_BY_WEIGHTS = frozenset({"loglikelihood", "seconds", "tokens", "finish_reason"})

ENGINES = {
    "mlx": EngineEntry(
        module="plugin.engines.mlx",
        libraries=("mlx", "mlx_lm"),
        install=_DEFAULT,
        gives=_GIVEN_BY_WEIGHTS,
        batch_size=32,
        adapter_kind="mlx",
        draws=True,
    ),
    "transformers": EngineEntry(
        module="plugin.engines.transformers",
        libraries=("torch", "transformers", "peft"),
        install="pip install -r requirements-torch.txt -c constraints/torch.txt",
        gives=_GIVEN_BY_WEIGHTS,
        batch_size=64,
        adapter_kind="peft",
        draws=True,
    ),
    "vllm": EngineEntry(
        module="plugin.engines.vllm",
        libraries=("vllm",),
        install="pip install -r requirements-vllm.txt",
        gives=_GIVEN_BY_WEIGHTS,
        batch_size=256,
        adapter_kind="peft",
        by_name_only=True,
        draws=True,
    ),
    "server": EngineEntry(
        module="plugin.engines.server",
        libraries=("httpx",),
        install=_DEFAULT,
        gives=frozenset({"seconds", "tokens", "finish_reason"}),
        batch_size=32,
        draws=True,
    ),
    "recorded": EngineEntry(module="plugin.engines.recorded"),
    "ray": EngineEntry(
        module="plugin.engines.ray",
        libraries=("ray",),
        install="pip install -r requirements-ray.txt -c constraints/default.txt",
    ),
}
"""All engines by name; `ray` runs one of the others on several workers."""

PROVEN = tuple(name for name, entry in ENGINES.items() if not entry.by_name_only)
"""Those that advice may name."""


def engine_module(name: str) -> ModuleType:
    """Return the module of an engine, which loads its libraries only where it works."""
    return importlib.import_module(ENGINES[name].module)


def library_version(name: str, load_4bit: bool = False) -> str:
    """Return names and versions of the engine's libraries, part of every completion's key.

    This loads no model.
    """
    module = engine_module(name)
    version: str = module.version()
    return f"{version}, {module.version_4bit()}" if load_4bit else version


def load(name: str, settings: EngineSettings | ServedSettings) -> Engine:
    """Load the model in the named engine, or prepare the connections to its server."""
    engine: Engine = engine_module(name).load(settings)
    return engine
