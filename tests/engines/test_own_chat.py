"""Adapters whose folder has a chat template, an end-of-text token or a tokenizer of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from demo import FOLDER
from plugin import engines
from plugin.engines import EngineSettings
from plugin.generate import make_prompts
from plugin.load.adapter import inspect_adapter
from plugin.load.chat_files import ChatFiles
from plugin.load.model import inspect_model
from plugin.records import Case, Completion, Message, Prompt, Variant

OWN = "{% for m in messages %}<<{{ m.role }}>> {{ m.content }}\n{% endfor %}<<answer>>"
CASES = [Case(str(i), (Message("user", text),)) for i, text in enumerate(("Who?", "Where?"))]


@pytest.fixture(params=["mlx", "transformers"])
def engine_name(request: pytest.FixtureRequest) -> str:
    if request.param == "transformers":
        pytest.importorskip("peft")
    return str(request.param)


def adapter(folder: Path, **files: Any) -> Path:
    """Copy the demo's adapter and add files, JSON where they are no text."""
    shutil.copytree(FOLDER / "adapter", folder)
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return folder


def model(folder: Path, **changed: Any) -> Path:
    shutil.copytree(FOLDER / "model", folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text()) | changed
    path.write_text(json.dumps({key: one for key, one in config.items() if one is not None}))
    return folder


def load(name: str, base: Path, chat_template: bool = True, **adapters: Path) -> Any:
    folders = {name: inspect_adapter(path) for name, path in adapters.items()}
    made = EngineSettings(inspect_model(base), "demo", folders, 24, 4, chat_template)
    return engines.load(name, made)


def ids_by_variant(engine: Any, *own: str) -> dict[str, list[tuple[int, ...]]]:
    variants = [
        Variant(name, name, "demo", own_chat=name in own)
        for name in ("vanilla", *engine._settings.adapters)
    ]
    found: dict[str, list[tuple[int, ...]]] = {}
    for prompt in make_prompts(CASES, variants, engine):
        found.setdefault(prompt.variant, []).append(prompt.token_ids)
    return found


def test_each_variant_is_prompted_with_its_own_template(engine_name: str, tmp_path: Path) -> None:
    engine = load(
        engine_name,
        FOLDER / "model",
        own=adapter(tmp_path / "own", chat_template__jinja=OWN),
        plain=FOLDER / "adapter",
        configured=adapter(tmp_path / "c", tokenizer_config__json={"chat_template": OWN}),
    )
    found = ids_by_variant(engine, "own", "configured")
    tokenizer = engine._tokenizer
    assert found["vanilla"] == found["plain"] == [engine.encode(one.messages) for one in CASES]
    assert found["own"] == found["configured"] != found["vanilla"]
    own = tokenizer.encode("<<user>> Who?\n<<answer>>", add_special_tokens=False)
    assert found["own"][0] == tuple(own)
    assert engine.notes == tuple(
        f"{name} is prompted with the chat template in its adapter's folder, the base with the "
        "base's own; a part of their difference may come from the prompts"
        for name in ("own", "configured")
    )


def test_a_template_that_only_the_adapter_has_is_used(engine_name: str, tmp_path: Path) -> None:
    base = model(tmp_path / "model", chat_template=None)
    own = adapter(tmp_path / "own", chat_template__jinja=OWN)
    engine = load(engine_name, base, own=own)
    found = ids_by_variant(engine, "own")
    assert found["own"] != found["vanilla"]
    none, note = engine.notes
    assert "has no chat template, so prompts are plain text" in none
    assert "the base with plain text: it has no chat template; a part" in note
    off = load(engine_name, base, chat_template=False, own=own)
    assert off.notes == () and ids_by_variant(off, "own")["own"] == found["vanilla"]


def test_the_bases_template_beside_the_adapter_changes_nothing(tmp_path: Path) -> None:
    base = inspect_model(FOLDER / "model")
    same = {"chat_template": base.chat.template, "eos_token": base.chat.eos_token}
    for name, files in {
        "same": {"tokenizer_config__json": same},
        "line": {"chat_template__jinja": f"{base.chat.template}\n"},
        "list": {
            "tokenizer_config__json": {
                "chat_template": [{"name": "default", "template": base.chat.template}]
            }
        },
        "token": {"tokenizer_config__json": {"eos_token": {"content": base.chat.eos_token}}},
        "none": {},
    }.items():
        own = inspect_adapter(adapter(tmp_path / name, **files)).own_chat(base)
        assert (own, bool(own)) == (ChatFiles(), False), name


def test_a_variant_also_stops_at_its_own_end_of_text(engine_name: str, tmp_path: Path) -> None:
    plain = load(engine_name, FOLDER / "model", tuned=FOLDER / "adapter")
    ids = plain.encode([Message("user", "Who plays Dinesh?")])

    def said(engine: Any, variant: str) -> tuple[int, ...]:
        prompts = [Prompt("0", variant, CASES[0].messages, ids)]
        (found,) = [one for step in engine.generate(prompts) for one in step]
        assert isinstance(found, Completion)
        return found.token_ids

    usual, base = said(plain, "tuned"), said(plain, "vanilla")
    token = plain._tokenizer.convert_ids_to_tokens(usual[2])
    place = usual.index(usual[2])
    own = adapter(tmp_path / "tuned", tokenizer_config__json={"eos_token": token})
    engine = load(engine_name, FOLDER / "model", tuned=own)
    assert said(engine, "tuned") == usual[:place]
    assert said(engine, "vanilla") == base
    assert engine.notes == (
        "the folder of adapter tuned names another end-of-text token than the base's, so tuned "
        "also stops there",
    )
    unknown = adapter(tmp_path / "unknown", tokenizer_config__json={"eos_token": "<|zork|>"})
    engine = load(engine_name, FOLDER / "model", tuned=unknown)
    assert (said(engine, "tuned"), engine.notes) == (usual, ())


def test_probes_are_prompts_as_the_adapter_knows_them(tmp_path: Path) -> None:
    from plugin.journal import Journal
    from plugin.proofs import certify_adapters
    from plugin.worker import Progress

    engine = load("mlx", FOLDER / "model", own=adapter(tmp_path / "own", chat_template__jinja=OWN))
    variants = [
        Variant("vanilla", "v", "demo"),
        Variant("own", "o", "demo", adapter_path="own", own_chat=True),
    ]
    prompts = make_prompts(CASES, variants, engine)
    asked: list[Prompt] = []
    certify = engine.certify
    engine.certify = lambda name, probes, tell: asked.extend(probes) or certify(name, probes, tell)
    journal = Journal(tmp_path)
    certify_adapters(variants, prompts, engine, journal, Progress())
    assert asked == [prompt for prompt in prompts if prompt.variant == "own"]
    journal.close()


def test_another_vocabulary_beside_the_adapter_is_told(tmp_path: Path) -> None:
    content = json.loads((FOLDER / "model" / "tokenizer.json").read_text())
    same = adapter(tmp_path / "same", tokenizer__json=content)
    added = {**content["added_tokens"][0], "id": 1536, "content": "<|im_end|>"}
    content["added_tokens"].append(added)
    other = adapter(tmp_path / "other", tokenizer__json=content)
    engine = load("mlx", FOLDER / "model", same=same, other=other)
    probes = [Prompt("0", "vanilla", (), engine.encode(CASES[0].messages))]
    assert "tokenizer" not in str(engine.certify("same", probes).notes)
    assert engine.certify("other", probes).notes[-1] == (
        "the tokenizer in the folder of other has 1 token that the base's lacks or numbers "
        "differently ('<|im_end|>'); the base's tokenizer is used for both"
    )


def test_a_broken_template_names_the_adapters_folder(engine_name: str, tmp_path: Path) -> None:
    from plugin.errors import ModelError

    own = adapter(tmp_path / "own", chat_template__jinja="{{ 1 / 0 }}")
    engine = load(engine_name, FOLDER / "model", own=own)
    engine.encode(CASES[0].messages)
    with pytest.raises(ModelError, match=f"{own}: its chat template fails on these turns"):
        engine.encode(CASES[0].messages, "own")
