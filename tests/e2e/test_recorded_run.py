"""A run of completions made elsewhere: no model, and otherwise a run like any other."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import FILES, Ended, main, run_process, summary, tables
from tests.judge_server import JudgeServer

N = 24


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A data set with a column per variant: the tuned one is right more often."""
    rows: list[Mapping[str, Any]] = [
        {
            "id": f"q{n}",
            "input": f"What is {n} times 3?",
            "expected_output": f"{3 * n}",
            "group": ("small", "large")[n > 9],
            "plain": f"{3 * n}" if n % 4 == 0 else f"Who knows, {chr(ord('a') + n)}",
            "tuned": "" if n == 5 else f"{3 * n}",
        }
        for n in range(N)
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(out: Path, *recorded: str, **options: str) -> Ended:
    given = {"predefined_tasks": "Token F1", "out": str(out), **options}
    words = [word for name, value in given.items() for word in (f"--{name}", value)]
    return main("run", *(word for one in recorded for word in ("--recorded", one)), *words)


def refused(out: Path, *recorded: str, **options: str) -> str:
    ended = run(out, *recorded, **options)
    assert ended.code == 2, ended.err
    assert not out.exists()
    return ended.err.removeprefix("error: ").strip()


def test_too_few_clusters_are_told_before_anything_is_judged(pairs: Path, tmp_path: Path) -> None:
    sides = f"base={pairs}:plain", f"tuned={pairs}"
    ended = run(tmp_path / "few", *sides, judge="offline", cluster_column="group")
    assert ended.code == 0, ended.err
    note = ended.out.index("note: with 2 clusters no difference can be shown at the 5% level")
    assert note < ended.out.index("score: ") < ended.out.index("Can't tell whether tuned is better")
    row = summary(tmp_path / "few")["comparisons"][0]
    assert (row["n_clusters"], row["ci_low"], row["smallest_detectable"]) == (2, None, None)
    assert row["effective_clusters"] == pytest.approx(24**2 / (10**2 + 14**2), abs=1e-3)
    assert row["largest_cluster_share"] == pytest.approx(14 / 24, abs=1e-3)
    ended = run(tmp_path / "none", *sides, judge="offline")
    assert "clusters no difference" not in ended.out and "belong to" not in ended.out


def test_a_data_set_with_a_column_per_variant(pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "o"
    ended = run(out, f"base={pairs}:plain", f"tuned={pairs}", judge="offline")
    assert ended.code == 0, ended.err
    assert [name for name in FILES if not (out / name).is_file()] == []
    found = summary(out)
    assert found["verdict"]["sentence"].startswith(
        "tuned is better than base on Token F1: 0.96 against 0.25, gain +0.71"
    )
    assert "certified" not in found["verdict"]["text"]
    assert [row["baseline"] for row in found["comparisons"]] == ["base"] * 3
    (certificate,) = found["certificates"]
    assert (certificate["variant"], certificate["result"]) == ("tuned", "not applicable")
    assert (certificate["n_changed"], certificate["n_completions"]) == (18, N)
    assert found["provenance"]["versions"]["recorded tuned"] == (
        f"column tuned, {N} of {N} cases, joined on id"
    )
    assert found["warnings"] == []
    with (out / "03_cases.csv").open(encoding="utf-8") as file:
        rows = {(row["variant"], row["case_id"]): row for row in csv.DictReader(file)}
    assert rows["tuned", "q5"]["score"] == "0.0"
    assert rows["tuned", "q5"]["reason"] == "empty completion: the worst score"


def test_no_engine_is_imported(pairs: Path, tmp_path: Path) -> None:
    for name in ("mlx", "mlx_lm", "torch", "transformers", "peft"):
        (tmp_path / "path" / name).mkdir(parents=True)
        (tmp_path / "path" / name / "__init__.py").write_text("raise ZeroDivisionError\n")
    words = ("--recorded", f"base={pairs}:plain", "--predefined_tasks", "Token F1")
    path = str(tmp_path / "path")
    ended = run_process("run", *words, "--out", str(tmp_path / "o"), PYTHONPATH=path)
    assert ended.code == 0, ended.err
    assert "There is nothing to compare: only base was run." in ended.out


def test_files_of_their_own_beside_a_data_set(pairs: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    for name, left_out in (("plain", 0), ("tuned", 2)):
        kept = [{"id": r["id"], "output": r[name]} for r in rows[left_out:]]
        kept.append({"id": "stray", "output": "nobody asked"})
        kept[-2]["output"] = None
        (tmp_path / f"{name}.json").write_text(json.dumps(kept))
    out = tmp_path / "o"
    ended = run(
        out,
        f"base={tmp_path / 'plain.json'}",
        f"tuned={tmp_path / 'tuned.json'}",
        dataset_name=str(pairs),
    )
    assert ended.code == 0, ended.err
    found = summary(out)
    (row,) = (row for row in found["comparisons"] if row["group"] == "all")
    assert (row["n"], row["n_failed_baseline"], row["n_failed_variant"]) == (N - 3, 1, 3)
    assert found["warnings"] == [
        "1 of the completions recorded for base belong to no case of the data set and are left "
        "out (plain.json)",
        "1 of the completions recorded for tuned belong to no case of the data set and are left "
        "out (tuned.json)",
        "4 scores or completions failed, 2 of them because: no completion was recorded: output is "
        "null. 04_failures.csv lists them all",
    ]
    assert {f["stage"] for f in found["failures"]} == {"generate"}
    before = tables(out)
    shutil.move(tmp_path / "plain.json", tmp_path / "elsewhere.json")
    moved = run(
        out,
        f"base={tmp_path / 'elsewhere.json'}",
        f"tuned={tmp_path / 'tuned.json'}",
        dataset_name=str(pairs),
    )
    assert moved.code == 0 and "continuing a run" in moved.out, moved.err
    assert tables(out) == before


def test_it_goes_on_where_it_was_and_tells_what_changed(
    pairs: Path, tmp_path: Path, server: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the trust report, too, with nothing known of the model."""
    options = {"predefined_tasks": "Correctness", "judge": "custom:judge"}
    monkeypatch.setenv("CUSTOM_JUDGE_BASE_URL", server.url)
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "o"
    names = ("base=pairs.jsonl:plain", "prompted=pairs.jsonl:plain", "tuned=pairs.jsonl")
    ended = run(out, names[0], "same=pairs.jsonl:tuned", max_calls="9", **options)
    assert ended.code == 0, ended.err
    assert "partial run" in ended.out
    monkeypatch.chdir("/")
    resumed = main("resume", str(out))
    assert resumed.code == 0, resumed.err
    words = ("--max_calls", "0", "--judge", "custom:judge", "--predefined_tasks", "Correctness")
    monkeypatch.chdir(tmp_path)
    again = ("--recorded", names[0], "--recorded", "same=pairs.jsonl:tuned")
    done = main("run", *again, *words, "--out", str(out))
    assert done.code == 0, done.err
    found = summary(out)
    assert not found["partial"] and found["trust"]["lengths"]
    assert not any("grades its own answers" in warning for warning in found["warnings"])
    before = tables(out)
    assert main("report", str(out)).code == 0
    assert tables(out) == before
    pairs.write_text(pairs.read_text().replace('"tuned": "6"', '"tuned": "six"'))
    changed = main("run", *again, *words, "--out", str(out))
    assert changed.code == 2
    assert "holds another run: the recorded completions' content changed. " in changed.err
    other = main("run", *again[2:], *again[:2], *words, "--out", str(out))
    assert "recorded variants was ['base', 'same'] and is now ['same', 'base']" in other.err


def test_three_variants_and_stopping_early(pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "o"
    names = (f"base={pairs}:plain", f"prompted={pairs}:plain", f"tuned={pairs}")
    message = refused(out, *names)
    assert message.startswith(
        f"--recorded prompted={pairs}:plain: column plain is also that of 'base'"
    )
    third = tmp_path / "third.jsonl"
    third.write_text(pairs.read_text())
    ended = run(
        out, names[0], f"prompted={third}:plain", names[2], judge="offline", stop_early="true"
    )
    assert ended.code == 0, ended.err
    found = summary(out)
    assert [variant["name"] for variant in found["variants"]] == ["base", "prompted", "tuned"]
    (warning,) = found["warnings"]
    assert warning.startswith("the baseline prompt changed no output: all 24 completions of")
    assert warning.endswith("Choose another prompt")
    ended = run(tmp_path / "p", names[0], f"twin={third}:plain")
    assert (
        "all 24 completions of twin equal the baseline's: there is nothing to compare. Check that "
        "you named the right model" in summary(tmp_path / "p")["warnings"]
    )


def write_rows(path: Path, *rows: Mapping[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_known_layout_is_named_in_the_log_and_in_the_report(tmp_path: Path) -> None:
    rows = [
        {"instruction": f"Add 1 to {n}.", "output": f"{n + 1}", "mine": f"{n + 1}", "tools": "f"}
        for n in range(9)
    ]
    data = write_rows(tmp_path / "d.jsonl", *rows)
    out = tmp_path / "o"
    ended = run(out, f"base={data}:mine")
    assert ended.code == 0, ended.err
    read_as = "read as Alpaca: instruction -> input, output -> expected output"
    assert ended.out.splitlines()[1] == read_as
    found = summary(out)["warnings"]
    assert found[0] == read_as and found[1].startswith("column tools looks like input but is not")


def test_the_column_of_a_recording_is_no_expected_output(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "d.jsonl", {"instruction": "Why?", "output": "So."})
    for name in (f"base={data}:output", f"base={data}"):
        message = refused(tmp_path / "o", name, predefined_tasks="Exact Match")
        assert "Exact Match" in message and "expected_output" in message


def test_eight_copies_of_the_rows_give_the_verdict_of_one(pairs: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    often = [{**row, "id": f"{row['id']}-{n}"} for n in range(8) for row in rows]
    copies = write_rows(tmp_path / "often.jsonl", *often)
    found = []
    for out, data in ((tmp_path / "a", pairs), (tmp_path / "b", copies)):
        ended = run(out, f"base={data}:plain", f"tuned={data}", judge="offline")
        assert ended.code == 0, ended.err
        found.append(summary(out))
    once, eight = ((one["verdict"], one["comparisons"]) for one in found)
    assert eight[0]["outcome"] == once[0]["outcome"]
    assert eight[0]["details"][0] == (
        "168 of 192 cases repeat another one. A case and its repeats form one cluster: 24 "
        "clusters in all."
    )
    assert [row["n_clusters"] for row in once[1]] == [None] * 3
    assert [row["n_clusters"] for row in eight[1]] == [row["n"] for row in once[1]] == [24, 10, 14]


@pytest.mark.parametrize(
    ("answer", "clusters", "is_warned"),
    [
        ("It is in the north.", ("", ""), True),
        ("It is in the north.", ("a", "a"), False),
        ("north", ("", ""), False),
    ],
)
def test_cases_that_differ_in_the_input_alone_are_warned_of(
    tmp_path: Path, answer: str, clusters: tuple[str, str], is_warned: bool
) -> None:
    asked = zip(("Where is it?", "In which part is it?"), clusters, strict=True)
    same = {"expected_output": answer, "base": answer, "tuned": answer}
    rows = [{"input": text, "cluster": cluster, **same} for text, cluster in asked]
    data = write_rows(tmp_path / "d.jsonl", *rows, {**same, "input": "Who?", "base": "Nobody"})
    out = tmp_path / "o"
    ended = run(out, f"base={data}:base", f"tuned={data}:tuned")
    assert ended.code == 0, ended.err
    found = [text for text in summary(out)["warnings"] if "but a different input" in text]
    assert len(found) == is_warned
    if found:
        assert found[0].startswith("2 of 3 cases have the same expected output")
        assert "(such as 1, 2)" in found[0] and "cluster column" in found[0]


def test_cases_that_ask_the_same_keep_their_own_completions(tmp_path: Path) -> None:
    rows = [{"input": "Why?", "expected_output": "b", "base": one} for one in ("a", "b")]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "o"
    ended = run(out, f"base={tmp_path / 'd.jsonl'}", cache_dir=str(tmp_path / "cache"))
    assert ended.code == 0, ended.err
    with (out / "03_cases.csv").open(encoding="utf-8") as file:
        assert [row["output"] for row in csv.DictReader(file)] == ["a", "b"]


def test_what_goes_with_no_recording_is_named_together(pairs: Path, tmp_path: Path) -> None:
    message = refused(
        tmp_path / "o",
        "nothing",
        f"base={pairs}:plain",
        model_name="some/model",
        system_prompt="Be brief.",
        engine="mlx",
        variants="vanilla only",
    )
    bad, models, engine, variants = message.splitlines()
    assert bad.startswith("--recorded 'nothing': it must be NAME=FILE or NAME=FILE:COLUMN")
    assert "--model_name and --system_prompt would do nothing: leave that out" in models
    assert engine.startswith("--engine mlx ") and "leave out one of the two" in engine
    assert variants.startswith("--variants 'vanilla only' ") and "leave out --variants" in variants


def test_names_that_cannot_be(pairs: Path, tmp_path: Path) -> None:
    names = (f"all={pairs}:plain", f"data set={pairs}:tuned", f"b={pairs}:id", f"b={pairs}:input")
    message = refused(tmp_path / "o", *names, f"vanilla={pairs}:group")
    for line, said in zip(
        message.splitlines(),
        (
            f"--recorded all={pairs}:plain: the name 'all' is used for all cases together",
            f"--recorded data set={pairs}:tuned: the name 'data set' is used where a metric judges",
            f"--recorded b={pairs}:input: the name 'b' is given twice",
            f"--recorded vanilla={pairs}:group: 'vanilla' is the baseline, so put it first",
        ),
        strict=True,
    ):
        assert line.startswith(said)


def test_one_alone_cannot_stop_early_and_no_engine_stands_for_recordings(
    pairs: Path, tmp_path: Path
) -> None:
    message = refused(tmp_path / "o", f"base={pairs}:plain", stop_early="true")
    assert message.startswith("--stop_early needs a comparison") and "only 'base'" in message
    options = {"model_name": "m", "dataset_name": str(pairs), "variants": "vanilla only"}
    assert refused(tmp_path / "o", engine="recorded", **options) == (
        "engine 'recorded' runs no model: give a file of existing completions with `run --recorded "
        "NAME=FILE`, or choose another --engine"
    )
