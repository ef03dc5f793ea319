"""Read conversations of several user turns, and make a case of each turn.

A conversation is asked in one of two ways. `FIXED`: the assistant turns of the data stay, and only
the last user turn is asked. `OWN`: every user turn is asked, one after the other, with each
variant's own answers between them; an assistant turn of the data is then the expected output of the
user turn before it. Without a choice, a conversation whose user turns follow each other without an
answer between them is asked in the second way, and every other one in the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from plugin.load.cells import read_all_turns, read_messages
from plugin.load.columns import Layout
from plugin.load.readers import Row
from plugin.load.references import read_answers_by_turn, read_right_answers
from plugin.records import Case, Message

AUTO, FIXED, OWN = "auto", "fixed", "own"
"""How a conversation is asked (see the top of this file)."""


class Turn(NamedTuple):
    """A user turn that is asked on its own.

    Attributes:
        messages: the user's turns up to it, and the system turns before it.
        right_answers: all right answers to it.
    """

    messages: tuple[Message, ...]
    right_answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AskedRow:
    """What one row asks.

    Attributes:
        messages: the turns up to and including the last user text.
        right_answers: all right answers to it.
        turns: the user turns, if each of them is asked; () where only the last one is.
        has_fixed_turns: whether assistant turns of the data stay in `messages`.
        n_left_out: number of user turns that are not asked and stand in no prompt.
    """

    messages: tuple[Message, ...]
    right_answers: tuple[str, ...] = ()
    turns: tuple[Turn, ...] = ()
    has_fixed_turns: bool = False
    n_left_out: int = 0


def read_asked(row: Row, layout: Layout, how: str, problems: list[str]) -> AskedRow:
    """Return what a row asks; append what is wrong with it.

    Args:
        row: a row of the data set.
        layout: how to read it.
        how: `FIXED`, `OWN`, or `AUTO` for the way that its turns call for.
        problems: gets a text for everything wrong.
    """
    wrong = list[str]()
    everything = read_all_turns(row, layout, wrong)
    n_user = sum(turn.role == "user" for turn in everything)
    if how != FIXED and layout.asked == "turns" and wrong:
        problems += wrong  # else only the first question would be looked at
        return AskedRow(())
    if n_user > 1 and how != FIXED and (how == OWN or not _is_answered(everything)):
        return _read_turns(row, layout, everything, problems)
    messages, answer = read_messages(row, layout, problems)
    right = read_right_answers(row, layout, problems)
    if not layout.has_expected_output:
        right = (answer,) if answer is not None else ()
    return AskedRow(
        messages,
        right,
        has_fixed_turns=any(turn.role == "assistant" for turn in messages),
        n_left_out=n_user - 1 if layout.asked == "turns" and n_user else 0,
    )


def _is_answered(turns: Sequence[Message]) -> bool:
    """Return whether an assistant turn stands between the user's turns."""
    asked = [i for i, turn in enumerate(turns) if turn.role == "user"]
    return any(turn.role == "assistant" for turn in turns[asked[0] : asked[-1]])


def _read_turns(
    row: Row, layout: Layout, everything: Sequence[Message], problems: list[str]
) -> AskedRow:
    """Return a row of which every user turn is asked."""
    asked, answers = list[tuple[Message, ...]](), list[str]()
    said = list[Message]()
    for number, turn in enumerate(everything, 1):
        if turn.role == "assistant" and answers:
            answers[-1] = turn.content  # of several in a row, the last one is the answer
            continue
        said.append(turn)
        if turn.role == "user":
            if not turn.content.strip():
                problems.append(f"{layout.input[0]}, turn {number}: the user turn is empty")
            asked.append(tuple(said))
            answers.append("")
    if said[-1].role != "user":
        problems.append(f"{layout.input[0]} has a system turn after the last user turn")
    right: list[tuple[str, ...]] = [(answer,) if answer.strip() else () for answer in answers]
    if layout.has_expected_output and layout.asked == "turns":
        right = read_answers_by_turn(row, layout, len(asked), problems)
    elif layout.has_expected_output:
        right[-1] = read_right_answers(row, layout, problems)
    turns = tuple(Turn(*both) for both in zip(asked, right, strict=True))
    return AskedRow(turns[-1].messages, turns[-1].right_answers, turns)


def turn_ids(name: str, turns: Sequence[object]) -> list[str]:
    """Return the ids of the turns of a conversation; its own id where only one turn is asked."""
    return [f"{name} turn {i}" for i in range(1, len(turns) + 1)] if turns else [name]


def split_turns(case: Case, turns: Sequence[Turn]) -> list[Case]:
    """Return a case for each turn; the case itself where only one turn is asked.

    The turns are one cluster. Texts that an answer must contain (`expect`) are for the last turn,
    and every other column is for all turns.
    """
    if not turns:
        return [case]
    cases, before = list[Case](), None
    for name, turn in zip(turn_ids(case.id, turns), turns, strict=True):
        is_last = len(cases) == len(turns) - 1
        right = turn.right_answers
        made = replace(
            case,
            id=name,
            messages=turn.messages,
            expected_output=right[0] if right else None,
            references=right if len(right) > 1 else (),
            cluster=case.cluster or f"conversation {case.id}",
            expect=case.expect if is_last else (),
            follows=before,
            ends_conversation=is_last,
        )
        cases.append(made)
        before = name
    return cases


def conversation_notes(asked: Sequence[AskedRow]) -> list[str]:
    """Return how conversations of several turns are asked, one sentence for each way."""
    n_own = sum(bool(row.turns) for row in asked)
    n_turns = sum(len(row.turns) for row in asked)
    n_fixed = sum(row.has_fixed_turns for row in asked)
    n_cut = sum(bool(row.n_left_out) for row in asked)
    notes = list[str]()
    if n_own:
        notes.append(
            f"{_counted(n_own)}: every user turn is asked ({n_turns} cases), with each model's own "
            "answers to the turns before it (--conversation fixed asks one turn only)"
        )
    if n_fixed:
        notes.append(
            f"{_counted(n_fixed)}: the assistant turns of the data stay, and only the last user "
            "turn is asked (--conversation own asks every user turn)"
        )
    if n_cut:
        notes.append(
            f"{_counted(n_cut)}: only the first turn is asked (--conversation own asks every turn)"
        )
    return notes


def _counted(n: int) -> str:
    return "1 conversation" if n == 1 else f"{n} conversations"
