from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Browser

from plugin.report.embedded import code_element, data_element, security_policy
from tests.browser import browser

__all__ = ["browser"]

HOSTILE = [
    "</script><script>document.title='hacked'</script>",
    "<!-- <script>",
    "a\u2028b\u2029c",
    "\u202etxt.exe\u2066",
    "&lt;&amp;",
    "\ud800 half a pair",
    "\x00\x1f",
]


def page(value: Any, code: str, allowed: list[str]) -> str:
    return (
        '<!DOCTYPE html><meta charset="utf-8"><title>page</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{security_policy(allowed)}">'
        f"{data_element('held', value)}{code_element(code)}"
    )


SHOW = "document.title = JSON.parse(document.getElementById('held').textContent).join('|').length"


def test_data_comes_out_of_a_browser_as_it_went_in(browser: Browser) -> None:
    opened = browser.new_page()
    opened.set_content(page(HOSTILE[:-2] + HOSTILE[-1:], SHOW, [SHOW]))
    held = opened.evaluate("JSON.parse(document.getElementById('held').textContent)")
    assert held == HOSTILE[:-2] + HOSTILE[-1:]
    assert opened.title() == str(len("|".join(held)))


def test_a_script_that_is_not_allowed_does_not_run(browser: Browser) -> None:
    opened = browser.new_page()
    opened.set_content(page([], "document.title = 'ran'", ["another"]))
    assert opened.title() == "page"


def test_the_page_reaches_no_network(browser: Browser) -> None:
    code = "fetch('http://127.0.0.1:9/').catch(error => document.title = error.name)"
    opened = browser.new_page()
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.set_content(page([], code, [code]))
    opened.wait_for_function("document.title !== 'page'")
    assert any("Content Security Policy" in text for text in said)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_ends_the_element(text: str) -> None:
    made = data_element("held", {text: text})
    inside = re.fullmatch(r'<script type="application/json" id="held">([^<>&]*)</script>', made)
    assert inside
    made.encode()
    if "\ud800" not in text:
        assert json.loads(inside[1]) == {text: text}


def test_numbers_that_json_lacks_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        data_element("held", float("nan"))
