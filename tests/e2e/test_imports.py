"""Which libraries a command loads. Imports are most of what a short command takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from demo import FOLDER
from tests.e2e.conftest import ROOT, environment, main

HEAVY = {
    *("deepeval", "pandas", "pyarrow", "datasets", "openai", "anthropic", "ray", "torch", "wandb"),
    *("sklearn", "scipy.stats", "scipy.optimize", "llguidance", "lm_eval", "sacrebleu", "lab"),
}
"""What no command here needs."""

FOR_REPORTS = {"matplotlib", "scipy", "plugin.conclude", "plugin.report"}
FOR_MODELS = {"mlx", "mlx_lm", "transformers", "tokenizers", "huggingface_hub", "httpx"}

LOADED = """
import json, sys
sys.path.insert(0, {root!r})
from plugin import cli, generate

def stop(*_):
    raise KeyboardInterrupt

generate._generate = stop  # a run ends here, just before the first token
codes = [cli.start(words) for words in {commands!r}]
print("LOADED", json.dumps([codes, sorted(sys.modules)]))
"""


def loaded(*commands: list[str]) -> tuple[list[int], set[str]]:
    """Run commands in one new process; return their exit codes and the modules it then has."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(root=str(ROOT), commands=commands)],
        capture_output=True,
        text=True,
        env=environment(),
        check=True,
        timeout=300,
    )
    codes, modules = json.loads(done.stdout.rpartition("LOADED")[2])
    return codes, set(modules)


def test_a_certificate_and_a_run_load_only_the_engine_before_the_first_token(
    tmp_path: Path,
) -> None:
    given = ["--model_name", str(FOLDER / "model"), "--model_adapter", str(FOLDER / "adapter")]
    given += ["--dataset_name", str(FOLDER / "cases.jsonl")]
    own = ["--predefined_tasks", "Token F1", "--limit", "0.1", "--out", str(tmp_path / "run")]
    codes, modules = loaded(["certify", *given], ["run", *given, *own])
    assert codes == [0, 130]
    assert {"mlx_lm", "transformers", "plugin.run"} <= modules  # the engine ran
    assert modules & (HEAVY | FOR_REPORTS) == set()


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of recorded completions, judged with DeepEval's prompts."""
    folder = tmp_path_factory.mktemp("imports")
    cases = folder / "cases.jsonl"
    rows = [
        {"input": f"{i}?", "expected_output": f"It is {i}.", "b": "No.", "t": f"{i}."}
        for i in range(8)
    ]
    cases.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    words = ["--recorded", f"base={cases}:b", "--recorded", f"tuned={cases}:t"]
    words += ["--dataset_name", str(cases), "--judge", "offline", "--out", str(folder / "run")]
    ended = main("run", *words, "--predefined_tasks", "Answer Relevancy, Token F1")
    assert ended.code == 0, ended.err
    return folder / "run"


def test_a_report_and_a_finished_run_load_neither_models_nor_metrics(judged: Path) -> None:
    codes, modules = loaded(["report", str(judged)], ["resume", str(judged)])
    assert codes == [0, 0]
    assert {"matplotlib", "plugin.conclude"} <= modules
    assert modules & (HEAVY | FOR_MODELS) == set()
