"""Engines make completions and log-likelihoods of prompts.

This file has what every engine can do (`Engine`), its settings (`EngineSettings`,
`ServedSettings`), the table `ENGINES`, and the choice among them. Each engine has a file of its own
with the functions `load` and `version`; files that begin with `_` are shared by several engines.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from types import ModuleType
from typing import Literal, NamedTuple, Protocol

from plugin.certify.certificate import Certificate
from plugin.errors import OptionError, did_you_mean
from plugin.load.adapter import AdapterFolder
from plugin.load.convert import conversion_obstacles
from plugin.load.model import ModelFolder
from plugin.records import Completion, Failure, Message, NoResult, Prompt

NO_MEMORY = "memory was short for this case alone"
NO_ANSWER = "the inference server gave no answer for this case"
"""How the reasons of failures begin that may pass: their `retry` is true."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """An engine on several workers.

    Attributes:
        engine: its name.
        n_workers: how many, each with the model loaded.
        address: of the Ray cluster; "" for one that is started here.
    """

    engine: str
    n_workers: int
    address: str


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Settings of an engine that holds the weights itself.

    Attributes:
        model: the model's folder.
        model_name: as the user gave it.
        adapters: variant name -> its adapter.
        max_tokens: where a completion is cut off.
        batch_size: completions generated side by side.
        chat_template: use the tokenizer's template when it has one.
        load_4bit: load the base in 4 bits.
        enable_thinking: what the template is told; None tells it nothing.
        spread: for the engine ray alone: what it runs, and on how many workers.
    """

    model: ModelFolder
    model_name: str
    adapters: dict[str, AdapterFolder]
    max_tokens: int
    batch_size: int
    chat_template: bool
    load_4bit: bool = False
    enable_thinking: bool | None = None
    spread: WorkerSettings | None = None


@dataclass(frozen=True, slots=True)
class ServedSettings:
    """Settings of an engine that asks a server, which holds the weights.

    Attributes:
        url: the server's base URL, with nothing secret in it.
        key: "" for a server that wants none.
        names: variant name -> the name to ask the server for; the base's stands under VANILLA,
            whether it is compared or not.
        notes: variant name -> what the reader should know of it, a sentence each.
        max_tokens: where a completion is cut off.
        batch_size: requests under way at once, at most.
        chat_template: have the server use the model's template; else send plain text.
        enable_thinking: what the template is told; None tells it nothing.
    """

    url: str
    key: str = field(repr=False)
    names: dict[str, str]
    notes: dict[str, tuple[str, ...]]
    max_tokens: int
    batch_size: int
    chat_template: bool
    enable_thinking: bool | None = None


class Engine(Protocol):
    """What an engine can do. It holds the base weights once, for all variants."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what the report must say of how this engine makes prompts, a sentence each."""

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Return the token ids of the prompt, with the chat template and exactly one BOS.

        Empty where the engine never sees tokens.

        Raises:
            ModelError: when the template refuses the turns, fails, or would put two BOS in front;
                when the model does not know a token.
        """

    def tokens(self, text: str) -> tuple[int, ...]:
        """Return the token ids of a text that continues a prompt, without special tokens."""

    def certify(self, variant: str, probes: Sequence[Prompt]) -> Certificate:
        """Prove that the variant's adapter is applied, and that the base is undisturbed.

        Args:
            variant: one with an adapter.
            probes: prompts of the base (their variant is not looked at).

        Raises:
            AdapterError: when the adapter cannot be used with this base.
        """

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Completion | Failure, ...]]:
        """Complete greedily; yield after every decoding step what ended in it, often nothing.

        A failure has `retry` where memory was short or a server gave no answer. It has not where
        the model's context cannot hold the prompt, or nothing was recorded.

        Raises:
            AdapterError: when a variant's adapter does not fit the base model.
            BaseDisturbedError: when the base is not itself again after an adapter was taken off.
        """

    def loglikelihoods(
        self, variant: str, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]
    ) -> Iterator[float | NoResult]:
        """Yield the log probability of each continuation after its prompt, in nats.

        It is the sum over the continuation's tokens, each given all before it; 0 without any. There
        is no result for what the model's context or the memory cannot hold (the latter has
        `retry`). Results come in order, as soon as they exist; neighbours are read side by side, so
        pairs of like length belong together.
        """

    def close(self) -> None:
        """Release the weights."""


@dataclass(frozen=True, slots=True)
class EngineEntry:
    """A row of `ENGINES`: what is known of an engine without importing it.

    Attributes:
        module: where its `load` and `version` are; imported when they are first called.
        libraries: what must be installed.
        install: the command that installs them.
        gives: what it gives besides the text, in the words of `MetricSpec.needs_engine`.
        batch_size: completions that it makes side by side where nothing else is said.
        adapter_kind: the kind of adapter that it takes as it is; None where it loads none.
    """

    module: str
    libraries: tuple[str, ...] = ()
    install: str = "nothing to install"
    gives: frozenset[str] = frozenset()
    batch_size: int = 1
    adapter_kind: Literal["mlx", "peft"] | None = None


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
"""Every engine by its name; `ray` runs one of the others on several workers."""

LIBRARIES_4BIT = ("bitsandbytes", "accelerate")
INSTALL_4BIT = "pip install -r requirements-4bit.txt -c constraints/torch.txt"


def _module(name: str) -> ModuleType:
    return importlib.import_module(ENGINES[name].module)


def library_version(name: str, load_4bit: bool = False) -> str:
    """Return name and version of what generates, part of every completion's key.

    Loads no model.
    """
    module = _module(name)
    version: str = module.version()
    return f"{version}, {module.version_4bit()}" if load_4bit else version


def load(name: str, settings: EngineSettings | ServedSettings) -> Engine:
    """Load the model in the named engine, or open the connections to the server that has it."""
    engine: Engine = _module(name).load(settings)
    return engine


_ADAPTER_KINDS = {name: entry.adapter_kind for name, entry in ENGINES.items() if entry.adapter_kind}
"""The kind of adapter that an engine takes as it is, of the engines that load any."""

_SPREADER = "ray"
"""No engine of its own: it runs one of the others on several workers."""


class EngineChoice(NamedTuple):
    """An engine's name, and why it is this one."""

    name: str
    reason: str


def ready_engines(name: str) -> list[str]:
    """Return the engines that can run here: the named one, or all that are installed for "auto".

    Raises:
        OptionError: for an unknown name, listing the known ones; for one that runs no model; when
            libraries are missing.
    """
    if name == _SPREADER:
        raise OptionError(
            f"--engine {name}: Ray generates nothing itself, it runs "
            f"{' or '.join(_ADAPTER_KINDS)} on several workers. Choose one of these, and --workers "
            "N (or --ray_address ADDRESS for a cluster that is running)"
        )
    if name != "auto" and name not in ENGINES:
        known = ["auto", *(engine for engine in ENGINES if engine != _SPREADER)]
        raise OptionError(
            f"unknown engine {name!r}{did_you_mean(name, known) or ';'} --engine takes one of "
            f"{', '.join(known)}"
        )
    if name == "recorded":
        raise OptionError(
            "engine 'recorded' runs no model: name completions made elsewhere with "
            "`run --recorded NAME=FILE`, or choose another --engine"
        )
    asked = list(_ADAPTER_KINDS) if name == "auto" else [name]
    found = [engine for engine in asked if not _missing_libraries(engine)]
    if not found:
        raise OptionError(
            "; or ".join(f"engine {engine!r} {_missing_text(engine)}" for engine in asked)
        )
    return found


def choose_engine(
    name: str, model: ModelFolder, adapters: Iterable[AdapterFolder], load_4bit: bool = False
) -> EngineChoice:
    """Choose the engine; "auto" is resolved by what is installed, what fits, and the device.

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
    """Choose the one engine that quantises while it loads."""
    if name not in ("auto", "transformers"):
        ready_engines(name)
        raise OptionError(
            f"--load_4bit true: the engine {name!r} loads a base as it is. Name a quantised MLX "
            "model with --model_name (mlx_lm.convert -q makes one), or use --engine transformers"
        )
    ready_engines("transformers")
    how = {"quantization": "in MLX's way", "quantization_config": "already"}
    for key, words in how.items():
        if key in model.config:
            raise OptionError(
                f"--load_4bit true: {model.path} is quantised {words}; leave --load_4bit out"
            )
    missing = [name for name in LIBRARIES_4BIT if find_spec(name) is None]
    if missing:
        raise OptionError(
            f"--load_4bit true needs {' and '.join(missing)}, not installed here: {INSTALL_4BIT}"
        )
    return EngineChoice(
        "transformers", "--load_4bit" if name == "auto" else "--engine transformers"
    )


def _fitting_engine(model: ModelFolder, adapters: Sequence[AdapterFolder]) -> EngineChoice:
    """Choose between mlx and transformers, both installed, by these files and this machine."""
    if "quantization" in model.config:
        return EngineChoice("mlx", "the base is quantised in MLX's way")
    for adapter in adapters:
        for name, kind in _ADAPTER_KINDS.items():
            if conversion_obstacles(adapter, kind):
                other = "transformers" if name == "mlx" else "mlx"
                return EngineChoice(
                    other, f"adapter {adapter.path.name} cannot be converted for {name}"
                )
    if sys.platform == "darwin":
        return EngineChoice("mlx", "this is a Mac")
    if _module("transformers").has_gpu():
        return EngineChoice("transformers", "torch sees a GPU")
    if any(adapter.kind == "peft" for adapter in adapters):
        return EngineChoice("transformers", "no GPU, and there is a PEFT adapter")
    return EngineChoice("mlx", "no GPU, and no PEFT adapter")


def _missing_libraries(name: str) -> list[str]:
    return [library for library in ENGINES[name].libraries if find_spec(library) is None]


def _missing_text(name: str) -> str:
    missing = " and ".join(_missing_libraries(name))
    return f"needs {missing}, not installed here: {ENGINES[name].install}"


def spread_over_workers(
    name: str, settings: EngineSettings, n_workers: int, address: str
) -> tuple[str, EngineSettings]:
    """Return name and settings of what to load: the engine itself, or what spreads it.

    Args:
        name: the engine's.
        settings: the engine's.
        n_workers: how many (--workers).
        address: the Ray cluster's (--ray_address); "" for none.

    Raises:
        OptionError: when this engine, this machine or what is installed here cannot do that.
    """
    if n_workers == 1 and not address:
        return name, settings
    asked = f"--ray_address {address}" if address else f"--workers {n_workers}"
    if name not in _ADAPTER_KINDS:
        raise OptionError(
            f"{asked}: engine {name!r} loads no model here that workers could share; leave it "
            f"out, or choose --engine {' or '.join(_ADAPTER_KINDS)}"
        )
    if _missing_libraries(_SPREADER):
        raise OptionError(f"{asked} {_missing_text(_SPREADER)}")
    cores = os.cpu_count() or 1
    if not address and n_workers > cores:
        raise OptionError(
            f"{asked}: this machine has {cores} cores, and workers beyond that only wait for each "
            f"other; use {cores} or fewer, or --ray_address for a cluster"
        )
    return _SPREADER, replace(settings, spread=WorkerSettings(name, n_workers, address))
