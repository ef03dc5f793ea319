"""Compute how many of the judge's reasons people found right, and for right scores how many.

A score that agrees with people but has a wrong reason is luck: it may be wrong the next time.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

from plugin.compare.pairs import Evidence, pair_scores
from plugin.compare.stats import MeanEstimate, mean_interval
from plugin.records import ALL, MetricSpec
from plugin.run_facts import Rating, ReasonCheck, RunState
from plugin.trust.accepted_choices import Votes, commonest, mean_of, side_of_value, values_of
from plugin.trust.choice_records import CheckedReasons
from plugin.trust.humans import ResampledDraw, side_of

Place = tuple[str, str]
"""A case and the digest of an answer."""


def check_reasons(
    evidence: Evidence, state: RunState, draw: ResampledDraw, votes: Mapping[str, Votes]
) -> tuple[CheckedReasons, ...]:
    """Return what people say of the judge's reasons, by metric.

    Args:
        evidence: the run's.
        state: has the checks and the ratings.
        draw: digests of the answers, and how to resample.
        votes: variant -> what raters said of its answers beside the base's.
    """
    return tuple(
        _check_metric(own, evidence, draw, _agreements(spec, evidence, state.ratings, draw, votes))
        for spec in evidence.metrics
        if (own := [one for one in state.reason_checks if one.metric == spec.name])
    )


def _check_metric(
    checks: Sequence[ReasonCheck],
    evidence: Evidence,
    draw: ResampledDraw,
    agrees: Mapping[Place, bool],
) -> CheckedReasons:
    """Return what people say of the reasons on one metric.

    Args:
        checks: those of the metric; of two on the same reason by the same rater the last counts.
        evidence: the run's.
        draw: digests of the answers, and how to resample.
        agrees: whether the judge's score of an answer agrees with people, where it is known.
    """
    known = {(case_id, digest) for (case_id, _), digest in draw.digests.items()}
    n_stale = sum((one.case_id, one.digest) not in known for one in checks)
    said: dict[Place, dict[str, bool | None]] = {}
    for one in checks:
        if (one.case_id, one.digest) in known:
            said.setdefault((one.case_id, one.digest), {})[one.rater] = one.is_right
    decided = {
        place: {rater: is_right for rater, is_right in own.items() if is_right is not None}
        for place, own in said.items()
    }
    right = {place: mean_of(map(float, own.values())) for place, own in decided.items() if own}

    def estimate(agreed: bool | None = None) -> MeanEstimate:
        places = [place for place in right if agreed is None or agrees.get(place) is agreed]
        return _mean_over(places, right, evidence, draw)

    return CheckedReasons(
        metric=checks[0].metric,
        n_raters=len({rater for own in decided.values() for rater in own}),
        n_undecided=sum(is_right is None for own in said.values() for is_right in own.values()),
        n_stale=n_stale,
        right=estimate(),
        right_if_agreed=estimate(True),
        right_if_not=estimate(False),
        n_unknown=sum(place not in agrees for place in right),
    )


def _agreements(
    spec: MetricSpec,
    evidence: Evidence,
    ratings: Sequence[Rating],
    draw: ResampledDraw,
    votes: Mapping[str, Votes],
) -> dict[Place, bool]:
    """Return for each answer whether its score agrees with people, where that is known.

    Where people rated the answer on the metric, both must be in the same half of the scale. Else,
    where people chose between it and another answer, the metric must put the same one ahead.
    """
    found = _agreements_of_choices(spec, evidence, draw, votes)
    given: dict[Place, list[float]] = {}
    for rating in ratings:
        if rating.metric == spec.name:
            given.setdefault((rating.case_id, rating.digest), []).append(rating.value)
    for score in evidence.scores:
        place = (score.case_id, draw.digests.get((score.case_id, score.variant), ""))
        if score.metric in (spec.name, spec.key) and place in given:
            judge, people = side_of([score.value], spec), side_of(given[place], spec)
            if judge and people:
                found[place] = judge == people
    return found


def _agreements_of_choices(
    spec: MetricSpec, evidence: Evidence, draw: ResampledDraw, votes: Mapping[str, Votes]
) -> dict[Place, bool]:
    found: dict[Place, bool] = {}
    for pairs in pair_scores(replace(evidence, metrics=[spec])):
        if (pairs.group, pairs.baseline) != (ALL, evidence.names[0]):
            continue
        for case_id, value in values_of(pairs).items():
            own = [won for won in votes[pairs.variant].get(case_id, {}).values() if won is not None]
            people = commonest(own) if own else None
            if people is None:
                continue
            for name in (pairs.variant, pairs.baseline):
                place = (case_id, draw.digests[case_id, name])
                found.setdefault(place, side_of_value(value) == people)
    return found


def _mean_over(
    places: Sequence[Place], values: Mapping[Place, float], evidence: Evidence, draw: ResampledDraw
) -> MeanEstimate:
    """Return the mean over reasons; those of one case, or of one cluster, belong together."""
    clusters: dict[str, Hashable] = {
        case.id: ("cluster", case.cluster) if case.cluster else ("case", case.id)
        for case in evidence.cases
    }
    return mean_interval(
        [values[place] for place in places],
        clusters=[clusters[case_id] for case_id, _ in places],
        low=0.0,
        high=1.0,
        seed=draw.seed,
        n_resamples=draw.n_resamples,
    )
