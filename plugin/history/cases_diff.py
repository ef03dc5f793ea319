"""The command `cases diff`: what changed between two evaluation sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugin.caseset.command import start_build
from plugin.errors import OptionError
from plugin.history.sides import case_keys
from plugin.hosts.folder import FolderHost
from plugin.load.cases import load_cases
from plugin.plan.commands_cases import CASES_OPTIONS, refuse_build_options
from plugin.plan.params import Params
from plugin.plan.plan import case_source
from plugin.records import Case
from plugin.reopen import open_run

_SHOWN = 20
"""Cases that are listed of each kind."""

_WIDTH = 70
"""Characters of a question that are shown."""


@dataclass(frozen=True, slots=True)
class CasesDiff:
    """What became of the cases.

    Attributes:
        added: cases that only the new set has.
        removed: cases that only the old set has.
        changed: old and new case with the same question, or the same id of the user's, of which
            something else is not the same.
        n_same: cases that both have.
    """

    added: tuple[Case, ...]
    removed: tuple[Case, ...]
    changed: tuple[tuple[Case, Case], ...]
    n_same: int


def diff_cases(old: Sequence[Case], new: Sequence[Case]) -> CasesDiff:
    """Compare two evaluation sets by the content of their cases, whatever their order."""
    before = dict(zip(case_keys(old), old, strict=True))
    after = dict(zip(case_keys(new), new, strict=True))
    gone = [case for key, case in before.items() if key not in after]
    come = [case for key, case in after.items() if key not in before]
    changed = list[tuple[Case, Case]]()
    for alike in (_question, _own_id):
        places: dict[object, list[Case]] = {}
        for case in come:
            if (place := alike(case)) is not None:
                places.setdefault(place, []).append(case)
        for case in list(gone):
            if others := places.get(alike(case)):
                changed.append((case, others[0]))
                gone.remove(case)
                come.remove(others.pop(0))
    return CasesDiff(tuple(come), tuple(gone), tuple(changed), len(before.keys() & after.keys()))


def _question(case: Case) -> object:
    return tuple((turn.role, turn.content) for turn in case.messages)


def _own_id(case: Case) -> object:
    """Return the id; None for a row's number, which says nothing when rows are added."""
    return None if case.id.isdecimal() else case.id


def start_cases(given: dict[str, Any], host: FolderHost) -> int:
    """Do what the words after `cases` say; return the exit code."""
    if given["what"] == "build":
        return start_build(given, host)
    refuse_build_options(given)
    if len(given["sets"]) != 2:
        raise OptionError("cases diff needs two evaluation sets: cases diff OLD NEW")
    old, new = (_read_set(name, given) for name in given["sets"])
    found = diff_cases(old, new)
    host.log(
        f"{found.n_same:,} cases are the same, {len(found.added):,} added, "
        f"{len(found.removed):,} removed, {len(found.changed):,} changed"
    )
    for name, cases in (("added", found.added), ("removed", found.removed)):
        _show(host, name, [f"{case.id}: {_short(case.input)}" for case in cases])
    lines = [
        f"{one.id}: {_short(one.input)} ({', '.join(_differences(one, other))})"
        for one, other in found.changed
    ]
    _show(host, "changed", lines)
    return 0


def _read_set(name: str, given: Mapping[str, Any]) -> Sequence[Case]:
    """Return the cases of a data set, or of an earlier run."""
    if (Path(name) / "journal.sqlite").is_file():
        journal = open_run(Path(name))
        try:
            return journal.cases()
        finally:
            journal.close()
    options = {column: given[column] for column in CASES_OPTIONS if given[column] is not None}
    return load_cases(case_source(Params.parse(options), name)).cases


def _show(host: FolderHost, name: str, lines: Sequence[str]) -> None:
    for line in lines[:_SHOWN]:
        host.log(f"{name:8} {line}")
    if (more := len(lines) - _SHOWN) > 0:
        host.log(f"{name:8} ... and {more:,} more")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 3]}..."


def _differences(old: Case, new: Case) -> list[str]:
    """Return what is not the same, in words."""
    parts = {
        "question": (_question(old), _question(new)),
        "expected output": (old.right_answers, new.right_answers),
        "context": (old.context, new.context),
        "expected texts": (old.expect, new.expect),
        "tests": (old.tests, new.tests),
    }
    return [name for name, (before, after) in parts.items() if before != after]
