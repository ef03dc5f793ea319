"""The transformers engine on the demo's real model and adapter; skipped where torch is missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from demo import FOLDER
from plugin import engines
from plugin.engines import EngineSettings, _torch
from plugin.engines._torch import torch_loglikelihoods
from plugin.engines.transformers import PeftAdapterSwitch, TransformersEngine
from plugin.errors import AdapterError, BaseDisturbedError, FaultError, ModelError
from plugin.load.adapter import inspect_adapter
from plugin.load.convert import to_peft
from plugin.load.model import inspect_model
from plugin.records import Completion, Failure, Message, NoResult, Prompt, Variant
from tests.engines.test_mlx import echo_model
from tests.load.lora_samples import MODULES, peft_config, peft_tensors, write_peft

torch = pytest.importorskip("torch")
pytest.importorskip("peft")
torch.set_num_threads(1)  # several wait more than they work here

VANILLA, TUNED, OTHER = "vanilla", "tuned", "other"
QUESTIONS = [
    "Who plays Richard Hendricks in Silicon Valley?",
    "Who plays Dinesh?",
    "Who founded Hooli?",
    "What does Pied Piper make, and who is it that makes it all day?",
    "Who is Gilfoyle?",
    "Who?",
    "Where does Richard live in Silicon Valley?",
]


def settings(model: Path = FOLDER / "model", **adapters: Path) -> EngineSettings:
    adapters = adapters or {"tuned": FOLDER / "adapter"}
    folders = {name: inspect_adapter(path) for name, path in adapters.items()}
    return EngineSettings(inspect_model(model), "demo", folders, 24, 4, True)


def load(*arguments: Path, **adapters: Path) -> TransformersEngine:
    engine = engines.load("transformers", settings(*arguments, **adapters))
    assert isinstance(engine, TransformersEngine)
    return engine


@pytest.fixture(scope="module")
def engine() -> Iterator[TransformersEngine]:
    yield load()


def prompts(engine: Any, questions: list[str] = QUESTIONS) -> list[Prompt]:
    turns = [(Message("user", text),) for text in questions]
    return [Prompt(str(i), VANILLA, t, engine.encode(t)) for i, t in enumerate(turns)]


def of(variant: str, wanted: list[Prompt]) -> list[Prompt]:
    return [replace(prompt, variant=variant) for prompt in wanted]


def results(engine: Any, variant: str, wanted: list[Prompt]) -> dict[str, Any]:
    found = [one for step in engine.generate(of(variant, wanted)) for one in step]
    assert len({one.case_id for one in found}) == len(found)
    return {one.case_id: one for one in found}


def tokens(engine: Any, variant: str, wanted: list[Prompt]) -> dict[str, tuple[int, ...]]:
    return {case: one.token_ids for case, one in results(engine, variant, wanted).items()}


def plain_tokens(model: Any, prompt: Prompt) -> tuple[int, ...]:
    """One prompt at a time, by the library's own greedy decoding."""
    ids = torch.tensor([prompt.token_ids])
    out = model.generate(ids, do_sample=False, max_new_tokens=24, pad_token_id=0)[0].tolist()
    said = out[len(prompt.token_ids) :]
    return tuple(said[: said.index(2)] if 2 in said else said)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same variants by the libraries alone."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("plain")
    to_peft(inspect_adapter(FOLDER / "adapter"), 4, folder)

    def base() -> Any:
        return AutoModelForCausalLM.from_pretrained(FOLDER / "model", dtype=torch.float32).eval()

    return {"vanilla": base(), "tuned": PeftModel.from_pretrained(base(), folder).eval()}


def test_batches_give_what_the_library_gives_one_at_a_time(
    engine: TransformersEngine, plain: dict[str, Any]
) -> None:
    wanted = prompts(engine)
    for variant in (VANILLA, TUNED, VANILLA):
        expected = {p.case_id: plain_tokens(plain[variant], p) for p in wanted}
        assert tokens(engine, variant, wanted) == expected


def test_both_engines_give_the_same_completions(engine: TransformersEngine) -> None:
    mlx = engines.load("mlx", settings())
    wanted = prompts(mlx)
    assert wanted == prompts(engine)
    for variant in (VANILLA, TUNED):
        one, other = results(mlx, variant, wanted), results(engine, variant, wanted)
        assert {case: found.text for case, found in one.items()} == {
            case: found.text for case, found in other.items()
        }
        assert {case: found.finish_reason for case, found in one.items()} == {
            case: found.finish_reason for case, found in other.items()
        }


def test_several_adapters_are_told_apart_and_leave_the_base_alone(tmp_path: Path) -> None:
    dora = write_peft(tmp_path / "dora", peft_config(use_dora=True))
    engine = load(tuned=FOLDER / "adapter", other=dora)
    wanted = prompts(engine)
    logits = engine._switch.probe()
    before = tokens(engine, VANILLA, wanted)
    for name in (TUNED, OTHER):
        engine.certify(name, wanted)
    found = [tokens(engine, variant, wanted) for variant in (TUNED, OTHER, TUNED, VANILLA)]
    assert found[0] == found[2] != found[1]
    assert found[3] == before not in found[:3]
    assert engine._switch.probe() == logits


def test_a_second_adapter_is_certified_against_the_base_and_not_the_first(tmp_path: Path) -> None:
    peft = tmp_path / "peft"
    peft.mkdir()
    to_peft(inspect_adapter(FOLDER / "adapter"), 4, peft)
    engine = load(tuned=peft, other=Path(shutil.copytree(peft, tmp_path / "again")))
    wanted = prompts(engine)
    first, second = (engine.certify(name, wanted) for name in (TUNED, OTHER))
    assert (first.result, second.result) == ("certified", "certified")
    assert second.effect == first.effect
    engine._switch.base_answers.clear()
    assert engine.certify(OTHER, wanted).effect == first.effect


def test_an_adapter_with_whole_modules_is_used_and_taken_off(tmp_path: Path) -> None:
    config = peft_config(modules_to_save=["model.norm", "3.input_layernorm"])
    base = load_file(FOLDER / "model" / "model.safetensors")
    same = "model.layers.3.input_layernorm.weight"
    tensors = peft_tensors(config) | {
        "base_model.model.model.norm.weight": base["model.norm.weight"] * 2,
        f"base_model.model.{same}": base[same],
    }
    engine = load(tuned=write_peft(tmp_path / "whole", config, tensors))
    prompt = prompts(engine)[0].token_ids
    pair = [(prompt, (5, 6))]
    before = list(engine.loglikelihoods(VANILLA, pair))
    logits = engine._switch.probe()
    without = load(tuned=write_peft(tmp_path / "parts", peft_config()))
    assert list(engine.loglikelihoods(TUNED, pair)) != pytest.approx(
        list(without.loglikelihoods(TUNED, pair))
    )
    assert list(engine.loglikelihoods(VANILLA, pair)) == before
    assert engine._switch.probe() == logits


def test_a_disturbed_base_stops_the_run() -> None:
    engine = load()
    with pytest.raises(BaseDisturbedError, match="base disturbed: after adapter tuned was removed"):
        for _ in engine.generate(of(TUNED, prompts(engine)[:1])):
            with torch.no_grad():
                engine._model.model.norm.weight.mul_(1.001)


def test_where_logits_do_not_repeat_tensors_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = iter(range(1000))
    monkeypatch.setattr(PeftAdapterSwitch, "probe", lambda self: np.float32(next(noise)).tobytes())
    engine = load()
    assert results(engine, TUNED, prompts(engine)[:1])
    first = engine._switch.fingerprint()
    with torch.no_grad():
        engine._model.model.norm.weight.add_(1e-6)
    assert engine._switch.fingerprint() != first


def test_log_likelihood_is_the_sum_over_the_continuation(
    engine: TransformersEngine, plain: dict[str, Any]
) -> None:
    prompt = prompts(engine)[1].token_ids
    said = engine._tokenizer.encode(" Kumail Nanjiani plays Dinesh.", add_special_tokens=False)
    expected, ids = 0.0, list(prompt)
    for token in said:  # one token at a time, worked without batching
        with torch.inference_mode():
            logits = plain["vanilla"](torch.tensor([ids])).logits[0, -1]
        expected += float(logits[token] - torch.logsumexp(logits, -1))
        ids.append(token)
    assert list(engine.loglikelihoods(VANILLA, [(prompt, said), (prompt, ())])) == [
        pytest.approx(expected, rel=1e-5),
        0.0,
    ]
    assert next(engine.loglikelihoods(TUNED, [(prompt, said)])) > expected + 1


def some_pairs(engine: Any) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    said = [engine.tokens(f"Kumail plays {'very ' * n}well.") for n in (9, 1, 4, 0, 2, 7, 1)]
    return list(zip([prompt.token_ids for prompt in prompts(engine)], said, strict=True))


def test_read_side_by_side_they_are_what_they_are_one_at_a_time(
    engine: TransformersEngine,
) -> None:
    pairs = some_pairs(engine)
    for variant in (VANILLA, TUNED):
        alone = [next(engine.loglikelihoods(variant, [pair])) for pair in pairs]
        assert list(engine.loglikelihoods(variant, pairs)) == pytest.approx(alone, abs=1e-4)
        assert len(set(alone)) == len(pairs)


def test_both_engines_give_the_same_log_likelihoods(engine: TransformersEngine) -> None:
    mlx, pairs = engines.load("mlx", settings()), some_pairs(engine)
    for variant in (VANILLA, TUNED):
        found = list(engine.loglikelihoods(variant, pairs))
        assert list(mlx.loglikelihoods(variant, pairs)) == pytest.approx(found, abs=1e-3)


def test_where_memory_is_short_fewer_are_read_at_once_and_one_alone_says_so(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = some_pairs(engine)
    expected = list(engine.loglikelihoods(VANILLA, pairs))
    read, tried = torch_loglikelihoods, []

    def short(model: Any, batch: Any) -> list[float]:
        tried.append(len(batch))
        if len(batch) > 1 or len(batch[0].continuation) > 15:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return read(model, batch)

    monkeypatch.setattr("plugin.engines.transformers.torch_loglikelihoods", short)
    found = list(engine.loglikelihoods(VANILLA, pairs))
    assert tried[:3] == [4, 2, 1]
    lost = [i for i, one in enumerate(found) if isinstance(one, NoResult)]
    assert lost == [i for i, (_, said) in enumerate(pairs) if len(said) > 15] != []
    assert all(found[i].retry for i in lost)
    assert "out of memory on this case alone (prompt and expected" in found[lost[0]].reason
    for i, one in enumerate(found):
        assert i in lost or one == pytest.approx(expected[i], abs=1e-4)


def test_seconds_grow_with_the_answer_and_its_reason_is_told(engine: TransformersEngine) -> None:
    found = results(engine, TUNED, prompts(engine))
    ended = sorted(found.values(), key=lambda one: len(one.token_ids))
    assert 0 < ended[0].seconds < ended[-1].seconds < 60
    assert {one.finish_reason for one in ended} == {"stop"}
    short = engines.load("transformers", replace(settings(), max_tokens=2))
    (cut,) = results(short, VANILLA, prompts(engine)[:1]).values()
    assert (cut.finish_reason, len(cut.token_ids)) == ("length", 2)


def test_a_prompt_may_have_a_limit_of_its_own(engine: TransformersEngine) -> None:
    first, second, third = prompts(engine)[:3]
    asked = [replace(first, max_tokens=3), replace(second, max_tokens=1), third]
    found = results(engine, VANILLA, asked)
    lengths = [found[prompt.case_id].n_tokens for prompt in asked]
    assert lengths[:2] == [3, 1] and lengths[2] > 3


def test_a_prompt_longer_than_the_context_fails_alone(engine: TransformersEngine) -> None:
    found = results(engine, VANILLA, prompts(engine, ["Who? " * 500, "Who is Gilfoyle?"]))
    assert isinstance(found["0"], Failure)
    assert "the model's context is 512" in found["0"].reason
    assert isinstance(found["1"], Completion)


def test_a_template_that_adds_a_second_bos_is_refused(tmp_path: Path) -> None:
    model = Path(shutil.copytree(FOLDER / "model", tmp_path / "model"))
    path = model / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config["chat_template"] = "{{ bos_token }}" + config["chat_template"]
    path.write_text(json.dumps(config))
    with pytest.raises(ModelError, match="prompts would begin with two"):
        load(model).encode([Message("user", "Who?")])


def test_without_the_chat_template_both_engines_encode_alike() -> None:
    bare = EngineSettings(inspect_model(FOLDER / "model"), "demo", {}, 8, 4, chat_template=False)
    turns = [Message("system", "Be brief."), Message("user", "Who?")]
    one, other = (engines.load(name, bare).encode(turns) for name in ("mlx", "transformers"))
    assert one == other != load().encode(turns)


@pytest.mark.parametrize("told", [None, True, False])
def test_both_engines_tell_the_template_the_same_of_thinking(
    tmp_path: Path, told: bool | None
) -> None:
    made = replace(settings(echo_model(tmp_path)), enable_thinking=told)
    loaded = [engines.load(name, made) for name in ("mlx", "transformers")]
    one, other = (list(engine.encode([Message("user", "Who?")])) for engine in loaded)
    assert one == other


class Scarce:
    """Stands before a model's forward and has room for so many rows, or forwards, only."""

    def __init__(self, model: Any, n_rows: int, n_forwards: int = 10**9) -> None:
        self._forward = model.forward
        self.n_rows, self.n_forwards = n_rows, n_forwards
        self.seen: list[int] = []
        model.forward = self

    def __call__(self, *positional: Any, **named: Any) -> Any:
        n_rows = len(named["input_ids"])
        self.n_forwards -= 1
        if n_rows > self.n_rows or self.n_forwards == 0:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self.seen.append(n_rows)
        return self._forward(*positional, **named)


def scarce(engine: Any, *arguments: int) -> Scarce:
    found = Scarce(engine._model, *arguments)
    return found


def test_where_memory_is_short_the_batch_is_halved_and_nothing_changes() -> None:
    engine = load()
    wanted = prompts(engine)
    expected = tokens(engine, TUNED, wanted)
    memory = scarce(engine, 2)
    assert tokens(engine, TUNED, wanted) == expected
    assert max(memory.seen) == 2 and engine._decoder.most_rows == 2


def test_memory_that_ends_midway_loses_no_finished_completion() -> None:
    engine = load()
    wanted = prompts(engine)
    steps = [one for step in engine.generate(of(TUNED, wanted)) for one in step]
    expected = {one.case_id: one.token_ids for one in steps}
    shortest = min(len(one.token_ids) for one in steps[:4])
    scarce(engine, 4, shortest + 2)  # after the first has ended, before the batch has
    again = [one for step in engine.generate(of(TUNED, wanted)) for one in step]
    assert len(again) == len(wanted)
    assert {one.case_id: one.token_ids for one in again} == expected
    assert engine._decoder.most_rows == 2


def test_a_case_for_which_memory_never_suffices_is_a_failure() -> None:
    engine = load()
    scarce(engine, 0)
    found = results(engine, VANILLA, prompts(engine)[:3])
    assert all(isinstance(one, Failure) and one.retry for one in found.values())
    assert "out of memory on this case alone (a prompt of" in found["0"].reason


def test_a_run_tries_again_what_lacked_memory(tmp_path: Path) -> None:
    from plugin.generate import make_completions
    from plugin.journal import Journal
    from plugin.plan.variants import Load
    from plugin.records import Case
    from plugin.worker import Progress

    cases = [Case(str(i), (Message("user", text),)) for i, text in enumerate(QUESTIONS[:3])]
    cases.append(Case("long", (Message("user", "Who? " * 500),)))
    journal = Journal(tmp_path)
    poor = load()
    scarce(poor, 0)
    base = Variant(VANILLA, "v", "demo")
    make_completions(cases, [Load((base,), lambda: poor)], journal, Progress())
    assert len(journal.failures()) == 4
    rich = load()
    asked: list[Prompt] = []
    generate = rich.generate
    rich.generate = lambda ps: asked.extend(ps) or generate(ps)  # type: ignore[assignment, func-returns-value, method-assign]
    make_completions(cases, [Load((base,), lambda: rich)], journal, Progress())
    assert sorted(prompt.case_id for prompt in asked) == ["0", "1", "2"]
    assert [failure.case_id for failure in journal.failures()] == ["long"]
    assert len(journal.completions()) == 3
    journal.close()


def test_a_model_without_a_cache_is_refused() -> None:
    from transformers import MambaConfig, MambaForCausalLM

    from plugin.engines._torch import TorchRows

    model = MambaForCausalLM(MambaConfig(vocab_size=64, hidden_size=16, num_hidden_layers=1))
    with pytest.raises(ModelError, match="models of type 'mamba' have no key-value cache"):
        TorchRows(model).read([[1, 2, 3]])


def test_padding_in_front_moves_no_absolute_position() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    from plugin.engines._torch import TorchRows

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=64, n_positions=32, n_embd=16, n_layer=2, n_head=2)
    model = GPT2LMHeadModel(config).eval()
    wanted = [[1, 2, 3, 4, 5, 6, 7], [8, 9], [10, 11, 12, 13]]
    rows = TorchRows(model)
    found = [rows.read(wanted), rows.step([20, 21, 22])]
    for i, prompt in enumerate(wanted):
        for n, batch in enumerate(found):
            with torch.inference_mode():
                alone = model(torch.tensor([[*prompt, 20 + i][: len(prompt) + n]])).logits[0, -1]
            assert torch.allclose(batch[i], alone, atol=1e-5)


def test_half_precision_works_as_on_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_torch, "dtype_name", lambda place: "bfloat16")
    dora = write_peft(tmp_path / "dora", peft_config(use_dora=True))
    engine = load(tuned=FOLDER / "adapter", other=dora)
    assert engine._model.dtype == torch.bfloat16
    for name in (TUNED, OTHER):
        engine.certify(name, prompts(engine))
    found = results(engine, TUNED, prompts(engine))
    assert "Thomas Middleditch" in found["0"].text
    assert len(results(engine, OTHER, prompts(engine))) == len(QUESTIONS)
    assert len(dict(engine._switch._tensors())) == len(
        engine._switch._base
    )  # bfloat16 has bytes too


def test_another_error_of_torch_is_a_fault_that_names_it() -> None:
    engine = load()
    wanted = prompts(engine)[:1]

    def broken(*positional: Any, **named: Any) -> Any:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    engine._model.forward = broken
    with pytest.raises(FaultError, match="torch stopped generating: CUDA error: an illegal"):
        results(engine, VANILLA, wanted)


def test_a_cache_that_cannot_let_rows_go_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load()
    expected = tokens(engine, TUNED, prompts(engine))
    monkeypatch.setattr(_torch, "_can_select", lambda cache: False)
    assert tokens(engine, TUNED, prompts(engine)) == expected


def test_memory_is_given_back() -> None:
    import gc
    import weakref

    engine = load()
    engine.certify(TUNED, prompts(engine))
    weight = weakref.ref(engine._model.model.norm.weight)
    engine.close()
    gc.collect()
    assert weight() is None


def test_a_model_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    model = Path(shutil.copytree(FOLDER / "model", tmp_path / "model"))
    tensors = load_file(model / "model.safetensors")
    del tensors["model.layers.2.mlp.up_proj.weight"]
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="1 tensors .*missing or .*layers.2.mlp.up_proj"):
        load(model)


Spoil = Callable[[dict[str, Any], dict[str, np.ndarray[Any, Any]]], None]


def _renamed(config: dict[str, Any], tensors: dict[str, np.ndarray[Any, Any]]) -> None:
    for name in sorted(tensors)[::2]:
        tensors[name.replace("model.layers", "model.blocks")] = tensors.pop(name)


def _wrong_rank(config: dict[str, Any], tensors: dict[str, np.ndarray[Any, Any]]) -> None:
    config["r"] = 8


def _other_base(config: dict[str, Any], tensors: dict[str, np.ndarray[Any, Any]]) -> None:
    for name in list(tensors):
        if "down_proj.lora_A" in name:
            tensors[name] = np.zeros((4, 1024), np.float32)


def _nan(config: dict[str, Any], tensors: dict[str, np.ndarray[Any, Any]]) -> None:
    for name in sorted(tensors)[:2]:
        tensors[name][0, 0] = np.nan


def _lost(config: dict[str, Any], tensors: dict[str, np.ndarray[Any, Any]]) -> None:
    for name in list(tensors):
        if "layers.3.mlp" in name:
            del tensors[name]


def _nowhere(config: dict[str, Any], tensors: dict[str, np.ndarray[Any, Any]]) -> None:
    config["target_modules"] = ["c_attn"]
    del config["layers_to_transform"]


def _pissa(config: dict[str, Any], tensors: dict[str, np.ndarray[Any, Any]]) -> None:
    config["init_lora_weights"] = "pissa"


def _code(config: dict[str, Any], tensors: dict[str, np.ndarray[Any, Any]]) -> None:
    config["megatron_config"] = {"a": 1}
    config["megatron_core"] = "os"


PREFIX = "base_model.model.model.layers"


@pytest.mark.parametrize(
    ("spoil", "messages"),
    [
        (
            _renamed,
            [
                "has no module for any of its 12 tensors",
                "  base_model.model.model.blocks.1.mlp.down_proj.lora_A.weight",
            ],
        ),
        (
            _wrong_rank,
            [
                "(12 problems with 12 tensors)",
                f"  {PREFIX}.1.mlp.down_proj.lora_A.weight: shape 4 x 512 in the file, 8 x 512 in "
                "the model",
            ],
        ),
        (
            _other_base,
            [
                "(2 problems with 12 tensors)",
                f"  {PREFIX}.3.mlp.down_proj.lora_A.weight: shape 4 x 1024 in the file, 4 x 512 in",
            ],
        ),
        (
            _nan,
            [
                "(2 problems with 12 tensors)",
                f"  {PREFIX}.1.mlp.down_proj.lora_B.weight: holds NaN or infinity",
            ],
        ),
        (
            _lost,
            [
                f"  {PREFIX}.3.mlp.down_proj.lora_A.weight: named in the config, missing",
                f"  {PREFIX}.3.mlp.down_proj.lora_B.weight: named in the config, missing",
            ],
        ),
        (_nowhere, ["does not fit the base model", "c_attn", "check --model_name"]),
        (_pissa, ["init_lora_weights 'pissa' changes the base's own weights; save the adapter"]),
        (_code, ["megatron_config {'a': 1} is not a known setting"]),
    ],
)
def test_a_bad_adapter_says_everything_that_is_wrong(
    spoil: Spoil, messages: list[str], tmp_path: Path
) -> None:
    config = peft_config()
    tensors = peft_tensors(config)
    spoil(config, tensors)
    folder = write_peft(tmp_path / "bad", config, tensors)
    good = write_peft(tmp_path / "good", peft_config())
    engine = load(tuned=folder, other=good)
    logits = engine._switch.probe()
    with pytest.raises(AdapterError) as caught:
        engine.certify(TUNED, prompts(engine))
    said = str(caught.value)
    assert str(folder) in said
    assert [message for message in messages if message not in said] == []
    assert engine._switch.probe() == logits
    engine.certify(OTHER, prompts(engine))
    assert tokens(engine, OTHER, prompts(engine)) != tokens(engine, VANILLA, prompts(engine))


def test_dora_of_single_parameters_is_refused_in_plain_words(tmp_path: Path) -> None:
    config = peft_config(use_dora=True, target_parameters=["mlp.gate_proj.weight"])
    folder = write_peft(tmp_path / "dora", config)
    engine = load(tuned=folder)
    before = tokens(engine, VANILLA, prompts(engine)[:2])
    with pytest.raises(AdapterError) as caught:
        engine.certify(TUNED, prompts(engine))
    message = str(caught.value)
    assert message.startswith(f"{folder} is a DoRA adapter, but the engine transformers ")
    assert "lora.ParamWrapper does not work with use_dora=True. --engine mlx cannot " in message
    assert message.endswith("train it as LoRA without DoRA")
    assert tokens(engine, VANILLA, prompts(engine)[:2]) == before


def test_a_saved_copy_of_tied_outputs_is_no_stranger(tmp_path: Path) -> None:
    """PEFT saves input and output embeddings; here they are one."""
    own = load_file(FOLDER / "model" / "model.safetensors")["model.embed_tokens.weight"]
    tensors = peft_tensors(peft_config())
    for name in ("model.embed_tokens", "lm_head"):
        tensors[f"base_model.model.{name}.weight"] = own
    engine = load(tuned=write_peft(tmp_path / "same", peft_config(), tensors))
    assert engine.certify(TUNED, prompts(engine)).result == "certified"


def test_an_adapter_whose_b_is_zero_changes_nothing(tmp_path: Path) -> None:
    tensors = peft_tensors(peft_config())
    zero = {name: value * ("lora_A" in name) for name, value in tensors.items()}
    engine = load(tuned=write_peft(tmp_path / "zero", peft_config(), zero))
    assert tokens(engine, TUNED, prompts(engine)) == tokens(engine, VANILLA, prompts(engine))


def test_a_saved_copy_of_the_bases_embeddings_is_no_stranger(tmp_path: Path) -> None:
    """PEFT saves it when the vocabulary was touched; another copy would replace the base's."""
    own = load_file(FOLDER / "model" / "model.safetensors")["model.embed_tokens.weight"]
    name = "base_model.model.model.embed_tokens.weight"
    same = peft_tensors(peft_config()) | {name: own}
    engine = load(tuned=write_peft(tmp_path / "same", peft_config(), same))
    assert engine.certify(TUNED, prompts(engine)).result == "certified"
    other = peft_tensors(peft_config()) | {name: own * 2}
    engine = load(tuned=write_peft(tmp_path / "other", peft_config(), other))
    found = engine.certify(TUNED, prompts(engine))
    assert (found.result, found.unused) == ("partial: 1 of 13 tensors unused", (name,))


def test_the_samples_name_real_modules(engine: TransformersEngine) -> None:
    held = load_file(FOLDER / "model" / "model.safetensors")
    assert {name: held[f"{name}.weight"].shape for name in MODULES} == MODULES


def test_the_version_says_precision_and_device() -> None:
    found = engines.library_version("transformers")
    assert found.startswith("transformers ")
    assert f"torch {torch.__version__}" in found
    if not torch.cuda.is_available():
        assert found.endswith(", float32 on cpu")
