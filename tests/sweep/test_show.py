"""What a sweep shows on a terminal and in its files, and what it forecasts."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from plugin.judges.panel import ScoreItem
from plugin.judges.spending import SpendLimits
from plugin.metrics import Metric
from plugin.records import Completion, MetricSpec
from plugin.run_facts import CheckpointFacts, JudgeCalls, SweepFacts
from plugin.sweep.confirming import limits_left
from plugin.sweep.expense import likely_items, stand_ins
from plugin.sweep.files import sweep_csv, sweep_json
from plugin.sweep.find import Skipped
from plugin.sweep.play import Played, play
from plugin.sweep.result import CheapMeans, NotJudged, SweepResult, play_so_far
from plugin.sweep.show import cut_line, result_text, summary_lines, table_lines
from tests.sweep.sample_sweep import answering, drawn_scores, made_cases, made_plan

PERPLEXITY = MetricSpec("perplexity", "Perplexity", higher_is_better=False)
PLAN = made_plan(made_cases(240, "ab"), 8)
SCORES = drawn_scores(
    PLAN.names, PLAN.split.choosing, lambda name: 0.7 if name == "step-500" else 0.4
)


def veto(name: str) -> str:
    return ""


def result(played: Played, is_chosen: bool = True, **changed: object) -> SweepResult:
    facts = SweepFacts(
        words=("/t",),
        axis="step",
        checkpoints=tuple(
            CheckpointFacts(one.name, one.place, f"/t/{one.name}", "") for one in PLAN.checkpoints
        ),
    )
    made = SweepResult(
        facts=facts,
        played=played,
        is_chosen=is_chosen,
        cheap=(CheapMeans(PERPLEXITY, {"step-500": 3.25}),),
        skipped=(Skipped("/t/step-900", "NaN\nin 2 tensors"),),
        warnings=(),
        judge="a judge",
        caveat="",
        halted="",
        calls=JudgeCalls(),
        n_judged=500,
        folder=Path("/t/out"),
    )
    return replace(made, **changed)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def whole() -> Played:
    return play(PLAN, answering(SCORES))


def test_the_table_has_a_line_for_each_in_the_order_of_the_axis(whole: Played) -> None:
    head, base, *lines = table_lines(result(whole))
    assert head.split()[:3] == ["step", "cases", "mean"]
    assert base.split()[0] == "vanilla"
    assert [line.replace("*", "").split()[0] for line in lines] == [
        str(100 * at) for at in range(1, 9)
    ]
    (best,) = [line for line in lines if line.startswith("*")]
    assert best.split()[1] == "500"
    assert "3.25" in best
    assert best.endswith("recommended")
    assert any(line.endswith("out after round 1") for line in lines)


def test_the_result_says_what_is_recommended_and_what_was_skipped(whole: Played) -> None:
    text = result_text(result(whole), [Path("/t/out/sweep.html")])
    assert "step-900 is skipped: NaN in 2 tensors" in text
    assert "Recommended: step-500." in text
    assert "It is not confirmed yet. Go on with: python main.py resume /t/out" in text
    assert text.endswith("Report: /t/out/sweep.html")
    assert cut_line(whole.cuts[0], PLAN).startswith("round 1 of 4: 8 checkpoints on ")


def test_an_unfinished_sweep_shows_the_rounds_that_it_has(whole: Played) -> None:
    n_first = whole.cuts[0].round.n_cases

    def ask(names, cases):  # type: ignore[no-untyped-def]
        if len(cases) > n_first:
            raise NotJudged
        return answering(SCORES)(names, cases)

    known = answering(SCORES)(PLAN.names, PLAN.split.choosing[:n_first])
    played, is_chosen = play_so_far(PLAN, ask, known, {}, veto)
    assert not is_chosen
    assert len(played.cuts) == 1
    (line,) = summary_lines(result(played, False))
    assert line.startswith("The sweep is not finished: 1 of 4 rounds are judged. So far step-500")
    (line,) = summary_lines(result(played, False, halted="--budget 1 is spent"))
    assert "Judging ended because --budget 1 is spent: give the same command" in line
    found = json.loads(sweep_json(result(played, False)))
    assert (found["finished"], found["recommended"]) == (False, None)
    rows = list(csv.DictReader(io.StringIO(sweep_csv(result(played, False)))))
    assert {row["status"] for row in rows} == {"not finished", "dropped", "reference"}


def test_the_file_for_programs_names_the_checkpoint_and_its_place(whole: Played) -> None:
    found = json.loads(sweep_json(result(whole)))
    assert found["recommended"] == "step-500"
    assert (found["axis"], found["value"], found["path"]) == ("step", 500.0, "/t/step-500")
    assert found["confirmed"] is None
    rows = list(csv.DictReader(io.StringIO(sweep_csv(result(whole)))))
    assert [row["Perplexity"] for row in rows if row["name"] == "step-500"] == ["3.25", "", ""]


def items(names: tuple[str, ...]) -> list[ScoreItem]:
    metric = Metric(PLAN.spec)
    return [
        ScoreItem(case, Completion(case.id, name, "text", (), "stop", None, None), metric)
        for case in PLAN.split.choosing
        for name in names
    ]


def test_the_forecast_counts_the_rounds_and_the_confirmation() -> None:
    likely = likely_items(PLAN, items(PLAN.names))
    expected, before = len(PLAN.split.choosing), 0  # the base's
    for one in PLAN.rounds:
        expected += one.n_judged * (one.n_cases - before)
        before = one.n_cases
    assert len(likely) == expected < len(items(PLAN.names))
    later = stand_ins(PLAN, items(("vanilla", "step-800")))
    assert len(later) == 2 * len(PLAN.split.confirming)
    assert len({item.place for item in later}) == len(later)


def test_the_confirmation_gets_what_the_choice_left_of_the_limits() -> None:
    spent = JudgeCalls(n_calls=60, cost=1.5)
    assert limits_left(SpendLimits(), spent) == ({"max_calls": 0, "budget": 0.0}, "")
    left, why = limits_left(SpendLimits(100, 2.0), spent)
    assert (left, why) == ({"max_calls": 40, "budget": 0.5}, "")
    assert limits_left(SpendLimits(60), spent)[1] == "--max_calls 60 is reached"
    assert limits_left(SpendLimits(0, 1.5), spent)[1] == "--budget 1.5 is spent"
