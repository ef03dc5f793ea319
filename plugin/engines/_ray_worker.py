"""What runs in a worker's process: one engine with the model loaded, and what it is asked for."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from plugin import engines
from plugin.certificate_records import Certificate
from plugin.engines import Engine, EngineSettings, Prompt
from plugin.engines._choice import ready
from plugin.errors import AdapterError, ModelError, OptionError
from plugin.records import Completion, Failure, Message
from plugin.weights import inspect_model

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

_ELSEWHERE = "put it on a path that all machines of the cluster share"


class Place(NamedTuple):
    """Where a worker runs: the machine's name, and the process there."""

    machine: str
    pid: int

    def __str__(self) -> str:
        return f"{self.machine} (process {self.pid})"


class Pair(NamedTuple):
    """A prompt and a continuation, numbered."""

    number: int
    prompt: tuple[int, ...]
    continuation: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is to get ready for.

    Attributes:
        engine: the engine's name.
        settings: with absolute paths.
        version: of the engine where the run was started; completions are kept under it.
        machine: where the run was started; files there need no second look.
        n_beside: workers that share a machine's cores; 0 leaves the number of threads alone.
    """

    engine: str
    settings: EngineSettings
    version: str
    machine: str
    n_beside: int


class EngineWorker:
    """One engine in a process of its own. Made without the model, so that it is there at once."""

    _engine: Engine

    def __init__(self) -> None:
        """See `prepare`."""
        self._place = Place(platform.node(), os.getpid())

    def place(self) -> Place:
        """Where it runs."""
        return self._place

    def prepare(
        self, order: Order, certified: Sequence[tuple[str, Sequence[Prompt]]]
    ) -> list[Certificate]:
        """Load the model, and prove again what the other workers have proved.

        Args:
            order: what to get ready for.
            certified: variants with the probes that they were certified with.

        Raises:
            ModelError: when the model is not here, is another one, or cannot be loaded.
            AdapterError: when an adapter is not here.
            OptionError: when other libraries are installed here.
        """
        if order.n_beside:  # before any library reads them
            n_threads = max(1, (os.cpu_count() or 1) // order.n_beside)
            os.environ.update(dict.fromkeys(_THREADS, str(n_threads)))
        try:
            ready(order.engine)
        except OptionError as error:
            raise OptionError(f"worker on {self._place}: {error}") from error
        if self._place.machine != order.machine:
            self._check_files(order.settings)
        version = engines.library_version(order.engine, order.settings.load_4bit)
        if version != order.version:
            raise OptionError(
                f"worker on {self._place}: it would generate with {version}, and the run began "
                f"with {order.version}; all machines of the cluster need the same libraries and "
                "devices"
            )
        self._engine = engines.load(order.engine, order.settings)
        return [self._engine.certify(variant, probes) for variant, probes in certified]

    def _check_files(self, settings: EngineSettings) -> None:
        """Whether the files here are those that the run was planned with.

        Adapters are compared later, when each is certified.
        """
        path = settings.model.path
        if not path.is_dir():
            raise ModelError(
                f"worker on {self._place}: model folder {path} not found; {_ELSEWHERE}"
            )
        model = inspect_model(path)
        known = (settings.model.digest, settings.model.tokenizer_digest)
        if (model.digest, model.tokenizer_digest) != known:
            raise ModelError(
                f"worker on {self._place}: {path} holds another model than on the machine where "
                f"the run was started; {_ELSEWHERE}"
            )
        for adapter in settings.adapters.values():
            if not Path(adapter.root).is_dir():
                raise AdapterError(
                    f"worker on {self._place}: adapter folder {adapter.root} not found; "
                    f"{_ELSEWHERE}"
                )

    def notes(self) -> tuple[str, ...]:
        """See `Engine.notes`."""
        return self._engine.notes

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """See `Engine.encode`."""
        return self._engine.encode(messages)

    def tokens(self, text: str) -> tuple[int, ...]:
        """See `Engine.tokens`."""
        return self._engine.tokens(text)

    def certify(self, variant: str, probes: Sequence[Prompt]) -> Certificate:
        """See `Engine.certify`."""
        return self._engine.certify(variant, probes)

    def generate(
        self, prompts: Sequence[Prompt]
    ) -> Iterator[tuple[tuple[tuple[str, str | None], Completion | Failure], ...]]:
        """See `Engine.generate`; each with case and variant. Steps without any are left out."""
        for ended in self._engine.generate(prompts):
            if ended:
                yield tuple(((one.case_id, one.variant), one) for one in ended)

    def loglikelihoods(
        self, variant: str, pairs: Sequence[Pair]
    ) -> Iterator[tuple[tuple[int, float | str], ...]]:
        """See `Engine.loglikelihoods`; each with its pair's number."""
        texts = [(pair.prompt, pair.continuation) for pair in pairs]
        for pair, value in zip(pairs, self._engine.loglikelihoods(variant, texts), strict=True):
            yield ((pair.number, value),)
