"""What all judges behind HTTP share: how a call fails, and how a refused option is left out."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

from pydantic import BaseModel

from plugin import wire
from plugin.errors import JudgeError
from plugin.judges import Answer, AskError
from plugin.keys import Mask
from plugin.wire import Client, decoded, message_of, wait_s

_MAX_ANSWER_TOKENS = 4096
_MAX_BODY_BYTES = 1 << 20
_MAX_MESSAGE_CHARS = 300
_MAX_VERSION_CHARS = 100


class Manner(Protocol):
    """How a server wants to be asked; servers and models differ in what they refuse."""

    def options(self, schema: type[BaseModel], n_tokens: int) -> dict[str, Any]:
        """What goes into a request besides model and prompt.

        Args:
            schema: what the answer must fit.
            n_tokens: how long it may be.
        """

    def without_what(self, said: str) -> Manner | None:
        """What is left when the refused option is left out; None when nothing is."""


class Refused(Exception):
    """The server does not take a request as it is; the message is what it said, masked."""


class HttpJudge(ABC):
    """One model on one server. See `plugin.judges.Judge`."""

    structured = False
    caveat = ""

    def __init__(
        self, label: str, model: str, manner: Manner, key: str = "", url: str = ""
    ) -> None:
        """Take what all have.

        Args:
            label: the spec; also the identity.
            model: as the server knows it.
            manner: how it is asked at first.
            key: what must never be shown; "" where no key was given.
            url: the server's address, which may hold a password.
        """
        self.label = self.identity = label
        self._model = model
        self._manner = manner
        self._has_key = bool(key)
        self._masked = Mask(key, url)

    async def ask(self, prompt: str, schema: type[BaseModel], room: int = 1) -> Answer:
        """See `Judge.ask`: schema-bound output at temperature 0, as far as the server takes it.

        What a server refuses is left out, for good once it then answers.
        """
        sendable = prompt.encode("utf-8", "replace").decode("utf-8")  # half a character is none
        n_tokens = room * _MAX_ANSWER_TOKENS
        manner: Manner | None = self._manner
        while manner is not None:
            try:
                answer = await self._call(sendable, manner.options(schema, n_tokens))
            except Refused as refused:
                said = str(refused)
                manner = manner.without_what(said)
            else:
                self._manner = manner
                return replace(
                    answer,
                    text=self._masked(answer.text),
                    version=self._masked(answer.version)[:_MAX_VERSION_CHARS],
                )
        raise AskError(said)

    @abstractmethod
    async def close(self) -> None:
        """Close the connections."""

    @abstractmethod
    async def _call(self, prompt: str, options: dict[str, Any]) -> Answer:
        """One request.

        Raises:
            Refused: when the server does not take the request as it is.
            AskError: when this call failed.
            JudgeError: when no call can succeed.
        """

    def _unknown(self, said: str) -> str:
        """What a 404 means, and the way out."""
        return (
            "the server knows no such model or address (HTTP 404); check the model's name and "
            "the base URL"
        )

    async def _sent(self, sdk: Any, call: Awaitable[Any]) -> dict[str, Any]:
        """The JSON object in the raw answer to a call of a provider's own client.

        Raises:
            Refused, AskError, JudgeError: see `_call`. Never chained to the client's error, whose
                request holds the key.
        """
        failure: Exception
        try:
            raw = await call
        except sdk.APIStatusError as error:
            answer = error.response
            failure = self._refusal(answer.status_code, answer.headers, answer.content)
        except sdk.APIConnectionError as error:
            failure = lost(error.__cause__ or error)
        except Exception as error:  # a client fails in any way on an answer that it did not expect
            failure = unreadable(error)
        else:
            return self._read(raw.http_response.content)
        raise failure

    def _refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> Exception:
        """The error for an answer with a status other than 2xx."""
        said = f"HTTP {status}: {self._said(decoded(body[:_MAX_BODY_BYTES]))}"
        if status in (400, 422):
            return Refused(said)
        if status in (401, 403):
            # The server's own words are left out: they mostly quote the key.
            wrong = "refused the key" if self._has_key else "wants a key"
            return JudgeError(
                f"judge {self.label}: the server {wrong} (HTTP {status}); "
                "check the key and what it may be used for"
            )
        if status == 404:
            return JudgeError(f"judge {self.label}: {self._unknown(said)}")
        again = status in (408, 409, 429) or status >= 500
        too_many = status in (429, 503, 529)
        return AskError(said, again=again, too_many=too_many, wait_s=wait_s(headers))

    def _read(self, body: bytes) -> dict[str, Any]:
        """The JSON object that a server sent with a status of 2xx.

        Raises:
            AskError: when it sent something else, too much, or an error.
        """
        if len(body) > _MAX_BODY_BYTES:
            raise AskError(f"an answer of {len(body)} bytes; {_MAX_BODY_BYTES} are read at most")
        try:
            found = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise unreadable(error) from None
        if not isinstance(found, dict):
            raise AskError("unreadable answer: no JSON object", again=True)
        if found.get("error"):
            raise AskError(f"the server answered with an error: {self._said(found)}", again=True)
        return found

    def _said(self, body: Any) -> str:
        """The server's message, short and without the key in any spelling."""
        said = self._masked(message_of(body))[:_MAX_MESSAGE_CHARS]
        return said or "no reason given"


def lost(error: BaseException) -> AskError:
    """The error for a call that no server answered."""
    reason = f"no answer from the server: {type(error).__name__}"
    return AskError(reason, again=True, unreachable=True)


def unreadable(error: BaseException) -> AskError:
    """The error for an answer that is no JSON."""
    return AskError(f"unreadable answer: {type(error).__name__}", again=True)


def made(label: str, make: Callable[[], Client]) -> Client:
    """A client, made.

    Raises:
        JudgeError: for an address or a setting of the environment that it cannot work with.
    """
    return wire.made(f"judge {label}", make, JudgeError)


@contextmanager
def without_environment(*names: str) -> Iterator[None]:
    """Hide variables that a client would read by itself and send to any server."""
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)
