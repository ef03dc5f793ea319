"""The Ray cluster that workers run on: one started here for this run, or one that is joined.

Ray is kept by a thread of its own. Ray takes a second or more to end, and a run that is stopped
must not wait for it; and on Linux the processes that Ray starts die with the thread that started
them, so that nothing is left whatever becomes of this process.

`wait_for_answer` waits for what a worker gives, and raises a worker's errors as if they had been
made here.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import plugin
from plugin.errors import FaultError, OptionError, VerdictError

_ANSWER_WITHIN_S = 5
_JOIN_WITHIN_S = 30
_LEAVE_WITHIN_S = 30
_LONGEST_ERROR = 500
_STORE_BYTES = 128 << 20
"""Room for what is sent; prompts and completions are small."""

_QUIET_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # what its log would say on the user's terminal
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",  # which takes a polite kill for a crash
}
"""Read from the environment when ray is imported."""

_NO_LOG = {"log_to_driver": False, "logging_level": logging.ERROR}

_JOIN_SCRIPT = """
import logging, sys, ray
try:
    ray.init(sys.argv[1], log_to_driver=False, logging_level=logging.ERROR)
except Exception as error:
    while error.__cause__ is not None:
        error = error.__cause__
    sys.exit(f"finetune-verdict: {error}")
"""
"""Joins and leaves: Ray itself tries for minutes to reach what does not answer."""

_one_at_a_time = threading.Lock()
"""A process belongs to one cluster at most; held until that is left."""


class Cluster:
    """A Ray cluster that this process belongs to, until it leaves."""

    def __init__(self, address: str, n_cpus: int) -> None:
        """Start a cluster, or join one.

        Args:
            address: of the cluster; "" starts one on this machine's loopback address.
            n_cpus: places for workers on a cluster that is started.

        Raises:
            OptionError: when no cluster can be joined under the address.
            FaultError: when Ray cannot be started.
        """
        if not _one_at_a_time.acquire(timeout=_LEAVE_WITHIN_S):
            raise FaultError("Ray is still busy with an earlier cluster; start the run again")
        self._address = address
        self._joined, self._leaving, self._left = (threading.Event() for _ in range(3))
        self._error: Exception | None = None
        # Ray puts sockets there, whose paths may have 103 characters: too few for some TMPDIR.
        self._folder = Path(tempfile.mkdtemp(prefix=f"fv-ray-{os.getpid()}-", dir="/tmp"))
        try:
            options = self._options(n_cpus)
            import ray
        except BaseException:
            self._clear()
            raise
        threading.Thread(target=self._keep, args=(ray, options), name="ray").start()
        self._joined.wait()
        if self._error is not None:
            raise self._refusal(self._error) from self._error

    @property
    def n_gpus(self) -> float:
        """Return the number of GPUs in all."""
        import ray

        return float(ray.cluster_resources().get("GPU", 0))

    @property
    def n_machines(self) -> int:
        """Return the number of machines that are there."""
        import ray

        return sum(node["Alive"] for node in ray.nodes())

    def leave(self) -> None:
        """Leave the cluster, and end it when it was started here; returns before that is done."""
        self._leaving.set()

    def wait_until_left(self) -> None:
        """Wait until all processes that were started are gone, and the files too."""
        self._left.wait(_LEAVE_WITHIN_S)

    def _options(self, n_cpus: int) -> dict[str, Any]:
        code = self._folder / "code"
        shutil.copytree(
            Path(plugin.__file__).parent,
            code / "plugin",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        # With a folder of their own, workers import nothing from where the user happens to be.
        options: dict[str, Any] = {**_NO_LOG, "runtime_env": {"working_dir": str(code)}}
        os.environ |= _QUIET_ENVIRONMENT
        if self._address:
            _try_to_join(self._address)
            return options | {"address": self._address}
        # Read then, too: keeps all its ports on the loopback address.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        # Other users of this machine reach that, too. Ray would keep a token in the home folder; it
        # reads one once, so that a second cluster of this process has the same.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        return options | {
            "address": "local",
            "num_cpus": n_cpus,
            "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
            "_temp_dir": str(self._folder),
        }

    def _keep(self, ray: Any, options: dict[str, Any]) -> None:
        """Start Ray, wait, and end it: the thread that has all of Ray's life in this process."""
        try:
            try:
                ray.init(**options)
            except Exception as error:  # the one door to ray.init, which raises whatever it meets
                self._error = error
            self._joined.set()
            while self._error is None and not self._leaving.wait(timeout=1):
                if not threading.main_thread().is_alive():
                    break
            # First, since a process in a hurry may be gone before Ray has ended.
            shutil.rmtree(self._folder, ignore_errors=True)
            ray.shutdown()
        finally:
            self._clear()

    def _clear(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._left.set()
        _one_at_a_time.release()

    def _refusal(self, error: Exception) -> OptionError | FaultError:
        if self._address:
            return _join_error(self._address, brief_error(str(error)))
        return FaultError(f"Ray cannot be started on this machine: {brief_error(str(error))}")


def _try_to_join(address: str) -> None:
    """Join and leave in another process, which can be ended.

    Raises:
        OptionError: when that does not work.
    """
    if "://" in address:
        raise OptionError(
            f"--ray_address {address}: give the cluster's own address, such as 10.0.0.1:6379, on "
            "one of its machines; Ray's client protocol is not spoken here"
        )
    host, _, port = address.rpartition(":")
    if port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=_ANSWER_WITHIN_S).close()
        except OSError as error:
            raise _join_error(address, str(error)) from error
    command = [sys.executable, "-c", _JOIN_SCRIPT, address]
    try:
        trial = subprocess.run(
            command, capture_output=True, text=True, timeout=_JOIN_WITHIN_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _join_error(address, f"no answer within {_JOIN_WITHIN_S} seconds") from error
    if trial.returncode:
        said = trial.stderr.rpartition("finetune-verdict: ")[2]
        raise _join_error(address, brief_error(said) or "Ray gave no reason")


def _join_error(address: str, reason: str) -> OptionError:
    return OptionError(
        f"--ray_address {address}: this cluster cannot be joined ({reason}). It must be running "
        "(ray start --head), with the same versions of ray and Python as here, and this machine "
        "must be one of its own (ray start --address=...); where it asks for a token, set "
        "RAY_AUTH_MODE=token. Or leave --ray_address out"
    )


class WorkerLostError(Exception):
    """The worker's process is gone."""


def is_ready_answer(answer: Any) -> bool:
    """Return whether the answer, or a stream's next one, has come."""
    import ray

    return bool(ray.wait([answer], timeout=0)[0])


def wait_for_answer(answer: Any) -> Any:
    """Wait for an answer and return it.

    Raises:
        VerdictError: which the worker raised; a FaultError for what it should not have raised.
        WorkerLostError: when the worker is gone.
    """
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        return ray.get(answer)
    except RayTaskError as error:
        if isinstance(error.cause, VerdictError):
            raise error.cause from None
        kind, said = type(error.cause or error).__name__, brief_error(str(error.cause or error))
        raise FaultError(f"a worker failed: {kind}: {said}") from error
    except RayError as error:
        raise WorkerLostError(brief_error(str(error))) from error


def brief_error(text: str) -> str:
    """Return Ray's many lines as one: what stands before a traceback, and its last line."""
    before, traceback, inside = text.partition("Traceback (most recent call last):")
    end = inside.strip().splitlines()[-1:] if traceback else []
    return " ".join(" ".join((*before.splitlines(), *end)).split())[:_LONGEST_ERROR]
