"""Turn the cells of a row into the parts of a case.

Each `read_...` function appends to `problems` what is wrong with a cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from plugin.errors import quote
from plugin.load.columns import InputTemplate, Layout
from plugin.load.readers import NumberAsWritten, Row, parse_json, type_name
from plugin.records import Message

_ROLES = {"system": "system", "user": "user", "assistant": "assistant"}
"""Roles of OpenAI's turns, which have the keys role and content."""

_SPEAKERS = {"human": "user", "gpt": "assistant", **_ROLES}
"""Speakers of ShareGPT's turns, which have the keys from and value -> roles."""

_TEXT_PARTS = ("text", "input_text", "output_text")
"""Types of the parts of a turn's content that hold text."""

_YES, _NO = ("true", "yes", "1", "1.0"), ("false", "no", "0", "0.0", "")
"""Values of a yes/no column; integers often become 1.0 and 0.0 when some cells are empty."""

_LONGEST_SHOWN = 40


def read_messages(
    row: Row, layout: Layout, problems: list[str]
) -> tuple[tuple[Message, ...], str | None]:
    """Return the turns, and the answer if a chat ends with one."""
    messages, answer = _read_asked(row, layout, problems)
    if layout.system is not None:
        said = read_text(row.cells.get(layout.system), layout.system, problems)
        messages = _add_system(messages, said)
    return messages, answer


def _read_asked(
    row: Row, layout: Layout, problems: list[str]
) -> tuple[tuple[Message, ...], str | None]:
    if layout.asked is None:
        return (), None
    if layout.template is not None:
        return _fill_template(row, layout.template, problems), None
    if layout.asked == "joined":
        return _read_joined(row.cells, layout.input, problems), None
    (name,) = layout.input
    value = row.cells.get(name)
    if layout.asked == "turns":
        return _read_questions(value, name, problems, 1), None
    if layout.asked == "with tests":
        return _read_with_tests(row.cells, name, layout.columns.tests, problems), None
    if layout.asked == "request":
        return _read_request(value, name, problems), None
    if is_parts(value):
        value = read_parts(value, name, problems)
        return ((), None) if value is None else (_read_input(value, name, problems), None)
    if layout.asked == "chat" or isinstance(value, list):
        return _read_chat(value, name, problems)
    return _read_input(value, name, problems), None


def _fill_template(row: Row, template: InputTemplate, problems: list[str]) -> tuple[Message, ...]:
    filled, texts = "", False
    for literal, name in template.parts:
        cell = read_text(row.cells.get(name), name, problems) if name else None
        filled += literal + (cell or "")
        texts = texts or cell is not None
    if not texts and not problems:
        problems.append(f"input is empty: there is no text in {', '.join(template.columns)}")
    return (Message("user", filled),)


def read_text(value: object, name: str, problems: list[str]) -> str | None:
    """Return the text of a cell; numbers and booleans as the source writes them.

    An empty cell, or one with only white space, gives None.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return str(value) if value.strip() else None
    if value is not None:
        problems.append(f"{name} is {type_name(value)}; it must be text or a number")
    return None


def read_flag(value: object, name: str, problems: list[str]) -> bool:
    """Return whether a cell means yes; an empty one means no."""
    word = str(value).strip().casefold() if isinstance(value, str | bool) else value
    if word in _YES:
        return True
    if word is not None and word not in _NO:
        shown = quote(value, _LONGEST_SHOWN) if isinstance(value, str) else type_name(value)
        problems.append(
            f"{name} is {shown}; it must be true or false (yes or no, 1 or 0; empty is false). "
            "If the column means something else, rename the column"
        )
    return False


def read_contexts(value: object, name: str, problems: list[str]) -> tuple[str, ...]:
    """Return the non-blank texts in a list, in a JSON list, or one plain text.

    Text that only looks like a JSON list (`[1] Smith says`, `['one']`) is one plain text.
    """
    if isinstance(value, str) and not isinstance(value, NumberAsWritten):
        value = parse_list(value)
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


def parse_list(text: str) -> list[object]:
    """Return the JSON list that the text is, else a list with this text alone."""
    if text.lstrip().startswith("["):
        try:
            value = parse_json(text)
        except ValueError:
            return [text]
        assert isinstance(value, list)
        return value
    return [text]


def _read_input(value: object, name: str, problems: list[str]) -> tuple[Message, ...]:
    """Return one user turn with plain text.

    A number is refused, because it nearly always means that the wrong column is used.
    """
    if isinstance(value, str) and not isinstance(value, NumberAsWritten) and value.strip():
        return (Message("user", str(value)),)
    if value is None or value == "" or (type(value) is str):
        problems.append(f"{name} is empty")
    else:
        problems.append(f"{name} is {type_name(value)}; it must be text")
    return ()


def _read_joined(
    cells: Mapping[str, object], names: Sequence[str], problems: list[str]
) -> tuple[Message, ...]:
    """Join the columns' non-blank texts with empty lines; return one user turn."""
    n_before = len(problems)
    texts = [text for name in names if (text := read_text(cells.get(name), name, problems))]
    if not texts and len(problems) == n_before:
        problems.append(f"input is empty: there is no text in {', '.join(names)}")
    return (Message("user", "\n\n".join(texts)),) if texts else ()


def _read_with_tests(
    cells: Mapping[str, object], name: str, tests: str, problems: list[str]
) -> tuple[Message, ...]:
    """Return a task and the tests that say how the function is called, as in MBPP's paper."""
    asked = _read_input(cells.get(name), name, problems)
    listed = "\n".join(read_contexts(cells.get(tests), tests, problems))
    if not (asked and listed):
        return asked
    return (Message("user", f"{asked[0].content}\nYour code should pass these tests:\n{listed}"),)


def _read_questions(
    value: object, name: str, problems: list[str], n_at_most: int | None = None
) -> tuple[Message, ...]:
    """Return the questions of a list as user turns; () if one of them cannot be asked."""
    value = parse_list(value) if type(value) is str else value
    if not isinstance(value, list) or not value:
        found = "an empty list" if value == [] else type_name(value)
        problems.append(f"{name} is {found}; it must be a list of questions")
        return ()
    read = [
        _read_input(one, f"{name}, turn {i}", problems)
        for i, one in enumerate(value[:n_at_most], 1)
    ]
    return tuple(turn for turns in read for turn in turns) if all(read) else ()


def read_all_turns(row: Row, layout: Layout, problems: list[str]) -> tuple[Message, ...]:
    """Return every turn of a chat or of a list of questions, also what follows the last user turn.

    The result is empty where the row holds neither, or something is wrong with it.
    """
    if layout.template is not None or layout.asked not in ("text", "chat", "turns"):
        return ()
    (name,) = layout.input
    value, is_list = row.cells.get(name), layout.asked == "turns"
    if not is_list and (is_parts(value) or not (layout.asked == "chat" or isinstance(value, list))):
        return ()
    read = _read_questions if is_list else _read_turns
    turns = tuple(read(value, name, problems))
    if turns and layout.system is not None:
        turns = _add_system(turns, read_text(row.cells.get(layout.system), layout.system, problems))
    return turns


def _read_request(value: object, name: str, problems: list[str]) -> tuple[Message, ...]:
    """Return the prompt of an lm-eval sample: [[prompt, ...]], or the key arg_0 of an object."""
    requests = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(requests, list) or len(requests) != 1:
        n = len(requests) if isinstance(requests, list) else 0
        problems.append(
            f"{name} holds {n} requests; it must hold one (a multiple-choice task compares "
            "likelihoods, so it has no completion to score)"
        )
        return ()
    request = requests[0]
    prompt = request.get("arg_0") if isinstance(request, dict) else request
    if isinstance(prompt, list) and prompt:
        prompt = prompt[0]
    return _read_input(prompt, f"{name}, prompt", problems)


def _add_system(messages: tuple[Message, ...], text: str | None) -> tuple[Message, ...]:
    """Put a system turn in front; if the chat has a different one, join the two."""
    if not messages or not text:
        return messages
    if messages[0].role != "system":
        return (Message("system", text), *messages)
    own = messages[0].content
    if own.strip() == text.strip():
        return messages
    return (Message("system", f"{text}\n\n{own}"), *messages[1:])


def _read_chat(
    value: object, name: str, problems: list[str]
) -> tuple[tuple[Message, ...], str | None]:
    """Return the turns up to the last user turn, and the assistant's answer after it, if any.

    If several assistant turns follow, the last one is the answer.
    """
    turns = _read_turns(value, name, problems)
    return _cut_chat(turns, name, problems) if turns else ((), None)


def _read_turns(value: object, name: str, problems: list[str]) -> list[Message]:
    """Return all turns of a chat; none, with a problem, if one of them is none."""
    if isinstance(value, str) and not isinstance(value, NumberAsWritten) and value.strip():
        try:
            value = parse_json(value)
        except ValueError as error:
            problems.append(f"{name} is text but not a JSON list of turns ({error})")
            return []
    if value is None or value == [] or (isinstance(value, str) and not value.strip()):
        problems.append(f"{name} is empty")
        return []
    if not isinstance(value, list):
        problems.append(f"{name} is {type_name(value)}; it must be a list of turns")
        return []
    turns = [read_turn(turn, f"{name}, turn {i}", problems) for i, turn in enumerate(value, 1)]
    good = [turn for turn in turns if turn is not None]
    return good if len(good) == len(turns) else []


def _cut_chat(
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


def read_turn(turn: object, where: str, problems: list[str]) -> Message | None:
    """Return a turn of a chat; None, with a problem, if it is none."""
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
    text = _read_content(content, where, problems)
    return None if text is None else Message(roles[role], text)


def is_parts(value: object) -> bool:
    """Return whether a cell holds the parts of one text: objects with a type and no speaker."""
    parts = value if isinstance(value, list) else [value]
    return bool(parts) and all(
        isinstance(part, dict) and "type" in part and {"role", "from"}.isdisjoint(part)
        for part in parts
    )


def _read_content(content: object, where: str, problems: list[str]) -> str | None:
    """Return the text of a turn, which may be a list of parts."""
    if type(content) is str:
        return content
    if isinstance(content, list) or is_parts(content):
        return read_parts(content, where, problems)
    problems.append(f"{where} has {type_name(content)} as its text; it must be text")
    return None


def read_parts(value: object, where: str, problems: list[str]) -> str | None:
    """Return the texts of the parts as lines; None, with a problem, if one is not a text."""
    parts = value if isinstance(value, list) else [value]
    n_before = len(problems)
    texts = [_read_part(part, f"{where}, part {i}", problems) for i, part in enumerate(parts, 1)]
    return "\n".join(texts) if len(problems) == n_before else None


def _read_part(part: object, where: str, problems: list[str]) -> str:
    if type(part) is str:
        return part
    if not isinstance(part, dict):
        problems.append(f"{where} is {type_name(part)}; it must be an object")
        return ""
    kind, text = part.get("type") or _TEXT_PARTS[0], part.get("text")
    if kind not in _TEXT_PARTS:
        problems.append(f"{where} is of type {kind!r}; only text is read: remove such rows")
    elif type(text) is str:
        return text
    else:
        problems.append(f"{where} has {type_name(text)} as its text; it must be text")
    return ""
