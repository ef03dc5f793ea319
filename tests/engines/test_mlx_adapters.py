"""PEFT adapters on the mlx engine: what it takes in full, and what only transformers can take."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from demo import FOLDER
from plugin.errors import AdapterError
from plugin.load.adapter import inspect_adapter
from plugin.load.convert import conversion_obstacles
from plugin.load.model import inspect_model
from tests.engines.test_mlx import TUNED, load, prompts
from tests.load.lora_samples import peft_config, peft_tensors, write_peft

PREFIX = "base_model.model."
Tensors = dict[str, "np.ndarray[Any, Any]"]


def head(values: float = 0.2) -> Tensors:
    rng = np.random.default_rng(1)
    shapes = {"A": (4, 192), "B": (1536, 4)}
    return {
        f"{PREFIX}lm_head.lora_{letter}.weight": rng.normal(0, values, shape).astype(np.float32)
        for letter, shape in shapes.items()
    }


def embedding() -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = load_file(FOLDER / "model" / "model.safetensors")[
        "model.embed_tokens.weight"
    ]
    return found


@pytest.fixture(scope="module")
def untied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's model with an output layer of its own."""
    model = tmp_path_factory.mktemp("untied") / "model"
    shutil.copytree(FOLDER / "model", model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    tensors = load_file(model / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"] * np.float32(1.5)
    save_file(tensors, model / "model.safetensors", {"format": "pt"})
    return model


WITH_HEAD = peft_config(target_modules=["q_proj", "v_proj", "down_proj", "lm_head"])
del WITH_HEAD["layers_to_transform"]
WITH_HEAD["target_modules"] = r"model\.layers\.[13]\..*\.(q_proj|v_proj|down_proj)|lm_head"


def test_a_copy_of_the_bases_output_layer_is_no_stranger(untied: Path, tmp_path: Path) -> None:
    own = load_file(untied / "model.safetensors")["lm_head.weight"]
    copied = {f"{PREFIX}lm_head.base_layer.weight": own}
    tensors = peft_tensors(WITH_HEAD) | head()
    engine = load(
        untied,
        tuned=write_peft(tmp_path / "copy", WITH_HEAD, tensors | copied),
        bare=write_peft(tmp_path / "bare", WITH_HEAD, tensors),
    )
    copy, bare = (engine.certify(name, prompts(engine)) for name in (TUNED, "bare"))
    assert (copy.result, bare.result) == ("certified", "certified")
    assert copy.effect == bare.effect


def test_another_output_layer_than_the_bases_is_not_applied(untied: Path, tmp_path: Path) -> None:
    name = f"{PREFIX}lm_head.base_layer.weight"
    tensors = peft_tensors(WITH_HEAD) | head() | {name: embedding()}
    engine = load(untied, tuned=write_peft(tmp_path / "other", WITH_HEAD, tensors))
    found = engine.certify(TUNED, prompts(engine))
    assert (found.result, found.unused) == ("partial: 1 of 15 tensors unused", (name,))


@pytest.mark.parametrize("name", ["model.embed_tokens", "lm_head"])
def test_a_copy_of_a_tied_embedding_is_no_stranger(name: str, tmp_path: Path) -> None:
    tensors = peft_tensors(peft_config()) | {f"{PREFIX}{name}.weight": embedding()}
    engine = load(tuned=write_peft(tmp_path / "copy", peft_config(), tensors))
    assert engine.certify(TUNED, prompts(engine)).result == "certified"


def test_names_without_pefts_prefix_are_the_same_adapter(tmp_path: Path) -> None:
    tensors = peft_tensors(peft_config())
    bare = {name.removeprefix(PREFIX): value for name, value in tensors.items()}
    engine = load(
        tuned=write_peft(tmp_path / "bare", peft_config(), bare),
        full=write_peft(tmp_path / "full", peft_config(), tensors),
    )
    found = [engine.certify(name, prompts(engine)) for name in (TUNED, "full")]
    assert found[0].result == "certified" and found[0].effect == found[1].effect
    assert found[0].weight_norm == found[1].weight_norm


def test_mlx_has_no_module_for_a_tied_output_layer_or_single_experts(
    untied: Path, tmp_path: Path
) -> None:
    own = inspect_adapter(write_peft(tmp_path / "h", WITH_HEAD, peft_tensors(WITH_HEAD) | head()))
    tied, apart = inspect_model(FOLDER / "model"), inspect_model(untied)
    assert conversion_obstacles(own, "mlx", apart) == []
    assert conversion_obstacles(own, "mlx", tied) == [
        f"an adapted output layer ({PREFIX}lm_head.lora_A.weight, {PREFIX}lm_head.lora_B.weight): "
        "the model uses its embedding as output layer, so MLX has no such module"
    ]
    name = f"{PREFIX}model.layers.0.mlp.experts.3.up_proj.lora_A.weight"
    experts = write_peft(tmp_path / "e", peft_config(), {name: np.ones((4, 192), np.float32)})
    (found,) = conversion_obstacles(inspect_adapter(experts), "mlx", tied)
    assert found.startswith(f"experts adapted one by one (1 tensors: {name}): MLX holds all ")


def test_modules_that_mlx_joins_are_refused_and_not_left_out(tmp_path: Path) -> None:
    """The files have a module that the loaded model lacks: mlx-lm gave it another place."""
    moved = "model.layers.1.mlp.fused_proj"
    parts = {
        f"{PREFIX}{moved}.lora_{letter}.weight": np.ones(shape, np.float32)
        for letter, shape in {"A": (4, 192), "B": (64, 4)}.items()
    }
    adapter = write_peft(tmp_path / "tuned", peft_config(), peft_tensors(peft_config()) | parts)
    engine = load(tuned=adapter)
    assert engine.certify(TUNED, prompts(engine)).kind == "partial"  # nobody has such a module
    folder = engine._switch.folder
    names = folder.tensor_names | {f"{moved}.weight"}
    engine._switch.folder = replace(folder, tensor_names=names)
    with pytest.raises(AdapterError) as caught:
        engine.certify(TUNED, prompts(engine))
    assert f"has no place for 2 of 14 tensors ({PREFIX}{moved}.lora_A" in str(caught.value)
    assert str(caught.value).endswith("Use --engine transformers")
