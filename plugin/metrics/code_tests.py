"""Code Tests: whether the code in an answer passes the tests of its case.

The code runs in a sandbox (`plugin.sandbox`) that was proven to hold on this machine. What the code
does wrong is a score of 0; that the sandbox itself broke is a failure, and is tried again.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial

from plugin.errors import OptionError
from plugin.metrics import Ask, Measure, Measured
from plugin.metrics.entry import TaskSettings
from plugin.records import Case
from plugin.sandbox.bubblewrap import Limits, SandboxError
from plugin.sandbox.proof import require_sandbox
from plugin.sandbox.run import Outcome, look_at, run_tests, side_by_side

DETAILS = " (code: "
"""Stands between what went wrong, in words that repeat, and what is special to one answer."""

_MOST_NAMED = 5
_LONGEST_NAME = 60
_WRONG = {
    "no code": "no code",
    "wrong output": "wrong output",
    "early": "ended before its tests did",
    "crashed": "crashed",
    "channel": "wrote where only the sandbox may",
    "time": "time limit",
    "memory": "memory limit",
    "disk": "disk limit",
    "output": "output limit",
    "processes": "process limit",
}
"""What went wrong, by the kind of an `Outcome`; where a test failed, its error says it."""


def code_tests(settings: TaskSettings, cases: Sequence[Case]) -> Measure:
    """See `MetricEntry.setup`.

    Raises:
        OptionError: when there is no sandbox here, or tests that cannot work.
    """
    require_sandbox()
    limits = Limits(seconds=settings.test_seconds or Limits().seconds)
    own = [(case.id, case.tests) for case in cases if case.tests]
    try:
        looked = look_at([tests for _, tests in own if not tests.runs], Limits())
    except SandboxError as error:
        raise OptionError(f"--predefined_tasks Code Tests: {error}") from error
    checked = dict(zip((name for name, tests in own if not tests.runs), looked, strict=True))
    wrong = [f"case {name}: its tests {one[0]}" for name, one in checked.items() if one[0]]
    if wrong:
        more = [f"and {len(wrong) - _MOST_NAMED} more"] if len(wrong) > _MOST_NAMED else []
        listed = "\n  ".join([*wrong[:_MOST_NAMED], *more])
        raise OptionError(
            "--predefined_tasks Code Tests cannot work with these tests; correct the rows, or "
            f"choose other metrics with --predefined_tasks:\n  {listed}"
        )
    return partial(_test, {name: one[1] for name, one in checked.items()}, limits)


@cache
def _threads() -> ThreadPoolExecutor:
    """Return the threads that wait for sandboxes."""
    return ThreadPoolExecutor(side_by_side(), thread_name_prefix="sandbox")


async def _test(
    called: Mapping[str, tuple[str, ...]], limits: Limits, case: Case, completion: str, ask: Ask
) -> Measured:
    if case.tests is None:
        raise ValueError("the case has no tests")
    stop = threading.Event()
    run = partial(run_tests, completion, case.input, case.tests, called.get(case.id, ()))
    work = asyncio.get_running_loop().run_in_executor(_threads(), run, limits, stop)
    try:
        found = await work
    finally:
        stop.set()  # where the user stopped the run, this ends the sandbox
    return Measured(float(found.kind == "passed"), tell(found, limits))


def tell(found: Outcome, limits: Limits) -> str:
    """Return the reason of a score: what went wrong, which code was run, and where it failed."""
    where = f"{DETAILS}{found.taken or 'none'}"
    if found.kind == "passed":
        noun = "test" if found.n_tests == 1 else "tests"
        return f"passed{where}; {found.n_tests} {noun})"
    error = found.detail.partition(":")[0]
    error = error if error.isidentifier() and len(error) < _LONGEST_NAME else "error"
    what = _WRONG.get(found.kind) or ("wrong result" if error == "AssertionError" else error)
    of = f" of {found.n_tests}" if found.n_tests else ""
    parts = [f"test {found.test}{of}" if found.test else "", found.line, found.detail]
    if found.kind == "time":
        parts.append(f"{limits.seconds:g} s")
    told = ", ".join(part for part in parts if part and part != "AssertionError")
    return f"{what}{where}{'; ' if told else ''}{told})"


def suggest_code_tests(cases: Sequence[Case]) -> str:
    """See `MetricEntry.suggest`: cases with tests are about code."""
    n = sum(case.tests is not None for case in cases)
    return f"{n} of the {len(cases)} cases have tests" if n else ""
