"""Try to get out of the sandbox: the program that the proof runs in it.

It reads from standard input what there is to find outside, and prints the attempts that succeeded,
each as the words that follow "it could". See `proof`.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

_NEW_USER, _TRACE_ME, _VSOCK = 0x1000_0000, 0, 40


def reads_file(outside: dict[str, Any]) -> bool:
    """Read a file of this program's user."""
    with open(outside["file"]) as file:
        return outside["secret"] in file.read()


def lists_home(outside: dict[str, Any]) -> bool:
    """List the home folder. What the sandbox itself put there is a folder of Python's, no file."""
    return any(
        os.path.isfile(os.path.join(outside["home"], each)) for each in os.listdir(outside["home"])
    )


def writes_outside(outside: dict[str, Any]) -> bool:
    """Write into any folder but the two of the sandbox."""
    there = [
        os.path.dirname(outside["file"]),
        "/",
        "/usr/lib",
        "/dev",
        os.path.dirname(os.__file__),
    ]
    return any(_succeeds(partial(open, os.path.join(at, "written"), "w")) for at in there)


def sees_environment(outside: dict[str, Any]) -> bool:
    """Find a secret in the environment of any process that can be seen."""
    seen = [*os.environ.values()]
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{name}/environ", errors="replace") as file:
            seen.append(file.read())
    return outside["secret"] in "\n".join(seen)


def connects(outside: dict[str, Any]) -> bool:
    """Reach a server on this machine, over the network or a socket without a file."""
    places: list[tuple[int, Any]] = [
        (socket.AF_INET, ("127.0.0.1", outside["port"])),
        (socket.AF_UNIX, f"\0{outside['socket']}"),
    ]
    return any(_succeeds(partial(socket.socket(kind).connect, at)) for kind, at in places)


def reaches_the_host(outside: dict[str, Any]) -> bool:
    """Open a kind of socket that no network namespace holds."""
    return _succeeds(lambda: socket.socket(_VSOCK, socket.SOCK_STREAM))


def sees_processes(outside: dict[str, Any]) -> bool:
    """See more processes than the sandbox's own."""
    return len([each for each in os.listdir("/proc") if each.isdigit()]) > 3


def kills(outside: dict[str, Any]) -> bool:
    """Send a signal to this program. A small number may be that of a process inside."""
    return outside["pid"] > 9 and _succeeds(lambda: os.kill(outside["pid"], 0))


def takes_over(outside: dict[str, Any]) -> bool:
    """Write into the memory of the process that has no limits."""
    with open("/proc/1/mem", "r+b"):
        return True


def becomes_root(outside: dict[str, Any]) -> bool:
    """Be root, or turn into it."""
    return 0 in os.getresuid() or _succeeds(lambda: os.setuid(0))


def makes_namespaces(outside: dict[str, Any]) -> bool:
    """Make a user namespace, in which it would have rights again."""
    libc = ctypes.CDLL(None)
    return not libc.unshare(_NEW_USER) or not libc.ptrace(_TRACE_ME, 0, 0, 0)


def takes_memory(outside: dict[str, Any]) -> bool:
    """Take more memory than one process may, or some that no limit counts."""
    return _succeeds(lambda: bytearray(outside["memory"])) or _succeeds(
        lambda: os.memfd_create("memory")
    )


def forks(outside: dict[str, Any]) -> bool:
    """Start more processes than there may be."""
    children = list[int]()
    with suppress(OSError):
        while len(children) <= outside["processes"]:
            child = os.fork()
            if not child:
                signal.pause()
            children.append(child)
    for each in children:
        os.kill(each, signal.SIGKILL)
        os.waitpid(each, 0)
    return len(children) >= int(outside["processes"])


def fills_disk(outside: dict[str, Any]) -> bool:
    """Write more than its folders may hold."""
    with suppress(OSError):
        for number in range(1 + 2 * outside["disk"] // (1 << 20)):
            with open(f"/tmp/{number}", "wb") as file:
                file.write(bytes(1 << 20))
        return True
    return False


ATTEMPTS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "read a file outside": reads_file,
    "list the home folder": lists_home,
    "write outside": writes_outside,
    "see the environment": sees_environment,
    "connect to this machine": connects,
    "open a socket to the machine's host": reaches_the_host,
    "see other processes": sees_processes,
    "send this program a signal": kills,
    "take over a process without limits": takes_over,
    "become root": becomes_root,
    "make namespaces or trace processes": makes_namespaces,
    "take more memory than allowed": takes_memory,
    "start more processes than allowed": forks,
    "write more files than allowed": fills_disk,
}


def _succeeds(act: Callable[[], object]) -> bool:
    try:
        act()
    except Exception:
        return False
    return True


def succeeded(outside: dict[str, Any]) -> Iterator[str]:
    """Yield the attempts that succeeded."""
    for name, attempt in ATTEMPTS.items():
        with suppress(Exception):
            if attempt(outside):
                yield name


if __name__ == "__main__":
    print(json.dumps(list(succeeded(json.load(sys.stdin)))))
