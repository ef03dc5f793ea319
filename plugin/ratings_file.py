"""A file of human ratings -> ratings that fit the run, or one message with all that does not."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from plugin.errors import OptionError
from plugin.journal import Journal
from plugin.ratings import Rating, digest_of, keep, rateable
from plugin.records import MetricSpec

_NEEDED = ("case_id", "metric", "completion_digest", "rating", "rater")
_MAX_PROBLEMS = 20
csv.field_size_limit(1 << 27)  # a completion may be longer than the usual 128 KiB


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the user's file that has a rating or a rater; its fields as they stand there."""

    line: int
    case_id: str
    metric: str
    digest: str
    rating: str
    rater: str


def read(path: Path) -> tuple[Row, ...]:
    """The rows of a ratings file that somebody rated.

    Raises:
        OptionError: when it cannot be read, or lacks a column.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"--human_ratings {path}: {error}; give a CSV file in UTF-8") from error
    head = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=head.count))
    lacking = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
    if lacking:
        raise OptionError(
            f"--human_ratings {path} has no column {', '.join(lacking)}; start from the template "
            f"that `python main.py ratings DIR` writes"
        )
    try:
        rows = [
            (reader.line_num, [(fields[name] or "").strip() for name in _NEEDED])
            for fields in reader
        ]
    except csv.Error as error:
        raise OptionError(f"--human_ratings {path}: {error}; save it as CSV again") from error
    return tuple(
        Row(line, case_id, metric, digest, rating, rater)
        for line, (case_id, metric, digest, rating, rater) in rows
        if rating
    )


def accept(
    rows: Sequence[Row], specs: Sequence[MetricSpec], journal: Journal, path: Path
) -> tuple[Rating, ...]:
    """Check every rating against the run and keep them all, in place of earlier ones.

    Raises:
        OptionError: listing everything that is wrong; nothing is kept then.
    """
    checker = _Checker(specs, journal)
    found = [checker.rating(row) for row in rows]
    problems = checker.problems if rows else ["no row has a rating"]
    if problems:
        more = len(problems) - _MAX_PROBLEMS
        listed = "".join(f"\n  {problem}" for problem in problems[:_MAX_PROBLEMS])
        raise OptionError(
            f"--human_ratings {path} does not fit this run:{listed}"
            + (f"\n  and {more} more" if more > 0 else "")
            + "\nMend or leave out these rows; none of the ratings was taken"
        )
    ratings = tuple(rating for rating in found if rating)
    keep(ratings, journal)
    return ratings


class _Checker:
    def __init__(self, specs: Sequence[MetricSpec], journal: Journal) -> None:
        self.problems: list[str] = []
        self._specs = {name: s for s in rateable(specs) for name in (s.key, s.name)}
        self._ids = {case.id for case in journal.cases()}
        self._digests: dict[str, set[str]] = {}
        for (case_id, _), completion in journal.completions().items():
            self._digests.setdefault(case_id, set()).add(digest_of(completion))
        self._lines: dict[tuple[str, ...], int] = {}

    def rating(self, row: Row) -> Rating | None:
        """The row's rating; None after noting what is wrong with it."""
        spec = self._specs.get(row.metric)
        value = _number(row.rating)
        wrong = []
        if row.case_id not in self._ids:
            wrong.append(f"case {row.case_id!r} is none of this run's")
        elif row.digest not in self._digests.get(row.case_id, ()):
            wrong.append(
                f"{row.digest!r} is no completion of case {row.case_id} in this run (stale: the "
                "completion was another one when it was rated)"
            )
        if spec is None:
            known = ", ".join(dict.fromkeys(s.name for s in self._specs.values()))
            wrong.append(f"metric {row.metric!r} is none that the judge scored ({known})")
        low, high = (spec.low, spec.high) if spec else (float("-inf"), float("inf"))
        if value is None or not low <= value <= high:
            within = f" from {low:g} to {high:g}" if spec else ""
            wrong.append(f"rating {row.rating!r} is no number{within}")
        if not row.rater:
            wrong.append("no rater")
        if wrong or spec is None or value is None:
            self.problems.append(f"line {row.line}: {'; '.join(wrong)}")
            return None
        key = (row.case_id, row.digest, spec.name, row.rater)
        if self._lines.setdefault(key, row.line) != row.line:
            self.problems.append(
                f"line {row.line}: {row.rater} rated this on line {self._lines[key]} already"
            )
            return None
        return Rating(row.case_id, row.digest, spec.name, row.rater, value)


def _number(text: str) -> float | None:
    """The number; a comma may stand for the point."""
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return None
    return value if isfinite(value) else None
