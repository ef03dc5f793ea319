"""Ask an OpenAI-compatible inference server that serves base and adapters under names.

No weights are read here. The server applies the chat template and counts the tokens. Many requests
run at the same time, up to what the server can take, and a failed one is tried again if that may
help. The engine has its own event loop and runs it for a tenth of a second at a time, so the caller
can stop in between.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from plugin.body import bound_body
from plugin.certify.certificate import Certificate, Tell, tell_nobody
from plugin.certify.served import ServedPair, certify_served
from plugin.engines import NO_ANSWER, LoadPlan, LoadResult, ServedSettings, failed
from plugin.engines._server_api import (
    completion_from_reply,
    completion_request,
    fatal_error,
    request_headers,
)
from plugin.engines._server_load import LoadClient
from plugin.engines._text import TextEngine
from plugin.errors import CallError, ModelError, ServerDownError
from plugin.keys import SecretMask
from plugin.net import (
    RetryRules,
    asks_for_long_wait,
    long_wait_text,
    make_client,
    post_json,
    retry,
)
from plugin.pace import ConcurrencyLimit
from plugin.records import VANILLA, Completion, Failure, Prompt

TIMEOUT_S = 300.0
"""The longest time for one request: a slow server with many at once may take minutes for each.

It holds for each wait within the request, and for the whole of it, however slowly it trickles in.
"""

N_TRIES_BUSY = 8
"""Number of tries when the server says that it is busy. It is the user's own server, so waiting
costs only time."""

N_BAD_UNTIL_DOWN = 10
"""The server counts as down when this many requests in a row failed in all their tries."""

_SERVED_PROBE_TOKENS = 64
"""Largest length of the answers to probes: enough to tell two models apart."""

_CONNECT_S = 10.0
_STEP_S = 0.1


def version() -> str:
    """Return the engine's name; the server's version is added when it is known."""
    return "server"


def load(settings: ServedSettings) -> ServerEngine:
    """Make the engine; nothing is sent to the server yet.

    Raises:
        ModelError: when no client can be made for the URL.
    """
    return ServerEngine(settings)


class ServerEngine(TextEngine):
    """Have one server complete prompts with the models that it knows by name."""

    def __init__(self, settings: ServedSettings) -> None:
        """See `load`."""
        self._settings = settings
        self._calls = ServerCalls(settings)

    def certify(
        self, variant: str, probes: Sequence[Prompt], tell: Tell = tell_nobody
    ) -> Certificate:
        """See `Engine.certify`."""
        names, notes = self._settings.names, self._settings.notes.get(variant, ())
        served = ServedPair(self._settings.url, names[VANILLA], names[variant], notes)
        tell("ask the probes")
        return certify_served(self._answers, variant, probes, served)

    def generate(self, prompts: Sequence[Prompt]) -> Iterator[tuple[Completion | Failure, ...]]:
        """See `Engine.generate`; also yields while it waits."""
        return self._calls.completions(prompts, self._settings.max_tokens)

    def run_load(self, plan: LoadPlan, check: Callable[[int], None]) -> LoadResult:
        """See `StreamingEngine.run_load`."""
        client = LoadClient(self._settings)
        try:
            return client.run(plan, check)
        finally:
            client.close()

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
        """Make the HTTP client; nothing is sent yet.

        Raises:
            ModelError: when no client can be made for the URL.
        """
        import httpx

        self._settings = settings
        self._mask = SecretMask(settings.key)
        self._limit = ConcurrencyLimit(settings.batch_size, adaptive=True, most=settings.batch_size)
        self._last = ""  # reason of the last failure
        self._loop = asyncio.new_event_loop()
        # Our own limit bounds the requests; httpx's limit would make them wait unseen.
        self._client = make_client(
            f"the inference server {settings.url}",
            lambda: httpx.AsyncClient(
                base_url=settings.url,
                headers=request_headers(settings.key),
                timeout=httpx.Timeout(TIMEOUT_S, connect=_CONNECT_S, pool=None),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=100),
                event_hooks={"response": [bound_body]},
            ),
            ModelError,
        )

    def close(self) -> None:
        """Cancel open requests and close the connections."""
        if not self._loop.is_closed():
            self._drop(asyncio.all_tasks(self._loop))
            self._loop.run_until_complete(self._client.aclose())
            self._loop.close()

    def completions(
        self, prompts: Sequence[Prompt], n_tokens: int
    ) -> Iterator[tuple[Completion | Failure, ...]]:
        """Yield completions and failures as they arrive; yield at least ten times a second.

        Raises:
            ServerDownError: when the server no longer answers.
            UserError: when no request can succeed before the user changes something.
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
                yield good  # before an error is raised, so that these results are kept
                for task in ended:
                    n_bad = n_bad + 1 if _is_bad(task.result()) else 0
                if n_bad >= N_BAD_UNTIL_DOWN:
                    raise ServerDownError(
                        f"the inference server {self._settings.url} does not answer: {n_bad} "
                        f"requests in a row failed, the last with: {self._last}. Check the "
                        "server and resume"
                    )
        finally:
            self._drop(under_way)

    def _drop(self, tasks: set[asyncio.Task[Any]]) -> None:
        for task in tasks:
            task.cancel()
        if tasks and not self._loop.is_closed():
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))

    async def _complete(self, prompt: Prompt, n_tokens: int) -> Completion | Failure:
        """Return one completion; try several times if necessary.

        Raises:
            ServerDownError: when the server wants no request for many minutes.
            UserError: when no request can succeed before the user changes something.
        """
        # A request's duration depends more on the answer's length than on the server's load.
        rules = RetryRules(N_TRIES_BUSY, TIMEOUT_S, time_shows_load=False)
        try:
            return await retry(lambda: self._request(prompt, n_tokens), self._limit, rules)
        except CallError as error:
            reason = self._last = str(error)
            if asks_for_long_wait(error):
                who = f"the inference server {self._settings.url}"
                raise ServerDownError(long_wait_text(who, error)) from error
            if error.retry:
                reason = f"{NO_ANSWER} ({error}); a resumed run tries again"
            return failed(prompt, reason, retry=error.retry)

    async def _request(self, prompt: Prompt, n_tokens: int) -> Completion:
        """Send one request and return its completion.

        Raises:
            CallError: when the request fails.
            UserError: when no request can succeed before the user changes something.
        """
        settings = self._settings
        name, chat = settings.names[prompt.variant], settings.chat_template
        limit = n_tokens if prompt.max_tokens is None else prompt.max_tokens
        path, body = completion_request(
            name, prompt.messages, limit, chat, settings.enable_thinking, prompt.draw
        )
        began = time.perf_counter()
        try:
            reply = await post_json(self._client, path, body, self._mask)
        except CallError as error:
            has_key, told_by = bool(settings.key), settings.told_by
            if fatal := fatal_error(error, settings.url, name, has_key, told_by):
                raise fatal from None
            raise
        return completion_from_reply(prompt, reply, time.perf_counter() - began, chat)


def _is_bad(result: Completion | Failure) -> bool:
    return isinstance(result, Failure) and result.retry
