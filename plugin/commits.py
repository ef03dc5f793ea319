"""Commit what several tasks of an event loop write at the same moment in one transaction.

A commit takes longer than the row that it keeps. With a judge that answers at once, twenty answers
arrive together, and one commit keeps them all. Nothing is promised before it is kept: each task
waits until its own rows are committed. A lone task waits for one turn of the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager

Write = Callable[[], None]


class Commits:
    """Collects the writes of one turn of the event loop."""

    def __init__(self, transaction: Callable[[], AbstractContextManager[None]]) -> None:
        """Begin with nothing to write.

        Args:
            transaction: returns a block that commits all that is written in it, or nothing.
        """
        self._transaction = transaction
        self._writes: dict[Write, None] = {}
        self._waiting: list[asyncio.Future[None]] = []

    async def keep(self, *writes: Write) -> None:
        """Write, and return when it is committed.

        Args:
            writes: functions that write, called in order; equal ones are called once in a turn.

        Raises:
            Exception: what any write of the same turn raised; then none of them is committed.
        """
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._commit)
        done = loop.create_future()
        self._waiting.append(done)
        for write in writes:
            self._writes.pop(write, None)  # the last call of equal ones counts
            self._writes[write] = None
        await done

    def _commit(self) -> None:
        waiting, self._waiting = self._waiting, []
        writes, self._writes = self._writes, {}
        try:
            with self._transaction():
                for write in writes:
                    write()
        except Exception as error:  # whoever waits gets it
            for done in waiting:
                if not done.done():
                    done.set_exception(error)
            return
        for done in waiting:
            if not done.done():  # a task that was cancelled no longer waits
                done.set_result(None)
