"""Write a gate as Markdown, for a pull request or the summary of a job.

Texts of cases and models are data. Each mark that Markdown, HTML, GitHub or GitLab might read
becomes a character reference: these are shown as the mark, and never read as one.
Behind an @ comes an invisible space, so that nobody is called, and texts of models stand in <code>,
where neither names nor numbers of issues become links. Every text is cut short, so the whole stays
far below GitHub's limits: 1 MiB for a summary, 65,536 characters for a comment.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from plugin.compare.numbers import format_number
from plugin.gate.decide import Decision, GateResult
from plugin.gate.reading import GateRun, short_text
from plugin.gate.regressions import Regression
from plugin.gate.words import (
    SIGNS,
    gate_warnings,
    headline,
    limit_text,
    told_text,
)

MOST_ROWS = 30
"""Rules in the table; gate.json has them all."""

_SENTENCE, _TEXT, _NAME = 900, 400, 200
"""Bytes, escapes included, of a sentence of ours, of a text of a case, and of a name."""

_MARKUP = frozenset("&<>|`*_[]{}#!@~$^\\/")
"""Read as markup, or as the name of a person, an issue, a label or a formula, anywhere."""

_BEFORE_TEXT = frozenset(".:%")
"""Read as an address, an emoji or a milestone, where a letter or one of its kind follows."""

_INVISIBLE = "&#8203;"


def gate_markdown(run: GateRun, found: GateResult, worst: Sequence[Regression]) -> str:
    """Return the gate as Markdown: outcome, table of rules, and the worst cases."""
    lines = [f"## {SIGNS[found.result]} {escape(headline(run, found))}", ""]
    lines += ["| | rule | measured | must be |", "|---|---|---|---|"]
    rows = sorted(found.decisions, key=lambda one: _URGENCY[one.result])
    lines += [_row(one) for one in rows[:MOST_ROWS]]
    if left := len(rows) - MOST_ROWS:
        if left > 0:
            lines += ["", f"{left} more in gate.json."]
    notes = [*gate_warnings(run, found), *run.report.verdict.headline]
    lines += ["", *(f"- {escape(note)}" for note in notes)]
    if worst:
        lines += ["", *_worst_lines(run, worst)]
    return "\n".join(lines) + "\n"


_URGENCY = {"fail": 0, "can't tell": 1, "pass": 2}


def _row(one: Decision) -> str:
    sign = f"{SIGNS[one.result]} {one.result}".replace(" ", "&nbsp;")
    cells = (sign, f"<code>{escape(one.check.name, _NAME)}</code>", escape(told_text(one)))
    return f"| {' | '.join((*cells, escape(limit_text(one.check))))} |"


def _worst_lines(run: GateRun, worst: Sequence[Regression]) -> list[str]:
    """Return the table of the cases on which the variant lost most."""
    n = "The case" if len(worst) == 1 else f"The {len(worst)} cases"
    metric = escape(run.primary.name, _NAME)
    head = f"{n} with the largest loss on {metric}"
    base, own = (escape(name, _NAME) for name in (run.base, run.variant))
    return [
        f"<details><summary>{head}</summary>",
        "",
        f"| case | gain | asked | expected | {base} | {own} |",
        "|---|---|---|---|---|---|",
        *(_worst_row(one) for one in worst),
        "",
        "</details>",
    ]


def _worst_row(one: Regression) -> str:
    gain = format_number(one.gain, signed=True)
    texts = (one.input, one.expected_output, one.baseline_output, one.output)
    cells = (code(one.case_id), escape(gain), *(code(text) for text in texts))
    return f"| {' | '.join(cells)} |"


def code(text: str) -> str:
    """Return a text of a case or a model, as it may stand in a cell of a table."""
    return f"<code>{escape(text, _TEXT)}</code>" if text else ""


def escape(text: str, n_bytes: int = _SENTENCE) -> str:
    """Return the text on one line and cut short, with nothing in it that could be read as markup.

    Args:
        text: any text.
        n_bytes: how long it may be, escapes included.
    """
    shown, length = list[str](), 0
    for pair in pairwise(f"{short_text(text, n_bytes)} "):
        shown.append(_escaped(*pair))
        length += len(shown[-1].encode("utf-8", "replace"))
        if length > n_bytes:
            return "".join((*shown[:-1], "…"))
    return "".join(shown)


def _escaped(char: str, after: str) -> str:
    if char in ("@", "\uff20"):
        return f"&#{ord(char)};{_INVISIBLE}"
    if char in _MARKUP or (char in _BEFORE_TEXT and not (after.isspace() or after.isdigit())):
        return f"&#{ord(char)};"
    return char
