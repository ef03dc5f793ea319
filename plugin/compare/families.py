"""Sort comparisons into families, each with a 5% chance of any false outcome of its own.

The primary metric is tested alone, so that more metrics do not cost it power. What guards is tested
for harm only, in a family of its own. All else is exploratory: it shows where to look. Which of
several contenders is the best is asked beside these, in a family of its own (see `rivals`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from plugin.compare.contrasts import Contrast, contenders, contrasts, is_comparable
from plugin.compare.pairs import Evidence
from plugin.records import ALL, Case, MetricSpec, is_rival
from plugin.results import Role


class Family(StrEnum):
    """Comparisons that are adjusted together, by Holm's step-down.

    PRIMARY: every contender against the base on the primary metric, over all cases.
    OVER_PROMPT: the same against the prompted base, once a contender is better than the base. For
        one contender and one prompt this order alone keeps the chance of any false outcome at 5%;
        of several prompts, each has its test here.
    PROMPT: the prompted base against the base.
    OVER_RIVAL: every contender against each other model on the primary metric.
    RIVAL: each other model against the base.
    GUARDS: guard metrics over all cases and the primary metric in retention groups, for harm.
    METRICS: all other metrics over all cases.
    GROUPS: the primary metric in all other groups, contenders against the base.
    GROUP_METRICS: what else is compared in groups.
    DESCRIBED: metrics that never decide; not tested.
    """

    PRIMARY = "primary"
    OVER_PROMPT = "over prompt"
    PROMPT = "prompt"
    OVER_RIVAL = "over rival"
    RIVAL = "rival"
    GUARDS = "guards"
    METRICS = "metrics"
    GROUPS = "groups"
    GROUP_METRICS = "group metrics"
    DESCRIBED = "described"

    @property
    def role(self) -> Role:
        """Return what its comparisons are for."""
        roles: dict[Family, Role] = {
            Family.PRIMARY: "primary",
            Family.OVER_PROMPT: "primary",
            Family.OVER_RIVAL: "primary",
            Family.GUARDS: "guard",
            Family.DESCRIBED: "described",
        }
        return roles.get(self, "exploratory")


class Question(NamedTuple):
    """One comparison that is to be made."""

    spec: MetricSpec
    contrast: Contrast
    group: str


@dataclass(frozen=True, slots=True)
class Families:
    """Which family a comparison belongs to.

    Attributes:
        primary: name or key of the metric that decides.
        names: of the variants, the base first.
        retention: names of the retention groups.
    """

    primary: str
    names: tuple[str, ...]
    retention: frozenset[str] = frozenset()

    @classmethod
    def of(cls, evidence: Evidence, primary: str) -> Families:
        """Return the families of a run."""
        return cls(primary, evidence.names, retention_groups(evidence.cases))

    def find(self, question: Question) -> Family:
        """Return the family of a comparison: the one place that knows."""
        spec, contrast, group = question
        if not spec.decides:
            return Family.DESCRIBED
        is_primary = self.primary in (spec.name, spec.key)
        is_about = contrast.variant in contenders(self.names)
        over_base = is_about and contrast.baseline == self.names[0]
        if group == ALL and is_primary:
            if over_base:
                return Family.PRIMARY
            if any(map(is_rival, contrast)):
                return Family.OVER_RIVAL if is_about else Family.RIVAL
            return Family.OVER_PROMPT if is_about else Family.PROMPT
        if group == ALL:
            return Family.GUARDS if over_base and spec.is_guard else Family.METRICS
        if not (is_primary and over_base):
            return Family.GROUP_METRICS
        return Family.GUARDS if group in self.retention else Family.GROUPS

    def over_all_cases(self, specs: Iterable[MetricSpec]) -> list[tuple[Question, Family]]:
        """Return what is compared over all cases and in retention groups, with its family."""
        groups = (ALL, *sorted(self.retention))
        asked = (
            Question(spec, contrast, group)
            for spec in specs
            for contrast in contrasts(self.names)
            if is_comparable(spec, contrast)
            for group in groups
        )
        found = ((question, self.find(question)) for question in asked)
        return [(q, family) for q, family in found if q.group == ALL or family is Family.GUARDS]


def retention_groups(cases: Sequence[Case]) -> frozenset[str]:
    """Return the names of the groups that must not get worse."""
    return frozenset(case.group for case in cases if case.retention and case.group)
