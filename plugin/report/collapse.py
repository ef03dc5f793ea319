"""Look for completions of a model that collapsed: it repeats itself, or says one thing to all.

Fine-tuning can end in a model that says the same words again and again, gives one answer to many
questions, or answers in another language. Scores show that it is bad but not why. What is right for
a case is never counted: an expected output that repeats itself, a label that many cases share.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from plugin.compare.numbers import format_count
from plugin.languages import Language, language_of
from plugin.records import Case, Completion, Variant

_LEAST_WARNED, _SHARE_WARNED = 2, 0.02
"""Repeats and other languages are warned of from so many completions on, and this share of them."""

_LONGEST_WORDS, _LONGEST_CHARACTERS = 60, 30
"""Longest stretch that is looked for as one that repeats."""

_LEAST_LETTERS = 8
"""Of words that repeat: "no no no" is an answer."""

_LEAST_ALIKE, _SHARE_ALIKE = 5, 0.1
"""From so many questions on, and this share of them, one answer to all of them is looked at."""

_CONSTANT = 0.9
"""An answer to such a share of the questions is given whatever is asked."""

_LABEL_WORDS = 4
"""Shorter answers may be labels, which many cases share."""

_SHOWN = 60

Answers = Mapping[tuple[str, str], Completion]
"""(case id, variant) -> completion, without its thoughts."""


@dataclass(frozen=True, slots=True)
class Collapse:
    """What one variant's completions have of it.

    Attributes:
        n: completions that were looked at.
        repeating: ids of the cases whose completion repeats itself.
        other_language: ids of the cases whose completion is in another language or script than the
            expected output and the base's completion, as far as these are known.
        languages: of the first of these: the language of the completion, and the one instead of
            which it stands; "" for none.
        common_answer: the answer that it gives to most different questions.
        n_questions: how many different questions there are; cases of one cluster ask the same.
        n_common: how many of them get that answer.
        is_one_answer: whether that is more than the cases explain.
    """

    variant: str
    n: int
    repeating: tuple[str, ...]
    other_language: tuple[str, ...]
    languages: tuple[str, str]
    common_answer: str
    n_questions: int
    n_common: int
    is_one_answer: bool


def find_collapse(
    cases: Sequence[Case], variants: Sequence[Variant], answers: Answers
) -> tuple[Collapse, ...]:
    """Return what every variant's completions have of it, the base first."""
    found = list[Collapse]()
    expected = {case.id: language_of(case.expected_output or "") for case in cases}
    of_base: dict[str, Language] = {}
    for variant in variants:
        name = variant.name
        own = [(case, answers[case.id, name].text) for case in cases if (case.id, name) in answers]
        languages = {case.id: language_of(text) for case, text in own}
        instead = _other_languages([case for case, _ in own], languages, expected, of_base)
        of_base = of_base or languages
        first = next(iter(instead), "")
        common, n_questions, n_common = _most_common(own)
        one = Collapse(
            variant=name,
            n=len(own),
            repeating=tuple(
                case.id
                for case, text in own
                if repeats_itself(text) and not repeats_itself(case.expected_output or "")
            ),
            other_language=tuple(instead),
            languages=(languages[first].name, instead[first].name) if first else ("", ""),
            common_answer=common,
            n_questions=n_questions,
            n_common=n_common,
            is_one_answer=_is_one_answer(own, common, found[0] if found else None),
        )
        found.append(one)
    return tuple(found)


def _other_languages(
    cases: Sequence[Case],
    languages: Mapping[str, Language],
    expected: Mapping[str, Language],
    of_base: Mapping[str, Language],
) -> dict[str, Language]:
    """Return the cases answered in an unexpected language, with the one that was to be expected.

    It must differ from that of the expected output and from that of the base's completion, as far
    as they are known; where no output is expected, the language of the question is right, too.

    Args:
        cases: the cases with a completion.
        languages: case id -> language of the completion.
        expected: case id -> language of the expected output.
        of_base: the same of the base's completions; empty for the base itself.
    """
    found = {}
    for case in cases:
        own, wanted = languages[case.id], expected[case.id]
        known = [one for one in (wanted, of_base.get(case.id, Language(""))) if one.script]
        if not known or not all(own.differs(one) for one in known):
            continue
        if wanted.script or own.differs(language_of(case.input)):
            found[case.id] = known[0]
    return found


_TOKEN = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]|[^\W_]+")
"""A word, or a character of a script without spaces."""

_ASCII_TOKEN = re.compile("[a-z0-9]+")
"""The same for plain text, much faster."""


def repeats_itself(text: str) -> bool:
    """Return whether most of a text, up to its end, is the same words or characters over and over.

    Counted is a text of which 60% or more is one stretch three times in a row, or a quarter of
    twenty words or more five times. A poem's refrain, a list, and closing tags of code are less.
    """
    words = (_ASCII_TOKEN if text.isascii() else _TOKEN).findall(text.casefold())
    if _words_repeat(words) or _words_repeat(words[:-1]):  # the last word may be cut off
        return True
    signs = "".join(text.split())
    covered, times = _repeated_end(signs, _LONGEST_CHARACTERS)
    is_most = times >= 5 and covered >= max(20, 0.6 * len(signs))
    return is_most and not signs[-covered:].isdigit()


def _words_repeat(words: Sequence[str]) -> bool:
    covered, times = _repeated_end(words, _LONGEST_WORDS)
    end = words[-covered:] if covered else []
    if sum(map(len, end)) < _LEAST_LETTERS or not any(word.isalpha() for word in end):
        return False
    is_most = times >= 3 and covered >= 0.6 * len(words)
    return is_most or (times >= 5 and covered >= max(20, 0.25 * len(words)))


def _repeated_end(items: Sequence[str], longest: int) -> tuple[int, int]:
    """Return how many items at the end are one stretch three times or more, and how many times."""
    n, most = len(items), (0, 0)
    for period in range(1, min(longest, n // 3) + 1):
        place = n - 1 - period
        while place >= 0 and items[place] == items[place + period]:
            place -= 1
        covered = n - 1 - place
        if covered >= 3 * period and covered > most[0]:
            most = covered, covered // period
        if most[0] >= 0.9 * n:
            break
    return most


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .!?")


def _question(case: Case) -> Hashable:
    """Return what is the same for cases that ask the same."""
    return ("cluster", case.cluster) if case.cluster else _plain(case.input)


def _most_common(own: Sequence[tuple[Case, str]]) -> tuple[str, int, int]:
    """Return the answer to most questions, how many questions there are, and how many get it."""
    asked: dict[str, set[Hashable]] = {}
    for case, text in own:
        asked.setdefault(_plain(text), set()).add(_question(case))
    n_questions = len({_question(case) for case, _ in own})
    if not asked:
        return "", 0, 0
    answer = max(asked, key=lambda text: len(asked[text]))
    return answer, n_questions, len(asked[answer])


def _is_one_answer(own: Sequence[tuple[Case, str]], common: str, base: Collapse | None) -> bool:
    """Return whether one answer goes to more questions than the cases explain."""
    questions = {_question(case): case for case, _ in own}
    with_it = {_question(case): case for case, text in own if _plain(text) == common}
    n, n_common = len(questions), len(with_it)
    if n_common < max(_LEAST_ALIKE, _SHARE_ALIKE * n):
        return False
    share = n_common / n
    wanted = Counter(_plain(case.expected_output or "") for case in questions.values())
    of_common = Counter(_plain(case.expected_output or "") for case in with_it.values())
    if 2 * of_common[""] >= n_common:  # not known what would be right
        return _is_one_without_expected(common, share, base)
    label = _label_in(common, wanted)
    if not label:
        # Right cases for one answer would have one expected output, in whatever words.
        return len(of_common) > 1 and of_common.most_common(1)[0][1] <= 0.5 * n_common
    right = wanted[label] / n
    return share >= min(_CONSTANT, 3 * right) and share >= right + (0.2 if right >= 0.1 else 0.1)


def _is_one_without_expected(common: str, share: float, base: Collapse | None) -> bool:
    of_base = base.n_common / base.n_questions if base and base.n_questions else 0.0
    if len(common.split()) < _LABEL_WORDS and common:
        return base is not None and share >= _CONSTANT and of_base <= 0.5
    return share >= (max(_SHARE_ALIKE, 2 * of_base) if base else 0.3)


def _label_in(answer: str, wanted: Mapping[str, int]) -> str:
    """Return the expected output that the answer is, or that is among its words; "" for none."""
    if answer in wanted:
        return answer
    padded = f" {' '.join(_TOKEN.findall(answer))} "
    inside = [
        text
        for text in wanted
        if text and len(text.split()) <= 5 and f" {' '.join(_TOKEN.findall(text))} " in padded
    ]
    return max(inside, key=len, default="")


def collapse_warnings(found: Sequence[Collapse]) -> list[str]:
    """Warn about variants that collapsed, a sentence for each sign of it."""
    lines = []
    base = found[0] if found else None
    for one in found:
        other = base if base is not one else None
        if _is_much(len(one.repeating), one.n):
            lines.append(
                f"{_share(len(one.repeating), one.n)} completions of {one.variant} repeat "
                f"themselves over and over (such as case {one.repeating[0]})"
                f"{_beside(other, len(other.repeating) if other else 0)}. Look at them: a model "
                "that was trained too long, or that never saw an end of text, does that"
            )
        if one.is_one_answer:
            answer = one.common_answer
            shown = answer if len(answer) <= _SHOWN else f"{answer[:_SHOWN]}..."
            said = f'the answer "{shown}"' if answer else "an empty answer"
            lines.append(
                f"{one.variant} gives {said} to {format_count(one.n_common)} of "
                f"{format_count(one.n_questions)} different questions: it may have stopped "
                "reading them"
            )
        if _is_much(len(one.other_language), one.n):
            own, instead = one.languages
            lines.append(
                f"{_share(len(one.other_language), one.n)} completions of {one.variant} are in "
                f"another language or script than they should be (such as case "
                f"{one.other_language[0]}: {own} instead of {instead})"
                f"{_beside(other, len(other.other_language) if other else 0)}"
            )
    return lines


def is_collapsed(found: Sequence[Collapse], variant: str) -> bool:
    """Return whether a variant shows a sign of collapse that the base does not show."""
    own = next((one for one in found if one.variant == variant), None)
    return own is not None and not _signs(own) <= _signs(found[0])


def _signs(one: Collapse) -> set[str]:
    """Return the signs that are warned of."""
    counted = {
        "repeats": _is_much(len(one.repeating), one.n),
        "one answer": one.is_one_answer,
        "language": _is_much(len(one.other_language), one.n),
    }
    return {sign for sign, is_there in counted.items() if is_there}


def _is_much(n: int, n_all: int) -> bool:
    return n >= max(_LEAST_WARNED, _SHARE_WARNED * n_all)


def _share(n: int, n_all: int) -> str:
    return f"{format_count(n)} of {format_count(n_all)}"


def _beside(base: Collapse | None, n: int) -> str:
    return f"; of {base.variant} {_share(n, base.n)}" if base else ""
