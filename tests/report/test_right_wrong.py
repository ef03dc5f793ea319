"""Cases that were right under the base and are wrong now."""

import dataclasses
import json
import math

from plugin.records import MetricSpec, Score
from plugin.report import render_report, summary_json
from plugin.report.record import Ledger
from plugin.report.right_wrong import TurnedCounts, turned_cases
from plugin.results import Verdict
from tests.report import report_samples as samples
from tests.report.test_page import Reader

EXACT = MetricSpec("exact_match", "Exact Match", higher_is_better=True, asks_judge=False)


def scored(metric, vanilla, tuned, groups=()):
    """A report of these scores on one metric, by case."""
    report = samples.build(len(vanilla), (metric,), groups=groups)
    scores = tuple(
        Score(case.id, name, metric.name, values[number])
        for name, values in (("vanilla", vanilla), ("tuned", tuned))
        for number, case in enumerate(report.cases)
        if values[number] is not None
    )
    return dataclasses.replace(report, scores=scores)


def turned(report):
    (found,) = turned_cases(Ledger(report))
    return found


def ids(cases):
    return [one.case.id for one in cases]


def test_zero_and_one_are_wrong_and_right_exactly():
    found = turned(scored(EXACT, [1, 1, 0, 0, 1], [0, 1, 1, 0, 0]))
    assert found.rule == "On Exact Match, right is a score of 1, wrong one of 0."
    assert found.counts == (TurnedCounts("all", 5, 2, 1, 1, 1, 0),)
    assert (ids(found.broke), ids(found.fixed)) == (["c0", "c4"], ["c2"])


def test_other_scores_turn_at_the_middle_if_they_move_beyond_the_margin():
    vanilla = [0.5, 0.52, 0.9, 0.4, 0.1]
    tuned = [0.44, 0.48, 0.0, 0.6, 0.2]
    found = turned(scored(samples.CORRECTNESS, vanilla, tuned))
    assert ids(found.broke) == ["c2", "c0"], "the largest loss first"
    assert ids(found.fixed) == ["c3"]
    assert found.counts[0] == TurnedCounts("all", 5, 2, 1, 0, 1, 1)
    assert found.rule == (
        "An answer counts as right where Correctness is at least 0.50; a change counts where "
        "Correctness moves by more than 0.05."
    )


def test_where_lower_is_better_low_is_right():
    found = turned(scored(samples.HALLUCINATION, [0.0, 1.0], [1.0, 0.0]))
    assert (ids(found.broke), ids(found.fixed)) == (["c0"], ["c1"])
    assert found.rule == "On Hallucination, right is a score of 0, wrong one of 1."


def test_groups_are_counted_on_their_own_and_cases_without_a_pair_not_at_all():
    report = scored(EXACT, [1, 1, None, 0], [0, 1, 0, 1], groups=("easy", "hard"))
    found = turned(report)
    assert [(row.group, row.n, row.broke, row.fixed) for row in found.counts] == [
        ("all", 3, 1, 1),
        ("easy", 1, 1, 0),
        ("hard", 2, 0, 1),
    ]


def test_without_a_right_and_a_wrong_another_metric_is_taken_or_none():
    endless = MetricSpec("ppl", "Perplexity", False, high=math.inf)
    wins = MetricSpec("preference", "Preference", True, is_relative=True)
    report = samples.build(8, (endless,), verdict=Verdict("better", "", (), "Perplexity"))
    assert turned_cases(Ledger(report)) == []
    for first in (endless, wins):
        verdict = Verdict("better", "", (), first.name)
        both = samples.build(8, (first, samples.CORRECTNESS), verdict=verdict)
        assert turned(both).metric == "Correctness"
    assert turned_cases(Ledger(samples.vanilla_only())) == []


def test_the_verdicts_variant_comes_first():
    verdict = Verdict("better", "", (), "Correctness", "other")
    report = samples.build(8, adapters=("tuned", "other"), verdict=verdict)
    assert [one.variant for one in turned_cases(Ledger(report))] == ["other", "tuned"]


def test_the_page_links_each_case_and_counts_each_group():
    report = scored(EXACT, [1, 1, 0, 0], [0, 1, 1, 0], groups=("easy", "hard"))
    odd = dataclasses.replace(report.cases[0], id="a/b c")
    moved = tuple(
        dataclasses.replace(score, case_id="a/b c") if score.case_id == "c0" else score
        for score in report.scores
    )
    report = dataclasses.replace(report, cases=(odd, *report.cases[1:]), scores=moved)
    html = render_report(report)["report.html"]
    part = html[html.index('id="turned"') :].partition("</section>")[0]
    assert 'href="#case-a%2Fb%20c"' in part and 'href="#case-c2"' in part
    text = Reader(part).text
    assert "all cases 1 1 1 1 4" in text and "easy 1 1 0 0 2" in text and "hard 0 0 1 1 2" in text
    assert "a/b c 1.00 → 0.00 easy What is 0 plus 1?" in text
    assert "Was right, now wrong: 1" in Reader(html.partition("<h2")[0]).text


def test_ten_are_shown_with_their_question_more_as_links_and_all_for_machines():
    report = scored(EXACT, [1] * 80, [0] * 80)
    html = render_report(report)["report.html"]
    part = html[html.index('id="turned"') :].partition("</section>")[0]
    assert part.count("<li>") == 10 and part.count('href="#case-') == 60
    assert "and 20 more, which are in summary.json" in part
    (found,) = json.loads(json.dumps(summary_json(report)))["right_wrong"]
    assert len(found["broke"]) == 80 and found["groups"][0]["broke"] == 80


def test_nothing_broken_is_said():
    html = render_report(scored(EXACT, [0, 1], [1, 1]))["report.html"]
    assert "No case was right and is wrong now." in html
