"""A journal whose load makes no sense is named as damaged, before anything is told of it."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from plugin.errors import DamagedError
from plugin.journal import Journal
from plugin.load_rows import StreamedRequest
from plugin.records import VANILLA
from plugin.reopen import require_whole
from plugin.run_facts import LoadFacts, LoadLevel
from tests.gate.made_runs import CORRECTNESS, EVEN, write_run

ROW = StreamedRequest("1", VANILLA, 0.1, 0.1, 0.5, 0.4, 9, "server", 9, 9)
FACTS = LoadFacts((LoadLevel(8, 10, 8, 0, 10.0),), (8,), 0, "p95=2")


def written(folder: Path, row: StreamedRequest = ROW, facts: LoadFacts = FACTS) -> Journal:
    write_run(folder, {"t": {CORRECTNESS: EVEN}}, n=10)
    journal = Journal.existing(folder)
    journal.set_load_level(8, [row])
    journal.save_state(replace(journal.state, load=facts))
    return journal


def test_a_whole_load_is_whole(tmp_path: Path) -> None:
    with closing(written(tmp_path)) as journal:
        require_whole(journal)


@pytest.mark.parametrize(
    "changed",
    [
        {"case_id": "99"},
        {"variant": "nobody"},
        {"total_s": -1.0},
        {"total_s": None},
        {"n_tokens": -3},
        {"failure": "HTTP 500: no"},
    ],
)
def test_a_request_that_makes_no_sense_is_named(tmp_path: Path, changed: dict[str, object]) -> None:
    row = replace(ROW, **changed)  # type: ignore[arg-type]
    with (
        closing(written(tmp_path, row)) as journal,
        pytest.raises(DamagedError, match="load_requests: that of case .* at 8 at once makes no"),
    ):
        require_whole(journal)


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        (replace(FACTS, guard="much"), "state: load"),
        (replace(FACTS, levels=(LoadLevel(0, 10, 8, 0, 1.0),)), "state: load"),
        (replace(FACTS, levels=(*FACTS.levels, *FACTS.levels)), "state: load"),
        (replace(FACTS, levels=(LoadLevel(8, 10, 8, 0, math.inf),)), "state"),
    ],
)
def test_facts_that_make_no_sense_are_named(tmp_path: Path, facts: LoadFacts, told: str) -> None:
    with (
        closing(written(tmp_path, facts=facts)) as journal,
        pytest.raises(DamagedError, match=told),
    ):
        require_whole(journal)


def test_infinite_times_are_named(tmp_path: Path) -> None:
    with closing(written(tmp_path)):
        pass
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as db, db:
        db.execute("UPDATE load_requests SET body = replace(body, '0.5', 'Infinity')")
    with closing(Journal.existing(tmp_path)) as journal, pytest.raises(DamagedError):
        require_whole(journal)
