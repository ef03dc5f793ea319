"""Do a run: read, complete, score, compare, publish.

`run` has the steps, and the functions below it follow in this order. Then comes `rebuild_report`,
which begins from a journal.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from plugin.cache import Cache
from plugin.capability.choice import Asked
from plugin.capability.harness_stage import HarnessStage
from plugin.capability.run import ProbeStage
from plugin.certify.certificate import certificate_line, certificates_of_run
from plugin.compare.early_stop import early_plan
from plugin.compare.pairs import contenders, few_clusters_note
from plugin.compare.relative import judged_contrasts
from plugin.compare.running_gain import RunningGain
from plugin.errors import FaultError, OptionError
from plugin.forecast import forecast_rephrasing, forecast_text
from plugin.generate import EngineStage, make_completions
from plugin.hosts import Host
from plugin.journal import Journal
from plugin.judges import marks_its_own_work
from plugin.judges.panel import Judging
from plugin.judges.spending import SpendLimits
from plugin.keys import SecretMask, hidden_in_errors
from plugin.load_step import measure_load
from plugin.memorisation.run import Training, TrainingRequest, look_at_training
from plugin.plan.command_parser import PROGRAM
from plugin.plan.params import Params
from plugin.plan.params_scoring import ALL_PAIRS, STRIP
from plugin.plan.plan import Plan, make_plan
from plugin.plan.resolve import find_sources
from plugin.records import Case, working_order
from plugin.reopen import can_write, open_run, require_whole, require_writable
from plugin.run_facts import RunHeader, RunState, SweepFacts
from plugin.score import items_to_score, missing_items, score_all
from plugin.terminal import shell_word
from plugin.thinking import unfinished_failures, why_no_verdict
from plugin.training.views import curves_of_variants
from plugin.training_curves import Curves
from plugin.trust.exam import Exam, can_examine
from plugin.trust.rating_files import accept_ratings, read_rating_files
from plugin.worker import Progress, Stage, Worker

if TYPE_CHECKING:
    from plugin.report.record import Report

Steps = Mapping[str, tuple[str, ...]]
"""Metric -> the steps that its judge follows."""


def run(params: Params, host: Host) -> Report:
    """Make everything that the journal of the run folder does not have yet, and publish the result.

    Raises:
        UserError: when the user made a mistake and can fix it.
        FaultError: when something broke; the journal has what was made.
        KeyboardInterrupt: when the user stopped the run; the journal has what was made.
    """
    began = time.perf_counter()
    sources = find_sources(params, host)
    with hidden_in_errors(lambda: sources.mask), closing(worker_of(host)) as worker:
        worker.progress.begin(Stage.READ_INPUTS)
        plan = worker.run(lambda: make_plan(params, sources))
        curves = worker.run(lambda: curves_of_variants(plan.variants, bool(params.server_url)))
        with closing(_open_journal(plan, host, sources.mask, curves)) as journal:
            for text in (*plan.loaded.notes, *plan.notes):
                host.log(text)
            journal.add_seconds("prepare", time.perf_counter() - began)
            return _do_plan(plan, journal, host, worker)


def run_plan(plan: Plan, host: Host, mask: SecretMask, worker: Worker, steps: Steps) -> Report:
    """Do a run of which everything is checked, as `run` does; for a sweep's confirmation.

    Args:
        plan: of the run.
        host: opens the folder, and gets the results.
        mask: hides the run's secrets.
        worker: does the work.
        steps: evaluation steps that are written already, by metric.
    """
    curves = worker.run(lambda: curves_of_variants(plan.variants, on_server=False))
    with closing(_open_journal(plan, host, mask, curves)) as journal:
        state = journal.state
        kept = {**steps, **state.evaluation_steps}
        journal.save_state(replace(state, evaluation_steps=kept))
        return _do_plan(plan, journal, host, worker)


def _do_plan(plan: Plan, journal: Journal, host: Host, worker: Worker) -> Report:
    if text := few_clusters_note(plan.loaded.cases):
        host.log(f"note: {text}")
    training, used_s = _look_at_training(plan, journal, host, worker)
    for text in worker.run(partial(_complete_all, plan, journal, worker.progress, training)):
        host.log(f"note: {text}")
    if (chosen := journal.state.capability) and chosen.note:
        host.log(chosen.note)
    measure_load(plan, journal, host, worker)
    for text in warnings_before_judging(plan, journal):  # before a judge is paid
        host.log(f"warning: {text}")
    _score_all(plan, journal, host, worker, used_s)
    return _publish(journal, journal.path.parent, host, worker)


def _open_journal(
    plan: Plan, host: Host, mask: SecretMask, curves: Mapping[str, Curves]
) -> Journal:
    """Open the journal of the run folder for this run, and keep other processes out.

    Raises:
        OptionError: when the folder holds another run, or another process is working in it.
    """
    folder = host.open(plan.run_id)
    journal = locked_journal(plan, folder, mask)
    try:
        if journal.has_begun and journal.header.sweep:
            raise OptionError(
                f"{folder} holds a sweep of checkpoints, and a run needs a folder of its own: "
                f"choose another --out, or go on with the sweep: {PROGRAM} resume "
                f"{shell_word(folder)}"
            )
        changes = changes_of(journal.header, plan) if journal.has_begun else []
        if not journal.has_begun or (changes and not journal.completions()):
            begin_run(journal, plan, curves)
        elif changes:
            raise OptionError(
                f"{folder} holds another run: {'; '.join(changes)}. Change that back to go on with "
                "that run, or choose another --out"
            )
        else:
            n_scores = len(journal.scores()) + len(journal.preferences())
            n_made = len(journal.completions()), n_scores
            host.log(f"continuing a run: {n_made[0]} completions and {n_made[1]} scores are there")
    except BaseException:
        journal.close()
        raise
    return journal


def locked_journal(plan: Plan, folder: Path, mask: SecretMask) -> Journal:
    """Open the journal of a run's folder, and its cache; keep other processes out of the folder.

    Raises:
        OptionError: when the folder cannot be written to, or another process is working in it.
        DamagedError: when the journal is damaged.
    """
    require_writable(folder)
    cache_dir = plan.params.cache_dir
    cache = Cache(Path(cache_dir) / "cache.sqlite") if cache_dir else None
    journal = Journal(folder, cache, mask)
    try:
        journal.lock()
        require_whole(journal)
    except BaseException:
        journal.close()
        raise
    return journal


def begin_run(
    journal: Journal,
    plan: Plan,
    curves: Mapping[str, Curves] | None = None,
    sweep: SweepFacts | None = None,
) -> None:
    """Write into the journal what the run is, or the sweep: all of it, or nothing."""
    judges = (*plan.judges, *([plan.second_judge] if plan.second_judge else []))
    models = _model_names(plan.params)
    header = RunHeader(
        run_id=plan.run_id,
        identity=plan.identity,
        digests=plan.digests,
        params=plan.params.model_dump(mode="json"),
        variants=plan.variants,
        metrics=plan.specs,
        primary_metric=plan.primary,
        judge=plan.judge_label,
        caveat=plan.caveat,
        self_judging=tuple(
            judge.label
            for judge in judges
            if any(marks_its_own_work(judge, name) for name in models)
        ),
        notes=(*plan.loaded.notes, *plan.lineup.notes),
        metric_choice=plan.notes,
        model_type=plan.lineup.model_type,
        strips_thoughts=plan.params.thinking == STRIP,
        n_source_rows=plan.loaded.n_source_rows,
        versions=plan.versions,
        sweep=sweep,
    )
    certificates = {each.variant: asdict(each) for each in plan.lineup.certificates}
    with journal.transaction():
        journal.begin(header, plan.loaded.cases, plan.loaded.failures)
        journal.save_state(RunState(certificates=certificates, curves=curves or {}))


def _model_names(params: Params) -> tuple[str, ...]:
    """Return the names of the models under test."""
    return params.model_name, *params.tuned_model


def changes_of(header: RunHeader, plan: Plan) -> list[str]:
    """Return a phrase for each difference between the run in the folder and the planned one."""
    was, now = header.identity, _as_stored(plan.identity)
    settings = [key for key in {**was, **now} if was.get(key) != now.get(key)]
    old, new = header.digests, _as_stored(plan.digests)
    contents = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    return [
        *(f"{key} was {was.get(key)!r} and is now {now.get(key)!r}" for key in settings),
        *(f"the {key} changed" for key in contents),
    ]


def _as_stored(facts: dict[str, object]) -> dict[str, object]:
    """Return the facts as they come back from the journal."""
    kept: dict[str, object] = json.loads(json.dumps(facts))
    return kept


def _look_at_training(
    plan: Plan, journal: Journal, host: Host, worker: Worker
) -> tuple[Training | None, float]:
    """Compare the training data with the cases, and rephrase its questions if a judge is to.

    Returns:
        What is left to do with the training data, and the seconds that the judge took.
    """
    cases, progress = working_order(plan.loaded.cases, plan.params.seed), worker.progress
    request = training_request(plan)
    training = worker.run(lambda: look_at_training(request, cases, journal, progress, plan.tasks))
    if training is None or plan.rephraser is None:
        return training, 0.0
    if not (asked := training.to_rephrase(plan.variants)):
        return training, 0.0
    judging = replace(judging_of(plan), judges=(plan.rephraser,))
    if text := worker.run(lambda: forecast_rephrasing(asked, judging, journal)):
        host.log(text)
    began = time.perf_counter()
    worker.run(lambda: training.rephrase(asked, judging, progress))
    return training, time.perf_counter() - began


def _complete_all(
    plan: Plan, journal: Journal, progress: Progress, training: Training | None
) -> tuple[str, ...]:
    """Make the missing completions; return what must be said of the ratings that were given."""
    cases = working_order(plan.loaded.cases, plan.params.seed)
    rated = read_rating_files(plan.params.human_ratings)
    asked = Asked(plan.params.capability, plan.params.capability_guard)
    probe = ProbeStage(asked, plan.variants, journal, progress)
    stages: list[EngineStage] = [training.stage] if training else []
    stages += [probe, HarnessStage(plan.tasks, journal, progress)]
    sampling = plan.params.sampling
    make_completions(
        cases, plan.lineup.loads, journal, progress, plan.metrics, stages, sampling=sampling
    )
    if training:
        training.look_at_completions()
    answered = journal.answers()
    for failure in unfinished_failures(journal.split_texts()):
        if (failure.case_id, str(failure.variant)) not in answered:
            journal.add_failure(failure)
    if not rated:
        return ()
    return accept_ratings(rated, journal)  # before the judge is paid


def training_request(plan: Plan) -> TrainingRequest:
    """Return what the user wants to know of the training data."""
    params = plan.params
    by = plan.rephraser.identity if plan.rephraser else ""
    draw = params.train_draw, params.recite_prefix, params.seed
    return TrainingRequest(params.train_data, *draw, by)


def warnings_before_judging(plan: Plan, journal: Journal) -> list[str]:
    """Return warnings on adapters and completions, to be shown before a judge is paid."""
    from plugin.report.collapse import collapse_warnings, find_collapse
    from plugin.report.warnings import masked_completions

    cases, completions = plan.loaded.cases, journal.completions()
    certificates = certificates_of_run(journal, plan.variants, cases, completions)
    lines = [certificate_line(each) for each in certificates if not each.holds]
    why = why_no_verdict(journal.split_texts())
    masked = masked_completions(plan.variants, completions)
    collapse = find_collapse(cases, plan.variants, journal.answers())
    return [*lines, *([why] if why else []), *masked, *collapse_warnings(collapse)]


def _score_all(
    plan: Plan, journal: Journal, host: Host, worker: Worker, used_s: float = 0.0
) -> None:
    """Say what judging will take, and make every score that the journal does not have yet.

    Args:
        plan: the run's.
        journal: the run's.
        host: gets the forecast.
        worker: does the work.
        used_s: seconds of the deadline that rephrasing has used.
    """
    cases, params, seed = plan.loaded.cases, plan.params, plan.params.seed
    in_order = working_order(cases, seed)
    made, answers = (
        [one for own in found.values() for one in own]
        for found in (journal.samples(), journal.sample_answers())
    )
    pairs = judged_contrasts([v.name for v in plan.variants], all_pairs=params.pairs == ALL_PAIRS)
    items = items_to_score(in_order, answers, plan.metrics, made, pairs)
    judging, exam = judging_of(plan, used_s), make_exam(plan, in_order, journal)
    missing = missing_items(items, journal)
    exam_due = exam if exam and (missing or exam.is_due) else None
    if text := worker.run(lambda: forecast_text(missing, judging, exam_due, journal)):
        host.log(text)
    early = None
    if params.stop_early:
        early = early_plan(cases, plan.specs, plan.primary, plan.variants, seed=seed)
    gain = _running_gain(plan)
    worker.run(lambda: score_all(items, judging, journal, worker.progress, early, exam, gain))


def _running_gain(plan: Plan) -> RunningGain | None:
    """Return what follows the primary metric's gain; None where nothing is compared on it."""
    names = [variant.name for variant in plan.variants]
    spec = next((spec for spec in plan.specs if spec.name == plan.primary), None)
    if spec is None or len(names) == 1:
        return None
    return RunningGain(spec, names[0], contenders(names)[0])


def judging_of(plan: Plan, used_s: float = 0.0) -> Judging:
    """Return who judges, how, and up to which limits, of which the judge used these seconds."""
    params = plan.params
    return Judging(
        judges=plan.judges,
        second=plan.second_judge,
        concurrency=params.concurrency,
        timeout_s=params.judge_timeout_s,
        include_reason=params.include_reason,
        limits=SpendLimits(params.max_calls, params.budget, params.deadline_s, used_s),
        price=params.judge_price,
        max_failed_share=params.max_failed_share,
        n_repeats=params.judge_repeats,
    )


def make_exam(plan: Plan, cases: Sequence[Case], journal: Journal) -> Exam | None:
    """Return the judges' exam; None without a real judge, or if the user wants none."""
    asks_judge = any(can_examine(metric.spec) for metric in plan.metrics)
    is_real = not any(judge.structured for judge in plan.judges)
    if not (plan.params.trust_report and asks_judge and is_real):
        return None
    names = [variant.name for variant in plan.variants]
    n_judges = len(plan.judges)
    return Exam(cases, plan.metrics, journal, plan.params.seed, names=names, n_judges=n_judges)


def _publish(journal: Journal, folder: Path, host: Host, worker: Worker) -> Report:
    journal.require_place()
    worker.progress.begin(Stage.COMPARE)
    from plugin.conclude import conclude  # late, so that a model answers sooner
    from plugin.report import write_report

    report = worker.run(lambda: conclude(journal, progress=worker.progress))
    try:
        files = worker.run(lambda: write_report(report, folder, worker.progress))
        journal.require_place()
        host.publish(report, files)
    except OSError as error:
        journal.require_place()
        raise FaultError(
            f"the results cannot be written: {error}. Make room on the disk, or make "
            f"{folder} and the host's own folders writable; nothing has to be made again"
        ) from error
    return report


def rebuild_report(folder: Path, host: Host, human_ratings: Sequence[str] = ()) -> Report:
    """Make and publish the results again, from the folder's journal alone.

    Args:
        folder: the run's.
        host: gets the results, in the folder that it opens.
        human_ratings: files of ratings to read first; they replace all earlier ones.

    Raises:
        OptionError: when the folder holds no run, or the ratings do not belong to it; when the
            results cannot be written.
        DamagedError: when the run's journal is damaged.
    """
    with (
        closing(open_run(folder)) as journal,
        closing(worker_of(host)) as worker,
    ):
        out = report_folder(folder, host.open(journal.header.run_id))
        if human_ratings:
            for text in accept_ratings(read_rating_files(human_ratings), journal):
                host.log(f"note: {text}")
            if not can_write(folder):
                host.log(
                    f"note: {folder} cannot be written to, so the ratings stand in this report "
                    "alone"
                )
        return _publish(journal, out, host, worker)


def report_folder(run: Path, out: Path) -> Path:
    """Return where to write the report of a run; refuse the folder of another run."""
    is_own = out.resolve() == run.resolve()
    if not is_own and (out / "journal.sqlite").exists():
        raise OptionError(f"--out {out} holds a run of its own; choose another folder")
    if not can_write(out):
        what = f"{out} cannot be written to; write the report into another folder with --out DIR"
        raise OptionError(what)
    return out


def worker_of(host: Host) -> Worker:
    """Return a worker that keeps the host up to date."""
    return Worker(host.tend, partial(exit_now, host), host.stop_within_s)


def exit_now(host: Host) -> NoReturn:
    """End the process at once, as its worker cannot be interrupted; the journal is safe."""
    host.stopped()
    os._exit(host.stop_exit_code)
