"""Recognise the column layouts of other tools and benchmarks.

`LAYOUTS` is the table: to add a layout, add a row. A column that the user named has priority over
the table. If nothing reads a column that looks like input, a note says so.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from plugin.load.readers import NumberAsWritten, Table

Asked = Literal["text", "chat", "template", "joined", "turns", "request", "with tests"]
"""How the input is read: "text" (a list of turns counts as a chat), "chat", "template" (the user's
template), "joined" (several columns with an empty line between them), "turns" (a list of what the
user says, turn by turn), "request" (the prompt of an lm-eval sample with one request), or "with
tests" (a text, and the tests that the code must pass)."""

BESIDE = ("entry_point", "test_setup_code", "test_imports")
"""Columns that belong to the tests of code, by the names that benchmarks gave them."""


@dataclass(frozen=True, slots=True)
class KnownLayout:
    """Describe the columns that a tool or benchmark writes.

    Attributes:
        name: the layout's name, as shown.
        needs: columns that must all exist.
        asked: how the input is read.
        input: the columns with the input; for "joined", some of them may be missing.
        one_of: at least one of these columns must exist too; empty for no such rule.
        expected_output: columns with the reference answer; the first existing one is read.
        id: column with the id; "" for none.
        group: column with the group; "" for none.
        completions: column with a model's completions; "" for none.
        tests: column with the tests of code; "" for none.
        remark: what else the reader should know unless a template builds the input; "" for nothing.
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
    tests: str = ""
    remark: str = ""


LAYOUTS = (
    KnownLayout(
        "human-eval",
        needs=("prompt", "entry_point", "test"),
        asked="text",
        input=("prompt",),
        expected_output=("canonical_solution",),
        id="task_id",
        tests="test",
    ),
    *(
        KnownLayout(
            "MBPP",
            needs=(asked, "test_list"),
            asked="with tests",
            input=(asked,),
            expected_output=("code",),
            id="task_id",
            tests="test_list",
        )
        for asked in ("text", "prompt")
    ),
    KnownLayout(
        "APPS",
        needs=("question", "input_output"),
        asked="text",
        input=("question",),
        id="problem_id",
        group="difficulty",
        tests="input_output",
    ),
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
        asked="turns",
        input=("turns",),
        expected_output=("reference",),
        id="question_id",
        group="category",
    ),
    KnownLayout(
        "MT-Bench prompts",
        needs=("prompt_id", "prompt", "category"),
        asked="turns",
        input=("prompt",),
        expected_output=("reference",),
        id="prompt_id",
        group="category",
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
        "SQuAD",
        needs=("question", "context", "answers"),
        asked="text",
        input=("question",),
        expected_output=("answers",),
        id="id",
        remark="only a judge sees context; to show it to the models, too, build the question with "
        "--input_template '{context} {question}'",
    ),
    KnownLayout(
        "questions and answers",
        needs=("question", "answers"),
        asked="text",
        input=("question",),
        expected_output=("answers",),
        id="id",
    ),
    KnownLayout(
        "prompt and completion",
        needs=("prompt", "completion"),
        asked="text",
        input=("prompt",),
        expected_output=("completion",),
    ),
    KnownLayout(
        "lists of user turns",
        needs=("turns",),
        asked="turns",
        input=("turns",),
        expected_output=("reference", "expected_output"),
        group="category",
    ),
)
"""The first layout that fits is used."""

_PLAIN_INPUT = "input"
"""If this column exists, only layouts that read it are used."""

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
"""A column with such a word in its name describes the input but is not the input: question_id."""


def recognise(there: Collection[str]) -> KnownLayout | None:
    """Return the known layout with these columns, or None."""
    for layout in LAYOUTS:
        fits = all(name in there for name in layout.needs)
        if layout.one_of and not any(name in there for name in layout.one_of):
            fits = False
        if fits and (_PLAIN_INPUT not in there or _PLAIN_INPUT in layout.input):
            return layout
    return None


def find_system(table: Table, taken: Collection[str]) -> str | None:
    """Return the column with system turns: it has a usual name, and its first value is text."""
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
    """Return notes about columns that look like input although nothing reads them.

    Args:
        extra: columns that nothing reads.
        table: the rows; an empty column gets no note.
    """
    found: dict[str, list[str]] = {}
    for name in extra:
        hint = _hint(name)
        if hint and any(not is_blank(row.cells.get(name)) for row in table.rows):
            found.setdefault(hint, []).append(name)
    return [
        f"{_columns_text(names)} like input but {'is' if len(names) == 1 else 'are'} not used: "
        f"{hint.format(name=names[0])}"
        for hint, names in found.items()
    ]


def _columns_text(names: Sequence[str]) -> str:
    shown = " and ".join([*([", ".join(names[:-1])] if names[1:] else []), names[-1]])
    return f"column {shown} looks" if len(names) == 1 else f"columns {shown} look"


def _hint(name: str) -> str:
    """Return advice about a column that nothing reads; "" if it does not look like input."""
    words = set(re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()))
    if words & _ABOUT_WORDS:
        return ""
    if words & _TOOL_WORDS:
        return "the models get no tools. Remove rows that need tools from the data"
    if words & _CONTEXT_WORDS:
        return (
            "give it as --context_column to show it to the judge, or put it into the question "
            "with --input_template"
        )
    if words & _INPUT_WORDS:
        return (
            "if the model should see it, give it as --input_column, or build the question from "
            "several columns with --input_template, such as '{{{name}}} {{input}}'"
        )
    return ""
