"""Watch one sandbox from outside: carry data in and out, and end it when it goes too far.

The kernel limits each process inside; what all of them use together is looked at here, fifty times
a second.
"""

from __future__ import annotations

import json
import os
import selectors
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from plugin.sandbox.bubblewrap import Box, Limits

_LOOK_EVERY_S = 0.02
_STARTS_WITHIN_S = 60.0
_MOST_MESSAGES = 64 << 10
_MOST_ERRORS = 4 << 10
_CHUNK = 64 << 10

Cut = Literal["", "time", "memory", "output", "processes", "files", "messages", "stopped"]
"""Why a run was ended from outside; "" if it ended by itself."""


@dataclass(slots=True)
class Ended:
    """How a run ended.

    Attributes:
        messages: of the program inside, each a JSON object.
        output: what the tested program printed; empty where that was not asked for.
        status: as a shell tells it: 128 and more for a signal.
        errors: what bubblewrap said.
    """

    messages: list[dict[str, object]] = field(default_factory=list)
    output: bytes = b""
    cut: Cut = ""
    status: int = 0
    errors: str = ""

    def message(self, *kinds: str) -> dict[str, object] | None:
        """Return the last message of one of these kinds."""
        return next((one for one in reversed(self.messages) if one.get("kind") in kinds), None)


def watch(
    box: Box, job: bytes, given: bytes | None, limits: Limits, stop: threading.Event
) -> Ended:
    """Run a sandbox to its end.

    Args:
        box: the sandbox, just started.
        job: what the program inside reads first.
        given: standard input of the tested program; None where it has none.
        limits: those of the sandbox.
        stop: set from another thread to end it.
    """
    flow = _Flow(box, job, given, limits.output)
    ended, look_at, is_started = Ended(), 0.0, False
    deadline = time.monotonic() + _STARTS_WITHIN_S
    try:
        while flow.is_open:
            flow.turn(_LOOK_EVERY_S)
            now = time.monotonic()
            if flow.texts["result"] and not is_started:
                is_started, deadline = True, now + limits.wall_s
            if stop.is_set() or now > deadline:
                ended.cut = "stopped" if stop.is_set() else "time"
            elif flow.cut:
                ended.cut = flow.cut
            elif is_started and now >= look_at:  # before, bubblewrap builds the sandbox
                ended.cut, look_at = _cut(box, limits), now + _LOOK_EVERY_S
            if ended.cut:
                break
    finally:
        status = box.end()
        flow.close()
    ended.status = 128 - status if status < 0 else status
    ended.output = bytes(flow.texts["output"])
    ended.errors = flow.texts["errors"].decode("utf-8", "replace").strip()
    ended.messages = list(_messages(bytes(flow.texts["result"])))
    return ended


class _Flow:
    """What goes through the pipes of a sandbox."""

    def __init__(self, box: Box, job: bytes, given: bytes | None, most_output: int) -> None:
        self.texts = {"result": bytearray(), "output": bytearray(), "errors": bytearray()}
        self.cut: Cut = ""
        self._most = {"result": _MOST_MESSAGES, "output": most_output, "errors": _MOST_ERRORS}
        self._waiting = selectors.DefaultSelector()
        self._files = dict[int, IO[bytes]]()
        self._left = dict[int, memoryview]()
        process = box.process
        self._end = os.pidfd_open(process.pid)
        self._waiting.register(self._end, selectors.EVENT_READ, "end")
        for name, reader in (("output", process.stdout), ("errors", process.stderr)):
            if reader:
                self._add(reader, selectors.EVENT_READ, name)
        self._add(open(box.result, "rb", buffering=0), selectors.EVENT_READ, "result")
        if given is not None and process.stdin:
            self._add(process.stdin, selectors.EVENT_WRITE, "given", given)
        self._add(open(box.job, "wb", buffering=0), selectors.EVENT_WRITE, "job", job)

    @property
    def is_open(self) -> bool:
        """Return whether bubblewrap runs, or something is left to read."""
        return any(key.data in ("end", *self.texts) for key in self._waiting.get_map().values())

    def _add(self, file: IO[bytes], event: int, name: str, text: bytes = b"") -> None:
        os.set_blocking(file.fileno(), False)
        self._files[file.fileno()] = file
        self._left[file.fileno()] = memoryview(text)
        self._waiting.register(file, event, name)

    def turn(self, seconds: float) -> None:
        """Carry what can be carried within this time."""
        for key, _ in self._waiting.select(seconds):
            if key.data == "end":
                self._waiting.unregister(self._end)
            elif key.data in self.texts:
                self._read(key.fd, key.data)
            else:
                self._write(key.fd)

    def _read(self, fd: int, name: str) -> None:
        try:
            read = os.read(fd, _CHUNK)
        except BlockingIOError:
            return
        if not read:
            self._waiting.unregister(fd)
            return
        text, most = self.texts[name], self._most[name]
        text += read[: max(0, most - len(text))]
        if len(text) >= most and name != "errors":
            self.cut = "messages" if name == "result" else "output"

    def _write(self, fd: int) -> None:
        left = self._left[fd]
        try:
            left = left[os.write(fd, left[:_CHUNK]) :] if left else left
        except BlockingIOError:
            return
        except OSError:  # nobody reads it any more
            left = memoryview(b"")
        self._left[fd] = left
        if not left:
            self._waiting.unregister(fd)
            self._files.pop(fd).close()

    def close(self) -> None:
        """Close everything."""
        self._waiting.close()
        os.close(self._end)
        for file in self._files.values():
            with suppress(OSError):
                file.close()


def _cut(box: Box, limits: Limits) -> Cut:
    """Return which limit all processes inside exceed together, or ""."""
    if box.first_pid is None:
        return ""
    pids = list(_family(box.first_pid))
    if len(pids) > limits.n_processes + _OWN_PROCESSES:
        return "processes"
    if sum(map(_own_memory, pids)) > limits.memory:
        return "memory"
    return "files" if _n_files(box.first_pid) > limits.n_files else ""


_OWN_PROCESSES = 2
"""Of bubblewrap, and one that was just started: the kernel counts them otherwise."""


def _family(pid: int) -> Iterator[int]:
    """Yield a process and all that came from it; orphans inside belong to the first one."""
    yield pid
    found = list[str]()
    with suppress(OSError):  # it may end at any moment
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                found += (task / "children").read_text().split()
    for child in found:
        yield from _family(int(child))


def _own_memory(pid: int) -> int:
    """Return the bytes of a process that are in no file of a disk."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    except OSError:
        return 0
    kinds = ("RssAnon:", "RssShmem:", "VmPTE:")
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(kinds))


def _n_files(pid: int) -> int:
    """Return how many files and folders are in /tmp and /dev/shm inside."""
    found = 0
    for folder in ("tmp", "dev/shm"):
        try:
            seen = os.statvfs(f"/proc/{pid}/root/{folder}")
        except OSError:
            continue
        found += seen.f_files - seen.f_ffree
    return found


def _messages(text: bytes) -> Iterator[dict[str, object]]:
    for line in text.splitlines():
        with suppress(ValueError, RecursionError):
            message = json.loads(line)
            if isinstance(message, dict):
                yield message
