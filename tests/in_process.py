"""The program's ways in, called in the process of the tests.

A process of its own costs four CPU seconds, mostly for imports. Tests for which the process matters
(signals, exit codes, what stands on stderr, another environment) start one; all others call here.
"""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import NoReturn

import pytest


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def call_program(start: Callable[[], object], environment: Mapping[str, str]) -> Ended:
    """Call a way in as a process would: with this environment, its output kept, its end caught.

    Args:
        start: returns the exit code, None for 0, or raises SystemExit.
        environment: what is set beside the environment of the tests while it runs.

    Raises:
        KeyboardInterrupt: when the person at the tests stopped it.
    """
    out, err = io.StringIO(), io.StringIO()
    on_terminate = signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr(os, "_exit", _left_at_once)
        try:
            code = start()
        except SystemExit as end:
            code = end.code
        finally:
            signal.signal(signal.SIGTERM, on_terminate)
    if code == 130:
        raise KeyboardInterrupt
    assert code is None or isinstance(code, int), code
    ended = Ended(code or 0, out.getvalue(), err.getvalue())
    assert "an unexpected fault" not in ended.err, ended.err
    assert "Traceback" not in ended.err + ended.out, ended.err
    return ended


def _left_at_once(code: int) -> NoReturn:
    raise AssertionError(f"the program left at once with {code}: its worker did not stop in time")
