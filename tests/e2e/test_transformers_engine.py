"""Runs on the transformers engine, as a user starts them; skipped where torch is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.e2e.conftest import demo_options, main, outputs, run_process, summary, tables
from tests.load.lora_samples import peft_config, peft_tensors, write_peft

METRICS = {"predefined_tasks": "Correctness, Token F1", "judge": "offline", "limit": "1"}


def test_the_demo_gives_the_same_table_on_both_engines(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    for name in ("mlx", "transformers"):
        ended = run_process(
            *demo_options(tmp_path / name, engine=name, **METRICS), OMP_NUM_THREADS="1"
        )
        assert ended.code == 0, ended.err
    one, other = (
        {
            (case_id, variant): text
            for variant, own in outputs(tmp_path / name).items()
            for case_id, text in own.items()
        }
        for name in ("mlx", "transformers")
    )
    assert len(one) == 120
    differ = [key for key in one if one[key] != other[key]]
    assert differ == [], f"{len(differ)} of {len(one)} completions differ"
    assert tables(tmp_path / "transformers") == tables(tmp_path / "mlx")
    versions = summary(tmp_path / "transformers")["provenance"]["versions"]
    assert versions["engine"].startswith("transformers ")
    assert versions["engine chosen by"] == "--engine transformers"
    assert versions["adapter adapter"] == "MLX lora, rank 16, scale 4.0"


def test_an_adapter_without_effect_is_seen(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    tensors = peft_tensors(peft_config())
    zero = {name: np.zeros_like(value) for name, value in tensors.items() if "lora_B" in name}
    folder = write_peft(tmp_path / "zero", peft_config(), tensors | zero)
    out = tmp_path / "o"
    ended = run_process(
        *demo_options(out, engine="transformers", model_adapter=str(folder)), OMP_NUM_THREADS="1"
    )
    assert ended.code == 0, ended.err
    assert "the adapter changed no output: all 6 completions of zero equal" in ended.out


def test_without_torch_the_engine_says_what_to_install(tmp_path: Path) -> None:
    try:
        import peft  # noqa: F401
    except ImportError:
        ended = main(*demo_options(tmp_path / "o", engine="transformers"))
        assert ended.code == 2
        assert "pip install -r requirements-torch.txt -c constraints/torch.txt" in ended.err
    else:
        pytest.skip("torch and peft are installed")
