"""Human ratings held against the judge's scores: agreement, and the gain that humans would see."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from plugin import ppi
from plugin.agreement import Agreement, cohens_kappa, krippendorff_alpha, raw_agreement
from plugin.pairing import Evidence, Pairs, all_pairs
from plugin.ratings import Rating
from plugin.records import ALL, Case, Comparison, MetricSpec
from plugin.trust_records import Correction, HumanView

Digests = Mapping[tuple[str, str], str]
"""(case id, variant) -> the digest of its completion."""


@dataclass(frozen=True, slots=True)
class Draw:
    """What is known beside the ratings themselves.

    Attributes:
        digests: of the run's completions.
        drawn: ids of the cases that were drawn at random for rating.
        seed: of all resampling.
        n_resamples: of the bootstrap.
    """

    digests: Digests
    drawn: AbstractSet[str]
    seed: int
    n_resamples: int


def views(
    evidence: Evidence,
    comparisons: Sequence[Comparison],
    ratings: Sequence[Rating],
    draw: Draw,
) -> tuple[HumanView, ...]:
    """The judge against the humans, on every metric that they rated."""
    return tuple(
        _view(spec, evidence, comparisons, own, draw)
        for spec in evidence.metrics
        if (own := [rating for rating in ratings if rating.metric == spec.name])
    )


def _view(
    spec: MetricSpec,
    evidence: Evidence,
    comparisons: Sequence[Comparison],
    ratings: Sequence[Rating],
    draw: Draw,
) -> HumanView:
    given: dict[tuple[str, str], dict[str, float]] = {}
    for rating in ratings:
        given.setdefault((rating.case_id, rating.digest), {})[rating.rater] = rating.value
    # Two variants may have made the same text: it is one completion here, with one score.
    judged = {
        (score.case_id, draw.digests[score.case_id, score.variant]): score.value
        for score in evidence.scores
        if score.metric == spec.name and (score.case_id, score.variant) in draw.digests
    }
    both = [place for place in given if place in judged]
    pairs = [(judged[place], _mean(given[place].values())) for place in both]
    sides = [tuple(value >= (spec.low + spec.high) / 2 for value in pair) for pair in pairs]
    alpha = _alpha(pairs, draw)
    raters = {rating.rater for rating in ratings}
    among = _alpha([list(own.values()) for own in given.values()], draw)
    return HumanView(
        metric=spec.name,
        n_raters=len(raters),
        n_rated=len(both),
        agreement=raw_agreement([a for a, _ in sides], [b for _, b in sides]),
        kappa=cohens_kappa([a for a, _ in sides], [b for _, b in sides]),
        alpha=alpha.alpha,
        alpha_ci_low=alpha.ci_low,
        alpha_ci_high=alpha.ci_high,
        alpha_humans=among.alpha if len(raters) > 1 else None,
        corrections=tuple(
            _correction(pairs, comparisons, given, draw)
            for pairs in all_pairs(evidence)
            if (pairs.group, pairs.baseline) == (ALL, evidence.names[0])
            and pairs.spec.name == spec.name
        ),
    )


def _correction(
    pairs: Pairs,
    comparisons: Sequence[Comparison],
    given: Mapping[tuple[str, str], Mapping[str, float]],
    draw: Draw,
) -> Correction:
    """The variant's gain by the judge alone and as humans would see it.

    A human gain is the mean over the raters who rated both completions. Only drawn cases count:
    those that somebody chose to rate may differ from the rest.
    """

    def gain(case: Case) -> float | None:
        own, base = (
            given.get((case.id, draw.digests.get((case.id, name), "")), {})
            for name in (pairs.variant, pairs.baseline)
        )
        gains = [own[rater] - base[rater] for rater in own if rater in base]
        sign = 1 if pairs.spec.higher_is_better else -1
        return sign * _mean(gains) if gains and case.id in draw.drawn else None

    row = next(
        row
        for row in comparisons
        if (row.metric, row.variant, row.baseline, row.group)
        == (pairs.spec.name, pairs.variant, pairs.baseline, ALL)
    )
    extent = pairs.spec.high - pairs.spec.low
    human = [gain(case) for case, _, _ in pairs.whole]
    found = ppi.corrected(pairs.gains, human, low=-extent, high=extent, seed=draw.seed)
    n_drawn = sum(case.id in draw.drawn for case, _, _ in pairs.whole)
    return Correction(
        variant=pairs.variant,
        judge_gain=row.gain,
        judge_ci_low=row.ci_low,
        judge_ci_high=row.ci_high,
        gain=found.estimate,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
        n_labelled=found.n_labelled,
        n_unrated=n_drawn - found.n_labelled,
        n_all=found.n_all,
        method=_method(found, draw, _clustered(pairs)),
    )


def _method(found: ppi.Corrected, draw: Draw, clustered: bool) -> str:
    if not draw.drawn:
        return "no correction: the rated cases were not drawn at random by `python main.py ratings`"
    if not found.n_labelled:
        return "no correction: no drawn case is rated on both sides"
    return found.method + ("; clusters are not looked at" if clustered else "")


def _clustered(pairs: Pairs) -> bool:
    return any(case.cluster for case, _, _ in pairs.whole)


def _alpha(units: Sequence[Sequence[float]], draw: Draw) -> Agreement:
    return krippendorff_alpha(units, "interval", seed=draw.seed, n_resamples=draw.n_resamples)


def _mean(values: Collection[float]) -> float:
    return math.fsum(values) / len(values)
