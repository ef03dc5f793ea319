"""Both spellings of the rotary embedding give the same model on mlx, or are refused."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten, tree_map_with_path

from demo import FOLDER
from plugin.engines.mlx import load_mlx_model
from plugin.errors import ModelError

THETA = 123456.0
LINEAR = {"rope_type": "linear", "factor": 8.0}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
IDS = [[1, *range(7, 47)]]

TINY: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "rms_norm_eps": 1e-6,
    "vocab_size": 1536,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}
PARTS = ("rope_theta", "rope_scaling", "partial_rotary_factor")


def new_spelling(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config as transformers 5 saves it."""
    left = {key: value for key, value in config.items() if key not in PARTS}
    told = {"rope_type": "default", **(config.get("rope_scaling") or {})}
    told |= {key: config[key] for key in PARTS if key != "rope_scaling" and key in config}
    return {**left, "rope_parameters": told}


def write_model(folder: Path, config: Mapping[str, Any], weights: Path) -> Path:
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(FOLDER / "model" / name, folder)
    shutil.copy(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def tiny_weights(path: Path, config: Mapping[str, Any]) -> Path:
    """Write random weights that turn far enough for the rotary embedding to show."""
    mx.set_default_stream(mx.new_stream(mx.cpu))  # a refused model has taken the thread's own away
    module = import_module(f"mlx_lm.models.{config['model_type']}")
    model = module.Model(module.ModelArgs.from_dict({**config}))
    numbers = np.random.default_rng(0)

    def drawn(name: str, old: mx.array) -> mx.array:
        middle, spread = (0.0, 0.3) if old.ndim > 1 else (1.0, 0.1)
        return mx.array(numbers.normal(middle, spread, old.shape).astype(np.float32))

    mx.save_safetensors(
        str(path), dict(tree_flatten(tree_map_with_path(drawn, model.parameters())))
    )
    return path


def logits(folder: Path) -> np.ndarray:
    model, _ = load_mlx_model(folder)
    return np.array(model(mx.array(IDS)).astype(mx.float32))


def of_spelling(tmp_path: Path, weights: Path, name: str, config: Mapping[str, Any]) -> np.ndarray:
    return logits(write_model(tmp_path / name, config, weights))


@pytest.mark.parametrize("scaling", [None, LINEAR, LLAMA3], ids=["base", "linear", "llama3"])
def test_the_demo_model_is_the_same_in_both_spellings(
    tmp_path: Path, scaling: dict[str, Any] | None
) -> None:
    weights = FOLDER / "model" / "model.safetensors"
    plain = json.loads((FOLDER / "model" / "config.json").read_text())
    old = {**plain, "rope_theta": THETA, "rope_scaling": scaling}
    expected = of_spelling(tmp_path, weights, "old", old)
    found = of_spelling(tmp_path, weights, "new", new_spelling(old))
    assert np.array_equal(found, expected)
    unscaled = {**old, "rope_scaling": None} if scaling else plain
    assert not np.allclose(found, of_spelling(tmp_path, weights, "other", unscaled), atol=1e-3)


ARCHITECTURES: dict[str, dict[str, Any]] = {
    "qwen2": {"rope_scaling": LINEAR},
    "qwen3": {"rope_scaling": LINEAR},
    "gemma": {},
    "gemma2": {"query_pre_attn_scalar": 16},
    "llama": {"rope_scaling": LINEAR},
    "olmo2": {"rope_scaling": LINEAR},
    "phi3": {
        "rope_scaling": {
            "rope_type": "longrope",
            "short_factor": [1.0] * 4,
            "long_factor": [1.0, 2.0, 3.0, 4.0],
        },
        "original_max_position_embeddings": 64,
        "partial_rotary_factor": 0.5,
        "tie_word_embeddings": False,
    },
    "stablelm": {
        "partial_rotary_factor": 0.5,
        "layer_norm_eps": 1e-5,
        "use_qkv_bias": False,
        "tie_word_embeddings": False,
    },
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_architecture_is_the_same_in_both_spellings(tmp_path: Path, architecture: str) -> None:
    """The scaled ones differ from the unscaled ones, too, and all from another base."""
    own = ARCHITECTURES[architecture]
    old = {**TINY, "model_type": architecture, "rope_theta": THETA, **own}
    if "rope_scaling" in own:
        old["rope_scaling"] = {**own["rope_scaling"], "type": own["rope_scaling"]["rope_type"]}
    weights = tiny_weights(tmp_path / "model.safetensors", old)
    expected = of_spelling(tmp_path, weights, "old", old)
    found = of_spelling(tmp_path, weights, "new", new_spelling(old))
    assert np.array_equal(found, expected)
    for key in {*PARTS} & old.keys():
        if key == "partial_rotary_factor" and "rope_scaling" in own:
            continue  # phi3's factors are made for this share
        other = {**old, key: {"rope_theta": 1e4, "partial_rotary_factor": 1.0}.get(key)}
        changed = of_spelling(tmp_path, weights, key, other)
        assert not np.allclose(found, changed, atol=1e-3), key


def test_gemma3_is_the_same_in_both_spellings(tmp_path: Path) -> None:
    """Its layers with a sliding window have a base of their own; the others are scaled."""
    old = {
        **TINY,
        "model_type": "gemma3_text",
        "query_pre_attn_scalar": 16,
        "sliding_window": 16,
        "sliding_window_pattern": 2,
        "rope_theta": THETA,
        "rope_local_base_freq": 5000.0,
        "rope_scaling": LINEAR,
    }
    new = {key: value for key, value in old.items() if not key.startswith("rope_")}
    new["rope_parameters"] = {
        "full_attention": {"rope_theta": THETA, **LINEAR},
        "sliding_attention": {"rope_theta": 5000.0, "rope_type": "default"},
    }
    weights = tiny_weights(tmp_path / "model.safetensors", old)
    expected = of_spelling(tmp_path, weights, "old", old)
    assert np.array_equal(of_spelling(tmp_path, weights, "new", new), expected)
    for key, other in {
        "rope_theta": 1e4,
        "rope_local_base_freq": 1e4,
        "rope_scaling": None,
    }.items():
        changed = of_spelling(tmp_path, weights, key, {**old, key: other})
        assert not np.allclose(expected, changed, atol=1e-3), key


def test_gpt_neox_has_old_names_of_its_own(tmp_path: Path) -> None:
    old = {
        **TINY,
        "model_type": "gpt_neox",
        "layer_norm_eps": 1e-5,
        "use_parallel_residual": True,
        "rotary_emb_base": THETA,
        "rotary_pct": 0.5,
    }
    new = {key: value for key, value in old.items() if not key.startswith("rotary_")}
    new["rope_parameters"] = {
        "rope_theta": THETA,
        "partial_rotary_factor": 0.5,
        "rope_type": "default",
    }
    weights = tiny_weights(tmp_path / "model.safetensors", old)
    expected = of_spelling(tmp_path, weights, "old", old)
    assert np.array_equal(of_spelling(tmp_path, weights, "new", new), expected)


def test_what_reads_the_new_spelling_alone_is_given_it(tmp_path: Path) -> None:
    """mlx-lm's qwen3_5 would put its own base over a `rope_theta`."""
    text = {
        **TINY,
        "model_type": "qwen3_5_text",
        "linear_num_value_heads": 4,
        "linear_num_key_heads": 2,
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
        "linear_conv_kernel_dim": 4,
        "full_attention_interval": 2,
        "partial_rotary_factor": 0.5,
        "rope_theta": THETA,
    }
    made = {"model_type": "qwen3_5", "text_config": text}
    weights = tiny_weights(tmp_path / "model.safetensors", made)
    expected = of_spelling(tmp_path, weights, "new", {**made, "text_config": new_spelling(text)})
    assert np.array_equal(of_spelling(tmp_path, weights, "old", made), expected)
    other = {**made, "text_config": new_spelling({**text, "rope_theta": 1e5})}
    assert not np.allclose(expected, of_spelling(tmp_path, weights, "other", other), atol=1e-3)


def test_a_kind_that_mlx_lm_does_not_make_is_refused(tmp_path: Path) -> None:
    weights = FOLDER / "model" / "model.safetensors"
    plain = json.loads((FOLDER / "model" / "config.json").read_text())
    new = new_spelling({**plain, "rope_scaling": {"rope_type": "spiral", "factor": 2.0}})
    folder = write_model(tmp_path / "spiral", new, weights)
    with pytest.raises(ModelError) as caught:
        load_mlx_model(folder)
    message = str(caught.value)
    assert message.startswith(f"{folder}: config.json says rope_parameters.rope_type: 'spiral', ")
    assert "architecture llama" in message
    assert message.endswith("--engine transformers (for a judge: transformers:<model>)")


def test_an_architecture_whose_file_ends_python_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "hf_olmo", None)
    monkeypatch.delitem(sys.modules, "mlx_lm.models.olmo", raising=False)
    weights = FOLDER / "model" / "model.safetensors"
    folder = write_model(tmp_path / "olmo", {**TINY, "model_type": "olmo"}, weights)
    with pytest.raises(ModelError, match="cannot load this model .a library is missing."):
        load_mlx_model(folder)
