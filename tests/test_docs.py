"""README, docs and the plugin's pages: links lead somewhere, and what they name exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from plugin.judges import PROVIDERS
from plugin.judges.spending import list_prices, price_of
from plugin.load.cases import CaseSource, load_cases
from plugin.metrics import METRICS
from plugin.plan.command_line import parse_arguments
from plugin.plan.command_parser import CommandParser
from plugin.plan.commands import COMMANDS
from plugin.plan.params import Params
from plugin.records import MetricSpec
from tests.conftest import ROOT
from tests.e2e.conftest import FILES
from tools import examples, tables

README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = (README, ROOT / "info.md", ROOT / "CONTRIBUTING.md", *DOCS)

FENCE = re.compile(r"^[ ]*```.*?^[ ]*```[ ]*$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FOREIGN_OPTIONS = {"enable-lora", "lora-modules", "lora-paths", "model", "adapter-path", "check"}
FOREIGN_OPTIONS |= {"log_samples", "help", "body-file", "privileged"}
"""Words after two dashes that are options of other programs."""


def own_options() -> set[str]:
    """The options of all commands."""
    found = set()
    for command in COMMANDS.values():
        parser = CommandParser(add_help=False)
        command.add_options(parser)
        found |= {word.removeprefix("--") for word in parser._option_string_actions}
    return found


def prose(path: Path) -> str:
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    return {
        re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")
        for title in HEADING.findall(prose(path))
    }


def dead_links(page: Path) -> list[str]:
    """The relative links of a page that lead nowhere."""
    dead = []
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists():
            dead.append(link)
        elif anchor and anchor not in anchors(target):
            dead.append(link)
    return dead


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    assert dead_links(page) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A title: with `code`?\n[a](#a-title-with-code) [b](#b) [c](page.md) [d](none.md)\n"
        "[e](page.md#none) [f](https://example.org/none)\n```\n[g](in_code.md)\n```\n"
    )
    assert dead_links(page) == ["#b", "none.md", "page.md#none"]


@pytest.mark.parametrize("page", DOCS, ids=lambda path: path.name)
def test_the_readme_or_a_page_it_links_leads_to_every_page(page: Path) -> None:
    assert f"](docs/{page.name}" in prose(README)


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 125
    long = [
        part
        for block in re.split(r"\n\s*\n|\n(?=[-|#*])", prose(README))
        if len(words := block.split()) > 60
        for part in (" ".join(words),)
    ]
    assert long == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_option_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"(?<![\w-])--([a-z][\w-]*)", text))
    assert named - own_options() - set(Params.model_fields) - FOREIGN_OPTIONS == set()


def commands(page: Path) -> list[list[str]]:
    """The arguments of every command of this program in a page's blocks."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    return [
        shlex.split(line, comments=True)[2:]
        for line in text.splitlines()
        if line.strip().startswith("python main.py ")
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_command_that_a_page_shows_can_be_typed(page: Path) -> None:
    for arguments in commands(page):
        given = parse_arguments(arguments)
        if given.pop("command") == "run":
            given.pop("config")
            Params.parse({name: value for name, value in given.items() if value is not None})


def test_the_readme_shows_a_run_a_resume_and_a_rebuilt_report() -> None:
    assert [arguments[0] for arguments in commands(README)] == ["run", "resume", "report"]


@pytest.mark.parametrize("page", [README, ROOT / "docs/data.md"], ids=lambda path: path.name)
def test_the_shown_row_of_data_can_be_read(page: Path, tmp_path: Path) -> None:
    (row,) = re.findall(r"```json\n(.*)\n```", page.read_text(encoding="utf-8"))
    (tmp_path / "cases.jsonl").write_text(row)
    (case,) = load_cases(CaseSource(dataset_name=str(tmp_path / "cases.jsonl"))).cases
    assert case.input == "Who plays Dinesh?" and case.expected_output == "Kumail Nanjiani"
    assert case.context == ("Dinesh is played by Kumail Nanjiani.",) and case.group == "cast"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_file_that_a_page_has_installed_exists(page: Path) -> None:
    named = re.findall(r"-[rc] ([\w./-]+\.txt)", page.read_text(encoding="utf-8"))
    assert [n for n in named if not (ROOT / n.removeprefix("verdict/")).is_file()] == []


def test_the_page_of_judges_has_a_row_for_each() -> None:
    rows = re.findall(r"^\| `([^`]+)` \|", prose(ROOT / "docs/judges.md"), re.MULTILINE)
    assert rows[1:] == [provider.spec for provider in PROVIDERS.values()]


def test_the_readme_names_every_file_of_a_run() -> None:
    assert [name for name in FILES if f"`{name}`" not in prose(README)] == []


def test_the_table_of_metrics_says_what_each_looks_at() -> None:
    assert set(tables.LOOKS_AT) == set(METRICS)


@pytest.mark.parametrize(
    ("key", "cells"),
    [
        ("hallucination", "`context` | 0 to 1 | lower | guards | 2 (1)"),
        ("answer_relevancy", " | 0 to 1 | higher | decides | 3 (2)"),
        ("contextual_recall", "higher | describes the data | 2 per case (1)"),
        ("perplexity", "mlx or transformers | 0 and up, nats per token | lower | decides | 0"),
        ("latency", "mlx, transformers or server | 0 and up, seconds per case | lower | describes"),
    ],
)
def test_the_table_of_metrics_says_what_their_specs_declare(key: str, cells: str) -> None:
    (row,) = [
        line
        for line in tables.metric_table().splitlines()
        if line.startswith(f"| **{METRICS[key].spec.name}** |")
    ]
    assert cells in row


def test_a_metric_that_only_vetoes_is_a_guard_and_one_that_looks_at_data_describes_it() -> None:
    bare = MetricSpec("a", "A", True)
    assert tables.role(bare) == "decides"
    assert tables.role(MetricSpec("a", "A", True, is_guard=True)) == "guards"
    assert tables.role(MetricSpec("a", "A", True, decides=False)) == "describes"
    data = MetricSpec("a", "A", True, decides=False, judges_data=True)
    assert tables.role(data) == "describes the data"


def test_every_word_of_the_verdict_has_an_example_that_shows_it() -> None:
    told = {story.title: examples.tell(story) for story in examples.STORIES}
    outcomes = {title: verdict.outcome for title, verdict in told.items()}
    for word in ("better", "worse", "equivalent", "can't tell"):
        assert outcomes[word] == word
    assert told["better, but a guard is lost"].lost == ("Hallucination",)
    assert told["a retention group is lost"].lost == ("general",)
    for outcome in ("kept", "unclear"):
        story = next(s for s in examples.STORIES if s.title == f"a guard is {outcome}")
        assert f": {outcome}, " in examples.shown_lines(story)
        assert not told[story.title].lost


def test_the_costs_are_calls_times_what_each_metric_asks() -> None:
    rows = [row.split(" | ") for row in examples.cost_table().splitlines()[2:]]
    calls = {row[0].removeprefix("| "): int(row[1].replace(",", "")) for row in rows}
    # 200 cases, 2 answers, 1 + 3 questions; the exam: 40 probes of 1 question, 35 of 2.
    assert calls["Correctness, Answer Relevancy (the default)"] == 200 * 2 * (1 + 3) + 40 + 35 * 2
    assert calls["Token F1, Exact Match"] == 0
    line = examples.cost_line()
    assert "1,710 calls" in line and line in README.read_text(encoding="utf-8")


def test_the_table_of_prices_is_the_one_that_runs_use() -> None:
    prices = list_prices()
    assert len(prices) >= 10
    for model, price in prices:
        provider = "anthropic" if model.startswith("claude") else "openai"
        assert price_of(f"{provider}:{model}") == price
        assert f"| {model} | {price.prompt:.2f} | {price.completion:.2f} |" in tables.price_table()
