"""Whole fine-tuned models and a prompted base, compared with the base."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from demo import FOLDER
from tests.e2e.conftest import demo_options, main, outputs, summary

MODEL, ADAPTER = FOLDER / "model", FOLDER / "adapter"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A model whose weights differ in one row, and whose answers do not."""
    folder = Path(shutil.copytree(MODEL, tmp_path / "copy"))
    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"][-1] *= np.float32(1.0001)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture
def fused(tmp_path: Path) -> Path:
    """The demo's adapter, merged into the demo's model."""
    folder = Path(shutil.copytree(MODEL, tmp_path / "fused"))
    weights = load_file(folder / "model.safetensors")
    parts = load_file(ADAPTER / "adapters.safetensors")
    config = json.loads((ADAPTER / "adapter_config.json").read_text())
    for name in parts:
        if name.endswith(".lora_a"):
            module = name.removesuffix(".lora_a")
            added = parts[name] @ parts[f"{module}.lora_b"]
            weights[f"{module}.weight"] += config["lora_parameters"]["scale"] * added.T
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def refused(out: Path, **changed: str) -> str:
    ended = main(*demo_options(out, **changed))
    assert ended.code == 2, (ended.code, ended.err)
    return ended.err.removeprefix("error: ").strip()


def test_a_fused_model_answers_as_its_adapter(fused: Path, copy: Path, tmp_path: Path) -> None:
    out = tmp_path / "o"
    ended = main(*demo_options(out, tuned_model=str(fused)), "--tuned_model", str(copy))
    assert ended.code == 0, ended.err
    said, found = outputs(out), summary(out)
    assert set(said) == {"vanilla", "adapter", "fused", "copy"}
    assert said["fused"] == said["adapter"] != said["vanilla"] == said["copy"]
    assert "(highest mean of 3 variants)" in found["verdict"]["sentence"]
    results = {row["variant"]: row for row in found["certificates"]}
    assert [results[name]["result"] for name in ("adapter", "fused", "copy")] == [
        *("certified", "not applicable", "not applicable"),
    ]
    assert results["fused"]["reason"] == "a whole model, loaded by itself"
    assert results["fused"]["n_changed"] > 0
    assert found["warnings"] == [
        "all 6 completions of copy equal the baseline's: there is nothing to compare. Check that "
        "you named the right model"
    ]
    assert "certified" not in found["verdict"]["sentence"]
    prompts = found["provenance"]["prompts"]
    assert found["provenance"]["other_prompts"] == {"fused": prompts, "copy": prompts}
    assert {v["name"]: v["model"] for v in found["variants"]}["fused"] == str(fused)


def test_it_is_resumed_and_a_changed_model_is_told(fused: Path, tmp_path: Path) -> None:
    out = tmp_path / "o"
    options = {"tuned_model": str(fused), "model_adapter": ""}
    assert main(*demo_options(out, **options)).code == 0
    before = summary(out)
    assert [v["name"] for v in before["variants"]] == ["vanilla", "fused"]
    resumed = main("resume", str(out))
    assert resumed.code == 0 and "12 completions and 12 scores are there" in resumed.out
    assert summary(out)["comparisons"] == before["comparisons"]
    config = json.loads((fused / "config.json").read_text())
    (fused / "config.json").write_text(json.dumps({**config, "rope_theta": 9999.0}))
    message = refused(out, **options)
    assert "holds another run: the tuned models' files changed. Change that back" in message


def test_another_chat_template_is_warned_of(fused: Path, tmp_path: Path) -> None:
    config = json.loads((fused / "tokenizer_config.json").read_text())
    config["chat_template"] = config["chat_template"].replace("| trim", "| trim + '!'")
    (fused / "tokenizer_config.json").write_text(json.dumps(config))
    out = tmp_path / "o"
    ended = main(*demo_options(out, tuned_model=str(fused)))
    assert ended.code == 0, ended.err
    (warning,) = summary(out)["warnings"]
    assert warning.startswith("the prompts of fused have other token ids than those of vanilla (")
    assert "tokenizers or chat templates differ" in warning


def test_a_fused_model_alone_has_scores_and_no_verdict(fused: Path, tmp_path: Path) -> None:
    out = tmp_path / "o"
    options = {"variants": "adapter only", "model_adapter": "", "tuned_model": str(fused)}
    ended = main(*demo_options(out, **options))
    assert ended.code == 0, ended.err
    found = summary(out)
    assert [v["name"] for v in found["variants"]] == ["fused"]
    assert found["verdict"]["outcome"] is None and found["warnings"] == []


def test_models_that_cannot_be_compared(copy: Path, tmp_path: Path) -> None:
    out = tmp_path / "o"
    same = Path(shutil.copytree(MODEL, tmp_path / "same"))
    assert refused(out, tuned_model=str(same)) == (
        f"{same}: the same weights as the base model {MODEL}, so there is nothing to compare; "
        "check --tuned_model and --model_name"
    )
    assert refused(out, tuned_model=str(ADAPTER)) == (
        f"{ADAPTER}: its name 'adapter' is also the name of {ADAPTER}; names must differ, so "
        "rename the folder or give it through a link with another name"
    )
    assert "but there is an adapter: give it as --model_adapter" in refused(
        out, tuned_model=str(ADAPTER), model_adapter=""
    )
    nowhere = tmp_path / "nowhere"
    assert refused(out, tuned_model=str(nowhere)) == (
        f"{nowhere}: no such directory; --tuned_model takes a directory or a hub id"
    )
    for name in ("vanilla", "prompted", "all", "data set"):
        (tmp_path / name).symlink_to(copy)
        message = refused(out, tuned_model=str(tmp_path / name))
        assert message.startswith(f"{tmp_path / name}: its name {name!r} is ")
    assert refused(out, tuned_model=str(copy), variants="adapter only") == (
        "--variants 'adapter only' takes one adapter or fine-tuned model, got 2; several are "
        "compared through the base: choose --variants 'vanilla and adapter'"
    )


def test_a_prompt_alone_is_compared_with_the_base(tmp_path: Path) -> None:
    out = tmp_path / "o"
    ended = main(*demo_options(out, model_adapter="", baseline_prompt="Name the person."))
    assert ended.code == 0, ended.err
    found = summary(out)
    assert [v["name"] for v in found["variants"]] == ["vanilla", "prompted"]
    assert found["certificates"] == []
    (row,) = (r for r in found["comparisons"] if r["group"] == "all")
    assert (row["variant"], row["baseline"]) == ("prompted", "vanilla")
    assert "no adapter given, but --variants is 'adapter only'" in refused(
        tmp_path / "p", model_adapter="", baseline_prompt="Be.", variants="adapter only"
    )
