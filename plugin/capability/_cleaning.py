"""Clean answers before they are scored, and bring texts into a form in which they are compared."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Literal

_NEXT_TURN = re.compile(
    r"(?i)[ \t]*(?:[#>*]{0,4}[ \t]*)(?:q|question|user|human|problem|exercise|instruction|task)"
    r"(?:[ \t]*\d{1,3})?[ \t]*[:.)\]]|[ \t]*(?:### |\[inst\])"
)
"""How a line begins with which a model asks itself a next question."""

_END_MARK = re.compile(r"<\|[a-zA-Z_/]{1,30}\|>|</s>|<end_of_turn>|<eos>|<\|endoftext\|>")
"""Marks of the end of a turn, which some models write as text."""

_LEAD = re.compile(
    r"(?i)[ \t*_#>]*(?:(?:the|my|your|final|correct)[ \t]+){0,2}"
    r"(?:a|answer|assistant|response|output|result|solution|antwort|réponse|respuesta|risposta)"
    r"[ \t]*(?:[:：=]|\bis\b:?)[ \t*_]*"
)
"""Words before the answer itself, such as "Answer:"."""

Copied = Literal["", "long", "ends", "any"]
"""Parts of a question that count as its repetition: see `repeats_prompt`."""

_LONG_COPY, _SHORT_COPY = 15, 4
"""Words of an answer that make it a repetition."""

_MARKS = re.compile("[\u0300-\u036f\u0640\u064b-\u0652\u0670]")
"""Accents, and what may be left out in Arabic: marks of vowels, the line that stretches words."""

_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_QUOTES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "“": '"', "”": '"', "„": '"', "−": "-"})
_ALONE = str.maketrans({"ı": "i", "ł": "l", "ø": "o", "đ": "d", "æ": "ae", "œ": "oe"})
_WORD = re.compile(r"[^\W_]+(?:[\u0900-\u0963\u0966-\u0fff][^\W_]*)*")
"""A word; in the scripts of India and its neighbours with its vowel signs, which are no letters."""

_ARTICLES = frozenset({"a", "an", "the"})
_DIGITS = {
    word: str(i)
    for i, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve".split()
    )
}
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]")


def without_echo(answer: str, prompt: str) -> str:
    """Return an answer without the question at its beginning, however often it stands there."""
    prompt = prompt.strip()
    while prompt and answer.startswith(prompt):
        answer = answer[len(prompt) :].lstrip()
    return answer


def without_next_turn(answer: str) -> str:
    """Return an answer up to where the model ends its turn, or asks itself a next question."""
    if end := _END_MARK.search(answer):
        answer = answer[: end.start()]
    kept = list[str]()
    for line in answer.strip().split("\n"):
        if kept and _NEXT_TURN.match(line):
            break
        kept.append(line)
    return "\n".join(kept)


def repeats_prompt(answer: str, prompt: str, copied: Copied) -> bool:
    """Return whether an answer is nothing but a part of the question, perhaps cut off.

    A part is "long" from 15 words on. From 4 words on it counts at the "ends" of the question
    (questions about a passage may be answered with a sentence of it), or as "any" part.
    """
    said = words_of(answer)
    if not copied or len(said) < (_LONG_COPY if copied == "long" else _SHORT_COPY):
        return False
    part, whole = f" {' '.join(said)}", f" {' '.join(words_of(prompt))}"
    if copied == "any" or len(said) >= _LONG_COPY:
        return part in whole
    return whole.startswith(part) or whole.endswith(part)


def without_lead(answer: str) -> str:
    """Return an answer without words such as "Answer:" before it."""
    answer = answer.lstrip()
    match = _LEAD.match(answer)
    rest = answer[match.end() :].strip() if match else ""
    return rest or answer


def straight_quotes(text: str) -> str:
    """Return a text with quotes and apostrophes as on a typewriter."""
    return text if text.isascii() else text.translate(_QUOTES)


def fold(text: str) -> str:
    """Return a text without case, accents, unseen characters and kinds of quotes."""
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", _UNSEEN.sub("", text).translate(_QUOTES))
    return unicodedata.normalize("NFC", _MARKS.sub("", apart).casefold().translate(_ALONE))


@lru_cache(maxsize=512)
def words_of(text: str) -> tuple[str, ...]:
    """Return the folded words of a text, small numbers as digits, without apostrophes."""
    words = _WORD.findall(fold(text).replace("'", ""))
    return tuple(_DIGITS.get(word, word) for word in words)


def has_words(words: tuple[str, ...], wanted: tuple[str, ...]) -> bool:
    """Return whether the wanted words stand among the words, one after the other."""
    return bool(wanted) and f" {' '.join(wanted)} " in f" {' '.join(words)} "


def plain(text: str) -> str:
    """Return the words of a text in one line, without articles where other words are left."""
    words = words_of(text)
    return " ".join([word for word in words if word not in _ARTICLES] or words)


def is_unspaced(text: str) -> bool:
    """Return whether a text is of a script that puts no spaces between words."""
    return _UNSPACED.search(text) is not None
