"""Split the variance of a paired gain into cases, sampling and judge, and say what narrows it.

The gain of a case is a mean over its samples, and that of a sample a mean over the times that the
judge was asked: random effects, nested in each other. The estimators are those of the analysis of
variance, which are unbiased whatever the shape of the effects; one may be below zero by chance, and
then counts as zero.

Cases may belong to clusters. Sampling and judge are independent from case to case all the same, so
what clusters add belongs to the cases.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Source = Literal["cases", "sampling", "judge"]

CaseGains = Sequence[Sequence[float]]
"""The gains of one case: a row for each sample, a value for each time the judge was asked."""


@dataclass(frozen=True, slots=True)
class VarianceSplit:
    """Where the variance of a mean gain comes from.

    Attributes:
        n: cases.
        n_samples: samples of a case, the mean where cases differ.
        n_repeats: times that the judge was asked about a sample.
        cases: variance of one case's gain between cases, with what clusters add.
        sampling: variance of one sample's gain within a case; None where cases have one sample.
        judge: variance of one judgment within a sample; None where the judge was asked once.
        n_negative: components that were estimated below zero and count as zero.
    """

    n: int
    n_samples: float
    n_repeats: float
    cases: float
    sampling: float | None
    judge: float | None
    n_negative: int = 0

    @property
    def parts(self) -> dict[Source, float]:
        """Return what each source adds to the variance of a case's gain, as it was measured."""
        found: dict[Source, float] = {"cases": self.cases}
        if self.sampling is not None:
            found["sampling"] = self.sampling / self.n_samples
        if self.judge is not None:
            found["judge"] = self.judge / (self.n_samples * self.n_repeats)
        return found

    @property
    def shares(self) -> dict[Source, float]:
        """Return the share of each source in the variance of the mean gain."""
        parts = self.parts
        whole = math.fsum(parts.values())
        return {name: part / whole if whole else 0.0 for name, part in parts.items()}

    def width_factor(self, cases: float = 1, samples: float = 1, repeats: float = 1) -> float:
        """Return the width of the interval with so many times the cases, samples or repeats.

        It is a share of the width now: widths follow the standard error.
        """
        parts = self.parts
        now = math.fsum(parts.values())
        if not now:
            return 1.0
        then = parts["cases"] + parts.get("sampling", 0.0) / samples
        then += parts.get("judge", 0.0) / (samples * repeats)
        return math.sqrt(then / now / cases)


def split_variance(
    gains: Mapping[str, CaseGains], clusters: Mapping[str, Hashable] | None = None
) -> VarianceSplit | None:
    """Return where the variance of the mean gain comes from; None where nothing can be split.

    There must be two cases, and some case with several samples or judgments.

    Args:
        gains: case id -> its gains, by sample and judgment.
        clusters: case id -> label of its cluster; a case without a label stands for itself.
    """
    rows = [[list(sample) for sample in own if sample] for own in gains.values()]
    rows = [own for own in rows if own]
    judge, sampling = _within(sample for own in rows for sample in own), None
    if len(rows) < 2 or (judge is None and all(len(own) < 2 for own in rows)):
        return None
    means = [[_mean(sample) for sample in own] for own in rows]
    n_negative = 0
    between = _within(means)
    if between is not None:
        weights = [(len(own) - 1) / len(own) for own in rows for _ in own]
        noise = (
            (judge or 0.0)
            * math.fsum(
                weight / len(sample)
                for weight, sample in zip(weights, (s for own in rows for s in own), strict=True)
            )
            / math.fsum(weights)
        )
        n_negative += between < noise
        sampling = max(0.0, between - noise)
    within = _mean(
        [
            math.fsum((sampling or 0.0) + (judge or 0.0) / len(sample) for sample in own)
            / len(own) ** 2
            for own in rows
        ]
    )
    labels = [(clusters or {}).get(case_id, ("case", case_id)) for case_id, own in gains.items()]
    total = len(rows) * _variance_of_mean([_mean(own) for own in means], labels)
    n_negative += total < within
    n_judged = [len(sample) for own in rows for sample in own]
    return VarianceSplit(
        n=len(rows),
        n_samples=len(rows) / math.fsum(1 / len(own) for own in rows),
        n_repeats=len(n_judged) / math.fsum(1 / n for n in n_judged),
        cases=max(0.0, total - within),
        sampling=sampling,
        judge=judge,
        n_negative=n_negative,
    )


def _within(groups: Iterable[Sequence[float]]) -> float | None:
    """Return the pooled variance within groups; None where no group has two values."""
    squares, n_free = 0.0, 0
    for group in groups:
        mean = _mean(group)
        squares += math.fsum((value - mean) ** 2 for value in group)
        n_free += len(group) - 1
    return squares / n_free if n_free else None


def _variance_of_mean(values: Sequence[float], labels: Sequence[Hashable]) -> float:
    """Return the variance of the mean of values, of which those with one label vary together."""
    mean, sums = _mean(values), dict[Hashable, float]()
    for value, label in zip(values, labels, strict=True):
        sums[label] = sums.get(label, 0.0) + value - mean
    n_groups = len(sums)
    if n_groups < 2:
        return 0.0
    return (
        math.fsum(each**2 for each in sums.values()) / len(values) ** 2 * n_groups / (n_groups - 1)
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
