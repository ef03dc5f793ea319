"""Streaming requests against a real local server that streams as it is told to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, cycle
from typing import Any

import pytest

from plugin.engines import LoadPlan, LoadResult, ServedSettings
from plugin.engines import _server_load as server_load
from plugin.engines._server_events import EventReader
from plugin.engines.server import ServerEngine
from plugin.errors import CallError, OptionError, ServerDownError
from plugin.load_rows import StreamedRequest
from plugin.records import VANILLA, Message, Prompt
from plugin.worker import Stopped
from tests.inference_server import BASE, TUNED, InferenceServer, inference_server
from tests.judge_server import Reply
from tests.streams import Style

FAST = Style()


@contextmanager
def running(style: Style | None = FAST) -> Iterator[InferenceServer]:
    with inference_server() as server:
        server.styles = lambda number, body: style
        yield server


def prompt(number: int, variant: str = VANILLA) -> Prompt:
    return Prompt(f"case {number}", variant, (Message("user", f"question {number}"),), ())


def measure(
    server: InferenceServer,
    n: int = 1,
    n_at_once: int = 1,
    n_warm: int = 0,
    chat: bool = True,
    check: Any = lambda n_done: None,
    key: str = "",
) -> LoadResult:
    settings = ServedSettings(
        url=server.url,
        key=key,
        names={VANILLA: BASE, "tuned": TUNED},
        notes={},
        max_tokens=16,
        batch_size=4,
        chat_template=chat,
    )
    engine = ServerEngine(settings)
    counted = [(prompt(i), True) for i in range(n)]
    others = [(prompt(1000 + i), False) for i in range(n_warm)]
    plan = LoadPlan(chain(others, counted, cycle([(prompt(2000), False)])), n_at_once, n)
    try:
        return engine.run_load(plan, check)
    finally:
        engine.close()


def one(server: InferenceServer, **changed: Any) -> StreamedRequest:
    (row,) = measure(server, **changed).rows
    return row


def test_times_are_those_that_the_server_takes() -> None:
    with running(Style(first_s=0.1, token_s=0.02, n_tokens=6)) as server:
        row = one(server, n_warm=1)  # libraries are loaded with the first request
    assert row.first_s is not None and row.total_s is not None and row.tokens_per_s is not None
    assert 0.1 <= row.first_s < 5
    assert row.first_s + 5 * 0.02 * 0.9 <= row.total_s < 10
    assert 0.5 < row.tokens_per_s < 60
    assert (row.n_tokens, row.counted_by, row.n_pieces) == (6, "server", 6)
    assert row.first_answer_s == row.first_s and not row.has_thoughts
    assert (row.n_prompt_tokens, row.n_cached_tokens, row.failure) == (40, 10, "")
    body = server.requests[1]
    assert body["stream"] is True and body["stream_options"] == {"include_usage": True}
    assert server.headers[0]["accept-encoding"] == "identity"


def test_plain_text_is_streamed_too() -> None:
    with running() as server:
        row = one(server, chat=False)
    assert server.paths == ["/v1/completions"]
    assert (row.n_tokens, row.n_pieces) == (8, 8) and row.first_s


@pytest.mark.parametrize("thoughts_as", ["reasoning_content", "reasoning", "tags"])
def test_thoughts_come_before_the_answer(thoughts_as: str) -> None:
    style = Style(first_s=0.02, token_s=0.02, n_tokens=3, n_thoughts=4, thoughts_as=thoughts_as)
    with running(style) as server:
        row = one(server, n_warm=1)
    assert row.has_thoughts and row.n_pieces == 7 and row.n_tokens == 7
    assert row.first_s is not None and row.first_answer_s is not None
    assert row.first_answer_s - row.first_s >= 4 * 0.02 * 0.9


def test_an_answer_that_is_all_thought_has_no_first_token_of_its_own() -> None:
    with running(Style(n_tokens=0, n_thoughts=3, thoughts_as="reasoning")) as server:
        row = one(server)
    assert row.first_s and row.first_answer_s is None and row.has_thoughts and not row.failure


@pytest.mark.parametrize(
    "style",
    [
        Style(ending="\r\n"),
        Style(comments=True),
        Style(split=1, n_tokens=2),
        Style(split=7, ending="\r\n", piece="日本語🎉 "),
        Style(mark=False),
        Style(finish=False),
    ],
    ids=["crlf", "comments", "byte by byte", "split letters", "no [DONE]", "no finish reason"],
)
def test_any_way_to_write_a_stream_is_read(style: Style) -> None:
    with running(style) as server:
        row = one(server)
    assert not row.failure
    assert (row.n_pieces, row.n_tokens, row.counted_by) == (
        style.n_tokens,
        style.n_tokens,
        "server",
    )


def test_pieces_are_counted_where_the_server_counts_no_tokens() -> None:
    with running(Style(usage=False)) as server:
        row = one(server)
    assert (row.n_tokens, row.counted_by) == (8, "pieces")


def test_a_server_that_refuses_to_count_is_asked_without_it() -> None:
    def refuse(number: int, body: dict[str, Any]) -> Reply | None:
        asks = "stream_options" in body
        return Reply(status=400, text="unknown field stream_options") if asks else None

    with running() as server:
        server.fault = refuse
        rows = measure(server, n=3).rows
    assert [row.counted_by for row in rows] == ["pieces"] * 3
    assert len(server.requests) == 3 + 1


def test_a_prompt_that_is_refused_leaves_the_count_of_others() -> None:
    def refuse(number: int, body: dict[str, Any]) -> Reply | None:
        long = body["messages"][0]["content"] == "question 0"
        return Reply(status=400, text="this model's maximum context length") if long else None

    with running() as server:
        server.fault = refuse
        first, second = measure(server, n=2).rows
    assert first.failure == "HTTP 400: this model's maximum context length"
    assert first.total_s is None and second.counted_by == "server"


def test_a_server_that_does_not_stream_has_only_the_whole_time() -> None:
    with running(None) as server:
        server.latency_s = 0.05
        row = one(server)
    assert row.total_s is not None and row.total_s >= 0.05
    assert (row.first_s, row.tokens_per_s, row.n_pieces, row.n_tokens) == (None, None, 0, 8)


def test_a_stream_that_comes_in_one_go_arrives_once() -> None:
    with running(Style(first_s=0.05, at_once=True)) as server:
        row = one(server)
    assert (row.n_pieces, row.n_arrivals) == (8, 1)


@pytest.mark.parametrize(
    ("style", "reason"),
    [
        (Style(cut_after=3), "no answer: RemoteProtocolError"),
        (Style(error_after=3), "the server ended the stream with an error: CUDA out of memory"),
        (Style(mark=False, finish=False), "the stream was cut off before the answer ended"),
        (Style(endless=True), "the stream does not end: more than 1,256 pieces"),
    ],
    ids=["cut off", "an error within", "no end", "endless"],
)
def test_a_broken_stream_is_a_failure_and_no_time(style: Style, reason: str) -> None:
    with running() as server:
        server.styles = lambda number, body: style if number else FAST
        _, row = measure(server, n=2).rows
    assert row.failure.startswith(reason), row.failure
    assert (row.first_s, row.total_s, row.tokens_per_s) == (None, None, None)


def test_a_stream_that_says_nothing_more_ends_with_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_load, "_AFTER_END_S", 0.1)
    with running() as server:
        server.styles = lambda number, body: _Hanging()
        row = one(server)
    assert not row.failure and (row.n_tokens, row.counted_by) == (8, "pieces")
    assert row.total_s is not None and row.total_s < 2.0


class _Hanging(Style):
    """Ends its answer, and keeps the connection open."""

    def stream(self, body: dict[str, Any], chat: bool) -> Iterator[tuple[float, bytes]]:
        yield from Style(usage=False, mark=False).stream(body, chat)
        yield 2.0, b": still here\n\n"


def test_so_many_requests_are_under_way_at_once_from_the_first_to_the_last_that_counts() -> None:
    def last_is_slow(number: int, body: dict[str, Any]) -> Style:
        is_last = body["messages"][0]["content"] == "question 19"
        return Style(first_s=0.4 if is_last else 0.02, n_tokens=2)

    with running() as server:
        server.styles = last_is_slow
        found = measure(server, n=20, n_at_once=4, n_warm=4)
    assert server.n_at_once == 4
    asked = [json.dumps(body["messages"]) for body in server.requests]
    assert len(found.rows) == 20 and len({row.case_id for row in found.rows}) == 20
    assert all("question 100" in text for text in asked[:4])
    assert sum("question 2000" in text for text in asked) >= 3  # they fill the places at the end


def test_refusals_are_counted_and_a_level_that_is_refused_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_load, "_REST_S", 0.001)
    with running() as server:
        server.fault = lambda number, body: (
            Reply(status=429, text="slow down") if number % 2 else None
        )
        found = measure(server, n=10, n_at_once=2)
        assert sum(row.too_many for row in found.rows) in (4, 5, 6) and not found.gave_up
        server.fault = lambda number, body: Reply(status=429, text="slow down")
        found = measure(server, n=100, n_at_once=2)
    assert found.gave_up in [f"the server refused {n} requests in a row" for n in (22, 23)]
    assert all(row.too_many and row.failure == "HTTP 429: slow down" for row in found.rows)
    assert len(found.rows) < 30


def test_a_server_that_goes_away_ends_the_level() -> None:
    with running() as server:
        server.fault = lambda number, body: Reply(drop=True)
        with pytest.raises(ServerDownError, match="11 requests in a row failed at 1 at once"):
            measure(server, n=50)
        with pytest.raises(ServerDownError, match="3 requests in a row failed at 1 at once"):
            measure(server, n=3)
        with pytest.raises(ServerDownError, match="requests in a row failed at 4 at once"):
            measure(server, n=14, n_at_once=4)  # two may end in one moment


def test_a_wrong_key_ends_the_level_at_once() -> None:
    with running() as server:
        server.key = "right"
        with pytest.raises(OptionError, match="rejects the key in INFERENCE_API_KEY"):
            measure(server, n=5, key="wrong")
        assert len(server.requests) == 1


def test_a_stop_ends_the_level_soon() -> None:
    def stop(n_done: int) -> None:
        raise Stopped("stopped")

    with running(Style(first_s=30)) as server, pytest.raises(Stopped):
        measure(server, n=5, n_at_once=3, check=stop)


def read(*pieces: bytes) -> list[str]:
    reader = EventReader()
    return [one for piece in pieces for one in reader.add(piece)] + list(reader.end())


def test_events_are_read_as_the_standard_says() -> None:
    assert read(b"\xef\xbb\xbfdata: a\n\n") == ["a"]
    assert read(b"data: a\r", b"\ndata: b\r\n", b"\r\n") == ["a\nb"]
    assert read(b"data:a\rdata: b\r\rid: 1\n\ndata") == ["a\nb"]
    assert read(b":x\n\n\n\nretry: 5\n\ndata: last") == ["last"]
    assert read(b"data: " + "ü".encode()[:1], "ü".encode()[1:] + b"\n\n") == ["ü"]
    with pytest.raises(CallError, match="longer than is read"):
        read(*[b"data: " + b"x" * 60_000] * 20)
    with pytest.raises(CallError, match="ended the stream with an error: no memory"):
        read(b"event: error\ndata: no memory\n\n")
