"""Two threads: one worker works, the main thread tends the host.

Hosts' SDKs are synchronous, single-threaded, and deliver a user's Stop as KeyboardInterrupt from
the progress call; so only the main thread ever talks to a host. All heavy work of a run happens in
one worker thread, because mlx binds its streams to the thread that loaded the model.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn, TypeVar

from plugin.errors import VerdictError

T = TypeVar("T")

_TEND_EVERY_S = 0.1
_STOP_WITHIN_S = 1.5


class Stopped(VerdictError):
    """The worker saw that it should stop, and did."""

    exit_code = 130


class EndedStage(NamedTuple):
    """A stage that is over."""

    stage: str
    done: int
    total: int
    seconds: float


@dataclass(slots=True)
class Progress:
    """What the worker is at; written by the worker, read by the main thread.

    Attributes:
        stage: what is being done, in a few words.
        done: how many of `total`, this session's and earlier ones' together.
        total: 0 when it cannot be known.
        n_before: how many of `done` were there when the stage began.
        note: something worth a few words, such as the number of failures.
        began_s: when the stage began, on the monotonic clock.
        ended: the countable stages that are over, oldest first.
        stop: set by the main thread to ask the worker to stop.
    """

    stage: str = ""
    done: int = 0
    total: int = 0
    n_before: int = 0
    note: str = ""
    began_s: float = field(default_factory=time.monotonic)
    ended: list[EndedStage] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def begin(self, stage: str, total: int = 0, done: int = 0) -> None:
        """End the stage and enter a new one.

        While it changes, the total is 0, so that a reader sees no mixture of two stages.
        """
        now = time.monotonic()
        if self.done > self.n_before:
            self.ended.append(EndedStage(self.stage, self.done, self.total, now - self.began_s))
        self.total = 0
        self.done, self.n_before, self.note, self.began_s = done, done, "", now
        self.stage = stage
        self.total = total

    def check(self) -> None:
        """Called by the worker between steps.

        Raises:
            Stopped: when the main thread asked for it.
        """
        if self.stop.is_set():
            raise Stopped("stopped")


class Worker:
    """Runs one function at a time in the worker thread, tending the host meanwhile."""

    def __init__(self, tend: Callable[[Progress], None], abandon: Callable[[], NoReturn]) -> None:
        """Start the thread.

        Args:
            tend: called in the main thread, ten times a second; may raise to stop the work.
            abandon: called when work that should stop does not; must end the process.
        """
        self.progress = Progress()
        self._tend = tend
        self._abandon = abandon
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="worker")

    def run(self, work: Callable[[], T]) -> T:
        """The function's result; its exception, or KeyboardInterrupt once the worker stopped."""
        future = self._pool.submit(work)
        try:
            while not wait([future], timeout=_TEND_EVERY_S).done:
                self._tend(self.progress)
            self._tend(self.progress)
        except BaseException:
            self.progress.stop.set()
            self._await_stop(future)
            raise
        return future.result()

    def _await_stop(self, future: Future[T]) -> None:
        """A call into a library may run on for long: wait a little, or until a second Stop."""
        try:
            stopped = wait([future], timeout=_STOP_WITHIN_S).done
        except KeyboardInterrupt:
            stopped = set()
        if not stopped:
            self._abandon()

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(wait=True)
