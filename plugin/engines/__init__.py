"""Engines: prompts -> completions and log-likelihoods. The file's name is the engine's name."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from plugin.adapters.convert import obstacles
from plugin.adapters.layout import AdapterFolder
from plugin.certificate_records import Certificate
from plugin.errors import OptionError
from plugin.records import Completion, Failure, Message
from plugin.weights import ModelFolder

NO_MEMORY = "memory was short for this case alone"
NO_ANSWER = "the inference server gave no answer for this case"
_NOT_FINAL = (NO_MEMORY, NO_ANSWER)
"""How the reasons of failures begin that more room, or a server that is well again, may mend."""


def is_final(failure: Failure) -> bool:
    """Whether trying again would be in vain.

    A prompt that the model's context cannot hold will not fit the next time either, and what was
    not recorded stays so; memory, or a server, may be there the next time.
    """
    return failure.stage == "generate" and not failure.reason.startswith(_NOT_FINAL)


@dataclass(frozen=True, slots=True)
class Prompt:
    """What one variant is to complete for one case.

    Attributes:
        variant: its name.
        messages: the turns, under the variant's system prompt.
        token_ids: the same as tokens; empty where the engine never sees any.
    """

    case_id: str
    variant: str
    messages: tuple[Message, ...]
    token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Spread:
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
    """What every engine is told.

    Attributes:
        model: the model's folder.
        model_name: as the user gave it.
        adapters: variant name -> its adapter.
        max_tokens: where a completion is cut off.
        batch_size: completions generated side by side.
        chat_template: use the tokenizer's template when it has one.
        load_4bit: load the base in 4 bits.
        spread: for the engine ray alone: what it runs, and on how many workers.
    """

    model: ModelFolder
    model_name: str
    adapters: dict[str, AdapterFolder]
    max_tokens: int
    batch_size: int
    chat_template: bool
    load_4bit: bool = False
    spread: Spread | None = None


@dataclass(frozen=True, slots=True)
class ServedSettings:
    """What an engine is told that holds no weights and asks a server that does.

    Attributes:
        url: the server's base URL, with nothing secret in it.
        key: "" for a server that wants none.
        names: variant name -> the name to ask the server for; the base's stands under VANILLA,
            whether it is compared or not.
        notes: variant name -> what the reader should know of it, a sentence each.
        max_tokens: where a completion is cut off.
        batch_size: requests under way at once, at most.
        chat_template: have the server use the model's template; else send plain text.
    """

    url: str
    key: str = field(repr=False)
    names: dict[str, str]
    notes: dict[str, tuple[str, ...]]
    max_tokens: int
    batch_size: int
    chat_template: bool


class Engine(Protocol):
    """What an engine can do. It holds the base weights once, for all variants."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the report must say of how this engine makes prompts, a sentence each."""

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Token ids of the prompt, with the chat template and exactly one BOS.

        Empty where the engine never sees tokens.

        Raises:
            ModelError: when the template refuses the turns, fails, or would put two BOS in front;
                when the model does not know a token.
        """

    def tokens(self, text: str) -> tuple[int, ...]:
        """Token ids of a text that goes on after a prompt, without special tokens."""

    def certify(self, variant: str, probes: Sequence[Prompt]) -> Certificate:
        """The proof that the variant's adapter is applied, and that the base is undisturbed.

        Args:
            variant: one with an adapter.
            probes: prompts of the base (their variant is not looked at).

        Raises:
            AdapterError: when the adapter cannot be used with this base.
        """

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Completion | Failure, ...]]:
        """Greedy completions; yields after every decoding step what ended in it, often nothing.

        Raises:
            AdapterError: when a variant's adapter does not fit the base model.
            BaseDisturbedError: when the base is not itself again after an adapter was taken off.
        """

    def loglikelihoods(
        self, variant: str, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]
    ) -> Iterator[float | str]:
        """For each prompt and continuation, the continuation's log probability, in nats.

        It is the sum over the continuation's tokens, each given all before it; 0 without any. A
        text says why there is none: what the model's context or the memory cannot hold (the latter
        begins with `NO_MEMORY`). Results come in order, as soon as they exist; neighbours are read
        side by side, so pairs of like length belong together.
        """

    def close(self) -> None:
        """Release the weights."""


_KINDS: dict[str, Literal["mlx", "peft"]] = {"mlx": "mlx", "transformers": "peft"}
"""The kind of adapter that an engine takes as it is."""

_SPREADER = "ray"
"""No engine of its own: it runs one of the others on several workers."""


def available() -> list[str]:
    """The names of the engines, without importing them."""
    folder = str(Path(__file__).parent)
    return sorted(m.name for m in pkgutil.iter_modules([folder]) if not m.name.startswith("_"))


class Choice(NamedTuple):
    """An engine's name, and why it is this one."""

    name: str
    reason: str


def ready(name: str) -> list[str]:
    """The engines that can run here: the named one, or for "auto" all whose libraries are there.

    Raises:
        OptionError: for an unknown name, listing the known ones; for one that runs no model; when
            libraries are missing.
    """
    if name == _SPREADER:
        raise OptionError(
            f"--engine {name}: Ray generates nothing itself, it runs {' or '.join(_KINDS)} on "
            "several workers. Choose one of these, and --workers N (or --ray_address ADDRESS for "
            "a cluster that is running)"
        )
    if name != "auto" and name not in available():
        known = ", ".join(engine for engine in available() if engine != _SPREADER)
        raise OptionError(f"unknown engine {name!r}; choose one of auto, {known} (--engine)")
    if name == "recorded":
        raise OptionError(
            "engine 'recorded' runs no model: name completions made elsewhere with "
            "`run --recorded NAME=FILE`, or choose another --engine"
        )
    asked = list(_KINDS) if name == "auto" else [name]
    found = [engine for engine in asked if not _missing(engine)]
    if not found:
        raise OptionError("; or ".join(f"engine {engine!r} {_lack(engine)}" for engine in asked))
    return found


def choose(
    name: str, model: ModelFolder, adapters: Iterable[AdapterFolder], load_4bit: bool = False
) -> Choice:
    """The engine, with "auto" resolved by what is installed, what fits, and the device.

    Raises:
        OptionError: see `ready`; when the base cannot be loaded in 4 bits.
    """
    if load_4bit:
        return _in_4bit(name, model)
    found = ready(name)
    if name != "auto":
        return Choice(name, f"--engine {name}")
    if len(found) == 1:
        return Choice(found[0], "auto: the only one installed")
    fitting = _fitting(model, list(adapters))
    return fitting._replace(reason=f"auto: {fitting.reason}")


def _in_4bit(name: str, model: ModelFolder) -> Choice:
    """The one engine that quantises while it loads."""
    if name not in ("auto", "transformers"):
        ready(name)
        raise OptionError(
            f"--load_4bit true: the engine {name!r} loads a base as it is. Name a quantised MLX "
            "model with --model_name (mlx_lm.convert -q makes one), or use --engine transformers"
        )
    ready("transformers")
    how = {"quantization": "in MLX's way", "quantization_config": "already"}
    for key, words in how.items():
        if key in model.config:
            raise OptionError(
                f"--load_4bit true: {model.path} is quantised {words}; leave --load_4bit out"
            )
    torch_engine = importlib.import_module("plugin.engines.transformers")
    missing = [name for name in torch_engine.LIBRARIES_4BIT if find_spec(name) is None]
    if missing:
        raise OptionError(
            f"--load_4bit true needs {' and '.join(missing)}, not installed here: "
            f"{torch_engine.INSTALL_4BIT}"
        )
    return Choice("transformers", "--load_4bit" if name == "auto" else "--engine transformers")


def _fitting(model: ModelFolder, adapters: Sequence[AdapterFolder]) -> Choice:
    """Of mlx and transformers, both installed, the one that these files and this machine suit."""
    if "quantization" in model.config:
        return Choice("mlx", "the base is quantised in MLX's way")
    for adapter in adapters:
        for name, kind in _KINDS.items():
            if obstacles(adapter, kind):
                other = "transformers" if name == "mlx" else "mlx"
                return Choice(other, f"adapter {adapter.path.name} cannot be converted for {name}")
    if sys.platform == "darwin":
        return Choice("mlx", "this is a Mac")
    if importlib.import_module("plugin.engines.transformers").has_gpu():
        return Choice("transformers", "torch sees a GPU")
    if any(adapter.kind == "peft" for adapter in adapters):
        return Choice("transformers", "no GPU, and there is a PEFT adapter")
    return Choice("mlx", "no GPU, and no PEFT adapter")


def _missing(name: str) -> list[str]:
    libraries: Sequence[str] = importlib.import_module(f"plugin.engines.{name}").LIBRARIES
    return [library for library in libraries if find_spec(library) is None]


def _lack(name: str) -> str:
    how = importlib.import_module(f"plugin.engines.{name}").INSTALL
    return f"needs {' and '.join(_missing(name))}, not installed here: {how}"


def spread(
    name: str, settings: EngineSettings, n_workers: int, address: str
) -> tuple[str, EngineSettings]:
    """What is to be loaded: the engine itself, or what runs it on several workers.

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
    if name not in _KINDS:
        raise OptionError(
            f"{asked}: engine {name!r} loads no model here that workers could share; leave it "
            f"out, or choose --engine {' or '.join(_KINDS)}"
        )
    if _missing(_SPREADER):
        raise OptionError(f"{asked} {_lack(_SPREADER)}")
    cores = os.cpu_count() or 1
    if not address and n_workers > cores:
        raise OptionError(
            f"{asked}: this machine has {cores} cores, and workers beyond that only wait for each "
            f"other; use {cores} or fewer, or --ray_address for a cluster"
        )
    return _SPREADER, replace(settings, spread=Spread(name, n_workers, address))


def library_version(name: str, load_4bit: bool = False) -> str:
    """Name and version of what generates, part of every completion's key; loads no model."""
    module = importlib.import_module(f"plugin.engines.{name}")
    version: str = module.version()
    return f"{version}, {module.version_4bit()}" if load_4bit else version


def offers(name: str) -> frozenset[str]:
    """What the named engine gives besides the text, in the words of `MetricSpec.needs_engine`."""
    declared: frozenset[str] = importlib.import_module(f"plugin.engines.{name}").OFFERS
    return declared


def load(name: str, settings: EngineSettings | ServedSettings) -> Engine:
    """Load the model in the named engine, or open the connections to the server that has it."""
    engine: Engine = importlib.import_module(f"plugin.engines.{name}").load(settings)
    return engine
