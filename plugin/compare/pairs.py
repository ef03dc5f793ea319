"""Pair a run's scores by case: which variants are compared, and their gains on the same cases.

A gain is also compared with other gains on the same cases: a prompt's, and other adapters'.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from plugin.compare import stats
from plugin.compare.contrasts import Contrast as Contrast
from plugin.compare.contrasts import contenders as contenders
from plugin.compare.contrasts import contrasts as contrasts
from plugin.compare.contrasts import is_comparable, is_measured
from plugin.compare.intervals import (
    MIN_CLUSTERS,
    RatioEstimate,
    ratio_of_means,
    simultaneous_intervals,
)
from plugin.compare.numbers import format_count
from plugin.records import (
    ALL,
    DATA,
    EVEN,
    PROMPTED,
    Case,
    Failure,
    MetricSpec,
    Preference,
    Score,
    Variant,
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The scores and failures of a run.

    Attributes:
        cases: all cases of the run, scored or not.
        variants: the variants, the base first.
        metrics: the metrics, in the order of the report.
        scores: at most one per case, variant and metric; the metric by its name or key.
        failures: failed scores. A failure is ignored if the score exists, or if it names no
            variant.
        preferences: what the judges prefer, for metrics that compare completions. The scores of
            these metrics are made of them (see `plugin.compare.relative`).
    """

    cases: Sequence[Case]
    variants: Sequence[Variant]
    metrics: Sequence[MetricSpec]
    scores: Sequence[Score]
    failures: Sequence[Failure] = ()
    preferences: Sequence[Preference] = ()

    def __post_init__(self) -> None:
        if not self.variants:
            raise ValueError("a run needs at least one variant, the baseline; got none")
        specs = {name: spec for spec in self.metrics for name in (spec.key, spec.name)}
        bad = [
            f"{score.value} (case {score.case_id}, {score.variant}, {spec.name})"
            for score in self.scores
            if (spec := specs.get(score.metric))
            and not (math.isfinite(score.value) and spec.low <= score.value <= spec.high)
        ]
        if bad:
            raise ValueError(
                f"every score must be finite and within its metric's range; got {'; '.join(bad)}"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Return the variants' names, the base first."""
        return tuple(variant.name for variant in self.variants)

    def scored_names(self, spec: MetricSpec) -> tuple[str, ...]:
        """Return the names that the metric scores: all variants that can have it, or the data."""
        if spec.judges_data:
            return (DATA,)
        return tuple(name for name in self.names if is_measured(spec, name))


class ResamplingSettings(Protocol):
    """The settings of all resampling."""

    @property
    def seed(self) -> int:
        """Return the seed of all resampling."""

    @property
    def n_resamples(self) -> int:
        """Return the number of resamples of bootstrap and permutation."""


class FailureFill(NamedTuple):
    """The values that replace a failed score of the variant and of the baseline."""

    variant: float
    baseline: float


@dataclass(frozen=True, slots=True)
class ScoreColumn:
    """One variant's results on one metric, by case id.

    Attributes:
        retryable: those of the failed ones that another try may bring.
    """

    scores: dict[str, float]
    failed: frozenset[str]
    retryable: frozenset[str]


@dataclass(frozen=True, slots=True)
class Pairs:
    """The scores of a variant and a baseline on one metric in one group.

    Attributes:
        whole: (case, variant's score, baseline's score) of cases with both scores.
        broken: the same for cases with at least one failed score, which is None.
        n_failed_variant: number of failed scores of the variant.
        n_failed_baseline: number of failed scores of the baseline.
        n_retryable: number of the failed scores of both that another try may bring.
    """

    spec: MetricSpec
    variant: str
    baseline: str
    group: str
    whole: list[tuple[Case, float, float]]
    broken: list[tuple[Case, float | None, float | None]]
    n_failed_variant: int
    n_failed_baseline: int
    n_retryable: int = 0

    @property
    def contrast(self) -> Contrast:
        """Return the names of the variant and the baseline."""
        return Contrast(self.variant, self.baseline)

    def estimate(
        self, resampling: ResamplingSettings, fill: FailureFill | None = None
    ) -> stats.PairedEstimate:
        """Estimate the mean gain of the pairs.

        Args:
            resampling: seed and number of resamples.
            fill: values that replace failed scores; None leaves out the broken pairs.
        """
        pairs, extent = self._filled(fill), self.spec.largest_gain
        return stats.paired_estimate(
            self.gains_of(pairs),
            clusters=clusters_of([case for case, _, _ in pairs]),
            low=-extent,
            high=extent,
            binary=_are_binary(pairs),
            seed=resampling.seed,
            n_resamples=resampling.n_resamples,
        )

    def harm_p(
        self, resampling: ResamplingSettings, fill: FailureFill | None = None
    ) -> float | None:
        """Return the one-sided p of "nothing was lost"; the arguments are those of `estimate`."""
        pairs = self._filled(fill)
        return stats.harm_p(
            self.gains_of(pairs),
            clusters=clusters_of([case for case, _, _ in pairs]),
            binary=_are_binary(pairs),
            seed=resampling.seed,
            n_resamples=resampling.n_resamples,
        )

    def _filled(self, fill: FailureFill | None) -> list[tuple[Case, float, float]]:
        return self.whole if fill is None else [*self.whole, *self.fill_broken(fill)]

    @property
    def gains(self) -> list[float]:
        """Return the gains of the whole pairs."""
        return self.gains_of(self.whole)

    def gains_of(self, pairs: list[tuple[Case, float, float]]) -> list[float]:
        """Return the gains of these pairs."""
        return [self.spec.gain(own, base) for _, own, base in pairs]

    def fill_broken(self, fill: FailureFill) -> list[tuple[Case, float, float]]:
        """Return the broken pairs with these values in place of failed scores."""
        return [
            (case, fill.variant if a is None else a, fill.baseline if b is None else b)
            for case, a, b in self.broken
        ]


def _are_binary(pairs: Sequence[tuple[Case, float, float]]) -> bool:
    return all(score in (0.0, 1.0) for _, a, b in pairs for score in (a, b))


def pair_scores(evidence: Evidence) -> Iterator[Pairs]:
    """Yield the paired scores of every comparison, by metric, contrast and group."""
    groups = groups_of(evidence.cases)
    for spec in (spec for spec in evidence.metrics if not spec.judges_data):
        columns = {name: column_of(evidence, spec, name) for name in evidence.names}
        for contrast in contrasts(evidence.names):
            if not is_comparable(spec, contrast):
                continue
            own = columns
            if spec.is_relative:
                own = dict(zip(contrast, contrast_columns(evidence, spec, contrast), strict=True))
            for members in groups:
                yield pair_up(spec, contrast, own, members)


def pair_up(
    spec: MetricSpec,
    contrast: Contrast,
    columns: Mapping[str, ScoreColumn],
    members: tuple[str, Sequence[Case]],
) -> Pairs:
    """Pair the scores of a variant and a baseline.

    Args:
        spec: the metric.
        contrast: which two.
        columns: variant -> its scores.
        members: name and cases of the group.
    """
    (group, cases), (variant, baseline) = members, (columns[name] for name in contrast)
    pairs = [(case, variant.scores.get(case.id), baseline.scores.get(case.id)) for case in cases]
    worked = [
        (case, a, b)
        for case, a, b in pairs
        if (a is not None or case.id in variant.failed)
        and (b is not None or case.id in baseline.failed)
    ]
    # A base that failed is counted once, also where its score is even by definition.
    own_failed = variant.failed - baseline.failed if spec.is_relative else variant.failed
    return Pairs(
        spec=spec,
        variant=contrast.variant,
        baseline=contrast.baseline,
        group=group,
        whole=[(c, a, b) for c, a, b in worked if a is not None and b is not None],
        broken=[(c, a, b) for c, a, b in worked if a is None or b is None],
        n_failed_variant=sum(case.id in own_failed for case in cases),
        n_failed_baseline=sum(case.id in baseline.failed for case in cases),
        n_retryable=sum(
            (case.id in variant.retryable) + (case.id in baseline.retryable) for case in cases
        ),
    )


def column_of(evidence: Evidence, spec: MetricSpec, variant: str) -> ScoreColumn:
    """Return a variant's scores, and the cases that failed although the metric applies to them."""
    names = (spec.name, spec.key)
    scores = {
        score.case_id: score.value
        for score in evidence.scores
        if score.variant == variant and score.metric in names
    }
    failures = [
        failure
        for failure in evidence.failures
        if failure.variant == variant and failure.metric in (None, *names)
        if failure.baseline in (None, evidence.names[0])
    ]
    able = {case.id for case in evidence.cases if spec.fits(case)}
    failed = {failure.case_id for failure in failures} & able - scores.keys()
    final = {failure.case_id for failure in failures if not _may_pass(failure, spec)}
    return ScoreColumn(scores, frozenset(failed), frozenset(failed - final))


def _may_pass(failure: Failure, spec: MetricSpec) -> bool:
    """Return whether another try may bring the score: a metric without a judge computes the same.

    A judge that failed may answer the next time; a completion that is not in a file stays missing.
    """
    return failure.retry and (failure.stage != "metric" or spec.asks_judge)


def contrast_columns(
    evidence: Evidence, spec: MetricSpec, contrast: Contrast
) -> tuple[ScoreColumn, ScoreColumn]:
    """Return the columns of two variants whose completions were compared with each other.

    What the variant wins is unknown where either of them, or the judge, has failed. The baseline
    has its score by definition, also where it failed.
    """
    wins = wins_of(evidence.preferences, spec, contrast)
    own, base = list[Failure](), list[Failure]()
    for failure in evidence.failures:
        if failure.case_id in wins or failure.variant not in contrast:
            continue
        if failure.metric is None:
            (own if failure.variant == contrast.variant else base).append(failure)
        elif {failure.variant, failure.baseline} == set(contrast) and failure.metric == spec.name:
            own.append(failure)
    lost = frozenset(failure.case_id for failure in base)
    failed = frozenset(failure.case_id for failure in own) - lost
    final, final_base = (
        {failure.case_id for failure in found if not _may_pass(failure, spec)}
        for found in (own, base)
    )
    even = dict.fromkeys((case.id for case in evidence.cases), EVEN)
    return (
        ScoreColumn(wins, failed | lost, failed - final),
        ScoreColumn(even, lost, lost - final_base),
    )


def wins_of(
    preferences: Sequence[Preference], spec: MetricSpec, contrast: Contrast
) -> dict[str, float]:
    """Return what a variant wins against a baseline, by case id: the mean over the judges.

    The judges may have been asked about the two the other way round.
    """
    found, turned = dict[str, list[float]](), contrast[::-1]
    for one in preferences:
        pair = (one.variant, one.baseline)
        if one.metric == spec.name and pair in (contrast, turned):
            value = one.value if pair == contrast else 2 * EVEN - one.value
            found.setdefault(one.case_id, []).append(value)
    return {case_id: math.fsum(values) / len(values) for case_id, values in found.items()}


def groups_of(cases: Sequence[Case]) -> list[tuple[str, list[Case]]]:
    """Return all cases, then the cases of each group, in order of first appearance."""
    named: dict[str, list[Case]] = {}
    for case in cases:
        if case.group is not None and case.group != ALL:
            named.setdefault(case.group, []).append(case)
    return [(ALL, list(cases)), *named.items()]


def clusters_of(cases: Sequence[Case]) -> list[Hashable] | None:
    """Return a cluster label per case; None if no case has one.

    A case without a cluster gets a label of its own.
    """
    if not any(case.cluster for case in cases):
        return None
    return [(case.cluster, "" if case.cluster else case.id) for case in cases]


def few_clusters_note(cases: Sequence[Case]) -> str:
    """Warn before a run that it has too few clusters to show a difference; "" if enough."""
    n_clusters = len(set(clusters_of(cases) or ()))
    if not 0 < n_clusters < min(MIN_CLUSTERS, len(cases)):
        return ""
    return (
        f"with {format_count(n_clusters, 'cluster', 'clusters')} no difference can be shown at the "
        f"5% level; at least {MIN_CLUSTERS} are needed. Add cases of other clusters; if these "
        "cases are independent, set --cluster_column to a name that no column has"
    )


@dataclass(frozen=True, slots=True)
class BestOf:
    """The gain of the best variant, with an interval that allows for choosing the best.

    Attributes:
        n_rivals: number of variants that it was chosen from, including itself.
        n: cases for which all these variants and the base have a score.
        n_clusters: clusters of these cases; None if the cases are independent.
        gain: mean gain over these cases; None without cases.
        ci_low: lower end of its interval. The intervals of all rivals hold at the same time with a
            probability of 95%; None if there is no interval.
        ci_high: upper end of that interval.
        method: how the interval was computed, or why there is none, in words.
    """

    n_rivals: int
    n: int
    n_clusters: int | None
    gain: float | None
    ci_low: float | None
    ci_high: float | None
    method: str


def prompt_share(
    evidence: Evidence, spec: MetricSpec, variant: str, prompt: str = PROMPTED
) -> RatioEstimate:
    """Return the gain of the base under a prompt as a share of a variant's gain over the base."""
    cases, (prompted, own) = _shared_gains(evidence, spec, (prompt, variant))
    return ratio_of_means(prompted, own, clusters=clusters_of(cases))


def best_of(
    evidence: Evidence, spec: MetricSpec, best: str, resampling: ResamplingSettings
) -> BestOf:
    """Return the best contender's gain, with an interval that holds for all contenders at once."""
    rivals = contenders(evidence.names)
    cases, gains = _shared_gains(evidence, spec, rivals)
    extent, place = spec.largest_gain, rivals.index(best)
    clusters = clusters_of(cases)
    interval = simultaneous_intervals(
        gains,
        clusters=clusters,
        low=-extent,
        high=extent,
        seed=resampling.seed,
        n_resamples=resampling.n_resamples,
    )[place]
    n = len(cases)
    return BestOf(
        n_rivals=len(rivals),
        n=n,
        n_clusters=None if clusters is None else len(set(clusters)),
        gain=sum(gains[place]) / n if n else None,
        ci_low=interval.low,
        ci_high=interval.high,
        method=interval.method,
    )


def _shared_gains(
    evidence: Evidence, spec: MetricSpec, variants: Sequence[str]
) -> tuple[list[Case], list[list[float]]]:
    """Return the cases scored for the base and all these variants, and each variant's gains."""
    base, *own = (column_of(evidence, spec, name).scores for name in (evidence.names[0], *variants))
    cases = [case for case in evidence.cases if all(case.id in scores for scores in (base, *own))]
    return cases, [[spec.gain(scores[c.id], base[c.id]) for c in cases] for scores in own]
