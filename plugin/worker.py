"""Two threads: the worker does the work, the main thread serves the host.

Only the main thread ever talks to a host, because hosts' SDKs are synchronous, belong to one
thread and deliver a user's Stop as KeyboardInterrupt from the progress call. All heavy work of a
run happens in one worker thread, because mlx binds its streams to the thread that loaded the model.
What the worker is doing stands in a `Progress`, which the main thread reads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, NoReturn, TypeVar

from plugin.errors import VerdictError

T = TypeVar("T")

_TEND_EVERY_S = 0.1
_STOP_WITHIN_S = 1.5


class Stopped(VerdictError):
    """The worker saw the request to stop, and stopped."""

    exit_code = 130


class Stage(StrEnum):
    """Name the stages of a run, in order; a member's value is what users are shown."""

    READ_INPUTS = "read data, model and adapter"
    LOAD_MODEL = "load model"
    READ_COMPLETIONS = "read completions"
    CERTIFY = "certify"
    GENERATE = "generate"
    READ_LIKELIHOODS = "perplexity"
    WRITE_STEPS = "write evaluation steps"
    SCORE = "score"
    ASK_SECOND_JUDGE = "ask the second judge"
    EXAMINE_JUDGE = "examine the judge"
    COMPARE = "compare"
    WRITE_REPORT = "write tables, charts and report"


class EndedStage(NamedTuple):
    """A stage that is over."""

    stage: Stage
    done: int
    total: int
    seconds: float


@dataclass(slots=True)
class Progress:
    """Tell what the worker is doing; written by the worker, read by the main thread.

    Attributes:
        stage: what is being done; None before the first stage.
        done: how many of `total`, this session's and earlier ones' together.
        total: 0 when it cannot be known.
        n_before: how many of `done` were there when the stage began.
        n_failed: how many scores failed in this session.
        gain: mean gain of the first rival on the primary metric so far; None before a pair.
        note: something worth a few words, such as the number of failures.
        began_s: when the stage began, in seconds on the monotonic clock.
        ended: the countable stages that are over, oldest first.
        stop: set by the main thread to ask the worker to stop.
    """

    stage: Stage | None = None
    done: int = 0
    total: int = 0
    n_before: int = 0
    n_failed: int = 0
    gain: float | None = None
    note: str = ""
    began_s: float = field(default_factory=time.monotonic)
    ended: list[EndedStage] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def begin(self, stage: Stage, total: int = 0, done: int = 0) -> None:
        """End the current stage and begin another one.

        The total is 0 during the change, so that a reader never sees a mixture of two stages.
        """
        now = time.monotonic()
        if self.stage and self.done > self.n_before:
            self.ended.append(EndedStage(self.stage, self.done, self.total, now - self.began_s))
        self.total = 0
        self.done, self.n_before, self.note, self.began_s = done, done, "", now
        self.stage = stage
        self.total = total

    def check(self) -> None:
        """Stop the work if the main thread asked for it; the worker calls this between steps.

        Raises:
            Stopped: when the main thread asked for it.
        """
        if self.stop.is_set():
            raise Stopped("stopped")


class Worker:
    """Run one function at a time in the worker thread, and serve the host meanwhile."""

    def __init__(self, tend: Callable[[Progress], None], abandon: Callable[[], NoReturn]) -> None:
        """Start the thread.

        Args:
            tend: is called in the main thread ten times a second; may raise to stop the work.
            abandon: is called when the work does not stop in time; must end the process.
        """
        self.progress = Progress()
        self._tend = tend
        self._abandon = abandon
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="worker")

    def run(self, work: Callable[[], T]) -> T:
        """Return the function's result.

        Raises:
            BaseException: the function's own, or what `tend` raised, once the worker has stopped.
        """
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
        """Wait a little, or until a second Stop; a call into a library may run on for long."""
        try:
            stopped = wait([future], timeout=_STOP_WITHIN_S).done
        except KeyboardInterrupt:
            stopped = set()
        if not stopped:
            self._abandon()

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(wait=True)
