"""Find out what each column of a data set holds.

`lay_out` compares the columns that the user named with those that exist, and adds the columns of a
known layout.
"""

from __future__ import annotations

import string
from collections.abc import Collection, Sequence
from dataclasses import astuple, dataclass, fields, replace

from plugin.errors import OptionError, nearest_name
from plugin.load.layouts import BESIDE, Asked, KnownLayout, find_system, recognise, unread_notes
from plugin.load.readers import Table

CHATS = ("messages", "conversations")
"""Columns that hold chats in OpenAI's and in ShareGPT's files."""

USUAL_INPUTS = ("question", "prompt", "instruction", "query", "text")
_USUAL_OUTPUTS = tuple(
    "output answer response completion target reference label answers references targets".split()
)
_N_LISTED = 30


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the columns; a name that differs from the default must exist in the data."""

    input: str = "input"
    expected_output: str = "expected_output"
    context: str = "context"
    group: str = "group"
    cluster: str = "cluster"
    id: str = "id"
    retention: str = "retention"
    expect: str = "expect"
    tests: str = "tests"


@dataclass(frozen=True, slots=True)
class InputTemplate:
    """A template that builds the input from several columns.

    Attributes:
        parts: pairs of literal text and the column whose cell follows it (None if none follows).
    """

    parts: tuple[tuple[str, str | None], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns that the template uses."""
        return tuple(name for _, name in self.parts if name is not None)


@dataclass(frozen=True, slots=True)
class Layout:
    """Say how to read the rows of one data set.

    Attributes:
        asked: how the input is read; None if no input column was found.
        input: the columns with the input; empty if a template is used.
        columns: the columns that the user named, completed by those of the known layout.
        system: column with a system turn for each row; None for none.
        extra: columns that nothing reads; kept as metadata.
        notes: what was recognised, and what looks like input but is not read, one sentence each.
    """

    asked: Asked | None
    input: tuple[str, ...]
    template: InputTemplate | None
    columns: Columns
    has_expected_output: bool
    system: str | None
    extra: tuple[str, ...]
    notes: tuple[str, ...] = ()


def parse_template(text: str) -> InputTemplate:
    """Parse a template such as "{instruction} {input}"; double a brace to write it literally.

    Braces may only contain a column's name, and the cell is inserted unchanged: no attributes, no
    indexes, no formats.

    Raises:
        OptionError: when the template is invalid or names no column.
    """
    rule = "only {column} is replaced; write {{ or }} for a literal brace"
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise OptionError(f"--input_template {text!r}: {str(error).lower()}; {rule}") from error
    for _, name, form, conversion in parts:
        if name == "" or form or conversion:
            shown = (
                f"{name or ''}{f'!{conversion}' if conversion else ''}{f':{form}' if form else ''}"
            )
            raise OptionError(f"--input_template {text!r}: {{{shown}}} is not a column; {rule}")
    template = InputTemplate(tuple((literal, name) for literal, name, _, _ in parts))
    if not template.columns:
        raise OptionError(
            f"--input_template {text!r} contains no column; write for example '{{question}}'"
        )
    return template


def lay_out(
    columns: Columns,
    template: InputTemplate | None,
    table: Table,
    completions: Collection[str] = (),
) -> tuple[Layout, list[str]]:
    """Return how to read a data set, and a list of problems.

    Args:
        columns: the columns that the user named.
        template: the user's template, if any.
        table: the data set.
        completions: columns with recorded completions, which are not expected outputs.
    """
    there = table.columns
    problems = [
        missing_column_text(f"--{field.name}_column", getattr(columns, field.name), there)
        for field in fields(columns)
        if getattr(columns, field.name) not in (field.default, *there)
    ]
    known = recognise(there)
    asked, names = _find_input(columns, template, known, there)
    if template is not None:
        unknown = [name for name in dict.fromkeys(template.columns) if name not in there]
        problems += [missing_column_text("--input_template", name, there) for name in unknown]
        asked = None if unknown else asked
    elif asked is None and columns.input == Columns().input:
        problems.append(_no_input_text(there))
    own = _fill_columns(columns, template, known, there, completions)
    used = {getattr(own, field.name) for field in fields(own) if field.name != "input"}
    used |= {*names, *(template.columns if template else ())}
    used |= {*BESIDE} if own.tests in there else set()
    system = find_system(table, used)
    extra = tuple(name for name in there if name not in used and name != system)
    layout = Layout(
        asked=asked,
        input=names,
        template=template,
        columns=own,
        has_expected_output=own.expected_output in there,
        system=system,
        extra=extra,
    )
    if asked is None:
        return layout, problems
    becomes = _becomes(layout, columns, there)
    read_as = _read_as_notes(known, becomes, completions, template is not None)
    unread = unread_notes([name for name in extra if name not in completions], table)
    return replace(layout, notes=(*read_as, *unread)), problems


def _find_input(
    columns: Columns,
    template: InputTemplate | None,
    known: KnownLayout | None,
    there: Sequence[str],
) -> tuple[Asked | None, tuple[str, ...]]:
    """Return how and where to read the input: by the template, a known layout, or the column."""
    if template is not None:
        return "template", ()
    if columns.input == Columns().input and known is not None:
        return known.asked, tuple(name for name in known.input if name in there)
    if columns.input in there:
        return ("chat" if columns.input in CHATS else "text"), (columns.input,)
    return None, (columns.input,)


def _fill_columns(
    columns: Columns,
    template: InputTemplate | None,
    known: KnownLayout | None,
    there: Sequence[str],
    completions: Collection[str],
) -> Columns:
    """Return the user's columns; replace missing ones by those of the known layout."""
    if known is None:
        return columns
    taken = {*astuple(columns), *completions, *(template.columns if template else ())}
    offered = {
        "expected_output": known.expected_output,
        "id": (known.id,),
        "group": (known.group,),
        "tests": (known.tests,),
    }
    found = {
        field: name
        for field, names in offered.items()
        for name in names[::-1]  # reversed, so that the first existing one wins
        if getattr(columns, field) not in there and name in there and name not in taken
    }
    return replace(columns, **found)


def _becomes(layout: Layout, named: Columns, there: Sequence[str]) -> list[str]:
    """Return "column -> meaning" texts, without columns that the user named or plain ones."""
    filled = [
        f"{getattr(layout.columns, name)} -> {name.replace('_', ' ')}"
        for name in ("expected_output", "id", "group", "tests")
        if getattr(layout.columns, name) != getattr(named, name)
    ]
    system = [f"{layout.system} -> system turn"] if layout.system else []
    if layout.template is not None or layout.input == (named.input,):
        return [*filled, *system]
    source = " + ".join(layout.input)
    if layout.asked != "chat":
        meaning = "user turns" if layout.asked == "turns" else "input"
        tests = " with the tests" if layout.asked == "with tests" else ""
        return [f"{source}{tests} -> {meaning}", *filled, *system]
    answer = (
        [] if layout.columns.expected_output in there else ["its last answer -> expected output"]
    )
    return [f"{source} -> chat", *answer, *filled, *system]


def _read_as_notes(
    known: KnownLayout | None,
    becomes: Sequence[str],
    completions: Collection[str],
    has_template: bool,
) -> list[str]:
    """Return a sentence about the recognised layout; none if only plain columns are read."""
    if not becomes:
        return []
    if known is None:
        return [f"recognised by their usual names: {', '.join(becomes)}"]
    remarks = [known.remark] if known.remark and not has_template else []
    if known.completions and known.completions not in completions:
        remarks.append(
            f"{known.completions} holds a model's completions, not reference answers: compare them "
            f"with --recorded NAME=FILE:{known.completions}"
        )
    return ["; ".join([f"read as {known.name}: {', '.join(becomes)}", *remarks])]


def missing_column_text(option: str, name: str, there: Sequence[str]) -> str:
    """Return the message for an option that names a missing column."""
    nearest = nearest_name(name, there)
    hint = f"did you mean {nearest!r}? " if nearest else ""
    plain = "attributes and indexes are not supported; " if "." in name or "[" in name else ""
    return f"{option}: there is no column {name!r}; {plain}{hint}{list_columns(there)}"


def _no_input_text(there: Sequence[str]) -> str:
    lower = {name.lower(): name for name in there}
    asked, answer = (
        next((lower[name] for name in names if name in lower), None)
        for names in (("input", *USUAL_INPUTS), _USUAL_OUTPUTS)
    )
    meant = [f"--input_column {asked}"] if asked else []
    meant += [f"--expected_output_column {answer}"] if asked and answer else []
    hint = f"did you mean {' '.join(meant)}? " if meant else ""
    return (
        f"there is no column 'input' (nor {' or '.join(map(repr, CHATS))}); give the column with "
        "the question as --input_column, or build the question with --input_template; "
        f"{hint}{list_columns(there)}"
    )


def list_columns(there: Sequence[str]) -> str:
    """List the columns for a message."""
    if not there:
        return "there are no columns"
    more = f" and {len(there) - _N_LISTED} more" if len(there) > _N_LISTED else ""
    # A name from JSON may hold half of a surrogate pair, which no terminal can print.
    names = ", ".join(there[:_N_LISTED]).encode("utf-8", "replace").decode()
    return f"columns are: {names}{more}"
