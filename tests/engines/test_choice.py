"""Which engine runs: by name, or by what is installed, what fits, and the device."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from plugin import engines
from plugin.adapters.layout import AdapterFolder, inspect_adapter
from plugin.demo import FOLDER
from plugin.engines import transformers as torch_engine
from plugin.errors import OptionError
from plugin.weights import ModelFolder, inspect_model
from tests.adapters.lora_samples import peft_config, write_peft


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Says what is installed, on which platform, and whether there is a GPU."""

    def be(*installed: str, platform: str = "linux", gpu: bool = False) -> None:
        monkeypatch.setattr(engines, "find_spec", lambda name: name in installed or None)
        monkeypatch.setattr(engines.sys, "platform", platform)  # type: ignore[attr-defined]
        monkeypatch.setattr(torch_engine, "has_gpu", lambda: gpu)

    return be


MLX, TORCH = ("mlx", "mlx_lm"), ("torch", "transformers", "peft")


@pytest.fixture(scope="module")
def model() -> ModelFolder:
    return inspect_model(FOLDER / "model")


def adapter(kind: str, folder: Path) -> AdapterFolder:
    if kind == "mlx":
        return inspect_adapter(FOLDER / "adapter")
    if kind == "full":
        copy = Path(shutil.copytree(FOLDER / "adapter", folder / "full"))
        (copy / "adapter_config.json").write_text(json.dumps({"fine_tune_type": "full"}))
        return inspect_adapter(copy)
    changed = {"modules_to_save": ["lm_head"]} if kind == "whole modules" else {}
    return inspect_adapter(write_peft(folder / "peft", peft_config(**changed)))


def test_the_named_engine_is_taken(machine: Any, model: ModelFolder) -> None:
    machine(*MLX, *TORCH, gpu=True)
    assert engines.choose("mlx", model, []) == ("mlx", "--engine mlx")


def test_a_missing_library_says_what_installs_it(machine: Any) -> None:
    machine(*MLX, "transformers")
    with pytest.raises(OptionError) as caught:
        engines.ready("transformers")
    assert str(caught.value) == (
        "engine 'transformers' needs torch and peft, not installed here: "
        "pip install -r requirements-torch.txt -c constraints/torch.txt"
    )


def test_with_nothing_installed_both_ways_are_told(machine: Any) -> None:
    machine()
    with pytest.raises(OptionError) as caught:
        engines.ready("auto")
    assert "engine 'mlx' needs mlx and mlx_lm, not installed here: pip" in str(caught.value)
    assert "; or engine 'transformers' needs torch and transformers and peft" in str(caught.value)


@pytest.mark.parametrize(("installed", "name"), [(MLX, "mlx"), (TORCH, "transformers")])
def test_auto_takes_the_only_one_installed(
    installed: tuple[str, ...], name: str, machine: Any, model: ModelFolder
) -> None:
    machine(*installed)
    assert engines.choose("auto", model, []) == (name, "auto: the only one installed")


@pytest.mark.parametrize(
    ("kind", "platform", "gpu", "expected"),
    [
        ("mlx", "linux", False, ("mlx", "auto: no GPU, and no PEFT adapter")),
        ("peft", "linux", False, ("transformers", "auto: no GPU, and there is a PEFT adapter")),
        ("mlx", "linux", True, ("transformers", "auto: torch sees a GPU")),
        ("peft", "darwin", True, ("mlx", "auto: this is a Mac")),
        (
            "whole modules",
            "darwin",
            True,
            ("transformers", "auto: adapter peft cannot be converted for mlx"),
        ),
        ("full", "linux", True, ("mlx", "auto: adapter full cannot be converted for transformers")),
    ],
)
def test_auto_picks_by_fit_then_platform_then_adapter(
    kind: str,
    platform: str,
    gpu: bool,
    expected: tuple[str, str],
    machine: Any,
    model: ModelFolder,
    tmp_path: Path,
) -> None:
    machine(*MLX, *TORCH, platform=platform, gpu=gpu)
    assert engines.choose("auto", model, [adapter(kind, tmp_path)]) == expected


def test_a_base_quantised_by_mlx_runs_on_mlx(machine: Any, model: ModelFolder) -> None:
    machine(*MLX, *TORCH, gpu=True)
    config = model.config | {"quantization": {"bits": 4, "group_size": 64}}
    quantised = dataclasses.replace(model, config=config)
    found = engines.choose("auto", quantised, [])
    assert found == ("mlx", "auto: the base is quantised in MLX's way")
