"""Texts as words and numbers: what is compared when training rows and cases are held together."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]

_SIGN = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_WORD = re.compile(
    f"{_SIGN.pattern}|"  # scripts without spaces: each sign
    "[^\\W\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+"
)

_STEP = np.uint64(0x9E3779B97F4A7C15)


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation.

    In a script without spaces between words each sign is a word.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return _WORD.findall(text.casefold())


def is_sign(word: str) -> bool:
    """Return whether a word is one sign of a script without spaces between words."""
    return len(word) == 1 and _SIGN.match(word) is not None


class Vocabulary:
    """Number the words of some texts from 1; every other word is 0."""

    def __init__(self) -> None:
        """Begin without words."""
        self._ids: dict[str, int] = {}
        self._long: set[int] = set()

    def __len__(self) -> int:
        """Return how many words have a number."""
        return len(self._ids)

    def add(self, text: str) -> Ints:
        """Return the numbers of a text's words; new words get one."""
        ids = self._ids
        return np.array([ids.setdefault(w, len(ids) + 1) for w in words_of(text)], np.int64)

    def is_long(self, number: int) -> bool:
        """Return whether a word has four letters, unlike "of", or is a sign of its own."""
        if not self._long:
            self._long = {n for word, n in self._ids.items() if len(word) > 3 or word > "\u0dff"}
        return number in self._long

    def look_up(self, text: str) -> list[int]:
        """Return the numbers of a text's words."""
        get = self._ids.get
        return [get(word, 0) for word in words_of(text)]


def gram_hashes(ids: Ints, n: int) -> tuple[Hashes, Ints]:
    """Return the hash and the place of every sequence of n known words.

    Args:
        ids: numbers of words; 0 for an unknown word.
        n: length of a sequence.
    """
    if len(ids) < n:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    mixed = _mix(ids.astype(np.uint64))
    n_places = len(ids) - n + 1
    hashes = np.zeros(n_places, np.uint64)
    for offset in range(n):
        hashes = hashes * _STEP + mixed[offset : offset + n_places]
    unknown = np.concatenate(([0], np.cumsum(ids == 0)))
    places = np.flatnonzero(unknown[n:] == unknown[:-n])
    return hashes[places], places


def _mix(values: Hashes) -> Hashes:
    """Return each number scrambled (the finaliser of splitmix64), so that sums tell them apart."""
    values = values * _STEP
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def longest_common(first: Sequence[object], second: Sequence[object]) -> int:
    """Return the length of the longest piece that stands in both sequences."""
    best = 0
    before = [0] * (len(second) + 1)
    for one in first:
        row = [0] * (len(second) + 1)
        for place, other in enumerate(second, 1):
            if one == other:
                row[place] = before[place - 1] + 1
                best = max(best, row[place])
        before = row
    return best


def joined(texts: Iterable[Sequence[int]], gap: int = 13) -> tuple[Ints, Ints]:
    """Return the numbers of several texts in one row, and the text that each belongs to.

    Between two texts stand unknown words, so that no sequence reaches over the gap.
    """
    ids: list[int] = []
    owners: list[int] = []
    for number, text in enumerate(texts):
        ids += text
        ids += [0] * gap
        owners += [number] * (len(text) + gap)
    return np.array(ids, np.int64), np.array(owners, np.int64)
