"""The story of a run: load, generate, score, compare, publish."""

from __future__ import annotations

import os
import shlex
import time
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import NoReturn

from plugin import proofs, ratings, ratings_file
from plugin.bench import Item, Judging
from plugin.cache import Cache
from plugin.cases import working_order
from plugin.conclude import conclude, params_of, specs_of
from plugin.early import EarlyPlan, early_plan
from plugin.errors import FaultError, OptionError
from plugin.exam import Exam, can_probe
from plugin.forecast import forecast
from plugin.generation import complete
from plugin.hosts import Host
from plugin.journal import Journal
from plugin.judges import marks_its_own_work
from plugin.params import Params
from plugin.plan import Plan, make_plan
from plugin.ppi import MIN_LABELS
from plugin.records import MetricSpec, Report
from plugin.report import write
from plugin.scoring import items_to_score, missing_items, score
from plugin.sources import find_sources
from plugin.spending import Limits
from plugin.worker import Stopped, Worker


def run(params: Params, host: Host) -> Report:
    """Do everything that is not in the run folder's journal yet, and publish the result.

    Raises:
        UserError: the user can mend it.
        FaultError: something broke; the journal holds what was made.
        KeyboardInterrupt: the user stopped the run; the journal holds what was made.
    """
    began = time.perf_counter()
    sources = find_sources(params, host)
    with closing(Worker(host.tend, partial(leave, host))) as worker:
        worker.progress.begin("read data, model and adapter")
        plan = worker.run(lambda: make_plan(params, sources))
        with closing(_open_journal(plan, host)) as journal:
            journal.add_to_meta("seconds", {"prepare": time.perf_counter() - began})
            worker.run(lambda: _complete(plan, journal, worker))
            for text in _not_certified(plan, journal):
                host.log(f"warning: {text}")
            items, judging = _items(plan, journal), _judging(plan)
            exam = _exam(plan, journal)
            if text := forecast(missing_items(items, journal), judging, exam):
                host.log(text)
            early = _early(plan) if plan.params.stop_early else None
            worker.run(lambda: score(items, judging, journal, worker.progress, early, exam))
            return _publish(journal, host, worker)


def rebuild(folder: Path, host: Host, human_ratings: str = "") -> Report:
    """Make everything that is published again, from the folder's journal alone.

    Args:
        folder: the run's.
        host: where it is published.
        human_ratings: a file of ratings to be taken in before.

    Raises:
        OptionError: when the folder holds no run, or the ratings do not fit it.
    """
    with (
        closing(Journal.existing(folder)) as journal,
        closing(Worker(host.tend, partial(leave, host))) as worker,
    ):
        host.open(journal.meta("run_id") or "")
        if human_ratings:
            specs, file = specs_of(journal, params_of(journal)), Path(human_ratings)
            ratings_file.accept(ratings_file.read(file), specs, journal, file)
        return _publish(journal, host, worker)


def draw_for_rating(folder: Path, n_cases: int, seed: int, host: Host) -> None:
    """Write a template for human ratings of cases drawn at random, and record the draw.

    Raises:
        OptionError: when the folder holds no run, or nothing that humans could rate.
    """
    if n_cases < 1:
        raise OptionError(f"--n {n_cases}: at least one case must be drawn")
    with closing(Journal.existing(folder)) as journal:
        journal.lock()
        specs = specs_of(journal, params_of(journal))
        path, n_drawn = ratings.export(journal, specs, n_cases, seed, folder)
    host.log(
        f"{n_drawn} cases drawn: {path}\nFill in rating (on the metric's own scale, "
        f"{'; '.join(map(_scale, ratings.rateable(specs)))}) and rater; rows may stay empty.\n"
        f"Then: python main.py report {shlex.quote(str(folder))} --human_ratings "
        f"{shlex.quote(str(path))}"
    )
    if n_drawn < MIN_LABELS:
        host.log(f"note: below {MIN_LABELS} rated cases the corrected gain has no interval")


def _scale(spec: MetricSpec) -> str:
    return f"{spec.name}: {spec.worst:g} is worst, {spec.best:g} is best"


def _publish(journal: Journal, host: Host, worker: Worker) -> Report:
    worker.progress.begin("compare and draw")
    report = worker.run(lambda: conclude(journal))
    try:
        files = worker.run(lambda: write(report, journal.path.parent))
        host.publish(report, files)
    except OSError as error:
        raise FaultError(
            f"the results cannot be written: {error}. Make room on the disk, or make "
            f"{journal.path.parent} and the host's own folders writable; nothing has to be made "
            "again"
        ) from error
    return report


def _complete(plan: Plan, journal: Journal, worker: Worker) -> None:
    cases = working_order(plan.loaded.cases, plan.params.seed)
    file = plan.params.human_ratings
    rated = ratings_file.read(Path(file)) if file else ()
    complete(cases, plan.lineup.loads, journal, worker.progress, plan.metrics)
    if file:  # before the judge is paid
        specs = [metric.spec for metric in plan.metrics]
        ratings_file.accept(rated, specs, journal, Path(file))


def _not_certified(plan: Plan, journal: Journal) -> list[str]:
    """What to say of adapters before a judge is paid for them."""
    found = proofs.of_run(journal, plan.variants, plan.loaded.cases, journal.completions())
    return [proofs.line(one) for one in found if not one.holds]


def _items(plan: Plan, journal: Journal) -> list[Item]:
    cases = working_order(plan.loaded.cases, plan.params.seed)
    return items_to_score(cases, journal.completions().values(), plan.metrics)


def _judging(plan: Plan) -> Judging:
    params = plan.params
    return Judging(
        judges=plan.judges,
        second=plan.second_judge,
        concurrency=params.concurrency,
        timeout_s=params.judge_timeout_s,
        include_reason=params.include_reason,
        limits=Limits(params.max_calls, params.budget, params.deadline_s),
        price=params.judge_price,
        max_failed_share=params.max_failed_share,
    )


def _early(plan: Plan) -> EarlyPlan:
    names = [variant.name for variant in plan.variants]
    specs = [replace(metric.spec, margin=plan.params.margin) for metric in plan.metrics]
    return early_plan(plan.loaded.cases, specs, plan.primary, names, plan.params.seed)


def _exam(plan: Plan, journal: Journal) -> Exam | None:
    """What the judges go through, None where there is no real one or the user wants none."""
    asked = any(can_probe(metric.spec) for metric in plan.metrics)
    if not (asked and plan.params.trust_report) or any(j.structured for j in plan.judges):
        return None
    cases = working_order(plan.loaded.cases, plan.params.seed)
    return Exam(cases, plan.metrics, journal, plan.params.seed)


def _open_journal(plan: Plan, host: Host) -> Journal:
    """The folder's journal, new or of this very run; nobody else works on it meanwhile.

    Raises:
        OptionError: when the folder holds a run with another identity, or is being worked on.
    """
    folder = host.open(plan.run_id)
    cache_dir = plan.params.cache_dir
    journal = Journal(folder, Cache(Path(cache_dir) / "cache.sqlite") if cache_dir else None)
    try:
        journal.lock()
        known = journal.meta("identity")
        if known is None or (known != plan.identity and not journal.completions()):
            _begin(journal, plan)
        elif known != plan.identity:
            raise OptionError(
                f"{folder} holds another run: {_changes(known, plan.identity)}. Put that back as "
                "it was to go on with it, or choose another --out"
            )
        else:
            n_made = len(journal.completions()), len(journal.scores())
            host.log(f"continuing a run: {n_made[0]} completions and {n_made[1]} scores are there")
    except BaseException:
        journal.close()
        raise
    return journal


def _begin(journal: Journal, plan: Plan) -> None:
    """Write what the run is; all of it or nothing."""
    facts = {
        "params": plan.params.model_dump(mode="json"),
        "variants": [asdict(variant) for variant in plan.variants],
        "metrics": [_fields(metric.spec) for metric in plan.metrics],
        "primary_metric": plan.primary,
        "judge": plan.judge_label,
        "caveat": plan.caveat,
        "marks_its_own_work": [
            judge.label
            for judge in (*plan.judges, *([plan.second_judge] if plan.second_judge else []))
            if any(marks_its_own_work(judge, name) for name in _models(plan.params))
        ],
        "certificates": {found.variant: asdict(found) for found in plan.lineup.certificates},
        "notes": plan.lineup.notes,
        "model_type": plan.lineup.model_type,
        "run_id": plan.run_id,
        "n_source_rows": plan.loaded.n_source_rows,
        "versions": plan.versions,
        "identity": plan.identity,
    }
    with journal.whole():
        journal.forget_all()
        journal.set_cases(plan.loaded.cases)
        for failure in plan.loaded.failures:
            journal.add_failure(failure)
        for name, value in facts.items():
            journal.set_meta(name, value)


def _models(params: Params) -> tuple[str, ...]:
    """The models under test."""
    return params.model_name, *params.tuned_model


def _fields(spec: MetricSpec) -> dict[str, object]:
    """The metric as `specs_of` reads it again."""
    return asdict(spec) | {"needs": sorted(spec.needs), "needs_engine": sorted(spec.needs_engine)}


def _changes(known: dict[str, object], now: dict[str, object]) -> str:
    changed = [key for key in {**known, **now} if known.get(key) != now.get(key)]
    return "; ".join(_change(key, known.get(key), now.get(key)) for key in changed)


def _change(key: str, was: object, now: object) -> str:
    """Digests say nothing to a person."""
    if key.endswith(("files", "content")):
        return f"the {key} differ" if key.endswith("files") else f"the {key} differs"
    return f"{key} was {was!r} and is now {now!r}"


def leave(host: Host) -> NoReturn:
    """The worker is in a call that cannot be interrupted: go at once; the journal bears it."""
    host.stopped()
    os._exit(Stopped.exit_code)
