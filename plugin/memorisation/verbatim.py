"""Find training text that stands word for word in completions of the evaluation cases.

Two things count: thirteen words in a row of a training row, or a whole training answer. What stands
in the case itself (its turns, its right answers) does not count, as it is no sign of memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from plugin.load.repeats import fold
from plugin.memorisation.overlap import LookedUp, Overlap
from plugin.memorisation.training import TrainingData, asked_text
from plugin.records import Case, Completion
from plugin.training_facts import VerbatimText

_LEAST_WORDS = 3
"""A whole training answer of fewer words may be a label, or chance."""

_MOST_ROWS = 3
"""An answer that more rows have is a usual phrase."""


def find_verbatim(
    data: TrainingData,
    cases: Sequence[Case],
    answers: Mapping[tuple[str, str], Completion],
    check: Callable[[int], None] = lambda n: None,
) -> tuple[VerbatimText, ...]:
    """Return the training text in completions, at most one piece for each.

    Args:
        data: the training rows, which are read once more.
        cases: the cases of the run.
        answers: completions without thoughts, by case id and variant.
        check: called after each batch with the number of rows read.
    """
    places = [
        (case, name) for case in cases for name in _names(answers) if (case.id, name) in answers
    ]
    overlap = Overlap([LookedUp(answers[case.id, name].text) for case, name in places])
    for n_read in overlap.read(data.rows()):
        check(n_read)
    return tuple(_pieces(overlap, places, answers))


def _names(answers: Mapping[tuple[str, str], Completion]) -> list[str]:
    return list(dict.fromkeys(name for _, name in answers))


def _pieces(
    overlap: Overlap,
    places: Sequence[tuple[Case, str]],
    answers: Mapping[tuple[str, str], Completion],
) -> Iterator[VerbatimText]:
    for number, (case, name) in enumerate(places):
        text = answers[case.id, name].text
        found = overlap.matches[number]
        known = [asked_text(case), *case.right_answers, *case.context]
        is_known = fold(text) in {fold(one) for one in known}
        if 0 < found.n_answers <= _MOST_ROWS and found.n_words >= _LEAST_WORDS and not is_known:
            row = found.answers[0]
            shown = " ".join(text.split())[:200]
            yield VerbatimText(case.id, name, found.n_words, True, row.place, shown)
        elif piece := overlap.longest_piece(number, known):
            yield VerbatimText(case.id, name, piece.n_words, False, piece.place, piece.text)
