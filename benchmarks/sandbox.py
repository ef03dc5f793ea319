"""Time code in the sandbox against the same code in a bare Python process, one after the other.

The peer starts Python without packages, runs code and tests, and limits nothing.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from plugin.code_tests import CodeTests
from plugin.sandbox.bubblewrap import Limits
from plugin.sandbox.proof import problem_here
from plugin.sandbox.run import run_tests

CODE = "def f(x):\n    return x + 1"
TESTS = ("assert f(1) == 2", "assert f(3) == 4")
N_PAIRS = 60


def in_sandbox() -> None:
    tests = CodeTests(TESTS)
    found = run_tests(f"```python\n{CODE}\n```", "", tests, ("f",), Limits(), threading.Event())
    assert found.kind == "passed", found


def bare() -> None:
    code = "\n".join([CODE, *TESTS])
    subprocess.run([sys.executable, "-S", "-s", "-c", code], check=True, capture_output=True)


def seconds_of(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    if problem := problem_here():
        print(f"no sandbox here: {problem}")
        return
    pairs = [(seconds_of(in_sandbox), seconds_of(bare)) for _ in range(N_PAIRS)]
    own, other = (statistics.median(column) * 1000 for column in zip(*pairs, strict=True))
    print(
        f"one case, median of {N_PAIRS}: {own:.0f} ms in the sandbox, {other:.0f} ms in a bare "
        f"process ({own / other:.1f} times as long)"
    )


if __name__ == "__main__":
    main()
