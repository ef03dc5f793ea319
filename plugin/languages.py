"""Tell roughly in which script and language a text is written, by its letters and common words.

Meant for one question: are two texts in clearly different languages? So a text is unknown wherever
there is doubt, and two languages that look alike to this file are never called different.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

_SCRIPTS = {
    "Latin": "A-Za-z\u00c0-\u024f\u1e00-\u1eff",
    "Greek": "\u0370-\u03ff",
    "Cyrillic": "\u0400-\u052f",
    "Hebrew": "\u0590-\u05ff",
    "Arabic": "\u0600-\u06ff",
    "Devanagari": "\u0900-\u097f",
    "Bengali": "\u0980-\u09ff",
    "Tamil": "\u0b80-\u0bff",
    "Thai": "\u0e00-\u0e7f",
    "Japanese": "\u3040-\u30ff",
    "Korean": "\uac00-\ud7af",
    "Chinese": "\u3400-\u9fff",
}
_LETTERS = {name: re.compile(f"[{letters}]+") for name, letters in _SCRIPTS.items()}

_COMMON = {
    "English": "the of to that it was are this you have be they which what would their is your we",
    "German": "der die und das ist nicht ein eine den mit sich auf für dem auch als wird sind zu",
    "French": "le la les des est une et dans que qui pour pas vous du sur au avec ce sont il elle",
    "Spanish": "el la los las de que y en un una es por con para del se no su al lo como más",
    "Portuguese": "o a os as de que e em um uma é por com para do da não se na mais como ao",
    "Italian": "il la di che e è un una per non con del della sono si gli le dei nel al come",
    "Dutch": "de het een en van is niet dat die op te met voor zijn aan wordt ook er naar bij",
    "Swedish": "och att det som en på är av för med den till inte ett om har de i",
    "Polish": "i w nie na się z do to jest że jak po co od przez dla oraz są",
    "Turkish": "ve bir bu için ile de da olarak çok olan daha gibi en ne değil",
    "Indonesian": "yang dan di itu dengan untuk tidak ini dari dalam pada adalah akan ada",
    "Vietnamese": "và của là có không được cho một trong các với này những người để",
    "Russian": "и в не на что он с как это по но они для из был а у же",
    "Ukrainian": "і в не на що він з як це та для його є або але у ви",
}
"""Words of each language that nearly every sentence has; none that is common in source code."""

_LANGUAGES_WITH: dict[str, list[str]] = {}
for _name, _words in _COMMON.items():
    for _one in dict.fromkeys(_words.split()):
        _LANGUAGES_WITH.setdefault(_one, []).append(_name)

_WORD, _ASCII_WORD = re.compile(r"[^\W\d_]+"), re.compile("[a-z]+")

_LEAST_LATIN, _LEAST_OTHER = 10, 4
"""With fewer letters a text has no known script: it may be a name, a label or a formula."""

_LOOKED_AT = 500
"""Characters of a text that are enough to know its language."""

_SCRIPT_SHARE = 0.6
_KANA_SHARE = 0.1
_LEAST_WORDS, _LEAST_COMMON, _COMMON_SHARE, _CLEARLY = 8, 3, 0.15, 1.5
"""A language is known from so many words, so many common ones, and this factor over the next."""


def is_common_word(word: str) -> bool:
    """Return whether nearly every sentence of some language has this word, in lower case."""
    return word in _LANGUAGES_WITH


class Language(NamedTuple):
    """Script and language of a text; "" for one that is not known."""

    script: str
    language: str = ""

    @property
    def name(self) -> str:
        """Return the language, or else the script."""
        return self.language or self.script

    def differs(self, other: Language) -> bool:
        """Return whether the two are known to be different."""
        if self.script != other.script:
            return bool(self.script and other.script)
        return bool(self.language and other.language) and self.language != other.language


def language_of(text: str) -> Language:
    """Return the script and the language of a text, as its beginning shows."""
    text = text[:_LOOKED_AT]
    script = _script_of(text)
    if script not in ("Latin", "Cyrillic"):
        return Language(script)
    return Language(script, _by_common_words(text))


def _script_of(text: str) -> str:
    """Return the script of most letters; Japanese is also written with Chinese characters."""
    if text.isascii():
        counts = Counter(Latin=_n_letters("Latin", text))
    else:
        counts = Counter({name: _n_letters(name, text) for name in _LETTERS})
    if counts["Japanese"] > _KANA_SHARE * counts["Chinese"]:
        counts["Japanese"] += counts.pop("Chinese", 0)
    (script, n), *_ = counts.most_common(1)
    least = _LEAST_LATIN if script == "Latin" else _LEAST_OTHER
    return script if n >= least and n >= _SCRIPT_SHARE * counts.total() else ""


def _n_letters(script: str, text: str) -> int:
    return sum(map(len, _LETTERS[script].findall(text)))


def _by_common_words(text: str) -> str:
    """Return the language whose common words stand out; "" where none does."""
    pattern = _ASCII_WORD if text.isascii() else _WORD  # the simpler one is much faster
    words = Counter(pattern.findall(text.casefold()))
    if words.total() < _LEAST_WORDS:
        return ""
    n_common = dict.fromkeys(_COMMON, 0)
    for word, count in words.items():
        for name in _LANGUAGES_WITH.get(word, ()):
            n_common[name] += count
    (n, best), (n_next, _) = sorted(((n, name) for name, n in n_common.items()), reverse=True)[:2]
    is_known = n >= max(_LEAST_COMMON, _COMMON_SHARE * words.total()) and n >= _CLEARLY * n_next
    return best if is_known else ""


def is_written_in(text: str, language: str, has_own: bool = False) -> bool:
    """Return whether a short text may be in a language, by its script and common words.

    Languages with a script of their own ("Greek", "Japanese", "Korean") are known by it. Of the
    others, no language may have more common words in the text than the named one.

    Args:
        text: the text.
        language: its name in English.
        has_own: whether a word of the text is known to be of the language, besides common ones.

    Raises:
        KeyError: for a language that is not known.
    """
    text = text[:_LOOKED_AT]
    if language in _LETTERS and language not in _COMMON:
        return 2 * _n_own_letters(language, text) > sum(c.isalpha() for c in text) > 0
    script = "Cyrillic" if language in ("Russian", "Ukrainian") else "Latin"
    if 2 * _n_letters(script, text) <= sum(char.isalpha() for char in text):
        return False
    words = _WORD.findall(text.casefold())
    n_common = {
        name: sum(name in _LANGUAGES_WITH.get(word, ()) for word in words) for name in _COMMON
    }
    most, n = max(n_common.values()), n_common[language]
    if has_own:
        return n == most or most <= 1
    return n == most and (most > 0 or len(words) <= _LEAST_COMMON)


def _n_own_letters(language: str, text: str) -> int:
    """Return the number of letters in the scripts in which a language is written."""
    if language != "Japanese":
        return _n_letters(language, text)
    n_kana = _n_letters("Japanese", text)
    return n_kana + _n_letters("Chinese", text) if n_kana else 0
