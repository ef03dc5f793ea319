"""The trust report of a whole run, under a judge that is honest, gullible or unsteady."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from plugin.trust.exam import CANARIES, EMPTY_PRAISE, NULL
from tests.e2e.conftest import demo_options, main, summary
from tests.judge_server import JudgeServer, Reply, answer

JUDGED = {"predefined_tasks": "Correctness, Token F1", "judge": "custom:judge", "max_tokens": "16"}


def run(out: Path, server: JudgeServer, **changed: str) -> str:
    ended = main(*demo_options(out, **JUDGED | changed), CUSTOM_JUDGE_BASE_URL=server.url)
    assert ended.code == 0, ended.err
    return ended.out


def gullible(number: int, body: dict[str, Any]) -> Reply | None:
    loved = CANARIES[EMPTY_PRAISE] in body["messages"][0]["content"]
    return Reply(text='{"score": 9, "reason": "how kind"}') if loved else None


def test_a_judge_that_fails_its_canaries_stands_in_the_first_line(
    server: JudgeServer, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    server.fault = gullible
    printed = run(out, server)
    head = "[judge custom:judge failed the wrong-answer test] "
    assert f"\n{head}" in printed
    found = summary(out)
    assert found["verdict"]["sentence"].startswith(head)
    first = found["verdict"]["details"][0]
    assert first.startswith("The judge custom:judge gave wrong answers too high scores.")
    assert 'on Correctness "empty praise" 0.90' in first
    assert {row["name"]: row["passed"] for row in found["trust"]["canaries"]} == {
        name: name != EMPTY_PRAISE for name in CANARIES
    }
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Can the judge be trusted?" in page and "✗ no" in page
    # All of it is in the journal: no judge is needed to tell it again.
    (out / "summary.json").unlink()
    server.fault = lambda n, body: Reply(status=500)
    asked = len(server.requests)
    assert main("report", str(out)).code == 0
    assert summary(out)["trust"] == found["trust"]
    assert len(server.requests) == asked


def always(score: int) -> Callable[[int, dict[str, Any]], Reply]:
    """Give every answer one score, with a reason of its own."""

    def judge(number: int, body: dict[str, Any]) -> Reply:
        reason = json.loads(answer(body))["reason"]
        return Reply(text=json.dumps({"score": score, "reason": reason}))

    return judge


def test_a_judge_that_gives_everything_the_lowest_score_is_not_trusted(
    server: JudgeServer, tmp_path: Path
) -> None:
    server.fault = always(0)
    run(tmp_path / "run", server, limit="0.2")
    found = summary(tmp_path / "run")
    assert found["verdict"]["sentence"].startswith(
        "[judge custom:judge gave right answers low scores] "
    )
    assert found["verdict"]["details"][0].startswith(
        "The judge custom:judge gave right answers low scores."
    )
    assert "passed the wrong-answer test" not in found["verdict"]["text"]
    assert all(row["passed"] for row in found["trust"]["canaries"])


def test_a_judge_that_gives_everything_the_highest_score_is_not_trusted(
    server: JudgeServer, tmp_path: Path
) -> None:
    server.fault = always(10)
    run(tmp_path / "run", server, limit="0.2")
    assert summary(tmp_path / "run")["verdict"]["sentence"].startswith(
        "[judge custom:judge failed the wrong-answer test and did not tell right answers from "
        "wrong ones] "
    )


def test_a_judge_with_one_reason_for_everything_is_not_trusted(
    server: JudgeServer, tmp_path: Path
) -> None:
    def judge(number: int, body: dict[str, Any]) -> Reply:
        return Reply(text=json.dumps({**json.loads(answer(body)), "reason": "Good answer."}))

    server.fault = judge
    run(tmp_path / "run", server, limit="0.2")
    assert summary(tmp_path / "run")["verdict"]["sentence"].startswith(
        "[judge custom:judge gave different answers the same reason] "
    )


def test_an_honest_and_steady_judge_is_told_as_such(server: JudgeServer, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(out, server, limit="0.5")
    found = summary(out)
    assert not found["verdict"]["sentence"].startswith("[")
    assert {(row["name"], row["mean"]) for row in found["trust"]["controls"]} == {
        ("expected output", 1.0),
        ("expected output in a frame", 1.0),
    }
    assert "The judge passed the right-answer test" in found["verdict"]["text"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "The answer is: …" in page
    (retest,) = found["trust"]["retests"]
    assert (retest["n"], retest["n_moved"], retest["n_failed"]) == (10, 0, 0)
    (row,) = found["trust"]["lengths"]
    assert (row["metric"], row["variant"], row["n"]) == ("Correctness", "adapter", 30)
    assert found["trust"]["humans"] == []
    assert "gave 10 scores a second time and changed none." in found["verdict"]["text"]


def test_an_unsteady_judge_is_seen(server: JudgeServer, tmp_path: Path) -> None:
    dice = random.Random(1)
    server.fault = lambda n, body: Reply(
        text=json.dumps({"score": dice.choice([1, 2, 3]), "reason": "as I feel"})
    )
    out = tmp_path / "run"
    run(out, server, limit="0.2")
    (retest,) = summary(out)["trust"]["retests"]
    assert retest["n_moved"] > 0 and 0 < retest["largest_change"] <= 0.2


def test_what_fails_in_the_exam_is_counted_and_ends_nothing(
    server: JudgeServer, tmp_path: Path
) -> None:
    server.fault = lambda n, body: (
        Reply(text="null") if "\nnull \n" in body["messages"][0]["content"] else None
    )
    out = tmp_path / "run"
    run(out, server)
    found = summary(out)
    lost = {row["name"]: (row["n"], row["n_failed"]) for row in found["trust"]["canaries"]}
    assert lost[NULL] == (0, 5) and lost[EMPTY_PRAISE] == (5, 0)
    assert found["failures"] == []


def test_it_is_left_out_when_not_wanted_and_can_be_had_later(
    server: JudgeServer, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run(out, server, trust_report="false")
    assert summary(out)["trust"] is None
    assert "trusted?" not in (out / "report.html").read_text(encoding="utf-8")
    asked = len(server.requests)
    run(out, server)
    assert len(summary(out)["trust"]["canaries"]) == 4
    assert 0 < len(server.requests) - asked <= 40


def test_the_offline_judge_and_no_judge_are_not_examined(tmp_path: Path) -> None:
    for name, options in (
        ("offline", {"predefined_tasks": "Correctness", "judge": "offline"}),
        ("none", {"predefined_tasks": "Token F1"}),
    ):
        assert main(*demo_options(tmp_path / name, **options)).code == 0
        assert summary(tmp_path / name)["trust"] is None


def rate(template: Path, filled: Path, value: Callable[[dict[str, str]], str]) -> None:
    """Fill a template in as a human would."""
    with template.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    with filled.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow(row | {"rating": value(row), "rater": "ann"})


def same_words(row: dict[str, str]) -> str:
    return "1" if row["output"].strip() == row["expected_output"].strip() else "0.2"


def test_human_ratings_from_draw_to_report(server: JudgeServer, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(out, server, limit="1", max_tokens="48")
    before = summary(out)
    ended = main("ratings", str(out), "--n", "40", "--seed", "3")
    assert ended.code == 0, ended.err
    assert "40 cases drawn" in ended.out and "Correctness: 0 is worst, 1 is best" in ended.out
    filled = tmp_path / "filled.csv"
    rate(out / "ratings_template.csv", filled, same_words)
    asked = len(server.requests)
    ended = main("report", str(out), "--human_ratings", str(filled))
    assert ended.code == 0, ended.err
    assert len(server.requests) == asked
    found = summary(out)
    (view,) = found["trust"]["humans"]
    assert view["metric"] == "Correctness" and view["n_raters"] == 1
    assert view["agreement"] > 0.9 and view["kappa"] > 0.8 and view["alpha"] > 0.8
    (row,) = view["corrections"]
    assert (row["n_labelled"], row["n_unrated"], row["n_all"]) == (40, 0, 60)
    gain = next(c for c in before["comparisons"] if c["metric"] == "Correctness")["gain"]
    assert row["judge_gain"] == gain and row["gain"] != gain
    assert found["verdict"]["sentence"] == before["verdict"]["sentence"]
    assert "corrected by human ratings: gain" in found["verdict"]["text"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Judge alone" in page and "Corrected" in page
    # The ratings are in the journal: neither a report nor a resume needs the file again.
    filled.unlink()
    assert main("report", str(out)).code == 0
    assert summary(out)["trust"] == found["trust"]


def test_stale_ratings_are_refused(server: JudgeServer, tmp_path: Path) -> None:
    first, other = tmp_path / "first", tmp_path / "other"
    run(first, server)
    run(other, server, max_tokens="2")
    assert main("ratings", str(other)).code == 0
    rate(other / "ratings_template.csv", tmp_path / "filled.csv", lambda row: "0.5")
    before = (first / "summary.json").read_bytes()
    ended = main("report", str(first), "--human_ratings", str(tmp_path / "filled.csv"))
    assert ended.code == 2
    assert "stale" in ended.err and "no rating of this file was used" in ended.err
    assert (first / "summary.json").read_bytes() == before


def test_ratings_given_to_a_run_are_checked_before_the_judge_is_paid(
    server: JudgeServer, tmp_path: Path
) -> None:
    out, filled = tmp_path / "run", tmp_path / "filled.csv"
    nowhere = str(tmp_path / "no.csv")
    ended = main(
        *demo_options(out, **JUDGED, human_ratings=nowhere), CUSTOM_JUDGE_BASE_URL=server.url
    )
    assert (ended.code, server.requests) == (2, []) and "No such file" in ended.err
    run(out, server)
    assert main("ratings", str(out), "--n", "4").code == 0
    rate(out / "ratings_template.csv", filled, same_words)
    run(out, server, human_ratings=str(filled))
    assert summary(out)["trust"]["humans"][0]["n_rated"] > 4
    filled.unlink()
    ended = main("resume", str(out), CUSTOM_JUDGE_BASE_URL=server.url)
    assert ended.code == 0, ended.err


def test_ratings_serve_an_offline_judge_too_and_need_a_run(tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = demo_options(out, predefined_tasks="Correctness", judge="offline")
    assert main(*options).code == 0
    assert main("ratings", str(out)).code == 0
    rate(out / "ratings_template.csv", tmp_path / "filled.csv", same_words)
    assert main("report", str(out), "--human_ratings", str(tmp_path / "filled.csv")).code == 0
    found = summary(out)["trust"]
    assert found["canaries"] == [] and found["family"] is None and len(found["humans"]) == 1
    ended = main("ratings", str(tmp_path / "nowhere"))
    assert ended.code == 2 and "holds no journal.sqlite" in ended.err
    ended = main("ratings", str(out), "--n", "0")
    assert ended.code == 2 and "--n 0" in ended.err and "at least one case" in ended.err
