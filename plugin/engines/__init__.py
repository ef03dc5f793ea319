"""Generate completions and compute log-likelihoods.

This file defines what every engine can do (`Engine`), the settings (`EngineSettings`,
`ServedSettings`), the table `ENGINES`, and how an engine is chosen. Each engine has its own file
with the functions `load` and `version`; several engines share the files that begin with `_`.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from types import ModuleType
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from plugin.certify.certificate import Certificate, Tell, tell_nobody
from plugin.certify.effect import Distance
from plugin.errors import AdapterError, OptionError, did_you_mean
from plugin.load.adapter import AdapterFolder
from plugin.load.convert import conversion_obstacles, refuse_conversion
from plugin.load.model import ModelFolder
from plugin.records import VANILLA, Completion, Failure, Message, NoResult, Prompt

NO_MEMORY = "out of memory on this case alone"
NO_ANSWER = "the inference server gave no answer for this case"
"""Beginnings of failure reasons that may go away; these failures have `retry` set."""


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
        """Generate greedily; after every decoding step, yield what ended in it (often nothing).

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
    """

    module: str
    libraries: tuple[str, ...] = ()
    install: str = "nothing to install"
    gives: frozenset[str] = frozenset()
    batch_size: int = 1
    adapter_kind: Literal["mlx", "peft"] | None = None
    by_name_only: bool = False


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
    ),
    "transformers": EngineEntry(
        module="plugin.engines.transformers",
        libraries=("torch", "transformers", "peft"),
        install="pip install -r requirements-torch.txt -c constraints/torch.txt",
        gives=_GIVEN_BY_WEIGHTS,
        batch_size=64,
        adapter_kind="peft",
    ),
    "vllm": EngineEntry(
        module="plugin.engines.vllm",
        libraries=("vllm",),
        install="pip install -r requirements-vllm.txt",
        gives=_GIVEN_BY_WEIGHTS,
        batch_size=256,
        adapter_kind="peft",
        by_name_only=True,
    ),
    "server": EngineEntry(
        module="plugin.engines.server",
        libraries=("httpx",),
        install=_DEFAULT,
        gives=frozenset({"seconds", "tokens", "finish_reason"}),
        batch_size=32,
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

LIBRARIES_4BIT = ("bitsandbytes", "accelerate")
INSTALL_4BIT = "pip install -r requirements-4bit.txt -c constraints/torch.txt"


def _module(name: str) -> ModuleType:
    return importlib.import_module(ENGINES[name].module)


def library_version(name: str, load_4bit: bool = False) -> str:
    """Return names and versions of the engine's libraries, part of every completion's key.

    This loads no model.
    """
    module = _module(name)
    version: str = module.version()
    return f"{version}, {module.version_4bit()}" if load_4bit else version


def load(name: str, settings: EngineSettings | ServedSettings) -> Engine:
    """Load the model in the named engine, or prepare the connections to its server."""
    engine: Engine = _module(name).load(settings)
    return engine


_ADAPTER_KINDS = {name: kind for name in PROVEN if (kind := ENGINES[name].adapter_kind)}
"""Engines that `auto` may choose -> the adapter format that each loads without conversion."""

_SPREADER = "ray"
"""The engine that generates nothing itself but runs another one on several workers."""


class EngineChoice(NamedTuple):
    """An engine's name, and why it was chosen."""

    name: str
    reason: str


def ready_engines(name: str) -> list[str]:
    """Return the engines that can run here: the named one, or for "auto" all installed ones.

    Raises:
        OptionError: for an unknown name; for an engine that runs no model; when libraries are
            missing.
    """
    if name == _SPREADER:
        raise OptionError(
            f"--engine {name}: Ray generates nothing itself; it runs "
            f"{' or '.join(_ADAPTER_KINDS)} on several workers. Choose one of these with --engine, "
            "and add --workers N (or --ray_address ADDRESS for a running cluster)"
        )
    if name != "auto" and name not in ENGINES:
        known = ["auto", *(engine for engine in ENGINES if engine != _SPREADER)]
        raise OptionError(
            f"unknown engine {name!r}{did_you_mean(name, known) or ';'} --engine takes one of "
            f"{', '.join(known)}"
        )
    if name == "recorded":
        raise OptionError(
            "engine 'recorded' runs no model: give a file of existing completions with "
            "`run --recorded NAME=FILE`, or choose another --engine"
        )
    asked = list(_ADAPTER_KINDS) if name == "auto" else [name]
    found = [engine for engine in asked if not _missing_libraries(engine)]
    if not found:
        told = (f"engine {engine!r} {_missing_text(engine)}" for engine in asked)
        raise OptionError("; or ".join(told))
    return found


def choose_engine(
    name: str, model: ModelFolder, adapters: Iterable[AdapterFolder], load_4bit: bool = False
) -> EngineChoice:
    """Choose the engine; for "auto", by installed libraries, model, adapters and device.

    Raises:
        OptionError: see `ready_engines`; when the base cannot be loaded in 4 bits.
    """
    if load_4bit:
        return _choose_4bit(name, model)
    found = ready_engines(name)
    if name != "auto":
        return EngineChoice(name, f"--engine {name}")
    if len(found) == 1:
        return EngineChoice(found[0], "auto: the only one installed")
    fitting = _fitting_engine(model, list(adapters))
    return fitting._replace(reason=f"auto: {fitting.reason}")


def _choose_4bit(name: str, model: ModelFolder) -> EngineChoice:
    """Choose the engine that can quantise a model while loading it."""
    if name not in ("auto", "transformers"):
        ready_engines(name)
        raise OptionError(
            f"--load_4bit true: the engine {name!r} does not quantise a model. Give a quantised "
            "MLX model with --model_name (mlx_lm.convert -q makes one), or use --engine "
            "transformers"
        )
    ready_engines("transformers")
    how = {"quantization": "in MLX format", "quantization_config": "already"}
    for key, words in how.items():
        if key in model.config:
            raise OptionError(
                f"--load_4bit true: {model.path} is quantised {words}; leave --load_4bit out"
            )
    missing = [name for name in LIBRARIES_4BIT if find_spec(name) is None]
    if missing:
        raise OptionError(
            f"--load_4bit true needs {' and '.join(missing)}, not installed here. Install with: "
            f"{INSTALL_4BIT}"
        )
    return EngineChoice(
        "transformers", "--load_4bit" if name == "auto" else "--engine transformers"
    )


def _fitting_engine(model: ModelFolder, adapters: Sequence[AdapterFolder]) -> EngineChoice:
    """Choose between mlx and transformers (both installed) by model, adapters and device."""
    if "quantization" in model.config:
        return EngineChoice("mlx", "the base is quantised in MLX format")
    for adapter in adapters:
        for name, kind in _ADAPTER_KINDS.items():
            if conversion_obstacles(adapter, kind, model):
                other = "transformers" if name == "mlx" else "mlx"
                return EngineChoice(
                    other, f"adapter {adapter.path.name} cannot be converted for {name}"
                )
    if sys.platform == "darwin":
        return EngineChoice("mlx", "this is a Mac")
    if _module("transformers").has_gpu():
        return EngineChoice("transformers", "torch sees a GPU")
    return EngineChoice("transformers", "no GPU, and torch is much faster than mlx on a CPU")


def require_fitting_adapters(
    name: str, model: ModelFolder, adapters: Sequence[AdapterFolder]
) -> None:
    """Refuse adapters that the engine cannot load.

    Raises:
        AdapterError: naming the engine that can; when no engine can load all of them, the runs to
            compare them in.
    """
    kind = ENGINES[name].adapter_kind
    refused = [one for one in adapters if kind and conversion_obstacles(one, kind, model)]
    if not kind or not refused:
        return
    other = next(engine for engine, own in _ADAPTER_KINDS.items() if own != kind)
    if any(conversion_obstacles(one, _ADAPTER_KINDS[other], model) for one in adapters):
        own = [one for one in adapters if one not in refused]
        runs = "\n".join(
            f"  --engine {engine} " + " ".join(f"--model_adapter {one.path}" for one in group)
            for engine, group in ((name, own), (other, refused))
        )
        raise AdapterError(
            "no engine here can load all of these adapters, because they are of different "
            f"kinds. Compare them in two runs:\n{runs}"
        )
    for adapter in refused:
        refuse_conversion(adapter, kind, model)


def _missing_libraries(name: str) -> list[str]:
    return [library for library in ENGINES[name].libraries if find_spec(library) is None]


def _missing_text(name: str) -> str:
    missing = " and ".join(_missing_libraries(name))
    return f"needs {missing}, not installed here. Install with: {ENGINES[name].install}"


def spread_over_workers(
    name: str, settings: EngineSettings, n_workers: int, address: str
) -> tuple[str, EngineSettings]:
    """Return name and settings of the engine to load: this one, or ray to run it on workers.

    Args:
        name: the engine's name.
        settings: the engine's settings.
        n_workers: number of workers (--workers).
        address: the Ray cluster's address (--ray_address); "" for none.

    Raises:
        OptionError: when the engine or this machine cannot do that, or a library is missing.
    """
    if n_workers == 1 and not address:
        return name, settings
    asked = f"--ray_address {address}" if address else f"--workers {n_workers}"
    if name not in _ADAPTER_KINDS:
        raise OptionError(
            f"{asked}: engine {name!r} runs on no workers; leave the option out, or choose "
            f"--engine {' or '.join(_ADAPTER_KINDS)}"
        )
    if _missing_libraries(_SPREADER):
        raise OptionError(f"{asked} {_missing_text(_SPREADER)}")
    cores = os.cpu_count() or 1
    if not address and n_workers > cores:
        raise OptionError(
            f"{asked}: this machine has only {cores} cores, and more workers than cores are not "
            f"faster; use {cores} or fewer, or --ray_address for a cluster"
        )
    return _SPREADER, replace(settings, spread=WorkerSettings(name, n_workers, address))
