"""Find cases that repeat another one, and put them into one cluster.

Two cases are repeats if the whole conversation and the context are equal when we ignore upper and
lower case, white space and punctuation at the end. All other characters count: "2+2" is not "2-2",
and "C" is not "C++". Repeats counted as independent cases would make every interval too narrow.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from plugin.records import Case

_FINAL = re.compile(r"(?<=[\w)\]\"'”’»])[.?…。？]+$|(?<=[^\W\d_]{2})[.?!…。？！]+$")
"""Punctuation at the end of a text, which is ignored. An exclamation mark is ignored only after a
word: 5! is a factorial."""

_REPEATS_OF = "repeats of "
"""Before the id of a case in the name of a cluster that its repeats form."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """Count the cases that repeat another one.

    Attributes:
        n: number of cases that repeat an earlier one.
        n_cases: number of all cases.
        n_clusters: number of clusters; a case without a cluster counts as one.
    """

    n: int
    n_cases: int
    n_clusters: int

    @property
    def text(self) -> str:
        """Return a sentence for the reader; "" if no case is repeated."""
        if not self.n:
            return ""
        repeat = "repeats" if self.n == 1 else "repeat"
        clusters = "cluster" if self.n_clusters == 1 else "clusters"
        return (
            f"{self.n} of {self.n_cases} cases {repeat} another one. A case and its repeats form "
            f"one cluster: {self.n_clusters} {clusters} in all."
        )


def count_repeats(cases: Sequence[Case]) -> Repeats:
    """Count the repeats that share a cluster with the case that they repeat."""
    first: dict[Hashable, Case] = {}
    n = 0
    for case in cases:
        other = first.setdefault(case_key(case), case)
        n += other is not case and other.cluster is not None and other.cluster == case.cluster
    alone = sum(case.cluster is None for case in cases)
    named = len({case.cluster for case in cases if case.cluster is not None})
    return Repeats(n, len(cases), named + alone)


def case_key(case: Case) -> Hashable:
    """Return a key that is equal for a case and its repeats."""
    turns = tuple((turn.role, fold(turn.content)) for turn in case.messages)
    return turns, tuple(map(fold, case.context))


def fold(text: str) -> str:
    """Return a text without what repeats may differ in: case, white space, final punctuation."""
    words = " ".join(unicodedata.normalize("NFC", text).casefold().split())
    return _FINAL.sub("", words)


def cluster_repeats(cases: Sequence[Case]) -> tuple[Case, ...]:
    """Put each case and its repeats into one cluster; merge clusters that share a repeat.

    A merged cluster gets the name of the first one; a new cluster is named after its first case.
    """
    labels = [_label(case) for case in cases]
    root: dict[Hashable, Hashable] = {}

    def find(label: Hashable) -> Hashable:
        while (above := root.setdefault(label, label)) != label:
            root[label] = label = root[above]
        return label

    first: dict[Hashable, Hashable] = {}
    for case, label in zip(cases, labels, strict=True):
        top, own = find(first.setdefault(case_key(case), label)), find(label)
        if own != top:
            root[own] = top
    members: dict[Hashable, list[Case]] = {}
    for case, label in zip(cases, labels, strict=True):
        members.setdefault(find(label), []).append(case)
    taken = {case.cluster for case in cases}
    names = {top: _cluster_name(group, taken) for top, group in members.items()}
    return tuple(
        case if case.cluster == names[top] else replace(case, cluster=names[top])
        for case, label in zip(cases, labels, strict=True)
        for top in (find(label),)
    )


def without_repeat_names(cases: Sequence[Case]) -> tuple[Case, ...]:
    """Return the cases without the clusters that `cluster_repeats` named after a repeated case.

    Such a name is made of an id, which in another set of cases may be that of another case.
    """
    members: dict[str, list[Case]] = {}
    for case in cases:
        if case.cluster is not None:
            members.setdefault(case.cluster, []).append(case)
    named = {
        name
        for name, group in members.items()
        if len({case_key(case) for case in group}) == 1 < len(group)
        and name.rstrip("'") == f"{_REPEATS_OF}{group[0].id}".rstrip("'")
    }
    return tuple(replace(case, cluster=None) if case.cluster in named else case for case in cases)


def _label(case: Case) -> Hashable:
    return ("case", case.id) if case.cluster is None else ("cluster", case.cluster)


def _cluster_name(group: Sequence[Case], taken: set[str | None]) -> str | None:
    """Return the name of a group's cluster; None for a single case without a cluster."""
    given = next((case.cluster for case in group if case.cluster is not None), None)
    if given is not None or len(group) == 1:
        return given
    name = f"{_REPEATS_OF}{group[0].id}"
    while name in taken:
        name += "'"
    return name
