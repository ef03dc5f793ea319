"""Conversations that each variant answers turn by turn: what stands before a turn.

A turn is a case that `follows` another one. Its `messages` have what the user says; what the
assistant said in between is the variant's own, so every variant sees another conversation. As chat
templates do it, thoughts are left out of the history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from plugin.records import Case, Completion, Failure, Message
from plugin.thinking import SplitText, split_completions

_STAND_IN = "."
"""In the place of answers that are not made yet, where a conversation is only tried out."""


Place = tuple[str, str, int]
"""Case id, variant and sample."""


class Reply(str):
    """An answer that knows the conversation before it; as a text it is the answer alone.

    Attributes:
        history: all turns before the answer, as its variant saw them; () for an answer to a case
            of which all variants saw the same.
    """

    history: tuple[Message, ...] = ()

    @classmethod
    def of(cls, text: str, case: Case) -> Reply:
        """Return the answer to a case as a variant saw it."""
        made = cls(text)
        made.history = case.messages if case.follows is not None else ()
        return made


class WhyNotAsked(NamedTuple):
    """Why a turn is not asked; with `retry`, trying the turn before it again may help."""

    reason: str
    retry: bool


class Conversations:
    """The conversations of all variants, as far as they are made."""

    def __init__(self, cases: Sequence[Case], completions: Iterable[Completion]) -> None:
        """Keep the answers without their thoughts.

        Args:
            cases: the run's.
            completions: with their thoughts, of all samples.
        """
        self._cases = {case.id: case for case in cases}
        self._split: dict[Place, SplitText] = {}
        if not any(case.follows for case in cases):
            return
        by_sample: dict[int, dict[tuple[str, str], Completion]] = {}
        for one in completions:
            by_sample.setdefault(one.sample, {})[one.case_id, one.variant] = one
        for sample, own in by_sample.items():
            for (case_id, variant), split in split_completions(own).items():
                self._split[case_id, variant, sample] = split

    def before(self, case: Case) -> list[Case]:
        """Return the turns before a case, the first one first."""
        found = list[Case]()
        while case.follows is not None and case.follows in self._cases:
            case = self._cases[case.follows]
            found.append(case)
        return found[::-1]

    def turn(self, case: Case) -> int:
        """Return which turn of its conversation a case is, from 1."""
        return len(self.before(case)) + 1

    def seen(self, case: Case, variant: str, sample: int = 0) -> Case:
        """Return the case as a variant saw it, with its own answers between the user's turns.

        A sample of a turn follows the same sample of the turn before.
        """
        if case.follows is None:
            return case
        answers = [self._answer((one.id, variant, sample)) for one in self.before(case)]
        return replace(case, messages=self._woven(case, answers))

    def tried_out(self, case: Case) -> tuple[Message, ...]:
        """Return the turns of a case with stand-ins for the answers."""
        return self._woven(case, [_STAND_IN] * len(self.before(case)))

    def why_not_asked(
        self, case: Case, variant: str, failures: Mapping[Place, Failure], sample: int = 0
    ) -> WhyNotAsked | None:
        """Return why a turn cannot be asked: an answer before it is missing; None if it can.

        Args:
            case: the turn.
            variant: the variant's name.
            failures: of completions.
            sample: which of several samples of the conversation.
        """
        for one in self.before(case):
            place = one.id, variant, sample
            split, failure = self._split.get(place), failures.get(place)
            if split is None:
                told = failure.reason if failure else "it was not made"
                return _not_asked(one, told, retry=failure.retry if failure else True)
            if not split.is_finished:
                return _not_asked(one, "the completion ends inside its thoughts")
            if not split.answer.strip():
                return _not_asked(one, "the completion is empty")
        return None

    def _answer(self, place: Place) -> str:
        split = self._split.get(place)
        return split.answer or split.thoughts if split else ""

    def _woven(self, case: Case, answers: Sequence[str]) -> tuple[Message, ...]:
        turns, n_said = list[Message](), 0
        for before, answer in zip(self.before(case), answers, strict=True):
            turns += [*before.messages[n_said:], Message("assistant", answer)]
            n_said = len(before.messages)
        return (*turns, *case.messages[n_said:])


def _not_asked(before: Case, why: str, *, retry: bool = False) -> WhyNotAsked:
    return WhyNotAsked(f"not asked, as {before.id} has no answer: {why}", retry)


def waves(cases: Sequence[Case]) -> list[list[Case]]:
    """Return the cases by the place in their conversation: all first turns, all second ones, ...

    Within each, the order stays.
    """
    place = Conversations(cases, ())
    found: dict[int, list[Case]] = {}
    for case in cases:
        found.setdefault(place.turn(case), []).append(case)
    return [found[n] for n in sorted(found)]


def with_system(messages: Sequence[Message], prompt: str | None) -> tuple[Message, ...]:
    """Put the system prompt first, joined with the case's own: templates take one system turn."""
    if not prompt:
        return tuple(messages)
    if messages[0].role == "system":
        joined = Message("system", f"{prompt}\n\n{messages[0].content}")
        return (joined, *messages[1:])
    return (Message("system", prompt), *messages)
