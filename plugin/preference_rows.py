"""Keep the preferences of a run in its journal, and the failures that stand in their places.

A case, two variants and a metric have a row for each judge that was asked. The rows that count make
the score: their mean. A second judge's row counts alone; those of the first judges stay, for the
agreement of the judges.
"""

from __future__ import annotations

from collections.abc import Sequence

from plugin.cache import Cache
from plugin.keys import SecretMask
from plugin.records import Failure, Preference

PREFERENCE_TABLES = """
CREATE TABLE IF NOT EXISTS preferences (
    case_id TEXT, variant TEXT, baseline TEXT, metric TEXT, judge TEXT, repeat INTEGER,
    first INTEGER, second INTEGER, value REAL NOT NULL, reason TEXT, counts INTEGER NOT NULL,
    PRIMARY KEY (case_id, variant, baseline, metric, judge, repeat));
CREATE TABLE IF NOT EXISTS preference_failures (
    case_id TEXT, variant TEXT, baseline TEXT, metric TEXT, stage TEXT, reason TEXT,
    retry INTEGER NOT NULL, PRIMARY KEY (case_id, variant, baseline, metric));
"""

_PLACE = "case_id = ? AND variant = ? AND baseline = ? AND metric = ?"
_ROW = "case_id, variant, baseline, metric, first, second, value, reason, judge, repeat"


class PreferenceRows(Cache):
    """The part of a journal that keeps preferences."""

    _mask: SecretMask
    added_tables = frozenset({"preferences", "preference_failures"})

    def add_preferences(self, rows: Sequence[Preference]) -> None:
        """Keep what the judges said of one pair, all of it or nothing, and delete its failure.

        Earlier rows of the same pair stay, but no longer count.
        """
        with self.transaction():
            for place in {(r.case_id, r.variant, r.baseline, r.metric) for r in rows}:
                self._query(f"UPDATE preferences SET counts = 0 WHERE {_PLACE}", *place)
                self._query(f"DELETE FROM preference_failures WHERE {_PLACE}", *place)
            for row in rows:
                self._add_preference(row, counts=True)

    def add_repeat(self, row: Preference) -> None:
        """Keep what a judge said when it was asked again; it never counts."""
        self._add_preference(row, counts=False)

    def _add_preference(self, row: Preference, *, counts: bool) -> None:
        self._query(
            "INSERT OR REPLACE INTO preferences VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(row.case_id, row.variant, row.baseline, row.metric, row.judge, row.repeat),
            *(row.first, row.second, row.value),
            row.reason and self._mask.in_content(row.reason),
            counts,
        )

    def preferences(self) -> tuple[Preference, ...]:
        """Return the preferences that count, in any order."""
        rows = self._rows(f"SELECT {_ROW} FROM preferences WHERE counts")
        return tuple(Preference(*row) for row in rows)

    def all_preferences(self) -> tuple[Preference, ...]:
        """Return what every judge said, also where a second judge was asked or it was repeated."""
        rows = self._rows(f"SELECT {_ROW} FROM preferences")
        return tuple(Preference(*row) for row in rows)

    def has_odd_counts(self) -> bool:
        """Return whether some row neither counts nor does not count."""
        return bool(self._rows("SELECT 1 FROM preferences WHERE counts NOT IN (0, 1) LIMIT 1"))

    def add_preference_failure(self, failure: Failure) -> None:
        """Keep a failure; it replaces an earlier one of the same pair."""
        self._query(
            "INSERT OR REPLACE INTO preference_failures VALUES (?, ?, ?, ?, ?, ?, ?)",
            *(failure.case_id, failure.variant, failure.baseline, failure.metric),
            *(failure.stage, self._mask.in_content(failure.reason), failure.retry),
        )

    def preference_failures(self) -> tuple[Failure, ...]:
        """Return the failures, sorted by variant, baseline, metric and case id."""
        rows = self._rows(
            "SELECT case_id, stage, reason, variant, metric, retry, baseline "
            "FROM preference_failures ORDER BY variant, baseline, metric, case_id"
        )
        return tuple(
            Failure(case, stage, reason, variant, metric, bool(retry), baseline)
            for case, stage, reason, variant, metric, retry, baseline in rows
        )
