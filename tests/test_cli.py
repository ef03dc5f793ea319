"""The command line without a run: its help, and what it says of words that it does not know."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plugin.cli import main
from plugin.plan.command_line import parse_arguments
from plugin.plan.params import Params, option_of
from tests.conftest import ROOT

SLOW = (
    *("numpy", "scipy", "pandas", "rich", "mlx", "mlx_lm", "torch", "deepeval", "datasets"),
    *("matplotlib", "openai"),
)
"""Libraries that help and mistyped words need not wait for."""


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ") and printed.err.count("\n") == 1
    return printed.err


def options_in(text: str) -> list[str]:
    found = re.findall(r"^  --(\w+)", text, re.M)
    return [name for name in found if not name.startswith("help")]


@pytest.mark.parametrize("columns", ["80", "120"])
def test_the_help_of_run_is_short_and_grouped(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    text = shown(capsys, "run", "--help")
    assert 10 <= len(options_in(text)) <= 15
    headings = re.findall(r"^(\w+):$", text, re.M)
    assert headings == ["model", "data", "metrics", "judge", "cost", "output", "help"]
    n_hidden = len(options_in(shown(capsys, "run", "--help-all"))) - len(options_in(text))
    assert text.splitlines()[-1] == f"{n_hidden} more options: run --help-all"
    assert max(map(len, text.splitlines())) < int(columns)
    assert all(re.match(r"  -.*\S  +\S", x) for x in text.splitlines() if x.startswith(" "))


def test_the_long_help_of_run_has_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "run", "--help-all")
    of_the_program = {name for name in Params.model_fields if "cli" in option_of(name).hosts}
    assert set(options_in(text)) == of_the_program | {"config"}
    assert "advanced:" in text
    assert "[auto | mlx | transformers | vllm | server]" in " ".join(text.split())
    assert "more options" not in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["run", "certify", "demo", "resume", "report", "ratings"]),
        (["certify", "--help"], ["--model_adapter", "--load_4bit"]),
        (["demo", "--help"], ["--out"]),
        (["resume", "--help"], ["DIR"]),
        (["report", "--help"], ["DIR", "--human_ratings"]),
        (["ratings", "--help"], ["DIR", "--n", "--seed", "--page", "--reasons", "--raters"]),
    ],
)
def test_every_command_has_its_help(
    arguments: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    text = shown(capsys, *arguments)
    assert all(word in text for word in words)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("rnu", "did you mean 'run'?"),
        ("reprot d", "did you mean 'report'?"),
        ("run --modle_name x", "did you mean '--model_name'?"),
        ("run --model-name=x", "did you mean '--model_name'?"),
        ("run -model_name x", "did you mean '--model_name'?"),
        ("certify --adapter x", "did you mean '--model_adapter'?"),
        ("report --human_rating x d", "did you mean '--human_ratings'?"),
        ("demo --ou x", "did you mean '--out'?"),
        ("run --variants 'vanila only'", "did you mean 'vanilla only'?"),
        ("--model_name x", "run --model_name"),
        ("--help-all", "run --help-all"),
        ("run stray", "unexpected word 'stray'"),
        ("run --zzzzzz", "run --help-all"),
        ("run --limit", "--limit: expected one argument"),
        ("run --chat_template maybe", "--chat_template 'maybe': choose true or false"),
        ("resume", "DIR"),
        ("ratings --n few d", "--n: invalid int value: 'few'"),
    ],
)
def test_a_word_that_is_not_known_is_answered_in_one_line(
    typed: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word.strip("'") for word in re.findall(r"'[^']*'|\S+", typed)]
    assert meant in refused(capsys, *words)


def test_a_report_takes_several_files_before_or_after_its_folder(tmp_path: Path) -> None:
    folder = str(tmp_path)
    for words in (
        (folder, "--human_ratings", "a.json", "b.csv"),
        (folder, "--human_ratings", "a.json", "--human_ratings", "b.csv"),
        ("--human_ratings", "a.json", "b.csv", folder),
        ("--human_ratings", "a.json", "--human_ratings", "b.csv", folder),
    ):
        given = parse_arguments(["report", *words])
        assert (given["folder"], given["human_ratings"]) == (folder, ["a.json", "b.csv"])
    assert parse_arguments(["report", folder])["human_ratings"] is None


def test_several_mistyped_options_are_named_together(capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, "run", "--modle_name", "x", "--jugde=offline")
    assert "'--model_name'" in message and "'--judge'" in message


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["run", "--modle_name", "x"]])
def test_help_and_mistyped_options_load_no_slow_library(arguments: list[str]) -> None:
    code = (
        "import sys; from plugin.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit: pass\n"
        f"slow = [name for name in {SLOW!r} if name in sys.modules]\n"
        "sys.exit(f'loaded {slow}' if slow else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_takes_little_computing() -> None:
    """Half a second on an idle machine; the limit here is for one that does other things too."""
    before, began = os.times(), time.monotonic()
    subprocess.run([sys.executable, "main.py", "--help"], cwd=ROOT, check=True, capture_output=True)
    after = os.times()
    spent = after.children_user - before.children_user
    assert spent < 1 or time.monotonic() - began < 0.5


def test_a_build_without_the_demo_says_so(tmp_path: Path) -> None:
    shutil.copy(ROOT / "main.py", tmp_path)
    shutil.copytree(
        ROOT / "plugin", tmp_path / "plugin", ignore=shutil.ignore_patterns("__pycache__")
    )
    done = subprocess.run(
        [sys.executable, "main.py", "demo"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: this copy of the program has no demo")
    assert "python main.py run" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()
