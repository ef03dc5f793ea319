"""Do a sweep: complete for all checkpoints, judge round by round, confirm, show.

`sweep` has the steps, and the functions below it follow in this order. Everything is written into
the sweep's journal at once, so a sweep that was stopped goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from plugin.capability.choice import Asked
from plugin.capability.run import ProbeStage
from plugin.compare.pairs import Contrast
from plugin.errors import AdapterError, BaseDisturbedError, OptionError
from plugin.generate import make_completions
from plugin.hosts import Host
from plugin.journal import Journal
from plugin.judges import NoJudge
from plugin.judges.panel import Judging
from plugin.keys import SecretMask, hidden_in_errors
from plugin.load.files import folder_problem
from plugin.metrics import Metric
from plugin.plan.command_parser import PROGRAM
from plugin.plan.params import Params
from plugin.plan.plan import Plan
from plugin.plan.resolve import find_sources
from plugin.plan.variants import Load
from plugin.proofs import Refuse
from plugin.records import Case
from plugin.reopen import holds_sweep
from plugin.run import (
    begin_run,
    changes_of,
    judging_of,
    locked_journal,
    warnings_before_judging,
    worker_of,
)
from plugin.run_facts import SweepFacts
from plugin.score import Item, items_to_score, score_all
from plugin.sweep.confirming import Scene, confirm_choice
from plugin.sweep.expense import sweep_forecast
from plugin.sweep.files import write_sweep
from plugin.sweep.find import STEP
from plugin.sweep.funnel import Cut, Scores, SweepPlan
from plugin.sweep.play import play
from plugin.sweep.request import (
    Candidates,
    Choosing,
    SweepOrder,
    first_candidates,
    found_again,
    plan_choosing,
    require_sweepable,
)
from plugin.sweep.result import (
    SweepResult,
    capability_veto,
    cheap_means,
    cheap_order,
    kept_scores,
    plan_of,
    read_sweep,
    scores_of,
)
from plugin.sweep.show import cut_line, result_text
from plugin.terminal import shell_word
from plugin.thinking import unfinished_failures
from plugin.training.views import curves_of_variants
from plugin.training_curves import Curves
from plugin.worker import Stage, Worker


def sweep(order: SweepOrder, host: Host) -> SweepResult:
    """Make everything that the sweep's folder does not have yet, and write the result.

    Raises:
        UserError: when the user made a mistake and can fix it.
        FaultError: when something broke; the journal has what was made.
        KeyboardInterrupt: when the user stopped the sweep; the journal has what was made.
    """
    require_sweepable(order.params, order.words)
    with closing(worker_of(host)) as worker:
        worker.progress.begin(Stage.READ_INPUTS)
        candidates = worker.run(lambda: _find(order))
        params = _with_adapters(order.params, candidates)
        sources = find_sources(params, host)
        sources = replace(sources, adapter_names=tuple(one.name for one in candidates.present))
        with hidden_in_errors(lambda: sources.mask):
            choosing = worker.run(lambda: plan_choosing(params, sources, candidates))
            curves = worker.run(lambda: _curves(choosing.plan, candidates.facts))
            with closing(
                _open_journal(choosing.plan, candidates.facts, host, sources.mask, curves)
            ) as journal:
                return _Sweep(order, choosing, candidates, journal, host, worker).work()


def _find(order: SweepOrder) -> Candidates:
    """Return the checkpoints: those of the sweep in the folder, if it holds one."""
    folder = Path(order.params.out).expanduser()
    if not (order.params.out and holds_sweep(folder)):
        return first_candidates(order)
    with closing(Journal.existing(folder)) as journal:
        facts = journal.header.sweep
    assert facts is not None, "`holds_sweep` has looked"
    return found_again(order, facts)


def _with_adapters(params: Params, candidates: Candidates) -> Params:
    """Return the options with the checkpoints as adapters.

    Raises:
        AdapterError: when none of them is there any more.
    """
    paths = tuple(str(one.adapter.path) for one in candidates.present)
    if not paths:
        raise AdapterError(
            "none of the sweep's checkpoints can be read any more: "
            f"{'; '.join(candidates.gone.values())}. Put them back to go on; to see what there is: "
            f"{PROGRAM} report {shell_word(params.out)}"
        )
    return params.model_copy(update={"model_adapter": paths})


def _curves(plan: Plan, facts: SweepFacts) -> dict[str, Curves]:
    """Return the loss curves under the last checkpoint's name, if all come from one training."""
    found = curves_of_variants(plan.variants, on_server=False)
    trainings = {(one.log, one.train, one.evaluation) for one in found.values()}
    if facts.axis != STEP or len(trainings) != 1:
        return {}
    name, last = list(found.items())[-1]
    return {name: last} if last.axis == STEP else {}


def _open_journal(
    plan: Plan, facts: SweepFacts, host: Host, mask: SecretMask, curves: Mapping[str, Curves]
) -> Journal:
    """Open the journal of the folder for this sweep, and keep other processes out.

    Raises:
        OptionError: when the folder holds a run or another sweep, or another process works in it.
    """
    folder = host.open(plan.run_id)
    journal = locked_journal(plan, folder, mask)
    try:
        if not journal.has_begun:
            begin_run(journal, plan, curves, facts)
            return journal
        if journal.header.sweep is None:
            raise OptionError(
                f"{folder} holds a run, and a sweep needs a folder of its own: choose another --out"
            )
        changes = changes_of(journal.header, plan)
        if changes and not journal.completions():
            begin_run(journal, plan, curves, facts)
        elif changes:
            raise OptionError(
                f"{folder} holds another sweep: {'; '.join(changes)}. Change that back to go on "
                "with that sweep, or choose another --out"
            )
        else:
            n_made, n_scores = len(journal.completions()), len(journal.scores())
            host.log(f"continuing a sweep: {n_made} completions and {n_scores} scores are there")
    except BaseException:
        journal.close()
        raise
    return journal


class _Halted(Exception):
    """Say that a limit of the user ended judging."""


@dataclass
class _Sweep:
    """Work on one sweep in one session."""

    order: SweepOrder
    choosing: Choosing
    candidates: Candidates
    journal: Journal
    host: Host
    worker: Worker

    def work(self) -> SweepResult:
        """Do all steps; whatever ends them, the files show what there is."""
        for text in (*self.candidates.notes, *self.candidates.facts.notes):
            self.host.log(f"note: {text}")
        for text in (*self.plan.loaded.notes, *self.plan.notes):
            self.host.log(text)
        confirmation = None
        try:
            self._complete()
            self._score_cheaply()
            chosen = self._choose()
            if chosen:
                confirmation = confirm_choice(self._scene(chosen), self.journal)
        except BaseException:
            self._show_unfinished()
            raise
        result = self.worker.run(lambda: read_sweep(self.journal, confirmation))
        files = self.worker.run(lambda: write_sweep(result, self.folder))
        self.host.log(result_text(result, files))
        return result

    def _scene(self, chosen: str) -> Scene:
        return Scene(self.order.params, self.candidates, chosen, self.host, self.worker)

    @property
    def plan(self) -> Plan:
        """Return the plan of the part that chooses."""
        return self.choosing.plan

    @property
    def folder(self) -> Path:
        """Return the sweep's folder."""
        return self.journal.path.parent

    def _show_unfinished(self) -> None:
        """Write and show what there is, in the main thread, as the worker may have been stopped."""
        if plan_of(self.journal).checkpoints and self.journal.completions():
            result = read_sweep(self.journal)
            self.host.log(result_text(result, write_sweep(result, self.folder)))

    def _complete(self) -> None:
        """Make all completions, likelihoods and answers on general ability that are missing.

        A checkpoint that cannot be used after all is left out. If it left the base changed, the
        base is loaded again.

        Raises:
            AdapterError: when no checkpoint can be used.
        """
        split = plan_of(self.journal).split
        params, journal = self.plan.params, self.journal
        asked = Asked(params.capability, params.capability_guard)
        while True:
            loads = self._loads()
            variants = tuple(variant for load in loads for variant in load.variants)
            probe = ProbeStage(asked, variants, journal, self.worker.progress)
            before = len(journal.state.sweep_skipped)

            def work(loads: Sequence[Load] = loads, probe: ProbeStage = probe) -> None:
                metrics, progress = self.plan.metrics, self.worker.progress
                refuse: Refuse = self._skip
                make_completions(split.choosing, loads, journal, progress, metrics, [probe], refuse)

            try:
                self.worker.run(work)
            except (BaseDisturbedError, AdapterError):
                self._skip_changed()
                if len(journal.state.sweep_skipped) == before:
                    raise
                continue
            break
        self._skip_gone(split.choosing)
        for failure in unfinished_failures(journal.split_texts()):
            journal.add_failure(failure)
        self._tell_skipped()

    def _loads(self) -> list[Load]:
        """Return what to load: base, prompted base and the checkpoints that can be used."""
        skipped = self.journal.state.sweep_skipped
        return [
            replace(load, variants=tuple(v for v in load.variants if v.name not in skipped))
            for load in self.plan.lineup.loads
        ]

    def _skip(self, name: str, why: str) -> None:
        state = self.journal.state
        self.journal.save_state(replace(state, sweep_skipped={**state.sweep_skipped, name: why}))

    def _skip_changed(self) -> None:
        """Skip those that left the base changed, and those whose files changed or are gone."""
        state = self.journal.state
        for name, fields in state.certificates.items():
            if fields.get("base_proof") == "" and name not in state.sweep_skipped:
                self._skip(name, "it left the base model changed")
        for one in self.candidates.present:
            path = one.adapter.weights_path
            if one.name not in self.journal.state.sweep_skipped and not path.is_file():
                self._skip(one.name, f"{path} was deleted meanwhile ({folder_problem(path)})")

    def _skip_gone(self, cases: Sequence[Case]) -> None:
        """Skip those that were deleted before all their completions were made."""
        journal = self.journal
        have = {*journal.completions(), *((f.case_id, f.variant) for f in journal.failures())}
        for name, why in self.candidates.gone.items():
            if not all((case.id, name) in have for case in cases):
                self._skip(name, why)

    def _tell_skipped(self) -> None:
        skipped = self.journal.state.sweep_skipped
        for name, why in skipped.items():
            self.host.log(f"note: {name} is skipped: {' '.join(why.split())}")
        if not plan_of(self.journal).checkpoints:
            raise AdapterError("none of the checkpoints can be used; the notes above say why")
        plan = replace(self.plan, lineup=replace(self.plan.lineup, loads=tuple(self._loads())))
        for text in warnings_before_judging(plan, self.journal):
            self.host.log(f"warning: {text}")

    def _items(
        self, plan: SweepPlan, metrics: Sequence[Metric], among: Sequence[str]
    ) -> list[Item]:
        """Return all scores of these names on the choosing cases, case by case."""
        journal, names = self.journal, set(among)
        answers = [one for one in journal.answers().values() if one.variant in names]
        whole = [one for one in journal.completions().values() if one.variant in names]
        pairs = [Contrast(name, plan.base) for name in among if name != plan.base]
        return items_to_score(plan.split.choosing, answers, metrics, whole, pairs)

    def _score_cheaply(self) -> None:
        """Score with the metrics that need no judge."""
        plan = plan_of(self.journal)
        metrics = [
            metric
            for metric in self.plan.metrics
            if not metric.spec.asks_judge and metric.spec.name != self.plan.primary
        ]
        items = self._items(plan, metrics, plan.names)
        judging = judging_of(self.plan)
        quiet = replace(judging, judges=(NoJudge(),), second=None)
        self.worker.run(lambda: score_all(items, quiet, self.journal, self.worker.progress))

    def _choose(self) -> str:
        """Judge round by round; return what is recommended, or "" if a limit was reached."""
        plan, journal = plan_of(self.journal), self.journal
        deciding = [one for one in self.plan.metrics if one.spec.name == self.plan.primary]
        items = self._items(plan, deciding, plan.names)
        likely = (*plan.references, plan.checkpoints[-1].name)
        confirming = self._items(plan, self.choosing.judged, likely)
        if text := self.worker.run(
            lambda: sweep_forecast(plan, items, confirming, self.plan, journal)
        ):
            self.host.log(text)
        began_s = time.monotonic()

        def ask(names: Sequence[str], cases: Sequence[Case]) -> Scores:
            if journal.state.sweep_choice:  # what failed is not tried again: the choice is made
                return kept_scores(journal, plan)(names, cases)
            ids, own = {case.id for case in cases}, set(names)
            wanted = [one for one in items if one.case.id in ids and one.place[1] in own]
            judging = self._judging(began_s)
            self.worker.run(lambda: score_all(wanted, judging, journal, self.worker.progress))
            if journal.state.halted:
                raise _Halted
            return scores_of(journal, plan.spec.name)

        def on_cut(cut: Cut) -> None:
            self.host.log(cut_line(cut, plan))
            if not journal.state.sweep_choice:
                result = read_sweep(journal)
                self.worker.run(lambda: write_sweep(result, self.folder))

        cheap, veto = cheap_order(cheap_means(journal, plan)), capability_veto(journal, plan)
        try:
            played = play(plan, ask, cheap=cheap, veto=veto, on_cut=on_cut)
        except _Halted:
            return ""
        journal.save_state(replace(journal.state, sweep_choice=played.choice.name))
        return played.choice.name

    def _judging(self, began_s: float) -> Judging:
        """Return who judges a round: with new connections, and what is left of the time."""
        judging = judging_of(self.plan)
        fresh = find_sources(_with_adapters(self.order.params, self.candidates), self.host)
        limits = judging.limits
        if limits.deadline_s:
            left_s = max(0.001, limits.deadline_s - (time.monotonic() - began_s))
            limits = replace(limits, deadline_s=left_s)
        asks = not all(isinstance(judge, NoJudge) for judge in self.plan.judges)
        return replace(
            judging,
            judges=fresh.judges if asks else judging.judges,
            second=fresh.second_judge,
            limits=limits,
        )
