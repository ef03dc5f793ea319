"""The tests of code, in the layouts of benchmarks and in plain columns."""

import json
from pathlib import Path

import pytest

from plugin.code_tests import CodeTests
from plugin.errors import DataError
from plugin.load.cases import CaseSource, LoadedCases, load_cases
from plugin.load.columns import Columns

PLAIN = Columns()


def load(tmp_path: Path, *rows: dict[str, object], columns: Columns = PLAIN) -> LoadedCases:
    file = tmp_path / "cases.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return load_cases(CaseSource(str(file), columns=columns))


CHECKS = CodeTests(("assert f(1) == 2", "assert f(2) == 3"))
RUNS = CodeTests(runs=(("1\n", "2\n"), ("", "3")))
CELLS: list[tuple[object, CodeTests]] = [
    ("assert f(1) == 2", CodeTests(("assert f(1) == 2",))),
    (list(CHECKS.checks), CHECKS),
    (json.dumps(CHECKS.checks), CHECKS),
    ([{"input": "1\n", "output": "2\n"}, {"input": "", "output": "3"}], RUNS),
    (json.dumps([{"stdin": "1\n", "stdout": "2\n"}, {"output": "3"}]), RUNS),
    ({"inputs": ["1\n", ""], "outputs": ["2\n", "3"]}, RUNS),
    ({"inputs": [["1", ""], []], "outputs": [["2", ""], "3"]}, RUNS),
    ("[f(x) for x in (1, 2)]\nassert f", CodeTests(("[f(x) for x in (1, 2)]\nassert f",))),
]


@pytest.mark.parametrize(("cell", "wanted"), CELLS, ids=range(len(CELLS)))
def test_a_cell_is_read(tmp_path: Path, cell: object, wanted: CodeTests) -> None:
    loaded = load(
        tmp_path, {"input": "Write f", "tests": cell}, {"input": "Write g", "tests": None}
    )
    assert [case.tests for case in loaded.cases] == [wanted, None]
    assert not loaded.cases[0].metadata


BAD: list[tuple[object, str]] = [
    (7, "is or holds a number"),
    ([1], "is or holds a number"),
    ([{"input": {"x": 1}, "output": "2"}], "an input or an output that is no text"),
    ([{"input": "1"}], "an input or an output that is no text"),
    ({"inputs": ["1"], "outputs": []}, "1 inputs and 0 outputs"),
    ({"fn_name": "f", "inputs": [[1]], "outputs": [2]}, "fn_name"),
    ([{"input": "1", "output": "2", "testtype": "functional"}], "testtype"),
]


@pytest.mark.parametrize(("cell", "problem"), BAD, ids=range(len(BAD)))
def test_a_bad_cell_is_named(tmp_path: Path, cell: object, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        load(tmp_path, {"input": "Write f", "tests": cell})


def test_human_eval_is_recognised(tmp_path: Path) -> None:
    row = {
        "task_id": "Own/1",
        "prompt": "def one():\n",
        "entry_point": "one",
        "canonical_solution": "    return 1\n",
        "test": "def check(candidate):\n    assert candidate() == 1\n",
    }
    loaded = load(tmp_path, row)
    (case,) = loaded.cases
    assert case.tests == CodeTests((row["test"],), entry_point="one")
    assert (case.id, case.input, case.expected_output) == (
        "Own/1",
        "def one():\n",
        "    return 1\n",
    )
    assert "test -> tests" in loaded.notes[0] and loaded.notes[0].startswith("read as human-eval")


@pytest.mark.parametrize(
    ("asked", "beside", "before"),
    [
        ("text", {"test_setup_code": "A = 1"}, "A = 1"),
        ("prompt", {"test_imports": ["import re"]}, "import re"),
    ],
)
def test_mbpp_shows_its_tests_to_the_models(
    tmp_path: Path, asked: str, beside: dict[str, object], before: str
) -> None:
    row = {"task_id": 7, asked: "Write f.", "code": "f = 1", "test_list": list(CHECKS.checks)}
    (case,) = load(tmp_path, {**row, **beside}).cases
    assert case.tests == CodeTests(CHECKS.checks, before=before)
    assert case.input == (
        "Write f.\nYour code should pass these tests:\nassert f(1) == 2\nassert f(2) == 3"
    )


def test_other_tests_are_another_data_set(tmp_path: Path) -> None:
    digests = {
        load(tmp_path, {"input": "Write f", "tests": cell}).digest
        for cell in ("assert f(1)", "assert f(2)", None)
    }
    assert len(digests) == 3


def test_the_column_can_be_named(tmp_path: Path) -> None:
    row = {"input": "Write f", "mine": "assert f(1)"}
    (case,) = load(tmp_path, row, columns=Columns(tests="mine")).cases
    assert case.tests == CodeTests(("assert f(1)",))
