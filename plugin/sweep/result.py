"""What a sweep has found, finished or not, from its journal alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from plugin.capability.report import find_capability
from plugin.capability.words import listed
from plugin.certify.certificate import certificate_line, certificates_of_run
from plugin.compare.relative import win_scores
from plugin.journal import Journal
from plugin.records import DATA, PROMPTED, Case, MetricSpec, Score
from plugin.report.record import Report
from plugin.run_facts import JudgeCalls, SweepFacts
from plugin.sweep.choice import Veto, choose
from plugin.sweep.confirm import Confirmation
from plugin.sweep.find import Skipped
from plugin.sweep.funnel import Checkpoint, Cut, Scores, SweepPlan
from plugin.sweep.picture import Curve
from plugin.sweep.play import Ask, Played, play
from plugin.sweep.split import split_cases


class NotJudged(Exception):
    """Say that a round is not judged completely yet; `play_so_far` catches it."""


@dataclass(frozen=True, slots=True)
class CheapMeans:
    """The means of a metric without a judge, on the choosing cases.

    Attributes:
        spec: the metric.
        means: name -> mean; without those that have no score.
    """

    spec: MetricSpec
    means: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep has found so far.

    Attributes:
        facts: the checkpoints.
        played: rounds and choice; of an unfinished sweep what follows from the scores so far.
        is_chosen: whether all rounds are done.
        cheap: the metrics without a judge.
        skipped: checkpoints that take no part.
        warnings: what is wrong with adapters, a sentence each.
        judge: as shown.
        caveat: what must be said with every result; "" for nothing.
        halted: which limit ended judging; "" for none.
        calls: what judging took, the confirmation included.
        n_judged: answers that were scored on the deciding metric, the confirmation included.
        folder: the sweep's.
        curves: of the training, on the axis of the sweep.
        confirmation: the report of the confirming run; None where there is none, or not yet.
    """

    facts: SweepFacts
    played: Played
    is_chosen: bool
    cheap: tuple[CheapMeans, ...]
    skipped: tuple[Skipped, ...]
    warnings: tuple[str, ...]
    judge: str
    caveat: str
    halted: str
    calls: JudgeCalls
    n_judged: int
    folder: Path
    curves: tuple[Curve, ...] = ()
    confirmation: Report | None = None

    @property
    def is_confirmed(self) -> bool:
        """Return whether the confirming run is there, and finished."""
        return self.confirmation is not None and not self.confirmation.partial

    @property
    def confirmed(self) -> Confirmation | None:
        """Return the confirmation as the words and the picture of the sweep take it."""
        found = self.confirmation
        if found is None or not self.is_confirmed:
            return None
        return Confirmation(found.summaries, found.comparisons, found.verdict)


def plan_of(journal: Journal) -> SweepPlan:
    """Return what takes part in a sweep: the checkpoints and the cases that can be used.

    A case that the deciding metric does not fit neither chooses nor confirms, so it is left out.
    """
    header, skipped = journal.header, journal.state.sweep_skipped
    facts, spec = facts_of(journal), header.metrics[0]
    names = [variant.name for variant in header.variants]
    cases = journal.cases()
    fitting = [case for case in cases if spec.fits(case)]
    return SweepPlan(
        checkpoints=tuple(
            Checkpoint(one.name, one.value) for one in facts.checkpoints if one.name not in skipped
        ),
        spec=spec,
        split=split_cases(fitting, seed_of(journal)),
        base=names[0],
        prompted=PROMPTED if PROMPTED in names else "",
        axis=facts.axis,
        seed=seed_of(journal),
        n_unfit=len(cases) - len(fitting),
    )


def facts_of(journal: Journal) -> SweepFacts:
    """Return the checkpoints of the sweep that the journal holds."""
    facts = journal.header.sweep
    assert facts is not None, "the callers have checked that it holds a sweep"
    return facts


def seed_of(journal: Journal) -> int:
    """Return the seed of all draws."""
    return int(str(journal.header.params.get("seed", 0)))


def scores_of(journal: Journal, metric: str) -> dict[str, dict[str, float]]:
    """Return name -> case id -> score on a metric; a preference counts as what it wins."""
    base = journal.header.variants[0].name
    found = dict[str, dict[str, float]]()
    rows: Sequence[Score] = (*journal.scores(), *win_scores(journal.preferences(), base))
    for one in rows:
        if one.metric == metric:
            found.setdefault(one.variant, {})[one.case_id] = one.value
    return found


def kept_scores(journal: Journal, plan: SweepPlan) -> Ask:
    """Return what gives the scores that the journal has.

    Before the choice is made, it raises NotJudged where a score was neither made nor failed.
    """
    spec, scores = plan.spec, scores_of(journal, plan.spec.name)
    failed = {
        (one.case_id, one.variant) for one in journal.failures() if one.metric in (None, spec.name)
    }
    is_chosen = bool(journal.state.sweep_choice)

    def is_done(case: Case, name: str) -> bool:
        is_given = spec.is_relative and name == plan.base
        places = {(case.id, name), (case.id, plan.base)} if spec.is_relative else {(case.id, name)}
        return is_given or case.id in scores.get(name, {}) or bool(places & failed)

    def ask(asked: Sequence[str], cases: Sequence[Case]) -> Scores:
        scored = [case for case in cases if spec.fits(case)]
        if not is_chosen and not all(is_done(case, name) for name in asked for case in scored):
            raise NotJudged
        return scores

    return ask


def play_so_far(
    plan: SweepPlan,
    ask: Ask,
    scores: Scores,
    cheap: Mapping[str, float],
    veto: Veto,
) -> tuple[Played, bool]:
    """Play the rounds as far as they are judged; also return whether all of them are.

    Args:
        plan: of the sweep.
        ask: raises NotJudged at the first round that is not judged completely.
        scores: all that there are; they place an unfinished sweep.
        cheap: see `play`.
        veto: see `play`.
    """
    cuts = list[Cut]()
    try:
        return play(plan, ask, cheap=cheap, veto=veto, on_cut=cuts.append), True
    except NotJudged:
        alive = cuts[-1].kept if cuts else tuple(one.name for one in plan.checkpoints)
        choice = choose(plan, scores, alive)
        return Played(plan, tuple(cuts), choice, scores), False


def cheap_means(journal: Journal, plan: SweepPlan) -> tuple[CheapMeans, ...]:
    """Return the means of the metrics without a judge, on the choosing cases."""
    ids = {case.id for case in plan.split.choosing}
    found = []
    for spec in journal.header.metrics:
        if spec.asks_judge or spec.judges_data or spec.is_relative:
            continue
        means = {
            name: math.fsum(own.values()) / len(own)
            for name, rows in scores_of(journal, spec.name).items()
            if name != DATA and (own := {key: rows[key] for key in rows if key in ids})
        }
        if means:
            found.append(CheapMeans(spec, means))
    return tuple(found)


def whole_means(
    journal: Journal, plan: SweepPlan, found: Sequence[CheapMeans]
) -> tuple[CheapMeans, ...]:
    """Return the means without those that lack scores still to be made: few may mislead."""
    failed = {(one.case_id, one.variant, one.metric) for one in journal.failures()}
    kept = []
    for each in found:
        metric, scores = each.spec.name, scores_of(journal, each.spec.name)
        due = [case.id for case in plan.split.choosing if each.spec.fits(case)]
        means = {
            name: mean
            for name, mean in each.means.items()
            if all(
                key in scores[name] or failed & {(key, name, metric), (key, name, None)}
                for key in due
            )
        }
        if means:
            kept.append(CheapMeans(each.spec, means))
    return tuple(kept)


def cheap_order(found: Sequence[CheapMeans]) -> dict[str, float]:
    """Return the means of the first metric without a judge, turned so that more is better."""
    if not found:
        return {}
    sign = 1.0 if found[0].spec.higher_is_better else -1.0
    return {name: sign * mean for name, mean in found[0].means.items()}


def capability_veto(journal: Journal, plan: SweepPlan) -> Veto:
    """Return what says which general ability a checkpoint lost, if that counts as harm."""
    state = journal.state
    results, readings = journal.item_results(), journal.text_readings()
    found = find_capability(results, readings, plan.names, state.capability, state.text_note)

    def veto(name: str) -> str:
        if found is None or not found.is_guard:
            return ""
        lost = [one.ability for one in found.lost(name)]
        return f"general ability ({listed(lost)})" if lost else ""

    return veto


def read_sweep(journal: Journal, confirmation: Report | None = None) -> SweepResult:
    """Return what the sweep has found so far, from the journal alone.

    Args:
        journal: of a sweep that has begun.
        confirmation: the report of the confirming run, if there is one.
    """
    header, state, plan = journal.header, journal.state, plan_of(journal)
    cheap, metric = cheap_means(journal, plan), plan.spec.name
    scores = scores_of(journal, metric)
    ask = kept_scores(journal, plan)
    veto = capability_veto(journal, plan)
    played, is_chosen = play_so_far(plan, ask, scores, cheap_order(cheap), veto)
    variants = [one for one in header.variants if one.name in plan.names]
    certificates = certificates_of_run(journal, variants, journal.cases(), journal.completions())
    names = {one.name: one.path for one in facts_of(journal).checkpoints}
    later = [Skipped(names[name], why) for name, why in state.sweep_skipped.items()]
    n_judged = sum(len(own) for name, own in scores.items() if name in plan.names)
    if confirmation:
        n_judged += sum(one.metric == metric for one in confirmation.scores)
    return SweepResult(
        facts=facts_of(journal),
        played=played,
        is_chosen=is_chosen,
        cheap=cheap if is_chosen else whole_means(journal, plan, cheap),
        skipped=(*(Skipped(*one) for one in facts_of(journal).skipped), *later),
        warnings=tuple(certificate_line(one) for one in certificates if not one.holds),
        judge=header.judge if plan.spec.asks_judge else "",
        caveat=header.caveat,
        halted=state.halted,
        calls=state.judge_calls,
        n_judged=n_judged,
        folder=journal.path.parent,
        curves=_curves(journal),
        confirmation=confirmation,
    )


def _curves(journal: Journal) -> tuple[Curve, ...]:
    """Return the loss curves of the training; none where no log was found."""
    found = next(iter(journal.state.curves.values()), None)
    if found is None:
        return ()
    series = {"training loss": found.train, "evaluation loss": found.evaluation}
    return tuple(Curve(name, one.steps, one.values) for name, one in series.items() if len(one))
