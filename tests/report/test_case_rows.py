"""The data of the viewer: what became of each case, and each text once."""

import dataclasses
import json
from typing import Any

import pytest

from plugin.code_tests import CodeTests
from plugin.records import Case, Completion, Failure, Message, MetricSpec, Preference, Score
from plugin.report.case_rows import _tests, case_anchor, case_data, ends, readable
from plugin.report.collapse import Collapse
from plugin.report.page import render_page
from plugin.report.record import Ledger, Report
from plugin.thinking import SplitText
from tests.page_cases import by_id
from tests.report import report_samples as samples
from tests.samples import case


def data_of(report: Report) -> dict[str, Any]:
    return case_data(Ledger(report))


def order(report: Report) -> list[str]:
    return [case["id"] for case in ends(data_of(report))]


def with_scores(
    report: Report, values: dict[tuple[str, str], float], metric: str = "Correctness"
) -> Report:
    """The report with other scores of (case id, variant)."""
    scores = tuple(
        dataclasses.replace(one, value=values.get((one.case_id, one.variant), one.value))
        if one.metric == metric
        else one
        for one in report.scores
    )
    return dataclasses.replace(report, scores=scores)


def test_a_case_has_all_that_is_known_of_it() -> None:
    report = samples.build(8, groups=("easy",))
    data = data_of(report)
    texts, (first, *_) = data["texts"], data["cases"]
    assert (first["id"], data["groups"][first["group"]]) == ("c0", "easy")
    assert texts[first["input"]] == "What is 0 plus 1?"
    assert [texts[place] for place in first["expected"]] == ["1"]
    assert [texts[place] for place in first["context"]] == ["Adding 1 to 0 gives 1."]
    vanilla, tuned = first["variants"]
    assert texts[vanilla["answer"]] == "I think it is 1."
    assert texts[tuned["answer"]] == "It is 1, exactly."
    assert "gain" not in vanilla and tuned["gain"] == -0.2
    reason = texts.index("reason c0")
    assert vanilla["scores"] == [[0, 0.5, None, reason, []], [1, 0.5, None, reason, []]]
    assert tuned["scores"] == [[0, 0.3, -0.2, reason, []], [1, 0.7, -0.2, reason, []]]
    json.dumps(data, allow_nan=False)


def test_each_text_is_kept_once() -> None:
    shared = "A context that many cases share. " * 50
    report = samples.build(50)
    cases = tuple(dataclasses.replace(case, context=(shared, shared)) for case in report.cases)
    data = data_of(dataclasses.replace(report, cases=cases))
    assert len(set(data["texts"])) == len(data["texts"])
    assert json.dumps(data).count(shared) == 1


def test_all_of_ten_thousand_cases_are_on_the_page() -> None:
    report = samples.build(10_000, failed={(f"c{i}", "tuned") for i in range(400)})
    assert len(data_of(report)["cases"]) == 10_000
    assert len(render_page(report, [])) < 6_000_000


def test_without_the_script_both_ends_are_shown_worst_first() -> None:
    report = samples.build(24)
    worst = {(f"c{i}", "tuned"): 0.01 * i for i in range(3)}
    best = {(f"c{i}", "tuned"): 1 - 0.01 * i for i in range(3, 6)}
    assert order(with_scores(report, worst | best)) == [
        *("c0", "c1", "c2", "c8", "c12"),
        *("c22", "c23", "c5", "c4", "c3"),
    ]
    assert order(samples.build(8)) == ["c0", "c4", "c1", "c5", "c2", "c3", "c6", "c7"]


def test_cases_that_were_not_paired_have_no_rank(report: Report) -> None:
    data = data_of(report)
    lacking = [case["id"] for case in data["cases"] if "gain" not in case["variants"][1]]
    assert lacking == ["c3", "c4"]
    assert not {"c3", "c4"} & set(order(report))


def test_failures_stand_in_the_place_of_scores(report: Report) -> None:
    made = by_id(data_of(report))["c3"]
    texts = data_of(report)["texts"]
    assert [row[:2] for row in made["tuned"]["failed"]] == [[0, "judge"], [1, "judge"]]
    assert texts[made["tuned"]["failed"][0][2]] == "no verdicts"
    assert "scores" not in made["tuned"] and len(made["vanilla"]["scores"]) == 2
    assert made["tuned"]["flags"] == {"failed"} and not made["vanilla"]["flags"]


def test_a_completion_that_failed_is_told_once_and_without_any_metric() -> None:
    failed = (Failure("c0", "generate", "out of memory", "tuned"), Failure("c1", "data", "bad row"))
    for metrics in ((samples.CORRECTNESS, samples.HALLUCINATION), ()):
        report = samples.build(2, metrics or (samples.CORRECTNESS,))
        report = dataclasses.replace(
            report, metrics=metrics, failures=failed, scores=(), completions={}, comparisons=()
        )
        report = dataclasses.replace(report, summaries=())
        data = data_of(report)
        (made, whole) = data["cases"]
        assert [row[:2] for row in made["variants"][1]["failed"]] == [[None, "generate"]]
        assert [row[:2] for row in whole["failed"]] == [[None, "data"]]
        assert render_page(report, []).count("out of memory") == 2, "static part and data"


def test_what_is_wrong_with_an_answer_is_flagged() -> None:
    report = samples.build(6)
    made = dict(report.completions)
    made["c0", "tuned"] = Completion("c0", "tuned", "", (), "length", 0.1, 3)
    made["c1", "vanilla"] = dataclasses.replace(made["c1", "vanilla"], text=" \n")
    made["c3", "tuned"] = dataclasses.replace(made["c3", "tuned"], text="<think>so")
    del made["c4", "tuned"]
    split = {
        ("c2", "tuned"): SplitText("Hm.", "It is 3."),
        ("c3", "tuned"): SplitText("so", "", is_finished=False),
    }
    collapse = (Collapse("tuned", 6, ("c5",), (), ("", ""), "", 6, 1, False),)
    report = dataclasses.replace(report, completions=made, split_texts=split, collapse=collapse)
    found = by_id(data_of(report))
    of_answers = {"empty", "cut off", "repeated", "failed"}
    flags = {
        key: (one["vanilla"]["flags"] | one["tuned"]["flags"]) & of_answers
        for key, one in found.items()
    }
    assert flags == {
        "c0": {"empty", "cut off"}, "c1": {"empty"}, "c2": set(), "c3": {"empty"},
        "c4": set(), "c5": {"repeated"},
    }  # fmt: skip
    assert (
        found["c2"]["tuned"]["thoughts"] == "Hm." and found["c2"]["tuned"]["answer"] == "It is 3."
    )
    assert found["c3"]["tuned"]["unfinished"] is True
    assert "answer" not in found["c4"]["tuned"]


@pytest.mark.parametrize(
    ("metric", "base", "tuned", "flag"),
    [
        (samples.CORRECTNESS, 1.0, 0.0, "now wrong"),
        (samples.CORRECTNESS, 0.5, 0.44, "now wrong"),
        (samples.CORRECTNESS, 0.0, 1.0, "now right"),
        (samples.CORRECTNESS, 0.51, 0.49, None),  # within the margin
        (samples.CORRECTNESS, 1.0, 0.5, None),  # worse, but still right
        (samples.HALLUCINATION, 0.0, 1.0, "now wrong"),
        (samples.HALLUCINATION, 1.0, 0.5, "now right"),
        (samples.LATENCY, 1.0, 9.0, None),  # nothing is right in seconds
        (MetricSpec("p", "Preference", True, is_relative=True), 1.0, 0.0, None),
    ],
)
def test_right_and_wrong(metric: MetricSpec, base: float, tuned: float, flag: str | None) -> None:
    report = samples.build(1, (metric,))
    report = with_scores(report, {("c0", "vanilla"): base, ("c0", "tuned"): tuned}, metric.name)
    flags = by_id(data_of(report))["c0"]["tuned"]["flags"] & {"now wrong", "now right"}
    assert flags == ({flag} if flag else set())


def test_right_and_wrong_are_told_by_another_metric_where_the_primary_cannot() -> None:
    preference = MetricSpec("p", "Preference", True, is_relative=True)
    data = data_of(samples.build(2, (preference, samples.HALLUCINATION)))
    assert data["rule"].startswith("An answer counts as right where Hallucination is at most 0.50;")
    assert data_of(samples.vanilla_only(2))["rule"] == ""


def test_outcomes_and_ranks_are_each_variants_own() -> None:
    report = samples.build(4, adapters=("prompted", "tuned", "other"))
    report = with_scores(report, {("c3", "other"): 0.0, ("c2", "prompted"): 0.0})
    data, found = data_of(report), by_id(data_of(report))
    assert [data["variants"][place] for place in data["rivals"]] == ["tuned", "other"]
    assert "gained" in found["c3"]["tuned"]["flags"] and "lost" in found["c3"]["other"]["flags"]
    assert order(report) == ["c3", "c0", "c1", "c2"], "the worst contender counts, not the prompt"


def test_one_variant_is_ranked_by_its_score() -> None:
    report = samples.build(3, (samples.HALLUCINATION,), ())
    values = {("c0", "vanilla"): 0.1, ("c1", "vanilla"): 0.9, ("c2", "vanilla"): 0.5}
    assert order(with_scores(report, values, "Hallucination")) == ["c1", "c2", "c0"]


def test_how_far_metrics_disagree() -> None:
    wide = MetricSpec("rubric", "Rubric", True, low=1, high=5)
    report = samples.build(2, (samples.CORRECTNESS, wide))
    report = with_scores(report, {("c0", "vanilla"): 0.0, ("c0", "tuned"): 1.0})
    report = with_scores(report, {("c0", "vanilla"): 5.0, ("c0", "tuned"): 3.0}, "Rubric")
    made = by_id(data_of(report))
    assert made["c0"]["tuned"]["apart"] == 1.5, "+1 of 1 and -2 of 4"
    assert "apart" not in by_id(data_of(samples.build(1, (samples.CORRECTNESS,))))["c0"]["tuned"]


def test_flips_and_preferences_are_told_in_words() -> None:
    metric = MetricSpec("preference", "Preference", True, is_relative=True)
    report = samples.build(3, (metric,))
    told = tuple(
        Preference(f"c{i}", "tuned", "vanilla", "Preference", first, second, 0.5)
        for i, (first, second) in enumerate([(1, -1), (2, 2), (None, None)])
    )
    data = data_of(dataclasses.replace(report, preferences=told))
    made = by_id(data)
    texts = [data["texts"][made[f"c{i}"]["tuned"]["scores"][0][4][0]] for i in range(3)]
    flip = "flip: better shown first, worse shown second"
    assert texts == [flip, "much better in both orders", "not asked"]
    assert ["flipped" in made[f"c{i}"]["tuned"]["flags"] for i in range(3)] == [True, False, False]
    assert "scores" not in made["c0"]["vanilla"], "the base's own is given by definition"


def test_cases_that_were_not_worked_are_left_out() -> None:
    report = samples.build(3)
    left = tuple(score for score in report.scores if score.case_id != "c2")
    done = {key: made for key, made in report.completions.items() if key[0] != "c2"}
    report = dataclasses.replace(report, scores=left, completions=done, partial=True)
    assert [case["id"] for case in data_of(report)["cases"]] == ["c0", "c1"]
    none = dataclasses.replace(report, scores=(), completions={}, comparisons=(), summaries=())
    assert "No case has been worked yet." in render_page(none, [])


def test_earlier_turns_and_all_right_answers_are_kept() -> None:
    turns = (Message("system", "Be kind."), Message("user", "Hi"), Message("user", "Who?"))
    case = Case("x", turns, "Ann", references=("Ann", "Anna"), expect=("An+",))
    report = samples.build(1, cases=(case,))
    report = dataclasses.replace(report, failures=(Failure("x", "generate", "no", "tuned"),))
    data = data_of(report)
    (item,), texts = data["cases"], data["texts"]
    assert [[role, texts[text]] for role, text in item["turns"]] == [
        ["system", "Be kind."],
        ["user", "Hi"],
    ]
    assert texts[item["input"]] == "Who?"
    assert [texts[text] for text in item["expected"]] == ["Ann", "Anna"]
    assert [texts[text] for text in item["expect"]] == ["An+"]


def test_the_tests_of_code_are_shown_as_what_is_looked_for() -> None:
    made = [CodeTests(("assert f() == 1",)), CodeTests(runs=(("3", "6"),)), None]
    assert [_tests(case(tests=each)) for each in made] == [
        ["assert f() == 1"],
        ["Input:\n3\nOutput:\n6"],
        [],
    ]


def test_numbers_that_json_lacks_are_left_out() -> None:
    report = samples.build(1, (samples.CORRECTNESS, samples.LATENCY))
    huge = tuple(
        Score("c0", name, "Latency", value)
        for name, value in (("vanilla", 1e308), ("tuned", -1e308))
    )
    kept = tuple(one for one in report.scores if one.metric != "Latency")
    json.dumps(data_of(dataclasses.replace(report, scores=kept + huge)), allow_nan=False)


@pytest.mark.parametrize(
    ("case_id", "anchor"),
    [
        ("17", "case-17"),
        ('a b"<>#%', "case-a%20b%22%3C%3E%23%25"),
        ("é/中", "case-%C3%A9%2F%E4%B8%AD"),
        ("half \ud800", "case-half%20%EF%BF%BD"),
        ("it's (so)!*~_.-", "case-it's%20(so)!*~_.-"),
    ],
)
def test_every_case_has_an_address(case_id: str, anchor: str) -> None:
    assert case_anchor(case_id) == anchor


def test_static_texts_are_short_and_show_control_characters() -> None:
    assert readable("a\0b\x1b\tc\n") == "a␀b␛\tc\n"
    assert readable("x" * 700) == "x" * 600 + " … (100 more characters)"


def test_what_turns_the_direction_of_text_is_marked() -> None:
    assert readable("a\u202eb\u2066c\u2069\x1b") == "a[U+202E]b[U+2066]c[U+2069]\u241b"
