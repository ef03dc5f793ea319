"""Run engines in worker processes on a Ray cluster, each with the model loaded.

`EngineWorker` runs inside a worker process. `WorkerHandle` represents one worker in this process.
`WorkerPool` holds all handles and replaces workers that are lost.
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
from plugin.engines import Engine, EngineSettings
from plugin.engines._ray_cluster import WorkerLostError, is_ready_answer, wait_for_answer
from plugin.engines.choice import ready_engines
from plugin.errors import AdapterError, FaultError, ModelError, OptionError
from plugin.load.model import inspect_model
from plugin.records import VANILLA, Completion, Failure, Message, NoResult, Prompt

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

_ELSEWHERE = "put it on a path that all machines of the cluster share"


class WorkerPlace(NamedTuple):
    """Name the machine and the process of a worker."""

    machine: str
    pid: int

    def __str__(self) -> str:
        return f"{self.machine} (process {self.pid})"


class NumberedPair(NamedTuple):
    """A prompt and a continuation, with the pair's index in the whole list."""

    number: int
    prompt: tuple[int, ...]
    continuation: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """Say what a worker loads.

    Attributes:
        engine: the engine's name.
        settings: the engine's settings, with absolute paths.
        version: the engine's version on the machine that started the run.
        machine: the machine that started the run; workers there need not check the files again.
        n_beside: number of workers that share a machine's cores; 0 keeps the number of threads.
    """

    engine: str
    settings: EngineSettings
    version: str
    machine: str
    n_beside: int


class EngineWorker:
    """Run one engine in its own process; the constructor loads no model, so it returns at once."""

    _engine: Engine

    def __init__(self) -> None:
        """See `prepare`."""
        self._place = WorkerPlace(platform.node(), os.getpid())

    def place(self) -> WorkerPlace:
        """Return the worker's machine and process."""
        return self._place

    def prepare(
        self, spec: WorkerSpec, probes_of: Sequence[tuple[str, Sequence[Prompt]]]
    ) -> list[Certificate]:
        """Load the model, and repeat the certificates that the other workers have made.

        Args:
            spec: what to load.
            probes_of: the certified variants with their probes.

        Raises:
            ModelError: when the model is missing here, differs, or cannot be loaded.
            AdapterError: when an adapter is missing here.
            OptionError: when library versions differ from those of the run.
        """
        if spec.n_beside:  # before a library reads the variables
            n_threads = max(1, (os.cpu_count() or 1) // spec.n_beside)
            os.environ.update(dict.fromkeys(_THREADS, str(n_threads)))
        try:
            ready_engines(spec.engine)
        except OptionError as error:
            raise OptionError(f"worker on {self._place}: {error}") from error
        if self._place.machine != spec.machine:
            self._check_files(spec.settings)
        version = engines.library_version(spec.engine, spec.settings.load_4bit)
        if version != spec.version:
            raise OptionError(
                f"worker on {self._place}: it would generate with {version}, but the run began "
                f"with {spec.version}; all machines of the cluster need the same library versions "
                "and the same kind of device"
            )
        self._engine = engines.load(spec.engine, spec.settings)
        return [self._engine.certify(variant, probes) for variant, probes in probes_of]

    def _check_files(self, settings: EngineSettings) -> None:
        """Refuse model files that differ from those on the machine that started the run.

        Adapter files are compared later, when each adapter is certified.
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
                f"worker on {self._place}: {path} holds a different model than on the machine that "
                f"started the run; {_ELSEWHERE}"
            )
        for adapter in settings.adapters.values():
            if not Path(adapter.root).is_dir():
                raise AdapterError(
                    f"worker on {self._place}: adapter folder {adapter.root} not found; "
                    f"{_ELSEWHERE}"
                )

    def decoding(self) -> str:
        """See `Engine.decoding`."""
        return self._engine.decoding

    def notes(self) -> tuple[str, ...]:
        """See `Engine.notes`."""
        return self._engine.notes

    def encode(self, messages: Sequence[Message], variant: str = VANILLA) -> tuple[int, ...]:
        """See `Engine.encode`."""
        return self._engine.encode(messages, variant)

    def tokens(self, text: str) -> tuple[int, ...]:
        """See `Engine.tokens`."""
        return self._engine.tokens(text)

    def certify(self, variant: str, probes: Sequence[Prompt]) -> Certificate:
        """See `Engine.certify`."""
        return self._engine.certify(variant, probes)

    def generate(
        self, prompts: Sequence[Prompt]
    ) -> Iterator[tuple[tuple[tuple[str, str | None, int], Completion | Failure], ...]]:
        """See `Engine.generate`; yield each result with its key, and skip empty steps."""
        for ended in self._engine.generate(prompts):
            if ended:
                yield tuple(((one.case_id, one.variant, one.sample), one) for one in ended)

    def loglikelihoods(
        self, variant: str, pairs: Sequence[NumberedPair]
    ) -> Iterator[tuple[tuple[int, float | NoResult], ...]]:
        """See `Engine.loglikelihoods`; yield each value with its pair's index."""
        texts = [(pair.prompt, pair.continuation) for pair in pairs]
        for pair, value in zip(pairs, self._engine.loglikelihoods(variant, texts), strict=True):
            yield ((pair.number, value),)


_PLACE_WITHIN_S = 120.0
_MOST_LOSSES = 3


@dataclass(eq=False, slots=True)
class WorkerHandle:
    """Represent one worker in this process.

    Attributes:
        actor: Ray's handle.
        place: pending answer of `EngineWorker.place`; it arrives when Ray has started the worker.
        ready: pending answer of `EngineWorker.prepare`; None after it was received.
        asked_for_s: time of the request for this worker, on the monotonic clock.
    """

    actor: Any
    place: Any
    ready: Any
    asked_for_s: float = field(default_factory=time.monotonic)

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the worker, and return the pending answer; calls run in order."""
        return getattr(self.actor, method).remote(*arguments)

    def stream(self, method: str, *arguments: Any) -> Any:
        """Call a generator method of the worker, and return the stream of its answers."""
        return getattr(self.actor, method).options(num_returns="streaming").remote(*arguments)


class WorkerPool:
    """Manage the workers of one engine."""

    def __init__(self, spec: WorkerSpec, n_workers: int, resources: dict[str, Any]) -> None:
        """Start the workers and wait until each has loaded the model.

        Args:
            spec: what each worker loads.
            n_workers: number of workers.
            resources: what each worker needs from the cluster, as Ray's options.

        Raises:
            OptionError: when the cluster has no room for so many workers.
            UserError: when a worker finds a fault in the model, the adapters or its libraries.
            FaultError: when too many workers are lost.
        """
        self._spec = spec
        self._resources = resources
        self._proofs: dict[str, tuple[Sequence[Prompt], Certificate]] = {}
        self._n_lost = 0
        self.workers = [self._start() for _ in range(n_workers)]
        try:
            self._require_places()
            self.ask_all("place")
        except BaseException:
            self.close()
            raise

    def ask_all(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method on all workers at once, and return their answers."""
        asked = {worker: worker.ask(method, *arguments) for worker in self.workers}
        answers = []
        while asked:
            worker, answer = asked.popitem()
            try:
                self.await_ready(worker)
                answers.append(wait_for_answer(answer))
            except WorkerLostError as error:
                other = self.replace(worker, error)
                asked[other] = other.ask(method, *arguments)
        return answers

    def ask_any(self, method: str, *arguments: Any) -> Any:
        """Call a method on one worker, and return its answer."""
        while True:
            worker = self.workers[0]
            try:
                self.await_ready(worker)
                return wait_for_answer(worker.ask(method, *arguments))
            except WorkerLostError as error:
                self.replace(worker, error)

    def certify(self, variant: str, probes: Sequence[Prompt]) -> Certificate:
        """See `Engine.certify`; every worker makes its own certificate.

        Raises:
            FaultError: when their certificates disagree.
        """
        found: list[Certificate] = self.ask_all("certify", variant, probes)
        for other in found[1:]:
            require_same_setup(found[0], other)
        self._proofs[variant] = (probes, found[0])
        return found[0]

    def await_ready(self, worker: WorkerHandle) -> None:
        """Wait until the worker is ready, and check that its certificates match the others'.

        Raises:
            WorkerLostError: when the worker is lost before that.
            FaultError: when its certificates differ, or the cluster has no room for it.
        """
        import ray

        if worker.ready is None:
            return
        if not ray.wait([worker.place], timeout=_PLACE_WITHIN_S)[0]:
            raise _no_place_error()
        for found in wait_for_answer(worker.ready):
            require_same_setup(self._proofs[found.variant][1], found)
        worker.ready = None

    def replace(self, worker: WorkerHandle, error: WorkerLostError) -> WorkerHandle:
        """Start a new worker in place of a lost one, and return it.

        Raises:
            FaultError: when too many workers are lost.
        """
        self._n_lost += 1
        if self._n_lost > _MOST_LOSSES:
            raise FaultError(
                f"{self._n_lost} workers were lost; reason of the last: {error}. If they ran "
                "out of memory, lower --workers or --batch_size"
            ) from error
        other = self._start()
        self.workers[self.workers.index(worker)] = other
        return other

    def require_place(self) -> None:
        """Stop if no worker is running and none can be expected to start.

        Raises:
            FaultError: when the cluster has had no room for any worker for too long.
        """
        long_ago_s = time.monotonic() - _PLACE_WITHIN_S
        if all(
            worker.asked_for_s < long_ago_s and not is_ready_answer(worker.place)
            for worker in self.workers
        ):
            raise _no_place_error()

    def close(self) -> None:
        """Kill all workers."""
        import ray

        for worker in self.workers:
            ray.kill(worker.actor)
        self.workers = []

    def _start(self) -> WorkerHandle:
        import ray

        actor = ray.remote(EngineWorker).options(**self._resources).remote()
        probes = [(variant, probes) for variant, (probes, _) in self._proofs.items()]
        return WorkerHandle(actor, actor.place.remote(), actor.prepare.remote(self._spec, probes))

    def _require_places(self) -> None:
        import ray

        places = [worker.place for worker in self.workers]
        found, _ = ray.wait(places, num_returns=len(places), timeout=_PLACE_WITHIN_S)
        if len(found) < len(places):
            raise OptionError(
                f"--workers {len(places)}: the Ray cluster had room for only {len(found)} "
                f"within {_PLACE_WITHIN_S:g} seconds. Each worker needs "
                f"{_resource_text(self._resources)}; the "
                f"cluster has {_resource_text(ray.cluster_resources())} in all and "
                f"{_resource_text(ray.available_resources())} free. Use fewer workers, or wait "
                "until other jobs on the cluster end"
            )


def require_same_setup(first: Certificate, other: Certificate) -> None:
    """Stop if the certificates of two workers disagree.

    Raises:
        FaultError: when their certificates differ.
    """
    facts = [(c.kind, c.adapter_digest, c.n_tensors, c.unused) for c in (first, other)]
    if facts[0] != facts[1]:
        raise FaultError(
            f"the workers disagree about adapter {first.variant}: {first.result} on one "
            f"({first.adapter_digest}), {other.result} on another ({other.adapter_digest}). All "
            "machines of the cluster need the same files and library versions"
        )


def _no_place_error() -> FaultError:
    return FaultError(
        "a worker was lost, and the Ray cluster had no room for a new one within "
        f"{_PLACE_WITHIN_S:g} seconds. Resume the run when the cluster has free CPUs or GPUs"
    )


def _resource_text(resources: dict[str, Any]) -> str:
    """Return the CPUs and GPUs of Ray's options or resource counts, in words."""
    cpus = resources.get("num_cpus", resources.get("CPU", 0))
    gpus = resources.get("num_gpus", resources.get("GPU", 0))
    return f"{cpus:g} CPUs and {gpus:g} GPUs"
