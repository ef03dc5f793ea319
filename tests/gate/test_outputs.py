"""What a gate writes is valid, the same each time, and safe with any text of a model."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from plugin.gate.markdown import escape
from plugin.gate.outputs import append_summary
from plugin.gate.regressions import N_WORST, worst_regressions
from plugin.gate.words import SIGNS, terminal_lines
from plugin.records import VANILLA, Completion
from plugin.report import write_files
from tests.gate.made_runs import (
    BETTER,
    CORRECTNESS,
    F1,
    SLIGHTLY_WORSE,
    WORSE,
    files,
    gate,
    write_run,
)
from tests.samples import case

EVIL = (
    "</code></td></table><script>alert(1)</script><img src=x onerror=y> | new | cells |\n\n"
    "# Heading\n/close\n@octocat @org/team ＠full GH-12 org/repo#34 !56 ~label %milestone $x^2$ "
    "[link](https://evil.example) ![img](http://evil.example/p.png) <https://evil.example> "
    "https://evil.example www.evil.example :tada: ``` ` ~~gone~~ **bold** _it_ \\| \\` &lt; &#64;x "
    "]]> <![CDATA[ <!-- \x00 \x07 \x1b[31m \x9b \u202e \ufffe \U0001f600"
)
RULES = {"require": "not_worse", "min_gain": 0.02, "max_loss": ["Token F1=0.05"]}

TEST_CASE = {"name", "classname"}
CHILDREN = {"failure", "skipped", "system-out"}
"""Of a test case in the schema of Jenkins (junit-10.xsd), which GitLab reads, too."""


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One rule passes, one fails, one can't be told; all texts are evil."""
    cases = [case(f"{i}{EVIL}", input=f"{i} {EVIL}", expected_output=EVIL) for i in range(60)]
    made = [Completion(c.id, n, EVIL * 50, (), "stop", 1.0, 5) for c in cases for n in NAMES]
    gains = {NAMES[1]: {CORRECTNESS: WORSE, F1: BETTER}}
    folder = tmp_path_factory.mktemp("mixed") / "run"
    folder.mkdir()
    return write_run(folder, gains, cases=cases, completions=made)


@pytest.fixture(scope="module")
def written(mixed: Path) -> dict[str, str]:
    return files(mixed, **RULES)


NAMES = (VANILLA, "tuned | @all <b>`x`</b>")


def sample(folder: Path, **rules: object) -> dict[str, str]:
    return files(folder, **(rules or RULES))


def junit(folder: Path, **rules: object) -> ElementTree.Element:
    return ElementTree.fromstring(sample(folder, **rules)["junit.xml"])


def test_junit_has_a_test_case_for_each_rule(tmp_path: Path) -> None:
    write_run(tmp_path, {"t": {CORRECTNESS: WORSE, F1: BETTER}})
    rules = {**RULES, "max_loss": ["Token F1=0.05", "Correctness=0.29"]}
    top = junit(tmp_path, **rules)
    assert (top.tag, top.get("tests"), top.get("failures")) == ("testsuites", "4", "2")
    (suite,) = top
    assert suite.get("skipped") == "1" and suite.get("errors") == "0"
    found = {one.get("name"): one for one in suite.iter("testcase")}
    assert list(found) == [
        *("require not_worse", "min_gain 0.02", "max_loss Token F1=0.05"),
        "max_loss Correctness=0.29",
    ]
    failure = found["min_gain 0.02"].find("failure")
    assert failure is not None and failure.get("type") == "fail"
    assert failure.text == failure.get("message")
    assert "gain on Correctness -0.27 (95% interval" in str(failure.text)
    skipped = found["max_loss Correctness=0.29"].find("skipped")
    assert skipped is not None and str(skipped.get("message")).startswith("can't tell: gain on")
    assert found["max_loss Token F1=0.05"].find("failure") is None


def test_with_strict_what_cannot_be_told_is_a_failure_of_its_own_type(tmp_path: Path) -> None:
    write_run(tmp_path, {"t": {CORRECTNESS: SLIGHTLY_WORSE}})
    top = junit(tmp_path, require="not_worse", strict=True)
    failure = top.find(".//failure")
    assert failure is not None and failure.get("type") == "cannot-tell"
    assert top.find(".//skipped") is None and top.get("failures") == "1"


def test_junit_keeps_to_the_schema(written: dict[str, str]) -> None:
    """The rules of junit-10.xsd for what is written here."""
    top = ElementTree.fromstring(written["junit.xml"])
    assert set(top.attrib) <= {"name", "time", "tests", "failures", "errors"}
    (suite,) = top
    assert {"name", "tests", "failures", "errors"} <= set(suite.attrib)
    assert [one.tag for one in suite if one.tag != "testcase"] == ["properties", "system-out"]
    assert all(set(one.attrib) == {"name", "value"} for one in suite.iter("property"))
    for one in suite.iter("testcase"):
        assert set(one.attrib) == TEST_CASE
        assert {child.tag for child in one} <= CHILDREN
        assert all(set(child.attrib) <= {"type", "message"} for child in one)


def test_any_text_is_valid_xml(tmp_path: Path) -> None:
    write_run(tmp_path, {EVIL: {CORRECTNESS: WORSE}}, judge=EVIL)
    text = sample(tmp_path, require="better")["junit.xml"]
    assert "]]>" not in text and "<![CDATA[" not in text
    top = ElementTree.fromstring(text.encode())  # also refuses what XML may not hold
    assert "\\x00" in str(top[0].get("name")) and "\\ufffe" in str(top[0].get("name"))


def rendered(text: str) -> str:
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)


def test_no_text_breaks_out_of_the_markdown(written: dict[str, str]) -> None:
    text = written["gate.md"]
    page = rendered(text)
    tags = set(re.findall(r"<(/?\w+)", page))
    allowed = {"h2", "table", "thead", "tbody", "tr", "th", "td", "code", "ul", "li"}
    allowed |= {"details", "summary"}
    assert {tag.lstrip("/") for tag in tags} == allowed
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    assert len(rows) == 1 + 3 + 1 + N_WORST
    assert [len(re.findall("<t[hd]>", row)) for row in rows] == [4] * 4 + [6] * 6
    shown = page.replace("\u200b", "")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown and "@octocat" in shown
    assert not re.search(r"[@＠]\w", page), "somebody would be called"
    assert not re.search(r"[@＠]\w", text)
    assert "\ud800" not in text and "\u202e" not in text and "\x1b" not in text


def test_texts_of_cases_stand_in_code_where_nothing_becomes_a_link(
    written: dict[str, str],
) -> None:
    raw = written["gate.md"]
    outside = re.sub(r"<code>.*?</code>", "", raw)
    assert "evil" not in outside and "octocat" not in outside
    assert not re.search(r"https?://|www\.|:tada:|#34|!56|~label|\$x|%mile|`", raw)


@pytest.mark.parametrize("text", ["a|b", "<b>", "@me", "#1", "`x`", "*x*", "x_y", "![", "~1", "$x"])
def test_every_mark_is_shown_and_never_read(text: str) -> None:
    cell = rendered(f"| a |\n|---|\n| {escape(text)} |\n")
    (shown,) = re.findall(r"<td>(.*?)</td>", cell)
    assert shown.replace("\u200b", "").replace("&lt;", "<").replace("&gt;", ">") == text


def test_numbers_and_sentences_stay_readable_in_the_source() -> None:
    text = "gain -0.02 (95% interval -0.05 to +0.01, n=60): all of it is below 0."
    assert escape(text) == text


def test_the_markdown_is_small_whatever_the_texts(tmp_path: Path) -> None:
    huge = "<@|" * 2_000
    cases = [case(str(i), input=f"{i}{huge}", expected_output=huge, group=f"{i}{huge}",
                  retention=True) for i in range(60)]  # fmt: skip
    made = [Completion(c.id, n, huge, (), "stop", 1.0, 5) for c in cases for n in (VANILLA, "t")]
    write_run(tmp_path, {"t": {CORRECTNESS: WORSE}}, cases=cases, completions=made)
    found = sample(tmp_path, retention=0.05)
    assert len(found["gate.md"].encode()) < 65_536, "the limit of a comment on GitHub"
    assert "30 more in gate.json." in found["gate.md"]


def test_the_markdown_begins_with_the_outcome_and_has_failures_first(
    written: dict[str, str],
) -> None:
    lines = written["gate.md"].splitlines()
    assert lines[0].startswith("## ✗ Gate failed: tuned &#124; &#64;&#8203;all")
    assert [line.split(" | ")[0] for line in lines[4:7]] == [
        *("| ✗&nbsp;fail", "| ✗&nbsp;fail", "| ✓&nbsp;pass"),
    ]


def test_the_worst_cases_come_first(tmp_path: Path) -> None:
    write_run(tmp_path, {"t": {CORRECTNESS: WORSE}})
    run, _ = gate(tmp_path, require="better")
    worst = worst_regressions(run)
    assert [one.gain for one in worst] == [-0.5] * 5
    assert [one.case_id for one in worst] == ["4", "14", "24", "34", "44"]
    assert (worst[0].baseline_score, worst[0].score) == (0.5, 0.0)


def test_a_run_without_losses_has_no_table_of_them(tmp_path: Path) -> None:
    write_run(tmp_path, {"t": {CORRECTNESS: BETTER}})
    assert "<details>" not in sample(tmp_path, require="better")["gate.md"]


def test_the_json_has_every_number(written: dict[str, str]) -> None:
    found = json.loads(written["gate.json"])
    assert (found["result"], found["exit_code"], found["schema_version"]) == ("fail", 4, 1)
    assert found["counts"] == {"pass": 1, "fail": 2, "can't tell": 0}
    one = found["rules"][1]
    assert (one["rule"], one["limit"], one["n"]) == ("min_gain", 0.02, 60)
    assert one["value"] == -0.27 and one["ci_high"] < 0.02 and one["level"] == 0.95
    assert one["fail_level"] == 0.9833, "two of three fail at the level for three"
    assert len(found["worst_regressions"]) == N_WORST


def test_the_same_run_and_rules_give_the_same_bytes(
    mixed: Path, written: dict[str, str], tmp_path: Path
) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(mixed, copy)
    assert sample(copy) == written


def test_files_are_written_whole_and_a_summary_is_appended(tmp_path: Path) -> None:
    (path,) = write_files(tmp_path / "new" / "folder", {"gate.md": "text \ud800"})
    assert path.read_text() == "text \\ud800"
    assert [one.name for one in path.parent.iterdir()] == ["gate.md"]
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    append_summary(str(summary), "after\n")
    assert summary.read_text() == "before\nafter\n"


@pytest.mark.parametrize("width", [40, 100])
def test_the_table_on_the_terminal_keeps_to_its_width(mixed: Path, width: int) -> None:
    lines = terminal_lines(*gate(mixed, **RULES), width)
    assert all(len(line) <= width for line, _ in lines if " " in line.strip())
    texts = [line for line, _ in lines]
    for result, sign in SIGNS.items():
        n = sum(line.startswith(f"{sign} {result}") for line in texts)
        assert n == {"pass": 1, "fail": 2, "can't tell": 0}[result]
