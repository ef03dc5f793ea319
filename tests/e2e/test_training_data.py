"""Runs that name their training data, from the command to the files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from demo import FOLDER
from plugin.journal import Journal
from plugin.report.run_record import records_of
from tests.e2e.conftest import demo_options, main, summary
from tests.inference_server import BASE, TUNED, InferenceServer
from tests.judge_server import JudgeServer, Reply

TRAIN = str(FOLDER / "train.jsonl")


def overlaps(run: Path) -> list[dict[str, str]]:
    with (run / "09_overlap.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_demo_finds_the_twenty_trained_facts(demo_run: Path) -> None:
    found = summary(demo_run)["memorisation"]
    copied = {row["id"] for row in overlaps(demo_run) if row["mark"] == "copied"}
    assert copied == {f"trained-{n:02d}" for n in range(1, 21)}
    assert found["counts"]["clean"] >= 18
    recited = {view["variant"]: view["n_whole"] for view in found["recitals"]}
    assert recited["vanilla"] == 0 and recited["adapter"] >= 19


def test_the_demos_picture_tells_the_story(demo_run: Path) -> None:
    (gap,) = summary(demo_run)["memorisation"]["gaps"]
    trained, rephrased, unseen = (
        gap["sides"][side]["mean"] for side in ("trained", "rephrased", "unseen")
    )
    assert trained > rephrased > 4 * unseen
    assert gap["word"] == "partly generalised"
    svg = (demo_run / "memorisation.svg").read_text(encoding="utf-8")
    page = (demo_run / "report.html").read_text(encoding="utf-8")
    assert "adapter: partly generalised" in svg
    assert 'id="memorisation"' in page and "How far the gain carries" in page


def test_what_decides_in_the_first_picture_are_the_clean_cases(demo_run: Path) -> None:
    svg = (demo_run / "verdict.svg").read_text(encoding="utf-8")
    first = svg[svg.index(">Decides<") : svg.index(">Must not get worse<")]
    rest = svg[svg.index(">Exploratory: shows where to look<") :]
    assert "clean cases, n=" in first and "can&#x27;t tell" in first.replace("'", "&#x27;")
    assert "all cases, n=60" in rest
    (row,) = (
        row
        for row in summary(demo_run)["memorisation"]["deciding"]
        if (row["role"], row["group"]) == ("primary", "all")
    )
    assert row["outcome"] == summary(demo_run)["verdict"]["outcome"]


def test_the_table_of_comparisons_has_clean_and_copied_cases(demo_run: Path) -> None:
    with (demo_run / "02_comparison.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "Correctness"]
    own = {row["group"]: (row["role"], row["verdict"], row["n"]) for row in rows}
    assert next(iter(own.items())) == ("all", ("primary", "better", "60"))
    assert own["clean cases"] == ("primary", "can't tell", "20")
    assert own["copied cases"] == own["near cases"] == ("exploratory", "better", "20")
    assert not any("," in group for group in own)
    labels = [row["label"] for row in rows]
    assert "Correctness: adapter vs vanilla / clean cases" in labels
    svg = (demo_run / "verdict.svg").read_text(encoding="utf-8")
    assert ">copied cases, n=20<" in svg and ">near cases, n=20<" in svg


def test_the_history_tells_what_the_verdict_tells(demo_run: Path) -> None:
    """A gain on copied cases is no gain; the record is that on the clean ones."""
    (record,) = records_of(summary(demo_run), demo_run, "2026-01-01")
    assert (record.n, record.outcome) == (20, "can't tell")
    assert record.gain is not None and abs(record.gain) < 0.1


def test_the_training_data_may_be_added_to_a_run_that_is_there(tmp_path: Path) -> None:
    first = main(*demo_options(tmp_path / "run"))
    assert first.code == 0, first.err
    assert summary(tmp_path / "run")["memorisation"] is None
    second = main(*demo_options(tmp_path / "run"), "--train_data", TRAIN, "--train_draw", "3")
    assert second.code == 0, second.err
    assert "continuing a run" in second.out
    found = summary(tmp_path / "run")["memorisation"]
    assert found["n_rows"] == 20
    assert [view["share"]["n"] for view in found["recitals"]] == [3, 3]


def test_a_resumed_run_makes_no_recital_twice(tmp_path: Path) -> None:
    options = [*demo_options(tmp_path / "run"), "--train_data", TRAIN, "--train_draw", "2"]
    assert main(*options).code == 0
    before = (tmp_path / "run" / "09_overlap.csv").read_bytes()
    again = main("resume", str(tmp_path / "run"))
    assert again.code == 0, again.err
    assert "ask for training rows" not in again.out
    assert (tmp_path / "run" / "09_overlap.csv").read_bytes() == before


def test_a_run_goes_on_when_its_training_data_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(Path(TRAIN).read_bytes())
    options = [*demo_options(tmp_path / "run"), "--train_data", str(path), "--train_draw", "2"]
    assert main(*options).code == 0
    before = (tmp_path / "run" / "09_overlap.csv").read_bytes()
    path.unlink()
    again = main("resume", str(tmp_path / "run"))
    assert again.code == 0, again.err
    assert (tmp_path / "run" / "09_overlap.csv").read_bytes() == before


def test_the_evaluation_set_as_training_data_gives_no_verdict(tmp_path: Path) -> None:
    ended = main(
        *demo_options(tmp_path / "run"),
        *("--train_data", str(FOLDER / "cases.jsonl"), "--train_draw", "0"),
    )
    assert ended.code == 0, ended.err
    assert "stand in the training data or are near to it" in ended.out
    assert summary(tmp_path / "run")["verdict"]["outcome"] == "can't tell"


def test_one_training_row_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps({"input": "What is up?", "expected_output": "Not much."}) + "\n")
    ended = main(*demo_options(tmp_path / "run"), "--train_data", str(path))
    assert ended.code == 0, ended.err
    found = summary(tmp_path / "run")["memorisation"]
    assert (found["n_rows"], found["counts"]["copied"], found["own_similarity"]) == (1, 0, None)


def test_recorded_completions_are_marked_too(tmp_path: Path) -> None:
    kept = json.loads((FOLDER / "recorded.json").read_text(encoding="utf-8"))["completions"]
    words = []
    for name in ("vanilla", "adapter"):
        path = tmp_path / f"{name}.jsonl"
        rows = [{"id": case_id, "output": text} for case_id, text in kept[name].items()]
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        words += ["--recorded", f"{name}={path}:output"]
    ended = main(
        *("run", "--dataset_name", str(FOLDER / "cases.jsonl"), *words),
        *("--predefined_tasks", "Token F1", "--train_data", TRAIN, "--out", str(tmp_path / "run")),
    )
    assert ended.code == 0, ended.err
    found = summary(tmp_path / "run")["memorisation"]
    assert found["counts"]["copied"] == 20
    assert found["recitals"] == []


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("train.jsonl", '{"a": 1}\n', "no column with training text"),
        ("train.jsonl", "", "is empty"),
        ("train.txt", "hello", "is not a data file"),
        ("missing.jsonl", None, "missing.jsonl does not exist"),
    ],
)
def test_what_is_no_training_data_is_refused_before_a_model_is_loaded(
    tmp_path: Path, name: str, text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text, encoding="utf-8")
    ended = main(*demo_options(tmp_path / "run"), "--train_data", str(tmp_path / name))
    assert (ended.code, said in ended.err) == (2, True), ended.err
    assert f"--train_data {tmp_path / name}" in ended.err
    assert "load model" not in ended.out


def test_the_facts_survive_in_the_journal(demo_run: Path) -> None:
    journal = Journal(demo_run)
    try:
        facts = journal.state.training
    finally:
        journal.close()
    assert facts is not None and facts.done == ("vanilla", "adapter")


def rephrasing(number: int, body: dict[str, Any]) -> Reply | None:
    """What a judge says that can rephrase; None for every other question."""
    prompt = body["messages"][0]["content"]
    if "<text>\n" not in prompt:
        return None
    asked = prompt.split("<text>\n")[1].split("\n</text>")[0]
    return Reply(text=json.dumps({"text": f"Please find this out for me: {asked}"}))


def test_a_judge_rephrases_and_its_calls_count_in_all_limits(
    tmp_path: Path, server: JudgeServer
) -> None:
    server.fault = rephrasing
    judged = {"judge": "custom:j", "predefined_tasks": "Correctness", "trust_report": "false"}
    options = [
        *demo_options(tmp_path / "run", **judged, judge_price="1,1", max_calls="5"),
        *("--train_data", TRAIN, "--train_draw", "3", "--paraphrase", "judge"),
    ]
    ended = main(*options, CUSTOM_JUDGE_BASE_URL=server.url)
    assert ended.code == 0, ended.err
    assert "rephrasing training questions: about 3 calls, " in ended.out
    assert len(server.requests) == 5 and "--max_calls 5 is reached" in ended.out
    found = summary(tmp_path / "run")
    assert found["provenance"]["judge_calls"]["n_calls"] == 5
    (said, *_) = found["memorisation"]["paraphrases"]
    assert said["text"].startswith("Please find this out for me: ")
    (gap,) = found["memorisation"]["gaps"]
    assert gap["sides"]["rephrased"]["n"] == 3
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "custom:j said 3 of 3 training questions in other words" in page
    options[options.index("5")] = "100"
    again = main(*options, CUSTOM_JUDGE_BASE_URL=server.url)
    assert again.code == 0, again.err
    assert "rephras" not in again.out.split("continuing a run")[1].split("judging: about")[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--judge", "offline"), "needs a judge that can write; the offline (smoke-test) judge"),
        (("--judge", ""), "needs a judge: name one with --judge"),
        (("--judge", "custom:j", "--train_data", ""), "give --train_data"),
    ],
)
def test_a_judge_that_cannot_rephrase_is_refused_at_once(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    given = ("--train_data", TRAIN) if "--train_data" not in words else ()
    ended = main(*demo_options(tmp_path / "run"), *given, *words, "--paraphrase", "judge")
    assert (ended.code, said in ended.err) == (2, True), ended.err
    assert "load model" not in ended.out


def test_a_server_recites_word_by_word_and_reads_no_likelihoods(
    inference: InferenceServer, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in Path(TRAIN).read_text(encoding="utf-8").splitlines()[:4]]
    rows.append({"text": "A plain text that no server can be given as tokens. " * 3})
    chats, plain = tmp_path / "train.jsonl", tmp_path / "plain.jsonl"
    chats.write_text("".join(f"{json.dumps(row)}\n" for row in rows[:4]), encoding="utf-8")
    plain.write_text(f"{json.dumps(rows[4])}\n", encoding="utf-8")
    served = {"server_url": inference.url, "model_name": BASE, "model_adapter": TUNED}
    words = ("--engine", "server", "--train_data", str(chats), str(plain))
    ended = main(*demo_options(tmp_path / "run", **served), *words, "--recite_prefix", "2")
    assert ended.code == 0, ended.err
    found = summary(tmp_path / "run")["memorisation"]
    recited = {view["variant"]: (view["n_whole"], view["share"]["n"]) for view in found["recitals"]}
    assert recited[TUNED] == (4, 4) and recited["vanilla"][0] == 0
    assert {one["unit"] for view in found["recitals"] for one in view["examples"]} == {"words"}
    assert found["gaps"] == [] and not (tmp_path / "run" / "memorisation.svg").exists()
    notes = " ".join(found["notes"])
    assert "--recite_prefix does nothing here" in notes
    assert "1 drawn rows of plain text need an engine that takes tokens" in notes
    n_asked = len(inference.requests)
    again = main("resume", str(tmp_path / "run"))
    assert again.code == 0, again.err
    assert len(inference.requests) == n_asked, "nothing is asked twice"
    refused = main(*demo_options(tmp_path / "o", **served), *words, "--paraphrase", "judge")
    assert (refused.code, "only an engine that holds the weights" in refused.err) == (2, True)


def test_a_server_that_refuses_some_training_rows_leaves_them_out(
    inference: InferenceServer, tmp_path: Path
) -> None:
    refused = json.loads(Path(TRAIN).read_text(encoding="utf-8").splitlines()[0])["messages"][0]

    def fault(number: int, body: dict[str, Any]) -> Reply | None:
        is_it = body["messages"][-1]["content"] == refused["content"]
        return Reply(status=400, text="too long") if is_it and body["max_tokens"] == 128 else None

    inference.fault = fault
    served = {"server_url": inference.url, "model_name": BASE, "model_adapter": TUNED}
    words = ("--engine", "server", "--train_data", TRAIN, "--train_draw", "20")
    ended = main(*demo_options(tmp_path / "run", **served), *words)
    assert ended.code == 0, ended.err
    found = summary(tmp_path / "run")["memorisation"]
    assert {view["share"]["n"] for view in found["recitals"]} == {19}
    assert any(
        "drawn rows could not be made" in note and "too long" in note for note in found["notes"]
    )
