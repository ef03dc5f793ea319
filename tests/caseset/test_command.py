"""`cases build` as a person types it: files, versions, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plugin.load.cases import CaseSource, load_cases
from plugin.plan.command_parser import CommandParser
from plugin.plan.commands_cases import BUILD_ONLY, CASES_OPTIONS, cases_options
from tests.caseset.samples import questions, write_questions, write_rows
from tests.caseset.test_topics import themed
from tests.e2e.conftest import main
from tests.in_process import Ended

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def build(*words: object) -> Ended:
    return main("cases", "build", *map(str, words))


@pytest.fixture
def pool(tmp_path: Path) -> str:
    return write_questions(tmp_path / "pool.jsonl", [row.case.input for _, row in themed(90)])


def manifest(folder: Path) -> Any:
    return json.loads((folder / "manifest.json").read_text("utf-8"))


def rows_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_a_set_is_built_split_and_read_by_a_run(pool: str, tmp_path: Path) -> None:
    out = tmp_path / "set"
    ended = build(pool, "--n", 40, "--split", "test=0.7,dev=0.3", "--topics", 3, "--out", out)
    assert ended.code == 0, ended.err
    assert "90 rows read, 88 different questions left" in ended.out
    assert "40 cases drawn, from 3 topics" in ended.out and "--floor" not in ended.out
    assert "The smallest gain that they find four times out of five is 0." in ended.out
    made = manifest(out)
    assert made["version"] == 1 and [side["name"] for side in made["sides"]] == ["test", "dev"]
    for side in made["sides"]:
        loaded = load_cases(CaseSource(str(out / side["file"])))
        assert loaded.digest == side["digest"] and len(loaded.cases) == side["n"]
        assert {case.group for case in loaded.cases} <= {one["name"] for one in made["topics"]}
    whole = load_cases(CaseSource(str(out)))
    assert whole.digest == made["sides"][0]["digest"]  # a folder's split "test"


def test_a_next_version_keeps_labels_and_what_was_taken_out_stays_out(
    pool: str, tmp_path: Path
) -> None:
    out = tmp_path / "set"
    assert build(pool, "--n", 20, "--out", out).code == 0
    rows = rows_of(out / "cases.jsonl")
    gone = rows.pop(3)
    rows[0]["expected_output"] = "Ask the courier."
    write_rows(out / "cases.jsonl", rows)
    labelled = load_cases(CaseSource(str(out / "cases.jsonl"))).digest
    assert load_cases(CaseSource(str(out / "cases.jsonl"))).notes == ()  # one was taken out
    ended = build(pool, "--n", 90, "--out", out)
    assert ended.code == 0, ended.err
    assert "Version 2: 68 added, 0 dropped, 19 kept; the files were edited since" in ended.out
    now = rows_of(out / "cases.jsonl")
    assert len(now) == 87 and gone["input"] not in {row["input"] for row in now}
    assert [row["id"] for row in now[:19]] == [row["id"] for row in rows]
    assert now[0]["source"] == rows[0]["source"] != "earlier version"
    assert now[0]["expected_output"] == "Ask the courier." and now[0]["group"] == rows[0]["group"]
    assert rows_of(out / "v1" / "cases.jsonl") == rows
    assert manifest(out / "v1")["sides"][0]["digest"] == labelled
    assert manifest(out)["earlier"][0]["digests"] == {"cases": labelled}
    assert manifest(out)["removed"] == [gone["id"]]
    write_rows(out / "cases.jsonl", [{**row, "expected_output": "Yes."} for row in now])
    (note,) = load_cases(CaseSource(str(out))).notes
    assert note.endswith(
        "version 2 of the evaluation set set (cases.jsonl, edited since it was built)"
    )
    write_rows(out / "cases.jsonl", now)
    again = build(pool, "--n", 90, "--out", out)
    assert again.code == 0 and "Nothing changed: the folder keeps version 2." in again.out
    assert not (out / "v2").exists()
    diff = main("cases", "diff", str(out / "v1"), str(out))
    assert diff.code == 0 and "19 cases are the same, 68 added, 0 removed, 0 changed" in diff.out


def test_cases_that_a_model_was_trained_on_since_leave_the_set(pool: str, tmp_path: Path) -> None:
    out = tmp_path / "set"
    assert build(pool, "--n", 20, "--out", out).code == 0
    train = write_questions(
        tmp_path / "train.jsonl", [row["input"] for row in rows_of(out / "cases.jsonl")[:5]]
    )
    ended = build(pool, "--n", 20, "--train", train, "--out", out)
    assert ended.code == 0 and "5 added, 5 dropped, 15 kept" in ended.out
    ended = build(pool, "--n", 30, "--out", out)
    assert ended.code == 0 and "version 2 was compared with training data; without" in ended.out
    assert "repeat another question, or a case that the set has" in ended.out


def test_chats_systems_contexts_and_references_come_back_as_they_were(tmp_path: Path) -> None:
    texts = questions(4)
    turns = [
        {"role": "system", "content": "Be brief.\n"},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": texts[0]},
    ]
    rows: list[dict[str, Any]] = [
        {"messages": turns, "expected_output": "A", "group": "x", "context": ["c", "d"]},
        {
            "messages": [{"role": "user", "content": texts[1]}],
            "expected_output": ["one", "two"],
            "cluster": "k",
            "retention": True,
            "expect": ["a"],
            "user": "u1",
        },
    ]
    file = write_rows(tmp_path / "pool.jsonl", rows)
    before = load_cases(CaseSource(file)).cases
    out = tmp_path / "set"
    ended = build(file, "--out", out)
    assert ended.code == 0, ended.err
    after = {case.messages: case for case in load_cases(CaseSource(str(out))).cases}
    for one in before:
        other = after[one.messages]
        for name in ("right_answers", "context", "group", "cluster", "retention", "expect"):
            assert getattr(other, name) == getattr(one, name), name
    (about,) = [row["about"] for row in rows_of(out / "cases.jsonl") if "about" in row]
    assert about == {"user": "u1"}


REFUSED: dict[str, tuple[tuple[object, ...], str]] = {
    "no pool": (("--out", "set"), "cases build needs files"),
    "no folder": (("POOL",), "--out is missing"),
    "n": (("POOL", "--out", "set", "--n", "0"), "--n: '0' must be auto, or a number"),
    "margin": (("POOL", "--out", "set", "--margin", "0"), "--margin 0.0 must be above 0"),
    "a margin in grades": (
        ("POOL", "--out", "set", "--margin", "5"),
        "must be above 0 and at most",
    ),
    "seed": (("POOL", "--out", "set", "--seed", "-1"), "--seed -1 must be from 0 to 4294967295"),
    "large seed": (("POOL", "--out", "set", "--seed", str(2**32)), "must be from 0 to"),
    "no name of training data": (("POOL", "--out", "set", "--train", ""), "--train names a file"),
    "no name": (("", "--out", "set"), "a file without a name"),
    "no name for folds": (("", "--out", "set", "--folds", "2"), "a file without a name"),
    "floor": (("POOL", "--out", "set", "--floor", "-1"), "--floor -1 must be 0 or more"),
    "split": (("POOL", "--out", "set", "--split", "half"), "'half' is no side"),
    "a side without a case": (
        ("POOL", "--out", "set", "--n", "2", "--split", "a=0.001,b=0.999"),
        "none of the 2 cases falls on a",
    ),
    "train": (("POOL", "--out", "set", "--train", "none.jsonl"), "--train none.jsonl"),
    "like": (("POOL", "--out", "set", "--like", "none"), "none"),
    "both": (("POOL", "--out", "set", "--spread", "0.2", "--disagreement", "0.1"), "same thing"),
    "a file as folder": (("POOL", "--out", "POOL"), "is a file; name a folder"),
    "dataset_split": (
        ("POOL", "--out", "set", "--dataset_split", "test"),
        "cases build reads every file",
    ),
    "seed of diff": (("diff", "a", "b", "--seed", "1"), "--seed: cases diff has no use for it"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_asked_for_is_refused(
    pool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    words, message = REFUSED[name]
    typed = [pool if word == "POOL" else str(word) for word in words]
    ended = main("cases", *typed) if typed[0] == "diff" else build(*typed)
    assert ended.code == 2 and message in ended.err
    assert not (tmp_path / "set").exists()


def test_a_small_draw_says_that_the_floor_is_out_of_reach(pool: str, tmp_path: Path) -> None:
    ended = build(pool, "--n", 9, "--topics", 3, "--out", tmp_path / "set")
    assert "--floor 5: 9 cases in 3 topics leave room for 3 each" in ended.out
    ended = build(pool, "--n", 3, "--topics", 1, "--out", tmp_path / "one")
    assert "3 cases in 1 topic leave room" in ended.out


def test_a_folder_with_other_files_is_not_written_over(pool: str, tmp_path: Path) -> None:
    out = tmp_path / "set"
    out.mkdir()
    (out / "cases.jsonl").write_text("mine")
    ended = build(pool, "--out", out)
    assert ended.code == 2 and "no set of this program" in ended.err
    assert (out / "cases.jsonl").read_text() == "mine"
    (out / "manifest.json").write_text('{"name": "an app"}')
    ended = build(pool, "--out", out)
    assert ended.code == 2 and "is not the manifest of a set" in ended.err


def test_what_does_not_fit_the_version_that_is_there_is_refused(pool: str, tmp_path: Path) -> None:
    out = tmp_path / "set"
    assert build(pool, "--n", 30, "--split", "test=0.5,dev=0.5", "--out", out).code == 0
    before = (out / "manifest.json").read_bytes()
    for words, message in {
        ("--split", "test=0.6,dev=0.4"): "is split test=0.5,dev=0.5",
        ("--n", "20"): "has 30 cases, and they stay in it",
        ("--by_group",): "were found in its texts",
    }.items():
        ended = build(pool, *words, "--out", out)
        assert ended.code == 2 and message in ended.err
    assert (out / "manifest.json").read_bytes() == before
    (out / "dev.jsonl").write_text('{"input": ""}\n')
    ended = build(pool, "--out", out)
    assert ended.code == 2 and "dev.jsonl cannot be used" in ended.err


def test_an_earlier_run_says_how_gains_vary(tmp_path: Path, pool: str) -> None:
    rows = [{"input": f"What is {n}?", "expected_output": "a b c d"} for n in range(10)]
    said = [{**row, "old": "x", "new": "a b c d" if n % 2 else "x"} for n, row in enumerate(rows)]
    file = write_rows(tmp_path / "said.jsonl", said)
    sides = [f"--recorded={name}={file}:{name}" for name in ("old", "new")]
    run = tmp_path / "run"
    assert main("run", *sides, "--predefined_tasks", "Exact Match", "--out", str(run)).code == 0
    ended = build(pool, "--like", run, "--n", 40, "--out", tmp_path / "set")
    assert ended.code == 0, ended.err
    (found,) = manifest(tmp_path / "set")["finds"]
    assert found["spread"] == pytest.approx((10 * 0.25 / 9) ** 0.5)  # five gains of 1, five of 0
    assert "as on Exact Match in" in found["assumed"]


def test_gains_in_grades_are_taken_on_the_scale_of_the_margin(tmp_path: Path, pool: str) -> None:
    """A metric from 1 to 10 gains up to 9, and the margin is a part of the way from 0 to 1."""
    said = EXAMPLES / "mt_bench_answers.jsonl"
    sides = [f"--recorded={name}={said}:{name}" for name in ("base", "tuned")]
    data, run = str(EXAMPLES / "mt_bench_style.jsonl"), str(tmp_path / "run")
    ended = main("run", *sides, "--dataset_name", data, "--judge", "offline", "--out", run)
    assert ended.code == 0, ended.err
    assert build(pool, "--like", run, "--n", 40, "--out", tmp_path / "set").code == 0
    (found,) = manifest(tmp_path / "set")["finds"]
    assert "as on Turn Rating in" in found["assumed"] and 0 < found["spread"] <= 0.6


@pytest.mark.parametrize(
    "damage",
    [
        lambda found: found["sides"][0].pop("digest"),
        lambda found: found.update(version="one"),
        lambda found: found["sides"][0].update(file="../other.jsonl", name="../other"),
        lambda found: found.update(sides=[]),
        lambda found: found.pop("train"),
    ],
)
def test_a_damaged_manifest_is_named(pool: str, tmp_path: Path, damage: Any) -> None:
    out = tmp_path / "set"
    assert build(pool, "--n", 5, "--out", out).code == 0
    found = manifest(out)
    damage(found)
    (out / "manifest.json").write_text(json.dumps(found))
    ended = build(pool, "--n", 5, "--out", out)
    assert ended.code == 2 and "is not the manifest of a set" in ended.err, ended.err


def test_a_stop_between_files_loses_no_earlier_version(pool: str, tmp_path: Path) -> None:
    out = tmp_path / "set"
    assert build(pool, "--n", 10, "--out", out).code == 0
    first = {name: (out / name).read_bytes() for name in ("cases.jsonl", "manifest.json")}
    assert build(pool, "--n", 20, "--out", out).code == 0
    (out / "manifest.json").write_bytes(first["manifest.json"])  # as if stopped before it
    ended = build(pool, "--n", 20, "--out", out)
    assert ended.code == 0 and manifest(out)["version"] == 2
    assert len(rows_of(out / "cases.jsonl")) == 20
    assert (out / "v1" / "cases.jsonl").read_bytes() == first["cases.jsonl"]


def test_a_set_does_not_go_among_folds(pool: str, tmp_path: Path) -> None:
    rows = [{"input": text, "expected_output": "x"} for text in questions(12)]
    data, out = write_rows(tmp_path / "rows.jsonl", rows), tmp_path / "folds"
    assert build(data, "--folds", 2, "--out", out).code == 0
    ended = build(pool, "--out", out)
    assert ended.code == 2 and "holds folds; choose another folder" in ended.err


def test_options_on_the_page_are_not_broken_at_the_end_of_a_line(tmp_path: Path) -> None:
    rows = [{"input": f"How is lamp {n} repaired?", "expected_output": "soon"} for n in range(8)]
    file = tmp_path / "pool.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main("cases", "build", str(file), "--out", str(tmp_path / "set")).code == 0
    page = (tmp_path / "set" / "coverage.html").read_text(encoding="utf-8")
    assert '<span class="option">--without_answers</span>' in page


def test_every_option_of_build_is_known_as_one() -> None:
    """Else `cases diff` would take it in silence."""
    parser = CommandParser()
    cases_options(parser)
    names = {action.dest for action in parser._actions if action.option_strings} - {"help"}
    assert names == {*BUILD_ONLY, *CASES_OPTIONS}


def test_a_diff_reads_the_columns_that_are_named(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("old.jsonl", "new.jsonl")]
    for file, must in zip(files, ("blue", "red"), strict=True):
        file.write_text(json.dumps({"id": "a", "input": "Which colour?", "must": must}) + "\n")
    words = ("cases", "diff", *map(str, files))
    assert "changed" not in main(*words).out.replace("0 changed", "")
    assert "1 changed" in main(*words, "--expect_column", "must").out
