"""Logs as other tools write them; those of lm-eval and Inspect come from their own writers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from plugin.errors import DataError, OptionError
from plugin.history.scored import ScoredFile, as_score, make_specs
from plugin.history.scored_layouts import read_scored
from tests.capability.local_tasks import PETS, write_tasks

LOGS = Path(__file__).parent / "logs"


@pytest.fixture(scope="module")
def lm_eval_logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples as lm-eval's own tracker writes them."""
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    folder = tmp_path_factory.mktemp("lm_eval")
    write_tasks(folder / "tasks")
    tasks = TaskManager(include_path=str(folder / "tasks"), include_defaults=False)
    tracker = EvaluationTracker(output_path=str(folder / "logs"))
    found = simple_evaluate(
        model="dummy",
        tasks=["pets", "shows"],
        task_manager=tasks,
        evaluation_tracker=tracker,
        bootstrap_iters=0,
    )
    assert found is not None
    samples = found["samples"]
    tracker.save_results_aggregated(results=found, samples=samples)
    for name, rows in samples.items():
        tracker.save_results_samples(task_name=name, samples=rows)
    return folder / "logs"


def one(folder: Path, name: str) -> Path:
    (found,) = folder.rglob(f"samples_{name}_*.jsonl")
    return found


def write_lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_samples_of_lm_eval(lm_eval_logs: Path) -> None:
    found = read_scored(one(lm_eval_logs, "pets"))
    assert found.tool == "lm-eval" and len(found.items) == len(PETS)
    assert {item.group for item in found.items} == {"pets"}
    assert [item.name for item in found.items] == [f"pets/{i}" for i in range(len(PETS))]
    assert found.items[0].question == "Question: Which one barks?\nAnswer:"
    assert all(set(item.scores) == {"acc", "acc_norm"} for item in found.items)
    assert all(value in (0.0, 1.0) for item in found.items for value in item.scores.values())
    shows = read_scored(one(lm_eval_logs, "shows"))
    assert shows.items[0].answer is not None and shows.items[0].expected == "Kumail Nanjiani"


def test_an_item_keeps_its_key_when_rows_are_added_before_it(
    lm_eval_logs: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in one(lm_eval_logs, "pets").read_text().splitlines()]
    moved = [{**row, "doc_id": row["doc_id"] + 7} for row in rows]
    later = write_lines(tmp_path / "samples_pets_2026.jsonl", *moved)
    before = [item.key for item in read_scored(one(lm_eval_logs, "pets")).items]
    assert [item.key for item in read_scored(later).items] == before


def test_items_with_equal_content_stay_apart(tmp_path: Path) -> None:
    row = {"doc_id": 0, "doc": {}, "resps": [], "doc_hash": "a", "metrics": ["acc"], "acc": 1.0}
    path = write_lines(tmp_path / "samples_x_1.jsonl", row, {**row, "doc_id": 1, "acc": 0.0})
    found = read_scored(path)
    assert [item.scores["acc"] for item in found.items] == [1.0, 0.0]


def test_scores_of_several_filters_stay_apart(tmp_path: Path) -> None:
    row = {"doc_id": 0, "doc": {}, "resps": [["4"]], "doc_hash": "a", "metrics": ["exact_match"]}
    strict, loose = ({**row, "filter": n, "exact_match": v} for n, v in (("strict", 0), ("any", 1)))
    (item,) = read_scored(write_lines(tmp_path / "samples_x_1.jsonl", strict, loose)).items
    assert item.scores == {"exact_match (strict)": 0.0, "exact_match (any)": 1.0}


@pytest.mark.parametrize("file", ["inspect_base.eval", "inspect_tuned.json"])
def test_logs_of_inspect(file: str) -> None:
    """A zip file with zstd and a plain document; both with two epochs."""
    found = read_scored(LOGS / file)
    assert (found.tool, found.model) == ("Inspect", "mockllm/model")
    right = {"inspect_base.eval": {"q0", "1"}}.get(file) or {"q0", "1", "q2", "3", "q4", "5"}
    assert {item.name for item in found.items if item.scores["match"] == 1} == right
    first = next(item for item in found.items if item.name == "q2")
    assert (first.question, first.expected, first.group) == ("What is 2+2?", "4", "sums")
    assert first.scores["style/tone"] == 0.25 and first.reasons["style/form"] == "short and plain"
    assert "mean of its readings" in found.notes[0]


def test_the_two_logs_of_inspect_have_the_same_items() -> None:
    base, tuned = (read_scored(LOGS / f"inspect_{n}") for n in ("base.eval", "tuned.json"))
    assert {item.key for item in base.items} == {item.key for item in tuned.items}


def promptfoo_row(test: int, provider: str, success: bool, **more: Any) -> dict[str, Any]:
    return {
        "testIdx": test,
        "promptIdx": 0,
        "provider": {"id": provider, "label": ""},
        "prompt": {"raw": f"Say {test}", "label": "Say {{n}}"},
        "vars": {"n": test},
        "success": success,
        "score": 0.75 if success else 0.25,
        "namedScores": {"tone": 0.5},
        "gradingResult": {"pass": success, "score": 1, "reason": "as asked"},
        "response": {"output": f"{test}!"},
        **more,
    }


PROMPTFOO = [promptfoo_row(i, p, p == "b") for i in range(3) for p in ("a", "b")]


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_results_of_promptfoo(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"results.{suffix}"
    if suffix == "json":
        path.write_text(
            json.dumps({"evalId": "e", "results": {"version": 3, "results": PROMPTFOO}})
        )
    else:
        write_lines(path, *PROMPTFOO)
    with pytest.raises(DataError, match=r"results of 2 models or prompts; name one: .*#a \| Say"):
        read_scored(path)
    found = read_scored(path, "b")
    assert [item.scores for item in found.items] == [{"pass": 1, "score": 0.75, "tone": 0.5}] * 3
    assert (found.items[2].question, found.items[2].answer) == ("Say 2", "2!")
    assert found.items[0].reasons == {"pass": "as asked"}


def test_an_error_of_promptfoo_is_no_score(tmp_path: Path) -> None:
    row = promptfoo_row(0, "a", False, gradingResult=None, error="API error: 500")
    (item,) = read_scored(write_lines(tmp_path / "r.jsonl", row)).items
    assert item.scores["pass"] is None and item.problem == "API error: 500"


def test_a_log_of_openai_evals(tmp_path: Path) -> None:
    def event(number: int, sample: str, kind: str, data: object) -> dict[str, Any]:
        return {"run_id": "r", "event_id": number, "sample_id": sample, "type": kind, "data": data}

    path = write_lines(
        tmp_path / "log.jsonl",
        {"spec": {"completion_fns": ["gpt-x"], "eval_name": "sums.dev.v0"}},
        event(0, "sums.dev.0", "sampling", {"prompt": "1+1", "sampled": ["2"]}),
        event(1, "sums.dev.0", "match", {"correct": True, "expected": "2", "picked": "2"}),
        event(2, "sums.dev.1", "metrics", {"accuracy": 0.5, "note": "half"}),
        {"final_report": {"accuracy": 0.75}},
    )
    found = read_scored(path)
    assert (found.tool, found.model) == ("OpenAI evals", "gpt-x")
    assert [item.scores for item in found.items] == [{"correct": 1.0}, {"accuracy": 0.5}]
    assert (found.items[0].question, found.items[0].answer) == ("1+1", "2")


def test_a_table(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("id,question,f1,ok,remark\na,Why?,0.5,true,fine\nb,How?,,false,\n")
    found = read_scored(path)
    assert [item.scores for item in found.items] == [{"f1": 0.5, "ok": 1}, {"f1": None, "ok": 0}]
    assert found.items[0].question == "Why?"


@pytest.mark.parametrize("empty", ["nan", "inf", "-Infinity", "None", "N/A"])
def test_a_cell_without_a_number_does_not_hide_its_column(tmp_path: Path, empty: str) -> None:
    """One item that failed is one score less; the metric stays."""
    (table := tmp_path / "t.csv").write_text(f"id,acc,note\na,0.5,x\nb,{empty},{empty}\n")
    assert [dict(one.scores) for one in read_scored(table).items] == [{"acc": 0.5}, {"acc": None}]
    (lines := tmp_path / "t.jsonl").write_text('{"id": 1, "acc": 1}\n{"id": 2, "acc": NaN}\n')
    assert [dict(one.scores) for one in read_scored(lines).items] == [{"acc": 1}, {"acc": None}]


def test_a_log_that_was_cut_off_keeps_what_stands_before(
    lm_eval_logs: Path, tmp_path: Path
) -> None:
    text = one(lm_eval_logs, "pets").read_text()
    path = tmp_path / "samples_pets_1.jsonl"
    path.write_text(text[:-40])
    found = read_scored(path)
    assert len(found.items) == len(PETS) - 1
    assert "1 line is no JSON object (was the file cut off?)" in found.notes[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", "no column id"),
        ("a.jsonl", b"not json\n", "no column id"),
        ("a.json", b"{", "cannot be read as scores"),
        ("a.json", b'{"a": 1}', "no rows"),
        ("a.json", b"[" * 9000, "cannot be read"),
        ("a.csv", b"id,text\n1,x\n", "no column of numbers"),
        ("a.csv", b"\xff\xfe\x00", "UTF-8"),
        ("a.eval", b"PK", "no whole zip file"),
        ("a.eval", (LOGS / "inspect_base.eval").read_bytes()[:9000], "no whole zip file"),
        ("a.xyz", b"hello", "files that end in .xyz are not known"),
    ],
)
def test_what_is_no_log_is_refused_with_the_known_formats(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message.replace("(", r"\(")):
        read_scored(path)


def test_a_damaged_member_of_a_zip_file_is_told(tmp_path: Path) -> None:
    data = bytearray((LOGS / "inspect_base.eval").read_bytes())
    place = data.find(b"samples/") + 60
    data[place : place + 200] = bytes(200)
    (tmp_path / "a.eval").write_bytes(data)
    with pytest.raises(DataError, match="cannot be read as scores"):
        read_scored(tmp_path / "a.eval")


@pytest.mark.parametrize(
    ("value", "score"),
    [(True, 1.0), ("False", 0.0), (3, 3.0), ("0.5", 0.5), ("", None), (None, None), ("nan", None)]
    + [(float("inf"), None), ([1], None), ("yes", None)],
)
def test_a_cell_is_a_score_or_none(value: object, score: float | None) -> None:
    assert as_score(value) == score


def table(**columns: list[float]) -> ScoredFile:
    from plugin.history.scored import ScoredItem

    n = len(next(iter(columns.values())))
    rows = [{name: values[i] for name, values in columns.items()} for i in range(n)]
    return ScoredFile("t", tuple(ScoredItem(str(i), str(i), "", r) for i, r in enumerate(rows)))


def test_directions_and_margins_of_metrics() -> None:
    files = [table(acc=[0, 1], wer=[0.1, 0.2], rouge1=[20, 30], mine=[0.5, 0.5])] * 2
    acc, wer, rouge, mine = make_specs(files, [], {})
    assert [acc.higher_is_better, wer.higher_is_better] == [True, False]
    assert acc.decides and (acc.low, acc.high, acc.margin) == (0, 1, 0.05)
    assert not rouge.decides and rouge.caveat and mine.higher_is_better
    *_, rouge, mine = make_specs(files, ["mine"], {"rouge1": 2})
    assert rouge.decides and rouge.margin == 2 and not mine.higher_is_better
    with pytest.raises(OptionError, match="no metric 'bleu' is in all files; they have acc"):
        make_specs(files, ["bleu"], {})
    with pytest.raises(DataError, match="no metric in common: acc"):
        make_specs([table(acc=[1]), table(f1=[1])], [], {})
