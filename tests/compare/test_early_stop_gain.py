"""The gain that a run prints when it stopped early."""

from __future__ import annotations

import dataclasses
import statistics

import numpy as np

from plugin.compare.comparisons import VerdictSettings, compare, summarise
from plugin.compare.early_stop import ConfidenceSequence, early_plan
from plugin.compare.families import Family
from plugin.compare.pairs import Evidence
from plugin.compare.verdict import decide_verdict
from plugin.compare.words import Finding, detail_lines
from plugin.records import MetricSpec, Score, Variant
from plugin.results import Comparison, Verdict
from tests.samples import case

CORRECTNESS = MetricSpec("correctness", "Correctness", higher_is_better=True)
RUBRIC = MetricSpec("rubric", "Rubric", higher_is_better=True)
VARIANTS = [Variant(name, name, "model") for name in ("vanilla", "tuned")]
N_CASES = 300
CASES = [case(str(number)) for number in range(N_CASES)]
PLAN = early_plan(CASES, [CORRECTNESS, RUBRIC], "Correctness", VARIANTS, seed=3)
N_IN_FLIGHT = 10
"""Pairs that 20 calls at once still bring home after the stop."""

TRUE_GAIN, SPREAD, N_RUNS = 0.05, 0.3, 2000


def judged(gains: dict[str, np.ndarray], n: int) -> Evidence:
    """Return a run in which the first n cases, in the drawn order, were judged."""
    scores = []
    for metric, found in gains.items():
        for drawn, gain in zip(PLAN.order[:n], found, strict=False):
            scores.append(Score(drawn.id, "vanilla", metric, 0.5 - float(gain) / 2))
            scores.append(Score(drawn.id, "tuned", metric, 0.5 + float(gain) / 2))
    return Evidence(CASES, VARIANTS, [CORRECTNESS, RUBRIC], scores)


def ask(evidence: Evidence, n_worked: int = 0) -> tuple[Verdict, tuple[Comparison, ...]]:
    settings = VerdictSettings("Correctness", seed=0, early=PLAN, n_worked=n_worked)
    rows = compare(evidence, settings)
    summaries = summarise(evidence, settings)
    return decide_verdict(evidence, summaries, rows, settings), rows


def n_until_settled(gains: np.ndarray) -> int | None:
    settled = ConfidenceSequence(PLAN.rule(CORRECTNESS, Family.PRIMARY)).add(gains.tolist())
    return settled.n if settled else None


def test_a_stopped_run_prints_the_mean_of_all_judged_pairs_and_the_interval_at_the_stop() -> None:
    rng = np.random.default_rng(1)
    early, late = rng.normal(0.5, 0.1, 40), rng.normal(0.2, 0.1, 40)
    gains = np.concatenate((early, late)).clip(-1, 1)
    n = n_until_settled(gains)
    assert n is not None and n < 40
    verdict, rows = ask(judged({"Correctness": gains, "Rubric": gains}, 80), n_worked=80)
    row = rows[0]
    settled = ConfidenceSequence(PLAN.rule(CORRECTNESS, Family.PRIMARY)).add(gains.tolist())
    assert settled and (row.ci_low, row.ci_high) == (settled.ci_low, settled.ci_high)
    assert (row.outcome, row.n) == ("better", 80)
    assert row.gain is not None and abs(row.gain - gains.mean()) < 1e-9
    assert row.method.endswith(f"confidence sequence (betting) over the first {n} of 80 pairs")
    (told,) = [line for line in verdict.details if "overstate gains" in line]
    assert told.startswith("The gain is the mean of all 80 judged pairs. Runs that stop early")
    assert f"over the first {n} of 80 pairs" in verdict.text


def test_a_run_that_judged_all_cases_is_not_said_to_overstate() -> None:
    gains = np.random.default_rng(1).normal(0.0, 0.3, N_CASES).clip(-1, 1)
    verdict, _ = ask(judged({"Correctness": gains, "Rubric": gains}, N_CASES))
    assert "overstate" not in verdict.text


def test_the_number_of_cases_is_told_wherever_the_scores_show_a_spread() -> None:
    # A fixed-length test would call this better; the confidence sequence cannot tell yet.
    gains = np.tile([0.30, -0.12], 10)
    verdict, rows = ask(judged({"Correctness": gains, "Rubric": gains}, 20))
    assert rows[0].outcome == "can't tell" and rows[0].n_to_detect is not None
    assert "no spread" not in verdict.text
    bare = dataclasses.replace(rows[0], n_to_detect=None)
    said = " ".join(detail_lines([Finding(bare)], []))
    assert "no spread" not in said and "was not computed" in said


def test_the_printed_gain_of_stopped_runs_is_less_biased_than_the_gain_up_to_the_stop() -> None:
    rng = np.random.default_rng(5)
    before, printed = [], []
    for _ in range(N_RUNS):
        drawn = rng.normal(TRUE_GAIN, SPREAD, (2, N_CASES)).clip(-1, 1)
        first, second = (n_until_settled(gains) for gains in drawn)
        if first is None:
            continue
        n = min(N_CASES, max(first, second or N_CASES) + N_IN_FLIGHT)
        gains = dict(zip(("Correctness", "Rubric"), drawn, strict=True))
        row = compare(judged(gains, n), VerdictSettings("Correctness", seed=0, early=PLAN))[0]
        assert row.gain is not None
        before.append(float(drawn[0][:first].mean()))
        printed.append(row.gain)
    assert len(before) > 500
    bias_before = statistics.fmean(before) - TRUE_GAIN
    bias = statistics.fmean(printed) - TRUE_GAIN
    print(f"bias up to the stop {bias_before:+.3f}, of all judged pairs {bias:+.3f}")
    assert bias_before > 0.03  # stopping selects
    assert bias < 0.6 * bias_before
