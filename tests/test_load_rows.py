"""The journal's table of requests under load."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from plugin.errors import DamagedError
from plugin.journal import Journal
from plugin.keys import SecretMask
from plugin.load_rows import StreamedRequest

ANSWERED = StreamedRequest(
    *("a", "vanilla", 0.1, 0.4, 1.5, 1.2, 7, "server", 6, 5, True, 40, 10),
)
REFUSED = StreamedRequest("b", "vanilla", failure="HTTP 429: slow down", too_many=True)


def test_requests_come_back_as_they_went_in_and_a_level_is_replaced(tmp_path: Path) -> None:
    with closing(Journal(tmp_path)) as journal:
        assert journal.load_requests() == {}
        journal.set_load_level(8, [ANSWERED, REFUSED])
        journal.set_load_level(1, [ANSWERED])
        journal.set_load_level(8, [REFUSED])
    with closing(Journal.existing(tmp_path)) as journal:
        assert journal.load_requests() == {1: (ANSWERED,), 8: (REFUSED,)}


def test_secrets_in_reasons_are_hidden(tmp_path: Path) -> None:
    key = "sk-very-secret-1234567890"
    with closing(Journal(tmp_path, mask=SecretMask(key))) as journal:
        row = StreamedRequest("a", "vanilla", failure=f"HTTP 500: key {key} is wrong")
        journal.set_load_level(1, [row])
        assert key not in journal.load_requests()[1][0].failure
    assert key.encode() not in (tmp_path / "journal.sqlite").read_bytes()


def test_a_row_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with closing(Journal(tmp_path)) as journal:
        journal.set_load_level(1, [ANSWERED])
    with closing(sqlite3.connect(tmp_path / "journal.sqlite")) as db, db:
        db.execute("UPDATE load_requests SET body = '{}'")
    with (
        closing(Journal.existing(tmp_path)) as journal,
        pytest.raises(DamagedError, match="load_requests"),
    ):
        journal.load_requests()


def test_the_rate_counts_what_follows_the_first_token() -> None:
    assert ANSWERED.tokens_per_s == 6 / 1.2
    assert StreamedRequest("a", "vanilla", n_tokens=1, text_s=0.5).tokens_per_s is None
    assert StreamedRequest("a", "vanilla", n_tokens=9, text_s=0.0).tokens_per_s is None
