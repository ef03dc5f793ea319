"""What the reader must know of metrics in units of their own, in words for the report."""

from __future__ import annotations

import math
from collections.abc import Sequence

from plugin.records import ALL, Comparison, MetricSpec, Summary

_MOST_NATS = 700.0
"""Beyond it exp is no float."""


def about_metrics(
    specs: Sequence[MetricSpec],
    summaries: Sequence[Summary],
    comparisons: Sequence[Comparison],
) -> list[str]:
    """Lines for the verdict's details; none for metrics that run from 0 to 1."""
    overall = [row for row in comparisons if row.group == ALL]
    lines = []
    for spec in specs:
        if spec.is_of_engine:
            lines += _as_perplexity(spec, summaries)
        if any(row.metric == spec.name and not row.holds_at_worst for row in overall):
            lines += _no_worst(spec)
    for caveat in dict.fromkeys(spec.caveat for spec in specs if spec.caveat):
        names = ", ".join(spec.title for spec in specs if spec.caveat == caveat)
        lines.append(f"{names}: {caveat}.")
    return lines


def _as_perplexity(spec: MetricSpec, summaries: Sequence[Summary]) -> list[str]:
    means = [
        f"{row.variant} {_exp(row.mean)}"
        for row in summaries
        if (row.metric, row.group) == (spec.name, ALL) and row.mean is not None
    ]
    if not means:
        return []
    return [
        f"{spec.name} is scored and compared in {spec.unit}; as exp of the mean it is: "
        f"{', '.join(means)}."
    ]


def _no_worst(spec: MetricSpec) -> list[str]:
    if spec.is_bounded:
        return []
    return [
        f"{spec.name} has no worst score that a failure could be counted at, so with failed cases "
        "it settles nothing. Mend them, or leave them out of the data: 04_failures.csv has them."
    ]


def _exp(nats: float) -> str:
    if nats > _MOST_NATS:
        return f"exp({nats:.0f})"
    value = math.exp(nats)
    return f"{value:.2f}" if value < 1000 else f"{value:.3g}"
