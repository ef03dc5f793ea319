"""A journal -> its Report. Everything a host publishes is rebuilt here, without model or judge."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from plugin import __version__
from plugin.certify.certificate import (
    certificate_warnings,
    certificates_of_run,
    lead_with_certificates,
)
from plugin.compare.early_stop import EarlyPlan, early_plan
from plugin.compare.pairs import Evidence
from plugin.compare.verdict import N_RESAMPLES, VerdictSettings, compare, decide_verdict, summarise
from plugin.errors import OptionError
from plugin.journal import Journal
from plugin.plan.params import Params
from plugin.records import Case, Comparison, Completion, MetricSpec, Variant, Verdict
from plugin.report.record import Report
from plugin.report.warnings import judging_notes, metric_notes, run_warnings
from plugin.trust.exam import probe_results
from plugin.trust.humans import (
    ResampledDraw,
    completion_digest,
    human_views,
    kept_draw,
    kept_ratings,
)
from plugin.trust.records import Trust
from plugin.trust.report import (
    family_of,
    label_with_caveats,
    make_trust_report,
    trust_first_lines,
    trust_last_lines,
)


def conclude(journal: Journal, n_resamples: int = N_RESAMPLES) -> Report:
    """Compare what the journal holds; a run that is not finished says that it is partial.

    Args:
        journal: of a run that began.
        n_resamples: of bootstrap and permutation; fewer where there is no time.

    Raises:
        OptionError: when the journal's run never began.
    """
    params = params_of(journal)
    variants = tuple(Variant(**fields) for fields in journal.meta("variants"))
    specs = specs_of(journal, params)
    cases, completions = journal.cases(), journal.completions()
    evidence = Evidence(cases, variants, specs, journal.scores(), journal.failures())
    stopped_early = bool(journal.meta("stopped_early"))
    is_partial = _n_missing(evidence) > 0 and not stopped_early
    began = time.perf_counter()
    judge = journal.meta("judge")
    trusted = _judge_seen(journal, evidence, completions, params)
    settings = VerdictSettings(
        primary_metric=journal.meta("primary_metric"),
        seed=params.seed,
        partial=is_partial,
        n_expected=len(cases),
        judge_label=label_with_caveats(judge, journal.meta("caveat"), trusted),
        n_resamples=n_resamples,
        early=_early(journal, params, cases, specs, variants) if params.stop_early else None,
        n_worked=_n_judged(evidence) if stopped_early else 0,
    )
    summaries = summarise(evidence, settings)
    comparisons = compare(evidence, settings)
    verdict = decide_verdict(evidence, summaries, comparisons, settings)
    notes = (*metric_notes(specs, summaries, comparisons), *judging_notes(journal))
    verdict = replace(verdict, details=(*verdict.details, *notes))
    trusted = _humans_heard(trusted, journal, evidence, comparisons, settings)
    certificates = certificates_of_run(journal, variants, cases, completions)
    compare_s = time.perf_counter() - began
    return Report(
        verdict=lead_with_certificates(_with_trust(verdict, judge, trusted), certificates),
        judge=judge,
        variants=variants,
        metrics=specs,
        cases=cases,
        completions=completions,
        scores=tuple(evidence.scores),
        failures=tuple(evidence.failures),
        summaries=summaries,
        comparisons=comparisons,
        partial=is_partial,
        warnings=(
            *certificate_warnings(certificates),
            *run_warnings(journal, variants, completions),
        ),
        provenance=_provenance(journal, params, compare_s),
        trust=trusted,
        certificates=certificates,
    )


def _judge_seen(
    journal: Journal,
    evidence: Evidence,
    completions: Mapping[tuple[str, str], Completion],
    params: Params,
) -> Trust | None:
    """What is known of the judge; None where it was not examined."""
    found = probe_results(journal)
    if found is None:
        return None
    family = family_of(journal.meta("judge"), params.model_name, journal.meta("model_type") or "")
    return make_trust_report(found, evidence, completions, family)


def _humans_heard(
    trusted: Trust | None,
    journal: Journal,
    evidence: Evidence,
    comparisons: Sequence[Comparison],
    settings: VerdictSettings,
) -> Trust | None:
    """The trust report with what humans say, where they rated."""
    rated = kept_ratings(journal)
    if not rated:
        return trusted
    digests = {
        place: completion_digest(completion) for place, completion in journal.completions().items()
    }
    draw = ResampledDraw(digests, kept_draw(journal), settings.seed, settings.n_resamples)
    return replace(trusted or Trust(), humans=human_views(evidence, comparisons, rated, draw))


def _with_trust(verdict: Verdict, judge: str, trusted: Trust | None) -> Verdict:
    if trusted is None:
        return verdict
    first = trust_first_lines(judge, trusted)
    last = trust_last_lines(trusted, verdict.primary_metric or "")
    return replace(verdict, details=(*first, *verdict.details, *last))


def params_of(journal: Journal) -> Params:
    """What the run was asked for.

    Raises:
        OptionError: when the journal's run never began.
    """
    if journal.meta("identity") is None:
        raise OptionError(f"{journal.path} holds a run that never began; start it with `run`")
    return Params.parse(journal.meta("params"))


def specs_of(journal: Journal, params: Params) -> tuple[MetricSpec, ...]:
    """The run's metrics with the user's margin, the primary one first."""
    specs = [_spec(fields, params.margin) for fields in journal.meta("metrics")]
    return tuple(sorted(specs, key=lambda spec: spec.name != journal.meta("primary_metric")))


def _spec(fields: Mapping[str, Any], margin: float) -> MetricSpec:
    """A metric as the journal keeps it; runs of earlier versions know fewer fields."""
    sets = {name: frozenset(fields.get(name, ())) for name in ("needs", "needs_engine")}
    return MetricSpec(**{**fields, **sets, "margin": margin})


def _early(
    journal: Journal,
    params: Params,
    cases: tuple[Case, ...],
    specs: tuple[MetricSpec, ...],
    variants: tuple[Variant, ...],
) -> EarlyPlan:
    primary = journal.meta("primary_metric")
    return early_plan(cases, specs, primary, variants, margin=params.margin, seed=params.seed)


def _n_judged(evidence: Evidence) -> int:
    """Cases that have any score."""
    return len({score.case_id for score in evidence.scores})


def _n_missing(evidence: Evidence) -> int:
    """Scores that are neither there nor failed."""
    made = {(s.case_id, s.variant, s.metric) for s in evidence.scores}
    failed = {(f.case_id, f.variant, f.metric) for f in evidence.failures}
    return sum(
        (case.id, name, spec.name) not in made
        and (case.id, name, spec.name) not in failed
        and (case.id, name, None) not in failed
        for case in evidence.cases
        for spec in evidence.metrics
        for name in evidence.scored_names(spec)
        if spec.fits(case)
    )


def _provenance(journal: Journal, params: Params, compare_s: float) -> dict[str, Any]:
    return {
        "run_id": journal.meta("run_id"),
        "seed": params.seed,
        "settings": params.settings(),
        "model": params.model_name,
        "dataset": params.dataset_name,
        "identity": journal.meta("identity"),
        "prompts": journal.meta("prompts"),
        **({"other_prompts": others} if (others := journal.meta("other_prompts")) else {}),
        "evaluation_steps": journal.meta("evaluation_steps") or {},
        "n_source_rows": journal.meta("n_source_rows"),
        "seconds": _rounded({**(journal.meta("seconds") or {}), "compare": compare_s}),
        "judge_versions": journal.judge_versions(),
        "judge_calls": journal.meta("judge_calls") or {},
        "generated_tokens": sum(c.n_tokens or 0 for c in journal.completions().values()),
        "versions": journal.meta("versions"),
        "reported_with": __version__,
    }


def _rounded(seconds: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in seconds.items()}
