"""Compute which answers people prefer, how far they agree, and what the judge says beside them.

The case is the unit: several raters of one case count with their mean, and intervals respect
clusters as everywhere. Choices for a tie count half. A rater who could not decide is left out.
Rates rest on cases that were drawn at random where there are any; agreement rests on all.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from plugin.compare.pairs import Evidence, Pairs, clusters_of, pair_scores
from plugin.compare.stats import MeanEstimate, decide_outcome, mean_interval, sign_test_p
from plugin.records import ALL, EVEN, Case
from plugin.run_facts import HumanChoice, PageItem, RunState
from plugin.trust.accepted_choices import (
    AcceptedChoices,
    Votes,
    accept_choices,
    are_equal,
    cases_shown,
    commonest,
    mean_of,
    side_of_value,
    values_of,
)
from plugin.trust.checked_reasons import check_reasons
from plugin.trust.choice_records import (
    ChoiceView,
    CorrectedRate,
    HumanChoices,
    JudgeBesidePeople,
    RaterHabit,
)
from plugin.trust.corrected_gain import correct_gain
from plugin.trust.humans import ResampledDraw
from plugin.trust.rater_stats import cohens_kappa, krippendorff_alpha

_ALWAYS = 0.9
"""A rater who chose one place, or a tie, at least so often may not have read the answers."""

_HABIT_P = 0.01
"""A place counts as favoured only below this p of the sign test: 8 of 8 have 0.008."""

_MIN_HABIT = 8
"""With fewer pairs nothing is said of a rater who calls all of them a tie, or decides none."""

_FAVOURS = 0.6
"""All raters together follow the place if one of both wins at least so often, and chance explains
it with less than 1%. Each rater sees a random order, so this adds noise and no bias."""


def human_choices(
    evidence: Evidence, state: RunState, draw: ResampledDraw, primary: str
) -> tuple[HumanChoices | None, AcceptedChoices]:
    """Return what people say of the run, and the choices that count.

    Args:
        evidence: the run's.
        state: has people's choices, checked reasons and ratings.
        draw: digests of the answers, the cases drawn at random, and how to resample.
        primary: the primary metric, by name or key.

    Returns:
        None for the first where people said nothing.
    """
    accepted = accept_choices(state.human_choices, draw.digests, evidence.names)
    if not state.human_choices and not state.reason_checks:
        return None, accepted
    votes = {name: accepted.votes(name) for name in evidence.names[1:]}
    compared = _pairs_by_variant(evidence)
    first, second = _places(accepted.choices)
    run = _Run(evidence, state.page_items, draw, primary)
    found = HumanChoices(
        views=tuple(
            _view(name, own, compared.get(name, []), run) for name, own in votes.items() if own
        ),
        habits=_habits(accepted.choices),
        n_first=first,
        n_second=second,
        favours_place=_is_lopsided(first, second, _FAVOURS),
        left_out=accepted.left_out,
        reasons=check_reasons(evidence, state, draw, votes),
    )
    return found, accepted


def _pairs_by_variant(evidence: Evidence) -> dict[str, list[Pairs]]:
    """Return the scores of each variant beside the base's over all cases, by metric.

    Where completions were compared, those metrics; else all that may decide.
    """
    relative = [spec for spec in evidence.metrics if spec.is_relative]
    asked = relative or [s for s in evidence.metrics if s.decides and not s.judges_data]
    found: dict[str, list[Pairs]] = {}
    for pairs in pair_scores(replace(evidence, metrics=asked)):
        if (pairs.group, pairs.baseline) == (ALL, evidence.names[0]) and pairs.whole:
            found.setdefault(pairs.variant, []).append(pairs)
    return found


class _Run(NamedTuple):
    """What is needed of the run besides choices."""

    evidence: Evidence
    items: Sequence[PageItem]
    draw: ResampledDraw
    primary: str


class _Told(NamedTuple):
    """What raters said of one variant: case id -> what it won by each who decided.

    Attributes:
        counted: the cases that rates rest on.
        shown: the cases that were to be rated.
    """

    choices: Mapping[str, Sequence[float]]
    counted: Collection[str]
    shown: Collection[str]


def _view(variant: str, votes: Votes, compared: Sequence[Pairs], run: _Run) -> ChoiceView:
    evidence, draw, base = run.evidence, run.draw, run.evidence.names[0]
    choices = {case_id: _decided(own) for case_id, own in votes.items()}
    choices = {case_id: own for case_id, own in choices.items() if own}
    shown = cases_shown(run.items, draw.digests, variant, base)
    if not shown:
        shown = {i for i in draw.drawn if not are_equal(draw.digests, i, (variant, base))}
    counted = set(choices) & draw.drawn or set(choices)
    is_random = bool(set(choices) & draw.drawn)
    cases = [case for case in evidence.cases if case.id in choices]
    sides = Counter(side_of_value(mean_of(own)) for own in choices.values())
    n_raters = len({name for own in votes.values() for name, won in own.items() if won is not None})
    alpha = None
    if n_raters > 1:
        alpha = krippendorff_alpha(
            [choices[case.id] for case in cases],
            clusters=clusters_of(cases),
            seed=draw.seed,
            n_resamples=draw.n_resamples,
        )
    alike = {i: _share_alike(own) for i, own in choices.items() if len(own) > 1}
    view = ChoiceView(
        variant=variant,
        baseline=base,
        n_raters=n_raters,
        n_choices=sum(map(len, choices.values())),
        n_undecided=sum(won is None for own in votes.values() for won in own.values()),
        n_open=len(votes) - len(choices),
        n_shown=len(shown) or None,
        is_random=is_random,
        n_not_drawn=len(choices) - len(counted),
        win_rate=_estimate({i: mean_of(choices[i]) for i in counted}, cases, draw),
        wins=sides[1],
        ties=sides[0],
        losses=sides[-1],
        alpha=alpha,
        same_choice=_estimate(alike, cases, draw),
        beside=(),
    )
    told = _Told(choices, counted, shown)
    return replace(view, beside=tuple(_beside(pairs, view, told, run) for pairs in compared))


def _beside(pairs: Pairs, view: ChoiceView, told: _Told, run: _Run) -> JudgeBesidePeople:
    """Return what a metric says beside people."""
    spec, judged, choices, draw = pairs.spec, values_of(pairs), told.choices, run.draw
    cases = [case for case, _, _ in pairs.whole]
    both = [case.id for case in cases if case.id in choices]
    said = {i: (side_of_value(judged[i]), commonest(choices[i])) for i in both}
    sides = {i: (own, people) for i, (own, people) in said.items() if people is not None}
    winners = {i: (own, people) for i, (own, people) in sides.items() if own and people}
    on_both = [i for i in both if i in told.counted]
    matters = spec.is_relative or run.primary in (spec.name, spec.key)
    contradicts = False
    if view.is_random and matters and view.side:
        contradicts = _claimed_side(pairs, draw) == -view.side
    return JudgeBesidePeople(
        metric=spec.name,
        asks_judge=spec.asks_judge,
        is_relative=spec.is_relative,
        n=len(both),
        n_split=len(both) - len(sides),
        agreement=_estimate({i: float(a == b) for i, (a, b) in sides.items()}, cases, draw),
        kappa=cohens_kappa([a for a, _ in sides.values()], [b for _, b in sides.values()]),
        same_winner=_estimate({i: float(a == b) for i, (a, b) in winners.items()}, cases, draw),
        judge_rate=mean_of(judged[i] for i in on_both) if on_both else None,
        people_rate=mean_of(mean_of(choices[i]) for i in on_both) if on_both else None,
        difference=_estimate(
            {i: judged[i] - mean_of(choices[i]) for i in on_both}, cases, draw, low=-1.0
        ),
        correction=_correct_rate(pairs, told, draw) if view.is_random else None,
        contradicts=contradicts,
    )


def _claimed_side(pairs: Pairs, draw: ResampledDraw) -> int:
    """Return which side a metric prefers over all cases; 0 where chance may explain it."""
    found = pairs.estimate(draw)
    outcome = decide_outcome((found.ci_low, found.ci_high), found.p_value, margin=0.0)
    return {"better": 1, "worse": -1}.get(outcome, 0)


def _correct_rate(pairs: Pairs, told: _Told, draw: ResampledDraw) -> CorrectedRate:
    """Return the win rate over all cases, corrected by people.

    Cases with equal answers are ties that nobody needs to rate. The others are corrected by PPI++.
    The rate over all is one half plus the share of the others times their gain.
    """
    judged, choices, names = values_of(pairs), told.choices, (pairs.variant, pairs.baseline)
    all_cases = [case for case, _, _ in pairs.whole]
    cases = [case for case in all_cases if not are_equal(draw.digests, case.id, names)]
    human = [
        mean_of(choices[case.id]) - EVEN if case.id in choices and case.id in draw.drawn else None
        for case in cases
    ]
    found = correct_gain(
        [judged[case.id] - EVEN for case in cases],
        human,
        clusters=clusters_of(cases),
        low=-EVEN,
        high=EVEN,
        seed=draw.seed,
    )
    ends = found.estimate, found.ci_low, found.ci_high
    if len(cases) < len(all_cases):
        unlike = {case.id for case in cases}
        share = _estimate({c.id: float(c.id in unlike) for c in all_cases}, all_cases, draw)
        ends = scaled(share, *ends)
    rate, low, high = (None if end is None else EVEN + end for end in ends)
    n_to_rate = sum(case.id in draw.drawn and case.id in told.shown for case in cases)
    return CorrectedRate(
        judge_rate=mean_of(judged.values()),
        rate=rate,
        ci_low=low,
        ci_high=high,
        lambda_=found.lambda_,
        n_labelled=found.n_labelled,
        n_missing=max(0, n_to_rate - found.n_labelled),
        n_all=len(all_cases),
        n_equal=len(all_cases) - len(cases),
        used_judge=found.used_judge,
        method=found.method,
    )


def scaled(
    share: MeanEstimate, mean: float | None, low: float | None, high: float | None
) -> tuple[float | None, float | None, float | None]:
    """Return a share times a mean, with its interval.

    The interval is made of both intervals by the method of variance estimates recovery (Zou &
    Donner 2008): the distances from the estimate to the ends add up in squares.
    """
    if share.mean is None or mean is None:
        return None, None, None
    product = share.mean * mean
    if low is None or high is None or share.ci_low is None or share.ci_high is None:
        return product, None, None
    fewer, more = share.mean - share.ci_low, share.ci_high - share.mean
    down, up = (fewer, more) if mean > 0 else (more, fewer)
    below = math.hypot(share.mean * (mean - low), mean * down)
    above = math.hypot(share.mean * (high - mean), mean * up)
    return product, max(-EVEN, product - below), min(EVEN, product + above)


def _decided(votes: Mapping[str, float | None]) -> list[float]:
    return [won for won in votes.values() if won is not None]


def _share_alike(values: Sequence[float]) -> float:
    """Return the share of pairs of raters who chose the same."""
    n = len(values)
    return sum(count * (count - 1) for count in Counter(values).values()) / (n * (n - 1))


def _estimate(
    values: Mapping[str, float], cases: Iterable[Case], draw: ResampledDraw, low: float = 0.0
) -> MeanEstimate:
    """Return the mean over these cases with its interval, in the order of the run's cases."""
    own = [case for case in cases if case.id in values]
    clusters: Sequence[Hashable] | None = clusters_of(own)
    return mean_interval(
        [values[case.id] for case in own],
        clusters=clusters,
        low=low,
        high=1.0,
        seed=draw.seed,
        n_resamples=draw.n_resamples,
    )


def _places(choices: Iterable[HumanChoice]) -> tuple[int, int]:
    """Count the choices for the answer shown first, and for the one shown second."""
    won = [one.won for one in choices]
    return won.count(1), won.count(0)


def _is_lopsided(first: int, second: int, share: float) -> bool:
    n = first + second
    return n > 0 and max(first, second) >= share * n and sign_test_p(first, second) < _HABIT_P


def _habits(choices: Sequence[HumanChoice]) -> tuple[RaterHabit, ...]:
    """Return how each rater chose, in order of appearance."""
    habits = []
    for rater in dict.fromkeys(one.rater for one in choices):
        own = [one for one in choices if one.rater == rater]
        first, second = _places(own)
        n_open = sum(one.won is None for one in own)
        n_ties = len(own) - first - second - n_open
        fault = _fault(first, second, n_ties, n_open)
        habits.append(RaterHabit(rater, first, second, n_ties, n_open, fault))
    return tuple(habits)


def _fault(first: int, second: int, n_ties: int, n_open: int) -> str:
    """Say what makes a rater's choices doubtful, to follow the name; "" for nothing."""
    n_winners, n = first + second, first + second + n_ties + n_open
    if _is_lopsided(first, second, _ALWAYS):
        which = "first" if first > second else "second"
        return f"chose the answer shown {which} in {max(first, second)} of {n_winners} choices"
    if n >= _MIN_HABIT and n_ties >= _ALWAYS * n:
        return f"called {n_ties} of {n} pairs a tie"
    if n >= _MIN_HABIT and n_open >= _ALWAYS * n:
        return f"could not decide {n_open} of {n} pairs"
    return ""
