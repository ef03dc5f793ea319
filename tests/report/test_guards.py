"""What was lost stands in the sentence, the chip, the page, the charts and the tables."""

import csv
import dataclasses
import json
import re

import pytest

from plugin.records import ALL
from plugin.report import render_report
from plugin.report.page import BADGES, MAX_ROWS, render_page
from plugin.report.record import Ledger
from plugin.results import Harm
from tests.report import report_samples as samples
from tests.report.test_page import Reader

SAMPLES = {
    "lost group": samples.lost_group,
    "lost metric": samples.lost_metric,
    "worse and lost": lambda: samples.judged(
        {"tuned": {"task": -0.3, "general": -0.3}}, {"tuned": -0.2}, ("general",)
    ),
    "worse, nothing guarded": lambda: samples.judged({"tuned": {"task": 0.4, "general": -0.3}}),
    "equivalent": lambda: samples.judged({"tuned": {"task": 0.0}}, {"tuned": 0.0}),
    "equivalent, but lost": lambda: samples.judged({"tuned": {"task": 0.0}}, {"tuned": -0.2}),
    "can't tell": lambda: samples.judged({"tuned": {"task": 0.3, "general": -0.3}}),
    "unclear": lambda: samples.judged(
        {"tuned": {"task": 0.3, "general": 0.02}}, retention=("general",), n=6
    ),
    "two adapters": lambda: samples.judged(
        {"tuned": {"task": 0.3, "general": 0.0}, "other": {"task": 0.1, "general": -0.2}},
        retention=("general",),
    ),
    "vanilla only": samples.vanilla_only,
}


def rows_of(files, name):
    return list(csv.DictReader(files[name].splitlines()))


def hero_of(html):
    """The text of the page's first card, without what is folded away."""
    card = html[html.index('<section class="card hero') : html.index("</section>")]
    return Reader(re.sub(r"<details>.*?</details>", "", card, flags=re.DOTALL)).text


def test_a_lost_group_stands_everywhere():
    report = samples.lost_group()
    files = render_report(report)
    assert report.verdict.outcome == "better"
    assert (
        "; but worse on retention group general, 0.20 against 0.50, gain -0.30"
        in report.verdict.sentence
    )
    assert report.verdict.sentence in files["verdict.txt"]
    assert "◆ better, but lost: general tuned is better than" in hero_of(files["report.html"])
    told = json.loads(files["summary.json"])["verdict"]
    assert (told["outcome"], told["chip"]) == ("better", "better, but lost: general")
    (harm,) = told["harms"]
    assert (harm["name"], harm["variant"], harm["metric"]) == ("general", "tuned", "Correctness")
    assert (harm["group"], harm["n"]) == ("general", 40)
    assert harm["gain"] == pytest.approx(-0.3, abs=0.01)
    found = {
        row["group"]: (row["role"], row["verdict"]) for row in rows_of(files, "02_comparison.csv")
    }
    assert found == {
        "all": ("primary", "better"),
        "general": ("guard", "lost"),
        "manners": ("guard", "kept"),
        "task": ("exploratory", "better"),
        "task 2": ("exploratory", "better"),
    }
    worst = rows_of(files, "03_cases.csv")[0]
    assert (worst["group"], float(worst["gain"])) == ("general", pytest.approx(-0.33))


def test_a_lost_metric_stands_everywhere():
    report = samples.lost_metric()
    files = render_report(report)
    lost = "; but worse on guard metric Toxicity, 0.70 against 0.50 (lower is better), gain -0.20"
    assert lost in report.verdict.sentence and lost in files["verdict.txt"]
    assert "◆ better, but lost: Toxicity tuned is better than" in hero_of(files["report.html"])
    told = json.loads(files["summary.json"])["verdict"]
    assert [(harm["name"], harm["group"]) for harm in told["harms"]] == [("Toxicity", "all")]
    found = [
        (row["metric"], row["group"], row["role"], row["verdict"])
        for row in rows_of(files, "02_comparison.csv")
    ]
    assert found == [
        ("Correctness", "all", "primary", "better"),
        ("Toxicity", "all", "guard", "lost"),
        ("Correctness", "task", "exploratory", "better"),
        ("Toxicity", "task", "exploratory", "worse"),
    ]


@pytest.mark.parametrize("name", SAMPLES)
def test_no_output_says_mixed_and_every_outcome_has_a_badge(name):
    report = SAMPLES[name]()
    files = render_report(report)
    assert not [
        file for file, text in files.items() if re.search(r"\bmixed\b", text, re.IGNORECASE)
    ]
    text = Reader(files["report.html"]).text
    for row in report.comparisons:
        assert f"{BADGES[row.outcome][1]} {row.outcome}" in text


def test_the_samples_have_every_outcome():
    reports = [make() for make in SAMPLES.values()]
    assert {report.verdict.outcome for report in reports} == {
        *("better", "worse", "equivalent", "can't tell", None)
    }
    outcomes = {row.outcome for report in reports for row in report.comparisons}
    assert outcomes == set(BADGES) - {None}


def test_what_other_variants_lost_is_shown_and_never_folded_away():
    report = SAMPLES["two adapters"]()
    assert report.verdict.chip == "better"
    harms = json.loads(render_report(report)["summary.json"])["verdict"]["harms"]
    assert [(harm["variant"], harm["name"]) for harm in harms] == [("other", "general")]
    many = tuple(f"note {number}" for number in range(12))
    crowded = dataclasses.replace(report.verdict, details=(*many, *report.verdict.details))
    html = render_page(dataclasses.replace(report, verdict=crowded), [])
    notes = html[html.index('id="notes"') :].partition("<details>")[0]
    assert "note 2" in notes and "note 3" not in notes
    assert "◆ other lost: general" in hero_of(html)


def test_retention_groups_have_a_table_of_their_own_before_the_exploratory_ones():
    text = Reader(render_page(samples.lost_group(), [])).text
    retention, groups = text.index("Retention groups Groups that"), text.index("By group Explor")
    assert retention < text.index("general Correctness higher is better; guard") < groups
    assert retention < text.index("manners Correctness higher is better; guard") < groups
    assert groups < text.index("task Correctness higher is better; exploratory")
    assert "Retention groups Groups that" not in Reader(render_page(samples.build(4), [])).text


def test_a_lost_guard_is_in_the_table_however_many_rows_there_are():
    report = samples.lost_group()
    lost = next(row for row in report.comparisons if row.outcome == "lost")
    kept = next(row for row in report.comparisons if row.outcome == "kept")
    many = tuple(dataclasses.replace(kept, group=f"a{number:03}") for number in range(MAX_ROWS + 5))
    last = dataclasses.replace(lost, group="zzz")
    html = render_page(dataclasses.replace(report, comparisons=(*many, last)), [])
    table = Reader(html[html.index("<h2>Retention groups") : html.index("<h2>Read the cases")]).text
    assert "zzz Correctness" in table and "a099 " in table and "a100 " not in table
    assert "5 more are in 02_comparison.csv." in table


def test_retention_groups_come_first_in_the_charts_and_are_not_called_exploratory():
    files = render_report(samples.lost_group())
    means, gains = files["comparison.svg"], files["distribution.svg"]
    assert "Correctness by group (exploratory except retention)" in means
    places = [
        means.index(f">{name}<") for name in ("general (retention)", "manners (retention)", "task")
    ]
    assert places == sorted(places)
    assert "by group: mean gain<" in gains
    assert ">general: lost<" in gains and ">manners: kept<" in gains and ">task<" in gains
    all_guarded = samples.judged({"tuned": {"task": 0.3}}, retention=("task",))
    files = render_report(all_guarded)
    assert "exploratory" not in files["comparison.svg"] + files["distribution.svg"]


def test_groups_that_must_not_get_worse_stand_before_the_others():
    gains = {"first": 0.3, "general": -0.3, "last": 0.3}
    report = samples.judged({"tuned": gains}, retention=("general",), n=6)
    assert Ledger(report).groups == ("general", "first", "last")


def test_an_unclear_guard_says_how_many_cases_would_tell():
    report = SAMPLES["unclear"]()
    row = next(row for row in report.comparisons if row.outcome == "unclear")
    open_row = dataclasses.replace(row, n_to_detect=120, n_if_alike=None, margin=0.05)
    text = Reader(render_page(dataclasses.replace(report, comparisons=(open_row,)), [])).text
    assert "About 120 pairs would show that no more than 0.05 is lost." in text


@pytest.mark.parametrize(
    ("outcome", "chip"),
    [
        ("better", "better, but lost: general, Toxicity"),
        ("equivalent", "equivalent, but lost: general, Toxicity"),
        ("worse", "worse, and lost: general, Toxicity"),
        ("can't tell", "can't tell, and lost: general, Toxicity"),
    ],
)
def test_the_chip_names_what_was_lost_and_by_no_other_variant(outcome, chip):
    report = samples.lost_group()
    harms = (
        Harm("tuned", "Correctness", "general", -0.3, None, None, 40),
        Harm("other", "Correctness", "elsewhere", -0.3, None, None, 40),
        Harm("tuned", "Toxicity", "all", -0.2, None, None, 40),
    )
    verdict = dataclasses.replace(report.verdict, outcome=outcome, harms=harms)
    html = render_page(dataclasses.replace(report, verdict=verdict), [])
    assert f"◆ {chip} " in hero_of(html)


def test_p_values_are_called_adjusted_only_where_there_are_several() -> None:
    alone = samples.judged({"tuned": {"all of them": 0.3}})
    row = next(row for row in alone.comparisons if row.group == ALL)
    text = Reader(render_page(dataclasses.replace(alone, comparisons=(row,)), [])).text
    assert "The primary metric is tested alone." in text
    assert "Holm" not in text and "djusted" not in text
    several = dataclasses.replace(row, n_family=3)
    text = Reader(render_page(dataclasses.replace(alone, comparisons=(several,)), [])).text
    assert "p on the primary metric is adjusted over 3 tests (Holm)." in text
    assert "tested alone" not in text and "Adjusted p" in text
    guard = dataclasses.replace(row, role="guard", outcome="kept")
    text = Reader(render_page(dataclasses.replace(alone, comparisons=(guard,)), [])).text
    assert "For guards, a small p is a sign of harm." in text and "djusted" not in text
    two = dataclasses.replace(guard, n_family=2, group="general")
    text = Reader(render_page(dataclasses.replace(alone, comparisons=(two,)), [])).text
    assert "For guards, a small p is a sign of harm, adjusted over 2 guards (Holm)." in text
