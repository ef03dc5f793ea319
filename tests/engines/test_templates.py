"""Chat templates and tokenizers that would never end or fill the memory."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from demo import FOLDER
from plugin.engines import templates
from plugin.engines.templates import (
    TemplateFailure,
    begin_tokenizer_check,
    render,
    template_text,
)
from plugin.errors import ModelError

TURNS = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who? 你好 🙂"}]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "RENDER_S", 1)
    monkeypatch.setattr(templates, "TOKENIZER_S", 2)


LOOPS = {
    "nested loops": "{% for a in range(9**5) %}{% for b in range(9**5) %}{% endfor %}{% endfor %}",
    "a power": "{{ 9**(9**9) > 1 }}",
    "recursion without end": (
        "{% macro f(x) %}{% for i in range(99999) %}{{ f(x) if x > 0 }}{% endfor %}{% endmacro %}"
        "{% for i in range(99999) %}{{ f(0) }}{% endfor %}"
    ),
}


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("template", LOOPS.values(), ids=LOOPS)
def test_a_template_that_never_ends_is_ended(template: str) -> None:
    began = time.monotonic()
    with pytest.raises(TemplateFailure, match="it takes more than 1 seconds") as caught:
        render(template, TURNS, {})
    assert caught.value.kind == "" and time.monotonic() - began < 30


SIZES = {
    "a long text": ("{{ 'a' * 10**8 }}", "it makes a text of more than 1,000,072 characters"),
    "doubling": (
        "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}"
        "{% endfor %}{{ n.x|length }}",
        "it needs more than 2 GB of memory",
    ),
    "a giant": ("{{ ('a' * 10**12)|length }}", "it needs more than 2 GB of memory"),
}


@pytest.mark.parametrize(("template", "said"), SIZES.values(), ids=SIZES)
def test_a_template_that_fills_the_memory_is_ended(template: str, said: str) -> None:
    with pytest.raises(TemplateFailure, match=said):
        render(template, TURNS, {})
    assert render("{{ messages[1].content }}", TURNS, {}) == "Who? 你好 🙂"


def test_a_template_that_raises_says_what_it_raised() -> None:
    for template, kind, said in (
        ("{{ raise_exception('no system turn') }}", "TemplateError", "no system turn"),
        ("{{ 1 / 0 }}", "ZeroDivisionError", "division by zero"),
        ("{% for %}", "TemplateSyntaxError", "Expected an expression"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError", "__class__"),
    ):
        with pytest.raises(TemplateFailure, match=said) as caught:
            render(template, TURNS, {})
        assert caught.value.kind == kind


@pytest.mark.parametrize("told", [{}, {"enable_thinking": False}])
@pytest.mark.parametrize(
    "own",
    [
        None,
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}{% endfor %}"
        "{{ 'quiet' if enable_thinking is defined else '' }}{{ add_generation_prompt }}",
    ],
)
def test_prompts_are_those_of_the_library(own: str | None, told: dict[str, Any]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "model")
    turns = TURNS[1:]
    expected = tokenizer.apply_chat_template(
        turns, chat_template=own, add_generation_prompt=True, return_dict=False, **told
    )
    assert template_text(tokenizer, told, own)(turns) == expected


def test_a_tokenizer_with_a_program_of_its_own_is_called() -> None:
    class Own:
        def apply_chat_template(self, turns: Any, **told: Any) -> list[int]:
            return [len(turns), told["tokenize"], told["enable_thinking"]]

    assert template_text(Own(), {"enable_thinking": False})(TURNS) == [2, True, False]


def test_several_threads_share_the_child() -> None:
    found: dict[int, str] = {}

    def ask(number: int) -> None:
        found[number] = render("{{ number }} {{ messages|length }}", TURNS, {"number": str(number)})

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: f"{number} 2" for number in range(8)}


def test_a_child_that_was_killed_is_started_again() -> None:
    render("x", TURNS, {})
    templates._running[0]._process.kill()
    templates._running[0]._process.wait()
    assert render("x", TURNS, {}) == "x"


def tokenizer_with(folder: Path, **parts: Any) -> Path:
    model = Path(shutil.copytree(FOLDER / "model", folder / "model"))
    content = json.loads((model / "tokenizer.json").read_text())
    (model / "tokenizer.json").write_text(json.dumps(content | parts))
    return model


def doubling(kind: str, n: int) -> dict[str, Any]:
    one = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
    return {"type": "Sequence", f"{kind}s": [one] * n}


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    "parts",
    [
        {"normalizer": doubling("normalizer", 45)},
        {"normalizer": doubling("normalizer", 20)},
        {"decoder": doubling("decoder", 45)},
    ],
    ids=["endless", "long", "decoder"],
)
def test_a_tokenizer_that_blows_a_text_up_is_refused(parts: dict[str, Any], tmp_path: Path) -> None:
    model = tokenizer_with(tmp_path, **parts)
    with pytest.raises(ModelError) as caught:
        begin_tokenizer_check(model)()
    message = str(caught.value)
    assert message.startswith(f"{model / 'tokenizer.json'}: this tokenizer is broken or harmful: ")
    assert "\n" not in message


def test_a_good_tokenizer_and_a_broken_one_pass(tmp_path: Path) -> None:
    """What is broken is told by the library that loads it."""
    begin_tokenizer_check(FOLDER / "model")()
    begin_tokenizer_check(tmp_path)()
    (tmp_path / "tokenizer.json").write_text("{")
    begin_tokenizer_check(tmp_path)()
