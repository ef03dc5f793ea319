"""Hold a report, and look up its scores, gains and comparisons for tables, charts and page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from plugin.capability.report import Capability
from plugin.certify.certificate import Certificate
from plugin.compare.contrasts import contenders, contrasts, is_measured
from plugin.compare.families import retention_groups
from plugin.compare.turns import TurnChange
from plugin.compare.words_folds import FoldsView
from plugin.latency.report import Latency
from plugin.memorisation.report import Memorisation
from plugin.records import (
    ALL,
    DATA,
    Case,
    Completion,
    Failure,
    MetricSpec,
    Preference,
    Score,
    Variant,
)
from plugin.report.collapse import Collapse
from plugin.report.preferences import Compared
from plugin.report.sampling import SamplingView
from plugin.results import Comparison, Summary, TaskResults, Verdict
from plugin.thinking import SplitText
from plugin.training.views import TrainingView
from plugin.trust.accepted_choices import VariantChoice
from plugin.trust.records import Trust


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that a host publishes; tables, charts and page are made from it alone.

    Attributes:
        judge: displayed name of the judge, such as "offline (smoke-test) judge".
        variants: the variants, the baseline first.
        metrics: the metrics, the primary metric first.
        cases: the cases, in the order of the source.
        completions: (case id, variant name) -> completion.
        warnings: warnings about this run, a sentence each.
        provenance: settings, versions, seed, digests, counts and timings, ready for JSON.
        trust: the trust report on the judge; None if the judge was not examined.
        certificates: the certificate of each adapter.
        preferences: what the judges preferred, a row per pair of completions and judge.
        compared: what these show.
        task: what metrics of the task show besides the means of their scores.
        split_texts: (case id, variant name) -> thoughts and answer of the completion; a completion
            that is missing here has no thoughts.
        collapse: signs of a collapsed model, for each variant.
        capability: what became of general ability; None where it was not tested.
        latency: how long a user waits under load; None where it was not measured.
        choices: which answers people preferred, a row per case, variant and rater.
        memorisation: what the training data shows; None where none was named.
        trainings: what the trainings' logs show, where there are any.
        turns: what becomes of scores at later turns of conversations.
        sampling: what several samples show; None where each case has its most likely answer.
        folds: what the folds of one recipe show; None for anything else.
    """

    verdict: Verdict
    judge: str
    variants: tuple[Variant, ...]
    metrics: tuple[MetricSpec, ...]
    cases: tuple[Case, ...]
    completions: Mapping[tuple[str, str], Completion]
    scores: tuple[Score, ...]
    failures: tuple[Failure, ...]
    summaries: tuple[Summary, ...]
    comparisons: tuple[Comparison, ...]
    partial: bool
    warnings: tuple[str, ...]
    provenance: Mapping[str, Any]
    trust: Trust | None = None
    certificates: tuple[Certificate, ...] = ()
    preferences: tuple[Preference, ...] = ()
    compared: Compared = Compared()
    task: TaskResults = TaskResults()
    split_texts: Mapping[tuple[str, str], SplitText] = field(default_factory=dict)
    collapse: tuple[Collapse, ...] = ()
    capability: Capability | None = None
    choices: tuple[VariantChoice, ...] = ()
    memorisation: Memorisation | None = None
    trainings: tuple[TrainingView, ...] = ()
    turns: tuple[TurnChange, ...] = ()
    sampling: SamplingView | None = None
    latency: Latency | None = None
    folds: FoldsView | None = None


Row = TypeVar("Row", Summary, Comparison)


class CaseCell(NamedTuple):
    """The result of one variant on one case and metric: a score, or the failure in its place.

    Attributes:
        preferences: what the score is made of where completions were compared, a row per judge.
    """

    score: Score | None
    failure: Failure | None
    gain: float | None
    preferences: tuple[Preference, ...] = ()


class Ledger:
    """Looks up a report's scores and failures by case, variant and metric.

    Attributes:
        report: the report.
        variants: names of the variants, the base first.
        retention: names of the groups that must not get worse.
        groups: names of the groups in the order of the source, those first; without "all".
    """

    def __init__(self, report: Report) -> None:
        self.report = report
        self._specs = {spec.key: spec for spec in report.metrics} | {
            spec.name: spec for spec in report.metrics
        }
        named = [variant.name for variant in report.variants]
        others = [score.variant for score in report.scores if score.variant != DATA]
        self.variants = tuple(dict.fromkeys(named + others))
        self.retention = retention_groups(report.cases)
        groups = dict.fromkeys(c.group for c in report.cases if c.group and c.group != ALL)
        self.groups = tuple(sorted(groups, key=lambda group: group not in self.retention))
        self._scores = {
            (score.case_id, score.variant, self._specs[score.metric].name): score
            for score in report.scores
        }
        self._preferences: dict[tuple[str, str, str], list[Preference]] = {}
        for one in report.preferences:
            if one.baseline == self.baseline:
                place = (one.case_id, one.variant, one.metric)
                self._preferences.setdefault(place, []).append(one)
        self._failures: dict[tuple[str, str | None, str | None], Failure] = {}
        for failure in report.failures:
            if failure.baseline not in (None, self.baseline):
                continue
            metric = failure.metric and self.metric_name(failure.metric)
            self._failures.setdefault((failure.case_id, failure.variant, metric), failure)
        self._summaries = {
            (self.metric_name(row.metric), row.variant, row.group): row for row in report.summaries
        }
        self._over_base = {
            (self.metric_name(row.metric), row.variant, row.group): row
            for row in report.comparisons
            if row.baseline == self.baseline
        }

    @property
    def baseline(self) -> str | None:
        """Return the name of the base, which gains are relative to; None without variants."""
        return self.variants[0] if self.variants else None

    @property
    def contenders(self) -> tuple[str, ...]:
        """Return the variants that the verdict can be about."""
        return contenders(self.variants)

    @property
    def primary(self) -> MetricSpec | None:
        """Return the primary metric, or the first metric if none decided."""
        decided = self._specs.get(self.report.verdict.primary_metric or "")
        return decided or (self.report.metrics[0] if self.report.metrics else None)

    def group_title(self, group: str) -> str:
        """Return the group's name as shown, with what it is for."""
        return f"{group} (retention)" if group in self.retention else group

    def scored_names(self, spec: MetricSpec) -> tuple[str, ...]:
        """Return the names that the metric scores: all variants that can have it, or the data."""
        if spec.judges_data:
            return (DATA,)
        return tuple(name for name in self.variants if is_measured(spec, name))

    def metric_name(self, metric: str) -> str:
        """Return a metric's displayed name, given its key or name."""
        return self._specs[metric].name if metric in self._specs else metric

    def cell(self, case: Case, variant: str, spec: MetricSpec) -> CaseCell:
        """Return the score, or else the most specific failure that explains why it is missing."""
        score = self._scores.get((case.id, variant, spec.name))
        if score is not None and math.isfinite(score.value):
            rows = tuple(self._preferences.get((case.id, variant, spec.name), ()))
            return CaseCell(score, None, self._gain(score, variant, spec), rows)
        keys: list[tuple[str | None, str | None]] = [(variant, spec.name), (None, spec.name)]
        if spec.fits(case):
            keys += [(variant, None), (None, None)]
        found = (self._failures.get((case.id, *key)) for key in keys)
        return CaseCell(None, next((failure for failure in found if failure), None), None)

    def _gain(self, score: Score, variant: str, spec: MetricSpec) -> float | None:
        if variant in (self.baseline, DATA) or self.baseline is None:
            return None
        base = self._scores.get((score.case_id, self.baseline, spec.name))
        if base is None or not math.isfinite(base.value):
            return None
        return spec.gain(score.value, base.value)

    def gains(self, variant: str, spec: MetricSpec, group: str = ALL) -> list[float]:
        """Return the paired gains of a variant over the baseline, in the order of the cases."""
        cases = (case for case in self.report.cases if group in (ALL, case.group))
        found = (self.cell(case, variant, spec).gain for case in cases)
        return [gain for gain in found if gain is not None]

    def sort_rows(self, rows: Iterable[Row]) -> list[Row]:
        """Sort rows: all cases first, then groups; within these by metric, group and contrast."""
        metric = _rank([spec.name for spec in self.report.metrics])
        group, variant = _rank((ALL, *self.groups)), _rank(self.variants)
        contrast: dict[tuple[str, str], int] = {
            each: place for place, each in enumerate(contrasts(self.variants))
        }
        return sorted(
            rows,
            key=lambda row: (
                row.group != ALL,
                metric(self.metric_name(row.metric)),
                group(row.group),
                contrast.get((row.variant, getattr(row, "baseline", "")), len(contrast)),
                variant(row.variant),
                variant(getattr(row, "baseline", "")),
            ),
        )

    def summary(self, spec: MetricSpec, variant: str, group: str = ALL) -> Summary | None:
        """Return the summary of a variant's scores on a metric; None if there is none."""
        return self._summaries.get((spec.name, variant, group))

    def comparison(self, spec: MetricSpec, variant: str, group: str = ALL) -> Comparison | None:
        """Return the comparison of a variant with the base; None if there is none."""
        return self._over_base.get((spec.name, variant, group))


def _rank(names: Iterable[str]) -> Callable[[str], tuple[int, str]]:
    """Return a sort key: names in the given order first, then other names alphabetically."""
    order = {name: place for place, name in enumerate(names)}
    return lambda name: (order.get(name, len(order)), name)
