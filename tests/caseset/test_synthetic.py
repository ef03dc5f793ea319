"""Questions that a judge writes: what is accepted, how they are marked, what a verdict says."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from plugin.caseset.synthetic import plan_questions, problem_with
from plugin.report.warnings import metric_notes
from tests.caseset.samples import pool_row, questions, write_questions, write_rows
from tests.e2e.conftest import main, summary
from tests.in_process import Ended
from tests.judge_server import JudgeServer, Reply, judge_server

EXAMPLES = ("What is the price of the blue lamp?", "How long does the delivery to Rome take?")
MAIL = "anna@mail.example.org"


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("Which warranty does the red chair have?", None),
        (" ?! ", "empty"),
        ("what is the price of the blue lamp", "is one of the examples"),
        ("How long? " * 200, "too long"),
        ("What is the weight?\nAnswer: 4 kg", "gives an answer"),
        ("What is the weight?\n**Antwort:** 4 kg", "gives an answer"),
        ("Wie lange dauert die Lieferung der Lampe nach Rom und in das Umland?", "language"),
        ("蓝色台灯的价格是多少呢", "language"),
        (f"Why did {MAIL} get no lamp?", "e-mail address"),
        ("The answer: is it in the box?", None),
    ],
)
def test_what_a_new_question_must_not_be(made: str, said: str | None) -> None:
    problem = problem_with(made, EXAMPLES)
    assert problem is None if said is None else said in str(problem)


def test_each_topic_gets_its_share_and_changing_examples() -> None:
    from dataclasses import replace

    rows = [replace(pool_row(text), topic="ab"[n % 4 == 0]) for n, text in enumerate(questions(20))]
    wanted = plan_questions(rows, 12, 0, 1, 12)
    assert [one.topic for one in wanted].count("a") == 9 and len(wanted) == 12
    assert [one.number for one in wanted] == [*range(1, 13)]
    assert len({one.prompt for one in wanted}) == 12
    assert len({one.examples for one in wanted}) > 4
    assert "<example>\nWhat about" in wanted[0].prompt
    told = plan_questions([replace(pool_row(f"Who is {MAIL}?"), topic="a")], 1, 0, 1, 1)
    assert "Who is [email]?" in told[0].prompt  # nobody else gets it
    tag = plan_questions([replace(pool_row("Why </example> no?"), topic="a")], 1, 0, 1, 1)
    assert "&lt;/example>" in tag[0].prompt


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with judge_server() as made:
        yield made


def writes(answer: Callable[[int], str]) -> Callable[[int, dict[str, Any]], Reply]:
    def fault(number: int, body: dict[str, Any]) -> Reply:
        return Reply(text=json.dumps({"text": answer(number)}))

    return fault


def build(server: JudgeServer, name: str, out: Path, *more: str, n: int = 6) -> Ended:
    words = ("cases", "build", name, "--out", str(out), "--topics", "1", "--n", "20")
    judge = ("--synthetic", str(n), "--judge", "custom:small")
    keys = {"CUSTOM_JUDGE_BASE_URL": server.url, "CUSTOM_JUDGE_API_KEY": "secret-key-1234"}
    return main(*words, *judge, *more, **keys)


def rows_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "cases.jsonl").read_text().splitlines()]


def test_written_questions_are_marked_and_counted_apart(
    server: JudgeServer, tmp_path: Path
) -> None:
    new = questions(200, 7)
    server.fault = writes(lambda n: new[n])
    name, out = write_questions(tmp_path / "a.jsonl", questions(20)), tmp_path / "set"
    ended = build(server, name, out)
    assert ended.code == 0, ended.err
    rows = rows_of(out)
    made = [row for row in rows if row.get("group") == "synthetic"]
    assert len(rows) == 26 and len(made) == 6
    for row in made:
        assert row["about"] == {"synthetic": "custom:small"}
        assert row["source"] == "written by custom:small" and row.get("expected_output") is None
        assert row.get("topic") == rows[0].get("topic") and row["input"] in new
    assert "writing questions: about 6 calls" in ended.out
    assert "6 questions written by a judge are in the group 'synthetic'" in ended.out
    assert "20 cases. The smallest gain" in ended.out  # what it finds, without them
    assert "20 -> 26 (6 written by a judge)" in ended.out
    assert "26 <span" in (page := (out / "coverage.html").read_text()) and "(6 by a judge)" in page
    assert all("<example>" in prompt for prompt in server.prompts)
    assert "secret-key" not in ended.out + (out / "manifest.json").read_text()


def test_a_stop_does_not_say_that_nothing_was_paid(
    server: JudgeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*given: object) -> None:
        raise KeyboardInterrupt

    said = list[str]()
    name, out = write_questions(tmp_path / "a.jsonl", questions(20)), tmp_path / "set"
    monkeypatch.setattr("plugin.caseset.asking._ask", stop)
    monkeypatch.setattr("plugin.hosts.folder.say", said.append)
    with pytest.raises(KeyboardInterrupt):
        build(server, name, out)
    assert "is asked anew (--cache_dir FOLDER would keep it)" in said[-1]
    with pytest.raises(KeyboardInterrupt):
        build(server, name, out, "--cache_dir", str(tmp_path / "cache"))
    assert "what the judge has answered comes from the cache" in said[-1]


def test_the_next_version_keeps_them(server: JudgeServer, tmp_path: Path) -> None:
    new = questions(200, 7)
    server.fault = writes(lambda n: new[n])
    name, out = write_questions(tmp_path / "a.jsonl", questions(30)), tmp_path / "set"
    assert build(server, name, out).code == 0
    before = {row["id"] for row in rows_of(out)}
    asked = len(server.requests)
    again = main("cases", "build", name, "--out", str(out), "--topics", "1", "--n", "24")
    assert again.code == 0, again.err
    rows = rows_of(out)
    assert len(server.requests) == asked and before <= {row["id"] for row in rows}
    assert len(rows) == 30 and sum(row.get("group") == "synthetic" for row in rows) == 6


def test_a_judge_that_is_gone_leaves_no_run_to_resume(server: JudgeServer, tmp_path: Path) -> None:
    name, out = write_questions(tmp_path / "a.jsonl", questions(20)), tmp_path / "set"
    server.fault = lambda number, body: Reply(drop=True)
    ended = build(server, name, out)
    assert ended.code == 1 and "build again" in ended.err and "resume" not in ended.err


def test_a_judge_that_ends_in_the_middle_leaves_what_it_wrote(
    server: JudgeServer, tmp_path: Path
) -> None:
    new = questions(200, 7)
    write = writes(lambda n: new[n])
    server.fault = lambda n, body: write(n, body) if n < 3 else Reply(drop=True)
    name, out = write_questions(tmp_path / "a.jsonl", questions(20)), tmp_path / "set"
    ended = build(server, name, out, "--concurrency", "1", n=30)
    assert ended.code == 0, ended.err
    made = [row["input"] for row in rows_of(out) if row.get("group") == "synthetic"]
    assert 0 < len(made) <= 3 and set(made) <= set(new)
    assert f"--synthetic 30: {len(made)} could be used (" in ended.out


def test_written_questions_of_another_set_come_once(tmp_path: Path) -> None:
    texts = questions(30)
    groups = [{"group": "synthetic"} if n % 3 == 0 else {} for n in range(30)]
    rows = [{"input": text, **group} for text, group in zip(texts, groups, strict=True)]
    words = (write_rows(tmp_path / "pool.jsonl", rows), "--out", str(tmp_path / "set"))
    assert "10 questions written by a judge" in main("cases", "build", *words).out
    again = main("cases", "build", *words)
    assert again.code == 0 and "Nothing changed: the folder keeps version 1." in again.out


def test_what_is_like_another_question_is_dropped(server: JudgeServer, tmp_path: Path) -> None:
    """Repeats and near-duplicates of the pool, the training data and each other."""
    pool, new = questions(20), questions(40, 7)
    trained = questions(3, 50)
    bad = [f"{text[:-1]} {word}?" for text, word in zip(pool, new[0].split()[2:8], strict=False)]
    given = [*bad[:3], new[0], new[0].upper(), trained[1], *new[1:20]]
    server.fault = writes(lambda n: given[n % len(given)])
    name = write_questions(tmp_path / "a.jsonl", pool)
    rows = [{"input": text, "output": "yes"} for text in trained]
    train = write_rows(tmp_path / "t.jsonl", rows)
    ended = build(server, name, tmp_path / "set", "--train", train, "--concurrency", "1")
    assert ended.code == 0, ended.err
    made = [row["input"] for row in rows_of(tmp_path / "set") if row.get("group") == "synthetic"]
    assert len(made) == 6 and set(made) <= {new[0], new[0].upper(), *new[1:20]}
    assert not {new[0], new[0].upper()} <= set(made)


def test_too_few_can_be_used(server: JudgeServer, tmp_path: Path) -> None:
    server.fault = writes(lambda n: "What about the same question as ever for a new lamp?")
    name, out = write_questions(tmp_path / "a.jsonl", questions(20)), tmp_path / "set"
    ended = build(server, name, out)
    assert ended.code == 0, ended.err
    assert "--synthetic 6: 1 could be used (" in ended.out
    assert "repeat another question" in ended.out
    server.fault = writes(lambda n: "The lamp?\nAnswer: yes")
    ended = build(server, name, tmp_path / "b")
    assert ended.code == 0, ended.err
    assert "--synthetic 6: 0 could be used" in ended.out
    assert '"text" gives an answer, too' in ended.out
    assert len(rows_of(tmp_path / "b")) == 20


def test_limits_end_it(server: JudgeServer, tmp_path: Path) -> None:
    new = questions(200, 7)
    server.fault = writes(lambda n: new[n])
    name = write_questions(tmp_path / "a.jsonl", questions(20))
    ended = build(server, name, tmp_path / "set", "--max_calls", "3", "--concurrency", "1")
    assert ended.code == 0, ended.err
    assert "--synthetic 6: 3 could be used" in ended.out and "--max_calls" in ended.out
    assert len(server.requests) == 3
    ended = build(server, name, tmp_path / "b", "--budget", "1")
    assert ended.code == 2 and "the price of custom:small is not known" in ended.err


def test_answers_are_kept_in_the_cache(server: JudgeServer, tmp_path: Path) -> None:
    new = questions(200, 7)
    server.fault = writes(lambda n: new[n])
    name, cache = write_questions(tmp_path / "a.jsonl", questions(20)), str(tmp_path / "cache")
    (tmp_path / "cache").mkdir()
    for out in "ab":
        ended = build(server, name, tmp_path / out, "--cache_dir", cache, "--concurrency", "1")
        assert ended.code == 0, ended.err
    assert len(server.requests) == 6
    assert rows_of(tmp_path / "a") == rows_of(tmp_path / "b")


def test_a_judge_that_does_not_answer(server: JudgeServer, tmp_path: Path) -> None:
    server.fault = lambda number, body: Reply(status=401, text="no")
    name = write_questions(tmp_path / "a.jsonl", questions(20))
    ended = build(server, name, tmp_path / "set")
    assert ended.code != 0 and "401" in ended.err and "Traceback" not in ended.err
    assert not (tmp_path / "set").exists() and "secret-key" not in ended.err


def test_mistakes(tmp_path: Path) -> None:
    name = write_questions(tmp_path / "a.jsonl", questions(20))
    for words, message in (
        (["--synthetic", "5"], "--synthetic needs a judge that writes"),
        (["--synthetic", "5", "--judge", "offline"], "only counts words"),
        (["--synthetic", "0", "--judge", "offline"], "--synthetic 0 must be 1 or more"),
        (["--judge", "offline"], "--judge is for the judge that writes questions"),
        (["--synthetic", "5", "--judge", "nobody:x"], "nobody"),
        (["--synthetic", "5", "--folds", "2"], "--synthetic has no meaning with --folds"),
    ):
        ended = main("cases", "build", name, *words, "--out", str(tmp_path / "o"))
        assert ended.code == 2 and message in ended.err, (words, ended.err)
    assert not (tmp_path / "o").exists()


def test_a_verdict_says_how_many_cases_are_synthetic(tmp_path: Path) -> None:
    rng = random.Random(0)
    rows = []
    for n in range(24):
        right = f"the answer is {n}"
        tuned = right if n < 16 or rng.random() < 0.5 else "no"
        group = "synthetic" if n >= 16 else "shop"
        case = {"input": f"What is {n}?", "expected_output": right, "group": group}
        rows.append({**case, "base": "the answer", "tuned": tuned})
    data = write_rows(tmp_path / "c.jsonl", rows)
    sides = [f"--recorded={side}={data}:{side}" for side in ("base", "tuned")]
    out = tmp_path / "run"
    ended = main("run", *sides, "--predefined_tasks", "Token F1", "--out", str(out))
    assert ended.code == 0, ended.err
    text = summary(out)["verdict"]["text"]
    assert "8 of the 24 cases on Token F1 are synthetic: a judge wrote their questions" in text
    assert "gain 0.00 on these, on the 16 real ones +0.50" in text


def test_no_word_of_it_without_such_cases() -> None:
    assert metric_notes((), (), ()) == []
