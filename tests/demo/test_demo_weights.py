"""Checks of the weight files' layout, and of the numpy layers that trained them."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest

import demo
from demo.base import ModelShape, new_model
from demo.hostmath import use_host_layers, weighted_cross_entropy

DEMO = Path(demo.__file__).parent


def header(path: Path) -> dict[str, Any]:
    """Reads the header of a safetensors file."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        fields: dict[str, Any] = json.loads(file.read(length))
    return fields


def test_model_file_has_the_hub_layout() -> None:
    """The weights are float32, marked for PyTorch, under Llama's names, at least a million."""
    fields = header(DEMO / "model" / "model.safetensors")
    assert fields.pop("__metadata__")["format"] == "pt"
    assert {entry["dtype"] for entry in fields.values()} == {"F32"}
    assert {"model.embed_tokens.weight", "model.norm.weight"} < set(fields)
    assert "model.layers.0.self_attn.q_proj.weight" in fields
    assert sum(math.prod(entry["shape"]) for entry in fields.values()) > 1_000_000


def test_model_can_be_quantised() -> None:
    """Every matrix has rows of a multiple of 64 numbers."""
    fields = header(DEMO / "model" / "model.safetensors")
    shapes = [entry["shape"] for name, entry in fields.items() if name != "__metadata__"]
    assert all(shape[1] % 64 == 0 for shape in shapes if len(shape) == 2)


def test_model_config() -> None:
    """The configuration names the architecture and the special tokens of the tokenizer."""
    config = json.loads((DEMO / "model" / "config.json").read_text(encoding="utf-8"))
    tokenizer = json.loads((DEMO / "model" / "tokenizer.json").read_text(encoding="utf-8"))
    names = json.loads((DEMO / "model" / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert config["model_type"] == "llama"
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["vocab_size"] == len(tokenizer["model"]["vocab"])
    for role in ("bos", "eos", "pad"):
        token_id = tokenizer["model"]["vocab"][names[f"{role}_token"]]
        assert config[f"{role}_token_id"] == token_id


def test_adapter_files() -> None:
    """The adapter holds the low-rank matrices alone, of the rank its configuration names."""
    config = json.loads((DEMO / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    fields = header(DEMO / "adapter" / "adapters.safetensors")
    fields.pop("__metadata__", None)
    assert config["fine_tune_type"] == "lora"
    assert {name.rsplit(".", 1)[-1] for name in fields} == {"lora_a", "lora_b"}
    assert {entry["dtype"] for entry in fields.values()} == {"F32"}
    ranks = {min(entry["shape"]) for entry in fields.values()}
    assert ranks == {config["lora_parameters"]["rank"]}


def test_numpy_layers_agree_with_mlx() -> None:
    """The numpy layers give the loss and the gradients of mlx's own layers."""
    import mlx.core as mx
    import mlx.nn as nn
    from mlx.utils import tree_flatten

    mx.random.seed(0)
    small = ModelShape(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, vocab_size=96)
    model = new_model(small)
    inputs, targets = (mx.random.randint(0, 96, (3, 9)) for _ in range(2))
    weights = mx.random.uniform(shape=(3, 9))

    def plain(x: mx.array, y: mx.array, w: mx.array) -> mx.array:
        loss: mx.array = (nn.losses.cross_entropy(model(x), y) * w).sum()
        return loss

    def host(x: mx.array, y: mx.array, w: mx.array) -> mx.array:
        return weighted_cross_entropy(model(x), y, w)

    wanted_loss, wanted = nn.value_and_grad(model, plain)(inputs, targets, weights)
    mx.eval(wanted_loss, wanted)
    use_host_layers(model)
    loss, gradients = nn.value_and_grad(model, host)(inputs, targets, weights)
    assert loss.item() == pytest.approx(wanted_loss.item(), rel=1e-5)
    got = dict(tree_flatten(gradients))
    for name, gradient in tree_flatten(wanted):
        assert mx.allclose(got[name], gradient, rtol=1e-3, atol=1e-5).item(), name
