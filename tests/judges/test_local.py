from __future__ import annotations

import pytest

from plugin import judges
from plugin.errors import JudgeError
from plugin.journal import Journal
from plugin.judges import marks_its_own_work
from plugin.judges.openai import LocalJudge
from tests.judge_server import JudgeServer, Reply
from tests.judges.http_contract import HttpBasics, completions


class TestLocal(HttpBasics):
    spec, label = "local", "local:tiny-model"
    has_key = False

    def secrets(self, server: JudgeServer) -> dict[str, str]:
        return {"LOCAL_JUDGE_BASE_URL": server.url}

    def local(self, server: JudgeServer, spec: str = "local") -> LocalJudge:
        judge = judges.load(spec, self.secrets(server).get)
        assert isinstance(judge, LocalJudge)
        return judge

    def test_the_first_model_of_the_list_is_asked(
        self, server: JudgeServer, journal: Journal
    ) -> None:
        self.run(server, journal, completions(1)[:1])
        assert server.paths == ["/v1/models", "/v1/chat/completions"]
        assert server.requests[0]["model"] == "tiny-model"

    def test_a_named_model_is_asked_without_the_list(self, server: JudgeServer) -> None:
        judge = self.local(server, "local:other-model")
        assert (judge.label, judge.served_model) == ("local:other-model", "other-model")
        assert server.paths == []

    def test_it_knows_the_model_under_test(self, server: JudgeServer) -> None:
        judge = self.local(server)
        for same in ("tiny-model", "someone/Tiny-Model", "models/tiny-model/"):
            assert marks_its_own_work(judge, same)
        assert not marks_its_own_work(judge, "someone/tiny-model-2")
        assert server.paths == ["/v1/models"]

    @pytest.mark.parametrize(
        "reply",
        [
            Reply(status=500),
            Reply(status=401),
            Reply(body=b'{"data": []}'),
            Reply(body=b'{"data": [{"id": 7}]}'),
            Reply(body=b"<html>"),
            Reply(body=b"\xff\xfe\xfa"),
            Reply(body=b"[" * 200_000),
            Reply(status=307, headers={"location": "http://127.0.0.1:9/"}),
        ],
    )
    def test_a_server_without_a_model_says_so(self, reply: Reply, server: JudgeServer) -> None:
        server.list_fault = lambda: reply
        with pytest.raises(JudgeError, match=r"lists no model \(.*load a model into it"):
            self.local(server).served_model  # noqa: B018

    @pytest.mark.parametrize(
        "reply",
        [Reply(drop=True), Reply(reset=True), Reply(headers={"content-encoding": "gzip"})],
    )
    def test_a_server_that_does_not_answer_says_so(self, reply: Reply, server: JudgeServer) -> None:
        server.list_fault = lambda: reply
        with pytest.raises(JudgeError, match="the local server does not answer"):
            self.local(server).served_model  # noqa: B018

    def test_a_server_that_is_not_there_says_so(self) -> None:
        secrets = {"LOCAL_JUDGE_BASE_URL": "http://127.0.0.1:9/v1"}
        with pytest.raises(JudgeError, match=r"answer \(no answer: ConnectError\); load a model"):
            judges.load("local", secrets.get).identity  # noqa: B018
