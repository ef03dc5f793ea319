"""Run the tests' judge server in a separate process, like a real judge."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

from tests.judge_server import judge_server

LATENCY_S = 0.2


@dataclass
class Served:
    """A running server."""

    url: str
    pipe: Connection

    def counts(self) -> tuple[int, int]:
        """Return the numbers of calls and opened connections so far."""
        self.pipe.send("count")
        n_calls, n_connections = self.pipe.recv()
        return n_calls, n_connections


def _serve(pipe: Connection, latency_s: float) -> None:
    with judge_server() as server:
        server.latency_s = latency_s
        pipe.send(server.url)
        while pipe.recv() == "count":
            pipe.send((len(server.requests), server.n_connections))


@contextmanager
def served(latency_s: float = LATENCY_S) -> Iterator[Served]:
    """Start a server with this latency per answer; it shares the machine's cores with us."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=[theirs, latency_s])
    process.start()
    try:
        yield Served(ours.recv(), ours)
    finally:
        ours.send("stop")
        process.join()
