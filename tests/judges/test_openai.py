from __future__ import annotations

from plugin import judges
from plugin.journal import Journal
from tests.judge_server import JudgeServer
from tests.judges.http_contract import KEY, HttpBasics, completions


class TestOpenAI(HttpBasics):
    spec = label = "openai:gpt-some"

    def secrets(self, server: JudgeServer) -> dict[str, str]:
        return {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.url}

    def test_the_key_and_the_model_are_sent(self, server: JudgeServer, journal: Journal) -> None:
        self.run(server, journal, completions(1)[:1])
        assert server.keys == [f"Bearer {KEY}"]
        assert server.requests[0]["model"] == "gpt-some"


def test_every_kind_is_among_the_choices() -> None:
    named = {choice.partition(":")[0] for choice in judges.choices().split(", ")}
    assert named == set(judges.PROVIDERS)
