"""Read how a folder says that chats are written: chat template, end-of-text token and vocabulary.

Trainers save the tokenizer beside the adapter. Where its chat template or its end-of-text token
differs from the base's, the adapter was trained with it, so its variant is prompted with it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from plugin.errors import UserError, list_first

_N_SHOWN = 4


@dataclass(frozen=True, slots=True)
class ChatFiles:
    """What a folder says about chats; None where it says nothing.

    Attributes:
        template: the source of the chat template.
        eos_token: the end-of-text token.
    """

    template: str | None = None
    eos_token: str | None = None

    def without(self, base: ChatFiles) -> ChatFiles:
        """Return only what differs from the base's."""
        is_same = (self.template or "").rstrip("\n") == (base.template or "").rstrip("\n")
        return ChatFiles(
            template=None if is_same else self.template,
            eos_token=None if self.eos_token == base.eos_token else self.eos_token,
        )

    def __bool__(self) -> bool:
        """Return whether anything is said."""
        return bool(self.template or self.eos_token)


def read_chat_files(folder: Path, error_kind: type[UserError]) -> ChatFiles:
    """Read a folder's chat template and end-of-text token, as the transformers library does.

    Raises:
        UserError: of the given class, when tokenizer_config.json is not a JSON object.
    """
    config: dict[str, Any] = {}
    path = folder / "tokenizer_config.json"
    if path.is_file():
        config = read_json_object(path, error_kind)
    template = config.get("chat_template")
    if isinstance(template, list):  # several with names
        named = {one.get("name"): one.get("template") for one in template if isinstance(one, dict)}
        template = named.get("default")
    if (folder / "chat_template.jinja").is_file():
        template = (folder / "chat_template.jinja").read_text("utf-8", "replace")
    eos = config.get("eos_token")
    if isinstance(eos, dict):
        eos = eos.get("content")
    return ChatFiles(
        template=template if isinstance(template, str) and template.strip() else None,
        eos_token=eos if isinstance(eos, str) and eos else None,
    )


def read_json_object(path: Path, error_kind: type[UserError]) -> dict[str, Any]:
    """Read the JSON object in a config file.

    Raises:
        UserError: of the given class, when the file holds no JSON object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise error_kind(f"{path} is not valid JSON: {error}. Get the file again") from error
    if not isinstance(found, dict):
        raise error_kind(f"{path} must hold a JSON object. Get the file again")
    return found


@lru_cache(maxsize=32)
def tokens_note(adapter: Path, model: Path) -> str:
    """Return how the tokenizer beside an adapter differs from the base's; "" if it does not.

    Only tokens with another id, or none, in the base's vocabulary are noted: the base's tokenizer
    is the one that is used.
    """
    own, base = (_vocabulary(folder / "tokenizer.json") for folder in (adapter, model))
    if not own or not base:
        return ""
    other = sorted(token for token, number in own.items() if base.get(token) != number)
    if not other:
        return ""
    shown = list_first([repr(token) for token in other], _N_SHOWN)
    plural = "token" if len(other) == 1 else "tokens"
    return (
        f"the tokenizer in the folder of {adapter.name} has {len(other)} {plural} that the base's "
        f"lacks or numbers differently ({shown}); the base's tokenizer is used for both"
    )


def _vocabulary(path: Path) -> dict[str, int]:
    """Return token -> id of a tokenizer's file; empty if it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        vocabulary = content["model"]["vocab"]
        added = {one["content"]: one["id"] for one in content.get("added_tokens") or ()}
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return {}
    if isinstance(vocabulary, Mapping):
        return {**vocabulary, **added}
    if isinstance(vocabulary, list):  # Unigram: a list of pairs of token and score
        pairs = (one for one in enumerate(vocabulary) if isinstance(one[1], list) and one[1])
        return {**{str(pair[0]): number for number, pair in pairs}, **added}
    return {}
