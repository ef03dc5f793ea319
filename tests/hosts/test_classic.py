"""The classic host, on a double of its contract, with the folder that `make plugin` builds."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import main as program
from demo import FOLDER
from plugin.errors import AdapterError, DataError, JudgeError, VerdictError
from plugin.hosts.classic import (
    ClassicHost,
    _secure_name,
    chips_of,
    detailed_rows,
    means_of,
    read_values,
    shown_metric,
)
from tests.conftest import built_plugin
from tests.in_process import call_program
from tests.judge_server import JudgeServer
from tests.report import report_samples as samples

DOUBLE = Path(__file__).parent / "classic_double"
MODEL = "someone/tiny model"

FORM: dict[str, Any] = {
    "predefined_tasks": ["Correctness", "Token F1"],
    "judge": "offline",
    "judge_model": "",
    "variants": "vanilla and adapter",
    "limit": 0.2,
    "max_tokens": 24,
    "seed": 0,
    "system_prompt": "",
    "extra_adapters": "",
    "a_stale_key_of_another_plugin": {"x": [1]},
    "template_name": "verdict",
    "plugin_name": "finetune_verdict",
    "model_architecture": "LlamaForCausalLM",
    "run_name": "evaluation",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_plugin(tmp_path_factory.mktemp("dist"))


class Classic:
    """A workspace of the host, with the demo model's adapter and data set in their places."""

    def __init__(self, folder: Path, built: Path) -> None:
        self.folder, self.built = folder, built
        self.workspace = folder / "workspace"
        self.model = self.workspace / "models" / "tiny"
        shutil.copytree(FOLDER / "model", self.model)
        adaptors = self.workspace / "adaptors" / _secure_name(str(self.model))
        shutil.copytree(FOLDER / "adapter", adaptors / "tuned")
        data = self.workspace / "datasets" / "questions"
        data.mkdir(parents=True)
        shutil.copy(FOLDER / "cases.jsonl", data / "cases.jsonl")
        (data / "index.json").write_text("{}")
        self.extra: dict[str, str] = {}
        self.database = folder / "llmlab.sqlite3"
        with sqlite3.connect(self.database) as db:
            db.execute("CREATE TABLE config (key TEXT, value TEXT)")

    def store(self, key: str, value: str) -> None:
        with sqlite3.connect(self.database) as db:
            db.execute("INSERT INTO config VALUES (?, ?)", (key, value))

    def _job_words(self, name: str, **changed: Any) -> list[str]:
        """Write a job's files, and return the words that the host starts it with."""
        job = self.folder / name
        job.mkdir(exist_ok=True)
        (job / "job.json").write_text(json.dumps({"status": "RUNNING", "job_data": {}}))
        config = {
            **FORM,
            "model_name": str(self.model),
            "model_adapter": "tuned",
            "dataset_name": "questions",
            **changed,
        }
        (job / "input.json").write_text(json.dumps({"experiment": {"name": "e"}, "config": config}))
        words = [word for key in config for word in (f"--{key}", str(config[key]))]
        return [
            *(str(DOUBLE / "plugin_harness.py"), "--plugin_dir", str(self.built)),
            *("--input_file", str(job / "input.json"), "--job_id", name, *words),
        ]

    def _environment_of(self, name: str) -> dict[str, str]:
        return {
            "DOUBLE_WORKSPACE": str(self.workspace),
            "DOUBLE_DATABASE": str(self.database),
            "DOUBLE_JOB": str(self.folder / name / "job.json"),
            **self.extra,
        }

    def start(self, name: str, **changed: Any) -> subprocess.Popen[str]:
        """Start a job as the host does, in a process of its own, on the folder that was built."""
        own = {"PYTHONPATH": str(DOUBLE), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.Popen(
            [sys.executable, *self._job_words(name, **changed)],
            cwd=self.folder,
            env={**os.environ, **own, **self._environment_of(name)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # the host throws it away
            text=True,
        )

    def run_process(self, name: str, **changed: Any) -> tuple[dict[str, Any], str]:
        printed, _ = self.start(name, **changed).communicate(timeout=600)
        return self.job(name), printed

    def run(self, name: str, **changed: Any) -> tuple[dict[str, Any], str]:
        """Run a job in this process, on the files that the folder is built from."""
        with pytest.MonkeyPatch.context() as patch, fresh_double():
            patch.syspath_prepend(DOUBLE)
            patch.chdir(self.folder)
            patch.setattr(sys, "argv", self._job_words(name, **changed))
            ended = call_program(run_main, self._environment_of(name))
        return self.job(name), ended.out

    def job(self, name: str) -> dict[str, Any]:
        read: dict[str, Any] = json.loads((self.folder / name / "job.json").read_text())
        return read

    def report(self, name: str) -> list[dict[str, str]]:
        with (self.folder / name / "output.csv").open(encoding="utf-8") as file:
            return list(csv.DictReader(file))


@contextmanager
def fresh_double() -> Iterator[None]:
    """Have the host's modules read their job anew, as in every process."""

    def forget() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == "transformerlab"]:
            del sys.modules[name]

    forget()
    try:
        yield
    finally:
        forget()


def run_main() -> int:
    """Call main as the host's harness does, which ends with 1 when it raises."""
    try:
        program.main()
    except VerdictError:
        return 1
    return 0


@pytest.fixture
def classic(tmp_path: Path, built: Path) -> Classic:
    return Classic(tmp_path, built)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, built: Path) -> Classic:
    host = Classic(tmp_path_factory.mktemp("classic"), built)
    job, printed = host.run_process("both")
    assert job["job_data"]["completion_status"] == "success", printed
    return host


def test_chips_hold_vanilla_beside_the_adapter(done: Classic) -> None:
    data = done.job("both")["job_data"]
    assert data["completion_status"] == "success"
    assert data["completion_details"].startswith("[offline (smoke-test) judge] ")
    chips = json.loads(data["score"])
    assert [chip["type"] for chip in chips] == [
        "Correctness · vanilla",
        "Correctness",
        "Token F1 · vanilla",
        "Token F1",
    ]
    assert all(0 <= chip["score"] <= 1 for chip in chips)
    assert set(done.job("both")["tensorboard"]) == {chip["type"] for chip in chips}


def test_the_detailed_report_is_flat_with_both_outputs_of_every_case(done: Classic) -> None:
    rows = done.report("both")
    assert list(rows[0]) == [
        *("variant", "metric_name", "test_case_id", "score", "gain", "group"),
        *("input", "output", "expected_output", "reason"),
    ]
    assert len(rows) == 12 * 2 * 2
    places = [(row["test_case_id"], row["variant"]) for row in rows]
    assert places[:4] == [(places[0][0], "vanilla")] * 2 + [(places[0][0], "tuned")] * 2
    assert len(dict.fromkeys(places)) == 24 and places == [
        p for p in dict.fromkeys(places) for _ in (0, 1)
    ]
    assert all(row["output"] and row["score"] for row in rows)
    assert {row["variant"] for row in rows} == {"vanilla", "tuned"}


def test_progress_moves_and_nothing_is_written_where_it_runs(done: Classic) -> None:
    updates = done.job("both")["updates"]
    assert updates == sorted(updates) and len(updates) > 3
    assert {entry.name for entry in done.folder.iterdir()} <= {
        *("workspace", "llmlab.sqlite3", "both", "again", "vanilla", "adapter"),
    }


def test_two_jobs_compare_under_the_same_names(done: Classic) -> None:
    """The host joins them on metric_name and test_case_id."""
    keys = []
    for name, variants in (("vanilla", "vanilla only"), ("adapter", "adapter only")):
        job, printed = done.run(name, variants=variants)
        assert job["job_data"]["completion_status"] == "success", printed
        keys.append({(row["metric_name"], row["test_case_id"]) for row in done.report(name)})
    assert keys[0] == keys[1]
    assert {name for name, _ in keys[0]} == {"Correctness", "Token F1"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model_adapter": ""}, "no adapter is chosen in this experiment: choose one in the"),
        ({"model_adapter": "deleted"}, "adapter 'deleted' is gone: there is no "),
        (
            {"model_name": "", "dataset_name": ""},
            "choose a model in the experiment's Foundation tab and a data set in the evaluation's "
            "Dataset tab",
        ),
        ({"judge": "", "predefined_tasks": ""}, "no judge is chosen: pick a Judge model"),
        ({"judge": "", "tasks": "Tone: Is it kind?"}, "no judge is chosen: pick a Judge model"),
        ({"judge": "", "judge_model": '{"provider":"mystery"}'}, "judge model 'mystery' is none"),
        (
            {"judge": "", "judge_model": '{"provider":"gpt-4o"}'},
            "needs a key: set OPENAI_API_KEY. Enter keys and addresses of judges in the host's",
        ),
        ({"dataset_name": "missing"}, "missing"),
        ({"limit": "much"}, "Share of cases 'much': it must be a valid number"),
        ({"input_column": "question"}, "Input column"),
        ({"tasks": [{"name": "Tone"}]}, "criterion 1 (Tone) needs a description or evaluation"),
        ({"predefined_tasks": ["Contextual Recall"]}, "these judge the data set and no model"),
    ],
)
def test_a_failure_shows_its_real_reason(
    changed: dict[str, Any], message: str, classic: Classic
) -> None:
    job, printed = classic.run("job", **changed)
    assert job["job_data"]["completion_status"] == "failed"
    assert message in job["job_data"]["completion_details"]
    assert message in printed


@pytest.mark.parametrize("release", ["", "async"])
def test_the_judge_comes_from_the_hosts_settings(
    release: str, classic: Classic, server: JudgeServer
) -> None:
    classic.extra["DOUBLE_ASYNC"] = release
    stored = {"customApiKey": "sk-host", "customBaseURL": server.url, "customModelName": "m"}
    classic.store("CUSTOM_MODEL_API_KEY", json.dumps(stored))
    choice = '{"provider":"custom-model-api"}'
    job, printed = classic.run("job", judge="", judge_model=choice, predefined_tasks="Correctness")
    assert job["job_data"]["completion_status"] == "success", printed
    assert {body["model"] for body in server.requests} == {"m"}
    assert set(server.keys) == {"Bearer sk-host"}
    assert "sk-host" not in json.dumps(job) + printed


def test_the_local_server_is_asked_whatever_else_is_stored(
    classic: Classic, server: JudgeServer
) -> None:
    """A paid server's settings must not stand in for the local one."""
    paid = {"customApiKey": "k", "customBaseURL": "http://127.0.0.1:9/v1", "customModelName": "m"}
    classic.store("CUSTOM_MODEL_API_KEY", json.dumps(paid))
    classic.extra["LOCAL_JUDGE_BASE_URL"] = server.url
    choice = '{"provider":"local","model_server":"x"}'
    job, printed = classic.run("job", judge="", judge_model=choice, predefined_tasks="Bias")
    assert job["job_data"]["completion_status"] == "success", printed
    assert {body["model"] for body in server.requests} == {"tiny-model"}


def test_a_judge_that_is_the_model_under_test_is_warned_of(
    classic: Classic, server: JudgeServer
) -> None:
    classic.extra["LOCAL_JUDGE_BASE_URL"] = server.url
    asked = {"judge": f"local:{classic.model}", "predefined_tasks": "Bias", "limit": 0.05}
    _, printed = classic.run("job", **asked)
    assert "warning: the judge local:…/models/tiny is the model under test, so" in printed


def test_a_finished_evaluation_queued_again_makes_nothing_anew(done: Classic) -> None:
    """The host writes into the model's folder when a job ends."""
    assert (done.model / "_tlab_provenance.json").is_file()
    _, printed = done.run("again")
    assert "continuing a run: 24 completions and 48 scores are there" in printed


TASK = {
    "name": "Politeness",
    "description": "Is it polite?",
    "include_context": "Yes",
    "evaluation_steps": [""],
}


def test_criteria_of_the_form_are_metrics_and_their_steps_are_shown(
    classic: Classic, server: JudgeServer
) -> None:
    stored = {"customApiKey": "k", "customBaseURL": server.url, "customModelName": "m"}
    classic.store("CUSTOM_MODEL_API_KEY", json.dumps(stored))
    asked = {"judge": "custom:m", "limit": 0.1, "tasks": [TASK]}
    asked["predefined_tasks"] = ["Contextual Recall", "Bias"]
    job, printed = classic.run("job", **asked)
    assert job["job_data"]["completion_status"] == "success", printed
    chips = {chip["type"]: chip["score"] for chip in json.loads(job["job_data"]["score"])}
    # The server's judge gives 10 for the expected words and 3 for others; 3 of 6 are learnt.
    assert chips == {
        "Bias · vanilla": 0,
        "Bias": 0,
        "Politeness · vanilla": 0.3,
        "Politeness": 0.65,
    }
    assert "Politeness, evaluation steps: 1. one of the steps 2. another" in printed
    assert sum("Is it polite?" in prompt for prompt in server.prompts) == 1
    rows = [row for row in classic.report("job") if row["variant"] == "data set"]
    assert len(rows) == 6 and {row["metric_name"] for row in rows} == {"Contextual Recall"}


def test_a_full_disk_while_saving_says_so_and_nothing_has_to_be_made_again(
    classic: Classic,
) -> None:
    (classic.folder / "full").mkdir()
    (classic.folder / "full" / "output.csv").symlink_to("/dev/full")
    job, printed = classic.run("full")
    details = job["job_data"]["completion_details"]
    assert details.startswith("the results cannot be written: [Errno 28] No space left on device")
    assert "nothing has to be made again" in details and details in printed
    again, printed = classic.run("again")
    assert again["job_data"]["completion_status"] == "success"
    assert "continuing a run: 24 completions and 48 scores are there" in printed


def test_a_locked_database_says_so(classic: Classic) -> None:
    with sqlite3.connect(classic.database) as db:
        db.execute("BEGIN EXCLUSIVE")
        job, _ = classic.run("job", judge="openai:gpt-4o")
    assert job["job_data"]["completion_details"].startswith(
        "the host's settings cannot be read (database is locked)"
    )


def test_a_workspace_that_takes_no_folder_says_so(classic: Classic) -> None:
    (classic.workspace / "finetune_verdict").write_text("in the way")
    job, _ = classic.run("job")
    assert "no directory can be made in the workspace" in job["job_data"]["completion_details"]


GALLERY_ENTRY = {
    "type": "object",
    "required": [
        *("name", "uniqueId", "description", "plugin-format", "type", "evalsType", "version"),
        *("files", "setup-script", "supported_hardware_architectures", "_dataset"),
        *("_dataset_display_message", "parameters", "parameters_ui"),
    ],
    "properties": {
        "name": {"type": "string", "minLength": 3},
        "uniqueId": {"const": "finetune_verdict"},
        "description": {"type": "string", "minLength": 20},
        "plugin-format": {"const": "python"},
        "type": {"const": "evaluator"},
        "evalsType": {"const": "model"},
        "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
        "files": {"type": "array", "contains": {"const": "main.py"}},
        "setup-script": {"const": "setup.sh"},
        "supported_hardware_architectures": {
            "type": "array",
            "minItems": 1,
            "items": {"enum": ["cpu", "cuda", "mlx", "amd"]},
        },
        "_dataset": {"const": True},
        "parameters": {
            "type": "object",
            "additionalProperties": {"type": "object", "required": ["title", "type"]},
        },
        "parameters_ui": {
            "type": "object",
            "additionalProperties": {"type": "object", "required": ["ui:help"]},
        },
    },
}


def test_the_gallery_entry_is_complete(built: Path) -> None:
    entry = json.loads((built / "index.json").read_text(encoding="utf-8"))
    jsonschema.validate(entry, GALLERY_ENTRY)
    for about in entry["parameters"].values():
        jsonschema.Draft202012Validator.check_schema(about)
        if "default" in about:
            jsonschema.validate(about["default"], about)
    assert set(entry["parameters"]) == set(entry["parameters_ui"])
    for file in entry["files"]:
        assert (built / file).is_file()
    working = {
        None,
        "textarea",
        "radio",
        "AutoCompleteWidget",
        "RangeWidget",
        "ModelProviderWidget",
    }
    for name, about in entry["parameters_ui"].items():
        assert len(about["ui:help"]) > 20, name
        assert about.get("ui:widget") in working, name
        # A plain select loses the user's choice there.
        assert "enum" not in entry["parameters"][name] or about.get("ui:widget"), name


FIRST_SCREEN = ["judge_model", "predefined_tasks", "variants", "limit", "tasks"]
COMMAND_LINE_ONLY = {"judge", "seed", "batch_size", "concurrency", "judge_timeout_s", "judge_price"}


def test_the_form_is_short_and_begins_with_what_most_people_set(built: Path) -> None:
    entry = json.loads((built / "index.json").read_text(encoding="utf-8"))
    fields = list(entry["parameters"])
    assert len(fields) <= 20
    assert fields[:5] == FIRST_SCREEN
    following = [name for name in fields[5:] if name != "retention_group"]
    assert following[:3] == ["baseline_prompt", "primary_metric", "margin"]
    columns = [fields.index(name) for name in fields if name.endswith("_column")]
    assert max(columns) < fields.index("engine") < fields.index("budget") == len(fields) - 1
    assert not COMMAND_LINE_ONLY & set(fields)
    assert [name for name in fields if name.startswith("judge")] == ["judge_model"]
    assert "Settings" in entry["parameters_ui"]["judge_model"]["ui:help"]
    assert entry["parameters_ui"]["tasks"]["ui:widget"] == "textarea"
    assert entry["parameters"]["tasks"] | {"title": ""} == {
        **{"title": "", "type": "string", "default": ""}
    }
    for name in FIRST_SCREEN:  # two lines at most, else it takes more than a screen
        assert len(entry["parameters_ui"][name]["ui:help"]) <= 160, name


def test_the_introduction_says_what_the_host_itself_breaks(built: Path) -> None:
    words = (built / "info.md").read_text(encoding="utf-8")
    assert "up to Transformer Lab v0.27.8 only" in words
    assert "prints the API keys" in words and "Documents" in words


def test_the_output_begins_with_what_runs_and_ends_with_the_verdict(done: Classic) -> None:
    job, printed = done.run("again")
    lines = printed.splitlines()
    assert lines[0] == (
        "This job runs: vanilla and adapter; model …/models/tiny; adapter tuned; judge offline; "
        "metrics Correctness, Token F1; data set questions; 20% of its cases"
    )
    assert lines[-1] == job["job_data"]["completion_details"]
    assert printed.count(lines[-1]) == printed.count("Next: ") == 1
    assert "Next: Ask a real judge" in lines[-1]


def test_pictures_and_report_are_in_the_experiments_documents(done: Classic) -> None:
    experiment = done.folder / "again" / "experiments" / "e"
    done.extra["DOUBLE_EXPERIMENT"] = str(experiment)
    try:
        _, printed = done.run("again")
    finally:
        done.extra.clear()
    folder = experiment / "documents" / "finetune_verdict"
    assert sorted(file.name for file in folder.iterdir()) == [
        "job_again.pdf",
        "job_again_report.zip",
    ]
    assert (folder / "job_again.pdf").read_bytes().startswith(b"%PDF-")
    with zipfile.ZipFile(folder / "job_again_report.zip") as archive:
        assert {"report.html", "verdict.svg", "distribution.svg"} <= set(archive.namelist())
    assert "open Documents > finetune_verdict > job_again.pdf" in printed


def test_chips_are_four_at_most_with_the_primary_metric_first() -> None:
    metrics = (samples.CORRECTNESS, samples.HALLUCINATION, samples.LATENCY)
    report = samples.build(4, metrics, ("prompted", "tuned", "second"))
    primary, other = report.metrics[0].name, report.metrics[1].name
    assert [chip["type"] for chip in chips_of(report)] == [
        *(f"{primary} · vanilla", f"{primary} · tuned"),
        *(f"{other} · vanilla", f"{other} · tuned"),
    ]
    assert len(means_of(report)) == 12


def test_line_breaks_are_shown_since_the_host_would_lose_them() -> None:
    report = samples.build(1, (samples.CORRECTNESS,), ("tuned",))
    cases = tuple(replace(case, expected_output="1\n2\u20283") for case in report.cases)
    rows = detailed_rows(replace(report, cases=cases))
    assert rows["expected_output"][0] == "1 ⏎ 2 ⏎ 3"


def test_a_stop_is_quick_and_the_same_settings_go_on(classic: Classic, server: JudgeServer) -> None:
    server.latency_s = 0.4
    stored = {"customApiKey": "k", "customBaseURL": server.url, "customModelName": "m"}
    classic.store("CUSTOM_MODEL_API_KEY", json.dumps(stored))
    slow = {"judge": "custom:m", "limit": 1, "max_tokens": 4, "predefined_tasks": "Correctness"}
    running = classic.start("first", **slow)
    deadline = time.monotonic() + 300
    while len(server.requests) < 25 and time.monotonic() < deadline:
        time.sleep(0.02)
    server.latency_s = 600  # whoever waits for the calls under way misses the deadline
    (classic.folder / "first" / "stop").touch()
    printed, _ = running.communicate(timeout=300)
    assert classic.job("first")["status"] == "STOPPED"
    server.latency_s = 0
    said = r"stopped; kept: 120 completions, \d+ judgments, \d+ scores. The same settings continue"
    assert re.search(said, printed)
    assert re.search(said, classic.job("first")["job_data"]["completion_details"])
    again, printed = classic.run("second", **slow)
    assert again["job_data"]["completion_status"] == "success"
    assert "continuing a run: 120 completions and " in printed


def test_a_half_written_input_file_says_so(tmp_path: Path) -> None:
    from plugin.errors import OptionError

    file = tmp_path / "input.json"
    file.write_text('{"experiment": {}, "config": {"seed"')
    with pytest.raises(OptionError, match="the host's input file .* cannot be read"):
        read_values(["--input_file", str(file)])


def test_arguments_are_the_fallback() -> None:
    words = ["--seed", "3", "--judge", "offline", "--flag", "--limit", "0.5", "--plugin_dir", "/p"]
    assert read_values(words) == {
        "seed": "3",
        "judge": "offline",
        "limit": "0.5",
        "plugin_dir": "/p",
    }


def test_adapters_lie_under_the_models_sanitised_or_plain_name(tmp_path: Path) -> None:
    host = ClassicHost(None, str(tmp_path), lambda name: None, MODEL)
    for folder in ("someone_tiny_model", "someone/tiny model"):
        path = tmp_path / "adaptors" / folder / "tuned"
        path.mkdir(parents=True)
        assert host.adapter("tuned") == path
        shutil.rmtree(tmp_path / "adaptors")
    with pytest.raises(AdapterError, match="adapter 'tuned' is gone"):
        host.adapter("tuned")


@pytest.mark.parametrize("name", ["../../../secrets", "/etc", "tuned/../../../../secrets", "link"])
def test_an_adapters_name_cannot_lead_out_of_the_hosts_folder(name: str, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    of_model = workspace / "adaptors" / "someone_tiny_model"
    of_model.mkdir(parents=True)
    (tmp_path / "secrets").mkdir()
    for folder in ("someone_tiny_model", "someone/tiny model", "tiny model"):
        (workspace / "adaptors" / folder).mkdir(parents=True, exist_ok=True)
        (workspace / "adaptors" / folder / "link").symlink_to(tmp_path / "secrets")
    host = ClassicHost(None, str(workspace), lambda name: None, MODEL)
    with pytest.raises(AdapterError) as caught:
        host.adapter(name)
    assert str(caught.value) == (
        f"adapter '{name}' leads out of {workspace}/adaptors, where the host keeps adapters, and "
        "is not read; choose an adapter in the experiment's Foundation tab, or copy this one there"
    )


def test_a_models_name_cannot_lead_out_of_the_adapters_folder(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    (workspace / "adaptors").mkdir(parents=True)
    elsewhere = tmp_path / "models" / "mine"
    (elsewhere / "tuned").mkdir(parents=True)
    for model in (str(elsewhere), "../../models/mine"):
        with pytest.raises(AdapterError, match="^adapter 'tuned' is gone: there is no ") as caught:
            ClassicHost(None, str(workspace), lambda name: None, model).adapter("tuned")
        assert str(elsewhere / "tuned") not in str(caught.value)


def test_the_hosts_folders_may_themselves_be_links(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    (disk / "someone_tiny_model" / "tuned").mkdir(parents=True)
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "adaptors").symlink_to(disk)
    host = ClassicHost(None, str(workspace), lambda name: None, MODEL)
    assert host.adapter("tuned") == workspace / "adaptors" / "someone_tiny_model" / "tuned"


@pytest.mark.parametrize("name", ["../../secrets", "/etc", "link"])
def test_a_data_sets_name_cannot_lead_out_of_the_hosts_folder(name: str, tmp_path: Path) -> None:
    datasets = tmp_path / "workspace" / "datasets"
    datasets.mkdir(parents=True)
    (tmp_path / "secrets").mkdir()
    (datasets / "link").symlink_to(tmp_path / "secrets")
    host = ClassicHost(None, str(tmp_path / "workspace"), lambda name: None, MODEL)
    with pytest.raises(DataError) as caught:
        host.dataset(name)
    assert str(caught.value) == (
        f"data set '{name}' leads out of {datasets}, where the host keeps data sets, and is not "
        "read; choose one in the evaluation's Dataset tab, or copy this one there"
    )


@pytest.mark.parametrize(
    ("chosen", "spec"),
    [
        ('{"provider":"gpt-4o"}', "openai:gpt-4o"),
        ("gpt-4o", "openai:gpt-4o"),
        ("claude-sonnet-4-5", "anthropic:claude-sonnet-4-5"),
        ('{"provider":"azure-openai"}', "azure:my-gpt"),
        ('{"provider":"custom-model-api"}', "custom:my-model"),
        ('{"provider":"local","model_server":"x"}', "local"),
    ],
)
def test_old_names_of_judges_map_onto_specs(chosen: str, spec: str, tmp_path: Path) -> None:
    host = ClassicHost(None, str(tmp_path), SETTINGS.get, MODEL)
    assert host.judge_of(chosen) == spec


SETTINGS = {
    "OPENAI_API_KEY": "sk-openai",
    "ANTHROPIC_API_KEY": "sk-ant",
    "CUSTOM_MODEL_API_KEY": json.dumps(
        {"customApiKey": "sk-c", "customBaseURL": "http://c/v1", "customModelName": "my-model"}
    ),
    "AZURE_OPENAI_DETAILS": json.dumps(
        {
            "azure_openai_api_key": "sk-az",
            "openai_api_version": "2024-10-21",
            "azure_endpoint": "https://az",
            "azure_deployment": "my-gpt",
        }
    ),
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPENAI_API_KEY", "sk-openai"),
        ("ANTHROPIC_API_KEY", "sk-ant"),
        ("CUSTOM_JUDGE_BASE_URL", "http://c/v1"),
        ("CUSTOM_JUDGE_API_KEY", "sk-c"),
        ("AZURE_OPENAI_API_KEY", "sk-az"),
        ("AZURE_OPENAI_ENDPOINT", "https://az"),
        ("OPENAI_API_VERSION", "2024-10-21"),
        ("UNHEARD_OF", None),
    ],
)
def test_secrets_come_from_the_hosts_settings(
    name: str, value: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for known in (name, *SETTINGS):
        monkeypatch.delenv(known, raising=False)
    assert ClassicHost(None, str(tmp_path), SETTINGS.get, MODEL).secret(name) == value


@pytest.mark.parametrize("broken", ["no json", "[1]", ""])
def test_a_broken_setting_is_no_secret(broken: str, tmp_path: Path) -> None:
    host = ClassicHost(None, str(tmp_path), lambda name: broken, MODEL)
    assert host.secret("CUSTOM_JUDGE_BASE_URL") is None


@pytest.mark.parametrize("chosen", ['{"provider":', '{"provider":"mystery"}', "{}", '{"a":1}'])
def test_a_judge_that_cannot_be_asked_says_so(chosen: str, tmp_path: Path) -> None:
    host = ClassicHost(None, str(tmp_path), lambda name: None, MODEL)
    with pytest.raises(JudgeError, match="^judge model"):
        host.judge_of(chosen)


@pytest.mark.parametrize(
    ("variants", "shown"),
    [
        (["vanilla"], ["C"]),
        (["vanilla", "tuned"], ["C · vanilla", "C"]),
        (["vanilla", "prompted"], ["C · vanilla", "C · prompted"]),
        (["vanilla", "prompted", "tuned"], ["C · vanilla", "C · prompted", "C"]),
        (["vanilla", "prompted", "a", "b"], ["C · vanilla", "C · prompted", "C · a", "C · b"]),
        (["a", "b"], ["C · a", "C · b"]),
    ],
)
def test_a_single_adapters_scores_have_the_same_name_whatever_stands_beside_it(
    variants: list[str], shown: list[str]
) -> None:
    report = samples.build(4, adapters=("tuned",))
    named = tuple(replace(report.variants[0], name=name) for name in variants)
    report = replace(report, variants=named)
    assert [shown_metric("C", name, report) for name in variants] == shown
    assert shown_metric("C", "data set", report) == "C"


def test_the_detailed_report_beside_a_prompted_base_has_gains_over_vanilla() -> None:
    report = samples.build(4, (samples.CORRECTNESS,), ("prompted", "tuned"))
    table = detailed_rows(report)
    rows = table[table["test_case_id"] == "c2"]
    assert list(rows["metric_name"]) == [
        *("Correctness · vanilla", "Correctness · prompted", "Correctness"),
    ]
    assert list(rows["gain"])[1:] == [0.1, 0.3]
    assert not table.duplicated(["metric_name", "test_case_id"]).any()
    assert [mean["type"] for mean in means_of(report)] == list(rows["metric_name"])
    assert [chip["type"] for chip in chips_of(report)] == ["Correctness · vanilla", "Correctness"]


def test_the_hosts_setting_goes_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = {"OPENAI_API_KEY": "from-the-host"}
    host = ClassicHost(None, str(tmp_path), stored.get, "some/model")
    monkeypatch.setenv("OPENAI_API_KEY", "from-the-environment")
    assert host.secret("OPENAI_API_KEY") == "from-the-host"
    stored.clear()
    assert host.secret("OPENAI_API_KEY") == "from-the-environment"
