"""docs/ci.md: its files are well formed, its commands can be typed, and its script works."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugin.plan.command_line import parse_arguments
from plugin.plan.gate_rules import read_order
from tests.conftest import ROOT
from tests.e2e.conftest import main
from tests.gate.made_runs import CORRECTNESS, F1, HALLUCINATION, WORSE, write_run

PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"<!-- file: (\S+) -->\n```(\w+)\n(.*?)```", re.DOTALL)
FILES = {name: text for name, _, text in BLOCK.findall(PAGE)}
GITHUB, GITLAB = ".github/workflows/gate.yml", ".gitlab-ci.yml"


def parsed(name: str) -> Any:
    class Strict(yaml.SafeLoader):
        """Leave `on` a word, as GitHub does, and refuse a key that stands there twice."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            names = [self.construct_object(key) for key, _ in node.value]
            assert len(names) == len(set(names))
            return super().construct_mapping(node, deep)

    Strict.yaml_implicit_resolvers = {
        key: [one for one in found if one[0] != "tag:yaml.org,2002:bool" or key not in "oO"]
        for key, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return yaml.load(FILES[name], Strict)


def commands(lines: list[str]) -> list[list[str]]:
    """The words of every call of this program."""
    begin = "python verdict/main.py "
    return [shlex.split(line.removeprefix(begin)) for line in lines if line.startswith(begin)]


def test_the_page_has_its_files() -> None:
    assert list(FILES) == ["gate.yaml", GITHUB, GITLAB, "told.py"]


def test_the_github_file_has_the_shape_of_a_workflow() -> None:
    """The parts of GitHub's published schema that this file uses."""
    found = parsed(GITHUB)
    assert set(found) == {"name", "on", "permissions", "jobs"}
    assert set(found["permissions"].values()) <= {"read", "write", "none"}
    for job in found["jobs"].values():
        assert set(job) <= {"runs-on", "timeout-minutes", "steps"} and job["steps"]
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step), "a step either uses an action or runs"
            assert set(step) <= {"name", "uses", "run", "with", "if", "env"}
            assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step.get("uses", "a/b@v1"))
            assert not re.search(r"\$\{\{[^}]*github\.event", step.get("run", "")), (
                "what strangers write must not become code"
            )


def test_the_gitlab_file_has_the_shape_of_a_pipeline() -> None:
    """The parts of GitLab's published schema that this file uses."""
    (job,) = parsed(GITLAB).values()
    assert set(job) <= {"image", "variables", "script", "allow_failure", "artifacts"}
    assert all(isinstance(line, str) for line in job["script"])
    assert job["allow_failure"] == {"exit_codes": [5]}
    artifacts = job["artifacts"]
    assert set(artifacts) == {"when", "paths", "reports"} and artifacts["when"] == "always"
    assert artifacts["reports"] == {"junit": "runs/ci/gate/junit.xml"}


@pytest.mark.parametrize("name", [GITHUB, GITLAB])
def test_their_commands_can_be_typed(name: str) -> None:
    found = parsed(name)
    lines = (
        [step.get("run", "") for step in found["jobs"]["gate"]["steps"]]
        if name == GITHUB
        else found["gate"]["script"]
    )
    given = [parse_arguments(words) for words in commands(lines)]
    assert [one["command"] for one in given] == ["run", "gate"]
    assert given[0]["out"] == given[1]["folder"] == "runs/ci"
    installed = [word for line in lines for word in line.split() if word.startswith("verdict/")]
    assert all((ROOT / word.removeprefix("verdict/")).is_file() for word in installed)


def test_the_rules_and_the_script_work_on_a_run(tmp_path: Path) -> None:
    rules = tmp_path / "gate.yaml"
    rules.write_text(FILES["gate.yaml"], encoding="utf-8")
    assert len(read_order({"rules": str(rules)}).rules) == 5
    folder = tmp_path / "runs" / "ci"
    folder.mkdir(parents=True)
    write_run(folder, {"tuned": {CORRECTNESS: WORSE, F1: WORSE, HALLUCINATION: WORSE}})
    assert main("gate", str(folder), "--rules", str(rules)).code == 4
    done = subprocess.run(
        [sys.executable, "-c", FILES["told.py"]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    first, *others = done.stdout.splitlines()
    assert first == "fail tuned"
    assert others[0].startswith("require not_worse: gain on Correctness -0.27 (95% interval")
    assert others[-1].startswith("require_certificate: certificate of the adapter: tuned has no")
