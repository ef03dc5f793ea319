"""Show a sweep on a terminal: the table by step, what is recommended, and the confirmed verdict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from plugin.compare.numbers import MISSING, format_count, format_number, format_range
from plugin.errors import list_first
from plugin.plan.command_parser import PROGRAM
from plugin.records import ALL
from plugin.sweep.funnel import Cut, SweepPlan
from plugin.sweep.points import SweepPoint, gain_of, sweep_points
from plugin.sweep.request import skip_line
from plugin.sweep.result import SweepResult
from plugin.sweep.words import name_with_place, sweep_words
from plugin.terminal import shell_word

_MOST_CHEAP = 3
"""Metrics without a judge in the table; the CSV file has all."""

_N_SHOWN = 8
_GAP = "  "


def cut_line(cut: Cut, plan: SweepPlan) -> str:
    """Say what a round decided."""
    n = len(cut.kept) + len(cut.dropped)
    who = format_count(n, "checkpoint", "checkpoints")
    where = f"round {cut.round.number} of {len(plan.rounds)}: {who} on {cut.round.n_cases} cases"
    best = cut.kept[0] if cut.kept else plan.base
    mean = next((one.mean for one in cut.standings if one.name == best), None)
    text = f"{where}; best so far {best} ({format_number(mean)})"
    return f"{text}; out: {list_first(cut.dropped, _N_SHOWN)}" if cut.dropped else text


def result_text(result: SweepResult, files: Sequence[Path]) -> str:
    """Return what the terminal shows at the end, finished or not."""
    lines = [
        "",
        table_title(result),
        *table_lines(result),
        *(skip_line(one) for one in result.skipped),
        *result.facts.notes,
        *(f"warning: {text}" for text in result.warnings),
        "",
        *summary_lines(result),
    ]
    page = next((path for path in files if path.suffix == ".html"), None)
    if page:
        lines += ["", f"Report: {page.resolve()}"]
    if result.confirmation:
        lines.append(f"Confirmation: {page.resolve().parent / CONFIRMED}" if page else "")
    return "\n".join(lines)


BEST_MARK = " (* recommended)"
"""At the end of the table's title."""

CONFIRMED = "confirmation/report.html"
"""Where the report of the confirming run lies, from the sweep's folder."""


def summary_lines(result: SweepResult) -> list[str]:
    """Return what is recommended and why, or how far the sweep has come."""
    if not result.is_chosen:
        return [unfinished_text(result)]
    words = sweep_words(result.played, result.confirmed, result.n_judged)
    found, plan = result.confirmation, result.played.plan
    is_said = not result.judge or result.is_confirmed  # then the verdict's sentence says it
    lead = f"[{result.judge}] " if result.caveat and not is_said else ""
    lines = [f"{lead}{words.headline}"]
    if found and result.is_confirmed and found.verdict.next_step:
        lines.append(found.verdict.next_step.line)
    is_due = not plan.split.is_rank_only and result.played.choice.name != plan.base
    if is_due and not result.is_confirmed:
        lines.append(f"It is not confirmed yet. {go_on_text(result)}")
    return [*lines, *words.details]


def unfinished_text(result: SweepResult) -> str:
    """Say how far an unfinished sweep has come, and how to go on."""
    plan, played = result.played.plan, result.played
    n_done = len(played.cuts)
    best = next((one for one in played.choice.standings if one.mean is not None), None)
    so_far = (
        f" So far {name_with_place(plan, best.name)} has the best mean, "
        f"{format_number(best.mean)} (n={format_count(best.n)})."
        if best
        else ""
    )
    return (
        f"The sweep is not finished: {n_done} of {len(plan.rounds)} rounds are judged.{so_far} "
        f"Nothing is recommended yet. {go_on_text(result)}"
    )


def go_on_text(result: SweepResult) -> str:
    """Say how to go on, and what stopped the sweep."""
    command = f"{PROGRAM} resume {shell_word(result.folder)}"
    if result.halted:
        return (
            f"Judging ended because {result.halted}: give the same command with a higher limit to "
            "go on."
        )
    return f"Go on with: {command}"


def table_title(result: SweepResult) -> str:
    """Return what the table shows."""
    plan = result.played.plan
    n = format_count(len(plan.split.choosing), "case", "cases")
    judge = f", judged by {result.judge}" if result.judge else ""
    return f"{plan.spec.title} by {plan.axis}, on the {n} that choose{judge}{BEST_MARK}"


def table_lines(result: SweepResult) -> list[str]:
    """Return the table, a line for each checkpoint, with base and prompted base first."""
    played, plan = result.played, result.played.plan
    points = sweep_points(played, ALL)
    cheap = [one for one in result.cheap if one.spec.name != plan.spec.name][:_MOST_CHEAP]
    heads = ["", plan.axis, "cases", "mean", "95% interval", "gain"]
    heads += [one.spec.name for one in cheap] + [""]
    rows = [heads]
    for point in points:
        is_best = result.is_chosen and point.status == "recommended"
        gain = None if point is points[0] else gain_of(played, point)
        rows.append(
            [
                "*" if is_best else "",
                point.name if point.place is None else f"{point.place:g}",
                str(point.n) if point.n else MISSING,
                format_number(point.mean),
                format_range(point.ci_low, point.ci_high) or MISSING,
                format_number(gain, signed=True) if point is not points[0] else "",
                *(format_number(one.means.get(point.name)) for one in cheap),
                status_text(result, point),
            ]
        )
    widths = [max(len(row[at]) for row in rows) for at in range(len(heads))]
    last = len(heads) - 1
    return [
        _GAP.join(
            cell.ljust(width) if at == last else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def status_text(result: SweepResult, point: SweepPoint) -> str:
    """Say what became of a checkpoint, in a few words."""
    if not result.is_chosen:
        return f"out after round {point.last_round}" if point.status == "dropped" else ""
    if point.status == "dropped":
        return f"out after round {point.last_round}"
    if point.status == "passed over":
        lost = next(one.lost for one in result.played.choice.passed if one.name == point.name)
        return f"lost {lost}"
    return {"recommended": "recommended", "reference": "", "judged to the end": ""}[point.status]
