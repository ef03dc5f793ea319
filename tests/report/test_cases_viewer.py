"""The viewer of cases in a real Chromium: what a reader sees, clicks and types."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from plugin.records import Case, Completion, Failure, Message, MetricSpec, Preference, Score
from plugin.report.case_rows import case_anchor
from plugin.report.collapse import Collapse
from plugin.report.page import render_page
from plugin.report.record import Report
from plugin.thinking import SplitText
from tests.browser import browser
from tests.report import report_samples as samples

__all__ = ["browser"]

Open = Callable[..., Page]


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Open the page of a report from its file; a script's fault fails the test."""
    faults, pages = list[str](), list[Page]()

    def opened(report: Report, fragment: str = "", **options: Any) -> Page:
        path = tmp_path / "report.html"
        path.write_bytes(render_page(report, []).encode("utf-8", "backslashreplace"))
        page = browser.new_page(**options)
        page.set_default_timeout(10_000)
        pages.append(page)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
        page.goto(path.as_uri() + fragment)
        return page

    yield opened
    for page in pages:
        page.close()
    assert not faults


def ids(page: Page) -> list[str]:
    return [text.removeprefix("Case ") for text in page.locator("#case-list h3").all_inner_texts()]


def status(page: Page) -> str:
    return page.locator("#case-count").inner_text().replace("\u2068", "").replace("\u2069", "")


def card(page: Page, case_id: str) -> Any:
    return page.locator(f'[id="{case_anchor(case_id)}"]')


def outcome(page: Page, label: str) -> None:
    page.locator("#case-outcomes label", has_text=label).first.click()


def outcomes(page: Page) -> list[str]:
    return [
        " ".join(text.split()) for text in page.locator("#case-outcomes label").all_inner_texts()
    ]


def with_answers(report: Report, answers: dict[tuple[str, str], str]) -> Report:
    made = {
        place: dataclasses.replace(one, text=answers.get(place, one.text))
        for place, one in report.completions.items()
    }
    return dataclasses.replace(report, completions=made)


def full_report() -> Report:
    """A report with something of everything: turns, thoughts, flips, failures, no answer."""
    report = samples.build(60, groups=("easy", "hard"), failed={("c3", "tuned")})
    relative = MetricSpec("preference", "Preference", True, is_relative=True)
    turns = (Message("system", "Be kind."), Message("user", "Hi"), Message("user", "And now?"))
    first = dataclasses.replace(report.cases[0], messages=turns, references=("1", "one"))
    made = dict(report.completions)
    made["c1", "tuned"] = Completion("c1", "tuned", "", (), "length", 0.1, 3)
    del made["c2", "tuned"]
    told = Preference("c0", "tuned", "vanilla", "Preference", 1, -1, 0.5, "Hard to say.")
    return dataclasses.replace(
        report,
        metrics=(*report.metrics, relative),
        cases=(first, *report.cases[1:]),
        completions=made,
        preferences=(told,),
        scores=(*report.scores, Score("c0", "tuned", "Preference", 0.5, "Hard to say.")),
        split_texts={("c0", "tuned"): SplitText("Let me think.", "It is 1, exactly.")},
        collapse=(Collapse("tuned", 60, ("c4",), (), ("", ""), "", 60, 1, False),),
    )


def test_a_case_shows_all_that_is_known_of_it(show: Open) -> None:
    page = show(full_report())
    first = card(page, "c0")
    closed = first.locator("details:not([open]) > summary")
    while closed.count():
        closed.first.click()
    # A part is made when the browser tells that it was opened, which is a moment later.
    expect(first).to_contain_text("Let me think.", use_inner_text=True)
    text = first.inner_text()
    for part in (
        *("Case c0", "easy", "-0.20", "judge flipped", "And now?", "one"),
        *("Expected outputs: any one is right", "Be kind.", "Adding 1 to 0 gives 1."),
        *("I think it is 1.", "It is 1, exactly.", "Let me think.", "reason c0", "Hard to say."),
        *("Hallucination: 0.70", "flip: better shown first, worse shown second"),
    ):
        assert part in text, part
    assert "17 characters" in text
    said = first.locator(".chip").first.evaluate("e => getComputedStyle(e, '::before').content")
    assert said == '"▼ "', "the outcome has a sign, not only a colour"
    page.locator("#case-group").select_option("1")
    gone = card(page, "c1").inner_text()
    assert "Empty completion." in gone and "cut off" in gone


def test_failures_and_missing_answers_are_named(show: Open) -> None:
    page = show(full_report())
    assert "repeats itself" in card(page, "c4").inner_text()
    assert "No completion." in card(page, "c2").inner_text()
    outcome(page, "failed")
    assert "FAILED Correctness (judge) no verdicts" in card(page, "c3").inner_text()
    assert "no pair to compare" in card(page, "c3").inner_text()


def test_fifty_at_a_time_and_all_of_them(show: Open) -> None:
    page = show(samples.build(120))
    assert len(ids(page)) == 50 and status(page) == "All 120 cases"
    seen = ids(page)
    for _ in range(2):
        page.get_by_role("button", name="Next").first.click()
        seen += ids(page)
    assert sorted(seen) == sorted(f"c{i}" for i in range(120))
    assert page.get_by_role("button", name="Next").first.is_disabled()
    assert "101 to 120 of 120" in page.locator(".case-pages").last.inner_text()
    focused = page.evaluate("document.activeElement.id")
    assert focused == case_anchor(seen[100]), "the reader goes on at the first of the new ones"


def test_sorting(show: Open) -> None:
    report = samples.build(8)
    scores = tuple(
        dataclasses.replace(one, value=0.9 if one.metric == "Hallucination" else one.value)
        if (one.case_id, one.variant) == ("c2", "tuned")
        else one
        for one in report.scores
    )
    answers = {("c5", "tuned"): "long " * 30, ("c6", "tuned"): "", ("c6", "vanilla"): ""}
    page = show(with_answers(dataclasses.replace(report, scores=scores), answers))
    assert ids(page) == ["c0", "c4", "c1", "c5", "c2", "c3", "c6", "c7"]
    firsts = {"best": "c2", "apart": "c2", "long": "c5", "short": "c6", "id": "c0", "source": "c0"}
    for key, first in firsts.items():
        page.locator("#case-sort").select_option(key)
        assert ids(page)[0] == first, key


def test_ids_are_sorted_as_people_count(show: Open) -> None:
    page = show(samples.build(12))
    page.locator("#case-sort").select_option("id")
    assert ids(page) == [f"c{i}" for i in range(12)]


def test_filters_say_how_many_and_count_within_each_other(show: Open) -> None:
    page = show(full_report())
    assert outcomes(page) == [
        *("all 60", "▼ lost 15", "= tie 15", "▲ gained 29", "✗ was right, now wrong 15"),
        *("⇄ judge flipped 1", "! failed 1", "✂ cut off 1", "∅ no answer 1", "↻ repeats itself 1"),
    ]
    outcome(page, "was right, now wrong")
    assert status(page) == "15 of 60 cases: was right, now wrong" and len(ids(page)) == 15
    by_group = page.locator("#case-by-group")
    assert " ".join(by_group.inner_text().split()) == "✗ was right, now wrong, by group: easy 15"
    outcome(page, "gained")
    by_group.get_by_role("button", name="hard 14").click()
    assert status(page) == "14 of 60 cases: group hard; gained" and len(ids(page)) == 14
    assert "▼ lost 0" in outcomes(page)
    chosen = by_group.get_by_role("button", name="hard 14")
    assert chosen.get_attribute("aria-pressed") == "true"
    expect(chosen).to_be_focused()
    page.get_by_role("button", name="Clear filters").click()
    assert status(page) == "All 60 cases"


def test_the_search_looks_into_inputs_answers_and_expected_outputs(show: Open) -> None:
    report = with_answers(samples.build(60), {("c7", "tuned"): "Straße in ÉCLAIR 中文"})
    page = show(report)
    for query, found in {
        "éclair": ["c7"],
        "e\u0301clair": ["c7"],
        "中": ["c7"],
        "what is 42 plus": ["c42"],
        "it is 31, exactly": ["c30"],
        "c59": ["c59"],
        "<b>": [],
    }.items():
        page.locator("#case-search").fill(query)
        expect(page.locator("#case-count")).to_contain_text(query)
        assert ids(page) == found, query
        assert status(page).startswith(f"{len(found)} of 60 cases: contain")
    page.locator("#case-search").press("Escape")
    assert status(page) == "All 60 cases"


def test_keys(show: Open) -> None:
    page = show(samples.build(60))
    here = "document.activeElement.id"
    page.keyboard.press("j")
    assert page.evaluate(here) == "case-c0"
    page.keyboard.press("j")
    assert page.evaluate(here) == "case-c4"
    page.keyboard.press("k")
    page.keyboard.press("k")
    assert page.evaluate(here) == "case-c0", "there is none before the first"
    page.keyboard.press("d")
    assert card(page, "c0").locator("ins").count()
    page.keyboard.press("d")
    assert not card(page, "c0").locator("ins").count()
    for _ in range(50):
        page.keyboard.press("j")
    assert len(ids(page)) == 10 and page.evaluate(here) == case_anchor(ids(page)[0])
    page.keyboard.press("/")
    page.keyboard.type("jkd?/")
    assert page.locator("#case-search").input_value() == "jkd?/", "keys are letters while typing"
    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.keyboard.press("?")
    assert page.locator("#case-keys").is_visible()
    page.locator("#case-keys-on").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert not page.locator("#case-keys").is_visible(), "the keys can be switched off"
    page.keyboard.press("Control+d")


def test_enter_leads_from_the_search_to_the_first_case_found(show: Open) -> None:
    page = show(samples.build(60))
    page.keyboard.press("/")
    page.keyboard.type("what is 42 plus")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "case-c42"


ODD = ['a b"<>#%', "é/中", "half \ud800", "50%", "</script>", "\u202eabc", "%41", "a+b&c=d"]


def test_every_case_has_a_link_that_leads_to_it(show: Open) -> None:
    report = samples.build(120)
    cases = tuple(
        dataclasses.replace(case, id=ODD[number - 100]) if 100 <= number < 100 + len(ODD) else case
        for number, case in enumerate(report.cases)
    )
    report = dataclasses.replace(
        report,
        cases=cases,
        failures=tuple(Failure(case.id, "judge", "no", "tuned") for case in cases[100:]),
        scores=tuple(score for score in report.scores if int(score.case_id[1:]) < 100),
    )
    for case_id in ODD:
        page = show(report, f"#{case_anchor(case_id)}")
        focused = page.evaluate("document.activeElement.id")
        assert focused == case_anchor(case_id), case_id
        link = page.locator(f'[id="{focused}"] h3 a')
        assert link.get_attribute("href") == f"#{focused}"
        assert page.locator(f'[id="{focused}"]').evaluate("e => e.getBoundingClientRect().top < 99")
        page.locator("#case-list h3 a").last.click()
        page.go_back()
        expect(page.locator(f'[id="{focused}"]')).to_be_focused()


def test_a_link_clears_filters_that_hide_its_case(show: Open) -> None:
    page = show(full_report())
    outcome(page, "lost")
    page.evaluate("location.hash = 'case-c59'")
    expect(card(page, "c59")).to_be_focused()
    assert status(page) == "The filters were cleared to show case c59. All 60 cases"
    page.evaluate("location.hash = 'case-nowhere'")
    expect(page.locator("#case-count")).to_contain_text("There is no case")
    assert status(page) == "There is no case nowhere. All 60 cases"
    page.evaluate("location.hash = 'case-%E0%A4%A'")


def differences(page: Page, case_id: str) -> str:
    """The adapter's answer with what is gone in [-...-] and what is new in [+...+]."""
    return page.evaluate(
        """id => {
          const box = document.getElementById(id).querySelectorAll('.column')[1];
          return [...box.querySelector('.said').childNodes].map(one => ({
            DEL: '[-' + one.textContent + '-]', INS: '[+' + one.textContent + '+]'
          })[one.nodeName] || one.textContent).join('');
        }""",
        case_anchor(case_id),
    )


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("I think it is 1.", "It is 1, exactly.", "[-I think it-] [+It+] is 1[+, exactly+]."),
        ("a b c d", "a c d e", "a [-b-] c d [+e+]"),
        ("我喜欢红苹果", "我喜欢青苹果", "我喜欢[-红-][+青+]苹果"),
        ("สวัสดี", "สวัสดีครับ", "สวัสดี[+ครับ+]"),
        ("don't go", "do go", "[-don't-] [+do+] go"),
        ("naïve x", "nai\u0308ve y", "nai\u0308ve [-x-][+y+]"),
        ("ok 👩‍👩‍👧", "ok 👩‍👩‍👦", "ok [-👩‍👩‍👧-][+👩‍👩‍👦+]"),
        ("", "new", "[+new+]"),
    ],
)
def test_word_differences(show: Open, old: str, new: str, told: str) -> None:
    page = show(with_answers(samples.build(1), {("c0", "vanilla"): old, ("c0", "tuned"): new}))
    assert not page.locator("ins, del").locator("visible=true").count(), "only on demand"
    card(page, "c0").get_by_role("button", name="Show differences").click()
    assert differences(page, "c0") == told


@pytest.mark.parametrize(
    ("old", "new", "note"),
    [("one  two\n", "one two", "Only spaces or line breaks differ."), ("x", "x", "No difference.")],
)
def test_texts_without_different_words(show: Open, old: str, new: str, note: str) -> None:
    page = show(with_answers(samples.build(1), {("c0", "vanilla"): old, ("c0", "tuned"): new}))
    card(page, "c0").get_by_role("button", name="Show differences").click()
    assert note in card(page, "c0").inner_text()


def test_differences_from_the_closest_expected_output(show: Open) -> None:
    report = samples.build(2)
    cases = (dataclasses.replace(report.cases[0], references=("No.", "It is one, exactly.")),)
    page = show(dataclasses.replace(report, cases=cases + report.cases[1:]))
    page.locator("#case-against").select_option(label="expected output")
    card(page, "c0").get_by_role("button", name="Show differences").click()
    assert differences(page, "c0") == "It is [-one-][+1+], exactly."
    assert card(page, "c0").locator(".column").first.locator("ins").count(), "the base's, too"


def test_very_long_texts_are_not_compared_but_shown(show: Open) -> None:
    long = {name: " ".join(f"{name}{i}" for i in range(5000)) for name in ("vanilla", "tuned")}
    page = show(with_answers(samples.build(1), {("c0", name): long[name] for name in long}))
    card(page, "c0").get_by_role("button", name="Show differences").click()
    assert (
        "Too long to compare word by word: 5,000 and 5,000 words." in card(page, "c0").inner_text()
    )
    # Most words in common at both ends: no table is needed for these.
    same = {"vanilla": "x " * 50_000 + "a", "tuned": "x " * 50_000 + "b"}
    page = show(with_answers(samples.build(1), {("c0", name): same[name] for name in same}))
    card(page, "c0").get_by_role("button", name="Show differences").click()
    assert differences(page, "c0").endswith("x [-a-][+b+]")


def test_long_texts_open_on_demand(show: Open) -> None:
    texts = {("c0", "tuned"): "word " * 20_000, ("c1", "tuned"): "line\n" * 100}
    page = show(with_answers(samples.build(2), texts))
    said = card(page, "c0").locator(".column").nth(1).locator(".said")
    assert len(said.text_content()) == 1500
    card(page, "c0").get_by_role("button", name="Show all 100,000 characters").click()
    assert said.text_content() == "word " * 20_000
    card(page, "c0").get_by_role("button", name="Show less").click()
    assert len(said.text_content()) == 1500
    lines = card(page, "c1").locator(".column").nth(1).locator(".said").text_content()
    assert lines.count("line") == 25


def test_what_was_searched_for_is_never_hidden(show: Open) -> None:
    report = with_answers(samples.build(4), {("c0", "tuned"): "word " * 1000 + "Needle."})
    split = {("c1", "tuned"): SplitText("A needle in thoughts.", "It is 2, exactly.")}
    page = show(dataclasses.replace(report, split_texts=split))
    assert not page.get_by_text("Needle.").is_visible()
    page.locator("#case-search").fill("needle")
    expect(page.locator("#case-list article")).to_have_count(2)
    assert page.get_by_text("Needle.").is_visible()
    expect(page.get_by_text("A needle in thoughts.")).to_be_visible()
    marked = page.evaluate("[...CSS.highlights.get('case-hits')].map(String)")
    assert sorted(marked) == ["Needle", "needle"]


HOSTILE = [
    "</script><script>document.title='hacked'</script>",
    "<!-- <script> --><img src=x onerror=\"document.title='hacked'\">",
    "\u202etxt.exe \u2066 \u2067 مرحبا",
    "half \ud800 a pair",
    "nul \x00 bell \x07 escape \x1b[31m del \x7f",
    "{{7*7}} &lt;b&gt; \u2028 \u2029",
]


def hostile_report(evil: str) -> Report:
    report = samples.build(3, groups=(evil,), adapters=(evil,), failed={("c1", evil)})
    case = Case(
        *(evil, (Message("system", evil), Message("user", evil)), evil, (evil, evil), evil),
        references=(evil, evil + "2"),
        expect=(evil,),
    )
    made = {
        (evil, name): Completion(evil, name, evil, (1,), "stop", 0.1, 3)
        for name in ("vanilla", evil)
    }
    return dataclasses.replace(
        report,
        cases=(case, *report.cases[1:]),
        completions={**report.completions, **made},
        split_texts={(evil, evil): SplitText(evil, evil)},
        failures=(*report.failures, Failure(evil, "judge", evil, evil, None)),
        scores=tuple(
            dataclasses.replace(
                one, reason=evil, case_id=evil if one.case_id == "c0" else one.case_id
            )
            for one in report.scores
        ),
    )


@pytest.mark.parametrize("evil", HOSTILE)
def test_text_from_data_and_models_is_text(show: Open, evil: str) -> None:
    page = show(hostile_report(evil))
    title = page.title()
    for summary in page.locator("#case-list summary").all():
        summary.click()
    for button in page.get_by_role("button", name="Show differences").all():
        button.click()
    page.locator("#case-search").fill(evil)
    page.keyboard.press("Enter")
    outcome(page, "lost")
    assert page.title() == title and "hacked" not in title.replace(evil, "")
    assert not page.locator("#cases img, #cases script").count()
    seen = page.locator("#case-list").text_content()
    assert not set(seen) & {chr(code) for code in range(32) if chr(code) not in "\t\n"}
    # Words of another direction never turn what stands around them.
    loose = page.evaluate(
        """() => {
          const found = [];
          const walker = document.createTreeWalker(document.getElementById('case-list'), 4);
          while (walker.nextNode()) {
            const at = walker.currentNode.parentElement;
            if (/[\\u202a-\\u202e\\u2066\\u2067\\u0600-\\u06ff]/.test(walker.currentNode.data)
              && !at.closest('bdi, [dir=auto]')) found.push(walker.currentNode.data);
          }
          return found;
        }"""
    )
    assert not loose


def test_one_variant_only(show: Open) -> None:
    page = show(samples.vanilla_only(60))
    assert page.locator("#case-sort option").all_inner_texts() == [
        *("lowest score", "highest score", "metrics disagree most"),
        *("longest answer", "shortest answer", "id", "order of the data"),
    ]
    assert not page.locator("#case-outcomes").is_visible()
    card(page, "c0").get_by_role("button", name="Show differences").click()
    assert card(page, "c0").locator("ins").count(), "from the expected output"


def test_no_metrics_and_nothing_but_failures(show: Open) -> None:
    report = dataclasses.replace(
        samples.build(60, groups=("g",)),
        metrics=(), scores=(), completions={}, comparisons=(), summaries=(),
        failures=tuple(
            Failure(f"c{i}", "generate", "out of memory", name)
            for i in range(60) for name in ("vanilla", "tuned")
        ),
    )  # fmt: skip
    page = show(report)
    assert outcomes(page) == ["all 60", "! failed 60"]
    assert page.locator("#case-list").inner_text().count("FAILED (generate) out of memory") == 100
    assert page.locator("#case-sort").input_value() == "long"


def test_outcomes_of_one_of_several_adapters(show: Open) -> None:
    report = samples.build(4, adapters=("prompted", "tuned", "other"))
    scores = tuple(
        dataclasses.replace(one, value=0.0)
        if (one.case_id, one.variant) in {("c3", "other"), ("c2", "prompted")}
        and one.metric == "Correctness"
        else one
        for one in report.scores
    )
    page = show(dataclasses.replace(report, scores=scores))
    assert outcomes(page)[1] == "▼ lost 2" and ids(page)[0] == "c3"
    whole = card(page, "c3")
    assert "now wrong" not in whole.locator("header").inner_text()
    assert "was right, now wrong" in whole.locator(".column").last.inner_text()
    assert whole.locator(".tag", has_text="now wrong").count() == 1, "it is the other adapter's"
    for name, first, lost in (("tuned", "c0", 1), ("prompted", "c2", 1), ("other", "c3", 2)):
        page.locator("#case-variant").select_option(label=name)
        assert (ids(page)[0], outcomes(page)[1]) == (first, f"▼ lost {lost}"), name


def test_many_groups(show: Open) -> None:
    names = tuple(f"group {i}" for i in range(600))
    cases = tuple(samples.case(i, names[i // 2]) for i in range(1200))
    page = show(dataclasses.replace(samples.build(1200), cases=cases))
    assert page.locator("#case-group option").count() == 501
    outcome(page, "tie")
    assert "and 276 more groups" in page.locator("#case-by-group").inner_text()


def test_without_scripts_both_ends_are_there_and_why(browser: Browser, show: Open) -> None:
    page = show(samples.build(60), java_script_enabled=False)
    text = page.locator("#cases-static").inner_text()
    assert "All 60 cases can be read here" in text and "block scripts" in text
    assert page.locator("#cases-static article").count() == 10
    assert "I think it is 1." in text and "-0.20" in text
    assert not page.locator("#cases").is_visible()


def test_where_a_host_forbids_scripts_both_ends_are_there(browser: Browser) -> None:
    page, html = browser.new_page(), render_page(samples.build(60), [])
    policy = {"Content-Security-Policy": "script-src 'none'"}
    page.route("http://host.test/**", lambda route: route.fulfill(body=html, headers=policy))
    page.goto("http://host.test/report.html")
    assert page.locator("#cases-static article").count() == 10
    assert not page.locator("#cases").is_visible()
    page.close()


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1"])
def test_in_a_hosts_closed_frame_the_viewer_works(browser: Browser, charset: str) -> None:
    page, inner = browser.new_page(), escape(render_page(full_report(), []))
    frame = f'<iframe sandbox="allow-scripts" width="900" height="900" srcdoc="{inner}"></iframe>'
    page.route(
        "http://host.test/**",
        lambda route: route.fulfill(body=frame, content_type=f"text/html; charset={charset}"),
    )
    page.goto("http://host.test/report.html")
    inside = page.frame_locator("iframe")
    expect(inside.locator("#case-count")).to_have_text("All 60 cases")
    inside.locator("h3 a").nth(7).click()
    expect(inside.locator("article").nth(7)).to_be_focused()
    page.keyboard.press("j")
    expect(inside.locator("article").nth(8)).to_be_focused()
    page.close()


def test_with_scripts_the_static_part_is_gone(show: Open) -> None:
    page = show(samples.build(60))
    assert not page.locator("#cases-static").count()
    assert page.locator("#case-count[role=status]").count() == 1


def test_print_has_what_is_filtered_up_to_a_limit(show: Open) -> None:
    page = show(samples.build(300, groups=("a", "b")))
    printed = "document.querySelectorAll('#case-list article').length"
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(printed) == 200
    note = page.locator("#case-printed")
    assert note.inner_text() == "Printed are the first 200 of these 300 cases."
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(printed) == 50 and not note.is_visible()
    outcome(page, "lost")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(printed) == 75 and not note.is_visible()
    assert "Adding 1 to 0 gives 1." in card(page, "c0").text_content(), "what is folded away, too"


def test_chromium_prints_the_filtered_cases(show: Open) -> None:
    page = show(samples.build(60))
    page.evaluate(
        """() => addEventListener('beforeprint', () => {
          window.atPrint = document.querySelectorAll('#case-list article').length;
        })"""
    )
    assert page.pdf().startswith(b"%PDF")
    assert page.evaluate("window.atPrint") == 60
    assert len(ids(page)) == 50


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
def test_axe_finds_nothing_serious(show: Open, scheme: str, width: int) -> None:
    size = {"width": width, "height": 900}
    page = show(full_report(), color_scheme=scheme, viewport=size)
    outcome(page, "lost")
    for button in page.get_by_role("button", name="Show differences").all():
        button.click()
    for summary in page.locator("#case-list summary").all()[:6]:
        summary.click()
    found = Axe().run(page, context="#cases")
    bad = [one for one in found.response["violations"] if one["impact"] in ("serious", "critical")]
    assert not bad, [(one["id"], one["nodes"][0]["html"]) for one in bad]
    page.keyboard.press("?")
    found = Axe().run(page, context="#case-keys")
    assert not [one["id"] for one in found.response["violations"] if one["impact"] != "minor"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_ten_thousand_cases_stay_usable(show: Open) -> None:
    page = show(samples.build(10_000, groups=("a", "b")), f"#{case_anchor('c9999')}")
    expect(card(page, "c9999")).to_be_focused()
    page.locator("#case-search").fill("what is 1234 plus")
    expect(page.locator("#case-list article")).to_have_count(1)
    assert status(page).startswith("1 of 10,000 cases")
