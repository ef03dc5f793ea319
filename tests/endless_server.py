"""A real local server whose answers are far too long or slow; it counts what it got rid of."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.judge_server import served

MIB = 1 << 20
N_MIB = 64
DRIP_S, N_DRIPS = 0.02, 500
"""Seconds between two bytes of a drip, and how many there are: 10 seconds in all."""


class EndlessServer(ThreadingHTTPServer):
    """Answers every request alike.

    Attributes:
        url: the base URL, with /v1.
        status: of every answer.
        coding: "" for 64 MiB as they are; "gzip" or "deflate" for as much, packed to 64 KiB; "tail"
            for a short answer in gzip with 64 MiB behind its end; "slow" for 64 MiB in half a
            minute; "drip" for a byte now and then, "drip header" for one of a header.
        n_sent: bytes that the clients took.
        n_requests: how many came.
    """

    daemon_threads = True

    def __init__(self, coding: str = "", status: int = 200) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.coding, self.status = coding, status
        self.n_sent = self.n_requests = 0

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what is wanted."""


class _Handler(BaseHTTPRequestHandler):
    server: EndlessServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self._answer()

    def _answer(self) -> None:
        server = self.server
        server.n_requests += 1
        self.close_connection = True
        self.send_response(server.status)
        self.send_header("content-type", "application/json")
        if server.coding == "drip header":
            self.flush_headers()
            self.wfile.write(b"x-slow: ")
        elif server.coding in ("gzip", "deflate", "tail"):
            name = "gzip" if server.coding == "tail" else server.coding
            self.send_header("content-encoding", name)
        if server.coding != "drip header":
            self.end_headers()
        for piece in _pieces(server.coding):
            self.wfile.write(piece)
            server.n_sent += len(piece)

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


def _pieces(coding: str) -> Iterator[bytes]:
    if coding == "tail":
        packer = zlib.compressobj(wbits=31)
        yield packer.compress(json.dumps({"data": []}).encode()) + packer.flush()
        yield from (b"x" * MIB for _ in range(N_MIB))
        return
    if coding.startswith("drip"):
        for _ in range(N_DRIPS):
            time.sleep(DRIP_S)
            yield b"x"
        return
    plain = (b'{"text": "' if i == 0 else b"x" * MIB for i in range(N_MIB + 1))
    if coding in ("", "slow"):
        for piece in plain:
            time.sleep(0.5 if coding else 0)
            yield piece
        return
    packer = zlib.compressobj(9, wbits=31 if coding == "gzip" else 15)
    yield b"".join(map(packer.compress, plain)) + packer.flush()


def endless_server(coding: str = "", status: int = 200) -> AbstractContextManager[EndlessServer]:
    return served(EndlessServer(coding, status))
