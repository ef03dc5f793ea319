"""Runs with metrics that come from the engine, as a user starts them."""

from __future__ import annotations

import json
import math
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from plugin.conclude import conclude
from plugin.hosts.classic import chips_of, detailed_rows
from plugin.hosts.lab import published_scores
from plugin.journal import Journal
from plugin.report import write_tables
from tests.e2e.conftest import (
    FILES,
    command,
    demo_options,
    environment,
    main,
    run_process,
    summary,
    tables,
)

DESCRIPTIVE = ("Latency", "Tokens per Second", "Completion Tokens", "Cut Off")
ALL_OF_THEM = ("Perplexity", *DESCRIPTIVE, "Token F1")
CHOSEN = {"predefined_tasks": ", ".join(ALL_OF_THEM), "engine": "mlx"}


def kept(out: Path, metric: str) -> dict[tuple[str, str], float]:
    """(case id, variant) -> score, straight from the journal."""
    try:
        with sqlite3.connect(f"file:{out / 'journal.sqlite'}?mode=ro", uri=True) as db:
            sql = "SELECT case_id, variant, value FROM scores WHERE metric = ?"
            return {(case, name): value for case, name, value in db.execute(sql, (metric,))}
    except sqlite3.Error:
        return {}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    ended = main(*demo_options(out, **CHOSEN, limit="0.5"))
    assert ended.code == 0, ended.err
    assert "perplexity: 60 of 60 in " in ended.out
    return out


def test_every_metric_has_every_score(whole: Path) -> None:
    assert [name for name in FILES if not (whole / name).is_file()] == []
    found = summary(whole)
    assert (found["n_scores"], found["n_failed"], found["partial"]) == (6 * 2 * 30, 0, False)
    assert {(row["metric"], row["n"]) for row in found["comparisons"] if row["group"] == "all"} == {
        (name, 30) for name in ALL_OF_THEM
    }
    assert found["provenance"]["seconds"]["read"] > 0


def test_perplexity_decides_in_nats_per_token_and_the_others_describe(whole: Path) -> None:
    found = summary(whole)
    overall = {row["metric"]: row for row in found["comparisons"] if row["group"] == "all"}
    row = overall["Perplexity"]
    assert found["verdict"]["sentence"].startswith("adapter is better than vanilla on Perplexity")
    assert row["variant_mean"] < 3 < row["baseline_mean"]
    assert row["outcome"] == "better" and row["ci_low"] < row["gain"] < row["ci_high"]
    assert {name for name, row in overall.items() if row["outcome"] is None} == set(DESCRIPTIVE)
    text = found["verdict"]["text"]
    exps = [f"{math.exp(row[name]):.2f}" for name in ("baseline_mean", "variant_mean")]
    assert (
        "Perplexity is scored and compared in nats per token. As perplexity (exp of the mean): "
        "vanilla "
        f"{exps[0]}, adapter {exps[1]}."
    ) in text
    assert text.count("a single user would wait a different time") == 1
    assert text.count("(described only, decides nothing)") == len(DESCRIPTIVE)


def test_what_is_described_is_what_the_completions_say(whole: Path) -> None:
    with closing(Journal(whole)) as journal:
        completions = journal.completions()
    for (case, name), value in kept(whole, "Completion Tokens").items():
        one = completions[case, name]
        assert value == one.n_tokens == len(one.token_ids)
        assert kept(whole, "Latency")[case, name] == one.seconds
        assert kept(whole, "Tokens per Second")[case, name] == pytest.approx(value / one.seconds)  # type: ignore[operator]
        assert kept(whole, "Cut Off")[case, name] == (one.finish_reason == "length")


def test_whatever_a_host_gets_is_finite(whole: Path) -> None:
    with closing(Journal(whole)) as journal:
        report = conclude(journal, 200)
    chips = chips_of(report)
    assert len(chips) == 4  # the primary metric and one more: what the host's chart has room for
    assert {"Perplexity", "Perplexity · vanilla"} < {chip["type"] for chip in chips}
    assert all(math.isfinite(chip["score"]) for chip in chips)
    assert json.dumps(published_scores(report), allow_nan=False)
    assert {f"gain/{name}" for name in ALL_OF_THEM} <= set(published_scores(report))
    table = detailed_rows(report)
    assert len(table) == 6 * 2 * 30
    assert all(math.isfinite(value) for value in table["score"])
    for name in ("01_summary.csv", "02_comparison.csv", "03_cases.csv"):
        text = (whole / name).read_text(encoding="utf-8").lower()
        assert ",inf" not in text and ",nan" not in text
    assert json.loads((whole / "summary.json").read_text(), parse_constant=pytest.fail)


def test_the_charts_name_the_unit(whole: Path) -> None:
    means = (whole / "comparison.svg").read_text(encoding="utf-8")
    assert "Perplexity (nats per token)" in means and "Token F1" in means
    gains = (whole / "distribution.svg").read_text(encoding="utf-8")
    assert "gain in nats per token (more is better)" in gains


@pytest.mark.slow
def test_a_killed_reading_goes_on_where_it_was(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    running = subprocess.Popen(
        command(*demo_options(out, **CHOSEN, limit="0.5", batch_size="2")),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 300
        while len(kept(out, "Perplexity")) < 12 and time.monotonic() < deadline:
            assert running.poll() is None
            time.sleep(0.005)
        running.send_signal(signal.SIGKILL)
        running.wait(timeout=120)
    finally:
        running.kill()
    before = kept(out, "Perplexity")
    assert 12 <= len(before) < 60
    with closing(Journal(out)) as journal:
        partial = conclude(journal, 200)
        write_tables(partial, tmp_path)  # what a host's job saves when it is stopped
    assert partial.partial
    assert partial.verdict.sentence.startswith("partial run: 0 of 30 cases: ")
    with sqlite3.connect(out / "journal.sqlite") as db:  # a mark on what must not be made again
        db.execute("UPDATE scores SET reason = 'kept'")
    ended = main("resume", str(out))
    assert ended.code == 0, ended.err
    with closing(Journal(out)) as journal:
        made = [score for score in journal.scores() if score.metric == "Perplexity"]
    assert sum(score.reason == "kept" for score in made) == len(before)
    assert kept(out, "Perplexity") == pytest.approx(kept(whole, "Perplexity"), abs=1e-4)
    assert summary(out)["partial"] is False


def test_likelihoods_without_the_end_of_the_answer_are_not_mixed_with_others(
    whole: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(whole, tmp_path / "copy"))
    with sqlite3.connect(out / "journal.sqlite") as db:  # as before it counted
        (body,) = db.execute("SELECT body FROM meta WHERE name = 'header'").fetchone()
        header = json.loads(body)
        del header["identity"]["versions of metrics"]
        db.execute("UPDATE meta SET body = ? WHERE name = 'header'", (json.dumps(header),))
        db.execute("DELETE FROM scores WHERE metric = 'Perplexity' AND variant = 'adapter'")
    ended = main("resume", str(out))
    assert ended.code == 2
    assert "holds another run: versions of metrics was None and is now" in ended.err
    assert "'Perplexity': 2" in ended.err
    assert {variant for _, variant in kept(out, "Perplexity")} == {"vanilla"}


def test_missing_scores_alone_load_the_model_again(whole: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(whole, tmp_path / "copy"))
    with sqlite3.connect(out / "journal.sqlite") as db:
        db.execute("DELETE FROM scores WHERE metric = 'Perplexity' AND variant = 'adapter'")
    ended = main("resume", str(out))
    assert ended.code == 0, ended.err
    assert "generate: " not in ended.out.replace("generate: 60 of 60", "")
    assert kept(out, "Perplexity") == pytest.approx(kept(whole, "Perplexity"), abs=1e-6)
    assert tables(out)["03_cases.csv"] == tables(whole)["03_cases.csv"]


def test_what_the_context_cannot_hold_is_a_counted_failure(tmp_path: Path) -> None:
    data = tmp_path / "cases.jsonl"
    asked: list[dict[str, Any]] = [
        {"id": str(i), "input": f"Who plays Dinesh {i}?", "expected_output": "Kumail."}
        for i in range(12)
    ]
    asked[3]["expected_output"] = "very " * 600
    data.write_text("".join(json.dumps(row) + "\n" for row in asked), encoding="utf-8")
    out = tmp_path / "o"
    chosen = {**CHOSEN, "predefined_tasks": "Perplexity", "limit": "1", "dataset_name": str(data)}
    ended = main(*demo_options(out, **chosen))
    assert ended.code == 0, ended.err
    found = summary(out)
    assert {(f["case_id"], f["variant"]) for f in found["failures"]} == {
        ("3", "vanilla"),
        ("3", "adapter"),
    }
    assert "the model's context is 512; they are never short" in found["failures"][0]["reason"]
    (row,) = found["comparisons"]
    assert (row["n"], row["n_failed_variant"], row["n_failed_baseline"]) == (11, 1, 1)
    assert row["outcome"] == "can't tell" and not row["holds_at_worst"]
    assert "Perplexity has no worst score" in ended.out
    again = main("resume", str(out))
    assert again.code == 0 and "load model" not in again.out


def test_both_engines_give_the_same_perplexity(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    chosen = {**CHOSEN, "predefined_tasks": "Perplexity", "limit": "1"}
    for name in ("mlx", "transformers"):
        ended = run_process(
            *demo_options(tmp_path / name, **{**chosen, "engine": name}), OMP_NUM_THREADS="1"
        )
        assert ended.code == 0, ended.err
    one, other = (kept(tmp_path / name, "Perplexity") for name in ("mlx", "transformers"))
    assert len(one) == 120
    assert other == pytest.approx(one, abs=1e-4)
