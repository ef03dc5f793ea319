"""pass@k: how likely it is that one of k samples passes all tests.

It is estimated from all n samples of a case, of which c pass, without bias: the share of the ways
to draw k of them in which at least one passes (Chen et al. 2021, arXiv 2107.03374). The mean over
cases has the interval of a mean score, and a difference that of a mean gain.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from plugin.compare.pairs import clusters_of
from plugin.compare.stats import mean_interval, paired_estimate
from plugin.records import Case
from plugin.results import DatasetNumber

_SHOWN = (1, 2, 5, 10, 20, 50, 100)


@dataclass(frozen=True, slots=True)
class Passed:
    """How many samples of a case there are, and how many pass.

    Attributes:
        n: samples with a score.
        c: those that pass all tests.
    """

    n: int
    c: int


def pass_at_k(n: int, c: int, k: int) -> float:
    """Return 1 - C(n-c, k) / C(n, k), as a product of factors of which none is large.

    Raises:
        ValueError: for fewer samples than k, for which there is no unbiased estimate.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"no pass@{k} of {c} in {n} samples")
    if n - c < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - c + 1, n + 1))


def pass_numbers(
    metric: str,
    cases: Sequence[Case],
    passed: Mapping[str, Mapping[str, Passed]],
    seed: int,
    n_resamples: int,
) -> list[DatasetNumber]:
    """Return pass@k of each variant for some k, with differences from the first one.

    Args:
        metric: the name of the metric whose scores of 1 mean "passed".
        cases: of the run.
        passed: variant, the base first -> case id -> its samples.
        seed: of the resampling.
        n_resamples: number of draws.
    """
    names = list(passed)
    common = [case for case in cases if all(case.id in passed[name] for name in names)]
    least = {case.id: min(passed[name][case.id].n for name in names) for case in common}
    most = max(least.values(), default=0)
    numbers = list[DatasetNumber]()
    for k in sorted({*(one for one in _SHOWN if one < most), most} - {0}):
        own = [case for case in common if least[case.id] >= k]
        values = {
            name: [pass_at_k(one.n, one.c, k) for one in (passed[name][case.id] for case in own)]
            for name in names
        }
        numbers += _numbers(metric, k, own, values, seed, n_resamples)
    return numbers


def _numbers(
    metric: str,
    k: int,
    cases: Sequence[Case],
    values: Mapping[str, Sequence[float]],
    seed: int,
    n_resamples: int,
) -> list[DatasetNumber]:
    """Return pass@k of each variant on these cases."""
    clusters = clusters_of(cases)
    base = next(iter(values.values()))
    rows = []
    for place, (name, own) in enumerate(values.items()):
        mean = mean_interval(
            own, clusters=clusters, low=0, high=1, seed=seed, n_resamples=n_resamples
        )
        gains = [one - two for one, two in zip(own, base, strict=True)]
        gain = paired_estimate(
            gains, clusters=clusters, low=-1, high=1, seed=seed, n_resamples=n_resamples
        )
        rows.append(
            DatasetNumber(
                metric=metric,
                name=f"pass@{k}",
                variant=name,
                value=mean.mean,
                n=len(cases),
                ci_low=mean.ci_low,
                ci_high=mean.ci_high,
                difference=gain.mean if place else None,
                difference_low=gain.ci_low if place else None,
                difference_high=gain.ci_high if place else None,
            )
        )
    return rows
