"""What a pool may be: every layout, folders, plain lists; and what is wrong with one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plugin.caseset.build import build
from plugin.caseset.pool import PoolReader, list_files
from plugin.caseset.sizes import USUAL
from plugin.errors import DataError, OptionError, UserError
from plugin.load.columns import Columns
from tests.caseset.samples import build_from, questions, request_for, write_questions, write_rows


def read(*names: str, **options: object) -> list[str]:
    return [row.case.input for row in PoolReader(names, **options).rows()]  # type: ignore[arg-type]


TURNS = [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}]

LAYOUTS: dict[str, tuple[dict[str, object], str, str | None]] = {
    "own": ({"input": "Why?", "expected_output": "So."}, "Why?", "So."),
    "OpenAI chat": ({"messages": TURNS}, "Hi?", "Hello."),
    "ShareGPT": (
        {"conversations": [{"from": "human", "value": "Hi?"}, {"from": "gpt", "value": "Yo."}]},
        *("Hi?", "Yo."),
    ),
    "Alpaca": ({"instruction": "Add", "input": "1, 2", "output": "3"}, "Add\n\n1, 2", "3"),
    "prompt and completion": ({"prompt": "Why?", "completion": "So."}, "Why?", "So."),
    "SQuAD": (
        {"question": "Who?", "context": "Ann.", "answers": {"text": ["Ann"]}},
        *("Who?", "Ann"),
    ),
    "a question alone": ({"question": "Who?", "user": "a"}, "Who?", None),
    "a prompt alone": ({"prompt": "Who?", "time": "12:00"}, "Who?", None),
    "a text alone": ({"text": "Who?"}, "Who?", None),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_read(tmp_path: Path, name: str) -> None:
    row, asked, answer = LAYOUTS[name]
    file = write_rows(tmp_path / "pool.jsonl", [row])
    (found,) = PoolReader((file,)).rows()
    assert (found.case.input, found.case.expected_output) == (asked, answer)
    assert found.place == "pool.jsonl, row 1 (line 1)" and found.case.id.startswith("q")
    (bare,) = PoolReader((file,), keeps_answers=False).rows()
    assert bare.case.expected_output is None and bare.key == found.key


def test_files_and_folders_of_several_kinds_are_one_pool(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    write_questions(folder / "monday.jsonl", ["One?"])
    write_rows(folder / "tuesday.jsonl", [{"messages": TURNS}])
    (folder / "more.csv").write_text("question,answers\nTwo?,2\n")
    (folder / "list.txt").write_text("\ufeffThree?\n\n  Four?  \n")
    (folder / "notes.md").write_text("no data")
    (folder / "manifest.json").write_text("{}")
    (folder / "folds.json").write_text("{}")
    alone = tmp_path / "alone.json"
    alone.write_text(json.dumps([{"input": "Five?"}]))
    reader = PoolReader((str(folder), str(alone)))
    assert sorted(row.case.input for row in reader.rows()) == [
        *("Five?", "Four?", "Hi?", "One?", "Three?", "Two?")
    ]
    assert [Path(name).name for name in reader.sources] == [
        *("list.txt", "monday.jsonl", "more.csv", "tuesday.jsonl", "alone.json")
    ]
    assert sum(reader.sources.values()) == 6 and reader.n_answers == 2


def test_columns_may_be_named(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "pool.jsonl", [{"q": "Why?", "area": "x"}])
    assert read(file, columns=Columns(input="q")) == ["Why?"]
    assert read(file, input_template="{area}: {q}") == ["x: Why?"]
    with pytest.raises(DataError, match="there is no column 'input'.*columns are: q, area"):
        read(file)


def test_a_named_column_may_be_missing_in_some_files_but_not_in_all(tmp_path: Path) -> None:
    one = write_rows(tmp_path / "one.jsonl", [{"input": "Why?", "user": "u1"}])
    other = write_rows(tmp_path / "other.jsonl", [{"messages": TURNS}])
    rows = list(PoolReader((one, other), Columns(cluster="user")).rows())
    assert [row.case.cluster for row in rows] == ["u1", None]
    for columns in (Columns(cluster="usr"), Columns(input="q")):
        with pytest.raises(DataError, match="(--cluster_column usr|--input_column q): no file has"):
            list(PoolReader((one, other), columns).rows())


def test_a_file_that_was_cut_off_gives_what_stands_before_the_cut(tmp_path: Path) -> None:
    whole = Path(write_questions(tmp_path / "pool.jsonl", questions(30)))
    whole.write_bytes(whole.read_bytes()[:-40])
    made = build_from(str(whole))
    assert len(made.rows) == 29 and made.pool.n_unusable == 1
    assert "1 row cannot be read as a question and is left out" in made.pool.notes[0]
    assert "pool.jsonl, row 30 (line 30)" in made.pool.notes[0]


BAD: dict[str, tuple[str, bytes | None, str]] = {
    "empty": ("pool.jsonl", b"", "is empty"),
    "blank": ("pool.txt", b"\n  \n", "is empty; write one question per line"),
    "no UTF-8": ("pool.txt", b"caf\xe9?\n", "is not UTF-8"),
    "missing": ("pool.jsonl", None, "does not exist"),
    "missing list": ("pool.txt", None, "cannot be read"),
    "a cut JSON document": ("pool.json", b'[{"input": "a"}, {"inp', "broken JSON"),
    "no rows": ("pool.csv", b"input\n", "there are no rows"),
    "another kind": ("pool.pdf", b"%PDF", "is not a data file"),
    "only bad rows": ("pool.jsonl", b'{"input": ""}\n{"input": 3}\n', "no question is left"),
    "one question": ("pool.txt", b"Why?\n", "of 1 row one question is left: that is all"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_a_pool_is_refused(tmp_path: Path, name: str) -> None:
    file, content, message = BAD[name]
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(UserError, match=message):
        build(request_for(str(tmp_path / file)), USUAL)


def test_a_file_named_twice_is_refused(tmp_path: Path) -> None:
    file = write_questions(tmp_path / "pool.jsonl", ["One?"])
    with pytest.raises(OptionError, match="named twice"):
        list_files([file, str(tmp_path)])


def test_ids_are_made_of_the_question_and_own_ids_are_kept_beside(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"id": "ticket-7", "input": "Why?"},
        {"id": "2", "input": " why "},
        {"id": "3", "input": "Who?"},
    ]
    first, second, third = PoolReader((write_rows(tmp_path / "a.jsonl", rows),)).rows()
    assert first.case.id == second.case.id != third.case.id
    assert first.case.metadata == {"source_id": "ticket-7"} and not second.case.metadata
