"""What a task of the ability strings is made of, and the operations that several tasks share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

VOWELS = "aeiou"


@dataclass(frozen=True, slots=True)
class Task:
    """One task.

    Attributes:
        wording: the question, with {} where the text stands.
        text: the text that is worked on.
        answer: makes the answer of the text: a text, a number, or a list of texts.
        is_cased: whether capital letters matter in the answer.
    """

    wording: str
    text: str
    answer: Callable[[str], str | int | list[str] | bool]
    is_cased: bool = False

    @property
    def question(self) -> str:
        """Return what is asked."""
        return self.wording.replace("{}", self.text)

    @property
    def _kind(self) -> tuple[str, dict[str, Any]]:
        answer = self.answer(self.text)
        if isinstance(answer, bool):
            return "label", {"answer": "yes" if answer else "no", "labels": ["yes", "no"]}
        if isinstance(answer, int):
            return "number", {"answer": answer}
        if isinstance(answer, list):
            return "items", {"items": answer}
        return "exact", {"answers": [answer], **({} if self.is_cased else {"case": False})}

    @property
    def check(self) -> dict[str, Any]:
        """Return what the rule needs to know."""
        return self._kind[1]

    @property
    def rule(self) -> str:
        """Return the rule that fits the kind of the answer."""
        return self._kind[0]


def words(text: str) -> list[str]:
    """Return the words of a text without the marks at their ends."""
    return [word.strip(".,!?;:") for word in text.split()]


def nth(n: int) -> Callable[[str], str]:
    """Return what takes the nth word, counted from 1, or from the end with a negative n."""
    return lambda text: words(text)[n - 1 if n > 0 else n]


def letter(n: int) -> Callable[[str], str]:
    """Return what takes the nth letter, counted from 1, or from the end with a negative n."""
    return lambda text: text[n - 1 if n > 0 else n]


def count(part: str) -> Callable[[str], int]:
    """Return what counts a part in a text, whatever its case."""
    return lambda text: text.lower().count(part)


def n_words(text: str) -> int:
    """Return the number of words."""
    return len(words(text))


def backwards(text: str) -> str:
    """Return the text from its last character to its first."""
    return text[::-1]


def without(characters: str) -> Callable[[str], str]:
    """Return what takes these characters out of a text."""
    return lambda text: "".join(c for c in text if c.lower() not in characters)


def swapped(old: str, new: str) -> Callable[[str], str]:
    """Return what puts one part in the place of another."""
    return lambda text: text.replace(old, new)


def commas(text: str) -> list[str]:
    """Return the items between commas."""
    return [part.strip() for part in text.split(",")]


def ordered(text: str) -> list[str]:
    """Return the items between commas in the order of the alphabet."""
    return sorted(commas(text), key=str.lower)


def initials(text: str) -> str:
    """Return the first letters of the words, in capitals."""
    return "".join(word[0].upper() for word in words(text))
