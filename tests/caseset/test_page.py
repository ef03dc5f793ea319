"""The page of a set: all of it, nothing of the texts as code, and no wider than a phone."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from plugin.caseset.page import PAGE, PICTURE, render_coverage
from plugin.caseset.picture import coverage_svg
from plugin.caseset.records import CaseSet
from plugin.caseset.words import lines_of
from tests.browser import browser
from tests.caseset.samples import build_from, questions, write_rows
from tests.caseset.test_topics import themed

__all__ = ["browser"]

EVIL = '<script>document.title = "owned"</script> & "quotes" $x_1$'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> CaseSet:
    folder = tmp_path_factory.mktemp("page")
    rows = [{"input": row.case.input, "group": name} for name, row in themed(60)]
    rows += [{"input": f"{text} {EVIL}", "group": EVIL} for text in questions(3)]
    rows += [{"input": rows[0]["input"].upper(), "group": "x"}]
    pool = write_rows(folder / "pool.jsonl", rows)
    train = write_rows(folder / "train.jsonl", [{"text": rows[2]["input"]}])
    return build_from(pool, train=(train,), by_group=True, n_topics=None, n=30)


def test_the_page_has_what_the_terminal_says(made: CaseSet) -> None:
    page = render_coverage(made, 2, "Version 2: 5 added")[PAGE]
    said = list(lines_of(made))
    assert any("1 repeats another question" in line for line in said)
    assert any("(the pool has less than 5)" in line for line in said)
    assert "set, version 2: 30 cases drawn, from " in page and "Version 2: 5 added" in page
    for text in ("1 repeats another question", "stand in the training data", "(less than 5)"):
        assert text in page or text.replace("stand ", "stands ") in page
    assert all(side.digest in page for side in made.sides)
    assert "<script" not in page and "&lt;script&gt;" in page


def test_the_picture_is_the_same_every_time_and_has_a_text(made: CaseSet) -> None:
    for narrow in (False, True):
        svg = coverage_svg(made, narrow)
        assert svg == coverage_svg(made, narrow)
        root = ElementTree.fromstring(svg[svg.index("<svg") :])
        assert "cases drawn of those in the pool. " in root.attrib["aria-label"]
    assert render_coverage(made, 1)[PICTURE] == coverage_svg(made)


def test_the_page_in_a_browser(made: CaseSet, browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / PAGE
    file.write_text(render_coverage(made, 1)[PAGE], "utf-8")
    for width, scheme in ((375, "light"), (1000, "dark")):
        context = browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme=scheme,  # type: ignore[arg-type]
        )
        page = context.new_page()
        page.goto(file.as_uri())
        assert page.title() == "Finetune Verdict: evaluation set set, version 1"
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("svg:visible").count() == 1
        assert Axe().run(page).response["violations"] == []
        context.close()
