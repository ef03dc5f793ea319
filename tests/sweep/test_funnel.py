"""The rounds of a sweep: who is judged on what, and who goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plugin.records import MetricSpec
from plugin.sweep.funnel import cut_field, forecast_calls, plan_rounds, standings_of
from plugin.sweep.play import play
from plugin.sweep.split import Split
from tests.sweep.sample_sweep import answering, drawn_scores, made_cases, made_plan


def test_twenty_checkpoints_are_judged_on_25_50_100_and_200_cases() -> None:
    rounds = plan_rounds(20, 200)
    assert [one.n_cases for one in rounds] == [25, 50, 100, 200]
    assert [one.n_judged for one in rounds] == [20, 14, 9, 6]
    assert [one.most_judged for one in rounds] == [20, 16, 11, 8]


@pytest.mark.parametrize(
    ("n_checkpoints", "n_choosing", "sizes", "judged"),
    [
        (20, 50, [12, 25, 50], [20, 14, 9]),
        (20, 20, [20], [20]),
        (3, 200, [200], [3]),
        (1, 50, [50], [1]),
        (4, 100, [12, 25, 50, 100], [4, 3, 3, 3]),
        (20, 1000, [125, 250, 500, 1000], [20, 14, 9, 6]),
    ],
)
def test_rounds_suit_what_is_there(
    n_checkpoints: int, n_choosing: int, sizes: list[int], judged: list[int]
) -> None:
    rounds = plan_rounds(n_checkpoints, n_choosing)
    assert [one.n_cases for one in rounds] == sizes
    assert [one.n_judged for one in rounds] == judged


def test_the_forecast_by_hand() -> None:
    cases = made_cases(400)
    plan = replace(made_plan(cases, 20), split=Split(tuple(cases[:200]), tuple(cases[200:])))
    calls = forecast_calls(plan)
    # 20 on 25, at most 16 on 25 more, 11 on 50 more and 8 on 100 more, and the base on all 200.
    assert calls.choosing == 500 + 400 + 550 + 800 + 200
    assert calls.confirming == 2 * 200
    assert calls.full == 21 * 400
    assert calls.share == pytest.approx(2850 / 8400)
    prompted = forecast_calls(replace(plan, prompted="prompted"))
    assert prompted.most == calls.most + 400
    assert prompted.full == 22 * 400


@pytest.mark.parametrize("prompted", ["", "prompted"])
@pytest.mark.parametrize("n_cases", [100, 150, 200, 400, 1000])
def test_twenty_checkpoints_never_take_more_than_45_percent(n_cases: int, prompted: str) -> None:
    cases = tuple(made_cases(n_cases))
    split = Split(cases[: n_cases // 2], cases[n_cases // 2 :])
    plan = replace(made_plan(cases, 20), split=split, prompted=prompted)
    assert forecast_calls(plan).share <= 0.45


def test_a_sweep_judges_no_more_than_was_forecast() -> None:
    cases = made_cases(400)
    plan = made_plan(cases, 20)
    scores = {name: {case.id: 0.5 for case in cases} for name in plan.names}  # all are tied
    asked = set[tuple[str, str]]()

    def ask(names, wanted):  # type: ignore[no-untyped-def]
        asked.update((name, case.id) for name in names for case in wanted)
        return answering(scores)(names, wanted)

    play(plan, ask)
    assert len(asked) == forecast_calls(plan).choosing


def test_the_best_go_on_and_the_choice_is_among_them() -> None:
    cases = made_cases(400)
    plan = made_plan(cases, 20)
    good = {f"step-{100 * at}": 0.7 - 0.03 * abs(at - 12) for at in range(1, 21)}
    scores = drawn_scores(plan.names, cases, lambda name: good.get(name, 0.3))
    played = play(plan, answering(scores))
    assert [len(cut.kept) for cut in played.cuts] == [14, 9, 6, 6]
    for before, after in zip(played.cuts, played.cuts[1:], strict=False):
        assert {one.name for one in after.standings} == {"vanilla", *before.kept}
    assert played.choice.name in ("step-1100", "step-1200", "step-1300")
    assert set(played.cuts[0].kept) >= {"step-1100", "step-1200", "step-1300"}
    assert played == play(plan, answering(scores))


def test_lower_is_better_is_turned() -> None:
    plan = replace(made_plan(made_cases(20), 2), spec=MetricSpec("bias", "Bias", False))
    scores = {
        name: {case.id: value for case in plan.split.choosing}
        for name, value in zip(plan.names, (0.5, 0.4, 0.2), strict=True)
    }
    best, _, worst = standings_of(plan, scores, plan.names, plan.split.choosing)
    assert best.name == "step-200"
    assert (best.mean, best.gain) == pytest.approx((0.2, 0.3))
    assert worst.name == "vanilla"


def tied_plan():  # type: ignore[no-untyped-def]
    """Eight checkpoints on 24 cases; the last five are tied."""
    plan = made_plan(made_cases(24), 8)
    means = dict(zip(plan.names, (0.0, 0.9, 0.8, 0.7, *[0.5] * 5), strict=True))
    scores = {name: {c.id: means[name] for c in plan.split.choosing} for name in plan.names}
    return plan, scores


def test_ties_go_on_but_not_without_end() -> None:
    plan, scores = tied_plan()
    alive = plan.names[1:]
    cut = cut_field(plan, plan.rounds[0], scores, alive)
    assert plan.rounds[1].n_judged == 6
    assert cut.kept == plan.names[1:9]  # six, and both that are tied with the sixth
    few = cut_field(replace(plan, checkpoints=plan.checkpoints[:4]), plan.rounds[0], scores, alive)
    assert len(few.kept) <= 4


def test_the_cheap_metric_breaks_ties_and_no_more() -> None:
    plan, scores = tied_plan()
    cheap = {name: float(at) for at, name in enumerate(plan.names)}
    found = standings_of(plan, scores, plan.names, plan.split.choosing, cheap)
    assert [one.name for one in found[:3]] == ["step-100", "step-200", "step-300"]
    assert [one.name for one in found[3:8]] == [f"step-{at}00" for at in (8, 7, 6, 5, 4)]


def test_a_missing_score_counts_as_the_lowest_on_its_case() -> None:
    plan = made_plan(made_cases(10), 2)
    ids = [case.id for case in plan.split.choosing]
    scores = {
        "vanilla": dict.fromkeys(ids, 0.2),
        "step-100": dict.fromkeys(ids[:5], 1.0),  # fails on five cases, where it would be wrong
        "step-200": dict.fromkeys(ids, 0.8),
    }
    first, second, _ = standings_of(plan, scores, plan.names, plan.split.choosing)
    assert (first.name, second.name) == ("step-200", "step-100")
    assert second.mean == pytest.approx((5 * 1.0 + 5 * 0.2) / 10)
    assert (second.n, second.n_missing) == (5, 5)


def test_a_case_without_any_score_is_left_out_and_one_without_scores_is_last() -> None:
    plan = made_plan(made_cases(4), 2)
    ids = [case.id for case in plan.split.choosing]
    scores = {"vanilla": {ids[0]: 0.5, ids[1]: 0.0}, "step-200": {ids[0]: 0.5, ids[1]: 1.0}}
    found = standings_of(plan, scores, plan.names, plan.split.choosing)
    assert [one.name for one in found] == ["step-200", "vanilla", "step-100"]
    assert [one.mean for one in found] == [0.75, 0.25, None]
    assert [one.n_missing for one in found] == [0, 0, 2]  # of the two that anyone has
    assert found[-1].gain is None
    nothing = standings_of(plan, {}, plan.names, plan.split.choosing)
    assert all(one.mean is None for one in nothing)
