"""Which column is what: the user's words against the columns that a data set has."""

from __future__ import annotations

import difflib
import string
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

from plugin.errors import OptionError

CHATS = ("messages", "conversations")
"""Columns that hold chats, by the habit of OpenAI's and of ShareGPT's files."""

_USUAL_INPUTS = ("question", "prompt", "instruction", "query")
_N_LISTED = 30


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
class Template:
    """An input built of several columns.

    Attributes:
        parts: pairs of a literal text and the column whose cell follows it; None for no column.
    """

    parts: tuple[tuple[str, str | None], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it names."""
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
    template: Template | None
    columns: Columns
    has_expected_output: bool
    extra: tuple[str, ...]


def parse_template(text: str) -> Template:
    """The parts of "{instruction} {input}"; a literal brace is doubled.

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
    template = Template(tuple((literal, name) for literal, name, _, _ in parts))
    if not template.columns:
        raise OptionError(f"--input_template {text!r} names no column; write e.g. '{{question}}'")
    return template


def lay_out(
    columns: Columns, template: Template | None, there: Sequence[str]
) -> tuple[Layout, list[str]]:
    """How to read a data set with the columns that are there, and what is wrong with that."""
    problems = [
        missing(f"--{field.name}_column", getattr(columns, field.name), there)
        for field in fields(columns)
        if getattr(columns, field.name) not in (field.default, *there)
    ]
    asked, name = _find_input(columns, template, there)
    if template is not None:
        unknown = [name for name in dict.fromkeys(template.columns) if name not in there]
        problems += [missing("--input_template", name, there) for name in unknown]
        asked = None if unknown else asked
    elif asked is None and columns.input == Columns().input:
        problems.append(_no_input(there))
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
    columns: Columns, template: Template | None, there: Sequence[str]
) -> tuple[Literal["text", "chat", "template"] | None, str]:
    """The template, else the input column, else, when none was named, a chat column."""
    if template is not None:
        return "template", columns.input
    if columns.input in there:
        return ("chat" if columns.input in CHATS else "text"), columns.input
    if columns.input == Columns().input:
        for name in CHATS:
            if name in there:
                return "chat", name
    return None, columns.input


def missing(option: str, name: str, there: Sequence[str]) -> str:
    """What to say of an option that names a column which is not there."""
    close = difflib.get_close_matches(name, there, 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    plain = "attributes and indexes are not looked up; " if "." in name or "[" in name else ""
    return f"{option} names {name!r}, which is no column; {plain}{hint}{listed(there)}"


def _no_input(there: Sequence[str]) -> str:
    lower = {name.lower(): name for name in there}
    usual = next((lower[name] for name in ("input", *_USUAL_INPUTS) if name in lower), None)
    hint = f"did you mean --input_column {usual}? " if usual else ""
    return (
        f"there is no column 'input' (nor {' or '.join(map(repr, CHATS))}); name the one with the "
        f"question with --input_column, or build it with --input_template; {hint}{listed(there)}"
    )


def listed(there: Sequence[str]) -> str:
    """The columns in words."""
    if not there:
        return "there are no columns"
    more = f" and {len(there) - _N_LISTED} more" if len(there) > _N_LISTED else ""
    # A name from JSON may hold half of a surrogate pair, which no terminal can print.
    names = ", ".join(there[:_N_LISTED]).encode("utf-8", "replace").decode()
    return f"columns are: {names}{more}"
