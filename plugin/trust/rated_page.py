"""Read the file that a rating page downloads, and check it against the key in the journal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugin.errors import OptionError
from plugin.journal import Journal
from plugin.records import MetricSpec
from plugin.run_facts import HumanChoice, PageItem, Rating, ReasonCheck
from plugin.trust.humans import completion_digest
from plugin.trust.rating_items import clean_name, why_no_name

FORMAT = "finetune-verdict-ratings"
VERSION = 1
"""Of the file that a page downloads."""

_LONGEST_COMMENT = 10_000
_MOST_SECONDS = 1e7
_HUGE = 1e100
_MOST_DIGITS = 4000
_CHOICES = {"first": 1.0, "second": 0.0, "tie": 0.5, "cant_tell": None}
_REASONS = {"right": True, "wrong": False, "cant_tell": None}
_SAYS = {"choice": "pair", "value": "single", "reason": "reason"}
"""The field that holds an answer -> the kind of item that it answers."""

Found = HumanChoice | Rating | ReasonCheck


@dataclass(frozen=True, slots=True)
class PageAnswer:
    """What a rater said of one item.

    Attributes:
        number: the answer's place in the file, from 1.
        kind: of the item; "" for a comment alone.
        said: a key of the choices or reasons; for an answer on a metric its value, or None where
            the rater could not decide.
        seconds: how long the rater looked at the item.
    """

    number: int
    item: str
    kind: str
    said: str | float | None
    comment: str
    seconds: float = 0.0

    @property
    def is_lost(self) -> bool:
        """Return whether the answer has a comment that no table can show."""
        return self.comment != "" and self.kind in ("", "single")


@dataclass(frozen=True, slots=True)
class PageFile:
    """The answers of one rater to one page."""

    page: str
    rater: str
    answers: tuple[PageAnswer, ...]


def read_page(text: str, path: Path) -> tuple[PageFile | None, list[str]]:
    """Return the file's answers, or None and everything that is wrong with the file.

    Args:
        text: the file's.
        path: names the file in an error.

    Raises:
        OptionError: when it is no JSON.
    """
    try:
        held = json.loads(
            text, object_pairs_hook=_once, parse_constant=_no_number, parse_int=_whole_number
        )
    except (ValueError, RecursionError) as error:
        raise OptionError(
            f"--human_ratings {path} is not what a rating page downloads: {error}; download the "
            "answers again"
        ) from error
    if not isinstance(held, dict) or held.get("format") != FORMAT:
        return None, [f"its format is not {FORMAT!r}; give the file that a rating page downloads"]
    version = held.get("version")
    if not _is_number(version) or version != VERSION:
        return None, [f"version {_short(version)} is not {VERSION}, which this program reads"]
    problems = list(_head_problems(held))
    answers, wrong = _read_answers(held.get("answers"))
    if problems := [*problems, *wrong]:
        return None, problems
    return PageFile(held["page"], clean_name(held["rater"]), tuple(answers)), []


def _read_answers(given: object) -> tuple[list[PageAnswer], list[str]]:
    """Return the answers, and everything that is wrong with them."""
    if not isinstance(given, list):
        return [], ["it has no list of answers"]
    if not given:
        return [], ["it has no answer: nothing was rated yet"]
    answers, problems = list[PageAnswer](), list[str]()
    places = dict[str, int]()
    for number, each in enumerate(given, 1):
        answer, wrong = _read_answer(number, each)
        if answer and places.setdefault(answer.item, number) != number:
            wrong = [f"item {_short(answer.item)} has answer {places[answer.item]} already"]
        if wrong:
            problems.append(f"answer {number}: {'; '.join(wrong)}")
        elif answer:
            answers.append(answer)
    return answers, problems


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of the file; refuse one that says something twice."""
    held = dict(pairs)
    if len(held) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"{_short(twice)} stands twice in one object")
    return held


def _whole_number(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(text):,} digits is too long")
    return int(text)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _short(value: object) -> str:
    """Return the value for a message, cut where it is long."""
    shown = ascii(value) if not isinstance(value, str) else repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _head_problems(held: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(held.get("page"), str):
        yield "it does not say of which page it is"
    rater = held.get("rater")
    if not isinstance(rater, str):
        yield "it does not say who the rater is"
    elif why := why_no_name(rater):
        yield f"the rater {_short(rater)} {why}"


def _read_answer(number: int, each: object) -> tuple[PageAnswer | None, list[str]]:
    """Return an answer, or None and what is wrong with it."""
    if not isinstance(each, dict):
        return None, [f"{_short(each)} is no answer"]
    said = [name for name in _SAYS if name in each]
    if not said and str(each.get("comment", "")).strip():
        wrong = list(_wrong_fields(each))
        return (None, wrong) if wrong else (_answer_of(number, each, "", None), [])
    if len(said) != 1:
        return None, [f"it needs one of {', '.join(_SAYS)}, and has {', '.join(said) or 'none'}"]
    (name,) = said
    wrong = list(_wrong_fields(each)) + [_WRONG[name](each[name])]
    if wrong := [text for text in wrong if text]:
        return None, wrong
    value = each[name] if name != "value" or each[name] is None else float(each[name])
    return _answer_of(number, each, _SAYS[name], value), []


def _answer_of(
    number: int, each: Mapping[str, Any], kind: str, said: str | float | None
) -> PageAnswer:
    # Half a pair of a character cannot be written anywhere.
    comment = str(each.get("comment", "")).encode("utf-8", "replace").decode().strip()
    return PageAnswer(number, str(each["item"]), kind, said, comment, float(each.get("seconds", 0)))


def _wrong_fields(each: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(each.get("item"), str):
        yield "it does not say which item it answers"
    comment = each.get("comment", "")
    if not isinstance(comment, str):
        yield f"comment {_short(comment)} is no text"
    elif len(comment) > _LONGEST_COMMENT:
        yield f"its comment is longer than {_LONGEST_COMMENT:,} characters"
    seconds = each.get("seconds", 0)
    if not _is_number(seconds) or not 0 <= seconds <= _MOST_SECONDS:
        yield f"seconds {_short(seconds)} is not a number from 0 to {_MOST_SECONDS:,.0f}"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wrong_word(words: Mapping[str, object], name: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if isinstance(value, str) and value in words:
            return ""
        return f"{name} {_short(value)} is none of {', '.join(words)}"

    return check


def _wrong_value(value: object) -> str:
    if value is None or (_is_number(value) and abs(value) < _HUGE):  # type: ignore[arg-type]
        return ""
    return f"value {_short(value)} is not a number"


_WRONG: Mapping[str, Callable[[object], str]] = {
    "choice": _wrong_word(_CHOICES, "choice"),
    "value": _wrong_value,
    "reason": _wrong_word(_REASONS, "reason"),
}
"""The field that holds an answer -> what is wrong with a value of it."""


class PageChecker:
    """Check files of rating pages against the run's key and completions."""

    def __init__(self, journal: Journal) -> None:
        self._pages: dict[str, dict[str, PageItem]] = {}
        for item in journal.state.page_items:
            self._pages.setdefault(item.page, {})[item.item] = item
        self._specs = {spec.name: spec for spec in journal.header.metrics}
        self._there = {
            (completion.case_id, completion_digest(completion))
            for completion in journal.answers().values()
        }

    def n_items(self, page: str) -> int:
        """Return the number of items on a page."""
        return len(self._pages.get(page, ()))

    def found(self, file: PageFile) -> tuple[list[Found], list[str]]:
        """Return what the rater said, by case and digest, and everything that is wrong.

        An answer on a metric that could not be decided is not among it.
        """
        items = self._pages.get(file.page)
        if items is None:
            why = "no page of this run has that id"
            return [], [f"page {_short(file.page)} belongs to another run: {why}"]
        found, problems = list[Found](), list[str]()
        for answer in file.answers:
            item = items.get(answer.item)
            why = f"item {_short(answer.item)} is not on its page"
            if item is not None:
                why = self._why_not(item, answer)
            if why:
                problems.append(f"answer {answer.number}: {why}")
            elif item is not None and (one := _record(item, answer, file.rater)):
                found.append(one)
        return found, problems

    def _why_not(self, item: PageItem, answer: PageAnswer) -> str:
        """Return why an item cannot have this answer; "" if it can."""
        if answer.kind and answer.kind != item.kind:
            return f"item {answer.item!r} is a {item.kind}, and the answer is for a {answer.kind}"
        if not all((item.case_id, digest) in self._there for digest in item.shown):
            return (
                f"item {answer.item!r} shows a completion of case {item.case_id} that this run no "
                "longer has (stale: the completion has changed since it was rated)"
            )
        if item.kind == "pair":
            return ""
        spec: MetricSpec | None = self._specs.get(item.metric)
        if spec is None:
            return f"metric {item.metric!r} is not in this run"
        if isinstance(answer.said, float) and not spec.low <= answer.said <= spec.high:
            return f"value {answer.said:g} is not from {spec.low:g} to {spec.high:g}"
        return ""


def _record(item: PageItem, answer: PageAnswer, rater: str) -> Found | None:
    """Return what the answer says of the item; None for a metric that was not decided."""
    said, case_id = answer.said, item.case_id
    if not answer.kind:
        return None  # a comment alone
    if item.kind == "pair":
        first, second = item.shown
        won = _CHOICES[str(said)]
        return HumanChoice(case_id, (first, second), rater, won, answer.comment)
    (digest,) = item.shown
    if item.kind == "reason":
        is_right = _REASONS[str(said)]
        return ReasonCheck(case_id, digest, item.metric, rater, is_right, answer.comment)
    return Rating(case_id, digest, item.metric, rater, said) if isinstance(said, float) else None
