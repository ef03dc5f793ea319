from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from plugin.errors import DataError, OptionError
from plugin.load.cases import CaseSource, LoadedCases, load_cases
from plugin.load.columns import Columns
from plugin.records import Failure, Message, working_order

ROWS: list[dict[str, Any]] = [
    {
        "id": "q1",
        "input": "Who, exactly?",
        "expected_output": "1.50",
        "context": ["One; two", 'a "b"'],
        "group": "a",
    },
    {"id": "q2", "input": "two\nlines", "expected_output": None, "context": [], "group": None},
    {"id": "q3", "input": "Où?\u2028 ", "expected_output": "NA", "context": ["x"], "group": "b"},
]


def load(path: Path | str, **options: Any) -> LoadedCases:
    return load_cases(CaseSource(dataset_name=str(path), **options))


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def jsonl(path: Path, rows: Sequence[object]) -> Path:
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


def questions(path: Path, n: int) -> Path:
    return jsonl(path, [{"input": f"question {i}"} for i in range(1, n + 1)])


def as_csv(path: Path, delimiter: str = ",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(ROWS[0]), delimiter=delimiter)
        writer.writeheader()
        for row in ROWS:
            context = json.dumps(row["context"]) if row["context"] else ""
            writer.writerow({**row, "context": context})
    return path


def as_parquet(path: Path, rows: Sequence[dict[str, object]] = ROWS) -> Path:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def message(path: Path, error: type[Exception] = DataError, **options: Any) -> str:
    """What the user reads, without the folder of the test."""
    with pytest.raises(error) as caught:
        load(path, **options)
    return str(caught.value).replace(f"{path.parent}{os.sep}", "")


# Formats


def formats(folder: Path) -> dict[str, Path]:
    folder.mkdir(exist_ok=True)
    with_number = [{**ROWS[0], "expected_output": "@"}, *ROWS[1:]]
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    return {
        "comma": as_csv(folder / "comma.csv"),
        "semicolon": as_csv(folder / "semicolon.csv", ";"),
        "tab": as_csv(folder / "tab.csv", "\t"),
        "jsonl": jsonl(folder / "lines.jsonl", ROWS),
        "jsonl named json": jsonl(folder / "lines.json", ROWS),
        "number": write(folder / "n.json", json.dumps(with_number).replace('"@"', "1.50")),
        "list": write(folder / "list.json", json.dumps(ROWS, indent=1)),
        "data": write(folder / "data.json", json.dumps({"version": "1", "data": ROWS})),
        "columns": write(folder / "columns.json", json.dumps(columns)),
        "parquet": as_parquet(folder / "p.parquet"),
        "BOM": write(folder / "bom.jsonl", b"\xef\xbb\xbf" + (folder / "lines.jsonl").read_bytes()),
        "BOM csv": write(folder / "bom.csv", b"\xef\xbb\xbf" + (folder / "comma.csv").read_bytes()),
        "CRLF": write(
            folder / "crlf.jsonl", (folder / "lines.jsonl").read_bytes().replace(b"\n", b"\r\n")
        ),
    }


def test_every_format_gives_the_same_cases(tmp_path: Path) -> None:
    loaded = {name: load(path) for name, path in formats(tmp_path / "f").items()}
    first, second, third = loaded["list"].cases
    assert first.messages == (Message("user", "Who, exactly?"),)
    assert (first.id, first.expected_output, first.group) == ("q1", "1.50", "a")
    assert first.context == ("One; two", 'a "b"')
    assert (second.input, second.expected_output, second.group) == ("two\nlines", None, None)
    assert (third.input, third.expected_output) == ("Où?\u2028 ", "NA")
    for name, other in loaded.items():
        assert other.cases == loaded["list"].cases, name
        assert other.digest == loaded["list"].digest, name


def test_digest_is_of_the_content_in_canonical_json(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"input": "é", "expected_output": 4, "other": "x"}])
    known = '[["1",[["user","\\u00e9"]],"4",[],null,null]]'
    assert load(path).digest == hashlib.sha256(known.encode()).hexdigest()


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({}, False),
        ({"note": "unrelated"}, False),
        ({"input": "other"}, True),
        ({"expected_output": "other"}, True),
        ({"context": ["other"]}, True),
        ({"group": "other"}, True),
        ({"cluster": "other"}, True),
        ({"id": "other"}, True),
    ],
)
def test_digest_changes_with_what_counts(
    tmp_path: Path, change: dict[str, object], differs: bool
) -> None:
    before = load(jsonl(tmp_path / "a.jsonl", ROWS)).digest
    after = load(jsonl(tmp_path / "b.jsonl", [{**ROWS[0], **change}, *ROWS[1:]])).digest
    assert (before != after) is differs


def test_csv_text_stays_text(tmp_path: Path) -> None:
    words = ["NA", "null", "None", "nan", "4", "1e5", "007", "true"]
    path = write(
        tmp_path / "a.csv", "input,expected_output\n" + "".join(f"{w},{w}\n" for w in words)
    )
    loaded = load(path).cases
    assert [case.input for case in loaded] == words
    assert [case.expected_output for case in loaded] == words


def test_json_numbers_and_booleans_keep_their_digits(tmp_path: Path) -> None:
    digits = ["4", "4.10", "1e5", "9" * 6000]
    rows = [f'{{"input": "q", "expected_output": {number}}}' for number in [*digits, "true"]]
    loaded = load(write(tmp_path / "a.jsonl", "\n".join(rows))).cases
    assert [case.expected_output for case in loaded] == [*digits, "true"]
    assert {type(case.expected_output) for case in loaded} == {str}


def test_parquet_gaps_are_nothing_and_integers_stay_integers(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"input": ["a", "b", "c"], "expected_output": [1.0, float("nan"), 3.5]})
    frame.to_parquet(tmp_path / "a.parquet")
    rows = [{"input": "a", "expected_output": 4}, {"input": "b", "expected_output": None}]
    as_parquet(tmp_path / "b.parquet", rows)
    first, second = load(tmp_path / "a.parquet").cases, load(tmp_path / "b.parquet").cases
    assert [case.expected_output for case in first] == ["1.0", None, "3.5"]
    assert [case.expected_output for case in second] == ["4", None]


def test_parquet_dates_and_decimals_are_text(tmp_path: Path) -> None:
    row = {"input": "q", "group": date(2024, 5, 1), "expected_output": Decimal("1.50"), "b": b"x"}
    case = load(as_parquet(tmp_path / "a.parquet", [row])).cases[0]
    assert (case.group, case.expected_output, case.metadata) == ("2024-05-01", "1.50", {})


def test_lines_blank_in_the_middle_and_long_cells(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"input": "a"}\n\n  \r\n{"input": "b"}\n')
    assert [(case.id, case.input) for case in load(path).cases] == [("1", "a"), ("2", "b")]
    long = "x" * 5_000_000
    before = csv.field_size_limit()
    assert load(write(tmp_path / "a.csv", f"input,id\n{long},1\n")).cases[0].input == long
    assert csv.field_size_limit() == before


def test_csv_header_without_a_name_and_blank_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", '\n,input, group\r\n0,"a ""b""",g\r\n\r\n1,"c\r\nd",g\r\n')
    loaded = load(path).cases
    assert [case.input for case in loaded] == ['a "b"', "c\r\nd"]
    assert [case.group for case in loaded] == ["g", "g"]
    assert loaded[0].metadata == {}
    assert load(write(tmp_path / "b.csv", "\n\ninput;id\nq;a\n")).cases[0].id == "a"


# Columns, contexts, chats, templates


def test_named_columns_and_metadata(tmp_path: Path) -> None:
    row = {"q": "Why?", "a": "So.", "c": "one", "g": " x ", "k": 7, "n": 3, "ok": True, "l": [1]}
    columns = Columns("q", "a", "c", "g", "k", "n")
    path = jsonl(tmp_path / "a.jsonl", [{**row, "long": "y" * 999, "empty": ""}])
    case = load(path, columns=columns).cases[0]
    assert (case.id, case.input, case.expected_output) == ("3", "Why?", "So.")
    assert (case.context, case.group, case.cluster) == (("one",), "x", "7")
    assert case.metadata == {"ok": "true", "long": "y" * 199 + "…"}


@pytest.mark.parametrize(
    ("context", "texts"),
    [
        (None, ()),
        ("", ()),
        ("  ", ()),
        ([], ()),
        ("[]", ()),
        ("plain", ("plain",)),
        (["a", "", None, "b"], ("a", "b")),
        ('["a", "b"]', ("a", "b")),
        ("[1] Smith says", ("[1] Smith says",)),
        ("['a', 'b']", ("['a', 'b']",)),
        ('{"a": 1}', ('{"a": 1}',)),
        ("__import__('os').system('x')", ("__import__('os').system('x')",)),
        ("[" * 100_000, ("[" * 100_000,)),
    ],
)
def test_context(tmp_path: Path, context: object, texts: tuple[str, ...]) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"input": "q", "context": context}])
    assert load(path).cases[0].context == texts


OPENAI = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": "1"},
    {"role": "user", "content": "Two?"},
    {"role": "assistant", "content": "2"},
]
SHAREGPT = [
    {
        "from": {"user": "human", "assistant": "gpt"}.get(turn["role"], turn["role"]),
        "value": turn["content"],
    }
    for turn in OPENAI
]


@pytest.mark.parametrize(("column", "chat"), [("messages", OPENAI), ("conversations", SHAREGPT)])
@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet", "named"])
def test_chats(tmp_path: Path, column: str, chat: list[dict[str, str]], form: str) -> None:
    columns = Columns()
    if form == "csv":
        path = tmp_path / "a.csv"
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([[column], [json.dumps(chat)]])
    elif form == "parquet":
        path = as_parquet(tmp_path / "a.parquet", [{column: chat}])
    else:
        name = "talk" if form == "named" else column
        columns = Columns(input=name) if form == "named" else columns
        path = jsonl(tmp_path / "a.jsonl", [{name: chat}])
    case = load(path, columns=columns).cases[0]
    assert case.messages == tuple(Message(turn["role"], turn["content"]) for turn in OPENAI[:-1])
    assert (case.input, case.expected_output, case.metadata) == ("Two?", "2", {})


def test_an_expected_output_column_goes_before_the_last_turn(tmp_path: Path) -> None:
    rows = [
        {"messages": OPENAI, "expected_output": "zwei"},
        {"messages": OPENAI, "expected_output": ""},
    ]
    loaded = load(jsonl(tmp_path / "a.jsonl", rows)).cases
    assert [case.expected_output for case in loaded] == ["zwei", None]
    assert [len(case.messages) for case in loaded] == [4, 4]


def test_of_several_last_answers_the_last_one_counts(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [chat(*OPENAI, {"role": "assistant", "content": "3"})])
    case = load(path).cases[0]
    assert (len(case.messages), case.expected_output) == (4, "3")


def test_columns_are_listed_printably_and_not_without_end(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{f"\ud800{i}": "q" for i in range(32)}])
    told = message(path)
    assert "columns are: ?0, ?1, ?2" in told and "?29 and 2 more\n" in told


def test_input_goes_before_messages(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"messages": OPENAI, "input": "this"}])
    assert load(path).cases[0].messages == (Message("user", "this"),)


def test_template(tmp_path: Path) -> None:
    rows = [{"instruction": "Add {input}", "input": "", "n": 2}, {"instruction": "b", "input": "c"}]
    path = jsonl(tmp_path / "a.jsonl", rows)
    loaded = load(path, input_template="{instruction}\n\n{input}{{{n}}}").cases
    assert [case.input for case in loaded] == ["Add {input}\n\n{2}", "b\n\nc{}"]
    assert loaded[0].metadata == {}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{input!r}", "{input!r} is not a column; only {column} is replaced"),
        ("{input:>9}", "{input:>9} is not a column; only {column} is replaced"),
        ("{}", "{} is not a column; only {column} is replaced"),
        ("{input", "expected '}' before end of string; only {column} is replaced"),
        ("plain", "contains no column; write for example '{question}'"),
    ],
)
def test_broken_template(tmp_path: Path, template: str, text: str) -> None:
    told = message(
        jsonl(tmp_path / "a.jsonl", [{"input": "q"}]), OptionError, input_template=template
    )
    assert told.startswith(f"--input_template {template!r}") and text in told


@pytest.mark.parametrize(
    ("name", "hint"), [("input.__class__", ""), ("input[0]", "did you mean 'input'? ")]
)
def test_template_looks_nothing_up(tmp_path: Path, name: str, hint: str) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"input": "q"}])
    assert message(path, input_template=f"{{{name}}}").split("\n  ") == [
        "a.jsonl cannot be used as it is:",
        f"--input_template: there is no column {name!r}; attributes and indexes are not "
        f"supported; {hint}columns are: input",
    ]


# Bad columns and bad rows


def test_a_column_in_other_letters_is_the_one_that_was_meant(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"input": "q", "answer": "a"}])
    assert "did you mean 'answer'?" in message(path, columns=Columns(expected_output="ANSWER"))


def test_missing_columns_are_told_together(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"Question": "q", "answr": "a", "context": 4}])
    columns = Columns(expected_output="answer", group="topic")
    listed = "columns are: Question, answr, context"
    first, answer, group, question, row, last = message(path, columns=columns).split("\n  ")
    assert first == "a.jsonl cannot be used as it is:"
    assert answer == (
        "--expected_output_column: there is no column 'answer'; did you mean 'answr'? " + listed
    )
    assert group == f"--group_column: there is no column 'topic'; {listed}"
    assert question.startswith("there is no column 'input' (nor 'messages' or 'conversations')")
    assert "--input_template" in question
    assert question.endswith(f"did you mean --input_column Question? {listed}")
    assert row == "row 1 (line 1): context is a number (4); it must be text or a list of texts"
    assert last.startswith("no row can be used; ")


def test_named_input_column_is_missing(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"input": "q"}])
    told = message(path, columns=Columns(input="questoin"), skip_bad_rows=True)
    assert told.split("\n  ")[1:] == [
        "--input_column: there is no column 'questoin'; columns are: input"
    ]


def chat(*turns: object) -> dict[str, object]:
    return {"messages": list(turns)}


ASK = {"role": "user", "content": "q"}


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"input": ""}, "input is empty"),
        ({"input": " \n"}, "input is empty"),
        ({"input": None}, "input is empty"),
        ({"expected_output": "a"}, "input is empty"),
        ({"input": 4.10}, "input is a number (4.1); it must be text"),
        ({"input": True}, "input is a boolean (true); it must be text"),
        ({"input": {"a": 1}}, "input is an object; it must be text"),
        ({"input": float("nan")}, "input is nan, which is not a JSON value; it must be text"),
        (
            {"input": "\ud83d"},
            "holds half of a surrogate pair (such as \\ud83d alone)",
        ),
        ({"input": "q", "note": "\ud83d"}, "holds half of a surrogate pair"),
        (
            {"input": "q", "expected_output": ["a", ["b"]]},
            "expected_output, answer 2 is a list; it must be text or a number",
        ),
        (
            {"input": "q", "expected_output": float("nan")},
            "expected_output is nan, which is not a JSON value; it must be text or a number",
        ),
        ({"input": "q", "id": {}}, "id is an object; it must be text or a number"),
        ({"input": "q", "cluster": []}, "cluster is a list; it must be text or a number"),
        ({"input": "q", "group": "all"}, "group 'all' is reserved for all cases together; rename"),
        ({"input": "q", "group": []}, "group is a list; it must be text or a number"),
        ({"input": "q", "context": 4}, "context is a number (4); it must be text or a list of"),
        ({"input": "q", "context": {"a": 1}}, "context is an object; it must be text or a list"),
        ({"input": "q", "context": ["a", 1]}, "context is a list that holds a number (1); it must"),
        ({"input": "q", "context": "[1]"}, "context is a list that holds a number (1); it must"),
        ({"input": "", "context": 4}, "input is empty; context is a number (4)"),
        ([1], "is a list; every row must be an object"),
        (None, "is null; every row must be an object"),
        ("text", "is text; every row must be an object"),
        ({"input": []}, "input is empty"),
        (chat(), "messages is empty"),
        ({"messages": ""}, "messages is empty"),
        ({"messages": "hello"}, "messages is text but not a JSON list of turns (Expecting value"),
        ({"messages": '{"a": 1}'}, "messages is an object; it must be a list of turns"),
        ({"messages": 4}, "messages is a number (4); it must be a list of turns"),
        (chat("hello"), "messages, turn 1 is text; it must be an object"),
        (chat(ASK, {"role": "tool", "content": "x"}), "messages, turn 2 has role 'tool'; it must"),
        (chat({"from": "bot", "value": "x"}), "messages, turn 1 has from 'bot'; it must be one of"),
        (
            chat({"role": ["user"], "content": "x"}),
            "messages, turn 1 has role ['user']; it must be",
        ),
        (chat({"text": "x"}), "messages, turn 1 has neither role and content nor from and value"),
        (
            chat(ASK, {"role": "assistant", "content": None}),
            "messages, turn 2 has null as its text",
        ),
        (chat({"role": "user", "content": 4}), "messages, turn 1 has a number (4) as its text"),
        (chat({"role": "assistant", "content": "x"}), "messages has no user turn"),
        (chat({"role": "user", "content": " "}), "messages, turn 1: the last user turn is empty"),
        (
            chat(ASK, {"role": "system", "content": "x"}),
            "messages has a system turn after the last user turn",
        ),
    ],
)
def test_bad_row(tmp_path: Path, row: object, text: str) -> None:
    good = chat(ASK) if isinstance(row, dict) and "messages" in row else {"input": "q"}
    path = jsonl(tmp_path / "a.jsonl", [good, row])
    lines = message(path).split("\n  ")
    assert lines[0] == "a.jsonl cannot be used as it is:"
    assert lines[1].startswith(f"row 2 (line 2): {text}")
    assert lines[2:] == [
        "1 of 2 rows cannot be used; correct them, or skip them with --skip_bad_rows"
    ]
    loaded = load(path, skip_bad_rows=True)
    assert [case.id for case in loaded.cases] == ["1"]
    (failure,) = loaded.failures
    assert (failure.case_id, failure.stage) == ("row 2", "data")
    assert failure.reason == lines[1]
    assert loaded.n_source_rows == 2


def test_bad_rows_of_templates(tmp_path: Path) -> None:
    rows = [{"a": "x", "b": "y"}, {"a": "", "b": None}, {"a": [1], "b": "y"}]
    lines = message(jsonl(tmp_path / "a.jsonl", rows), input_template="{a}: {b}").split("\n  ")
    assert lines[1:3] == [
        "row 2 (line 2): input is empty: there is no text in a, b",
        "row 3 (line 3): a is a list; it must be text or a number",
    ]


def test_ids_given_twice(tmp_path: Path) -> None:
    ids = ["a", "b", "a", 2, None, None, "6"]
    path = jsonl(tmp_path / "a.jsonl", [{"input": "q", "id": id} for id in ids])
    assert message(path).split("\n  ")[1:3] == [
        "row 3 (line 3): id 'a' is also the id of row 1 (line 1)",
        "row 7 (line 7): id '6' is also the id of row 6 (line 6)",
    ]
    loaded = load(path, skip_bad_rows=True)
    assert [case.id for case in loaded.cases] == ["a", "b", "2", "5", "6"]
    assert [failure.case_id for failure in loaded.failures] == ["row 3", "row 7"]


def test_a_bad_row_is_named_by_its_own_id(tmp_path: Path) -> None:
    rows = [{"input": "q", "id": "a"}, {"input": "", "id": "b"}, {"input": "", "id": "b"}]
    loaded = load(jsonl(tmp_path / "a.jsonl", rows), skip_bad_rows=True)
    assert loaded.failures == (
        Failure("b", "data", "row 2 (line 2): input is empty"),
        Failure(
            "row 3",
            "data",
            "row 3 (line 3): input is empty; id 'b' is also the id of row 2 (line 2)",
        ),
    )


def test_many_bad_rows_are_counted(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"input": "q"}, *[{"input": ""}] * 57])
    lines = message(path).split("\n  ")
    assert lines[1] == "row 2 (line 2): input is empty"
    assert lines[20:] == [
        "row 21 (line 21): input is empty",
        "and 37 more",
        "57 of 58 rows cannot be used; correct them, or skip them with --skip_bad_rows",
    ]


def test_all_rows_bad_is_an_error_even_when_skipping(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"input": ""}, {"input": 1}])
    assert message(path, skip_bad_rows=True).split("\n  ")[3:] == [
        "no row can be used; correct the rows, or check the column options"
    ]


# Bad files

UTF16 = "input,id\na,1\n".encode("utf-16")


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.csv", "", "a.csv is empty"),
        ("a.csv", "\n \n", "a.csv is empty"),
        ("a.jsonl", "\ufeff", "a.jsonl cannot be used as it is:\n  "),
        ("a.parquet", b"", "a.parquet is empty"),
        ("a.parquet", b"PAR1 no more", "a.parquet is not a readable parquet file: "),
        ("a.csv", "input,id\n", "a.csv cannot be used as it is:\n  there are no rows"),
        ("a.json", "[]", "a.json cannot be used as it is:\n  there is no column 'input'"),
        (
            "a.csv",
            UTF16,
            "a.csv is not UTF-8: byte 1 (line 1) begins UTF-16 text; save it as UTF-8",
        ),
        ("a.csv", UTF16[2:], "a.csv is not UTF-8: byte 1 (line 1) begins UTF-16 text"),
        (
            "a.csv",
            "input\na\né\n".encode("latin-1"),
            "a.csv is not UTF-8: byte 9 (line 3) is 0xe9; save it as UTF-8",
        ),
        ("a.csv", 'input,id\na,1\n"b,2\n', "a.csv, line 3: broken csv: unexpected end of data"),
        ("a.csv", 'input,id\na,1\n"b"c,2\n', "a.csv, line 3: broken csv: ',' expected after '\"'"),
        (
            "a.csv",
            "input,id,input,x,x\na,1,b,c,d\n",
            "a.csv has columns with the same name in its header: 'input', 'x'; rename or remove",
        ),
        ("a.json", '[{"input": "a"},\n{"input" "b"}]', "a.json, line 2, character 10: broken JSON"),
        ("a.json", '[{"input": "a"}] x', "a.json, line 1, character 18: broken JSON: Extra data"),
        ("a.json", '{"a":\n1}\n{"a":\n2}', "a.json, line 3, character 1: broken JSON: Extra data"),
        ("a.json", "[" * 100_000, "a.json: broken JSON: brackets are nested too deeply"),
        ("a.json", '"text"', "all of the same length; but it is text"),
        ("a.json", "{}", "all of the same length; but it is an empty object"),
        (
            "a.json",
            '{"mine": [{"a": 1}], "tags": [1, 2]}',
            "it is an object with 'mine': a list of 1, 'tags': a list of 2",
        ),
        (
            "a.json",
            '{"train": [{"a": 1}], "test": [{"a": 1}]}',
            "it is an object with 'train': a list of 1, 'test': a list of 1",
        ),
        (
            "a.json",
            '{"a": [1], "b": [1, 2]}',
            "it is an object with 'a': a list of 1, 'b': a list of",
        ),
        ("a.json", '{"input": {"a": {}}, "b": 1}', "it is an object with 'input': an object"),
        ("a.json", '[{"input": "q"}, 4]', "row 2: is a number (4); every row must be an object"),
        ("a.jsonl", '{"input": "q"}\n\n{"input"\n', "row 2 (line 3): broken JSON at character 9: "),
        ("a.jsonl", '{"input": "q"}\n' + "[" * 99_999, "row 2 (line 2): broken JSON: brackets are"),
        (
            "a.csv",
            "input,id\na\n",
            "row 1 (line 2): has 1 cells, but the header has 2 (a cell that",
        ),
        (
            "a.csv",
            'input,id\n"a\nb",1\nc,2,3\n',
            "row 2 (line 4): has 3 cells, but the header has 2",
        ),
        (
            "a.txt",
            "input",
            "a.txt is not a data file: its name must end in .csv, .json, .jsonl, .parq",
        ),
    ],
)
def test_bad_file(tmp_path: Path, name: str, content: str | bytes, text: str) -> None:
    assert text in message(write(tmp_path / name, content))


def test_parquet_with_two_columns_of_one_name(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    table = pa.table([pa.array(["a"]), pa.array(["b"])], names=["input", "input"])
    pq.write_table(table, tmp_path / "a.parquet")
    assert "columns with the same name in its header: 'input'" in message(tmp_path / "a.parquet")


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    write(tmp_path / "cases.jsonl", '{"input": "a"}')
    assert (
        message(tmp_path / "case.jsonl") == "case.jsonl does not exist; did you mean 'cases.jsonl'?"
    )
    assert "and neither does its folder" in message(tmp_path / "no" / "cases.jsonl")
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "gone.jsonl")
    assert message(tmp_path / "link.jsonl") == (
        "link.jsonl is a link to gone.jsonl, which does not exist"
    )
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert message(tmp_path / "pipe.jsonl") == "pipe.jsonl is neither a file nor a folder"
    (tmp_path / "empty").mkdir()
    assert message(tmp_path / "empty") == "empty holds no data file (csv, json, jsonl or parquet)"
    (tmp_path / "folder.csv").mkdir()
    assert message(tmp_path / "folder.csv").startswith("folder.csv holds no data file")


# Splits


def test_folder_of_one_file(tmp_path: Path) -> None:
    write(tmp_path / "set" / "index.json", "{}")
    write(tmp_path / "set" / "README.md", "words")
    questions(tmp_path / "set" / "cases.jsonl", 2)
    assert len(load(tmp_path / "set").cases) == 2
    assert message(tmp_path / "set", OptionError, split="test") == (
        "--dataset_split 'test' is not a split of set, which has: cases"
    )


@pytest.mark.parametrize(
    ("files", "split", "n"),
    [
        (["train.jsonl", "test.jsonl"], None, 2),
        (["train.jsonl", "test.jsonl"], "train", 1),
        (["my_train.jsonl", "my_eval.jsonl"], None, 2),
        (["my_train.jsonl", "my_eval.jsonl"], "eval", 2),
        (["train.jsonl", "dev.jsonl"], None, 2),
        (["train.jsonl"], None, 1),
        (["test-00000-of-00002.jsonl", "test-00001-of-00002.jsonl"], None, 3),
    ],
)
def test_splits_by_the_files_names(
    tmp_path: Path, files: list[str], split: str | None, n: int
) -> None:
    for i, name in enumerate(files, 1):
        questions(tmp_path / "set" / name, i)
    assert len(load(tmp_path / "set", split=split).cases) == n


def test_rows_of_several_files_are_told_apart(tmp_path: Path) -> None:
    questions(tmp_path / "set" / "test-00000.jsonl", 2)
    jsonl(tmp_path / "set" / "test-00001.jsonl", [{"input": ""}])
    assert "row 3 (test-00001.jsonl, line 1): input is empty" in message(tmp_path / "set")


def test_splits_that_are_not_clear(tmp_path: Path) -> None:
    for name in ("one.jsonl", "two.jsonl"):
        questions(tmp_path / "a" / name, 1)
    assert message(tmp_path / "a", OptionError) == (
        "a has several splits: one, two; choose one with --dataset_split"
    )
    for name in ("test.jsonl", "eval.csv"):
        questions(tmp_path / "b" / name, 1)
    assert message(tmp_path / "b") == (
        "b has several files for the same split: eval.csv, test.jsonl; give the path of one file"
    )


# The datasets library


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_datasets_library_reads_a_hub_layout(tmp_path: Path, form: str) -> None:
    folder = tmp_path / "hub"
    file = folder / "data" / f"test-00000-of-00001.{form}"
    file.parent.mkdir(parents=True)
    writers = {"csv": as_csv, "jsonl": lambda path: jsonl(path, ROWS), "parquet": as_parquet}
    writers[form](file)
    shutil.copy(file, file.with_name(file.name.replace("test", "train")))
    (folder / "README.md").write_text("words")
    assert load(folder).digest == load(jsonl(tmp_path / "same.jsonl", ROWS)).digest


@pytest.mark.usefixtures("offline")
def test_datasets_library_splits(tmp_path: Path) -> None:
    for i, name in enumerate(("train", "extra"), 1):
        questions(tmp_path / "hub" / "parts" / f"{name}.jsonl", i)
    write(
        tmp_path / "hub" / "README.md",
        "---\nconfigs:\n- config_name: default\n  data_files:\n"
        "  - split: one\n    path: parts/train.jsonl\n"
        "  - split: two\n    path: parts/extra.jsonl\n---\n",
    )
    assert message(tmp_path / "hub", OptionError) == (
        "hub has several splits: one, two; choose one with --dataset_split"
    )
    assert len(load(tmp_path / "hub", split="two").cases) == 2
    assert message(tmp_path / "hub", OptionError, split="tow") == (
        "--dataset_split 'tow' is not a split of hub, which has: one, two"
    )


@pytest.mark.usefixtures("offline")
def test_datasets_library_errors_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        load("no-such/data")
    assert str(caught.value).startswith(
        f"data set 'no-such/data' cannot be found. Tried: the file or folder "
        f"{tmp_path}/no-such/data (does not exist); the data set id 'no-such/data' of the "
        "datasets library (Couldn't reach 'no-such/data' on the Hub"
    )
    assert "check the id, the network" in str(caught.value)
    with pytest.raises(DataError, match="data set 'not an id!' cannot be found"):
        load("not an id!")
    write(tmp_path / "hub" / "data" / "test.jsonl", '{"input": ')
    assert "the datasets library cannot load it as a folder" in message(tmp_path / "hub")


# The draw


def test_limit_is_nested_seeded_and_in_the_order_of_the_source(tmp_path: Path) -> None:
    path = questions(tmp_path / "a.jsonl", 100)
    draws = [[case.id for case in load(path, limit=k / 20, seed=3).cases] for k in range(1, 21)]
    assert [len(draw) for draw in draws] == [5 * k for k in range(1, 21)]
    for small, large in zip(draws, draws[1:], strict=False):
        assert set(small) < set(large)
    assert all(draw == sorted(draw, key=int) for draw in draws)
    assert draws[1] != [str(i) for i in range(1, 11)]
    again, other = load(path, limit=0.1, seed=3), load(path, limit=0.1, seed=4)
    assert [case.id for case in again.cases] == draws[1]
    assert [case.id for case in other.cases] != draws[1]
    assert again.digest != other.digest
    assert all(case.input == f"question {case.id}" for case in again.cases)
    assert len(load(path, limit=0.001).cases) == 1


def test_mending_a_row_does_not_draw_the_others_anew(tmp_path: Path) -> None:
    rows = [{"input": f"q{i}"} for i in range(40)]
    whole = load(jsonl(tmp_path / "a.jsonl", rows), limit=0.5)
    dropped = whole.cases[0]
    rows[int(dropped.id) - 1] = {"input": ""}
    less = load(jsonl(tmp_path / "a.jsonl", rows), limit=0.5, skip_bad_rows=True)
    assert len(less.failures) == 1
    ids = {case.id for case in whole.cases} - {dropped.id}
    assert ids <= {case.id for case in less.cases}


def test_every_case_is_drawn_about_equally_often(tmp_path: Path) -> None:
    path = questions(tmp_path / "a.jsonl", 10)
    times = dict.fromkeys(map(str, range(1, 11)), 0)
    for seed in range(300):
        for case in load(path, limit=0.3, seed=seed).cases:
            times[case.id] += 1
    assert all(60 <= n <= 120 for n in times.values()), times  # 90 expected, deviation 8


@pytest.mark.parametrize("limit", [0, -0.1, 1.01, float("nan"), 50])
def test_limit_out_of_range(tmp_path: Path, limit: float) -> None:
    path = questions(tmp_path / "a.jsonl", 2)
    said = message(path, OptionError, limit=limit)
    assert said.startswith(f"--limit {limit} must be above 0 and at most 1: ")


def test_options_that_cannot_work() -> None:
    with pytest.raises(OptionError, match="--dataset_name is empty"):
        load(" ")
    source = CaseSource("x", columns=replace(Columns(), input="q"), input_template="{a}")
    with pytest.raises(OptionError, match="--input_template and --input_column 'q' both say"):
        load_cases(source)


def test_working_order(tmp_path: Path) -> None:
    cases = load(questions(tmp_path / "a.jsonl", 50)).cases
    order = working_order(cases, 1)
    assert order == working_order(cases, 1) != working_order(cases, 2)
    assert order != list(cases) and sorted(order, key=lambda case: int(case.id)) == list(cases)


# Speed


def test_ten_thousand_rows(tmp_path: Path) -> None:
    loaded = load(questions(tmp_path / "a.jsonl", 10_000))
    assert len(loaded.cases) == loaded.n_source_rows == 10_000


def test_import_loads_nothing_heavy() -> None:
    code = "import sys, plugin.load.cases; print([m for m in sys.modules if m in sys.argv[1:]])"
    heavy = ["pandas", "pyarrow", "datasets", "numpy", "httpx", "huggingface_hub"]
    done = subprocess.run(
        [sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
