"""Make the items of the ability strings: every wording is written by hand, answers are computed.

A task is its level (1 easy, 3 hard), its rule, its wording with {} where the text stands, the text,
and the function that makes the answer of the text. The tables lie in strings_easy.py,
strings_middle.py and strings_hard.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tools.probe import strings_easy, strings_hard, strings_middle
from tools.probe.string_tasks import Task

QUICK_EVERY = 6
"""Every sixth task is in the quick set."""


def tasks() -> Iterable[tuple[int, Task]]:
    """Return all tasks with their levels, the easy ones first."""
    for level, table in enumerate((strings_easy, strings_middle, strings_hard), start=1):
        for task in table.TASKS:
            yield level, task


def rows() -> list[dict[str, Any]]:
    """Return the rows of all tasks."""
    made = list[dict[str, Any]]()
    for number, (level, task) in enumerate(tasks(), start=1):
        row = {
            "id": f"strings-g{number:03}",
            "input": task.question,
            "rule": task.rule,
            "check": task.check,
            "level": level,
        }
        made.append(row | ({"quick": True} if number % QUICK_EVERY == 0 else {}))
    return made
