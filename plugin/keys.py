"""Check keys and addresses, and hide secrets in texts that come from outside.

`KnownSecrets` reads the secrets of a run and remembers them. Its `SecretMask` hides them in
everything that the journal keeps.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import quote, quote_plus, unquote, urlsplit

from plugin.errors import UserError
from plugin.records import Completion

_SHORTEST_PIECE = 12
"""Characters; a shorter piece of base64 may appear in a text by chance."""

_SHORTEST_IN_CONTENT = 8
"""Characters; a shorter key ("none", "EMPTY") may be a word that a model means."""

_SHORTEST_CUT = 20
"""Characters; most of a shorter key may appear in a text by chance."""

MASKED = "[key]"
"""What stands in the place of a secret."""


def check_key(key: str, name: str, error_kind: type[UserError]) -> str:
    """Return the key after checking that an HTTP header can carry it.

    Raises:
        UserError: of the kind given, naming the secret, never its value.
    """
    if not key.isascii() or not key.isprintable() or " " in key:
        raise error_kind(
            f"{name} cannot be a key: it has spaces or characters that an HTTP header cannot "
            "carry; copy the key again"
        )
    return key


def check_url(url: str, name: str, error_kind: type[UserError]) -> str:
    """Return the address after checking that it is a web address.

    Raises:
        UserError: of the kind given, naming the option and the address without its password.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an unclosed bracket, a port that is not a number
        usable = False
    if not usable or not url.isprintable() or " " in url:
        shown = re.sub(r"//.*@", "//[key]@", url)
        raise error_kind(
            f"{name} {shown!r} is not an http or https address, such as http://localhost:8000/v1"
        )
    return url


class SecretMask:
    """Replace secrets in texts by "[key]": as they are, URL-quoted, in JSON, base64 and hex."""

    def __init__(self, key: str = "", url: str = "", more: Iterable[str] = ()) -> None:
        """Take the secrets.

        Args:
            key: a key; "" for none.
            url: an address that may hold a user and a password.
            more: further secrets.
        """
        secrets = {key, *_address_secrets(url), *more} - {""}
        self._spellings = sorted({s for one in secrets for s in _spellings(one)}, key=_by_length)
        self._long = sorted((s for s in secrets if len(s) >= _SHORTEST_IN_CONTENT), key=_by_length)
        found = {s for one in self._long for s in (*_spellings(one), *_beginnings(one))}
        spellings = sorted(found, key=_by_length)
        self._in_content = re.compile("|".join(map(re.escape, spellings)), re.IGNORECASE)

    def __call__(self, text: str) -> str:
        """Return a message without secrets, and without what UTF-8 cannot encode."""
        for spelling in self._spellings:
            text = text.replace(spelling, MASKED)
        return text.encode("utf-8", "replace").decode("utf-8")

    def in_content(self, text: str) -> str:
        """Return what a model or judge wrote without secrets, in upper or lower case.

        Secrets with fewer than 8 characters stay: they may be words of the answer. The beginning of
        a secret is replaced where it is most of it, and, from half of it, where the text ends in it
        as in an answer that was cut off.
        """
        if not self._long:
            return text
        text = self._in_content.sub(MASKED, text)
        for secret in self._long:
            shortest = max(_SHORTEST_IN_CONTENT, len(secret) // 2)
            for n_chars in range(len(secret) - 1, shortest - 1, -1):
                if text.endswith(secret[:n_chars]):
                    return text[:-n_chars] + MASKED
        return text

    def in_completion(self, completion: Completion) -> Completion:
        """Return the completion as it is, or marked and without the text and tokens of secrets."""
        text = self.in_content(completion.text)
        if text == completion.text:
            return completion
        n_tokens = completion.n_tokens
        if n_tokens is None and completion.token_ids:
            n_tokens = len(completion.token_ids)
        return replace(completion, text=text, token_ids=(), n_tokens=n_tokens, is_masked=True)


class KnownSecrets:
    """Read settings from the host, and remember which of them are secret."""

    def __init__(self, read: Callable[[str], str | None]) -> None:
        """Take what reads a setting by its name."""
        self._read = read
        self._found = set[str]()

    def __call__(self, name: str) -> str | None:
        """Return the setting with this name; None if there is none.

        A setting whose name ends with KEY is a secret; an address may hold a password.
        """
        value = self._read(name)
        if value:
            self._found |= {value} if name.endswith("KEY") else _address_secrets(value)
        return value

    def mask(self) -> SecretMask:
        """Return the mask for all secrets read so far."""
        return SecretMask(more=self._found)


@contextmanager
def hidden_in_errors(mask: Callable[[], SecretMask]) -> Iterator[None]:
    """Hide secrets in the messages of an error that leaves the block, and of those that led to it.

    Args:
        mask: returns the mask for all secrets that are known by then.
    """
    try:
        yield
    except Exception as error:
        _hide_in_error(error, mask())
        raise


def _hide_in_error(error: BaseException | None, mask: SecretMask) -> None:
    seen = set[int]()
    while error and id(error) not in seen:
        seen.add(id(error))
        error.args = tuple(
            mask.in_content(part) if isinstance(part, str) else part for part in error.args
        )
        error = error.__cause__ or error.__context__


def _by_length(text: str) -> tuple[int, str]:
    return -len(text), text


def _address_secrets(address: str) -> set[str]:
    """Return what is secret in an address with or without a scheme: user and password."""
    try:
        user, at, _ = urlsplit(address if "//" in address else f"//{address}").netloc.rpartition(
            "@"
        )
    except ValueError:  # an unclosed bracket
        return set()
    return {user, unquote(user), unquote(user.partition(":")[2])} - {""} if at else set()


def _spellings(secret: str) -> Iterator[str]:
    quoted = {quote(secret, safe=""), quote(secret), quote_plus(secret)}
    yield from (secret, json.dumps(secret)[1:-1], *quoted)
    yield from (re.sub("%..", lambda code: code[0].lower(), text) for text in quoted)
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(secret.encode()).decode()
        yield from _pieces(secret.encode(), encode)
    if len(secret) >= _SHORTEST_IN_CONTENT:
        yield secret.encode().hex()


def _beginnings(secret: str) -> Iterator[str]:
    """Yield the beginnings that hold at least three quarters of a long secret."""
    if len(secret) >= _SHORTEST_CUT:
        yield from (secret[:n] for n in range(-(-3 * len(secret) // 4), len(secret)))


def _pieces(secret: bytes, encode: Callable[[bytes], bytes]) -> Iterator[str]:
    """Yield how the secret looks in base64 as part of a longer text, at each of 3 offsets."""
    for n_before in range(3):
        text = encode(bytes(n_before) + secret).decode()
        # A character of base64 holds six bits; those at the ends also depend on the neighbours.
        piece = text[-(-8 * n_before // 6) : 8 * (n_before + len(secret)) // 6]
        if len(piece) >= _SHORTEST_PIECE:
            yield piece
