"""Files of model and adapter folders that are not what their names say."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from demo import FOLDER
from plugin.errors import AdapterError, ModelError
from plugin.load.adapter import inspect_adapter
from plugin.load.files import refuse_code
from plugin.load.model import find_model, inspect_model
from tests.load.lora_samples import peft_config, peft_tensors, write_peft

Spoil = Callable[[Path], None]


def dangling(path: Path) -> None:
    path.symlink_to("gone.bin")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def folder(path: Path) -> None:
    path.mkdir()


def pipe(path: Path) -> None:
    os.mkfifo(path)


def own_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path may have 107 bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(here)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(600_000_000)


SPOILT: list[tuple[Spoil, str]] = [
    (dangling, "a link to 'gone.bin', which cannot be reached (No such file or directory)"),
    (loop, "that leads back to itself"),
    (folder, "a folder, but it must be a plain file"),
    (pipe, "a named pipe, but it must be a plain file"),
    (own_socket, "a socket, but it must be a plain file"),
    (device, "a device, but it must be a plain file"),
]
IDS = [spoil.__name__ for spoil, _ in SPOILT]
MODEL_FILES = [
    "config.json",
    "model.safetensors",
    "model-00002-of-00002.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "chat_template.jinja",
]


@pytest.mark.parametrize("name", MODEL_FILES)
@pytest.mark.parametrize(("spoil", "said"), SPOILT, ids=IDS)
def test_a_models_files_must_be_plain_files(
    name: str, spoil: Spoil, said: str, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(FOLDER / "model", tmp_path / "model"))
    (model / name).unlink(missing_ok=True)
    spoil(model / name)
    with pytest.raises(ModelError) as caught:
        inspect_model(model)
    message = str(caught.value)
    assert message.startswith(f"{model / name}: ") and "\n" not in message
    assert f"{said}. Get the file again" in message


@pytest.mark.parametrize(
    "name", ["adapter_config.json", "adapter_model.safetensors", "tokenizer_config.json"]
)
@pytest.mark.parametrize("inside", ["", "checkpoint-20"])
@pytest.mark.parametrize(("spoil", "said"), SPOILT, ids=IDS)
def test_an_adapters_files_must_be_plain_files(
    name: str, inside: str, spoil: Spoil, said: str, tmp_path: Path
) -> None:
    adapter = write_peft(tmp_path / "tuned" / inside, peft_config(), peft_tensors(peft_config()))
    (adapter / name).unlink(missing_ok=True)
    spoil(adapter / name)
    if inside and name == "adapter_model.safetensors":
        return  # then it is no checkpoint of an adapter
    with pytest.raises(AdapterError) as caught:
        inspect_adapter(tmp_path / "tuned")
    message = str(caught.value)
    assert message.startswith(f"{adapter / name}: ") and "\n" not in message
    assert f"{said}. Get the file again" in message


@pytest.mark.parametrize(("spoil", "said"), [one for one in SPOILT if one[0] is not folder])
def test_a_folder_that_is_none_says_what_it_is(spoil: Spoil, said: str, tmp_path: Path) -> None:
    path = tmp_path / "model"
    spoil(path)
    own = said.removesuffix(", but it must be a plain file")
    with pytest.raises(ModelError, match="no directory but .*; --model_name takes a dir") as caught:
        inspect_model(path)
    assert own in str(caught.value)
    with pytest.raises(AdapterError, match="no directory but .*; check --model_adapter") as other:
        inspect_adapter(path)
    assert own in str(other.value)


def test_a_link_to_nothing_is_not_sought_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine").symlink_to("gone")
    assert find_model("mine") == Path("mine")


def test_links_to_good_files_are_followed(tmp_path: Path) -> None:
    """The hub's cache is made of links."""
    model = tmp_path / "model"
    model.mkdir()
    for file in (FOLDER / "model").iterdir():
        (model / file.name).symlink_to(file)
    assert inspect_model(model).digest == inspect_model(FOLDER / "model").digest


@pytest.mark.parametrize(
    ("name", "largest"), [("tokenizer.json", 500), ("config.json", 50), ("chat_template.jinja", 1)]
)
def test_a_file_far_too_large_is_not_read(name: str, largest: int, tmp_path: Path) -> None:
    model = Path(shutil.copytree(FOLDER / "model", tmp_path / "model"))
    (model / name).unlink(missing_ok=True)
    sparse(model / name)
    with pytest.raises(ModelError) as caught:
        inspect_model(model)
    assert str(caught.value) == (
        f"{model / name}: a file of 600 MB, but such a file has at most {largest} MB. Get the file "
        "again"
    )


def test_more_layers_than_tensors_are_refused(tmp_path: Path) -> None:
    model = Path(shutil.copytree(FOLDER / "model", tmp_path / "model"))
    config = (model / "config.json").read_text()
    assert '"num_hidden_layers": 4' in config
    (model / "config.json").write_text(config.replace('_layers": 4', '_layers": 1000000000'))
    with pytest.raises(ModelError, match="num_hidden_layers is 1000000000, but the model's files"):
        inspect_model(model)


def test_more_templates_must_be_plain_files_too(tmp_path: Path) -> None:
    model = Path(shutil.copytree(FOLDER / "model", tmp_path / "model"))
    (model / "additional_chat_templates").mkdir()
    pipe(model / "additional_chat_templates" / "tools.jinja")
    with pytest.raises(ModelError, match="additional_chat_templates/tools.jinja: a named pipe"):
        inspect_model(model)


def test_a_host_may_keep_what_it_likes(tmp_path: Path) -> None:
    model = Path(shutil.copytree(FOLDER / "model", tmp_path / "model"))
    dangling(model / "_tlab_provenance.json")
    inspect_model(model)


def test_advice_to_run_code_is_not_handed_on() -> None:
    said = "The repository x contains custom code. Please pass `trust_remote_code=True`"
    with pytest.raises(ModelError, match="This program never runs code from a model's folder"):
        refuse_code(Path("x"), said)
    refuse_code(Path("x"), "no such file")
