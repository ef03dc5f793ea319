"""Keep every completion, judgment and score of a run as soon as it exists.

A run folder has one SQLite file (WAL, synchronous=NORMAL). Each row is committed when written, so
a killed run goes on where it was. The shared cache (`plugin.cache`) keeps completions and judgments
for other runs.
"""

from __future__ import annotations

import fcntl
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict, astuple, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

from pydantic import TypeAdapter

from plugin.cache import (
    SHARED_TABLES,
    Cache,
    Judgment,
    find_open_file,
    place_of,
)
from plugin.commits import Commits
from plugin.errors import JournalGoneError, OptionError
from plugin.item_rows import ITEM_TABLES
from plugin.keys import SecretMask
from plugin.load_rows import LOAD_TABLES
from plugin.preference_rows import PREFERENCE_TABLES
from plugin.records import Case, Completion, Failure, JudgeScore, Score
from plugin.run_facts import RunHeader, RunState
from plugin.sample_rows import SAMPLE_TABLES, SampleRows, Samples
from plugin.thinking import SplitText, answers_in, sample_answers_in, split_completions

JOURNAL_FORMAT = 2
"""Version 1 had no fixed names for facts and no `retry` for failures; it is refused."""

_FORMATS = 1000
"""No format has such a number."""

_RUN_TABLES = f"""
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
INSERT OR IGNORE INTO meta VALUES ('schema_version', '{JOURNAL_FORMAT}');
"""

_OWN_TABLES = (
    *("cases", "answers", "scores", "judge_scores", "failures"),
    *("preferences", "preference_failures", "item_results", "text_readings", "next_tokens"),
    *("sample_answers", "sample_scores", "sample_failures"),
    "load_requests",
)
"""What a new run does not take over."""

_CASE = TypeAdapter(Case)
_HEADER = TypeAdapter(RunHeader)
_STATE = TypeAdapter(RunState)


def kept_text(folder: Path | None) -> str:
    """Return what the folder's journal holds of its run, counted; "" for nothing.

    It reads the file anew, so that it never counts what is not there any more.
    """
    if folder is None or not (folder / "journal.sqlite").is_file():
        return ""
    tables = {"answers": "completions", **{n: n for n in ("judgments", "scores", "preferences")}}
    try:
        address = f"{(folder / 'journal.sqlite').resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=1)) as db:
            counts = {
                name: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table, name in tables.items()
            }
    except sqlite3.Error:
        return ""
    return ", ".join(f"{n:,} {name if n > 1 else name[:-1]}" for name, n in counts.items() if n)


class Journal(SampleRows):
    """Keep one run's rows; look into the shared cache, if there is one, for what is missing.

    Secrets are replaced in all that comes from models and servers before it is written.
    """

    tables = (
        SHARED_TABLES + _RUN_TABLES + PREFERENCE_TABLES + LOAD_TABLES + ITEM_TABLES + SAMPLE_TABLES
    )
    way_out = (
        "move it away ({command}) and begin the run again with the command that began it: what the "
        "cache (--cache_dir) holds is not made or paid for again"
    )
    or_else = ""

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
            DamagedError: when it is not an SQLite file with our tables.
            OptionError: when another version wrote it.
        """
        super().__init__(folder / "journal.sqlite")
        self.cache = cache
        self._mask = mask or SecretMask()
        self.commits = Commits(self._both)
        self._lock: TextIO | None = None
        self.scratch: TemporaryDirectory[str] | None = None
        self._has_failures = bool(self._rows("SELECT 1 FROM failures LIMIT 1"))

    def _check_tables(self, have: Mapping[str, Sequence[str]]) -> bool:
        if "meta" in have:
            version = self._fact("schema_version")
            if type(version) is not int or not 0 < version < _FORMATS:
                raise self.damaged("it does not say which format it has")
            if version != JOURNAL_FORMAT:
                raise OptionError(
                    f"the run in {self.path.parent} was written by another version of Finetune "
                    f"Verdict (its journal has format {version}, this version reads "
                    f"{JOURNAL_FORMAT}). Report or resume it with the version that wrote it, or "
                    "start a new run with another --out"
                )
        return super()._check_tables(have)

    @classmethod
    def existing(cls, folder: Path) -> Journal:
        """Open the journal of an earlier run.

        Raises:
            OptionError: when the folder holds none.
        """
        if not (folder / "journal.sqlite").is_file():
            raise OptionError(
                f"{folder} holds no journal.sqlite; give the --out directory of an earlier run"
            )
        return cls(folder)

    def close(self) -> None:
        """Close the journal and its cache, and let other processes work in the folder."""
        super().close()
        if self.cache:
            self.cache.close()
        if self._lock:
            self._lock.close()
        if self.scratch:
            self.scratch.cleanup()

    @contextmanager
    def _both(self) -> Iterator[None]:
        """Commit what is written in the block here and, if there is one, in the shared cache."""
        with self.cache.transaction() if self.cache else nullcontext(), self.transaction():
            yield

    def require_place(self) -> None:
        """Check that the file is where it was opened.

        Raises:
            JournalGoneError: when it was deleted, moved or replaced since; saying where it is now.
        """
        if self.scratch or place_of(self.path) == self._place:
            return
        now = find_open_file(self._place)
        if now:
            how = f"it was moved to {now.parent} while the run went on"
        elif self.path.exists():
            how = "another file lies in its place, and what this run made is lost"
        else:
            how = "it was deleted while the run went on, and what this run made is lost"
        cached = "; what is in the cache is not made again" if self.cache else ""
        again = "" if now else f". Begin the run again with the same command{cached}"
        raise JournalGoneError(f"{self.path} is gone: {how}{again}", str(now.parent) if now else "")

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

    def damaged_pages(self) -> str:
        """Return what SQLite finds wrong with the file; "" for nothing."""
        found = str(self._rows("PRAGMA integrity_check(1)")[0][0])
        return "" if found == "ok" else " ".join(found.split())

    @property
    def holds_judgments(self) -> bool:
        """Return whether there is any judgment, here or in the shared cache."""
        places = [self, self.cache] if self.cache else [self]
        return any(place.n_rows("judgments") for place in places)

    def has_rows(self) -> bool:
        """Return whether there is anything that only a run writes."""
        tables = ("cases", "answers", "scores", "preferences", "failures")
        return any(self.n_rows(table) for table in tables)

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
            for table in _OWN_TABLES:
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
            DamagedError: when it cannot be read.
        """
        found = self._fact("header")
        if found is None:
            raise OptionError(f"{self.path} holds no run that has begun; start one with `run`")
        with self._reading("header"):
            return _HEADER.validate_python(found)

    @property
    def state(self) -> RunState:
        """Return what is known of the run so far."""
        rows = self._rows("SELECT name, body FROM meta WHERE name LIKE 'state.%'")
        with self._reading("state"):
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
        rows = self._rows("SELECT body FROM meta WHERE name = ?", name)
        with self._reading(name):
            return json.loads(rows[0][0]) if rows else None

    def _set_fact(self, name: str, value: object) -> None:
        body = json.dumps(value, ensure_ascii=False)
        self._query("INSERT OR REPLACE INTO meta VALUES (?, ?)", name, body)

    def cases(self) -> tuple[Case, ...]:
        """Return the run's cases, in the order of the source."""
        found = self._rows("SELECT body FROM cases ORDER BY position")
        with self._reading("cases"):
            return tuple(_CASE.validate_json(body) for (body,) in found)

    def add_answer(self, key: str, completion: Completion, shared: bool = True) -> None:
        """Keep a completion under its content key here and, if `shared`, in the shared cache."""
        completion = self.keep_completion(key, completion, shared)
        where = (completion.case_id, completion.variant)
        with self._instead_of_failure(*where, ""):
            if completion.sample:
                self._add_later_answer(key, completion)
            else:
                self._query("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", *where, key)

    def keep_completion(self, key: str, completion: Completion, shared: bool = True) -> Completion:
        """Keep a completion that answers no case, as `add_answer`; return it without secrets."""
        completion = self._mask.in_completion(completion)
        self.add_completion(key, completion)
        if self.cache and shared:
            self.cache.add_completion(key, completion)
        return completion

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

        A completion that ends inside its thoughts has no answer and is left out. Of several
        samples it is the first one with an answer.
        """
        if self.has_samples():
            return {place: own[0] for place, own in self.sample_answers().items()}
        return answers_in(self.completions(), self.split_texts())

    def sample_answers(self) -> Samples:
        """Return what is scored of all samples, as `answers`; a place without any is left out."""
        if not self.has_samples():
            return {place: (one,) for place, one in self.answers().items()}
        strips = self.has_begun and self.header.strips_thoughts
        return sample_answers_in(self.samples(), strips=strips)

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

    def judgments(self) -> Iterator[Judgment]:
        """Yield all judgments, in any order."""
        for row in self._rows(f"SELECT {', '.join(Judgment._fields)} FROM judgments"):
            yield Judgment(*row)

    def judge_versions(self) -> list[str]:
        """Return the judges' model versions as their providers reported them, sorted."""
        rows = self._rows("SELECT DISTINCT version FROM judgments WHERE version != ''")
        return sorted(version for (version,) in rows)

    def add_judgment(self, key: str, judgment: Judgment) -> None:
        """Keep a judgment, here and in the shared cache."""
        hidden = self._mask_judgment(judgment)
        super().add_judgment(key, hidden)
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
        rows = self._rows("SELECT case_id, variant, metric, judge, value FROM judge_scores")
        return tuple(JudgeScore(*row) for row in rows)

    def scores(self) -> tuple[Score, ...]:
        """Return all scores, in any order."""
        rows = self._rows("SELECT case_id, variant, metric, value, reason FROM scores")
        return tuple(Score(*row) for row in rows)

    def add_failure(self, failure: Failure) -> None:
        """Keep a failure; it replaces an earlier one of the same thing."""
        if failure.baseline is not None:
            self.add_preference_failure(failure)
            return
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
        """Return all failures, sorted by variant, metric and case id; those of pairs follow."""
        rows = self._rows(
            "SELECT case_id, stage, reason, variant, metric, retry FROM failures "
            "ORDER BY variant, metric, case_id"
        )
        own = (
            Failure(case, stage, reason, variant or None, metric or None, bool(retry))
            for case, stage, reason, variant, metric, retry in rows
        )
        return (*own, *self.preference_failures())
