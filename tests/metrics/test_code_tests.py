"""Code Tests scores what code does, says why, and never takes a broken sandbox for wrong code."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
import time
from pathlib import Path

import pytest

from plugin import metrics
from plugin.code_tests import CodeTests
from plugin.errors import OptionError
from plugin.metrics import Measured
from plugin.metrics.code_tests import suggest_code_tests
from plugin.metrics.entry import TaskSettings
from plugin.metrics.running import MetricError, run_metric
from plugin.plan.metric_choice import _set_up
from plugin.records import Case
from plugin.sandbox import proof
from plugin.sandbox import run as running
from plugin.sandbox.bubblewrap import SandboxError
from tests.metrics.task_samples import measure_of, score
from tests.metrics.test_hostile_answers import ANSWERS
from tests.samples import case
from tests.sandbox.conftest import sandbox  # noqa: F401

pytestmark = pytest.mark.usefixtures("sandbox")
CASE = case(input="Write f.", tests=CodeTests(("assert f(1) == 2", "assert f(3) == 4")))
GOOD = "```python\ndef f(x):\n    return x + 1\n```"


def told(answer: str, one: Case = CASE, **settings: object) -> Measured:
    given = TaskSettings(**{"test_seconds": 0.4, **settings})  # type: ignore[arg-type]
    return score(measure_of("Code Tests", [one], given), answer, one)


REASONS = {
    "passed": (GOOD, "passed (code: the code block; 2 tests)"),
    "wrong": (
        GOOD.replace("x + 1", "2"),
        "wrong result (code: the code block; test 2, assert f(3) == 4)",
    ),
    "an error": (
        GOOD.replace("x + 1", "y"),
        "NameError (code: the code block; test 1, assert f(1) == 2, "
        "NameError: name 'y' is not defined)",
    ),
    "a library": (
        GOOD.replace("def", "import numpy\ndef"),
        "ModuleNotFoundError (code: the code block; ModuleNotFoundError: No module named 'numpy')",
    ),
    "no code": ("I cannot.", "no code (code: none that defines f)"),
    "time": (
        GOOD.replace("return x + 1", "while True: pass"),
        "time limit (code: the code block; 0.4 s)",
    ),
    "memory": (
        GOOD.replace("x + 1", "bytes(10 ** 12)"),
        "memory limit (code: the code block; test 1, assert f(1) == 2, MemoryError)",
    ),
    "exit": (
        GOOD.replace("return x + 1", "exit()"),
        "ended before its tests did (code: the code block; test 1)",
    ),
    "crash": (
        GOOD.replace("return x + 1", "__import__('os').abort()"),
        "crashed (code: the code block; signal 6)",
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_no_answer_however_odd_holds_it_up(name: str) -> None:
    found = told(ANSWERS[name])
    assert found.value == 0 and len(found.reason or "") < 2000


@pytest.mark.parametrize("name", REASONS)
def test_the_reason_says_what_was_run_and_what_failed(name: str) -> None:
    answer, reason = REASONS[name]
    assert told(answer) == Measured(float(name == "passed"), reason)


def test_programs_are_compared_by_their_output() -> None:
    one = case(input="Double.", tests=CodeTests(runs=(("1\n", "2\n\n"), ("4\n", "8"))))
    assert told("```\nprint(int(input()) * 2, ' ')\n```", one).value == 1
    assert told("```\nprint(2)\n```", one) == Measured(
        0, "wrong output (code: the code block; test 2 of 2, line 1 is '2', not '8')"
    )
    assert "is missing: '2'" in str(told("```\nimport os\nos._exit(0)\n```", one).reason)
    assert "lines too many" in str(
        told("```\nprint(int(input()) * 2)\nprint()\nprint(3)\n```", one).reason
    )
    found = told("```\nimport sys\nsys.stdout.buffer.write(b'\\xff\\xfe')\n```", one)
    assert "line 1 is '\ufffd\ufffd', not '2'" in str(found.reason)
    assert "exit code 3" in str(told("```\nprint(2); __import__('os')._exit(3)\n```", one).reason)
    assert "SystemExit: 3" in str(told("```\nprint(2); exit(3)\n```", one).reason)
    assert "EOFError" in str(told("```\ninput(); input()\n```", one).reason)


def test_tests_that_cannot_work_are_refused_before_the_run() -> None:
    wrong = {"a": "assert f(", "b": "f(1)", "c": "import numpy\nassert f(1)"}
    cases = [CASE, *(case(name, tests=CodeTests((text,))) for name, text in wrong.items())]
    with pytest.raises(OptionError) as error:
        measure_of("Code Tests", cases)
    text = str(error.value)
    assert "case a: its tests cannot be read as Python: '(' was never closed" in text
    assert "case b: its tests check nothing: there is no assert in them" in text
    assert "case c: its tests import numpy; there is only the standard library" in text
    with pytest.raises(OptionError, match="needs tests, and no case has any"):
        metrics.select(["Code Tests"], [], [case()])


def test_data_with_tests_choose_the_metric() -> None:
    assert suggest_code_tests([CASE, case("2")]) == "1 of the 2 cases have tests"
    assert not suggest_code_tests([case()])


FAULTS = {
    "no test is reached": CodeTests(("def unused():\n    assert f(1) == 2",)),
    "what stands before them fails": CodeTests(CASE.tests.checks, before="1 / 0"),  # type: ignore[union-attr]
}


@pytest.mark.parametrize("name", FAULTS)
def test_faulty_tests_are_a_failure_and_no_zero(name: str) -> None:
    one = case(tests=FAULTS[name])
    (metric,) = metrics.load(["Code Tests"])
    ready = _set_up(metric, TaskSettings(), [one])
    with pytest.raises(MetricError, match="SandboxError"):
        asyncio.run(run_metric(ready, one, GOOD, None))  # type: ignore[arg-type]


def test_a_broken_sandbox_is_a_failure_and_no_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = measure_of("Code Tests", [CASE])
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No space left on device' >&2\nexit 1\n")
    broken.chmod(broken.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(SandboxError, match="did not start: bwrap: No space left on device"):
        score(measure, GOOD, CASE)


def test_what_waits_is_tried_again_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sleeping program looks like one that a busy machine kept waiting."""
    seen = list[int]()
    once = running.run_once

    def count(*given: object) -> object:
        seen.append(running.SLOTS._n_free)
        return once(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(running, "run_once", count)
    assert told(GOOD.replace("return x + 1", "import time; time.sleep(9)")).value == 0
    n = running.side_by_side()
    assert seen[-2:] == [n - 1, 0]
    assert running.SLOTS._n_free == n


def test_a_stopped_run_ends_its_sandboxes() -> None:
    measure = measure_of("Code Tests", [CASE], TaskSettings(test_seconds=60))

    async def stop_soon() -> None:
        work = asyncio.create_task(measure(CASE, GOOD.replace("return", "while 1: 0 #"), None))  # type: ignore[arg-type]
        await asyncio.sleep(0.5)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    began = time.monotonic()
    asyncio.run(stop_soon())
    assert time.monotonic() - began < 10


def test_runs_go_side_by_side_up_to_the_processors() -> None:
    slots, most, now = running.Slots(2), 0, 0
    lock = threading.Lock()

    def work(alone: bool) -> None:
        nonlocal most, now
        with slots.taken(alone=alone):
            with lock:
                now += 2 if alone else 1
                most = max(most, now)
            time.sleep(0.005)
            with lock:
                now -= 2 if alone else 1

    threads = [threading.Thread(target=work, args=(n % 5 == 0,)) for n in range(20)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert most == 2 and slots._n_free == 2


REFUSALS = {
    "no bubblewrap": (
        "bubblewrap is not installed. Install it with apt-get install bubblewrap",
        {},
    ),
    "no rights": (
        "the sandbox did not start: bwrap: No permissions to create new namespace. In a container, "
        "allow user namespaces",
        {"bwrap": "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n"},
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_without_a_sandbox_the_run_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason, programs = REFUSALS[name]
    for program, text in programs.items():
        (tmp_path / program).write_text(text)
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin/none" if not programs else f"{tmp_path}:/bin")
    monkeypatch.setattr(proof, "problem_here", proof.problem_here.__wrapped__)
    with pytest.raises(OptionError) as error:
        measure_of("Code Tests", [CASE])
    assert reason in str(error.value)
    assert "compare --scored" in str(error.value)


def test_other_systems_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert "none for darwin, only for Linux" in proof.problem_here.__wrapped__()
    monkeypatch.undo()
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert "x86_64 and aarch64 only" in proof.problem_here.__wrapped__()


def test_what_a_question_begins_and_cannot_run_is_no_zero() -> None:
    one = case(
        input="import numpy\n\ndef f(x):\n    '''Add one.'''\n",
        tests=CodeTests(("def check(candidate):\n    assert candidate(1) == 2",), entry_point="f"),
    )
    with pytest.raises(SandboxError, match="the question begins fails: ModuleNotFoundError"):
        told("    return x + 1\n", one)


def test_as_much_output_is_read_as_is_wanted() -> None:
    wanted = "x" * 5_000_000
    one = case(input="Print.", tests=CodeTests(runs=(("", wanted),)))
    assert told("```\nprint('x' * 5_000_000)\n```", one).value == 1
    found = told("```\nprint('x' * 20_000_000)\n```", one)
    assert str(found.reason).startswith("output limit")
