"""Rules for answers that pick a label or an option."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from plugin.capability._cleaning import has_words, plain, without_lead, words_of
from plugin.capability.records import Item
from plugin.metrics.labels import LabelReader


def score_label(item: Item, text: str) -> tuple[float, str]:
    """Score 1 where the answer names the expected label and no other.

    The whole answer is read first, then its first line, its first sentence, and its first word:
    an answer may explain itself, and name other labels then. `also` has other words for labels,
    which count where no label is named.
    """
    labels: list[str] = item.check["labels"]
    also = {other: label for other, label in _ALSO.items() if label in labels}
    also |= item.check.get("also", {})
    for known in (dict(zip(labels, labels, strict=True)), also):
        reader = _reader_of(tuple(known))
        for part in _label_texts(text) if known else ():
            if named := reader.label_of(part):
                label = known[named]
                return float(label == item.check["answer"]), f"label: {label}"
    return 0.0, "names no label, or several"


_ALSO = {"true": "yes", "correct": "yes", "yep": "yes", "yeah": "yes"}
_ALSO |= {"false": "no", "incorrect": "no", "nope": "no"}
"""Other words for labels that many items have."""


@lru_cache(maxsize=256)
def _reader_of(labels: tuple[str, ...]) -> LabelReader:
    return LabelReader(labels)


def _label_texts(text: str) -> list[str]:
    line = without_lead(text).partition("\n")[0]
    sentence = re.split(r"(?<=[.!?])[ \t]|[,;(:–—]", line, maxsplit=1)[0]
    first, *others = line.split() or [""]
    is_one_of_several = bool(others) and others[0].casefold() in ("or", "and", "/", "|", "&")
    after_colon = line.rpartition(":")[2]
    return [text, line, sentence, "" if is_one_of_several else first, after_colon]


_LETTER = r"[*_\"'(\[]{0,4}([A-Z])[*_\"')\]]{0,4}"
_AT_START = re.compile(rf"{_LETTER}(?:[.):,;–-]|$|[ \t]*\n)")
_AFTER_WORDS = re.compile(
    rf"(?i:answer|option|choice|letter)(?i:[ \t]+(?:is|would[ \t]be))?[ \t]*:?[ \t]*{_LETTER}"
    r"(?![\w'])"
)
_IN_BRACKETS = re.compile(r"\(([A-Z])\)")


def score_choice(item: Item, text: str) -> tuple[float, str]:
    """Score 1 where the answer picks the expected option.

    `options` maps letters to texts. The option is known by its letter ("B", "(B)", "B) 12", "the
    answer is B"), or by its text alone.
    """
    options: Mapping[str, str] = item.check["options"]
    picked = _letter_of(without_lead(text), text, options) or _by_text(text, options)
    if picked is None:
        return 0.0, "picks no option, or several"
    return float(picked == item.check["answer"]), f"option: {picked}"


def _letter_of(bare: str, text: str, options: Mapping[str, str]) -> str | None:
    if bare[:1].islower() and len(words_of(bare)) == 1:
        bare = bare.upper()
    at_start = _AT_START.match(bare)
    found = {at_start[1]} if at_start else set()
    found = found or set(_AFTER_WORDS.findall(text)) or set(_IN_BRACKETS.findall(text))
    found &= options.keys()
    if not found:
        found = {bare[0]} if bare[:1] in options and _begins_with_option(bare, options) else set()
    return found.pop() if len(found) == 1 else None


def _begins_with_option(bare: str, options: Mapping[str, str]) -> bool:
    """Return whether an option's text follows its letter: "B twelve"."""
    return bare[1:2].isspace() and plain(bare[1:]).startswith(plain(options[bare[0]]))


def _by_text(text: str, options: Mapping[str, str]) -> str | None:
    said = words_of(text)
    named = [letter for letter, option in options.items() if has_words(said, words_of(option))]
    inside = {  # of "north" and "north east" the longer one
        one
        for one in named
        for other in named
        if one != other and has_words(words_of(options[other]), words_of(options[one]))
    }
    left = [letter for letter in named if letter not in inside]
    return left[0] if len(left) == 1 else None
