"""Read a finished run for a gate: what was compared, which variant is to pass, and what is void."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from plugin.compare.comparisons import N_RESAMPLES
from plugin.compare.early_stop import EarlyPlan, early_plan, gains_in_order
from plugin.compare.families import Question
from plugin.compare.pairs import (
    Contrast,
    Evidence,
    FailureFill,
    Pairs,
    clusters_of,
    contenders,
    pair_scores,
)
from plugin.conclude import conclude
from plugin.errors import OptionError, did_you_mean
from plugin.gate.quantities import Mean, Sample
from plugin.item_rows import ItemResult
from plugin.load_rows import StreamedRequest
from plugin.plan.command_parser import PROGRAM
from plugin.records import ALL, MetricSpec
from plugin.reopen import open_run, require_idle
from plugin.report.record import Report
from plugin.results import Comparison
from plugin.run_facts import RunHeader
from plugin.sheets import spell_breaks
from plugin.terminal import shell_word
from plugin.thinking import why_no_verdict

_N_CHARS = 200
_READ = 2_000
"""Characters that are looked at to find so many shown ones: texts may be huge."""

_MEANING = {
    "no effect": "the adapter changes nothing",
    "partial": "only a part of the adapter was applied",
    "base disturbed": "the adapter left the base model changed",
}


@dataclass(frozen=True)
class GateRun:
    """A finished run, and the variant that is to pass.

    Attributes:
        report: all that was concluded from the journal.
        header: what the run is.
        variant: the one that is to pass.
        why_this: why it is this one; "" where there is only one.
        items: what models answered to items of general ability.
        load_rows: requests under load, by level.
        n_resamples: how often intervals resample.
    """

    report: Report
    header: RunHeader
    variant: str
    why_this: str = ""
    items: tuple[ItemResult, ...] = ()
    load_rows: Mapping[int, tuple[StreamedRequest, ...]] = field(default_factory=dict)
    n_resamples: int = N_RESAMPLES

    @property
    def base(self) -> str:
        """Return the name of the base."""
        return self.report.variants[0].name

    @property
    def n_rivals(self) -> int:
        """Return how many variants this one was chosen from, itself included."""
        return max(1, len(contenders([one.name for one in self.report.variants])))

    @property
    def seed(self) -> int:
        """Return the seed of all resampling."""
        return int(self.report.provenance["seed"])

    @property
    def primary(self) -> MetricSpec:
        """Return the metric that decides."""
        name = self.report.verdict.primary_metric
        return next(spec for spec in self.report.metrics if spec.name == name)

    @property
    def compared(self) -> list[MetricSpec]:
        """Return the metrics on which variants are compared."""
        return [spec for spec in self.report.metrics if not spec.judges_data]

    @cached_property
    def case_note(self) -> str:
        """Return which of the cases decide; "" where all do."""
        n, n_all = len(self._evidence.cases), len(self.report.cases)
        return "" if n == n_all else f"the {n} of {n_all} cases that are not in the training data"

    @cached_property
    def _evidence(self) -> Evidence:
        """Return the scores that decide; where the verdict is on clean cases, those alone."""
        report, memory = self.report, self.report.memorisation
        found = Evidence(
            *(report.cases, report.variants, report.metrics, report.scores),
            *(report.failures, report.preferences),
        )
        if memory is None or not (memory.deciding or self._has_no_clean):
            return found
        dirty = {one.id for one in memory.overlaps}
        return replace(found, cases=[case for case in report.cases if case.id not in dirty])

    @property
    def _has_no_clean(self) -> bool:
        memory = self.report.memorisation
        return memory is not None and memory.leads and not memory.counts["clean"]

    @cached_property
    def _pairs(self) -> Mapping[tuple[str, str], Pairs]:
        contrast = Contrast(self.variant, self.base)
        found = (pairs for pairs in pair_scores(self._evidence) if pairs.contrast == contrast)
        return {(pairs.spec.name, pairs.group): pairs for pairs in found}

    @cached_property
    def _early(self) -> EarlyPlan | None:
        """Return the plan of a run that may stop early; None for any other."""
        if not self.report.provenance["settings"].get("stop_early"):
            return None
        report = self.report
        specs, primary = report.metrics, self.primary.name
        return early_plan(report.cases, specs, primary, report.variants, seed=self.seed)

    @property
    def row(self) -> Comparison | None:
        """Return the comparison that decides the verdict; None where there is none."""
        memory = self.report.memorisation
        rows = memory.deciding if memory and memory.deciding else self.report.comparisons
        if self._has_no_clean:
            return None
        place = (self.primary.name, self.variant, self.base, ALL)
        found = ((r.metric, r.variant, r.baseline, r.group) for r in rows)
        return next((row for row, at in zip(rows, found, strict=True) if at == place), None)

    @cached_property
    def void(self) -> str:
        """Return why no score of this run tells anything; "" where they do."""
        if why := why_no_verdict(self.report.split_texts):
            return why
        kinds = [c.kind for c in self.report.certificates if c.variant == self.variant]
        return next((_MEANING[kind] for kind in kinds if kind in _MEANING), "")

    def void_for(self, spec: MetricSpec) -> str:
        """Return why the scores of a metric tell nothing; "" where they do."""
        faults = self.report.compared.faults if spec.is_relative else []
        return self.void or (f"the judge {faults[0]}" if faults else "")

    def gain(self, spec: MetricSpec, group: str = ALL, shift: float = 0.0) -> Mean:
        """Return the gain of the variant over the base on a metric, in a group."""
        pairs, extent = self._pairs.get((spec.name, group)), spec.largest_gain
        n_failed = len(pairs.broken) if pairs else 0
        against, in_favour = (
            self._sample(pairs, FailureFill(*ends)) if n_failed else None
            for ends in ((spec.worst, spec.best), (spec.best, spec.worst))
        )
        return Mean(
            self._sample(pairs, None) if pairs else Sample((), None, -extent, extent),
            n_failed,
            lowest=against,
            highest=in_favour,
            shift=shift,
            is_anytime=self._early is not None,
            seed=self.seed,
            n_resamples=self.n_resamples,
        )

    def _sample(self, pairs: Pairs | None, fill: FailureFill | None) -> Sample:
        """Return the gains of pairs; those of a run that may stop early in the drawn order."""
        assert pairs is not None
        whole = [*pairs.whole, *(pairs.fill_broken(fill) if fill else [])]
        extent, gains = pairs.spec.largest_gain, pairs.gains_of(whole)
        clusters = clusters_of([case for case, _, _ in whole])
        if self._early:
            by_id = {case.id: gain for (case, _, _), gain in zip(whole, gains, strict=True)}
            order = self._early.cases_for(Question(pairs.spec, pairs.contrast, pairs.group))
            failed = {case.id for case, _, _ in pairs.broken}
            gains = gains_in_order([case.id for case in order], by_id, failed)
            clusters = None if clusters is None else clusters[: len(gains)]
        return Sample(tuple(gains), tuple(clusters) if clusters else None, -extent, extent)


def read_run(folder: Path, variant: str = "") -> GateRun:
    """Read a finished run.

    Args:
        folder: the run's.
        variant: the variant that is to pass; "" for the only or the recommended one.

    Raises:
        OptionError: when there is no run, or none that is finished; when it has no such variant.
        DamagedError: when its journal is damaged.
    """
    with closing(open_run(folder)) as journal:
        require_idle(folder)
        if not journal.has_begun:
            raise OptionError(f"no run has begun in {folder}; give the directory of a finished run")
        report, header = conclude(journal), journal.header
        items, halted = tuple(journal.item_results()), journal.state.halted
        load_rows = journal.load_requests()
    if report.partial:
        why = f" ({halted}; raise that limit)" if halted else ""
        raise OptionError(
            f"the run in {folder} is not finished{why}. Finish it first, nothing is paid for "
            f"twice: {PROGRAM} resume {shell_word(folder)}"
        )
    return choose_variant(GateRun(report, header, "", items=items, load_rows=load_rows), variant)


def choose_variant(run: GateRun, asked: str) -> GateRun:
    """Return the run with the variant that is to pass.

    Raises:
        OptionError: when it has no such variant, or nothing is compared.
    """
    names = [one.name for one in run.report.variants]
    rivals = names[1:]
    if not rivals:
        raise OptionError(
            f"this run has only {names[0]}, so there is nothing to let pass; run the base and a "
            "tuned model together"
        )
    if asked:
        if asked not in rivals:
            is_base = f" ({asked} is the base)" if asked == names[0] else ""
            raise OptionError(
                f"--variant {asked!r}{did_you_mean(asked, rivals)}{is_base}; this run has "
                f"{', '.join(rivals)}"
            )
        return replace(run, variant=asked, why_this="as asked")
    found = contenders(names)
    if len(found) == 1:
        return replace(run, variant=found[0])
    chosen = run.report.verdict.variant or found[0]
    why = f"the one that the verdict recommends, of {_listed(found)}; --variant names another"
    return replace(run, variant=chosen, why_this=why)


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def short_text(text: str, n: int = _N_CHARS) -> str:
    r"""Return the text on one line, white space as single blanks, cut after n characters."""
    words = " ".join(text[:_READ].split())
    shown = spell_breaks(words)
    return shown if len(shown) <= n and len(text) <= _READ else f"{shown[:n]}…"
