"""Run the work in one thread while the main thread talks to the host.

Only the main thread talks to a host: the SDKs of hosts are synchronous, belong to one thread, and
raise a user's Stop as KeyboardInterrupt from the progress call. All heavy work happens in one
worker thread, because mlx ties a model to the thread that loaded it. The worker writes what it is
doing into a `Progress`, which the main thread reads.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, NoReturn, TypeVar

from plugin.errors import VerdictError

T = TypeVar("T")

_TEND_EVERY_S = 0.1
STOP_WITHIN_S = 1.5
"""Seconds for a stopped run to end by itself; a host may leave it more (`Host.stop_within_s`)."""

_CLOSING_S = 0.5
"""Seconds of that for everything but the calls in flight."""


class Stopped(VerdictError):
    """Say that the worker stopped because it was asked to."""

    exit_code = 130


class Stage(StrEnum):
    """Name the stages of a run, in order; a member's value is what users are shown."""

    READ_INPUTS = "read data, model and adapter"
    READ_TRAINING = "compare with the training data"
    REPHRASE = "rephrase training questions"
    WRITE_QUESTIONS = "write questions"
    LOAD_MODEL = "load model"
    READ_COMPLETIONS = "read completions"
    CERTIFY = "certify"
    GENERATE = "generate"
    READ_LIKELIHOODS = "perplexity"
    RECALL = "ask for training rows"
    ASK_ITEMS = "test general ability"
    READ_TEXTS = "read general texts"
    RUN_TASKS = "tasks of lm-eval"
    SEARCH_ANSWERS = "search answers for training text"
    LOAD = "latency under load"
    SCALE = "try other strengths"
    WRITE_STEPS = "write evaluation steps"
    SCORE = "score"
    ASK_SECOND_JUDGE = "ask the second judge"
    EXAMINE_JUDGE = "examine the judge"
    COMPARE = "compare"
    WRITE_REPORT = "write tables, charts and report"


class EndedStage(NamedTuple):
    """Record a stage that is over."""

    stage: Stage
    done: int
    total: int
    seconds: float


@dataclass(slots=True)
class Progress:
    """Tell what the worker is doing; written by the worker, read by the main thread.

    Attributes:
        stage: what the worker is doing; None before the first stage.
        step: a part of the stage that may take long, such as "load the adapter"; "" for none.
        done: how many of `total` are done, in this session and earlier ones together.
        total: 0 when it cannot be known.
        n_before: how many were done when the stage began.
        n_failed: how many scores failed in this session.
        gain: mean gain of the first rival on the primary metric so far; None before a pair.
        note: a few words to show beside the numbers, such as "3 failed".
        began_s: when the stage began, in seconds on the monotonic clock.
        ended: the countable stages that are over, oldest first.
        stop: set by the main thread to ask the worker to stop.
        stop_within_s: seconds that the worker then has.
    """

    stage: Stage | None = None
    step: str = ""
    done: int = 0
    total: int = 0
    n_before: int = 0
    n_failed: int = 0
    gain: float | None = None
    note: str = ""
    began_s: float = field(default_factory=time.monotonic)
    ended: list[EndedStage] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    stop_within_s: float = STOP_WITHIN_S

    @property
    def seconds(self) -> float:
        """Return the seconds since the stage began."""
        return time.monotonic() - self.began_s

    @property
    def grace_s(self) -> float:
        """Return the seconds to wait for calls in flight when the work ends early."""
        return max(0.0, self.stop_within_s - _CLOSING_S)

    def begin(self, stage: Stage, total: int = 0, done: int = 0) -> None:
        """End the current stage and begin another one.

        The total is 0 during the change, so that a reader never sees a mixture of two stages.
        """
        now = time.monotonic()
        if self.stage and self.done > self.n_before:
            self.ended.append(EndedStage(self.stage, self.done, self.total, now - self.began_s))
        self.total, self.step = 0, ""
        self.done, self.n_before, self.note, self.began_s = done, done, "", now
        self.stage = stage
        self.total = total

    def check(self) -> None:
        """Raise if the main thread asked to stop; the worker calls this between steps.

        Raises:
            Stopped: when the main thread asked to stop.
        """
        if self.stop.is_set():
            raise Stopped("stopped")


class Worker:
    """Run one function at a time in the worker thread, and keep the host up to date meanwhile."""

    def __init__(
        self,
        tend: Callable[[Progress], None],
        abandon: Callable[[], NoReturn],
        stop_within_s: float = STOP_WITHIN_S,
    ) -> None:
        """Start the thread.

        Args:
            tend: called in the main thread ten times a second; may raise to stop the work.
            abandon: called when the work does not stop in time; must end the process.
            stop_within_s: the time that the work has to stop.
        """
        self.progress = Progress(stop_within_s=stop_within_s)
        self._tend = tend
        self._abandon = abandon
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="worker")

    def run(self, work: Callable[[], T]) -> T:
        """Return the function's result.

        Raises:
            BaseException: what the function raised, or what `tend` raised; the latter only after
                the worker has stopped.
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
        """Wait a moment, or until a second Stop; a call into a library may take much longer."""
        try:
            stopped = wait([future], timeout=self.progress.stop_within_s).done
        except KeyboardInterrupt:
            stopped = set()
        if not stopped:
            self._abandon()

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(wait=True)


_N_LONG = 2_000
"""Scores from which on it pays to leave the libraries alone."""


@contextmanager
def libraries_left_alone(n_scores: int) -> Iterator[None]:
    """Keep the garbage collector from looking through all that was loaded, again and again.

    DeepEval and its libraries are a million objects that stay. Looking at them takes a tenth of the
    time of scoring. Setting them apart takes one look of a third of a second, so few scores are
    made without it.
    """
    if n_scores < _N_LONG:
        yield
        return
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
