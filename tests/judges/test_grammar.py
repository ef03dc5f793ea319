"""Schemas made finite, and guides through them, driven by chance instead of by a model."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from collections.abc import Iterator
from functools import partial
from typing import Any

import deepeval.metrics
import numpy as np
import pytest
from pydantic import BaseModel, Field
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from demo import FOLDER
from plugin.errors import JudgeError
from plugin.judges.grammar import Grammars, GuidedAnswer, bound_schema


def schemas() -> list[type[BaseModel]]:
    """Every schema with which a metric of DeepEval asks."""
    modules = (
        importlib.import_module(module.name)
        for module in pkgutil.walk_packages(deepeval.metrics.__path__, "deepeval.metrics.")
        if module.name.endswith("schema")
    )
    found = {
        kind
        for module in modules
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, BaseModel) and kind is not BaseModel
    }
    return sorted(found, key=lambda kind: (kind.__module__, kind.__name__))


def byte_level() -> Any:
    return AutoTokenizer.from_pretrained(FOLDER / "model")


def pieces(*, normalised: bool = False) -> Any:
    """A tokenizer of the other family: a mark for spaces, bytes as tokens of their own."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    if normalised:  # as Llama 2 has it
        steps = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        tokenizer.normalizer = normalizers.Sequence(steps)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))],
        show_progress=False,
    )
    seen = ['{"verdicts": [{"verdict": "yes", "reason": "it is so"}]}']
    tokenizer.train_from_iterator(seen, trainer)
    spec = json.loads(tokenizer.to_str())
    spec["added_tokens"] = spec["added_tokens"][:3]  # bytes are tokens like any other
    read = Tokenizer.from_str(json.dumps(spec))
    return PreTrainedTokenizerFast(tokenizer_object=read, bos_token="<s>", eos_token="</s>")


def walk(guide: GuidedAnswer, chance: np.random.Generator) -> str:
    while not guide.is_over:
        guide.take(int(chance.choice(np.flatnonzero(guide.allowed()))))
    assert guide.is_whole, guide.text()
    assert len(guide.token_ids) <= guide.n_tokens
    return guide.text()


def rooms(grammars: Grammars, schema: type[BaseModel]) -> Iterator[int]:
    least = grammars.least_room(schema)
    yield from (least, least + 1, least + 40, 4096)


@pytest.mark.parametrize("family", [byte_level, pieces, partial(pieces, normalised=True)])
def test_any_walk_under_any_schema_of_deepeval_ends_and_fits(family: Any) -> None:
    tokenizer = family()
    grammars = Grammars(tokenizer, len(tokenizer) + 30, [tokenizer.eos_token_id])
    chance = np.random.default_rng(0)
    every = schemas()
    assert len(every) > 100
    for schema in every:
        for room in rooms(grammars, schema):
            schema.model_validate_json(walk(grammars.guide(schema, room), chance))


class Bounds(BaseModel):
    score: float
    share: float = Field(ge=0, lt=1)
    count: int
    three: list[str] = Field(min_length=3, max_length=3)
    short: str = Field(min_length=2, max_length=4)
    anything: Any = None


def test_what_a_schema_says_of_its_own_bounds_holds() -> None:
    grammars = Grammars(byte_level(), 1536, [2])
    chance = np.random.default_rng(1)
    for room in [*rooms(grammars, Bounds)] * 5:
        found = Bounds.model_validate_json(walk(grammars.guide(Bounds, room), chance))
        assert 0 <= found.score <= 10 and len(str(found.score)) <= 5
        assert 0 <= found.count <= 9999


def test_texts_and_lists_have_an_end() -> None:
    class Wordy(BaseModel):
        reason: str
        words: list[str]

    text = bound_schema(Wordy.model_json_schema())
    assert text.schema["required"] == ["reason", "words"]
    assert text.schema["additionalProperties"] is False
    assert text.schema["properties"]["reason"]["maxLength"] == 600
    assert text.schema["properties"]["words"]["maxItems"] == 64
    # {"reason": "", "words": [""]} and the separators of one more item
    assert len('{"reason": "", "words": ["", ]}') <= text.n_closing_bytes <= 50


class Tree(BaseModel):
    branches: list[Tree]


class Pair(BaseModel):
    both: tuple[int, str]


@pytest.mark.parametrize(
    ("schema", "why"), [(Tree, "Tree contains itself"), (Pair, "prefixItems.* is not supported")]
)
def test_a_schema_that_cannot_be_bounded_is_refused(schema: type[BaseModel], why: str) -> None:
    with pytest.raises(JudgeError, match=f"cannot use the schema {schema.__name__}.*{why}"):
        Grammars(byte_level(), 1536, [2]).least_room(schema)


def test_a_tokenizer_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(JudgeError, match="tokenizer.*choose a judge model with a tokenizer.json"):
        Grammars(object(), 1536, [2])
