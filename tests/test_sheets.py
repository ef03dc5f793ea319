from __future__ import annotations

import csv
import dataclasses
import io

import pytest

from plugin.hosts.classic import detailed_rows
from plugin.records import Message
from plugin.report.tables import csv_text, make_tables
from plugin.sheets import guard_cell, spell_breaks, spell_controls, unguard_cell
from plugin.trust.humans import rating_template
from tests.report import report_samples as samples
from tests.report.test_tables import with_text
from tests.samples import case, completion

FORMULAS = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\tx",
    "\r=1",
    " =1+1",
    "   @SUM(A1)",
    "\u00a0=1",
    "\u3000=1",
    "\ufeff=1",
    "\u200b=1",
    "\0=1",
    "\n=1",
    "＝1+1",
    "＋1+cmd",
    "－2+3",
    "＠SUM(A1)",
    " ＝1",
    "﹦1",
    "﹣1+2",
    "⁼1",
    "\u22121+2",
]
PLAIN = ["-5", "+3.25", "-1e-3", " -5 ", "a=b", "1 - 2", "", " ", "'tis", "'5", "½", "x＝1"]


@pytest.mark.parametrize("text", FORMULAS)
def test_what_a_spreadsheet_might_run_gets_an_apostrophe(text: str) -> None:
    assert guard_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", PLAIN)
def test_numbers_and_plain_text_stay_as_they_are(text: str) -> None:
    assert guard_cell(text) == text


@pytest.mark.parametrize("text", [*FORMULAS, *PLAIN, *(f"'{one}" for one in FORMULAS), "''=1"])
def test_it_can_be_taken_off_again(text: str) -> None:
    assert unguard_cell(guard_cell(text)) == text


@pytest.mark.parametrize("text", FORMULAS)
def test_no_file_has_a_cell_that_is_run(text: str) -> None:
    report = with_text(samples.build(4), text)
    cells = [
        cell
        for table in make_tables(report).values()
        for line in csv_text(table).splitlines()
        for cell in next(csv.reader([line]))
    ]
    cells += [str(cell) for row in detailed_rows(report).to_numpy().tolist() for cell in row]
    rated = dataclasses.replace(case(text), messages=(Message("user", text),))
    spec = dataclasses.replace(samples.CORRECTNESS, name=text)
    made = {(text, "vanilla"): completion(text, case_id=text)}
    for row in csv.reader(io.StringIO(rating_template([rated], made, [spec], 0), newline="")):
        cells += row
    assert any(cell.startswith("'") for cell in cells)
    for cell in cells:
        assert guard_cell(cell) == cell or cell.startswith("'"), cell


def test_breaks_are_spelled_out() -> None:
    assert spell_breaks("a\nb\r\u2028c") == r"a\nb\r\u2028c"


def test_what_steers_a_terminal_is_spelled_out() -> None:
    assert spell_breaks("a\x1b[1m\x07\0\u202eb\tc") == r"a\x1b[1m\x07\x00\u202eb" + "\tc"
    assert spell_controls("a\nb\x9b\u2069") == "a\nb" + r"\x9b\u2069"
