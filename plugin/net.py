"""What servers send: JSON of any shape, errors in their own words, and how long to wait."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from plugin.errors import UserError

Client = TypeVar("Client")


def dig(value: Any, *path: str | int) -> Any:
    """What lies at a path in parsed JSON that may have any shape; None where nothing does."""
    for step in path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            value = value[step] if isinstance(value, list) and len(value) > step else None
    return value


def word(value: Any) -> str:
    """A text from parsed JSON, "" where it is none."""
    return value if isinstance(value, str) else ""


def count(value: Any) -> int:
    """A count of tokens, 0 where the server sends none that could be one."""
    return value if isinstance(value, int) and 0 <= value < 2**31 else 0


def decoded(body: bytes) -> Any:
    """What a body holds: parsed JSON, else its text."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")


def message_of(body: Any) -> str:
    """What a server says of an error, in one line; "" where it says nothing."""
    inner = dig(body, "error") or body
    about = dig(inner, "message") or inner
    text = about if isinstance(about, str) else json.dumps(about, ensure_ascii=False)
    return " ".join(text.split())


def wait_s(headers: Mapping[str, str]) -> float | None:
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


def made(who: str, make: Callable[[], Client], error_kind: type[UserError]) -> Client:
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
