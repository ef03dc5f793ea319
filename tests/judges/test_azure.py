from __future__ import annotations

import pytest

from plugin import judges
from plugin.errors import JudgeError
from plugin.journal import Journal
from tests.judge_server import JudgeServer
from tests.judges.http_contract import KEY, HttpBasics, completions


class TestAzure(HttpBasics):
    spec = label = "azure:some-deployment"

    def secrets(self, server: JudgeServer) -> dict[str, str]:
        return {"AZURE_OPENAI_API_KEY": KEY, "AZURE_OPENAI_ENDPOINT": server.host}

    @pytest.mark.parametrize("version", ["", "2025-04-01-preview"])
    def test_the_deployment_is_asked_with_key_and_version(
        self, version: str, server: JudgeServer, journal: Journal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AZURE_OPENAI_AD_TOKEN", "a-token")
        secrets = self.secrets(server)
        secrets |= {"OPENAI_API_VERSION": version} if version else {}
        monkeypatch.setattr(self, "secrets", lambda server: secrets)
        self.run(server, journal, completions(1)[:1])
        asked = f"/openai/deployments/some-deployment/chat/completions?api-version={version}"
        assert server.paths == [asked if version else f"{asked}2024-10-21"]
        sent = {name.lower(): value for name, value in server.headers[0].items()}
        assert sent["api-key"] == KEY
        assert "a-token" not in str(sent)

    @pytest.mark.parametrize(
        ("spec", "left_out", "message"),
        [
            ("azure", "", "needs a deployment: write --judge azure:<deployment>"),
            ("azure:d", "AZURE_OPENAI_API_KEY", "needs a key and .*: set AZURE_OPENAI_API_KEY$"),
            ("azure:d", "AZURE_OPENAI_ENDPOINT", "an endpoint.*: set AZURE_OPENAI_ENDPOINT$"),
        ],
    )
    def test_what_is_missing_is_named(
        self, spec: str, left_out: str, message: str, server: JudgeServer
    ) -> None:
        secrets = {**self.secrets(server), left_out: ""}
        with pytest.raises(JudgeError, match=message):
            judges.load(spec, secrets.get)
