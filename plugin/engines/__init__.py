"""Engines: prompts -> completions and log-likelihoods. The file's name is the engine's name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from plugin.adapters.layout import AdapterFolder
from plugin.errors import OptionError
from plugin.records import Completion, Failure, Message, Variant
from plugin.weights import ModelFolder


@dataclass(frozen=True, slots=True)
class Prompt:
    """One case's prompt as token ids; the same for all variants with one prompt form."""

    case_id: str
    token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What every engine is told.

    Attributes:
        model: the base model's folder.
        adapters: variant name -> its adapter.
        max_tokens: where a completion is cut off.
        batch_size: completions generated side by side.
        chat_template: use the tokenizer's template when it has one.
    """

    model: ModelFolder
    adapters: dict[str, AdapterFolder]
    max_tokens: int
    batch_size: int
    chat_template: bool


class Engine(Protocol):
    """What an engine can do. It holds the base weights once, for all variants."""

    def check(self, variants: Sequence[Variant]) -> None:
        """Put every adapter on and off once, before anything is generated.

        Raises:
            AdapterError: for the adapters that cannot be used with this base.
            BaseDisturbedError: when the base is not itself again afterwards.
        """

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Token ids of the prompt, with the chat template and exactly one BOS.

        Raises:
            ModelError: when the template refuses the turns, or would put two BOS in front.
        """

    def generate(
        self, variant: Variant, prompts: Sequence[Prompt]
    ) -> Iterator[tuple[Completion | Failure, ...]]:
        """Greedy completions; yields after every decoding step what ended in it, often nothing.

        Raises:
            AdapterError: when the variant's adapter does not fit the base model.
            BaseDisturbedError: when the base is not itself again after an adapter was taken off.
        """

    def loglikelihood(
        self, variant: Variant, prompt: Sequence[int], continuation: Sequence[int]
    ) -> float:
        """Sum of log probabilities, in nats, of the continuation's tokens after the prompt."""

    def close(self) -> None:
        """Release the weights."""


def available() -> list[str]:
    """The names of the engines, without importing them."""
    folder = str(Path(__file__).parent)
    return sorted(m.name for m in pkgutil.iter_modules([folder]) if not m.name.startswith("_"))


def choose(name: str) -> str:
    """The engine's name, with "auto" resolved.

    Raises:
        OptionError: for an unknown name, listing the known ones.
    """
    if name == "auto":
        return "mlx"
    if name not in available():
        raise OptionError(
            f"unknown engine {name!r}; choose one of auto, {', '.join(available())} (--engine)"
        )
    return name


def library_version(name: str) -> str:
    """Name and version of what generates, part of every completion's key; loads nothing."""
    version: str = importlib.import_module(f"plugin.engines.{choose(name)}").version()
    return version


def load(name: str, settings: EngineSettings) -> Engine:
    """Load the model in the named engine."""
    engine: Engine = importlib.import_module(f"plugin.engines.{choose(name)}").load(settings)
    return engine
