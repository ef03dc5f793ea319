"""See from the preferences themselves whether a judge reads the answers or only their order.

Every pair is judged with each answer shown first. Where a judge changes its mind with the order,
the pair counts as a tie; so a judge that always chooses the first answer makes everything look
equal, and so does one that always says tie. Neither may pass for a finding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from plugin.compare.numbers import format_count, format_percent
from plugin.records import Preference
from plugin.results import Comparison

MOST_FLIPS = 0.5
"""A coin changes its mind in half of the pairs."""

MIN_PAIRS = 5
"""With fewer pairs nothing is said about the judge."""


@dataclass(frozen=True, slots=True)
class PositionCheck:
    """What one judge did with the order of the answers, over all pairs that it was asked.

    Attributes:
        judge: as shown.
        n: pairs, each asked in both orders.
        n_flips: pairs in which the winner changed with the order.
        n_ties: pairs that were called a tie in both orders.
        n_decided: single answers, two a pair, that named a winner.
        n_first: of these, the ones that chose the answer shown first.
    """

    judge: str
    metric: str
    n: int
    n_flips: int
    n_ties: int
    n_decided: int
    n_first: int

    @property
    def flips(self) -> bool:
        """Return whether it follows the order no less than a coin would."""
        return self.n >= MIN_PAIRS and self.n_flips >= MOST_FLIPS * self.n

    @property
    def never_decides(self) -> bool:
        """Return whether it called every pair a tie."""
        return self.n >= MIN_PAIRS and self.n_ties == self.n

    @property
    def is_bad(self) -> bool:
        """Return whether its ties say nothing about the answers."""
        return self.flips or self.never_decides

    @property
    def fault(self) -> str:
        """Return what is wrong with it, to follow its name; "" for nothing."""
        if self.flips:
            return (
                f"changed its mind with the order of the answers in "
                f"{format_percent(self.n_flips / self.n)} of the pairs"
            )
        return "called every pair a tie" if self.never_decides else ""


def check_positions(preferences: Sequence[Preference], judge: str) -> tuple[PositionCheck, ...]:
    """Return what every judge did with the order, the judges in order of appearance.

    Args:
        preferences: those that count; what was not asked or repeated is left out.
        judge: the run's only judge, as shown.
    """
    asked = [one for one in preferences if one.is_asked and not one.repeat]
    found = []
    for name, metric in dict.fromkeys((one.judge, one.metric) for one in asked):
        own = [one for one in asked if (one.judge, one.metric) == (name, metric)]
        first = [level for one in own for level in (one.first, -(one.second or 0)) if level]
        found.append(
            PositionCheck(
                judge=name or judge,
                metric=metric,
                n=len(own),
                n_flips=sum(one.is_flip for one in own),
                n_ties=sum(one.first == one.second == 0 for one in own),
                n_decided=len(first),
                n_first=sum(level > 0 for level in first),
            )
        )
    return tuple(found)


def position_lines(checks: Sequence[PositionCheck]) -> list[str]:
    """Return why the reader should not trust these judges; empty where there is no reason."""
    lines = []
    for check in checks:
        n, metric = format_count(check.n), check.metric
        if check.flips:
            lines.append(
                f"The judge {check.judge} changed its mind in {format_count(check.n_flips)} of {n} "
                f"pairs when the two answers changed places, and chose the answer shown first "
                f"{format_percent(check.n_first / check.n_decided)} of the times that it named a "
                f"winner on {metric}. Such pairs count as ties, so a win rate near 50% says "
                "nothing about the answers. Choose another judge before you trust these numbers."
            )
        elif check.never_decides:
            lines.append(
                f"The judge {check.judge} called all {n} pairs a tie on {metric}: it may not be "
                "able to compare answers. Choose another judge before you trust these numbers."
            )
    return lines


def withhold_ties(
    comparisons: Sequence[Comparison], checks: Sequence[PositionCheck]
) -> tuple[Comparison, ...]:
    """Return the comparisons; what rests on the ties of a bad judge has no outcome.

    Wins in both orders stay: a judge that changes its mind makes them rarer, not more.
    """
    bad = {check.metric for check in checks if check.is_bad}
    return tuple(
        replace(row, outcome="can't tell" if row.outcome == "equivalent" else "unclear")
        if row.metric in bad and row.outcome in ("equivalent", "kept")
        else row
        for row in comparisons
    )
