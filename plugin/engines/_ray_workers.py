"""What runs in a worker's process: one engine with the model loaded, and what it is asked for.

Workers on a Ray cluster, all ready for the same; a lost one has another in its place.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from plugin import engines
from plugin.certify.certificate import Certificate
from plugin.engines import Engine, EngineSettings, is_ready
from plugin.engines._ray_cluster import WorkerLostError, is_ready_answer, read_answer
from plugin.errors import AdapterError, FaultError, ModelError, OptionError
from plugin.load.model import inspect_model
from plugin.records import Completion, Failure, Message, Prompt

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

_ELSEWHERE = "put it on a path that all machines of the cluster share"


class WorkerPlace(NamedTuple):
    """Where a worker runs: the machine's name, and the process there."""

    machine: str
    pid: int

    def __str__(self) -> str:
        return f"{self.machine} (process {self.pid})"


class PlainPair(NamedTuple):
    """A prompt and a continuation, numbered."""

    number: int
    prompt: tuple[int, ...]
    continuation: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WorkerSpec:
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
        self._place = WorkerPlace(platform.node(), os.getpid())

    def place(self) -> WorkerPlace:
        """Where it runs."""
        return self._place

    def prepare(
        self, order: WorkerSpec, certified: Sequence[tuple[str, Sequence[Prompt]]]
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
            is_ready(order.engine)
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
        self, variant: str, pairs: Sequence[PlainPair]
    ) -> Iterator[tuple[tuple[int, float | str], ...]]:
        """See `Engine.loglikelihoods`; each with its pair's number."""
        texts = [(pair.prompt, pair.continuation) for pair in pairs]
        for pair, value in zip(pairs, self._engine.loglikelihoods(variant, texts), strict=True):
            yield ((pair.number, value),)


_PLACE_WITHIN_S = 120.0
_MOST_LOSSES = 3


@dataclass(eq=False, slots=True)
class WorkerHandle:
    """A worker as seen from here.

    Attributes:
        actor: Ray's handle.
        placed: the answer to where it runs; it comes when the worker has found a place.
        ready: the answer to `EngineWorker.prepare`; None once it was seen.
        since_s: when the worker was asked for, on the monotonic clock.
    """

    actor: Any
    placed: Any
    ready: Any
    since_s: float = field(default_factory=time.monotonic)

    def ask(self, method: str, *arguments: Any) -> Any:
        """The answer on its way; the worker gives its answers in turn."""
        return getattr(self.actor, method).remote(*arguments)

    def stream(self, method: str, *arguments: Any) -> Any:
        """The answers of a method that yields them, as they come."""
        return getattr(self.actor, method).options(num_returns="streaming").remote(*arguments)


class WorkerPool:
    """The workers of one engine."""

    def __init__(self, order: WorkerSpec, n_workers: int, resources: dict[str, Any]) -> None:
        """Start the workers and wait until each has loaded the model.

        Args:
            order: what they get ready for.
            n_workers: how many.
            resources: what each takes of the cluster, as Ray's options.

        Raises:
            OptionError: when the cluster has no room for so many.
            UserError: what a worker found wrong with model, adapters or its libraries.
            FaultError: when more workers are lost than may be.
        """
        self._order = order
        self._resources = resources
        self._certified: dict[str, tuple[Sequence[Prompt], Certificate]] = {}
        self._n_lost = 0
        self.hands = [self._start() for _ in range(n_workers)]
        try:
            self._require_places()
            self.each("place")
        except BaseException:
            self.close()
            raise

    def each(self, method: str, *arguments: Any) -> list[Any]:
        """The answers of all workers, side by side."""
        asked = {hand: hand.ask(method, *arguments) for hand in self.hands}
        answers = []
        while asked:
            hand, answer = asked.popitem()
            try:
                self.settle(hand)
                answers.append(read_answer(answer))
            except WorkerLostError as error:
                other = self.replace(hand, error)
                asked[other] = other.ask(method, *arguments)
        return answers

    def one(self, method: str, *arguments: Any) -> Any:
        """The answer of any worker."""
        while True:
            hand = self.hands[0]
            try:
                self.settle(hand)
                return read_answer(hand.ask(method, *arguments))
            except WorkerLostError as error:
                self.replace(hand, error)

    def certify(self, variant: str, probes: Sequence[Prompt]) -> Certificate:
        """See `Engine.certify`; every worker makes the proof for itself.

        Raises:
            FaultError: when their certificates disagree.
        """
        found: list[Certificate] = self.each("certify", variant, probes)
        for other in found[1:]:
            require_same_setup(found[0], other)
        self._certified[variant] = (probes, found[0])
        return found[0]

    def settle(self, hand: WorkerHandle) -> None:
        """Wait until the worker is ready, and see that it has proved what the others have.

        Raises:
            LostError: when it is gone before.
            FaultError: when its certificates are others, or it finds no place.
        """
        import ray

        if hand.ready is None:
            return
        if not ray.wait([hand.placed], timeout=_PLACE_WITHIN_S)[0]:
            raise _no_place_error()
        for found in read_answer(hand.ready):
            require_same_setup(self._certified[found.variant][1], found)
        hand.ready = None

    def replace(self, hand: WorkerHandle, error: WorkerLostError) -> WorkerHandle:
        """Another worker in the place of one that is lost.

        Raises:
            FaultError: when more workers are lost than may be.
        """
        self._n_lost += 1
        if self._n_lost > _MOST_LOSSES:
            raise FaultError(
                f"{self._n_lost} workers were lost, the last one so: {error}. If memory was "
                "short, lower --workers or --batch_size"
            ) from error
        other = self._start()
        self.hands[self.hands.index(hand)] = other
        return other

    def require_hope(self) -> None:
        """Whether a worker has a place, or may still find one.

        Raises:
            FaultError: when the cluster has had no place for any of them for long.
        """
        long_ago_s = time.monotonic() - _PLACE_WITHIN_S
        if all(
            hand.since_s < long_ago_s and not is_ready_answer(hand.placed) for hand in self.hands
        ):
            raise _no_place_error()

    def close(self) -> None:
        """End all workers at once."""
        import ray

        for hand in self.hands:
            ray.kill(hand.actor)
        self.hands = []

    def _start(self) -> WorkerHandle:
        import ray

        actor = ray.remote(EngineWorker).options(**self._resources).remote()
        probes = [(variant, probes) for variant, (probes, _) in self._certified.items()]
        return WorkerHandle(actor, actor.place.remote(), actor.prepare.remote(self._order, probes))

    def _require_places(self) -> None:
        import ray

        placed = [hand.placed for hand in self.hands]
        found, _ = ray.wait(placed, num_returns=len(placed), timeout=_PLACE_WITHIN_S)
        if len(found) < len(placed):
            raise OptionError(
                f"--workers {len(placed)}: only {len(found)} found a place on the Ray cluster "
                f"within {_PLACE_WITHIN_S:g} seconds. Each takes "
                f"{_resource_text(self._resources)}; the "
                f"cluster has {_resource_text(ray.cluster_resources())}, of which free "
                f"{_resource_text(ray.available_resources())}. Ask for fewer, or wait for "
                "others to end"
            )


def require_same_setup(one: Certificate, other: Certificate) -> None:
    """Whether two workers have proved the same.

    Raises:
        FaultError: when they have not.
    """
    facts = [(c.kind, c.adapter_digest, c.n_tensors, c.unused) for c in (one, other)]
    if facts[0] != facts[1]:
        raise FaultError(
            f"the workers disagree about adapter {one.variant}: {one.result} on one "
            f"({one.adapter_digest}), {other.result} on another ({other.adapter_digest}). All "
            "machines of the cluster need the same files and the same libraries"
        )


def _no_place_error() -> FaultError:
    return FaultError(
        "a worker was lost, and for another the Ray cluster had no place within "
        f"{_PLACE_WITHIN_S:g} seconds"
    )


def _resource_text(resources: dict[str, Any]) -> str:
    """In words, from Ray's options or from its books."""
    cpus = resources.get("num_cpus", resources.get("CPU", 0))
    gpus = resources.get("num_gpus", resources.get("GPU", 0))
    return f"{cpus:g} CPUs and {gpus:g} GPUs"
