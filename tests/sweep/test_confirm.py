"""The confirmation is an ordinary comparison on the cases that took no part in the choice."""

from __future__ import annotations

from dataclasses import replace

from plugin.compare.pairs import clusters_of
from plugin.compare.stats import paired_estimate
from plugin.records import Failure, Score, Variant
from plugin.sweep.confirm import confirm
from plugin.sweep.funnel import SweepPlan
from tests.sweep.sample_sweep import drawn_scores, made_cases, made_plan

CASES = made_cases(200, n_clusters=60)
PLAN = replace(made_plan(CASES, 3), prompted="prompted")
MEANS = {"vanilla": 0.3, "prompted": 0.4, "step-100": 0.45, "step-200": 0.6, "step-300": 0.5}
SCORES = drawn_scores(PLAN.names, CASES, lambda name: MEANS[name])
VARIANTS = [Variant(name, name, "model") for name in PLAN.names]


def rows(plan: SweepPlan) -> list[Score]:
    return [
        Score(case.id, name, plan.spec.name, SCORES[name][case.id])
        for name in plan.names
        for case in CASES
    ]


def test_the_interval_is_that_of_the_confirming_cases_alone() -> None:
    found = confirm(PLAN, "step-200", VARIANTS, rows(PLAN))
    assert found is not None
    own = PLAN.split.confirming
    expected = paired_estimate(
        [SCORES["step-200"][c.id] - SCORES["vanilla"][c.id] for c in own],
        clusters=clusters_of(own),
        low=-1,
        high=1,
        seed=0,
    )
    row = found.comparisons[0]
    assert (row.variant, row.baseline, row.n) == ("step-200", "vanilla", len(own))
    assert (row.ci_low, row.ci_high) == (expected.ci_low, expected.ci_high)
    assert row.outcome == "better" and found.verdict.variant == "step-200"
    assert {(one.variant, one.baseline) for one in found.comparisons} == {
        ("step-200", "vanilla"),
        ("step-200", "prompted"),
        ("prompted", "vanilla"),
    }


def test_scores_of_choosing_cases_change_nothing() -> None:
    ids = {case.id for case in PLAN.split.choosing}
    turned = [replace(one, value=0.0) if one.case_id in ids else one for one in rows(PLAN)]
    assert confirm(PLAN, "step-200", VARIANTS, turned) == confirm(
        PLAN, "step-200", VARIANTS, rows(PLAN)
    )


def test_failures_are_counted() -> None:
    case_id = PLAN.split.confirming[0].id
    kept = [one for one in rows(PLAN) if (one.case_id, one.variant) != (case_id, "step-200")]
    failure = Failure(case_id, "judge", "no answer", "step-200", PLAN.spec.name)
    found = confirm(PLAN, "step-200", VARIANTS, kept, [failure])
    assert found is not None
    assert found.comparisons[0].n_failed_variant == 1


def test_the_prompt_is_confirmed_and_the_base_is_not() -> None:
    prompted = confirm(PLAN, "prompted", VARIANTS, rows(PLAN))
    assert prompted is not None and prompted.verdict.variant == "prompted"
    assert confirm(PLAN, "vanilla", VARIANTS, rows(PLAN)) is None


def test_too_few_cases_confirm_nothing() -> None:
    few = made_plan(made_cases(60), 3)
    assert confirm(few, "step-200", VARIANTS, rows(few)) is None
