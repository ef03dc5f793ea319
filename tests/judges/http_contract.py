"""What judges behind HTTP must do, against a real local server.

`HttpBasics` is what depends on a kind's own code or on its client: every kind's test file makes a
class of it that says how the kind is named and where its secrets go. `HttpContract` adds what all
have in common; it runs on one kind, the plain server that speaks OpenAI's protocol.
"""

from __future__ import annotations

import base64
import json
import logging
import time
import traceback
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from plugin import judges, metrics
from plugin.errors import JudgeDownError, JudgeError
from plugin.journal import Journal
from plugin.judges.panel import Judging
from plugin.net import N_TRIES
from plugin.records import Completion
from plugin.score import items_to_score, score_all
from plugin.worker import Progress
from tests.e2e.conftest import demo_options, main, summary
from tests.judge_server import JudgeServer, Reply
from tests.samples import case, completion

KEY = "sk/secret+4711-never-shown"
SPELLINGS = (
    KEY,
    quote(KEY, safe=""),
    quote(KEY),
    base64.b64encode(KEY.encode()).decode(),
    base64.b64encode(f"Bearer {KEY}".encode()).decode(),
)
CONCURRENCY = 4


def judging(judge: judges.Judge, concurrency: int = CONCURRENCY, timeout_s: float = 60) -> Judging:
    """However many scores fail."""
    return Judging(
        (judge,),
        concurrency=concurrency,
        timeout_s=timeout_s,
        adaptive=False,
        max_failed_share=1,
    )


N_CASES = 3


def completions(n: int = N_CASES) -> list[Completion]:
    return [
        completion(f"Richard {i} is played by {who}.", str(i), variant)
        for i in range(n)
        for variant, who in (("vanilla", "Nobody"), ("tuned", "Thomas Middleditch"))
    ]


def asked_for_schema(body: dict[str, Any]) -> bool:
    """Whether a request binds the answer to a schema, in whatever protocol's way."""
    return any(name in body for name in ("response_format", "output_config", "format"))


ODD_REPLIES = [
    (Reply(body=b"<html><h1>Sign in</h1></html>"), "unreadable answer"),
    (Reply(body=b"[1, 2]"), "unreadable answer: not a JSON object"),
    (Reply(body=b"{}"), "the server's answer has no"),
    (Reply(body=b'{"choices": 1, "content": 2, "message": 3}'), "answer has no"),
    (Reply(body=b'{"choices": [], "content": {}, "message": []}'), "answer has no"),
    (Reply(body=b'{"error": {"message": "no room"}}'), "an error: no room"),
]
"""Replies that every protocol must see through by itself."""


class HttpBasics:
    """The tests for every kind; `spec`, `secrets` and `has_key` are the kind's own."""

    spec: str
    label: str
    has_key = True
    unknown_model = "HTTP 404.*check the model's name and the base URL"

    def secrets(self, server: JudgeServer) -> dict[str, str]:
        """What the kind needs to reach the server with KEY."""
        raise NotImplementedError

    @pytest.fixture
    def journal(self, tmp_path: Path) -> Journal:
        return Journal(tmp_path / "run")

    @pytest.fixture(autouse=True)
    def _short_waits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("plugin.net.FIRST_WAIT_S", 0.01)

    def judge(self, server: JudgeServer) -> judges.Judge:
        return judges.load(self.spec, self.secrets(server).get)

    def run(
        self,
        server: JudgeServer,
        journal: Journal,
        texts: list[Completion] | None = None,
        names: tuple[str, ...] = ("Correctness",),
        **limits: Any,
    ) -> None:
        texts = completions() if texts is None else texts
        cases = [case(id) for id in sorted({text.case_id for text in texts})]
        items = items_to_score(cases, texts, metrics.load(names))
        score_all(items, judging(self.judge(server), **limits), journal, Progress())

    def one_failure(self, server: JudgeServer, journal: Journal, reply: Reply) -> str:
        """The reason of the failure that a reply to everything leads to."""
        server.fault = lambda n, body: reply
        self.run(server, journal, completions(1)[:1])
        (failure,) = journal.failures()
        assert (failure.stage, journal.scores()) == ("judge", ())
        return failure.reason

    def refuse_the_key(
        self,
        spelling: str,
        status: int,
        server: JudgeServer,
        journal: Journal,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """A server that refuses the key, and quotes it, ends the run and nothing shows the key."""
        caplog.set_level(logging.INFO)
        server.fault = lambda n, body: Reply(status=status, text=f"no such key {spelling}")
        with pytest.raises(JudgeError) as caught:
            self.run(server, journal, completions(40))
        why = "refused the key" if self.has_key else "needs a key"
        assert f"{why} (HTTP {status})" in str(caught.value)
        assert len(server.requests) <= 2 * CONCURRENCY
        journal.close()
        shown = "".join(traceback.format_exception(caught.value)) + caplog.text
        assert spelling not in shown and KEY not in shown
        assert spelling.encode() not in self.written(journal)

    def test_every_metric_is_scored(self, server: JudgeServer, journal: Journal) -> None:
        self.run(server, journal, names=("Answer Relevancy", "Hallucination", "Correctness"))
        scores = {(s.metric, s.variant): s.value for s in journal.scores() if s.case_id == "1"}
        assert scores == {
            ("Answer Relevancy", "vanilla"): 1,
            ("Answer Relevancy", "tuned"): 1,
            ("Hallucination", "vanilla"): 1,
            ("Hallucination", "tuned"): 0,
            ("Correctness", "vanilla"): 0.3,
            ("Correctness", "tuned"): 0.3,
        }
        assert not journal.failures()
        assert all(asked_for_schema(body) for body in server.requests)

    def test_tokens_and_version_are_kept(self, server: JudgeServer, journal: Journal) -> None:
        self.run(server, journal)
        calls = asdict(journal.state.judge_calls)
        assert calls["n_calls"] == len(server.requests) == 2 * N_CASES
        assert calls["n_prompt_tokens"] == 100 * calls["n_calls"]
        assert calls["n_completion_tokens"] == 10 * calls["n_calls"]
        journal.close()
        assert b"judge-model-2026-01" in self.written(journal)

    def test_the_client_itself_tries_nothing_again(
        self, server: JudgeServer, journal: Journal
    ) -> None:
        assert self.one_failure(server, journal, Reply(status=500)) == "HTTP 500: no"
        assert len(server.requests) == journal.state.judge_calls.n_calls == N_TRIES

    def test_label_and_identity_hold_no_secret(self, server: JudgeServer) -> None:
        judge = self.judge(server)
        assert (judge.label, judge.identity, judge.caveat) == (self.label, self.label, "")
        assert KEY not in repr(judge) and judge.structured is False

    def test_an_unknown_model_says_so(self, server: JudgeServer, journal: Journal) -> None:
        server.fault = lambda n, body: Reply(status=404, text="model 'm' not found")
        with pytest.raises(JudgeError, match=self.unknown_model):
            self.run(server, journal)

    def test_a_refused_schema_is_left_out(self, server: JudgeServer, journal: Journal) -> None:
        server.fault = lambda n, body: (
            Reply(status=400, text="no schemas here") if asked_for_schema(body) else None
        )
        self.run(server, journal)
        assert len(journal.scores()) == 2 * N_CASES
        assert not asked_for_schema(server.requests[-1])

    def test_a_cut_off_answer_is_not_believed(self, server: JudgeServer, journal: Journal) -> None:
        text = '{"score": 4, "reason": "so"}'
        reason = self.one_failure(server, journal, Reply(text=text, finish_reason="length"))
        assert "the answer was cut off" in reason

    def test_one_connection_serves_all_calls(self, server: JudgeServer, journal: Journal) -> None:
        self.run(server, journal, concurrency=1)
        assert len(server.requests) == 2 * N_CASES
        assert server.n_connections <= 2  # the list of models may need one of its own

    def test_settings_that_no_client_can_work_with_say_so(
        self, server: JudgeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", "ftp://proxy")
        with pytest.raises(JudgeError, match="its client cannot start"):
            self.judge(server).label  # noqa: B018

    def test_a_proxy_of_the_environment_is_used(
        self, server: JudgeServer, journal: Journal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if self.spec.startswith("openai"):
            pytest.skip("its address is https, which a proxy tunnels")
        monkeypatch.setenv("HTTP_PROXY", server.host)
        monkeypatch.setenv("NO_PROXY", "")
        asked = {
            name: "http://judge.invalid" for name in self.secrets(server) if name[-3:] != "KEY"
        }
        judge = judges.load(self.spec, {**self.secrets(server), **asked}.get)
        items = items_to_score([case("0")], completions(1)[:1], metrics.load(["Correctness"]))
        server.fault = lambda n, body: Reply(status=418, text="seen by the proxy")
        score_all(items, judging(judge), journal, Progress())
        assert journal.failures()[0].reason == "HTTP 418: seen by the proxy"
        assert server.paths[-1].startswith("http://judge.invalid/")

    def test_a_password_in_an_address_is_never_shown(self, server: JudgeServer) -> None:
        secrets = self.secrets(server)
        name = next((name for name in secrets if name.endswith(("URL", "ENDPOINT", "HOST"))), "")
        if not name:
            pytest.skip("this kind has one address")
        with pytest.raises(JudgeError) as caught:
            judges.load(self.spec, {**secrets, name: "http://me:p@ss@[bad"}.get)
        assert "p@ss" not in str(caught.value) and "[key]" in str(caught.value)

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_wrong_key_ends_the_run_and_is_never_shown(
        self, status: int, server: JudgeServer, journal: Journal, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.refuse_the_key(KEY, status, server, journal, caplog)

    def test_an_error_that_quotes_the_key_is_masked(
        self, server: JudgeServer, journal: Journal
    ) -> None:
        if not self.has_key:
            pytest.skip("this kind has no key")
        reason = self.one_failure(server, journal, Reply(status=400, text=f"{KEY} is bad"))
        assert reason == "HTTP 400: [key] is bad"

    @pytest.mark.parametrize(("reply", "reason"), ODD_REPLIES)
    def test_an_odd_reply_is_a_counted_failure(
        self, reply: Reply, reason: str, server: JudgeServer, journal: Journal
    ) -> None:
        assert reason in self.one_failure(server, journal, reply)

    def test_a_redirect_names_its_target_after_one_call(
        self, server: JudgeServer, journal: Journal
    ) -> None:
        target = "http://me:pass-word@127.0.0.1:9/v2?key=sk-4711"
        server.fault = lambda n, body: Reply(status=308, headers={"location": target})
        with pytest.raises(JudgeError) as caught:
            self.run(server, journal, completions(20), concurrency=1)
        said = str(caught.value)
        assert f"judge {self.label}: the server sends requests elsewhere" in said
        assert "(HTTP 308: redirects to http://127.0.0.1:9/v2)" in said
        assert "pass-word" not in said and "4711" not in said
        assert len(server.requests) == 1

    def test_a_lost_call_is_tried_again(self, server: JudgeServer, journal: Journal) -> None:
        server.fault = lambda n, body: Reply(drop=True) if n == 1 else None
        self.run(server, journal)
        assert len(journal.scores()) == 2 * N_CASES
        assert journal.state.judge_calls.n_retries == 1

    def test_a_stumble_is_tried_again(self, server: JudgeServer, journal: Journal) -> None:
        server.fault = lambda n, body: Reply(status=429) if n == 1 else None
        self.run(server, journal)
        assert len(journal.scores()) == 2 * N_CASES
        assert journal.state.judge_calls.n_retries == 1

    @staticmethod
    def written(journal: Journal) -> bytes:
        return b"".join(file.read_bytes() for file in journal.path.parent.iterdir())


class HttpContract(HttpBasics):
    """The tests of what all kinds have in common."""

    def test_a_whole_run_from_the_command_line(self, server: JudgeServer, tmp_path: Path) -> None:
        out = tmp_path / "o"
        options = {"predefined_tasks": "Correctness", "judge": self.spec, "max_tokens": "8"}
        ended = main(*demo_options(out, **options), **self.secrets(server))
        assert ended.code == 0, ended.err
        found = summary(out)
        assert (found["judge"], found["n_scores"]) == (self.label, 6 * 2)
        assert found["provenance"]["judge_calls"]["n_calls"] == len(server.requests) > 0
        written = b"".join(file.read_bytes() for file in out.iterdir() if file.is_file())
        assert KEY.encode() not in written and KEY not in ended.out + ended.err

    @pytest.mark.parametrize("status", [408, 409, 429, 500, 503, 529])
    def test_stumbles_of_every_kind_are_tried_again(
        self, status: int, server: JudgeServer, journal: Journal
    ) -> None:
        server.fault = lambda n, body: Reply(status=status) if n % 3 == 0 else None
        self.run(server, journal)
        assert len(journal.scores()) == 2 * N_CASES
        assert journal.state.judge_calls.n_retries > 0

    @pytest.mark.parametrize("form", ["seconds", "date"])
    def test_retry_after_is_honoured(
        self, form: str, server: JudgeServer, journal: Journal
    ) -> None:
        def too_many(number: int, body: dict[str, Any]) -> Reply | None:
            if number:
                return None
            # A date holds whole seconds: two ahead are more than one.
            date = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
            return Reply(status=429, headers={"retry-after": "0.7" if form == "seconds" else date})

        server.fault = too_many
        began = time.monotonic()
        self.run(server, journal, completions(1)[:1])
        assert time.monotonic() - began >= (0.7 if form == "seconds" else 0.9)
        assert len(journal.scores()) == 1

    def test_a_retry_after_that_is_nothing_is_no_problem(
        self, server: JudgeServer, journal: Journal
    ) -> None:
        values = ["soon", "", "nan", "-3", "Mon, 99 Foo 20266 25:61:61 GMT"]
        server.fault = lambda n, body: (
            Reply(status=429, headers={"retry-after": values.pop()}) if values else None
        )
        self.run(server, journal, concurrency=1)
        assert (len(journal.scores()), values) == (2 * N_CASES, [])

    @pytest.mark.parametrize("spelling", SPELLINGS[1:])
    def test_a_wrong_key_is_never_shown_in_any_spelling(
        self,
        spelling: str,
        server: JudgeServer,
        journal: Journal,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        self.refuse_the_key(spelling, 401, server, journal, caplog)

    @pytest.mark.parametrize("status", [400, 500])
    @pytest.mark.parametrize("spelling", SPELLINGS)
    def test_an_error_that_quotes_the_key_in_any_spelling_is_masked(
        self, spelling: str, status: int, server: JudgeServer, journal: Journal
    ) -> None:
        said = f"{'x' * 280} {spelling} is bad"  # the cut falls into the key
        reason = self.one_failure(server, journal, Reply(status=status, text=said))
        assert reason.startswith(f"HTTP {status}: xxx")
        assert "[key]" in reason
        assert spelling[10:18] not in reason
        raw = Reply(status=status, body=f"<p>{spelling}</p>".encode())
        server.fault = lambda n, body: raw
        self.run(server, journal, [completion("Another text.", "7")])
        assert spelling not in journal.failures()[-1].reason

    @pytest.mark.parametrize("spelling", SPELLINGS)
    def test_an_answer_that_quotes_the_key_is_masked(
        self, spelling: str, server: JudgeServer, journal: Journal
    ) -> None:
        text = json.dumps({"score": 4, "reason": f"said {spelling}"})
        server.fault = lambda n, body: Reply(text=text)
        self.run(server, journal, completions(1)[:1])
        assert "[key]" in (journal.scores()[0].reason or "")
        journal.close()
        assert spelling.encode() not in self.written(journal)

    def test_one_refused_prompt_changes_nothing_for_others(
        self, server: JudgeServer, journal: Journal
    ) -> None:
        server.fault = lambda n, body: (
            Reply(status=400, text="too long") if "Richard 0 is played by N" in str(body) else None
        )
        self.run(server, journal)
        assert [failure.reason for failure in journal.failures()] == ["HTTP 400: too long"]
        self.run(server, journal, [completion("One more.", "9")])
        assert asked_for_schema(server.requests[-1])

    @pytest.mark.parametrize(
        ("reply", "reason"),
        [
            (Reply(body=b'{"choices": [{"mess'), "unreadable answer"),
            (Reply(body=b'{"content": "\xff\xfe\xfa"}'), "unreadable answer: UnicodeDecodeError"),
            (Reply(body=b""), "unreadable answer"),
            (Reply(body=b"[" * 200_000), "unreadable answer"),
            (Reply(body=b"null"), "unreadable answer: not a JSON object"),
            (Reply(text="x" * 10_000_000), "the answer is longer than 8388608 bytes"),
            (Reply(body=b"no gzip", headers={"content-encoding": "gzip"}), "cannot be unpacked"),
            (Reply(status=418, text="teapot"), "HTTP 418: teapot"),
            (Reply(status=204, body=b""), "unreadable answer"),
        ],
        ids=lambda value: value if isinstance(value, str) else "reply",
    )
    def test_nonsense_is_a_counted_failure(
        self, reply: Reply, reason: str, server: JudgeServer, journal: Journal
    ) -> None:
        assert reason in self.one_failure(server, journal, reply)

    def test_a_wrong_content_type_around_a_good_answer_does_no_harm(
        self, server: JudgeServer, journal: Journal
    ) -> None:
        server.fault = lambda n, body: Reply(headers={"content-type": "text/html; charset=latin-1"})
        self.run(server, journal, completions(1))
        assert len(journal.scores()) == 2

    def test_half_a_character_hurts_nobody(self, server: JudgeServer, journal: Journal) -> None:
        server.fault = lambda n, body: Reply(text='{"score": 4, "reason": "a \ud800 b"}')
        self.run(server, journal, [completion("what \ud800 is", "1")])
        assert journal.scores()[0].value == pytest.approx(0.4)

    @pytest.mark.parametrize("reply", [Reply(drop=True), Reply(reset=True), Reply(hang_s=6.0)])
    def test_calls_lost_in_any_way_are_tried_again(
        self, reply: Reply, server: JudgeServer, journal: Journal
    ) -> None:
        server.fault = lambda n, body: reply if n in (1, 4) else None
        self.run(server, journal, timeout_s=3)
        assert len(journal.scores()) == 2 * N_CASES
        assert journal.state.judge_calls.n_retries >= 2

    @pytest.mark.parametrize("reply", [Reply(drop=True), Reply(reset=True), Reply(hang_s=1.0)])
    def test_a_server_that_never_answers_ends_the_run(
        self, reply: Reply, server: JudgeServer, journal: Journal
    ) -> None:
        server.fault = lambda n, body: reply
        with pytest.raises(JudgeDownError, match=f"{self.label} does not answer: no answer"):
            self.run(server, journal, timeout_s=0.3)
        assert len(server.requests) <= 20 + CONCURRENCY

    @pytest.mark.parametrize(
        "url",
        [
            "http://[bad",
            "http://h:port/v1",
            "http://h:99999",
            "ftp://h/v1",
            "http://",
            "http://a b",
        ],
    )
    def test_a_bad_address_says_so(self, url: str, server: JudgeServer) -> None:
        secrets = self.secrets(server)
        name = next((name for name in secrets if name.endswith(("URL", "ENDPOINT", "HOST"))), "")
        if not name:
            pytest.skip("this kind has one address")
        with pytest.raises(JudgeError, match=f"{name} .* is not an http or https address"):
            judges.load(self.spec, {**secrets, name: url}.get)
