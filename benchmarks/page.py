"""Compare how soon the report's page shows its first case with a page that has all as plain HTML.

Aim: the first case within a second with 1,000 cases. The peer is what the page would be without
its viewer: the same cases, each as a static card. Needs Chromium (see tests/browser.py).
"""

from __future__ import annotations

import dataclasses
import html
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from plugin.report.case_rows import case_data
from plugin.report.page import render_page
from plugin.report.record import Ledger, Report
from tests.browser import chromium_path
from tests.report import report_samples

AIM_S, RUNS = 1.0, 5

_WORDS = "the tuned model answers this question about a show set in Palo Alto with care and".split()


def _answer(number: int, variant: str) -> str:
    """Return an answer of 120 words (about 600 characters), unlike those of other cases."""
    words = [
        _WORDS[(number * 7 + place * (3 + len(variant))) % len(_WORDS)] for place in range(118)
    ]
    return f"{variant} {number}: {' '.join(words)}."


def made_report(n: int) -> Report:
    """Return a report of n cases in ten groups with two answers, two metrics and reasons."""
    report = report_samples.build(n, groups=tuple(f"group {i}" for i in range(10)))
    made = {
        place: dataclasses.replace(one, text=_answer(int(place[0][1:]), place[1]))
        for place, one in report.completions.items()
    }
    return dataclasses.replace(report, completions=made)


def static_cards(report: Report) -> str:
    """Return every case as a static card, with what the viewer shows of it."""
    data = case_data(Ledger(report))
    texts: list[str] = data["texts"]

    def said(place: int) -> str:
        return f'<div class="said">{html.escape(texts[place])}</div>'

    def scores(rows: list[list[Any]]) -> str:
        lines = (
            f"<li>{data['metrics'][metric]}: <b>{value}</b> <span class='chip'>{gain}</span><br>"
            f"<span class='reason'>{html.escape(texts[reason])}</span></li>"
            for metric, value, gain, reason, _ in rows
        )
        return f'<ul class="scores">{"".join(lines)}</ul>'

    cards = []
    for case in data["cases"]:
        columns = "".join(
            f'<div class="column"><h4>{name}</h4>{said(made["answer"])}'
            f"{scores(made['scores'])}</div>"
            for name, made in zip(data["variants"], case["variants"], strict=True)
        )
        asked = "".join(
            f'<div class="asked">{said(place)}</div>'
            for place in (case["input"], *case["expected"], *case["context"])
        )
        cards.append(
            f'<article class="card case"><header><h3>Case {case["id"]}</h3></header>{asked}'
            f'<div class="columns">{columns}</div></article>'
        )
    return "".join(cards)


def static_page(report: Report, page: str) -> str:
    """Return the page with static cards in place of the viewer."""
    start, end = page.index('<section id="cases"'), page.index("<h2>Where this comes from</h2>")
    return page[:start] + static_cards(report) + page[end:]


def seconds_to_first(browser: Browser, path: Path, first: str) -> float:
    """Return the median of the seconds from opening a file to a painted page with a case in it."""
    found = []
    for _ in range(RUNS):
        page = browser.new_page()
        begin = time.perf_counter()
        page.goto(path.as_uri(), wait_until="commit")
        page.locator(first).first.wait_for(state="attached")
        page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        found.append(time.perf_counter() - begin)
        page.close()
    return statistics.median(found)


def seconds_to_find(browser: Browser, path: Path) -> float:
    """Return the seconds from the last key of a search to the case that it finds."""
    page = browser.new_page()
    page.goto(path.as_uri())
    page.locator("#case-search").fill("tuned 77:")
    begin = time.perf_counter()
    page.locator("#case-list article").nth(1).wait_for(state="detached")
    taken = time.perf_counter() - begin
    page.close()
    return taken


def main() -> None:
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
        browser = driver.chromium.launch(
            executable_path=chromium_path(), args=["--no-sandbox", "--disable-gpu"]
        )
        for n in (1_000, 10_000):
            report = made_report(n)
            begin = time.perf_counter()
            page = render_page(report, [])
            written = time.perf_counter() - begin
            viewer, static = Path(folder) / "viewer.html", Path(folder) / "static.html"
            viewer.write_text(page, encoding="utf-8")
            static.write_text(static_page(report, page), encoding="utf-8")
            ours = seconds_to_first(browser, viewer, "#case-list article")
            whole = seconds_to_first(browser, static, "h2:text('Where this comes from')")
            sizes = [path.stat().st_size / 1e6 for path in (viewer, static)]
            aim = f" (aim < {AIM_S:.0f} s)" if n == 1_000 else ""
            print(
                f"{n:,} cases: {sizes[0]:.1f} MB, {sizes[0] / sizes[1]:.2f} of static HTML; "
                f"written in {written:.1f} s; first case after {ours:.2f} s{aim}, "
                f"{ours / whole:.2f} of the {whole:.2f} s until static HTML is whole; "
                f"a search takes {seconds_to_find(browser, viewer):.2f} s"
            )
        browser.close()


if __name__ == "__main__":
    main()
