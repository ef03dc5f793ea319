"""Run another engine on several workers, on this machine or on a Ray cluster.

Every worker is a process with the model loaded. `share_work` gives batches from a `WorkQueue` to
free workers and collects results one by one. If a worker is lost, another one repeats its
unfinished items. The completions are the same as without workers, so neither Ray nor the number of
workers is part of a run's id.
"""

from __future__ import annotations

import importlib
import math
import os
import platform
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, NamedTuple, TypeVar

from plugin.certify.certificate import Certificate, Tell, tell_nobody
from plugin.engines import ENGINES, EngineSettings, WorkerSettings, library_version
from plugin.engines._ray_cluster import Cluster, WorkerLostError, is_ready_answer, wait_for_answer
from plugin.engines._ray_workers import (
    NumberedPair,
    WorkerHandle,
    WorkerPlace,
    WorkerPool,
    WorkerSpec,
)
from plugin.errors import FaultError
from plugin.records import VANILLA, Completion, Failure, Message, NoResult, Prompt


def load(settings: EngineSettings) -> RayEngine:
    """Start or join a cluster, and load the model on every worker.

    Raises:
        OptionError: when the cluster cannot be joined, or has no room for the workers.
        ModelError: when a worker cannot load the model.
        FaultError: when Ray cannot be started, or too many workers are lost.
    """
    spread = settings.spread
    assert spread is not None, "make these settings with `spread_over_workers`"
    cluster = Cluster(spread.address, max(spread.n_workers, os.cpu_count() or 1))
    try:
        pool = WorkerPool(
            _worker_spec(settings, spread, cluster),
            spread.n_workers,
            _worker_resources(spread, cluster),
        )
    except BaseException:
        cluster.leave()
        raise
    return RayEngine(cluster, pool, settings.batch_size, spread.n_workers)


class RayEngine:
    """Run an engine on several workers."""

    def __init__(self, cluster: Cluster, pool: WorkerPool, batch_size: int, n_workers: int) -> None:
        """See `load`."""
        self._cluster = cluster
        self._pool = pool
        self._batch_size = batch_size
        self._n_workers = n_workers

    def places(self) -> list[WorkerPlace]:
        """Return the machine and process of each worker."""
        return self._pool.ask_all("place")

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Engine.notes`."""
        sentences: tuple[str, ...] = self._pool.ask_any("notes")
        return sentences

    @property
    def decoding(self) -> str:
        """See `Engine.decoding`; that of any worker."""
        words: str = self._pool.ask_any("decoding")
        return words

    def encode(self, messages: Sequence[Message], variant: str = VANILLA) -> tuple[int, ...]:
        """See `Engine.encode`."""
        ids: tuple[int, ...] = self._pool.ask_any("encode", messages, variant)
        return ids

    def tokens(self, text: str) -> tuple[int, ...]:
        """See `Engine.tokens`."""
        ids: tuple[int, ...] = self._pool.ask_any("tokens", text)
        return ids

    def certify(
        self, variant: str, probes: Sequence[Prompt], tell: Tell = tell_nobody
    ) -> Certificate:
        """See `Engine.certify`; every worker makes its own certificate.

        Raises:
            FaultError: when the workers' certificates disagree.
        """
        tell("on every worker")
        return self._pool.certify(variant, probes)

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Completion | Failure, ...]]:
        """See `Engine.generate`; yields at least 20 times a second, even when nothing has ended.

        Raises:
            FaultError: when too many workers are lost.
        """
        queue = WorkQueue(prompts, lambda prompt: prompt.variant, self._batch_size, self._n_workers)
        task = WorkerTask[Prompt]("generate", (), lambda prompt: prompt.place)
        for answers in share_work(self._pool, task, queue):
            yield tuple(result for _, result in answers)

    def loglikelihoods(
        self, variant: str, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]
    ) -> Iterator[float | NoResult]:
        """See `Engine.loglikelihoods`."""
        numbered = [
            NumberedPair(i, tuple(one), tuple(other)) for i, (one, other) in enumerate(pairs)
        ]
        queue = WorkQueue(numbered, lambda pair: variant, self._batch_size, self._n_workers)
        early: dict[Any, float | NoResult] = {}
        n_given = 0
        task = WorkerTask[NumberedPair]("loglikelihoods", (variant,), lambda pair: pair.number)
        for answers in share_work(self._pool, task, queue):
            early.update(answers)
            while n_given in early:
                yield early.pop(n_given)
                n_given += 1

    def close(self) -> None:
        """See `Engine.close`; a cluster that was joined keeps running."""
        self._pool.close()
        self._cluster.leave()


def _worker_spec(settings: EngineSettings, spread: WorkerSettings, cluster: Cluster) -> WorkerSpec:
    """Return what the workers load, with absolute paths: they have another working directory."""
    model = replace(settings.model, path=settings.model.path.absolute())
    adapters = {
        name: replace(adapter, path=adapter.path.absolute(), root=adapter.root.absolute())
        for name, adapter in settings.adapters.items()
    }
    own_choice = os.environ.get("OMP_NUM_THREADS")
    return WorkerSpec(
        engine=spread.engine,
        settings=replace(settings, model=model, adapters=adapters, spread=None),
        version=library_version(spread.engine, settings.load_4bit),
        machine=platform.node(),
        n_beside=0 if own_choice else math.ceil(spread.n_workers / cluster.n_machines),
    )


def _worker_resources(spread: WorkerSettings, cluster: Cluster) -> dict[str, Any]:
    """Return what each worker needs from the cluster, as Ray's options.

    Each worker reserves one CPU in Ray; the workers themselves set their number of threads. If the
    engine uses a GPU here, each worker gets one. With fewer GPUs than workers, workers share them.
    """
    options: dict[str, Any] = {"num_cpus": 1, "scheduling_strategy": "SPREAD"}
    engine = importlib.import_module(ENGINES[spread.engine].module)
    if cluster.n_gpus and hasattr(engine, "has_gpu") and engine.has_gpu():
        options["num_gpus"] = 1 / math.ceil(spread.n_workers / cluster.n_gpus)
    return options


T = TypeVar("T")

_LOOK_EVERY_S = 0.05

WorkerAnswers = tuple[tuple[Hashable, Any], ...]
"""A worker's answers from one step, each with the key of its item."""


class WorkerTask(NamedTuple, Generic[T]):
    """Say what workers do with a batch.

    Attributes:
        method: name of the worker's method, which yields `WorkerAnswers`.
        leading: its arguments before the batch.
        key: returns the key of an item, which identifies its answer.
    """

    method: str
    leading: tuple[Any, ...]
    key: Callable[[T], Hashable]


@dataclass(eq=False, slots=True)
class _RunningBatch:
    """The batch that a worker is working on.

    Attributes:
        worker: the worker.
        stream: the stream of its answers.
        items: items without an answer yet, by key.
    """

    worker: WorkerHandle
    stream: Any
    items: dict[Hashable, Any]


def share_work(
    pool: WorkerPool, task: WorkerTask[T], queue: WorkQueue[T]
) -> Iterator[WorkerAnswers]:
    """Distribute the work; yield answers as they arrive, and an empty tuple while none arrive.

    Raises:
        VerdictError: an error raised by a worker.
        FaultError: when too many workers are lost.
    """
    import ray

    running: list[_RunningBatch] = []
    try:
        while len(queue) or running:
            _assign_batches(pool, task, queue, running)
            awaited = [batch.stream for batch in running]
            awaited += [worker.ready for worker in pool.workers if worker.ready is not None]
            if not ray.wait(awaited, timeout=_LOOK_EVERY_S)[0]:
                if not running:
                    pool.require_place()
                yield ()
                continue
            _admit_new_workers(pool)
            for batch in list(running):
                if is_ready_answer(batch.stream):
                    yield _next_answers(pool, batch, queue, running)
    finally:
        for batch in running:
            ray.cancel(batch.stream)


def _assign_batches(
    pool: WorkerPool, task: WorkerTask[T], queue: WorkQueue[T], running: list[_RunningBatch]
) -> None:
    """Give every free worker a batch."""
    busy = {batch.worker for batch in running}
    for worker in pool.workers:
        if worker.ready is None and worker not in busy and (items := queue.next_batch()):
            stream = worker.stream(task.method, *task.leading, items)
            running.append(_RunningBatch(worker, stream, {task.key(item): item for item in items}))


def _admit_new_workers(pool: WorkerPool) -> None:
    """Start to use replacement workers that have become ready."""
    for worker in list(pool.workers):
        if worker.ready is not None and is_ready_answer(worker.ready):
            try:
                pool.await_ready(worker)
            except WorkerLostError as error:
                pool.replace(worker, error)


def _next_answers(
    pool: WorkerPool, batch: _RunningBatch, queue: WorkQueue[T], running: list[_RunningBatch]
) -> WorkerAnswers:
    """Return the worker's next answers; if it is lost, requeue its unanswered items."""
    try:
        answers: WorkerAnswers = wait_for_answer(next(batch.stream))
    except StopIteration:
        running.remove(batch)
        if batch.items:
            keys = ", ".join(map(str, batch.items))
            raise FaultError(f"a worker ended without an answer for {keys}") from None
        return ()
    except WorkerLostError as error:
        running.remove(batch)
        queue.requeue(list(batch.items.values()))
        pool.replace(batch.worker, error)
        return ()
    for key, _ in answers:
        del batch.items[key]
    return answers


_MOST_ENGINE_BATCHES = 4
"""A worker gets up to this many engine batches at once, so that its engine can replace completions
that have ended by waiting ones."""

_SMALLEST_PART = 4
"""A worker gets at least an engine batch divided by this, because small batches are slow."""


class WorkQueue(Generic[T]):
    """Hold the waiting items by kind (a prompt's kind is its variant), in order within a kind.

    All items of a batch have the same kind, because an engine switches the adapter for each kind
    and checks the base afterwards. The next batch is of the kind with the most items left, so all
    kinds progress together. Batches shrink towards the end, so that all workers finish at about the
    same time.
    """

    def __init__(
        self,
        items: Sequence[T],
        kind: Callable[[T], Hashable],
        batch_size: int,
        n_workers: int,
    ) -> None:
        """Sort the items by kind.

        Args:
            items: the work.
            kind: returns the kind of an item.
            batch_size: number of items that an engine works on at the same time.
            n_workers: number of workers that share the work.
        """
        self._kind = kind
        self._batch_size = batch_size
        self._n_workers = n_workers
        self._waiting: dict[Hashable, deque[T]] = {}
        for item in items:
            self._waiting.setdefault(kind(item), deque()).append(item)

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def next_batch(self) -> list[T]:
        """Remove and return the next batch; empty when no item is waiting."""
        if not len(self):
            return []
        longest = max(self._waiting.values(), key=len)
        share = math.ceil(len(self) / (2 * self._n_workers))
        at_least = math.ceil(self._batch_size / _SMALLEST_PART)
        n_items = min(max(share, at_least), _MOST_ENGINE_BATCHES * self._batch_size, len(longest))
        return [longest.popleft() for _ in range(n_items)]

    def requeue(self, items: Sequence[T]) -> None:
        """Put back unfinished items, at the front of their kind."""
        for item in reversed(items):
            self._waiting.setdefault(self._kind(item), deque()).appendleft(item)
