"""Keep completions and judgments by a key made of their content.

The shared cache is an SQLite file that holds them for all runs. A run's journal has the same two
tables, and more of its own.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from plugin.errors import JournalError
from plugin.records import Completion

SHARED_TABLES = """
CREATE TABLE IF NOT EXISTS completions (key TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS judgments (
    key TEXT PRIMARY KEY, answer TEXT NOT NULL, version TEXT, n_prompt_tokens INTEGER,
    n_completion_tokens INTEGER, seconds REAL);
"""


class Judgment(NamedTuple):
    """Hold what a judge answered to one prompt, checked against its schema.

    Attributes:
        answer: the validated answer as JSON text.
        version: the model version that the provider reports; "" where it reports none.
        n_prompt_tokens: as the provider counted; 0 where it counts none.
        n_completion_tokens: likewise.
        seconds: wall time of the call.
    """

    answer: str
    version: str = ""
    n_prompt_tokens: int = 0
    n_completion_tokens: int = 0
    seconds: float = 0.0


_JUDGMENT = ", ".join(Judgment._fields)


def content_key(*parts: object) -> str:
    """Return the sha256 of the parts as canonical JSON, 64 hex digits."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Cache:
    """Keep completions and judgments by a key made of their content, shared between runs."""

    def __init__(self, path: Path, tables: str = SHARED_TABLES) -> None:
        """Open or create the file.

        Raises:
            JournalError: when it cannot be opened, or is not an SQLite file.
        """
        self.path = path
        with self._translate_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            # One thread works at a time (the main thread waits while the worker works).
            self._db = sqlite3.connect(path, timeout=30, check_same_thread=False)
            self._db.isolation_level = None
            self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + tables)

    def close(self) -> None:
        """Close the file; everything written is already committed."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything written in the block, or nothing; a block inside another joins it."""
        if self._db.in_transaction:
            yield
            return
        self._query("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._query("ROLLBACK")
            raise
        self._query("COMMIT")

    def completion(self, key: str) -> Completion | None:
        """Return the completion with this content key; None if it was never made."""
        row = self._query("SELECT body FROM completions WHERE key = ?", key).fetchone()
        return completion_from_row(row[0]) if row else None

    def judgment(self, key: str) -> Judgment | None:
        """Return the judgment with this content key; None if it was never asked for."""
        row = self._query(f"SELECT {_JUDGMENT} FROM judgments WHERE key = ?", key).fetchone()
        return Judgment(*row) if row else None

    def add_completion(self, key: str, completion: Completion) -> None:
        """Keep a completion, unless the key has one already."""
        body = json.dumps(asdict(completion), ensure_ascii=False)
        self._query("INSERT OR IGNORE INTO completions VALUES (?, ?)", key, body)

    def add_judgment(self, key: str, judgment: Judgment) -> None:
        """Keep a judgment; it replaces an older one with the same key."""
        self._query("INSERT OR REPLACE INTO judgments VALUES (?, ?, ?, ?, ?, ?)", key, *judgment)

    def _query(self, sql: str, *values: object) -> sqlite3.Cursor:
        with self._translate_errors():
            return self._db.execute(sql, values)

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, ValueError) as error:
            raise JournalError(
                f"{self.path}: {error}. The file must be writable and its disk must have room; "
                "everything written before is kept"
            ) from error


def completion_from_row(body: str) -> Completion:
    """Return the completion that a row holds."""
    fields = json.loads(body)
    fields["token_ids"] = tuple(fields["token_ids"])
    fields.setdefault("n_tokens", len(fields["token_ids"]))  # rows made before it was counted
    return Completion(**fields)
