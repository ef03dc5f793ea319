"""Compare the words of completion and expected output, without a judge.

- Exact Match: 1 if both are the same after normalisation, else 0.
- Plain Exact Match: 1 if both are the same, character by character, but for the white space around
  them.
- Token F1: overlap of words.
- ROUGE-1, ROUGE-2, ROUGE-L: overlap of words, of pairs of words, and the longest common sequence
  of words, each as F1. The usual library drops every letter that is not in a-z, so it scores other
  scripts 0; this implementation does not, and agrees with it on English (without stemming).
- BLEU, chrF: of sacrebleu, for one sentence. They run from 0 to 1 here, not to 100.
- Contains: 1 if the completion has all that is expected somewhere in it.

Where a case has several references, the one that fits best counts.

Exact Match, Token F1 and their normalisation follow Rajpurkar et al. 2016, "SQuAD: 100,000+
Questions for Machine Comprehension of Text". Two things differ: punctuation and words of all
scripts are known, and texts of nothing but punctuation and articles are compared as they are.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from plugin.errors import OptionError
from plugin.metrics import Ask, Measure, Measured
from plugin.metrics._patterns import Pattern
from plugin.metrics._words import fold, is_unspaced, letter_words, squad_words
from plugin.metrics.entry import TaskSettings
from plugin.records import Case

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric as SacreMetric


def same_words(text: str, wanted: str) -> bool:
    """Return whether the texts are the same after normalisation."""
    ours, theirs = squad_words(text), squad_words(wanted)
    return ours == theirs if ours or theirs else same_text(text, wanted)


def same_text(text: str, wanted: str) -> bool:
    """Return whether the texts are the same but for the white space around them."""
    ours, theirs = (unicodedata.normalize("NFC", one.strip()) for one in (text, wanted))
    return ours == theirs


def overlap_f1(text: str, wanted: str) -> float:
    """Return F1 = 2PR / (P + R) of the words that both texts have, counted with repetition.

    Precision P is the share of the text's words that are wanted, recall R the share of the wanted
    words that are in the text.
    """
    ours, theirs = Counter(squad_words(text)), Counter(squad_words(wanted))
    if not ours or not theirs:
        return float(ours == theirs and same_text(text, wanted))
    return 2 * (ours & theirs).total() / (ours.total() + theirs.total())


def _best(compare: Callable[[str, str], float], case: Case, completion: str) -> Measured:
    return Measured(
        max(float(compare(completion, wanted)) for wanted in case.right_answers or ("",))
    )


async def exact_match(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`; no judge is asked."""
    return _best(same_words, case, completion)


async def plain_exact_match(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`; no judge is asked."""
    return _best(same_text, case, completion)


async def token_f1(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`; no judge is asked."""
    return _best(overlap_f1, case, completion)


def rouge_n(text: str, wanted: str, n: int) -> float:
    """Return the F1 of the runs of n words that both texts have, counted with repetition.

    Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries"; n is 1 or 2.
    """
    ours, theirs = (
        Counter(words if n == 1 else pairwise(words)) for words in map(letter_words, (text, wanted))
    )
    return _f1((ours & theirs).total(), ours.total(), theirs.total())


def rouge_l(text: str, wanted: str) -> float:
    """Return the F1 of the longest sequence of words that both texts have in the same order."""
    ours, theirs = letter_words(text), letter_words(wanted)
    return _f1(common_length(ours, theirs), len(ours), len(theirs))


def _f1(n_common: int, n_ours: int, n_theirs: int) -> float:
    return 2 * n_common / (n_ours + n_theirs) if n_common else 0.0


def common_length(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """Return the length of the longest common subsequence.

    The usual table of lengths takes minutes for texts of 100,000 characters. Here a row of it is
    one number with a bit per word (Hyyro 2004, "Bit-parallel LCS-length computation revisited").
    """
    places: dict[str, int] = {}
    for place, word in enumerate(ours):
        places[word] = places.get(word, 0) | 1 << place
    full = (1 << len(ours)) - 1
    row = full
    for word in theirs:
        found = row & places.get(word, 0)
        row = (row + found | row - found) & full
    return len(ours) - row.bit_count()


async def rouge_1(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`; no judge is asked."""
    return _best(partial(rouge_n, n=1), case, completion)


async def rouge_2(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`; no judge is asked."""
    return _best(partial(rouge_n, n=2), case, completion)


async def rouge_longest(case: Case, completion: str, ask: Ask) -> Measured:
    """See `plugin.metrics.Measure`; no judge is asked."""
    return _best(rouge_l, case, completion)


def bleu_of(cases: Sequence[Case]) -> SacreMetric:
    """Return sacrebleu's BLEU; characters are its words where the references have no spaces."""
    from sacrebleu.metrics.bleu import BLEU

    texts = [text for case in cases for text in case.right_answers]
    n_unspaced = sum(is_unspaced(text) for text in texts)
    tokenize = "char" if 2 * n_unspaced > len(texts) else "13a"
    return BLEU(effective_order=True, tokenize=tokenize)


def chrf_of(cases: Sequence[Case]) -> SacreMetric:
    """Return sacrebleu's chrF, with its own settings (six characters, no words, beta 2)."""
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()


def bleu(settings: TaskSettings, cases: Sequence[Case]) -> Measure:
    """See `MetricEntry.setup`."""
    return partial(_score_with_sacrebleu, bleu_of(cases))


def chrf(settings: TaskSettings, cases: Sequence[Case]) -> Measure:
    """See `MetricEntry.setup`."""
    return partial(_score_with_sacrebleu, chrf_of(cases))


async def _score_with_sacrebleu(
    metric: SacreMetric, case: Case, completion: str, ask: Ask
) -> Measured:
    found = metric.sentence_score(completion, list(case.right_answers))
    return Measured(min(found.score / 100, 1.0))  # rounding can lift a perfect score above 100


PATTERN = "regex:"
"""What a pattern begins with; other texts are looked for as they are."""


def contains(settings: TaskSettings, cases: Sequence[Case]) -> Measure:
    """Return the measure that looks for what --expect names, or for the case's own texts.

    Raises:
        OptionError: for patterns that are not valid, all of them at once, and for cases in which
            there is nothing to look for.
    """
    texts = {text: f"--expect {text!r}" for text in settings.expect}
    if not settings.expect:
        for case in cases:
            for text in _expected_texts(case):
                if text.startswith(PATTERN):
                    texts.setdefault(text, f"case {case.id}, {text!r}")
    patterns, problems = dict[str, Pattern](), list[str]()
    for text, where in texts.items():
        if text.startswith(PATTERN):
            try:
                patterns[text] = _pattern(text.removeprefix(PATTERN))
            except ValueError as error:
                problems.append(f"{where}: {error}")
    bare = [case.id for case in cases if not (settings.expect or _expected_texts(case))]
    if bare:
        more = f" and {len(bare) - 1} more" if len(bare) > 1 else ""
        raise OptionError(
            f"--predefined_tasks Contains: case {bare[0]}{more} has neither a text in the column "
            "expect nor an expected output. Give --expect TEXT, or fill in the column"
        )
    if problems:
        more = f"\nand {len(problems) - 10} more" if len(problems) > 10 else ""
        raise OptionError("\n".join(problems[:10]) + more)
    return partial(_look_for, settings.expect, patterns)


def _pattern(text: str) -> Pattern:
    """Compile what stands behind `PATTERN`.

    Raises:
        ValueError: when there is nothing, or it is not valid.
    """
    if not text:
        raise ValueError("no pattern follows; every answer would fit. Write one")
    return Pattern(text)


def _expected_texts(case: Case) -> tuple[str, ...]:
    """Return the texts of the case's column `expect`; where it has none, its references."""
    return case.expect or case.right_answers


async def _look_for(
    texts: tuple[str, ...], patterns: dict[str, Pattern], case: Case, completion: str, ask: Ask
) -> Measured:
    own = texts or case.expect
    wanted = own or case.right_answers
    missing = [text for text in wanted if not _has(completion, text, patterns)]
    if missing and (own or len(missing) == len(wanted)):  # one reference is enough
        return Measured(0.0, f"missing: {', '.join(missing)[:200]}")
    return Measured(1.0)


def _has(completion: str, text: str, patterns: dict[str, Pattern]) -> bool:
    """Return whether the completion has a text, or what a pattern describes."""
    if text in patterns:
        return patterns[text].is_in(completion)
    return fold(" ".join(text.split())) in fold(" ".join(completion.split()))
