"""The ray engine: another engine on several workers, on this machine or on a Ray cluster.

Every worker is a process with the model loaded. Cases go to whoever is free; the results come back
here one by one, and the work of a worker that is lost is done again by another. What is generated
is what the engine generates alone: neither the number of workers nor Ray is part of a run's
identity.

Work shared among a crew: a portion to whoever is free, and again when a worker is lost.

What is still to be done, and in what portions workers get it.
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

from plugin.certify.certificate import Certificate
from plugin.engines import ENGINES, EngineSettings, WorkerSettings, library_version
from plugin.engines._ray_cluster import Cluster, WorkerLostError, is_ready_answer, read_answer
from plugin.engines._ray_workers import PlainPair, WorkerHandle, WorkerPlace, WorkerPool, WorkerSpec
from plugin.errors import FaultError
from plugin.records import Completion, Failure, Message, Prompt


def load(settings: EngineSettings) -> RayEngine:
    """Start or join a cluster, and load the model on every worker.

    Raises:
        OptionError: when the cluster cannot be joined, or has no room for the workers.
        ModelError: when a worker cannot load the model.
        FaultError: when Ray cannot be started, or workers are lost again and again.
    """
    spread = settings.spread
    assert spread is not None, "engines._choice.spread says what is run on the workers"
    cluster = Cluster(spread.address, max(spread.n_workers, os.cpu_count() or 1))
    try:
        crew = WorkerPool(
            _order(settings, spread, cluster), spread.n_workers, _share(spread, cluster)
        )
    except BaseException:
        cluster.leave()
        raise
    return RayEngine(cluster, crew, settings.batch_size, spread.n_workers)


class RayEngine:
    """An engine on several workers."""

    def __init__(self, cluster: Cluster, crew: WorkerPool, batch_size: int, n_workers: int) -> None:
        """See `load`."""
        self._cluster = cluster
        self._crew = crew
        self._batch_size = batch_size
        self._n_workers = n_workers

    def places(self) -> list[WorkerPlace]:
        """Where the workers run."""
        return self._crew.each("place")

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Engine.notes`."""
        sentences: tuple[str, ...] = self._crew.one("notes")
        return sentences

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """See `Engine.encode`."""
        ids: tuple[int, ...] = self._crew.one("encode", messages)
        return ids

    def tokens(self, text: str) -> tuple[int, ...]:
        """See `Engine.tokens`."""
        ids: tuple[int, ...] = self._crew.one("tokens", text)
        return ids

    def certify(self, variant: str, probes: Sequence[Prompt]) -> Certificate:
        """See `Engine.certify`; made by every worker for itself.

        Raises:
            FaultError: when the workers' certificates disagree.
        """
        return self._crew.certify(variant, probes)

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Completion | Failure, ...]]:
        """See `Engine.generate`; yields 20 times a second or more, whatever the workers are at.

        Raises:
            FaultError: when more workers are lost than may be.
        """
        shards = WorkQueue(
            prompts, lambda prompt: prompt.variant, self._batch_size, self._n_workers
        )
        task = WorkerTask[Prompt]("generate", (), lambda prompt: (prompt.case_id, prompt.variant))
        for answers in share_work(self._crew, task, shards):
            yield tuple(result for _, result in answers)

    def loglikelihoods(
        self, variant: str, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]
    ) -> Iterator[float | str]:
        """See `Engine.loglikelihoods`."""
        numbered = [PlainPair(i, tuple(one), tuple(other)) for i, (one, other) in enumerate(pairs)]
        shards = WorkQueue(numbered, lambda pair: variant, self._batch_size, self._n_workers)
        early: dict[Any, float | str] = {}
        n_given = 0
        task = WorkerTask[PlainPair]("loglikelihoods", (variant,), lambda pair: pair.number)
        for answers in share_work(self._crew, task, shards):
            early.update(answers)
            while n_given in early:
                yield early.pop(n_given)
                n_given += 1

    def close(self) -> None:
        """See `Engine.close`; a cluster that was joined goes on."""
        self._crew.close()
        self._cluster.leave()


def _order(settings: EngineSettings, spread: WorkerSettings, cluster: Cluster) -> WorkerSpec:
    """What the workers get ready for; their working directory is another one."""
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


def _share(spread: WorkerSettings, cluster: Cluster) -> dict[str, Any]:
    """What a worker takes of the cluster.

    One CPU each is a place in Ray's books; the threads are divided by the workers themselves. GPUs
    are taken when the engine works on one here: one for each worker, or as many workers on one as
    it needs.
    """
    places: dict[str, Any] = {"num_cpus": 1, "scheduling_strategy": "SPREAD"}
    engine = importlib.import_module(ENGINES[spread.engine].module)
    if cluster.n_gpus and hasattr(engine, "has_gpu") and engine.has_gpu():
        places["num_gpus"] = 1 / math.ceil(spread.n_workers / cluster.n_gpus)
    return places


T = TypeVar("T")

_LOOK_EVERY_S = 0.05

WorkerAnswers = tuple[tuple[Hashable, Any], ...]
"""What a worker's step has brought: answers with the keys of their items."""


class WorkerTask(NamedTuple, Generic[T]):
    """What workers are to do with a portion.

    Attributes:
        method: theirs, which yields `WorkerAnswers`.
        leading: its arguments before the portion.
        key: what an item's answer is known by.
    """

    method: str
    leading: tuple[Any, ...]
    key: Callable[[T], Hashable]


@dataclass(eq=False, slots=True)
class _Portion:
    """What one worker is at.

    Attributes:
        hand: the worker.
        stream: of its answers.
        items: what it was given and has not answered, by key.
    """

    hand: WorkerHandle
    stream: Any
    items: dict[Hashable, Any]


def share_work(
    crew: WorkerPool, task: WorkerTask[T], shards: WorkQueue[T]
) -> Iterator[WorkerAnswers]:
    """Have the work done; yields answers as they come, and nothing now and then while none do.

    Raises:
        VerdictError: what a worker raised.
        FaultError: when more workers are lost than may be.
    """
    import ray

    at_work: list[_Portion] = []
    try:
        while len(shards) or at_work:
            _hand_out(crew, task, shards, at_work)
            awaited = [portion.stream for portion in at_work]
            awaited += [hand.ready for hand in crew.hands if hand.ready is not None]
            if not ray.wait(awaited, timeout=_LOOK_EVERY_S)[0]:
                if not at_work:
                    crew.require_hope()
                yield ()
                continue
            _admit_new_workers(crew)
            for portion in list(at_work):
                if is_ready_answer(portion.stream):
                    yield _next_portion(crew, portion, shards, at_work)
    finally:
        for portion in at_work:
            ray.cancel(portion.stream)


def _hand_out(
    crew: WorkerPool, task: WorkerTask[T], shards: WorkQueue[T], at_work: list[_Portion]
) -> None:
    busy = {portion.hand for portion in at_work}
    for hand in crew.hands:
        if hand.ready is None and hand not in busy and (items := shards.take()):
            stream = hand.stream(task.method, *task.leading, items)
            at_work.append(_Portion(hand, stream, {task.key(item): item for item in items}))


def _admit_new_workers(crew: WorkerPool) -> None:
    """Those in the place of lost ones, when they are ready."""
    for hand in list(crew.hands):
        if hand.ready is not None and is_ready_answer(hand.ready):
            try:
                crew.settle(hand)
            except WorkerLostError as error:
                crew.replace(hand, error)


def _next_portion(
    crew: WorkerPool, portion: _Portion, shards: WorkQueue[T], at_work: list[_Portion]
) -> WorkerAnswers:
    """What the worker answered; when it is lost its work waits again, without what is done."""
    try:
        answers: WorkerAnswers = read_answer(next(portion.stream))
    except StopIteration:
        at_work.remove(portion)
        if portion.items:
            keys = ", ".join(map(str, portion.items))
            raise FaultError(f"a worker ended its work without an answer for {keys}") from None
        return ()
    except WorkerLostError as error:
        at_work.remove(portion)
        shards.put_back(list(portion.items.values()))
        crew.replace(portion.hand, error)
        return ()
    for key, _ in answers:
        del portion.items[key]
    return answers


_LARGEST = 4
"""Batches in a portion at most: an engine fills the places of what ended with what waits."""

_SMALLEST = 4
"""The part of a batch that a portion has at least: with few rows side by side a model is slow."""


class WorkQueue(Generic[T]):
    """Work that waits, by kind (for prompts, their variant), each kind in its own order.

    A portion is of one kind: an engine puts another adapter on for each, and proves the base
    undisturbed after it. The kind with the most work left is next, so that all come along side by
    side. Portions shrink towards the end, so that all workers end at about the same time.
    """

    def __init__(
        self,
        items: Sequence[T],
        kind: Callable[[T], Hashable],
        batch_size: int,
        n_workers: int,
    ) -> None:
        """Take the work.

        Args:
            items: the work.
            kind: what an item belongs to.
            batch_size: items that an engine works on side by side.
            n_workers: how many share the work.
        """
        self._kind = kind
        self._batch_size = batch_size
        self._n_workers = n_workers
        self._waiting: dict[Hashable, deque[T]] = {}
        for item in items:
            self._waiting.setdefault(kind(item), deque()).append(item)

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def take(self) -> list[T]:
        """The next portion; empty when nothing waits."""
        if not len(self):
            return []
        longest = max(self._waiting.values(), key=len)
        share = math.ceil(len(self) / (2 * self._n_workers))
        at_least = math.ceil(self._batch_size / _SMALLEST)
        n_items = min(max(share, at_least), _LARGEST * self._batch_size, len(longest))
        return [longest.popleft() for _ in range(n_items)]

    def put_back(self, items: Sequence[T]) -> None:
        """Work that was taken and not done; it is next of its kind."""
        for item in reversed(items):
            self._waiting.setdefault(self._kind(item), deque()).appendleft(item)
