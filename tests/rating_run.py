"""A small run whose answers people rate, and a rater at a page in a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from plugin.journal import Journal
from plugin.run_facts import PageItem, RunState
from plugin.trust.humans import completion_digest
from tests.e2e.conftest import main

BASE, TUNED = "quokkabase", "zebratuned"
"""Names that no text of the page has by chance."""


def recorded_run(
    folder: Path, rows: Sequence[Mapping[str, Any]], *words: str, **options: str
) -> Path:
    """Run on answers in the columns base and tuned, under the offline judge; return the folder."""
    recorded_run_output(folder, rows, *words, **options)
    return folder / "run"


def recorded_run_output(
    folder: Path, rows: Sequence[Mapping[str, Any]], *words: str, **options: str
) -> str:
    """Return what such a run says."""
    file = folder / "recorded.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    given = {"predefined_tasks": "Correctness", "judge": "offline", "out": str(folder / "run")}
    named = [word for name, value in {**given, **options}.items() for word in (f"--{name}", value)]
    sides = "--recorded", f"{BASE}={file}:base", "--recorded", f"{TUNED}={file}:tuned"
    ended = main("run", *sides, *named, *words)
    assert ended.code == 0, ended.err
    return ended.out


def sums(n: int) -> list[dict[str, Any]]:
    """Cases of which the tuned answer is right; both are equal in the first."""
    return [
        {
            "id": f"q{i}",
            "input": f"What is {i} times 3?",
            "expected_output": f"It is {3 * i}.",
            "context": [f"{i} times 3 is {3 * i}."],
            "base": "It is 0." if i == 0 else f"Nobody knows number {i}.",
            "tuned": f"It is {3 * i}.",
        }
        for i in range(n)
    ]


def ask(out: Path, *words: str) -> str:
    """Write rating pages; return what was said."""
    ended = main("ratings", str(out), "--page", *words)
    assert ended.code == 0, ended.err
    return ended.out


def state_of(out: Path) -> RunState:
    with closing(Journal.existing(out)) as journal:
        return journal.state


def key_of(out: Path) -> dict[str, PageItem]:
    """Item -> what it stands for."""
    return {item.item: item for item in state_of(out).page_items}


def digests_of(out: Path) -> dict[tuple[str, str], str]:
    """(case id, text) -> the digest of the completion."""
    with closing(Journal.existing(out)) as journal:
        made = journal.answers().items()
    return {(case_id, one.text.strip()): completion_digest(one) for (case_id, _), one in made}


def page_data(file: Path) -> dict[str, Any]:
    """The data in a rating page."""
    text = file.read_text(encoding="utf-8")
    inside = text.split('id="rating-data">')[1].split("</script>")[0]
    read: dict[str, Any] = json.loads(inside)
    return read


@contextmanager
def opened(browser: Browser, file: Path, **settings: Any) -> Iterator[Page]:
    """Open a page in a browser of its own; fail on any error of its script."""
    context = browser.new_context(**settings)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: said.type == "error" and errors.append(said.text))
    page.goto(file.as_uri())
    yield page
    assert errors == []
    context.close()


def shown(page: Page) -> tuple[str, list[str]]:
    """What was asked, and the answers."""
    return page.inner_text("#asked"), page.locator(".answer .text").all_inner_texts()


def title(page: Page) -> str:
    return page.inner_text("#title")


def download(page: Page, folder: Path, button: str = "#download") -> Path:
    with page.expect_download() as waiting:
        page.click(button)
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def downloaded(page: Page, folder: Path, button: str = "#download") -> dict[str, Any]:
    read: dict[str, Any] = json.loads(download(page, folder, button).read_text(encoding="utf-8"))
    return read
