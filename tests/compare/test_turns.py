"""What becomes of scores at later turns: worked by hand, and with scipy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats as scipy_stats

from plugin import metrics
from plugin.compare.pairs import Evidence
from plugin.compare.turns import Change, change_text, shown_metric, turn_changes, turn_lines
from plugin.records import Case, MetricSpec, Score, Variant

(RATING,) = (metric.spec for metric in metrics.load(["Turn Rating"]))
VARIANTS = (Variant("vanilla", "1", "m"), Variant("tuned", "2", "m"))

Grades = dict[str, list[tuple[float | None, float | None]]]


def evidence(grades: Grades, spec: MetricSpec = RATING, cluster: str = "") -> Evidence:
    """Conversations of two turns with these grades, by variant."""
    cases, scores = list[Case](), list[Score]()
    n = len(next(iter(grades.values())))
    for i in range(n):
        label = cluster or f"conversation {i}"
        first = Case(f"{i} turn 1", (), cluster=label)
        second = Case(f"{i} turn 2", (), cluster=label, follows=first.id, ends_conversation=True)
        cases += [first, second]
        for name, given in grades.items():
            for case, grade in zip((first, second), given[i], strict=True):
                if grade is not None:
                    scores.append(Score(case.id, name, spec.name, grade))
    return Evidence(cases, VARIANTS, (spec,), scores, (), ())


def test_the_change_is_paired_and_the_bases_own_is_taken_off() -> None:
    found = turn_changes(
        evidence(
            {
                "vanilla": [(5, 4), (6, 6), (7, 5), (8, None)],
                "tuned": [(8, 5), (7, 4), (9, None), (9, 8)],
            }
        ),
        seed=0,
        n_resamples=1000,
    )
    base, tuned = found
    assert (base.variant, base.turn, base.against) == ("vanilla", 2, None)
    assert (base.first_mean, base.mean, base.change.n) == (6.0, 5.0, 3)
    assert base.change.mean == pytest.approx((-1 + 0 - 2) / 3)
    assert (tuned.first_mean, tuned.mean) == (8.0, pytest.approx(17 / 3))
    assert tuned.change.mean == pytest.approx((-3 - 3 - 1) / 3)
    assert tuned.against is not None
    assert tuned.against.n == 2  # the two conversations that both variants have
    assert tuned.against.mean == pytest.approx(((-3 + 1) + (-3 - 0)) / 2)


def test_the_interval_of_many_conversations_is_that_of_a_mean() -> None:
    random = np.random.default_rng(7)
    first = random.uniform(4, 9, 80).round(1)
    fall = random.normal(-0.8, 1.0, 80).round(1)
    second = np.clip(first + fall, 1, 10)
    pairs = [(float(a), float(b)) for a, b in zip(first, second, strict=True)]
    base = [(float(a), float(a)) for a in first]
    found = turn_changes(evidence({"vanilla": base, "tuned": pairs}), seed=0, n_resamples=10_000)
    change, against = found[1].change, found[1].against
    own = second - first
    assert change.mean == pytest.approx(own.mean())
    assert against is not None
    assert against.mean == pytest.approx(own.mean())
    by_resampling = scipy_stats.bootstrap((own,), np.mean, method="BCa", random_state=1)
    ends = by_resampling.confidence_interval
    assert change.ci_low == pytest.approx(ends.low, abs=0.02)
    assert change.ci_high == pytest.approx(ends.high, abs=0.02)


def test_a_lower_score_is_better_where_the_metric_says_so() -> None:
    spec = replace(RATING, key="bias", name="Bias", higher_is_better=False, low=0.0, high=1.0)
    found = turn_changes(evidence({"vanilla": [(0.5, 0.2)], "tuned": [(0.1, 0.4)]}, spec), 0, 100)
    assert [round(row.change.mean or 0, 3) for row in found] == [0.3, -0.3]


def test_conversations_of_one_cluster_are_one_unit() -> None:
    grades: Grades = {"vanilla": [(5, 4)] * 8, "tuned": [(5, 4)] * 8}
    alone = turn_changes(evidence(grades), 0, 100)[0].change
    together = turn_changes(evidence(grades, cluster="one"), 0, 100)[0].change
    assert alone.ci_low is not None
    assert together.ci_low is None
    assert together.n == 8


def test_no_score_at_all_gives_no_number() -> None:
    found = turn_changes(evidence({"vanilla": [(None, 4)], "tuned": [(5, None)]}), 0, 100)
    assert [(row.change.n, row.change.mean, row.mean) for row in found] == [(0, None, None)] * 2
    assert turn_lines(found, [RATING]) == []


def test_without_conversations_there_is_nothing() -> None:
    alone = Evidence([Case("1", ())], VARIANTS, (RATING,), (), (), ())
    assert turn_changes(alone, 0, 100) == ()


def test_it_is_said_in_words() -> None:
    found = turn_changes(evidence({"vanilla": [(5, 4)], "tuned": [(8, 5)]}), 0, 100)
    assert turn_lines(found, [RATING])[1].startswith(
        "Turn Rating, tuned: 5.00 at turn 2 against 8.00 at turn 1, change -3.00 ("
    )
    assert "vanilla's change taken off: -2.00 (" in turn_lines(found, [RATING])[1]
    assert change_text(Change(3, -1.0, None, None)) == "-1.00 (no interval, n=3 conversations)"
    assert change_text(Change(1, -1.0, None, None)) == "-1.00 (no interval, n=1 conversation)"


def test_conversations_are_shown_by_turn_rating_or_the_first_metric_of_turns() -> None:
    chosen = [metric.spec for metric in metrics.load(["Latency", "Token F1", "Turn Rating"])]
    assert shown_metric(chosen) is chosen[2]
    assert shown_metric(chosen[:2]) is chosen[1]
    assert shown_metric(chosen[:1]) is None
    assert math.isinf(chosen[0].high)
