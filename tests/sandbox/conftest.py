"""A sandbox for tests. They do run here: without bubblewrap they are skipped, and say why."""

import threading
from collections.abc import Callable

import pytest

from plugin.code_tests import CodeTests
from plugin.sandbox.bubblewrap import Limits
from plugin.sandbox.proof import problem_here
from plugin.sandbox.run import Outcome, run_tests

SMALL = Limits(
    seconds=0.4, memory=200 << 20, disk=4 << 20, n_files=300, n_processes=20, output=1 << 18
)

Run = Callable[..., Outcome]


@pytest.fixture(scope="session")
def sandbox() -> None:
    """Skip the test where no code may run."""
    if problem := problem_here():
        pytest.skip(f"no sandbox: {problem}")


@pytest.fixture
def run(sandbox: None) -> Run:
    """Test an answer: run(answer, "assert f() == 1", ...)."""

    def run_it(
        answer: str,
        *checks: str,
        runs: tuple[tuple[str, str], ...] = (),
        question: str = "",
        entry_point: str = "",
        limits: Limits = SMALL,
    ) -> Outcome:
        tests = CodeTests(checks, entry_point, runs=runs)
        called = [entry_point or "f"] if checks else []
        return run_tests(answer, question, tests, called, limits, threading.Event())

    return run_it
