"""Random and scaled adapters: the same shapes, the same norm in every module, another direction."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from demo import FOLDER
from plugin.certify.weights import lora_obstacle, random_adapter, scaled_adapter, weight_norm
from plugin.load.adapter import AdapterFolder, inspect_adapter
from plugin.load.tensors import read_tensors
from tests.certify.adapter_samples import one_module, times
from tests.load.lora_samples import peft_config, peft_tensors, write_peft


def changes(adapter: AdapterFolder) -> dict[str, np.ndarray[Any, Any]]:
    """Module -> the whole matrix B A, without the scale."""
    held = {name: raw.as_float32() for name, raw in read_tensors(adapter.weights_path).items()}
    found = {}
    for name, a in held.items():
        if adapter.kind == "mlx" and name.endswith(".lora_a"):
            found[name] = (a @ held[name.replace("lora_a", "lora_b")]).T
        elif adapter.kind == "peft" and "lora_A" in name:
            found[name] = held[name.replace("lora_A", "lora_B")] @ a
    return found


def folder(tmp_path: Path, kind: str) -> AdapterFolder:
    if kind == "mlx":
        return inspect_adapter(FOLDER / "adapter")
    if kind == "one module":
        return inspect_adapter(one_module(tmp_path / "one"))
    config = peft_config(rank_pattern={"v_proj": 2}, alpha_pattern={"down_proj": 3})
    return inspect_adapter(write_peft(tmp_path / "peft", config))


@pytest.mark.parametrize("kind", ["mlx", "peft", "one module"])
def test_a_random_adapter_has_the_norm_of_every_module_but_not_its_direction(
    kind: str, tmp_path: Path
) -> None:
    own = folder(tmp_path, kind)
    (tmp_path / "r").mkdir()
    made = random_adapter(own, tmp_path / "r")
    assert made is not None
    assert (made.shapes, made.config, made.path) == (own.shapes, own.config, own.path)
    before, after = changes(own), changes(made)
    for name, value in before.items():
        size = np.linalg.norm(value)
        assert np.linalg.norm(after[name]) == pytest.approx(size, rel=1e-4)
        assert abs(np.vdot(value, after[name])) < 0.1 * size**2  # no direction in common
        assert np.linalg.matrix_rank(after[name]) == np.linalg.matrix_rank(value)
    assert weight_norm(made) == pytest.approx(weight_norm(own), rel=1e-4)


def test_it_is_the_same_every_time(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        random_adapter(inspect_adapter(FOLDER / "adapter"), tmp_path / name)
    first, second = (tmp_path / name / "adapters.safetensors" for name in "ab")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, "BF16"])
def test_it_keeps_the_precision_of_the_file(dtype: Any, tmp_path: Path) -> None:
    if dtype == "BF16":
        torch = pytest.importorskip("torch")
        from safetensors.torch import save_file as save_torch

        path = write_peft(tmp_path / "p", peft_config())
        held = {
            name: torch.tensor(value).to(torch.bfloat16)
            for name, value in peft_tensors(peft_config()).items()
        }
        save_torch(held, path / "adapter_model.safetensors")
    else:
        held = {name: value.astype(dtype) for name, value in peft_tensors(peft_config()).items()}
        path = write_peft(tmp_path / "p", peft_config(), held)
    own = inspect_adapter(path)
    (tmp_path / "r").mkdir()
    made = random_adapter(own, tmp_path / "r")
    assert made is not None
    kinds = [{raw.dtype for raw in read_tensors(a.weights_path).values()} for a in (own, made)]
    assert kinds[0] == kinds[1]
    assert weight_norm(made) == pytest.approx(weight_norm(own), rel=2e-3)


def test_other_tensors_stay_as_they_are(tmp_path: Path) -> None:
    name = "base_model.model.model.embed_tokens.weight"
    copied = {name: np.arange(6, dtype=np.float32).reshape(2, 3)}
    own = write_peft(tmp_path / "p", peft_config(), peft_tensors(peft_config()) | copied)
    (tmp_path / "r").mkdir()
    made = random_adapter(inspect_adapter(own), tmp_path / "r")
    assert made is not None
    assert np.array_equal(load_file(made.weights_path)[name], copied[name])


@pytest.mark.parametrize("broken", [0.0, np.nan, np.inf])
def test_where_there_is_no_size_there_is_nothing_to_compare_with(
    broken: float, tmp_path: Path
) -> None:
    (tmp_path / "r").mkdir()
    assert random_adapter(inspect_adapter(times(tmp_path / "a", broken)), tmp_path / "r") is None
    assert not list((tmp_path / "r").iterdir())


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, ""),
        ({"use_rslora": True}, ""),
        ({"use_dora": True}, "DoRA also learned magnitudes"),
        ({"modules_to_save": ["model.norm"]}, "it replaces whole modules"),
        ({"trainable_token_indices": [5]}, "it replaces tokens of the embedding"),
        ({"target_parameters": ["mlp.experts"]}, "it adapts parameters of experts"),
        ({"lora_bias": True}, "it has biases of its own"),
    ],
)
def test_what_is_more_than_plain_lora_is_named(
    changed: dict[str, Any], words: str, tmp_path: Path
) -> None:
    assert (
        lora_obstacle(inspect_adapter(write_peft(tmp_path / "p", peft_config(**changed)))) == words
    )


def test_mlx_experts_and_full_fine_tunes_are_named(tmp_path: Path) -> None:
    full = one_module(tmp_path / "full")
    config = json.loads((full / "adapter_config.json").read_text())
    (full / "adapter_config.json").write_text(json.dumps({**config, "fine_tune_type": "full"}))
    assert lora_obstacle(inspect_adapter(full)) == "it replaces whole modules"
    experts = one_module(tmp_path / "experts")
    held = load_file(experts / "adapters.safetensors")
    save_file({k: v[None] for k, v in held.items()}, experts / "adapters.safetensors")
    assert lora_obstacle(inspect_adapter(experts)) == "it adapts experts"


@pytest.mark.parametrize("kind", ["mlx", "peft"])
@pytest.mark.parametrize("factor", [0.5, 1.25])
def test_a_scaled_adapter_adds_that_many_times_as_much(
    kind: str, factor: float, tmp_path: Path
) -> None:
    own = folder(tmp_path, kind)
    before = json.dumps(own.config)
    made, plain = weight_norm(scaled_adapter(own, factor)), weight_norm(own)
    assert made is not None and plain is not None
    assert made == pytest.approx(factor * plain)
    assert json.dumps(own.config) == before  # the given one is not changed
