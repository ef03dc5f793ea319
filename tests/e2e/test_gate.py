"""The command `gate` on the demo's run, and on runs that cannot be decided."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

import pytest

from plugin.records import Score
from tests.e2e.conftest import main
from tests.gate.made_runs import BETTER, CORRECTNESS, EVEN, WORSE, write_run

NAMES = ["gate.json", "gate.md", "junit.xml"]


def read(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_the_demo_passes_what_it_keeps_to_and_fails_what_it_does_not(
    demo_run: Path, tmp_path: Path
) -> None:
    out, summary = tmp_path / "out", tmp_path / "summary.md"
    command = ("gate", str(demo_run), "--out", str(out), "--summary", str(summary))
    ended = main(*command, "--max_failed", "0", "--require_certificate", "--max_token_growth", "1")
    assert ended.code == 0, ended.err
    assert "Gate passed: adapter against vanilla keeps to all 3 rules." in ended.out
    assert [name for name in read(out)] == NAMES
    assert summary.read_bytes() == read(out)["gate.md"]
    assert json.loads(read(out)["gate.json"])["result"] == "pass"
    ended = main(*command, "--max_copied", "0.1", "--require", "better")
    assert ended.code == 4, ended.err
    assert "✗ fail        max_copied 0.1" in ended.out
    assert "? can't tell  require better" in ended.out
    found = json.loads(read(out)["gate.json"])
    assert found["counts"] == {"pass": 0, "fail": 1, "can't tell": 1}
    assert ElementTree.fromstring(read(out)["junit.xml"]).get("failures") == "1"
    assert summary.read_text().count("\n## ") == 1, "appended to the first"


def test_what_cannot_be_told_passes_with_a_warning_and_blocks_with_strict(
    demo_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ended = main("gate", str(demo_run), "--require", "not_worse", "--out", str(out))
    assert ended.code == 0, ended.err
    warning = "1 rule could not be decided, which lets the model pass; --strict blocks."
    assert warning in ended.out
    written = read(out)
    assert warning in json.loads(written["gate.json"])["warnings"]
    assert all(warning.encode() in written[name] for name in ("gate.md", "junit.xml"))
    ended = main("gate", str(demo_run), "--require", "not_worse", "--out", str(out), "--strict")
    assert ended.code == 5 and "1 rule could not be decided, which blocks (--strict)." in ended.out


def test_rules_from_a_file_and_the_folder_of_the_run(tmp_path: Path) -> None:
    run = write_run(_made(tmp_path / "run"), {"tuned": {CORRECTNESS: WORSE}})
    rules = tmp_path / "rules.yaml"
    rules.write_text("require: not_worse\nmax_failed: 0\n")
    before = (run / "journal.sqlite").read_bytes()
    ended = main("gate", str(run), "--rules", str(rules))
    assert ended.code == 4, ended.err
    first = read(run / "gate")
    assert list(first) == NAMES
    assert main("gate", str(run), "--rules", str(rules)).code == 4
    assert read(run / "gate") == first, "the same run and rules give the same bytes"
    assert (run / "journal.sqlite").read_bytes() == before


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_an_unfinished_run_is_refused_with_the_way_out(tmp_path: Path) -> None:
    missing = [Score("3", "tuned", "Correctness", 0.5)]
    run = write_run(_made(tmp_path / "run"), {"tuned": {CORRECTNESS: BETTER}}, missing=missing)
    ended = main("gate", str(run), "--require", "better")
    assert ended.code == 2
    assert f"the run in {run} is not finished. Finish it first, nothing is paid for" in ended.err
    assert f"python main.py resume {run}" in ended.err
    assert not (run / "gate").exists()


def test_a_run_that_goes_on_is_refused(tmp_path: Path) -> None:
    run = write_run(_made(tmp_path / "run"), {"tuned": {CORRECTNESS: BETTER}})
    with (run / "journal.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ended = main("gate", str(run), "--require", "better")
        assert ended.code == 2 and f"another process is working in {run}" in ended.err
    assert main("gate", str(run), "--require", "better").code == 0


def test_a_run_of_another_version_is_decided_and_said(tmp_path: Path) -> None:
    run = write_run(
        _made(tmp_path / "run"),
        {"tuned": {CORRECTNESS: BETTER}},
        versions={"finetune-verdict": "0.0.9"},
    )
    ended = main("gate", str(run), "--require", "better")
    assert ended.code == 0 and "The run was made with version 0.0.9 and decided with" in ended.out


def test_a_run_of_another_format_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    run = write_run(_made(tmp_path / "run"), {"tuned": {CORRECTNESS: BETTER}})
    other = Path(shutil.copytree(run, tmp_path / "other"))
    with closing(sqlite3.connect(other / "journal.sqlite")) as db, db:
        db.execute("UPDATE meta SET body = '1' WHERE name = 'schema_version'")
    with closing(sqlite3.connect(run / "journal.sqlite")) as db, db:
        db.execute("UPDATE scores SET value = 7")
    for folder, told in ((other, "version"), (run, "is damaged: scores: Correctness of case")):
        ended = main("gate", str(folder), "--require", "better")
        assert ended.code == 2 and told in ended.err, ended.err


@pytest.mark.parametrize("name", ["none", "empty", "file"])
def test_a_folder_without_a_run(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("text")
    ended = main("gate", str(tmp_path / name), "--require", "better")
    assert ended.code == 2 and "holds no journal.sqlite" in ended.err


def test_a_run_without_anything_to_compare(tmp_path: Path) -> None:
    from plugin.journal import Journal
    from tests.gate.made_runs import header
    from tests.samples import case

    with closing(Journal(tmp_path)) as journal:
        journal.begin(header(["vanilla"], [CORRECTNESS]), (case("1"),), ())
        journal.add_score(Score("1", "vanilla", "Correctness", 0.5))
    ended = main("gate", str(tmp_path), "--require", "better")
    assert ended.code == 2 and "this run has only vanilla, so there is nothing to" in ended.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_run_that_may_only_be_read(tmp_path: Path) -> None:
    run = write_run(_made(tmp_path / "run"), {"tuned": {CORRECTNESS: BETTER}})
    run.chmod(0o500)
    try:
        ended = main("gate", str(run), "--require", "better")
        assert ended.code == 2 and "into another folder with --out DIR" in ended.err
        out = tmp_path / "out"
        assert main("gate", str(run), "--require", "better", "--out", str(out)).code == 0
    finally:
        run.chmod(0o700)


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    run = write_run(_made(tmp_path / "run"), {"tuned": {CORRECTNESS: EVEN}})
    (tmp_path / "file").write_text("")
    rule = ("--require", "better")
    ended = main("gate", str(run), *rule, "--out", str(tmp_path / "file"))
    assert ended.code == 2 and "choose another folder with --out" in ended.err
    ended = main("gate", str(run), *rule, "--summary", str(tmp_path / "none" / "summary.md"))
    assert ended.code == 2 and "cannot be written (No such file or directory); name" in ended.err


def test_the_help_lists_every_rule() -> None:
    from plugin.plan.gate_rules import RULES

    ended = main("gate", "--help")
    assert ended.code == 0 and all(f"--{name}" in ended.out for name in RULES)
