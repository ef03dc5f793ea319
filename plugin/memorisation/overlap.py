"""Find for each of some texts the training rows that are most like it, in one pass over the rows.

Only sequences of words of the given texts are kept, so memory does not grow with the training
data, and no sketch such as MinHash is needed. A sequence of three words counts the more the fewer
training rows have it; one that many rows have (a template) does not count at all.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plugin.load.repeats import fold
from plugin.memorisation.texts import Hashes, Ints, Vocabulary, gram_hashes, joined, words_of
from plugin.memorisation.training import TrainingRow

SHORT, LONG = 3, 13
"""Lengths of the sequences of words that are compared."""

_N_NEAREST = 8
"""Rows that are remembered for each text."""

_N_AT_ONCE = 2_000
_COMMON, _COMMON_SHARE = 20, 0.02
"""A sequence in more rows than this, and in more than this share of them, is a template's."""

_N_EXCERPT = 160


class LookedUp(NamedTuple):
    """A text to look for.

    Attributes:
        text: the text.
        skip: number of a training row that does not count, since the text is its own; 0 for none.
    """

    text: str
    skip: int = 0


class NearRow(NamedTuple):
    """A training row that shares something with a text.

    Attributes:
        similarity: share of the text's short sequences that the row has, the rare ones weighing
            more; 0 to 1.
        weight: how much these sequences weigh together: about the number of rare ones.
        share: the plain share of the text's short sequences.
    """

    place: str
    excerpt: str
    similarity: float = 0.0
    weight: float = 0.0
    share: float = 0.0


class Piece(NamedTuple):
    """Words in a row that stand in a training row too."""

    n_words: int
    text: str
    place: str


class EqualRow(NamedTuple):
    """A training row whose question or answer is the text; words: those of its question."""

    place: str
    excerpt: str
    words: frozenset[int]


@dataclass(slots=True)
class TextMatches:
    """What the training data has of one text.

    Attributes:
        n_words: of the text.
        words: their numbers.
        n_questions: rows whose question is the text.
        n_answers: rows whose answer is the text.
        questions: the first of these rows.
        answers: the first of those.
        nearest: the row that is most like it; None if none has anything of it.
        share: the largest plain share of its short sequences that one row has.
        long_row: a row with thirteen words in a row of it that few rows have; None for none.
    """

    n_words: int
    words: frozenset[int]
    n_questions: int = 0
    n_answers: int = 0
    questions: list[EqualRow] = field(default_factory=list)
    answers: list[EqualRow] = field(default_factory=list)
    nearest: NearRow | None = None
    share: float = 0.0
    long_row: NearRow | None = None


class _Candidate(NamedTuple):
    n_shared: int
    number: int
    place: str
    excerpt: str
    grams: tuple[int, ...]


class Overlap:
    """Hold texts, read training rows, and tell what the rows have of each text."""

    def __init__(self, texts: Sequence[LookedUp]) -> None:
        """Number the words of the texts, and list their sequences.

        Args:
            texts: what to look for.
        """
        self._vocabulary, self._texts = Vocabulary(), texts
        ids = self._ids = [self._vocabulary.add(one.text) for one in texts]
        self.matches = [TextMatches(len(own), frozenset(own.tolist())) for own in ids]
        self._equal: dict[str, list[int]] = {}
        for number, one in enumerate(texts):
            if folded := fold(one.text):
                self._equal.setdefault(folded, []).append(number)
        self._short = _Grams(ids, SHORT)
        self._long = _Grams(ids, LONG)
        self._long_rows: dict[int, NearRow] = {}
        self._word_rows = np.zeros(len(self._vocabulary) + 1, np.int64)
        self._best: list[list[_Candidate]] = [[] for _ in texts]
        self._least = np.zeros(len(texts), np.int64)
        self._n_rows = 0

    @property
    def n_rows(self) -> int:
        """Return how many training rows were read."""
        return self._n_rows

    def longest_piece(self, number: int, known: Sequence[str]) -> Piece | None:
        """Return the longest piece of a text that stands in the training data, from thirteen words.

        Args:
            number: the text's.
            known: texts whose own pieces do not count.
        """
        taken: set[int] = set()
        for text in known:
            ids = np.array(self._vocabulary.look_up(text), np.int64)
            taken.update(gram_hashes(ids, LONG)[0].tolist())
        few, best = max(3, self._n_rows // 100), (0, 0)
        length, rows = 0, self._long_rows
        hashes, places = gram_hashes(self._ids[number], LONG)
        at = np.searchsorted(self._long.hashes, hashes)
        for gram, one, place in zip(at.tolist(), hashes.tolist(), places.tolist(), strict=True):
            counts = gram in rows and self._long.n_rows[gram] <= few and one not in taken
            length = length + 1 if counts else 0
            best = max(best, (length, place))
        if not best[0]:
            return None
        n_words, end = best[0] + LONG - 1, best[1] + LONG
        words = words_of(self._texts[number].text)[end - n_words : end]
        first = int(np.searchsorted(self._long.hashes, hashes[best[1]]))
        return Piece(n_words, " ".join(words), rows[first].place)

    def has_rare_word(self, words: frozenset[int], most: int) -> bool:
        """Return whether one of these words (numbers) is long, and in at most so many rows."""
        return any(
            self._word_rows[word] <= most and self._vocabulary.is_long(word) for word in words
        )

    def read(self, rows: Iterator[TrainingRow]) -> Iterator[int]:
        """Read all rows, and yield the number read so far after each batch."""
        batch: list[TrainingRow] = []
        for row in rows:
            batch.append(row)
            if len(batch) == _N_AT_ONCE:
                self._read_batch(batch)
                yield self._n_rows
                batch = []
        if batch:
            self._read_batch(batch)
        self._finish()
        yield self._n_rows

    def _read_batch(self, rows: Sequence[TrainingRow]) -> None:
        self._n_rows += len(rows)
        look_up = self._vocabulary.look_up
        gap = [0] * LONG
        asked = [look_up(row.asked) for row in rows]
        ids, owners = joined(
            [own + gap + look_up(row.answer) for own, row in zip(asked, rows, strict=True)]
        )
        for row, own in zip(rows, asked, strict=True):
            self._note_equal(row, own)
        known = ids > 0
        pairs = np.unique(owners[known] * len(self._word_rows) + ids[known])
        np.add.at(self._word_rows, pairs % len(self._word_rows), 1)
        for row_number, gram in zip(*self._long.count(ids, owners), strict=True):
            if gram not in self._long_rows:
                row = rows[row_number]
                if any(self._texts[n].skip != row.number for n in self._long.owners_of(gram)):
                    self._long_rows[gram] = NearRow(row.place, _excerpt(row))
        self._note_near(rows, *self._short.count(ids, owners))

    def _note_equal(self, row: TrainingRow, asked: Sequence[int]) -> None:
        """Keep whose question or answer is one of the texts."""
        for text, is_question in ((row.asked, True), (row.answer, False)):
            for number in self._equal.get(fold(text), ()) if text else ():
                if self._texts[number].skip == row.number:
                    continue
                found = self.matches[number]
                kept = found.questions if is_question else found.answers
                found.n_questions += is_question
                found.n_answers += not is_question
                if len(kept) < _N_NEAREST:
                    kept.append(EqualRow(row.place, _excerpt(row), frozenset(asked)))

    def _note_near(self, rows: Sequence[TrainingRow], row_numbers: Ints, grams: Ints) -> None:
        """Keep the rows that share the most short sequences with each text."""
        is_rare = self._short.n_rows[grams] <= self._most_rows()
        row_numbers, grams = row_numbers[is_rare], grams[is_rare]
        places, texts = self._short.expand(grams)
        keys = texts * len(rows) + row_numbers[places]
        order = np.argsort(keys, kind="stable")
        keys, shared = keys[order], grams[places][order]
        starts = np.flatnonzero(np.diff(keys, prepend=-1))
        counts = np.diff(np.append(starts, len(keys)))
        found = keys[starts] // len(rows)
        for at in np.flatnonzero(counts > self._least[found]).tolist():
            text, n_shared = int(found[at]), int(counts[at])
            row = rows[int(keys[starts[at]]) % len(rows)]
            if n_shared <= self._least[text] or row.number == self._texts[text].skip:
                continue
            own = tuple(shared[starts[at] : starts[at] + n_shared].tolist())
            candidate = _Candidate(n_shared, -row.number, row.place, _excerpt(row), own)
            best = self._best[text]
            if len(best) < _N_NEAREST:
                heapq.heappush(best, candidate)
            else:
                heapq.heapreplace(best, candidate)
                self._least[text] = best[0].n_shared

    def _most_rows(self) -> int:
        return max(_COMMON, int(_COMMON_SHARE * self._n_rows))

    def _finish(self) -> None:
        """Weigh the rows that were kept, and choose the nearest for each text."""
        weights = self._short.weights(self._n_rows, self._most_rows())
        few = max(3, self._n_rows // 100)
        for text, found in enumerate(self.matches):
            own = self._short.of_text[text]
            whole = float(weights[own].sum())
            for one in self._best[text]:
                weight = float(weights[list(one.grams)].sum())
                similarity = min(1.0, weight / whole) if whole else 0.0
                share = one.n_shared / len(own)
                found.share = max(found.share, share)
                if found.nearest is None or similarity > found.nearest.similarity:
                    found.nearest = NearRow(one.place, one.excerpt, similarity, weight, share)
            for gram in self._long.of_text[text].tolist():
                if gram in self._long_rows and self._long.n_rows[gram] <= few:
                    found.long_row = self._long_rows[gram]
                    break


class _Grams:
    """The sequences of n words of some texts, each once, and who has them."""

    def __init__(self, texts: Sequence[Ints], n: int) -> None:
        """List the sequences of n words of the texts."""
        self._n = n
        own = [np.unique(gram_hashes(ids, n)[0]) for ids in texts]
        self.hashes: Hashes = np.unique(np.concatenate([np.empty(0, np.uint64), *own]))
        self.of_text = [np.searchsorted(self.hashes, one) for one in own]
        self.n_rows = np.zeros(len(self.hashes), np.int64)
        grams = np.concatenate([np.empty(0, np.int64), *self.of_text])
        owners = np.repeat(np.arange(len(texts)), [len(one) for one in own])
        self._owners = owners[np.argsort(grams, kind="stable")]
        self._ends = np.concatenate(
            ([0], np.cumsum(np.bincount(grams, minlength=len(self.n_rows))))
        )

    def count(self, ids: Ints, owners: Ints) -> tuple[Ints, Ints]:
        """Return the pairs of row and known sequence in it, and count the rows of each sequence.

        Args:
            ids: the words of several rows, as `joined` gives them.
            owners: the row of each word.
        """
        none = np.empty(0, np.int64)
        if not len(self.hashes):
            return none, none
        hashes, places = gram_hashes(ids, self._n)
        at = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        there = self.hashes[at] == hashes
        pairs = np.unique(owners[places[there]] * len(self.hashes) + at[there])
        rows, grams = np.divmod(pairs, len(self.hashes))
        self.n_rows += np.bincount(grams, minlength=len(self.hashes))
        return rows, grams

    def owners_of(self, gram: int) -> NDArray[np.int64]:
        """Return the texts that have a sequence."""
        return self._owners[self._ends[gram] : self._ends[gram + 1]]

    def expand(self, grams: Ints) -> tuple[Ints, Ints]:
        """Return each sequence's place in the argument, and a text that has it, for every text."""
        starts, counts = self._ends[grams], np.diff(self._ends)[grams]
        places = np.repeat(np.arange(len(grams)), counts)
        within = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
        return places, self._owners[starts[places] + within]

    def weights(self, n_rows: int, most: int) -> NDArray[np.float64]:
        """Return what each sequence weighs: 1 for the rarest, 0 for a template's.

        Args:
            n_rows: all training rows.
            most: a sequence that more rows have weighs nothing.
        """
        seen = np.maximum(self.n_rows, 1)
        found = np.log((n_rows + 1) / seen) / math.log(n_rows + 1)
        return np.where(self.n_rows > most, 0.0, np.clip(found, 0.0, 1.0))


def _excerpt(row: TrainingRow) -> str:
    text = row.text[: 2 * _N_EXCERPT]
    return text if len(text) <= _N_EXCERPT else f"{text[: _N_EXCERPT - 1]}…"
