"""Unusual PEFT adapters on the transformers engine, alone and one after another."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from demo import FOLDER
from plugin.errors import AdapterError, ModelError
from tests.load.lora_samples import peft_config, peft_tensors, write_peft

torch = pytest.importorskip("torch")
pytest.importorskip("peft")
torch.set_num_threads(1)  # several wait more than they work here

from tests.engines.test_transformers import VANILLA, load, prompts  # noqa: E402

PREFIX = "base_model.model."


def base_tensor(name: str) -> np.ndarray[Any, Any]:
    return load_file(FOLDER / "model" / "model.safetensors")[name]


def sample(folder: Path, kind: str) -> Path:
    """Write an adapter of the kind; each has an effect of its own."""
    rng = np.random.default_rng(len(kind))
    if kind == "plain":
        return write_peft(folder / kind, peft_config())
    if kind == "tokens":
        config = peft_config(trainable_token_indices=[5, 725])
        delta = base_tensor("model.embed_tokens.weight")[[5, 725]] * 3
        name = f"{PREFIX}model.embed_tokens.token_adapter.trainable_tokens_delta"
        return write_peft(folder / kind, config, peft_tensors(config, 3) | {name: delta})
    if kind == "other tokens":
        config = peft_config(trainable_token_indices={"embed_tokens": [7, 8, 9]})
        delta = base_tensor("model.embed_tokens.weight")[[7, 8, 9]] * 3
        name = f"{PREFIX}model.embed_tokens.token_adapter.trainable_tokens_delta"
        return write_peft(folder / kind, config, peft_tensors(config, 4) | {name: delta})
    if kind == "whole modules":
        config = peft_config(modules_to_save=["model.norm"])
        norm = base_tensor("model.norm.weight") * 2
        return write_peft(
            folder / kind, config, peft_tensors(config, 5) | {f"{PREFIX}model.norm.weight": norm}
        )
    if kind == "embeddings":
        linear = r"model\.layers\.[13]\..*\.(q_proj|v_proj|down_proj)"
        config = peft_config(target_modules=rf"{linear}|model\.embed_tokens")
        del config["layers_to_transform"]
        name = f"{PREFIX}model.embed_tokens.lora_embedding_"
        shapes = {f"{name}A": (4, 1536), f"{name}B": (192, 4)}
    else:
        config = peft_config(target_parameters=["1.mlp.gate_proj.weight"])
        name = f"{PREFIX}model.layers.1.mlp.gate_proj.lora_"
        shapes = {f"{name}A.weight": (4, 192), f"{name}B.weight": (512, 4)}
    parts = {one: rng.normal(0, 0.2, shape).astype(np.float32) for one, shape in shapes.items()}
    return write_peft(folder / kind, config, peft_tensors(config, 6) | parts)


PAIRS = [
    pair
    for two in (
        ("plain", "tokens"),
        ("plain", "whole modules"),
        ("tokens", "other tokens"),
        ("tokens", "whole modules"),
        ("tokens", "embeddings"),
        ("tokens", "parameters"),
        ("parameters", "other parameters"),
        ("embeddings", "whole modules"),
    )
    for pair in permutations(two)
]
KINDS = list(dict.fromkeys(kind for pair in PAIRS for kind in pair))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("kinds")
    return {kind: sample(folder, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def alone(folders: dict[str, Path]) -> Iterator[dict[str, float]]:
    """The log-likelihood of one text with each adapter alone in the model."""
    yield {kind: likelihood(load(**{kind: path}), kind) for kind, path in folders.items()}


def likelihood(engine: Any, variant: str) -> float:
    ids = prompts(engine)[0].token_ids
    (found,) = engine.loglikelihoods(variant, [(ids, (5, 725, 7, 8, 40))])
    return float(found)


@pytest.mark.parametrize("pair", PAIRS, ids=" then ".join)
def test_adapters_that_peft_cannot_hold_together_are_run_one_after_the_other(
    pair: tuple[str, str], folders: dict[str, Path], alone: dict[str, float]
) -> None:
    engine = load(**{kind: folders[kind] for kind in pair})
    logits = engine._switch.probe()
    vanilla = likelihood(engine, VANILLA)
    for kind in pair:
        assert engine.certify(kind, prompts(engine)[:3]).result == "certified"
    assert [likelihood(engine, kind) for kind in (*pair, *pair)] == [alone[k] for k in pair] * 2
    assert likelihood(engine, VANILLA) == vanilla not in [alone[kind] for kind in pair]
    assert engine._switch.probe() == logits


def test_an_adapter_that_changes_after_its_certificate_is_refused(tmp_path: Path) -> None:
    folder = write_peft(tmp_path / "first", peft_config())
    engine = load(first=folder, second=write_peft(tmp_path / "second", peft_config()))
    for name in ("first", "second"):
        engine.certify(name, prompts(engine)[:2])
    write_peft(folder, peft_config(), peft_tensors(peft_config(), 9))
    with pytest.raises(AdapterError, match="changed while the run was reading it"):
        likelihood(engine, "first")


def test_names_without_pefts_prefix_are_the_same_adapter(tmp_path: Path) -> None:
    tensors = peft_tensors(peft_config())
    lost = f"{PREFIX}model.blocks.1.mlp.up_proj.lora_A.weight"
    tensors |= {lost: np.ones((4, 192), np.float32)}
    bare = {name.removeprefix(PREFIX): value for name, value in tensors.items()}
    engine = load(
        bare=write_peft(tmp_path / "bare", peft_config(), bare),
        full=write_peft(tmp_path / "full", peft_config(), tensors),
    )
    found = [engine.certify(name, prompts(engine)[:3]) for name in ("bare", "full")]
    assert [one.unused for one in found] == [(lost.removeprefix(PREFIX),), (lost,)]
    assert found[0].effect == found[1].effect
    assert found[0].weight_norm == found[1].weight_norm


def test_a_tied_output_layer_that_mlx_lacks_is_taken(tmp_path: Path) -> None:
    from tests.engines.test_mlx_adapters import WITH_HEAD, head

    tensors = peft_tensors(WITH_HEAD) | head()
    engine = load(tuned=write_peft(tmp_path / "head", WITH_HEAD, tensors))
    assert engine.certify("tuned", prompts(engine)[:3]).result == "certified"


def test_an_adapter_in_the_bases_own_folder_is_not_applied_in_silence(tmp_path: Path) -> None:
    """transformers would put it on the base itself, and the base would be compared with itself."""
    model = Path(shutil.copytree(FOLDER / "model", tmp_path / "model"))
    write_peft(model, peft_config())
    with pytest.raises(ModelError, match="an adapter in the model's own folder"):
        load(model, tuned=write_peft(tmp_path / "tuned", peft_config()))
