"""The server engine against a real local server that has the demo's base and adapter."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from plugin.engines import NO_ANSWER
from plugin.engines._server_api import completion_from_reply
from plugin.engines.server import ServerEngine
from plugin.errors import BaseDisturbedError, ModelError, OptionError, ServerDownError, UserError
from plugin.hosts.folder import FolderHost
from plugin.plan.params import Params
from plugin.plan.plan import line_up
from plugin.plan.resolve import find_models
from plugin.plan.variants import Lineup
from plugin.records import VANILLA, Completion, Draw, Failure, Message, Prompt
from tests.inference_server import BASE, TUNED, InferenceServer
from tests.judge_server import Reply

QUESTIONS = (
    "Who plays Richard Hendricks in Silicon Valley?",
    "Who plays Dinesh in Silicon Valley?",
    "Who plays Gilfoyle in Silicon Valley?",
    "Who plays Jared in Silicon Valley?",
)


def params(server: InferenceServer, **changed: object) -> Params:
    given = {"model_name": BASE, "model_adapter": [TUNED], "max_tokens": 32, "batch_size": 4}
    return Params.parse({**given, "server_url": server.url, **changed})


def lined_up(server: InferenceServer, **changed: object) -> Lineup:
    asked = params(server, **changed)
    sources = find_models(asked, FolderHost(""))
    return line_up(asked, dataclasses.replace(sources, tuned=asked.tuned_model))


def refusal(server: InferenceServer, kind: type[UserError], **changed: object) -> str:
    with pytest.raises(kind) as caught:
        lined_up(server, **changed)
    return str(caught.value)


@contextmanager
def engine(server: InferenceServer, **changed: object) -> Iterator[ServerEngine]:
    made = lined_up(server, **changed).loads[0].engine()
    assert isinstance(made, ServerEngine)
    try:
        yield made
    finally:
        made.close()


def prompts(*variants: str, n: int = len(QUESTIONS)) -> list[Prompt]:
    return [
        Prompt(str(i), variant, (Message("user", QUESTIONS[i % 4]),), ())
        for i in range(n)
        for variant in variants
    ]


def completed(one: ServerEngine, asked: list[Prompt]) -> list[Completion | Failure]:
    order = {(prompt.case_id, prompt.variant): i for i, prompt in enumerate(asked)}
    found = [result for ended in one.generate(asked) for result in ended]
    return sorted(found, key=lambda result: order[result.case_id, result.variant or ""])


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugin.net.FIRST_WAIT_S", 0.01)


def test_base_and_adapter_answer_by_name(inference: InferenceServer) -> None:
    asked = prompts(VANILLA, TUNED)
    with engine(inference) as one:
        found = completed(one, asked)
    for prompt, result in zip(asked, found, strict=True):
        assert isinstance(result, Completion)
        own = "tuned" if prompt.variant == TUNED else VANILLA
        expected = inference.model.complete(own, True, prompt.messages)
        assert (result.text, result.finish_reason) == (expected.text, expected.finish_reason)
        assert (result.n_prompt_tokens, result.n_tokens) == (
            expected.n_prompt_tokens,
            expected.n_tokens,
        )
        assert result.token_ids == () and result.seconds is not None and result.seconds > 0
    body = inference.requests[0]
    assert {key: body[key] for key in ("temperature", "seed", "max_tokens", "stream")} == {
        "temperature": 0,
        "seed": 0,
        "max_tokens": 32,
        "stream": False,
    }
    assert set(inference.paths) == {"/v1/chat/completions"}


def test_a_draw_is_asked_for_with_its_temperature_and_a_seed_that_servers_take(
    inference: InferenceServer,
) -> None:
    (asked,) = prompts(VANILLA, n=1)
    draws = [replace(asked, draw=Draw(2**59 + i, 0.8), sample=i) for i in range(2)]
    with engine(inference) as one:
        found = [result for ended in one.generate(draws) for result in ended]
    assert sorted(result.sample for result in found) == [0, 1]
    sent = sorted(inference.requests, key=lambda body: int(body["seed"]))
    assert [(b["temperature"], b["seed"], b["top_p"]) for b in sent] == [(0.8, 0, 1), (0.8, 1, 1)]


def test_without_a_template_the_turns_are_sent_as_plain_text(inference: InferenceServer) -> None:
    turns = (Message("system", "Be brief."), Message("user", QUESTIONS[0]))
    with engine(inference, chat_template=False) as one:
        (found,) = completed(one, [Prompt("0", VANILLA, turns, ())])
    assert isinstance(found, Completion)
    assert inference.paths == ["/v1/completions"]
    assert inference.requests[0]["prompt"] == f"Be brief.\n\n{QUESTIONS[0]}"
    assert found.text == inference.model.complete(VANILLA, False, turns).text


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        ("", {}),
        ("true", {"chat_template_kwargs": {"enable_thinking": True}}),
        ("false", {"chat_template_kwargs": {"enable_thinking": False}}),
    ],
)
def test_the_server_is_told_of_thinking_what_the_user_says(
    inference: InferenceServer, said: str, sent: dict[str, Any]
) -> None:
    with engine(inference, enable_thinking=said) as one:
        completed(one, prompts(VANILLA, TUNED, n=1))
    found = [
        {key: body[key] for key in body if key == "chat_template_kwargs"}
        for body in inference.requests
    ]
    assert found == [sent, sent]


def test_thinking_is_part_of_what_a_served_variant_is(inference: InferenceServer) -> None:
    ids = {
        said: lined_up(inference, enable_thinking=said).loads[0].variants[0].id
        for said in ("", "true", "false")
    }
    assert len({*ids.values()}) == 3
    assert ids[""] == lined_up(inference).loads[0].variants[0].id


def test_thinking_needs_the_chat_template(inference: InferenceServer) -> None:
    said = refusal(inference, OptionError, enable_thinking="false", chat_template="false")
    assert "--enable_thinking" in said and "--chat_template false" in said
    assert "leave out one of the two" in said


def test_no_more_requests_than_the_batch_and_always_a_moment_to_stop(
    inference: InferenceServer,
) -> None:
    answers_may_come, n_moments = threading.Event(), 0
    inference.fault = lambda number, body: None if answers_may_come.wait(60) else Reply(drop=True)
    with engine(inference, batch_size=3) as one:
        for ended in one.generate(prompts(VANILLA, TUNED)):
            n_moments += not ended
            if n_moments >= 5 and len(inference.requests) >= 3:
                answers_may_come.set()
    assert n_moments >= 5 and inference.n_at_once == 3


def test_one_that_is_stopped_leaves_no_request_behind(inference: InferenceServer) -> None:
    answers_may_come, n_given_up = threading.Event(), 0

    def hold(number: int, body: dict[str, Any]) -> None:
        nonlocal n_given_up
        n_given_up += not answers_may_come.wait(60)

    inference.fault = hold
    with engine(inference) as one:
        ended = one.generate(prompts(VANILLA))
        next(ended)
    assert n_given_up == 0  # it did not wait for them
    answers_may_come.set()
    ended.close()  # type: ignore[attr-defined]


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=429, text="slow down", headers={"retry-after": "0.02"}),
        Reply(status=503, text="loading"),
        Reply(status=500, text="oops"),
        Reply(drop=True),
        Reply(reset=True, body=b'{"choices": []}'),
        Reply(body=b'{"choices": []}'),
        Reply(body=b'{"choices": [{"message": {"content": null}}]}'),
        Reply(body=b'{"error": {"message": "out of memory"}}'),
        Reply(body=b"<html>"),
    ],
)
def test_what_passes_is_asked_again(reply: Reply, inference: InferenceServer) -> None:
    inference.fault = lambda number, body: reply if number < 3 else None
    with engine(inference) as one:
        found = completed(one, prompts(VANILLA))
    assert all(isinstance(result, Completion) for result in found)
    assert len(inference.requests) == 4 + 3


@pytest.mark.usefixtures("hasty")
def test_a_prompt_may_have_a_limit_of_its_own(inference: InferenceServer) -> None:
    with engine(inference) as one:
        completed(one, [dataclasses.replace(prompts(VANILLA, n=1)[0], max_tokens=3)])
    assert [body["max_tokens"] for body in inference.requests] == [3]


def test_a_busy_server_gets_fewer_requests_at_once(inference: InferenceServer) -> None:
    n_now = [0]

    def busy(number: int, body: dict[str, Any]) -> Reply | None:
        inference.latency_s = 0.02
        n_now[0] = max(n_now[0], inference.n_now if number > 30 else 0)
        return Reply(status=429, headers={"retry-after": "0.05"}) if inference.n_now > 2 else None

    inference.fault = busy
    inference.latency_s = 0.3  # so that the first requests are all under way together
    with engine(inference, batch_size=8) as one:
        found = completed(one, prompts(VANILLA, TUNED, n=20))
    assert all(isinstance(result, Completion) for result in found)
    assert inference.n_at_once == 8 > n_now[0]


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    ("reply", "reason", "n_tries"),
    [
        (Reply(status=400, text="too long: 600 tokens"), "HTTP 400: too long: 600 tokens", 1),
        (
            Reply(status=500, text="oops"),
            f"{NO_ANSWER} (HTTP 500: oops); a resumed run tries again",
            4,
        ),
        (
            Reply(body=b'{"choices": []}'),
            f"{NO_ANSWER} (the server's answer has no choices); a resumed run tries again",
            4,
        ),
        (
            Reply(status=429, text="later"),
            f"{NO_ANSWER} (HTTP 429: later); a resumed run tries again",
            8,
        ),
    ],
)
def test_a_case_that_fails_is_a_failure_and_the_others_go_on(
    reply: Reply, reason: str, n_tries: int, inference: InferenceServer
) -> None:
    def one_case(number: int, body: dict[str, Any]) -> Reply | None:
        return reply if body["messages"][-1]["content"] == QUESTIONS[1] else None

    inference.fault = one_case
    with engine(inference) as one:
        found = completed(one, prompts(VANILLA))
    retry = reason.startswith(NO_ANSWER)
    assert found[1] == Failure("1", "generate", reason, VANILLA, retry=retry)
    assert [type(result) for result in found].count(Completion) == 3
    assert len(inference.requests) == 3 + n_tries


def test_a_redirect_names_its_target_after_one_request(inference: InferenceServer) -> None:
    elsewhere = Reply(status=307, headers={"location": "//127.0.0.1:9/v2?a=b"})
    with engine(inference, batch_size=1) as one:
        inference.fault = lambda number, body: elsewhere
        with pytest.raises(ModelError, match=r"HTTP 307: redirects to .*127.0.0.1:9/v2\)"):
            completed(one, prompts(VANILLA, TUNED, n=20))
    assert len(inference.requests) == 1


def test_a_list_of_models_elsewhere_is_named(inference: InferenceServer) -> None:
    inference.list_fault = lambda: Reply(status=308, headers={"location": "/v1/models/"})
    message = refusal(inference, ModelError)
    assert "sends requests elsewhere (HTTP 308: redirects to /v1/models/)" in message
    assert "--server_url" in message


@pytest.mark.usefixtures("hasty")
def test_a_server_that_is_gone_ends_the_run_with_what_is_there(inference: InferenceServer) -> None:
    inference.fault = lambda number, body: Reply(drop=True) if number >= 3 else None
    results: list[Completion | Failure] = []
    with engine(inference) as one, pytest.raises(ServerDownError, match="does not answer: 1"):
        for ended in one.generate(prompts(VANILLA, n=40)):
            results += ended
    assert sum(isinstance(result, Completion) for result in results) == 3
    assert len(inference.requests) < 70


def test_a_name_that_is_not_there_any_more_stops_the_run(inference: InferenceServer) -> None:
    with engine(inference) as one:
        del inference.served[TUNED]
        with pytest.raises(ModelError) as caught:
            completed(one, prompts(VANILLA, TUNED))
    message = str(caught.value)
    assert (
        f"the inference server {inference.url} does not serve 'demo-tuned' (HTTP 404: " in message
    )
    assert "Check the name, and --server_url" in message


def test_what_ended_beside_a_fatal_answer_is_handed_out_first(
    inference: InferenceServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def complete(prompt: Prompt, n_tokens: int) -> Completion:
        if prompt.variant == TUNED:
            raise ModelError("no such model")
        return Completion(prompt.case_id, prompt.variant, "Yes.", (), "stop", 0.1, 3, 2)

    results: list[Completion | Failure] = []
    with engine(inference) as one:
        monkeypatch.setattr(one._calls, "_complete", complete)
        with pytest.raises(ModelError, match="no such model"):
            for ended in one.generate(prompts(VANILLA, TUNED, n=1)):
                results += ended
    assert [result.variant for result in results] == [VANILLA]


class TestLineup:
    """What is checked before anything is asked of model or judge."""

    def test_unknown_names_are_told_with_what_the_server_has(
        self, inference: InferenceServer
    ) -> None:
        message = refusal(inference, ModelError, model_adapter=["nobody", TUNED, "none"])
        assert message == (
            f"the inference server {inference.url} does not serve 'nobody' (--model_adapter) and "
            "'none' (--model_adapter); it has demo-base, demo-tuned. Give names from that list, or "
            "start the server with them (vLLM: --enable-lora --lora-modules nobody=DIRECTORY)"
        )
        assert refusal(inference, ModelError, model_name="demo").startswith(
            f"the inference server {inference.url} does not serve 'demo' (--model_name); it has"
        )
        assert inference.requests == []

    def test_an_empty_list(self, inference: InferenceServer) -> None:
        inference.models = []
        assert refusal(inference, ModelError, model_adapter=[TUNED]) == (
            f"the inference server {inference.url} does not serve 'demo-base' (--model_name) and "
            "'demo-tuned' (--model_adapter); its list of models is empty. Load them there, or "
            "start the server with them (vLLM: --enable-lora --lora-modules demo-tuned=DIRECTORY)"
        )

    def test_without_a_list_every_name_is_asked_for_one_token(
        self, inference: InferenceServer
    ) -> None:
        inference.models = None
        found = lined_up(inference)
        assert [variant.name for variant in found.variants] == [VANILLA, TUNED]
        assert [(b["model"], b["max_tokens"]) for b in inference.requests] == [
            (BASE, 1),
            (TUNED, 1),
        ]
        message = refusal(inference, ModelError, model_adapter=["nobody"])
        assert f"server {inference.url} does not serve 'nobody' (HTTP 404: The model" in message
        assert "Check the name, and --server_url" in message

    def test_nobody_there(self, inference: InferenceServer) -> None:
        message = refusal(inference, ModelError, server_url="http://127.0.0.1:9/v1")
        assert message.startswith(
            "cannot read the list of models of the inference server http://127.0.0.1:9/v1 (no "
            "answer: ConnectError). "
        )
        assert message.endswith("check --server_url")

    @pytest.mark.parametrize(
        ("reply", "reason"),
        [
            (Reply(status=500, text="oops"), "HTTP 500: oops"),
            (Reply(body=b"<html>"), "unreadable answer: JSONDecodeError"),
            (Reply(body=b"[]"), "unreadable answer: not a JSON object"),
            (Reply(drop=True), "no answer: RemoteProtocolError"),
        ],
    )
    def test_a_server_that_is_ill(
        self, reply: Reply, reason: str, inference: InferenceServer
    ) -> None:
        inference.list_fault = lambda: reply
        assert f"({reason})" in refusal(inference, ModelError)

    @pytest.mark.parametrize("body", [b"{}", b'{"data": 7}', b'{"data": [7, {"id": 7}]}'])
    def test_a_list_of_any_shape(self, body: bytes, inference: InferenceServer) -> None:
        inference.list_fault = lambda: Reply(body=body)
        assert "its list of models is empty" in refusal(inference, ModelError)

    def test_a_key_in_the_servers_words_is_masked(
        self, inference: InferenceServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("INFERENCE_API_KEY", "sk-4711-secret")
        inference.list_fault = lambda: Reply(status=500, text="bad sk-4711-secret")
        assert "HTTP 500: bad [key])" in refusal(inference, ModelError)
        inference.key = "sk-4711-secret"
        inference.list_fault = lambda: None
        lineup = lined_up(inference)
        assert "4711" not in repr(lineup) + repr(find_models(params(inference), FolderHost("")))

    def test_what_the_completions_depend_on(self, inference: InferenceServer) -> None:
        found = lined_up(inference)
        assert found.identity == {
            "model as served": {"id": BASE, "root": "/models/demo"},
            "adapters as served": {TUNED: {"id": TUNED, "root": "/models/lora", "parent": BASE}},
            "server's version": "0.11.0",
            "engine": "server",
        }
        assert found.versions["engine chosen by"] == "auto: --server_url"
        assert [load.shared for load in found.loads] == [False]
        assert inference.url not in repr(found.identity)

    @pytest.mark.parametrize(
        ("name", "taken"),
        [
            (VANILLA, "used here for the base model"),
            (BASE, "that of the base model"),
            (TUNED, "given twice"),
        ],
    )
    def test_names_must_differ(self, name: str, taken: str, inference: InferenceServer) -> None:
        assert refusal(inference, OptionError, model_adapter=[TUNED, name]) == (
            f"{name}: this name is {taken}; names must differ, so serve it under another one"
        )

    @pytest.mark.parametrize("given", ["/workspace/models/Demo-Base", "someone/demo-base"])
    def test_a_base_is_known_by_the_last_part_of_its_name(
        self, given: str, inference: InferenceServer
    ) -> None:
        assert inference.models is not None
        inference.models.append({"id": "lora/demo-base", "parent": BASE})
        assert lined_up(inference, model_name=given).variants[0].model == BASE
        inference.models.append({"id": "other/demo-base"})
        assert "does not serve" in refusal(inference, ModelError, model_name=given)

    def test_a_fine_tuned_model_has_a_name_of_its_own(self, inference: InferenceServer) -> None:
        assert inference.models is not None
        inference.models.append({"id": "fused"})
        inference.served["fused"] = "tuned"
        found = lined_up(inference, tuned_model=["fused"], baseline_prompt="Be brief.")
        shown = [(variant.name, variant.model, variant.adapter_path) for variant in found.variants]
        assert shown == [
            (VANILLA, BASE, None),
            ("prompted", BASE, None),
            (TUNED, BASE, TUNED),
            ("fused", "fused", None),
        ]
        assert len({variant.id for variant in found.variants}) == 3  # the prompt is no part of it
        assert [(one.variant, one.reason) for one in found.certificates] == [
            ("fused", "a model of its own on the server")
        ]
        with engine(inference, tuned_model=["fused"]) as one:
            (base, own) = completed(one, prompts(VANILLA, "fused", n=1))
        assert isinstance(base, Completion) and isinstance(own, Completion)
        assert base.text != own.text
        message = refusal(inference, ModelError, tuned_model=["nobody"])
        assert "does not serve 'nobody' (--tuned_model); it has" in message

    def test_sglang_wants_an_adapter_behind_its_base(self, inference: InferenceServer) -> None:
        inference.models = [
            {"id": BASE, "owned_by": "sglang", "root": BASE},
            {"id": TUNED, "owned_by": "sglang", "root": "/lora", "parent": BASE},
        ]
        inference.served[f"{BASE}:{TUNED}"] = "tuned"
        with engine(inference) as one:
            completed(one, prompts(VANILLA, TUNED)[:2])
        assert {body["model"] for body in inference.requests} == {BASE, f"{BASE}:{TUNED}"}

    def test_an_adapter_of_another_base_is_told(self, inference: InferenceServer) -> None:
        assert inference.models is not None
        inference.models[1]["parent"] = "other-base"
        with engine(inference) as one:
            proof = one.certify(TUNED, prompts(VANILLA))
        assert proof.notes == (
            "the server says that demo-tuned belongs to 'other-base', and the base model here is "
            "'demo-base': make sure that both have the same weights",
        )

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            (
                {"server_url": "", "engine": "server"},
                "--engine server needs --server_url, such as http://localhost:8000/v1",
            ),
            (
                {"engine": "mlx", "server_url": "http://me:pw@host/v1?key=k"},
                "--server_url 'host/v1' is for --engine server, but --engine is 'mlx'; leave one "
                "of them out",
            ),
            (
                {"workers": 2, "load_4bit": True},
                "an inference server holds the models, so --load_4bit and --workers would do "
                "nothing: leave that out",
            ),
            ({"server_url": "localhost:8000"}, "--server_url 'localhost:8000' is not an http"),
            *(
                ({"server_url": f"http://{url}"}, "has a password or a query")
                for url in ("me:secret@host/v1", "host/v1?api_key=secret", "host/v1#secret")
            ),
        ],
    )
    def test_addresses_that_will_not_do(
        self, changed: dict[str, object], message: str, inference: InferenceServer
    ) -> None:
        said = refusal(inference, OptionError, **changed)
        assert message in said
        assert "secret@" not in said and "=secret" not in said and "pw" not in said


class TestCertificate:
    """What the answers to probes prove."""

    def certified(self, server: InferenceServer) -> Any:
        with engine(server) as one:
            return one.certify(TUNED, prompts(VANILLA))

    def test_an_adapter_that_is_applied(self, inference: InferenceServer) -> None:
        found = self.certified(inference)
        assert found.kind == "certified"
        assert (found.n_probes, found.n_changed, found.n_self_changed) == (4, 4, 0)
        assert found.base_proof == "same answers to 4 probe prompts when asked again"
        assert found.notes == () and found.n_tensors is None
        assert [name for name, _ in inference.asked] == [BASE] * 4 + [TUNED] * 4 + [BASE] * 4

    def test_a_server_that_ignores_names(self, inference: InferenceServer) -> None:
        inference.served[BASE] = "tuned"
        assert self.certified(inference).kind == "no effect"

    def test_a_server_whose_base_becomes_the_adapter(self, inference: InferenceServer) -> None:
        inference.sticky = True
        with pytest.raises(BaseDisturbedError) as caught:
            self.certified(inference)
        message = str(caught.value)
        assert message.startswith("base disturbed: after a request for demo-tuned, ")
        assert inference.url in message and "the base's name 'demo-base'" in message
        assert message.endswith("as vLLM does with --lora-modules")

    def test_a_base_that_varies_by_itself(self, inference: InferenceServer) -> None:
        def varies(number: int, body: dict[str, Any]) -> Reply | None:
            text = f'{{"choices": [{{"message": {{"content": "{number}"}}}}]}}'
            return Reply(body=text.encode())

        inference.fault = varies
        found = self.certified(inference)
        assert (found.n_changed, found.n_self_changed, found.kind) == (4, 4, "no effect")
        assert found.base_proof is None
        assert "base gave another answer to 4 of 4 probe prompts" in found.notes[0]
        # Fisher's exact test by hand: 60 of 60 against 1 of 4 by chance, 4 * 61 / C(64, 3) etc.
        one_of_four = dataclasses.replace(found, n_self_changed=1)
        assert one_of_four.with_completions(60, 60).kind == "certified"
        assert one_of_four.with_completions(60, 15).kind == "no effect"

    @pytest.mark.usefixtures("hasty")
    @pytest.mark.parametrize(
        ("reply", "kind", "message"),
        [
            (
                Reply(status=400, text="no system role"),
                ModelError,
                "refuses the probes: HTTP 400: no system role. Change the options or how the "
                "server was started; --chat_template false sends plain text",
            ),
            (
                Reply(status=500, text="oops"),
                ServerDownError,
                f"does not answer: {NO_ANSWER} (HTTP",
            ),
        ],
    )
    def test_probes_that_nobody_answers(
        self, reply: Reply, kind: type[Exception], message: str, inference: InferenceServer
    ) -> None:
        inference.fault = lambda number, body: reply
        with pytest.raises(kind) as caught:
            self.certified(inference)
        assert message in str(caught.value)


def test_no_likelihoods_and_no_tokens(inference: InferenceServer) -> None:
    with engine(inference) as one:
        assert one.encode([Message("user", "x")]) == one.tokens("x") == ()
        with pytest.raises(OptionError):
            one.loglikelihoods(VANILLA, [])


def test_a_reason_to_end_that_nobody_knows_is_none() -> None:
    (prompt,) = prompts(VANILLA, n=1)
    reply = {"choices": [{"text": "Yes.", "finish_reason": "content_filter"}]}
    assert completion_from_reply(prompt, reply, 0.1, chat=False).finish_reason is None
