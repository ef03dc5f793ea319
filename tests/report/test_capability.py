"""General ability in verdict, tables, summary, pictures and page."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from typing import Any

import pytest

from plugin.capability.probe import probe_items
from plugin.capability.records import ItemResult, TextReading
from plugin.capability.report import Capability, find_capability
from plugin.capability.words import TEXT_NOTE, detail_lines, with_capability
from plugin.report import render_report
from plugin.report.capability import CAPABILITY_COLUMNS
from plugin.report.capability_charts import capability_charts
from plugin.report.pdf import render_pdf
from plugin.results import Verdict
from plugin.run_facts import CapabilityChoice
from tests.browser import browser  # noqa: F401
from tests.report.test_page import EVIL, Reader

FACTS = {"arithmetic": 0.5, "facts": 0.7, "reading": 0.4, "strings": 0.0, "common_sense": 1.0}
"""Ability -> what the base solves."""


def results(
    names=("vanilla", "tuned"), broken=("arithmetic",), output="answer"
) -> list[ItemResult]:
    """Made-up results of 60 items per ability: the second name solves nothing of what is broken."""
    rows = []
    by_ability: dict[str, list[str]] = {}
    for item in probe_items("full"):
        by_ability.setdefault(item.ability, []).append(item.id)
    for ability, share in FACTS.items():
        ids = (by_ability[ability] + [f"{ability}-more-{i}" for i in range(60)])[:60]
        for place, name in enumerate(names):
            for i, item_id in enumerate(ids):
                is_right = i < 60 * share and not (place == 1 and ability in broken)
                row = ItemResult("probe", ability, item_id, name, float(is_right))
                rows.append(replace(row, output=f"{output} of {name}", reason="not the number"))
    return rows


def readings(name: str, nats: float, distance: float | None = None) -> list[TextReading]:
    """Readings of 30 texts of 100 tokens."""
    return [
        TextReading(
            f"t{i}", "general", name, 100, 400, -100 * (nats + 0.01 * (i % 3)), distance, "d"
        )
        for i in range(30)
    ]


TEXTS = [*readings("vanilla", 2.0), *readings("tuned", 2.1, 0.25)]


def found(rows: list[ItemResult] | None = None, guard: bool = False, **more: Any) -> Capability:
    choice = CapabilityChoice("quick", guard)
    names = ("vanilla", "tuned")
    one = find_capability(rows or results(), more.pop("texts", TEXTS), names, choice, **more)
    assert one is not None
    return one


VERDICT = Verdict("better", "tuned is better than vanilla.", ("A detail.",), "Correctness", "tuned")


def test_a_loss_is_the_verdicts_second_sentence():
    text = with_capability(VERDICT, found()).sentence
    assert text == (
        "tuned is better than vanilla. General ability: lower on arithmetic (matters if the model "
        "does other work too)."
    )
    assert with_capability(VERDICT, found()).harms == ()
    both = results(broken=("arithmetic", "facts", "reading"))
    assert (
        "lower on facts, arithmetic and reading" in with_capability(VERDICT, found(both)).sentence
    )


def test_nothing_lost_adds_no_sentence():
    told = with_capability(VERDICT, found(results(broken=())))
    assert told.sentence == VERDICT.sentence and told.details[0] == "A detail."
    assert with_capability(VERDICT, None) is VERDICT


def test_as_a_guard_a_loss_is_a_harm_in_the_sentence_and_the_chip():
    told = with_capability(VERDICT, found(guard=True))
    assert (
        told.sentence == "tuned is better than vanilla; but worse on general ability: arithmetic."
    )
    (harm,) = told.harms
    assert (harm.metric, harm.group, harm.gain) == ("General ability", "arithmetic", -0.5)
    assert told.chip == "better, but lost: arithmetic"


def test_another_variants_loss_is_no_sentence_but_a_detail():
    told = with_capability(replace(VERDICT, variant="other"), found())
    assert told.sentence == VERDICT.sentence
    assert any("arithmetic: lost" in line for line in told.details)


def test_details_name_floors_ceilings_and_texts_in_a_line_each():
    lines = detail_lines(found())
    assert lines[0].startswith("General ability: lower: -17 points over 180 items (90% interval ")
    assert lines[1].startswith(
        "General ability, arithmetic: lost, by more than 5 points: 0% against 50% of 60 items, "
        "-50 points, interval "
    )
    assert lines[2] == (
        "General ability, not counted: at the floor, where nothing could be lost: strings; at the "
        "ceiling, all solved by both: common sense"
    )
    assert lines[3].startswith("General text: vanilla perplexity 7.46; tuned perplexity 8.25 (+11%")
    assert "KL to the base 0.25 nats" in lines[3] and lines[4] == f"{TEXT_NOTE}."
    assert len(lines) == 5


def test_floor_everywhere_is_said_plainly():
    rows = [replace(row, score=0.0) for row in results()]
    assert detail_lines(found(rows, texts=[]))[0] == (
        "General ability: cannot be told: both models solve (nearly) none of the 300 items, so "
        "nothing could be lost"
    )


def test_the_same_answers_are_unchanged():
    rows = [replace(row, output="x") for row in results(broken=())]
    assert detail_lines(found(rows, texts=[]))[0] == (
        "General ability: unchanged: the same answers to all 300 items"
    )


def test_unclear_says_what_would_tell():
    line = detail_lines(found(results(broken=()), texts=[]))[0]
    assert line.startswith("General ability: kept") or "--capability full has" in line


def test_models_with_other_tokens_are_compared_per_byte():
    other = [replace(one, token_digest="e", n_tokens=50) for one in readings("tuned", 2.0)]
    (_, text) = found(texts=[*readings("vanilla", 2.0), *other]).texts
    assert text.has_other_tokens and text.change == pytest.approx(0.0)
    line = detail_lines(found(texts=[*readings("vanilla", 2.0), *other]))[-2]
    assert "0.72 bits per byte (other tokens than the base's)" in line


def test_why_no_texts_were_read_is_said():
    assert detail_lines(found(texts=[], text_note="not read: no likelihoods"))[-1] == (
        "General text: not read: no likelihoods"
    )


def test_results_of_the_harness_stand_beside_the_probes():
    rows = results()
    rows += [
        ItemResult("lm-eval", "hellaswag", f"h/{i}", name, float(i % 2 or name == "vanilla"), name)
        for name in ("vanilla", "tuned")
        for i in range(80)
    ]
    one = found(rows, texts=[])
    assert [(f.source, f.ability) for f in one.findings][-1] == ("lm-eval", "hellaswag")
    assert one.findings[-1].outcome == "lost"
    assert any(
        line.startswith("General ability (lm-eval), hellaswag: lost") for line in detail_lines(one)
    )
    only = find_capability(rows, [], ("vanilla", "tuned"), None)
    assert only is not None and {f.source for f in only.findings} == {"lm-eval"}


def test_nothing_is_shown_where_nothing_was_asked():
    assert find_capability([], [], ("vanilla", "tuned"), CapabilityChoice("quick")) is None
    assert find_capability(results(), [], ("vanilla", "tuned"), CapabilityChoice("off")) is None


def test_a_base_alone_has_scores_and_nothing_to_compare():
    rows = [row for row in results() if row.variant == "vanilla"]
    one = find_capability(rows, TEXTS[:30], ("vanilla",), CapabilityChoice("quick"))
    assert one is not None and not one.findings and len(one.scores) == 5
    assert detail_lines(one) == [] and set(capability_charts(one)) == {"radar.svg"}


@pytest.fixture
def whole(report):
    return replace(report, capability=found())


def table(whole) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(render_report(whole)["08_capability.csv"])))


def test_the_table_has_a_row_for_each_ability_and_variant(whole):
    rows = table(whole)
    assert list(rows[0]) == CAPABILITY_COLUMNS
    assert len(rows) == 2 * len(FACTS) + 2
    row = next(r for r in rows if (r["ability"], r["variant"]) == ("arithmetic", "tuned"))
    assert (row["outcome"], row["score"], row["base_score"]) == ("lost badly", "0.0", "0.5")
    assert (row["won"], row["lost"], row["n"], row["gain"]) == ("0", "30", "60", "-0.5")
    text = rows[-1]
    assert text["source"] == "texts" and text["score"] == "" and float(text["perplexity"]) > 8


def test_a_run_without_it_has_no_table_picture_or_section(report):
    files = render_report(report)
    assert not {"08_capability.csv", "capability.svg", "radar.svg"} & files.keys()
    assert "General ability" not in files["report.html"]
    assert json.loads(files["summary.json"])["capability"] is None


def test_the_pdf_for_hosts_without_svg_has_a_page_for_each_picture(report, whole):
    pages = [render_pdf(one).count(b"/Type /Page ") for one in (report, whole)]
    assert pages[1] == pages[0] + 2


def test_the_summary_has_everything(whole):
    content = json.loads(render_report(whole)["summary.json"])["capability"]
    assert {one["ability"] for one in content["findings"]} == set(FACTS)
    assert content["overall"][0]["floors"] == ["strings"]
    assert content["texts"][1]["divergence"] == 0.25


def test_the_page_shows_the_table_the_pictures_and_items_to_read(whole):
    page = render_report(whole)["report.html"]
    text = Reader(page).text
    assert "General ability: what else changed" in text
    question = next(i for i in probe_items("full") if i.ability == "arithmetic")
    assert question.messages[-1].content.split("\n")[0] in text
    assert "answer of vanilla" in text and "not the number" in text
    assert "For comparison: models that can do next to nothing" in text
    assert 'aria-label="General ability: change against the base"' in page
    assert 'aria-label="General ability: scores of every variant"' in page
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_texts_of_models_are_escaped(report):
    page = render_report(replace(report, capability=found(results(output=EVIL))))["report.html"]
    assert "<script>alert" not in page and "onerror=alert(1)>" not in page.replace("&gt;", "")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_section_fits_a_narrow_screen(whole, browser, scheme, tmp_path):  # noqa: F811
    file = tmp_path / "report.html"
    file.write_text(render_report(whole)["report.html"], encoding="utf-8")
    page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme=scheme)
    page.goto(file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("#capability").is_visible()
    page.close()
