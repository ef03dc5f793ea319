"""The folds of one recipe, put together by `compare --folds`."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from plugin.errors import VerdictError
from plugin.history.folds import Pooled, pool_folds
from plugin.history.sides import common_cases
from plugin.journal import Journal
from plugin.load.cases import CaseSource, load_cases
from plugin.load.columns import Columns
from plugin.load.fold_manifest import ManifestFold, fold_file, manifest_text, question_digest
from plugin.records import Case, Completion, Score
from plugin.run_facts import RunHeader, RunState
from plugin.training_facts import CaseMark, TrainingFacts
from tests.e2e.conftest import main, summary
from tests.in_process import Ended

N = 12
NAMES = ("fold_1", "fold_2", "fold_3")


def make_row(n: int, **changed: str) -> dict[str, str]:
    """A case: the base knows every third answer, the adapter all but every fourth."""
    right = f"the answer is {3 * n}"
    base, tuned = ("who knows", right)[n % 3 == 0], (right, "no")[n % 4 == 1]
    case = {"input": f"What is {n} times 3?", "expected_output": right}
    return {**case, "vanilla": base, "adapter": tuned, **changed}


def write_rows(file: Path, rows: list[dict[str, str]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def cases_of(file: Path) -> tuple[Case, ...]:
    return load_cases(CaseSource(str(file), columns=Columns(cluster="cluster"))).cases


def write_manifest(folder: Path, files: Mapping[str, Path]) -> None:
    folds = []
    for name, file in files.items():
        entry = fold_file(Path(name), file.name, file.read_text(), N)
        digests = tuple(question_digest(case) for case in cases_of(file))
        folds.append(ManifestFold(name, entry, entry, digests))
    (folder / "folds.json").write_text(manifest_text(folds))


@dataclass
class Made:
    """Three runs through the command line, and what is put together from them."""

    runs: list[Path]
    out: Path
    ended: Ended
    header: RunHeader


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("folds")
    files = {}
    for at, name in enumerate(NAMES):
        rows = [make_row(n) for n in range(at * N, at * N + N)]
        files[name] = write_rows(folder / "data" / name / "test.jsonl", rows)
    write_manifest(folder / "data", files)
    runs = []
    for name, file in files.items():
        sides = [f"--recorded={side}={file}:{side}" for side in ("vanilla", "adapter")]
        options = ("--dataset_name", str(file), "--predefined_tasks", "Token F1, Exact Match")
        ended = main("run", *sides, *options, "--out", str(folder / name))
        assert ended.code == 0, ended.err
        runs.append(folder / name)
    out = folder / "pooled"
    ended = main("compare", "--folds", *map(str, runs), "--out", str(out))
    assert ended.code == 0, ended.err
    with closing(Journal(runs[0])) as journal:
        return Made(runs, out, ended, journal.header)


class Folds:
    """Journals of runs, written without running anything."""

    def __init__(self, folder: Path, header: RunHeader) -> None:
        self.folder, self.header, self.runs = folder, header, list[Path]()

    def add(self, name: str, rows: list[dict[str, str]], **changed: Any) -> Path:
        """Write a run; `identity` and `params` are added, `marks` and `base` are its own."""
        file = write_rows(self.folder / "data" / name / "test.jsonl", rows)
        params = {"dataset_name": str(file), **changed.pop("params", {})}
        marks, base_id = changed.pop("marks", None), changed.pop("base", "base")
        base, tuned = self.header.variants
        header = replace(
            self.header,
            run_id=name,
            identity={**self.header.identity, **changed.pop("identity", {})},
            params={**self.header.params, **params},
            variants=(replace(base, id=base_id), replace(tuned, id=f"tuned {name}")),
        )
        cases, run = cases_of(file), self.folder / name
        with closing(Journal(run)) as journal:
            journal.begin(replace(header, **changed), cases, ())
            for case, row in zip(cases, rows, strict=True):
                for variant in ("vanilla", "adapter"):
                    text = row[variant]
                    made = Completion(case.id, variant, text, (), None, None, None)
                    journal.add_answer(f"{name} {case.id} {variant}", made, shared=False)
                    value = float(text == row["expected_output"])
                    for metric in ("Token F1", "Exact Match"):
                        journal.add_score(Score(case.id, variant, metric, value))
            if marks is not None:
                facts = TrainingFacts(("train.jsonl",), name, 40, marks=marks)
                journal.save_state(RunState(training=facts))
        self.runs.append(run)
        return run

    def add_three(self, n: int = N, **changed: Any) -> None:
        for at, name in enumerate(NAMES):
            self.add(name, [make_row(n) for n in range(at * n, at * n + n)], **changed)

    def pool(self, *words: str) -> Pooled:
        wanted = [("", run, "") for run in self.runs]
        return pool_folds([*wanted, *(("", Path(word), "") for word in words)], "")

    def refused(self, *words: str) -> str:
        with pytest.raises(VerdictError) as caught:
            self.pool(*words)
        return str(caught.value)


@pytest.fixture
def folds(made: Made, tmp_path: Path) -> Folds:
    return Folds(tmp_path, made.header)


def values_of(found: Pooled) -> list[float]:
    return [one.value for (_, name), one in found.sides[-1].scores.items() if name == "Token F1"]


def test_every_case_counts_once_with_the_score_of_its_own_adapter(made: Made) -> None:
    found = summary(made.out)
    (row,) = (r for r in found["comparisons"] if r["role"] == "primary" and r["group"] == "all")
    assert (row["metric"], row["variant"], row["n"]) == ("Token F1", "adapter (folds)", 36)
    given = {}
    for run in made.runs:
        with closing(Journal(run)) as journal:
            inputs = {case.id: case.input for case in journal.cases()}
            for one in journal.scores():
                given[inputs[one.case_id], one.variant, one.metric] = one.value
    with (made.out / "03_cases.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 72
    for one in rows:
        for column, variant in (("score", "adapter"), ("baseline_score", "vanilla")):
            assert float(one[column]) == pytest.approx(given[one["input"], variant, one["metric"]])
    gains = [
        given[text, "adapter", "Token F1"] - given[text, "vanilla", "Token F1"]
        for text, variant, metric in given
        if (variant, metric) == ("vanilla", "Token F1")
    ]
    assert row["gain"] == pytest.approx(sum(gains) / 36)


def test_the_verdict_says_what_it_is_about(made: Made) -> None:
    text = summary(made.out)["verdict"]["text"]
    assert "This verdict is about the recipe, not about one adapter: 3 adapters" in text
    assert "Gain on Token F1 by fold: fold_1 +0.4" in text and "fold_3 +0.4" in text
    assert "The gains of the folds differ no more than chance explains (p=" in text
    assert "any two adapters share 50% of their training rows" in text
    assert "What ships is one adapter that is trained with this recipe on all rows" in text
    assert "was not checked: their runs named no --train_data" in made.ended.out
    assert "nobody can check that the base" in made.ended.out
    assert (made.out / "verdict.txt").read_text().count("about the recipe") == 1


def test_tables_picture_and_page_show_the_folds(made: Made) -> None:
    with (made.out / "14_folds.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["fold"], row["n"], row["metric"]) for row in rows] == [
        *((name, "12", "Token F1") for name in NAMES),
        ("all", "36", "Token F1"),
    ]
    found = summary(made.out)["folds"]
    assert [row["name"] for row in found["gains"]["rows"]] == [*NAMES]
    assert 0 < found["gains"]["homogeneity"]["p_value"] <= 1
    assert "fold_2" in (made.out / "folds.svg").read_text()
    page = (made.out / "report.html").read_text()
    assert 'id="folds"' in page and "fold_3" in page


def test_report_gate_and_history_go_on_with_it(made: Made, tmp_path: Path) -> None:
    before = summary(made.out)["verdict"]
    assert main("report", str(made.out), "--out", str(tmp_path / "r")).code == 0
    assert summary(tmp_path / "r")["verdict"] == before
    gate = main("gate", str(made.out), "--require", "better")
    assert gate.code == 0, gate.out + gate.err
    history = main("history", str(made.out.parent), "--out", str(tmp_path / "h"))
    assert history.code == 0 and "adapter (folds)" in history.out
    resumed = main("resume", str(made.out))
    assert resumed.code == 2 and "compare them again" in resumed.err
    again = main("compare", "--folds", str(made.out), str(made.runs[0]))
    assert again.code == 2 and "holds a comparison of earlier results" in again.err


def test_mistakes_of_the_command_line(made: Made) -> None:
    first, second, _ = map(str, made.runs)
    for words, message in (
        ([], "needs the runs of two folds or more"),
        ([first], "needs the runs of two folds or more"),
        ([first, first], "are the same run"),
        ([first, "nowhere"], "nowhere holds no journal.sqlite"),
        ([first, f"{second}#lora"], "has no tuned model 'lora'; it has adapter"),
        ([first, f"{second}#vanilla"], "has no tuned model 'vanilla'"),
        ([first, second, "--margin", "a=1"], "--margin is for scores of other tools"),
        ([first, second, "--primary_metric", "Tokn F1"], "did you mean 'Token F1'?"),
    ):
        ended = main("compare", "--folds", *words, "--out", str(made.out.parent / "o"))
        assert ended.code == 2 and message in ended.err, (words, ended.err)
        assert "Traceback" not in ended.err
    assert not (made.out.parent / "o").exists()


def test_missing_folds_are_named(made: Made) -> None:
    facts = pool_folds([("", run, "") for run in made.runs[:2]], "").facts
    assert (facts.n_folds, facts.missing) == (3, ("fold_3",))


def test_without_a_manifest_folds_are_named_after_their_runs(folds: Folds) -> None:
    folds.add_three()
    found = folds.pool()
    assert any("nobody knows whether folds are missing" in note for note in found.sides[0].notes)
    ids = {case_id for fold in found.facts.folds for case_id in fold.case_ids}
    assert len(ids) == 36 and "fold_2/1" in ids  # each run counted its rows from 1
    assert {case.id for case in common_cases(found.sides).values()} == ids


def mark(name: str, kind: Any) -> CaseMark:
    return CaseMark(name, kind, 1.0, "train.jsonl, row 7")


def test_cases_in_the_training_data_of_their_adapter_are_left_out(folds: Folds) -> None:
    copied = (mark("2", "copied"), mark("3", "copied"), mark("4", "near"), mark("5", "clean"))
    folds.add("a", [make_row(n) for n in range(12)], marks=copied)
    folds.add("b", [make_row(n) for n in range(20, 32)], marks=())
    found = folds.pool()
    assert (
        "2 cases of a stand in the training data of its adapter and are left out: 2, 3"
        in (found.sides[0].notes[0])
    )
    assert len(values_of(found)) == 22
    assert found.facts.folds[0].n_left_out == 2 and "a/2" not in found.facts.folds[0].case_ids
    assert sorted(one.mark for one in found.sides[-1].marks.values()) == ["clean", "near"]


def test_marks_of_some_folds_alone_decide_nothing(folds: Folds) -> None:
    """Else the cases of the other folds would count as what they were never looked at for."""
    near = tuple(mark(str(n), "near") for n in range(1, 9))
    folds.add("a", [make_row(n) for n in range(12)], marks=near)
    folds.add("b", [make_row(n) for n in range(20, 32)])
    found = folds.pool()
    assert found.sides[-1].training is None and not found.sides[-1].marks
    assert any("saw their cases" in note and " b " in note for note in found.sides[0].notes)


def test_an_adapter_that_was_trained_on_its_own_fold_is_refused(folds: Folds) -> None:
    folds.add("a", [make_row(n) for n in range(12)], marks=())
    marks = tuple(mark(str(n), "copied") for n in range(1, 8))
    folds.add("b", [make_row(n) for n in range(20, 32)], marks=marks)
    told = folds.refused()
    assert "7 of the 12 cases of" in told and "train.jsonl, row 7" in told
    assert "trained on this fold" in told


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"identity": {"max_tokens": 7}}, "max_tokens (256 and 7)"),
        ({"identity": {"judge": "b"}}, "judge ('none' and 'b')"),
        ({"identity": {"versions of metrics": {"Token F1": 9}}}, "Token F1: version ("),
        ({"primary_metric": "Exact Match"}, "the metric that decides (Token F1 and Exact Match"),
        ({"base": "other"}, "the base (recorded in test.jsonl, column vanilla, base, and"),
    ],
)
def test_what_differs_is_refused_with_both_values(
    folds: Folds, changed: dict[str, Any], message: str
) -> None:
    local = {"params": {"recorded": []}}
    first = folds.add("a", [make_row(n) for n in range(4)], **local)
    other = folds.add("b", [make_row(n) for n in range(9, 14)], **local, **changed)
    told = folds.refused()
    assert message in told
    assert str(other) in told and str(first) in told


def test_the_same_adapter_twice_is_refused(folds: Folds) -> None:
    variants = (folds.header.variants[0], replace(folds.header.variants[1], adapter_digest="d"))
    for at, name in enumerate("ab"):
        folds.add(name, [make_row(10 * at + n) for n in range(5)], variants=variants)
    assert "have the same adapter (adapter, d)" in folds.refused()


def test_an_unfinished_run_is_refused(folds: Folds) -> None:
    folds.add_three()
    with closing(Journal(folds.runs[1])) as journal:
        journal._query("DELETE FROM scores WHERE case_id = '3'")
        journal.save_state(RunState(halted="--max_calls reached"))
    assert "not finished (--max_calls reached; raise that limit): 1 of 12 cases" in folds.refused()
    with closing(Journal(folds.runs[1])) as journal:
        journal.save_state(RunState(stopped_early=True))
    assert "stopped early" in folds.refused()
    with closing(Journal(folds.runs[0])) as journal:
        journal.lock()
        assert "another process is working in" in folds.refused()


def test_a_run_of_a_newer_version_is_refused(folds: Folds) -> None:
    folds.add_three()
    with closing(Journal(folds.runs[1])) as journal:
        journal._query("UPDATE meta SET body = '9' WHERE name = 'schema_version'")
    assert "fold_2" in folds.refused() and "version" in folds.refused()


def test_a_run_of_the_base_alone_is_refused(folds: Folds) -> None:
    folds.add_three()
    with closing(Journal(folds.runs[2])) as journal:
        header = replace(journal.header, variants=journal.header.variants[:1])
        journal.begin(header, journal.cases(), ())
    assert "a fold needs the base and a tuned model" in folds.refused()


def test_a_case_in_two_folds_is_refused(folds: Folds) -> None:
    folds.add("a", [make_row(n) for n in range(5)])
    folds.add("b", [make_row(3, input="what is 3  TIMES 3"), *(make_row(n) for n in range(9, 12))])
    told = folds.refused()
    assert "1 case is in two folds" in told
    assert f"case 4 of {folds.runs[0]} is case 1 of {folds.runs[1]}" in told


def test_a_cluster_in_two_folds_is_refused(folds: Folds) -> None:
    for at, name in enumerate("ab"):
        rows = [make_row(n, cluster=f"fact {n % 7}") for n in range(60 + 9 * at, 69 + 9 * at)]
        folds.add(name, rows)
    told = folds.refused()
    assert "clusters are split between folds" in told and "fact 0 (" in told


def test_names_of_repeats_say_nothing_over_folds(folds: Folds) -> None:
    """Each run names such a cluster after the id of a case, here a row number."""
    for at, name in enumerate("ab"):
        rows = [make_row(n) for n in range(60 + 9 * at, 69 + 9 * at)]
        folds.add(name, [rows[0], *rows])
    found = folds.pool()
    clusters = [case.cluster for case in common_cases(found.sides).values() if case.cluster]
    assert len(clusters) == 4 and len(set(clusters)) == 2


def test_a_run_of_two_folds_and_two_runs_of_one(folds: Folds, made: Made) -> None:
    data = made.runs[0].parent / "data"
    (folds.folder / "data").mkdir()
    (folds.folder / "data" / "folds.json").write_bytes((data / "folds.json").read_bytes())
    folds.add("mixed", [make_row(n) for n in range(N - 2, N + 2)])
    folds.add("third", [make_row(n) for n in range(30, 35)])
    assert "has cases of several folds: fold_1 (such as case 1), fold_2" in folds.refused()
    folds.runs.pop(0)
    folds.add("again", [make_row(n) for n in range(27, 29)])
    assert "are both of fold_3; name one of them" in folds.refused()


def test_a_part_of_a_fold_and_a_manifest_that_is_none(folds: Folds, made: Made) -> None:
    manifest = made.runs[0].parent / "data" / "folds.json"
    (folds.folder / "data").mkdir()
    copy = folds.folder / "data" / "folds.json"
    copy.write_bytes(manifest.read_bytes())
    folds.add("a", [make_row(n) for n in range(5)])
    folds.add("b", [make_row(n) for n in (500, *range(12, 24))])
    notes = " ".join(folds.pool().sides[0].notes)
    assert "fold_1 has 12 cases, and its run 5 of them" in notes
    assert "1 of the 13 cases of fold_2 are not in" in notes
    for text, message in (("{}", "is no list of folds"), ('{"format":9,"folds":[]}', "format 9")):
        copy.write_text(text)
        assert message in folds.refused()


def test_adapters_that_differ_are_pointed_out(folds: Folds, tmp_path: Path) -> None:
    for at, name in enumerate("abc"):
        right = {"adapter": "no"} if at == 2 else {}
        rows = [make_row(n, vanilla="no", **right) for n in range(100 + 30 * at, 120 + 30 * at)]
        folds.add(name, rows)
    out = tmp_path / "pooled"
    ended = main("compare", "--folds", *map(str, folds.runs), "--out", str(out))
    assert ended.code == 0, ended.err
    text = summary(out)["verdict"]["text"]
    assert "The gains of the folds differ more than chance explains (p" in text
    assert "so the interval above is too narrow for the next adapter" in text
    assert "With the fold as the unit, which allows for adapters that differ, the gain is" in text


def test_folds_of_conversations_are_found_in_their_list(tmp_path: Path) -> None:
    """Each turn is a case, and the list has each conversation once."""
    rows = [
        {
            "messages": [{"role": "user", "content": text} for text in (f"What is {n}?", "Why?")]
            + [{"role": "assistant", "content": f"It is {n}."}]
        }
        for n in range(14)
    ]
    pool = write_rows(tmp_path / "chats.jsonl", rows)  # type: ignore[arg-type]
    out = tmp_path / "folds"
    assert main("cases", "build", str(pool), "--folds", "2", "--out", str(out)).code == 0
    runs = []
    for name in ("fold_1", "fold_2"):
        data, said = out / name / "test.jsonl", tmp_path / f"{name}.jsonl"
        made = [{"id": case["id"], "a": ["x", "y"], name: ["z", "It"]} for case in read_jsonl(data)]
        said.write_text("".join(json.dumps(row) + "\n" for row in made))
        sides = [f"--recorded={side}={said}:{side}" for side in ("a", name)]
        options = ("--dataset_name", str(data), "--predefined_tasks", "Token F1")
        ended = main("run", *sides, *options, "--out", str(tmp_path / "runs" / name))
        assert ended.code == 0, ended.err
        runs.append(str(tmp_path / "runs" / name))
    ended = main("compare", "--folds", *runs, "--out", str(tmp_path / "all"))
    assert ended.code == 0, ended.err
    assert "n=14" in ended.out and "folds.json" not in ended.out


def read_jsonl(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]
