"""Compare the words of completion and expected output, without a judge.

- Exact Match: 1 if completion and expected output are the same after normalisation, else 0.
- Token F1: overlap of words between completion and expected output.

Both metrics and their normalisation follow Rajpurkar et al. 2016, "SQuAD: 100,000+ Questions for
Machine Comprehension of Text": lower case, without punctuation, articles and extra white space. As
there, the best of several right answers counts.
"""

from __future__ import annotations

import string
from collections import Counter

from plugin.metrics import Ask, Measured
from plugin.records import Case

_ARTICLES = frozenset({"a", "an", "the"})
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised_words(text: str) -> list[str]:
    """Return the words of a text after normalisation."""
    words = text.lower().translate(_WITHOUT_PUNCTUATION).split()
    return [word for word in words if word not in _ARTICLES]


def same_words(text: str, wanted: str) -> bool:
    """Return whether the texts are the same after normalisation."""
    return normalised_words(text) == normalised_words(wanted)


def overlap_f1(text: str, wanted: str) -> float:
    """Return F1 = 2PR / (P + R) of the words that both texts have, counted with repetition.

    Precision P is the share of the text's words that are wanted, recall R the share of the wanted
    words that are in the text.
    """
    ours, theirs = Counter(normalised_words(text)), Counter(normalised_words(wanted))
    if not ours or not theirs:
        return float(ours == theirs)
    return 2 * (ours & theirs).total() / (ours.total() + theirs.total())


async def exact_match(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`; no judge is asked."""
    return Measured(max(float(same_words(completion, wanted)) for wanted in _wanted(case)))


async def token_f1(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`; no judge is asked."""
    return Measured(max(overlap_f1(completion, wanted) for wanted in _wanted(case)))


def _wanted(case: Case) -> tuple[str, ...]:
    """Return the right answers, of which the best one counts."""
    return case.right_answers or ("",)
