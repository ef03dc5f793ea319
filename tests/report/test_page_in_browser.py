"""The report page of the demo's answers in a real browser: for everyone, everywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from demo import FOLDER
from tests.browser import browser  # noqa: F401
from tests.e2e.conftest import main

SCREEN, PHONE = (1200, 900), (390, 844)


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the answers that the demo's models gave, of which three are broken."""
    folder = tmp_path_factory.mktemp("demo-page")
    kept = json.loads((FOLDER / "recorded.json").read_text(encoding="utf-8"))["completions"]
    words = ["--dataset_name", str(FOLDER / "cases.jsonl"), "--judge", "offline"]
    words += ["--predefined_tasks", "Correctness, Hallucination, Token F1"]
    words += ["--retention_group", "unseen", "--out", str(folder / "run")]
    for variant in ("vanilla", "adapter"):
        rows = [{"id": case_id, "output": text} for case_id, text in kept[variant].items()]
        file = folder / f"{variant}.jsonl"
        file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        words += ["--recorded", f"{variant}={file}:output"]
    ended = main("run", *words)
    assert ended.code == 0, ended.err
    return folder / "run" / "report.html"


@pytest.fixture
def open_page(browser: Browser, page_file: Path) -> Iterator[object]:  # noqa: F811
    contexts = []

    def opened(size: tuple[int, int] = SCREEN, scheme: str = "light") -> Page:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=scheme,  # type: ignore[arg-type]
            bypass_csp=True,  # for the test's own script; the page's policy has a test elsewhere
        )
        contexts.append(context)
        page = context.new_page()
        page.goto(page_file.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [SCREEN, PHONE])
def test_axe_finds_nothing_serious(open_page, scheme, size):
    page = open_page(size, scheme)
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    found = Axe().run(page).response["violations"]
    bad = [
        (rule["id"], rule["nodes"][0]["html"][:200])
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]
    assert bad == []


def shown_pictures(page: Page) -> list[str]:
    parts = ("wide", "narrow")
    return [name for name in parts if page.locator(f".answer-picture .{name}").is_visible()]


def sideways(page: Page) -> int:
    root = "document.documentElement"
    return page.evaluate(f"{root}.scrollWidth - {root}.clientWidth")


def test_a_phone_gets_the_narrow_picture_and_need_not_scroll_sideways(open_page):
    page = open_page(PHONE)
    assert shown_pictures(page) == ["narrow"]
    assert sideways(page) == 0
    box = page.locator(".answer-picture svg").nth(1).bounding_box()
    assert box is not None and box["width"] <= PHONE[0]
    page = open_page(SCREEN)
    assert shown_pictures(page) == ["wide"] and sideways(page) == 0


def test_paper_gets_the_wide_picture_and_all_notes_but_no_links_to_jump_to(open_page):
    page = open_page((760, 1075))
    page.emulate_media(media="print")
    assert shown_pictures(page) == ["wide"] and sideways(page) == 0
    assert not page.locator(".jump").is_visible()
    assert page.locator("#notes li").last.is_visible()


def test_the_answer_and_what_decides_fit_on_the_first_screen(open_page):
    page = open_page(SCREEN)
    for text in ("adapter is better than vanilla", "Next:", "Decides", "Must not get worse"):
        box = page.locator("#answer, .answer-picture .wide").get_by_text(text).first.bounding_box()
        assert box is not None and box["y"] + box["height"] < SCREEN[1], text


def test_a_reader_without_colours_is_told_by_signs_and_words(open_page):
    page = open_page(SCREEN)
    shown = page.locator(".answer-picture .wide text").all_text_contents()
    assert any(text.startswith("▲ ") for text in shown)
    assert {"Decides", "Must not get worse", "margin: too small to matter"} <= set(shown)


def test_links_on_the_page_lead_somewhere(open_page):
    page = open_page(SCREEN)
    names = [link.get_attribute("href") for link in page.locator(".jump a, .hero a").all()]
    assert "#turned" in names and "#rate" in names
    for name in names:
        assert page.evaluate("name => !!document.getElementById(name.slice(1))", name), name


def test_a_phone_shows_where_the_page_comes_from_in_words(open_page):
    page = open_page(PHONE)
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    assert sideways(page) == 0
    source = page.locator("#source ~ details")
    values = source.locator("dd code").evaluate_all(
        "all => all.map((x) => [x.textContent.length, x.parentElement.clientWidth])"
    )
    widths = [width for n, width in values if n > 12]
    assert widths and min(widths) > 150
    assert page.locator(".swipe").is_visible()


def test_paper_is_not_shrunk_and_has_no_triangles(open_page):
    page = open_page((700, 1000))
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    page.emulate_media(media="print")
    table = page.locator("#source ~ details table")
    assert table.evaluate("table => table.scrollWidth - table.parentElement.clientWidth") <= 0
    assert not page.locator(".swipe").is_visible()
    marks = page.locator("summary").evaluate_all(
        "all => all.map((x) => getComputedStyle(x).listStyleType)"
    )
    assert set(marks) == {"none"}


def test_a_link_to_a_case_that_is_not_there_says_so_on_the_screen(open_page, page_file):
    page = open_page(SCREEN)
    page.goto("about:blank")
    page.goto(f"{page_file.as_uri()}#case-nope")
    said = page.locator("#case-count")
    assert "There is no case" in said.inner_text()
    box = said.bounding_box()
    assert box is not None and 0 < box["y"] < SCREEN[1]


def test_links_are_called_as_the_headings_that_they_lead_to(open_page):
    page = open_page(SCREEN)
    headings = page.locator("h2").all_inner_texts()
    links = page.locator(".jump a").all_inner_texts()
    named = [link.partition(":")[0] for link in links if not link.startswith("Worst loss: ")]
    assert named and set(named) <= set(headings)
    (worst,) = (link for link in links if link.startswith("Worst loss: "))
    page.click(f"text={worst}")
    first = page.locator("article.case").first
    assert first.locator("h3").inner_text() == f"Case {worst.removeprefix('Worst loss: ')}"
