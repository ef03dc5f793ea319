r"""Split texts of any script into words.

Chinese, Japanese, Thai, Lao, Khmer and Burmese put no spaces between words. Without a dictionary
nobody can tell where their words end, so each of their characters counts as a word, as in the
evaluations of MLQA and XQuAD.

Texts are compared in one Unicode form (NFC), without case, and without characters that are never
seen, such as marks of direction and soft hyphens. The library `regex` knows scripts and classes of
characters, which `re` does not.
"""

from __future__ import annotations

import re
import string
import unicodedata

import regex

UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}ー\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
"""Scripts without spaces between words, for a set of the library `regex`."""

_ARTICLES = frozenset({"a", "an", "the"})
_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)
_PUNCTUATION = regex.compile(rf"[\p{{P}}{re.escape(string.punctuation)}]+")
_UNSEEN = regex.compile(r"\p{Cf}+")
_ONE_CHARACTER = regex.compile(rf"[{UNSPACED}]\p{{M}}*|[^{UNSPACED}]+")
_WORD = regex.compile(
    rf"[{UNSPACED}]\p{{M}}*|[[\p{{L}}\p{{M}}\p{{N}}]--[{UNSPACED}]]+", regex.VERSION1
)


def fold(text: str) -> str:
    """Return a text as it is compared: one Unicode form, without case and unseen characters."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize(
        "NFC", _UNSEEN.sub("", unicodedata.normalize("NFC", text)).casefold()
    )


def squad_words(text: str) -> list[str]:
    """Return the words of a text without punctuation and articles, as SQuAD counts them.

    This follows Rajpurkar et al. 2016, "SQuAD: 100,000+ Questions for Machine Comprehension of
    Text", but for punctuation and scripts that are not in ASCII.
    """
    text = fold(text)
    if text.isascii():
        words = text.translate(_ASCII_PUNCTUATION).split()
    else:
        spaced = _PUNCTUATION.sub("", text).split()
        words = [part for word in spaced for part in _ONE_CHARACTER.findall(word)]
    return [word for word in words if word not in _ARTICLES]


def letter_words(text: str) -> list[str]:
    """Return the words of a text: runs of letters, digits and their marks, as ROUGE counts them."""
    words: list[str] = _WORD.findall(fold(text))
    return words


def is_unspaced(text: str) -> bool:
    """Return whether most letters of a text are of scripts without spaces between words."""
    letters = regex.findall(r"\p{L}", text)
    return 2 * len(regex.findall(rf"[{UNSPACED}]", text)) > len(letters) > 0
