"""The current host, on its real SDK in local mode, read back as its dashboard reads it."""

from __future__ import annotations

import asyncio
import csv
import json
import math
import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import main as program
from demo import FOLDER
from plugin.errors import AdapterError, DataError, ModelError
from plugin.hosts import percent_done
from plugin.hosts.lab import LabHost, name_fields, plain_config, published_scores
from plugin.plan.params import Params
from plugin.run import run
from plugin.worker import Progress, Stage
from tests.conftest import ROOT
from tests.in_process import call_program
from tests.judge_server import JudgeServer
from tests.report import report_samples as samples

PARAMETERS: dict[str, Any] = {
    "model_name": str(FOLDER / "model"),
    "model_adapter": str(FOLDER / "adapter"),
    "dataset_name": str(FOLDER / "cases.jsonl"),
    "predefined_tasks": "Token F1, Correctness",
    "judge": "offline",
    "limit": {"type": "float", "default": 0.2, "title": "Share of cases"},
    "seed": None,
    "max_tokens": "24",
    "system_prompt": "",
}

COLUMNS = {
    "01_summary.csv": "label,metric,variant,score,n,failed,ci_low,ci_high,higher_is_better",
    "02_comparison.csv": "label,metric,variant,baseline,verdict,gain,ci_low,ci_high,p_value,n,"
    "n_clusters,effective_clusters,group,role,variant_mean,baseline_mean,failed_variant,"
    "failed_baseline,margin,higher_is_better,partial",
    "03_cases.csv": "label,case_id,metric,variant,gain,score,baseline_score,group,input,"
    "expected_output,baseline_output,output,reason",
    "04_failures.csv": "variant,metric,stage,case_id,reason",
    "05_groups.csv": "label,metric,variant,group,score,n,failed,ci_low,ci_high,gain,gain_low,"
    "gain_high,verdict,higher_is_better",
}


class Workspace:
    """A host's workspace in which jobs can be made and run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "workspace"
        self.folder.mkdir()
        self.environment = {"HOME": str(folder), "TFL_WORKSPACE_DIR": str(self.folder)}

    def make_job(self, **changed: object) -> str:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            from lab import lab

            lab.init()
            lab.set_job_data_field("parameters", {**PARAMETERS, **changed})
            self.experiment = str(lab.experiment.id)
            return str(lab.job.id)

    def _environment_of(self, job_id: str) -> dict[str, str]:
        of_job = {"_TFL_JOB_ID": job_id, "_TFL_EXPERIMENT_ID": self.experiment}
        return {**self.environment, **of_job}

    def start(self, job_id: str) -> subprocess.Popen[str]:
        """Start a job as the host does, in a process of its own."""
        return subprocess.Popen(
            [sys.executable, str(ROOT / "main.py")],
            env={**os.environ, **self._environment_of(job_id)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run_process(self, job_id: str) -> tuple[int, str]:
        running = self.start(job_id)
        printed, _ = running.communicate(timeout=600)
        assert "Traceback" not in printed, printed
        return running.returncode, printed

    def run(self, job_id: str) -> tuple[int, str]:
        """Run a job in this process."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [str(ROOT / "main.py")])
            ended = call_program(program.main, self._environment_of(job_id))
        return ended.code, ended.out + ended.err

    def job(self, job_id: str) -> dict[str, Any]:
        path = self.folder / "experiments" / self.experiment / "jobs" / job_id / "index.json"
        read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return read

    def log(self, job_id: str) -> str:
        folder = self.folder / "experiments" / self.experiment / "jobs" / job_id
        return "".join(file.read_text(encoding="utf-8") for file in folder.glob("output_*.txt"))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    workspace = Workspace(tmp_path_factory.mktemp("lab"))
    job_id = workspace.make_job()
    code, printed = workspace.run_process(job_id)
    assert code == 0, printed
    return workspace, job_id


def as_dashboard(path: Path) -> list[dict[str, str]]:
    """The server splits the text into lines before it parses them."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return list(csv.DictReader(lines))


def test_the_job_is_complete_and_says_the_verdict(done: tuple[Workspace, str]) -> None:
    workspace, job_id = done
    job = workspace.job(job_id)
    assert (job["status"], job["progress"]) == ("COMPLETE", 100)
    assert job["job_data"]["completion_details"].startswith("[offline (smoke-test) judge] ")
    assert "n=12" in job["job_data"]["completion_details"]
    assert "Next: Ask a real judge ('Judge')" in job["job_data"]["completion_details"]
    assert "generate" in workspace.log(job_id)
    assert "Artifacts: verdict.svg shows the answer as one picture" in workspace.log(job_id)


def test_tables_have_the_columns_of_all_time_in_order(done: tuple[Workspace, str]) -> None:
    workspace, job_id = done
    files = [Path(path) for path in workspace.job(job_id)["job_data"]["eval_results"]]
    assert [file.name for file in files] == list(COLUMNS)
    for file in files:
        assert file.read_text(encoding="utf-8").splitlines()[0] == COLUMNS[file.name]


def test_the_dashboard_sees_vanilla_beside_the_adapter(done: tuple[Workspace, str]) -> None:
    workspace, job_id = done
    files = {Path(p).name: Path(p) for p in workspace.job(job_id)["job_data"]["eval_results"]}
    rows = as_dashboard(files["01_summary.csv"])
    assert [row["label"] for row in rows] == [
        "Correctness / vanilla",
        "Correctness / adapter",
        "Token F1 / vanilla",
        "Token F1 / adapter",
    ]
    for row in rows:
        assert 0 <= float(row["score"]) <= 1 and row["n"] == "12" and row["failed"] == "0"
    cases = as_dashboard(files["03_cases.csv"])
    assert len(cases) == 12 * 2
    shown = ("input", "output", "baseline_output", "score", "baseline_score", "gain")
    assert all(row[name] for row in cases for name in shown)


def test_the_score_is_flat_and_finite(done: tuple[Workspace, str]) -> None:
    workspace, job_id = done
    score = workspace.job(job_id)["job_data"]["score"]
    score.pop("discard")
    assert set(score) == {
        "score",
        "gain/Correctness",
        "gain/Token F1",
        "lost_guards",
        "vanilla/Correctness",
        "vanilla/Token F1",
        "adapter/Correctness",
        "adapter/Token F1",
    }
    assert all(isinstance(value, float) and math.isfinite(value) for value in score.values())
    assert score["score"] == score["gain/Correctness"]


def test_artifacts_have_names_the_host_can_show(done: tuple[Workspace, str]) -> None:
    workspace, job_id = done
    names = [Path(path).name for path in workspace.job(job_id)["job_data"]["artifacts"]]
    assert names == [
        "verdict.svg",
        "comparison.svg",
        "distribution.svg",
        "report.html",
        "summary.json",
        "completions.jsonl",
        "verdict.txt",
    ]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in names)


def test_the_same_settings_continue_in_another_job(done: tuple[Workspace, str]) -> None:
    workspace, first = done
    second = workspace.make_job()
    code, printed = workspace.run(second)
    assert code == 0, printed
    assert "continuing a run: 24 completions and 48 scores are there" in workspace.log(second)
    tables = [workspace.job(job)["job_data"]["eval_results"][2] for job in (first, second)]
    assert Path(tables[0]).read_bytes() == Path(tables[1]).read_bytes()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model_adapter": "no-such-adapter"}, "adapter 'no-such-adapter': not found in the"),
        ({"model_adapter": ""}, "Adapter is empty: launch again with it filled in"),
        ({"judge": None}, "no judge chosen; 'Judge' takes one of"),
        ({"limit": "much"}, "'Share of cases' 'much': it must be a valid number"),
        ({"dataset_name": "/nowhere/cases.jsonl"}, "/nowhere/cases.jsonl"),
        ({"judge": "openai:gpt-4o"}, "judge openai:gpt-4o needs a key: set OPENAI_API_KEY"),
        ({"tasks": "Tone"}, "criterion 1 (Tone) needs a description or evaluation steps"),
    ],
)
def test_a_mistake_fails_the_job_with_its_message(
    changed: dict[str, object], message: str, workspace: Workspace
) -> None:
    job_id = workspace.make_job(**changed)
    code, _ = workspace.run(job_id)
    job = workspace.job(job_id)
    assert code == 2
    assert job["status"] == "FAILED"
    assert message in job["job_data"]["completion_details"]


def test_criteria_become_metrics_with_the_columns_of_all_time(
    workspace: Workspace, server: JudgeServer
) -> None:
    workspace.environment["CUSTOM_JUDGE_BASE_URL"] = server.url
    job_id = workspace.make_job(
        judge="custom:m",
        limit=0.1,
        tasks="Politeness: Is it polite?",
        predefined_tasks="Contextual Recall",
    )
    code, printed = workspace.run(job_id)
    assert code == 0, printed
    files = {Path(p).name: Path(p) for p in workspace.job(job_id)["job_data"]["eval_results"]}
    labels = [row["label"] for row in as_dashboard(files["01_summary.csv"])]
    assert labels[:3] == [
        "Politeness / vanilla",
        "Politeness / adapter",
        "Contextual Recall / data set",
    ]
    assert "Politeness, evaluation steps: 1. one of the steps" in workspace.log(job_id)
    for name, columns in COLUMNS.items():
        assert files[name].read_text(encoding="utf-8").splitlines()[0] == columns


def test_a_full_disk_while_saving_says_so_and_nothing_has_to_be_made_again(
    workspace: Workspace,
) -> None:
    job_id = workspace.make_job()
    saved = (
        workspace.folder / "experiments" / workspace.experiment / "jobs" / job_id / "eval_results"
    )
    saved.mkdir(parents=True)
    (saved / "01_summary.csv").symlink_to("/dev/full")
    code, _ = workspace.run(job_id)
    job = workspace.job(job_id)
    assert (code, job["status"]) == (1, "FAILED")
    details = job["job_data"]["completion_details"]
    assert "No space left on device" in details and "nothing has to be made again" in details
    again = workspace.make_job()
    assert workspace.run(again)[0] == 0
    assert "continuing a run: 24 completions and 48 scores are there" in workspace.log(again)


def stop(running: subprocess.Popen[str]) -> None:
    """Stop a job as the host does: SIGTERM twice, and SIGKILL three seconds later.

    The host signals all processes of the job, and its wrapper passes the signal on to the command.
    What is measured is the work that a stop takes, which does not depend on the machine's load.
    """
    before = _cpu_seconds_of(running.pid), _cpu_seconds_of_ended()
    running.send_signal(signal.SIGTERM)
    time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=300)
    assert running.returncode == 0
    work = _cpu_seconds_of_ended() - sum(before)
    assert work < 3, work


def _cpu_seconds_of(pid: int) -> float:
    """Return what a process has used, in whole seconds where the system counts no finer."""
    shown = subprocess.run(
        ["ps", "-o", "time=", "-p", str(pid)], capture_output=True, text=True, check=True
    ).stdout
    *hours, minutes, seconds = shown.strip().rpartition("-")[2].split(":")
    return float(seconds) + 60 * float(minutes) + sum(3600 * float(one) for one in hours)


def _cpu_seconds_of_ended() -> float:
    """Return what all processes have used that this one started and saw the end of."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def wait_for(workspace: Workspace, table: str, n: int, running: subprocess.Popen[str]) -> Path:
    """The run's journal, once the table has n rows."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and running.poll() is None:
        for journal in workspace.folder.glob("finetune_verdict/*/journal.sqlite"):
            if _n_rows(journal, table) >= n:
                return journal
        time.sleep(0.01)
    raise AssertionError(f"never {n} rows of {table}")


@pytest.mark.slow
def test_a_stop_while_generating_ends_in_time_and_the_run_goes_on(workspace: Workspace) -> None:
    first = workspace.make_job(limit=1, max_tokens=48, batch_size=2)
    running = workspace.start(first)
    journal = wait_for(workspace, "answers", 20, running)
    stop(running)
    assert 20 <= _n_rows(journal, "answers") < 120
    again = workspace.make_job(limit=1, max_tokens=48, batch_size=2)
    assert workspace.run(again)[0] == 0
    assert "continuing a run: " in workspace.log(again)


def test_a_stop_while_scoring_saves_partial_tables(
    workspace: Workspace, server: JudgeServer
) -> None:
    server.latency_s = 0.5
    workspace.environment["CUSTOM_JUDGE_BASE_URL"] = server.url
    job_id = workspace.make_job(judge="custom:slow", limit=1, max_tokens=4)
    running = workspace.start(job_id)
    wait_for(workspace, "scores", 130, running)  # the words are scored, and the first judgments
    stop(running)
    saved = [Path(path) for path in workspace.job(job_id)["job_data"]["eval_results"]]
    assert [file.name for file in saved] == list(COLUMNS)
    rows = as_dashboard(saved[1])
    assert {row["partial"] for row in rows} == {"True"}


def _n_rows(journal: Path, table: str) -> int:
    try:
        with sqlite3.connect(f"file:{journal}?mode=ro", uri=True) as db:
            return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    except sqlite3.Error:
        return 0


class Watched:
    """Passes calls on to the real SDK and notes where they come from."""

    def __init__(self, lab: Any) -> None:
        self._lab = lab
        self.calls: list[tuple[str, int, bool]] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        real = getattr(self._lab, name)
        if not callable(real):
            return real

        def call(*arguments: Any, **named: Any) -> Any:
            try:
                asyncio.get_running_loop()
                in_loop = True
            except RuntimeError:
                in_loop = False
            self.calls.append((name, threading.get_ident(), in_loop))
            return real(*arguments, **named)

        return call


@pytest.fixture
def sdk(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Watched:
    for name in ("HOME", "TFL_WORKSPACE_DIR"):
        monkeypatch.setenv(name, workspace.environment[name])
    from lab import lab

    lab.init()
    return Watched(lab)


def test_the_sdk_is_called_from_the_main_thread_outside_any_loop(sdk: Watched) -> None:
    run(Params.parse(plain_config({**PARAMETERS, "limit": 0.05})), LabHost(sdk))
    assert {name for name, _, _ in sdk.calls} >= {
        "update_progress",
        "log",
        "save_artifact",
        "finish",
    }
    assert {thread for _, thread, _ in sdk.calls} == {threading.get_ident()}
    assert not any(in_loop for _, _, in_loop in sdk.calls)


def test_names_are_directories_registry_ids_or_hub_ids(sdk: Watched, workspace: Workspace) -> None:
    registered = workspace.folder / "models" / "mine" / "v1"
    registered.mkdir(parents=True)
    host = LabHost(sdk)
    assert host.adapter("mine/v1") == host.adapter("mine") == registered
    assert host.model("mine/v1") == str(registered)
    assert host.adapter(str(FOLDER / "adapter")) == FOLDER / "adapter"
    assert host.model("someone/on-the-hub") == "someone/on-the-hub"
    assert host.dataset("someone/on-the-hub") == "someone/on-the-hub"
    with pytest.raises(AdapterError, match=r"the Model Registry \(the registry has mine\)"):
        host.adapter("mine/v2")
    with pytest.raises(AdapterError, match="did you mean 'mine'"):
        host.adapter("mines")
    documents = Path(asyncio.run(sdk.experiment.get_dir())) / "documents"
    documents.mkdir(parents=True)
    (documents / "cases.csv").write_text("input\n")
    assert host.dataset("cases.csv") == host.dataset("~/cases.csv")
    assert host.dataset("cases.csv") == str(documents / "cases.csv")


def test_a_path_that_is_not_there_says_what_a_job_can_see(
    sdk: Watched, workspace: Workspace
) -> None:
    host = LabHost(sdk)
    with pytest.raises(DataError, match="the documents are none"):
        host.dataset("case.csv")
    with pytest.raises(ModelError, match="home directory of a job is its own"):
        host.model("~/my-model")
    with pytest.raises(ModelError, match="A job cannot see the machine's /tmp"):
        host.model("/tmp/no-such-model")


@pytest.mark.parametrize(
    "name", ["../mine/v1", "./mine/v1", "mine//v1", "mine/v1/..", "~no-such-user/a"]
)
def test_a_registry_id_is_taken_word_for_word(
    name: str, sdk: Watched, workspace: Workspace
) -> None:
    """The SDK itself takes ../mine/v1 for mine/v1."""
    (workspace.folder / "models" / "mine" / "v1").mkdir(parents=True)
    host = LabHost(sdk)
    with pytest.raises(AdapterError, match="not found in "):
        host.adapter(name)
    if name.startswith("mine"):
        assert host.model(name) == name
    else:
        with pytest.raises(ModelError, match="not found in the path "):
            host.model(name)


def test_a_failure_is_said_on_the_card_in_the_log_and_by_the_forms_titles(
    workspace: Workspace,
) -> None:
    job_id = workspace.make_job(model_name="", more_options="")
    code, _ = workspace.run(job_id)
    job = workspace.job(job_id)
    told = job["job_data"]["error_msg"]
    assert (code, job["status"]) == (2, "FAILED")
    assert told.startswith("Base model is empty") and f"error: {told}" in workspace.log(job_id)


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"more_options": "--marginn 0.1"}, "did you mean 'margin'"),
        ({"judge": "openai:gpt-4o-mini"}, "User Settings > Secrets"),
        ({"more_options": "input_column: question"}, "'question'"),
        ({"model_adapter": "no-such"}, "not found in the Model Registry"),
    ],
)
def test_bad_fields_are_explained(
    changed: dict[str, Any], part: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    job_id = workspace.make_job(**changed)
    assert workspace.run(job_id)[0] == 2
    assert part in workspace.job(job_id)["job_data"]["error_msg"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("cases.csv", "cases.csv cannot be used as it is"),
        ("cases.cvs", "data set 'cases.cvs': not found in the experiment's documents"),
    ],
)
def test_a_document_is_called_by_the_name_of_its_page(
    name: str, told: str, workspace: Workspace
) -> None:
    job_id = workspace.make_job(dataset_name=name)
    documents = workspace.folder / "experiments" / workspace.experiment / "documents"
    documents.mkdir(parents=True)
    (documents / "cases.csv").write_text("frage,antwort\nWho?,Me\n", encoding="utf-8")
    assert workspace.run(job_id)[0] == 2
    message = workspace.job(job_id)["job_data"]["error_msg"]
    assert message.startswith(told)
    assert ("--input_column" in message) == message.endswith("go into 'More options'")


def test_messages_name_the_forms_titles() -> None:
    titles = {"model_name": "Base model", "limit": "Share of cases"}
    text = "--model_name and --limit, not --limits or --model"
    assert name_fields(text, titles) == "'Base model' and 'Share of cases', not --limits or --model"


def test_live_figures_and_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sdk:
        def __init__(self) -> None:
            self.lines: list[str] = []
            self.told: list[Any] = []
            self.fields: list[tuple[str, str]] = []

        def set_job_data_field(self, name: str, value: str) -> None:
            self.fields.append((name, value))

        def log(self, text: str) -> None:
            self.lines.append(text)

        def update_progress(
            self, percent: int, metrics: dict[str, float] | None = None, step: int | None = None
        ) -> None:
            self.told.append((metrics, step))

    sdk, now = Sdk(), [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    host, progress = LabHost(sdk), Progress()
    progress.begin(Stage.SCORE, total=50)
    progress.n_failed, progress.gain, progress.note = 1, 0.12345, "1 failed"
    for second in range(40):
        now[0], progress.done = 100.0 + second, second
        host.tend(progress)
    assert sdk.lines[0] == "score" and len(sdk.lines) >= 4  # never 15 s without a line
    told = r"score: \d+ of 50, 1\.0/s, \d+ s left, 1 failed, running gain \+0\.123"
    assert re.fullmatch(told, sdk.lines[1])
    assert ({"judged": 39.0, "failed": 1.0, "running_gain": 0.1235}, 39) in sdk.told
    assert sdk.fields == [("live_status", "score")]  # the card of a running job
    progress.begin(Stage.CERTIFY, total=1)
    for step in ("tuned: read its files", "tuned: load the adapter"):
        progress.step = step
        host.tend(progress)
    now[0] += 30
    host.tend(progress)
    assert sdk.fields[1:] == [
        ("live_status", "certify: tuned: read its files"),
        ("live_status", "certify: tuned: load the adapter"),
    ]
    assert sdk.lines[-1] == "certify: 0 of 1, tuned: load the adapter, 30 s so far"


def test_secrets_come_from_the_host_then_from_the_environment(
    sdk: Watched, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = LabHost(sdk)
    assert host.secret("OPENAI_API_KEY") is None
    monkeypatch.setenv("OPENAI_API_KEY", "from-the-environment")
    assert host.secret("OPENAI_API_KEY") == "from-the-environment"
    (workspace.folder / "team_secrets.json").write_text('{"OPENAI_API_KEY": "from-the-host\\n"}')
    assert host.secret("OPENAI_API_KEY") == "from-the-host"


def test_a_schema_in_place_of_a_value_means_its_default() -> None:
    schema = {"type": "int", "default": 3, "min": 0}
    assert plain_config({"seed": schema, "judge": "offline", "limit": None}) == {
        "seed": 3,
        "judge": "offline",
        "limit": None,
    }


def test_progress_never_goes_back() -> None:
    progress = Progress()
    seen = []
    for stage in Stage:
        progress.begin(stage, total=4)
        for done_now in range(5):
            progress.done = done_now
            seen.append(percent_done(progress))
    assert seen == sorted(seen) and seen[-1] < 100


def test_every_stage_moves_the_bar() -> None:
    progress = Progress()
    ends = []
    for stage in Stage:
        progress.begin(stage, total=1)
        progress.done = 1
        ends.append(percent_done(progress))
    assert ends == sorted(set(ends)) and ends[0] > 0


def test_a_stage_of_unknown_length_keeps_what_was_reached() -> None:
    progress = Progress()
    progress.begin(Stage.GENERATE, total=1)
    progress.done = 1
    reached = percent_done(progress)
    progress.begin(Stage.READ_LIKELIHOODS)
    assert percent_done(progress) == reached


def test_scores_beside_a_prompted_base() -> None:
    def keys(*adapters: str) -> list[str]:
        found = published_scores(samples.build(20, (samples.CORRECTNESS,), adapters))
        assert found["score"] == next(v for k, v in found.items() if k.startswith("gain/"))
        return [key for key in found if key.startswith("gain")]

    assert keys("tuned") == ["gain/Correctness"]
    assert keys("prompted", "tuned") == ["gain/Correctness", "gain_over_prompted/Correctness"]
    assert keys("prompted") == ["gain/Correctness"]
    assert keys("prompted", "a", "b") == [
        *("gain/Correctness/a", "gain/Correctness/b"),
        *("gain_over_prompted/Correctness/a", "gain_over_prompted/Correctness/b"),
    ]
    found = published_scores(samples.build(20, (samples.CORRECTNESS,), ("prompted", "tuned")))
    assert found == {
        "score": 0.1,
        "gain/Correctness": 0.1,
        "gain_over_prompted/Correctness": 0.0,
        "lost_guards": 0.0,
        "prompted/Correctness": 0.6,
        "adapter/Correctness": 0.6,
        "vanilla/Correctness": 0.5,
    }


def test_lost_guards_are_counted_for_the_variant_of_the_verdict() -> None:
    gains = {"best": {"task": 0.3, "general": -0.1}, "other": {"task": 0.0, "general": -0.1}}
    harmful = samples.judged(gains, {"best": -0.2}, retention=("general",))
    assert published_scores(harmful)["lost_guards"] == 2.0
    harmless = samples.judged({"best": {"task": 0.3, "general": 0.0}}, retention=("general",))
    assert published_scores(harmless)["lost_guards"] == 0.0
    assert "lost_guards" not in published_scores(samples.vanilla_only())


def test_the_score_is_the_largest_gain_over_the_base() -> None:
    failed = frozenset((f"c{number}", "a") for number in range(2, 20, 4))  # those that "a" wins
    found = published_scores(samples.build(20, (samples.CORRECTNESS,), ("b", "a"), failed=failed))
    assert found["gain/Correctness/a"] < found["gain/Correctness/b"] == found["score"]


def test_a_gain_over_the_prompted_base_is_never_the_score() -> None:
    made = samples.build(20, (samples.CORRECTNESS,), ("prompted", "tuned"))
    rows = [
        replace(row, gain=0.4) if row.baseline == "prompted" else row for row in made.comparisons
    ]
    found = published_scores(replace(made, comparisons=tuple(rows)))
    assert (found["score"], found["gain_over_prompted/Correctness"]) == (0.1, 0.4)
