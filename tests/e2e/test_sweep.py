"""A sweep over the checkpoints of a real training: done, killed, resumed, and refused."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from demo import FOLDER
from plugin import proofs
from plugin.certify.certificate import Certificate
from plugin.sweep import split
from plugin.sweep.choice import Choice, choose
from tests.e2e.conftest import ROOT, Ended, demo_options, environment, main
from tests.judge_server import JudgeServer, judge_server
from tests.training_material import N_TRAIN, Trained, trained

__all__ = ["trained"]

STEPS = (5, 15, 25, 40)
MARKS = ("", " Please.", " Answer briefly.", " Do you know?", " Tell me.")
N_OTHERS = 18
N_CASES = len(MARKS) * N_TRAIN + N_OTHERS


@dataclass(frozen=True)
class Material:
    """What a sweep begins with.

    Attributes:
        folder: four checkpoints as mlx-lm leaves them, a broken one, and a copy of the last.
        cases: enough cases for a confirmation.
    """

    folder: Path
    cases: Path

    def words(self, out: Path, **changed: str) -> list[str]:
        options = {
            "model_name": str(FOLDER / "model"),
            "checkpoints": str(self.folder),
            "dataset_name": str(self.cases),
            "predefined_tasks": "Correctness, Token F1",
            "judge": "custom:judge",
            "trust_report": "false",  # a retest asks the same twice on purpose
            "max_tokens": "16",
            "capability": "off",
            "out": str(out),
            **changed,
        }
        return [
            "sweep",
            *(word for name, value in options.items() for word in (f"--{name}", value)),
        ]


@pytest.fixture(scope="module")
def material(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Material:
    base = tmp_path_factory.mktemp("sweep")
    folder, cases = base / "adapter", base / "cases.jsonl"
    folder.mkdir()
    for step in STEPS:
        shutil.copy(trained.adapter / f"{step:07}_adapters.safetensors", folder)
    for name in ("adapter_config.json", "adapters.safetensors"):  # the last one's weights
        shutil.copy(trained.adapter / name, folder)
    tensors = load_file(folder / "0000015_adapters.safetensors")
    broken = {name: np.full_like(values, np.nan) for name, values in tensors.items()}
    save_file(broken, folder / "0000020_adapters.safetensors")
    rows = [json.loads(line) for line in (FOLDER / "cases.jsonl").read_text().splitlines()]
    asked = [(row, mark) for row in rows[:N_TRAIN] for mark in MARKS]
    asked += [(row, "") for row in rows[N_TRAIN : N_TRAIN + N_OTHERS]]
    own = [
        {**row, "id": f"{row['id']}{mark}", "input": f"{row['input']}{mark}", "cluster": None}
        for row, mark in asked
    ]
    cases.write_text("".join(f"{json.dumps(row)}\n" for row in own))
    return Material(folder, cases)


@dataclass(frozen=True)
class Done:
    """A sweep that nothing disturbed."""

    out: Path
    ended: Ended
    n_requests: int


@pytest.fixture(autouse=True, scope="module")
def _few_cases() -> Iterator[None]:
    """Fewer cases than a real sweep needs are enough for a confirmation here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(split, "MIN_CASES", N_CASES)
        yield


@pytest.fixture(scope="module")
def done(material: Material, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    out = tmp_path_factory.mktemp("undisturbed") / "sweep"
    with judge_server() as server:
        ended = main(*material.words(out), CUSTOM_JUDGE_BASE_URL=server.url)
        n_requests = len(server.requests)
    assert ended.code == 0, ended.err
    yield Done(out, ended, n_requests)


def found(out: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((out / "sweep.json").read_text(encoding="utf-8"))
    return read


def rows(out: Path, group: str = "all") -> dict[str, dict[str, str]]:
    with (out / "sweep.csv").open(encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file) if row["group"] == group}


def test_a_sweep_says_which_checkpoint_and_confirms_it(done: Done, material: Material) -> None:
    told, printed = found(done.out), done.ended.out
    assert told["finished"]
    assert told["recommended"] in rows(done.out)
    assert "Perplexity" in printed
    assert told["confirmed"] in ("better", "can't tell")
    assert printed.index("judging: about") < printed.index("round 1 of")
    by_name = rows(done.out)
    assert [float(by_name[name]["step"]) for name in by_name if name != "vanilla"] == [*STEPS]
    assert all(float(row["Perplexity"]) > 0 for row in by_name.values())
    for name in ("sweep.svg", "sweep.html", "sweep.txt", "journal.sqlite"):
        assert (done.out / name).is_file()


def test_the_confirmation_is_a_run_on_cases_that_did_not_choose(done: Done) -> None:
    told = found(done.out)
    summary = json.loads((done.out / "confirmation/summary.json").read_text())
    chosen = read_cases(done.out)
    confirmed = read_cases(done.out / "confirmation")
    assert told["recommended"] == summary["verdict"]["variant"]
    assert chosen and confirmed and not chosen & confirmed
    assert summary["verdict"]["sentence"] in done.ended.out
    assert (done.out / "confirmation/report.html").is_file()


def read_cases(out: Path) -> set[str]:
    """The cases for which there are completions."""
    with sqlite3.connect(f"file:{out / 'journal.sqlite'}?mode=ro", uri=True) as db:
        return {case_id for (case_id,) in db.execute("SELECT case_id FROM answers")}


def test_what_takes_no_part_is_said(done: Done) -> None:
    text = done.ended.out
    assert "0000020_adapters is skipped" in text
    assert "NaN or infinity" in text
    assert "adapter is skipped: the same weights as" in text
    assert "0000020_adapters" not in rows(done.out)


def test_it_asks_no_more_than_it_forecast_and_than_a_full_sweep_would(done: Done) -> None:
    forecast = int(done.ended.out.split("judging: about ")[1].split(" calls")[0].replace(",", ""))
    n_full = (len(STEPS) + 1) * N_CASES
    assert done.n_requests <= forecast + 1 < n_full


def n_rows(out: Path, table: str) -> int:
    try:
        with sqlite3.connect(f"file:{out / 'journal.sqlite'}?mode=ro", uri=True) as db:
            return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])
    except sqlite3.Error:
        return 0


def without_judgments(done: Done, folder: Path) -> Path:
    """A copy of the sweep as it was before a judge was asked."""
    out = Path(shutil.copytree(done.out, folder))
    shutil.rmtree(out / "confirmation")
    told = ("judge_calls", "sweep_choice", "evaluation_steps")
    with sqlite3.connect(out / "journal.sqlite") as db:
        db.execute("DELETE FROM judgments")
        db.execute("DELETE FROM scores WHERE metric = 'Correctness'")
        db.executemany("DELETE FROM meta WHERE name = ?", [(f"state.{name}",) for name in told])
    return out


def kill_when(words: list[str], out: Path, n: int, url: str) -> None:
    """Start a sweep in a process of its own, and kill it when it has n judgments."""
    code = (
        f"from plugin.sweep import split; split.MIN_CASES = {N_CASES}; "
        f"from plugin import cli; cli.main({words!r})"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(CUSTOM_JUDGE_BASE_URL=url),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 300
        while n_rows(out, "judgments") < n and running.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        running.send_signal(signal.SIGKILL)
        assert running.wait(timeout=60) == -signal.SIGKILL
    finally:
        running.kill()


def test_killed_while_judging_it_shows_its_table_and_goes_on_without_paying_twice(
    server: JudgeServer, done: Done, tmp_path: Path
) -> None:
    out = without_judgments(done, tmp_path / "sweep")
    server.latency_s = 0.1
    kill_when(["resume", str(out)], out, 40, server.url)
    kept = n_rows(out, "judgments")
    assert 40 <= kept < done.n_requests
    shown = main("report", str(out))
    assert shown.code == 0, shown.err
    assert "The sweep is not finished" in shown.out
    assert f"Go on with: python main.py resume {out}" in shown.out
    assert not found(out)["finished"]
    server.latency_s = 0.0
    before = len(server.requests)
    ended = main("resume", str(out), CUSTOM_JUDGE_BASE_URL=server.url)
    assert ended.code == 0, ended.err
    assert (out / "sweep.csv").read_text() == (done.out / "sweep.csv").read_text()
    assert found(out) == found(done.out)
    assert len(server.requests) - before == done.n_requests - kept
    assert max(Counter(server.prompts[before:]).values()) == 1


def test_a_stop_shows_what_there_is(server: JudgeServer, done: Done, tmp_path: Path) -> None:
    out = without_judgments(done, tmp_path / "sweep")

    def stop(number: int, body: dict[str, Any]) -> None:
        if number == 30:
            os.kill(os.getpid(), signal.SIGTERM)  # Ctrl-C may be ignored here

    server.fault = stop
    with pytest.raises(KeyboardInterrupt):
        main("resume", str(out), CUSTOM_JUDGE_BASE_URL=server.url)
    assert "The sweep is not finished" in (out / "sweep.txt").read_text()
    assert not found(out)["finished"]
    gate = main("gate", str(out), "--require", "better")
    assert f"it recommends nothing yet: python main.py resume {out}" in gate.err


def copied(done: Done, tmp_path: Path) -> Path:
    return Path(shutil.copytree(done.out, tmp_path / "sweep"))


def moved(material: Material, tmp_path: Path) -> Material:
    """The same checkpoints in another folder, where they may be changed."""
    folder = Path(shutil.copytree(material.folder, tmp_path / "adapter"))
    return Material(folder, material.cases)


@pytest.mark.slow
def test_a_finished_sweep_is_shown_again_without_model_or_judge(done: Done, tmp_path: Path) -> None:
    out = copied(done, tmp_path)
    again = main("resume", str(out), CUSTOM_JUDGE_BASE_URL="http://127.0.0.1:9/v1")
    assert again.code == 0, again.err
    assert (out / "sweep.csv").read_text() == (done.out / "sweep.csv").read_text()
    elsewhere = tmp_path / "elsewhere"
    shown = main("report", str(out), "--out", str(elsewhere))
    assert shown.code == 0, shown.err
    assert (elsewhere / "sweep.csv").read_text() == (done.out / "sweep.csv").read_text()
    assert (elsewhere / "confirmation/report.html").is_file()
    inner = main("resume", str(out / "confirmation"), CUSTOM_JUDGE_BASE_URL="http://127.0.0.1:9/v1")
    assert inner.code == 0, inner.err
    assert "continuing a sweep" in inner.out


def test_too_few_cases_only_rank_and_checkpoints_may_come_and_go(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = proofs.certify_one

    def certify_one(name: str, *rest: Any) -> Certificate:
        made = real(name, *rest)
        if name == "0000040_adapters":
            (own.folder / f"{name}.safetensors").unlink()  # before it has generated
        return replace(made, base_proof="") if name == "0000015_adapters" else made

    monkeypatch.setattr(proofs, "certify_one", certify_one)
    own, out = moved(material, tmp_path), tmp_path / "sweep"
    changed = {"judge": "offline", "limit": "0.2", "max_tokens": "4"}
    first = main(*own.words(out, **changed))
    assert first.code == 0, first.err
    assert "only rank the checkpoints" in first.out
    assert "0000015_adapters is skipped: it left the base model changed" in first.out
    assert "0000040_adapters is skipped: its files changed or were deleted" in first.out
    assert found(out)["confirmed"] is None
    assert not (out / "confirmation").exists()
    gate = main("gate", str(out), "--require", "better")
    assert gate.code == 2
    assert "it has not confirmed anything either. Compare the base" in gate.err
    (own.folder / "0000005_adapters.safetensors").unlink()
    shutil.copy(
        FOLDER / "adapter/adapters.safetensors", own.folder / "0000050_adapters.safetensors"
    )
    again = main(*own.words(out, **changed))
    assert again.code == 0, again.err
    assert "0000050_adapters.safetensors is newer than this sweep and takes no part" in again.out
    assert rows(out)["0000005_adapters"]["mean"]  # all of it was there already
    shutil.copy(
        own.folder / "0000050_adapters.safetensors", own.folder / "0000025_adapters.safetensors"
    )
    refused = main(*own.words(out, **changed))
    assert refused.code == 2
    assert "0000025_adapters.safetensors changed since the sweep" in refused.err


@pytest.mark.slow
def test_a_limit_ends_it_cleanly_and_a_higher_one_goes_on(
    server: JudgeServer, material: Material, done: Done, tmp_path: Path
) -> None:
    out = without_judgments(done, tmp_path / "sweep")
    url = {"CUSTOM_JUDGE_BASE_URL": server.url}
    low = main(*material.words(out, max_calls="30"), **url)
    assert low.code == 0, low.err
    assert "Judging ended because --max_calls 30 is reached" in low.out
    assert len(server.requests) == 30
    between = done.n_requests - 20
    mid = main(*material.words(out, max_calls=str(between)), **url)
    assert mid.code == 0, mid.err
    assert "is not confirmed yet" in mid.out
    assert len(server.requests) == between
    high = main(*material.words(out, max_calls="10000"), **url)
    assert high.code == 0, high.err
    assert found(out) == found(done.out)
    assert len(server.requests) == done.n_requests


def test_a_prompt_is_confirmed_too_and_only_on_cases_that_the_metric_fits(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = choose

    def choose_prompt(*given: Any) -> Choice:
        return replace(real(*given), name="prompted", equivalent=None, offered=None)

    monkeypatch.setattr("plugin.sweep.play.choose", choose_prompt)
    monkeypatch.setattr(split, "MIN_CASES", 20)
    made = [json.loads(line) for line in material.cases.read_text().splitlines()][:36]
    for row in made[::3]:
        del row["expected_output"]
    cases, out = tmp_path / "cases.jsonl", tmp_path / "sweep"
    cases.write_text("".join(f"{json.dumps(row)}\n" for row in made))
    own = Material(material.folder, cases)
    two = [str(material.folder / f"{step:07}_adapters.safetensors") for step in STEPS[:2]]
    options = {"predefined_tasks": "Token F1", "max_tokens": "4", "judge": "offline"}
    words = own.words(out, **options, baseline_prompt="Be brief.")
    ended = main(*words, "--checkpoints", *two)
    assert ended.code == 0, ended.err
    told = found(out)
    assert told["recommended"] == "prompted" and told["confirmed"] is not None
    assert "prompted is" in told["summary"][0] or "whether prompted is" in told["summary"][0]
    lacking = {row["id"] for row in made[::3]}
    confirmed = read_cases(out / "confirmation")
    assert confirmed and not (confirmed | read_cases(out)) & lacking
    n_choosing = int(rows(out)["vanilla"]["n"])
    assert n_choosing + len(confirmed) == 24
    assert f"On the {len(confirmed)} cases that took no part" in told["summary"][0]
    said = "12 cases take no part: Token F1 does not fit, because they have no expected output."
    assert said in told["summary"]


def test_what_makes_no_sense_is_refused_by_name(
    material: Material, done: Done, tmp_path: Path
) -> None:
    out = tmp_path / "other"
    bad = {
        ("--model_adapter", "x"): "--model_adapter: --checkpoints names the adapters",
        ("--server_url", "http://localhost:1/v1"): "--server_url:",
        ("--engine", "server"): "--engine server switches no adapters",
        ("--stop_early", "true"): "--stop_early:",
        ("--variants", "vanilla only"): "--variants:",
        ("--workers", "2"): "--workers:",
        ("--axis", "rows"): "--axis 'rows' names what",
    }
    for words, said in bad.items():
        ended = main(*material.words(out), *words)
        assert ended.code == 2, words
        assert said in ended.err
    none = main("sweep", "--model_name", "m", "--dataset_name", "d")
    assert "--checkpoints must be given" in none.err
    url = {"CUSTOM_JUDGE_BASE_URL": "http://127.0.0.1:9/v1"}
    other = main(*material.words(done.out, seed="7"), **url)
    assert "holds another sweep: seed was 0 and is now 7" in other.err
    fewer = [str(material.folder / f"{step:07}_adapters.safetensors") for step in STEPS[:2]]
    shown = main(*material.words(done.out), "--checkpoints", *fewer, **url)
    assert "holds another sweep, whose --checkpoints are" in shown.err
    run = main(*demo_options(done.out), **url)
    assert "holds a sweep of checkpoints" in run.err
    ratings = main("ratings", str(done.out))
    assert "holds a sweep of checkpoints" in ratings.err
    plain = main(*material.words(done.out / "confirmation"), **url)
    assert "holds a run, and a sweep needs a folder of its own" in plain.err
