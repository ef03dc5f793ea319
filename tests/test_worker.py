from __future__ import annotations

import threading
import time
from typing import NoReturn

import pytest

from plugin.worker import _TEND_EVERY_S, STOP_WITHIN_S, Progress, Stage, Stopped, Worker


def never() -> NoReturn:
    raise AssertionError("abandoned")


def test_work_runs_in_one_thread_and_the_host_is_tended_from_the_main_one() -> None:
    tended, worked = set(), set()
    worker = Worker(lambda progress: tended.add(threading.get_ident()), never)

    def work() -> int:
        worked.add(threading.get_ident())
        time.sleep(0.25)
        return 7

    assert worker.run(work) == worker.run(work) == 7
    worker.close()
    assert tended == {threading.get_ident()}
    assert len(worked) == 1 and worked.isdisjoint(tended)


def test_the_host_is_tended_several_times_a_second_while_the_work_goes_on() -> None:
    n_tended, enough = 0, threading.Event()

    def tend(progress: Progress) -> None:
        nonlocal n_tended
        n_tended += 1
        if n_tended == 5:
            enough.set()

    worker = Worker(tend, never)
    assert worker.run(lambda: enough.wait(60))
    worker.close()
    assert _TEND_EVERY_S <= 0.2


def test_what_a_short_work_did_is_shown_at_its_end() -> None:
    shown = []
    worker = Worker(lambda progress: shown.append(progress.done), never)

    def work() -> None:
        worker.progress.done = 3

    worker.run(work)
    worker.close()
    assert shown[-1:] == [3]


def test_an_error_of_the_work_comes_out_as_it_is() -> None:
    worker = Worker(lambda progress: None, never)
    with pytest.raises(ZeroDivisionError):
        worker.run(lambda: 1 / 0)
    worker.close()


def test_a_stop_reaches_the_work_and_comes_out_as_the_hosts_stop() -> None:
    seen = threading.Event()

    def tend(progress: Progress) -> None:
        if progress.stage:
            raise KeyboardInterrupt

    worker = Worker(tend, never)

    def work() -> None:
        worker.progress.begin(Stage.GENERATE)
        try:
            while True:
                worker.progress.check()
                time.sleep(0.01)
        except Stopped:
            seen.set()
            raise

    with pytest.raises(KeyboardInterrupt):
        worker.run(work)
    worker.close()
    assert seen.is_set()


def test_work_that_cannot_stop_is_left_within_two_seconds() -> None:
    class Left(BaseException):
        pass

    def leave() -> NoReturn:
        raise Left

    def tend(progress: Progress) -> None:
        raise KeyboardInterrupt

    worker = Worker(tend, leave)
    release, ended = threading.Event(), threading.Event()

    def work() -> None:
        release.wait(60)
        ended.set()

    with pytest.raises(Left):
        worker.run(work)
    assert not ended.is_set() and STOP_WITHIN_S < 2
    release.set()
    worker.close()


def test_a_reader_never_sees_two_stages_mixed() -> None:
    seen: list[tuple[Stage | None, int, int]] = []

    class Watched(Progress):
        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)
            if seen:
                seen.append((self.stage, self.done, self.total))

    progress = Watched()
    progress.begin(Stage.GENERATE, total=10, done=4)
    progress.done = 10
    seen.append((progress.stage, progress.done, progress.total))
    progress.begin(Stage.SCORE, total=3, done=1)
    whole = {(Stage.GENERATE, 10, 10), (Stage.SCORE, 1, 3)}
    assert {one for one in seen if one[2]} == whole


def test_a_stage_that_is_over_is_remembered() -> None:
    progress = Progress()
    progress.begin(Stage.LOAD_MODEL)
    progress.begin(Stage.GENERATE, total=10, done=4)
    progress.done = 10
    progress.begin(Stage.SCORE, total=3, done=3)
    progress.begin(Stage.COMPARE)
    assert [(e.stage, e.done, e.total) for e in progress.ended] == [(Stage.GENERATE, 10, 10)]
