"""The token that ends an answer, which a likelihood counts with the expected output."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from demo import FOLDER
from plugin import engines
from plugin.engines._answer import answer_tokens, end_token
from plugin.records import VANILLA, Message
from tests.engines.test_mlx import settings

HEADER = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
OPENED = "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
TEMPLATES = {
    "the demo's": ("", "<|end|>"),
    "one whose turns end in a token that ends a text": (
        f"{HEADER}<|im_end|>\n{OPENED}",
        "<|im_end|>",
    ),
    "one whose turns end in a token that the configuration does not name": (
        f"{HEADER}<|eot|>\n{OPENED}",
        "<|eot|>",
    ),
    "one that thinks before it answers": (
        f"{HEADER}<|im_end|>{OPENED}".replace("assistant\n{% endif", "assistant\n<|eot|>{% endif"),
        "<|im_end|>",
    ),
    "one with a channel before the answer": (
        "{% for m in messages %}<|im_start|>{{ m.role }}"
        "{% if m.role == 'assistant' %}<|eot|>final{% endif %}{{ m.content }}<|im_end|>"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant{% endif %}",
        "<|im_end|>",
    ),
    "one without an end": (f"{HEADER}\n{OPENED}", "<|end|>"),
    "one that takes no answers": (
        "{% for m in messages %}{% if m.role == 'assistant' %}{{ raise_exception('no') }}"
        "{% endif %}{{ m.content }}{% endfor %}",
        "<|end|>",
    ),
}


@pytest.fixture
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    found = AutoTokenizer.from_pretrained(FOLDER / "model")
    more = ["<|im_start|>", "<|im_end|>", "<|eot|>"]
    found.add_special_tokens({"additional_special_tokens": more})
    return found


def template_of(tokenizer: Any) -> Any:
    def render(turns: list[dict[str, str]], **options: Any) -> Any:
        told = {"add_generation_prompt": True, **options}
        return tokenizer.apply_chat_template(turns, return_dict=False, **told)

    return render


@pytest.mark.parametrize("name", TEMPLATES)
def test_it_is_the_one_that_the_template_puts_after_an_answer(name: str, tokenizer: Any) -> None:
    text, expected = TEMPLATES[name]
    tokenizer.chat_template = text or tokenizer.chat_template
    stops = {tokenizer.convert_tokens_to_ids(token) for token in ("<|end|>", "<|im_end|>")}
    found = end_token(tokenizer, template_of(tokenizer), stops)
    assert tokenizer.convert_ids_to_tokens(found) == expected


def test_without_a_template_it_is_the_end_of_text(tokenizer: Any) -> None:
    assert end_token(tokenizer, None, set()) == tokenizer.eos_token_id
    tokenizer.eos_token = None
    assert end_token(tokenizer, None, set()) is None


def test_it_is_there_once(tokenizer: Any) -> None:
    end = tokenizer.eos_token_id
    words = tokenizer.encode("Kumail Nanjiani", add_special_tokens=False)
    for text in ("Kumail Nanjiani", "Kumail Nanjiani<|end|>"):
        assert answer_tokens(text, tokenizer, end) == (*words, end)
    assert answer_tokens("Kumail Nanjiani", tokenizer, None) == tuple(words)
    assert answer_tokens("", tokenizer, end) == ()


def model_with(tmp_path: Path, **config: object) -> Path:
    folder = Path(shutil.copytree(FOLDER / "model", tmp_path / "model"))
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    return folder


def test_the_engine_reads_the_end_with_the_expected_output(tmp_path: Path) -> None:
    engine = engines.load("mlx", settings(model_with(tmp_path)))
    ids = engine.tokens("Kumail Nanjiani plays")  # no place to end
    tokenizer = engine._tokenizer  # type: ignore[attr-defined]
    assert tokenizer.decode(list(ids)).endswith("plays<|end|>")
    prompt = engine.encode([Message("user", "Who plays Dinesh in Silicon Valley?")])
    with_end, without = engine.loglikelihoods(VANILLA, [(prompt, ids), (prompt, ids[:-1])])
    assert isinstance(with_end, float) and isinstance(without, float)
    assert with_end < without - 1


def test_a_model_that_names_several_ends_ends_as_its_template_does(tmp_path: Path) -> None:
    folder = model_with(tmp_path, eos_token_id=[2, 1])
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, 1, 2]}))
    engine = engines.load("mlx", settings(folder))
    tokenizer = engine._tokenizer  # type: ignore[attr-defined]
    assert engine.tokens("Dinesh.")[-1] == tokenizer.convert_tokens_to_ids("<|end|>")
