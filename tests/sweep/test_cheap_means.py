"""Means of metrics without a judge, while some of their scores are still missing."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from plugin.journal import Journal
from plugin.metrics import METRICS
from plugin.records import Failure, Score
from plugin.sweep.result import cheap_means, whole_means
from tests.gate.made_runs import BETTER, EVEN, write_run
from tests.sweep.sample_sweep import made_cases, made_plan

F1 = replace(METRICS["token_f1"].spec, needs=())


def test_a_mean_is_shown_when_all_its_scores_are_made_or_failed(tmp_path: Path) -> None:
    cases = made_cases(20)
    missing = [Score("3", "step-200", F1.name, 0.0)]
    failures = [Failure("4", "judge", "no answer", "step-100", F1.name)]
    gains = {"step-100": {F1: EVEN}, "step-200": {F1: BETTER}}
    write_run(tmp_path, gains, cases=cases, missing=missing, failures=failures)
    with closing(Journal.existing(tmp_path)) as journal:
        plan = made_plan(cases, 2)
        every = cheap_means(journal, plan)
        (found,) = whole_means(journal, plan, every)
    assert set(every[0].means) == {"vanilla", "step-100", "step-200"}
    assert set(found.means) == {"vanilla", "step-100"}
    assert found.means["step-100"] == every[0].means["step-100"]
