"""The story of a run: load, generate, score, compare, publish."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from plugin.cases import working_order
from plugin.conclude import conclude
from plugin.errors import OptionError
from plugin.generation import complete
from plugin.hosts import Host
from plugin.journal import Cache, Journal, content_key
from plugin.params import Params
from plugin.plan import Plan, find_sources, make_plan
from plugin.records import Report
from plugin.report import write
from plugin.scoring import JudgeLimits, items_to_score, score
from plugin.worker import Worker


def run(params: Params, host: Host) -> Report:
    """Do everything that is not in the run folder's journal yet, and publish the result.

    Raises:
        UserError: the user can mend it.
        FaultError: something broke; the journal holds what was made.
        KeyboardInterrupt: the user stopped the run; the journal holds what was made.
    """
    sources = find_sources(params, host)
    with closing(Worker(host.tend)) as worker:
        worker.progress.begin("read data, model and adapter")
        plan = worker.run(lambda: make_plan(params, sources))
        with closing(_open_journal(plan, host)) as journal:
            worker.run(lambda: _work(plan, journal, worker))
            return publish(journal, host, worker)


def publish(journal: Journal, host: Host, worker: Worker) -> Report:
    """Rebuild everything from the journal alone, and hand it to the host."""
    worker.progress.begin("compare and draw")
    report = worker.run(lambda: conclude(journal))
    files = worker.run(lambda: write(report, host.folder))
    host.publish(report, files)
    return report


def _work(plan: Plan, journal: Journal, worker: Worker) -> None:
    params = plan.params
    cases = working_order(plan.loaded.cases, params.seed)
    complete(cases, plan.variants, plan.load_engine, journal, worker.progress)
    score(
        items_to_score(cases, journal.completions().values(), plan.metrics),
        plan.judge,
        JudgeLimits(params.concurrency, params.judge_timeout_s),
        journal,
        worker.progress,
    )


def _open_journal(plan: Plan, host: Host) -> Journal:
    """The folder's journal, new or of this very run.

    Raises:
        OptionError: when the folder holds a run with another identity.
    """
    cache_dir = plan.params.cache_dir or host.secret("FINETUNE_VERDICT_CACHE")
    cache = Cache(Path(cache_dir).expanduser() / "cache.sqlite") if cache_dir else None
    journal = Journal(host.folder, cache)
    known = journal.meta("identity")
    if known is None:
        _begin(journal, plan)
    elif known != plan.identity:
        journal.close()
        raise OptionError(
            f"{host.folder} holds another run: {_changes(known, plan.identity)}. Choose another "
            f"--out, or take the other run up again with `resume {host.folder}`"
        )
    else:
        n_made = len(journal.completions()), len(journal.scores())
        host.log(f"continuing this run: {n_made[0]} completions and {n_made[1]} scores are there")
    return journal


def _begin(journal: Journal, plan: Plan) -> None:
    journal.set_cases(plan.loaded.cases)
    for failure in plan.loaded.failures:
        journal.add_failure(failure)
    journal.set_meta("params", plan.params.model_dump(mode="json"))
    journal.set_meta("variants", [asdict(variant) for variant in plan.variants])
    journal.set_meta("metrics", [metric.spec.name for metric in plan.metrics])
    journal.set_meta("primary_metric", plan.primary)
    journal.set_meta("judge", plan.judge.label)
    journal.set_meta("caveat", plan.judge.caveat)
    journal.set_meta("run_id", content_key(plan.identity)[:16])
    journal.set_meta("n_source_rows", plan.loaded.n_source_rows)
    journal.set_meta("identity", plan.identity)  # last: a journal without it never began


def _changes(known: dict[str, object], now: dict[str, object]) -> str:
    changed = [key for key in now if known.get(key) != now[key]]
    return "; ".join(_change(key, known.get(key), now[key]) for key in changed)


def _change(key: str, was: object, now: object) -> str:
    """Digests say nothing to a person."""
    if key.endswith("files") or key.endswith("content"):
        return f"the {key} differ" if key.endswith("files") else f"the {key} differs"
    return f"{key} was {was!r} and is now {now!r}"
