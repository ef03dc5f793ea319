"""Keep so many streaming requests under way at once on one server, and time each of them.

A request is never tried again here: a second try would hide what the first one took. What fails is
counted, with its reason.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing, suppress
from typing import Any

from plugin.body import bound_body
from plugin.engines import LoadPlan, LoadResult, ServedSettings
from plugin.engines._server_api import completion_request, fatal_error, request_headers
from plugin.engines._server_events import AnswerClock, EventReader, prompt_counts
from plugin.errors import CallError, ModelError, ServerDownError
from plugin.keys import SecretMask
from plugin.load_rows import StreamedRequest
from plugin.net import (
    Meaning,
    client_error,
    count_at,
    get_path,
    make_client,
    read_answer,
    status_meaning,
)
from plugin.records import Prompt

_TIMEOUT_S = 300.0
"""The longest time for one request, and so the longest wait that is measured."""

_CONNECT_S = 10.0
_AFTER_END_S = 2.0
"""How long the rest of a stream is waited for once the answer ended: the count of tokens."""

_LOOK_EVERY_S = 0.1
_N_BAD_UNTIL_DOWN = 10
_REST_S, _LONGEST_REST_S = 0.5, 5.0
"""How long a place stays empty after the server refused a request because there were too many."""

_N_REFUSED_UNTIL_END = 20
"""With so many refusals in a row, and one more for each place, a level is given up."""


class LoadClient:
    """The connections for a load; all of them are kept, so that none is made anew in its midst."""

    def __init__(self, settings: ServedSettings) -> None:
        """Make the HTTP client; nothing is sent yet.

        Raises:
            ModelError: when no client can be made for the URL.
        """
        import httpx

        self._settings = settings
        self._mask = SecretMask(settings.key)
        self._asks_usage = True
        self._loop = asyncio.new_event_loop()
        self._client = make_client(
            f"the inference server {settings.url}",
            lambda: httpx.AsyncClient(
                base_url=settings.url,
                # A packed stream would be unpacked in blocks, and its times would be those of them.
                headers={**request_headers(settings.key), "accept-encoding": "identity"},
                timeout=httpx.Timeout(_TIMEOUT_S, connect=_CONNECT_S, pool=None),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
            ),
            ModelError,
        )

    def close(self) -> None:
        """Close the connections."""
        if not self._loop.is_closed():
            self._loop.run_until_complete(self._client.aclose())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def run(self, plan: LoadPlan, check: Callable[[int], None]) -> LoadResult:
        """Send the requests of a level; see `plugin.engines.StreamingEngine.run_load`."""
        return self._loop.run_until_complete(_Level(plan, self._measure).run(check))

    async def _measure(self, prompt: Prompt) -> StreamedRequest:
        """Send one request, and return what it took.

        Raises:
            CallError: when it fails.
            UserError: when no request can succeed before the user changes something.
        """
        asks_usage = self._asks_usage
        try:
            return await self._send(prompt, asks_usage)
        except CallError as error:
            if not (asks_usage and status_meaning(error.status) is Meaning.REFUSED):
                raise self._fatal(prompt, error) or error from None
        try:  # a server that does not know the option may refuse it
            found = await self._send(prompt, asks_usage=False)
        except CallError as error:  # it was something else, such as a long prompt
            raise self._fatal(prompt, error) or error from None
        self._asks_usage = False
        return found

    def _fatal(self, prompt: Prompt, error: CallError) -> Exception | None:
        own = self._settings
        name = own.names[prompt.variant]
        return fatal_error(error, own.url, name, bool(own.key), own.told_by)

    async def _send(self, prompt: Prompt, asks_usage: bool) -> StreamedRequest:
        own = self._settings
        limit = own.max_tokens if prompt.max_tokens is None else prompt.max_tokens
        name, chat = own.names[prompt.variant], own.chat_template
        path, body = completion_request(
            name, prompt.messages, limit, chat, own.enable_thinking, prompt.draw
        )
        body["stream"] = True
        if asks_usage:
            body["stream_options"] = {"include_usage": True}
        clock = AnswerClock(prompt, limit, chat, self._mask)
        began = time.perf_counter()
        try:
            async with asyncio.timeout(_TIMEOUT_S) as deadline:
                async with self._client.stream("POST", path, json=body) as response:
                    kind = response.headers.get("content-type", "")
                    if not response.is_success or "json" in kind:
                        answer = await _whole_answer(response, self._mask)
                        return _unstreamed(prompt, answer, chat, time.perf_counter() - began)
                    await _read_stream(response, clock, began, deadline)
            return clock.request()
        except TimeoutError:
            if clock.is_ended:
                return clock.request()
            late = f"no whole answer within {_TIMEOUT_S:g} s"
            failed = CallError(late, retry=True, unreachable=True, timed_out=True)
        except Exception as error:  # a broken answer can raise anything
            failed = client_error(error)
        raise failed


async def _whole_answer(response: Any, mask: SecretMask) -> dict[str, Any]:
    """Return the JSON of an answer that is no stream.

    Raises:
        CallError: when it is none, or tells an error.
    """
    await bound_body(response)
    content = await response.aread()
    return read_answer(response.status_code, response.headers, content, mask)


def _unstreamed(
    prompt: Prompt, answer: dict[str, Any], chat: bool, seconds: float
) -> StreamedRequest:
    """Return what a request took whose answer came in one piece."""
    choice = get_path(answer, "choices", 0)
    text = get_path(choice, "message", "content") if chat else get_path(choice, "text")
    if not isinstance(text, str):
        raise CallError("the server's answer has no text", retry=True)
    usage = get_path(answer, "usage")
    n_tokens = count_at(get_path(usage, "completion_tokens"))
    return StreamedRequest(
        case_id=prompt.case_id,
        variant=prompt.variant,
        total_s=seconds,
        n_tokens=n_tokens,
        counted_by="" if n_tokens is None else "server",
        is_stream=False,
        **prompt_counts(usage),
    )


async def _read_stream(response: Any, clock: AnswerClock, began: float, deadline: Any) -> None:
    """Read a stream to its end; once the answer ended, not for much longer.

    Raises:
        CallError: when it cannot be read.
    """
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise CallError(f"the stream is packed ({coding[:20]}), so its times cannot be measured")
    reader, loop, was_ended = EventReader(), asyncio.get_running_loop(), False
    async with aclosing(response.aiter_raw()) as pieces:
        async for piece in pieces:
            at_s = time.perf_counter() - began
            for data in reader.add(piece):
                clock.read_event(data, at_s)
                if data.strip() == "[DONE]":
                    return
            if clock.is_ended and not was_ended:
                was_ended = True
                deadline.reschedule(loop.time() + _AFTER_END_S)
    at_s = time.perf_counter() - began
    for data in reader.end():
        clock.read_event(data, at_s)


class _Level:
    """One level: as many tasks as requests at once, each sending the next one when one ends."""

    def __init__(self, plan: LoadPlan, measure: Any) -> None:
        self._plan, self._measure = plan, measure
        self._queue: Iterator[tuple[Prompt, bool]] = iter(plan.requests)
        self._left = plan.n_counted
        self._n_bad = self._n_refused = self._n_lost = 0
        self._last = ""
        self._rows: list[StreamedRequest] = []
        self._gave_up = ""

    async def run(self, check: Callable[[int], None]) -> LoadResult:
        """Send all requests; those that do not count end with the last one that does."""
        began = time.perf_counter()
        tasks = [asyncio.create_task(self._work()) for _ in range(self._plan.n_at_once)]
        pending = set(tasks)
        try:
            while pending:
                done, pending = await asyncio.wait(
                    pending, timeout=_LOOK_EVERY_S, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    task.result()
                check(len(self._rows))
                if not self._left or self._gave_up:
                    break
        finally:
            for task in tasks:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks, return_exceptions=True)
        if self._n_lost == len(self._rows) > 0:  # too few to say so before
            raise self._down_error(self._n_lost)
        return LoadResult(tuple(self._rows), time.perf_counter() - began, self._gave_up)

    async def _work(self) -> None:
        """Send one request after the other until all that count have ended."""
        while self._left and not self._gave_up:
            prompt, counts = next(self._queue)
            rest_s, is_lost = 0.0, False
            try:
                row = await self._measure(prompt)
                self._n_bad = self._n_refused = 0
            except CallError as error:
                row = StreamedRequest(
                    prompt.case_id, prompt.variant, failure=str(error), too_many=error.too_many
                )
                is_lost = error.retry and not error.too_many
                rest_s = self._note_failure(error)
            if not self._left:
                return
            if counts:
                self._left -= 1
                self._n_lost += is_lost
                self._rows.append(row)
            if rest_s:
                await asyncio.sleep(rest_s)

    def _note_failure(self, error: CallError) -> float:
        """Return how long this place is to rest.

        Raises:
            ServerDownError: when the server no longer answers.
        """
        self._last = str(error)
        if error.too_many:
            self._n_refused += 1
            if self._n_refused >= _N_REFUSED_UNTIL_END + self._plan.n_at_once:
                self._gave_up = f"the server refused {self._n_refused} requests in a row"
            return min(error.wait_s or _REST_S, _LONGEST_REST_S)
        self._n_bad += error.retry
        if self._n_bad >= _N_BAD_UNTIL_DOWN + self._plan.n_at_once:
            raise self._down_error(self._n_bad)
        return 0.0

    def _down_error(self, n: int) -> ServerDownError:
        return ServerDownError(
            f"the inference server does not answer: {n} requests in a row failed at "
            f"{self._plan.n_at_once} at once, the last with: {self._last}. Check the server and "
            "resume: what is done is kept, and this level is measured anew"
        )
