"""Keep completions and judgments by a key made of their content.

The shared cache is an SQLite file that holds them for all runs. A run's journal has the same two
tables, and more of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from pydantic import TypeAdapter, ValidationError

from plugin.errors import DamagedError, JournalError, one_line
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

    tables: ClassVar[str] = SHARED_TABLES
    """The SQL that makes the tables."""

    added_tables: ClassVar[frozenset[str]] = frozenset()
    """Tables that an older file of the same format may lack."""

    way_out: ClassVar[str] = "move it away ({command}), and a new one is made"
    """What helps when the file is damaged."""

    or_else: ClassVar[str] = "; or leave --cache_dir out"
    """What helps when it cannot be written."""

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        Raises:
            JournalError: when it cannot be opened.
            DamagedError: when it is not an SQLite file with our tables.
        """
        self.path = path
        self._open()

    def _open(self) -> None:
        with self._translate_errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # One thread works at a time (the main thread waits while the worker works).
            self._db = sqlite3.connect(self.path, timeout=30, check_same_thread=False)
            self._db.isolation_level = None
        try:
            with self._translate_errors():
                is_whole = self._check_tables(_columns(self._db))
                self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;")
                if not is_whole:  # all tables or none, so that a kill leaves no half of them
                    self._db.executescript(f"BEGIN IMMEDIATE; {self.tables} COMMIT;")
                self._place = place_of(self.path)
        except BaseException:
            self._db.close()
            raise

    def require_place(self) -> None:
        """Make the file anew if it was deleted, moved or replaced since it was opened.

        SQLite itself would go on writing into a file that nobody finds any more.
        """
        if place_of(self.path) != self._place:
            self._db.close()
            self._open()

    def _check_tables(self, have: Mapping[str, Sequence[str]]) -> bool:
        """Return whether the file has all tables; it is not changed.

        Raises:
            DamagedError: when it has only some of them, or others.
        """
        with closing(sqlite3.connect(":memory:")) as fresh:
            fresh.executescript(self.tables)
            wanted = _columns(fresh)
        if not have:
            return False
        if not have.keys() & wanted.keys():
            raise self.damaged("it is an SQLite file of another program")
        for table, columns in wanted.items():
            if table not in have and table not in self.added_tables:
                raise self.damaged(f"it has no table {table!r}")
            if missing := set(columns) - set(have.get(table, columns)):
                raise self.damaged(f"the table {table!r} has no column {min(missing)!r}")
        return wanted.keys() <= have.keys()

    def damaged(self, what: str) -> DamagedError:
        """Return the error for a file that is not as this program wrote it, with the way out."""
        old, new = (shlex.quote(str(path)) for path in (self.path, f"{self.path}.damaged"))
        way_out = self.way_out.format(command=f"mv {old} {new}")
        return DamagedError(
            f"{self.path} is damaged: {what[:_LONGEST].rstrip('.')}. Put a good copy in its place, "
            f"or {way_out}"
        )

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
            self._roll_back()
            raise
        self._execute("COMMIT")

    def _roll_back(self) -> None:
        if self._db.in_transaction:  # else SQLite has rolled back itself
            with self._translate_errors():
                self._db.execute("ROLLBACK")

    def completion(self, key: str) -> Completion | None:
        """Return the completion with this content key; None if it was never made."""
        rows = self._rows("SELECT body FROM completions WHERE key = ?", key)
        with self._reading("completions"):
            return completion_from_row(rows[0][0]) if rows else None

    def judgment(self, key: str) -> Judgment | None:
        """Return the judgment with this content key; None if it was never asked for."""
        rows = self._rows(f"SELECT {_JUDGMENT} FROM judgments WHERE key = ?", key)
        return Judgment(*rows[0]) if rows else None

    def add_completion(self, key: str, completion: Completion) -> None:
        """Keep a completion, unless the key has one already."""
        body = json.dumps(asdict(completion), ensure_ascii=False)
        self._query("INSERT OR IGNORE INTO completions VALUES (?, ?)", key, body)

    def add_judgment(self, key: str, judgment: Judgment) -> None:
        """Keep a judgment; it replaces an older one with the same key."""
        self._query("INSERT OR REPLACE INTO judgments VALUES (?, ?, ?, ?, ?, ?)", key, *judgment)

    def n_rows(self, table: str) -> int:
        """Return the number of rows of a table."""
        return int(self._rows(f"SELECT count(*) FROM {table}")[0][0])

    def _query(self, sql: str, *values: object) -> sqlite3.Cursor:
        """Write, but only into a file that is still in its place when the transaction begins."""
        if not self._db.in_transaction:
            self.require_place()
        return self._execute(sql, values)

    def _rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(sql, values).fetchall()
        except (sqlite3.Error, OSError, ValueError) as error:
            raise self._translated(error) from error

    def _execute(self, sql: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        try:
            return self._db.execute(sql, values)
        except (sqlite3.Error, OSError, ValueError) as error:
            raise self._translated(error) from error

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, ValueError) as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> Exception:
        """Return our own error for one of SQLite, of the disk, or of text that is not UTF-8."""
        if isinstance(error, sqlite3.Error):
            # Text that is not UTF-8 has no code.
            code = getattr(error, "sqlite_errorcode", None)
            is_text = code is None and isinstance(error, sqlite3.OperationalError)
            if is_text or (code is not None and code & _PRIMARY in _DAMAGE):
                return self.damaged(one_line(error))
        elif isinstance(error, UnicodeDecodeError):
            return self.damaged(one_line(error))
        return self._fault(error)

    def _fault(self, error: Exception) -> JournalError:
        return JournalError(
            f"{self.path}: {one_line(error)}. The file and its folder must be writable, and the "
            f"disk must have room{self.or_else}"
        )

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """Say which table is damaged when a row of it cannot be read."""
        try:
            yield
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise self.damaged(f"{what}: {_short(error)}") from error


_PRIMARY = 0xFF
"""The part of SQLite's error code without its details."""

_DAMAGE = frozenset(
    {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH}
)
"""Errors that the file's content causes; all others come from the disk or from other processes."""


_LONGEST = 300
"""Characters of what is wrong: it may quote the file."""


def place_of(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from all others; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def find_open_file(place: tuple[int, int] | None) -> Path | None:
    """Return where a file that this process has open lies now; None if nowhere, or not on Linux."""
    for link in Path("/proc/self/fd").glob("*"):
        try:
            found = Path(os.readlink(link))
        except OSError:
            continue
        if place and place_of(found) == place:
            return found
    return None


def _columns(db: sqlite3.Connection) -> dict[str, list[str]]:
    """Return the columns of every table."""
    tables = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    columns = "SELECT name FROM pragma_table_info(?)"
    return {
        name: [column for (column,) in db.execute(columns, (name,))]
        for (name,) in tables
        if not name.startswith("sqlite_")
    }


def _short(error: Exception) -> str:
    """Return the first thing that is wrong with a row, in a few words."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'all of it'}: {first['msg']}"
    return f"{type(error).__name__}: {one_line(error)}"


_COMPLETION = TypeAdapter(Completion)


def completion_from_row(body: str) -> Completion:
    """Return the completion that a row holds.

    Raises:
        ValueError: when it holds none.
    """
    fields = json.loads(body)
    if isinstance(fields, dict) and "n_tokens" not in fields:  # rows made before it was counted
        fields["n_tokens"] = len(fields["token_ids"])
    return _COMPLETION.validate_python(fields)
