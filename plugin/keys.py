"""Keys and addresses: checked before use, and masked in whatever a server sends back."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_plus, unquote, urlsplit

from plugin.errors import UserError

_SHORTEST_PIECE = 12
"""Characters; a shorter piece of base64 may well stand in a text by chance."""


def checked_key(key: str, name: str, error_kind: type[UserError]) -> str:
    """The key, if a header can carry it.

    Raises:
        UserError: of the kind given, naming the secret, never its value.
    """
    if not key.isascii() or not key.isprintable() or " " in key:
        raise error_kind(
            f"{name} is no key: it holds spaces or characters that no header can carry"
        )
    return key


def checked_url(url: str, name: str, error_kind: type[UserError]) -> str:
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


class Mask:
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
