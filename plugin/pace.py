"""Limit how many calls to a server run at once, and follow what the server can take."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

_GROWS_TO = 4
"""The limit grows to at most this many times its start."""

_LOOK_EVERY_S = 0.1
_SLOW = 2.0
_SMOOTHING = 0.1


class ConcurrencyLimit:
    """Limit how many calls run at once; each call is an async context.

    Additive increase, multiplicative decrease (Chiu and Jain 1989), as in TCP's congestion control:
    one more call at once after every round without trouble; half as many when the server says that
    it has too many; a tenth fewer when answers take twice as long as at their best.

    Attributes:
        limit: calls at once now, rounded down; the fraction counts towards the next call.
        most: the most calls at once.
    """

    def __init__(self, start: int, *, adaptive: bool, most: int | None = None) -> None:
        """Begin with `start` calls at once.

        Args:
            start: calls at once, 1 or more.
            adaptive: whether the limit follows the server; else it stays as it is.
            most: the most calls at once; four times `start` by default.
        """
        self.limit = float(start)
        self.most = (most or start * _GROWS_TO) if adaptive else start
        self._adaptive = adaptive
        self._n_in = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._mean_s = 0.0
        self._best_s = float("inf")
        self._n_until_cut = 0

    async def __aenter__(self) -> None:
        """Wait for a place."""
        if self._n_in < int(self.limit) and not self._waiting:
            self._n_in += 1
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():  # the place came too late: give it on
                self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        """Give the place to the next call."""
        self._leave()

    def note_success(self, seconds: float | None) -> None:
        """Note a good answer and its seconds; None if the time does not show the server's load."""
        if not self._adaptive:
            return
        self._n_until_cut -= 1
        if seconds is None:
            self._grow()
            return
        first = not self._mean_s
        self._mean_s = seconds if first else self._mean_s + _SMOOTHING * (seconds - self._mean_s)
        self._best_s = min(self._best_s, self._mean_s)
        if self._mean_s > _SLOW * self._best_s:
            self._shrink(0.9)
        else:
            self._grow()

    def note_overload(self) -> None:
        """Note a call that failed because there were too many at once."""
        self._n_until_cut -= 1
        if self._adaptive:
            self._shrink(0.5)

    def _grow(self) -> None:
        self.limit = min(float(self.most), self.limit + 1 / self.limit)
        self._let_in()

    def _shrink(self, factor: float) -> None:
        # Calls that began before the last cut say nothing about the limit after it.
        if self._n_until_cut <= 0:
            self._n_until_cut = int(self.limit)
            self.limit = max(1.0, self.limit * factor)

    def _leave(self) -> None:
        self._n_in -= 1
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._n_in < int(self.limit):
            place = self._waiting.popleft()
            if not place.cancelled():
                self._n_in += 1
                place.set_result(None)


async def await_all(work: Sequence[Coroutine[Any, Any, None]], check: Callable[[], None]) -> None:
    """Wait until all is done; the first error, or what `check` raises now and then, ends the wait.

    Args:
        work: what runs side by side; what is left is cancelled when the wait ends.
        check: called several times a second; raises to stop.
    """
    tasks = {asyncio.create_task(each) for each in work}
    pending = tasks
    try:
        while pending:
            done, pending = await asyncio.wait(
                pending, timeout=_LOOK_EVERY_S, return_when=asyncio.FIRST_EXCEPTION
            )
            for task in done:
                task.result()
            check()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
