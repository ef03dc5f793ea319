"""Watching scores as they come, and looking at the whole afterwards, are of one mind."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from plugin.compare.early_stop import EarlyPlan, EarlyStopper, early_plan, look_at_pairs
from plugin.compare.families import Family
from plugin.compare.pairs import Evidence, pair_scores
from plugin.records import Failure, MetricSpec, Score, Variant
from tests.samples import case

CORRECTNESS = MetricSpec("correctness", "Correctness", higher_is_better=True)
HALLUCINATION = MetricSpec("hallucination", "Hallucination", higher_is_better=False, is_guard=True)
N = 300


def results(gain: float, other: float = 0.0, seed: int = 1) -> list[Score]:
    """Scores of two variants on two metrics, with such gains in the mean."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(N):
        for spec, shift in ((CORRECTNESS, gain), (HALLUCINATION, -other)):
            base = float(rng.uniform(0.3, 0.6))
            own = float(np.clip(base + shift + rng.normal(0, 0.1), 0, 1))
            found.append(Score(str(number), "vanilla", spec.name, base))
            found.append(Score(str(number), "tuned", spec.name, own))
    return found


def of(names: list[str]) -> list[Variant]:
    return [Variant(name, name, "model") for name in names]


def plan() -> EarlyPlan:
    cases = [case(str(number)) for number in range(N)]
    specs = [CORRECTNESS, HALLUCINATION]
    return early_plan(cases, specs, "Correctness", of(["vanilla", "tuned"]), seed=3)


def judged_until_settled(scores: list[Score]) -> int | None:
    """Cases judged in drawn order until the watch says that it is enough."""
    watch, told = EarlyStopper(plan()), {}
    for score in scores:
        told.setdefault(score.case_id, []).append(score)
    for n, drawn in enumerate(plan().order, 1):
        watch.note(told[drawn.id])
        if watch.is_settled:
            return n
    return None


def outcomes(scores: list[Score], failures: list[Failure] | None = None) -> dict[str, str]:
    cases = [case(str(number)) for number in range(N)]
    evidence = Evidence(
        cases, of(["vanilla", "tuned"]), [CORRECTNESS, HALLUCINATION], scores, failures or []
    )
    families = {"Correctness": Family.PRIMARY, "Hallucination": Family.GUARDS}
    return {
        p.spec.name: look_at_pairs(p, plan(), families[p.spec.name]).outcome
        for p in pair_scores(evidence)
        if p.group == "all"
    }


def test_a_clear_gain_is_settled_long_before_the_end() -> None:
    n = judged_until_settled(results(0.2))
    assert n is not None and 10 < n < N / 2
    assert outcomes(results(0.2))["Correctness"] == "better"


def test_no_gain_is_not_called_one() -> None:
    found = outcomes(results(0.0))
    assert found["Correctness"] in ("equivalent", "can't tell")


def test_a_guard_that_may_yet_be_lost_keeps_it_going() -> None:
    quick = judged_until_settled(results(0.25, other=0.0))
    slow = judged_until_settled(results(0.25, other=-0.045))
    assert quick is not None and (slow is None or slow > 1.5 * quick)


def test_a_guard_that_is_lost_is_settled_as_such() -> None:
    found = outcomes(results(0.25, other=-0.3))
    assert found == {"Correctness": "better", "Hallucination": "lost"}
    assert judged_until_settled(results(0.25, other=-0.3)) is not None


def test_the_order_in_which_answers_arrive_does_not_matter() -> None:
    scores = results(0.2)
    drawn = {one.id for one in plan().order[:150]}
    early = [score for score in scores if score.case_id in drawn]
    late = [score for score in scores if score.case_id not in drawn]
    random.Random(0).shuffle(early)
    whole, gappy = EarlyStopper(plan()), EarlyStopper(plan())
    whole.note(early)
    gappy.note([*late, *(s for s in early if s.case_id != plan().order[0].id)])
    assert whole.is_settled
    assert not gappy.is_settled  # the first case drawn has not been judged yet


@pytest.mark.parametrize("place", [0, 5])
def test_a_failure_is_passed_over_and_does_not_block(place: int) -> None:
    lost = plan().order[place].id
    scores = [s for s in results(0.2) if s.case_id != lost]
    watch = EarlyStopper(plan())
    watch.note(scores)
    assert not watch.is_settled  # the pairs before the gap are too few
    watch.note([Failure(lost, "generate", "too long", name) for name in ("vanilla", "tuned")])
    assert watch.is_settled


def test_what_settled_it_stays_when_answers_under_way_still_come_in() -> None:
    scores = results(0.2)
    n = judged_until_settled(scores)
    assert n is not None
    seen = {one.id for one in plan().order[:n]}
    more = {one.id for one in plan().order[: n + 40]}
    first = outcomes([s for s in scores if s.case_id in seen])
    later = outcomes([s for s in scores if s.case_id in more])
    assert first["Correctness"] == later["Correctness"] == "better"


def of_three(names: list[str], means: dict[str, float], seed: int = 5) -> list[Score]:
    """Scores of several variants around these means, on one metric."""
    rng = np.random.default_rng(seed)
    return [
        Score(str(n), name, "Correctness", float(np.clip(means[name] + rng.normal(0, 0.1), 0, 1)))
        for n in range(N)
        for name in names
    ]


def test_what_is_awaited_beside_a_prompted_base() -> None:
    cases, specs = [case(str(n)) for n in range(N)], [CORRECTNESS, HALLUCINATION]
    names = ["vanilla", "prompted", "tuned"]
    found = early_plan(cases, specs, "Correctness", of(names), seed=3)
    assert [(asked.spec.name, *asked.contrast, family) for asked, family in found.to_settle] == [
        ("Correctness", "tuned", "vanilla", Family.PRIMARY),
        ("Correctness", "tuned", "prompted", Family.OVER_PROMPT),
        ("Hallucination", "tuned", "vanilla", Family.GUARDS),
    ]
    assert [found.size(family) for family in (Family.PRIMARY, Family.GUARDS)] == [1, 1]
    assert found.size(Family.METRICS) == 2  # Hallucination beside the prompt
    alone = early_plan(cases, specs, "Correctness", of(names[:2]), seed=3)
    assert [asked.contrast for asked, _ in alone.to_settle] == [("prompted", "vanilla")] * 2


def test_a_retention_group_is_awaited_over_its_own_cases() -> None:
    cases = [case(str(n), group="general" if n % 3 == 0 else "task") for n in range(N)]
    cases = [replace(one, retention=one.group == "general") for one in cases]
    names = ["vanilla", "tuned"]
    found = early_plan(cases, [CORRECTNESS], "Correctness", of(names), seed=3)
    (_, _), (asked, family) = found.to_settle
    assert (asked.group, family) == ("general", Family.GUARDS)
    assert {one.group for one in found.cases_for(asked)} == {"general"}
    watch, scores = EarlyStopper(found), results(0.2)
    seen = {one.id for one in found.order[:60]}
    watch.note(s for s in scores if s.case_id in seen and s.metric == "Correctness")
    assert not watch.is_settled  # 20 cases of the group do not show yet that nothing was lost
    watch.note(s for s in scores if s.metric == "Correctness")
    assert watch.is_settled


@pytest.mark.parametrize(("prompted", "is_settled"), [(0.45, True), (0.65, False)])
def test_judging_goes_on_until_the_prompt_is_beaten_or_not(
    prompted: float, is_settled: bool
) -> None:
    """At 40 cases a gain of 0.3 over vanilla is settled; one of 0.05 over the prompt is not."""
    names = ["vanilla", "prompted", "tuned"]
    cases = [case(str(n)) for n in range(N)]
    found = early_plan(cases, [CORRECTNESS], "Correctness", of(names), seed=3)
    watch, seen = EarlyStopper(found), {one.id for one in found.order[:40]}
    means = {"vanilla": 0.4, "prompted": prompted, "tuned": 0.7}
    watch.note(score for score in of_three(names, means) if score.case_id in seen)
    assert watch.is_settled is is_settled


def test_the_plan_is_about_what_decides_with_the_users_margin() -> None:
    described = MetricSpec("latency", "Latency", higher_is_better=False, decides=False)
    specs = [replace(CORRECTNESS, margin=0.2), described]
    cases = [case(str(n)) for n in range(20)]
    found = early_plan(cases, specs, "Correctness", of(["vanilla", "a"]), seed=3)
    assert [(spec.name, spec.margin) for spec in found.specs] == [("Correctness", 0.2)]
    assert found.rule(found.specs[0], Family.PRIMARY).margin == 0.2
    assert found.families.names == ("vanilla", "a")
    assert sorted(c.id for c in found.order) == sorted(c.id for c in cases)
