from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.inference_server import DemoModel, InferenceServer, inference_server
from tests.judge_server import JudgeServer, judge_server

os.environ["DEEPEVAL_TELEMETRY_OPT_OUT"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

ROOT = Path(__file__).resolve().parent.parent


def built_plugin(folder: Path, host: str = "classic") -> Path:
    """What `make plugin` builds for a host, made in the folder."""
    # -o: the environment that runs the tests is there already, so make must not build another.
    command = ["make", "-o", ".venv/.default", "plugin", f"PY={sys.executable}", f"DIST={folder}"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=600, stdout=subprocess.DEVNULL)
    return folder / host / "finetune_verdict"


@pytest.fixture(autouse=True, scope="module")
def _streams() -> None:
    """Whoever closed an mlx engine in this thread took its streams away for good."""
    if "mlx.core" in sys.modules:
        from plugin.engines.mlx import _open_streams

        _open_streams()


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with judge_server() as running:
        yield running


@pytest.fixture(scope="session")
def demo_model() -> Iterator[DemoModel]:
    """Loaded once; most tests never ask for it."""
    with closing(DemoModel()) as model:
        yield model


@pytest.fixture
def inference(demo_model: DemoModel) -> Iterator[InferenceServer]:
    with inference_server(demo_model) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        *("OPENAI_API_KEY", "OPENAI_API_VERSION", "CUSTOM_JUDGE_API_KEY", "CUSTOM_JUDGE_BASE_URL"),
        *("AZURE_OPENAI_API_KEY", "AZURE_OPENAI_ENDPOINT", "ANTHROPIC_API_KEY"),
        *("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "INFERENCE_API_KEY", "RIVAL_API_KEY"),
        *("OLLAMA_HOST", "LOCAL_JUDGE_BASE_URL", "FINETUNE_VERDICT_CACHE"),
    ):
        monkeypatch.delenv(name, raising=False)
