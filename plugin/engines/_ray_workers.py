"""Workers on a Ray cluster, all ready for the same; a lost one has another in its place."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from plugin.certificate_records import Certificate
from plugin.engines import Prompt
from plugin.engines._ray_answers import LostError, is_there, read
from plugin.engines._ray_worker import EngineWorker, Order
from plugin.errors import FaultError, OptionError

_PLACE_WITHIN_S = 120.0
_MOST_LOSSES = 3


@dataclass(eq=False, slots=True)
class Hand:
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


class Crew:
    """The workers of one engine."""

    def __init__(self, order: Order, n_workers: int, resources: dict[str, Any]) -> None:
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
                answers.append(read(answer))
            except LostError as error:
                other = self.replace(hand, error)
                asked[other] = other.ask(method, *arguments)
        return answers

    def one(self, method: str, *arguments: Any) -> Any:
        """The answer of any worker."""
        while True:
            hand = self.hands[0]
            try:
                self.settle(hand)
                return read(hand.ask(method, *arguments))
            except LostError as error:
                self.replace(hand, error)

    def certify(self, variant: str, probes: Sequence[Prompt]) -> Certificate:
        """See `Engine.certify`; every worker makes the proof for itself.

        Raises:
            FaultError: when their certificates disagree.
        """
        found: list[Certificate] = self.each("certify", variant, probes)
        for other in found[1:]:
            require_alike(found[0], other)
        self._certified[variant] = (probes, found[0])
        return found[0]

    def settle(self, hand: Hand) -> None:
        """Wait until the worker is ready, and see that it has proved what the others have.

        Raises:
            LostError: when it is gone before.
            FaultError: when its certificates are others, or it finds no place.
        """
        import ray

        if hand.ready is None:
            return
        if not ray.wait([hand.placed], timeout=_PLACE_WITHIN_S)[0]:
            raise _no_place()
        for found in read(hand.ready):
            require_alike(self._certified[found.variant][1], found)
        hand.ready = None

    def replace(self, hand: Hand, error: LostError) -> Hand:
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
        if all(hand.since_s < long_ago_s and not is_there(hand.placed) for hand in self.hands):
            raise _no_place()

    def close(self) -> None:
        """End all workers at once."""
        import ray

        for hand in self.hands:
            ray.kill(hand.actor)
        self.hands = []

    def _start(self) -> Hand:
        import ray

        actor = ray.remote(EngineWorker).options(**self._resources).remote()
        probes = [(variant, probes) for variant, (probes, _) in self._certified.items()]
        return Hand(actor, actor.place.remote(), actor.prepare.remote(self._order, probes))

    def _require_places(self) -> None:
        import ray

        placed = [hand.placed for hand in self.hands]
        found, _ = ray.wait(placed, num_returns=len(placed), timeout=_PLACE_WITHIN_S)
        if len(found) < len(placed):
            raise OptionError(
                f"--workers {len(placed)}: only {len(found)} found a place on the Ray cluster "
                f"within {_PLACE_WITHIN_S:g} seconds. Each takes {_amounts(self._resources)}; the "
                f"cluster has {_amounts(ray.cluster_resources())}, of which free "
                f"{_amounts(ray.available_resources())}. Ask for fewer, or wait for others to end"
            )


def require_alike(one: Certificate, other: Certificate) -> None:
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


def _no_place() -> FaultError:
    return FaultError(
        "a worker was lost, and for another the Ray cluster had no place within "
        f"{_PLACE_WITHIN_S:g} seconds"
    )


def _amounts(resources: dict[str, Any]) -> str:
    """In words, from Ray's options or from its books."""
    cpus = resources.get("num_cpus", resources.get("CPU", 0))
    gpus = resources.get("num_gpus", resources.get("GPU", 0))
    return f"{cpus:g} CPUs and {gpus:g} GPUs"
