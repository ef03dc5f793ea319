"""Completions and judgments by content, in one SQLite file.

A run's journal and the cache that runs share have this in common.
WAL, synchronous=NORMAL, and each row committed when it is written.
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
    """What a judge answered to one prompt, validated against its schema.

    Attributes:
        answer: the validated answer as JSON text.
        version: the model version that the provider reports, "" where it does not.
        n_prompt_tokens: as the provider counted, 0 where it does not.
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
    """Sha256 over the parts' canonical JSON: 64 hex digits."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Cache:
    """Completions and judgments by content, shared between runs."""

    def __init__(self, path: Path, tables: str = SHARED_TABLES) -> None:
        """Open or create the file.

        Raises:
            JournalError: when it cannot be opened, or is no SQLite file.
        """
        self.path = path
        with self._translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            # One thread works at a time (the main thread waits while the worker works).
            self._db = sqlite3.connect(path, timeout=30, check_same_thread=False)
            self._db.isolation_level = None
            self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + tables)

    def close(self) -> None:
        """Close the file; what was written is already committed."""
        self._db.close()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """All that is written inside is written, or nothing; one inside another is part of it."""
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
        """The completion with this content key, if it was ever made."""
        row = self._query("SELECT body FROM completions WHERE key = ?", key).fetchone()
        return completion_of(row[0]) if row else None

    def judgment(self, key: str) -> Judgment | None:
        """The judgment with this content key, if it was ever asked for."""
        row = self._query(f"SELECT {_JUDGMENT} FROM judgments WHERE key = ?", key).fetchone()
        return Judgment(*row) if row else None

    def add_completion(self, key: str, completion: Completion) -> None:
        """Keep a completion; the first one of a key stays."""
        body = json.dumps(asdict(completion), ensure_ascii=False)
        self._query("INSERT OR IGNORE INTO completions VALUES (?, ?)", key, body)

    def add_judgment(self, key: str, judgment: Judgment) -> None:
        """Keep a judgment; one that is asked for anew takes the old one's place."""
        self._query("INSERT OR REPLACE INTO judgments VALUES (?, ?, ?, ?, ?, ?)", key, *judgment)

    def _query(self, sql: str, *values: object) -> sqlite3.Cursor:
        with self._translated():
            return self._db.execute(sql, values)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise JournalError(
                f"{self.path}: {error}. It must be a writable file with room on its disk; "
                "what was written before is kept"
            ) from error


def completion_of(body: str) -> Completion:
    """The completion in a row."""
    fields = json.loads(body)
    fields["token_ids"] = tuple(fields["token_ids"])
    fields.setdefault("n_tokens", len(fields["token_ids"]))  # rows made before it was counted
    return Completion(**fields)
