"""Answers that are far too long or slow: a real server gets rid of little, and memory stays."""

from __future__ import annotations

import asyncio
import gzip
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from plugin import judges
from plugin.body import BoundedBody
from plugin.engines import NO_ANSWER, ServedSettings
from plugin.engines._server_api import find_served
from plugin.engines.server import ServerEngine
from plugin.errors import CallError, JudgeDownError, JudgeError, ModelError
from plugin.journal import Journal
from plugin.judges.asking import Asker, AskSettings
from plugin.judges.spending import SpendLimits, SpendMeter
from plugin.net import N_TRIES
from plugin.records import VANILLA, Failure, Message, Prompt
from tests.endless_server import MIB, endless_server
from tests.judge_server import judge_server

MOST_SENT = 24 * MIB
"""The 8 MiB that are read, and what lies in the sockets' buffers."""

MOST_MEMORY = 40 * MIB
"""For each answer: a few copies of 8 MiB, and imports; the answer itself has 64 MiB."""

CODINGS = ["", "gzip", "deflate", "tail"]
TOO_LONG = "the answer is longer than 8388608 bytes, the most that is read"


class Opinion(BaseModel):
    verdict: str


@contextmanager
def little_memory(n_answers: int = 1) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MOST_MEMORY * n_answers, f"{peak / MIB:.0f} MiB"


def judge_at(kind: str, url: str) -> judges.Judge:
    pytest.importorskip("anthropic" if kind == "anthropic" else "openai")
    address = {
        "openai": "OPENAI_BASE_URL",
        "custom": "CUSTOM_JUDGE_BASE_URL",
        "azure": "AZURE_OPENAI_ENDPOINT",
        "anthropic": "ANTHROPIC_BASE_URL",
        "ollama": "OLLAMA_HOST",
        "local": "LOCAL_JUDGE_BASE_URL",
    }[kind]
    keys = ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "ANTHROPIC_API_KEY")
    return judges.load(f"{kind}:some", {address: url, **dict.fromkeys(keys, "sk-key")}.get)


def asked(judge: judges.Judge) -> CallError:
    async def ask() -> None:
        try:
            await judge.ask("Why?", Opinion)
        finally:
            await judge.close()

    with pytest.raises(CallError) as caught:
        asyncio.run(ask())
    return caught.value


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("kind", ["openai", "azure", "anthropic", "ollama", "local"])
def test_a_judge_reads_8_mib_and_hangs_up(kind: str, coding: str) -> None:
    with endless_server(coding) as server:
        judge = judge_at(kind, server.url)
        with little_memory():
            error = asked(judge)
        assert str(error) == TOO_LONG and not error.retry
        assert server.n_sent < MOST_SENT


@pytest.mark.parametrize("coding", ["", "gzip"])
def test_of_a_long_message_about_an_error_the_status_counts(coding: str) -> None:
    with endless_server(coding, status=429) as server, little_memory():
        error = asked(judge_at("custom", server.url))
        assert error.too_many and error.retry and str(error).startswith("HTTP 429: ")
        assert len(str(error)) < 400
        assert server.n_sent < MOST_SENT


@pytest.mark.parametrize("coding", CODINGS)
def test_the_server_engine_reads_8_mib_and_hangs_up(coding: str) -> None:
    with endless_server(coding) as server:
        settings = ServedSettings(
            url=server.url,
            key="",
            names={VANILLA: "some"},
            notes={},
            max_tokens=8,
            batch_size=4,
            chat_template=True,
        )
        prompts = [Prompt(str(i), VANILLA, (Message("user", "Hello"),), ()) for i in range(4)]
        with closing(ServerEngine(settings)) as engine, little_memory(4):
            found = [one for ended in engine.generate(prompts) for one in ended]
        assert [isinstance(one, Failure) and one.reason for one in found] == [TOO_LONG] * 4
        assert server.n_requests == 4 and server.n_sent < 4 * MOST_SENT


@pytest.mark.parametrize("coding", CODINGS)
def test_lists_of_models_are_bounded_too(coding: str) -> None:
    with endless_server(coding) as server, little_memory():
        with pytest.raises(ModelError, match=TOO_LONG):
            find_served(server.url, "", {"some": "--model_name"}, chat=True)
        local = judges.load("local", {"LOCAL_JUDGE_BASE_URL": server.url}.get)
        with pytest.raises(JudgeError, match=TOO_LONG):
            _ = local.label
        assert server.n_sent < 2 * MOST_SENT


LIMIT_S = 0.3
SLOW = ["drip", "drip header", "slow"]
"""All of these answers go on for ten seconds and more."""


@pytest.fixture
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugin.net.FIRST_WAIT_S", 0.01)
    monkeypatch.setattr("plugin.engines.server.TIMEOUT_S", LIMIT_S)
    monkeypatch.setattr("plugin.engines._server_api._TIMEOUT_S", LIMIT_S)
    monkeypatch.setattr("plugin.judges.openai._LOCAL_TIMEOUT_S", LIMIT_S)


@contextmanager
def little_time(n_requests: int = 1) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < n_requests * (LIMIT_S + 2)  # an answer takes ten seconds


@pytest.mark.usefixtures("short_limits")
@pytest.mark.parametrize("coding", SLOW)
@pytest.mark.parametrize("kind", ["openai", "anthropic", "ollama", "local"])
def test_a_judge_has_a_limit_for_the_whole_of_an_answer(
    kind: str, coding: str, tmp_path: Path
) -> None:
    async def ask(judge: judges.Judge, journal: Journal) -> None:
        settings = AskSettings(concurrency=1, timeout_s=LIMIT_S)
        asker = Asker(judge, journal, settings, SpendMeter(SpendLimits(), journal))
        try:
            await asker("Why?", Opinion, lambda answer: None)
        finally:
            await asker.close()

    with endless_server(coding) as server, closing(Journal(tmp_path)) as journal, little_memory():
        with pytest.raises(JudgeDownError, match="no answer within 0.3 s"), little_time(N_TRIES):
            asyncio.run(ask(judge_at(kind, server.url), journal))
        # As after any other time-out; a busy machine may lose the first before it is sent.
        assert N_TRIES - 1 <= server.n_requests <= N_TRIES


@pytest.mark.usefixtures("short_limits")
@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("coding", SLOW)
def test_the_server_engine_has_a_limit_for_the_whole_of_an_answer(coding: str, status: int) -> None:
    settings = ServedSettings("", "", {VANILLA: "some"}, {}, 8, 2, True)
    prompts = [Prompt(str(i), VANILLA, (Message("user", "Hello"),), ()) for i in range(2)]
    with endless_server(coding, status) as server, little_memory(2):
        with closing(ServerEngine(replace(settings, url=server.url))) as engine:
            with little_time(2 * N_TRIES):
                found = [one for ended in engine.generate(prompts) for one in ended]
        reasons = [one.reason for one in found if isinstance(one, Failure)]
        said = f"{NO_ANSWER} (no answer within 0.3 s); a resumed run tries again"
        assert reasons == [said] * 2
        assert 2 * N_TRIES - 2 <= server.n_requests <= 2 * N_TRIES


@pytest.mark.usefixtures("short_limits")
@pytest.mark.parametrize("coding", SLOW)
def test_lists_of_models_have_a_limit_for_the_whole_of_an_answer(coding: str) -> None:
    with endless_server(coding) as server, little_time(2):
        with pytest.raises(ModelError, match="no answer within 0.3 s"):
            find_served(server.url, "", {"some": "--model_name"}, chat=True)
        local = judges.load("local", {"LOCAL_JUDGE_BASE_URL": server.url}.get)
        with pytest.raises(JudgeError, match="does not answer .no answer within 0.3 s"):
            _ = local.label


def test_a_list_of_models_can_be_asked_for_from_an_event_loop() -> None:
    async def label(url: str) -> str:
        return judges.load("local", {"LOCAL_JUDGE_BASE_URL": url}.get).label

    with judge_server() as server:
        assert asyncio.run(label(server.url)) == "local:tiny-model"


def unpacked(coding: str, body: bytes, n_piece: int = 7) -> bytes:
    bounded = BoundedBody(coding)
    for start in range(0, len(body), n_piece):
        assert bounded.add(body[start : start + n_piece])
    answer: Any = httpx.Response(200, headers={"content-encoding": coding})
    bounded.put_into(answer)
    return b"".join(answer.stream)


def test_what_is_packed_comes_out_whole() -> None:
    text = bytes(range(256)) * 20
    bare = zlib.compressobj(wbits=-15)
    assert unpacked("", text) == text
    assert unpacked("identity", text) == text
    assert unpacked("gzip", gzip.compress(text)) == text
    assert unpacked(" GZip ", gzip.compress(text)) == text
    assert unpacked("deflate", zlib.compress(text)) == text
    assert unpacked("deflate", bare.compress(text) + bare.flush()) == text


def test_what_cannot_be_unpacked_is_a_failed_call() -> None:
    with pytest.raises(CallError, match="only gzip and deflate are"):
        BoundedBody("br")
    with pytest.raises(CallError, match="cannot be unpacked"):
        BoundedBody("gzip").add(b"no gzip at all")
