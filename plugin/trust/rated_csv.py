"""Read the CSV template that people filled in with their ratings, and check it against the run."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from plugin.errors import OptionError
from plugin.journal import Journal
from plugin.run_facts import Rating
from plugin.sheets import unguard_cell
from plugin.trust.humans import completion_digest, rateable_metrics
from plugin.trust.rating_items import clean_name, name_key, why_no_name

_NEEDED = ("case_id", "metric", "completion_digest", "rating", "rater")
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d{1,3})?", re.ASCII)
csv.field_size_limit(1 << 27)  # a completion may be longer than the usual 128 KiB


@dataclass(frozen=True, slots=True)
class RatingRow:
    """A row of the user's file that has a rating, with its fields as text."""

    line: int
    case_id: str
    metric: str
    digest: str
    rating: str
    rater: str


def read_rows(text: str, path: Path) -> tuple[RatingRow, ...]:
    """Return the rows that have a rating.

    Args:
        text: the file's, without a byte-order mark.
        path: names the file in errors.

    Raises:
        OptionError: when it is no CSV file, or a column is missing.
    """
    head = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=head.count))
    try:
        lacking = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
        if lacking:
            raise OptionError(
                f"--human_ratings {path} has no column {', '.join(lacking)}; start from the "
                "template that `python main.py ratings DIR` writes, or give the file that a rating "
                "page (`--page`) downloads"
            )
        rows = [
            (reader.line_num, [(fields[name] or "").strip() for name in _NEEDED])
            for fields in reader
        ]
    except csv.Error as error:
        raise OptionError(f"--human_ratings {path}: {error}; save it as CSV again") from error
    return tuple(
        RatingRow(line, unguard_cell(case_id), unguard_cell(metric), digest, rating, rater)
        for line, (case_id, metric, digest, rating, rater) in rows
        if rating
    )


class RowChecker:
    """Check the rows of one file, and keep what is wrong with them.

    Attributes:
        problems: what is wrong, a phrase for each row.
    """

    def __init__(self, journal: Journal) -> None:
        self.problems: list[str] = []
        specs = rateable_metrics(journal.header.metrics)
        self._specs = {name: spec for spec in specs for name in (spec.key, spec.name)}
        self._ids = {case.id for case in journal.cases()}
        self._digests: dict[str, set[str]] = {}
        for (case_id, _), completion in journal.answers().items():
            self._digests.setdefault(case_id, set()).add(completion_digest(completion))
        self._lines: dict[tuple[str, ...], int] = {}

    def ratings(self, rows: Sequence[RatingRow]) -> tuple[Rating, ...]:
        """Return the ratings of the right rows; the wrong ones are in `problems`."""
        found = [self._rating(row) for row in rows]
        if not rows:
            self.problems.append("no row has a rating")
        return tuple(rating for rating in found if rating)

    def _rating(self, row: RatingRow) -> Rating | None:
        spec = self._specs.get(row.metric)
        value = _parse_number(row.rating)
        wrong = []
        if row.case_id not in self._ids:
            wrong.append(f"case {row.case_id!r} is not in this run")
        elif row.digest not in self._digests.get(row.case_id, ()):
            wrong.append(
                f"{row.digest!r} is not a completion of case {row.case_id} in this run (stale: the "
                "completion has changed since it was rated)"
            )
        if spec is None:
            known = ", ".join(dict.fromkeys(s.name for s in self._specs.values()))
            wrong.append(f"the judge did not score metric {row.metric!r}, only {known}")
        low, high = (spec.low, spec.high) if spec else (float("-inf"), float("inf"))
        if value is None or not low <= value <= high:
            within = f" from {low:g} to {high:g}" if spec else ""
            wrong.append(f"rating {row.rating!r} is not a number{within}")
        if not row.rater:
            wrong.append("the rater is missing")
        elif why := why_no_name(row.rater):
            wrong.append(f"the rater {ascii(row.rater[:60])} {why}")
        if wrong or spec is None or value is None:
            self.problems.append(f"line {row.line}: {'; '.join(wrong)}")
            return None
        rater = clean_name(row.rater)
        key = (row.case_id, row.digest, spec.name, name_key(rater))
        if self._lines.setdefault(key, row.line) != row.line:
            self.problems.append(
                f"line {row.line}: {rater} already rated this on line {self._lines[key]}"
            )
            return None
        return Rating(row.case_id, row.digest, spec.name, rater, value)


def _parse_number(text: str) -> float | None:
    """Return the number, written with a decimal point or comma; None for other text."""
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text.replace(",", "."))
    return value if isfinite(value) else None
