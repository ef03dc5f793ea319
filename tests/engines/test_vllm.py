"""The vllm engine against a double of vLLM's interface, never against vLLM itself.

Only the last test looks at the real library, where it is installed.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo import FOLDER
from plugin import engines
from plugin.certify.certificate import certificate_block, certificate_warnings
from plugin.cli import main
from plugin.engines import choice
from plugin.engines.vllm import WRITTEN_FOR
from plugin.errors import AdapterError, FaultError, ModelError, OptionError
from plugin.load.adapter import inspect_adapter
from plugin.load.model import inspect_model
from plugin.records import Completion, Draw, Failure, Message, NoResult, Prompt
from tests.load.lora_samples import peft_config, peft_tensors, write_peft
from tests.vllm_double import LLMEngine, Platform, install, settings

VANILLA, TUNED = "vanilla", "tuned"
QUESTIONS = ["Who plays Richard Hendricks?", "Who plays Dinesh?", "Who founded Hooli?", "Who?"]


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> tuple[type[LLMEngine], Platform]:
    return install(monkeypatch)


@pytest.fixture
def engine(double: Any) -> Iterator[Any]:
    made = engines.load("vllm", settings(tuned=FOLDER / "adapter"))
    yield made
    made.close()


def prompts(engine: Any, variant: str = VANILLA) -> list[Prompt]:
    turns = [(Message("user", text),) for text in QUESTIONS]
    return [Prompt(str(i), variant, t, engine.encode(t)) for i, t in enumerate(turns)]


def results(engine: Any, wanted: list[Prompt]) -> dict[str, Any]:
    found = [one for step in engine.generate(wanted) for one in step]
    assert len(found) == len(wanted)
    return {one.case_id: one for one in found}


def test_each_sample_is_drawn_with_a_seed_of_its_own(engine: Any) -> None:
    wanted = [
        replace(one, case_id=f"{one.case_id} {i}", draw=Draw(2**59 + i, 0.8), sample=i)
        for one in prompts(engine)
        for i in range(2)
    ]
    found = results(engine, wanted)
    assert [found[one.case_id].sample for one in wanted] == [0, 1] * len(QUESTIONS)
    assert found["0 0"].token_ids != found["0 1"].token_ids
    again = results(engine, wanted[::-1])
    assert {case: one.token_ids for case, one in again.items()} == {
        case: one.token_ids for case, one in found.items()
    }


def test_it_gives_the_completions_and_likelihoods_of_another_engine(engine: Any) -> None:
    mlx: Any = engines.load("mlx", replace(settings(tuned=FOLDER / "adapter"), batch_size=1))
    for variant in (TUNED, VANILLA):
        wanted = prompts(engine, variant)
        assert wanted == prompts(mlx, variant)
        found, expected = results(engine, wanted), results(mlx, wanted)
        for case, one in found.items():
            other = expected[case]
            assert isinstance(one, Completion) and one.seconds is not None and one.seconds > 0
            assert replace(one, seconds=0.0) == replace(other, seconds=0.0)
        pairs = [(p.token_ids, engine.tokens("Kumail Nanjiani")) for p in wanted]
        pairs.append((wanted[0].token_ids, ()))
        own = list(engine.loglikelihoods(variant, pairs))
        assert np.allclose(own, list(mlx.loglikelihoods(variant, pairs)), atol=1e-3)
    assert {one.finish_reason for one in found.values()} == {"stop"}
    assert engine.plain_text.encode("Who?") == mlx.plain_text.encode("Who?")
    rows = [list(p.token_ids) for p in wanted]
    own, other = (list(each.next_logits(TUNED, [rows], 3)) for each in (engine, mlx))
    for one, logits in zip(own, other, strict=True):
        assert np.allclose(
            one - one.max(-1, keepdims=True), logits - logits.max(-1, keepdims=True), atol=1e-3
        )


def test_completions_are_cut_off_and_handed_on_one_by_one(engine: Any) -> None:
    wanted = [
        replace(p, max_tokens=n) for p, n in zip(prompts(engine), (2, 24, 24, 24), strict=True)
    ]
    steps = [step for step in engine.generate(wanted) if step]
    assert len(steps) > 1
    first = steps[0][0]
    assert (first.case_id, first.finish_reason, first.n_tokens) == ("0", "length", 2)
    assert LLMEngine.made[-1].batches == 4
    assert "by vLLM, up to 8 rows" in engine.decoding


def test_what_nobody_waits_for_is_taken_back(engine: Any) -> None:
    steps = engine.generate(prompts(engine))
    next(steps), next(steps)
    steps.close()
    assert len(LLMEngine.made[-1].aborted) == 4 and not LLMEngine.made[-1].asked


def test_an_adapter_is_certified_by_probes(engine: Any) -> None:
    mlx: Any = engines.load("mlx", settings(tuned=FOLDER / "adapter"))
    found, other = (each.certify(TUNED, prompts(each)) for each in (engine, mlx))
    assert found.kind == "certified" and found.unused == ()
    assert found.effect.kl == pytest.approx(other.effect.kl, rel=1e-3)
    assert len(found.random.draws) == len(other.random.draws) > 1
    assert found.random.effect.kl == pytest.approx(other.random.effect.kl, rel=0.5)  # own draws
    assert found.base_proof == (
        "the same log probabilities, bit for bit; vLLM does not show its weights"
    )
    assert found.path == "by vLLM, beside the base's weights"
    assert found.batch == (8, 0, 8)
    assert "0 of 8 probe completions change between batches of 1 and 8" in certificate_block(found)


def test_a_base_that_answers_otherwise_afterwards_is_noticed(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LLMEngine, "shift", 1e-3)
    assert engine.certify(TUNED, prompts(engine)).kind == "base disturbed"


def test_numbers_that_do_not_repeat_are_compared_by_their_likeliest_tokens(
    double: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LLMEngine, "jitter", 1e-6)
    engine: Any = engines.load("vllm", settings(tuned=FOLDER / "adapter"))
    found = engine.certify(TUNED, prompts(engine))
    assert found.kind == "certified"
    assert found.base_proof.startswith("the same likeliest tokens; here vLLM does not repeat")
    monkeypatch.setattr(LLMEngine, "shift", 1.0)
    assert engine.certify(TUNED, prompts(engine)).kind == "base disturbed"


def test_completions_that_depend_on_the_batch_are_counted(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = LLMEngine._logs

    def shaky(self: Any, row: Any, lora: Any, n: int) -> Any:
        logs = plain(self, row, lora, n)
        return np.eye(1, logs.shape[1], 2) if len(self.asked) > 6 else logs  # ends the text

    monkeypatch.setattr(LLMEngine, "_logs", shaky)
    found = engine.certify(TUNED, prompts(engine))
    assert found.batch.n_changed > 0
    (warning,) = certificate_warnings([found], n_before_resuming=3)
    assert warning.startswith("the run was resumed after 3 completions, and on this device")


def test_tensors_that_vllm_would_ignore_are_named(double: Any, tmp_path: Path) -> None:
    tensors = peft_tensors(peft_config())
    strays = {re.sub(r"layers.\d+", "layers.77", name): one for name, one in tensors.items()}
    folder = write_peft(tmp_path / "partial", peft_config(), {**tensors, **strays})
    engine: Any = engines.load("vllm", settings(odd=folder))
    found = engine.certify("odd", prompts(engine))
    assert (found.kind, set(found.unused)) == ("partial", set(strays))


@pytest.mark.parametrize(
    ("config", "change", "told"),
    [
        ({"use_dora": True}, {}, "use_dora True"),
        ({"modules_to_save": ["lm_head"]}, {}, "modules_to_save"),
        ({"r": 1024}, {}, "rank 1024; the largest is 512"),
        ({}, {"base_model.model.model.norm.weight": np.ones(192, np.float32)}, "no LoRA: base"),
    ],
)
def test_adapters_that_vllm_cannot_apply_are_refused_before_it_starts(
    config: dict[str, Any], change: dict[str, Any], told: str, double: Any, tmp_path: Path
) -> None:
    tensors = {**peft_tensors(peft_config()), **change}
    folder = write_peft(tmp_path / "odd", {**peft_config(), **config}, tensors)
    with pytest.raises(AdapterError, match="vLLM cannot apply all of this adapter") as caught:
        engines.load("vllm", settings(odd=folder))
    assert told in str(caught.value) and "--engine transformers" in str(caught.value)
    assert LLMEngine.made == []


def test_a_tensor_of_another_shape_is_refused(double: Any, tmp_path: Path) -> None:
    tensors = peft_tensors(peft_config())
    name = next(name for name in tensors if name.endswith("lora_A.weight"))
    tensors[name] = tensors[name][:, :100].copy()
    folder = write_peft(tmp_path / "odd", peft_config(), tensors)
    engine: Any = engines.load("vllm", settings(odd=folder))
    with pytest.raises(AdapterError, match=r"lora_A.weight: shape \d+ x 100 in the file"):
        engine.certify("odd", prompts(engine))


def test_what_vllm_itself_refuses_is_told(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LLMEngine.made[-1].args, "max_lora_rank", 1)
    with pytest.raises(AdapterError, match="greater than max_lora_rank.*--engine transformers"):
        engine.certify(TUNED, prompts(engine))


def test_too_long_prompts_fail_and_less_room_is_told(
    double: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LLMEngine, "room", 24)
    engine: Any = engines.load("vllm", settings())
    assert "vLLM has memory for prompts and completions of 24 tokens together" in engine.notes[-1]
    (longest, *_), wanted = (
        sorted(prompts(engine), key=lambda p: -len(p.token_ids)),
        prompts(engine),
    )
    long = replace(longest, case_id="long", token_ids=longest.token_ids * 3)
    found = results(engine, [*wanted, long])
    assert isinstance(found["long"], Failure) and "never shortened" in found["long"].reason
    assert all(len(p.token_ids) + found[p.case_id].n_tokens <= 24 for p in wanted)
    row = longest.token_ids * 3
    fits, full, more = engine.loglikelihoods(
        VANILLA, [(row[:20], row[20:23]), (row[:20], row[20:24]), (row[:20], row[20:30])]
    )
    assert fits < 0
    assert isinstance(full, NoResult) and "vLLM can read 23" in full.reason
    assert isinstance(more, NoResult)


def test_a_failing_vllm_stops_the_run(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LLMEngine, "fails", RuntimeError("EngineCore encountered an issue"))
    with pytest.raises(FaultError, match="vLLM stopped: EngineCore encountered an issue"):
        results(engine, prompts(engine))


def test_an_end_of_another_kind_is_a_failure_to_try_again(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = LLMEngine.step

    def step(self: Any) -> Any:
        ended = plain(self)
        for one in ended:
            one.outputs[0].finish_reason = "error"
        return ended

    monkeypatch.setattr(LLMEngine, "step", step)
    found = results(engine, prompts(engine))
    assert all(isinstance(one, Failure) and one.retry for one in found.values())


def test_its_process_ends_when_it_is_closed_or_cannot_be_used(
    double: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine: Any = engines.load("vllm", settings(tuned=FOLDER / "adapter"))
    scratch = engine._on._scratch
    engine.certify(TUNED, prompts(engine))
    assert scratch.is_dir()
    engine.close()
    assert LLMEngine.made[-1].was_shut_down and not scratch.exists()
    monkeypatch.setattr(LLMEngine, "jitter", np.nan)
    with pytest.raises(ModelError, match="NaN or infinity"):
        engines.load("vllm", settings())
    assert LLMEngine.made[-1].was_shut_down


def test_a_model_that_is_too_large_or_of_another_format_is_refused(
    double: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Platform, "n_bytes", 1 << 20)
    with pytest.raises(ModelError, match=r"its weights need 0.0 GiB, and vLLM may take 0.0 GiB"):
        engines.load("vllm", settings())
    folder = Path(shutil.copytree(FOLDER / "model", tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization": {"bits": 4}}))
    with pytest.raises(ModelError, match="MLX's format"):
        engines.load("vllm", settings(folder))
    assert LLMEngine.made == []


def test_without_a_gpu_it_says_so(double: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert engines.library_version("vllm") == "vllm 0.33.0, torch 2.14.0, bfloat16 on cuda"
    monkeypatch.setattr(Platform, "unspecified", True)
    with pytest.raises(OptionError, match="vLLM sees no GPU on this machine"):
        engines.library_version("vllm")
    monkeypatch.setattr(Platform, "is_unspecified", lambda self: 1 / "x")  # type: ignore[operator]
    monkeypatch.setattr(Platform, "is_unspecified", _broken)
    with pytest.raises(OptionError, match="does not start here.*requirements-vllm.txt"):
        engines.library_version("vllm")


def _broken(self: Platform) -> bool:
    raise OSError("libcuda.so.1: cannot open shared object file")


def test_only_its_name_chooses_it(double: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = inspect_model(FOLDER / "model")
    monkeypatch.setattr(choice, "find_spec", lambda name: name == "vllm" or None)
    with pytest.raises(OptionError, match="engine 'mlx' needs mlx") as caught:
        choice.choose_engine("auto", model, [])
    assert "vllm" not in str(caught.value)
    assert choice.choose_engine("vllm", model, []) == ("vllm", "--engine vllm")
    with pytest.raises(OptionError, match="engine 'vllm' runs on no workers"):
        choice.spread_over_workers("vllm", settings(), 2, "")
    full = dataclasses.replace(
        inspect_adapter(FOLDER / "adapter"), config={"fine_tune_type": "full"}
    )
    with pytest.raises(AdapterError, match="--engine mlx"):
        choice.require_fitting_adapters("vllm", model, [full])
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match="pip install -r requirements-vllm.txt"):
        choice.ready_engines("vllm")


def test_the_requirements_pin_the_version_it_was_written_for() -> None:
    lines = Path("requirements-vllm.txt").read_text(encoding="utf-8").splitlines()
    assert f"vllm=={WRITTEN_FOR}" in lines


def test_a_run_with_it_ends_in_a_report(double: Any, tmp_path: Path) -> None:
    words = ["run", "--engine", "vllm", "--model_name", str(FOLDER / "model"), "--model_adapter"]
    words += [str(FOLDER / "adapter"), "--dataset_name", str(FOLDER / "cases.jsonl")]
    words += ["--limit", "0.05", "--max_tokens", "8", "--batch_size", "4"]
    words += ["--predefined_tasks", "Token F1, Perplexity", "--out", str(tmp_path / "run")]
    assert main(words) == 0
    assert LLMEngine.made[-1].was_shut_down
    verdict = (tmp_path / "run" / "verdict.txt").read_text(encoding="utf-8")
    assert "certified. 24 of 24 tensors loaded; 3 of 3 completions changed" in verdict
    assert "vLLM does not show its weights" in verdict
    summary = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))
    assert "by vLLM, up to 4 rows" in json.dumps(summary)


def test_the_double_has_only_what_the_real_one_has() -> None:
    vllm = pytest.importorskip("vllm")
    from vllm.lora.request import LoRARequest

    from tests import vllm_double

    assert vllm.__version__ == WRITTEN_FOR
    for real, own in (
        (vllm.EngineArgs, vllm_double.EngineArgs),
        (vllm.SamplingParams, vllm_double.SamplingParams),
        (LoRARequest, vllm_double.LoRARequest),
    ):
        wanted = {field.name for field in dataclasses.fields(own)}
        assert wanted <= set(inspect.get_annotations(real))
    for name in ("from_engine_args", "add_request", "step", "abort_request", "add_lora"):
        own = set(inspect.signature(getattr(vllm_double.LLMEngine, name)).parameters)
        assert own <= set(inspect.signature(getattr(vllm.LLMEngine, name)).parameters)
