"""Mark every case as copied from the training data, near to it, or clean.

- copied: the question is that of a training row, or stands in one as a whole (a short one: with the
  expected answer); or that answer is that of few training rows and has eight words or more.
- near: half of its three-word sequences stand in one training row (rare ones count more), thirteen
  words in a row do, or a short answer is the same and the questions share a rare word.

An equal label, number or "yes" says nothing: many rows have it, and the questions share nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from plugin.memorisation.overlap import LONG, EqualRow, LookedUp, NearRow, Overlap, TextMatches
from plugin.memorisation.training import TrainingData, TrainingRow, asked_text
from plugin.records import Case, Message
from plugin.training_facts import CaseMark, TrainingFacts

NEAR = 0.5
"""From this similarity on a text is near to a training row."""

_NEAR_WORDS, _NEAR_WEIGHT = 6, 2.0
"""A text with fewer words, or with fewer rare sequences in common, is not near by its wording."""

_WHOLE_WORDS = 8
"""An answer with as many words says by itself that it was copied."""

_SHORT_WORDS, _SHORT_ROWS = 2, 3
"""A shorter answer counts with at least so many words, in at most so many training rows."""

_N_OWN = 100
"""Training rows that are compared with the others."""


@dataclass(frozen=True, slots=True)
class Looked:
    """A case or item as it is looked up.

    Attributes:
        question: its turns.
        answers: its right answers.
        parts: parts of the question that are questions by themselves, without a task's form.
    """

    id: str
    question: str
    answers: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """Return all texts that are looked up."""
        return self.question, *self.parts, *self.answers

    @classmethod
    def of(cls, case: Case) -> Looked:
        """Return a case as it is looked up."""
        return cls(case.id, asked_text(case), case.right_answers)

    @classmethod
    def of_turns(cls, name: str, turns: Sequence[Message]) -> Looked:
        """Return an item that has only a question."""
        return cls(name, "\n".join(turn.content for turn in turns if turn.role != "system"))


def mark_cases(
    data: TrainingData,
    cases: Sequence[Case],
    items: Sequence[Looked] = (),
    drawn: Sequence[TrainingRow] = (),
    check: Callable[[int], None] = lambda n: None,
) -> TrainingFacts:
    """Compare cases and items with all training rows.

    Args:
        data: the training rows, which are read once more.
        cases: the cases of the run.
        items: items of general ability.
        drawn: training rows that are compared with the others, to know how alike these are.
        check: called after each batch with the number of rows read.
    """
    looked = [*map(Looked.of, cases), *items]
    own = drawn[:_N_OWN] if data.n_rows > 1 else ()
    texts = [LookedUp(text) for one in looked for text in one.texts]
    overlap = Overlap([*texts, *(LookedUp(row.asked, row.number) for row in own)])
    for n_read in overlap.read(data.rows()):
        check(n_read)
    found = iter(overlap.matches)
    marks, shares = [], list[float]()
    for one in looked:
        question = next(found)
        shares.append(_share(question))
        parts = [next(found) for _ in one.parts]
        answers = [next(found) for _ in one.answers]
        marks.append(_mark(one.id, (question, *parts), answers, overlap))
    of_cases, of_items = marks[: len(cases)], marks[len(cases) :]
    alike = [_share(rest) for rest in found]
    clean = [share for one, share in zip(of_cases, shares, strict=False) if one.mark == "clean"]
    return TrainingFacts(
        files=data.files,
        digest="",
        n_rows=data.n_rows,
        n_unused=data.n_unused,
        marks=tuple(of_cases),
        items=tuple(one for one in of_items if one.mark != "clean"),
        n_items=len(of_items),
        clean_similarity=median(clean) if clean else None,
        own_similarity=median(alike) if alike else None,
        notes=data.notes,
    )


def _mark(
    name: str, questions: Sequence[TextMatches], answers: Iterable[TextMatches], overlap: Overlap
) -> CaseMark:
    """Return the strongest mark that the question, its parts or the answers give."""
    asked = [mark_question(name, one) for one in questions]
    found = next((one for one in asked if one.mark == "copied"), None)
    found = found or max(asked, key=lambda one: (one.mark == "near", one.similarity))
    for answer in answers:
        if found.mark == "copied":
            break
        if whole := _row_with_both(questions[0], answer):
            why = "question and answer stand in a training row"
            found = _of_row(name, "copied", whole, why)
            break
        own = _mark_answer(name, questions[0], answer, overlap)
        if own.mark == "copied" or (found.mark == "clean" and own.similarity >= found.similarity):
            found = own
        elif own.mark == "near" and found.mark == "clean":
            found = replace(own, similarity=found.similarity)
    return found


def _row_with_both(question: TextMatches, answer: TextMatches) -> NearRow | None:
    """Return the row in whose text both stand as a whole, such as that of a chat; None for none."""
    one, other = question.nearest, answer.nearest
    if one is None or other is None or one.place != other.place:
        return None
    enough = question.n_words + answer.n_words >= _WHOLE_WORDS
    is_rare = one.weight + other.weight >= _NEAR_WEIGHT
    return one if one.share == other.share == 1 and enough and is_rare else None


def mark_question(name: str, question: TextMatches) -> CaseMark:
    """Return the mark that a question gives by itself, under this name."""
    if question.questions:
        return _copied(name, question.questions[0], "the same question")
    near = question.nearest
    if near and near.share == 1 and question.n_words >= _WHOLE_WORDS:
        return _of_row(name, "copied", near, "the whole question stands in a training row")
    if question.n_answers and question.n_words >= _WHOLE_WORDS:
        return _copied(name, question.answers[0], "the question is a training answer")
    return _mark_wording(name, question, "question")


def _mark_answer(
    name: str, question: TextMatches, answer: TextMatches, overlap: Overlap
) -> CaseMark:
    is_rare = 0 < answer.n_answers <= max(_SHORT_ROWS, overlap.n_rows // 100)
    if is_rare and answer.n_words >= _WHOLE_WORDS:
        return _copied(name, answer.answers[0], "the same answer")
    if _SHORT_WORDS <= answer.n_words and 0 < answer.n_answers <= _SHORT_ROWS:
        for row in answer.answers:
            if _shares_rare_word(question.words, row, overlap):
                mark = _copied(name, row, "the same short answer to a question with the same words")
                return replace(mark, mark="near")
    if answer.n_answers:
        return CaseMark(name, "clean", 0.0)  # a label or a usual phrase
    return _mark_wording(name, answer, "answer")


def _shares_rare_word(words: frozenset[int], row: EqualRow, overlap: Overlap) -> bool:
    return overlap.has_rare_word(words & row.words, max(_SHORT_ROWS, overlap.n_rows // 200))


def _mark_wording(name: str, text: TextMatches, noun: str) -> CaseMark:
    """Mark a text by the sequences of words that it shares with a training row."""
    near = text.nearest
    if text.long_row is not None:
        similarity = near.similarity if near else 0.0
        found = _of_row(name, "near", text.long_row, f"{LONG} words in a row of the {noun}")
        return replace(found, similarity=round(similarity, 4))
    if near is None:
        return CaseMark(name, "clean", 0.0)
    enough = text.n_words >= _NEAR_WORDS and near.weight >= _NEAR_WEIGHT
    if enough and near.similarity >= NEAR:
        return _of_row(name, "near", near, f"{near.similarity:.0%} of the {noun}'s wording")
    return CaseMark(name, "clean", round(near.similarity, 4), near.place)


def _copied(name: str, row: EqualRow, why: str) -> CaseMark:
    return CaseMark(name, "copied", 1.0, row.place, row.excerpt, why)


def _of_row(name: str, mark: str, row: NearRow, why: str) -> CaseMark:
    is_copied = mark == "copied"
    similarity = 1.0 if is_copied else round(row.similarity, 4)
    return CaseMark(
        name, "copied" if is_copied else "near", similarity, row.place, row.excerpt, why
    )


def _share(text: TextMatches) -> float:
    """Return how much of a question's wording stands in the nearest training row."""
    return 1.0 if text.questions else text.share
