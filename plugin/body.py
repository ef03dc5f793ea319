"""Read an answer's body up to a limit, whatever a server sends.

`bound_body` is an event hook of the client httpx, also of the one inside a provider's own client.
What is packed is unpacked here, a little at a time, so that its size is known before it is there.
"""

from __future__ import annotations

import sys
import zlib
from typing import Any

from plugin.errors import CallError

_MAX_BODY_BYTES = 1 << 23
_MAX_ERROR_BYTES = 1 << 16
_ANY_HEADER = zlib.MAX_WBITS | 32  # that of gzip or of zlib
_CODINGS = ("", "identity", "gzip", "x-gzip", "deflate")
"""Codings of an answer that are read, as its header content-encoding names them."""


class BoundedBody:
    """Collect an answer's body piece by piece, unpack it, and stop at the limit.

    Attributes:
        is_whole: whether nothing was left out.
    """

    def __init__(self, coding: str = "", n_most: int = _MAX_BODY_BYTES) -> None:
        """Begin with an empty body.

        Args:
            coding: the header content-encoding; "" for none.
            n_most: the limit in bytes, both as they come and unpacked.

        Raises:
            CallError: when such a coding is not read.
        """
        coding = coding.strip().lower()
        if coding not in _CODINGS:
            raise CallError(
                "the answer is packed in a way that is not read; only gzip and deflate are"
            )
        self.is_whole = True
        self._is_packed = coding in _CODINGS[2:]
        self._unpacker = zlib.decompressobj(_ANY_HEADER)
        self._content = bytearray()
        self._n_received = 0
        self._n_most = n_most

    def add(self, piece: bytes) -> bool:
        """Add a piece as it came; return whether more may follow.

        Raises:
            CallError: when it cannot be unpacked.
        """
        self._n_received += len(piece)  # what is packed may be longer than what comes out of it
        room = self._n_most - len(self._content)
        if self._is_packed and piece:
            piece = self._unpack(piece, room + 1)
        self.is_whole = len(piece) <= room and self._n_received <= self._n_most
        self._content += piece[:room]
        return self.is_whole

    def _unpack(self, piece: bytes, n_most: int) -> bytes:
        try:
            return self._unpacker.decompress(piece, n_most)
        except zlib.error:
            if self._content:
                raise CallError("unreadable answer: it cannot be unpacked", retry=True) from None
        self._unpacker = zlib.decompressobj(-zlib.MAX_WBITS)  # deflate without a header
        try:
            return self._unpacker.decompress(piece, n_most)
        except zlib.error:
            raise CallError("unreadable answer: it cannot be unpacked", retry=True) from None

    def put_into(self, response: Any) -> None:
        """Make this the body of a response of httpx, or of the copy that a provider's client has.

        Raises:
            CallError: when a good answer is too long; of one about an error the beginning is kept.
        """
        if not self.is_whole and _is_good(response):
            raise CallError(
                f"the answer is longer than {self._n_most} bytes, the most that is read"
            )
        for name in ("content-encoding", "content-length"):
            response.headers.pop(name, None)
        library = sys.modules[type(response).__module__.partition(".")[0]]
        response.stream = library.ByteStream(bytes(self._content))


def _is_good(response: Any) -> bool:
    return bool(200 <= response.status_code < 300)


def _begin_body(response: Any) -> BoundedBody:
    n_most = _MAX_BODY_BYTES if _is_good(response) else _MAX_ERROR_BYTES
    return BoundedBody(response.headers.get("content-encoding", ""), n_most)


async def bound_body(response: Any) -> None:
    """Read an answer's body up to a limit: an event hook of `httpx.AsyncClient`.

    The rest is not read: the connection is closed, so memory stays small whatever the server sends.

    Raises:
        CallError: when a good answer is too long, or cannot be unpacked.
    """
    stream = response.stream
    try:
        body = _begin_body(response)
        async for piece in stream:
            if not body.add(piece):
                break
    finally:
        await stream.aclose()
    body.put_into(response)
