"""The server engine: any OpenAI-compatible inference server that has base and adapters by name.

No weights are read here. The server applies the chat template and counts the tokens.

Requests to an inference server: so many at once as it bears, and tried again where it may help.

All of it runs on an event loop of its own, a tenth of a second at a time, so that whoever waits for
completions can stop in between.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from plugin.certify.certificate import Certificate
from plugin.certify.measure import ServedPair, certify_served
from plugin.engines import NO_ANSWER, ServedSettings
from plugin.engines._server_api import (
    ServerCallError,
    completion_from_reply,
    completion_request,
    fatal_error,
    lost_connection,
    read_reply,
    request_headers,
)
from plugin.errors import ModelError, OptionError, ServerDownError
from plugin.net import ConcurrencyLimit, SecretMask, make_client
from plugin.records import VANILLA, Completion, Failure, Message, Prompt

_SERVED_PROBE_TOKENS = 64
"""How long the answers to probes may become: enough to tell models apart."""


def version() -> str:
    """What generates; the server's own version is known when it was asked for it."""
    return "server"


def load(settings: ServedSettings) -> ServerEngine:
    """The engine; the server is not asked yet.

    Raises:
        ModelError: when no client can be made.
    """
    return ServerEngine(settings)


class ServerEngine:
    """The variants of one server."""

    notes: tuple[str, ...] = ()

    def __init__(self, settings: ServedSettings) -> None:
        """See `load`."""
        self._settings = settings
        self._calls = ServerCalls(settings)

    def encode(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Empty: tokens are the server's business."""
        return ()

    def tokens(self, text: str) -> tuple[int, ...]:
        """Empty, likewise."""
        return ()

    def certify(self, variant: str, probes: Sequence[Prompt]) -> Certificate:
        """See `Engine.certify`."""
        names, notes = self._settings.names, self._settings.notes.get(variant, ())
        served = ServedPair(self._settings.url, names[VANILLA], names[variant], notes)
        return certify_served(self._answers, variant, probes, served)

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Completion | Failure, ...]]:
        """See `Engine.generate`; yields while it waits, too."""
        return self._calls.completions(prompts, self._settings.max_tokens)

    def loglikelihoods(
        self, variant: str, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]
    ) -> Iterator[float]:
        """Not to be had: the protocol gives no probabilities of a text that the caller chose.

        Raises:
            OptionError: always.
        """
        raise OptionError("--engine server gives no likelihoods; use mlx or transformers")

    def close(self) -> None:
        """Close the connections."""
        self._calls.close()

    def _answers(self, prompts: Sequence[Prompt]) -> dict[str, Completion | Failure]:
        n_tokens = min(self._settings.max_tokens, _SERVED_PROBE_TOKENS)
        ended = self._calls.completions(prompts, n_tokens)
        return {result.case_id: result for results in ended for result in results}


TIMEOUT_S = 300.0
"""A slow server with many requests at once may take minutes for each."""

N_TRIES = 4
"""Tries of one request when the server stumbles, with waits of 0.5, 1 and 2 s between them."""

N_TRIES_BUSY = 8
"""Tries of one request when the server is busy and says so."""

N_BAD_UNTIL_DOWN = 10
"""Requests in a row that no try brought an answer to, after which the server counts as down."""

_CONNECT_S = 10.0
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_STEP_S = 0.1


class ServerCalls:
    """The connections to one server, reused for all requests."""

    def __init__(self, settings: ServedSettings) -> None:
        """Nothing is sent yet.

        Raises:
            ModelError: when the client cannot be made.
        """
        import httpx

        self._settings = settings
        self._masked = SecretMask(settings.key)
        self._pace = ConcurrencyLimit(settings.batch_size, adaptive=True, most=settings.batch_size)
        self._last = ""  # what the last request failed with
        self._loop = asyncio.new_event_loop()
        # The pace bounds requests; the library's own bound would only make some wait unseen.
        self._client = make_client(
            f"the inference server {settings.url}",
            lambda: httpx.AsyncClient(
                base_url=settings.url,
                headers=request_headers(settings.key),
                timeout=httpx.Timeout(TIMEOUT_S, connect=_CONNECT_S, pool=None),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=100),
            ),
            ModelError,
        )

    def close(self) -> None:
        """Close the connections, and drop what is under way."""
        if not self._loop.is_closed():
            self._drop(asyncio.all_tasks(self._loop))
            self._loop.run_until_complete(self._client.aclose())
            self._loop.close()

    def completions(
        self, prompts: Sequence[Prompt], n_tokens: int
    ) -> Iterator[tuple[Completion | Failure, ...]]:
        """A completion or a failure for each, as they come; yields at least ten times a second.

        Raises:
            ServerDownError: when the server no longer answers.
            UserError: when no request can succeed.
        """
        waiting, under_way, n_bad = deque(prompts), set[asyncio.Task[Completion | Failure]](), 0
        try:
            while waiting or under_way:
                while waiting and len(under_way) < self._settings.batch_size:
                    prompt = waiting.popleft()
                    under_way.add(self._loop.create_task(self._ask(prompt, n_tokens)))
                ended, under_way = self._loop.run_until_complete(
                    asyncio.wait(under_way, timeout=_STEP_S, return_when=asyncio.FIRST_COMPLETED)
                )
                good = tuple(task.result() for task in ended if not task.exception())
                yield good  # before any error: what is there is kept
                for task in ended:
                    n_bad = n_bad + 1 if _is_bad(task.result()) else 0
                if n_bad >= N_BAD_UNTIL_DOWN:
                    raise ServerDownError(
                        f"the inference server {self._settings.url} does not answer: {n_bad} "
                        f"requests in a row failed, the last with: {self._last}. Everything made "
                        "so far is kept; look after the server and resume"
                    )
        finally:
            self._drop(under_way)

    def _drop(self, tasks: set[asyncio.Task[Any]]) -> None:
        for task in tasks:
            task.cancel()
        if tasks and not self._loop.is_closed():
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))

    async def _ask(self, prompt: Prompt, n_tokens: int) -> Completion | Failure:
        """One completion, tried several times if need be.

        Raises:
            UserError: when no request can succeed.
        """
        wait_s, n_tried, error = _FIRST_WAIT_S, 0, ServerCallError("not asked")
        while n_tried < (N_TRIES_BUSY if error.too_many else N_TRIES):
            if n_tried:
                await asyncio.sleep(min(error.wait_s or wait_s, _LONGEST_WAIT_S))
                wait_s *= 2
            n_tried += 1
            try:
                async with self._pace:
                    found = await self._call(prompt, n_tokens)
            except ServerCallError as failed:
                error = failed
            else:
                # How long it took says more of the answer's length than of the server.
                self._pace.went_well(None)
                return found
            if error.too_many:
                self._pace.was_too_much()
            if not error.again:
                break
        reason = self._last = str(error)
        if error.again:
            reason = f"{NO_ANSWER} ({error}); the same run tries again"
        return Failure(prompt.case_id, "generate", reason, prompt.variant, retry=error.again)

    async def _call(self, prompt: Prompt, n_tokens: int) -> Completion:
        import httpx

        settings = self._settings
        name, chat = settings.names[prompt.variant], settings.chat_template
        path, body = completion_request(name, prompt.messages, n_tokens, chat)
        began = time.perf_counter()
        failed: ServerCallError
        try:
            answer = await self._client.post(path, json=body)
        except httpx.HTTPError as error:
            failed = lost_connection(error)
            if isinstance(error, httpx.ReadTimeout):  # fewer at once, and each is done sooner
                self._pace.was_too_much()
        except Exception as error:  # an answer may be odd in any way
            failed = ServerCallError(f"unreadable answer: {type(error).__name__}", again=True)
        else:
            seconds = time.perf_counter() - began
            try:
                reply = read_reply(answer.status_code, answer.headers, answer.content, self._masked)
                return completion_from_reply(prompt, reply, seconds, chat)
            except ServerCallError as error:
                if wrong := fatal_error(error, settings.url, name, bool(settings.key)):
                    raise wrong from None
                raise
        raise failed


def _is_bad(result: Completion | Failure) -> bool:
    return isinstance(result, Failure) and result.retry
