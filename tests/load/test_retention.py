"""Retention groups: which cases are marked, what is refused, what is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plugin.errors import DataError, OptionError
from plugin.load.cases import CaseSource, LoadedCases, load_cases
from plugin.load.columns import Columns
from plugin.records import Case


def load(folder: Path, *rows: dict[str, object], **options: Any) -> LoadedCases:
    path = folder / "cases.jsonl"
    numbered = [{"input": f"Question {number}?", **row} for number, row in enumerate(rows)]
    path.write_text("".join(json.dumps(row) + "\n" for row in numbered))
    return load_cases(CaseSource(str(path), **options))


def marks(loaded: LoadedCases) -> list[tuple[str | None, bool]]:
    return [(case.group, case.retention) for case in loaded.cases]


def refused(error: type[Exception], folder: Path, *rows: Any, **options: Any) -> str:
    with pytest.raises(error) as caught:
        load(folder, *rows, **options)
    return str(caught.value)


def test_every_case_of_a_named_group_is_marked(tmp_path: Path) -> None:
    rows = [{"group": "new"}, {"group": "general"}, {}, {"group": "general"}]
    loaded = load(tmp_path, *rows, retention_groups=("general",))
    assert marks(loaded) == [("new", False), ("general", True), (None, False), ("general", True)]
    assert loaded.notes == ()
    assert not any(case.retention for case in load(tmp_path, *rows).cases)


YES = (True, 1, 1.0, "true", "TRUE ", "yes", "1", "1.0")
NO = (False, 0, 0.0, "false", "No", "0", "0.0", "", " ", None)


@pytest.mark.parametrize("cell", YES + NO)
def test_a_column_marks_the_rows_group(cell: object, tmp_path: Path) -> None:
    loaded = load(tmp_path, {"group": "a", "retention": cell}, {"group": "b"})
    is_marked = any(cell is one for one in YES)
    assert marks(loaded) == [("a", is_marked), ("b", False)]


def test_a_csv_marks_rows_too_and_the_column_may_have_another_name(tmp_path: Path) -> None:
    path = tmp_path / "cases.csv"
    path.write_text("input,group,keep\nWhy?,a,yes\nHow?,b,\n")
    source = CaseSource(str(path), columns=Columns(retention="keep"))
    assert marks(load_cases(source)) == [("a", True), ("b", False)]
    assert not any(case.retention for case in load_cases(CaseSource(str(path))).cases)


def test_a_marked_row_without_a_group_gets_one(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"retention": True}, {"retention": False}, {"group": "new"})
    assert marks(loaded) == [("retention", True), (None, False), ("new", False)]


def test_a_group_of_which_some_rows_are_marked_counts_as_a_whole_and_a_note_says_so(
    tmp_path: Path,
) -> None:
    rows = [{"group": "a", "retention": 1}, {"group": "a"}, {"group": "b"}]
    loaded = load(tmp_path, *rows)
    assert marks(loaded) == [("a", True), ("a", True), ("b", False)]
    (note,) = loaded.notes
    assert note.startswith("group 'a': only 1 of its 2 cases are marked for retention, but the wh")
    assert load(tmp_path, *rows, retention_groups=("a",)).notes == ()


def test_the_column_and_the_option_add_up(tmp_path: Path) -> None:
    rows = [{"group": "a", "retention": 1}, {"group": "b"}, {"group": "c"}]
    assert [case.retention for case in load(tmp_path, *rows, retention_groups=("b",)).cases] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("maybe", "'maybe'"),
        (0.85, "'0.85'"),
        (2, "'2'"),
        ([True], "a list"),
        ("x" * 99, f"'{'x' * 40}…'"),
    ],
)
def test_another_value_is_a_bad_row(cell: object, shown: str, tmp_path: Path) -> None:
    message = refused(DataError, tmp_path, {"retention": cell}, {})
    assert "line 1" in message and f"retention is {shown}" in message
    assert "must be true or false (yes or no, 1 or 0; empty is false)" in message
    assert "rename the column" in message
    kept = load(tmp_path, {"retention": cell}, {}, skip_bad_rows=True)
    assert len(kept.cases) == len(kept.failures) == 1


def test_the_column_is_read_and_so_neither_reported_nor_kept_as_metadata(tmp_path: Path) -> None:
    columns = replace(Columns(), retention="text")  # a name that looks like input
    loaded = load(tmp_path, {"text": "yes", "group": "a"}, {"group": "b"}, columns=columns)
    assert loaded.notes == () and loaded.cases[0].metadata == {}
    assert "text" in load(tmp_path, {"text": "yes"}, {"text": ""}).notes[0]
    assert load(tmp_path, {"retention": "no"}).cases[0].metadata == {}


def test_a_missing_column_is_named_with_its_option(tmp_path: Path) -> None:
    message = refused(DataError, tmp_path, {}, columns=Columns(retention="keep"))
    assert "--retention_column: there is no column 'keep'" in message


def test_groups_that_no_case_has_are_named_with_those_that_are_there(tmp_path: Path) -> None:
    rows = [{"group": "general"}, {"group": "new"}]
    message = refused(OptionError, tmp_path, *rows, retention_groups=("generl", "new", "x", "all"))
    assert message.splitlines() == [
        "--retention_group 'generl': no case has this group, did you mean 'general'? (groups are: "
        "general, new)",
        "--retention_group 'x': no case has this group (groups are: general, new)",
        "--retention_group 'all' means all cases together; name a group of the data (groups are: "
        "general, new)",
    ]


def test_data_without_groups_says_how_to_have_some(tmp_path: Path) -> None:
    message = refused(OptionError, tmp_path, {}, retention_groups=("general",))
    assert "no case has a group: " in message
    assert "--group_column" in message and "column 'retention'" in message


def drawn(folder: Path, **options: Any) -> LoadedCases:
    rows = [{"group": "rare", **options.pop("cells", {})}, *[{"group": "new"}] * 99]
    return load(folder, *rows, limit=0.02, **options)


def test_a_named_group_that_is_not_drawn_is_refused(tmp_path: Path) -> None:
    assert {case.group for case in drawn(tmp_path).cases} == {"new"}
    with pytest.raises(OptionError) as caught:
        drawn(tmp_path, retention_groups=("rare",))
    assert str(caught.value) == (
        "--retention_group 'rare': the draw of 2 cases has no case of this group; raise "
        "--limit, or leave the group out"
    )


def test_a_marked_group_that_is_not_drawn_is_noted(tmp_path: Path) -> None:
    (note,) = drawn(tmp_path, cells={"retention": 1}).notes
    assert note.startswith("retention group 'rare' is not checked: none of its cases (1) is among")
    assert "--limit" in note


def test_a_group_is_whole_whichever_of_its_rows_are_drawn(tmp_path: Path) -> None:
    rows = [{"group": "a", "retention": 1}, *[{"group": "a"}] * 99]
    loaded = load(tmp_path, *rows, limit=0.02)
    assert loaded.cases[0].id != "1" and all(case.retention for case in loaded.cases)


def test_all_cases_may_be_of_retention_groups_and_a_note_says_so(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"group": "a"}, {"group": "b"}, retention_groups=("a", "b"))
    assert all(case.retention for case in loaded.cases)
    assert loaded.notes == (
        "every case belongs to a retention group, so the primary metric uses the same cases",
    )


def test_the_mark_is_part_of_what_a_run_depends_on(tmp_path: Path) -> None:
    rows = [{"group": "a"}, {"group": "b"}]
    plain, marked = load(tmp_path, *rows), load(tmp_path, *rows, retention_groups=("a",))
    assert plain.digest != marked.digest
    by_column = load(tmp_path, {"group": "a", "retention": "yes"}, {"group": "b"})
    assert by_column.digest == marked.digest
    assert load(tmp_path, *[{**row, "retention": 0} for row in rows]).digest == plain.digest


def test_repeats_keep_their_own_mark(tmp_path: Path) -> None:
    same = {"input": "Who is it?"}
    rows = [{**same, "group": "a"}, {**same, "group": "b"}]
    first, second = load(tmp_path, *rows, retention_groups=("b",)).cases
    assert first.cluster == second.cluster is not None
    assert (first.retention, second.retention) == (False, True)


def test_a_case_is_of_no_retention_group_unless_said() -> None:
    assert Case("1", ()).retention is False
