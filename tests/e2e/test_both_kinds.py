"""The demo's adapter as MLX and as PEFT saves it: one verdict, whatever the engine.

The same through an inference server and through Ray stands in test_server_engine and test_workers.
"""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from demo import FOLDER
from plugin.load.adapter import inspect_adapter
from plugin.load.convert import to_peft
from tests.e2e.conftest import demo_options, main, run_process, tables

METRICS = {"predefined_tasks": "Correctness, Token F1", "judge": "offline", "limit": "0.5"}
N_LAYERS = 4


@pytest.fixture(scope="module")
def as_peft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The adapter converted, under its own name."""
    folder = tmp_path_factory.mktemp("peft") / "adapter"
    folder.mkdir()
    to_peft(inspect_adapter(FOLDER / "adapter"), N_LAYERS, folder)
    return folder


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("mlx") / "run"
    ended = main(*demo_options(out, engine="mlx", **METRICS))
    assert ended.code == 0, ended.err
    return tables(out)


@pytest.mark.parametrize("engine", ["mlx", "transformers"])
def test_a_converted_adapter_gives_the_same_verdict(
    engine: str, as_peft: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    if engine == "transformers" and not find_spec("peft"):
        pytest.skip("torch and peft are not installed")
    out = tmp_path / "run"
    start = run_process if engine == "transformers" else main
    ended = start(
        *demo_options(out, engine=engine, model_adapter=str(as_peft), **METRICS),
        OMP_NUM_THREADS="1",
    )
    assert ended.code == 0, ended.err
    assert "Adapter adapter: certified. 24 of 24 tensors loaded" in ended.out
    assert tables(out) == expected


def test_converted_back_every_bit_is_the_same(as_peft: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    from plugin.load.convert import to_mlx

    folder = inspect_adapter(Path(shutil.copytree(as_peft, tmp_path / "adapter")))
    own = load_file(FOLDER / "adapter" / "adapters.safetensors")
    modules = {name.rpartition(".")[0] for name in own}
    into = tmp_path / "back"
    into.mkdir()
    back = load_file(to_mlx(folder, modules, into).weights_path)
    assert back.keys() == own.keys()
    assert all((back[name] == own[name]).all() for name in own)
