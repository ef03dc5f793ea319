"""Judges that take less than they are asked for, or decline: against a real local server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plugin import judges, metrics
from plugin.errors import CallError, JudgeDownError
from plugin.journal import Journal
from plugin.judges.refusals import refuses_room, why_no_answer
from plugin.keys import SecretMask
from plugin.score import items_to_score, score_all
from plugin.worker import Progress
from tests.e2e.conftest import demo_options, main
from tests.judge_server import JudgeServer, Reply, answer
from tests.judges.http_contract import KEY, completions, judging
from tests.samples import case

ROOM = {
    "vLLM, messages and completion": (
        "This model's maximum context length is 4096 tokens. However, you requested {sum} tokens "
        "(404 in the messages, {asked} in the completion). Please reduce the length of the "
        "messages or completion."
    ),
    "vLLM, output tokens": (
        "This model's maximum context length is 4096 tokens. However, you requested {asked} output "
        "tokens and your prompt contains at least 404 input tokens, for a total of at least {sum} "
        "tokens. Please reduce the length of the input prompt or the number of requested output "
        "tokens."
    ),
    "vLLM, max_tokens": (
        "'max_tokens' or 'max_completion_tokens' is too large: {asked}. This model's maximum "
        "context length is 4096 tokens and your request has 404 input tokens ({asked} > 4096 - 404)"
    ),
    "llama.cpp in Python": (
        "This model's maximum context length is 2048 tokens, however you requested {sum} tokens "
        "(404 in your prompt; {asked} for the completion). Please reduce your prompt; or "
        "completion length."
    ),
    "SGLang": (
        "Requested token count exceeds the model's maximum context length of 4096 tokens. You "
        "requested a total of {sum} tokens: 404 tokens from the input messages and {asked} tokens "
        "for the completion."
    ),
    "OpenAI": (
        "max_tokens is too large: {asked}. This model supports at most 2048 completion tokens, "
        "whereas you provided {asked}."
    ),
    "OpenAI, max_completion_tokens": (
        "Invalid 'max_completion_tokens': integer above maximum value. Expected a value <= 2048, "
        "but got {asked} instead."
    ),
    "Anthropic": (
        "max_tokens: {asked} > 2048, which is the maximum allowed number of output tokens for "
        "claude-some"
    ),
    "Anthropic, context": (
        "input length and `max_tokens` exceed context limit: 199000 + {asked} > 200000, decrease "
        "input length or `max_tokens` and try again"
    ),
    "Groq": "max_tokens for `some` must be less than or equal to 2000",
    "DeepSeek": "Invalid max_tokens value, the valid range of max_tokens is [1, 2048]",
    "Qwen": "InternalError.Algo.InvalidParameter: Range of max_tokens should be [1, 2048]",
    "others": "max_tokens (current value: {asked}) must be between 0 and 4000",
    "TGI": (
        "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 404 `inputs` tokens and "
        "{asked} `max_new_tokens`"
    ),
    "Bedrock": (
        "The maximum tokens you requested exceeds the model limit of 2048. Try again with a "
        "maximum tokens value that is lower than 2048."
    ),
    "Gemini": (
        "Unable to submit request because it has a maxOutputTokens value of {asked} but the "
        "supported range is from 1 (inclusive) to 2049 (exclusive)."
    ),
    "Ollama's cloud": "num_predict {asked} is too large for this model",
    "tokens per minute": (
        "Request too large for model `some` on tokens per minute (TPM): Limit 6000, Requested "
        "{sum}, please reduce your message size and try again."
    ),
}


def words(form: str, asked: int) -> str:
    return form.format(asked=asked, sum=asked + 404)


@pytest.mark.parametrize("form", ROOM.values(), ids=ROOM)
def test_a_refusal_of_the_room_is_known_in_every_servers_words(form: str) -> None:
    for status in (400, 413, 422):
        error = CallError(f"HTTP {status}: {words(form, 4096)}"[:310], status=status)
        assert refuses_room(error, 4096)


@pytest.mark.parametrize(
    "said",
    [
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
        "'max_completion_tokens' instead.",
        "max_tokens: Extra inputs are not permitted",
        "max_tokens must be at least 1, got -186.",
        "Invalid 'max_tokens': integer below minimum value. Expected a value >= 5000, but got 4096",
        "request (4390 tokens) exceeds the available context size (2500 tokens), try increasing it",
        "the input length exceeds the context length",
        "temperature is too high, the maximum is 1",
        "Invalid schema: too many properties",
        "no schemas here",
    ],
)
def test_another_refusal_is_another_matter(said: str) -> None:
    assert not refuses_room(CallError(f"HTTP 400: {said}", status=400), 4096)
    assert not refuses_room(CallError(words(ROOM["OpenAI"], 4096), status=500), 4096)


def test_a_request_larger_than_a_minutes_share_is_one_too_and_a_busy_server_is_not() -> None:
    large = CallError(f"HTTP 429: {words(ROOM['tokens per minute'], 4096)}", status=429)
    busy = CallError("HTTP 429: Rate limit reached: at most 4096 tokens per minute", status=429)
    assert refuses_room(large, 4096) and not refuses_room(busy, 4096)


@pytest.mark.parametrize(
    "message",
    [
        {"refusal": f"No, {KEY} is secret"},
        {"tool_calls": [{"function": {"name": KEY}}]},
        {"function_call": {"name": KEY}},
    ],
)
def test_a_key_in_what_is_no_answer_is_hidden(message: dict[str, Any]) -> None:
    why = why_no_answer(message, "stop", "", SecretMask(KEY))
    assert "[key]" in why and KEY not in why


def test_a_number_with_a_comma_is_a_number() -> None:
    said = "HTTP 400: the context holds at most 4,200; you asked for 404 and 4,096"
    assert refuses_room(CallError(said, status=400), 4096)
    assert not refuses_room(CallError(said, status=400), 512)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "run")


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugin.net.FIRST_WAIT_S", 0.01)


KINDS = ("custom", "anthropic", "ollama")


def judge_at(server: JudgeServer, kind: str = "custom") -> judges.Judge:
    pytest.importorskip("anthropic" if kind == "anthropic" else "openai")
    known = {
        "CUSTOM_JUDGE_BASE_URL": server.url,
        "ANTHROPIC_BASE_URL": server.host,
        "ANTHROPIC_API_KEY": KEY,
        "OLLAMA_HOST": server.host,
    }
    return judges.load(f"{kind}:some", known.get)


def asked_room(body: dict[str, Any]) -> int:
    limits = (body.get("max_tokens"), body.get("options", {}).get("num_predict"))
    return next(int(limit) for limit in limits if limit)


def scored(server: JudgeServer, journal: Journal, n: int = 3, kind: str = "custom") -> None:
    texts = completions(n)
    items = items_to_score([case(str(i)) for i in range(n)], texts, metrics.load(["Correctness"]))
    score_all(items, judging(judge_at(server, kind), concurrency=1), journal, Progress())


@pytest.mark.parametrize("kind", KINDS)
def test_room_that_is_refused_is_halved_and_remembered(
    kind: str, server: JudgeServer, journal: Journal
) -> None:
    server.fault = lambda n, body: (
        Reply(status=400, text=words(ROOM["OpenAI"], asked_room(body)))
        if asked_room(body) > 2048
        else None
    )
    scored(server, journal, kind=kind)
    assert len(journal.scores()) == 6 and not journal.failures()
    assert [asked_room(body) for body in server.requests] == [4096, *[2048] * 6]
    shape = {"custom": "response_format", "anthropic": "output_config", "ollama": "format"}[kind]
    assert all(shape in body for body in server.requests)  # the schema stays


def test_one_long_prompt_leaves_the_others_their_room(
    server: JudgeServer, journal: Journal
) -> None:
    def short_context(number: int, body: dict[str, Any]) -> Reply | None:
        n_most = 300 if "Richard 1 is played by T" in str(body) else 2048
        refused = Reply(status=400, text=words(ROOM["SGLang"], asked_room(body)))
        return refused if asked_room(body) > n_most else None

    server.fault = short_context
    scored(server, journal)
    assert len(journal.scores()) == 6
    rooms = [asked_room(body) for body in server.requests]
    assert rooms == [4096, 2048, 2048, 2048, 2048, 1024, 512, 256, 2048, 2048]


def test_room_that_was_little_for_the_first_grows_for_the_others(
    server: JudgeServer, journal: Journal
) -> None:
    def short_context(number: int, body: dict[str, Any]) -> Reply | None:
        n_most = 128 if "Richard 0 is played by N" in str(body) else 1024
        if asked_room(body) > n_most:
            return Reply(status=400, text=words(ROOM["SGLang"], asked_room(body)))
        cut = asked_room(body) < 500 and n_most > 500
        return Reply(text='{"score"', finish_reason="length") if cut else None

    server.fault = short_context
    scored(server, journal)
    assert len(journal.scores()) == 6
    rooms = [asked_room(body) for body in server.requests]
    assert rooms[:6] == [4096, 2048, 1024, 512, 256, 128]
    assert rooms.count(128) <= 3  # two questions are under way together
    assert rooms[-3:] == [1024, 1024, 1024]


def test_a_prompt_that_fills_the_context_fails_in_the_servers_words(
    server: JudgeServer, journal: Journal
) -> None:
    server.fault = lambda n, body: Reply(
        status=400, text=words(ROOM["vLLM, max_tokens"], asked_room(body))
    )
    scored(server, journal, n=1)
    reasons = {failure.reason for failure in journal.failures()}
    (reason,) = reasons
    assert reason.startswith("HTTP 400: 'max_tokens' or 'max_completion_tokens' is too large: 128.")
    assert reason.endswith(
        "(asked with room for an answer of 4,096 tokens, then for less, down to 128)"
    )
    rooms = [asked_room(body) for body in server.requests]
    assert rooms == [4096, 2048, 1024, 512, 256, 128] * 2


def test_an_answer_cut_off_in_little_room_says_why_it_was_little(
    server: JudgeServer, journal: Journal
) -> None:
    def short(number: int, body: dict[str, Any]) -> Reply:
        if asked_room(body) > 2048:
            return Reply(status=400, text=words(ROOM["OpenAI"], asked_room(body)))
        return Reply(text='{"score"', finish_reason="length")

    server.fault = short
    scored(server, journal, n=1)
    reason = journal.failures()[0].reason
    assert "the answer was cut off (HTTP 400: max_tokens is too large: 4096. This model" in reason


def of_openai(message: dict[str, Any], ended: str = "stop") -> bytes:
    return json.dumps({"choices": [{"message": message, "finish_reason": ended}]}).encode()


CALL = {"id": "1", "type": "function", "function": {"name": "search", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        (
            "custom",
            of_openai({"content": None, "refusal": "I'm sorry,\nI cannot help."}),
            "the model declined to answer: I'm sorry, I cannot help.",
        ),
        (
            "custom",
            of_openai({"content": ""}, "content_filter"),
            "the server's content filter stopped the answer (finish_reason content_filter)",
        ),
        (
            "custom",
            of_openai({"content": '{"score": 4, "rea'}, "content_filter"),
            "the server's content filter stopped the answer (finish_reason content_filter)",
        ),
        (
            "custom",
            of_openai({"content": None, "tool_calls": [CALL]}, "tool_calls"),
            "the model called a tool (search) instead of answering",
        ),
        (
            "custom",
            of_openai({"content": "", "function_call": {"name": "search"}}, "function_call"),
            "the model called a tool (search) instead of answering",
        ),
        (
            "ollama",
            json.dumps({"message": {"content": "", "tool_calls": [CALL]}}).encode(),
            "the model called a tool (search) instead of answering",
        ),
        (
            "anthropic",
            b'{"content": [], "stop_reason": "refusal"}',
            "the model declined to answer",
        ),
    ],
)
def test_what_is_no_answer_is_named_and_asked_once(
    kind: str, body: bytes, reason: str, server: JudgeServer, journal: Journal
) -> None:
    server.fault = lambda n, asked: Reply(body=body)
    scored(server, journal, n=1, kind=kind)
    assert {failure.reason for failure in journal.failures()} == {reason}
    assert len(server.requests) == 2  # of two completions


def test_a_refusal_beside_an_answer_does_no_harm(server: JudgeServer, journal: Journal) -> None:
    message = {"content": '{"score": 4, "reason": "so"}', "refusal": "", "tool_calls": None}
    server.fault = lambda n, body: Reply(body=of_openai(message))
    scored(server, journal, n=1)
    assert [score.value for score in journal.scores()] == [0.4, 0.4]


def test_an_empty_answer_is_called_empty(server: JudgeServer, journal: Journal) -> None:
    server.fault = lambda n, body: Reply(text="  ")
    scored(server, journal, n=1)
    assert "the answer is empty" in journal.failures()[0].reason


def test_a_question_that_the_filter_stops_is_asked_once(
    server: JudgeServer, journal: Journal
) -> None:
    said = "The response was filtered due to Azure OpenAI's content management policy."
    server.fault = lambda n, body: Reply(status=400, text=said)
    scored(server, journal, n=1)
    assert {failure.reason for failure in journal.failures()} == {f"HTTP 400: {said}"}
    assert len(server.requests) == 2


def test_milliseconds_to_wait_are_read(server: JudgeServer, journal: Journal) -> None:
    server.fault = lambda n, body: (
        Reply(status=429, headers={"retry-after-ms": "10", "retry-after": "60"}) if not n else None
    )
    scored(server, journal, n=1)  # it would take a minute
    assert len(journal.scores()) == 2


def test_a_judge_that_wants_half_an_hour_ends_the_run_and_says_so(
    server: JudgeServer, journal: Journal
) -> None:
    server.fault = lambda n, body: (
        Reply(status=429, text="daily quota", headers={"retry-after": "1799"}) if n == 2 else None
    )
    with pytest.raises(JudgeDownError) as caught:
        scored(server, journal)
    assert str(caught.value) == (
        "the judge custom:some asks to wait 30 minutes before the next call (HTTP 429: daily "
        "quota). Everything made so far is kept; resume the run after that time"
    )
    assert len(server.requests) == 3 and len(journal.scores()) == 2
    server.fault = lambda n, body: None
    scored(server, journal)
    assert len(journal.scores()) == 6


def test_the_command_line_says_how_to_go_on_after_the_wait(
    server: JudgeServer, tmp_path: Path
) -> None:
    server.fault = lambda n, body: Reply(status=429, headers={"retry-after": "7200"})
    options = {"predefined_tasks": "Correctness", "judge": "custom:some", "max_tokens": "8"}
    ended = main(*demo_options(tmp_path / "o", **options), CUSTOM_JUDGE_BASE_URL=server.url)
    assert ended.code == 1
    assert "asks to wait 2 hours before the next call" in ended.err
    assert "Go on with: python main.py resume" in ended.err


def test_many_versions_of_a_judges_model_are_summarised(
    server: JudgeServer, tmp_path: Path
) -> None:
    def another_each_time(number: int, body: dict[str, Any]) -> Reply:
        choice = {"message": {"content": answer(body)}, "finish_reason": "stop"}
        found = {"model": f"m-{number}", "choices": [choice]}
        return Reply(body=json.dumps(found).encode())

    server.fault = another_each_time
    options = {"predefined_tasks": "Correctness", "judge": "custom:some", "max_tokens": "8"}
    ended = main(
        *demo_options(tmp_path / "o", trust_report="false", **options),
        CUSTOM_JUDGE_BASE_URL=server.url,
    )
    assert ended.code == 0, ended.err
    n = len(server.requests)
    assert n > 5
    assert f"reported {n} versions of its model" in ended.out
    assert "(m-0, m-1, m-10, ...), so its scores" in ended.out
