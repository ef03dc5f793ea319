"""Call servers over HTTP: retry calls, and read their answers.

`retry` makes a call, and makes it again if it failed and another try may help, within a
`ConcurrencyLimit`. `read_answer` returns the JSON object of a good answer and raises a `CallError`
for any other; the table `STATUSES` says what each HTTP status means. The rest reads JSON of any
shape.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any, TypeVar

from plugin.errors import CallError, UserError
from plugin.keys import SecretMask

Client = TypeVar("Client")
Result = TypeVar("Result")

N_TRIES = 4
"""Tries of one call while the server has trouble, with waits of 0.5, 1 and 2 s between them."""

FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0


@dataclass(frozen=True, slots=True)
class RetryRules:
    """Say how often a call is tried, and how long each try may take.

    Attributes:
        n_tries_busy: the most tries while the server says that there are too many calls.
        timeout_s: seconds after which one try fails.
        time_shows_load: whether a slow answer means that the server is busy.
    """

    n_tries_busy: int = N_TRIES
    timeout_s: float = math.inf
    time_shows_load: bool = True


async def retry(
    call: Callable[[], Awaitable[Result]],
    limit: ConcurrencyLimit,
    rules: RetryRules,
    before_retry: Callable[[], None] = lambda: None,
) -> Result:
    """Return what a call returns; make it again while that may help.

    A try counts against the limit, which also learns how the try ended; waiting does not count. A
    wait is as long as the server asks, or else twice as long as the last one.

    Args:
        call: makes one try.
        limit: how many calls may run at once.
        rules: how often, and how long.
        before_retry: called before every try but the first.

    Raises:
        CallError: the one of the last try. Any other exception ends the tries at once.
    """
    n_tried, wait_s = 0, FIRST_WAIT_S
    while True:
        try:
            async with limit:
                began = time.monotonic()
                async with asyncio.timeout(rules.timeout_s):
                    result = await call()
                limit.note_success(time.monotonic() - began if rules.time_shows_load else None)
                return result
        except TimeoutError:
            reason = f"no answer within {rules.timeout_s:g} s"
            error = CallError(reason, retry=True, unreachable=True, timed_out=True)
        except CallError as failed:
            error = failed
        n_tried += 1
        if error.too_many or error.timed_out:  # with fewer calls at once, each is faster
            limit.note_overload()
        if not error.retry or n_tried >= (rules.n_tries_busy if error.too_many else N_TRIES):
            raise error
        before_retry()
        await asyncio.sleep(min(error.wait_s or wait_s, _LONGEST_WAIT_S))
        wait_s *= 2


class Meaning(Enum):
    """Name what an HTTP status other than 2xx says about a request."""

    REFUSED = "the server does not take an option, or the prompt is too long"
    KEY = "the key is missing, or it may not do this"
    UNKNOWN = "the server has no such model or address"
    TOO_MANY = "too many requests at once or per minute: wait, then send fewer"
    RETRY = "the server has trouble: the same request may succeed later"
    FINAL = "anything else: the same request would fail again"


STATUSES = {
    400: Meaning.REFUSED,
    401: Meaning.KEY,
    403: Meaning.KEY,
    404: Meaning.UNKNOWN,
    408: Meaning.RETRY,
    409: Meaning.RETRY,
    422: Meaning.REFUSED,
    429: Meaning.TOO_MANY,
    503: Meaning.TOO_MANY,
    529: Meaning.TOO_MANY,
}
"""What each status means, for judges and inference servers; see `status_meaning`."""


def status_meaning(status: int | None) -> Meaning:
    """Return what a status means: as in `STATUSES`, else a retry from 500 on."""
    code = status or 0
    return STATUSES.get(code, Meaning.RETRY if code >= 500 else Meaning.FINAL)


_MAX_MESSAGE_CHARS = 300


def read_answer(
    status: int, headers: Mapping[str, str], body: bytes, mask: SecretMask
) -> dict[str, Any]:
    """Return the JSON object of a good answer.

    Raises:
        CallError: for any other answer: another status, no JSON object, or one that holds an
            error. It has the server's message, shortened and without secrets.
    """
    if not 200 <= status < 300:
        meaning = status_meaning(status)
        raise CallError(
            f"HTTP {status}: {error_message(decode_json(body), mask)}",
            retry=meaning in (Meaning.RETRY, Meaning.TOO_MANY),
            too_many=meaning is Meaning.TOO_MANY,
            wait_s=retry_after_s(headers),
            status=status,
        )
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise unreadable_error(error) from None
    if not isinstance(found, dict):
        raise CallError("unreadable answer: not a JSON object", retry=True)
    if found.get("error"):
        said = error_message(found, mask)
        raise CallError(f"the server answered with an error: {said}", retry=True)
    return found


async def post_json(client: Any, path: str, body: Any, mask: SecretMask) -> dict[str, Any]:
    """Send `body` with an `httpx.AsyncClient`; return the JSON object that comes back.

    Raises:
        CallError: when none comes back. It is not chained to the client's error, which holds the
            request and so the key.
    """
    try:
        answer = await client.post(path, json=body)
    except Exception as error:  # a broken answer can raise anything
        failed = client_error(error)
    else:
        return read_answer(answer.status_code, answer.headers, answer.content, mask)
    raise failed


def client_error(error: Exception) -> CallError:
    """Return the `CallError` for an exception of the client httpx."""
    import httpx

    if isinstance(error, CallError):
        return error
    if isinstance(error, httpx.HTTPError):
        return no_answer_error(error, timed_out=isinstance(error, httpx.ReadTimeout))
    return unreadable_error(error)


def no_answer_error(error: BaseException, timed_out: bool = False) -> CallError:
    """Return the `CallError` for a call that no server answered."""
    reason = f"no answer: {type(error).__name__}"
    return CallError(reason, retry=True, unreachable=True, timed_out=timed_out)


def unreadable_error(error: BaseException) -> CallError:
    """Return the `CallError` for an answer that is not JSON."""
    return CallError(f"unreadable answer: {type(error).__name__}", retry=True)


def decode_json(body: bytes) -> Any:
    """Return a body as parsed JSON, or as text if it is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")


def error_message(body: Any, mask: SecretMask) -> str:
    """Return a server's message about an error as one short line without secrets."""
    inner = get_path(body, "error") or body
    about = get_path(inner, "message") or inner
    text = about if isinstance(about, str) else json.dumps(about, ensure_ascii=False)
    return mask(" ".join(text.split()))[:_MAX_MESSAGE_CHARS] or "no reason given"


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the server asks to wait, given as seconds or as a date; else None."""
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


def get_path(value: Any, *path: str | int) -> Any:
    """Return the value at a path in parsed JSON of any shape; None if there is none."""
    for step in path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            value = value[step] if isinstance(value, list) and len(value) > step else None
    return value


def text_at(value: Any) -> str:
    """Return a value from parsed JSON if it is a text, else ""."""
    return value if isinstance(value, str) else ""


def count_at(value: Any) -> int | None:
    """Return a value from parsed JSON if it can be a count of tokens, else None."""
    return value if isinstance(value, int) and 0 <= value < 2**31 else None


def sendable(text: str) -> str:
    """Return the text without lone surrogates, which UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode("utf-8")


def make_client(who: str, make: Callable[[], Client], error_kind: type[UserError]) -> Client:
    """Return a client that `make` makes.

    Args:
        who: whose client it is; begins the message.
        make: makes the client.
        error_kind: what is raised.

    Raises:
        UserError: for an address or an environment setting that the client cannot use.
    """
    try:
        return make()
    except Exception as error:  # each library has its own errors for bad proxies and certificates
        kind = type(error).__name__
    raise error_kind(
        f"{who}: its client cannot start ({kind}); check its address, and HTTP_PROXY, "
        "HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE in the environment"
    )


_GROWS_TO = 4
"""The limit grows to at most this many times its start."""

_SLOW = 2.0
_SMOOTHING = 0.1


class ConcurrencyLimit:
    """Limit how many calls run at once; each call is an async context.

    Additive increase, multiplicative decrease (Chiu and Jain 1989), as in TCP's congestion control:
    one more call at once after every round without trouble; half as many when the server says that
    it has too many; a tenth fewer when answers take twice as long as at their best.

    Attributes:
        limit: calls at once now, rounded down; the fraction counts towards the next call.
        most: the most calls at once.
    """

    def __init__(self, start: int, *, adaptive: bool, most: int | None = None) -> None:
        """Begin with `start` calls at once.

        Args:
            start: calls at once, 1 or more.
            adaptive: whether the limit follows the server; else it stays as it is.
            most: the most calls at once; four times `start` by default.
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
            if place.done() and not place.cancelled():  # the place came too late: give it on
                self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        """Give the place to the next call."""
        self._leave()

    def note_success(self, seconds: float | None) -> None:
        """Note a good answer and its seconds; None if the time does not show the server's load."""
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

    def note_overload(self) -> None:
        """Note a call that failed because there were too many at once."""
        self._n_until_cut -= 1
        if self._adaptive:
            self._shrink(0.5)

    def _grow(self) -> None:
        self.limit = min(float(self.most), self.limit + 1 / self.limit)
        self._let_in()

    def _shrink(self, factor: float) -> None:
        # Calls that began before the last cut say nothing about the limit after it.
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
