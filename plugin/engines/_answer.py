"""The tokens of an expected answer, with the one that ends it.

A model that was trained on the expected outputs has also learned where they end. So a likelihood
counts the token that ends an answer: with a chat template the one that the template puts after an
assistant's turn, else the tokenizer's end of text. It depends on the model's files alone, so that
all engines take the same one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from os.path import commonprefix
from pathlib import Path
from typing import Any

from plugin.engines.templates import TemplateText

_QUESTION = {"role": "user", "content": "Yes?"}
_ANSWER = {"role": "assistant", "content": "Yes."}


def named_end_tokens(folder: Path, config: dict[str, Any]) -> set[int]:
    """Return the ids of the end tokens that the model's configuration files name."""
    text: Any = config.get("text_config")
    places: list[Any] = [config, text if isinstance(text, dict) else {}]
    try:
        places.append(json.loads((folder / "generation_config.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):  # many models have none
        pass
    named = [place.get("eos_token_id") for place in places if isinstance(place, dict)]
    ids = [one for each in named for one in (each if isinstance(each, list) else [each])]
    return {one for one in ids if isinstance(one, int)}


def end_token(tokenizer: Any, template: TemplateText | None, named: set[int]) -> int | None:
    """Return the token with which an answer ends; None if the tokenizer has none.

    In the template's text of an answer it is the first token that the configuration names as an
    end, else the last special one. A template that ends no turn leaves the tokenizer's end of text.

    Args:
        tokenizer: a tokenizer of the transformers library, or one that behaves the same.
        template: applies the chat template; None when it is not used.
        named: the end tokens that the model's configuration names.
    """
    eos: int | None = tokenizer.eos_token_id
    ids = _answered(template) if template else ()
    ends = named | ({eos} if eos is not None else set())
    special = set(tokenizer.all_special_ids)
    first = [token for token in ids if token in ends][:1]
    last = [token for token in ids if token in special][-1:]
    return (*first, *last, eos)[0]


def _answered(template: TemplateText) -> Sequence[int]:
    """Return what the template adds for an answer; nothing if it does not take answers."""
    try:
        asked = [int(token) for token in template([_QUESTION])]
        told = template([_QUESTION, _ANSWER], add_generation_prompt=False)
        whole = [int(token) for token in told]
    except Exception:  # a template is a program and can raise anything
        return ()
    return whole[len(commonprefix([asked, whole])) :]


def answer_tokens(text: str, tokenizer: Any, end: int | None) -> tuple[int, ...]:
    """Return the token ids of an expected answer, with its end; none for a text without tokens."""
    ids = tuple(tokenizer.encode(text, add_special_tokens=False))
    return ids if end is None or not ids or ids[-1] == end else (*ids, end)
