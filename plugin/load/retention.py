"""Mark the cases of retention groups, which the user names or a column marks.

A retention group is a group that must not get worse. It always counts as a whole. Groups are marked
before cases are drawn, so the draw does not change which groups are marked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from plugin.errors import OptionError, did_you_mean, list_first
from plugin.records import ALL, Case

NO_GROUP = "retention"
"""The group of marked rows that have no group."""

_N_LISTED = 20


def mark_retention(
    cases: Sequence[Case], asked: Sequence[str]
) -> tuple[tuple[Case, ...], tuple[str, ...]]:
    """Mark all cases of the retention groups; also return notes, one sentence each.

    Args:
        cases: all usable cases; `retention` says whether the case's own row is marked.
        asked: other groups, named by the user.

    Raises:
        OptionError: when no case has one of these groups; names all such groups.
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
        f"group {name!r}: only {n_marked[name]} of its {n} cases are marked for retention, but the "
        "whole group counts as a retention group"
        for name, n in sizes.items()
        if name not in asked and 0 < n_marked[name] < n
    )
    return tuple(replace(case, retention=case.group in groups) for case in placed), notes


def check_drawn(
    cases: Sequence[Case], drawn: Sequence[Case], asked: Sequence[str]
) -> tuple[str, ...]:
    """Check the retention groups among the drawn cases, and return notes.

    All cases may belong to retention groups: it makes sense to ask that no group gets worse. A note
    then says that the primary metric is judged on the same cases.

    Args:
        cases: all usable cases, marked.
        drawn: the cases of this run.
        asked: the groups that the user named.

    Raises:
        OptionError: when the draw left out a group that the user named; names all such groups.
    """
    there = {case.group for case in drawn}
    sizes = Counter(case.group for case in cases if case.retention)
    left_out = {name: n for name, n in sizes.items() if name not in there}
    problems = [
        f"--retention_group {name!r}: the draw of {len(drawn)} cases has no case of this group; "
        "raise --limit, or leave the group out"
        for name, n in left_out.items()
        if name in asked
    ]
    if problems:
        raise OptionError("\n".join(problems))
    notes = [
        f"retention group {name!r} is not checked: none of its cases ({n}) is among the "
        f"{len(drawn)} drawn; raise --limit to include it"
        for name, n in left_out.items()
    ]
    if all(case.retention for case in drawn):
        notes.append(
            "every case belongs to a retention group, so the primary metric uses the same cases"
        )
    return tuple(notes)


def _unknown_text(name: str, sizes: Counter[str]) -> str:
    """Return the message for a group that no case has."""
    where = f"--retention_group {name!r}"
    if name == ALL:
        return f"{where} means all cases together; name a group of the data ({_listed(sizes)})"
    return f"{where}: no case has this group{did_you_mean(name, sizes)} ({_listed(sizes)})"


def _listed(sizes: Counter[str]) -> str:
    if sizes:
        return f"groups are: {list_first(list(sizes), _N_LISTED)}"
    return (
        "no case has a group: give the column with the groups as --group_column, or mark rows in a "
        "column 'retention'"
    )
