from __future__ import annotations

import pytest

from plugin import judges
from plugin.errors import JudgeError
from plugin.journal import Journal
from tests.judge_server import JudgeServer
from tests.judges.http_contract import KEY, HttpContract, completions


class TestOpenAI(HttpContract):
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


@pytest.mark.parametrize(
    ("spec", "meant"),
    [
        ("opnai:gpt-4o", "openai:gpt-4o"),
        ("OpenAI:gpt-4o", "openai:gpt-4o"),
        ("antropic:claude-sonnet-4-5", "anthropic:claude-sonnet-4-5"),
        ("olama:llama3:8b", "ollama:llama3:8b"),
        ("transformer:a/b", "transformers:a/b"),
        ("ofline", "offline"),
        ("anthropik", "anthropic:<model>"),
    ],
)
def test_a_mistyped_judge_gets_a_suggestion(spec: str, meant: str) -> None:
    with pytest.raises(JudgeError) as caught:
        judges.load(spec, {}.get)
    assert str(caught.value) == (
        f"unknown judge {spec!r}, did you mean {meant!r}? --judge takes one of {judges.choices()}"
    )


@pytest.mark.parametrize("spec", ["gpt-4o", "mystery:m", ":m"])
def test_no_suggestion_where_nothing_is_like_it(spec: str) -> None:
    with pytest.raises(JudgeError) as caught:
        judges.load(spec, {}.get)
    assert str(caught.value) == f"unknown judge {spec!r}; --judge takes one of {judges.choices()}"
