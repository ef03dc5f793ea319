from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from plugin.errors import AdapterError
from plugin.load.adapter import inspect_adapter
from tests.conftest import ROOT


def mlx_adapter(folder: Path) -> Path:
    folder.mkdir()
    tensors = {
        "model.layers.0.self_attn.q_proj.lora_a": np.zeros((64, 4), np.float32),
        "model.layers.0.self_attn.q_proj.lora_b": np.zeros((4, 64), np.float32),
    }
    save_file(tensors, folder / "adapters.safetensors")
    config = {"fine_tune_type": "lora", "lora_parameters": {"rank": 4, "scale": 2.0}}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def test_kind_shapes_and_digest_are_read(tmp_path: Path) -> None:
    found = inspect_adapter(mlx_adapter(tmp_path / "a"))
    assert found.kind == "mlx"
    assert found.shapes["model.layers.0.self_attn.q_proj.lora_a"] == (64, 4)
    assert len(found.digest) == 64
    assert found.weights_path.name == "adapters.safetensors"


def test_the_digest_follows_the_weights(tmp_path: Path) -> None:
    one, two = mlx_adapter(tmp_path / "a"), mlx_adapter(tmp_path / "b")
    assert inspect_adapter(one).digest == inspect_adapter(two).digest
    data = bytearray((two / "adapters.safetensors").read_bytes())
    data[-1] = 1
    (two / "adapters.safetensors").write_bytes(data)
    assert inspect_adapter(one).digest != inspect_adapter(two).digest


def test_peft_is_told_apart_by_its_weights_file(tmp_path: Path) -> None:
    folder = mlx_adapter(tmp_path / "a")
    (folder / "adapters.safetensors").rename(folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8})
    )
    assert inspect_adapter(folder).kind == "peft"


def _empty(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def _pickled(folder: Path) -> None:
    (folder / "adapters.safetensors").rename(folder / "adapter_model.bin")


def _no_config(folder: Path) -> None:
    (folder / "adapter_config.json").unlink()


def _truncated(folder: Path) -> None:
    path = folder / "adapters.safetensors"
    path.write_bytes(path.read_bytes()[:60])


def _cut(folder: Path) -> None:
    path = folder / "adapters.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _foreign_config(folder: Path) -> None:
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4}))


def _peft_without_its_config(folder: Path) -> None:
    (folder / "adapters.safetensors").rename(folder / "adapter_model.safetensors")


def _ia3(folder: Path) -> None:
    _peft_without_its_config(folder)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "IA3"}))


def _no_rank(folder: Path) -> None:
    _peft_without_its_config(folder)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 0}))


def _only_fused(folder: Path) -> None:
    _empty(folder)
    (folder / "fused_model").mkdir()


def _bomb(folder: Path) -> None:
    (folder / "adapters.safetensors").write_bytes(b"\xff" * 8 + b"{}")


def _bad_json(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{")


def _both(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(b"")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            _empty,
            "there is no adapter here: the folder is empty; it must hold adapters.safetensors or "
            "adapter_model.safetensors",
        ),
        (
            _pickled,
            "pickle or npz (adapter_model.bin), which is refused because reading such a file can "
            "run code; save the adapter as adapters.safetensors or adapter_model.safetensors",
        ),
        (_no_config, "has adapters.safetensors but no adapter_config.json"),
        (_truncated, "is not a valid safetensors file"),
        (_cut, "100 bytes of its tensors are missing); it may be incomplete: copy it again"),
        (_foreign_config, "adapters.safetensors is an MLX file, but adapter_config.json is a PEFT"),
        (
            _peft_without_its_config,
            "adapter_model.safetensors is a PEFT file, but adapter_config.json",
        ),
        (_ia3, "peft_type 'IA3' is not supported. It must be LORA"),
        (_no_rank, "r 0 must be an integer of 1 or more"),
        (_only_fused, "fused_model is a whole model: give it as --tuned_model"),
        (_bomb, "a header of 18446744073709551615 bytes"),
        (_bad_json, "is not valid JSON"),
        (_both, "holds both adapters.safetensors and adapter_model.safetensors"),
    ],
)
def test_an_adapter_that_cannot_be_used_says_why(
    spoil: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    folder = mlx_adapter(tmp_path / "a")
    spoil(folder)
    with pytest.raises(AdapterError) as caught:
        inspect_adapter(folder)
    assert message in str(caught.value)
    assert str(folder) in str(caught.value)


def test_a_missing_directory_says_so(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="no such adapter directory; check --model_adapter"):
        inspect_adapter(tmp_path / "nowhere")


Entries = dict[str, Any]


def _entries(edit: Callable[[Entries], object]) -> Callable[[Path], None]:
    """Spoils the file's header, the tensors' bytes left as they are."""

    def spoil(folder: Path) -> None:
        path = folder / "adapters.safetensors"
        content = path.read_bytes()
        end = 8 + int.from_bytes(content[:8], "little")
        entries = json.loads(content[8:end])
        changed = edit(entries)
        header = changed if isinstance(changed, bytes) else json.dumps(entries).encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header + content[end:])

    return spoil


A, B = (f"model.layers.0.self_attn.q_proj.lora_{letter}" for letter in "ab")


def _twice(entries: Entries) -> bytes:
    text = json.dumps(entries)
    return (text[:-1] + f', "{A}": {json.dumps(entries[A])}}}').encode()


def _long(folder: Path) -> None:
    path = folder / "adapters.safetensors"
    path.write_bytes(path.read_bytes() + b"12345")


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (_entries(_twice), f"{A} appears twice in its header"),
        (_entries(lambda held: b"[1, 2]"), "its header is not a JSON object"),
        (_entries(lambda held: held.update({A: 7})), f"{A} is not described by a JSON object"),
        (
            _entries(lambda held: held[B].update(data_offsets=held[A]["data_offsets"])),
            f"{B} overlaps the tensor before it",
        ),
        (
            _entries(lambda held: held[B].update(data_offsets=[1028, 2052])),
            f"{B} leaves a gap before it",
        ),
        (
            _entries(lambda held: held[A].update(data_offsets=[-8, 1016])),
            f"{A} has invalid shape [64, 4] or data_offsets [-8, 1016]",
        ),
        (
            _entries(lambda held: held[A].update(shape=[64, "4"])),
            f"{A} has invalid shape [64, '4'] or data_offsets [0, 1024]",
        ),
        (
            _entries(lambda held: held[A].update(shape=[64, 5])),
            f"{A} should have 1280 bytes by its shape, but has 1024",
        ),
        (_entries(lambda held: held[A].update(dtype=None)), f"{A} has invalid dtype None"),
        (_long, "5 of its bytes belong to no tensor"),
    ],
)
def test_a_file_that_is_not_as_its_header_says(
    spoil: Callable[[Path], None], what: str, tmp_path: Path
) -> None:
    folder = mlx_adapter(tmp_path / "a")
    spoil(folder)
    with pytest.raises(AdapterError) as caught:
        inspect_adapter(folder)
    message = str(caught.value)
    assert message.startswith(f"{folder}/adapters.safetensors is not a valid safetensors file (")
    assert f"({what})" in message and message.endswith("copy it again")


def test_a_header_longer_than_the_file_is_not_read(tmp_path: Path) -> None:
    folder = mlx_adapter(tmp_path / "a")
    path = folder / "adapters.safetensors"
    content = path.read_bytes()
    path.write_bytes((99_000_000).to_bytes(8, "little") + content[8:])
    with pytest.raises(
        AdapterError, match=rf"a header of 99000000 bytes in a file of {len(content)}"
    ):
        inspect_adapter(folder)


def test_tensors_that_are_no_numbers_with_a_point_are_named(tmp_path: Path) -> None:
    folder = mlx_adapter(tmp_path / "a")
    tensors = {A: np.zeros((64, 4), np.int32), B: np.zeros((4, 64), np.float64)}
    save_file(tensors, folder / "adapters.safetensors")
    with pytest.raises(AdapterError) as caught:
        inspect_adapter(folder)
    assert str(caught.value) == (
        f"{folder}/adapters.safetensors: 2 of 2 tensors have an unsupported dtype:\n  {A}: I32\n"
        f"  {B}: F64\nSave the adapter again as one of F32, F16, BF16"
    )


AGAIN = "Copy it again from the training's output"


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({}, "lora_parameters None must be an object with rank and scale"),
        ({"fine_tune_type": "magic"}, "fine_tune_type 'magic' must be one of lora, dora, full"),
        ({"lora_parameters": {}}, "rank is missing; scale is missing"),
        (
            {"lora_parameters": {"rank": 0, "scale": math.nan}},
            "rank 0 must be an integer of 1 or more; scale nan must be a finite number",
        ),
        (
            {"lora_parameters": {"rank": -4, "scale": True}},
            "rank -4 must be an integer of 1 or more; scale True must be a finite number",
        ),
        (
            {"num_layers": "all", "lora_parameters": {"rank": 4, "scale": 1, "keys": 7}},
            "keys 7 must be a list of names; num_layers 'all' must be an integer",
        ),
    ],
)
def test_an_mlx_configuration_that_cannot_be(
    config: dict[str, Any], what: str, tmp_path: Path
) -> None:
    folder = mlx_adapter(tmp_path / "a")
    (folder / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(AdapterError) as caught:
        inspect_adapter(folder)
    assert str(caught.value) == f"{folder}/adapter_config.json: {what}. {AGAIN}"


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"r": None, "lora_alpha": None}, "r is missing; lora_alpha is missing"),
        ({"r": -1}, "r -1 must be an integer of 1 or more"),
        ({"r": 4.0}, "r 4.0 must be an integer of 1 or more"),
        ({"lora_alpha": math.nan}, "lora_alpha nan must be a finite number"),
        ({"rank_pattern": [1]}, "rank_pattern [1] must map names to ranks"),
        ({"rank_pattern": {"(": 4}}, "rank_pattern {'(': 4} must map names to ranks"),
        (
            {"alpha_pattern": {"q": "x"}, "modules_to_save": 5},
            "alpha_pattern {'q': 'x'} must map names to finite numbers; modules_to_save 5 must be "
            "a list of names",
        ),
        ({"target_modules": "("}, "target_modules '(' must be a list of names or a regular"),
        (
            {"layers_to_transform": "all"},
            "layers_to_transform 'all' must be an integer or a list of integers",
        ),
    ],
)
def test_a_peft_configuration_that_cannot_be(
    config: dict[str, Any], what: str, tmp_path: Path
) -> None:
    folder = peft_adapter(tmp_path / "a", **config)
    with pytest.raises(AdapterError) as caught:
        inspect_adapter(folder)
    assert str(caught.value).startswith(f"{folder}/adapter_config.json: {what}")
    assert str(caught.value).endswith(f". {AGAIN}")


@pytest.mark.parametrize("text", ["[1]", '"lora"', "7"])
def test_a_configuration_that_is_no_object(text: str, tmp_path: Path) -> None:
    folder = mlx_adapter(tmp_path / "a")
    (folder / "adapter_config.json").write_text(text)
    with pytest.raises(AdapterError) as caught:
        inspect_adapter(folder)
    assert str(caught.value) == (
        f"{folder}/adapter_config.json must hold a JSON object. Get the file again"
    )


def peft_adapter(folder: Path, **config: object) -> Path:
    folder.mkdir(parents=True)
    save_file({"a": np.zeros((4, 64), np.float32)}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": 8, "lora_alpha": 16, **config})
    )
    return folder


def test_the_traits_of_a_peft_adapter_are_recorded(tmp_path: Path) -> None:
    config = {
        "use_dora": True,
        "use_rslora": True,
        "rank_pattern": {"q_proj": 2},
        "alpha_pattern": {"q_proj": 4},
        "modules_to_save": ["lm_head"],
    }
    found = inspect_adapter(peft_adapter(tmp_path / "a", **config))
    assert found.method == "dora"
    assert found.traits == (
        "PEFT dora, rank 8, alpha 16, rsLoRA, rank pattern {'q_proj': 2}, alpha pattern "
        "{'q_proj': 4}, modules to save ['lm_head']"
    )
    assert inspect_adapter(mlx_adapter(tmp_path / "b")).traits == "MLX lora, rank 4, scale 2.0"


def test_checkpoints_and_a_fused_model_beside_the_adapter_are_left_alone(tmp_path: Path) -> None:
    folder = peft_adapter(tmp_path / "a")
    peft_adapter(folder / "checkpoint-10", r=2)
    (folder / "fused_model").mkdir()
    (folder / "fused_model" / "model.safetensors").write_bytes(b"")
    found = inspect_adapter(folder)
    assert (found.path, found.root, found.config["r"]) == (folder, folder, 8)


def test_where_only_checkpoints_are_the_last_one_counts(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for step in (9, 100, 20):
        peft_adapter(folder / f"checkpoint-{step}", r=step)
    (folder / "checkpoint-200").mkdir()
    found = inspect_adapter(folder)
    assert (found.path, found.root.name, found.config["r"]) == (folder, "checkpoint-100", 100)
    assert found.traits.endswith(", from checkpoint-100")
    assert found.weights_path == folder / "checkpoint-100" / "adapter_model.safetensors"


def test_a_checkpoint_of_mlx_lm_can_be_named_by_its_file(tmp_path: Path) -> None:
    for name in ("adapters.safetensors", "adapter_config.json"):
        shutil.copy(ROOT / "demo/adapter" / name, tmp_path)
    file = tmp_path / "0000100_adapters.safetensors"
    (tmp_path / "adapters.safetensors").rename(file)
    found = inspect_adapter(file)
    assert (found.path, found.root, found.weights_path) == (file, tmp_path, file)
    assert found.shapes == inspect_adapter(ROOT / "demo/adapter").shapes
