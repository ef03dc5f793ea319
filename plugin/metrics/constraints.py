"""Check what the user asks of every answer: its length, its words, its language.

- Length Limit: 1 if the answer is as long as --length_limit says, such as "50-100 words".
- Required Words, Forbidden Words: 1 if all, or none, of these words or phrases are in the answer.
- Answer Language: 1 if the answer is in the language of --answer_language.

Words are whole words, whatever their case. The language is told by py3langid, a small model that
comes with the library and knows 139 languages; answers too short for it (fewer than 20 letters)
pass if they are written in a script of the language, and so do answers without any letter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import regex

from plugin.errors import OptionError, did_you_mean
from plugin.metrics import Ask, Measure, Measured
from plugin.metrics._json import FormatViolation, measured_by
from plugin.metrics._words import UNSPACED, fold, letter_words
from plugin.metrics.entry import TaskSettings
from plugin.records import Case

_SENTENCE_END = regex.compile(r"[.!?…]+(?=\s|$)|[。！？।؟]+")
_COUNTERS: dict[str, Callable[[str], int]] = {
    "characters": lambda text: len(text.strip()),
    "words": lambda text: len(letter_words(text)),
    "sentences": lambda text: sum(
        regex.search(r"[\p{L}\p{N}]", part) is not None for part in _SENTENCE_END.split(text)
    ),
    "lines": lambda text: sum(bool(line.strip()) for line in text.splitlines()),
}
_LIMIT = re.compile(r"(\d*)\s*(-|\.\.|to|up to|at most|at least)?\s*(\d*)\s+(\w+)")


@dataclass(frozen=True, slots=True)
class LengthLimit:
    """How long an answer may be; None for no limit."""

    least: int | None
    most: int | None
    unit: str

    def check(self, text: str) -> None:
        """Check an answer.

        Raises:
            FormatViolation: when it is too short or too long.
        """
        n = _COUNTERS[self.unit](text)
        if self.least is not None and n < self.least:
            raise FormatViolation(f"fewer than {self.least} {self.unit} ({n})")
        if self.most is not None and n > self.most:
            raise FormatViolation(f"more than {self.most} {self.unit} ({n})")


def read_limit(text: str) -> LengthLimit:
    """Return the limit that a text such as "50-100 words", "-100 words" or "3- lines" names.

    Raises:
        OptionError: when it names none.
    """
    match = _LIMIT.fullmatch(text.strip().lower())
    unit = match[4] if match else ""
    unit = unit if unit in _COUNTERS else f"{unit}s"
    if match is None or unit not in _COUNTERS or not (match[1] or match[3]):
        raise OptionError(
            f"--length_limit {text!r} must be two numbers and a unit, such as '50-100 words', or "
            f"one of the two, such as '-100 words' or '2- lines'; units: {', '.join(_COUNTERS)}"
        )
    first, sign, last = match[1], match[2], match[3]
    least, most = (int(number) if number else None for number in (first, last))
    if sign == "at least":
        least, most = most, None
    elif not sign:  # "3 lines" means exactly that
        least = most = int(first or last)
    if least is not None and most is not None and least > most:
        raise OptionError(f"--length_limit {text!r}: {least} is more than {most}; swap them")
    return LengthLimit(least, most, unit)


def length_limit(settings: TaskSettings, cases: Sequence[Case]) -> Measure:
    """See `MetricEntry.setup`; raises what `read_limit` raises."""
    return partial(_measure, read_limit(settings.length_limit).check)


def required_words(settings: TaskSettings, cases: Sequence[Case]) -> Measure:
    """See `MetricEntry.setup`."""
    return partial(_measure, partial(_check_words, _phrases(settings.required_words), True))


def forbidden_words(settings: TaskSettings, cases: Sequence[Case]) -> Measure:
    """See `MetricEntry.setup`."""
    return partial(_measure, partial(_check_words, _phrases(settings.forbidden_words), False))


async def _measure(check: Callable[[str], None], case: Case, completion: str, ask: Ask) -> Measured:
    return measured_by(check, completion)


def _phrases(texts: Sequence[str]) -> dict[str, regex.Pattern[str]]:
    """Return a pattern for each word or phrase, by the phrase as given."""
    found = {}
    for text in texts:
        phrase = r"\s+".join(map(regex.escape, fold(text).split()))
        begin = r"(?<![\p{L}\p{M}\p{N}_])" if regex.match(r"[\p{L}\p{N}]", fold(text)) else ""
        end = r"(?![\p{L}\p{M}\p{N}_])" if regex.search(r"[\p{L}\p{M}\p{N}]$", fold(text)) else ""
        if regex.match(rf"[{UNSPACED}]", text):  # scripts without spaces have no borders of words
            begin = end = ""
        found[text] = regex.compile(f"{begin}{phrase}{end}")
    return found


def _check_words(phrases: dict[str, regex.Pattern[str]], needed: bool, text: str) -> None:
    folded = fold(text)
    wrong = [name for name, one in phrases.items() if (one.search(folded) is None) is needed]
    if wrong:
        raise FormatViolation(
            "; ".join(f"{'missing' if needed else 'has'} {name!r}" for name in wrong)
        )


_SCRIPTS = {
    "ar fa ur ps ug": "Arabic",
    "be bg kk ky mk mn ru sr uk": "Cyrillic",
    "el": "Greek",
    "he": "Hebrew",
    "hi mr ne": "Devanagari",
    "bn as": "Bengali",
    "ja": "Han|Hiragana|Katakana",
    "zh": "Han",
    "ko": "Hangul",
    "th": "Thai",
    "ta": "Tamil",
    "te": "Telugu",
    "ka": "Georgian",
    "hy": "Armenian",
    "am": "Ethiopic",
    "km": "Khmer",
    "lo": "Lao",
    "gu": "Gujarati",
    "kn": "Kannada",
    "ml": "Malayalam",
    "pa": "Gurmukhi",
    "si": "Sinhala",
    "or": "Oriya",
}
"""Languages that are not written in Latin letters, and their scripts."""

_SCRIPT_OF = {code: script for codes, script in _SCRIPTS.items() for code in codes.split()}
_LEAST_LETTERS = 20


@cache
def _language_model() -> Any:
    """Return the model, which takes a second to load."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE)


class LanguageChecker:
    """Tell whether a text is in one language."""

    def __init__(self, code: str) -> None:
        """Load the model.

        Raises:
            OptionError: for a language that it does not know.
        """
        self._identify = _language_model()
        known = sorted(map(str, self._identify.labels))
        self.code = code.strip().lower().replace("_", "-").partition("-")[0]
        if self.code not in known:
            raise OptionError(
                f"--answer_language {code!r} is not a known language{did_you_mean(code, known)}; "
                f"codes: {', '.join(known)}"
            )
        scripts = _SCRIPT_OF.get(self.code, "Latin").split("|")
        self._script = regex.compile("|".join(rf"\p{{{one}}}" for one in scripts))

    def check(self, text: str) -> None:
        """Check an answer.

        Raises:
            FormatViolation: when it is in another language.
        """
        letters = regex.findall(r"\p{L}", text)
        if len(letters) >= _LEAST_LETTERS:
            found = str(self._identify.classify(text)[0])
            if found != self.code:
                raise FormatViolation(f"in the language {found}, not {self.code}")
        elif 2 * len(self._script.findall(text)) < len(letters):
            raise FormatViolation(f"in letters that {self.code} does not use")


def answer_language(settings: TaskSettings, cases: Sequence[Case]) -> Measure:
    """See `MetricEntry.setup`; raises what `LanguageChecker` raises."""
    return partial(_measure, LanguageChecker(settings.answer_language).check)
