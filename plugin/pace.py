"""How many calls to a server are under way: more while it keeps up, fewer when it does not.

Additive increase, multiplicative decrease (Chiu and Jain 1989), as in TCP's congestion control: one
more call at once for every round that went well; half as many when the server says that it is too
much; a tenth fewer when answers take twice as long as they did at best.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType

_GROWS_TO = 4
"""Times the number that it starts with."""

_SLOW = 2.0
_SMOOTHING = 0.1


class Pace:
    """Lets so many calls in at once, as an async context for each.

    Attributes:
        limit: calls at once now; whole calls, the fraction counts towards the next.
        most: calls at once, at most.
    """

    def __init__(self, start: int, *, adaptive: bool, most: int | None = None) -> None:
        """Begin with so many.

        Args:
            start: calls at once, 1 or more.
            adaptive: whether the number follows the server; else it stays.
            most: calls at once, at most; four times `start` by default.
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
            if place.done() and not place.cancelled():  # it was given and is not wanted any more
                self._leave()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the place to the next."""
        self._leave()

    def went_well(self, seconds: float | None) -> None:
        """A call was answered in so many seconds; None where they say nothing of the server."""
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

    def was_too_much(self) -> None:
        """The server refused a call because there were too many."""
        self._n_until_cut -= 1
        if self._adaptive:
            self._shrink(0.5)

    def _grow(self) -> None:
        self.limit = min(float(self.most), self.limit + 1 / self.limit)
        self._let_in()

    def _shrink(self, factor: float) -> None:
        # Calls that were under way at the last cut say nothing about the number since.
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
