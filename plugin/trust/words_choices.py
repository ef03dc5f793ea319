"""Say in plain words what people prefer, and how judge and raters stand beside each other."""

from __future__ import annotations

from collections.abc import Iterable

from plugin.compare.numbers import format_count, format_number, format_percent, format_range
from plugin.compare.stats import MeanEstimate
from plugin.compare.words_preference import format_rate, format_rate_interval
from plugin.trust.choice_records import (
    CheckedReasons,
    ChoiceView,
    CorrectedRate,
    HumanChoices,
    JudgeBesidePeople,
    LeftOut,
)
from plugin.trust.rater_stats import MIN_LABELS


def choice_faults(choices: HumanChoices | None) -> list[str]:
    """Return what people hold against the judge, to follow its name in the verdict's first line."""
    found = choices.contradictions if choices else ()
    return ["is contradicted by people"] if any(row.asks_judge for _, row in found) else []


def contradiction_lines(judge: str, choices: HumanChoices | None) -> list[str]:
    """Return why the reader should trust people more than the verdict; empty for no reason."""
    lines = []
    for view, row in choices.contradictions if choices else ():
        sides = (view.baseline, view.variant)
        theirs, other = sides if view.side < 0 else sides[::-1]
        lines.append(
            f"People and {_named(row, judge)} contradict each other: people prefer {theirs} "
            f"({view.variant} wins {_cases_text(view.win_rate)} by {_people(view.n_raters)}), and "
            f"{'the judge' if row.asks_judge else row.metric} prefers {other}. Read some of these "
            "cases before you use this verdict, and trust people more."
        )
    return lines


def choice_lines(choices: HumanChoices | None, primary: str) -> list[str]:
    """Return what the reader should know of people's choices, the win rates first.

    Args:
        choices: what people say.
        primary: the primary metric, which stands beside them where no answers were compared.
    """
    if choices is None:
        return []
    lines = []
    for view in choices.views:
        row = main_row(view, primary)
        lines.append(_win_line(view, row))
        lines += _rater_lines(view)
        if row:
            lines += _beside_lines(view, row)
    lines += _place_lines(choices)
    lines += _left_out_lines(choices.left_out)
    return [*lines, *map(_reason_line, choices.reasons)]


def main_row(view: ChoiceView, primary: str) -> JudgeBesidePeople | None:
    """Return the metric that stands beside people in words: the primary one, or the first."""
    named = [row for row in view.beside if row.metric == primary]
    return next(iter((*named, *view.beside)), None)


def _win_line(view: ChoiceView, row: JudgeBesidePeople | None) -> str:
    n = view.win_rate.n
    if not n:
        both = f"{view.variant} and {view.baseline}"
        text = f"People looked at answers of {both}, but could not decide any case."
    else:
        text = (
            f"{_people(view.n_raters, capital=True)} preferred {view.variant} over "
            f"{view.baseline} in {_cases_text(view.win_rate)}, ties count half"
            f"{_judge_beside(row, n)}."
        )
    return " ".join([text, *_count_texts(view)])


def _judge_beside(row: JudgeBesidePeople | None, n: int) -> str:
    if row is None or row.judge_rate is None:
        return ""
    n_both = row.difference.n
    these = "the same cases" if n_both == n else f"the {format_count(n_both)} that have a score"
    if row.is_relative:
        return f"; the judge in {format_rate(row.judge_rate)} of {these}"
    return f"; {row.metric} puts it ahead in {format_rate(row.judge_rate)} of {these}"


def _count_texts(view: ChoiceView) -> Iterable[str]:
    """Yield how much was rated, where that is less than all."""
    if view.n_shown is not None and (n_open := view.n_shown - view.win_rate.n) > 0:
        yield (
            f"{format_count(n_open)} of the {format_count(view.n_shown, 'case', 'cases')} to rate "
            f"{'has' if n_open == 1 else 'have'} no choice: if raters skipped hard ones, this rate "
            "is biased."
        )
    if view.n_undecided:
        yield f'"Can\'t decide" was chosen {format_count(view.n_undecided, "time", "times")}.'
    if view.n_not_drawn:
        were = "case was" if view.n_not_drawn == 1 else "cases were"
        yield (
            f"{format_count(view.n_not_drawn)} more {were} not drawn at random and "
            "count only for agreement."
        )
    elif not view.is_random and view.win_rate.n:
        yield "These cases were not drawn at random, so the rate says nothing about the others."


def _rater_lines(view: ChoiceView) -> list[str]:
    if view.n_raters < 2:
        return []
    found = view.same_choice
    if not found.n or view.alpha is None:
        return ["No two people rated the same case, so it is unknown how far they agree."]
    if view.alpha.alpha is None:
        alpha = "Krippendorff's alpha is undefined, because all choices are the same"
    else:
        ends = format_range(view.alpha.ci_low, view.alpha.ci_high) or "no interval"
        alpha = (
            f"Krippendorff's alpha is {format_number(view.alpha.alpha)} ({ends}; 1 is perfect, 0 "
            "is chance; a tie lies half way between a win and a loss)"
        )
    return [
        f"Two people who rated the same case of {view.variant} made the same choice "
        f"{format_percent(found.mean)} of the time "
        f"({format_count(found.n, 'case', 'cases')}). {alpha}."
    ]


def _beside_lines(view: ChoiceView, row: JudgeBesidePeople) -> list[str]:
    lines = []
    who = "The judge" if row.is_relative else row.metric
    if row.agreement.n:
        winner = ""
        if row.same_winner.n:
            winner = (
                f" Where both name a winner, it is the same in "
                f"{format_percent(row.same_winner.mean)} of {format_count(row.same_winner.n)}."
            )
        split = ""
        if row.n_split:
            split = (
                f" In {format_count(row.n_split, 'other case', 'other cases')} people are split: "
                "these do not count here."
            )
        lines.append(
            f"{who} and most people agree (win, tie or loss) in "
            f"{format_percent(row.agreement.mean)} of "
            f"{format_count(row.agreement.n, 'case', 'cases')}{_within(row.agreement)}; Cohen's "
            f"kappa is {format_number(row.kappa, missing='undefined')}.{winner}{split}"
        )
    if (low := row.difference.ci_low) is not None and (high := row.difference.ci_high) is not None:
        if low > 0 or high < 0:
            more = "more" if low > 0 else "less"
            lines.append(
                f"{who} likes {view.variant} {more} than people do: its win rate on the same cases "
                f"differs by {_points(row.difference.mean or 0.0)} "
                f"(95% interval {_points(low)} to {_points(high)})."
            )
    if row.correction:
        lines.append(_correction_line(view, row, row.correction))
    return lines


def _correction_line(view: ChoiceView, row: JudgeBesidePeople, found: CorrectedRate) -> str:
    by = "the judge" if row.is_relative else row.metric
    n_all, n_rated = format_count(found.n_all, "case", "cases"), format_count(found.n_labelled)
    alone = f"by {by} alone {format_rate(found.judge_rate)}"
    if found.rate is None:
        return (
            f"No win rate over all {n_all} is corrected by people: none has a choice and a score."
        )
    within = format_rate_interval(found.ci_low, found.ci_high)
    if found.n_labelled < MIN_LABELS:
        within = f"no interval: it needs {MIN_LABELS} rated cases"
    equal = f", {format_count(found.n_equal)} have equal answers" if found.n_equal else ""
    helped = "" if found.used_judge or found.ci_low is None else f"; {by} adds nothing to them"
    return (
        f"Corrected by people, {view.variant} wins {format_rate(found.rate)} of all {n_all} "
        f"({within}; {n_rated} are rated{equal}{helped}); {alone}."
    )


def _place_lines(choices: HumanChoices) -> list[str]:
    lines = []
    if choices.favours_place:
        n = choices.n_first + choices.n_second
        which = "first" if choices.n_first > choices.n_second else "second"
        share = format_percent(max(choices.n_first, choices.n_second) / n)
        lines.append(
            f"Caution: people chose the answer shown {which} in {share} of {format_count(n)} "
            "choices with a winner, which chance does not explain. The order was random, so this "
            "pulls their win rates towards 50% and favours nobody."
        )
    if doubtful := [one for one in choices.habits if one.fault]:
        told = "; ".join(f"{one.rater} {one.fault}" for one in doubtful)
        lines.append(
            f"Caution: {told}. Such choices may have been made without reading. They count; leave "
            "out the file of such a rater to see the result without it."
        )
    return lines


def _left_out_lines(found: LeftOut) -> list[str]:
    kinds = {
        "of answers that this run does not have": found.stale,
        "between two equal answers": found.equal,
        "between two variants of which none is the base": found.elsewhere,
        "that the same rater replaced by a later one": found.repeated,
        "with an impossible value": found.impossible,
    }
    told = [f"{format_count(n)} {what}" for what, n in kinds.items() if n]
    return [f"Choices of people that do not count: {', '.join(told)}."] if told else []


def _reason_line(found: CheckedReasons) -> str:
    if not found.right.n:
        text = f"People checked reasons on {found.metric}, but decided none."
    else:
        who = _people(found.n_raters, capital=True)
        text = (
            f"{who} found {format_percent(found.right.mean)} of "
            f"{format_count(found.right.n, 'reason', 'reasons')} of the judge on {found.metric} "
            f"right{_within(found.right)}"
        )
        parts = [
            f"{format_percent(one.mean)} of {format_count(one.n)} where {what}"
            for one, what in (
                (found.right_if_agreed, "its score agrees with people"),
                (found.right_if_not, "it does not"),
            )
            if one.n
        ]
        text += f": {', '.join(parts)}." if parts else "."
        if found.right_if_agreed.n and (found.right_if_agreed.mean or 0.0) < 1:
            text += " A right score for a wrong reason is luck."
    if found.n_stale:
        text += f" {format_count(found.n_stale)} more were of answers that this run does not have."
    return text


def _named(row: JudgeBesidePeople, judge: str) -> str:
    return f"the judge {judge} (on {row.metric})" if row.asks_judge else row.metric


def _people(n: int, *, capital: bool = False) -> str:
    return f"{'One' if capital else 'one'} person" if n == 1 else f"{format_count(n)} people"


def _cases_text(found: MeanEstimate) -> str:
    within = format_rate_interval(found.ci_low, found.ci_high)
    return f"{format_rate(found.mean)} of {format_count(found.n, 'case', 'cases')} ({within})"


def _within(found: MeanEstimate) -> str:
    """Return the interval of a share in brackets; "" if there is none."""
    if found.ci_low is None or found.ci_high is None:
        return ""
    ends = f"{format_percent(found.ci_low)} to {format_percent(found.ci_high)}"
    return f" (95% interval {ends})"


def _points(share: float) -> str:
    return f"{100 * share:+.0f} points"
