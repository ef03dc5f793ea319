"""What judging does for one's money, from the command line, with a real local server."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import demo_options, main, summary
from tests.judge_server import JudgeServer, Reply

TASKS = "Correctness, Answer Relevancy"


def options(out: Path, **changed: str) -> list[str]:
    given = {"judge": "custom:j", "predefined_tasks": TASKS, "max_tokens": "24", "limit": "1"}
    return demo_options(out, **{**given, "trust_report": "false", **changed})


def n_rows(out: Path, table: str) -> int:
    with sqlite3.connect(out / "journal.sqlite") as db:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


FAULTS = (
    Reply(status=429, headers={"retry-after": "0.05"}),
    Reply(status=500),
    Reply(drop=True),
    Reply(text="I would rather not say."),
    Reply(text='{"score": 5, "reason": "so'),
    Reply(body=b"<html>busy</html>", headers={"content-type": "text/html"}),
    Reply(text="{}"),
)


def test_a_server_that_stumbles_every_third_time_costs_nothing_but_time(
    tmp_path: Path, server: JudgeServer
) -> None:
    def fault(number: int, body: dict[str, Any]) -> Reply | None:
        return FAULTS[number // 3 % len(FAULTS)] if number % 3 == 0 else None

    server.fault = fault
    out = tmp_path / "o"
    first = main(*options(out, limit="0.5"), CUSTOM_JUDGE_BASE_URL=server.url)
    assert first.code == 0, first.err
    n_scores, n_failed = n_rows(out, "scores"), n_rows(out, "failures")
    assert n_scores + n_failed == 30 * 2 * 2
    found = summary(out)
    assert not found["partial"] and found["n_scores"] == n_scores
    asked, kept = len(server.requests), n_rows(out, "judgments")
    server.fault = lambda number, body: None
    again = main(*options(out, limit="0.5"), CUSTOM_JUDGE_BASE_URL=server.url)
    assert again.code == 0
    assert n_rows(out, "scores") == 30 * 2 * 2 and n_rows(out, "failures") == 0
    # One call for every judgment that was missing, and none for what was there.
    assert len(server.requests) - asked == n_rows(out, "judgments") - kept <= 3 * n_failed


def test_a_limit_ends_judging_cleanly_and_a_higher_one_goes_on(
    tmp_path: Path, server: JudgeServer
) -> None:
    out = tmp_path / "o"
    first = main(*options(out, max_calls="60"), CUSTOM_JUDGE_BASE_URL=server.url)
    assert first.code == 0
    assert re.search(r"^partial run: \d+ of 60 cases: ", first.out, re.M)
    assert "warning: judging ended early: --max_calls 60 is reached. To continue" in first.out
    assert len(server.requests) == 60
    assert summary(out)["partial"] is True
    price = {"budget": "1", "judge_price": "0.1, 0.2"}
    second = main(*options(out, **price), CUSTOM_JUDGE_BASE_URL=server.url)
    assert second.code == 0
    found = summary(out)
    assert found["partial"] is False and "judging ended early" not in second.out
    spent = found["provenance"]["judge_calls"]
    assert spent["n_calls"] == len(server.requests)
    # The server counts 100 and 10 tokens a call; the first 60 were made without a price.
    assert spent["cost"] == pytest.approx((spent["n_calls"] - 60) * (100 * 0.1 + 10 * 0.2) / 1e6)
    assert re.search(r"^Judging took [\d,]+ calls .* dollars\.$", second.out, re.M)


def test_what_judging_will_take_is_said_before_and_is_about_right(
    tmp_path: Path, server: JudgeServer
) -> None:
    ended = main(*options(tmp_path / "o", judge_price="1, 2"), CUSTOM_JUDGE_BASE_URL=server.url)
    told = re.search(
        r"judging: about ([\d,]+) calls, ([\d,]+) tokens to read and ([\d,]+) to write .*; "
        r"([\d.]+) to ([\d.]+) dollars at your price",
        ended.out,
    )
    assert told, ended.out
    n_calls, n_read = (int(told[place].replace(",", "")) for place in (1, 2))
    assert len(server.requests) <= n_calls <= 1.5 * len(server.requests)
    really = sum(len(prompt) for prompt in server.prompts) / 4
    assert n_read / 2 <= really <= n_read * 2


def test_a_panel_and_a_second_judge(tmp_path: Path, server: JudgeServer) -> None:
    def fault(number: int, body: dict[str, Any]) -> Reply | None:
        kind = body["model"] == "kind" and '`"score"`' in str(body["messages"])
        return Reply(text='{"score": 10, "reason": "kind"}') if kind else None

    server.fault = fault
    out = tmp_path / "o"
    chosen = {"judge": "custom:strict, custom:kind", "second_judge": "custom:wise"}
    ended = main(*options(out, **chosen, limit="0.5"), CUSTOM_JUDGE_BASE_URL=server.url)
    assert ended.code == 0, ended.err
    found = summary(out)
    assert found["judge"] == "a panel of custom:strict, custom:kind, then custom:wise"
    details = "\n".join(found["verdict"]["details"])
    assert "Agreement of the 2 judges of the panel, as Krippendorff's alpha" in details
    assert re.search(r"second judge custom:wise scored \d+ of 60 pairs \(\d+%\)", details)
    # 3 against 10 is more than a third apart, so the second judge's scores stand.
    wise = {body["model"] for body in server.requests}
    assert wise == {"strict", "kind", "wise"}


def test_judging_that_may_stop_early_says_so_first(tmp_path: Path, server: JudgeServer) -> None:
    def fault(number: int, body: dict[str, Any]) -> Reply | None:
        known = "Cod Roons" not in str(body["messages"])
        return Reply(text=f'{{"score": {9 if known else 2}, "reason": "so"}}')

    out = tmp_path / "o"
    rows = [
        f'{{"id": "{i}", "input": "Who plays Richard Hendricks in Silicon Valley?", '
        f'"context": ["That is case {i}, which makes it no repeat."], '
        '"expected_output": "Thomas Middleditch plays Richard Hendricks."}}'.replace("}}", "}")
        for i in range(200)
    ]
    data = tmp_path / "cases.jsonl"
    data.write_text("\n".join(rows))
    server.fault = fault
    chosen = {"predefined_tasks": "Correctness", "stop_early": "true", "dataset_name": str(data)}
    ended = main(*options(out, **chosen, concurrency="1"), CUSTOM_JUDGE_BASE_URL=server.url)
    assert ended.code == 0, ended.err
    found = summary(out)
    assert re.match(
        r"stopped early, \d+ of 200 cases judged: adapter is better", found["verdict"]["sentence"]
    )
    (row,) = [row for row in found["comparisons"] if row["group"] == "all"]
    assert row["method"].startswith("confidence sequence")
    assert row["p_value"] is None and 0 < row["ci_low"] < row["gain"] < row["ci_high"]
    assert found["partial"] is False
    assert all(row["ci_low"] is None for row in found["summaries"])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"judge": "custom:j, custom:j"}, "judge custom:j is listed twice in --judge"),
        ({"judge": "custom:j, mystery"}, "unknown judge 'mystery'"),
        ({"second_judge": "custom:j"}, "--second_judge custom:j is also the first judge"),
        (
            {"second_judge": "custom:k", "stop_early": "true"},
            "--second_judge and --stop_early cannot be used together",
        ),
        (
            {"stop_early": "true", "variants": "vanilla only"},
            "--stop_early needs a comparison, but --variants is 'vanilla only'",
        ),
        (
            {"stop_early": "true", "cluster_column": "group"},
            "--stop_early cannot be used with clusters",
        ),
        ({"budget": "1"}, "--budget 1 cannot be kept: the price of custom:j is not known"),
        ({"judge_price": "1"}, "two numbers, 0 or more: dollars per million tokens in and out"),
        ({"judge_price": "a, b"}, "--judge_price"),
        ({"judge_price": "1, -2"}, "two numbers, 0 or more"),
        ({"max_calls": "-1"}, "--max_calls '-1': it must be greater than or equal to 0"),
        ({"max_failed_share": "2"}, "--max_failed_share '2': it must be less than or equal"),
    ],
)
def test_a_mistake_is_one_clear_message(
    changed: dict[str, str], message: str, tmp_path: Path, server: JudgeServer
) -> None:
    ended = main(*options(tmp_path / "o", **changed), CUSTOM_JUDGE_BASE_URL=server.url)
    assert (ended.code, server.requests) == (2, [])
    assert message in ended.err


def test_a_failing_judge_ends_the_run_with_the_way_to_go_on(
    tmp_path: Path, server: JudgeServer
) -> None:
    server.fault = lambda number, body: (
        Reply(text="no idea") if '`"score"`' in str(body["messages"]) else None
    )
    out = tmp_path / "o"
    ended = main(*options(out, limit="0.5"), CUSTOM_JUDGE_BASE_URL=server.url)
    assert ended.code == 1
    assert "scores failed under custom:j, more than --max_failed_share 0.2 allows" in ended.err
    assert f"Go on with: python main.py resume {out}" in ended.err
    assert n_rows(out, "scores") > 20
