"""The rating page itself, in a real Chromium: hostile texts, sizes, storage, keys, looks."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from plugin import metrics
from plugin.metrics.entry import PreferenceGuide
from plugin.records import Case, Message
from plugin.report.case_rows import marked
from plugin.report.rating_page import render_rating_page
from plugin.trust.rating_items import (
    Drawn,
    Part,
    answer_parts,
    make_page,
    pair_part,
    why_no_name,
)
from tests.browser import browser, chromium_path
from tests.rating_run import download, downloaded, opened, shown, title

__all__ = ["browser"]

HOSTILE = (
    "</script><script>document.title='hacked'</script><img src=x onerror=\"document.title='x'\">",
    "<!-- <script> {{ 7 * 7 }} {% raw %} &lt;b&gt; ${1+1} `",
    "\u202eeverything reversed\u2066 and never closed",
    "line\r\nbreaks\u2028and\u2029more\x0b\x85",
    "\ud800 half a pair, \x01 a control, \ufeff a mark",
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 then English (mixed)",
)
CORRECTNESS = metrics.load(["Correctness"])[0].spec


def drawn_of(cases: tuple[Case, ...], answers: Mapping[str, tuple[str, str]]) -> Drawn:
    """Cases with the answers of two variants."""
    sides = ("vanilla", "tuned")
    digests = {(case.id, side): f"out-{case.id}-{side}" for case in cases for side in sides}
    texts = {
        (case.id, digests[case.id, side]): answers[case.id][i]
        for case in cases
        for i, side in enumerate(sides)
    }
    return Drawn(cases, digests, texts)


def simple(n: int, answer: str = "answer") -> Drawn:
    cases = tuple(Case(f"c{i}", (Message("user", f"question {i}"),), "right") for i in range(n))
    return drawn_of(cases, {f"c{i}": (f"{answer} {i} A", f"{answer} {i} B") for i in range(n)})


def written(folder: Path, drawn: Drawn, parts: list[Part], rater: str = "Ann") -> Path:
    page = make_page("run", parts, rater, 0)
    file = folder / "rate.html"
    file.write_text(render_rating_page(page, parts, drawn), encoding="utf-8", newline="\n")
    return file


def pairs(drawn: Drawn, criterion: str = "") -> Part:
    guide = PreferenceGuide(criterion, shows_reference=True)
    return pair_part(drawn, ("vanilla", "tuned"), guide, all_pairs=False)


def reasons(drawn: Drawn, said: str = "It is right.") -> Part:
    places = list(drawn.texts)[::2]
    return Part(
        "reason",
        "How right is it?",
        CORRECTNESS,
        tuple((case_id, (digest,)) for case_id, digest in places),
        shows_expected=True,
        shows_context=True,
        said=dict.fromkeys(places, (0.5, said)),
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Four pairs, then four reasons."""
    drawn = simple(4)
    return written(tmp_path, drawn, [pairs(drawn), reasons(drawn)])


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_in_any_field_is_only_text(browser: Browser, tmp_path: Path, text: str) -> None:
    turns = Message("system", text), Message("user", text), Message("user", f"q{text}")
    case = Case(text, turns, expected_output=f"e{text}", context=(f"c{text}", text))
    drawn = drawn_of((case,), {text: (f"a{text}", f"b{text}")})
    spec = replace(CORRECTNESS, name=text)
    parts = [pairs(drawn, text), *answer_parts(drawn, [spec], ()), reasons(drawn, text)]
    file = written(tmp_path, drawn, parts, rater=f"r{text}".replace("\ud800", ""))
    with opened(browser, file) as page:
        assert page.title() == "Rate answers"
        assert page.locator("img, iframe, b").count() == 0 and page.locator("script").count() == 2
        assert page.evaluate("document.querySelector('#asked').textContent") == f"q{marked(text)}"
        assert page.evaluate("document.querySelector('#question').textContent") == marked(text)
        assert (
            page.evaluate("document.querySelector('#expected div').textContent")
            == f"e{marked(text)}"
        )
        held = page.evaluate(
            "[...document.querySelectorAll('.answer .text')].map(x => x.textContent)"
        )
        assert sorted(one[0] for one in held) == ["a", "b"]
        isolated = page.evaluate(
            "[...document.querySelectorAll('.text')].every(x => x.dir === 'auto' &&"
            " getComputedStyle(x).unicodeBidi === 'isolate')"
        )
        assert isolated
        page.fill("#rater", "Ann")
        page.keyboard.press("Escape")
        for key in ("1", "3", "3", "1"):
            page.keyboard.press(key)
        page.fill("#comment", text)
        given = downloaded(page, tmp_path)
        assert [one["item"] for one in given["answers"]] and given["answers"][-1]["comment"]
        assert page.title() == "Rate answers"


def test_a_long_answer_does_not_push_the_page_away(browser: Browser, tmp_path: Path) -> None:
    drawn = simple(2, "word " * 20_000)
    with opened(browser, written(tmp_path, drawn, [pairs(drawn)])) as page:
        _, answers = shown(page)
        assert all(len(text) > 99_000 for text in answers)
        assert page.evaluate("document.documentElement.scrollHeight") < 2500
        began = time.perf_counter()
        page.keyboard.press("1")
        assert page.inner_text("#where").startswith("Item 2 of 2")
        assert time.perf_counter() - began < 5


def test_ten_thousand_cases_open_and_are_answered(browser: Browser, tmp_path: Path) -> None:
    drawn = simple(10_000, "An answer of a usual length, with some words in it, as models write")
    file = written(tmp_path, drawn, [pairs(drawn)])
    began = time.perf_counter()
    with opened(browser, file) as page:
        page.wait_for_selector(".answer")
        assert time.perf_counter() - began < 10
        for key in "120c1":
            page.keyboard.press(key)
        assert page.inner_text("#where") == "Item 6 of 10000 · 5 answered, 9995 left"
        assert len(downloaded(page, tmp_path)["answers"]) == 5


def test_answers_stay_when_the_page_is_loaded_again(browser: Browser, file: Path) -> None:
    with opened(browser, file) as page:
        page.fill("#rater", "Ann-Marie")
        page.fill("#comment", "hm")
        page.keyboard.press("Escape")
        page.keyboard.press("2")
        page.keyboard.press("c")
        before = shown(page)
        page.on("dialog", lambda dialog: dialog.accept())
        page.reload()
        assert page.inner_text("#where") == "Item 3 of 8 · 2 answered, 6 left"
        assert shown(page) == before and page.input_value("#rater") == "Ann-Marie"
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowLeft")
        assert page.input_value("#comment") == "hm"
        pressed = page.locator("#choices button[aria-pressed=true]").all_inner_texts()
        assert [text.lstrip("2✓ ") for text in pressed] == ["Second is better"]
        assert "not" in page.inner_text("#unsaved").lower()
        given = downloaded(page, file.parent)
    assert [one["choice"] for one in given["answers"]] == ["second", "cant_tell"]
    assert given["rater"] == "Ann-Marie" and given["answers"][0]["comment"] == "hm"
    assert all(0 < one["seconds"] + 0.1 < 60 for one in given["answers"])


@pytest.mark.parametrize("junk", ["no json", "[1]", "null", '{"answers": [1, ["x"], ["y", {}]]}'])
def test_what_else_lies_in_the_storage_does_no_harm(
    browser: Browser, file: Path, junk: str
) -> None:
    with opened(browser, file) as page:
        page.evaluate(
            "text => { const key = Object.keys(localStorage)[0] ||"
            " `finetune-verdict-ratings-${JSON.parse(document.getElementById("
            "'rating-data').textContent).page}`; localStorage.setItem(key, text) }",
            junk,
        )
        page.reload()
        assert page.inner_text("#where") == "Item 1 of 8 · 0 answered, 8 left"
        page.keyboard.press("1")
        assert page.locator("#warning").is_hidden()


def test_without_storage_the_page_warns_and_still_downloads(browser: Browser, file: Path) -> None:
    """Cookies are blocked as a user blocks them: by the browser's own setting."""
    profile = file.parent / "profile"
    (profile / "Default").mkdir(parents=True)
    blocked = {"profile": {"default_content_setting_values": {"cookies": 2}}}
    (profile / "Default" / "Preferences").write_text(json.dumps(blocked))
    context = browser.browser_type.launch_persistent_context(
        str(profile), executable_path=chromium_path(), args=["--no-sandbox", "--disable-gpu"]
    )
    page = context.new_page()
    page.goto(file.as_uri())
    assert page.evaluate(REACH_STORAGE) == "SecurityError"
    assert "keeps nothing" in page.inner_text("#warning")
    for key in "120c":
        page.keyboard.press(key)
    given = downloaded(page, file.parent)
    context.close()
    assert [one["choice"] for one in given["answers"]] == ["first", "second", "tie", "cant_tell"]


REACH_STORAGE = """() => {
  try { return typeof localStorage.length } catch (error) { return error.name }
}"""


def test_a_full_storage_is_told(browser: Browser, file: Path) -> None:
    with opened(browser, file) as page:
        page.evaluate(
            "() => { Storage.prototype.setItem = () => { throw new DOMException('full') } }"
        )
        page.keyboard.press("1")
        assert "keeps nothing" in page.inner_text("#warning")


def test_leaving_with_answers_that_are_not_downloaded_is_asked_about(
    browser: Browser, file: Path
) -> None:
    with opened(browser, file) as page:
        kinds = list[str]()
        page.on("dialog", lambda dialog: (kinds.append(dialog.type), dialog.dismiss()))
        page.mouse.click(5, 5)
        page.close(run_before_unload=True)  # nothing to lose yet
        assert kinds == []
    with opened(browser, file) as page:
        page.mouse.click(5, 5)
        page.keyboard.press("1")
        page.on("dialog", lambda dialog: (kinds.append(dialog.type), dialog.dismiss()))
        page.evaluate("setTimeout(() => location.reload(), 0)")
        page.wait_for_timeout(500)
        assert kinds == ["beforeunload"]
        assert page.inner_text("#where").startswith("Item 2 of 8")
        downloaded(page, file.parent)
        assert page.inner_text("#unsaved") == ""
        page.reload()
        assert kinds == ["beforeunload"]


def test_undo_goes_back_and_takes_the_answer_away(browser: Browser, file: Path) -> None:
    with opened(browser, file) as page:
        for key in ("1", "2", "ArrowRight", "u"):
            page.keyboard.press(key)
        assert page.inner_text("#where") == "Item 2 of 8 · 1 answered, 7 left"
        page.keyboard.press("0")
        page.click("#undo")
        page.keyboard.press("u")
        assert page.inner_text("#where") == "Item 1 of 8 · 0 answered, 8 left"
        assert page.locator("#undo").is_disabled() and page.locator("#download").is_disabled()


def test_keys_do_nothing_in_a_text_field_or_with_ctrl(browser: Browser, file: Path) -> None:
    with opened(browser, file) as page:
        page.focus("#comment")
        page.keyboard.type("1 u 0 c")
        assert page.input_value("#comment") == "1 u 0 c"
        page.keyboard.press("Escape")
        page.keyboard.press("Control+c")
        assert page.inner_text("#where") == "Item 1 of 8 · 0 answered, 8 left"
        page.keyboard.press("C")
        assert page.inner_text("#where") == "Item 2 of 8 · 1 answered, 7 left"


def test_what_was_left_out_is_found(browser: Browser, file: Path) -> None:
    with opened(browser, file) as page:
        for key in ("1", "ArrowRight", *"111111"):
            page.keyboard.press(key)
        assert page.inner_text("#where") == "Item 2 of 8 · 7 answered, 1 left"
        page.keyboard.press("ArrowRight")
        page.click("#open")
        assert page.inner_text("#where").startswith("Item 2 of 8")
        page.keyboard.press("2")
        assert page.locator("#done").is_visible()


def test_a_file_needs_a_name(browser: Browser, tmp_path: Path) -> None:
    drawn = simple(2)
    with opened(browser, written(tmp_path, drawn, [pairs(drawn)])) as page:
        page.fill("#rater", "  ")
        page.keyboard.press("Escape")
        page.keyboard.press("1")
        page.click("#download")
        assert "your name first" in page.inner_text("#send")
        assert page.evaluate("document.activeElement.id") == "rater"
        page.keyboard.type("Ann/../B")
        assert download(page, tmp_path).name == "ratings-Ann-..-B.json"


def items_seen(page: Page) -> list[Mapping[str, Any]]:
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [{"id": one["id"], "where": one["nodes"][0]["html"][:120]} for one in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing(browser: Browser, tmp_path: Path, scheme: str, width: int) -> None:
    turns = Message("system", "Be kind."), Message("user", "Why? " * 300)
    cases = tuple(Case(str(i), turns, "Because.", context=("one", "two" * 900)) for i in range(2))
    drawn = drawn_of(cases, {"0": ("a " * 3000, ""), "1": ("x", "y")})
    parts = [pairs(drawn), *answer_parts(drawn, [CORRECTNESS], ()), reasons(drawn)]
    file = written(tmp_path, drawn, parts)
    looks = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}}
    with opened(browser, file, **looks) as page:
        for _ in range(3):
            for each in page.locator("#item details").all():
                if each.is_visible() and each.get_attribute("open") is None:
                    each.locator("summary").click()
            assert items_seen(page) == []
            overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert page.evaluate(overflow) == 0
            was = title(page)
            while title(page) == was and page.locator("#done").is_hidden():
                page.keyboard.press("1")
        assert page.locator("#done").is_visible() and items_seen(page) == []


def test_a_printed_page_shows_the_item_and_no_buttons(browser: Browser, file: Path) -> None:
    with opened(browser, file) as page:
        page.emulate_media(media="print")
        assert page.locator(".bar").is_hidden() and page.locator("#intro").is_hidden()
        assert page.locator(".answer").first.is_visible()


def test_every_metric_that_people_may_score_has_its_question() -> None:
    from plugin.trust.humans import rateable_metrics

    entries = metrics.METRICS.values()
    asked = {spec.name for spec in rateable_metrics(entry.spec for entry in entries)}
    assert {entry.spec.name for entry in entries if entry.question} == asked


def test_two_tabs_of_one_page_lose_nothing(browser: Browser, file: Path) -> None:
    with opened(browser, file) as one:
        two = one.context.new_page()
        two.goto(file.as_uri())
        one.keyboard.press("1")
        one.keyboard.press("2")
        two.wait_for_function("document.getElementById('where').textContent.includes('2 answered')")
        for _ in range(2):
            two.keyboard.press("ArrowRight")
        two.keyboard.press("0")
        one.wait_for_function("document.getElementById('where').textContent.includes('3 answered')")
        given = downloaded(one, file.parent)
        two.wait_for_function("!document.getElementById('unsaved').textContent")
        two.close()
    assert [each["choice"] for each in given["answers"]] == ["first", "second", "tie"]


def test_what_another_tab_kept_is_read_before_it_is_written_over(
    browser: Browser, file: Path
) -> None:
    """A tab that sleeps hears of nothing."""
    with opened(browser, file) as one:
        two = one.context.new_page()
        two.add_init_script(
            "addEventListener('storage', (e) => e.stopImmediatePropagation(), true)"
        )
        two.goto(file.as_uri())
        one.keyboard.press("1")
        two.keyboard.press("ArrowRight")
        two.keyboard.press("2")
        assert [each["choice"] for each in downloaded(two, file.parent)["answers"]] == [
            "first",
            "second",
        ]


def test_a_page_says_whose_answers_it_keeps_and_starts_anew(browser: Browser, file: Path) -> None:
    with opened(browser, file) as page:
        page.fill("#rater", "Ann")
        page.keyboard.press("Escape")
        page.keyboard.press("1")
        assert page.locator("#owner").is_hidden()
        questions = list[str]()
        page.on("dialog", lambda dialog: (questions.append(dialog.message), dialog.accept()))
        page.reload()
        assert page.inner_text("#whose") == "1 answer of Ann is kept in this browser."
        assert page.locator("#todo").is_hidden()  # read before
        page.click("#anew")
        assert "Not all of these answers are downloaded yet" in questions[-1]
        assert page.inner_text("#where") == "Item 1 of 8 · 0 answered, 8 left"
        assert page.input_value("#rater") == ""
        assert page.evaluate("document.activeElement.id") == "rater"
        page.reload()
        assert page.locator("#owner").is_hidden() and page.input_value("#rater") == ""


def test_a_held_key_and_a_double_click_answer_one_item(browser: Browser, file: Path) -> None:
    with opened(browser, file) as page:
        for _ in range(3):
            page.keyboard.down("1")  # the second and third are repeats
        page.keyboard.up("1")
        assert page.inner_text("#where") == "Item 2 of 8 · 1 answered, 7 left"
        page.wait_for_timeout(400)
        page.locator("#choices button").first.dblclick()
        assert page.inner_text("#where") == "Item 3 of 8 · 2 answered, 6 left"
        page.locator("#choices button").first.focus()
        page.wait_for_timeout(400)
        for _ in range(3):
            page.keyboard.down("Enter")
            page.wait_for_timeout(350)
        page.keyboard.up("Enter")
        assert page.inner_text("#where") == "Item 4 of 8 · 3 answered, 5 left"


def test_a_comment_without_a_choice_is_downloaded(browser: Browser, file: Path) -> None:
    with opened(browser, file) as page:
        page.fill("#rater", "Ann")
        page.fill("#comment", "the question makes no sense")
        assert "Not all" in page.inner_text("#unsaved")
        (given,) = downloaded(page, file.parent)["answers"]
    assert given["comment"] == "the question makes no sense" and "choice" not in given


@pytest.mark.parametrize("name", ["\u200b", "\u3164", "\u202e\u2066", "\u2800 ", "A\x01"])
def test_a_name_that_the_program_refuses_is_refused_while_it_is_typed(
    browser: Browser, file: Path, name: str
) -> None:
    assert why_no_name(name)
    with opened(browser, file) as page:
        page.keyboard.press("1")
        page.evaluate("document.getElementById('intro').open = true")
        page.fill("#rater", name)
        assert "This cannot be a name" in page.inner_text("#name-why")
        page.click("#download")
        assert page.evaluate("document.activeElement.id") == "rater"
        page.fill("#rater", "Ann\u200b")
        assert page.locator("#name-why").is_hidden()
        assert downloaded(page, file.parent)["rater"] == "Ann"


def test_what_turns_the_direction_of_text_is_seen(browser: Browser, tmp_path: Path) -> None:
    text = "\u202eevil\u2069"
    drawn = drawn_of((Case("1", (Message("user", text),), text),), {"1": (text, "b\x1b")})
    with opened(browser, written(tmp_path, drawn, [pairs(drawn)])) as page:
        said = page.evaluate("document.body.textContent")
    assert said.count("[U+202E]evil[U+2069]") == 3 and "b\u241b" in said


@pytest.mark.parametrize(("width", "height"), [(390, 780), (1200, 800)])
def test_the_first_screen_has_no_buttons_before_what_they_are_about(
    browser: Browser, file: Path, width: int, height: int
) -> None:
    with opened(browser, file, viewport={"width": width, "height": height}) as page:
        bar, answers = page.locator(".bar"), page.locator("#answers")
        top, end = bar.bounding_box(), answers.bounding_box()
        assert top and end and top["y"] >= end["y"] + end["height"]


def test_the_bar_covers_no_answer_of_usual_questions(browser: Browser, tmp_path: Path) -> None:
    drawn = simple(3, "word " * 3000)
    file = written(tmp_path, drawn, [pairs(drawn)])
    with opened(browser, file, viewport={"width": 1200, "height": 800}) as page:
        page.keyboard.press("1")
        top, end = page.locator(".bar").bounding_box(), page.locator("#answers").bounding_box()
        assert top and end and top["y"] >= end["y"] + end["height"]
