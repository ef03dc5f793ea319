"""Start a Ray cluster for the workers of this run, or join a running one.

A separate thread starts and stops Ray, for two reasons. Ray takes a second or more to shut down,
and a stopped run must not wait for it. And on Linux, the processes that Ray starts end together
with the thread that started them, so nothing is left behind even if this process crashes.

`wait_for_answer` waits for a worker's result and re-raises the worker's errors here.
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
"""Size of Ray's object store; prompts and completions are small."""

_QUIET_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # keeps Ray's log off the user's terminal
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",  # it reports a SIGTERM as a crash
}
"""Environment variables that ray reads when it is imported."""

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
"""Joins the cluster and leaves it. Run in a process that we can kill, because Ray tries for minutes
to reach an address that does not answer."""

_one_at_a_time = threading.Lock()
"""A process can be in only one cluster at a time; held until it has left."""


class Cluster:
    """Hold this process's membership in a Ray cluster."""

    def __init__(self, address: str, n_cpus: int) -> None:
        """Start a cluster, or join one.

        Args:
            address: the cluster's address; "" starts one on this machine's loopback address.
            n_cpus: number of workers that a new cluster has room for.

        Raises:
            OptionError: when the cluster at the address cannot be joined.
            FaultError: when Ray cannot be started.
        """
        if not _one_at_a_time.acquire(timeout=_LEAVE_WITHIN_S):
            raise FaultError("Ray is still busy with an earlier cluster; start the run again")
        self._address = address
        self._joined, self._leaving, self._left = (threading.Event() for _ in range(3))
        self._error: Exception | None = None
        # Not in TMPDIR, which may be long: Ray's socket paths have at most 103 characters.
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
        """Return the number of GPUs in the cluster."""
        import ray

        return float(ray.cluster_resources().get("GPU", 0))

    @property
    def n_machines(self) -> int:
        """Return the number of machines that are alive."""
        import ray

        return sum(node["Alive"] for node in ray.nodes())

    def leave(self) -> None:
        """Begin to leave the cluster, and to stop it if it was started here; do not wait."""
        self._leaving.set()

    def wait_until_left(self) -> None:
        """Wait until all processes and files of the cluster are gone."""
        self._left.wait(_LEAVE_WITHIN_S)

    def _options(self, n_cpus: int) -> dict[str, Any]:
        code = self._folder / "code"
        shutil.copytree(
            Path(plugin.__file__).parent,
            code / "plugin",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        # In their own folder, workers cannot import files from the user's working directory.
        options: dict[str, Any] = {**_NO_LOG, "runtime_env": {"working_dir": str(code)}}
        os.environ |= _QUIET_ENVIRONMENT
        if self._address:
            _try_to_join(self._address)
            return options | {"address": self._address}
        # Also read at import: keeps all ports on the loopback address.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        # A token, because other users of this machine can reach the loopback address. By default
        # Ray would store one in the home folder. Ray reads the token only once, so a second
        # cluster of this process must use the same one.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        return options | {
            "address": "local",
            "num_cpus": n_cpus,
            "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
            "_temp_dir": str(self._folder),
        }

    def _keep(self, ray: Any, options: dict[str, Any]) -> None:
        """Start Ray, wait until `leave` is called, and stop Ray; this is the thread's function."""
        try:
            try:
                ray.init(**options)
            except Exception as error:  # ray.init can raise anything; this is its only caller
                self._error = error
            self._joined.set()
            while self._error is None and not self._leaving.wait(timeout=1):
                if not threading.main_thread().is_alive():
                    break
            # Before shutdown: this process may exit before Ray has stopped.
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
    """Try to join the cluster in another process, which can be killed.

    Raises:
        OptionError: when joining fails.
    """
    if "://" in address:
        raise OptionError(
            f"--ray_address {address}: Ray's client protocol (ray://) is not supported. Run on one "
            "of the cluster's machines and give the cluster's own address, such as 10.0.0.1:6379"
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
        f"--ray_address {address}: cannot join this cluster ({reason}). It must be running (ray "
        "start --head) with the same versions of ray and Python as here, and this machine must "
        "belong to it (ray start --address=...). If it needs a token, set RAY_AUTH_MODE=token. Or "
        "leave --ray_address out"
    )


class WorkerLostError(Exception):
    """Raised when a worker's process has ended unexpectedly."""


def is_ready_answer(answer: Any) -> bool:
    """Return whether the answer (or the next one of a stream) has arrived."""
    import ray

    return bool(ray.wait([answer], timeout=0)[0])


def wait_for_answer(answer: Any) -> Any:
    """Wait for an answer and return it.

    Raises:
        VerdictError: the worker's own error; a FaultError for any unexpected exception there.
        WorkerLostError: when the worker's process is gone.
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
    """Shorten Ray's message to one line: the text before a traceback, and the last line."""
    before, traceback, inside = text.partition("Traceback (most recent call last):")
    end = inside.strip().splitlines()[-1:] if traceback else []
    return " ".join(" ".join((*before.splitlines(), *end)).split())[:_LONGEST_ERROR]
