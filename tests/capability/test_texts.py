"""The shipped texts for likelihoods: what they are, and how damaged ones are reported."""

from __future__ import annotations

import ast
import json
from collections import Counter
from pathlib import Path

import pytest

from plugin.capability.texts import TextsError, likelihood_texts
from plugin.languages import language_of

ROW = {
    "id": "a",
    "kind": "general",
    "language": "en",
    "prompt": "It was a dark night.",
    "continuation": " Nobody slept.",
}


def test_there_are_about_sixty_texts_of_six_kinds() -> None:
    texts = likelihood_texts("full")
    assert len(texts) >= 60
    kinds = Counter(text.kind for text in texts)
    assert set(kinds) == {"general", "languages", "code", "dialogue", "news", "letters"}
    assert min(kinds.values()) >= 7
    assert len({text.language for text in texts}) >= 12


def test_the_quick_set_has_every_kind() -> None:
    quick = likelihood_texts("quick")
    assert 10 <= len(quick) <= 20
    assert {text.kind for text in quick} == {text.kind for text in likelihood_texts("full")}


def test_no_text_stands_there_twice_and_each_is_long_enough() -> None:
    texts = likelihood_texts("full")
    assert len({text.prompt for text in texts}) == len(texts)
    for text in texts:
        assert len(text.prompt) >= 20, text.id
        n_least = 80 if text.language in ("zh", "ja") else 200
        assert n_least <= len(text.continuation) + len(text.prompt) <= 1000, text.id
        assert len(text.continuation) >= 0.35 * len(text.prompt), text.id


NAMES = {
    "en": "English",
    "de": "German",
    "fr": "French",
    "es": "Spanish",
    "it": "Italian",
    "pt": "Portuguese",
    "nl": "Dutch",
    "pl": "Polish",
    "ru": "Russian",
    "tr": "Turkish",
    "zh": "Chinese",
    "ja": "Japanese",
    "ar": "Arabic",
    "hi": "Devanagari",
}


def test_each_text_is_in_the_language_that_it_names() -> None:
    for text in likelihood_texts("full"):
        if text.kind != "code":
            known = language_of(text.prompt + text.continuation)
            doubt = "" if known.language else known.script
            wanted = NAMES[text.language]
            assert wanted in (known.name, doubt) or doubt in ("Latin", "Cyrillic"), text.id


def test_python_texts_are_python() -> None:
    codes = [text for text in likelihood_texts("full") if text.kind == "code"]
    python = [text for text in codes if text.prompt.startswith(("def ", "class "))]
    assert len(python) == 2
    for text in python:
        ast.parse(text.prompt + text.continuation)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "poem"}, "kind is one of"),
        ({"prompt": "It was a dark night. "}, "belongs to the continuation"),
        ({"continuation": "Nobody slept."}, "belongs to the continuation"),
        ({"prompt": ""}, "not empty"),
        ({"prompt": 3}, "not empty"),
        ({"language": None}, "not empty"),
        ({"source": "x"}, "has the keys"),
        ({"quick": "yes"}, "quick true or false"),
    ],
)
def test_a_damaged_row_is_named(change: dict[str, object], message: str, tmp_path: Path) -> None:
    file = tmp_path / "texts.jsonl"
    rows = [ROW, {**ROW, "id": "b", **change}, ["c"]]
    file.write_text("\n".join(map(json.dumps, rows)) + "\n{", encoding="utf-8")
    with pytest.raises(TextsError) as caught:
        likelihood_texts("full", file)
    _, second, third, fourth = str(caught.value).split("\n")
    assert second.startswith("line 2: ") and message in second
    assert third == "line 3: the row must be a JSON object"
    assert fourth.startswith("line 4: ")


def test_an_id_twice_and_an_empty_file_are_named(tmp_path: Path) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text(f"{json.dumps(ROW)}\n{json.dumps(ROW)}\n", encoding="utf-8")
    with pytest.raises(TextsError, match="the id 'a' stands in 2 rows"):
        likelihood_texts("full", file)
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n", encoding="utf-8")
    with pytest.raises(TextsError, match="it has no texts"):
        likelihood_texts("full", empty)
