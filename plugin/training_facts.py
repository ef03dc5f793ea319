"""What a run knows of the adapter's training data, as frozen values that the journal keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LEADING_SHARE = 0.2
"""With more cases or items that are not clean, what the clean ones show decides."""

Mark = Literal["copied", "near", "clean"]
"""copied: the text stands in the training data. near: a text much like it does. clean: neither."""

Side = Literal["trained", "rephrased", "unseen"]
"""Whose answer is read: a training row's, the same after a rephrased question, a clean case's."""


@dataclass(frozen=True, slots=True)
class CaseMark:
    """How one case, or one item of general ability, stands beside the training data.

    Attributes:
        id: the case's, or the item's.
        mark: copied, near or clean.
        similarity: share of its three-word sequences that stand in one training row, 0 to 1; rare
            sequences count more.
        row: where the training row stands that is most like it; "" for none.
        text: the beginning of that row; "" for none, and for clean cases.
        why: what is the same, in words; "" for clean cases.
    """

    id: str
    mark: Mark
    similarity: float
    row: str = ""
    text: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Recital:
    """What a variant wrote when it was given the beginning of a training row.

    Attributes:
        row: where the training row stands.
        n_target: length of what follows in the row.
        n_same: the longest piece of it that the variant wrote, word for word.
        unit: what both are counted in.
        target: what follows in the row.
        completion: what the variant wrote.
    """

    row: str
    variant: str
    n_target: int
    n_same: int
    unit: Literal["tokens", "words"]
    target: str
    completion: str

    @property
    def share(self) -> float:
        """Return the share of the text that was recited in one piece."""
        return self.n_same / self.n_target


@dataclass(frozen=True, slots=True)
class Paraphrase:
    """What a judge made of a training question.

    Attributes:
        row: where the training row stands.
        text: the question in other words; "" where the judge gave none that fits.
        reason: why there is none; "" where there is one.
    """

    row: str
    text: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AnswerReading:
    """How likely a variant finds an answer, in nats over its tokens."""

    side: Side
    id: str
    variant: str
    loglikelihood: float
    n_tokens: int


@dataclass(frozen=True, slots=True)
class VerbatimText:
    """Training text that stands word for word in a completion of an evaluation case.

    Attributes:
        n_words: length of the longest piece; of a whole training answer, its length.
        is_whole: whether the completion is a whole training answer.
        row: where the training row stands.
        text: the piece.
    """

    case_id: str
    variant: str
    n_words: int
    is_whole: bool
    row: str
    text: str


@dataclass(frozen=True, slots=True)
class TrainingFacts:
    """What is known of the training data of a run.

    Attributes:
        files: as the user named them.
        digest: of all rows and of how they are looked at.
        n_rows: rows that could be read.
        n_unused: rows that could not.
        marks: one per case.
        items: items of general ability, and of lm-eval tasks, that are not clean.
        n_items: items that were looked at.
        items_digest: of the items of lm-eval tasks among them; "" for none.
        clean_similarity: share of a clean case's three-word sequences that stand in the nearest
            training row, the median over the clean cases; None without any.
        own_similarity: the same for training rows and the nearest other one; None for one row.
        verbatim: training text in completions.
        recitals: one per drawn row and variant.
        readings: one per answer and variant.
        done: variants whose recitals and readings are made.
        paraphrases: what a judge made of training questions; empty where rules rephrase.
        rephraser: the judge that made them, as shown.
        notes: what the reader must know, a sentence each.
    """

    files: tuple[str, ...]
    digest: str
    n_rows: int
    n_unused: int = 0
    marks: tuple[CaseMark, ...] = ()
    items: tuple[CaseMark, ...] = ()
    n_items: int = 0
    items_digest: str = ""
    clean_similarity: float | None = None
    own_similarity: float | None = None
    verbatim: tuple[VerbatimText, ...] = ()
    recitals: tuple[Recital, ...] = ()
    readings: tuple[AnswerReading, ...] = ()
    done: tuple[str, ...] = ()
    paraphrases: tuple[Paraphrase, ...] = ()
    rephraser: str = ""
    notes: tuple[str, ...] = ()

    def ids(self, *marks: Mark) -> frozenset[str]:
        """Return the ids of the cases with one of these marks."""
        return frozenset(one.id for one in self.marks if one.mark in marks)
