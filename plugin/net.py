"""What servers send: JSON of any shape, errors in their own words, and how long to wait.

Keys and addresses: checked before use, and masked in whatever a server sends back.

How many calls to a server are under way: more while it keeps up, fewer when it does not.

Additive increase, multiplicative decrease (Chiu and Jain 1989), as in TCP's congestion control: one
more call at once for every round that went well; half as many when the server says that it is too
much; a tenth fewer when answers take twice as long as they did at best.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus, unquote, urlsplit

from plugin.errors import UserError

Client = TypeVar("Client")


def get_path(value: Any, *path: str | int) -> Any:
    """What lies at a path in parsed JSON that may have any shape; None where nothing does."""
    for step in path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            value = value[step] if isinstance(value, list) and len(value) > step else None
    return value


def text_at(value: Any) -> str:
    """A text from parsed JSON, "" where it is none."""
    return value if isinstance(value, str) else ""


def count_at(value: Any) -> int:
    """A count of tokens, 0 where the server sends none that could be one."""
    return value if isinstance(value, int) and 0 <= value < 2**31 else 0


def decode_json(body: bytes) -> Any:
    """What a body holds: parsed JSON, else its text."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")


def error_message(body: Any) -> str:
    """What a server says of an error, in one line; "" where it says nothing."""
    inner = get_path(body, "error") or body
    about = get_path(inner, "message") or inner
    text = about if isinstance(about, str) else json.dumps(about, ensure_ascii=False)
    return " ".join(text.split())


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """How long the server asks to wait: a number of seconds, or until a date."""
    asked = headers.get("retry-after", "")
    try:
        return max(0.0, float(asked))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(asked)
    except (ValueError, OverflowError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def make_client(who: str, make: Callable[[], Client], error_kind: type[UserError]) -> Client:
    """A client, made.

    Args:
        who: whose it is, as a message begins.
        make: makes it.
        error_kind: of the error.

    Raises:
        UserError: for an address or a setting of the environment that it cannot work with.
    """
    try:
        return make()
    except Exception as error:  # bad proxies and certificates: every library has its own types
        kind = type(error).__name__
    raise error_kind(
        f"{who}: its client cannot start ({kind}); check its address, and HTTP_PROXY, "
        "HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE in the environment"
    )


_SHORTEST_PIECE = 12
"""Characters; a shorter piece of base64 may well stand in a text by chance."""


def check_key(key: str, name: str, error_kind: type[UserError]) -> str:
    """The key, if a header can carry it.

    Raises:
        UserError: of the kind given, naming the secret, never its value.
    """
    if not key.isascii() or not key.isprintable() or " " in key:
        raise error_kind(
            f"{name} is no key: it holds spaces or characters that no header can carry"
        )
    return key


def check_url(url: str, name: str, error_kind: type[UserError]) -> str:
    """The address, if it is one of a web server.

    Raises:
        UserError: of the kind given, naming where the address stands and its value, without what
            may be a password.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an unclosed bracket, a port that is no number
        usable = False
    if not usable or not url.isprintable() or " " in url:
        shown = re.sub(r"//.*@", "//[key]@", url)
        raise error_kind(f"{name} {shown!r} is no http or https address")
    return url


class SecretMask:
    """Replaces secrets in texts by "[key]": raw, URL-quoted, in JSON and in base64."""

    def __init__(self, key: str = "", url: str = "") -> None:
        """Take what must not be seen: a key, and the user and password of an address."""
        user, at, _ = urlsplit(url).netloc.rpartition("@")
        secrets = {key, unquote(user.partition(":")[2])} | ({user, unquote(user)} if at else set())
        spellings = {s for secret in secrets - {""} for s in _spellings(secret)}
        self._spellings = sorted(spellings, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text without secrets, and without what UTF-8 cannot hold."""
        for spelling in self._spellings:
            text = text.replace(spelling, "[key]")
        return text.encode("utf-8", "replace").decode("utf-8")


def _spellings(secret: str) -> Iterator[str]:
    quoted = {quote(secret, safe=""), quote(secret), quote_plus(secret)}
    yield from (secret, json.dumps(secret)[1:-1], *quoted)
    yield from (re.sub("%..", lambda code: code[0].lower(), text) for text in quoted)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(secret.encode()).decode()
        yield from _pieces(secret.encode(), encode)


def _pieces(secret: bytes, encode: Callable[[bytes], bytes]) -> Iterator[str]:
    """How the secret looks inside of something longer that was encoded: three ways to fall."""
    for n_before in range(3):
        text = encode(bytes(n_before) + secret).decode()
        # A character of base64 holds six bits; those at the ends also depend on the neighbours.
        piece = text[-(-8 * n_before // 6) : 8 * (n_before + len(secret)) // 6]
        if len(piece) >= _SHORTEST_PIECE:
            yield piece


_GROWS_TO = 4
"""Times the number that it starts with."""

_SLOW = 2.0
_SMOOTHING = 0.1


class ConcurrencyLimit:
    """Lets so many calls in at once, as an async context for each.

    Attributes:
        limit: calls at once now; whole calls, the fraction counts towards the next.
        most: calls at once, at most.
    """

    def __init__(self, start: int, *, adaptive: bool, most: int | None = None) -> None:
        """Begin with so many.

        Args:
            start: calls at once, 1 or more.
            adaptive: whether the number follows the server; else it stays.
            most: calls at once, at most; four times `start` by default.
        """
        self.limit = float(start)
        self.most = (most or start * _GROWS_TO) if adaptive else start
        self._adaptive = adaptive
        self._n_in = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._mean_s = 0.0
        self._best_s = float("inf")
        self._n_until_cut = 0

    async def __aenter__(self) -> None:
        """Wait for a place."""
        if self._n_in < int(self.limit) and not self._waiting:
            self._n_in += 1
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():  # it was given and is not wanted any more
                self._leave()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the place to the next."""
        self._leave()

    def went_well(self, seconds: float | None) -> None:
        """A call was answered in so many seconds; None where they say nothing of the server."""
        if not self._adaptive:
            return
        self._n_until_cut -= 1
        if seconds is None:
            self._grow()
            return
        first = not self._mean_s
        self._mean_s = seconds if first else self._mean_s + _SMOOTHING * (seconds - self._mean_s)
        self._best_s = min(self._best_s, self._mean_s)
        if self._mean_s > _SLOW * self._best_s:
            self._shrink(0.9)
        else:
            self._grow()

    def was_too_much(self) -> None:
        """The server refused a call because there were too many."""
        self._n_until_cut -= 1
        if self._adaptive:
            self._shrink(0.5)

    def _grow(self) -> None:
        self.limit = min(float(self.most), self.limit + 1 / self.limit)
        self._let_in()

    def _shrink(self, factor: float) -> None:
        # Calls that were under way at the last cut say nothing about the number since.
        if self._n_until_cut <= 0:
            self._n_until_cut = int(self.limit)
            self.limit = max(1.0, self.limit * factor)

    def _leave(self) -> None:
        self._n_in -= 1
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._n_in < int(self.limit):
            place = self._waiting.popleft()
            if not place.cancelled():
                self._n_in += 1
                place.set_result(None)
