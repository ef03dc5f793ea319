"""MLX and PEFT adapters made of each other: the bits, what is refused, and the logits."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from demo import FOLDER
from plugin import engines
from plugin.engines import EngineSettings
from plugin.errors import AdapterError
from plugin.load.adapter import inspect_adapter
from plugin.load.convert import to_mlx, to_peft
from plugin.load.model import inspect_model
from plugin.load.tensors import read_tensors
from tests.load.lora_samples import MODULES, peft_config, peft_tensors, write_peft

TUNED = "tuned"
IDS = list(range(3, 43))
TOLERANCE = 1e-4
"""Between logits (up to 20) of torch and mlx, float32 on a CPU; the largest seen is 2.4e-5."""


def there_and_back(folder: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The adapter in the other kind, and in its own again."""
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    adapter = inspect_adapter(folder)
    if adapter.kind == "mlx":
        to_mlx(to_peft(adapter, 4, one), MODULES, two)
    else:
        to_peft(to_mlx(adapter, MODULES, one), 4, two)
    return one, two


def weights(folder: Path) -> dict[str, tuple[str, bytes]]:
    found = read_tensors(inspect_adapter(folder).weights_path)
    return {name: (raw.dtype, raw.bits.tobytes()) for name, raw in found.items()}


def test_the_demo_adapter_comes_back_bit_for_bit(tmp_path: Path) -> None:
    one, two = there_and_back(FOLDER / "adapter", tmp_path)
    assert weights(two) == weights(FOLDER / "adapter")
    config = json.loads((one / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"]) == (16, 64)
    again = json.loads((two / "adapter_config.json").read_text())["lora_parameters"]
    assert (again["rank"], again["scale"]) == (16, 4.0)


@pytest.mark.parametrize("changed", [{}, {"use_dora": True}, {"use_rslora": True}])
def test_a_peft_adapter_comes_back_bit_for_bit(changed: dict[str, Any], tmp_path: Path) -> None:
    folder = write_peft(tmp_path / "peft", peft_config(**changed))
    one, two = there_and_back(folder, tmp_path)
    assert weights(two) == weights(folder)
    scale = json.loads((one / "adapter_config.json").read_text())["lora_parameters"]["scale"]
    assert scale == (4 if "use_rslora" in changed else 2)  # 8 / sqrt(4), 8 / 4


def test_bfloat16_is_moved_and_not_rounded(tmp_path: Path) -> None:
    folder = tmp_path / "bf16"
    shutil.copytree(FOLDER / "adapter", folder)
    held: Any = mx.load(str(folder / "adapters.safetensors"))
    mx.save_safetensors(
        str(folder / "adapters.safetensors"), {k: v.astype(mx.bfloat16) for k, v in held.items()}
    )
    one, two = there_and_back(folder, tmp_path)
    assert {dtype for dtype, _ in weights(one).values()} == {"BF16"}
    assert weights(two) == weights(folder)


def delta(folder: Path, module: str) -> np.ndarray[Any, Any]:
    """What an MLX adapter adds to a module's weight, (n_out, n_in)."""
    tensors = load_file(folder / "adapters.safetensors")
    scale = json.loads((folder / "adapter_config.json").read_text())["lora_parameters"]["scale"]
    a, b = (tensors[f"{module}.lora_{letter}"] for letter in "ab")
    product: np.ndarray[Any, Any] = scale * (b.T @ a.T)
    return product


def test_patterns_of_rank_and_alpha_give_the_same_product(tmp_path: Path) -> None:
    config = peft_config(rank_pattern={"down_proj": 2}, alpha_pattern={"layers.1.*.q_proj": 3})
    tensors = peft_tensors(config)
    folder = inspect_adapter(write_peft(tmp_path / "peft", config, tensors))
    to_mlx(folder, MODULES, tmp_path)
    for module in MODULES:
        a, b = (tensors[f"base_model.model.{module}.lora_{letter}.weight"] for letter in "AB")
        rank = 2 if module.endswith("down_proj") else 4
        alpha = 3 if module == "model.layers.1.self_attn.q_proj" else 8
        np.testing.assert_allclose(delta(tmp_path, module), alpha / rank * (b @ a), atol=1e-6)


@pytest.mark.parametrize(
    ("changed", "extra", "reason"),
    [
        (
            {"modules_to_save": ["lm_head"]},
            {},
            "modules_to_save (lm_head): MLX adapters cannot replace",
        ),
        ({"lora_bias": True}, {}, "lora_bias: MLX adapters have no such setting"),
        ({"bias": "all"}, {}, "bias 'all' changes the base's own biases"),
        ({"init_lora_weights": "pissa"}, {}, "init_lora_weights 'pissa' changes the base's own"),
        (
            {},
            {"base_model.model.model.embed_tokens.lora_embedding_A": np.zeros((4, 8), np.float32)},
            "adapted embeddings (base_model.model.model.embed_tokens.lora_embedding_A)",
        ),
    ],
)
def test_what_mlx_cannot_hold_is_said(
    changed: dict[str, Any],
    extra: dict[str, np.ndarray[Any, Any]],
    reason: str,
    tmp_path: Path,
) -> None:
    config = peft_config(**changed)
    folder = inspect_adapter(write_peft(tmp_path / "p", config, peft_tensors(config) | extra))
    with pytest.raises(AdapterError) as caught:
        to_mlx(folder, MODULES, tmp_path)
    assert reason in str(caught.value)
    no_engine = changed.keys() & {"bias", "init_lora_weights"}
    way_out = (
        "No engine here can compare this adapter" if no_engine else "Use --engine transformers"
    )
    assert str(caught.value).splitlines()[-1].startswith(way_out)


@pytest.mark.parametrize(
    ("changed", "tensor", "reason"),
    [
        ({"fine_tune_type": "full"}, None, "fine_tune_type 'full': its tensors replace"),
        ({}, ("model.embed_tokens.lora_a", (8, 4)), "adapted embeddings (model.embed_tokens"),
        ({}, ("model.layers.1.mlp.experts.lora_a", (2, 8, 4)), "adapted experts (model.layers.1."),
    ],
)
def test_what_peft_cannot_hold_is_said(
    changed: dict[str, Any],
    tensor: tuple[str, tuple[int, ...]] | None,
    reason: str,
    tmp_path: Path,
) -> None:
    folder = Path(shutil.copytree(FOLDER / "adapter", tmp_path / "a"))
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | changed))
    if tensor:
        held = load_file(folder / "adapters.safetensors")
        held[tensor[0]] = np.zeros(tensor[1], np.float32)
        save_file(held, folder / "adapters.safetensors")
    with pytest.raises(AdapterError) as caught:
        to_peft(inspect_adapter(folder), 4, tmp_path)
    assert reason in str(caught.value)
    assert str(caught.value).endswith("Use --engine mlx")


def test_a_wrong_rank_is_named_module_by_module(tmp_path: Path) -> None:
    tensors = peft_tensors(peft_config())
    folder = inspect_adapter(write_peft(tmp_path / "p", peft_config(r=8), tensors))
    with pytest.raises(AdapterError, match="weights and configuration disagree") as caught:
        to_mlx(folder, MODULES, tmp_path)
    for module in MODULES:
        for letter in "AB":
            assert f"  {module}.lora_{letter}: rank 4 in the file, 8 in" in str(caught.value)


def test_foreign_tensors_are_left_out_with_the_half_modules_and_named(tmp_path: Path) -> None:
    tensors = peft_tensors(peft_config())
    module = "base_model.model.model.layers.1"
    tensors[f"{module}.other"] = tensors.pop(f"{module}.self_attn.q_proj.lora_B.weight")
    folder = inspect_adapter(write_peft(tmp_path / "p", peft_config(), tensors))
    found = to_mlx(folder, MODULES, tmp_path)
    assert found.unused == (f"{module}.other", f"{module}.self_attn.q_proj.lora_A.weight")
    assert len(found.shapes) == len(tensors) - 2


def test_half_a_module_without_such_excuse_is_refused(tmp_path: Path) -> None:
    tensors = peft_tensors(peft_config())
    del tensors["base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight"]
    folder = inspect_adapter(write_peft(tmp_path / "p", peft_config(), tensors))
    with pytest.raises(AdapterError, match="layers.1.self_attn.q_proj: has no lora_b"):
        to_mlx(folder, MODULES, tmp_path)


def logits(kind: str, folder: Path) -> np.ndarray[Any, Any]:
    """The adapter's answer to fixed tokens on the named engine, (n_tokens, n_vocabulary)."""
    adapters = {"tuned": inspect_adapter(folder)}
    settings = EngineSettings(inspect_model(FOLDER / "model"), "demo", adapters, 8, 4, True)
    engine: Any = engines.load(kind, settings)
    with engine._switch.adapter_on(TUNED):
        if kind == "mlx":
            return np.array(engine._model(mx.array([IDS])))[0]
        import torch

        with torch.inference_mode():
            found: np.ndarray[Any, Any] = engine._model(torch.tensor([IDS])).logits[0].numpy()
            return found


def bare_logits() -> np.ndarray[Any, Any]:
    from mlx_lm import load

    return np.array(load(str(FOLDER / "model"))[0](mx.array([IDS])))[0]


def agree(folder: Path) -> None:
    one, other = logits("mlx", folder), logits("transformers", folder)
    assert np.abs(one - bare_logits()).max() > 1  # the adapter does something
    assert np.abs(one - other).max() < TOLERANCE


def test_both_engines_give_the_demo_adapters_logits() -> None:
    pytest.importorskip("torch").set_num_threads(1)
    agree(FOLDER / "adapter")


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"use_dora": True},
        {"use_rslora": True},
        {"rank_pattern": {"down_proj": 2}, "alpha_pattern": {"layers.1.*.q_proj": 3}},
    ],
    ids=["lora", "dora", "rslora", "patterns"],
)
def test_both_engines_give_a_peft_adapters_logits(changed: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("torch").set_num_threads(1)
    agree(write_peft(tmp_path / "peft", peft_config(**changed)))


def test_both_engines_give_the_logits_of_what_peft_saved(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(FOLDER / "model", dtype=torch.float32)
    tuned = get_peft_model(
        model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False)
    )
    tuned.save_pretrained(tmp_path / "saved")
    with torch.inference_mode():
        expected = tuned(torch.tensor([IDS])).logits[0].numpy()
    assert np.abs(logits("transformers", tmp_path / "saved") - expected).max() < 1e-4  # merged
    agree(tmp_path / "saved")


def test_modules_that_the_mlx_config_names_and_the_file_lacks_are_found(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    folder = Path(shutil.copytree(FOLDER / "adapter", tmp_path / "a"))
    held = load_file(folder / "adapters.safetensors")
    lost = [name for name in held if "layers.2.mlp" in name]
    save_file({k: v for k, v in held.items() if k not in lost}, folder / "adapters.safetensors")
    with pytest.raises(
        AdapterError, match=r"2\.mlp\.down_proj\.lora_A\.weight: named in the config, missing from"
    ):
        logits("transformers", folder)


def test_layers_are_counted_from_the_last_as_mlx_does(tmp_path: Path) -> None:
    folder, into = tmp_path / "mlx", tmp_path / "peft"
    into.mkdir()
    shutil.copytree(FOLDER / "adapter", folder)
    path = folder / "adapters.safetensors"
    held = load_file(path)
    save_file({name: held[name] for name in held if ".layers.3." in name}, path)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "num_layers": 2}))
    wanted = to_peft(inspect_adapter(folder), 4, into).config["target_modules"]
    module = next(name for name in held if ".layers.3." in name).rpartition(".")[0]
    tuned = [n for n in range(4) if re.fullmatch(wanted, module.replace(".3.", f".{n}."))]
    assert tuned == [2, 3]  # layer 2 is named by the config and lacks tensors
