"""Measure latency under load after a run's own completions, as far as it was asked for.

A run that is there already can be given `--load`: nothing else is made again. A resumed run knows
the levels that were asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

from plugin.engines import Engine
from plugin.generate import draw_samples, make_prompts
from plugin.hosts import Host
from plugin.journal import Journal
from plugin.latency.stage import LoadTest, loaded_variants
from plugin.plan.plan import Plan
from plugin.records import Case, Prompt, Variant, working_order
from plugin.worker import Worker


def measure_load(plan: Plan, journal: Journal, host: Host, worker: Worker) -> None:
    """Time streaming requests at the levels of load that are missing; say before what that takes.

    The first load of the lineup has the base and all that is on its server.
    """
    test, load = load_test(plan, journal), plan.lineup.loads[0]
    if not test.levels:
        return
    test.keep_asked()
    if not (text := test.forecast()):
        return
    host.log(text)

    def drawn_prompts(
        cases: Sequence[Case], variants: Sequence[Variant], engine: Engine
    ) -> list[Prompt]:
        once = replace(plan.params.sampling, n=1)  # as users get it, one answer each
        return draw_samples(make_prompts(cases, variants, engine), cases, once)

    def measure() -> None:
        with closing(load.engine()) as engine:
            test.run(engine, drawn_prompts, worker.progress)

    worker.run(measure)


def load_test(plan: Plan, journal: Journal) -> LoadTest:
    """Return the load that the user asked for: now, or else when the run began.

    Of conversations, the first turns are asked.

    Args:
        plan: of the run.
        journal: of the run.
    """
    params, kept = plan.params, journal.state.load
    levels, n_asked, guard = params.load_levels, params.load_requests, params.load_guard
    if not levels and kept:
        done = {one.n_at_once for one in kept.levels}
        levels = tuple(level for level in kept.asked if level not in done)
        n_asked, guard = kept.n_asked, kept.guard
    in_order = working_order(plan.loaded.cases, params.seed)
    cases = tuple(case for case in in_order if case.follows is None)
    variants = loaded_variants(plan.lineup.loads[0].variants)
    return LoadTest(levels, n_asked, guard, cases, variants, journal)
