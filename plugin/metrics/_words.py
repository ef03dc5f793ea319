"""SQuAD's normalisation of answers, shared by the word metrics.

Rajpurkar et al. 2016, "SQuAD: 100,000+ Questions for Machine Comprehension of Text": lower case,
without punctuation, articles and extra white space.
"""

from __future__ import annotations

import string

_ARTICLES = frozenset({"a", "an", "the"})
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised_words(text: str) -> list[str]:
    """The words that count."""
    words = text.lower().translate(_WITHOUT_PUNCTUATION).split()
    return [word for word in words if word not in _ARTICLES]
