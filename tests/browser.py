"""A real Chromium for tests; `apt-get install chromium` or `playwright install chromium` gives one.

Set CHROMIUM to use a browser elsewhere. Without a browser these tests are skipped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Error, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium_path() -> str | None:
    """The browser that CHROMIUM names, or the first one on PATH; None for Playwright's own."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        try:
            # Containers often run as root, where Chromium refuses its own sandbox.
            opened = driver.chromium.launch(
                executable_path=chromium_path(), args=["--no-sandbox", "--disable-gpu"]
            )
        except Error as error:
            first = str(error).strip().splitlines()[0]
            pytest.skip(f"no Chromium: {first} (apt-get install chromium, or set CHROMIUM)")
        yield opened
        opened.close()
