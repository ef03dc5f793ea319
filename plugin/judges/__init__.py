"""Judges: a prompt and a schema -> an answer. The file's name is the judge's provider."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel

from plugin.errors import JudgeError

Secrets = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a judge sent back, not yet validated.

    Attributes:
        text: should be JSON for the schema.
        cut_off: the judge stopped for lack of room.
        version: the model version that the provider reports.
    """

    text: str
    cut_off: bool = False
    version: str = ""
    n_prompt_tokens: int = 0
    n_completion_tokens: int = 0


class AskError(Exception):
    """One call to a judge failed.

    Attributes:
        again: whether the same call may succeed later (429, 5xx, time-outs, lost connections).
        unreachable: no server answered at all.
        too_many: the server takes fewer calls at once, or in a minute.
        wait_s: how long the server asked to wait.
    """

    def __init__(
        self,
        reason: str,
        *,
        again: bool = False,
        unreachable: bool = False,
        too_many: bool = False,
        wait_s: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.again = again
        self.unreachable = unreachable
        self.too_many = too_many
        self.wait_s = wait_s


class Judge(Protocol):
    """Whoever scores.

    Attributes:
        label: as shown in verdicts, reports and chips.
        caveat: what must stand in the first line of every verdict, "" for a judge to be trusted.
        identity: provider and requested model; part of every judgment's key. The address is not:
            a server that comes back elsewhere is still the same judge.
        structured: wants a metric's values as JSON instead of DeepEval's English prompts.

    A judge that works in this process also has `concurrency`, the most questions that it can take
    side by side; fewer are asked where --concurrency says so, and no call of it has a deadline.
    """

    label: str
    caveat: str
    identity: str
    structured: bool

    async def ask(self, prompt: str, schema: type[BaseModel], room: int = 1) -> Answer:
        """One call.

        Args:
            prompt: the question.
            schema: what the answer must fit.
            room: how many times the usual room the answer gets, after one that was cut off.

        Raises:
            AskError: when this call failed.
            JudgeError: when no call can succeed (wrong key, unknown model).
        """

    async def close(self) -> None:
        """Release connections."""


def available() -> list[str]:
    """The providers, without importing them."""
    folder = str(Path(__file__).parent)
    return sorted(m.name for m in pkgutil.iter_modules([folder]) if not m.name.startswith("_"))


def choices() -> str:
    """The specs a user may give, in words."""
    return (
        "openai:<model>, azure:<deployment>, anthropic:<model>, ollama:<model>, custom:<model>, "
        "local, mlx:<model>, transformers:<model>, offline"
    )


def marks_its_own_work(judge: Judge, model: str) -> bool:
    """Whether the judge is the model under test itself, as far as names tell.

    Args:
        judge: whose label ends with its model's name.
        model: hub id or directory of the model under test; "" where none is known.
    """
    return bool(model) and _last_part(judge.label.partition(":")[2]) == _last_part(model)


def _last_part(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].casefold()


def named(provider: str, model: str, what: str = "model") -> str:
    """The spec of a judge that must name its model.

    Raises:
        JudgeError: when it names none.
    """
    if not model:
        raise JudgeError(f"judge {provider!r} names no {what}; write --judge {provider}:<{what}>")
    return f"{provider}:{model}"


def load_all(specs: str, secrets: Secrets) -> tuple[Judge, ...]:
    """The judges of a list with commas: one, or a panel.

    Raises:
        JudgeError: as `load`, and for one that is named twice.
    """
    named = [spec for part in specs.split(",") if (spec := part.strip())] or [""]
    twice = sorted({spec for spec in named if named.count(spec) > 1})
    if twice:
        raise JudgeError(f"judge {', '.join(twice)} is named twice; each has one voice in a panel")
    return tuple(load(spec, secrets) for spec in named)


def load(spec: str, secrets: Secrets) -> Judge:
    """The judge that a spec names.

    Raises:
        JudgeError: for no spec, an unknown provider or a missing key or address.
    """
    if not spec:
        raise JudgeError(
            f"no judge chosen; --judge takes one of {choices()}. offline only tries the tool out"
        )
    provider, _, model = spec.partition(":")
    if provider not in available():
        raise JudgeError(f"unknown judge {spec!r}; --judge takes one of {choices()}")
    module = importlib.import_module(f"plugin.judges.{provider}")
    judge: Judge = module.load(provider, model, secrets)
    return judge
