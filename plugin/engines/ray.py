"""The ray engine: another engine on several workers, on this machine or on a Ray cluster.

Every worker is a process with the model loaded. Cases go to whoever is free; the results come back
here one by one, and the work of a worker that is lost is done again by another. What is generated
is what the engine generates alone: neither the number of workers nor Ray is part of a run's
identity.
"""

from __future__ import annotations

import importlib
import math
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from plugin.certificate_records import Certificate
from plugin.engines import EngineSettings, Prompt, Spread, library_version
from plugin.engines._ray_cluster import Cluster
from plugin.engines._ray_crew import Crew
from plugin.engines._ray_share import Task, share
from plugin.engines._ray_worker import Order, Pair, Place
from plugin.engines._shards import Shards
from plugin.records import Completion, Failure, Message

LIBRARIES = ("ray",)
INSTALL = "pip install -r requirements-ray.txt -c constraints/default.txt"
OFFERS = frozenset[str]()
"""Nothing of its own: what there is comes from the engine that it runs."""


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
        crew = Crew(_order(settings, spread, cluster), spread.n_workers, _share(spread, cluster))
    except BaseException:
        cluster.leave()
        raise
    return RayEngine(cluster, crew, settings.batch_size, spread.n_workers)


class RayEngine:
    """An engine on several workers."""

    def __init__(self, cluster: Cluster, crew: Crew, batch_size: int, n_workers: int) -> None:
        """See `load`."""
        self._cluster = cluster
        self._crew = crew
        self._batch_size = batch_size
        self._n_workers = n_workers

    def places(self) -> list[Place]:
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
        shards = Shards(prompts, lambda prompt: prompt.variant, self._batch_size, self._n_workers)
        task = Task[Prompt]("generate", (), lambda prompt: (prompt.case_id, prompt.variant))
        for answers in share(self._crew, task, shards):
            yield tuple(result for _, result in answers)

    def loglikelihoods(
        self, variant: str, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]
    ) -> Iterator[float | str]:
        """See `Engine.loglikelihoods`."""
        numbered = [Pair(i, tuple(one), tuple(other)) for i, (one, other) in enumerate(pairs)]
        shards = Shards(numbered, lambda pair: variant, self._batch_size, self._n_workers)
        early: dict[Any, float | str] = {}
        n_given = 0
        task = Task[Pair]("loglikelihoods", (variant,), lambda pair: pair.number)
        for answers in share(self._crew, task, shards):
            early.update(answers)
            while n_given in early:
                yield early.pop(n_given)
                n_given += 1

    def close(self) -> None:
        """See `Engine.close`; a cluster that was joined goes on."""
        self._crew.close()
        self._cluster.leave()


def _order(settings: EngineSettings, spread: Spread, cluster: Cluster) -> Order:
    """What the workers get ready for; their working directory is another one."""
    model = replace(settings.model, path=settings.model.path.absolute())
    adapters = {
        name: replace(adapter, path=adapter.path.absolute(), root=adapter.root.absolute())
        for name, adapter in settings.adapters.items()
    }
    own_choice = os.environ.get("OMP_NUM_THREADS")
    return Order(
        engine=spread.engine,
        settings=replace(settings, model=model, adapters=adapters, spread=None),
        version=library_version(spread.engine, settings.load_4bit),
        machine=platform.node(),
        n_beside=0 if own_choice else math.ceil(spread.n_workers / cluster.n_machines),
    )


def _share(spread: Spread, cluster: Cluster) -> dict[str, Any]:
    """What a worker takes of the cluster.

    One CPU each is a place in Ray's books; the threads are divided by the workers themselves. GPUs
    are taken when the engine works on one here: one for each worker, or as many workers on one as
    it needs.
    """
    places: dict[str, Any] = {"num_cpus": 1, "scheduling_strategy": "SPREAD"}
    engine = importlib.import_module(f"plugin.engines.{spread.engine}")
    if cluster.n_gpus and hasattr(engine, "has_gpu") and engine.has_gpu():
        places["num_gpus"] = 1 / math.ceil(spread.n_workers / cluster.n_gpus)
    return places
