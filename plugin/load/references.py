"""Read the right answers to a case, of which there may be several.

A cell holds one text, a list of right answers, the last turns of a chat, or an object as SQuAD and
TriviaQA have it. Text that looks like a list (`["a", "b"]`) is one right answer: it may be just
what the model is to write.
"""

from __future__ import annotations

from collections.abc import Mapping

from plugin.load.cells import is_parts, parse_list, read_parts, read_text, read_turn
from plugin.load.columns import Layout
from plugin.load.layouts import is_blank
from plugin.load.readers import NumberAsWritten, Row, type_name

_ONE_OR_MORE = "text"
"""Key of a right answer, or of a list of them: {"text": ["a", "b"], "answer_start": [1, 5]}."""

_MAIN, _OTHERS = "value", "aliases"
"""Keys of a right answer and a list of its other spellings: {"value": "a", "aliases": ["b"]}."""

_N_KEYS_SHOWN = 5


def read_right_answers(row: Row, layout: Layout, problems: list[str]) -> tuple[str, ...]:
    """Return the different right answers in the cell, in its order; append what is wrong with it.

    Of a list with one answer for each turn, only the first is read: so is only the first turn.
    """
    name = layout.columns.expected_output
    value = row.cells.get(name)
    if layout.asked == "turns" and isinstance(value, list) and value:
        value = value[0]
    return _read_answers(value, name, problems)


def read_answers_by_turn(
    row: Row, layout: Layout, n_turns: int, problems: list[str]
) -> list[tuple[str, ...]]:
    """Return the right answers to each user turn of a list of questions.

    The cell has one entry for each turn, null where no answer is known; or it is empty.
    """
    name = layout.columns.expected_output
    value = row.cells.get(name)
    if is_blank(value):
        return [()] * n_turns
    if isinstance(value, str) and not isinstance(value, NumberAsWritten):
        value = parse_list(value)
    if not isinstance(value, list) or len(value) != n_turns:
        n = len(value) if isinstance(value, list) else 0
        found = f"{n} answer{'s'[: n != 1]}" if isinstance(value, list) else type_name(value)
        problems.append(
            f"{name} has {found} for {n_turns} turns; it must be a list with one answer for each "
            "turn, null where there is none"
        )
        return [()] * n_turns
    return [_read_answers(one, f"{name}, turn {i}", problems) for i, one in enumerate(value, 1)]


def _read_answers(value: object, name: str, problems: list[str]) -> tuple[str, ...]:
    if isinstance(value, dict) and _is_turn(value):
        value = [value]
    if isinstance(value, list) and value and _is_turn(value[-1]):
        return _last_answer(value, name, problems)
    if is_parts(value):
        value = read_parts(value, name, problems)
    texts = _read_texts(value, name, problems)
    return tuple(dict.fromkeys(text for text in texts if text is not None))


def _is_turn(value: object) -> bool:
    return isinstance(value, dict) and not {"role", "from"}.isdisjoint(value)


def _last_answer(turns: list[object], name: str, problems: list[str]) -> tuple[str, ...]:
    """Return the text of the last turn."""
    turn = read_turn(turns[-1], f"{name}, turn {len(turns)}", problems)
    if turn is not None and turn.role != "assistant":
        problems.append(f"{name} ends with a {turn.role} turn; it must end with an assistant turn")
    return (turn.content,) if turn is not None and turn.content.strip() else ()


def _read_texts(value: object, name: str, problems: list[str]) -> list[str | None]:
    if isinstance(value, dict):
        return _read_object(value, name, problems)
    if isinstance(value, list):
        of_each = [(_bare(part), f"{name}, answer {i}") for i, part in enumerate(value, 1)]
        return [read_text(part, where, problems) for part, where in of_each]
    return [read_text(value, name, problems)]


def _bare(part: object) -> object:
    """Return what a list of {"text": ...} objects holds at this place."""
    return part[_ONE_OR_MORE] if isinstance(part, dict) and _ONE_OR_MORE in part else part


def _read_object(value: Mapping[str, object], name: str, problems: list[str]) -> list[str | None]:
    if _ONE_OR_MORE in value:
        held = value[_ONE_OR_MORE]
        parts = held if isinstance(held, list) else [held]
        return [read_text(part, f"{name}, {_ONE_OR_MORE}", problems) for part in parts]
    if _MAIN in value:
        others = value.get(_OTHERS)
        parts = [value[_MAIN], *(others if isinstance(others, list) else [])]
        return [read_text(part, f"{name}, {_MAIN}", problems) for part in parts]
    keys = ", ".join(list(value)[:_N_KEYS_SHOWN])
    problems.append(
        f"{name} is {type_name(value)} with the keys {keys}; it must be text, a number, a list of "
        f'right answers, or an object with them under "{_ONE_OR_MORE}"'
    )
    return []
