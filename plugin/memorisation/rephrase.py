"""Ask a training question in other words, by rules: English only, and the meaning stays the same.

A model that only learned a wording loses the answer; a model that learned the fact keeps it.
"""

from __future__ import annotations

import re
import zlib

from plugin.languages import is_written_in, language_of

_LAST_PHRASE = re.compile(r"^(?P<rest>\S+ .+?) (?P<phrase>(?:in|on|at|during) [A-Z][^?,.;:]*)\?$")
_QUESTION_WORDS = (
    "who whom whose what which when where why how is are was were do does did can could will would "
    "should has have had"
).split()

_ASKING = (
    "Can you tell me: {}",
    "I would like to know this: {}",
    "Here is a question for you. {} Please answer it.",
)
_TELLING = (
    "Please do the following. {}",
    "Here is a task for you: {}",
    "I need your help with this: {}",
)
_ENGLISH = re.compile(r"[\x00-\x7f\u2010-\u2027]*")


def rephrase(text: str) -> str:
    """Return a question or an instruction in other words; "" where no rule fits.

    The last phrase of place or time goes to the front, and the sentence gets a frame. Which frame
    depends on the text alone, so the same text is always asked in the same way.

    Args:
        text: one turn of the user.
    """
    plain = text.strip()
    if not plain or not is_english(plain):
        return ""
    first = plain.split()[0].lower().strip(",")
    is_question = plain.endswith("?") and (first in _QUESTION_WORDS or "," in plain)
    if is_question and (found := _LAST_PHRASE.match(plain)):
        phrase, rest = found["phrase"], found["rest"]
        plain = f"{phrase[0].upper()}{phrase[1:]}, {rest[0].lower()}{rest[1:]}?"
    frames = _ASKING if plain.endswith("?") else _TELLING
    return frames[zlib.crc32(text.encode()) % len(frames)].format(plain)


def is_english(text: str) -> bool:
    """Return whether a text can be English: no other language and no other letters show."""
    if not _ENGLISH.fullmatch(text):
        return False
    found = language_of(text).language
    first = text.split()[0].lower().strip(",:")
    return found == "English" or (found == "" and (first in _QUESTION_WORDS or _is_told(text)))


def _is_told(text: str) -> bool:
    return is_written_in(text, "English")
