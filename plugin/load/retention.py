"""Mark the cases of retention groups: those that the user names, and those that a column marks.

A retention group is one that must not get worse. It counts as a whole, and whole groups are marked
before any case is drawn, so that the draw does not change which groups they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from plugin.errors import OptionError, did_you_mean, list_first
from plugin.records import ALL, Case

NO_GROUP = "retention"
"""The group of marked rows that name none."""

_N_LISTED = 20


def mark_retention(
    cases: Sequence[Case], asked: Sequence[str]
) -> tuple[tuple[Case, ...], tuple[str, ...]]:
    """Return the cases with all of the retention groups marked, and notes, a sentence each.

    Args:
        cases: all usable ones; `retention` says whether the case's own row is marked.
        asked: the groups that the user names besides.

    Raises:
        OptionError: naming every group that no case has.
    """
    placed = tuple(
        replace(case, group=NO_GROUP) if case.retention and case.group is None else case
        for case in cases
    )
    sizes = Counter(case.group for case in placed if case.group is not None)
    if problems := [_unknown_text(name, sizes) for name in asked if name not in sizes]:
        raise OptionError("\n".join(problems))
    n_marked = Counter(case.group for case in placed if case.retention)
    groups = {*asked, *n_marked}
    notes = tuple(
        f"group {name!r} is marked for retention in {n_marked[name]} of its {n} cases; the group "
        "counts as a whole"
        for name, n in sizes.items()
        if name not in asked and 0 < n_marked[name] < n
    )
    return tuple(replace(case, retention=case.group in groups) for case in placed), notes


def check_drawn(
    cases: Sequence[Case], drawn: Sequence[Case], asked: Sequence[str]
) -> tuple[str, ...]:
    """Return notes on the retention groups in a draw.

    Retention groups may hold every case: several groups, none of which may get worse, are a fair
    question. A note says that the primary metric then decides on the same cases.

    Args:
        cases: all usable ones, marked.
        drawn: those of them that are worked.
        asked: the groups that the user names.

    Raises:
        OptionError: naming every group that the user asked for and that the draw left out.
    """
    there = {case.group for case in drawn}
    sizes = Counter(case.group for case in cases if case.retention)
    left_out = {name: n for name, n in sizes.items() if name not in there}
    problems = [
        f"--retention_group {name!r}: none of its cases ({n}) is among the {len(drawn)} drawn; "
        "raise --limit, or leave the group out"
        for name, n in left_out.items()
        if name in asked
    ]
    if problems:
        raise OptionError("\n".join(problems))
    notes = [
        f"retention group {name!r} is not looked at: none of its cases ({n}) is among the "
        f"{len(drawn)} drawn (--limit)"
        for name, n in left_out.items()
    ]
    if all(case.retention for case in drawn):
        notes.append(
            "every case is of a retention group, so the primary metric decides on the same cases"
        )
    return tuple(notes)


def _unknown_text(name: str, sizes: Counter[str]) -> str:
    """Return what is wrong with a group that no case has, and the way out."""
    where = f"--retention_group {name!r}"
    if name == ALL:
        return f"{where} is all cases together; name a group of the data ({_listed(sizes)})"
    return f"{where} is the group of no case{did_you_mean(name, sizes)} ({_listed(sizes)})"


def _listed(sizes: Counter[str]) -> str:
    if sizes:
        return f"groups are: {list_first(list(sizes), _N_LISTED)}"
    return (
        "no case has a group: name the column with --group_column, or mark rows in a column "
        "'retention'"
    )
