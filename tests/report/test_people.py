"""What people say, from the journal's state to all files of a report."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from plugin.conclude import conclude
from plugin.journal import Journal
from plugin.metrics import METRICS
from plugin.records import VANILLA, Preference, Score, Variant
from plugin.report import render_report
from plugin.report.record import Report
from plugin.run_facts import HumanChoice, ReasonCheck, RunHeader, RunState
from plugin.trust.humans import completion_digest
from tests.browser import browser
from tests.report.test_page import EVIL, Reader
from tests.samples import case, completion

__all__ = ["browser"]

PREFERENCE, CORRECTNESS = METRICS["preference"].spec, METRICS["correctness"].spec
N, N_DRAWN = 60, 40

HEADER = RunHeader(
    run_id="r",
    identity={},
    digests={},
    params={},
    variants=(Variant(VANILLA, "v", "m"), Variant("tuned", "t", "m")),
    metrics=(PREFERENCE, CORRECTNESS),
    primary_metric=PREFERENCE.name,
    judge="openai:x",
)


def digest(number: int, name: str) -> str:
    return completion_digest(completion(f"{name} {number}", str(number), name))


def choice(number: int, rater: str, won: float | None, comment: str = "") -> HumanChoice:
    """What tuned won by a rater, with it shown first in even cases."""
    pair = (digest(number, "tuned"), digest(number, VANILLA))
    if number % 2:
        return HumanChoice(
            str(number), pair[::-1], rater, None if won is None else 1 - won, comment
        )
    return HumanChoice(str(number), pair, rater, won, comment)


def concluded(folder: Path, state: RunState) -> Report:
    """The report of a run whose judge prefers tuned in three cases of four."""
    with closing(Journal(folder)) as journal:
        journal.begin(HEADER, tuple(case(str(i)) for i in range(N)), ())
        rows = []
        for i in range(N):
            won = float(i % 4 > 0)
            level = 1 if won else -1
            rows.append(
                Preference(str(i), "tuned", VANILLA, PREFERENCE.name, level, level, won, "why")
            )
            for name in (VANILLA, "tuned"):
                journal.add_answer(f"{i} {name}", completion(f"{name} {i}", str(i), name))
                journal.add_score(Score(str(i), name, CORRECTNESS.name, 0.5))
        journal.add_preferences(rows)
        journal.save_state(replace(state, drawn_for_rating=tuple(str(i) for i in range(N_DRAWN))))
        return conclude(journal, 200)


def state(won: Callable[[int], float | None], raters: str = "ab") -> RunState:
    return RunState(
        human_choices=tuple(choice(i, r, won(i)) for i in range(N_DRAWN) for r in raters),
        reason_checks=tuple(
            ReasonCheck(str(i), digest(i, "tuned"), PREFERENCE.name, "a", i % 5 > 0)
            for i in range(20)
        ),
    )


def test_people_stand_in_verdict_and_summary(tmp_path: Path) -> None:
    report = concluded(tmp_path, state(lambda i: float(i % 3 > 0)))
    files = render_report(report)
    # 26 of 40 cases; by the judge 30 of the same 40.
    line = next(text for text in files["verdict.txt"].splitlines() if "2 people preferred" in text)
    assert line.startswith("2 people preferred tuned over vanilla in 65% of 40 cases (95% interval")
    assert line.endswith("ties count half; the judge in 75% of the same cases.")
    assert "Corrected by people, tuned wins " in files["verdict.txt"]
    assert (
        "One person found 80% of 20 reasons of the judge on Preference right"
        in (files["verdict.txt"])
    )
    found = json.loads(files["summary.json"])["trust"]["choices"]
    (view,) = found["views"]
    assert (view["variant"], view["win_rate"]["mean"], view["n_choices"]) == ("tuned", 0.65, 80)
    (row,) = view["beside"]
    assert (row["metric"], row["judge_rate"], row["contradicts"]) == ("Preference", 0.75, False)
    assert row["correction"]["n_all"] == 60
    assert found["reasons"][0]["right"]["mean"] == 0.8


def test_a_contradiction_stands_in_the_first_lines(tmp_path: Path) -> None:
    report = concluded(tmp_path, state(lambda i: float(i % 5 == 0)))
    assert report.verdict.sentence.startswith("[judge openai:x is contradicted by people] tuned is")
    assert report.verdict.details[0].startswith(
        "People and the judge openai:x (on Preference) contradict each other: people prefer "
        "vanilla (tuned wins 20% of 40 cases"
    )
    assert "✗ contradicted by people" in Reader(render_report(report)["report.html"]).text


def test_each_choice_is_a_row_of_the_table(tmp_path: Path) -> None:
    given = RunState(
        human_choices=(
            choice(0, "ann", 1.0, "=evil()"),
            choice(1, "ann", 0.0),
            choice(2, "ann", None),
            choice(3, "ann", 0.5),
        )
    )
    text = render_report(concluded(tmp_path, given))["07_preferences.csv"]
    rows = [row for row in csv.DictReader(io.StringIO(text)) if row["metric"] == "People"]
    names = ("case_id", "judge", "shown_first", "shown_second", "value", "flip", "reason")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("0", "ann", "1", "", "1.0", "", "'=evil()"),
        ("1", "ann", "", "-1", "0.0", "", ""),
        ("2", "ann", "", "", "", "", ""),
        ("3", "ann", "", "0", "0.5", "", ""),
    ]
    assert {row["label"] for row in rows} == {"People: tuned vs vanilla"}


def test_the_page_has_a_section_on_people(tmp_path: Path) -> None:
    report = concluded(tmp_path, state(lambda i: float(i % 3 > 0)))
    text = Reader(render_report(report)["report.html"]).text
    _, _, section = text.partition("What people say")
    assert "tuned vs vanilla 65%" in section and "26 / 0 / 14" in section
    assert "tuned vs vanilla; Preference 75%, 65%" in section
    assert "of 60 rated" in section and "80%" in section
    # There was no exam, so there is no empty heading.
    assert "Can the judge be trusted?" not in text
    bare = replace(report, trust=None, choices=())
    assert "What people say" not in Reader(render_report(bare)["report.html"]).text


def test_names_of_raters_are_escaped(tmp_path: Path) -> None:
    given = RunState(human_choices=tuple(choice(i, EVIL, float(i % 2 == 0)) for i in range(12)))
    html = render_report(concluded(tmp_path, given))["report.html"]
    assert "<script>alert" not in html and "&lt;script&gt;" in html


def test_a_run_that_nobody_rated_says_nothing_of_people(tmp_path: Path) -> None:
    files = render_report(concluded(tmp_path, RunState()))
    assert json.loads(files["summary.json"])["trust"] is None
    assert "People" not in files["07_preferences.csv"] and "eople" not in files["verdict.txt"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_section_is_fit_for_a_phone_and_for_everyone(
    browser: Browser, tmp_path: Path, scheme: str
) -> None:
    report = concluded(tmp_path, state(lambda i: float(i % 2 == 0)))
    (tmp_path / "report.html").write_text(render_report(report)["report.html"])
    page = browser.new_page(
        viewport={"width": 390, "height": 800},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    page.goto((tmp_path / "report.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    found = Axe().run(page, context="#people", options={"resultTypes": ["violations"]})
    bad = [
        one["id"]
        for one in found.response["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert bad == []
    page.close()


def test_the_section_needs_no_scrolling_on_a_desk(browser: Browser, tmp_path: Path) -> None:
    report = concluded(tmp_path, state(lambda i: float(i % 2 == 0)))
    (tmp_path / "report.html").write_text(render_report(report)["report.html"])
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((tmp_path / "report.html").as_uri())
    wide = "[...document.querySelectorAll('#people .card')].map(c => c.scrollWidth - c.clientWidth)"
    assert max(page.evaluate(wide)) <= 0
    page.close()
