"""Cells -> the parts of a case; what is wrong with a cell is added to `problems`."""

from __future__ import annotations

from plugin.cases.values import Number, parse_json, type_name
from plugin.records import Message

_ROLES = {"system": "system", "user": "user", "assistant": "assistant"}  # OpenAI: role, content
_SPEAKERS = {"human": "user", "gpt": "assistant", **_ROLES}  # ShareGPT: from, value


def read_text(value: object, name: str, problems: list[str]) -> str | None:
    """The text of a cell; a number or a boolean counts as what its source writes.

    Nothing, and text of white space alone, is None.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return str(value) if value.strip() else None
    if value is not None:
        problems.append(f"{name} is {type_name(value)}; it must be text or a number")
    return None


def read_contexts(value: object, name: str, problems: list[str]) -> tuple[str, ...]:
    """The texts of a list, of a JSON list written as text, or one plain text; blank ones left out.

    Text that only looks like a list (`[1] Smith says`, `['one']`) is one plain text.
    """
    if isinstance(value, str) and not isinstance(value, Number):
        value = _list_in(value)
    if value is None:
        return ()
    if not isinstance(value, list):
        problems.append(f"{name} is {type_name(value)}; it must be text or a list of texts")
        return ()
    wrong = [part for part in value if part is not None and type(part) is not str]
    if wrong:
        problems.append(f"{name} is a list that holds {type_name(wrong[0])}; it must hold texts")
        return ()
    return tuple(part for part in value if part and part.strip())


def _list_in(text: str) -> list[object]:
    if text.lstrip().startswith("["):
        try:
            value = parse_json(text)
        except ValueError:
            return [text]
        assert isinstance(value, list)
        return value
    return [text]


def read_input(value: object, name: str, problems: list[str]) -> tuple[Message, ...]:
    """One user turn of plain text.

    A number is refused: as a question it is nearly always the wrong column.
    """
    if isinstance(value, str) and not isinstance(value, Number) and value.strip():
        return (Message("user", str(value)),)
    if value is None or value == "" or (type(value) is str):
        problems.append(f"{name} is empty")
    else:
        problems.append(f"{name} is {type_name(value)}; it must be text")
    return ()


def read_chat(
    value: object, name: str, problems: list[str]
) -> tuple[tuple[Message, ...], str | None]:
    """The turns up to the last user turn, and what the assistant said after it, if anything.

    Of several assistant turns at the end, the last one counts.
    """
    if isinstance(value, str) and not isinstance(value, Number) and value.strip():
        try:
            value = parse_json(value)
        except ValueError as error:
            problems.append(f"{name} is text that is no JSON list of turns ({error})")
            return (), None
    if value is None or value == [] or (isinstance(value, str) and not value.strip()):
        problems.append(f"{name} is empty")
        return (), None
    if not isinstance(value, list):
        problems.append(f"{name} is {type_name(value)}; it must be a list of turns")
        return (), None
    turns = [_read_turn(turn, f"{name}, turn {i}", problems) for i, turn in enumerate(value, 1)]
    good = [turn for turn in turns if turn is not None]
    return _cut(good, name, problems) if len(good) == len(turns) else ((), None)


def _cut(
    turns: list[Message], name: str, problems: list[str]
) -> tuple[tuple[Message, ...], str | None]:
    asked = [i for i, turn in enumerate(turns) if turn.role == "user"]
    if not asked:
        problems.append(f"{name} has no user turn")
        return (), None
    last = asked[-1]
    if not turns[last].content.strip():
        problems.append(f"{name}, turn {last + 1}: the last user turn is empty")
    answers = turns[last + 1 :]
    if any(turn.role != "assistant" for turn in answers):
        problems.append(f"{name} has a system turn after the last user turn")
    answer = answers[-1].content if answers else ""
    return tuple(turns[: last + 1]), answer if answer.strip() else None


def _read_turn(turn: object, where: str, problems: list[str]) -> Message | None:
    if not isinstance(turn, dict):
        problems.append(f"{where} is {type_name(turn)}; it must be an object")
        return None
    if turn.get("role") is not None:
        key, role, content, roles = "role", turn["role"], turn.get("content"), _ROLES
    elif turn.get("from") is not None:
        key, role, content, roles = "from", turn["from"], turn.get("value"), _SPEAKERS
    else:
        problems.append(f"{where} has neither role and content nor from and value")
        return None
    if not isinstance(role, str) or role not in roles:
        problems.append(f"{where} has {key} {role!r}; it must be one of {', '.join(roles)}")
        return None
    if type(content) is not str:
        problems.append(f"{where} has {type_name(content)} as its text; it must be text")
        return None
    return Message(roles[role], content)
