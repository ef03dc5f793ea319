"""Run code in a sandbox, some runs side by side, and say how its tests went."""

from __future__ import annotations

import json
import marshal
import math
import os
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

from plugin.code_tests import CodeTests, compare_output
from plugin.sandbox.bubblewrap import Box, Limits, SandboxError
from plugin.sandbox.watch import Ended, watch

Kind = Literal[
    "passed", "failed", "wrong output", "no code", "early", "crashed", "channel",
    "time", "memory", "disk", "output", "processes",
]  # fmt: skip
"""How tests went. "early": the code ended the process; "channel": it wrote where only the program
inside may write."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the tests of one answer went.

    Attributes:
        taken: which part of the answer was run.
        test: number of the first test that failed, from 1; 0 where none was reached.
        n_tests: how many passed, or how many there are where these are known beforehand.
        detail: the error, or how the output differs.
        line: of the tests, where it failed.
    """

    kind: Kind
    taken: str = ""
    test: int = 0
    n_tests: int = 0
    detail: str = ""
    line: str = ""


@cache
def _program() -> bytes:
    """Return the program that runs inside, compiled."""
    texts = [Path(__file__).with_name(name).read_text("utf-8") for name in _INSIDE]
    # Annotations are not evaluated, and what they need takes milliseconds to import.
    left_out = ("from __future__", "from plugin.", "from typing ", "from collections.abc ")
    lines = [line for text in texts for line in text.splitlines() if not line.startswith(left_out)]
    source = "\n".join(["from __future__ import annotations", *lines])
    return marshal.dumps(compile(source, "<inside>", "exec", dont_inherit=True))


_INSIDE = ("extract.py", "inside.py")


class Slots:
    """Let some runs go side by side, or one alone."""

    def __init__(self, n: int) -> None:
        self._n_free = self._n = n
        self._changed = threading.Condition()
        self._n_alone = 0

    @contextmanager
    def taken(self, *, alone: bool = False) -> Iterator[None]:
        """Wait for a place, or for all of them."""
        wanted = self._n if alone else 1
        with self._changed:
            self._n_alone += alone
            self._changed.wait_for(lambda: self._n_free >= wanted and (alone or not self._n_alone))
            self._n_free -= wanted
        try:
            yield
        finally:
            with self._changed:
                self._n_free += wanted
                self._n_alone -= alone
                self._changed.notify_all()


def side_by_side() -> int:
    """Return how many runs have room at once: a processor each, and half of the memory for all."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(os.cpu_count() or 1, memory // 2 // Limits().memory))


SLOTS = Slots(side_by_side())
"""The runs of this process."""


def run_once(
    job: Mapping[str, object],
    more: Mapping[str, object],
    given: bytes | None,
    limits: Limits,
    stop: threading.Event,
) -> Ended:
    """Run the program inside once.

    Args:
        job: what it reads first.
        more: what it reads when the code has been run.
        given: standard input of the tested program; None where it has none.
        limits: what it may use.
        stop: set from another thread to end it.

    Raises:
        SandboxError: when it did not start.
    """
    told = {**job, "limits": _kernel_limits(limits)}
    frames = (_program(), *(json.dumps(part).encode() for part in (told, more)))
    stream = b"".join(len(one).to_bytes(4, "big") + one for one in frames)
    try:
        box = Box(limits, given is not None)
    except OSError as error:
        raise SandboxError(f"the sandbox did not start: {error}") from error
    ended = watch(box, stream, given, limits, stop)
    if ended.cut == "stopped":
        raise SandboxError("stopped")
    if ended.message("started") is None:
        why = ended.errors.splitlines()[-1:] or [f"it ended with status {ended.status} {ended.cut}"]
        raise SandboxError(f"the sandbox did not start: {why[0]}")
    return ended


def _kernel_limits(limits: Limits) -> dict[str, int]:
    """Return the limits of each process, by the names of `resource`."""
    return {
        "CPU": max(1, math.ceil(limits.seconds)),
        "AS": limits.memory,
        "NPROC": limits.n_processes,
        "FSIZE": limits.disk,
        "NOFILE": 64,
        "CORE": 0,
        "MEMLOCK": 0,
        "MSGQUEUE": 0,
    }


def run_tests(
    answer: str,
    question: str,
    tests: CodeTests,
    called: Sequence[str],
    limits: Limits,
    stop: threading.Event,
) -> Outcome:
    """Test the code in an answer; what a busy machine may have ended is tried once more, alone.

    Args:
        answer: what the model wrote.
        question: what it was asked; it may begin the code.
        tests: of the case.
        called: the names that the tests call.
        limits: of each run.
        stop: set from another thread to end it.

    Raises:
        SandboxError: when the sandbox broke.
    """
    job = {
        "answer": answer,
        "question": question,
        "entry_point": tests.entry_point,
        "before": tests.before,
        "wanted": list(called),
        "runs": bool(tests.runs),
        "look": [],
    }
    if not tests.runs:
        token = secrets.token_hex(16)
        more = {"checks": list(tests.checks), "token": token}
        ended = _fairly(job, more, None, limits, stop)
        return _outcome(ended, token)
    found = Outcome("no code", n_tests=len(tests.runs))
    for number, (given, wanted) in enumerate(tests.runs, 1):
        room = replace(limits, output=max(limits.output, 2 * len(wanted.encode())))
        ended = _fairly(job, {}, given.encode(), room, stop)
        found = replace(_printed(ended, wanted), test=number, n_tests=len(tests.runs))
        if found.kind != "passed":
            return found
    return replace(found, test=0)


_LOOKED_AT_ONCE = 50


def look_at(tests: Sequence[CodeTests], limits: Limits) -> list[tuple[str, tuple[str, ...]]]:
    """Return what is wrong with each of these tests, "" for nothing, and the names they call.

    Raises:
        SandboxError: when the sandbox broke.
    """
    found = list[tuple[str, tuple[str, ...]]]()
    for first in range(0, len(tests), _LOOKED_AT_ONCE):
        some = [asdict(one) for one in tests[first : first + _LOOKED_AT_ONCE]]
        job = {"look": some, "runs": False}
        ended = run_once(job, {}, None, limits, threading.Event())
        told = ended.message("looked")
        problems = told["problems"] if told else None
        if not isinstance(problems, list) or len(problems) != len(some):
            raise SandboxError("the tests are too large or too deep to be read")
        found += [(str(one["problem"]), tuple(one["called"])) for one in problems]
    return found


def _fairly(
    job: Mapping[str, object],
    more: Mapping[str, object],
    given: bytes | None,
    limits: Limits,
    stop: threading.Event,
) -> Ended:
    """Run once; once more, alone, if others on this machine may have taken its time or memory."""
    with SLOTS.taken():
        ended = run_once(job, more, given, limits, stop)
    if ended.cut == "time" or (not ended.cut and ended.status == _KILLED):
        with SLOTS.taken(alone=True):
            ended = run_once(job, more, given, limits, stop)
    return ended


_OF_THE_DATA = {"<setup>": "stands before the tests", "<question>": "the question begins"}
"""Code that no model wrote, by the name under which it is run."""

_KILLED, _CPU_TIME = 128 + 9, 128 + 24
_CUTS: dict[str, Kind] = {
    "time": "time",
    "memory": "memory",
    "output": "output",
    "processes": "processes",
    "files": "disk",
    "messages": "channel",
}


def _outcome(ended: Ended, token: str) -> Outcome:
    """Say how the tests of a function went."""
    found = ended.message("found") or {}
    taken = _text(found, "where")
    last = ended.message("passed", "failed", "early", "memory", "untested")
    if ended.cut or (last is None and ended.status):
        return Outcome(_ended_kind(ended), taken, detail=_how(ended))
    if not found.get("code"):
        return Outcome("no code", taken)
    if last is None or last["kind"] == "early":
        return Outcome("early", taken, test=_int(last, "test"))
    is_blamed = _text(last, "at") in _OF_THE_DATA
    if (is_blamed and ended.message("ready")) or (
        last["kind"] == "untested" and last.get("token") != token
    ):
        return Outcome("channel", taken)
    if is_blamed:
        what = _OF_THE_DATA[str(last["at"])]
        raise SandboxError(f"the code that {what} fails: {_text(last, 'error')}")
    if last["kind"] == "untested":
        raise SandboxError("the tests check nothing: no assert in them was reached")
    if last["kind"] == "passed":
        if last.get("token") != token or ended.messages[-1] is not last:
            return Outcome("channel", taken)
        return Outcome("passed", taken, n_tests=_int(last, "tests"))
    line = _text(last, "line") if last.get("at") in (None, "<tests>") else ""
    kind: Kind = "memory" if last["kind"] == "memory" else "failed"
    return Outcome(kind, taken, _int(last, "test"), 0, _text(last, "error"), line)


def _printed(ended: Ended, wanted: str) -> Outcome:
    """Say how one run of a program went. What it printed counts, whatever it says of itself."""
    found = ended.message("found") or {}
    taken = _text(found, "where")
    last = ended.message("failed", "memory")
    if ended.cut or (last is None and ended.status):
        return Outcome(_ended_kind(ended), taken, detail=_how(ended))
    if not found.get("code"):
        return Outcome("no code", taken)
    if last is not None:
        kind: Kind = "memory" if last["kind"] == "memory" else "failed"
        return Outcome(kind, taken, detail=_text(last, "error"))
    difference = compare_output(ended.output.decode("utf-8", "replace"), wanted)
    return Outcome("wrong output" if difference else "passed", taken, detail=difference)


def _ended_kind(ended: Ended) -> Kind:
    if ended.cut:
        return _CUTS[ended.cut]
    if ended.status == _CPU_TIME:
        return "time"
    return "crashed" if ended.status > 128 else "early"


def _how(ended: Ended) -> str:
    """Return how a process ended that sent no last message."""
    if ended.cut or ended.status == _CPU_TIME:
        return ""
    if ended.status > 128:
        return f"signal {ended.status - 128}"
    return f"exit code {ended.status}"


_LONGEST = 300


def _text(message: Mapping[str, object], name: str) -> str:
    """Return a text of a message, which the tested code may have made up: printable, and short."""
    text = message.get(name, "")
    short = text[:_LONGEST] if isinstance(text, str) else ""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in short)


_MOST_TESTS = 1_000_000


def _int(message: Mapping[str, object] | None, name: str) -> int:
    found = (message or {}).get(name, 0)
    return found if isinstance(found, int) and 0 <= found < _MOST_TESTS else 0
