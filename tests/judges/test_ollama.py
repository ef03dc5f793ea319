from __future__ import annotations

from typing import Any

import pytest

from plugin import judges
from plugin.errors import JudgeError
from plugin.journal import Journal
from plugin.judges.ollama import _ollama_url
from tests.judge_server import JudgeServer, Reply
from tests.judges.http_contract import HttpBasics, completions


class TestOllama(HttpBasics):
    spec = label = "ollama:some-model:8b"
    has_key = False
    unknown_model = "Ollama does not have this model; .* `ollama pull some-model:8b`"

    def secrets(self, server: JudgeServer) -> dict[str, str]:
        return {"OLLAMA_HOST": server.host}

    def test_it_is_asked_in_its_own_words(self, server: JudgeServer, journal: Journal) -> None:
        self.run(server, journal, completions(1)[:1])
        (body,) = server.requests
        assert server.paths == ["/api/chat"]
        assert (body["model"], body["stream"]) == ("some-model:8b", False)
        assert (body["truncate"], body["shift"]) == (False, False)
        assert body["format"]["required"] == ["reason", "score"]
        assert body["options"]["temperature"] == body["options"]["seed"] == 0
        assert body["options"]["num_predict"] > 0

    def test_an_old_server_is_asked_for_any_json(
        self, server: JudgeServer, journal: Journal
    ) -> None:
        def old(number: int, body: dict[str, Any]) -> Reply | None:
            if isinstance(body.get("format"), dict):
                return Reply(status=400, text="json: cannot unmarshal object into format")
            return None

        server.fault = old
        self.run(server, journal)
        assert len(journal.scores()) == 6
        assert server.requests[-1]["format"] == "json"

    def test_another_server_at_the_address_says_so(
        self, server: JudgeServer, journal: Journal
    ) -> None:
        server.fault = lambda n, body: Reply(status=404, body=b"404 page not found")
        with pytest.raises(JudgeError, match="not an Ollama server .* check OLLAMA_HOST"):
            self.run(server, journal)

    def test_a_password_reaches_the_server_and_nobody_else(
        self, server: JudgeServer, journal: Journal
    ) -> None:
        secrets = {"OLLAMA_HOST": server.host.replace("//", "//me:pass-word-4711@")}
        said = "bad: pass-word-4711 bWU6cGFzcy13b3JkLTQ3MTE="
        server.fault = lambda n, body: Reply(status=400, text=said)
        self.secrets = lambda server: secrets  # type: ignore[method-assign]
        self.run(server, journal, completions(1)[:1])
        assert server.keys[0] == "Basic bWU6cGFzcy13b3JkLTQ3MTE="
        assert journal.failures()[0].reason == "HTTP 400: bad: [key] [key]"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://localhost:11434"),
        ("box", "http://box:11434"),
        ("box:1234", "http://box:1234"),
        (":1234", "http://localhost:1234"),
        ("[::1]", "http://[::1]:11434"),
        ("[::1]:80", "http://[::1]:80"),
        ("box/behind", "http://box:11434/behind"),
        ("http://box", "http://box"),
        ("https://box:1/x", "https://box:1/x"),
    ],
)
def test_a_host_is_written_as_for_ollama_itself(host: str, url: str) -> None:
    assert _ollama_url(host) == url


@pytest.mark.parametrize("host", ["ftp://box", "box:port", "a b", "[::1", "http://[bad"])
def test_what_is_no_host_says_so(host: str) -> None:
    with pytest.raises(JudgeError, match="OLLAMA_HOST .* is not an http or https address"):
        judges.load("ollama:m", {"OLLAMA_HOST": host}.get)


def test_a_model_must_be_named() -> None:
    with pytest.raises(JudgeError, match="needs a model: write --judge ollama:<model>"):
        judges.load("ollama", lambda name: None)
