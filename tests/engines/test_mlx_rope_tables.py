"""What mlx-lm's architectures read of a rotary embedding, checked against the installed mlx-lm."""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib import import_module
from inspect import getsource, signature
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

import mlx_lm.models
import pytest

from plugin.engines import _mlx_rope as rope
from plugin.errors import ModelError

THETA = 123456.0
LINEAR = {"rope_type": "linear", "factor": 8.0}


def _names_taken(text: str) -> set[str]:
    """Return the files that `from . import` names."""
    return {name for line in re.findall(r"from \. import (.+)", text) for name in line.split(", ")}


@cache
def sources() -> dict[str, str]:
    """Return architecture -> the text of its file in mlx-lm and of those that it takes parts of."""
    sys.modules.setdefault("hf_olmo", ModuleType("hf_olmo"))  # mlx-lm's olmo ends Python without
    names = [module.name for module in iter_modules(mlx_lm.models.__path__)]
    texts = {name: getsource(import_module(f"mlx_lm.models.{name}")) for name in names}
    taken = {
        name: {*re.findall(r"from \.(\w+) import", text), *_names_taken(text)}
        for name, text in texts.items()
    }
    return {
        name: "\n".join(
            [
                text,
                *(texts[one] for one in sorted(taken[name] & texts.keys()) if one != "rope_utils"),
            ]
        )
        for name, text in texts.items()
        if "ModelArgs" in text and "class Model" in text or "import Model" in text
    }


@cache
def readers() -> dict[str, rope.ConfigReader]:
    """Return "file.class" -> the reader, for every class of mlx-lm that reads a configuration."""
    found = {}
    for name in sources():
        module = import_module(f"mlx_lm.models.{name}")
        for kind in ("ModelArgs", "TextArgs", "TextConfig", "TextModelArgs"):
            own = getattr(module, kind, None)
            if own is not None and own.__module__ == module.__name__:
                keys = frozenset(signature(own).parameters)
                found[f"{name}.{kind}"] = rope.ConfigReader(name, keys)
    return found


NOT_CONCERNED = {
    "compress_rope_theta": "of deepseek_v41, which transformers does not have",
    "global_partial_rotary_factor": "of gemma4_text, which reads it nowhere",
    "indexer_rope_interleave": "an order of dimensions; one name in both spellings",
    "layer_rope_theta": "a list of its own in both spellings",
    "no_rope_layer_interval": "which layers turn; one name in both spellings",
    "no_rope_layers": "which layers turn; one name in both spellings",
    "qk_rope_head_dim": "counts dimensions; one name in both spellings",
    "rope_interleave": "an order of dimensions; one name in both spellings",
    "rope_position_scale": "of phi3small, which transformers does not have",
    "rope_traditional": "mlx's own; no file of transformers has it",
}
CONCERNED = {
    *(*rope.THETA_KEYS, *rope.LOCAL_THETA_KEYS, *rope.PARTIAL_KEYS),
    *("rope_scaling", "rope_parameters", "original_max_position_embeddings"),
    *("partial_rotary_factors", "yarn_only_types"),
}


def test_every_key_of_mlx_lm_about_rotary_embeddings_is_known() -> None:
    about = re.compile("rope|rotary|original_max_position|yarn|theta|local_base")
    found = {key for reader in readers().values() for key in reader.keys if about.search(key)}
    assert len(sources()) > 100
    assert found == CONCERNED | NOT_CONCERNED.keys()


def test_every_reader_of_the_new_spelling_stands_in_one_table() -> None:
    found = {
        reader.architecture for reader in readers().values() if "rope_parameters" in reader.keys
    }
    assert found == rope.PER_LAYER | rope.ONLY_NEW | rope.BOTH
    assert not rope.PER_LAYER & rope.ONLY_NEW and not rope.BOTH & (rope.PER_LAYER | rope.ONLY_NEW)


def test_every_architecture_with_an_inner_text_model_has_its_reader() -> None:
    own = {name: getsource(import_module(f"mlx_lm.models.{name}")) for name in sources()}
    named = {name for name, text in own.items() if "text_config" in text}
    inherits = {"prism_hadamard_qwen35"}
    assert named | inherits == rope.TEXT_READERS.keys()
    for reader in rope.TEXT_READERS.values():
        assert reader in readers()


def test_what_the_tables_say_of_scaling_is_so() -> None:
    """Whoever uses `rope_scaling` hands it to mlx-lm's `initialize_rope`, or has a row."""
    uses = re.compile(r"(args|config)\.rope_scaling")
    for reader in readers().values():
        name, text = reader.architecture, sources()[reader.architecture]
        if "rope_scaling" not in reader.keys or name in rope.WITHOUT_ROPE:
            continue
        if name in rope.IGNORES_SCALING:
            assert not uses.search(text), name
        elif name not in rope.OWN_SCALING:
            assert "initialize_rope(" in text, name
            assert uses.search(text) or "rope_scaling = self.rope_parameters" in text, name
    for name in rope.WITHOUT_ROPE:
        own = getsource(import_module(f"mlx_lm.models.{name}"))
        assert not re.search(r"RoPE\(|rope\(", own), name


def test_every_architecture_reads_a_base_or_refuses_it() -> None:
    """No base other than mlx's own is lost in silence."""
    refused = set()
    for name, reader in readers().items():
        told = {"rope_theta": THETA, "rope_type": "default"}
        given = {"full_attention": told} if reader.architecture in rope.PER_LAYER else told
        config = {"rope_parameters": given, "attn_config": {}, "num_hidden_layers": 1}
        try:
            changes = rope.rope_changes(config, reader)
        except ModelError as error:
            assert "rope_parameters.rope_theta: 123456.0" in str(error)
            refused.add(name.partition(".")[0])
            continue
        is_native = "rope_parameters" in reader.keys or reader.architecture in rope.WITHOUT_ROPE
        assert is_native or "123456.0" in str(changes) or "text_config" in reader.keys, name
    wrapped = {name for name in rope.TEXT_READERS if name in refused}
    text = {name: getsource(import_module(f"mlx_lm.models.{name}")) for name in refused - wrapped}
    for name, own in text.items():
        base = re.search(r"base=(?!10000)\S*(theta|base|constant)", own)
        assert base is None, name
    assert refused - wrapped == {"gptj", "phixtral", "plamo2", "qwen", "recurrent_gemma"}


def test_the_defaults_of_transformers_are_read_or_refused_for_a_known_reason() -> None:
    from mlx_lm.utils import MODEL_REMAPPING
    from transformers import CONFIG_MAPPING

    refused, n_read = {}, 0
    vision = {"pixtral"}  # transformers gives this name to the part that sees
    for kind in sorted({*sources(), *MODEL_REMAPPING} & {*CONFIG_MAPPING} - vision):
        config = CONFIG_MAPPING[kind]().to_dict()
        name = MODEL_REMAPPING.get(kind, kind)
        text = config.get("text_config") or config
        inner = rope.text_reader(name, text) if text is not config else None
        reader = readers().get(inner or f"{name}.ModelArgs")
        if reader is None or not text.get("rope_parameters"):
            continue
        n_read += 1
        try:
            changes = rope.rope_changes(text, reader)
        except ModelError as error:
            refused[kind] = str(error).partition(", but")[0]
            continue
        theta = text["rope_parameters"].get("rope_theta")
        native = "rope_parameters" in reader.keys
        assert native or theta in (None, 1e4) or theta in changes.values(), kind
    assert n_read > 60
    assert refused == {"glm": "config.json says rope_parameters.partial_rotary_factor: 0.5"}


FULL, WINDOW = "full_attention", "sliding_attention"
PLAIN = {"rope_theta": THETA, "rope_type": "default"}
SCALED = {"rope_theta": THETA, **LINEAR}
YARN = {"rope_theta": THETA, "rope_type": "yarn", "factor": 4}


@pytest.mark.parametrize(
    ("reader", "config", "said"),
    [
        ("qwen3_moe", {"rope_parameters": YARN}, "rope_parameters.rope_type: 'yarn'"),
        ("gemma2", {"rope_parameters": SCALED}, "rope_parameters.rope_type: 'linear'"),
        ("lfm2", {"rope_parameters": YARN}, "rope_parameters.rope_type: 'yarn'"),
        ("llama", {"rope_parameters": {**PLAIN, "partial_rotary_factor": 0.5}}, "factor: 0.5"),
        ("llama", {"rope_parameters": {FULL: SCALED, WINDOW: PLAIN}}, f"rope_parameters.{WINDOW}"),
        ("olmo3", {"rope_parameters": {FULL: PLAIN, WINDOW: {"rope_theta": 1e4}}}, WINDOW),
        ("gemma3_text", {"rope_parameters": {FULL: PLAIN, WINDOW: SCALED}}, f"{WINDOW}.rope_type"),
        (
            "mimo_v2_flash",
            {"rope_parameters": {FULL: PLAIN, WINDOW: {"partial_rotary_factor": 0.5}}},
            "factor: 0.5",
        ),
        ("mellum", {"rope_parameters": {FULL: SCALED}}, f"{FULL}.rope_type: 'linear'"),
        ("mellum", {"rope_parameters": {FULL: {"partial_rotary_factor": 0.5}}}, "factor: 0.5"),
        ("laguna", {"rope_theta": THETA}, "rope_theta: 123456.0"),
        ("laguna", {"rope_parameters": PLAIN}, "rope_parameters: {"),
        (
            "hunyuan_v1_dense",
            {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}},
            "without alpha",
        ),
        ("llama", {"rope_parameters": 7}, "rope_parameters: 7"),
    ],
)
def test_what_an_architecture_has_no_place_for_is_refused(
    reader: str, config: dict[str, Any], said: str
) -> None:
    with pytest.raises(ModelError, match=f"architecture {reader}.*--engine transformers") as caught:
        rope.rope_changes(config, readers()[f"{reader}.ModelArgs"])
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("key", "old"), [("rope_theta", 1e4), ("rope_scaling", {"type": "dynamic", "factor": 2.0})]
)
def test_two_spellings_that_differ_are_refused(key: str, old: object) -> None:
    config = {key: old, "rope_parameters": SCALED}
    with pytest.raises(ModelError, match=f"contradicts itself: {key} says.*Remove the one"):
        rope.rope_changes(config, readers()["llama.ModelArgs"])


@pytest.mark.parametrize(
    ("reader", "config", "changes"),
    [
        ("llama", {"rope_theta": THETA, "rope_scaling": LINEAR}, {}),
        (
            "llama",
            {"rope_theta": THETA, "rope_parameters": PLAIN},
            {"rope_theta": THETA, "rope_scaling": None},
        ),
        (
            "llama",
            {"rope_parameters": {FULL: PLAIN, WINDOW: PLAIN}},
            {"rope_theta": THETA, "rope_scaling": None},
        ),
        (
            "llama",
            {"rope_parameters": YARN, "max_position_embeddings": 77},
            {
                "rope_theta": THETA,
                "rope_scaling": {
                    "type": "yarn",
                    "rope_type": "yarn",
                    "factor": 4.0,
                    "original_max_position_embeddings": 77,
                },
            },
        ),
        (
            "olmo3",
            {"rope_parameters": {FULL: SCALED, WINDOW: PLAIN}},
            {"rope_theta": THETA, "rope_scaling": {"type": "linear", **LINEAR}},
        ),
        (
            "step3p5",
            {
                "layer_types": [FULL, WINDOW, WINDOW],
                "rope_parameters": {
                    FULL: {**SCALED, "partial_rotary_factor": 0.5},
                    WINDOW: {"rope_theta": 1e4, "rope_type": "default"},
                },
            },
            {
                "rope_theta": [THETA, 1e4, 1e4],
                "partial_rotary_factors": [0.5, 1.0, 1.0],
                "rope_scaling": {"type": "linear", **LINEAR},
                "yarn_only_types": [FULL],
            },
        ),
        (
            "minimax",
            {"head_dim": 128, "rope_parameters": {**PLAIN, "partial_rotary_factor": 0.5}},
            {"rope_theta": THETA, "rotary_dim": 64},
        ),
        (
            "dbrx",
            {"attn_config": {"clip_qkv": 8}, "rope_parameters": PLAIN},
            {"attn_config": {"clip_qkv": 8, "rope_theta": THETA}},
        ),
        (
            "plamo3",
            {"rope_parameters": {FULL: PLAIN, WINDOW: {"rope_theta": 5e3}}},
            {"rope_theta": THETA, "rope_local_theta": 5e3},
        ),
        (
            "recurrent_gemma",
            {"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}},
            {},
        ),
        ("ministral3", {"rope_theta": THETA, "rope_scaling": LINEAR}, {"rope_parameters": SCALED}),
        ("mellum", {"rope_parameters": {FULL: PLAIN, WINDOW: YARN}}, {}),
        ("mamba", {"rope_parameters": YARN}, {}),
        ("qwen2", {}, {}),
    ],
)
def test_what_changes_for_an_architecture(
    reader: str, config: dict[str, Any], changes: dict[str, Any]
) -> None:
    assert rope.rope_changes(config, readers()[f"{reader}.ModelArgs"]) == changes
