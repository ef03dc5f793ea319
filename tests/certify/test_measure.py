"""The measures of the effect certificate, against numpy and scipy, and what follows from them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy.special import log_softmax
from scipy.stats import entropy

from demo import FOLDER
from plugin.certify.certificate import (
    Certificate,
    certificate_from_fields,
    not_applicable,
)
from plugin.certify.effect import Distance
from plugin.certify.measure import logit_distance, require_same_files
from plugin.certify.weights import weight_norm
from plugin.errors import AdapterError
from plugin.load.adapter import inspect_adapter
from plugin.load.fit import base_model_notes
from plugin.load.model import ModelFolder
from tests.load.lora_samples import peft_config, peft_tensors, write_peft

WHOLE = Certificate(
    "tuned",
    adapter_digest="d",
    n_tensors=24,
    weight_norm=3.0,
    n_probes=8,
    effect=Distance(0.5, 4.0),
    noise=Distance(1e-9, 1e-5),
    base_proof="the same logits, bit for bit",
    n_completions=60,
    n_changed=58,
)


def test_the_distance_is_scipys_mean_divergence_and_the_largest_change() -> None:
    random = np.random.default_rng(0)
    first = [random.normal(size=(n, 50)).astype(np.float32) * 3 for n in (8, 5)]
    second = [logits + random.normal(size=logits.shape).astype(np.float32) for logits in first]
    rows = [(p, q) for a, b in zip(first, second, strict=True) for p, q in zip(a, b, strict=True)]
    expected = np.mean([entropy(*np.exp([log_softmax(p), log_softmax(q)])) for p, q in rows])
    found = logit_distance(first, second)
    assert found.kl == pytest.approx(expected, rel=1e-5)
    assert found.largest == pytest.approx(max(np.abs(p - q).max() for p, q in rows))
    assert logit_distance(first, first) == (0.0, 0.0)


def test_a_token_that_is_ruled_out_says_nothing_of_the_distance() -> None:
    random = np.random.default_rng(1)
    first = random.normal(size=(4, 20)).astype(np.float32)
    second = first + random.normal(size=first.shape).astype(np.float32)
    masked = [np.hstack([x, np.full((4, 3), -np.inf, np.float32)]) for x in (first, second)]
    assert logit_distance(masked[:1], masked[1:]) == pytest.approx(
        logit_distance([first], [second])
    )


def test_zero_parts_beside_others_do_not_tell_the_effect(tmp_path: Path) -> None:
    zero = {name: value * ("lora_A" in name) for name, value in peft_tensors(peft_config()).items()}
    assert weight_norm(inspect_adapter(write_peft(tmp_path / "z", peft_config(), zero))) == 0
    whole = {"base_model.model.model.norm.weight": np.ones(192, np.float32)}
    config = peft_config(modules_to_save=["model.norm"])
    folder = inspect_adapter(write_peft(tmp_path / "w", config, zero | whole))
    assert weight_norm(folder) is None


def test_the_norm_is_that_of_the_whole_product(tmp_path: Path) -> None:
    tensors = load_file(FOLDER / "adapter" / "adapters.safetensors")
    scale = json.loads((FOLDER / "adapter" / "adapter_config.json").read_text())["lora_parameters"][
        "scale"
    ]
    parts = [
        scale * tensors[name] @ tensors[name.replace("lora_a", "lora_b")]
        for name in tensors
        if name.endswith("lora_a")
    ]
    expected = np.sqrt(sum(float((part**2).sum()) for part in parts))
    assert weight_norm(inspect_adapter(FOLDER / "adapter")) == pytest.approx(expected, rel=1e-5)
    config = peft_config(use_rslora=True)
    peft = peft_tensors(config)
    factor = config["lora_alpha"] / np.sqrt(config["r"])
    total = sum(
        float(((factor * peft[name.replace("lora_A", "lora_B")] @ peft[name]) ** 2).sum())
        for name in peft
        if "lora_A" in name
    )
    folder = inspect_adapter(write_peft(tmp_path / "p", config, peft))
    assert weight_norm(folder) == pytest.approx(np.sqrt(total), rel=1e-5)


@pytest.mark.parametrize(
    ("changed", "result"),
    [
        ({}, "certified"),
        ({"unused": tuple("abcdefghijkl"), "n_tensors": 224}, "partial: 12 of 224 tensors unused"),
        ({"weight_norm": 0.0}, "no effect"),
        ({"effect": Distance(2e-9, 2e-5)}, "no effect"),
        ({"effect": Distance(0.5, 2e-5)}, "no effect"),
        ({"n_changed": 0}, "no effect"),
        ({"n_changed": 2, "n_self_changed": 2}, "no effect"),
        ({"base_proof": "", "unused": ("a",)}, "base disturbed"),
        ({"weight_norm": None, "effect": None, "noise": None}, "certified"),
    ],
)
def test_what_follows(changed: dict[str, object], result: str) -> None:
    found = replace(WHOLE, **changed)  # type: ignore[arg-type]
    assert found.result == result
    assert found.holds == (result == "certified")
    assert certificate_from_fields(json.loads(json.dumps(asdict(found)))) == found


def test_where_none_applies_nothing_is_held_against_it() -> None:
    found = not_applicable("recorded", "its completions were made elsewhere")
    assert (found.result, found.holds) == ("not applicable", True)


def test_files_that_changed_under_the_run_are_refused(tmp_path: Path) -> None:
    folder = inspect_adapter(write_peft(tmp_path / "p", peft_config()))
    assert require_same_files(folder) == folder.digest
    config = folder.root / "adapter_config.json"
    config.write_text(config.read_text() + "\n")
    with pytest.raises(AdapterError) as caught:
        require_same_files(folder)
    assert str(caught.value) == (
        f"{tmp_path / 'p'} changed while the run was reading it; start again when its training has "
        "ended"
    )


@pytest.mark.parametrize(
    ("named", "given", "path", "noted"),
    [
        ("meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-1B", "/hub/x", False),
        ("/home/me/Llama-3.2-1B/", "meta-llama/Llama-3.2-1B", "/hub/x", False),
        (
            "meta-llama/Llama-3.2-1B",
            "base",
            "/c/models--meta-llama--Llama-3.2-1B/snapshots/0",
            False,
        ),
        ("meta-llama/Llama-3.2-1B-Instruct", "meta-llama/Llama-3.2-1B", "/hub/x", True),
        (None, "anything", "/hub/x", False),
    ],
)
def test_another_base_name_is_noted(
    named: str | None, given: str, path: str, noted: bool, tmp_path: Path
) -> None:
    config = peft_config(base_model_name_or_path=named)
    model = ModelFolder(Path(path), "", "", {})
    notes = base_model_notes(inspect_adapter(write_peft(tmp_path / "p", config)), model, given)
    assert bool(notes) == noted
    if noted:
        assert notes[0].startswith(
            f"p says that it was trained on {named!r}, but the base model is {given!r}: "
        )
