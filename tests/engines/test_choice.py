"""Which engine runs: by name, or by what is installed, what fits, and the device."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo import FOLDER
from plugin import engines
from plugin.engines import EngineSettings, WorkerSettings, choice
from plugin.engines import transformers as torch_engine
from plugin.errors import AdapterError, OptionError
from plugin.load.adapter import AdapterFolder, inspect_adapter
from plugin.load.model import ModelFolder, inspect_model
from tests.load.lora_samples import peft_config, write_peft


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Says what is installed, on which platform, and whether there is a GPU."""

    def be(*installed: str, platform: str = "linux", gpu: bool = False) -> None:
        monkeypatch.setattr(choice, "find_spec", lambda name: name in installed or None)
        monkeypatch.setattr(choice.sys, "platform", platform)  # type: ignore[attr-defined]
        monkeypatch.setattr(torch_engine, "has_gpu", lambda: gpu)

    return be


ON_CPU = "auto: no GPU, and torch is much faster than mlx on a CPU"
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
    if kind in ("tied output", "experts"):
        name = {"tied output": "lm_head", "experts": "model.layers.0.mlp.experts.3.up_proj"}[kind]
        parts = {
            f"base_model.model.{name}.lora_{letter}.weight": np.ones(shape, np.float32)
            for letter, shape in {"A": (4, 192), "B": (1536, 4)}.items()
        }
        return inspect_adapter(write_peft(folder / "peft", peft_config(), parts))
    return inspect_adapter(write_peft(folder / "peft", peft_config(**changed)))


def test_the_named_engine_is_taken(machine: Any, model: ModelFolder) -> None:
    machine(*MLX, *TORCH, gpu=True)
    assert choice.choose_engine("mlx", model, []) == ("mlx", "--engine mlx")


def test_a_missing_library_says_what_installs_it(machine: Any) -> None:
    machine(*MLX, "transformers")
    with pytest.raises(OptionError) as caught:
        choice.ready_engines("transformers")
    assert str(caught.value) == (
        "engine 'transformers' needs torch and peft, not installed here. Install with: "
        "pip install -r requirements-torch.txt -c constraints/torch.txt"
    )


def test_with_nothing_installed_both_ways_are_told(machine: Any) -> None:
    machine()
    with pytest.raises(OptionError) as caught:
        choice.ready_engines("auto")
    assert "engine 'mlx' needs mlx and mlx_lm, not installed here" in str(caught.value)
    assert "pip install -r requirements.txt" in str(caught.value)
    assert "; or engine 'transformers' needs torch and transformers and peft" in str(caught.value)


@pytest.mark.parametrize(("installed", "name"), [(MLX, "mlx"), (TORCH, "transformers")])
def test_auto_takes_the_only_one_installed(
    installed: tuple[str, ...], name: str, machine: Any, model: ModelFolder
) -> None:
    machine(*installed)
    assert choice.choose_engine("auto", model, []) == (name, "auto: the only one installed")


@pytest.mark.parametrize(
    ("kind", "platform", "gpu", "expected"),
    [
        ("mlx", "linux", False, ("transformers", ON_CPU)),
        ("peft", "linux", False, ("transformers", ON_CPU)),
        ("mlx", "linux", True, ("transformers", "auto: torch sees a GPU")),
        ("peft", "darwin", True, ("mlx", "auto: this is a Mac")),
        (
            "whole modules",
            "darwin",
            True,
            ("transformers", "auto: adapter peft cannot be converted for mlx"),
        ),
        (
            "tied output",
            "darwin",
            False,
            ("transformers", "auto: adapter peft cannot be converted for mlx"),
        ),
        (
            "experts",
            "darwin",
            False,
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
    assert choice.choose_engine("auto", model, [adapter(kind, tmp_path)]) == expected


@pytest.mark.parametrize("kind", ["tied output", "experts", "whole modules"])
def test_an_adapter_that_mlx_cannot_hold_is_refused_before_anything_is_loaded(
    kind: str, machine: Any, model: ModelFolder, tmp_path: Path
) -> None:
    machine(*MLX)
    own = adapter(kind, tmp_path)
    name, _ = choice.choose_engine("auto", model, [own])
    with pytest.raises(AdapterError) as caught:
        choice.require_fitting_adapters(name, model, [own])
    said = str(caught.value)
    assert said.startswith(f"{own.path} is a PEFT adapter and cannot be converted to MLX, which ")
    assert said.endswith("Use --engine transformers")
    choice.require_fitting_adapters("transformers", model, [own])


def test_adapters_that_need_two_engines_are_sent_into_two_runs(
    machine: Any, model: ModelFolder, tmp_path: Path
) -> None:
    machine(*MLX, *TORCH)
    both = [adapter(kind, tmp_path) for kind in ("full", "whole modules")]
    name, _ = choice.choose_engine("auto", model, both)
    assert name == "mlx"
    with pytest.raises(AdapterError) as caught:
        choice.require_fitting_adapters(name, model, both)
    assert str(caught.value) == (
        "no engine here can load all of these adapters, because they are of different kinds. "
        "Compare them in two runs:\n"
        f"  --engine mlx --model_adapter {both[0].path}\n"
        f"  --engine transformers --model_adapter {both[1].path}"
    )


def test_a_base_quantised_by_mlx_runs_on_mlx(machine: Any, model: ModelFolder) -> None:
    machine(*MLX, *TORCH, gpu=True)
    config = model.config | {"quantization": {"bits": 4, "group_size": 64}}
    quantised = dataclasses.replace(model, config=config)
    found = choice.choose_engine("auto", quantised, [])
    assert found == ("mlx", "auto: the base is quantised in MLX format")


def plain(model: ModelFolder) -> EngineSettings:
    return EngineSettings(model, "demo", {}, 24, 4, True)


def test_ray_is_no_engine_to_choose(machine: Any) -> None:
    machine(*MLX, "ray")
    with pytest.raises(OptionError, match="--engine ray: Ray generates nothing itself.*--workers"):
        choice.ready_engines("ray")


@pytest.mark.parametrize(
    ("given", "meant"),
    [("transfomers", "transformers"), ("mxl", "mlx"), ("Server", "server"), ("sglang", None)],
)
def test_an_unknown_engine_is_told_what_may_be_meant(given: str, meant: str | None) -> None:
    with pytest.raises(OptionError) as caught:
        choice.ready_engines(given)
    said = str(caught.value)
    assert f"unknown engine {given!r}" in said and "--engine" in said
    assert (f"did you mean {meant!r}?" in said) if meant else ("did you mean" not in said)
    offered = said.rpartition("one of ")[2].split(", ")
    assert set(offered) == {"auto", *engines.ENGINES} - {"ray"}


def test_one_worker_here_is_the_engine_itself(machine: Any, model: ModelFolder) -> None:
    machine(*MLX)
    assert choice.spread_over_workers("mlx", plain(model), 1, "") == ("mlx", plain(model))


@pytest.mark.parametrize(("n_workers", "address"), [(2, ""), (1, "10.0.0.1:6379")])
def test_several_workers_or_a_cluster_are_for_ray(
    n_workers: int, address: str, machine: Any, model: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(*MLX, "ray")
    monkeypatch.setattr(choice.os, "cpu_count", lambda: 2)  # type: ignore[attr-defined]
    name, told = choice.spread_over_workers("mlx", plain(model), n_workers, address)
    assert (name, told.spread) == ("ray", WorkerSettings("mlx", n_workers, address))
    assert dataclasses.replace(told, spread=None) == plain(model)


def test_workers_that_cannot_be_had_are_refused(
    machine: Any, model: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice.os, "cpu_count", lambda: 2)  # type: ignore[attr-defined]
    machine(*MLX, "ray")
    with pytest.raises(OptionError, match="--workers 3: this machine has only 2 cores"):
        choice.spread_over_workers("mlx", plain(model), 3, "")
    with pytest.raises(OptionError, match="--workers 2: engine 'server' runs on no workers"):
        choice.spread_over_workers("server", plain(model), 2, "")
    machine(*MLX)
    with pytest.raises(OptionError) as caught:
        choice.spread_over_workers("mlx", plain(model), 2, "")
    assert str(caught.value) == (
        "--workers 2 needs ray, not installed here. Install with: "
        "pip install -r requirements-ray.txt -c constraints/default.txt"
    )
