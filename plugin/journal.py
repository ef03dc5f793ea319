"""Keep every completion, judgment and score of a run as soon as it exists.

A run folder has one SQLite file (WAL, synchronous=NORMAL). Each row is committed when written, so
a killed run goes on where it was. The shared `Cache` keeps completions and judgments for other
runs, by a key made of their content.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, replace
from pathlib import Path
from typing import NamedTuple, TextIO

from pydantic import TypeAdapter

from plugin.errors import JournalError, OptionError
from plugin.keys import SecretMask
from plugin.records import Case, Completion, Failure, JudgeScore, Message, Score
from plugin.run_facts import RunHeader, RunState
from plugin.thinking import SplitText, answers_in, split_completions

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


JOURNAL_FORMAT = 2
"""Version 1 had no fixed names for facts and no `retry` for failures; it is refused."""

_RUN_TABLES = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS cases (position INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
    case_id TEXT, variant TEXT, key TEXT NOT NULL REFERENCES completions (key),
    PRIMARY KEY (case_id, variant));
CREATE TABLE IF NOT EXISTS scores (
    case_id TEXT, variant TEXT, metric TEXT, value REAL NOT NULL, reason TEXT,
    PRIMARY KEY (case_id, variant, metric));
CREATE TABLE IF NOT EXISTS judge_scores (
    case_id TEXT, variant TEXT, metric TEXT, judge TEXT, value REAL NOT NULL,
    PRIMARY KEY (case_id, variant, metric, judge));
CREATE TABLE IF NOT EXISTS failures (
    case_id TEXT, variant TEXT NOT NULL, metric TEXT NOT NULL, stage TEXT, reason TEXT,
    retry INTEGER NOT NULL, PRIMARY KEY (case_id, variant, metric));
"""

_HEADER = TypeAdapter(RunHeader)
_STATE = TypeAdapter(RunState)


class Journal(Cache):
    """Keep one run's rows; look into the shared cache, if there is one, for what is missing.

    Secrets are replaced in all that comes from models and servers before it is written.
    """

    def __init__(
        self, folder: Path, cache: Cache | None = None, mask: SecretMask | None = None
    ) -> None:
        """Open or create the folder's journal.

        Args:
            folder: the run's.
            cache: the shared one; None for none.
            mask: hides the run's secrets; None where there are none.

        Raises:
            JournalError: when it cannot be opened.
            OptionError: when another version wrote it.
        """
        super().__init__(folder / "journal.sqlite", SHARED_TABLES + _RUN_TABLES)
        self.cache = cache
        self._mask = mask or SecretMask()
        self._lock: TextIO | None = None
        self._has_failures = self._query("SELECT 1 FROM failures").fetchone() is not None
        version = self._fact("schema_version")
        if version is None:
            self._set_fact("schema_version", JOURNAL_FORMAT)
        elif version != JOURNAL_FORMAT:
            self.close()
            raise OptionError(
                f"the run in {folder} was written by another version of Finetune Verdict (its "
                f"journal has format {version}, this version reads {JOURNAL_FORMAT}). Report or "
                "resume it with the version that wrote it, or start a new run with another --out"
            )

    @classmethod
    def existing(cls, folder: Path, cache: Cache | None = None) -> Journal:
        """Open the journal of an earlier run.

        Raises:
            OptionError: when the folder holds none.
        """
        if not (folder / "journal.sqlite").is_file():
            raise OptionError(
                f"{folder} holds no journal.sqlite; give the --out directory of an earlier run"
            )
        return cls(folder, cache)

    def close(self) -> None:
        """Close the journal and its cache, and let other processes work in the folder."""
        super().close()
        if self.cache:
            self.cache.close()
        if self._lock:
            self._lock.close()

    def lock(self) -> None:
        """Keep other processes out of this run until the journal is closed.

        Raises:
            OptionError: when another process is working on it.
        """
        self._lock = self.path.with_name("journal.lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OptionError(
                f"another process is working in {self.path.parent}; wait until it ends, stop it, "
                "or choose another --out"
            ) from error

    @property
    def has_begun(self) -> bool:
        """Return whether a run has begun here."""
        return self._fact("header") is not None

    def begin(self, header: RunHeader, cases: Sequence[Case], failures: Sequence[Failure]) -> None:
        """Begin a new run: write its header, its cases and the failures of unusable rows.

        All of it is written, or nothing. The rows of an earlier run are deleted, except completions
        and judgments, which have keys made of their content and stay valid.
        """
        with self.transaction():
            for table in ("cases", "answers", "scores", "judge_scores", "failures"):
                self._query(f"DELETE FROM {table}")
            self._query("DELETE FROM meta WHERE name != 'schema_version'")
            self._has_failures = False
            self._set_fact("header", _HEADER.dump_python(header, mode="json"))
            for position, case in enumerate(cases):
                body = json.dumps(asdict(case), ensure_ascii=False)
                self._query("INSERT INTO cases VALUES (?, ?)", position, body)
            for failure in failures:
                self.add_failure(failure)

    @property
    def header(self) -> RunHeader:
        """Return what the run is.

        Raises:
            OptionError: when no run has begun here.
            JournalError: when it cannot be read.
        """
        found = self._fact("header")
        if found is None:
            raise OptionError(f"{self.path} holds no run that has begun; start one with `run`")
        with self._translate_errors():
            return _HEADER.validate_python(found)

    @property
    def state(self) -> RunState:
        """Return what is known of the run so far."""
        rows = self._query("SELECT name, body FROM meta WHERE name LIKE 'state.%'")
        with self._translate_errors():
            found = {name.removeprefix("state."): json.loads(body) for name, body in rows}
            return _STATE.validate_python(found)

    def save_state(self, state: RunState) -> None:
        """Write the fields of the state that changed."""
        before, after = (_STATE.dump_python(one, mode="json") for one in (self.state, state))
        for name, value in after.items():
            if value != before[name]:
                body = json.dumps(value, ensure_ascii=False)
                self._set_fact(f"state.{name}", json.loads(self._mask.in_content(body)))

    def save_calls(self, calls: Mapping[str, float]) -> None:
        """Write the fields of `RunState.judge_calls`; much faster than `save_state`."""
        row = "state.judge_calls", json.dumps(calls)
        self._query("INSERT OR REPLACE INTO meta VALUES (?, ?)", *row)

    def add_seconds(self, stage: str, seconds: float) -> None:
        """Add seconds to the total of a stage over all sessions of the run."""
        state = self.state
        total = state.seconds.get(stage, 0.0) + seconds
        self.save_state(replace(state, seconds={**state.seconds, stage: total}))

    def _fact(self, name: str) -> object:
        row = self._query("SELECT body FROM meta WHERE name = ?", name).fetchone()
        with self._translate_errors():
            return json.loads(row[0]) if row else None

    def _set_fact(self, name: str, value: object) -> None:
        body = json.dumps(value, ensure_ascii=False)
        self._query("INSERT OR REPLACE INTO meta VALUES (?, ?)", name, body)

    def cases(self) -> tuple[Case, ...]:
        """Return the run's cases, in the order of the source."""
        found = self._query("SELECT body FROM cases ORDER BY position")
        return tuple(_case_from_row(body) for (body,) in found)

    def add_answer(self, key: str, completion: Completion, shared: bool = True) -> None:
        """Keep a completion under its content key here and, if `shared`, in the shared cache."""
        completion = self._mask.in_completion(completion)
        self.add_completion(key, completion)
        where = (completion.case_id, completion.variant)
        with self._instead_of_failure(*where, ""):
            self._query("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", *where, key)
        if self.cache and shared:
            self.cache.add_completion(key, completion)

    def completions(self) -> dict[tuple[str, str], Completion]:
        """Return all completions, by case id and variant."""
        rows = self._query(
            "SELECT case_id, variant, body FROM answers JOIN completions USING (key)"
        )
        return {
            (case, name): completion_from_row(body).copy_for(case, name)
            for case, name, body in rows
        }

    def split_texts(self) -> dict[tuple[str, str], SplitText]:
        """Return each completion's thoughts and answer, by case id and variant.

        If the run scores the thoughts too, the whole completion is the answer.
        """
        completions = self.completions()
        if self.has_begun and self.header.strips_thoughts:
            return split_completions(completions)
        return {place: SplitText("", one.text) for place, one in completions.items()}

    def answers(self) -> dict[tuple[str, str], Completion]:
        """Return what is scored, the completions without their thoughts, by case id and variant.

        A completion that ends inside its thoughts has no answer and is left out.
        """
        return answers_in(self.completions(), self.split_texts())

    def completion(self, key: str, shared: bool = True) -> Completion | None:
        """Return the completion with this key; if `shared`, look into the shared cache too."""
        kept = super().completion(key)
        return self.cache.completion(key) if kept is None and self.cache and shared else kept

    def judgment(self, key: str) -> Judgment | None:
        """Return the judgment with this key; copy it here if the shared cache has it."""
        kept = super().judgment(key)
        if kept is None and self.cache and (kept := self.cache.judgment(key)):
            kept = self._mask_judgment(kept)
            super().add_judgment(key, kept)
        return kept

    def judge_versions(self) -> list[str]:
        """Return the judges' model versions as their providers reported them, sorted."""
        rows = self._query("SELECT DISTINCT version FROM judgments WHERE version != ''")
        return sorted(version for (version,) in rows)

    def add_judgment(
        self, key: str, judgment: Judgment, calls: Mapping[str, float] | None = None
    ) -> None:
        """Keep a judgment, here and in the shared cache; with it, what judging took so far."""
        hidden = self._mask_judgment(judgment)
        with self.transaction():
            super().add_judgment(key, hidden)
            if calls:
                self.save_calls(calls)
        if self.cache:
            self.cache.add_judgment(key, hidden)

    def _mask_judgment(self, judgment: Judgment) -> Judgment:
        hide = self._mask.in_content
        return judgment._replace(answer=hide(judgment.answer), version=hide(judgment.version))

    def add_score(self, score: Score) -> None:
        """Keep a score, and delete an earlier failure of the same thing."""
        where = (score.case_id, score.variant, score.metric)
        with self._instead_of_failure(*where):
            self._query(
                "INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?, ?)",
                *(*where, score.value, score.reason and self._mask.in_content(score.reason)),
            )

    def add_judge_score(self, score: JudgeScore) -> None:
        """Keep the score that one judge of several gave."""
        self._query("INSERT OR REPLACE INTO judge_scores VALUES (?, ?, ?, ?, ?)", *astuple(score))

    def judge_scores(self) -> tuple[JudgeScore, ...]:
        """Return the scores of the single judges, in any order."""
        rows = self._query("SELECT case_id, variant, metric, judge, value FROM judge_scores")
        return tuple(JudgeScore(*row) for row in rows)

    def scores(self) -> tuple[Score, ...]:
        """Return all scores, in any order."""
        rows = self._query("SELECT case_id, variant, metric, value, reason FROM scores")
        return tuple(Score(*row) for row in rows)

    def add_failure(self, failure: Failure) -> None:
        """Keep a failure; it replaces an earlier one of the same thing."""
        self._has_failures = True
        self._query(
            "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, ?, ?)",
            failure.case_id,
            failure.variant or "",
            failure.metric or "",
            failure.stage,
            self._mask.in_content(failure.reason),
            failure.retry,
        )

    @contextmanager
    def _instead_of_failure(self, *where: str) -> Iterator[None]:
        """Delete the failure of this case, variant and metric when the block has written."""
        if not self._has_failures:
            yield
            return
        with self.transaction():
            yield
            self._query(
                "DELETE FROM failures WHERE case_id = ? AND variant = ? AND metric = ?", *where
            )

    def failures(self) -> tuple[Failure, ...]:
        """Return all failures, sorted by variant, metric and case id."""
        rows = self._query(
            "SELECT case_id, stage, reason, variant, metric, retry FROM failures "
            "ORDER BY variant, metric, case_id"
        )
        return tuple(
            Failure(case, stage, reason, variant or None, metric or None, bool(retry))
            for case, stage, reason, variant, metric, retry in rows
        )


def _case_from_row(body: str) -> Case:
    fields = json.loads(body)
    fields["messages"] = tuple(Message(**turn) for turn in fields["messages"])
    fields |= {name: tuple(fields.get(name, ())) for name in ("context", "references", "expect")}
    return Case(**fields)
