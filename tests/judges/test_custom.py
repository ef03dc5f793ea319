from __future__ import annotations

from tests.judge_server import JudgeServer
from tests.judges.http_contract import KEY, HttpContract


class TestCustom(HttpContract):
    spec = label = "custom:some-model"

    def secrets(self, server: JudgeServer) -> dict[str, str]:
        return {"CUSTOM_JUDGE_BASE_URL": server.url, "CUSTOM_JUDGE_API_KEY": KEY}
