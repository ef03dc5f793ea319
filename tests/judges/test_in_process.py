"""Judges in this process, with real decoding on a tiny random model.

The cases that need torch run where it is installed, and are skipped elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from demo import FOLDER
from plugin import judges
from plugin.errors import CallError, FaultError, JudgeError
from plugin.judges import in_process as in_process_judges
from plugin.judges.asking import AskSettings
from plugin.judges.in_process import InProcessJudge, _encode_chat
from plugin.judges.panel import Judging
from tests.judges.in_process import ask_all, build, in_worker, load, questions


class Reason(BaseModel):
    reason: str


@pytest.fixture(params=["mlx", "transformers"])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "transformers":
        pytest.importorskip("torch").set_num_threads(1)  # several wait more than they work here
    return str(request.param)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("judge") / "model")


@pytest.fixture
def judge(kind: str, folder: Path) -> InProcessJudge:
    return load(kind, folder)


def short_answers(monkeypatch: pytest.MonkeyPatch, n_tokens: int) -> None:
    monkeypatch.setattr("plugin.judges.in_process.MAX_ANSWER_TOKENS", n_tokens)


@pytest.mark.parametrize("n", [60, pytest.param(500, marks=pytest.mark.slow)])
def test_answers_to_deepevals_prompts_all_fit_their_schemas(
    n: int, judge: InProcessJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    short_answers(monkeypatch, 96)
    asked = questions(n)
    assert len({schema for _, schema in asked}) == 6
    answers = ask_all(judge, asked)
    assert [answer for answer in answers if answer.cut_off] == []
    for (_, schema), answer in zip(asked, answers, strict=True):
        schema.model_validate_json(answer.text)
    assert max(answer.n_completion_tokens for answer in answers) > 60  # gibberish, and hurried
    assert len({answer.text for answer in answers}) > 0.4 * n


def test_a_batch_gives_the_same_answers_as_one_at_a_time(
    kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short_answers(monkeypatch, 64)
    asked = questions(500)[::25]
    alone = ask_all(load(kind, folder), asked, at_once=1)
    assert ask_all(load(kind, folder), asked) == alone
    assert len({answer.text for answer in alone}) > 10


def test_both_kinds_give_the_same_answers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch").set_num_threads(1)
    short_answers(monkeypatch, 64)
    asked = questions(12)
    one, other = (ask_all(load(kind, folder), asked) for kind in ("mlx", "transformers"))
    assert one == other


def test_an_answer_tells_its_tokens_and_the_models_version(judge: InProcessJudge) -> None:
    (answer,) = ask_all(judge, [("Why?", Reason)])
    assert answer.version in judge.identity and len(answer.version) == 12
    assert answer.n_prompt_tokens == len(_tokens("Why?"))
    assert len(answer.text) > 0 and answer.n_completion_tokens > 0


def _tokens(text: str) -> list[int]:
    from transformers import AutoTokenizer

    return _encode_chat(AutoTokenizer.from_pretrained(FOLDER / "model"), text, "judge")


def test_who_gives_up_leaves_the_batch_and_the_others_stay(judge: InProcessJudge) -> None:
    prompts = ["Why?", "Who plays Richard?", "Where is it?"]

    async def give_up() -> list[str]:
        asks = [asyncio.create_task(judge.ask(prompt, Reason)) for prompt in prompts]
        while not (judge._decoder and len(judge._waiting) == 3):
            await asyncio.sleep(0)
        for _ in range(6):
            await asyncio.sleep(0)
        asks[1].cancel()
        kept = await asyncio.gather(asks[0], asks[2])
        assert asks[1].cancelled() and judge._waiting == {}
        assert judge._decoder is not None and judge._decoder.step() == []  # nothing is left there
        await judge.close()
        return [answer.text for answer in kept]

    kept = in_worker(give_up)
    again = load(judge.label.partition(":")[0], Path(judge.label.partition(":")[2]))
    assert kept == [a.text for a in ask_all(again, [(prompts[0], Reason), (prompts[2], Reason)])]


def test_closing_lets_go_of_what_is_under_way(judge: InProcessJudge) -> None:
    async def stop() -> None:
        ask = asyncio.create_task(judge.ask("Why?", Reason))
        for _ in range(5):
            await asyncio.sleep(0)
        ask.cancel()
        await asyncio.gather(ask, return_exceptions=True)
        await judge.close()
        assert judge._decoder is None and judge._decoding is None

    in_worker(stop)


def test_others_get_their_turn_between_two_tokens(judge: InProcessJudge) -> None:
    n_turns = 0

    async def count() -> None:
        nonlocal n_turns
        while True:
            n_turns += 1
            await asyncio.sleep(0)

    async def both() -> int:
        others = asyncio.create_task(count())
        answer = await judge.ask("Why?", Reason)
        others.cancel()
        await judge.close()
        return answer.n_completion_tokens

    assert in_worker(both) <= n_turns


def test_a_fault_of_the_library_reaches_everyone_who_waits(
    judge: InProcessJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> list[object]:
        asks = [asyncio.create_task(judge.ask(prompt, Reason)) for prompt in ("Why?", "Who?")]
        while len(judge._waiting) < 2:
            await asyncio.sleep(0)

        def no_memory(*_: object, **__: object) -> None:
            raise RuntimeError("out of memory")

        if judge.label.startswith("mlx"):
            monkeypatch.setattr(judge._decoder._batch, "_next", no_memory)  # type: ignore[union-attr]
        else:
            monkeypatch.setattr(judge._decoder._batch, "write", no_memory)  # type: ignore[union-attr]
        return await asyncio.gather(*asks, return_exceptions=True)

    for error in in_worker(fail):
        assert isinstance(error, FaultError)
        assert "out of memory" in str(error) and str(error).endswith("lower --concurrency")


def test_a_prompt_longer_than_the_context_is_said_to_be(kind: str, tmp_path: Path) -> None:
    judge = load(kind, build(tmp_path / "small", n_context=100))
    answers = ask_all(load(kind, tmp_path / "small"), [("Why? " * 20, Reason)])
    assert not answers[0].cut_off  # it fits, with little room for the answer
    with pytest.raises(
        CallError, match=r"has \d+ tokens.* only 100\. .*choose a judge with a longer"
    ):
        ask_all(judge, [("Why? " * 40, Reason)])


def test_the_identity_is_that_of_the_files_wherever_they_lie(
    kind: str, folder: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(folder, tmp_path / "moved")
    other = build(tmp_path / "other", seed=1)
    told = [load(kind, path).identity for path in (folder, moved, other)]
    assert told[0] == told[1] != told[2]
    (moved / "tokenizer_config.json").write_text(
        (moved / "tokenizer_config.json").read_text().replace("<|assistant|>", "<|user|>")
    )
    assert load(kind, moved).identity != told[0]


def test_a_model_that_is_not_there_is_said_so(kind: str, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(JudgeError, match=f"judge '{kind}' needs a model: write --judge {kind}:"):
        judges.load(f"{kind}:", lambda name: None)
    with pytest.raises(JudgeError, match="no such directory"):
        load(kind, tmp_path / "nowhere").identity  # noqa: B018
    with pytest.raises(JudgeError, match="there is no directory .*the hub download failed"):
        judges.load(f"{kind}:someone/nothing", lambda name: None).identity  # noqa: B018
    pickled = shutil.copytree(folder, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(JudgeError, match="weights are only there as pickle"):
        load(kind, pickled).identity  # noqa: B018


def test_a_model_that_the_library_cannot_load_is_said_so(
    kind: str, folder: Path, tmp_path: Path
) -> None:
    strange = shutil.copytree(folder, tmp_path / "strange")
    config = json.loads((strange / "config.json").read_text())
    (strange / "config.json").write_text(json.dumps({**config, "model_type": "no-such-kind"}))
    with pytest.raises(JudgeError, match="cannot load this model"):
        ask_all(load(kind, strange), [("Why?", Reason)])


def with_tokenizer(folder: Path, to: Path, edit: Callable[[dict[str, Any]], None]) -> Path:
    strange = shutil.copytree(folder, to)
    spec = json.loads((strange / "tokenizer.json").read_text())
    edit(spec)
    (strange / "tokenizer.json").write_text(json.dumps(spec))
    return strange


def no_spaces(spec: dict[str, Any]) -> None:
    """Split at no space, and mark none: a space has no token any more."""
    spec["pre_tokenizer"] = None


def no_brace(spec: dict[str, Any]) -> None:
    """Have no token that closes an object."""
    model = spec["model"]
    model["vocab"]["\u00ff\u00fe"] = model["vocab"].pop("}")
    model["merges"] = [pair for pair in model["merges"] if "}" not in str(pair)]


@pytest.mark.parametrize(
    ("edit", "problem"),
    [(no_spaces, "are read as"), (no_brace, "does not count as a whole answer|are read as")],
)
def test_a_tokenizer_that_the_grammar_cannot_use_is_named_before_the_first_answer(
    edit: Callable[[dict[str, Any]], None], problem: str, kind: str, folder: Path, tmp_path: Path
) -> None:
    strange = with_tokenizer(folder, tmp_path / "strange", edit)
    with pytest.raises(JudgeError, match=problem) as caught:
        ask_all(load(kind, strange), [("Why?", Reason)])
    assert str(caught.value).startswith(f"judge {kind}:{strange}: its tokenizer does not suit")
    assert "choose another judge model" in str(caught.value)


def test_a_tokenizer_that_cannot_be_read_is_named_with_its_model(
    kind: str, folder: Path, tmp_path: Path
) -> None:
    strange = with_tokenizer(folder, tmp_path / "strange", lambda spec: spec.update(decoder=None))
    with pytest.raises(JudgeError, match="cannot read the judge's tokenizer") as caught:
        ask_all(load(kind, strange), [("Why?", Reason)])
    assert str(caught.value).startswith(f"judge {kind}:{strange}: ")


def test_without_torch_the_command_that_installs_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(in_process_judges, "find_spec", lambda name: None)
    with pytest.raises(JudgeError, match="pip install -r requirements-torch.txt"):
        judges.load("transformers:some/model", lambda name: None)


def test_a_judge_here_takes_as_many_questions_as_it_can_and_has_no_deadline(
    folder: Path,
) -> None:
    def ask_settings(judge: judges.Judge, concurrency: int) -> AskSettings:
        return Judging((judge,), concurrency=concurrency).ask_settings(judge)

    here = ask_settings(load("mlx", folder), 100)
    assert (here.concurrency, here.timeout_s, here.adaptive) == (16, float("inf"), False)
    assert ask_settings(load("mlx", folder), 3).concurrency == 3
    elsewhere = ask_settings(judges.load("offline", lambda name: None), 100)
    assert (elsewhere.concurrency, elsewhere.timeout_s, elsewhere.adaptive) == (100, 60, True)


class Template:
    """A tokenizer that shows what its chat template was told."""

    bos_token_id = 1

    def __init__(self, chat_template: str | None) -> None:
        self.chat_template = chat_template
        self.told: dict[str, object] = {}

    def encode(self, text: str, add_special_tokens: bool = True, **_: object) -> list[int]:
        return [1, *map(ord, text)] if add_special_tokens else list(map(ord, text))

    def apply_chat_template(self, turns: list[dict[str, str]], **told: object) -> str:
        self.told = told
        return "\1\1" + "|".join(turn["role"] + turn["content"] for turn in turns)


def test_the_prompt_is_one_users_turn_with_one_bos_and_no_thoughts() -> None:
    plain, thinking = Template("{{ messages }}"), Template("{% if enable_thinking %}")
    assert _encode_chat(plain, "Why?", "judge") == [1, *map(ord, "userWhy?")]
    assert "enable_thinking" not in plain.told and plain.told["add_generation_prompt"] is True
    _encode_chat(thinking, "Why?", "judge")
    assert thinking.told["enable_thinking"] is False
    assert _encode_chat(Template(None), "Why?", "judge") == [1, *map(ord, "Why?")]
