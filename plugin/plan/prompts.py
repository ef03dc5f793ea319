"""Read the prompts to beat: one text, or several texts and files with names.

One prompt is a text as it stands. Of several, each may begin with a name and an equals sign, as in
`short=Answer in one word.`; another one is named after its file, or numbered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from plugin.errors import OptionError
from plugin.records import PROMPTED

OPTION = "--baseline_prompt"
FILE_SIGN = "@"
"""Before the name of a file whose text is the prompt."""

_NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,39})=(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class NamedPrompt:
    """A prompt, and the name of its variant."""

    variant: str
    text: str


def _read_prompts(value: object) -> object:
    """Return texts from a text, which is one prompt, or from a list or the JSON of one."""
    if isinstance(value, str):
        value = _from_json(value) or (value,)
    if isinstance(value, list | tuple):
        parts = [part.strip() if isinstance(part, str) else part for part in value]
        return tuple(part for part in parts if part not in ("", None))
    return value


def _from_json(text: str) -> list[str]:
    """Return the texts of a JSON list; none for a text that is no such list."""
    if not text.lstrip().startswith("["):
        return []
    try:
        found = json.loads(text)
    except ValueError:
        return []
    is_texts = isinstance(found, list) and all(isinstance(one, str) for one in found)
    return found if is_texts else []


Prompts = Annotated[tuple[str, ...], BeforeValidator(_read_prompts)]


def name_prompts(given: Sequence[str]) -> tuple[NamedPrompt, ...]:
    """Return the prompts with their texts and the names of their variants.

    Raises:
        OptionError: naming every prompt that cannot be read, and every name given twice.
    """
    if len(given) == 1:
        return (NamedPrompt(PROMPTED, prompt_text(given[0], OPTION)),)
    found, problems = dict[str, NamedPrompt](), list[str]()
    for number, value in enumerate(given, 1):
        named = _NAMED.fullmatch(value)
        own, text = (named[1], named[2].strip()) if named else ("", value)
        own = own or (Path(value).stem if value.startswith(FILE_SIGN) else str(number))
        try:
            one = NamedPrompt(f"{PROMPTED} {own}", prompt_text(text, f"{OPTION} {own}"))
        except OptionError as error:
            problems.append(str(error))
            continue
        if one.variant in found:
            problems.append(
                f"{OPTION}: two prompts have the name {own!r}; put another name and = before one "
                "of them"
            )
        for other in found.values():
            if other.text == one.text:
                problems.append(
                    f"{OPTION}: {one.variant!r} and {other.variant!r} are the same text; leave one "
                    "of them out"
                )
        found.setdefault(one.variant, one)
    if problems:
        raise OptionError("\n".join(problems))
    return tuple(found.values())


def as_typed(prompts: Sequence[NamedPrompt]) -> tuple[str, ...]:
    """Return what gives the same prompts again, when their files may be gone."""
    if len(prompts) == 1:
        return (prompts[0].text,)
    return tuple(f"{one.variant.removeprefix(f'{PROMPTED} ')}={one.text}" for one in prompts)


def prompt_text(value: str, option: str) -> str:
    """Return the text of a prompt, which may stand in a file.

    Raises:
        OptionError: for a file that cannot be read, and for a text that is the name of a file or
            would be read as one.
    """
    if not value.startswith(FILE_SIGN):
        if _is_file(value):
            raise OptionError(
                f"{option} {value!r} is the name of a file: write {FILE_SIGN}{value} to use the "
                "text in it"
            )
        text = value
    else:
        text = _text_of(value.removeprefix(FILE_SIGN), option)
    if not text or text.startswith(FILE_SIGN):
        what = f"begins with {FILE_SIGN}, which stands for a file" if text else "is empty"
        raise OptionError(f"{option} {value[:80]!r}: the prompt {what}; write a text")
    return text


def _text_of(name: str, option: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise OptionError(
            f"{option} {FILE_SIGN}{name}: the file cannot be read ({why}). A prompt that begins "
            f"with {FILE_SIGN} is the text in a file"
        ) from None


def _is_file(value: str) -> bool:
    """Return whether a text is the name of a file that exists."""
    try:
        return "\n" not in value and Path(value).is_file()
    except (OSError, ValueError):  # too long, or not a name
        return False
