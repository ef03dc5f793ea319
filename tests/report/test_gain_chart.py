"""The picture of the answer: what it shows, in which order, and to whom."""

import dataclasses
import re
import xml.etree.ElementTree as ET

import pytest

from plugin.records import ALL, MetricSpec
from plugin.report.gain_chart import answer_svg, gains_svg
from plugin.report.gain_rows import MOST_GUARDS, gain_blocks
from plugin.report.pdf import render_pdf
from plugin.report.record import Ledger
from plugin.results import NextKind, NextStep, Verdict
from tests.report import report_samples as samples

EVIL = '<b>"a" & $b$\x00</b>'


def blocks(report):
    return gain_blocks(Ledger(report))


def rows(report):
    return [(block.title, [row.text for row in block.rows]) for block in blocks(report)]


def test_what_decides_comes_first_then_what_must_not_get_worse():
    assert rows(samples.lost_group()) == [
        ("Decides", ["Correctness: +0.07 (+0.04 to +0.11), better"]),
        (
            "Must not get worse",
            [
                "general (retention group): -0.30 (-0.31 to -0.30), lost",
                "manners (retention group): +0.001 (-0.01 to +0.01), kept",
            ],
        ),
        (
            "Exploratory: shows where to look",
            [
                "task (group): +0.30 (+0.29 to +0.31), better",
                "task 2 (group): +0.30 (+0.29 to +0.31), better",
            ],
        ),
    ]


def test_every_outcome_is_said_by_a_sign_and_a_word_besides_the_colour():
    said = answer_svg(samples.lost_group())
    for outcome in ("▲ better", "◆ lost", "✓ kept", "◆ better, but lost: general"):
        assert f">{outcome}<" in said


def test_of_several_the_verdicts_own_comes_first_and_what_others_lost_is_there():
    gains = {"sft": {"task": 0.2, "chat": 0.1}, "dpo": {"task": 0.3, "chat": -0.2}}
    found = dict(rows(samples.judged(gains, retention=("chat",))))
    assert [text.split(":")[0] for text in found["Decides: Correctness"]] == ["sft", "dpo"]
    guards = found["Must not get worse"]
    assert guards[0].startswith("chat (dpo, retention group): -0.20")
    assert guards[1].startswith("chat (sft, retention group): +0.10")


def test_a_prompt_is_shown_beside_the_variant_it_should_be_beaten_by():
    report = samples.judged({"prompted": {"task": 0.26}, "tuned": {"task": 0.3}})
    first = rows(report)[0][1]
    assert first[1].startswith("tuned (over prompted): +0.04")


def test_a_metric_of_another_scale_has_an_axis_of_its_own():
    rouge = MetricSpec("rouge", "ROUGE", True, high=100.0, margin=5.0, unit="points")
    report = samples.build(20, (samples.CORRECTNESS, rouge))
    found = blocks(report)
    assert [(block.title, block.unit, block.has_axis) for block in found] == [
        ("Decides", "", True),
        ("Exploratory: shows where to look", "points", True),
    ]
    low, high = found[1].ends
    assert low < -5 and high > 5
    assert "gain points" in gains_svg(report)


def test_blocks_of_one_scale_share_one_axis_and_label_it_once():
    found = blocks(samples.lost_group())
    assert len({block.ends for block in found}) == 1
    assert [block.has_axis for block in found] == [False, False, True]


def test_a_win_rate_is_shown_as_one():
    report = samples.build(20, (samples.CORRECTNESS,))
    (row,) = report.comparisons
    won = dataclasses.replace(
        row, is_relative=True, variant_mean=0.66, baseline_mean=0.5,
        gain=0.16, ci_low=0.05, ci_high=0.26,
    )  # fmt: skip
    report = dataclasses.replace(report, comparisons=(won,))
    assert rows(report)[0][1] == ["Correctness: wins 66% (55% to 76%), better"]


def test_what_only_describes_is_left_out():
    report = samples.build(12, (samples.CORRECTNESS, samples.LATENCY))
    assert [title for title, _ in rows(report)] == ["Decides"]


def test_no_pairs_and_no_interval_are_said():
    report = samples.build(3, (samples.CORRECTNESS,))
    assert "no interval" in gains_svg(report)
    report = samples.build(3, failed={(f"c{n}", "tuned") for n in range(3)})
    assert rows(report)[0][1][0] == "Correctness: no pairs, can't tell"
    assert ET.fromstring(gains_svg(report)) is not None


def test_lost_guards_are_shown_however_many_there_are():
    report = samples.lost_group()
    kept = next(row for row in report.comparisons if row.outcome == "kept")
    lost = next(row for row in report.comparisons if row.outcome == "lost")
    many = tuple(dataclasses.replace(kept, group=f"a{n:02}") for n in range(MOST_GUARDS + 3))
    report = dataclasses.replace(report, comparisons=(*many, lost))
    (block,) = blocks(report)
    assert block.rows[0].name == "general" and len(block.rows) == MOST_GUARDS
    assert block.n_left_out == 4
    assert "4 more in the tables" in gains_svg(report)


@pytest.mark.parametrize("narrow", [False, True])
def test_names_from_users_are_text(narrow):
    report = samples.judged({EVIL: {EVIL: -0.3}}, retention=(EVIL,))
    report = dataclasses.replace(report, warnings=())
    for svg in (answer_svg(report), gains_svg(report, narrow=narrow)):
        root = ET.fromstring(svg)
        assert not [element for element in root.iter() if element.tag.endswith("}b")]
        assert '<b>"a" & $b$ </b>' in root.attrib["aria-label"]


def test_the_picture_alone_says_verdict_and_next_step_in_words_too():
    report = samples.lost_group()
    step = NextStep(NextKind.DO_NOT_SHIP, "Do not ship tuned, because it got worse on general.")
    verdict = dataclasses.replace(report.verdict, next_step=step)
    svg = answer_svg(dataclasses.replace(report, verdict=verdict))
    assert f">{step.line}<" in svg
    label = ET.fromstring(svg).attrib["aria-label"]
    assert label.startswith(report.verdict.sentence)
    assert "general (retention group): -0.30 (-0.31 to -0.30), lost" in label
    inside = gains_svg(report)
    assert report.verdict.sentence not in inside and step.text not in inside


def test_one_variant_has_no_gains_but_a_picture_of_its_own():
    alone = samples.vanilla_only()
    assert gains_svg(alone) == "" and gain_blocks(Ledger(alone)) == []
    assert "Nothing to compare: the run has one variant." in answer_svg(alone)


def test_the_same_report_gives_the_same_bytes_and_fits_its_frame():
    report = samples.lost_group()
    for svg in (answer_svg(report), gains_svg(report, narrow=True)):
        _, _, width, height = map(float, ET.fromstring(svg).attrib["viewBox"].split())
        for x, y in re.findall(r'<text [^>]*\bx="([-\d.]+)" y="([-\d.]+)"', svg):
            assert -1 <= float(x) <= width and 0 <= float(y) <= height
    assert answer_svg(report) == answer_svg(samples.lost_group())


def test_it_is_the_first_page_of_the_pdf(monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "plugin.report.pdf.answer_figure",
        lambda ledger: drawn.append(ledger) or __import__("matplotlib.figure").figure.Figure(),
    )
    assert render_pdf(samples.build(4)).startswith(b"%PDF")
    assert len(drawn) == 1


def test_without_a_verdicts_variant_the_first_contender_is_meant():
    verdict = Verdict("better", "So it is.", (), "Correctness")
    report = samples.build(20, (samples.CORRECTNESS,), verdict=verdict)
    assert rows(report)[0][1][0].startswith("Correctness: +0.10")
    assert all(row.group == ALL for row in report.comparisons)
