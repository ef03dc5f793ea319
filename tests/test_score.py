from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from plugin import judges, metrics
from plugin.compare.early_stop import EarlyPlan
from plugin.compare.families import Families
from plugin.errors import JudgeDownError, JudgeError, JudgeFailingError
from plugin.forecast import forecast_calls
from plugin.journal import Journal
from plugin.judges.panel import Judging
from plugin.judges.spending import SpendLimits
from plugin.metrics.entry import Criterion
from plugin.net import N_TRIES
from plugin.records import DATA, Completion
from plugin.run_facts import SecondJudging
from plugin.score import items_to_score, score_all
from plugin.worker import Progress, Stopped
from tests.judge_server import JudgeServer, Reply
from tests.samples import case, completion

LIMITS: dict[str, Any] = {
    "concurrency": 8,
    "timeout_s": 60,
    "adaptive": False,
    "max_failed_share": 1,
}
N_CASES = 6
DESCRIPTIVE = ("Latency", "Tokens per Second", "Completion Tokens")
TWO = (
    (" ", "vanilla", 0),
    ("Richard is played by Thomas Middleditch.", "tuned", 3),
)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "run")


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugin.net.FIRST_WAIT_S", 0.01)


def completions(n: int = N_CASES) -> list[Completion]:
    return [
        completion(f"Richard {i} is played by {who}.", str(i), variant)
        for i in range(n)
        for variant, who in (("vanilla", "Nobody"), ("tuned", "Thomas Middleditch"))
    ]


def run(
    judge: JudgeServer | judges.Judge,
    journal: Journal,
    names: tuple[str, ...] = ("Correctness",),
    texts: list[Completion] | None = None,
    progress: Progress | None = None,
    criteria: tuple[Criterion, ...] = (),
) -> None:
    if isinstance(judge, JudgeServer):
        secrets = {"CUSTOM_JUDGE_BASE_URL": judge.url, "CUSTOM_JUDGE_API_KEY": "sk-secret"}
        judge = judges.load("custom:some-model", secrets.get)
    texts = completions() if texts is None else texts
    cases = [case(id) for id in sorted({text.case_id for text in texts})]
    items = items_to_score(cases, texts, metrics.select(names, criteria, cases))
    score_all(items, Judging((judge,), **LIMITS), journal, progress or Progress())


def counts(journal: Journal) -> dict[str, int]:
    return asdict(journal.state.judge_calls)


def test_every_pair_is_scored_through_a_real_server(server: JudgeServer, journal: Journal) -> None:
    run(server, journal, ("Answer Relevancy", "Hallucination", "Correctness"))
    scores = {(s.metric, s.variant): s.value for s in journal.scores() if s.case_id == "3"}
    assert scores == {
        ("Answer Relevancy", "vanilla"): 1,
        ("Answer Relevancy", "tuned"): 1,
        ("Hallucination", "vanilla"): 1,
        ("Hallucination", "tuned"): 0,
        ("Correctness", "vanilla"): 0.3,
        ("Correctness", "tuned"): 0.3,
    }
    assert not journal.failures()


def test_metrics_of_the_data_are_scored_once_per_case(
    server: JudgeServer, journal: Journal
) -> None:
    names = ("Contextual Precision", "Contextual Recall", "Contextual Relevancy")
    run(server, journal, ("Correctness", *names))
    found = {(s.metric, s.variant, s.value) for s in journal.scores() if s.metric in names}
    assert found == {
        ("Contextual Precision", DATA, 1),
        ("Contextual Recall", DATA, 1),
        ("Contextual Relevancy", DATA, 0.5),
    }
    assert len(journal.scores()) == (2 + 3) * N_CASES
    assert not journal.failures()


def test_bias_toxicity_and_faithfulness_through_a_real_server(
    server: JudgeServer, journal: Journal
) -> None:
    run(server, journal, ("Bias", "Toxicity", "Faithfulness"))
    assert {(s.metric, s.value) for s in journal.scores()} == {
        ("Bias", 0),
        ("Toxicity", 0),
        ("Faithfulness", 1),
    }
    assert not journal.failures()


POLITENESS = Criterion("Politeness", "Is it polite?")


def test_a_criterions_steps_are_written_once_and_kept(
    server: JudgeServer, journal: Journal
) -> None:
    run(server, journal, (), criteria=(POLITENESS,))
    written = [p for p in server.prompts if "Is it polite?" in p]
    assert len(written) == 1
    steps = ("one of the steps", "another of the steps")
    assert journal.state.evaluation_steps == {"Politeness": steps}
    assert all("1. one of the steps\n2. another" in p for p in server.prompts[1:])
    assert {(s.metric, s.value) for s in journal.scores()} == {("Politeness", 0.3)}
    # Later sessions meet the same steps, even from a judge that would now write others.
    more = [completion("Something else entirely.", "1")]
    server.fault = lambda n, body: (
        Reply(text='{"steps": ["other"]}') if "Is it polite?" in str(body) else None
    )
    journal._query("DELETE FROM judgments")
    run(server, journal, (), texts=more, criteria=(POLITENESS,))
    assert "1. one of the steps" in server.prompts[-1]


def test_steps_that_cannot_be_written_fail_that_metric_alone(
    server: JudgeServer, journal: Journal
) -> None:
    server.fault = lambda n, body: (
        Reply(text='{"steps": []}') if "Is it polite?" in str(body) else None
    )
    run(server, journal, ("Correctness",), criteria=(POLITENESS,))
    assert len(journal.scores()) == len(journal.failures()) == 2 * N_CASES
    reason = journal.failures()[0].reason
    assert reason.startswith("the evaluation steps could not be written: no fitting answer in 3")
    assert "an empty list of steps" in reason
    server.fault = lambda n, body: None
    run(server, journal, ("Correctness",), criteria=(POLITENESS,))
    assert len(journal.scores()) == 4 * N_CASES and not journal.failures()


def test_the_server_is_asked_with_a_strict_schema_at_temperature_0(
    server: JudgeServer, journal: Journal
) -> None:
    run(server, journal, texts=completions(1))
    body = server.requests[0]
    schema = body["response_format"]["json_schema"]
    assert (body["model"], body["temperature"]) == ("some-model", 0)
    assert schema["strict"] and schema["name"] == "ReasonScore"
    assert schema["schema"]["additionalProperties"] is False
    assert schema["schema"]["required"] == ["reason", "score"]
    assert server.keys[0] == "Bearer sk-secret"


def test_a_server_that_refuses_schemas_is_asked_in_plain_words(
    server: JudgeServer, journal: Journal
) -> None:
    server.fault = lambda n, body: (
        Reply(status=400, text="response_format unknown") if "response_format" in body else None
    )
    run(server, journal)
    assert len(journal.scores()) == 2 * N_CASES
    assert sum("response_format" in body for body in server.requests) <= LIMITS["concurrency"]


def test_a_model_that_takes_no_temperature_and_another_limit_is_asked_its_way(
    server: JudgeServer, journal: Journal
) -> None:
    def reasoning(number: int, body: dict[str, Any]) -> Reply | None:
        if "max_tokens" in body:
            return Reply(status=400, text="Unsupported: 'max_tokens'. Use 'max_completion_tokens'.")
        return Reply(status=400, text="'temperature' is fixed") if "temperature" in body else None

    server.fault = reasoning
    run(server, journal)
    assert len(journal.scores()) == 2 * N_CASES
    assert "response_format" in server.requests[-1]
    assert server.requests[-1]["max_completion_tokens"] > 0


def test_one_prompt_refused_does_not_change_how_others_are_asked(
    server: JudgeServer, journal: Journal
) -> None:
    server.fault = lambda n, body: (
        Reply(status=400, text="too long") if "Richard 0 is played by Nobody" in str(body) else None
    )
    run(server, journal)
    assert [failure.reason for failure in journal.failures()] == ["HTTP 400: too long"]
    run(server, journal, ("Answer Relevancy",))
    assert all("response_format" in body for body in server.requests[-3:])


def test_identical_completions_are_judged_once(server: JudgeServer, journal: Journal) -> None:
    same = [completion("The same words.", "1", variant) for variant in ("vanilla", "tuned")]
    run(server, journal, ("Answer Relevancy",), texts=same)
    assert len(server.requests) == 3
    assert len(journal.scores()) == 2


def test_identical_completions_are_counted_once_in_the_forecast() -> None:
    cases, chosen = [case("1"), case("2")], metrics.load(["Correctness"])
    same = [completion("Nobody.", id, name) for id in "12" for name in ("vanilla", "tuned")]
    assert forecast_calls(items_to_score(cases, same, chosen), include_reason=True).n_calls == 2
    other = [*same[:3], completion("Thomas Middleditch.", "2", "tuned")]
    assert forecast_calls(items_to_score(cases, other, chosen), include_reason=True).n_calls == 3


def test_the_judge_is_released_at_the_end(
    server: JudgeServer, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge, n_closed = judges.load("custom:some-model", {"CUSTOM_JUDGE_BASE_URL": server.url}.get), 0
    close = judge.close

    async def counted_close() -> None:
        nonlocal n_closed
        n_closed += 1
        await close()

    monkeypatch.setattr(judge, "close", counted_close)
    run(judge, journal, texts=completions(1))
    assert len(journal.scores()) == 2 and n_closed == 1


def test_what_is_in_the_journal_is_not_asked_again(server: JudgeServer, journal: Journal) -> None:
    run(server, journal)
    asked = len(server.requests)
    run(server, journal)
    assert asked == len(server.requests) == 2 * N_CASES


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_stumbles_is_tried_again(
    status: int, server: JudgeServer, journal: Journal
) -> None:
    server.fault = lambda n, body: Reply(status=status) if n % 3 == 0 else None
    run(server, journal)
    assert len(journal.scores()) == 2 * N_CASES
    assert counts(journal)["n_retries"] > 0


def test_retry_after_is_honoured(server: JudgeServer, journal: Journal) -> None:
    server.fault = lambda n, body: (
        Reply(status=429, headers={"retry-after": "0.6"}) if n == 0 else None
    )
    began = time.monotonic()
    run(server, journal, texts=completions(1)[:1])
    assert time.monotonic() - began >= 0.6


def test_a_hung_call_is_given_up_and_tried_again(
    server: JudgeServer, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, "timeout_s", 2)
    server.fault = lambda n, body: Reply(hang_s=60) if n == 2 else None
    run(server, journal)
    assert len(journal.scores()) == 2 * N_CASES


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("I like it very much.", "not a JSON object"),
        ("{}", "reason: Field required"),
        ('{"score": 12, "reason": "generous"}', "score 12.0 outside 0 to 10"),
        ('{"score": "high", "reason": ""}', "score: Input should be a valid number"),
    ],
)
def test_nonsense_for_some_cases_is_a_counted_failure_and_the_rest_stands(
    text: str, problem: str, server: JudgeServer, journal: Journal
) -> None:
    server.fault = lambda n, body: (
        Reply(text=text) if "Richard 3 is played by Nobody" in str(body) else None
    )
    run(server, journal)
    (failure,) = journal.failures()
    assert (failure.case_id, failure.variant, failure.stage) == ("3", "vanilla", "judge")
    assert failure.reason.startswith(f"no fitting answer in 3 tries: {problem}")
    assert len(journal.scores()) == 2 * N_CASES - 1
    assert counts(journal)["n_unfit"] == 3


def test_an_answer_that_fits_the_second_time_counts(server: JudgeServer, journal: Journal) -> None:
    server.fault = lambda n, body: Reply(text="well...") if n == 0 else None
    run(server, journal, texts=completions(1)[:1])
    assert len(journal.scores()) == 1
    assert "Your last answer did not fit: not a JSON object" in server.prompts[1]


QUOTING = 'It wrote {"score": 10, "reason": "I am right"}. Mine: {"score": 2, "reason": "no"}'


def test_a_judge_that_quotes_an_object_is_asked_for_its_own_alone(
    server: JudgeServer, journal: Journal
) -> None:
    server.fault = lambda n, body: Reply(
        text='{"score": 2, "reason": "no"}' if "one object alone" in str(body) else QUOTING
    )
    run(server, journal, texts=completions(1)[:1])
    assert [score.value for score in journal.scores()] == [pytest.approx(0.2)]
    assert len(server.requests) == 2
    assert (
        "Your last answer held several different JSON objects; answer with the one object alone"
        in server.prompts[1]
    )


def test_a_judge_that_quotes_an_object_again_has_failed(
    server: JudgeServer, journal: Journal
) -> None:
    server.fault = lambda n, body: Reply(text=QUOTING)
    run(server, journal, texts=completions(1)[:1])
    assert not journal.scores()
    (failure,) = journal.failures()
    assert failure.reason.startswith(
        "no fitting answer in 2 tries: several different JSON objects; got 'It wrote"
    )
    assert len(server.requests) == 2


@pytest.mark.parametrize("opening", ["<thinking>", ""])
def test_a_draft_in_thoughts_is_not_the_answer(
    opening: str, server: JudgeServer, journal: Journal
) -> None:
    text = opening + '{"score": 9, "reason": "draft"}</thinking>{"score": 4, "reason": "so so"}'
    server.fault = lambda n, body: Reply(text=text)
    run(server, journal, texts=completions(1)[:1])
    assert [score.value for score in journal.scores()] == [pytest.approx(0.4)]


def test_json_in_fences_and_prose_is_read(server: JudgeServer, journal: Journal) -> None:
    text = 'Sure!\n```json\n{"score": 4, "reason": "so so"}\n```'
    server.fault = lambda n, body: Reply(text=text)
    run(server, journal, texts=completions(1)[:1])
    assert journal.scores()[0].value == pytest.approx(0.4)


def test_a_cut_off_answer_is_not_believed(server: JudgeServer, journal: Journal) -> None:
    server.fault = lambda n, body: Reply(
        text='{"score": 4, "reason": "so"}', finish_reason="length"
    )
    run(server, journal, texts=completions(1)[:1])
    assert "the answer was cut off" in journal.failures()[0].reason


def test_too_few_verdicts_are_a_failure(server: JudgeServer, journal: Journal) -> None:
    server.fault = lambda n, body: (
        Reply(text='{"verdicts": []}') if "ONE verdict per statement" in str(body) else None
    )
    run(server, journal, ("Answer Relevancy",), texts=completions(1)[:1])
    assert "0 verdicts for 1 statements" in journal.failures()[0].reason
    assert not journal.scores()


def test_an_empty_completion_gets_the_worst_score_and_is_never_sent(
    server: JudgeServer, journal: Journal
) -> None:
    run(server, journal, ("Correctness", "Hallucination"), texts=[completion(" \n")])
    assert {s.metric: s.value for s in journal.scores()} == {"Correctness": 0, "Hallucination": 1}
    assert not server.requests


def test_a_failed_judgment_is_asked_again_the_next_time(
    server: JudgeServer, journal: Journal
) -> None:
    server.fault = lambda n, body: Reply(text="nonsense")
    run(server, journal, texts=completions(1)[:1])
    server.fault = lambda n, body: None
    run(server, journal, texts=completions(1)[:1])
    assert (len(journal.scores()), journal.failures()) == (1, ())


def test_a_judge_down_from_the_start_stops_the_run_within_bounds(journal: Journal) -> None:
    secrets = {"CUSTOM_JUDGE_BASE_URL": "http://127.0.0.1:9/v1"}
    with pytest.raises(JudgeDownError, match="custom:m does not answer: no answer"):
        run(judges.load("custom:m", secrets.get), journal, texts=completions(100))
    assert journal.state.judge_calls.n_calls <= 2 * LIMITS["concurrency"] * N_TRIES
    assert not journal.failures()


def test_a_judge_that_goes_away_for_good_stops_the_run(
    server: JudgeServer, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugin.judges.asking.N_LOST_UNTIL_DOWN", 3)
    server.fault = lambda n, body: Reply(drop=True) if n >= 4 else None
    with pytest.raises(JudgeDownError, match="server .or check its address. and resume the run"):
        run(server, journal)
    assert len(journal.scores()) >= 1


def test_a_judge_that_never_answers_well_is_given_up(server: JudgeServer, journal: Journal) -> None:
    server.fault = lambda n, body: Reply(text="No comment.")
    with pytest.raises(JudgeDownError, match="no usable answer to 20 questions"):
        run(server, journal, texts=completions(60))
    assert len(server.requests) < 3 * 60


def test_thoughts_before_the_answer_are_passed_over(server: JudgeServer, journal: Journal) -> None:
    text = '<think>maybe {"score": 1}? no {braces}</think> {"score": 4, "reason": "so so"}'
    server.fault = lambda n, body: Reply(text=text)
    run(server, journal, texts=completions(1)[:1])
    assert journal.scores()[0].value == pytest.approx(0.4)


def test_a_server_that_counts_no_tokens_is_no_problem(
    server: JudgeServer, journal: Journal
) -> None:
    message = {"role": "assistant", "content": '{"score": 4, "reason": "so so"}'}
    body = {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": None, "completion_tokens": None},
    }
    server.fault = lambda n, sent: Reply(body=json.dumps(body).encode())
    run(server, journal, texts=completions(1)[:1])
    assert len(journal.scores()) == 1


def test_a_wrong_key_fails_at_once_and_is_never_shown(
    server: JudgeServer, journal: Journal
) -> None:
    server.fault = lambda n, body: Reply(status=401, text="wrong key sk-secret")
    with pytest.raises(JudgeError) as caught:
        run(server, journal, texts=completions(50))
    assert str(caught.value) == (
        "judge custom:some-model: the server refused the key (HTTP 401); "
        "check the key and its permissions"
    )
    assert len(server.requests) <= 2 * LIMITS["concurrency"]  # those under way, none tried again


def test_a_servers_message_never_carries_the_key(server: JudgeServer, journal: Journal) -> None:
    server.fault = lambda n, body: Reply(status=400, text="bad: sk-secret c2stc2VjcmV0")
    run(server, journal, texts=completions(1)[:1])
    assert journal.failures()[0].reason == "HTTP 400: bad: [key] [key]"


def test_a_key_in_an_answer_goes_no_further(server: JudgeServer, journal: Journal) -> None:
    server.fault = lambda n, body: Reply(text='{"score": 4, "reason": "Bearer sk-secret"}')
    run(server, journal, texts=completions(1)[:1])
    assert journal.scores()[0].reason == "Bearer [key]"
    journal.close()
    assert b"sk-secret" not in b"".join(f.read_bytes() for f in journal.path.parent.iterdir())


def test_account_headers_and_data_stay_with_their_server(
    server: JudgeServer, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-mine")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Token: mine")
    run(server, journal, texts=completions(1)[:1])
    sent = {name.lower() for name in server.headers[0]}
    assert "authorization" in sent and not sent & {"openai-organization", "x-token"}
    elsewhere = Reply(status=307, headers={"location": "http://127.0.0.1:9/v1"})
    server.fault = lambda n, body: elsewhere
    with pytest.raises(JudgeError, match="HTTP 307: redirects to http://127.0.0.1:9/v1"):
        run(server, journal, texts=completions(2)[2:3])


def test_an_unknown_model_says_so(server: JudgeServer, journal: Journal) -> None:
    server.fault = lambda n, body: Reply(status=404)
    with pytest.raises(JudgeError, match="HTTP 404.*check the model's name"):
        run(server, journal)


def test_stop_is_quick_and_keeps_what_is_there(server: JudgeServer, journal: Journal) -> None:
    progress, n_given_up = Progress(), 0

    def hold(number: int, body: dict[str, Any]) -> None:
        nonlocal n_given_up
        if number < 4:
            return
        while progress.done < 4 and not progress.stop.wait(0.01):
            pass
        progress.stop.set()
        n_given_up += not over.wait(50)

    over = threading.Event()
    server.fault = hold
    with pytest.raises(Stopped):
        run(server, journal, progress=progress)
    assert n_given_up == 0  # it did not wait for the calls under way
    over.set()
    assert len(journal.scores()) == 4


def test_cases_are_worked_side_by_side() -> None:
    cases = [case(str(i)) for i in range(3)]
    chosen = metrics.load(["Correctness", "Token F1"])
    order = [
        (i.case.id, i.metric.spec.key, i.completion.variant)
        for i in items_to_score(cases, completions(3), chosen)
    ]
    assert [step[0] for step in order] == ["0"] * 4 + ["1"] * 4 + ["2"] * 4
    assert order[:2] == [("0", "correctness", "vanilla"), ("0", "correctness", "tuned")]


def test_a_case_without_what_a_metric_needs_is_left_out() -> None:
    cases = [case("0"), case("1", context=())]
    items = items_to_score(cases, completions(2), metrics.load(["Hallucination"]))
    assert {item.case.id for item in items} == {"0"}


@pytest.mark.parametrize(
    ("spec", "secrets", "message"),
    [
        (
            "",
            {},
            f"no judge chosen; --judge takes one of {judges.choices()}. "
            "Use offline only to try the tool",
        ),
        (
            "gpt-4o",
            {},
            f"unknown judge 'gpt-4o'; --judge takes one of {judges.choices()}",
        ),
        ("openai:gpt-4o", {}, "judge openai:gpt-4o needs a key: set OPENAI_API_KEY"),
        ("openai", {}, "judge 'openai' needs a model: write --judge openai:<model>"),
        (
            "custom:m",
            {},
            "judge custom:m needs a server: set CUSTOM_JUDGE_BASE_URL, such as "
            "http://localhost:8000/v1 (and CUSTOM_JUDGE_API_KEY if it needs a key)",
        ),
        (
            "custom:m",
            {"CUSTOM_JUDGE_BASE_URL": "localhost:8000"},
            "CUSTOM_JUDGE_BASE_URL 'localhost:8000' is not an http or https address",
        ),
        (
            "openai:m",
            {"OPENAI_API_KEY": "sk-\u00e9"},
            "OPENAI_API_KEY cannot be a key",
        ),
    ],
)
def test_a_judge_that_cannot_be_used_says_why(
    spec: str, secrets: dict[str, str], message: str
) -> None:
    with pytest.raises(JudgeError) as caught:
        judges.load(spec, secrets.get)
    assert message in str(caught.value)


def test_usage_is_counted(server: JudgeServer, journal: Journal) -> None:
    run(server, journal)
    made = counts(journal)
    assert made["n_calls"] == 2 * N_CASES == len(server.requests)
    assert made["n_prompt_tokens"] == 100 * made["n_calls"]
    assert made["n_completion_tokens"] == 10 * made["n_calls"]


def test_a_metric_that_breaks_is_a_failure_not_an_end(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*args: Any) -> None:
        raise ZeroDivisionError("division by zero")

    (metric,) = metrics.load(["Token F1"])
    broken_metric = metrics.Metric(metric.spec, broken)  # type: ignore[arg-type]
    items = items_to_score([case("0")], completions(1), [broken_metric])
    judge = judges.load("offline", lambda name: None)
    score_all(items, Judging((judge,), **LIMITS), journal, Progress())
    assert [f.reason for f in journal.failures()] == ["ZeroDivisionError: division by zero"] * 2


def test_an_empty_completion_is_described_like_any_other(journal: Journal) -> None:
    made = [replace(completion(text, "0", name), n_tokens=n) for text, name, n in TWO]
    run(judges.load("offline", lambda name: None), journal, ("Token F1", *DESCRIPTIVE), made)
    found = {(s.metric, s.variant): s.value for s in journal.scores()}
    assert found == {
        ("Token F1", "vanilla"): 0,  # the worst, for an answer that is not there
        ("Token F1", "tuned"): 1,
        ("Latency", "vanilla"): 0.1,
        ("Latency", "tuned"): 0.1,
        ("Tokens per Second", "tuned"): pytest.approx(30),
        ("Completion Tokens", "vanilla"): 0,
        ("Completion Tokens", "tuned"): 3,
    }
    (failure,) = journal.failures()
    assert (failure.metric, failure.variant, failure.stage, failure.reason) == (
        *("Tokens per Second", "vanilla", "metric"),
        "the completion has no tokens, so there is no rate",
    )


def test_what_no_judge_was_asked_for_is_no_failure_of_the_judges(
    server: JudgeServer, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, "max_failed_share", 0)
    empty = [replace(one, seconds=None) for one in completions(100)]
    run(server, journal, ("Correctness", "Latency"), empty)
    assert len(journal.failures()) == 200 and len(journal.scores()) == 200


def test_scores_that_no_judge_gave_do_not_water_down_the_share_that_failed(
    server: JudgeServer, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, "max_failed_share", 0.4)
    server.fault = lambda n, body: (
        Reply(text="no idea") if "played by Nobody" in str(body) else None
    )
    with pytest.raises(JudgeFailingError, match="6 of 12 scores failed under custom:some-model"):
        run(server, journal, ("Correctness", "Exact Match", "Token F1", "Completion Tokens"))


def test_the_engines_own_metrics_are_not_scored_from_completions() -> None:
    chosen = metrics.load(["Perplexity", "Latency"])
    items = items_to_score([case("0")], completions(1), chosen)
    assert {item.metric.spec.name for item in items} == {"Latency"}


def test_a_score_outside_its_range_is_a_failure(journal: Journal) -> None:
    async def generous(*args: Any) -> metrics.Measured:
        return metrics.Measured(1.5)

    (metric,) = metrics.load(["Token F1"])
    items = items_to_score([case("0")], completions(1), [metrics.Metric(metric.spec, generous)])
    judge = judges.load("offline", lambda name: None)
    score_all(items, Judging((judge,), **LIMITS), journal, Progress())
    assert journal.failures()[0].reason == "score 1.5 outside 0.0 to 1.0"


def test_the_journal_holds_no_key(server: JudgeServer, journal: Journal) -> None:
    run(server, journal)
    journal.close()
    for file in journal.path.parent.iterdir():
        assert b"sk-secret" not in file.read_bytes()


def test_an_answer_that_was_cut_off_is_asked_for_with_more_room(
    server: JudgeServer, journal: Journal
) -> None:
    server.fault = lambda n, body: (
        Reply(text='{"score": 4, "rea', finish_reason="length")
        if body["max_tokens"] < 10_000
        else None
    )
    run(server, journal, texts=completions(1)[:1])
    assert len(journal.scores()) == 1
    assert [body["max_tokens"] for body in server.requests] == [4096, 16384]
    assert server.prompts[0] == server.prompts[1]


@pytest.mark.parametrize(
    "text",
    [
        '{"score": 4, "reason": "so so",}',
        "{'score': 4, 'reason': 'so so'}",
        '```json\n{"score": 4, "reason": "so so"\n```',
        '{"score": 4, "reason": "so "quoted" so"}',
    ],
)
def test_broken_json_is_mended_and_counted(
    text: str, server: JudgeServer, journal: Journal
) -> None:
    server.fault = lambda n, body: Reply(text=text)
    run(server, journal, texts=completions(1)[:1])
    (score,) = journal.scores()
    assert score.value == 0.4
    assert (len(server.requests), counts(journal)["n_repaired"]) == (1, 1)


def test_what_cannot_be_mended_is_not_invented(server: JudgeServer, journal: Journal) -> None:
    server.fault = lambda n, body: Reply(text='{"grade": "four"')
    run(server, journal, texts=completions(1)[:1])
    assert not journal.scores() and len(server.requests) == 3


def test_without_reasons_a_completion_costs_three_calls_instead_of_five(
    server: JudgeServer, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("Answer Relevancy", "Hallucination")
    run(server, journal, names, texts=completions(1)[:1])
    assert len(server.requests) == 5
    monkeypatch.setitem(LIMITS, "include_reason", False)
    run(server, journal, names, texts=[completion("Something else.", "1")])
    assert len(server.requests) == 5 + 3
    without = [score.reason for score in journal.scores() if score.case_id == "1"]
    assert without == [None, None]


def test_judging_ends_at_the_limit_with_what_is_done_kept_and_goes_on_later(
    server: JudgeServer, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, "limits", SpendLimits(max_calls=5))
    run(server, journal)
    assert len(server.requests) == len(journal.scores()) == 5
    assert journal.state.halted == "--max_calls 5 is reached"
    assert not journal.failures()
    monkeypatch.setitem(LIMITS, "limits", SpendLimits(max_calls=100))
    run(server, journal)
    assert len(server.requests) == len(journal.scores()) == 2 * N_CASES
    assert not journal.state.halted
    assert counts(journal)["n_calls"] == 2 * N_CASES


def test_a_limit_ends_a_run_with_more_chains_than_calls_at_once(
    server: JudgeServer, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, "limits", SpendLimits(max_calls=30))
    monkeypatch.setitem(LIMITS, "adaptive", True)
    monkeypatch.setitem(LIMITS, "concurrency", 2)
    run(server, journal, texts=completions(60))
    assert len(journal.scores()) == 30


def test_a_budget_is_kept_by_what_the_provider_counts(
    server: JudgeServer, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server counts 100 tokens read and 10 written: 0.0011 dollars a call at 10 a million.
    monkeypatch.setitem(LIMITS, "limits", SpendLimits(budget=0.004))
    monkeypatch.setitem(LIMITS, "price", (10.0, 10.0))
    monkeypatch.setitem(LIMITS, "concurrency", 1)
    run(server, journal)
    assert len(journal.scores()) == 4
    assert counts(journal)["cost"] == pytest.approx(0.0044)
    assert journal.state.halted.startswith("--budget 0.004 is spent (0.0044 dollars)")


def test_a_judge_that_fails_too_often_stops_the_run_and_says_how_to_go_on(
    server: JudgeServer, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, "max_failed_share", 0.2)
    server.fault = lambda n, body: (
        Reply(text="no idea") if "played by Nobody" in str(body) else None
    )
    with pytest.raises(JudgeFailingError) as caught:
        run(server, journal, texts=completions(100))
    assert re.match(
        r"\d+ of \d+ scores failed under custom:some-model, more than --max_failed_share 0.2 "
        r"allows, the last with: no fitting answer in 3 tries: .*Fix or change the judge",
        str(caught.value),
    )
    assert 20 < len(journal.scores()) < 100
    server.fault = lambda n, body: None
    run(server, journal, texts=completions(100))
    assert len(journal.scores()) == 200 and not journal.failures()


def test_a_few_failures_are_only_counted(
    server: JudgeServer, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, "max_failed_share", 0.2)
    server.fault = lambda n, body: (
        Reply(text="no idea") if "Richard 3 is played by Nobody" in str(body) else None
    )
    run(server, journal)
    assert len(journal.failures()) == 1


def load(server: JudgeServer, model: str) -> judges.Judge:
    return judges.load(f"custom:{model}", {"CUSTOM_JUDGE_BASE_URL": server.url}.get)


def panel_run(
    bench: tuple[judges.Judge, ...], journal: Journal, second: judges.Judge | None = None
) -> None:
    texts = completions()
    cases = [case(id) for id in sorted({text.case_id for text in texts})]
    items = items_to_score(cases, texts, metrics.load(["Correctness"]))
    score_all(items, Judging(bench, second, **LIMITS), journal, Progress())


def test_the_mean_of_a_panel_counts_and_each_judges_score_is_kept(
    server: JudgeServer, journal: Journal
) -> None:
    server.fault = lambda n, body: (
        Reply(text='{"score": 9, "reason": "kind"}') if body["model"] == "kind" else None
    )
    panel_run((load(server, "strict"), load(server, "kind")), journal)
    assert {score.value for score in journal.scores()} == {(0.3 + 0.9) / 2}
    assert re.fullmatch(
        r"custom:strict gave 0.30: compared word by word: .+ \| custom:kind gave 0.90: kind",
        journal.scores()[0].reason or "",
    )
    assert {(s.judge, s.value) for s in journal.judge_scores()} == {
        ("custom:strict", 0.3),
        ("custom:kind", 0.9),
    }
    assert len(journal.judge_scores()) == 2 * 2 * N_CASES


def test_every_pair_is_seen_by_the_same_judges(server: JudgeServer, journal: Journal) -> None:
    server.fault = lambda n, body: (
        Reply(text="no idea")
        if body["model"] == "moody" and "Richard 3 is played by Nobody" in str(body)
        else None
    )
    panel_run((load(server, "strict"), load(server, "moody")), journal)
    (failure,) = journal.failures()
    assert failure.reason.startswith("custom:moody: no fitting answer in 3 tries")
    assert len(journal.scores()) == 2 * N_CASES - 1
    server.fault = lambda n, body: None
    asked = len(server.requests)
    panel_run((load(server, "strict"), load(server, "moody")), journal)
    assert len(server.requests) == asked + 1  # the other judge's answer is there already


def test_a_second_judge_gets_both_sides_of_what_the_first_is_unsure_of(
    server: JudgeServer, journal: Journal
) -> None:
    def fault(number: int, body: dict[str, Any]) -> Reply | None:
        if body["model"] == "wise":
            return Reply(text='{"score": 10, "reason": "sure"}')
        unsure = "Richard 2 is played by Nobody" in str(body)
        return Reply(text='{"score": 5, "reason": "hm"}') if unsure else None

    server.fault = fault
    panel_run((load(server, "cheap"),), journal, load(server, "wise"))
    changed = {(s.case_id, s.variant): s.reason for s in journal.scores() if s.value == 1}
    assert changed == {
        ("2", "vanilla"): "custom:wise, asked second: sure",
        ("2", "tuned"): "custom:wise, asked second: sure",
    }
    assert sum(body["model"] == "wise" for body in server.requests) == 2
    facts = SecondJudging("custom:wise", n_pairs=N_CASES, n_sent=1, n_failed=0)
    assert journal.state.second_judge == facts
    asked, taken = len(server.requests), counts(journal)
    panel_run((load(server, "cheap"),), journal, load(server, "wise"))
    assert len(server.requests) == asked and journal.state.second_judge == facts
    assert counts(journal) == taken  # not even what was kept is looked up again


def test_what_the_second_judge_gave_does_not_make_the_first_sure(
    server: JudgeServer, journal: Journal
) -> None:
    given = {
        "cheap": 4,
        "wise": 1,
    }  # their mean is in no middle third, and they are near each other
    server.fault = lambda n, body: Reply(
        text=json.dumps({"score": given[body["model"]], "reason": "so"})
    )
    for _ in range(2):
        panel_run((load(server, "cheap"),), journal, load(server, "wise"))
        assert journal.state.second_judge.n_sent == N_CASES


def test_a_second_judge_that_fails_on_one_side_changes_neither(
    server: JudgeServer, journal: Journal
) -> None:
    def fault(number: int, body: dict[str, Any]) -> Reply | None:
        if body["model"] == "wise":
            broken = "played by Nobody" in str(body)
            return Reply(text="no idea" if broken else '{"score": 10, "reason": "sure"}')
        return Reply(text='{"score": 5, "reason": "hm"}')

    server.fault = fault
    panel_run((load(server, "cheap"),), journal, load(server, "wise"))
    assert {score.value for score in journal.scores()} == {0.5}
    assert journal.state.second_judge.n_failed == N_CASES
    assert not journal.failures()


def test_a_panel_far_apart_is_unsure_too(server: JudgeServer, journal: Journal) -> None:
    scores = {"low": 0, "high": 10, "wise": 8}
    server.fault = lambda n, body: Reply(
        text=json.dumps({"score": scores[body["model"]], "reason": "so"})
    )
    panel_run((load(server, "low"), load(server, "high")), journal, load(server, "wise"))
    assert {score.value for score in journal.scores()} == {0.8}


def test_judging_stops_when_the_verdict_is_settled_and_is_not_taken_up_again(
    server: JudgeServer, journal: Journal
) -> None:
    texts = [
        completion(f"Richard {i} is played by {who}.", str(i), variant)
        for i in range(200)
        for variant, who in (("vanilla", "Nobody"), ("tuned", "Thomas"))
    ]
    server.fault = lambda n, body: (
        Reply(text='{"score": 9, "reason": "so"}') if "played by Thomas." in str(body) else None
    )
    cases = [case(str(i)) for i in range(200)]
    (metric,) = metrics.load(["Correctness"])
    plan = EarlyPlan(tuple(cases), (metric.spec,), Families("Correctness", ("vanilla", "tuned")))
    items = items_to_score(cases, texts, [metric])

    def judge_all() -> None:
        judging = Judging((load(server, "m"),), **LIMITS)
        score_all(items, judging, journal, Progress(), plan)

    judge_all()
    made = len(journal.scores())
    assert 20 < made < 150
    assert journal.state.stopped_early
    judge_all()
    assert len(journal.scores()) == made


def test_a_limit_that_leaves_no_room_for_the_steps_is_no_failure(
    server: JudgeServer, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, "limits", SpendLimits(deadline_s=1e-9))
    run(server, journal, (), criteria=(POLITENESS,))
    assert not journal.scores() and not journal.failures()
    assert journal.state.halted == "--deadline_s 1e-09 is over"
    monkeypatch.setitem(LIMITS, "limits", SpendLimits())
    run(server, journal, (), criteria=(POLITENESS,))
    assert len(journal.scores()) == 2 * N_CASES
