import csv
import dataclasses

import pytest

from plugin.records import DATA, Completion, Failure, Message, MetricSpec, Score
from plugin.report import summary_json
from plugin.report.page import render_page
from plugin.report.tables import csv_text as to_csv
from plugin.report.tables import make_tables
from plugin.results import Summary
from tests.report import report_samples as samples

HEADERS = {
    "01_summary.csv": "label,metric,variant,score,n,failed,ci_low,ci_high,higher_is_better",
    "02_comparison.csv": "label,metric,variant,baseline,verdict,gain,ci_low,ci_high,p_value,n,"
    "n_clusters,effective_clusters,group,role,variant_mean,baseline_mean,failed_variant,"
    "failed_baseline,margin,higher_is_better,partial",
    "03_cases.csv": "label,case_id,metric,variant,gain,score,baseline_score,group,input,"
    "expected_output,baseline_output,output,reason",
    "04_failures.csv": "variant,metric,stage,case_id,reason",
    "05_groups.csv": "label,metric,variant,group,score,n,failed,ci_low,ci_high,gain,gain_low,"
    "gain_high,verdict,higher_is_better",
}


def read(report, name):
    """As the dashboard does: cut into lines first, parse each line on its own."""
    head, *lines = to_csv(make_tables(report)[name]).splitlines()
    columns = next(csv.reader([head]))
    return [dict(zip(columns, next(csv.reader([line])), strict=True)) for line in lines]


def with_text(report, text):
    """The report with `text` in every place that data or a model fills."""
    first = dataclasses.replace(
        report.cases[0], messages=(Message("user", text),), expected_output=text, group=text
    )
    made = Completion("c0", "tuned", text, (1,), "stop", 0.1, 3)
    return dataclasses.replace(
        report,
        cases=(first, *report.cases[1:]),
        completions={**report.completions, ("c0", "tuned"): made},
        failures=(Failure("c0", "judge", text), *report.failures),
        scores=tuple(dataclasses.replace(score, reason=text) for score in report.scores),
    )


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("shape", [samples.build, samples.vanilla_only, lambda: samples.build(0)])
def test_header_is_the_same_for_every_report(name, shape):
    assert to_csv(make_tables(shape())[name]).splitlines()[0] == HEADERS[name]


def test_tables_are_in_publishing_order(report):
    assert list(make_tables(report)) == list(HEADERS)


def test_summary_puts_vanilla_first_and_groups_stand_apart(report):
    rows = read(report, "01_summary.csv")
    assert [row["label"] for row in rows] == [
        "Correctness / vanilla",
        "Correctness / adapter",
        "Hallucination / vanilla",
        "Hallucination / adapter",
    ]
    assert [row["variant"] for row in rows] == ["vanilla", "tuned"] * 2
    groups = read(report, "05_groups.csv")
    assert [row["label"] for row in groups][:2] == [
        "Correctness / vanilla / easy",
        "Correctness / adapter / easy",
    ]
    assert len(groups) == 2 * 2 * 2
    told = {(r["metric"], r["group"]): r for r in read(report, "02_comparison.csv")}
    for row in groups:
        want = told[row["metric"], row["group"]]["gain"] if row["variant"] == "tuned" else ""
        assert row["gain"] == want
    assert (rows[1]["n"], rows[1]["failed"], rows[1]["higher_is_better"]) == ("19", "1", "True")
    assert rows[2]["higher_is_better"] == "False"


def test_the_default_chart_has_at_most_eight_short_labels():
    def labels(adapters, n_metrics, name):
        specs = [
            dataclasses.replace(samples.CORRECTNESS, key=f"m{n}", name=f"{name}{n}")
            for n in range(n_metrics)
        ]
        rows = read(samples.build(8, tuple(specs), adapters), "01_summary.csv")
        return [row["label"] for row in rows]

    assert len(labels(("tuned",), 6, "Short")) == 8
    assert len(labels(("tuned",), 6, "Answer Relevancy")) == 6
    several = labels(("a", "b"), 6, "Short")
    assert several[:3] == ["Short0 / vanilla", "Short0 / a", "Short0 / b"]
    assert len(several) == len(set(several)) == 6


def test_only_scores_from_0_to_1_are_charted_where_there_are_any():
    wide = dataclasses.replace(samples.CORRECTNESS, key="wide", name="Wide", high=9.0)
    both = read(samples.build(8, (wide, samples.HALLUCINATION)), "01_summary.csv")
    assert {row["metric"] for row in both} == {"Hallucination"}
    alone = read(samples.build(8, (wide,)), "01_summary.csv")
    assert {row["metric"] for row in alone} == {"Wide"}


def test_comparison_shows_gain_role_and_p_before_adjustment(report):
    first, second, third = read(report, "02_comparison.csv")[:3]
    assert first["label"] == "Correctness: tuned vs vanilla"
    assert third["label"] == "Correctness: tuned vs vanilla / easy"
    # 18 pairs: 5 losses of 0.2, 4 ties from c1, 9 wins of 0.3 less the one that failed.
    wins, losses = report.comparisons[0].wins, report.comparisons[0].losses
    gain = round((wins * 0.3 - losses * 0.2) / 18, 4)
    assert float(first["gain"]) == gain
    assert first["p_value"] == "0.001"
    assert (first["n"], first["verdict"], first["partial"]) == ("18", "better", "False")
    assert (
        float(second["gain"]) > 0 > float(second["variant_mean"]) - float(second["baseline_mean"])
    )
    assert (third["verdict"], third["group"], third["margin"]) == ("better", "easy", "0.05")
    roles = [row["role"] for row in (first, second, third)]
    assert roles == ["primary", "exploratory", "exploratory"]
    assert (first["n_clusters"], first["effective_clusters"]) == ("", "")


def test_comparison_counts_the_clusters(report):
    first, *others = report.comparisons
    clustered = dataclasses.replace(first, n_clusters=7, effective_clusters=5.25)
    row = read(dataclasses.replace(report, comparisons=(clustered, *others)), "02_comparison.csv")[
        0
    ]
    assert (row["n_clusters"], row["effective_clusters"]) == ("7", "5.25")


def test_cases_have_a_row_per_metric_and_variant_beside_the_base(report):
    rows = read(report, "03_cases.csv")
    assert len(rows) == len(report.metrics) * len(report.cases)
    first = next(row for row in rows if row["case_id"] == "c0")
    assert first == {
        "label": "Correctness / tuned",
        "case_id": "c0",
        "metric": "Correctness",
        "variant": "tuned",
        "gain": "-0.2",
        "score": "0.3",
        "baseline_score": "0.5",
        "group": "easy",
        "input": "What is 0 plus 1?",
        "expected_output": "1",
        "baseline_output": "I think it is 1.",
        "output": "It is 1, exactly.",
        "reason": "reason c0",
    }


def test_the_biggest_losses_come_first_and_what_has_no_gain_last(report):
    gains = [row["gain"] for row in read(report, "03_cases.csv")]
    known = [float(gain) for gain in gains if gain]
    assert known == sorted(known) and known[0] == -0.2
    assert gains[len(known) :] == [""] * 4, "c3 and c4, on both metrics"


def test_the_base_alone_has_rows_of_its_own():
    rows = read(samples.vanilla_only(), "03_cases.csv")
    assert len(rows) == 2 * 20
    assert {(row["variant"], row["gain"], row["baseline_score"]) for row in rows} == {
        ("vanilla", "", "")
    }
    assert {row["baseline_output"] for row in rows} == {""}
    assert rows[0]["output"] == "I think it is 1."


def test_gain_is_turned_and_paired(report):
    rows = {(r["metric"], r["variant"], r["case_id"]): r for r in read(report, "03_cases.csv")}
    assert {variant for _, variant, _ in rows} == {"tuned"}
    assert rows["Correctness", "tuned", "c0"]["gain"] == "-0.2"
    turned = rows["Hallucination", "tuned", "c0"]
    assert (turned["gain"], turned["score"], turned["baseline_score"]) == ("-0.2", "0.7", "0.5")
    assert rows["Correctness", "tuned", "c1"]["gain"] == "0.0"
    unpaired = rows["Correctness", "tuned", "c4"]
    assert (unpaired["score"], unpaired["baseline_score"], unpaired["gain"]) == ("0.3", "", "")


def test_failure_is_shown_twice_and_is_no_number(report):
    rows = [row for row in read(report, "03_cases.csv") if row["reason"].startswith("FAILED")]
    told = {(r["case_id"], r["score"] and "scored", r["gain"], r["reason"]) for r in rows}
    assert told == {
        ("c3", "", "", "FAILED (judge): no verdicts"),
        ("c4", "scored", "", "FAILED (judge of vanilla): no verdicts | reason c4"),
    }
    failures = read(report, "04_failures.csv")
    assert [(row["variant"], row["metric"], row["stage"], row["case_id"]) for row in failures] == [
        ("tuned", "Correctness", "judge", "c3"),
        ("tuned", "Hallucination", "judge", "c3"),
        ("vanilla", "Correctness", "judge", "c4"),
        ("vanilla", "Hallucination", "judge", "c4"),
    ]


def test_a_failure_without_metric_stands_for_all_of_them():
    report = samples.build(3, failed={("c1", "tuned")})
    report = dataclasses.replace(report, failures=(Failure("c1", "generate", "too long", "tuned"),))
    rows = [row for row in read(report, "03_cases.csv") if row["case_id"] == "c1"]
    failed = {(row["variant"], row["metric"]) for row in rows if row["reason"].startswith("FAIL")}
    assert failed == {("tuned", "Correctness"), ("tuned", "Hallucination")}
    assert read(report, "04_failures.csv")[0]["metric"] == ""


def test_a_metric_that_the_case_has_nothing_for_did_not_fail():
    needy = dataclasses.replace(samples.CORRECTNESS, needs=frozenset({"expected_output"}))
    report = samples.build(1, (needy, samples.HALLUCINATION), failed={("c0", "tuned")})
    case = dataclasses.replace(report.cases[0], expected_output=None)
    failure = Failure("c0", "generate", "too long", "tuned")
    report = dataclasses.replace(report, cases=(case,), failures=(failure,), scores=())
    rows = read(report, "03_cases.csv")
    assert [(row["metric"], row["variant"]) for row in rows] == [("Hallucination", "tuned")]


def test_a_case_that_was_not_worked_has_no_row():
    report = samples.build(3)
    left = tuple(score for score in report.scores if score.case_id != "c2")
    rows = read(dataclasses.replace(report, scores=left), "03_cases.csv")
    assert {row["case_id"] for row in rows} == {"c0", "c1"}


def test_a_case_that_the_base_alone_has_worked_has_no_row():
    report = samples.build(3)
    left = tuple(
        score for score in report.scores if (score.case_id, score.variant) != ("c2", "tuned")
    )
    rows = read(dataclasses.replace(report, scores=left), "03_cases.csv")
    assert {row["case_id"] for row in rows} == {"c0", "c1"}


def test_missing_numbers_are_empty_and_not_finite_ones_too():
    bad = Summary("Correctness", "vanilla", "all", None, 0, 3, float("nan"), float("inf"), True)
    # The host's chart would draw a missing mean as a zero.
    assert read(samples.build(3, summaries=(bad,)), "01_summary.csv") == []
    comparison = read(
        samples.build(2, failed={("c0", "tuned"), ("c1", "tuned")}), "02_comparison.csv"
    )
    empty = ("variant_mean", "baseline_mean", "gain", "ci_low", "ci_high", "p_value")
    assert [comparison[0][column] for column in empty] == [""] * len(empty)


def test_the_p_value_is_the_same_number_in_the_table_and_in_the_summary(report):
    rows, told = read(report, "02_comparison.csv"), summary_json(report)["comparisons"]
    by_label = {(row["metric"], row["variant"], row["group"]): row for row in rows}
    for row in told:
        cell = by_label[row["metric"], row["variant"], row["group"]]["p_value"]
        assert float(cell) == row["p_value"] == 0.001
        assert row["p_adjusted"] == 0.0041234567


def test_numbers_are_rounded_and_zero_has_no_sign():
    row = Summary("Correctness", "vanilla", "all", 2 / 3, 3, 0, -0.00001, 1.0, True)
    line = to_csv(make_tables(samples.build(3, summaries=(row,)))["01_summary.csv"]).splitlines()[1]
    assert line == "Correctness / vanilla,Correctness,vanilla,0.6667,3,0,0.0,1.0,True"


def test_every_line_break_is_spelled_out():
    breaks = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
    report = with_text(samples.build(4), "a" + "b".join(breaks) + 'c,"d"')
    rows = read(report, "03_cases.csv")
    row = next(r for r in rows if (r["case_id"], r["variant"]) == ("c0", "tuned"))
    spelled = "a" + "b".join(char.encode("unicode_escape").decode() for char in breaks) + 'c,"d"'
    for column in ("input", "output", "expected_output", "group", "reason"):
        assert row[column] == spelled
    assert spelled.startswith(r"a\nb\rb")
    assert len(rows) == 8
    assert read(report, "04_failures.csv")[0]["reason"] == spelled


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1"])
def test_formulas_are_neutralised(text):
    rows = read(with_text(samples.build(4), text), "03_cases.csv")
    row = next(r for r in rows if (r["case_id"], r["variant"]) == ("c0", "tuned"))
    for column in ("input", "output", "expected_output", "group", "reason"):
        assert row[column] == f"'{text}"


@pytest.mark.parametrize("text", ["-5", "+3.25", "-1e-3", "a=b", "1 - 2", ""])
def test_numbers_and_plain_text_stay_as_they_are(text):
    rows = read(with_text(samples.build(4), text), "03_cases.csv")
    row = next(r for r in rows if (r["case_id"], r["variant"]) == ("c0", "tuned"))
    assert (row["input"], row["output"]) == (text, text)
    assert row["gain"] == "-0.2"


def test_metrics_may_be_named_by_key_or_by_name(report):
    keys = {metric.name: metric.key for metric in report.metrics}
    by_key = dataclasses.replace(
        report,
        scores=tuple(dataclasses.replace(s, metric=keys[s.metric]) for s in report.scores),
        comparisons=tuple(
            dataclasses.replace(c, metric=keys[c.metric]) for c in report.comparisons
        ),
    )
    for name in HEADERS:
        assert to_csv(make_tables(by_key)[name]) == to_csv(make_tables(report)[name])


RECALL = MetricSpec(
    key="contextual_recall",
    name="Contextual Recall",
    higher_is_better=True,
    decides=False,
    judges_data=True,
)


def with_data_quality(given):
    """The report with a metric besides that judges the cases alone."""
    scores = tuple(Score(case.id, DATA, RECALL.name, 0.5) for case in given.cases)
    mean = Summary(RECALL.name, DATA, "all", 0.5, len(scores), 0, 0.4, 0.6, True)
    return dataclasses.replace(
        given,
        metrics=(*given.metrics, RECALL),
        scores=(*given.scores, *scores),
        summaries=(*given.summaries, mean),
    )


def test_what_judges_the_data_stands_once_and_is_never_compared():
    given = samples.build()
    report = with_data_quality(given)
    rows = [row for row in read(report, "03_cases.csv") if row["metric"] == RECALL.name]
    assert [row["case_id"] for row in rows] == [case.id for case in given.cases]
    assert {(row["variant"], row["output"], row["gain"]) for row in rows} == {(DATA, "", "")}
    labels = [row["label"] for row in read(report, "01_summary.csv")]
    assert labels.count("Contextual Recall / data set") == 1
    assert not any(row["metric"] == RECALL.name for row in read(report, "02_comparison.csv"))


def test_the_page_shows_the_quality_of_the_data_apart_from_the_variants():
    html = render_page(with_data_quality(samples.build()), [])
    assert html.count('"data":[[') == len(samples.build().cases)
    assert "<h4>data set</h4>" not in html


def test_a_prompted_base_has_rows_of_its_own_and_gains_stay_over_vanilla():
    report = samples.build(8, adapters=("prompted", "tuned"), groups=("easy",))
    rows = read(report, "02_comparison.csv")
    assert [(row["label"], row["baseline"]) for row in rows[:4]] == [
        ("Correctness: tuned vs vanilla", "vanilla"),
        ("Correctness: tuned vs prompted", "prompted"),
        ("Correctness: prompted vs vanilla", "vanilla"),
        ("Hallucination: tuned vs vanilla", "vanilla"),
    ]
    assert len({row["label"] for row in rows}) == len(rows) == 3 * 2 * 2
    assert [row["gain"] for row in rows[:3]] == ["0.1", "0.0", "0.1"]
    cases = read(report, "03_cases.csv")
    gains = {(row["variant"], row["gain"]) for row in cases if row["case_id"] == "c2"}
    assert gains == {("prompted", "0.1"), ("tuned", "0.3")}
    assert {row["baseline_output"] for row in cases if row["case_id"] == "c2"} == {
        "I think it is 3."
    }
