"""What a gain is worth beside others on the same cases: a prompt's, and those of other adapters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plugin import joint
from plugin.joint import RatioEstimate
from plugin.pairing import Evidence, Resampling, clusters_of, column_of, contenders
from plugin.records import PROMPTED, Case, MetricSpec


@dataclass(frozen=True, slots=True)
class Choice:
    """The gain of the variant that was chosen because it gained most, with the choice allowed for.

    Attributes:
        n_rivals: variants that it was chosen from, itself included.
        n: cases that all of them and the base have a score for.
        n_clusters: clusters that these belong to, None when every case stands for itself.
        gain: its mean gain over these cases; None without any.
        ci_low: lower end of its interval among those of all rivals, which hold all at once with
            95%; None where none can be given.
        ci_high: its upper end.
        method: how the interval was computed, or why there is none, in words.
    """

    n_rivals: int
    n: int
    n_clusters: int | None
    gain: float | None
    ci_low: float | None
    ci_high: float | None
    method: str


def prompts_share(evidence: Evidence, spec: MetricSpec, variant: str) -> RatioEstimate:
    """The share of a variant's gain over the base that the prompted base reaches."""
    cases, (prompted, own) = _gains(evidence, spec, (PROMPTED, variant))
    return joint.ratio_of_means(prompted, own, clusters=clusters_of(cases))


def choice(evidence: Evidence, spec: MetricSpec, best: str, resampling: Resampling) -> Choice:
    """The best contender's gain, by an interval that holds for all contenders at once."""
    rivals = contenders(evidence.names)
    cases, gains = _gains(evidence, spec, rivals)
    extent, place = spec.high - spec.low, rivals.index(best)
    clusters = clusters_of(cases)
    interval = joint.simultaneous(
        gains,
        clusters=clusters,
        low=-extent,
        high=extent,
        seed=resampling.seed,
        n_resamples=resampling.n_resamples,
    )[place]
    n = len(cases)
    return Choice(
        n_rivals=len(rivals),
        n=n,
        n_clusters=None if clusters is None else len(set(clusters)),
        gain=sum(gains[place]) / n if n else None,
        ci_low=interval.low,
        ci_high=interval.high,
        method=interval.method,
    )


def _gains(
    evidence: Evidence, spec: MetricSpec, variants: Sequence[str]
) -> tuple[list[Case], list[list[float]]]:
    """The cases that the base and all of these have a score for, and each one's gains on them."""
    base, *own = (column_of(evidence, spec, name).scores for name in (evidence.names[0], *variants))
    cases = [case for case in evidence.cases if all(case.id in scores for scores in (base, *own))]
    sign = 1.0 if spec.higher_is_better else -1.0
    return cases, [[sign * (scores[c.id] - base[c.id]) for c in cases] for scores in own]
