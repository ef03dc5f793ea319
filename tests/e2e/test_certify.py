"""`certify`: exit code 0 for a certified adapter alone, 3 for another, 2 for a mistake."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from demo import FOLDER
from tests.e2e.conftest import Ended, main
from tests.load.lora_samples import peft_config, peft_tensors, write_peft

Tensors = dict[str, np.ndarray]


def certify(*adapters: Path, **options: str) -> Ended:
    words = [word for path in adapters for word in ("--model_adapter", str(path))]
    words += [word for name, value in options.items() for word in (f"--{name}", value)]
    return main("certify", "--model_name", str(FOLDER / "model"), *words)


def spoiled(folder: Path, spoil: Callable[[Tensors], Tensors]) -> Path:
    shutil.copytree(FOLDER / "adapter", folder)
    file = folder / "adapters.safetensors"
    save_file(spoil(load_file(file)), file)
    return folder


def zero_b(tensors: Tensors) -> Tensors:
    return {k: v * (not k.endswith("lora_b")) for k, v in tensors.items()}


def half_renamed(tensors: Tensors) -> Tensors:
    layers = sorted({name.split(".")[2] for name in tensors})
    half = layers[: len(layers) // 2]
    return {
        k.replace("layers", "blocks") if k.split(".")[2] in half else k: v
        for k, v in tensors.items()
    }


def test_the_demos_adapter_is_certified(tmp_path: Path) -> None:
    ended = certify(FOLDER / "adapter")
    assert ended.code == 0, ended.err
    said = ended.out[ended.out.index("adapter: certified") :].splitlines()
    assert [line.split()[0] for line in said[1:]] == [
        *("files", "tensors", "weights", "effect", "noise", "random", "completions", "base"),
    ]
    assert "  tensors      24 of 24 loaded" in said
    assert "  base         unchanged afterwards: the same logits, bit for bit" in said


def test_several_are_certified_in_one_load_and_one_bad_one_decides(tmp_path: Path) -> None:
    ended = certify(FOLDER / "adapter", spoiled(tmp_path / "zero", zero_b))
    assert ended.code == 3
    assert "\nadapter: certified\n" in ended.out
    assert "\nzero: no effect\n" in ended.out
    assert "  weights      changed by a matrix of Frobenius norm 0\n" in ended.out
    assert "  completions  0 of 8 changed\n" in ended.out
    assert "\ncertify: 2 of 2 in " in ended.out  # both in one load


def test_a_half_renamed_adapter_is_partial_whatever_its_kind(tmp_path: Path) -> None:
    ended = certify(spoiled(tmp_path / "half", half_renamed))
    assert ended.code == 3, ended.err
    assert "\nhalf: partial: 12 of 24 tensors unused\n" in ended.out
    assert "unused: model.blocks." in ended.out
    tensors = peft_tensors(peft_config())
    names = {name: name.replace("layers.1.", "blocks.1.") for name in tensors}
    renamed = {names[name]: value for name, value in tensors.items()}
    n_lost = sum(name != names[name] for name in names)
    ended = certify(write_peft(tmp_path / "peft", peft_config(), renamed))
    assert ended.code == 3, ended.err
    assert f"\npeft: partial: {n_lost} of {len(tensors)} tensors unused\n" in ended.out


def test_the_users_own_cases_may_be_the_probes() -> None:
    ended = certify(FOLDER / "adapter", dataset_name=str(FOLDER / "cases.jsonl"))
    assert ended.code == 0, ended.err
    assert "  completions  8 of 8 changed\n" in ended.out


@pytest.mark.parametrize("missing", ["model_name", "model_adapter"])
def test_what_is_not_given_is_named(missing: str) -> None:
    given = {"model_name": str(FOLDER / "model"), "model_adapter": str(FOLDER / "adapter")}
    del given[missing]
    ended = main("certify", *(word for name, v in given.items() for word in (f"--{name}", v)))
    assert ended.code == 2
    assert ended.err == f"error: --{missing} must be given: an adapter and its base model\n"


def test_a_mistake_is_told_apart_from_a_certificate_that_does_not_hold(tmp_path: Path) -> None:
    ended = certify(spoiled(tmp_path / "lost", lambda tensors: dict(list(tensors.items())[:-1])))
    assert ended.code == 2
    assert "named in the config, missing from the file" in ended.err
