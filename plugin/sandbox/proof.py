"""Prove on this machine, once per process, that the sandbox holds: what tries to get out fails.

Nothing that a model wrote runs before that.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from plugin.errors import OptionError
from plugin.sandbox.bubblewrap import Limits, SandboxError, end_orphans, find_bwrap
from plugin.sandbox.run import run_once
from plugin.sandbox.seccomp import MACHINES, machine
from plugin.sandbox.watch import Ended

_LIMITS = Limits(seconds=5, memory=256 << 20, disk=4 << 20, n_processes=24, output=1 << 20)

_TOGETHER = """
import os, time
for _ in range(4):
    if not os.fork():
        kept = b"x" * (100 << 20)
        time.sleep(60)
time.sleep(60)
"""
"""Less memory than each process may have, and more than all together may."""

_CANARY = "FINETUNE_VERDICT_SANDBOX_PROOF"
_PRINTS = "while True: print('x' * 1000)"

_ELSEWHERE = (
    "Or leave Code Tests out; scores of code that was tested elsewhere are compared with "
    "compare --scored"
)


def require_sandbox() -> None:
    """Make sure that code may run here.

    Raises:
        OptionError: with the reason why it may not, and the way out.
    """
    if problem := problem_here():
        raise OptionError(
            "--predefined_tasks Code Tests runs code that a model wrote, and only in a sandbox "
            f"that holds on this machine: {problem}. {_ELSEWHERE}"
        )


@cache
def problem_here() -> str:
    """Return why no code may run on this machine, and what helps; "" if it may."""
    if sys.platform != "linux":
        return (
            f"there is none for {sys.platform}, only for Linux. Run the evaluation in a Linux "
            "container or virtual machine"
        )
    if find_bwrap() is None:
        return (
            "bubblewrap is not installed. Install it with apt-get install bubblewrap, or dnf "
            "install bubblewrap"
        )
    if machine() is None:
        return f"it is made for the processors {' and '.join(MACHINES)} only"
    end_orphans()
    try:
        holes = list(_holes())
    except SandboxError as error:
        return (
            f"{error}. In a container, allow user namespaces (for Docker --privileged, or a "
            "seccomp profile that allows them); on Ubuntu 24.04, allow them for bwrap in AppArmor"
        )
    return f"code in it could {', '.join(holes)}" if holes else ""


def _holes() -> Iterator[str]:
    """Yield what code in the sandbox could do and must not.

    Raises:
        SandboxError: when nothing can run in it.
    """
    attempts = Path(__file__).with_name("attempts.py").read_text("utf-8")
    with _outside() as outside:
        os.environ[_CANARY] = outside["secret"]
        try:
            ended = _run(attempts, json.dumps(outside))
        finally:
            del os.environ[_CANARY]
        try:
            yield from json.loads(ended.output)
        except ValueError:
            told = (ended.message("failed") or {}).get("error") or ended.cut or ended.status
            yield f"end the attempts to get out ({told})"
        if os.listdir(Path(outside["file"]).parent) != ["secret"]:
            yield "write outside"
    if _run(_TOGETHER).cut != "memory":
        yield "take more memory than allowed, in several processes"
    if _run(_PRINTS).cut != "output":
        yield "print without end"


def _run(code: str, given: str = "") -> Ended:
    """Run a program of ours in the sandbox, as that of a model would be."""
    job = {"answer": code, "runs": True, "look": []}
    return run_once(job, {}, given.encode(), _LIMITS, threading.Event())


@contextmanager
def _outside() -> Iterator[dict[str, Any]]:
    """Make things that nothing inside may find, and yield where they are."""
    folder = Path(tempfile.mkdtemp(prefix="sandbox-proof-"))
    secret, name = secrets.token_hex(16), secrets.token_hex(8)
    (folder / "secret").write_text(secret)
    folder.chmod(0o755)  # nobody may read it, so only the sandbox keeps code from it
    try:
        with socket.socket() as server, socket.socket(socket.AF_UNIX) as unnamed:
            server.bind(("127.0.0.1", 0))
            unnamed.bind(f"\0{name}")
            server.listen()
            unnamed.listen()
            yield {
                "file": str(folder / "secret"),
                "secret": secret,
                "home": str(Path.home()),
                "port": server.getsockname()[1],
                "socket": name,
                "pid": os.getpid(),
                "memory": _LIMITS.memory,
                "processes": _LIMITS.n_processes,
                "disk": _LIMITS.disk,
            }
    finally:
        shutil.rmtree(folder)
