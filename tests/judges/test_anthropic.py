from __future__ import annotations

import sys

import pytest

from plugin import judges
from plugin.errors import JudgeError
from plugin.journal import Journal
from tests.judge_server import JudgeServer, Reply
from tests.judges.http_contract import KEY, HttpBasics, completions


class TestAnthropic(HttpBasics):
    spec = label = "anthropic:some-claude"

    def secrets(self, server: JudgeServer) -> dict[str, str]:
        return {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": server.host}

    def test_the_answer_is_bound_to_a_closed_schema(
        self, server: JudgeServer, journal: Journal
    ) -> None:
        self.run(server, journal, completions(1)[:1])
        (body,) = server.requests
        assert (body["model"], body["temperature"]) == ("some-claude", 0)
        assert body["output_config"]["format"]["type"] == "json_schema"
        assert body["output_config"]["format"]["schema"]["additionalProperties"] is False
        assert "tools" not in body
        assert server.paths == ["/v1/messages"]
        assert server.keys[0].removeprefix("Bearer ") == KEY

    def test_a_model_without_output_formats_is_asked_through_a_tool(
        self, server: JudgeServer, journal: Journal
    ) -> None:
        server.fault = lambda n, body: (
            Reply(status=400, text="output_config.format: not supported")
            if "output_config" in body
            else None
        )
        self.run(server, journal)
        assert len(journal.scores()) == 6
        body = server.requests[-1]
        assert body["tool_choice"] == {"type": "tool", "name": body["tools"][0]["name"]}
        assert body["tools"][0]["input_schema"]["required"] == ["reason", "score"]

    def test_neither_format_nor_tool_leaves_plain_words(
        self, server: JudgeServer, journal: Journal
    ) -> None:
        server.fault = lambda n, body: (
            Reply(status=400, text="no") if "tools" in body or "output_config" in body else None
        )
        self.run(server, journal)
        assert len(journal.scores()) == 6
        assert "tools" not in server.requests[-1]

    def test_a_model_that_takes_no_temperature_is_asked_without(
        self, server: JudgeServer, journal: Journal
    ) -> None:
        server.fault = lambda n, body: (
            Reply(status=400, text="`temperature` is deprecated") if "temperature" in body else None
        )
        self.run(server, journal)
        assert len(journal.scores()) == 6
        assert "output_config" in server.requests[-1]

    def test_a_model_that_declines_is_a_failure_asked_once(
        self, server: JudgeServer, journal: Journal
    ) -> None:
        declined = b'{"content": [], "stop_reason": "refusal"}'
        reason = self.one_failure(server, journal, Reply(body=declined))
        assert reason == "the model declined to answer"
        assert len(server.requests) == 1

    def test_account_settings_stay_at_home(
        self, server: JudgeServer, journal: Journal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "a-token")
        monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "X-Token: mine")
        self.run(server, journal, completions(1)[:1])
        assert "a-token" not in str(server.headers) and "mine" not in str(server.headers)

    def test_a_missing_library_says_how_to_install_it(
        self, server: JudgeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "anthropic", None)
        with pytest.raises(JudgeError, match="run `python -m pip install anthropic`"):
            self.judge(server)

    def test_a_missing_key_is_named(self) -> None:
        with pytest.raises(JudgeError, match="anthropic:m needs a key: set ANTHROPIC_API_KEY"):
            judges.load("anthropic:m", lambda name: None)
