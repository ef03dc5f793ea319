"""SQuAD's normalisation of answers, shared by the word metrics.

Rajpurkar et al. 2016, "SQuAD: 100,000+ Questions for Machine Comprehension of Text": lower case,
without punctuation, articles and extra white space.
"""

from __future__ import annotations

import string
from collections import Counter

_ARTICLES = frozenset({"a", "an", "the"})
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised_words(text: str) -> list[str]:
    """The words that count."""
    words = text.lower().translate(_WITHOUT_PUNCTUATION).split()
    return [word for word in words if word not in _ARTICLES]


def same_words(said: str, wanted: str) -> bool:
    """Whether the texts are the same after normalisation."""
    return normalised_words(said) == normalised_words(wanted)


def overlap_f1(said: str, wanted: str) -> float:
    """F1 = 2PR / (P + R) of the words that the texts share, counted with repetition.

    P is the share of the words said that are wanted, R the share of those wanted that are said.
    """
    ours, theirs = Counter(normalised_words(said)), Counter(normalised_words(wanted))
    if not ours or not theirs:
        return float(ours == theirs)
    return 2 * (ours & theirs).total() / (ours.total() + theirs.total())
