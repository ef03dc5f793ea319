"""Look at the samples of a run's cases: how much they differ, and what would narrow the interval.

The scores that count are means; here their parts are put side by side again.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from plugin.compare.pairs import Evidence, clusters_of
from plugin.compare.variance import VarianceSplit, split_variance
from plugin.records import EVEN, Completion, MetricSpec, Preference, Score
from plugin.sample_rows import SampleScore, sample_of_preference

Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Consistency:
    """How often a variant answers a case the same way every time.

    Attributes:
        variant: its name.
        n: cases with several samples.
        n_same_text: those of them with the same text each time, but for case and white space.
        n_scored: cases whose samples were all scored 0 or 1; 0 where the metric has other scores.
        n_same_score: those of them with the same score each time.
    """

    variant: str
    n: int
    n_same_text: int
    n_scored: int = 0
    n_same_score: int = 0


def consistency_of(
    samples: Mapping[Place, Sequence[Completion]],
    names: Sequence[str],
    scores: Iterable[SampleScore] = (),
    metric: str = "",
) -> tuple[Consistency, ...]:
    """Return how consistent each variant is; empty where no case has several samples.

    Args:
        samples: answers by case and variant.
        names: the variants.
        scores: of single samples.
        metric: whose scores are looked at.
    """
    values = dict[Place, dict[int, list[float]]]()
    for one in scores:
        if one.metric == metric:
            own = values.setdefault((one.case_id, one.variant), {})
            own.setdefault(one.sample, []).append(one.value)
    is_binary = all(v in (0.0, 1.0) for own in values.values() for row in own.values() for v in row)
    found = []
    for name in names:
        several = {place: own for place, own in samples.items() if place[1] == name and own[1:]}
        scored = [
            [math.fsum(row) / len(row) for row in values[place].values()]
            for place in several
            if is_binary and len(values.get(place, {})) > 1
        ]
        found.append(
            Consistency(
                name,
                len(several),
                sum(len({_plain(one.text) for one in own}) == 1 for own in several.values()),
                len(scored),
                sum(len(set(row)) == 1 for row in scored),
            )
        )
    return tuple(found) if any(one.n for one in found) else ()


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def of_first_samples(evidence: Evidence, scores: Sequence[SampleScore]) -> Evidence:
    """Return the evidence of the first samples alone, as if there were no others."""
    firsts = dict[tuple[str, str, str], SampleScore]()
    for one in scores:
        place = one.case_id, one.variant, one.metric
        kept = firsts.get(place)
        if kept is None or (one.sample, one.repeat) < (kept.sample, kept.repeat):
            firsts[place] = one
    if not firsts and not any(one.repeat for one in evidence.preferences):
        return evidence
    own = [_with_value(score, firsts) for score in evidence.scores]
    asked = [one for one in evidence.preferences if not one.repeat]
    return replace(evidence, scores=own, preferences=asked)


def _with_value(score: Score, firsts: Mapping[tuple[str, str, str], SampleScore]) -> Score:
    first = firsts.get((score.case_id, score.variant, score.metric))
    return replace(score, value=first.value) if first else score


def gains_by_sample(
    evidence: Evidence, spec: MetricSpec, variant: str, scores: Iterable[SampleScore]
) -> dict[str, list[list[float]]]:
    """Return the gains over the base by case, sample and judgment.

    A sample is paired with the base's sample of the same number, which was drawn with the same
    noise; one without a partner is left out.
    """
    base = evidence.names[0]
    if spec.is_relative:
        wins = _wins_by_sample(evidence.preferences, spec, variant, base)
        return {case: [own[s] for s in sorted(own)] for case, own in wins.items()}
    sides = {name: dict[str, dict[int, dict[int, float]]]() for name in (variant, base)}
    for one in scores:
        if one.metric == spec.name and one.variant in sides:
            of_case = sides[one.variant].setdefault(one.case_id, {})
            of_case.setdefault(one.sample, {})[one.repeat] = one.value
    found = dict[str, list[list[float]]]()
    for case_id, own in sides[variant].items():
        other = sides[base].get(case_id, {})
        rows = [
            [spec.gain(own[s][r], other[s][r]) for r in sorted(own[s].keys() & other[s].keys())]
            for s in sorted(own.keys() & other.keys())
        ]
        if any(rows):
            found[case_id] = [row for row in rows if row]
    return found


def _wins_by_sample(
    preferences: Iterable[Preference], spec: MetricSpec, variant: str, base: str
) -> dict[str, dict[int, list[float]]]:
    """Return what the variant wins, less an even share, by case and sample; a panel's mean."""
    rows = dict[tuple[str, int, int], list[float]]()
    for one in preferences:
        place = sample_of_preference(one.repeat)
        if place and (one.metric, one.variant, one.baseline) == (spec.name, variant, base):
            rows.setdefault((one.case_id, *place), []).append(one.value)
    found = dict[str, dict[int, list[float]]]()
    for (case_id, sample, _), values in sorted(rows.items()):
        gain = spec.gain(math.fsum(values) / len(values), EVEN)
        found.setdefault(case_id, {}).setdefault(sample, []).append(gain)
    return found


def split_gain(
    evidence: Evidence, spec: MetricSpec, variant: str, scores: Iterable[SampleScore]
) -> VarianceSplit | None:
    """Return where the variance of a variant's mean gain comes from; None where it is not known."""
    gains = gains_by_sample(evidence, spec, variant, scores)
    cases = [case for case in evidence.cases if case.id in gains]
    labels: list[Hashable] | None = clusters_of(cases)
    clusters = dict(zip((case.id for case in cases), labels, strict=True)) if labels else None
    return split_variance(gains, clusters)
