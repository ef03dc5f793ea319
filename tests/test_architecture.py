"""docs/architecture.md: its map is the real tree, and its examples work as the page says."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from demo import FOLDER
from plugin import cli, engines, hosts, judges, metrics
from plugin.journal import Journal
from plugin.records import Completion
from plugin.worker import Progress
from tests.conftest import ROOT
from tests.e2e.conftest import Ended, main, summary
from tests.in_process import call_program

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
MAX_LINES = 30
MAPPED = ("plugin", "demo", "tools", "benchmarks")
"""Folders of which the map has every file of code."""


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def blocks(title: str, language: str = "python") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", section(title), re.DOTALL)


def mapped_files() -> dict[str, str]:
    """Path -> phrase, read from the map by its indents."""
    found, folders = dict[str, str](), list[str]()
    for line in blocks("The map", "text")[0].splitlines():
        name, _, phrase = line.strip().partition(" ")
        depth = (len(line) - len(line.lstrip())) // 2
        del folders[depth:]
        found["/".join([*folders, name])] = phrase.strip()
        if name.endswith("/"):
            folders.append(name.rstrip("/"))
    return found


def real_files() -> set[str]:
    files = [file for folder in MAPPED for file in (ROOT / folder).rglob("*")]
    code = [file for file in files if file.suffix in (".py", ".j2", ".js")]
    whole = [f for f in code if f.name != "__init__.py" or len(f.read_text().splitlines()) > 4]
    return {"main.py", *(str(file.relative_to(ROOT)) for file in whole)}


def test_the_map_is_the_tree() -> None:
    told = mapped_files()
    assert {path for path in told if not path.endswith("/")} == real_files()
    assert all((ROOT / path).is_dir() for path in told if path.endswith("/"))


def test_benchmarks_import_what_is_there() -> None:
    """Nothing runs them in the tests, so a name that moved would be missed."""
    pattern = re.compile(r"^ *from (plugin[\w.]*) import ([\w ,]+)$", re.MULTILINE)
    for file in (ROOT / "benchmarks").glob("*.py"):
        for module, names in pattern.findall(file.read_text(encoding="utf-8")):
            path = ROOT / module.replace(".", "/")
            source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            text = source.read_text(encoding="utf-8") if source.is_file() else ""
            for name in (one.partition(" as ")[0] for one in names.split(", ")):
                is_file = (path / name).is_dir() or (path / f"{name}.py").is_file()
                known = is_file or re.search(rf"\b{name}\b", text)
                assert known, f"{file.name}: {module}.{name}"


def test_every_file_of_the_map_has_a_phrase() -> None:
    lacking = [path for path, phrase in mapped_files().items() if len(phrase) < 6]
    assert lacking == ["plugin/", "tools/"]  # their files say it


def test_the_path_names_what_exists() -> None:
    named = re.findall(r"`(plugin/[\w/]+\.py):(\w+)`", section("The path of one case"))
    assert len(named) > 15
    for path, name in named:
        text = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"^ *(async def|def|class) {name}\b", text, re.MULTILINE), (
            f"{path}:{name}"
        )


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:plugin|tests)/[\w/*]+\.py)`", PAGE))))
def test_files_in_the_text_exist(path: str) -> None:
    examples = {heading(block) for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)}
    assert path in examples or list(ROOT.glob(path))


def heading(block: str) -> str:
    return block.splitlines()[0].removeprefix("# ")


TABLES: dict[str, tuple[ModuleType, str, ModuleType]] = {
    "metric": (metrics, "METRICS", metrics),
    "judge": (judges, "PROVIDERS", judges),
    "engine": (engines, "ENGINES", engines),
    "host": (hosts, "HOSTS", cli),
}
"""What is added -> the package of its file, the table, and the module that has the table."""


def how_to_add(kind: str) -> tuple[str, str]:
    """Return the code of the file and the row, each under its comment line."""
    article = "an" if kind == "engine" else "a"
    code, row = blocks(f"How to add {article} {kind}")
    return code, row


def add(kind: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Do what the page says: put the file into the package, and the row into the table."""
    package, table, home = TABLES[kind]
    code, row = how_to_add(kind)
    home_file = str(Path(str(home.__file__)).relative_to(ROOT))
    assert heading(row) == f"a row of {table} in {home_file}"
    file = Path(heading(code))
    assert str(file.parent) == package.__name__.replace(".", "/")
    (folder / file.name).write_text(code, encoding="utf-8")
    patch.setattr(package, "__path__", [*package.__path__, str(folder)])
    patch.delitem(sys.modules, f"{package.__name__}.{file.stem}", raising=False)
    patch.delattr(package, file.stem, raising=False)
    importlib.invalidate_caches()
    body = row.partition("\n")[2]
    if kind == "metric":
        (entry,) = eval(f"({body})", vars(home))
        patch.setitem(metrics.METRICS, entry.spec.key, entry)
        return
    for name, entry in eval(f"{{{body}}}", vars(home)).items():
        patch.setitem(getattr(home, table), name, entry)


@pytest.mark.parametrize("kind", TABLES)
def test_an_example_is_short_and_keeps_the_rules_of_the_house(kind: str, tmp_path: Path) -> None:
    code, row = how_to_add(kind)
    assert sum(len(block.splitlines()) - 1 for block in (code, row)) <= MAX_LINES
    rules = ("--config", str(ROOT / "pyproject.toml"), "--extend-ignore", "D")
    for command in (("check", *rules), ("format", "--check", *rules[:2])):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--stdin-filename", heading(code), "-"],
            input=code,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


CASES = [
    ("Who plays Richard?", "Thomas Middleditch", "I do not know.", "It is Thomas Middleditch."),
    ("Who plays Dinesh?", "Kumail Nanjiani", "kumail nanjiani!", "Kumail Nanjiani."),
    ("Who plays Jared?", "Zach Woods", "Nobody.", "Zach"),
]


@pytest.fixture
def recorded(tmp_path: Path) -> dict[str, Any]:
    """Options of a run on completions in a file."""
    file = tmp_path / "recorded.jsonl"
    rows = [
        {"input": question, "expected_output": wanted, "base": base, "tuned": tuned}
        for question, wanted, base, tuned in CASES
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    return {"recorded": [f"base={file}:base", f"tuned={file}:tuned"]}


def run(options: dict[str, Any], out: Path) -> Ended:
    words = ["run", "--out", str(out)]
    for name, value in options.items():
        for one in value if isinstance(value, list) else [value]:
            words += [f"--{name}", str(one)]
    ended = main(*words)
    assert ended.code == 0, ended.err
    return ended


def scores(out: Path) -> dict[str, list[float]]:
    """Variant -> the scores of its cases, in their order, as the journal has them."""
    with closing(Journal.existing(out)) as journal:
        found = sorted(journal.scores(), key=lambda score: score.case_id)
    return {name: [s.value for s in found if s.variant == name] for name in ("base", "tuned")}


def test_the_metric_scores_real_cases(
    tmp_path: Path, recorded: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    add("metric", tmp_path, monkeypatch)
    out = tmp_path / "run"
    run({**recorded, "predefined_tasks": "Contains Answer"}, out)
    assert scores(out) == {"base": [0, 1, 0], "tuned": [1, 1, 0]}
    assert summary(out)["verdict"]["primary_metric"] == "Contains Answer"


PROGRAM = """#!{python}
import json, sys
asked = sys.stdin.read()
score = 10 if "Middleditch." in asked else 4
print("Here it is:", json.dumps({{"score": score, "reason": "as the program says"}}))
"""


def test_the_judge_answers(
    tmp_path: Path, recorded: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    add("judge", tmp_path, monkeypatch)
    program, out = tmp_path / "program", tmp_path / "run"
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(0o755)
    judge = {"judge": f"command:{program}", "predefined_tasks": "Correctness"}
    run({**recorded, **judge, "trust_report": "false"}, out)
    assert summary(out)["judge"] == f"command:{program}"
    assert scores(out) == {"base": [0.4, 0.4, 0.4], "tuned": [1, 0.4, 0.4]}


def test_the_judge_says_when_its_program_fails(
    tmp_path: Path, recorded: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    add("judge", tmp_path, monkeypatch)
    monkeypatch.setattr("plugin.net.FIRST_WAIT_S", 0.01)
    words = ["--recorded", recorded["recorded"][0], "--predefined_tasks", "Correctness"]
    out = str(tmp_path / "run")
    ended = main("run", *words, "--judge", "command:false", "--out", out)
    assert ended.code == 1
    assert "command:false" in ended.err and "false ended with 1" in ended.err


def test_the_engine_completes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add("engine", tmp_path, monkeypatch)
    out = tmp_path / "run"
    options = {
        "engine": "parrot",
        "model_name": FOLDER / "model",
        "model_adapter": FOLDER / "adapter",
        "dataset_name": FOLDER / "cases.jsonl",
        "predefined_tasks": "Token F1",
        "limit": 0.1,
    }
    run(options, out)
    with closing(Journal.existing(out)) as journal:
        cases, made = {case.id: case for case in journal.cases()}, journal.completions()
    assert len(made) == 12
    for (case_id, variant), completion in made.items():
        assert isinstance(completion, Completion)
        question = cases[case_id].input
        assert completion.text == (question if variant == "vanilla" else question.upper())
    versions = summary(out)["provenance"]["versions"]
    assert (versions["engine"], versions["engine chosen by"]) == ("parrot 1", "--engine parrot")


def test_the_host_receives_the_report(
    tmp_path: Path, recorded: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    add("host", tmp_path, monkeypatch)
    order = {**recorded, "predefined_tasks": ["Token F1", "Exact Match"]}
    (tmp_path / "order.json").write_text(json.dumps(order))
    ended = call_program(lambda: cli.start([]), {"VERDICT_INBOX": str(tmp_path)})
    assert ended.code == 0, ended.err
    (folder,) = (tmp_path / "finetune_verdict").iterdir()
    said = (tmp_path / "verdict.txt").read_text()
    assert said == summary(folder)["verdict"]["text"] and "Token F1" in said


def test_the_host_hears_why_there_is_no_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("host", tmp_path, monkeypatch)
    order = {"recorded": ["base=nowhere.jsonl"], "predefined_tasks": "Token F1"}
    (tmp_path / "order.json").write_text(json.dumps(order))
    ended = call_program(lambda: cli.start([]), {"VERDICT_INBOX": str(tmp_path)})
    assert ended.code == 2
    assert "nowhere.jsonl" in ended.err
    assert not (tmp_path / "verdict.txt").exists()


def test_the_host_hears_that_the_run_was_stopped(
    tmp_path: Path,
    recorded: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    add("host", tmp_path, monkeypatch)
    (tmp_path / "order.json").write_text(json.dumps({**recorded, "predefined_tasks": "Token F1"}))
    monkeypatch.setenv("VERDICT_INBOX", str(tmp_path))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(hosts.PathHost, "tend", _stop)
    assert cli.start([]) == 130
    assert hosts.STOPPED_TEXT in capsys.readouterr().out


def _stop(host: hosts.PathHost, progress: Progress) -> None:
    raise KeyboardInterrupt


def test_without_a_host_a_person_typed_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.start(["rum"]) == 2
    assert "'rum', did you mean 'run'?" in capsys.readouterr().err
