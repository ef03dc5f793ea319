"""Which checkpoint is recommended, and why not another one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plugin.records import Case, MetricSpec
from plugin.sweep.choice import choose, lost_groups
from plugin.sweep.funnel import SweepPlan
from tests.sweep.sample_sweep import drawn_scores, made_cases, made_plan


def graded(plan: SweepPlan, means: dict[str, float], seed: int = 1) -> dict[str, dict[str, float]]:
    return drawn_scores(plan.names, plan.split.choosing, lambda name: means[name], seed)


def shifted(
    plan: SweepPlan, scores: dict[str, dict[str, float]], name: str, at: float, cases: list[Case]
) -> None:
    for case in cases:
        scores[name][case.id] = min(1.0, max(0.0, scores[name][case.id] + at))


def test_the_best_mean_is_recommended() -> None:
    plan = made_plan(made_cases(200), 3)
    means = {"vanilla": 0.3, "step-100": 0.45, "step-200": 0.6, "step-300": 0.5}
    choice = choose(plan, graded(plan, means), plan.names[1:])
    assert choice.name == "step-200"
    assert [one.name for one in choice.standings] == ["step-200", "step-300", "step-100", "vanilla"]
    assert (choice.passed, choice.equivalent, choice.offered) == ((), None, None)


def equal_plan(behind: float) -> tuple[SweepPlan, dict[str, dict[str, float]]]:
    """Return a sweep in which step 100 is a little behind step 300 on nearly every case."""
    plan = made_plan(made_cases(400), 3)
    means = {"vanilla": 0.3, "step-100": 0.5, "step-200": 0.4, "step-300": 0.5}
    scores = graded(plan, means)
    for at, case in enumerate(plan.split.choosing):
        wave = (0.02, -0.02)[at % 2]
        scores["step-100"][case.id] = 0.5 * scores["step-300"][case.id] + 0.25 + wave
        scores["step-300"][case.id] = 0.5 * scores["step-300"][case.id] + 0.25 + behind
    return plan, scores


def test_an_earlier_one_that_is_shown_equivalent_and_close_is_recommended() -> None:
    plan, scores = equal_plan(behind=0.002)
    choice = choose(plan, scores, plan.names[1:])
    found = choice.equivalent
    assert choice.name == "step-100" and found is not None and found.best == "step-300"
    assert found.gain == pytest.approx(-0.002, abs=3e-4)
    assert -0.05 <= found.ci_low <= found.gain <= found.ci_high <= 0.05
    assert choice.standings[0].name == "step-300"


def test_an_earlier_one_that_is_equivalent_but_behind_is_only_offered() -> None:
    plan, scores = equal_plan(behind=0.02)
    choice = choose(plan, scores, plan.names[1:])
    assert choice.name == "step-300" and choice.equivalent is None
    assert choice.offered is not None and choice.offered.name == "step-100"


def test_an_earlier_one_that_merely_cannot_be_told_apart_is_not_recommended() -> None:
    plan = made_plan(made_cases(40), 2)
    scores = graded(plan, {"vanilla": 0.2, "step-100": 0.5, "step-200": 0.5}, seed=3)
    ids = [case.id for case in plan.split.choosing]
    scores["step-100"] = {one: (0.3, 0.7)[at % 2] for at, one in enumerate(ids)}
    scores["step-200"] = {one: (0.72, 0.3)[at % 2] for at, one in enumerate(ids)}
    choice = choose(plan, scores, plan.names[1:])
    best, second = choice.standings[:2]
    assert (best.name, second.name) == ("step-200", "step-100")  # by 0.01 +- 0.13
    assert choice.name == "step-200" and choice.equivalent is None and choice.offered is None


def test_a_veto_passes_to_the_next_best_and_says_why() -> None:
    plan = made_plan(made_cases(200), 3)
    means = {"vanilla": 0.3, "step-100": 0.45, "step-200": 0.6, "step-300": 0.5}
    asked = list[str]()

    def veto(name: str) -> str:
        asked.append(name)
        return "arithmetic" if name == "step-200" else ""

    choice = choose(plan, graded(plan, means), plan.names[1:], veto)
    assert choice.name == "step-300"
    assert [(one.name, one.lost) for one in choice.passed] == [("step-200", "arithmetic")]
    assert asked == ["step-200", "step-300"]  # the third is never asked about


def test_if_all_are_vetoed_the_base_is_kept() -> None:
    plan = made_plan(made_cases(200), 2)
    scores = graded(plan, {"vanilla": 0.3, "step-100": 0.5, "step-200": 0.6})
    choice = choose(plan, scores, plan.names[1:], lambda name: "arithmetic")
    assert choice.name == "vanilla"
    assert [one.name for one in choice.passed] == ["step-200", "step-100"]


def test_base_and_prompted_base_take_part() -> None:
    plan = replace(made_plan(made_cases(200), 2), prompted="prompted")
    means = {"vanilla": 0.6, "prompted": 0.3, "step-100": 0.5, "step-200": 0.4}
    assert choose(plan, graded(plan, means), plan.names[2:]).name == "vanilla"
    means |= {"prompted": 0.8}
    assert choose(plan, graded(plan, means), plan.names[2:]).name == "prompted"


def test_a_lost_retention_group_is_a_veto() -> None:
    cases = [replace(case, retention=case.group == "b") for case in made_cases(300, "aab")]
    plan = made_plan(cases, 2)
    scores = graded(plan, {"vanilla": 0.5, "step-100": 0.55, "step-200": 0.7})
    shifted(plan, scores, "step-200", -0.4, [c for c in plan.split.choosing if c.retention])
    lost = lost_groups(plan, scores, "step-200")
    assert lost.startswith("b (-0.") and ", n=" in lost
    assert lost_groups(plan, scores, "step-100") == ""
    shifted(plan, scores, "step-200", 0.2, [c for c in plan.split.choosing if not c.retention])
    choice = choose(plan, scores, plan.names[1:])
    assert (choice.name, choice.passed[0].name) == ("step-100", "step-200")


def test_a_small_loss_is_no_veto() -> None:
    cases = [replace(case, retention=case.group == "b") for case in made_cases(300, "aab")]
    plan = made_plan(cases, 1)
    scores = {name: dict.fromkeys([c.id for c in cases], 0.5) for name in plan.names}
    scores["step-100"] = {c.id: 0.48 if c.retention else 0.6 for c in cases}
    assert lost_groups(plan, scores, "step-100") == ""  # significant, but within the margin


def test_two_checkpoints_may_win_everything_and_nothing_against_the_base() -> None:
    """A preference's gain over the base is at most one half, but over another checkpoint one."""
    spec = MetricSpec("preference", "Preference", True, is_relative=True)
    plan = replace(made_plan(made_cases(60), 2), spec=spec)
    ids = [case.id for case in plan.split.choosing]
    scores = {
        "vanilla": dict.fromkeys(ids, 0.5),
        "step-100": {one: (1.0, 0.0)[at % 2] for at, one in enumerate(ids)},
        "step-200": {one: (0.0, 1.0)[at % 2] for at, one in enumerate(ids)},
    }
    scores["step-200"][ids[0]] = 1.0
    assert choose(plan, scores, plan.names[1:]).name == "step-200"
