"""A second judge for what the first is unsure of.

Unsure is a score in the middle third of the metric's range, or a panel whose judges are more than a
third of it apart. Both sides of the pair then go to the second judge, so that one judge stands
behind every difference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from plugin.bench import Item
from plugin.journal import Journal
from plugin.records import JudgeScore, MetricSpec, Score

_THIRD = 1 / 3

Place = tuple[str, str, str]


def pairs_in_doubt(items: Mapping[Place, Item], second: str, journal: Journal) -> list[list[Item]]:
    """The items of every case and metric that all first judges scored and are unsure of.

    Args:
        items: those that a judge is asked for, by place.
        second: the second judge's label, whose scores do not count here.
        journal: of the run.
    """
    given: dict[Place, list[float]] = {}
    for one in journal.judge_scores():
        if one.judge != second:
            given.setdefault((one.case_id, one.variant, one.metric), []).append(one.value)
    pairs: dict[tuple[str, str], list[Item]] = {}
    for (case_id, _, metric), item in items.items():
        pairs.setdefault((case_id, metric), []).append(item)
    return [
        pair
        for pair in pairs.values()
        if all(item.place in given for item in pair)
        and any(is_unsure(item.metric.spec, given[item.place]) for item in pair)
    ]


def is_unsure(spec: MetricSpec, given: Sequence[float]) -> bool:
    """Whether what the judges gave for one completion wants a second look."""
    third = (spec.high - spec.low) * _THIRD
    mean = math.fsum(given) / len(given)
    return spec.low + third < mean < spec.high - third or max(given) - min(given) > third


def overrule(scores: Sequence[Score], judge: str, journal: Journal) -> None:
    """The second judge's scores take the place of all sides' first ones, or of none."""
    with journal.whole():
        for one in scores:
            where = (one.case_id, one.variant, one.metric)
            journal.add_judge_score(JudgeScore(*where, judge, one.value))
            reason = f"{judge}, asked second: {one.reason or '-'}"
            journal.add_score(Score(*where, one.value, reason))
