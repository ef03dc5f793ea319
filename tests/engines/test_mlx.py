"""The mlx engine on the demo's real model and adapter."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm import generate as plain_generate
from mlx_lm import load as plain_load
from safetensors.numpy import load_file, save_file

from demo import FOLDER
from plugin import engines
from plugin.engines import EngineSettings
from plugin.engines._local import split_by_context, thinking_option
from plugin.engines.mlx import MlxAdapterSwitch, MlxEngine
from plugin.errors import AdapterError, BaseDisturbedError, ModelError
from plugin.load.adapter import inspect_adapter
from plugin.load.model import inspect_model
from plugin.records import Completion, Failure, Message, NoResult, Prompt
from tests.load.lora_samples import peft_config, peft_tensors, write_peft

VANILLA, TUNED = "vanilla", "tuned"
QUESTIONS = [
    "Who plays Richard Hendricks in Silicon Valley?",
    "Who plays Dinesh in Silicon Valley?",
    "Who founded Hooli?",
    "What does Pied Piper make?",
    "Who is Gilfoyle?",
]


def settings(model: Path = FOLDER / "model", **adapters: Path) -> EngineSettings:
    adapters = adapters or {"tuned": FOLDER / "adapter"}
    folders = {name: inspect_adapter(path) for name, path in adapters.items()}
    return EngineSettings(
        inspect_model(model), "demo", folders, max_tokens=24, batch_size=4, chat_template=True
    )


def load(*arguments: Path, **adapters: Path) -> MlxEngine:
    engine = engines.load("mlx", settings(*arguments, **adapters))
    assert isinstance(engine, MlxEngine)
    return engine


@pytest.fixture(scope="module")
def engine() -> Iterator[MlxEngine]:
    yield load()


def prompts(
    engine: MlxEngine, questions: list[str] = QUESTIONS, variant: str = VANILLA
) -> list[Prompt]:
    turns = [(Message("user", text),) for text in questions]
    return [Prompt(str(i), variant, t, engine.encode(t)) for i, t in enumerate(turns)]


def texts(engine: MlxEngine, variant: str, wanted: list[Prompt]) -> dict[str, str]:
    return {
        result.case_id: result.text
        for step in engine.generate([replace(prompt, variant=variant) for prompt in wanted])
        for result in step
        if isinstance(result, Completion)
    }


def test_completions_are_those_of_plain_mlx_lm(engine: MlxEngine) -> None:
    for variant, adapter in ((VANILLA, None), (TUNED, str(FOLDER / "adapter"))):
        model, tokenizer = plain_load(str(FOLDER / "model"), adapter_path=adapter)[:2]
        expected = {
            prompt.case_id: plain_generate(model, tokenizer, list(prompt.token_ids), max_tokens=24)
            for prompt in prompts(engine)
        }
        found = texts(engine, variant, prompts(engine))
        assert {case: text.strip() for case, text in found.items()} == {
            case: text.strip() for case, text in expected.items()
        }


def test_the_adapter_changes_outputs_and_leaves_the_base_as_it_was(engine: MlxEngine) -> None:
    before = texts(engine, VANILLA, prompts(engine))
    tuned = texts(engine, TUNED, prompts(engine))
    assert tuned != before
    assert texts(engine, VANILLA, prompts(engine)) == before


def test_a_dora_adapter_is_taken_off_bit_for_bit(tmp_path: Path) -> None:
    """mlx-lm's own remove_lora_layers leaves DoRA in place."""
    folder = Path(shutil.copytree(FOLDER / "adapter", tmp_path / "dora"))
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "fine_tune_type": "dora"}))
    model = plain_load(str(FOLDER / "model"))[0]
    tensors = load_file(folder / "adapters.safetensors")
    weights = load_file(FOLDER / "model" / "model.safetensors")
    for name in [name for name in tensors if name.endswith("lora_a")]:
        module = name.removesuffix(".lora_a")
        tensors[f"{module}.m"] = np.linalg.norm(weights[f"{module}.weight"], axis=1)
    save_file(tensors, folder / "adapters.safetensors")
    del model
    engine = load(tuned=folder)
    logits = engine._switch.probe()
    assert texts(engine, TUNED, prompts(engine)) != texts(engine, VANILLA, prompts(engine))
    assert engine._switch.probe() == logits


def test_a_full_fine_tune_in_adapter_form_is_taken_off(tmp_path: Path) -> None:
    """mlx-lm saves `fine_tune_type: full` as an adapter whose tensors replace the base's."""
    folder = tmp_path / "full"
    folder.mkdir()
    weights = load_file(FOLDER / "model" / "model.safetensors")
    changed = {"model.norm.weight": weights["model.norm.weight"] * 0.5}
    save_file(changed, folder / "adapters.safetensors")
    (folder / "adapter_config.json").write_text(
        json.dumps({"fine_tune_type": "full", "num_layers": 4})
    )
    engine = load(tuned=folder)
    logits = engine._switch.probe()
    with engine._switch.adapter_on(TUNED):
        assert engine._switch.probe() != logits
    assert engine._switch.probe() == logits


def test_a_disturbed_base_stops_the_run() -> None:
    engine = load()
    with pytest.raises(BaseDisturbedError, match="base disturbed: after adapter tuned was removed"):
        for _ in engine.generate(prompts(engine, variant=TUNED)):
            norm = engine._model.model.norm
            engine._switch._base_arrays = [
                (name, array * 1.001 if array is norm.weight else array)
                for name, array in engine._switch._base_arrays
            ]


def test_where_logits_do_not_repeat_tensors_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = iter(range(1000))
    monkeypatch.setattr(MlxAdapterSwitch, "probe", lambda self: np.float32(next(noise)).tobytes())
    engine = load()
    assert texts(engine, TUNED, prompts(engine)[:1])
    first = engine._switch.fingerprint()
    engine._model.model.norm.weight = engine._model.model.norm.weight + 1e-6
    assert engine._switch.fingerprint() != first


def test_prompts_have_one_bos_and_end_where_the_answer_begins(engine: MlxEngine) -> None:
    ids = engine.encode([Message("user", "Who is Gilfoyle?")])
    tokenizer = engine._tokenizer
    assert ids.count(tokenizer.bos_token_id) == 1 and ids[0] == tokenizer.bos_token_id
    assert "Who is Gilfoyle?" in tokenizer.decode(list(ids))


def test_a_template_that_adds_a_second_bos_is_refused(tmp_path: Path) -> None:
    model = Path(shutil.copytree(FOLDER / "model", tmp_path / "model"))
    path = model / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config["chat_template"] = "{{ bos_token }}" + config["chat_template"]
    path.write_text(json.dumps(config))
    with pytest.raises(ModelError, match="prompts would begin with two"):
        load(model).encode([Message("user", "Who?")])


def test_the_chat_template_can_be_turned_off() -> None:
    plain = EngineSettings(inspect_model(FOLDER / "model"), "demo", {}, 8, 4, chat_template=False)
    engine = engines.load("mlx", plain)
    with_template = load().encode([Message("user", "Who?")])
    assert len(engine.encode([Message("user", "Who?")])) < len(with_template)


ECHO = "{{ messages[0].content }} {{ enable_thinking if enable_thinking is defined else 'unset' }}"
"""A chat template that shows what it is told of thinking."""


def echo_model(folder: Path, template: str = ECHO) -> Path:
    """Return the demo's model with the template, and with the tokens of one that thinks."""
    model = Path(shutil.copytree(FOLDER / "model", folder / "model"))
    path = model / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": template}))
    path = model / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    same = {key: False for key in ("single_word", "lstrip", "rstrip", "normalized")}
    tokenizer["added_tokens"] += [
        {"id": 1534 + i, "content": text, "special": False, **same}
        for i, text in enumerate(("<think>", "</think>"))
    ]
    path.write_text(json.dumps(tokenizer))
    return model


@pytest.mark.parametrize(("told", "shown"), [(None, "unset"), (True, "True"), (False, "False")])
def test_thinking_is_left_to_the_template_unless_said(
    tmp_path: Path, told: bool | None, shown: str
) -> None:
    """mlx-lm's own wrapper would say True wherever the vocabulary has the tokens."""
    from transformers import AutoTokenizer

    made = replace(settings(echo_model(tmp_path)), enable_thinking=told)
    engine = engines.load("mlx", made)
    assert engine._tokenizer.has_thinking
    ids = list(engine.encode([Message("user", "Who?")]))
    assert engine._tokenizer.decode(ids, skip_special_tokens=True).split() == ["Who?", shown]
    assert engine.notes == ()
    elsewhere = AutoTokenizer.from_pretrained(made.model.path).apply_chat_template(
        [{"role": "user", "content": "Who?"}],
        add_generation_prompt=True,
        return_dict=False,
        **thinking_option(made),
    )
    assert ids == list(elsewhere)


def test_a_template_that_does_not_look_at_thinking_is_said(tmp_path: Path) -> None:
    made = replace(
        settings(echo_model(tmp_path, "{{ messages[0].content }}")), enable_thinking=True
    )
    (note,) = engines.load("mlx", made).notes
    assert "the chat template of demo ignores enable_thinking" in note


def test_a_completion_cut_off_says_so(engine: MlxEngine) -> None:
    short = load()
    short._settings = EngineSettings(short._settings.model, "demo", {}, 2, 4, True)
    (result,) = [r for step in short.generate(prompts(engine)[:1]) for r in step]
    assert isinstance(result, Completion)
    assert (result.finish_reason, len(result.token_ids)) == ("length", 2)
    assert result.seconds > 0


def test_a_prompt_may_have_a_limit_of_its_own(engine: MlxEngine) -> None:
    limits = (3, 1, None)
    asked = [
        replace(prompt, max_tokens=limit)
        for prompt, limit in zip(prompts(engine), limits, strict=False)
    ]
    made = {r.case_id: r for step in engine.generate(asked) for r in step}
    lengths = [made[prompt.case_id].n_tokens for prompt in asked]
    assert lengths[:2] == [3, 1] and lengths[2] > 3


def test_the_token_that_ends_a_text_is_not_kept(engine: MlxEngine) -> None:
    results = [result for step in engine.generate(prompts(engine)) for result in step]
    ended = [r for r in results if isinstance(r, Completion) and r.finish_reason == "stop"]
    assert ended
    for result in ended:
        assert not set(result.token_ids) & set(engine._tokenizer.eos_token_ids)
        assert result.n_tokens == len(result.token_ids)


def test_a_prompt_longer_than_the_context_fails_alone(engine: MlxEngine) -> None:
    wanted = prompts(engine, ["Who? " * 500, "Who is Gilfoyle?"])
    results = [result for step in engine.generate(wanted) for result in step]
    failed = [result for result in results if isinstance(result, Failure)]
    assert [failure.case_id for failure in failed] == ["0"]
    assert "the model's context is 512" in failed[0].reason
    assert not failed[0].retry
    assert [r.case_id for r in results if isinstance(r, Completion)] == ["1"]


def test_a_prompt_that_leaves_room_for_one_token_fits_and_a_longer_one_does_not() -> None:
    loaded = load()
    (prompt,) = prompts(loaded, ["Who?"])
    n = len(prompt.token_ids)
    for context, n_fitting in ((n + 1, 1), (n, 0)):
        given = loaded._settings.model
        model = replace(given, config={**given.config, "max_position_embeddings": context})
        fits, too_long = split_by_context([prompt], replace(loaded._settings, model=model))
        assert (len(fits), len(too_long)) == (n_fitting, 1 - n_fitting)


def test_a_completion_ends_where_the_context_ends(engine: MlxEngine) -> None:
    long = load()
    long._settings = EngineSettings(long._settings.model, "demo", {}, 400, 4, True)
    wanted = prompts(engine, ["Who? " * 160])
    n_prompt = len(wanted[0].token_ids)
    assert 300 < n_prompt < 512
    long._tokenizer._eos_token_ids = set()
    (result,) = [r for step in long.generate(wanted) for r in step]
    assert isinstance(result, Completion)
    assert n_prompt + len(result.token_ids) <= 512


def test_a_template_that_refuses_a_role_says_so(tmp_path: Path) -> None:
    model = Path(shutil.copytree(FOLDER / "model", tmp_path / "model"))
    path = model / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config["chat_template"] = "{{ raise_exception('System role not supported') }}"
    path.write_text(json.dumps(config))
    with pytest.raises(ModelError, match="rejects these turns .system, user.: System role not"):
        load(model).encode([Message("system", "Be brief."), Message("user", "Who?")])


def test_log_likelihood_is_the_sum_over_the_continuation(engine: MlxEngine) -> None:
    prompt = engine.encode([Message("user", "Who plays Dinesh in Silicon Valley?")])
    tokenizer = engine._tokenizer
    said = tuple(tokenizer.encode(" Kumail Nanjiani plays Dinesh.", add_special_tokens=False))
    model = plain_load(str(FOLDER / "model"))[0]
    expected, ids = 0.0, list(prompt)
    for token in said:  # one token at a time, worked without batching
        logits = model(mx.array([ids]))[0, -1].astype(mx.float32)
        expected += float(logits[token] - mx.logsumexp(logits))
        ids.append(token)
    assert list(engine.loglikelihoods(VANILLA, [(prompt, said), (prompt, ())])) == [
        pytest.approx(expected, rel=1e-4),
        0.0,
    ]
    assert next(engine.loglikelihoods(TUNED, [(prompt, said)])) > expected + 1


def test_read_side_by_side_they_are_what_they_are_one_at_a_time(engine: MlxEngine) -> None:
    said = [engine.tokens(f"Kumail plays {'very ' * n}well.") for n in (9, 1, 4, 0, 2, 7, 1)]
    some = [prompt.token_ids for prompt in prompts(engine)]
    pairs = [(some[i % len(some)], ids) for i, ids in enumerate(said)]
    for variant in (VANILLA, TUNED):
        alone = [next(engine.loglikelihoods(variant, [pair])) for pair in pairs]
        assert list(engine.loglikelihoods(variant, pairs)) == pytest.approx(alone, abs=1e-4)
        assert len(set(alone)) == len(pairs) - 1  # the last is the second again


def test_what_the_context_cannot_hold_has_no_log_likelihood(engine: MlxEngine) -> None:
    prompt = prompts(engine)[0].token_ids
    room = 512 - len(prompt)
    pairs = [(prompt, (5, 6)), (prompt, (7,) * (room + 1)), (prompt, (7,) * room), ((), (5,))]
    first, too_long, just, nothing = engine.loglikelihoods(VANILLA, pairs)
    assert isinstance(first, float) and isinstance(just, float)
    assert isinstance(too_long, NoResult) and isinstance(nothing, NoResult)
    assert "513 tokens together, but the model's context is 512" in too_long.reason
    assert "the prompt is empty" in nothing.reason
    assert not too_long.retry and not nothing.retry


def test_a_quantised_base_takes_an_adapter_and_loses_it_again(tmp_path: Path) -> None:
    from mlx_lm.utils import load_model, quantize_model, save

    path = tmp_path / "q4"
    model, config = load_model(FOLDER / "model")
    model, config = quantize_model(model, config, group_size=64, bits=4)
    tokenizer = plain_load(str(FOLDER / "model"))[1]
    save(path, FOLDER / "model", model, tokenizer, config)
    engine = load(path)
    before = texts(engine, VANILLA, prompts(engine))
    assert texts(engine, TUNED, prompts(engine)) != before
    assert texts(engine, VANILLA, prompts(engine)) == before


def broken_adapter(folder: Path, spoil: Callable[[dict[str, np.ndarray]], None]) -> Path:
    shutil.copytree(FOLDER / "adapter", folder)
    tensors = load_file(folder / "adapters.safetensors")
    spoil(tensors)
    save_file(tensors, folder / "adapters.safetensors")
    return folder


def test_an_adapter_that_lacks_tensors_is_refused(tmp_path: Path) -> None:
    """mlx-lm would leave the missing ones at their random start."""
    lost = sorted(load_file(FOLDER / "adapter" / "adapters.safetensors"))[::3]

    def lose(tensors: dict[str, np.ndarray]) -> None:
        for name in lost:
            del tensors[name]

    engine = load(tuned=broken_adapter(tmp_path / "a", lose))
    with pytest.raises(AdapterError, match="does not fit the base model") as caught:
        engine.certify(TUNED, prompts(engine))
    assert all(f"{name}: named in the config, missing" in str(caught.value) for name in lost)


def test_the_steps_of_a_certificate_are_told() -> None:
    steps: list[str] = []
    engine = load(tuned=FOLDER / "adapter")
    engine.certify(TUNED, prompts(engine), steps.append)
    assert steps[0] == "read its files" and steps[-1] == "measure its weights"
    kinds = list(dict.fromkeys(step.partition(",")[0] for step in steps[1:-1]))
    assert kinds == [
        "ask the base",
        "ask the base in a batch",
        "make a random change of the same size",
        "ask a random change of the same size",
        "load the adapter",
        "ask the adapter",
        "check the base",
    ]
    assert "ask the base, probe 1 of 3" in steps


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_adapter_with_nan_or_infinity_is_refused(value: float, tmp_path: Path) -> None:
    def spoil(tensors: dict[str, np.ndarray]) -> None:
        tensors[min(tensors)][0, 0] = value

    engine = load(tuned=broken_adapter(tmp_path / "a", spoil))
    with pytest.raises(AdapterError, match="holds NaN or infinity"):
        engine.certify(TUNED, prompts(engine))


def test_a_peft_adapter_is_converted_on_the_way(tmp_path: Path) -> None:
    engine = load(tuned=write_peft(tmp_path / "peft", peft_config()))
    logits = engine._switch.probe()
    with engine._switch.adapter_on(TUNED):
        assert engine._switch.probe() != logits
    assert engine._switch.probe() == logits


def test_a_peft_adapter_that_mlx_cannot_hold_is_refused_alone(tmp_path: Path) -> None:
    config = peft_config(modules_to_save=["lm_head"])
    engine = load(tuned=write_peft(tmp_path / "peft", config))
    with pytest.raises(AdapterError, match="(?s)modules_to_save .lm_head.*transformers$"):
        engine.certify(TUNED, prompts(engine))
    assert texts(engine, VANILLA, prompts(engine)[:1])


def test_modules_that_a_peft_config_names_and_the_file_lacks_are_named(tmp_path: Path) -> None:
    config = peft_config()
    tensors = peft_tensors(config)
    lost = "base_model.model.model.layers.3.mlp.down_proj"
    kept = {name: value for name, value in tensors.items() if not name.startswith(lost)}
    engine = load(tuned=write_peft(tmp_path / "peft", config, kept))
    with pytest.raises(AdapterError, match="does not fit the base model") as caught:
        engine.certify(TUNED, prompts(engine))
    for leaf in ("lora_a", "lora_b"):
        assert f"model.layers.3.mlp.down_proj.{leaf}: named in the config" in str(caught.value)


def model_with_experts(folder: Path) -> Path:
    """A tiny mixture of experts with the demo's tokenizer and random weights."""
    from mlx.utils import tree_flatten
    from mlx_lm.models.qwen3_moe import Model, ModelArgs

    shutil.copytree(FOLDER / "model", folder)
    config = {
        "model_type": "qwen3_moe",
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "intermediate_size": 64,
        "num_attention_heads": 2,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "moe_intermediate_size": 32,
        "rms_norm_eps": 1e-5,
        "vocab_size": 1536,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "max_position_embeddings": 512,
        "norm_topk_prob": True,
    }
    (folder / "config.json").write_text(json.dumps(config))
    weights = dict(tree_flatten(Model(ModelArgs(**config)).parameters()))
    mx.save_safetensors(str(folder / "model.safetensors"), weights)
    return folder


def test_dora_of_experts_is_refused_in_plain_words(tmp_path: Path) -> None:
    model = model_with_experts(tmp_path / "model")
    folder = tmp_path / "dora"
    folder.mkdir()
    module = "model.layers.1.mlp.switch_mlp.up_proj"
    tensors = {
        f"{module}.lora_a": np.zeros((4, 4, 64), np.float32),
        f"{module}.lora_b": np.zeros((4, 32, 4), np.float32),
        f"{module}.m": np.zeros((4, 32), np.float32),
    }
    save_file(tensors, folder / "adapters.safetensors")
    parameters = {"rank": 4, "scale": 2.0, "keys": ["mlp.switch_mlp.up_proj"]}
    config = {"fine_tune_type": "dora", "num_layers": 1, "lora_parameters": parameters}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    engine = load(model, tuned=folder)
    before = texts(engine, VANILLA, prompts(engine))
    with pytest.raises(AdapterError) as caught:
        engine.certify(TUNED, prompts(engine))
    message = str(caught.value)
    assert message.startswith(f"{folder} is a DoRA adapter, but the engine mlx ")
    assert "SwitchLinear doesn't support DoRA yet. --engine transformers cannot " in message
    assert message.endswith("train it as LoRA without DoRA")
    assert texts(engine, VANILLA, prompts(engine)) == before


def test_a_model_that_is_refused_gives_its_streams_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams left to the end of their thread now and then abort the process."""
    model = Path(shutil.copytree(FOLDER / "model", tmp_path / "model"))
    weights = load_file(model / "model.safetensors")
    weights["model.norm.weight"][0] = np.nan
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    freed: list[bool] = []
    monkeypatch.setattr("plugin.engines.mlx.free_mlx_memory", lambda: freed.append(True))
    with pytest.raises(ModelError, match="NaN or infinity"):
        load(model)
    assert freed == [True]
