"""Earlier runs and scores of other tools, compared through the command line."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plugin import metrics
from plugin.history.cases_diff import diff_cases
from plugin.history.sides import case_keys, common_cases, run_side
from plugin.journal import Journal
from plugin.records import Case, Message
from tests.e2e.conftest import main, summary

LOGS = Path(__file__).parent / "logs"
FILES = ("inspect_base.eval", "inspect_tuned.json")


def make_row(n: int, **changed: str) -> dict[str, str]:
    right = f"the answer is {3 * n}"
    base, tuned = ("who knows", right)[n % 3 == 0], (right, "no")[n == 7]
    case = {"input": f"What is {n} times 3?", "expected_output": right}
    return {**case, "vanilla": base, "adapter": tuned, **changed}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two runs on data sets that share most cases; the second one has a row before them."""
    folder = tmp_path_factory.mktemp("runs")
    before, after = make_row(50), make_row(11, expected_output="something else")
    sets = {
        "v2": [make_row(n) for n in range(12)],
        "v3": [before, *(make_row(n) for n in range(11)), after],
    }
    for name, rows in sets.items():
        file = folder / f"{name}.jsonl"
        file.write_text("".join(json.dumps({"id": i} | one) + "\n" for i, one in enumerate(rows)))
        sides = (f"--recorded={side}={file}:{side}" for side in ("vanilla", "adapter"))
        options = ("--predefined_tasks", "Token F1", "--out", str(folder / name))
        ended = main("run", *sides, *options)
        assert ended.code == 0, ended.err
    return {name: folder / name for name in sets}


@pytest.fixture
def copies(runs: dict[str, Path], tmp_path: Path) -> dict[str, Path]:
    for name, folder in runs.items():
        shutil.copytree(folder, tmp_path / name)
    return {name: tmp_path / name for name in runs}


def change_header(folder: Path, **changed: Any) -> None:
    with closing(Journal(folder)) as journal:
        header = replace(journal.header, **changed)
        rows = journal.cases(), journal.completions(), journal.scores()
        journal.begin(header, rows[0], ())
        for one in rows[1].values():
            journal.add_answer(f"{one.case_id} {one.variant}", one, shared=False)
        for score in rows[2]:
            journal.add_score(score)


def test_v3_against_v2(runs: dict[str, Path], tmp_path: Path) -> None:
    """Ids moved by one row; cases are found by their content, and new and changed ones left out."""
    ended = main(
        "compare", str(runs["v2"]), f"new={runs['v3']}#adapter", "--out", str(tmp_path / "o")
    )
    assert ended.code == 0, ended.err
    found = summary(tmp_path / "o")
    assert found["verdict"]["variant"] == "new" and "v2 adapter" in found["verdict"]["sentence"]
    (row,) = (r for r in found["comparisons"] if r["group"] == "all" and r["role"] == "primary")
    assert (row["metric"], row["n"], row["gain"]) == ("Token F1", 11, 0.0)
    assert "2 of the 13 cases of new are not on all sides" in ended.out
    assert "1 of the 12 cases of v2 adapter" in ended.out
    assert (tmp_path / "o" / "report.html").is_file()


def test_a_run_against_itself_says_so(runs: dict[str, Path], tmp_path: Path) -> None:
    ended = main("compare", str(runs["v2"]), str(runs["v2"]), "--out", str(tmp_path / "o"))
    assert ended.code == 0, ended.err
    assert "v2 adapter (2): the same model and settings as an earlier one" in ended.out


def test_scores_are_paired_with_the_same_case(runs: dict[str, Path], tmp_path: Path) -> None:
    """The gain of the adapter over another run's base is that of its own run's base."""
    out = tmp_path / "o"
    ended = main("compare", f"base={runs['v2']}#vanilla", f"tuned={runs['v3']}", "--out", str(out))
    assert ended.code == 0, ended.err
    with closing(Journal(runs["v3"])) as journal:
        answers = {(c.case_id, c.variant): c.text for c in journal.completions().values()}
        cases = {case.id: case.input for case in journal.cases()}
        scores = {(s.case_id, s.variant): s.value for s in journal.scores()}
    by_input = {text: key for key, text in cases.items()}
    with (out / "03_cases.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 11
    for row in rows:
        key = by_input[row["input"]]
        assert row["output"] == answers[key, "adapter"]
        assert row["baseline_output"] == answers[key, "vanilla"]
        assert float(row["score"]) == pytest.approx(scores[key, "adapter"])


def test_a_metric_that_means_something_else_is_left_out(
    copies: dict[str, Path], tmp_path: Path
) -> None:
    with closing(Journal(copies["v2"])) as journal:
        header = journal.header
    identity = {**header.identity, "versions of metrics": {"Token F1": 1}}
    change_header(copies["v2"], identity=identity)
    ended = main("compare", str(copies["v2"]), str(copies["v3"]), "--out", str(tmp_path / "o"))
    assert ended.code == 2
    assert "Token F1 is left out, for it does not mean the same: version (" in ended.err
    assert not (tmp_path / "o" / "journal.sqlite").exists()


def test_another_judge_is_another_measure(copies: dict[str, Path], tmp_path: Path) -> None:
    for name, judge in (("v2", "a"), ("v3", "b")):
        with closing(Journal(copies[name])) as journal:
            header = journal.header
        change_header(
            copies[name],
            identity={**header.identity, "judge": judge},
            metrics=(*header.metrics, replace(header.metrics[0], name="Style", asks_judge=True)),
        )
    out = tmp_path / "o"
    ended = main("compare", str(copies["v2"]), str(copies["v3"]), "--out", str(out))
    assert ended.code == 0, ended.err
    assert "Style is left out, for it does not mean the same: judge (v2 adapter: a, " in ended.out
    assert {row["metric"] for row in summary(out)["comparisons"]} == {"Token F1"}


def test_cases_in_the_training_data_do_not_decide_in_a_comparison(
    runs: dict[str, Path], copies: dict[str, Path], tmp_path: Path
) -> None:
    """A run that looked at training data keeps its marks; they hold for both sides."""
    train = tmp_path / "train.jsonl"
    rows = [make_row(n) for n in range(8)]
    train.write_text("".join(json.dumps({k: r[k] for k in list(r)[:2]}) + "\n" for r in rows))
    data = runs["v3"].parent / "v3.jsonl"
    sides = [f"--recorded={side}={data}:{side}" for side in ("vanilla", "adapter")]
    options = ("--predefined_tasks", "Token F1", "--train_data", str(train))
    ended = main("run", *sides, *options, "--out", str(tmp_path / "trained"))
    assert ended.code == 0, ended.err
    out = tmp_path / "o"
    ended = main(
        *("compare", f"{copies['v2']}#vanilla", f"new={tmp_path / 'trained'}", "--out", str(out))
    )
    assert ended.code == 0, ended.err
    found = summary(out)
    assert "that are not in the training data" in found["verdict"]["sentence"]
    assert found["memorisation"]["counts"]["copied"] == 8 and found["memorisation"]["leads"]
    assert "v2 vanilla did not look at training data" in ended.out
    again = main("compare", str(out), f"new={tmp_path / 'trained'}", "--out", str(tmp_path / "p"))
    assert again.code == 0, again.err
    found = summary(tmp_path / "p")["memorisation"]
    assert found["counts"]["copied"] == 8 and found["n_rows"] == 8


def bad_words(runs: dict[str, Path]) -> Iterator[tuple[list[str], str]]:
    v2, log = str(runs["v2"]), str(LOGS / "inspect_base.eval")
    yield [], "name two things to compare"
    yield [v2], "name two things to compare"
    yield [v2, "nowhere"], "nowhere holds no journal.sqlite"
    yield [v2, f"{v2}#lora"], "has no variant 'lora'; it has vanilla, adapter"
    yield [f"a={v2}", f"a={v2}"], "two runs have the same name"
    yield [v2, v2, "--margin", "a=1"], "--margin is for --scored"
    yield [v2, v2, "--primary_metric", "Tokn F1"], "did you mean 'Token F1'?"
    yield [v2, "--scored", f"a={log}"], "but not both"
    yield ["--scored", log], "give it a name, as in --scored base="
    yield ["--scored", f"a={log}"], "two models or more"
    yield ["--scored", f"a={log}", f"a={log}"], "but not both"
    yield ["--scored", f"a={log}", "--scored", f"b={v2}"], "no samples_*.jsonl lie in this folder"
    yield ["--scored", f"a={log}", "--scored", "b=gone.json"], "there is no file gone.json"
    yield (
        ["--scored", f"a={log}", "--scored", f"b={log}", "--margin", "match"],
        "--margin match must be NAME=NUMBER",
    )
    yield (
        ["--scored", f"a={log}", "--scored", f"b={log}", "--primary_metric", "acc"],
        "these can decide here: match",
    )


def test_mistakes_are_told_in_one_line(runs: dict[str, Path], tmp_path: Path) -> None:
    for words, message in bad_words(runs):
        ended = main("compare", *words, "--out", str(tmp_path / "o"))
        assert ended.code == 2 and message in ended.err, (words, ended.err)
        assert "Traceback" not in ended.err


def test_a_run_is_not_overwritten(copies: dict[str, Path]) -> None:
    ended = main("compare", str(copies["v2"]), str(copies["v3"]), "--out", str(copies["v2"]))
    assert ended.code == 2 and "holds a run of its own" in ended.err
    assert main("report", str(copies["v2"])).code == 0


def test_two_runs_without_a_common_case(runs: dict[str, Path]) -> None:
    side = run_side(runs["v2"])
    other = replace(side, name="x", cases={f"{key}x": case for key, case in side.cases.items()})
    with pytest.raises(Exception, match="no case is in all of them .v2 adapter has 12; x has 12"):
        common_cases([side, other])


def test_repeats_have_keys_of_their_own() -> None:
    same = Case("1", (Message("user", "Why?"),))
    keys = case_keys([same, replace(same, id="2"), replace(same, id="3", context=("x",))])
    assert len(set(keys)) == 3 and keys[0].partition("#")[0] == keys[1].partition("#")[0]


def test_logs_of_another_tool(tmp_path: Path) -> None:
    out = tmp_path / "o"
    words = [f"base={LOGS / 'inspect_base.eval'}", f"tuned={LOGS / 'inspect_tuned.json'}"]
    ended = main("compare", "--scored", words[0], "--scored", words[1], "--out", str(out))
    assert ended.code == 0, ended.err
    found = summary(out)
    (row,) = (r for r in found["comparisons"] if r["metric"] == "match")
    assert (row["n"], row["role"], row["outcome"]) == (6, "primary", "can't tell")
    assert row["gain"] == pytest.approx(4 / 6)
    assert not found["partial"]
    again = main("compare", "--scored", words[0], "--scored", words[1], "--out", str(out))
    assert again.code == 0 and summary(out)["verdict"] == found["verdict"]
    assert main("report", str(out)).code == 0
    resumed = main("resume", str(out))
    assert resumed.code == 2 and "compare them again" in resumed.err


def test_a_missing_score_is_a_failure_and_not_zero(tmp_path: Path) -> None:
    for name, last in (("a", "0.5"), ("b", "")):
        rows = "".join(f"{i},0.5\n" for i in range(9))
        (tmp_path / f"{name}.csv").write_text(f"id,f1\n{rows}9,{last}\n")
    out = tmp_path / "o"
    words = (f"--scored={n}={tmp_path / n}.csv" for n in ("a", "b"))
    assert main("compare", *words, "--out", str(out)).code == 0
    (row,) = summary(out)["comparisons"]
    assert (row["n"], row["n_failed_variant"], row["gain"]) == (9, 1, 0.0)


def test_a_score_that_no_sum_can_hold_is_refused(tmp_path: Path) -> None:
    for name, value in (("a", "1e308"), ("b", "-1e308")):
        (tmp_path / f"{name}.csv").write_text(f"id,points\nx,{value}\ny,2\n")
    sides = [f"--scored={name}={tmp_path / name}.csv" for name in "ab"]
    ended = main("compare", *sides, "--margin", "points=1", "--out", str(tmp_path / "o"))
    assert ended.code == 2 and "item x has points 1e+308; scores up to 1e+100" in ended.err
    assert not (tmp_path / "o").exists()


def test_less_is_better_and_other_units(tmp_path: Path) -> None:
    for name, add in (("a", 3), ("b", 1)):
        rows = "".join(f"{i},{10 + i % 7 * add}\n" for i in range(40))
        (tmp_path / f"{name}.csv").write_text(f"id,edits\n{rows}")
    out, words = tmp_path / "o", [f"--scored={n}={tmp_path / n}.csv" for n in ("a", "b")]
    ended = main("compare", *words, "--out", str(out))
    assert ended.code == 2 and "Say it: --margin NAME=0.5" in ended.err
    more = ("--lower_is_better", "edits", "--margin", "edits=1")
    assert main("compare", *words, "--out", str(out), *more).code == 0
    (row,) = summary(out)["comparisons"]
    assert (row["gain"], row["outcome"], row["margin"]) == (
        pytest.approx(2 * 115 / 40),
        "better",
        1.0,
    )


def test_what_changed_between_two_sets(runs: dict[str, Path]) -> None:
    files = [str(runs[name].with_suffix(".jsonl")) for name in ("v2", "v3")]
    for sets in (files, [str(runs["v2"]), files[1]]):
        ended = main("cases", "diff", *sets)
        assert ended.code == 0, ended.err
        assert "11 cases are the same, 1 added, 0 removed, 1 changed" in ended.out
        assert "added    0: What is 50 times 3?" in ended.out
        assert "changed  11: What is 11 times 3? (expected output)" in ended.out


def test_an_edited_question_is_found_by_its_id() -> None:
    def case(name: str, text: str) -> Case:
        return Case(name, (Message("user", text),), "yes")

    found = diff_cases([case("a", "Is it?"), case("7", "Old")], [case("a", "Is it so?")])
    assert [(old.input, new.input) for old, new in found.changed] == [("Is it?", "Is it so?")]
    assert [one.input for one in found.removed] == ["Old"] and not found.added


def test_mistakes_of_cases_diff(tmp_path: Path) -> None:
    for words, message in (
        (["diff", "a.jsonl"], "two evaluation sets: cases diff OLD NEW"),
        (["dif", "a", "b"], "invalid choice"),
        (["diff", str(tmp_path / "no.jsonl"), "b"], "no.jsonl"),
    ):
        ended = main("cases", *words)
        assert ended.code == 2 and message in ended.err, ended.err


def test_a_broken_comparison_is_not_said_to_be_resumable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("plugin.history.compare_sides.write_report", fail)
    words = [f"--scored={n}={LOGS / file}" for n, file in (("a", FILES[0]), ("b", FILES[1]))]
    ended = main("compare", *words, "--out", str(tmp_path / "o"))
    assert ended.code == 1 and "the results cannot be written" in ended.err
    assert "resume" not in ended.err


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three runs of the same cases: two with three samples of each, one with the first of these."""
    folder = tmp_path_factory.mktemp("sampled")
    rows = [make_row(n) for n in range(12)]
    file = folder / "cases.jsonl"
    lists = [
        {
            **{"id": n, "input": row["input"], "expected_output": row["expected_output"]},
            "vanilla": [row["vanilla"]] * 3,
            "adapter": [row["adapter"], "no", "maybe"],
            "other": [row["adapter"], row["adapter"], "no"],
        }
        for n, row in enumerate(rows)
    ]
    file.write_text("".join(f"{json.dumps(one)}\n" for one in lists))
    for name, side, more in (
        ("three", "adapter", ("--samples", "3")),
        ("also", "other", ("--samples", "3")),
        ("one", "adapter", ()),
    ):
        given = [f"--recorded={s}={file}:{c}" for s, c in (("vanilla", "vanilla"), ("tuned", side))]
        out = folder / name
        if not more:
            sides = ("vanilla", "adapter")
            flat = [{**one, **{own: one[own][0] for own in sides}} for one in lists]
            file = folder / "first.jsonl"
            file.write_text("".join(f"{json.dumps(one)}\n" for one in flat))
            given = [f"--recorded=vanilla={file}:vanilla", f"--recorded=tuned={file}:adapter"]
        ended = main("run", *given, "--predefined_tasks", "Token F1", *more, "--out", str(out))
        assert ended.code == 0, ended.err
    return {name: folder / name for name in ("three", "also", "one")}


def test_another_number_of_samples_is_said(sampled: dict[str, Path], tmp_path: Path) -> None:
    ended = main("compare", str(sampled["three"]), str(sampled["one"]), "--out", str(tmp_path))
    assert ended.code == 0, ended.err
    assert "not made alike (samples: three tuned: 3, one tuned: 1)" in ended.out
    assert "a score is the mean of all samples of its case; the first one is shown" in ended.out
    assert "there is nothing to compare" not in ended.out  # only their first samples are equal
    ended = main("ratings", str(tmp_path))
    assert ended.code == 2  # people would see one answer, and the score is a mean
    assert "mean of several samples" in ended.err


def test_equal_numbers_of_samples_are_compared_with_all_of_them(
    sampled: dict[str, Path], tmp_path: Path
) -> None:
    ended = main("compare", str(sampled["three"]), str(sampled["also"]), "--out", str(tmp_path))
    assert ended.code == 0, ended.err
    assert "not made alike" not in ended.out
    assert "Each case's score is the mean of 3 samples." in ended.out
    assert "Variance of also tuned's gain on Token F1" in ended.out
    with (tmp_path / "11_samples.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 12 * 2 * 3


def test_contradictions_among_other_numbers_of_samples_are_not_compared(
    sampled: dict[str, Path], tmp_path: Path
) -> None:
    spec = metrics.load(["Unsupported Claims"])[0].spec
    for name in ("three", "one"):
        shutil.copytree(sampled[name], tmp_path / name)
        with closing(Journal(tmp_path / name)) as journal:
            specs = (*journal.header.metrics, spec)
        change_header(tmp_path / name, metrics=specs)
    folders = [str(tmp_path / name) for name in ("three", "one")]
    ended = main("compare", *folders, "--out", str(tmp_path / "out"))
    assert ended.code == 0, ended.err
    assert "Unsupported Claims is left out, for it does not mean the same: samples (" in ended.out


def test_another_number_of_samples_begins_a_new_line(
    sampled: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "same"
    for name, source in (("a", sampled["three"]), ("b", sampled["one"])):
        shutil.copytree(source, folder / name)
        summary_file = folder / name / "summary.json"
        fields = json.loads(summary_file.read_text("utf-8"))
        fields["provenance"]["digests"] = {"data set's content": "the same"}
        summary_file.write_text(json.dumps(fields), "utf-8")
    ended = main("history", str(folder), "--out", str(tmp_path / "out"))
    assert ended.code == 0, ended.err
    assert "new line: samples: 3 -> 1" in ended.out
