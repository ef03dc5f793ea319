"""What is still to be done, and in what portions workers get it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")

_LARGEST = 4
"""Batches in a portion at most: an engine fills the places of what ended with what waits."""

_SMALLEST = 4
"""The part of a batch that a portion has at least: with few rows side by side a model is slow."""


class Shards(Generic[T]):
    """Work that waits, by kind (for prompts, their variant), each kind in its own order.

    A portion is of one kind: an engine puts another adapter on for each, and proves the base
    undisturbed after it. The kind with the most work left is next, so that all come along side by
    side. Portions shrink towards the end, so that all workers end at about the same time.
    """

    def __init__(
        self, items: Sequence[T], kind: Callable[[T], Hashable], batch_size: int, n_workers: int
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
