"""A base in 4 bits: refused where it cannot be, run where bitsandbytes is installed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo import FOLDER
from plugin import engines
from plugin.engines import EngineSettings, choice
from plugin.engines.choice import choose_engine
from plugin.errors import OptionError
from plugin.load.adapter import inspect_adapter
from plugin.load.model import ModelFolder, inspect_model
from plugin.records import Message, Prompt
from tests.e2e.conftest import demo_options, main, summary
from tests.load.lora_samples import peft_config, write_peft

LIBRARIES = ("mlx", "mlx_lm", "torch", "transformers", "peft", "bitsandbytes", "accelerate")


@pytest.fixture
def model() -> ModelFolder:
    return inspect_model(FOLDER / "model")


def install(monkeypatch: pytest.MonkeyPatch, *libraries: str) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda name: object() if name in libraries else None)


def refusal(*arguments: Any) -> str:
    with pytest.raises(OptionError) as caught:
        choose_engine(*arguments, [], True)
    return str(caught.value)


def test_mlx_is_told_another_way(model: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, *LIBRARIES)
    message = refusal("mlx", model)
    assert message.startswith("--load_4bit true: the engine 'mlx' ")
    assert "--model_name (mlx_lm.convert -q makes one)" in message
    assert message.endswith("--engine transformers")


def test_auto_takes_the_engine_that_can(
    model: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, *LIBRARIES)
    assert choose_engine("auto", model, [], True) == ("transformers", "--load_4bit")


def test_without_bitsandbytes_it_says_what_to_install(
    model: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, *LIBRARIES[:-2])
    message = refusal("transformers", model)
    assert message.startswith("--load_4bit true needs bitsandbytes and accelerate, not installed")
    assert message.endswith("pip install -r requirements-4bit.txt -c constraints/torch.txt")


@pytest.mark.parametrize(
    ("key", "words"), [("quantization", "in MLX format"), ("quantization_config", "already")]
)
def test_a_quantised_base_is_not_quantised_again(
    key: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, *LIBRARIES)
    path = Path(shutil.copytree(FOLDER / "model", tmp_path / "model"))
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, key: {"bits": 4}}))
    assert refusal("auto", inspect_model(path)) == (
        f"--load_4bit true: {path} is quantised {words}; leave --load_4bit out"
    )


def test_adapters_work_on_a_base_in_4_bits(model: ModelFolder, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    adapters = {
        "tuned": inspect_adapter(FOLDER / "adapter"),
        "dora": inspect_adapter(write_peft(tmp_path / "dora", peft_config(use_dora=True))),
    }
    settings = EngineSettings(model, "demo", adapters, 8, 4, True, load_4bit=True)
    engine: Any = engines.load("transformers", settings)
    turns = (Message("user", "Who plays Dinesh?"),)
    prompt = Prompt("0", "vanilla", turns, engine.encode(turns))
    kind = type(engine._model.model.layers[0].mlp.up_proj).__name__
    assert kind == "Linear4bit"

    def said(variant: str) -> tuple[int, ...]:
        steps = engine.generate([replace(prompt, variant=variant)])
        (found,) = [one for step in steps for one in step]
        return tuple(found.token_ids)

    before = said("vanilla")
    for name in adapters:
        found = engine.certify(name, [prompt])
        assert (found.result, found.unused) == ("certified", ())
    assert said("tuned") != before == said("vanilla")
    assert len(dict(engine._switch._tensors())) == len(engine._switch._base)
    engine.close()


def test_a_run_says_that_its_base_was_in_4_bits(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    out = tmp_path / "o"
    ended = main(*demo_options(out, engine="transformers", load_4bit="true"), OMP_NUM_THREADS="1")
    assert ended.code == 0, ended.err
    assert (
        "4-bit NF4 in bfloat16 by bitsandbytes " in summary(out)["provenance"]["versions"]["engine"]
    )
