"""Families, guards and retention groups: what each false rate and each power is."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter

import numpy as np
import pytest

from plugin.compare import stats
from plugin.compare.comparisons import compare
from plugin.compare.families import Families, Family, Question
from plugin.compare.pairs import Contrast
from plugin.records import ALL, PROMPTED, VANILLA, MetricSpec
from tests.compare.test_verdict import (
    CORRECTNESS,
    FAILED,
    HALLUCINATION,
    LATENCY,
    RELEVANCY,
    SETTINGS,
    ask,
    case,
    found,
    spread,
    two,
)

TOXICITY = MetricSpec("toxicity", "Toxicity", False, is_guard=True)


def grouped(names, retention=()):
    """Cases of these groups."""
    return [case(n, group=name, retention=name in retention) for n, name in enumerate(names)]


def row_of(rows, metric="Correctness", group=ALL):
    (row,) = [row for row in rows if (row.metric, row.group) == (metric, group)]
    return row


# Which family.


def test_the_family_of_every_comparison():
    families = Families("Correctness", (VANILLA, PROMPTED, "a"), frozenset({"general"}))
    over_base, over_prompt = Contrast("a", VANILLA), Contrast("a", PROMPTED)
    prompt = Contrast(PROMPTED, VANILLA)
    wanted = {
        (CORRECTNESS, over_base, ALL): Family.PRIMARY,
        (CORRECTNESS, over_prompt, ALL): Family.OVER_PROMPT,
        (CORRECTNESS, prompt, ALL): Family.PROMPT,
        (CORRECTNESS, over_base, "general"): Family.GUARDS,
        (CORRECTNESS, over_prompt, "general"): Family.GROUP_METRICS,
        (CORRECTNESS, over_base, "task"): Family.GROUPS,
        (HALLUCINATION, over_base, ALL): Family.GUARDS,
        (HALLUCINATION, over_prompt, ALL): Family.METRICS,
        (HALLUCINATION, prompt, ALL): Family.METRICS,
        (HALLUCINATION, over_base, "general"): Family.GROUP_METRICS,
        (RELEVANCY, over_base, ALL): Family.METRICS,
        (LATENCY, over_base, ALL): Family.DESCRIBED,
    }
    assert {asked: families.find(Question(*asked)) for asked in wanted} == wanted
    assert Families("hallucination", (VANILLA, "a")).find(
        Question(HALLUCINATION, over_base, ALL)
    ) is (Family.PRIMARY)


def test_each_family_is_adjusted_once_however_many_groups_it_has(monkeypatch):
    calls, holm = [], stats.holm
    monkeypatch.setattr(stats, "holm", lambda p_values: calls.append(1) or holm(p_values))
    cases = grouped([f"topic {n // 4}" for n in range(160)])
    _, rows = ask({CORRECTNESS: two(0.4, n=160), HALLUCINATION: two(0.4, n=160)}, cases)
    assert len(rows) == 2 * 41
    assert len(calls) <= len(Family)


def test_more_metrics_and_groups_leave_the_primary_metric_alone():
    columns = {VANILLA: [0.5] * 60, "a": (0.52 + 0.1 * np.linspace(-1, 1, 60)).tolist()}
    strict = dataclasses.replace(CORRECTNESS, margin=0.01)
    _, (alone,) = ask({strict: columns})
    others = {
        dataclasses.replace(RELEVANCY, key=f"m{n}", name=f"M{n}"): two(0.4, name="a")
        for n in range(6)
    }
    cases = grouped(["x", "y", "z"] * 20)
    _, rows = ask({strict: columns} | others | {TOXICITY: two(0.4, name="a")}, cases)
    assert row_of(rows).p_adjusted == alone.p_adjusted == alone.p_value
    assert (row_of(rows).outcome, row_of(rows).n_family) == ("better", 1)
    assert (row_of(rows, "M0").n_family, row_of(rows, "Toxicity").n_family) == (6, 1)
    assert (row_of(rows, group="x").n_family, row_of(rows, "M0", "x").n_family) == (3, 21)


# Guards.


@pytest.mark.parametrize(
    ("loss", "n", "outcome"),
    [(0.2, 60, "lost"), (0.0, 60, "kept"), (0.03, 400, "kept"), (0.04, 20, "unclear")],
)
def test_a_guard_is_lost_kept_or_unclear(loss, n, outcome):
    columns = {VANILLA: spread(0.5, n, seed=2), "a": spread(0.5 + loss, n, width=0.15)}
    verdict, rows = ask({CORRECTNESS: two(0.6, n=n, name="a"), HALLUCINATION: columns})
    row = row_of(rows, "Hallucination")
    assert (row.role, row.outcome) == ("guard", outcome)
    assert (verdict.lost == ("Hallucination",)) is (outcome == "lost")
    (line,) = [each for each in verdict.text.splitlines() if "Hallucination" in each]
    if outcome == "unclear":
        assert "Hallucination" not in verdict.sentence
        assert line.startswith("Guard metric Hallucination: unclear, 0.")
        assert line.endswith(
            f"; about {row.n_to_detect} cases would show that a loss, if any, is below 0.05 (80% "
            "chance)"
        )


def test_a_loss_within_the_margin_is_not_lost_however_sure():
    kept = {VANILLA: [0.5] * 80, "a": [0.51, 0.52, 0.53, 0.54] * 20}
    _, rows = ask({CORRECTNESS: two(0.6, n=80, name="a"), HALLUCINATION: kept})
    row = row_of(rows, "Hallucination")
    assert (row.outcome, row.p_adjusted < 0.001, row.ci_high < 0) == ("kept", True, True)
    own = dataclasses.replace(HALLUCINATION, margin=0.01)
    _, rows = ask({CORRECTNESS: two(0.6, n=80, name="a"), own: kept})
    assert row_of(rows, "Hallucination").outcome == "lost"


def test_the_p_of_harm_by_hand():
    # Gains -4, 1, -1 tenths: the sum is -4 or less for 3 of the 8 sign patterns.
    assert stats.harm_p([-0.4, 0.1, -0.1], seed=0) == pytest.approx(2 / 8 + 1 / 8)
    assert stats.harm_p([0.4, 0.1, 0.1], seed=0) == 1.0
    assert stats.harm_p([0.0, 0.0], seed=0) == 1.0
    assert stats.harm_p([], seed=0) is None
    # 9 lost, 1 won: chance of 0 or 1 won of 10, half of the 1 counted.
    binary = [-1.0] * 9 + [1.0] + [0.0] * 20
    assert stats.harm_p(binary, seed=0, binary=True) == pytest.approx((1 + 10 / 2) / 2**10)
    many = np.random.default_rng(1).normal(-0.05, 0.2, 60)
    one_sided = stats.harm_p(many.tolist(), seed=0)
    both = stats.paired_estimate(many.tolist(), seed=0)
    assert one_sided == pytest.approx(both.p_value / 2, abs=0.01)


def test_holm_runs_over_guards_and_retention_groups_together():
    cases = grouped(["task", "general"] * 60, ["general"])
    weak = {VANILLA: spread(0.45, 120, seed=2), "a": spread(0.52, 120)}
    scores = {CORRECTNESS: two(0.7, n=120, name="a"), HALLUCINATION: weak, TOXICITY: weak}
    _, rows = ask(scores, cases)
    guards = [row for row in rows if row.role == "guard"]
    assert [(row.metric, row.group, row.n_family) for row in guards] == [
        ("Correctness", "general", 3),
        ("Hallucination", ALL, 3),
        ("Toxicity", ALL, 3),
    ]
    assert guards[1].p_adjusted == pytest.approx(3 * guards[1].p_value)


@pytest.mark.parametrize(("shift", "own", "undone"), [(0.2, "lost", 25), (0.0, "kept", 10)])
def test_failures_at_their_worst_may_undo_what_a_guard_shows(shift, own, undone):
    columns = {VANILLA: spread(0.5, 60, seed=2), "a": spread(0.5 + shift, 60)}
    _, rows = ask({CORRECTNESS: two(0.6, name="a"), HALLUCINATION: columns})
    assert row_of(rows, "Hallucination").outcome == own
    columns["a"] = [FAILED] * undone + columns["a"][undone:]
    verdict, rows = ask({CORRECTNESS: two(0.6, name="a"), HALLUCINATION: columns})
    row = row_of(rows, "Hallucination")
    assert (row.outcome, row.holds_at_worst, verdict.harms) == ("unclear", False, ())
    said = f"unclear ({own} so far, but {undone} failed scores are missing), 0."
    assert f"Guard metric Hallucination: {said}" in verdict.text


# Retention groups.


def forgetful():
    """A tune that wins its task and forgets what it knew."""
    base = [0.1, 0.2, 0.3] * 20 + [0.9, 0.8, 1.0, 0.9] * 5
    tuned = [0.8, 0.9, 0.7] * 20 + [0.3, 0.2, 0.4, 0.3] * 5
    return {CORRECTNESS: {VANILLA: base, "a": tuned}}


def test_a_lost_retention_group_stands_in_sentence_and_chip():
    cases = grouped(["trained"] * 60 + ["general"] * 20, ["general"])
    verdict, rows = ask(forgetful(), cases)
    assert verdict.outcome == "better"
    assert verdict.chip == "better, but lost: general"
    assert (
        "; but worse on retention group general, 0.30 against 0.90, gain -0.60" in verdict.sentence
    )
    (harm,) = verdict.harms
    assert (harm.variant, harm.name, harm.group, harm.n) == ("a", "general", "general", 20)
    assert harm.gain == pytest.approx(-0.6)
    assert row_of(rows, group="trained").role == "exploratory"


def test_without_the_option_the_group_comes_first_in_the_details():
    verdict, rows = ask(forgetful(), grouped(["trained"] * 60 + ["general"] * 20))
    assert (verdict.outcome, verdict.chip, verdict.harms) == ("better", "better", ())
    assert verdict.details[0].startswith("Group general got worse: 0.30 against 0.90, gain -0.60")
    assert verdict.details[0].endswith(
        "p=0.001, adjusted for 2 tests. It does not count in the verdict; if the tune must not "
        "lose it, say so with --retention_group general."
    )
    assert row_of(rows, group="general").role == "exploratory"


def test_no_outcome_is_ever_called_mixed():
    cases = grouped(["trained"] * 60 + ["general"] * 20, ["general"])
    texts = [ask(forgetful(), cases)[0].text, ask(forgetful())[0].text]
    for mean in (0.2, 0.42, 0.6):
        texts.append(ask({CORRECTNESS: two(mean), HALLUCINATION: two(0.6)})[0].text)
    assert not any("mixed" in text for text in texts)


# How often each is wrong, and how often right.


def bound(rate, n_runs):
    return rate + 3 * math.sqrt(rate * (1 - rate) / n_runs)


SHAPES = {
    "0 and 1": lambda rng, n: rng.choice([-1.0, 0.0, 1.0], n, p=[0.15, 0.7, 0.15]),
    "ties": lambda rng, n: np.where(rng.random(n) < 0.3, rng.normal(0, 0.2, n), 0).clip(-1, 1),
    # The mean of 0.9 * 0.4 * x and 0.1 * 0.45 is zero: many small losses, few large gains.
    "few large gains": lambda rng, n: np.where(
        rng.random(n) < 0.1, 0.45, np.where(rng.random(n) < 0.4, -0.125, 0.0)
    ),
    "few large losses": lambda rng, n: np.where(
        rng.random(n) < 0.1, -0.45, np.where(rng.random(n) < 0.4, 0.125, 0.0)
    ),
}


def scores_of(gains):
    """Two columns with these gains, whatever their size."""
    return {VANILLA: (0.5 - gains / 2).tolist(), "a": (0.5 + gains / 2).tolist()}


@pytest.mark.parametrize("n", [60, 200])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n_runs", [40, pytest.param(2_000, marks=pytest.mark.slow)])
def test_no_family_is_wrong_more_often_than_promised(shape, n, n_runs):
    """A primary metric, two guards, two other metrics and three groups, and no true difference."""
    rng, wrong = np.random.default_rng(31), Counter()
    cases = grouped(["x", "y", "z"] * n)[:n]
    specs = (
        CORRECTNESS,
        HALLUCINATION,
        TOXICITY,
        RELEVANCY,
        dataclasses.replace(RELEVANCY, key="fluency", name="Fluency"),
    )
    families = Families("Correctness", (VANILLA, "a"))
    for _ in range(n_runs):
        rows = compare(
            found({spec: scores_of(SHAPES[shape](rng, n)) for spec in specs}, cases),
            dataclasses.replace(SETTINGS, n_resamples=400),
        )
        by_name = {spec.name: spec for spec in specs}
        wrong.update(
            {
                families.find(Question(by_name[row.metric], Contrast("a", VANILLA), row.group))
                for row in rows
                if row.outcome in ("better", "worse", "lost")
            }
        )
    print({str(family): count / n_runs for family, count in wrong.items()})
    for family in (Family.PRIMARY, Family.GUARDS, Family.METRICS):
        assert wrong[family] / n_runs <= bound(0.05, n_runs), family
    # A third of the cases, and few large gains or losses among them: no promise, only a hint.
    promise = 0.08 if shape.startswith("few large") else 0.05
    assert wrong[Family.GROUPS] / n_runs <= bound(promise, n_runs)


def zero_or_one(rng, n, won, lost):
    """Scores of two variants that are 0 or 1, with such chances that one wins and loses a case."""
    kind = rng.choice(4, n, p=[won, lost, (1 - won - lost) / 2, (1 - won - lost) / 2])
    pairs = np.array([(0, 1), (1, 0), (0, 0), (1, 1)])[kind]
    return {VANILLA: pairs[:, 0].tolist(), "a": pairs[:, 1].tolist()}


@pytest.mark.parametrize("n_runs", [60, pytest.param(2_000, marks=pytest.mark.slow)])
def test_the_primary_metric_keeps_its_power_beside_four_others(n_runs):
    """Scores of 0 or 1, gain 0.1, n=200, 5 metrics: Holm over all with the exact test finds 46%."""
    rng, right, before, alone = np.random.default_rng(32), 0, 0, 0
    others = [dataclasses.replace(RELEVANCY, key=f"m{n}", name=f"M{n}") for n in range(4)]
    for _ in range(n_runs):
        columns = {CORRECTNESS: zero_or_one(rng, 200, 0.2, 0.1)}
        columns |= {spec: zero_or_one(rng, 200, 0.15, 0.15) for spec in others}
        rows = compare(found(columns), dataclasses.replace(SETTINGS, n_resamples=400))
        right += rows[0].outcome == "better"
        exact = [stats.sign_test_p(row.wins, row.losses) for row in rows]
        alone += exact[0] < 0.05 and rows[0].gain > 0
        before += stats.holm(exact)[0] < 0.05 and rows[0].gain > 0
    print(f"before {before / n_runs:.1%}, alone {alone / n_runs:.1%}, now {right / n_runs:.1%}")
    assert right > alone > before
    assert right / n_runs == pytest.approx(0.71, abs=bound(0.71, n_runs) - 0.71)


@pytest.mark.parametrize("n_runs", [60, pytest.param(2_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_loss_of_the_margin_is_rarely_called_kept(shape, n_runs):
    """Non-inferiority: at a true loss of just the margin, "kept" is said in 2.5% of runs."""
    rng, wrong, n = np.random.default_rng(33), 0, 200
    for _ in range(n_runs):
        gains = SHAPES[shape](rng, n) - (HALLUCINATION.margin if shape != "0 and 1" else 0.0)
        if shape == "0 and 1":
            gains = rng.choice([-1.0, 0.0, 1.0], n, p=[0.175, 0.7, 0.125])
        columns = {spec: scores_of(gains * sign) for spec, sign in PAIR}
        rows = compare(found(columns), dataclasses.replace(SETTINGS, n_resamples=400))
        wrong += row_of(rows, "Hallucination").outcome == "kept"
    print(f"{shape}: {wrong / n_runs:.1%}")
    assert wrong / n_runs <= bound(0.05, n_runs)


PAIR = ((CORRECTNESS, 1.0), (HALLUCINATION, -1.0))


@pytest.mark.parametrize("n_runs", [60, pytest.param(2_000, marks=pytest.mark.slow)])
def test_the_number_that_shows_equivalence_shows_it_four_times_out_of_five(n_runs):
    rng, right, sd = np.random.default_rng(34), 0, 0.25
    n = stats.n_to_detect(sd, CORRECTNESS.margin, power=0.9)
    assert 255 < n < 275  # (1.96 + 1.28)^2 * 25 = 263
    for _ in range(n_runs):
        gains = (rng.normal(0, sd, n)).clip(-1, 1)
        rows = compare(
            found({CORRECTNESS: scores_of(gains)}), dataclasses.replace(SETTINGS, n_resamples=400)
        )
        right += rows[0].outcome == "equivalent"
    print(f"{right / n_runs:.1%}")
    # A difference comes first: in 5% of these runs chance makes one.
    assert right / n_runs == pytest.approx(0.78, abs=bound(0.78, n_runs) - 0.78 + 0.02)
