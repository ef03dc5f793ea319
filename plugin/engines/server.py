"""The server engine: any OpenAI-compatible inference server that has base and adapters by name.

No weights are read here. The server applies the chat template and counts the tokens. As many
requests are under way as the server can take, and each is tried again where that may help. All of
it runs on an event loop of its own, a tenth of a second at a time, so that whoever waits for
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
    completion_from_reply,
    completion_request,
    fatal_error,
    request_headers,
)
from plugin.engines._text import TextEngine
from plugin.errors import CallError, ModelError, ServerDownError
from plugin.net import ConcurrencyLimit, RetryRules, SecretMask, make_client, post_json, retry
from plugin.records import VANILLA, Completion, Failure, Prompt

TIMEOUT_S = 300.0
"""A slow server with many requests at once may take minutes for each."""

N_TRIES_BUSY = 8
"""Tries of one request when the server is busy and says so: it is the user's own, and costs time
alone."""

N_BAD_UNTIL_DOWN = 10
"""Requests in a row that no try brought an answer to, after which the server counts as down."""

_SERVED_PROBE_TOKENS = 64
"""How long the answers to probes may become: enough to tell models apart."""

_CONNECT_S = 10.0
_STEP_S = 0.1

_RULES = RetryRules(n_tries_busy=N_TRIES_BUSY, time_shows_load=False)
"""How long a request took says more of the answer's length than of the server."""


def version() -> str:
    """Return what generates; the server's own version is known when it was asked for it."""
    return "server"


def load(settings: ServedSettings) -> ServerEngine:
    """Return the engine; the server is not asked yet.

    Raises:
        ModelError: when no client can be made.
    """
    return ServerEngine(settings)


class ServerEngine(TextEngine):
    """Have one server complete prompts with the models that it knows by name."""

    def __init__(self, settings: ServedSettings) -> None:
        """See `load`."""
        self._settings = settings
        self._calls = ServerCalls(settings)

    def certify(self, variant: str, probes: Sequence[Prompt]) -> Certificate:
        """See `Engine.certify`."""
        names, notes = self._settings.names, self._settings.notes.get(variant, ())
        served = ServedPair(self._settings.url, names[VANILLA], names[variant], notes)
        return certify_served(self._answers, variant, probes, served)

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Completion | Failure, ...]]:
        """See `Engine.generate`; yields while it waits, too."""
        return self._calls.completions(prompts, self._settings.max_tokens)

    def close(self) -> None:
        """Close the connections."""
        self._calls.close()

    def _answers(self, prompts: Sequence[Prompt]) -> dict[str, Completion | Failure]:
        n_tokens = min(self._settings.max_tokens, _SERVED_PROBE_TOKENS)
        ended = self._calls.completions(prompts, n_tokens)
        return {result.case_id: result for results in ended for result in results}


class ServerCalls:
    """The connections to one server, reused for all requests."""

    def __init__(self, settings: ServedSettings) -> None:
        """Make the client; nothing is sent yet.

        Raises:
            ModelError: when the client cannot be made.
        """
        import httpx

        self._settings = settings
        self._mask = SecretMask(settings.key)
        self._limit = ConcurrencyLimit(settings.batch_size, adaptive=True, most=settings.batch_size)
        self._last = ""  # what the last request failed with
        self._loop = asyncio.new_event_loop()
        # The limit bounds requests; the library's own bound would only make some wait unseen.
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
        """Yield a completion or a failure for each, as they come, at least ten times a second.

        Raises:
            ServerDownError: when the server no longer answers.
            UserError: when no request can succeed.
        """
        waiting, under_way, n_bad = deque(prompts), set[asyncio.Task[Completion | Failure]](), 0
        try:
            while waiting or under_way:
                while waiting and len(under_way) < self._settings.batch_size:
                    prompt = waiting.popleft()
                    under_way.add(self._loop.create_task(self._complete(prompt, n_tokens)))
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
                        "so far is kept; check the server and resume"
                    )
        finally:
            self._drop(under_way)

    def _drop(self, tasks: set[asyncio.Task[Any]]) -> None:
        for task in tasks:
            task.cancel()
        if tasks and not self._loop.is_closed():
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))

    async def _complete(self, prompt: Prompt, n_tokens: int) -> Completion | Failure:
        """Return one completion, tried several times if need be.

        Raises:
            UserError: when no request can succeed.
        """
        try:
            return await retry(lambda: self._request(prompt, n_tokens), self._limit, _RULES)
        except CallError as error:
            reason = self._last = str(error)
            if error.retry:
                reason = f"{NO_ANSWER} ({error}); the same run tries again"
            return Failure(prompt.case_id, "generate", reason, prompt.variant, retry=error.retry)

    async def _request(self, prompt: Prompt, n_tokens: int) -> Completion:
        """Return the completion that one request brings.

        Raises:
            CallError: when it brings none.
            UserError: when no request can succeed.
        """
        settings = self._settings
        name, chat = settings.names[prompt.variant], settings.chat_template
        path, body = completion_request(
            name, prompt.messages, n_tokens, chat, settings.enable_thinking
        )
        began = time.perf_counter()
        try:
            reply = await post_json(self._client, path, body, self._mask)
        except CallError as error:
            if fatal := fatal_error(error, settings.url, name, bool(settings.key)):
                raise fatal from None
            raise
        return completion_from_reply(prompt, reply, time.perf_counter() - began, chat)


def _is_bad(result: Completion | Failure) -> bool:
    return isinstance(result, Failure) and result.retry
