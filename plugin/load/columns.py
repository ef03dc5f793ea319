"""Say which column of a data set is what, and read the cells of a row.

`lay_out` compares the columns that the user named with those that are there. The `read_...`
functions make the parts of a case of a cell, and add what is wrong with it to `problems`.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

from plugin.errors import OptionError, nearest_name
from plugin.load.readers import NumberAsWritten, parse_json, type_name
from plugin.records import Message

CHATS = ("messages", "conversations")
"""Columns that hold chats, by the habit of OpenAI's and of ShareGPT's files."""

_USUAL_INPUTS = ("question", "prompt", "instruction", "query")
_N_LISTED = 30

_ROLES = {"system": "system", "user": "user", "assistant": "assistant"}
"""In OpenAI's turns, which have role and content."""

_SPEAKERS = {"human": "user", "gpt": "assistant", **_ROLES}
"""In ShareGPT's turns, which have from and value."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns' names; one that is not the default was named by the user and must exist."""

    input: str = "input"
    expected_output: str = "expected_output"
    context: str = "context"
    group: str = "group"
    cluster: str = "cluster"
    id: str = "id"


@dataclass(frozen=True, slots=True)
class InputTemplate:
    """An input built of several columns.

    Attributes:
        parts: pairs of a literal text and the column whose cell follows it; None for no column.
    """

    parts: tuple[tuple[str, str | None], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns it names."""
        return tuple(name for _, name in self.parts if name is not None)


@dataclass(frozen=True, slots=True)
class Layout:
    """How the rows of one data set are read.

    Attributes:
        asked: where the input stands: in one text column, in a chat column, in the columns of
            the template; None where that is not known.
        input: the text or chat column.
        extra: columns that nothing reads, kept as metadata.
    """

    asked: Literal["text", "chat", "template"] | None
    input: str
    template: InputTemplate | None
    columns: Columns
    has_expected_output: bool
    extra: tuple[str, ...]


def parse_template(text: str) -> InputTemplate:
    """Parse a template such as "{instruction} {input}"; a literal brace is doubled.

    Only a column's name may stand in braces, and its cell is put there as it is: no attributes,
    no indexes, no formats.

    Raises:
        OptionError: when it is no such template.
    """
    rule = "only {column} is replaced, and a literal brace is written {{ or }}"
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise OptionError(f"--input_template {text!r}: {str(error).lower()}; {rule}") from error
    for _, name, form, conversion in parts:
        if name == "" or form or conversion:
            shown = (
                f"{name or ''}{f'!{conversion}' if conversion else ''}{f':{form}' if form else ''}"
            )
            raise OptionError(f"--input_template {text!r}: {{{shown}}} is no column's name; {rule}")
    template = InputTemplate(tuple((literal, name) for literal, name, _, _ in parts))
    if not template.columns:
        raise OptionError(f"--input_template {text!r} names no column; write e.g. '{{question}}'")
    return template


def lay_out(
    columns: Columns, template: InputTemplate | None, there: Sequence[str]
) -> tuple[Layout, list[str]]:
    """Return how to read a data set with the columns that are there, and what is wrong."""
    problems = [
        missing_column_text(f"--{field.name}_column", getattr(columns, field.name), there)
        for field in fields(columns)
        if getattr(columns, field.name) not in (field.default, *there)
    ]
    asked, name = _find_input(columns, template, there)
    if template is not None:
        unknown = [name for name in dict.fromkeys(template.columns) if name not in there]
        problems += [missing_column_text("--input_template", name, there) for name in unknown]
        asked = None if unknown else asked
    elif asked is None and columns.input == Columns().input:
        problems.append(_no_input_text(there))
    read = {getattr(columns, field.name) for field in fields(columns) if field.name != "input"}
    read |= {*CHATS, *(template.columns if template else (name,))}
    layout = Layout(
        asked=asked,
        input=name,
        template=template,
        columns=columns,
        has_expected_output=columns.expected_output in there,
        extra=tuple(name for name in there if name not in read),
    )
    return layout, problems


def _find_input(
    columns: Columns, template: InputTemplate | None, there: Sequence[str]
) -> tuple[Literal["text", "chat", "template"] | None, str]:
    """Return where the input is: template, input column or, when none was named, chat column."""
    if template is not None:
        return "template", columns.input
    if columns.input in there:
        return ("chat" if columns.input in CHATS else "text"), columns.input
    if columns.input == Columns().input:
        for name in CHATS:
            if name in there:
                return "chat", name
    return None, columns.input


def missing_column_text(option: str, name: str, there: Sequence[str]) -> str:
    """Return the message for an option that names a column which is not there."""
    nearest = nearest_name(name, there)
    hint = f"did you mean {nearest!r}? " if nearest else ""
    plain = "attributes and indexes are not looked up; " if "." in name or "[" in name else ""
    return f"{option} names {name!r}, which is no column; {plain}{hint}{list_columns(there)}"


def _no_input_text(there: Sequence[str]) -> str:
    lower = {name.lower(): name for name in there}
    usual = next((lower[name] for name in ("input", *_USUAL_INPUTS) if name in lower), None)
    hint = f"did you mean --input_column {usual}? " if usual else ""
    return (
        f"there is no column 'input' (nor {' or '.join(map(repr, CHATS))}); name the one with the "
        "question with --input_column, or build it with --input_template; "
        f"{hint}{list_columns(there)}"
    )


def list_columns(there: Sequence[str]) -> str:
    """Return the columns in words."""
    if not there:
        return "there are no columns"
    more = f" and {len(there) - _N_LISTED} more" if len(there) > _N_LISTED else ""
    # A name from JSON may hold half of a surrogate pair, which no terminal can print.
    names = ", ".join(there[:_N_LISTED]).encode("utf-8", "replace").decode()
    return f"columns are: {names}{more}"


def read_text(value: object, name: str, problems: list[str]) -> str | None:
    """Return the text of a cell; a number or a boolean counts as what its source writes.

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
    """Return the texts of a list, of a JSON list in text, or one plain text; no blank ones.

    Text that only looks like a list (`[1] Smith says`, `['one']`) is one plain text.
    """
    if isinstance(value, str) and not isinstance(value, NumberAsWritten):
        value = _parse_list(value)
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


def _parse_list(text: str) -> list[object]:
    if text.lstrip().startswith("["):
        try:
            value = parse_json(text)
        except ValueError:
            return [text]
        assert isinstance(value, list)
        return value
    return [text]


def read_input(value: object, name: str, problems: list[str]) -> tuple[Message, ...]:
    """Return one user turn of plain text.

    A number is refused: as a question it is nearly always the wrong column.
    """
    if isinstance(value, str) and not isinstance(value, NumberAsWritten) and value.strip():
        return (Message("user", str(value)),)
    if value is None or value == "" or (type(value) is str):
        problems.append(f"{name} is empty")
    else:
        problems.append(f"{name} is {type_name(value)}; it must be text")
    return ()


def read_chat(
    value: object, name: str, problems: list[str]
) -> tuple[tuple[Message, ...], str | None]:
    """Return the turns up to the last user turn, and what the assistant said after it, if so.

    Of several assistant turns at the end, the last one counts.
    """
    if isinstance(value, str) and not isinstance(value, NumberAsWritten) and value.strip():
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
    return _cut_chat(good, name, problems) if len(good) == len(turns) else ((), None)


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
