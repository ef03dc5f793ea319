"""Recognise the layouts that other tools and benchmarks write, and say what becomes what.

`LAYOUTS` is the table: to add a layout, add a row. A column that the user named goes before all of
it. A column that looks like input and is not read is named in a note, never dropped in silence.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from plugin.load.readers import NumberAsWritten, Table

Asked = Literal["text", "chat", "template", "joined", "first turn", "request"]
"""How the input is read: text (a list of turns counts as a chat), a chat, the user's template,
columns joined with an empty line between them, the first of a list of questions, or the prompt of
lm-eval's only request."""


@dataclass(frozen=True, slots=True)
class KnownLayout:
    """A layout by the habit of a tool or benchmark.

    Attributes:
        name: as shown.
        needs: columns that must all be there.
        asked: how the input is read.
        input: the columns that it is read from; of those to be joined, some may be missing.
        one_of: columns of which one must be there besides; empty for no such rule.
        expected_output: columns with the reference answer; the first that is there is read.
        id: column with the id; "" for none.
        group: column with the group; "" for none.
        completions: column with completions of some model; "" for none.
        remark: what the reader should know besides; "" for nothing.
    """

    name: str
    needs: tuple[str, ...]
    asked: Asked
    input: tuple[str, ...]
    one_of: tuple[str, ...] = ()
    expected_output: tuple[str, ...] = ()
    id: str = ""
    group: str = ""
    completions: str = ""
    remark: str = ""


LAYOUTS = (
    KnownLayout(
        "lm-eval samples",
        needs=("doc", "arguments", "target", "resps"),
        asked="request",
        input=("arguments",),
        expected_output=("target",),
        id="doc_id",
        completions="resps",
    ),
    KnownLayout(
        "MT-Bench",
        needs=("question_id", "turns"),
        asked="first turn",
        input=("turns",),
        expected_output=("reference",),
        id="question_id",
        group="category",
        remark="later turns follow the model's own answers and are not asked",
    ),
    KnownLayout(
        "AlpacaEval outputs",
        needs=("instruction", "output", "generator"),
        asked="joined",
        input=("instruction", "input"),
        group="dataset",
        completions="output",
    ),
    KnownLayout(
        "Alpaca",
        needs=("instruction",),
        one_of=("input", "output", "chosen"),
        asked="joined",
        input=("instruction", "input"),
        expected_output=("output", "chosen"),
    ),
    KnownLayout("OpenAI chat", needs=("messages",), asked="chat", input=("messages",)),
    KnownLayout(
        "ShareGPT preferences",
        needs=("conversations", "chosen", "rejected"),
        asked="chat",
        input=("conversations",),
        expected_output=("chosen",),
        remark="rejected is not used",
    ),
    KnownLayout("ShareGPT", needs=("conversations",), asked="chat", input=("conversations",)),
    KnownLayout(
        "TRL preferences",
        needs=("prompt", "chosen", "rejected"),
        asked="text",
        input=("prompt",),
        expected_output=("chosen",),
        remark="rejected is not used",
    ),
    KnownLayout(
        "TRL preferences",
        needs=("chosen", "rejected"),
        asked="chat",
        input=("chosen",),
        remark="rejected is not used",
    ),
    KnownLayout(
        "prompt and completion",
        needs=("prompt", "completion"),
        asked="text",
        input=("prompt",),
        expected_output=("completion",),
    ),
)
"""The first that fits is taken."""

_PLAIN_INPUT = "input"
"""A layout that does not read this column is not taken where it is there."""

_SYSTEM = ("system", "system_prompt")

_CONTEXT_WORDS = set(
    "context contexts passage passages document documents article articles paragraph paragraphs "
    "evidence knowledge background".split()
)
_TOOL_WORDS = {"tool", "tools", "function", "functions"}
_INPUT_WORDS = set(
    "input inputs instruction instructions question questions prompt prompts query queries system "
    "message messages conversation conversations turn turns chat chats dialog dialogs dialogue "
    "dialogues history problem text".split()
)
_ABOUT_WORDS = set(
    "id ids uid uuid idx index type length len count n num number tokens hash sha lang language "
    "date time category topic url link name title score rating answer answers label".split()
)
"""In a column's name, they make it one about the input instead of the input: question_id."""


def recognise(there: Collection[str]) -> KnownLayout | None:
    """Return the layout that has these columns; None for none that is known."""
    for layout in LAYOUTS:
        fits = all(name in there for name in layout.needs)
        if layout.one_of and not any(name in there for name in layout.one_of):
            fits = False
        if fits and (_PLAIN_INPUT not in there or _PLAIN_INPUT in layout.input):
            return layout
    return None


def find_system(table: Table, taken: Collection[str]) -> str | None:
    """Return the column with system turns: one of the usual names, with text in its first cell."""
    for name in _SYSTEM:
        cells = (row.cells.get(name) for row in table.rows)
        first = next((cell for cell in cells if not is_blank(cell)), None)
        is_plain = isinstance(first, str) and not isinstance(first, NumberAsWritten)
        if is_plain and name not in taken:
            return name
    return None


def is_blank(value: object) -> bool:
    """Return whether a cell holds nothing: null, white space, an empty list or object."""
    if isinstance(value, str):
        return value.strip() in ("", "[]", "{}")
    return value is None or value == [] or value == {}


def unread_notes(extra: Sequence[str], table: Table) -> list[str]:
    """Return a note for each kind of column that looks like input and that nothing reads.

    Args:
        extra: columns that nothing reads.
        table: their rows; a column without any content needs no word.
    """
    found: dict[str, list[str]] = {}
    for name in extra:
        hint = _hint(name)
        if hint and any(not is_blank(row.cells.get(name)) for row in table.rows):
            found.setdefault(hint, []).append(name)
    return [
        f"{_columns_text(names)} like input and {'is' if len(names) == 1 else 'are'} not read: "
        f"{hint.format(name=names[0])}"
        for hint, names in found.items()
    ]


def _columns_text(names: Sequence[str]) -> str:
    shown = " and ".join([*([", ".join(names[:-1])] if names[1:] else []), names[-1]])
    return f"column {shown} looks" if len(names) == 1 else f"columns {shown} look"


def _hint(name: str) -> str:
    """Return what to do about the column when nothing reads it; "" where it is no input."""
    words = set(re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()))
    if words & _ABOUT_WORDS:
        return ""
    if words & _TOOL_WORDS:
        return "the models are told of no tools. Leave rows that need them out of the data"
    if words & _CONTEXT_WORDS:
        return (
            "name the one with true texts with --context_column (for the judge), or put it into "
            "the question with --input_template"
        )
    if words & _INPUT_WORDS:
        return (
            "if the model should see it, name it with --input_column, or build the question of "
            "several columns with --input_template, such as '{{{name}}} {{input}}'"
        )
    return ""
