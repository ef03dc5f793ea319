"""Build a sandbox around one Python process with bubblewrap (`bwrap`).

Inside are namespaces of its own (user, processes, network, IPC, host name, control groups), system
libraries and Python's standard library to read, two small folders in memory to write, and nothing
else: no home, no environment, no program to start but Python. The user inside is nobody.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from plugin.sandbox.seccomp import filter_for, machine

NOBODY = 65534
"""The user inside; where this program runs as root, also the user that the kernel sees."""


class SandboxError(Exception):
    """Say that the sandbox broke, which says nothing about the code in it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use.

    Attributes:
        seconds: of computing time in one process; on the clock it may take half as long again.
        memory: bytes, in one process and in all together.
        disk: bytes in /tmp, and in one file.
        n_files: files in /tmp.
        n_processes: processes and threads.
        output: bytes that it may print.
    """

    seconds: float = 10.0
    memory: int = 1 << 30
    disk: int = 64 << 20
    n_files: int = 10_000
    n_processes: int = 64
    output: int = 4 << 20

    @property
    def wall_s(self) -> float:
        """Return the seconds from its start after which a run is ended, whatever it does."""
        return self.seconds * 1.5


_SYSTEM = ("/usr/lib", "/usr/lib64", "/lib", "/lib64")
_SHOWN = ("/usr/share/zoneinfo", "/etc/ld.so.cache")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
_SHARED_MEMORY = 16 << 20
_PYTHON = ("-s", "-P", "-S", "-B", "-X", "utf8")
"""No packages, no folder of the caller on the path, no bytecode written."""


def find_bwrap() -> str | None:
    """Return the path of bubblewrap; None if it is not installed."""
    return shutil.which("bwrap")


@cache
def _view() -> tuple[str, ...]:
    """Return the words that lay out the file system inside."""
    python = os.path.realpath(sys.executable)
    words, bound = list[str](), list[str]()
    for folder in _SYSTEM:
        if os.path.islink(folder):
            words += ["--symlink", os.readlink(folder), folder]
        else:
            bound.append(folder)
    base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}  # not a venv's
    libraries = [Path(sysconfig.get_path(name, vars=base)) for name in ("stdlib", "platstdlib")]
    libraries += Path(sys.base_prefix, "lib").glob("libpython*.so*")
    own = {os.path.realpath(path) for path in libraries}
    own |= {"/nix/store"} if python.startswith("/nix/store/") else set()
    bound += [path for path in (*sorted(own), *_SHOWN) if not path.startswith("/usr/lib/")]
    bound = [path for path in (*bound, python) if os.path.exists(path)]
    for folder in _folders((*bound, *_DEVICES, "/dev/shm")):
        words += ["--dir", folder]
    for path in bound:
        words += ["--ro-bind", path, path]
    for device in _DEVICES:
        words += ["--dev-bind", device, device]
    return tuple(words)


def _folders(paths: Iterable[str]) -> list[str]:
    """Return the folders above these paths; bubblewrap's own would be closed to nobody."""
    return sorted({str(folder) for path in paths for folder in Path(path).parents} - {"/"})


@cache
def _processes(bwrap: str) -> tuple[str, ...]:
    """Return the words for /proc inside: its own processes, or nothing.

    In the sandbox of another program, as Transformer Lab puts jobs into, the kernel lets nobody
    mount it. Python does without.
    """
    mounted = ("--proc", "/proc")
    tried = [bwrap, "--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", *mounted, "true"]
    try:
        done = subprocess.run(tried, capture_output=True, timeout=_GONE_WITHIN_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return mounted  # bubblewrap will say what is wrong
    if done.returncode and b"proc" in done.stderr:
        return ("--dir", "/proc")
    # The first process is bubblewrap's own, without limits and filter: it cannot be reached.
    return (*mounted, "--size", "4096", "--tmpfs", "/proc/1")


def _words(bwrap: str, limits: Limits, fds: dict[str, int], is_root: bool) -> list[str]:
    """Return the command line."""
    spaces = [f"--unshare-{each}" for each in "user ipc pid net uts cgroup".split()]
    # The kernel sees root as itself in a user namespace, and limits it in nothing. So this program
    # maps a second user, and the process inside turns into it (see `inside`).
    rights = (
        ["--userns-block-fd", str(fds["mapped"]), "--cap-add", "CAP_SETUID"]
        + ["--cap-add", "CAP_SETGID"]
        if is_root
        else ["--uid", str(NOBODY), "--gid", str(NOBODY)]
    )
    return [
        *(bwrap, *spaces, *rights, "--info-fd", str(fds["info"]), "--seccomp", str(fds["filter"])),
        *("--die-with-parent", "--new-session", "--hostname", "sandbox", "--clearenv"),
        *("--setenv", "HOME", "/tmp", "--setenv", "LANG", "C.UTF-8"),
        *("--setenv", "PYTHONHASHSEED", "0", "--setenv", "TMPDIR", "/tmp"),
        *("--setenv", "MALLOC_ARENA_MAX", "2"),  # or each thread would reserve 64 MB of addresses
        *(*_view(), *_processes(bwrap)),
        *("--perms", "1777", "--size", str(limits.disk), "--tmpfs", "/tmp"),
        *("--perms", "1777", "--size", str(_SHARED_MEMORY), "--tmpfs", "/dev/shm"),
        *("--remount-ro", "/", "--chdir", "/tmp"),
        *(os.path.realpath(sys.executable), *_PYTHON, "-c", _BOOT),
        *(str(fds["job"]), str(fds["result"])),
    ]


_BOOT = """\
import marshal, os, sys
def take(fd, n):
    read = b""
    while len(read) < n:
        read += os.read(fd, n - len(read)) or sys.exit(3)
    return read
def frame(fd):
    return take(fd, int.from_bytes(take(fd, 4), "big"))
job, result = map(int, sys.argv[1:])
code = marshal.loads(frame(job))
sys.argv = [""]
boot = {"frame": frame, "job": job, "result": result}
exec(code, {"__name__": "inside", "BOOT": boot})
"""
"""Reads the program that runs inside, compiled, from a pipe: compiling it again takes longer."""


class Box:
    """A sandbox that was started. Its pipes are this program's ends of them.

    Attributes:
        process: bubblewrap, outside of the sandbox.
        first_pid: the first process inside, as this program sees it; None if none was started.
        job: to write the job into.
        result: to read messages of the program inside from.
    """

    def __init__(self, limits: Limits, prints: bool) -> None:
        """Start it.

        Args:
            limits: what it may use.
            prints: whether standard input and output are pipes; else they lead to nothing.

        Raises:
            OSError: when bubblewrap is not there, or no process can be started.
        """
        bwrap, here = find_bwrap(), machine()
        if bwrap is None or here is None:
            raise FileNotFoundError("bwrap is not installed, or not for this processor")
        is_root = os.geteuid() == 0
        theirs, ours = dict[str, int](), dict[str, int]()
        try:
            for name, is_read_inside in _PIPES.items():
                reader, writer = os.pipe()
                theirs[name] = reader if is_read_inside else writer
                ours[name] = writer if is_read_inside else reader
            os.write(ours["filter"], filter_for(here))
            os.close(ours.pop("filter"))
            flow = subprocess.PIPE if prints else subprocess.DEVNULL
            self.process = subprocess.Popen(
                _words(bwrap, limits, theirs, is_root),
                stdin=flow,
                stdout=flow,
                stderr=subprocess.PIPE,
                env=_ENVIRONMENT,
                pass_fds=tuple(theirs.values()),
                cwd="/",
            )
        except BaseException:
            for fd in ours.values():
                os.close(fd)
            raise
        finally:
            for fd in theirs.values():
                os.close(fd)
        self.job, self.result = ours["job"], ours["result"]
        self.first_pid = _first_pid(ours["info"])
        self._first: int | None = None
        with suppress(ProcessLookupError):
            self._first = os.pidfd_open(self.first_pid) if self.first_pid else None
        if is_root and self.first_pid:
            _map_users(self.first_pid)
        os.close(ours["info"])
        os.close(ours["mapped"])  # lets bubblewrap go on

    def end(self) -> int:
        """End everything inside, wait until it is gone, and return bubblewrap's status.

        The first process inside is killed itself: one that bubblewrap was still building would
        outlive bubblewrap.

        Raises:
            SandboxError: when it is still there after some seconds.
        """
        if self._first is None:
            self.process.kill()
            return self.process.wait()
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._first, signal.SIGKILL)
        is_gone, _, _ = select.select([self._first], [], [], _GONE_WITHIN_S)
        os.close(self._first)
        if not is_gone:
            self.process.kill()
            raise SandboxError("the processes in the sandbox could not be ended")
        try:
            status = self.process.wait(_GONE_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        # Where this program is the first process of a container, orphans are left to it.
        with suppress(ChildProcessError):
            os.waitpid(self.first_pid or 0, os.WNOHANG)
        return status


_GONE_WITHIN_S = 5.0
"""Seconds for the kernel to end everything inside."""

_ENVIRONMENT: dict[str, str] = {}
"""Of bubblewrap: nothing of this program's own, which may hold keys."""

_PIPES = {"job": True, "filter": True, "mapped": True, "result": False, "info": False}
"""The pipes of a sandbox, and whether the inside reads them."""


def end_orphans() -> None:
    """End what programs left that were killed while bubblewrap built a sandbox for them.

    Then the first process inside waits forever for bubblewrap, which is gone. No code runs in it.
    """
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if _BOOT.encode() not in folder.joinpath("cmdline").read_bytes():
                continue
            lines = folder.joinpath("status").read_text(errors="replace").splitlines()
            told = {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
            above = Path(f"/proc/{told['PPid'][0]}/comm").read_text().strip()
            if told["NSpid"][-1] == "1" and above != told["Name"][0]:
                os.kill(int(folder.name), signal.SIGKILL)
        except (OSError, LookupError):
            continue  # it has ended, or is of another user


def _first_pid(info: int) -> int | None:
    """Return the first process inside, as this program sees it; None if there is none."""
    told = b""
    while read := os.read(info, 4096):
        told += read
        if b"}" in told:
            break
    try:
        return int(json.loads(told)["child-pid"])
    except (ValueError, KeyError):
        return None


def _map_users(pid: int) -> None:
    """Let a process be root, which builds the sandbox, and nobody, which runs in it."""
    for kind in ("uid", "gid"):
        try:
            Path(f"/proc/{pid}/{kind}_map").write_text(f"0 0 1\n{NOBODY} {NOBODY} 1\n")
        except OSError:
            return  # it has ended, or may not; then the program inside says that it did not start
