"""Forecast what judging a whole sweep takes, before a judge is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from plugin.compare.numbers import format_count, format_percent
from plugin.forecast import forecast_text
from plugin.journal import Journal
from plugin.plan.plan import Plan
from plugin.records import working_order
from plugin.run import judging_of, make_exam
from plugin.score import Item, missing_items
from plugin.sweep.funnel import SweepPlan, forecast_calls

_MARK = "confirming "
"""Before the id of a case that stands for one that confirms."""


def sweep_forecast(
    plan: SweepPlan,
    items: Sequence[Item],
    confirming: Sequence[Item],
    run_plan: Plan,
    journal: Journal,
) -> str:
    """Return the forecast in words; "" where no judge is asked, or the choice is made already.

    Args:
        plan: of the sweep.
        items: all scores on the deciding metric that the choosing part may make.
        confirming: scores as the confirming run makes them, but of choosing cases.
        run_plan: says who judges.
        journal: the sweep's, with its cache; what is there costs nothing.
    """
    if journal.state.sweep_choice:
        return ""
    due = missing_items(likely_items(plan, items), journal) if plan.spec.asks_judge else []
    later = stand_ins(plan, confirming)
    exam = make_exam(run_plan, working_order(plan.split.confirming, plan.seed), journal)
    text = forecast_text(due, judging_of(run_plan), exam if later else None, journal, later)
    if not text or not plan.spec.asks_judge:
        return text
    calls = forecast_calls(plan)
    return (
        f"{text}\na whole sweep judges {format_count(calls.most)} answers at most, "
        f"{format_percent(calls.share)} of the {format_count(calls.full)} that it would take to "
        "judge every checkpoint on every case"
    )


def likely_items(plan: SweepPlan, items: Sequence[Item]) -> list[Item]:
    """Return as many scores as the rounds will make; which checkpoints stay is not known yet."""
    place = {case.id: at for at, case in enumerate(plan.split.choosing)}
    names = [one.name for one in plan.checkpoints]
    found = []
    for item in items:
        at = place[item.case.id]
        n_in = next(one.n_judged for one in plan.rounds if at < one.n_cases)
        if item.place[1] in {*plan.references, *names[len(names) - n_in :]}:
            found.append(item)
    return found


def stand_ins(plan: SweepPlan, own: Sequence[Item]) -> list[Item]:
    """Return scores like those of the confirming cases, which have no completions yet.

    Args:
        plan: of the sweep.
        own: the same scores of the choosing cases.
    """
    if plan.split.is_rank_only or not own:
        return []
    wanted = round(len(own) * len(plan.split.confirming) / len(plan.split.choosing))
    copies = (list(own) * (1 + wanted // len(own)))[:wanted]
    return [
        replace(item, case=replace(item.case, id=f"{_MARK}{at} {item.case.id}"))
        for at, item in enumerate(copies)
    ]
