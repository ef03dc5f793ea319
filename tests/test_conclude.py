"""What a report says of a run that is not finished, or has failures."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from plugin.conclude import conclude
from plugin.journal import Journal
from plugin.metrics import METRICS
from plugin.records import VANILLA, Failure, Score, Variant
from plugin.report import summary_json, write_report
from plugin.run_facts import RunHeader
from plugin.worker import Progress, Stage, Stopped
from tests.samples import case, completion

SPEC = METRICS["correctness"].spec
HEADER = RunHeader(
    run_id="r",
    identity={},
    digests={},
    params={},
    variants=(Variant(VANILLA, "v", "m"), Variant("tuned", "t", "m")),
    metrics=(SPEC,),
    primary_metric=SPEC.name,
    judge="a judge",
)


def test_a_completion_that_failed_is_not_one_that_is_still_to_come(tmp_path: Path) -> None:
    with closing(Journal(tmp_path)) as journal:
        journal.begin(HEADER, (case("1"), case("2")), ())
        for id, name in (("1", VANILLA), ("1", "tuned"), ("2", VANILLA)):
            journal.add_score(Score(id, name, SPEC.name, 0.5))
        assert conclude(journal, 50).partial
        journal.add_failure(Failure("2", "generate", "the prompt is too long", "tuned"))
        found = conclude(journal, 50)
    assert not found.partial
    (row,) = found.comparisons
    assert (row.n, row.n_failed_variant, row.n_failed_baseline) == (1, 1, 0)


def test_comparing_and_writing_show_how_far_they_are_and_can_be_stopped(tmp_path: Path) -> None:
    with closing(Journal(tmp_path)) as journal:
        cases = tuple(case(str(n), group="ab"[n % 2]) for n in range(6))
        journal.begin(HEADER, cases, ())
        for one in cases:
            for name in (VANILLA, "tuned"):
                journal.add_score(Score(one.id, name, SPEC.name, 0.5))
        progress = Progress()
        report = conclude(journal, 50, progress)
        # Two means and one gain, over all cases and in two groups.
        assert (progress.stage, progress.done, progress.total) == (Stage.COMPARE, 9, 9)
        write_report(report, tmp_path / "out", progress)
        assert progress.stage == Stage.WRITE_REPORT
        assert progress.done == progress.total > 0
        progress.stop.set()
        with pytest.raises(Stopped):
            conclude(journal, 50, progress)
        with pytest.raises(Stopped):
            write_report(report, tmp_path / "out", progress)


def test_a_collapsed_model_is_in_warnings_and_summary(tmp_path: Path) -> None:
    with closing(Journal(tmp_path)) as journal:
        cases = tuple(
            case(str(n), input=f"Who plays person {n}?", expected_output=f"Actor {n}")
            for n in range(6)
        )
        journal.begin(HEADER, cases, ())
        for one in cases:
            for name, text in ((VANILLA, f"Actor {one.id} does."), ("tuned", "Fire Fire Fire")):
                journal.add_answer(f"{one.id} {name}", completion(text, one.id, name))
                journal.add_score(Score(one.id, name, SPEC.name, 0.5))
        report = conclude(journal, 50)
    repeats, one_answer = report.warnings[-2:]
    assert repeats.startswith("6 of 6 completions of tuned repeat themselves over and over (such")
    assert one_answer.startswith('tuned gives the answer "fire fire fire" to 6 of 6 different')
    base, tuned = summary_json(report)["collapse"]
    assert (base["repeating"], base["is_one_answer"]) == ([], False)
    assert tuned["repeating"] == [str(n) for n in range(6)] and tuned["n_common"] == 6
