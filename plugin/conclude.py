"""Make the report of a run from its journal alone, without model or judge."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import NamedTuple

from plugin import __version__
from plugin.capability.report import Capability, find_capability
from plugin.capability.words import with_capability
from plugin.certify.certificate import (
    Certificate,
    certificate_warnings,
    certificates_of_run,
    lead_with_certificates,
)
from plugin.compare.comparisons import (
    N_RESAMPLES,
    VerdictSettings,
    compare,
    n_intervals,
    summarise,
    withhold_outcomes,
)
from plugin.compare.early_stop import early_plan
from plugin.compare.next_step import Standing, next_step
from plugin.compare.pairs import Evidence
from plugin.compare.preference_views import PreferenceSettings
from plugin.compare.relative import n_judged, n_missing, win_scores
from plugin.compare.samples import of_first_samples
from plugin.compare.turns import turn_changes, turn_lines
from plugin.compare.verdict import decide_verdict
from plugin.compare.words_folds import look_at_folds, step_for_recipe
from plugin.journal import Journal
from plugin.latency.report import latency_of
from plugin.latency.words import with_latency
from plugin.load.repeats import count_repeats
from plugin.memorisation.words import weigh_training
from plugin.plan.params import Params
from plugin.plan.params_scoring import ALL_PAIRS
from plugin.records import ALL, Case, Completion
from plugin.reopen import parse_params
from plugin.report.collapse import Collapse, collapse_warnings, find_collapse, is_collapsed
from plugin.report.preferences import Compared, look_at_preferences
from plugin.report.record import Report
from plugin.report.sampling import find_sampling
from plugin.report.task_results import task_notes, task_results
from plugin.report.warnings import judging_notes, metric_notes, run_warnings
from plugin.report.yardsticks import rival_cost_lines
from plugin.results import Comparison, Summary, TaskResults, Verdict
from plugin.run_facts import RunHeader, RunState
from plugin.thinking import SplitText, answers_in, why_no_verdict
from plugin.training.views import view_trainings
from plugin.trust.human_choices import human_choices
from plugin.trust.humans import (
    ResampledDraw,
    completion_digest,
    human_views,
)
from plugin.trust.readings import given_by_judge, other_readings
from plugin.trust.records import Trust
from plugin.trust.report import (
    family_of,
    judge_faults,
    label_with_caveats,
    make_trust_report,
    trust_first_lines,
    trust_last_lines,
)
from plugin.trust.wordings import check_wordings
from plugin.trust.words_choices import choice_faults
from plugin.worker import Progress, Stage


def conclude(
    journal: Journal, n_resamples: int = N_RESAMPLES, progress: Progress | None = None
) -> Report:
    """Return the report of what the journal has; that of an unfinished run says it is partial.

    Args:
        journal: of a run that has begun.
        n_resamples: how often bootstrap and permutation resample; fewer where time is short.
        progress: shows how far it has come; None for nothing to show.

    Raises:
        Stopped: when the main thread asked to stop.
        OptionError: when the run has not begun.
    """
    began = time.perf_counter()
    read = _read(journal)
    header, params, evidence = read.header, read.params, read.evidence
    trust = _trust_in_judge(read, journal)
    how = PreferenceSettings(params.seed, n_resamples, params.style_control, params.stop_early)
    compared = look_at_preferences(evidence, read.answers, read.completions, header.judge, how)
    draw = _rating_draw(read, journal.state, n_resamples)
    choices, accepted = human_choices(evidence, journal.state, draw, header.primary_metric)
    faults = [*compared.faults, *choice_faults(choices)]
    settings = replace(
        _verdict_settings(read, journal.state),
        judge_label=label_with_caveats(header.judge, header.caveat, trust, faults),
        n_resamples=n_resamples,
        beside=compared.beside,
        is_withheld=bool(read.why_none),
    )
    summaries, comparisons, verdict = _decide(
        read, settings, compared.withhold, progress or Progress()
    )
    memory, decisive = None, comparisons
    if facts := journal.state.training:
        memory, verdict, decisive = weigh_training(
            verdict, comparisons, evidence, facts, settings, compared.withhold
        )
    told, samples = (params.task_settings, params.seed, n_resamples), journal.sample_scores()
    task = task_results(evidence, read.answers, *told, samples)
    dirty = memory.not_deciding if memory else ()
    folds = look_at_folds(header.pooled, evidence, verdict.primary_metric, dirty, settings)
    notes = _notes(journal, read, task, summaries, comparisons, verdict.variant)
    turns = turn_changes(evidence, params.seed, n_resamples)
    notes = (*turn_lines(turns, header.metrics), *notes)
    verdict = compared.add_lines(replace(verdict, details=(*verdict.details, *notes)))
    drawn = params.sampling, params.judge_repeats
    sampling = find_sampling(journal, evidence, comparisons, *drawn)
    first = [line for view in (sampling, folds, memory) if view for line in view.lines]
    verdict = replace(verdict, details=(*first, *verdict.details))
    trust = _add_readings(trust, journal, read, comparisons, verdict, settings)
    trust = _add_human_views(trust, journal.state, read, comparisons, draw)
    trust = trust if choices is None else replace(trust or Trust(), choices=choices)
    verdict = _with_repeats(_add_trust_lines(verdict, header.judge, trust), evidence.cases)
    certificates = certificates_of_run(journal, header.variants, evidence.cases, read.completions)
    capability = _capability_of(journal, evidence.names)
    latency = latency_of(journal, evidence.names, evidence.cases, params.seed)
    collapse = find_collapse(evidence.cases, header.variants, read.answers)
    verdict = with_latency(with_capability(verdict, capability), latency)
    verdict = lead_with_certificates(verdict, certificates)
    found = _Facts(certificates, trust, compared, collapse)
    standing = _standing(verdict, decisive, read, journal.state, found)
    standing = replace(standing, is_partial=settings.partial)
    return Report(
        verdict=replace(verdict, next_step=step_for_recipe(next_step(standing), folds)),
        judge=header.judge,
        variants=header.variants,
        metrics=header.metrics,
        cases=tuple(evidence.cases),
        completions=read.completions,
        scores=tuple(evidence.scores),
        failures=tuple(evidence.failures),
        summaries=summaries,
        comparisons=comparisons,
        partial=settings.partial,
        warnings=_warnings(journal, read, certificates, collapse),
        provenance=_provenance(journal, read, time.perf_counter() - began),
        trust=trust,
        preferences=tuple(evidence.preferences),
        compared=compared,
        task=task,
        split_texts=read.split_texts,
        certificates=certificates,
        collapse=collapse,
        capability=capability,
        latency=latency,
        choices=accepted.of_variants,
        memorisation=memory,
        folds=folds,
        trainings=view_trainings(journal.state.curves, verdict.harms, capability),
        turns=turns,
        sampling=sampling,
    )


def _notes(
    journal: Journal,
    read: _Read,
    task: TaskResults,
    summaries: Sequence[Summary],
    comparisons: Sequence[Comparison],
    about: str,
) -> tuple[str, ...]:
    """Return what stands in the details after the comparisons."""
    return (
        *task_notes(task),
        *metric_notes(read.header.metrics, summaries, comparisons),
        *rival_cost_lines(read.header.variants, read.completions, about),
        *judging_notes(journal),
        *(f"{text[0].upper()}{text[1:]}" for text in read.header.metric_choice),
    )


def _warnings(
    journal: Journal,
    read: _Read,
    certificates: Sequence[Certificate],
    collapse: Sequence[Collapse],
) -> tuple[str, ...]:
    return (
        *certificate_warnings(certificates, journal.state.n_before_resuming),
        *run_warnings(journal, read.header.variants, read.completions),
        *collapse_warnings(collapse),
    )


def _capability_of(journal: Journal, names: Sequence[str]) -> Capability | None:
    """Return what became of general ability; None where it was not tested."""
    results, readings, state = journal.item_results(), journal.text_readings(), journal.state
    marked = {one.id for one in state.training.items} if state.training else set[str]()
    return find_capability(results, readings, names, state.capability, state.text_note, marked)


class _Read(NamedTuple):
    """Hold what is read from the journal once, because it grows with the cases."""

    header: RunHeader
    params: Params
    evidence: Evidence
    completions: Mapping[tuple[str, str], Completion]
    answers: Mapping[tuple[str, str], Completion]
    split_texts: Mapping[tuple[str, str], SplitText]

    @property
    def why_none(self) -> str:
        """Return why the completions allow no verdict; "" if they do."""
        return why_no_verdict(self.split_texts) if len(self.header.variants) > 1 else ""


def _read(journal: Journal) -> _Read:
    header, preferences = journal.header, journal.preferences()
    scores = (*journal.scores(), *win_scores(preferences, header.variants[0].name))
    evidence = Evidence(
        journal.cases(), header.variants, header.metrics, scores, journal.failures(), preferences
    )
    completions, split_texts = journal.completions(), journal.split_texts()
    answers = journal.answers() if journal.has_samples() else answers_in(completions, split_texts)
    return _Read(
        header=header,
        params=parse_params(journal),
        evidence=evidence,
        completions=completions,
        answers=answers,
        split_texts=split_texts,
    )


def _decide(
    read: _Read,
    settings: VerdictSettings,
    withhold: Callable[[tuple[Comparison, ...]], tuple[Comparison, ...]],
    progress: Progress,
) -> tuple[tuple[Summary, ...], tuple[Comparison, ...], Verdict]:
    """Return means, comparisons and verdict; outcomes that mean nothing are withheld.

    Args:
        read: what the journal has.
        settings: how to judge it.
        withhold: takes back the outcomes that a faulty judge of preferences gave.
        progress: counts the intervals.
    """
    tick = _ticker(progress, n_intervals(read.evidence))
    summaries = summarise(read.evidence, settings, tick)
    comparisons = withhold(compare(read.evidence, settings, tick))
    why_none = read.why_none
    if why_none:
        comparisons = withhold_outcomes(comparisons)
    verdict = decide_verdict(read.evidence, summaries, comparisons, settings)
    if why_none:
        verdict = replace(verdict, sentence=f"{why_none[0].upper()}{why_none[1:]}.")
    return summaries, comparisons, verdict


def _ticker(progress: Progress, total: int) -> Callable[[], None]:
    """Begin the stage, and return what tells that one more interval is made."""
    progress.begin(Stage.COMPARE, total=total)

    def tick() -> None:
        progress.done += 1
        progress.check()

    return tick


def _verdict_settings(read: _Read, state: RunState) -> VerdictSettings:
    """Return how to judge the evidence, but for the judge's label."""
    params, evidence = read.params, read.evidence
    primary, early = read.header.primary_metric, None
    if params.stop_early:
        variants = evidence.variants
        early = early_plan(evidence.cases, evidence.metrics, primary, variants, seed=params.seed)
    missing = n_missing(evidence, all_pairs=params.pairs == ALL_PAIRS)
    return VerdictSettings(
        primary_metric=primary,
        seed=params.seed,
        partial=missing > 0 and not state.stopped_early,
        n_expected=len(evidence.cases),
        early=early,
        n_worked=n_judged(evidence) if state.stopped_early else 0,
    )


def _trust_in_judge(read: _Read, journal: Journal) -> Trust | None:
    """Return what is known about the judge; None if it was not examined."""
    state = journal.state
    if state.exam is None:
        return None
    header = read.header
    model = str(header.params.get("model_name", ""))
    family = family_of(header.judge, model, header.model_type)
    own = bool(read.params.preference_criteria)
    asked = of_first_samples(read.evidence, journal.sample_scores())  # the exam repeats these
    return make_trust_report(state.exam, asked, read.answers, family, own_preference=own)


def _add_readings(
    trust: Trust | None,
    journal: Journal,
    read: _Read,
    comparisons: Sequence[Comparison],
    verdict: Verdict,
    settings: VerdictSettings,
) -> Trust | None:
    """Add to the trust report what other wordings change, and other readings of the result."""
    if trust is None:
        return None
    state, evidence = journal.state, read.evidence
    wordings = check_wordings(state.exam or (), state.rewordings, evidence, settings)
    trust = replace(trust, wordings=wordings)
    place = (verdict.primary_metric, verdict.variant, evidence.names[0], ALL)
    row = next(
        (r for r in comparisons if (r.metric, r.variant, r.baseline, r.group) == place), None
    )
    if row is None or row.outcome is None or settings.early:  # then no fixed interval is valid
        return trust
    second = state.second_judge.judge if state.second_judge else ""
    spec = next(spec for spec in evidence.metrics if spec.name == row.metric)
    by_judge = given_by_judge(
        spec, row.baseline, journal.judge_scores(), journal.all_preferences(), second
    )
    found = other_readings(evidence, row, wordings, by_judge, read.completions, settings)
    return replace(trust, readings=found)


def _rating_draw(read: _Read, state: RunState, n_resamples: int) -> ResampledDraw:
    """Return what the analysis of people's ratings needs; without digests where there are none."""
    digests = {}
    if state.ratings or state.human_choices or state.reason_checks:
        digests = {place: completion_digest(answer) for place, answer in read.answers.items()}
    drawn = frozenset(state.drawn_for_rating)
    return ResampledDraw(digests, drawn, read.params.seed, n_resamples)


def _add_human_views(
    trust: Trust | None,
    state: RunState,
    read: _Read,
    comparisons: Sequence[Comparison],
    draw: ResampledDraw,
) -> Trust | None:
    """Add to the trust report what humans say, if there are ratings."""
    if not state.ratings:
        return trust
    views = human_views(read.evidence, comparisons, state.ratings, draw)
    return replace(trust or Trust(), humans=views)


class _Facts(NamedTuple):
    """What else the run found, for the next step."""

    certificates: Sequence[Certificate]
    trust: Trust | None
    compared: Compared
    collapse: Sequence[Collapse]


def _standing(
    verdict: Verdict,
    comparisons: Sequence[Comparison],
    read: _Read,
    state: RunState,
    facts: _Facts,
) -> Standing:
    """Return what the next step depends on, but for whether the run is partial."""
    header, name, trust = read.header, verdict.variant, facts.trust or Trust()
    primary = next(s for s in header.metrics if s.name == verdict.primary_metric)
    kinds = (one.kind for one in facts.certificates if one.variant == name)
    faults = [*judge_faults(trust), *facts.compared.faults]
    told = [one.holds for one in trust.readings if one.holds is not None]
    return Standing(
        verdict=verdict,
        comparisons=comparisons,
        names=read.evidence.names,
        halted=state.halted,
        is_unfinished_thinking=bool(read.why_none),
        certificate=next(kinds, "none"),
        is_smoke_test=primary.asks_judge and bool(header.caveat),
        is_distrusted=primary.asks_judge and bool(faults),
        judges_itself=primary.asks_judge and bool(header.self_judging),
        collapsed=is_collapsed(facts.collapse, name),
        n_readings=len(told),
        n_upset=told.count(False),
        is_unconfirmed=any(
            row.ci_low is not None and row.ci_low <= 0
            for view in trust.humans
            if view.metric == primary.name
            for row in view.corrections
            if row.variant == name
        ),
    )


def _add_trust_lines(verdict: Verdict, judge: str, trust: Trust | None) -> Verdict:
    if trust is None:
        return verdict
    first = trust_first_lines(judge, trust)
    last = trust_last_lines(trust, verdict.primary_metric or "")
    return replace(verdict, details=(*first, *verdict.details, *last))


def _with_repeats(verdict: Verdict, cases: Sequence[Case]) -> Verdict:
    """Put the number of repeated cases first in the verdict's details."""
    text = count_repeats(cases).text
    return replace(verdict, details=(text, *verdict.details)) if text else verdict


def _provenance(journal: Journal, read: _Read, compare_s: float) -> dict[str, object]:
    state, header, params = journal.state, read.header, read.params
    seconds = {**state.seconds, "compare": compare_s}
    return {
        "run_id": header.run_id,
        "seed": params.seed,
        "settings": params.settings(),
        "model": params.model_name,
        "dataset": params.dataset_name,
        "note": params.note,
        "identity": header.identity,
        "digests": header.digests,
        "prompts": asdict(state.prompts) if state.prompts else None,
        "other_prompts": {name: asdict(facts) for name, facts in state.other_prompts.items()},
        "decoding": state.decoding,
        "evaluation_steps": state.evaluation_steps,
        "n_source_rows": header.n_source_rows,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "judge_versions": journal.judge_versions(),
        "judge_calls": asdict(state.judge_calls),
        "generated_tokens": sum(c.n_tokens or 0 for own in journal.samples().values() for c in own),
        "versions": header.versions,
        "reported_with": __version__,
    }
