"""Bad adapters of both kinds on both engines, as a user starts them: one clear message each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from demo import FOLDER
from tests.e2e.conftest import Ended, demo_options, main, outputs, run_process, summary
from tests.load.lora_samples import peft_config, peft_tensors, write_peft

BASE = FOLDER / "model"
ONLY_ITS_BASE = "An adapter fits only the model that it was trained on; check --model_name"
OF_SOMEONE = (
    "tuned says that it was trained on 'someone/else', but the base model is "
    f"'{BASE}': check that these are the same weights"
)

Tensors = dict[str, "np.ndarray[Any, Any]"]
Spoil = Callable[[dict[str, Any], Tensors], None]


@pytest.fixture(params=["mlx", "transformers"])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "transformers":
        pytest.importorskip("peft")
    return str(request.param)


@pytest.fixture(params=["mlx", "peft"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def mlx_adapter(folder: Path, spoil: Spoil) -> Path:
    shutil.copytree(FOLDER / "adapter", folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    tensors = load_file(folder / "adapters.safetensors")
    spoil(config, tensors)
    save_file(tensors, folder / "adapters.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def peft_adapter(folder: Path, spoil: Spoil, **changed: Any) -> Path:
    config = peft_config(**changed)
    tensors = peft_tensors(config)
    spoil(config, tensors)
    return write_peft(folder, config, tensors)


def adapter_of(kind: str, folder: Path, spoil: Spoil) -> Path:
    return (mlx_adapter if kind == "mlx" else peft_adapter)(folder, spoil)


def run(out: Path, adapter: Path, engine: str, **changed: str) -> Ended:
    options = demo_options(out, model_adapter=str(adapter), engine=engine, **changed)
    # torch reads OMP_NUM_THREADS once, when it is imported.
    start = run_process if engine == "transformers" else main
    return start(*options, OMP_NUM_THREADS="1")


def refused(out: Path, adapter: Path, engine: str) -> str:
    ended = run(out, adapter, engine)
    assert ended.code == 2, (ended.code, ended.err)
    return ended.err.removeprefix("error: ").strip()


def first_line(out: Path) -> str:
    return (out / "verdict.txt").read_text(encoding="utf-8").splitlines()[0]


def zero(config: dict[str, Any], tensors: Tensors) -> None:
    for name in tensors:
        if name.endswith(("lora_b", "lora_B.weight")):
            tensors[name] = np.zeros_like(tensors[name])


def test_zero_b_matrices_are_no_effect(tmp_path: Path, engine: str, kind: str) -> None:
    out = tmp_path / "o"
    ended = run(out, adapter_of(kind, tmp_path / "tuned", zero), engine)
    assert ended.code == 0, ended.err
    assert first_line(out).startswith(
        "The adapter tuned is not certified (no effect): it does not change the base's answers"
    )


def rename(tensors: Tensors, every: int) -> list[str]:
    """The names of the tensors that now lie elsewhere."""
    for module in sorted({name.rpartition(".lora_")[0] for name in tensors})[::every]:
        for name in [name for name in tensors if name.startswith(f"{module}.")]:
            tensors[name.replace("layers", "blocks")] = tensors.pop(name)
    return sorted(name for name in tensors if "blocks" in name)


def test_what_fits_of_an_adapter_is_used_and_the_rest_named(
    tmp_path: Path, engine: str, kind: str
) -> None:
    out = tmp_path / "o"
    folder = adapter_of(kind, tmp_path / "tuned", lambda config, held: rename(held, 2) and None)
    ended = run(out, folder, engine)
    assert ended.code == 0, ended.err
    n = "12 of 24" if kind == "mlx" else "6 of 12"
    assert first_line(out).startswith(
        f"The adapter tuned is not certified (partial: {n} tensors unused): "
    )
    warnings = " ".join(summary(out)["warnings"])
    assert f"{n} tensors of tuned match no module of the base model and are not applied (" in (
        warnings
    )


def test_an_adapter_of_which_nothing_fits_is_refused(
    tmp_path: Path, engine: str, kind: str
) -> None:
    folder = adapter_of(kind, tmp_path / "tuned", lambda config, held: rename(held, 1) and None)
    file = "adapters" if kind == "mlx" else "adapter_model"
    names = sorted(load_file(folder / f"{file}.safetensors"))
    if engine == "mlx" and kind == "peft":  # it was converted on the way
        names = sorted(
            name.removeprefix("base_model.model.")
            .replace("lora_A.weight", "lora_a")
            .replace("lora_B.weight", "lora_b")
            for name in names
        )
    lines = [f"  {name}" for name in names[:8]] + [f"  and {len(names) - 8} more"]
    lines += [f"  {OF_SOMEONE}"] if kind == "peft" else []
    assert refused(tmp_path / "o", folder, engine) == (
        f"{folder}: the base model {BASE} has no module for any of its {len(names)} tensors:\n"
        + "\n".join(lines)
        + f"\n{ONLY_ITS_BASE}"
    )


def test_the_record_of_another_base_is_warned_of(tmp_path: Path, engine: str) -> None:
    out = tmp_path / "o"
    folder = peft_adapter(
        tmp_path / "tuned",
        lambda config, held: None,
        task_type="SEQ_CLS",
        auto_mapping={"base_model_class": "MistralForCausalLM"},
    )
    assert run(out, folder, engine).code == 0
    assert summary(out)["warnings"][:3] == [
        OF_SOMEONE,
        "tuned says that it was trained for the task SEQ_CLS, but here it must generate "
        "text (CAUSAL_LM): check the adapter",
        "tuned says that it was trained on a MistralForCausalLM, but the base model is a "
        "LlamaForCausalLM",
    ]


def other_base(config: dict[str, Any], tensors: Tensors) -> None:
    """Another hidden size, another vocabulary, another task, a broken number."""
    config["task_type"] = "SEQ_CLS"
    config["target_modules"] = ["q_proj", "v_proj"]
    for name in list(tensors):
        if "down_proj" in name:
            del tensors[name]
        elif name.endswith("lora_A.weight"):
            tensors[name] = np.zeros((4, 256), np.float32)
    tensors["base_model.model.model.layers.3.self_attn.v_proj.lora_B.weight"][0, 0] = np.inf
    for name in ("model.embed_tokens", "lm_head"):
        tensors[f"base_model.model.{name}.weight"] = np.zeros((777, 192), np.float32)


def test_all_mismatches_stand_in_one_message(tmp_path: Path, engine: str) -> None:
    folder = peft_adapter(tmp_path / "tuned", other_base)
    layers = "base_model.model.model.layers" if engine == "transformers" else "model.layers"
    if engine == "transformers":
        a, b, file, here = ".lora_A.weight", ".lora_B.weight", "4 x 256", "4 x 192"
    else:
        a, b, file, here = ".lora_a", ".lora_b", "256 x 4", "192 x 4"
    vocabulary = "a vocabulary of 777 tokens in the file, 1536 in the model"
    lines = [
        *(
            f"  {layers}.{layer}.self_attn.{name}{a}: shape {file} in the file, {here} in the model"
            for layer in (1, 3)
            for name in ("q_proj", "v_proj")
        ),
        f"  {layers}.3.self_attn.v_proj{b}: holds NaN or infinity",
        f"  base_model.model.lm_head.weight: {vocabulary}",
        f"  base_model.model.model.embed_tokens.weight: {vocabulary}",
    ]
    assert refused(tmp_path / "o", folder, engine) == (
        f"{folder} does not fit the base model {BASE} (7 problems with 10 tensors):\n"
        + "\n".join(sorted(lines))
        + f"\n  {OF_SOMEONE}"
        + "\n  tuned says that it was trained for the task SEQ_CLS, but here it must generate "
        "text (CAUSAL_LM): check the adapter"
        f"\n{ONLY_ITS_BASE}, or save the adapter again from its training"
    )


def test_a_rank_unlike_the_configurations(tmp_path: Path, engine: str, kind: str) -> None:
    def spoil(config: dict[str, Any], tensors: Tensors) -> None:
        (config if kind == "peft" else config["lora_parameters"])[
            "r" if kind == "peft" else "rank"
        ] = 3

    folder = adapter_of(kind, tmp_path / "tuned", spoil)
    message = refused(tmp_path / "o", folder, engine).splitlines()
    n = 24 if kind == "mlx" else 12
    if (engine, kind) == ("mlx", "peft"):
        assert message[0] == f"{folder}: weights and configuration disagree:"
        assert message[1] == (
            "  model.layers.1.mlp.down_proj.lora_A: rank 4 in the file, 3 in adapter_config.json"
        )
        assert message[-1].startswith("Copy both from ")
    else:
        assert message[0] == (
            f"{folder} does not fit the base model {BASE} ({n} problems with {n} tensors):"
        )
        assert message[-1] == f"{ONLY_ITS_BASE}, or save the adapter again from its training"
    assert sum(": rank 4 in the file" in line or ": shape " in line for line in message) == n


def test_two_adapters_with_one_name(tmp_path: Path) -> None:
    one = Path(shutil.copytree(FOLDER / "adapter", tmp_path / "tuned"))
    other = Path(shutil.copytree(one, tmp_path / "other" / "tuned"))
    options = demo_options(tmp_path / "o", model_adapter=str(one))
    ended = main(*options, "--model_adapter", str(other))
    assert (ended.code, ended.err) == (
        2,
        f"error: {other}: its name 'tuned' is also the name of {one}; names must differ, so rename "
        "the folder or give it through a link with another name\n",
    )


def test_weights_that_overflow_are_refused(tmp_path: Path, engine: str) -> None:
    def spoil(config: dict[str, Any], tensors: Tensors) -> None:
        for name in tensors:
            tensors[name] *= np.float32(1e20)

    folder = peft_adapter(tmp_path / "tuned", spoil)
    assert refused(tmp_path / "o", folder, engine) == (
        f"{folder}: with this adapter the model answers the probes with NaN or infinity. Its "
        "numbers are too large: check the scale in adapter_config.json, or save the adapter again "
        "from its training"
    )


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    config = tmp_path / "run.json"
    config.write_text(json.dumps({"model_adapter": ["a\0b"], "model_name": "c\0d"}))
    ended = main("run", "--config", str(config))
    assert ended.code == 2
    lines = ended.err.splitlines()
    assert lines[0].startswith(
        "error: --model_name 'c\\x00d': holds the character NUL, which no name can. Hub id or"
    )
    assert lines[1].startswith(
        "--model_adapter ['a\\x00b']: holds the character NUL, which no name can. Adapter"
    )


def test_what_mlx_has_no_module_for_is_refused_before_a_model_is_loaded(tmp_path: Path) -> None:
    def tied(config: dict[str, Any], tensors: Tensors) -> None:
        for letter, shape in {"A": (4, 192), "B": (1536, 4)}.items():
            name = f"base_model.model.lm_head.lora_{letter}.weight"
            tensors[name] = np.ones(shape, np.float32)

    folder = peft_adapter(tmp_path / "tuned", tied)
    ended = run(tmp_path / "o", folder, "mlx")
    assert ended.code == 2 and "load" not in ended.out
    message = ended.err.removeprefix("error: ").strip()
    assert message.startswith(f"{folder} is a PEFT adapter and cannot be converted to MLX, which ")
    assert "an adapted output layer (base_model.model.lm_head.lora_A.weight, " in message
    assert message.endswith("Use --engine transformers")


def test_a_chat_template_in_the_adapters_folder_is_used_and_told(
    tmp_path: Path, engine: str
) -> None:
    own = mlx_adapter(tmp_path / "tuned", lambda config, tensors: None)
    outs = [tmp_path / "before", tmp_path / "after"]
    assert run(outs[0], own, engine).code == 0
    (own / "chat_template.jinja").write_text("Q: {{ messages[-1].content }} A:")
    ended = run(outs[1], own, engine)
    assert ended.code == 0, ended.err
    before, after = map(summary, outs)
    assert before["provenance"]["run_id"] != after["provenance"]["run_id"]
    note = (
        "tuned is prompted with the chat template in its adapter's folder, the base with the "
        "base's own; a part of their difference may come from the prompts"
    )
    assert note in after["warnings"] and f"warning: {note}" in " ".join(ended.out.split())
    assert note not in before["warnings"]
    first, second = (outputs(out) for out in outs)
    assert first["vanilla"] == second["vanilla"] and first["tuned"] != second["tuned"]
