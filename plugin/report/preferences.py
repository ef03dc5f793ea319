"""Hold what a run's preferences show, for the verdict, the page and the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from plugin.compare.bradley_terry import Ranking
from plugin.compare.pairs import Evidence
from plugin.compare.preference_views import (
    PreferenceSettings,
    PreferenceView,
    rank_variants,
    view_preferences,
)
from plugin.compare.words_preference import beside_text, preference_lines, ranking_lines
from plugin.records import Completion
from plugin.results import Comparison, Verdict
from plugin.trust.position import PositionCheck, check_positions, position_lines, withhold_ties


@dataclass(frozen=True, slots=True)
class Compared:
    """What the preferences of a run show; empty where no completions were compared.

    Attributes:
        views: one per pair of variants and metric.
        rankings: metric -> the ranking of all variants, where there are three or more.
        checks: what each judge did with the order of the answers.
    """

    views: tuple[PreferenceView, ...] = ()
    rankings: Mapping[str, Ranking] = field(default_factory=dict)
    checks: tuple[PositionCheck, ...] = ()

    @property
    def beside(self) -> dict[tuple[str, str], str]:
        """Return what the verdict's sentence says beside a win rate, by variant and baseline."""
        return {(view.variant, view.baseline): beside_text(view) for view in self.views}

    @property
    def faults(self) -> list[str]:
        """Return why the verdict's first line must distrust the judge; empty for no reason."""
        bad = [check for check in self.checks if check.is_bad]
        if len({check.judge for check in self.checks}) == 1:
            return [check.fault for check in bad]
        return [f"has a member, {check.judge}, that {check.fault}" for check in bad]

    def withhold(self, comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
        """Return the comparisons, without what rests on the ties of a judge that is distrusted."""
        return withhold_ties(comparisons, self.checks)

    def add_lines(self, verdict: Verdict) -> Verdict:
        """Return the verdict with what the reader must know of the preferences."""
        own = preference_lines(self.views, verdict.variant)
        ranked = [line for ranking in self.rankings.values() for line in ranking_lines(ranking)]
        first = position_lines(self.checks)
        return replace(verdict, details=(*first, *verdict.details, *own, *ranked))


def look_at_preferences(
    evidence: Evidence,
    answers: Mapping[tuple[str, str], Completion],
    judge: str,
    settings: PreferenceSettings,
) -> Compared:
    """Return what the run's preferences show.

    Args:
        evidence: the run's.
        answers: (case id, variant) -> what was judged.
        judge: the judges as shown.
        settings: how to look.
    """
    if not evidence.preferences:
        return Compared()
    ranked = {
        spec.name: ranking
        for spec in evidence.metrics
        if spec.is_relative and (ranking := rank_variants(evidence, spec, settings))
    }
    views = view_preferences(evidence, answers, settings)
    return Compared(views, ranked, check_positions(evidence.preferences, judge))
