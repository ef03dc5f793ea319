"""Estimate how gains change with answer length: judges are known to prefer long answers.

A group of cases (say, essays) can have longer answers and also a larger gain, without length being
the cause. So the slope is fitted within the groups. A slope never proves that a gain is not real:
longer answers may be better.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from plugin.compare.intervals import t_quantile
from plugin.compare.numbers import format_count, format_interval, format_number
from plugin.compare.pairs import Evidence, Pairs, pair_scores
from plugin.records import ALL, Completion
from plugin.trust.exam import can_probe
from plugin.trust.records import JudgeFreeGain, LengthSlope

MIN_PAIRS = 20
"""With fewer pairs no slope is estimated."""

_SAME = 1e-9
"""A smaller difference is a rounding error."""

_Floats = NDArray[np.float64]


def length_slopes(
    evidence: Evidence, completions: Mapping[tuple[str, str], Completion]
) -> Iterable[LengthSlope]:
    """Return a slope per judged metric that decides and per variant, compared with the base."""
    base = evidence.names[0]
    against_base = [
        pairs
        for pairs in pair_scores(evidence)
        if (pairs.group, pairs.baseline) == (ALL, base) and pairs.spec.decides
    ]
    for pairs in against_base:
        if not can_probe(pairs.spec):
            continue
        cases = [case for case, _, _ in pairs.whole]
        differences = [
            len(completions[case.id, pairs.variant].text) - len(completions[case.id, base].text)
            for case in cases
        ]
        found = length_slope(
            pairs.gains,
            differences,
            pairs.spec.name,
            pairs.variant,
            groups=[case.group or "" for case in cases],
            largest_gain=pairs.spec.high - pairs.spec.low,
        )
        yield replace(found, judge_free=_judge_free_gains(pairs, against_base))


def _judge_free_gains(judged: Pairs, rows: Sequence[Pairs]) -> tuple[JudgeFreeGain, ...]:
    """Return the variant's gains on metrics without a judge, and whether each has the same sign."""
    gain = _mean(judged.gains)
    return tuple(
        JudgeFreeGain(pairs.spec.name, own, None if not own or not gain else own * gain > 0)
        for pairs in rows
        if pairs.variant == judged.variant and not pairs.spec.asks_judge and pairs.whole
        for own in (_mean(pairs.gains),)
    )


def _mean(gains: Sequence[float]) -> float:
    return math.fsum(gains) / len(gains) if gains else 0.0


def length_slope(
    gains: Sequence[float],
    differences: Sequence[float],
    metric: str,
    variant: str,
    groups: Sequence[str] = (),
    largest_gain: float = 1.0,
) -> LengthSlope:
    """Estimate how gains change with differences in length, within the groups of the cases.

    Least squares of the gain on a mean per group and on tanh((difference - its group's mean) /
    spread). This is the length term of AlpacaEval 2 (2404.04475), which limits the weight of long
    differences; centring removes each group's own length and gain. The reported slope is the change
    in gain for an answer longer by one spread, which is tanh(1) on that scale. Its interval is a t
    interval with the sandwich variance HC3 (MacKinnon & White 1985), because the variance of gains
    may depend on length. Cases count as independent: clusters are ignored. A group with one pair
    carries no information about the slope and is left out.

    The gain at equal length is given only if the cases have groups and every group has differences
    on both sides of zero (or zero itself): the line is not extrapolated.

    Args:
        gains: the gain of each case (more is better).
        differences: length of the variant's answer minus the baseline's, in characters.
        metric: the metric's name.
        variant: the variant's name.
        groups: a label per case; empty, or all the same, for no groups.
        largest_gain: the largest possible gain; the smallest is its negative.

    Raises:
        ValueError: when gains, differences and groups differ in number.
    """
    if len(gains) != len(differences) or len(groups) not in (0, len(gains)):
        raise ValueError(
            f"{len(gains)} gains but {len(differences)} differences in length and "
            f"{len(groups)} groups; give one of each per case"
        )
    is_in, labels = _usable_groups(groups, len(gains))
    y, d = np.asarray(gains, dtype=float)[is_in], np.asarray(differences, dtype=float)[is_in]
    n, n_groups = len(y), len(set(labels.tolist()))
    nothing = LengthSlope(metric, variant, n, None, None, None, None, None, "")
    if n < MIN_PAIRS:
        wanted = f"{MIN_PAIRS} pairs" + (" in groups of two or more" if n_groups > 1 else "")
        return replace(nothing, method=f"not estimated: needs {wanted}, got {n}")
    return _fit_within(nothing, y, d, labels, largest_gain)


def _fit_within(
    nothing: LengthSlope, y: _Floats, d: _Floats, labels: NDArray[np.intp], largest_gain: float
) -> LengthSlope:
    """Return the slope of gains y on differences d within groups, or the reason for none."""
    n_groups = int(labels.max()) + 1
    within = " within each group" if n_groups > 1 else ""
    means = _group_means(d, labels)
    centred = d - means[labels]
    spread = float(np.sqrt((centred**2).mean()))
    if not spread > _SAME * max(1.0, float(np.abs(d).max())):
        why = f"all answers differ in length by the same amount{within}"
        return replace(nothing, method=f"not estimated: {why}")
    if not np.ptp(y - _group_means(y, labels)[labels]) > _SAME * largest_gain:
        return replace(nothing, method=f"not estimated: all gains are the same{within}")
    fit = _fit_line(y, np.tanh(centred / spread), labels)
    if fit is None:
        return replace(nothing, method="not estimated: one pair alone decides the slope")
    slope, half, levels = fit
    if abs(slope) * math.tanh(1) > largest_gain:
        why = "the fitted line predicts gains that are not possible"
        return replace(nothing, method=f"not estimated: {why}")
    at_equal_length = None
    if n_groups > 1 and _all_hold_zero(d, labels):
        at_zero = float((levels + slope * np.tanh(-means / spread))[labels].mean())
        at_equal_length = at_zero if abs(at_zero) <= largest_gain else None
    return replace(
        nothing,
        spread=spread,
        slope=slope * math.tanh(1),
        ci_low=max(-largest_gain, (slope - half) * math.tanh(1)),
        ci_high=min(largest_gain, (slope + half) * math.tanh(1)),
        at_equal_length=at_equal_length,
        method="least squares on tanh(difference in length / spread), HC3"
        + (f", within {n_groups} groups" if n_groups > 1 else ""),
        n_groups=n_groups if n_groups > 1 else 0,
    )


def _usable_groups(groups: Sequence[str], n: int) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Return which pairs are in a group of two or more, and the groups of these as 0, 1, ..."""
    _, labels, sizes = np.unique(
        np.asarray(groups or [""] * n, dtype=str), return_inverse=True, return_counts=True
    )
    is_in = sizes[labels] > 1
    return is_in, np.unique(labels[is_in], return_inverse=True)[1]


def _group_means(values: _Floats, labels: NDArray[np.intp]) -> _Floats:
    """Return the mean of each group, shape (n_groups,)."""
    means: _Floats = np.bincount(labels, weights=values) / np.bincount(labels)
    return means


def _fit_line(
    y: _Floats, x: _Floats, labels: NDArray[np.intp]
) -> tuple[float, float, _Floats] | None:
    """Return the slope, half the width of its 95% interval, and the level of each group at x = 0.

    Least squares with a mean per group is least squares on what is left when each group's own mean
    is taken away (Frisch & Waugh 1933): the time is linear in cases, however many groups there are.
    None when one pair alone decides the fit.
    """
    x_means, y_means = _group_means(x, labels), _group_means(y, labels)
    x_left, y_left = x - x_means[labels], y - y_means[labels]
    weight = float((x_left**2).sum())
    if not weight > 0:
        return None
    slope = float((x_left * y_left).sum()) / weight
    leverage = 1 / np.bincount(labels)[labels] + x_left**2 / weight
    if leverage.max() > 1 - 1e-9:
        return None
    residuals = (y_left - slope * x_left) / (1 - leverage)
    variance = float((x_left**2 * residuals**2).sum()) / weight**2
    df = len(y) - len(x_means) - 1
    return slope, t_quantile(df) * math.sqrt(variance), y_means - slope * x_means


def _all_hold_zero(differences: _Floats, labels: NDArray[np.intp]) -> bool:
    """Return whether every group has differences on both sides of zero, or zero itself."""
    least, most = np.full(labels.max() + 1, np.inf), np.full(labels.max() + 1, -np.inf)
    np.minimum.at(least, labels, differences)
    np.maximum.at(most, labels, differences)
    return bool((least <= 0).all() and (most >= 0).all())


def length_line(row: LengthSlope) -> str:
    """Say what the length slope means."""
    if row.slope is None or row.ci_low is None or row.ci_high is None or row.spread is None:
        return f"Link between answer length and {row.metric} for {row.variant}: {row.method}."
    within = f", within {format_count(row.n_groups)} groups of cases" if row.n_groups else ""
    n_characters = format_count(max(1, round(row.spread)), "character", "characters")
    numbers = (
        f"where the answer of {row.variant} is {n_characters} longer (one standard deviation), the "
        f"gain changes by {format_number(row.slope, signed=True)} "
        f"({format_interval(row.ci_low, row.ci_high, signed=True)}, n={format_count(row.n)}"
        f"{within})"
    )
    if row.ci_low <= 0 <= row.ci_high:
        return f"No sign that answer length affects {row.metric}: {numbers}."
    which = "Longer" if row.slope > 0 else "Shorter"
    at_equal = ""
    if row.at_equal_length is not None:
        gain = format_number(row.at_equal_length, signed=True)
        at_equal = f"; at equal length the gain would be {gain}"
    return (
        f"{which} answers gained more on {row.metric}: {numbers}{at_equal}. This does not show "
        f"why: they may be better, or the judge may prefer their length. {_judge_free_text(row)}"
    )


def _judge_free_text(row: LengthSlope) -> str:
    """Say which metrics without a judge agree with the judge on the sign of the gain."""
    if not row.judge_free:
        return "To find out, add a metric that needs no judge, such as Token F1."
    said = {True: "agrees", False: "disagrees", None: "shows no difference"}
    named = [
        f"{one.metric} {said[one.agrees]} ({format_number(one.gain, signed=True)})"
        for agrees in said
        for one in row.judge_free
        if one.agrees is agrees
    ]
    return f"Of the metrics that need no judge, {', '.join(named)}."
