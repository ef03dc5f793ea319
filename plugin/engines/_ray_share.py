"""Work shared among a crew: a portion to whoever is free, and again when a worker is lost."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from plugin.engines._ray_answers import LostError, is_there, read
from plugin.engines._ray_crew import Crew, Hand
from plugin.engines._shards import Shards
from plugin.errors import FaultError

T = TypeVar("T")

_LOOK_EVERY_S = 0.05

Answers = tuple[tuple[Hashable, Any], ...]
"""What a worker's step has brought: answers with the keys of their items."""


class Task(NamedTuple, Generic[T]):
    """What workers are to do with a portion.

    Attributes:
        method: theirs, which yields `Answers`.
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

    hand: Hand
    stream: Any
    items: dict[Hashable, Any]


def share(crew: Crew, task: Task[T], shards: Shards[T]) -> Iterator[Answers]:
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
            _welcome(crew)
            for portion in list(at_work):
                if is_there(portion.stream):
                    yield _next(crew, portion, shards, at_work)
    finally:
        for portion in at_work:
            ray.cancel(portion.stream)


def _hand_out(crew: Crew, task: Task[T], shards: Shards[T], at_work: list[_Portion]) -> None:
    busy = {portion.hand for portion in at_work}
    for hand in crew.hands:
        if hand.ready is None and hand not in busy and (items := shards.take()):
            stream = hand.stream(task.method, *task.leading, items)
            at_work.append(_Portion(hand, stream, {task.key(item): item for item in items}))


def _welcome(crew: Crew) -> None:
    """Those in the place of lost ones, when they are ready."""
    for hand in list(crew.hands):
        if hand.ready is not None and is_there(hand.ready):
            try:
                crew.settle(hand)
            except LostError as error:
                crew.replace(hand, error)


def _next(crew: Crew, portion: _Portion, shards: Shards[T], at_work: list[_Portion]) -> Answers:
    """What the worker answered; when it is lost its work waits again, without what is done."""
    try:
        answers: Answers = read(next(portion.stream))
    except StopIteration:
        at_work.remove(portion)
        if portion.items:
            keys = ", ".join(map(str, portion.items))
            raise FaultError(f"a worker ended its work without an answer for {keys}") from None
        return ()
    except LostError as error:
        at_work.remove(portion)
        shards.put_back(list(portion.items.values()))
        crew.replace(portion.hand, error)
        return ()
    for key, _ in answers:
        del portion.items[key]
    return answers
