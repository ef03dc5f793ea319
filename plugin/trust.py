"""What the judge was seen to do -> the trust report: records in, records out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from plugin import biases, canaries
from plugin.exam import RETEST, Found, can_probe
from plugin.pairing import Evidence, all_pairs
from plugin.records import ALL, Completion, MetricSpec
from plugin.trust_records import Canary, Family, LengthSlope, Retest, Trust

_SAME = 1e-9
"""A change below it is rounding."""


def of_judge(
    found: Sequence[Found],
    evidence: Evidence,
    completions: Mapping[tuple[str, str], Completion],
    family: Family,
) -> Trust:
    """The part of the trust report that needs no human.

    Args:
        found: what the exam found.
        evidence: the run's scores.
        completions: (case id, variant) -> completion.
        family: of judge and model under test.
    """
    specs = [spec for spec in evidence.metrics if can_probe(spec)]
    return Trust(
        retests=tuple(_retests(specs, found, evidence)),
        canaries=tuple(row for spec in specs for row in _canaries(spec, found, evidence)),
        lengths=tuple(_lengths(evidence, completions)),
        family=family,
    )


def _retests(
    specs: Sequence[MetricSpec], found: Sequence[Found], evidence: Evidence
) -> Iterable[Retest]:
    first = {(s.case_id, s.variant, s.metric): s.value for s in evidence.scores}
    for spec in specs:
        own = [each for each in found if each.kind == RETEST and each.metric == spec.name]
        changes = [
            abs(each.value - first[each.place[1:]])
            for each in own
            if each.value is not None and each.place[1:] in first
        ]
        if own:
            yield Retest(
                metric=spec.name,
                n=len(changes),
                n_failed=len(own) - len(changes),
                n_moved=sum(change > _SAME for change in changes),
                mean_change=math.fsum(changes) / len(changes) if changes else None,
                largest_change=max(changes, default=None),
            )


def _canaries(spec: MetricSpec, found: Sequence[Found], evidence: Evidence) -> tuple[Canary, ...]:
    own = [each for each in found if each.kind in canaries.CANARIES and each.metric == spec.name]
    scores: dict[str, list[float]] = {}
    n_failed: dict[str, int] = {}
    for each in own:
        if each.value is None:
            n_failed[each.kind] = n_failed.get(each.kind, 0) + 1
        else:
            scores.setdefault(each.kind, []).append(each.value)
    real = [score.value for score in evidence.scores if score.metric == spec.name]
    return canaries.judged(spec, scores, n_failed, math.fsum(real) / len(real) if real else None)


def _lengths(
    evidence: Evidence, completions: Mapping[tuple[str, str], Completion]
) -> Iterable[LengthSlope]:
    base = evidence.names[0]
    for pairs in all_pairs(evidence):
        if (
            (pairs.group, pairs.baseline) == (ALL, base)
            and pairs.spec.decides
            and can_probe(pairs.spec)
        ):
            differences = [
                len(completions[case.id, pairs.variant].text) - len(completions[case.id, base].text)
                for case, _, _ in pairs.whole
            ]
            yield biases.length_slope(pairs.gains, differences, pairs.spec.name, pairs.variant)
