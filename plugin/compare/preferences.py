"""Describe the preferences of one variant over one baseline: win rate, flips, lengths, ranking.

Everything is counted over cases. If several judges were asked, a case counts with their mean, and
intervals resample whole cases or clusters of cases.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from plugin.compare.bradley_terry import Match
from plugin.compare.length_control import StyleCounts, count_style
from plugin.compare.stats import MeanEstimate, mean_interval
from plugin.records import EVEN, MUCH_BETTER, Completion, Preference


@dataclass(frozen=True, slots=True)
class PreferenceFacts:
    """What the preferences of one variant over one baseline have in common.

    Attributes:
        n: cases with a preference.
        n_equal: of `n`, cases with equal completions: a tie, nothing was asked.
        n_empty: of `n`, cases decided because one completion was empty; nothing was asked.
        win_rate: mean win value over all cases, ties as a half.
        flip_rate: share of the cases asked in which the winner changed with the order.
        first_share: share of single answers with a winner that chose the completion shown first.
            A judge without position bias has 0.5, even if it is often unsure.
        decisive: share of all cases that have a winner.
        mean_level: mean of the five levels, turned to 0 (much worse) to 1 (much better), over all
            cases. It tells a narrow win from a clear one.
    """

    n: int
    n_equal: int
    n_empty: int
    win_rate: MeanEstimate
    flip_rate: MeanEstimate
    first_share: MeanEstimate
    decisive: MeanEstimate
    mean_level: MeanEstimate


@dataclass(frozen=True, slots=True)
class AverageLengths:
    """Mean lengths of the answers of a variant and a baseline, on the same cases.

    Attributes:
        n: number of cases.
        characters: mean length of the variant's answers, in characters; None without cases.
        baseline_characters: the same for the baseline.
        tokens: mean length of the variant's answers, in tokens; None if some were not counted.
        baseline_tokens: the same for the baseline.
    """

    n: int
    characters: float | None
    baseline_characters: float | None
    tokens: float | None
    baseline_tokens: float | None


class ControlRows(NamedTuple):
    """What length and style control need, one entry per case; see `length_controlled`.

    Cases in which a completion is empty are left out: there, no judge looked at lengths.
    """

    values: list[float]
    length_differences: list[float]
    styles: list[tuple[StyleCounts, StyleCounts]]
    clusters: list[Hashable] | None


def preference_facts(
    preferences: Sequence[Preference],
    clusters: Mapping[str, Hashable] | None = None,
    *,
    seed: int,
    n_resamples: int = 10_000,
) -> PreferenceFacts:
    """Return the facts about the preferences of one variant over one baseline, with intervals.

    Args:
        preferences: of one metric; repeated ones are left out.
        clusters: case id -> label of its cluster; a case without a label stands for itself.
        seed: seed of all resampling.
        n_resamples: number of resamples.

    Raises:
        ValueError: for preferences of more than one variant, baseline or metric.
    """
    own = _of_one_contrast(preferences)
    by_case = dict(_by_case(own))

    def estimate(found: Iterable[tuple[str, float]], low: float = 0.0) -> MeanEstimate:
        cases, values = zip(*found, strict=True) if (found := list(found)) else ((), ())
        labels = [_label(case_id, clusters) for case_id in cases]
        return mean_interval(
            values, clusters=labels, low=low, high=1.0, seed=seed, n_resamples=n_resamples
        )

    asked = {
        case_id: kept
        for case_id, rows in by_case.items()
        if (kept := [row for row in rows if row.is_asked])
    }
    unasked = [rows[0].value for case_id, rows in by_case.items() if case_id not in asked]
    return PreferenceFacts(
        n=len(by_case),
        n_equal=sum(value == EVEN for value in unasked),
        n_empty=sum(value != EVEN for value in unasked),
        win_rate=estimate((i, _mean(row.value for row in rows)) for i, rows in by_case.items()),
        flip_rate=estimate((i, _mean(row.is_flip for row in rows)) for i, rows in asked.items()),
        first_share=estimate(_first_choices(own)),
        decisive=estimate(
            (i, _mean(row.value != EVEN for row in rows)) for i, rows in by_case.items()
        ),
        mean_level=estimate((i, _mean(map(_level, rows))) for i, rows in by_case.items()),
    )


def matches_of(
    preferences: Iterable[Preference], clusters: Mapping[str, Hashable] | None = None
) -> list[Match]:
    """Return one match per case and pair of variants, for `bradley_terry`.

    Args:
        preferences: of one metric, between any variants; repeated ones are left out.
        clusters: case id -> label of its cluster; a case without a label stands for itself.
    """
    kept = [row for row in preferences if not row.is_retest]
    kept.sort(key=lambda row: (row.variant, row.baseline, row.case_id))
    return [
        Match(variant, baseline, _mean(row.value for row in rows), _label(case_id, clusters))
        for (variant, baseline, case_id), rows in groupby(
            kept, key=lambda row: (row.variant, row.baseline, row.case_id)
        )
    ]


def control_rows(
    preferences: Sequence[Preference],
    completions: Mapping[tuple[str, str], Completion],
    clusters: Mapping[str, Hashable] | None = None,
) -> ControlRows:
    """Return the values, lengths and styles that `length_controlled` and `style_controlled` need.

    Args:
        preferences: of one variant over one baseline and one metric; repeated ones are left out.
        completions: (case id, variant) -> completion.
        clusters: case id -> label of its cluster; a case without a label stands for itself.

    Raises:
        ValueError: for preferences of more than one variant, baseline or metric.
    """
    rows = ControlRows([], [], [], None if clusters is None else [])
    for case_id, own in _by_case(_of_one_contrast(preferences)):
        texts = [completions[case_id, name].text for name in (own[0].variant, own[0].baseline)]
        if not all(text.strip() for text in texts):
            continue
        rows.values.append(_mean(row.value for row in own))
        rows.length_differences.append(float(len(texts[0]) - len(texts[1])))
        rows.styles.append((count_style(texts[0]), count_style(texts[1])))
        if rows.clusters is not None:
            rows.clusters.append(_label(case_id, clusters))
    return rows


def average_lengths(
    preferences: Sequence[Preference], completions: Mapping[tuple[str, str], Completion]
) -> AverageLengths:
    """Return the mean lengths of the answers that were compared.

    Args:
        preferences: of one variant over one baseline and one metric.
        completions: (case id, variant) -> completion.

    Raises:
        ValueError: for preferences of more than one variant, baseline or metric.
    """
    own = list(_by_case(_of_one_contrast(preferences)))
    if not own:
        return AverageLengths(0, None, None, None, None)
    sides = [
        [completions[case_id, name] for case_id, rows in own]
        for name in (own[0][1][0].variant, own[0][1][0].baseline)
    ]
    characters = [_mean(len(made.text) for made in side) for side in sides]
    tokens = [_mean_tokens(side) for side in sides]
    return AverageLengths(len(own), *characters, *tokens)


def _mean_tokens(side: Sequence[Completion]) -> float | None:
    counts = [made.n_tokens for made in side if made.n_tokens is not None]
    return _mean(counts) if len(counts) == len(side) else None


def _of_one_contrast(preferences: Sequence[Preference]) -> list[Preference]:
    """Return the preferences that count, after checking that they are about one comparison."""
    about = {(row.variant, row.baseline, row.metric) for row in preferences}
    if len(about) > 1:
        raise ValueError(
            "preferences must be of one variant over one baseline on one metric; got "
            + "; ".join(" / ".join(each) for each in sorted(about))
        )
    return [row for row in preferences if not row.is_retest]


def _by_case(preferences: Iterable[Preference]) -> Iterable[tuple[str, list[Preference]]]:
    """Return the preferences of each case (one per judge), in order of first appearance."""
    found: dict[str, list[Preference]] = {}
    for row in preferences:
        found.setdefault(row.case_id, []).append(row)
    return found.items()


def _first_choices(preferences: Iterable[Preference]) -> list[tuple[str, float]]:
    """Return case id and 1 (shown first) or 0 (shown second) of each single answer's winner."""
    return [
        (row.case_id, float((level > 0) == is_variant_first))
        for row in preferences
        for level, is_variant_first in ((row.first, True), (row.second, False))
        if level
    ]


def _level(row: Preference) -> float:
    """Return the mean level of both orders, from 0 (much worse) to 1 (much better)."""
    if row.first is None or row.second is None:
        return row.value
    return EVEN + (row.first + row.second) / (4 * MUCH_BETTER)


def _label(case_id: str, clusters: Mapping[str, Hashable] | None) -> Hashable:
    """Return the label of the case's cluster, or one of its own."""
    label = (clusters or {}).get(case_id)
    return ("case", case_id) if label is None else ("cluster", label)


def _mean(values: Iterable[float]) -> float:
    kept = list(values)
    return sum(kept) / len(kept)
