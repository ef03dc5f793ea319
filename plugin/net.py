"""Call servers over HTTP: retry calls, and read their answers.

`retry` makes a call, and makes it again if it failed and another try may help, within a
`pace.ConcurrencyLimit`. `read_answer` returns the JSON object of a good answer and raises a
`CallError` for any other; the table `STATUSES` says what each HTTP status means. The rest reads
JSON of any shape.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any, TypeVar
from urllib.parse import urlsplit

from plugin.errors import CallError, UserError
from plugin.keys import SecretMask
from plugin.pace import ConcurrencyLimit

Client = TypeVar("Client")
Result = TypeVar("Result")

N_TRIES = 4
"""Tries of one call while the server has trouble, with waits of 0.5, 1 and 2 s between them."""

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 120.0
"""A server that asks for a longer wait is not called again: waiting would look like hanging."""


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
    wait is as long as the server asks, or else twice as long as the last one. A server that asks
    for more than `LONGEST_WAIT_S` gets no further try (see `asks_for_long_wait`).

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
            error = _late_error(rules.timeout_s)
        except CallError as failed:
            error = failed
        n_tried += 1
        if error.too_many or error.timed_out:  # with fewer calls at once, each is faster
            limit.note_overload()
        n_most = rules.n_tries_busy if error.too_many else N_TRIES
        if not error.retry or n_tried >= n_most or asks_for_long_wait(error):
            raise error
        before_retry()
        await asyncio.sleep(error.wait_s or wait_s)
        wait_s *= 2


def asks_for_long_wait(error: CallError) -> bool:
    """Return whether the server wants no call for longer than `LONGEST_WAIT_S`."""
    return error.retry and (error.wait_s or 0.0) > LONGEST_WAIT_S


_MINUTE_S, _HOUR_S = 60, 3600


def long_wait_text(who: str, error: CallError) -> str:
    """Say how long a server wants no call, and how to go on."""
    wait_s = error.wait_s or 0.0
    if wait_s < 2 * _HOUR_S:
        wait = f"{math.ceil(wait_s / _MINUTE_S)} minutes"
    else:
        wait = f"{math.ceil(wait_s / _HOUR_S):,} hours"
    return (
        f"{who} asks to wait {wait} before the next call ({error}). Everything made so far is "
        "kept; resume the run after that time"
    )


class Meaning(Enum):
    """Name what an HTTP status other than 2xx says about a request."""

    REFUSED = "the server does not take an option, or the prompt is too long"
    KEY = "the key is missing, or it may not do this"
    UNKNOWN = "the server has no such model or address"
    MOVED = "the address leads to another one, and redirects are not followed"
    TOO_MANY = "too many requests at once or per minute: wait, then send fewer"
    RETRY = "the server has trouble: the same request may succeed later"
    FINAL = "anything else: the same request would fail again"


STATUSES = {
    301: Meaning.MOVED,
    302: Meaning.MOVED,
    303: Meaning.MOVED,
    307: Meaning.MOVED,
    308: Meaning.MOVED,
    400: Meaning.REFUSED,
    401: Meaning.KEY,
    403: Meaning.KEY,
    404: Meaning.UNKNOWN,
    408: Meaning.RETRY,
    409: Meaning.RETRY,
    413: Meaning.REFUSED,
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
        if meaning is Meaning.MOVED:
            said = f"redirects to {_redirect_target(headers, mask)}"
        else:
            said = error_message(decode_json(body), mask)
        raise CallError(
            f"HTTP {status}: {said}",
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


def _redirect_target(headers: Mapping[str, str], mask: SecretMask) -> str:
    """Return where a redirect leads, without the password and query, which may be secret."""
    target = headers.get("location", "")
    try:
        parts = urlsplit(target)
        host = parts.netloc.rpartition("@")[2]
        target = f"{parts.scheme}://{host}{parts.path}" if host else parts.path
    except ValueError:  # an unclosed bracket
        target = ""
    return mask(sendable(target))[:_MAX_MESSAGE_CHARS] or "no address"


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


def fetch_json(
    make: Callable[[], Any], method: str, path: str, mask: SecretMask, limit_s: float, **more: Any
) -> dict[str, Any]:
    """Send one request, and return the JSON object that comes back; wait for it here.

    Args:
        make: makes an `httpx.AsyncClient`, which is closed afterwards.
        method: "GET" or "POST".
        path: the address, below the client's base URL or in full.
        mask: hides the secrets of this server.
        limit_s: seconds for the whole of it, however slowly the answer trickles in.
        more: passed to the client.

    Raises:
        CallError: when none comes back.
        UserError: when `make` cannot make a client.
    """
    client = make()

    async def fetch() -> dict[str, Any]:
        async with asyncio.timeout(limit_s), client:
            answer = await client.request(method, path, **more)
        return read_answer(answer.status_code, answer.headers, answer.content, mask)

    def run() -> dict[str, Any]:
        try:
            return asyncio.run(fetch())
        except TimeoutError:
            failed = _late_error(limit_s)
        except Exception as error:  # a broken answer can raise anything
            failed = client_error(error)
        raise failed

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run()
    with ThreadPoolExecutor(1) as thread:  # a thread has one event loop at a time
        return thread.submit(run).result()


def _late_error(limit_s: float) -> CallError:
    reason = f"no answer within {limit_s:g} s"
    return CallError(reason, retry=True, unreachable=True, timed_out=True)


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
    """Return the seconds that the server asks to wait; None if it names none.

    They stand in `retry-after-ms`, or in `retry-after` as seconds or as a date.
    """
    asked = headers.get("retry-after", "")
    for text, unit in ((headers.get("retry-after-ms", ""), 1000), (asked, 1)):
        try:
            seconds = float(text) / unit
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
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
