"""Split the cases of a sweep: one half chooses the checkpoint, the other half confirms it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from plugin.records import Case

MIN_CASES = 100
"""With fewer cases all of them choose: half of them could not confirm anything."""


@dataclass(frozen=True, slots=True)
class Split:
    """The cases of a sweep in two parts.

    Attributes:
        choosing: cases that choose the checkpoint, in the order in which they are used. Every
            first part of them has the groups in about the same shares as all of them.
        confirming: cases that take no part in the choice; none if there are too few cases.
    """

    choosing: tuple[Case, ...]
    confirming: tuple[Case, ...]

    @property
    def is_rank_only(self) -> bool:
        """Return whether the checkpoints are only ranked, because there are too few cases."""
        return not self.confirming


def split_cases(cases: Sequence[Case], seed: int) -> Split:
    """Split the cases in about equal halves, cluster by cluster.

    The half of a cluster comes from a hash of its name (or of the case's id) and the seed, so a
    case never changes sides when other cases are added. The price: the halves are equal on average
    only. Each group is split in the same way, whatever the others are.

    Args:
        cases: all cases; ids are unique.
        seed: another seed gives another split.
    """
    if len(cases) < MIN_CASES:
        return Split(_in_order(cases, seed), ())
    chooses = [_share("half", case.cluster or case.id, seed) < 0.5 for case in cases]
    choosing = [case for case, own in zip(cases, chooses, strict=True) if own]
    confirming = [case for case, own in zip(cases, chooses, strict=True) if not own]
    if not choosing or not confirming:  # all cases in one cluster
        return Split(_in_order(cases, seed), ())
    return Split(_in_order(choosing, seed), _in_order(confirming, seed))


def _in_order(cases: Sequence[Case], seed: int) -> tuple[Case, ...]:
    """Return the cases in a random order that takes from each group in proportion to its size."""
    groups = defaultdict[str | None, list[Case]](list)
    for case in sorted(cases, key=lambda case: (_share("order", case.id, seed), case.id)):
        groups[case.group].append(case)
    placed = [
        ((rank + 0.5) / len(members), _share("order", case.id, seed), case.id, case)
        for members in groups.values()
        for rank, case in enumerate(members)
    ]
    return tuple(place[-1] for place in sorted(placed, key=lambda place: place[:3]))


def _share(purpose: str, name: str, seed: int) -> float:
    """Return a number from 0 to 1 that looks random and depends on these words alone."""
    digest = hashlib.sha256(f"{purpose}\0{seed}\0{name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
