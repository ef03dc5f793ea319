"""Engines: prompts -> completions and log-likelihoods. The file's name is the engine's name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from plugin.adapters.layout import AdapterFolder
from plugin.certificate_records import Certificate
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


def available() -> list[str]:
    """The names of the engines, without importing them."""
    folder = str(Path(__file__).parent)
    return sorted(m.name for m in pkgutil.iter_modules([folder]) if not m.name.startswith("_"))


def library_version(name: str, load_4bit: bool = False) -> str:
    """Name and version of what generates, part of every completion's key; loads no model."""
    module = importlib.import_module(f"plugin.engines.{name}")
    version: str = module.version()
    return f"{version}, {module.version_4bit()}" if load_4bit else version


def offers(name: str) -> frozenset[str]:
    """What the named engine gives besides the text, in the words of `MetricSpec.needs_engine`."""
    declared: frozenset[str] = importlib.import_module(f"plugin.engines.{name}").OFFERS
    return declared


def batch_size(name: str) -> int:
    """How many completions the named engine makes side by side where nothing else is said."""
    size: int = importlib.import_module(f"plugin.engines.{name}").BATCH_SIZE
    return size


def load(name: str, settings: EngineSettings | ServedSettings) -> Engine:
    """Load the model in the named engine, or open the connections to the server that has it."""
    engine: Engine = importlib.import_module(f"plugin.engines.{name}").load(settings)
    return engine
