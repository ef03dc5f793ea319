"""Turn preferences into what scores are: one number per case and variant, wins over the base.

A metric that compares completions has no score of one completion. A variant's score is what it wins
against the base, and the base's own score is `EVEN` by definition; so the gain is the win value
minus one half, and the win rate is the variant's mean. What is missing of scores and preferences
is counted here, too.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from plugin.compare.pairs import Contrast, Evidence, contenders, contrasts
from plugin.records import EVEN, Failure, MetricSpec, Preference, Score
from plugin.sample_rows import sample_of_preference

PreferencePlace = tuple[str, str, str, str]
"""Case id, variant, metric and baseline."""


def place_of(preference: Preference) -> PreferencePlace:
    """Return which pair of completions a preference is about, and on which metric."""
    one = preference
    return one.case_id, one.variant, one.metric, one.baseline


def judged_contrasts(names: Sequence[str], *, all_pairs: bool) -> tuple[Contrast, ...]:
    """Return the pairs of variants whose completions are compared.

    Args:
        names: the variants, the base first.
        all_pairs: whether the other variants are compared with each other, too.
    """
    found = contrasts(names)
    if not all_pairs:
        return found
    others = contenders(names)
    among = (
        Contrast(later, earlier) for place, later in enumerate(others) for earlier in others[:place]
    )
    return (*found, *among)


def combine(rows: Sequence[Preference]) -> Preference:
    """Return one preference for the rows of several judges or samples of a pair: their mean."""
    if len(rows) == 1:
        return rows[0]
    said = " | ".join(f"{_who(row)} gave {row.value:.2f}: {row.reason or '-'}" for row in rows)
    value = math.fsum(row.value for row in rows) / len(rows)
    return replace(rows[0], first=None, second=None, value=value, reason=said, judge="")


def _who(row: Preference) -> str:
    """Return the judge of a row, or which sample the only judge was asked about."""
    sample, _ = sample_of_preference(row.repeat) or (0, 0)
    return row.judge or f"sample {sample + 1}"


def combine_all(preferences: Iterable[Preference]) -> dict[PreferencePlace, Preference]:
    """Return one preference for each pair of completions and metric."""
    rows: dict[PreferencePlace, list[Preference]] = {}
    for one in preferences:
        rows.setdefault(place_of(one), []).append(one)
    return {place: combine(own) for place, own in rows.items()}


def win_scores(preferences: Iterable[Preference], base: str) -> list[Score]:
    """Return what the variants win against the base as scores, and the base's own ones."""
    own = [one for one in combine_all(preferences).values() if one.baseline == base]
    scores = [Score(p.case_id, p.variant, p.metric, p.value, p.reason) for p in own]
    compared = dict.fromkeys((one.case_id, one.metric) for one in own)
    return [*scores, *(Score(case_id, base, metric, EVEN) for case_id, metric in compared)]


def n_missing_preferences(evidence: Evidence, spec: MetricSpec, pairs: Collection[Contrast]) -> int:
    """Count the preferences that do not exist and have not failed."""
    made = {place_of(one) for one in evidence.preferences}
    failed = {_place_of_failure(one) for one in evidence.failures if one.variant}
    return sum(
        (case.id, variant, spec.name, baseline) not in made | failed
        and not any((case.id, name, None, None) in failed for name in (variant, baseline))
        for case in evidence.cases
        for variant, baseline in pairs
    )


def n_judged(evidence: Evidence) -> int:
    """Count the cases with at least one score."""
    return len({score.case_id for score in evidence.scores})


def n_missing(evidence: Evidence, *, all_pairs: bool) -> int:
    """Count the scores and preferences that do not exist and have not failed.

    Args:
        evidence: what the run has.
        all_pairs: whether the other variants are compared with each other, too.
    """
    pairs = judged_contrasts(evidence.names, all_pairs=all_pairs)
    relative = [spec for spec in evidence.metrics if spec.is_relative]
    n_preferences = sum(n_missing_preferences(evidence, spec, pairs) for spec in relative)
    made = {(s.case_id, s.variant, s.metric) for s in evidence.scores}
    failed = {(f.case_id, f.variant, f.metric) for f in evidence.failures}
    return n_preferences + sum(
        (case.id, name, spec.name) not in made
        and (case.id, name, spec.name) not in failed
        and (case.id, name, None) not in failed
        for case in evidence.cases
        for spec in evidence.metrics
        for name in evidence.scored_names(spec)
        if spec.fits(case) and not spec.is_relative
    )


def _place_of_failure(failure: Failure) -> tuple[str, str | None, str | None, str | None]:
    return failure.case_id, failure.variant, failure.metric, failure.baseline
