"""Collect what the preferences of a run show: rates, flips, length control, and a ranking."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from plugin.compare.bradley_terry import Ranking, bradley_terry
from plugin.compare.length_control import ControlledRate, length_controlled, style_controlled
from plugin.compare.pairs import Contrast, Evidence, contrasts
from plugin.compare.preferences import (
    AverageLengths,
    PreferenceFacts,
    average_lengths,
    control_rows,
    matches_of,
    preference_facts,
)
from plugin.compare.stats import MeanEstimate
from plugin.records import Completion, MetricSpec, Preference

_EARLY = "no interval in a run that may stop early"


@dataclass(frozen=True, slots=True)
class PreferenceView:
    """What the preferences between two variants show, over all cases.

    Attributes:
        facts: win rate, flips and the like.
        lengths: mean lengths of the two variants' completions.
        at_equal_length: the win rate with length under control.
        at_equal_style: the same with headers, lists and bold marks under control, too; None if it
            was not asked for.
    """

    metric: str
    variant: str
    baseline: str
    facts: PreferenceFacts
    lengths: AverageLengths
    at_equal_length: ControlledRate
    at_equal_style: ControlledRate | None = None

    @property
    def contrast(self) -> Contrast:
        """Return the names of the variant and the baseline."""
        return Contrast(self.variant, self.baseline)


@dataclass(frozen=True, slots=True)
class PreferenceSettings:
    """How to look at the preferences.

    Attributes:
        seed: of all resampling.
        n_resamples: of intervals; the control of length and style takes at most what it needs.
        controls_style: whether style is put under control, too.
        is_early: the run may stop early, so that fixed intervals would promise too much.
    """

    seed: int
    n_resamples: int
    controls_style: bool = False
    is_early: bool = False


def view_preferences(
    evidence: Evidence,
    answers: Mapping[tuple[str, str], Completion],
    settings: PreferenceSettings,
) -> tuple[PreferenceView, ...]:
    """Return a view of every pair of variants that was compared, on every metric that compares.

    Args:
        evidence: the run's.
        answers: (case id, variant) -> what was judged.
        settings: how to look.
    """
    return tuple(
        _view(evidence, answers, own, settings)
        for spec in evidence.metrics
        if spec.is_relative
        for own in _by_contrast(evidence, spec)
    )


def rank_variants(
    evidence: Evidence, spec: MetricSpec, settings: PreferenceSettings
) -> Ranking | None:
    """Return the ranking of all variants on a metric; None for fewer than three variants."""
    if len(evidence.variants) < 3:
        return None
    own = [one for one in evidence.preferences if one.metric == spec.name]
    if not own:
        return None
    matches = matches_of(own, _clusters(evidence))
    ranking = bradley_terry(matches, seed=settings.seed, n_resamples=settings.n_resamples)
    if not settings.is_early:
        return ranking
    rated = (replace(one, ci_low=None, ci_high=None, beats_next=None) for one in ranking.rated)
    return replace(ranking, rated=tuple(rated), why_no_interval=_EARLY)


def _view(
    evidence: Evidence,
    answers: Mapping[tuple[str, str], Completion],
    own: Sequence[Preference],
    settings: PreferenceSettings,
) -> PreferenceView:
    clusters = _clusters(evidence)
    facts = preference_facts(own, clusters, seed=settings.seed, n_resamples=settings.n_resamples)
    rows = control_rows(own, answers, clusters)
    at_equal_length = length_controlled(
        rows.values,
        rows.length_differences,
        clusters=rows.clusters,
        seed=settings.seed,
        n_resamples=settings.n_resamples,
    )
    at_equal_style = None
    if settings.controls_style:
        at_equal_style = style_controlled(
            rows.values,
            rows.length_differences,
            rows.styles,
            clusters=rows.clusters,
            seed=settings.seed,
            n_resamples=settings.n_resamples,
        )
    view = PreferenceView(
        metric=own[0].metric,
        variant=own[0].variant,
        baseline=own[0].baseline,
        facts=facts,
        lengths=average_lengths(own, answers),
        at_equal_length=at_equal_length,
        at_equal_style=at_equal_style,
    )
    return _without_intervals(view) if settings.is_early else view


def _by_contrast(evidence: Evidence, spec: MetricSpec) -> Iterable[list[Preference]]:
    """Yield the preferences of each pair of variants, the most important pair first."""
    found: dict[tuple[str, str], list[Preference]] = {
        (variant, baseline): [] for variant, baseline in contrasts(evidence.names)
    }
    for one in evidence.preferences:
        if one.metric == spec.name:
            found.setdefault((one.variant, one.baseline), []).append(one)
    return (own for own in found.values() if own)


def _clusters(evidence: Evidence) -> dict[str, Hashable] | None:
    """Return case id -> cluster; None if every case stands for itself."""
    return {case.id: case.cluster for case in evidence.cases if case.cluster} or None


def _without_intervals(view: PreferenceView) -> PreferenceView:
    """Return the view of a run that may stop early."""
    bare: dict[str, Any] = {
        field.name: replace(value, ci_low=None, ci_high=None, method=_EARLY)
        for field in fields(view.facts)
        if isinstance(value := getattr(view.facts, field.name), MeanEstimate)
    }
    rates = (
        rate and replace(rate, ci_low=None, ci_high=None, why_no_interval=_EARLY)
        for rate in (view.at_equal_length, view.at_equal_style)
    )
    at_equal_length, at_equal_style = rates
    assert at_equal_length is not None
    return replace(
        view,
        facts=replace(view.facts, **bare),
        at_equal_length=at_equal_length,
        at_equal_style=at_equal_style,
    )
