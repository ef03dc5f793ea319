"""The shipped texts whose continuation is scored by likelihood, read from texts.jsonl and checked.

All of them were written for this program. A text is cut into a prompt and its continuation. The
cross-entropy of the continuation (nats per token) says how well a model still knows general text,
code and other languages; the KL to the base says how far its next words moved. A continuation
begins where a word does: its first character is a space or a line end, except in scripts without
spaces.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from plugin.capability._cleaning import is_unspaced
from plugin.errors import FaultError

FILE = Path(__file__).parent / "texts.jsonl"

Kind = Literal["general", "languages", "code", "dialogue", "news", "letters"]
"""What a text is; "languages" are stories in languages other than English."""


class TextsError(FaultError):
    """A shipped text is not as it must be."""


@dataclass(frozen=True, slots=True)
class LikelihoodText:
    """One shipped text.

    Attributes:
        id: identifies the text for good: a text that changes gets another id.
        kind: what it is.
        language: its language, as a code of two letters.
        prompt: the first part, which the model is given.
        continuation: the rest, whose likelihood is measured; prompt + continuation is the text.
        is_quick: whether the quick set contains it.
    """

    id: str
    kind: Kind
    language: str
    prompt: str
    continuation: str
    is_quick: bool = False


def likelihood_texts(
    size: Literal["quick", "full"], file: Path = FILE
) -> tuple[LikelihoodText, ...]:
    """Return the texts of the quick or the full set, in the order of the file.

    Raises:
        TextsError: when a row is not as it must be; the message names all of them.
    """
    texts = _all_texts(file)
    return texts if size == "full" else tuple(text for text in texts if text.is_quick)


@cache
def _all_texts(file: Path) -> tuple[LikelihoodText, ...]:
    problems = list[str]()
    texts = list[LikelihoodText]()
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip():
            continue
        try:
            texts.append(_read_text(json.loads(line)))
        except (ValueError, TypeError, RecursionError) as error:
            problems.append(f"line {number}: {error}")
    counts = Counter(text.id for text in texts)
    problems += [f"the id {id!r} stands in {n} rows" for id, n in counts.items() if n > 1]
    if not (texts or problems):
        problems.append("it has no texts")
    if problems:
        raise TextsError(f"{file.name} is damaged; install it again:\n" + "\n".join(problems))
    return tuple(texts)


_KEYS = {field.name for field in fields(LikelihoodText)} - {"is_quick"}


def _read_text(row: Any) -> LikelihoodText:
    """Return the text of a row.

    Raises:
        ValueError: when the row is not as it must be.
    """
    if not isinstance(row, dict):
        raise ValueError("the row must be a JSON object")
    is_quick = row.pop("quick", False)
    if row.keys() != _KEYS:
        raise ValueError(f"a row has the keys {', '.join(sorted(_KEYS))}, and may have quick")
    if not all(isinstance(value, str) and value.strip() for value in row.values()):
        raise ValueError("each value must be a text that is not empty")
    if row["kind"] not in get_args(Kind) or not isinstance(is_quick, bool):
        raise ValueError(f"kind is one of {', '.join(get_args(Kind))}, and quick true or false")
    prompt, continuation = row["prompt"], row["continuation"]
    begins_word = continuation[0].isspace() or is_unspaced(continuation[0])
    if prompt != prompt.strip() or not begins_word:
        raise ValueError("the space between prompt and continuation belongs to the continuation")
    return LikelihoodText(**row, is_quick=is_quick)
